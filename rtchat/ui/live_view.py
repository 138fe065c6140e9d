"""The view for a terminal: finished Markdown in the scrollback, a panel for what may still change.

The panel is the only thing that is painted twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, assert_never

from rich.console import Console, Group
from rich.text import Text

from rtchat.core import effects as fx
from rtchat.core.text import visible
from rtchat.markdown import theme
from rtchat.ui import messages
from rtchat.ui.console import print_text

if TYPE_CHECKING:
    from rich.panel import Panel

    from rtchat.markdown.render import MarkdownStream
    from rtchat.ui.panel import LivePanel


def preload() -> None:
    """Import what drawing needs: long enough to be done in a thread, before there is any text."""
    for module in ("rich.panel", "rich.table", "rtchat.markdown.render", "rtchat.ui.panel"):
        import_module(module)
    from rtchat.markdown.highlight import Highlighter

    for language in ("python", "bash", "js"):  # the first words in one cost 25 ms
        Highlighter(language).lines("")


class LiveView:
    """Shows updates on a terminal.

    `out` takes the replies, `err` all that is about them; where both are terminals they are taken
    to be the same one, and notices go around a panel that is up. `banner` is for a conversation: it
    greets when the session is ready and parts each reply from the line above. `now` gives seconds.
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
        self._is_due = False
        """Whether a question was asked and its reply is not over."""
        self._panel: LivePanel | None = None
        self._painted: tuple[str, int] | None = None
        """The title and the width of the last frame."""
        self._since = 0.0
        self._first: float | None = None
        self._deltas = 0
        self._shown = 0
        """How many characters of the reply came."""
        self._begun = False
        """Whether any of the reply is in the scrollback."""
        self._stream: MarkdownStream | None = None

    def show(self, update: fx.Update) -> None:  # noqa: C901 - one arm an update
        """Show what happened."""
        match update:
            case fx.Connecting(model=model):
                self._model = model
                self._say("connecting…", opens=not self._banner)
            case fx.Ready():
                self._greet(update)
                self._say("waiting")
            case fx.Waiting():
                self._wait(update)
            case fx.QuestionAsked(model=model):
                self._model, self._is_due = model, True
                self._say("waiting", opens=True)
                self._since = self._now()
            case fx.UserTranscript(text=text):
                self._hear(text)
            case fx.MicrophoneStatus():
                self._microphone = update
            case fx.TextArrived(text=text):
                self._add(text)
            case fx.ReplyOver():
                self._finish(update)
            case fx.ToolAsked():
                self._settle()
            case fx.ToolBegan(call):
                self._settle()
                self._say(f"{call.name} runs")
                self._notice("info", messages.call(call, in_full=self._verbose))
            case fx.ToolEnded():
                self._say("waiting")
                self._notice("info", messages.outcome(update, in_full=self._verbose))
            case fx.Totals():
                self._status_writer(messages.totals(update))
            case fx.Notice(level=level, text=text):
                self._notice(level, text)
            case fx.Copy():
                pass  # `Terminal` does it
            case _:
                assert_never(update)

    def tick(self) -> None:
        """Repaint the panel if anything in it changed."""
        settled = self._stream.settled(self._out.width) if self._stream else None
        if self._panel is None:
            self._print(settled or [])
        elif settled is not None or self._painted != (self._title(), self._out.width):
            self._paint(settled or [])

    def expect(self) -> None:
        """A question was asked: put the panel up, even if nothing can be sent yet."""
        self._say(self._status, opens=True)

    def hide(self) -> None:
        """Take the panel off the screen, until the next tick."""
        if self._panel is not None:
            self._panel.clear()
            self._painted = None

    def close(self) -> None:
        """Take the panel down, whatever it shows."""
        if self._panel is not None:
            self._panel.stop()
            self._panel = None
        self._stream, self._shown, self._begun, self._first, self._deltas = None, 0, False, None, 0

    # ------------------------------------------------------------------------------- the reply

    def _say(self, status: str, *, opens: bool = False) -> None:
        """What the panel says until there is text."""
        self._status = visible(status)
        if opens:
            self._open()
        if self._panel is not None:
            self._paint([])

    def _wait(self, update: fx.Waiting) -> None:
        self._say(messages.waiting(update))
        if self._panel is None:
            self._notice("info", self._status)

    def _open(self) -> None:
        """Put the panel up, where there is a screen to put it on."""
        if self._panel is not None or not self._out.is_terminal or self._out.is_dumb_terminal:
            return
        from rtchat.ui.panel import LivePanel

        self._since = self._now()
        self._panel = LivePanel(self._out)
        self._panel.start()

    def _add(self, text: str) -> None:
        self._open()
        if self._stream is None:
            from rtchat.markdown.render import MarkdownStream

            self._stream = MarkdownStream(self._out)
        self._stream.add(visible(text), self._out.width)
        self._shown += len(text)
        self._deltas += 1
        if self._first is None:
            self._first = self._now()
            self.tick()
        elif self._stream.is_full:
            self.tick()

    def _settle(self) -> None:
        """The model calls a tool: what it said before is all of that, and what follows is apart."""
        lines = self._stream.finish(self._out.width) if self._stream else []
        self._stream = None
        if self._panel is None:
            self._print(lines)
        else:
            self._paint(lines)
        self._begun = False

    def _finish(self, over: fx.ReplyOver) -> None:
        """The rest of the text, then how it went."""
        if len(over.text) > self._shown:
            self._add(over.text[self._shown :])
        lines = self._stream.finish(self._out.width) if self._stream else []
        if self._panel is not None:
            self._panel.stop()
        self._print(lines)
        begun = self._begun
        self.close()
        self._is_due = False
        if self._banner:
            self._out.print()
        elif begun and self._err.is_terminal and not self._quiet:
            self._err.print()
        self._notice("error" if over.problem else "info", messages.remark(over))
        self._notice("info", messages.stats(over))

    def _paint(self, settled: list[Text]) -> None:
        """Print what is final and paint the panel below it."""
        assert self._panel is not None
        frame = self._frame()
        if not settled:
            self._panel.paint(frame)
            return
        self._panel.want(frame)
        self._print(settled)

    def _print(self, lines: list[Text]) -> None:
        """Print lines of the reply, in a conversation with an empty one before the first."""
        if not lines:
            return
        if self._banner and not self._begun:
            lines = [Text(), *lines]
        self._begun = True
        print_text(self._out, Text("\n").join(lines))

    # ------------------------------------------------------------------------------- the panel

    def _title(self) -> str:
        """The right side of the frame: `1.2 s · ~84 tok/s`."""
        now = self._now()
        title = f"{now - self._since:.1f} s"
        if self._first is None or self._deltas < 2 or now <= self._first:
            return title
        return f"{title} · ~{self._deltas / (now - self._first):.0f} tok/s"

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
        """What stops the reply, as far as there is room for it."""
        footer = messages.stopping(self._microphone)
        return footer if len(footer) <= width else messages.stopping(None)

    # ------------------------------------------------------------------------- beside the reply

    def _greet(self, ready: fx.Ready) -> None:
        if self._banner:
            line = messages.connected_again(ready) if self._was_ready else messages.greeting(ready)
            self._notice("info", line)
        self._was_ready = True

    def _hear(self, text: str) -> None:
        """What was said aloud, as a question that was typed; late, after the reply to it."""
        if not self._banner:
            self._notice("info", messages.heard(fx.UserTranscript(text)))
            return
        said = visible(text.strip() or messages.NOTHING).replace("\n", "\n  ")
        line = Text(f"› {said}")  # noqa: RUF001 # as at the prompt
        if not self._is_due:
            line.append(" (answered above)", theme.DIM)
        print_text(self._out, line)

    def _notice(self, level: str, text: str) -> None:
        hidden = (level == "detail" and not self._verbose) or (level == "info" and self._quiet)
        if text and not hidden:
            self._status_writer(text, theme.NOTICES[level])

    def _status_writer(self, text: str, style: str = theme.DIM) -> None:
        """A line about the conversation, above the panel if there is one."""
        console = self._out if self._panel is not None and self._err.is_terminal else self._err
        print_text(console, Text(visible(text), style), soft_wrap=not console.is_terminal)
