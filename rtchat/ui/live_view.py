"""The view for a terminal: final Markdown in the scrollback, a panel for what may still change.

Only the panel is ever repainted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, assert_never

from rich.console import Console, Group
from rich.text import Text

from rtchat.core import effects as fx
from rtchat.core.errors import hint_line
from rtchat.core.text import on_a_line, visible
from rtchat.markdown import theme
from rtchat.ui import messages
from rtchat.ui.console import print_text

if TYPE_CHECKING:
    from rich.panel import Panel

    from rtchat.markdown.render import MarkdownStream
    from rtchat.ui.panel import LivePanel


def preload() -> None:
    """Import the modules for drawing. It takes long: call it in a thread, before text arrives."""
    for module in ("rich.panel", "rich.table", "rtchat.markdown.render", "rtchat.ui.panel"):
        import_module(module)
    from rtchat.markdown.highlight import Highlighter

    for language in ("python", "bash", "js"):  # the first use of each takes 25 ms
        Highlighter(language).lines("")


class LiveView:
    """Shows updates on a terminal.

    Replies go to `out`, everything about them to `err`. If both are terminals they are assumed to
    be the same one, and notices are printed above the panel while it is up. `banner` is for a
    conversation: it prints a greeting when the session is ready, and an empty line above each
    reply. `now` returns seconds.
    """

    def __init__(
        self,
        out: Console,
        err: Console,
        *,
        now: Callable[[], float] = time.monotonic,
        banner: bool = False,
        verbose: bool = False,
        quiet: bool = False,
    ) -> None:
        self._out = out
        self._err = err
        self._now = now
        self._banner = banner
        self._verbose = verbose
        self._quiet = quiet
        self._model = ""
        self._status = "connecting…"
        self._was_ready = False
        self._microphone: fx.MicrophoneStatus | None = None
        self._is_pending = False
        """Whether a question was asked and its reply is not over."""
        self._panel: LivePanel | None = None
        self._painted: tuple[str, int] | None = None
        """The title and the width of the frame painted last."""
        self._asked_at = 0.0
        self._first_at: float | None = None
        self._deltas = 0
        self._shown = 0
        """How many characters of the reply have arrived."""
        self._has_printed = False
        """Whether any of the reply has been printed to the scrollback."""
        self._stream: MarkdownStream | None = None

    def show(self, update: fx.Update) -> None:  # noqa: C901 - one arm for each update
        """Show an update."""
        match update:
            case fx.Connecting(model=model):
                self._model = model
                self._set_status("connecting…", open_panel=not self._banner)
            case fx.Ready():
                self._greet(update)
                self._set_status("waiting")
            case fx.Waiting():
                self._wait(update)
            case fx.QuestionAsked(model=model):
                self._model, self._is_pending = model, True
                self._set_status("waiting", open_panel=True)
                self._asked_at = self._now()
            case fx.UserTranscript(text=text):
                self._print_question(text)
            case fx.MicrophoneStatus():
                self._microphone = update
            case fx.TextArrived(text, deltas):
                self._deltas += deltas
                self._add(text)
            case fx.ReplyOver():
                self._finish(update)
            case fx.ToolAsked():
                self._end_block()
            case fx.ToolBegan(call):
                self._end_block()
                self._set_status(f"running {call.name}")
                self._notice("info", messages.call(call, in_full=self._verbose))
            case fx.ToolEnded():
                self._set_status("waiting")
                self._notice("info", messages.outcome(update, in_full=self._verbose))
            case fx.Totals():
                self._print_status(messages.totals(update))
            case fx.Notice():
                text = messages.with_ids(update.text, update.ids)
                self._notice(update.level, text, update.hint)
            case fx.Copy() | fx.Draft():
                pass  # `Terminal` handles it
            case fx.TurnTranscribed() | fx.PartialTranscript() | fx.SourceArrived():
                pass  # belongs to sessions without replies, which have other views
            case _:
                assert_never(update)

    def tick(self) -> None:
        """Repaint the panel if anything in it has changed."""
        settled = self._stream.settled(self._out.width) if self._stream else None
        if self._panel is None:
            self._print(settled or [])
        elif settled is not None or self._painted != (self._title(), self._out.width):
            self._paint(settled or [])

    def show_waiting(self) -> None:
        """A question was asked: show the panel, even if nothing can be sent yet."""
        self._set_status(self._status, open_panel=True)

    def hide(self) -> None:
        """Remove the panel from the screen until the next tick."""
        if self._panel is not None:
            self._panel.clear()
            self._painted = None

    def close(self) -> None:
        """Remove the panel and forget the reply."""
        if self._panel is not None:
            self._panel.stop()
            self._panel = None
        self._stream, self._first_at, self._has_printed = None, None, False
        self._shown = self._deltas = 0

    # ------------------------------------------------------------------------------- the reply

    def _set_status(self, status: str, *, open_panel: bool = False) -> None:
        """Set what the panel shows until there is text."""
        self._status = visible(status)
        if open_panel:
            self._open()
        if self._panel is not None:
            self._paint([])

    def _wait(self, update: fx.Waiting) -> None:
        self._set_status(messages.waiting(update))
        if self._panel is None:
            self._notice("info", self._status)

    def _open(self) -> None:
        """Show the panel, if the terminal can."""
        if self._panel is not None or not self._out.is_terminal or self._out.is_dumb_terminal:
            return
        from rtchat.ui.panel import LivePanel

        self._asked_at = self._now()
        self._panel = LivePanel(self._out)
        self._panel.start()

    def _add(self, text: str) -> None:
        self._open()
        if self._stream is None:
            from rtchat.markdown.render import MarkdownStream

            self._stream = MarkdownStream(self._out)
        self._stream.add(visible(text), self._out.width)
        self._shown += len(text)
        if self._first_at is None:
            self._first_at = self._now()
            self.tick()
        elif self._stream.is_full:
            self.tick()

    def _end_block(self) -> None:
        """The model calls a tool: the text so far is final, and text after it is a new block."""
        lines = self._stream.finish(self._out.width) if self._stream else []
        self._stream = None
        if self._panel is None:
            self._print(lines)
        else:
            self._paint(lines)
        self._has_printed = False

    def _finish(self, over: fx.ReplyOver) -> None:
        """Print the rest of the text, then how the reply ended."""
        if len(over.text) > self._shown:
            self._add(over.text[self._shown :])
        lines = self._stream.finish(self._out.width) if self._stream else []
        if self._panel is not None:
            self._panel.stop()
        self._print(lines)
        has_printed = self._has_printed
        self.close()
        self._is_pending = False
        if self._banner:
            self._out.print()
        elif has_printed and self._err.is_terminal and not self._quiet:
            self._err.print()
        if over.problem is None:
            self._notice("info", messages.ending(over))
        else:
            self._notice("error", messages.ending(over), over.problem.hint)
        self._notice("info", messages.stats(over))
        self._notice("detail", messages.response(over))

    def _paint(self, settled: list[Text]) -> None:
        """Print final lines and paint the panel below them."""
        assert self._panel is not None
        frame = self._frame()
        if not settled:
            self._panel.paint(frame)
            return
        self._panel.set_content(frame)
        self._print(settled)

    def _print(self, lines: list[Text]) -> None:
        """Print lines of the reply. In a conversation, an empty line precedes the first."""
        if not lines:
            return
        if self._banner and not self._has_printed:
            lines = [Text(), *lines]
        self._has_printed = True
        print_text(self._out, Text("\n").join(lines))

    # ------------------------------------------------------------------------------- the panel

    def _title(self) -> str:
        """The title on the right of the frame: `1.2 s · ~84 tok/s`."""
        now = self._now()
        title = f"{now - self._asked_at:.1f} s"
        if self._first_at is None or self._deltas < 2 or now <= self._first_at:
            return title
        return f"{title} · ~{self._deltas / (now - self._first_at):.0f} tok/s"

    def _frame(self) -> Panel | Group:
        from rich import box
        from rich.panel import Panel

        from rtchat.ui.panel import fold

        width, height = self._out.size
        title = self._title()
        self._painted = title, width
        rows = max(1, height - 3)
        body = self._stream.preview(max(width - 4, 1), rows) if self._stream else []
        if self._stream is None:
            body = [Text(self._status, theme.DIM)]
        body = [row for line in body for row in fold(line, max(width - 4, 1))][-rows:]
        if height < 4:
            return Group(*body[-1:])
        model = visible(self._model)
        fill = width - 8 - len(model) - len(title)
        heading = Text.assemble((model, theme.ACCENT))
        if fill > 0:
            heading.append(f" {'─' * fill} ", theme.FRAME).append(title, theme.DIM)
        return Panel(
            Text("\n").join(body),
            box=box.ROUNDED,
            border_style=theme.FRAME,
            title=heading,
            title_align="left",
            subtitle=Text(self._footer(width - 6), theme.DIM),
            subtitle_align="left",
        )

    def _footer(self, width: int) -> str:
        """What stops the reply, in the shortest form if there is no room."""
        footer = messages.stop_keys(self._microphone)
        return footer if len(footer) <= width else messages.stop_keys(None)

    # ------------------------------------------------------------------------- other lines

    def _greet(self, ready: fx.Ready) -> None:
        if self._banner:
            line = messages.reconnected(ready) if self._was_ready else messages.greeting(ready)
            self._notice("info", line)
        self._notice("detail", messages.session(ready.session))
        self._was_ready = True

    def _print_question(self, text: str) -> None:
        """Print a spoken question like a typed one. If its transcript is late, the reply is
        above."""
        if not self._banner:
            self._notice("info", messages.transcript(fx.UserTranscript(text)))
            return
        question = visible(text.strip() or messages.NO_WORDS).replace("\n", "\n  ")
        line = Text(f"› {question}")  # noqa: RUF001 # as at the prompt
        if not self._is_pending:
            line.append(" (answered above)", theme.DIM)
        print_text(self._out, line)

    def _notice(self, level: fx.Level, text: str, hint: str = "") -> None:
        hidden = (level == "detail" and not self._verbose) or (level == "info" and self._quiet)
        if not text or hidden:
            return
        # An error message may come from a server and have many lines.
        is_error = level in ("warning", "error")
        self._print_status(on_a_line(text) if is_error else text, theme.NOTICES[level])
        if hint:
            self._print_status(hint_line(hint))

    def _print_status(self, text: str, style: str = theme.DIM) -> None:
        """Print a line about the conversation, above the panel if there is one."""
        console = self._out if self._panel is not None and self._err.is_terminal else self._err
        print_text(console, Text(visible(text), style), soft_wrap=not console.is_terminal)
