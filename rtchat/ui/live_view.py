"""The view for a terminal: final Markdown in the scrollback, a panel for what may still change.

Only the panel is ever repainted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, assert_never

from rich.console import Group, RenderableType
from rich.text import Text

from rtchat.core import effects as fx
from rtchat.core.errors import hint_line
from rtchat.core.text import on_a_line, visible
from rtchat.core.values import ThemeName
from rtchat.markdown import theme
from rtchat.ui import messages, status_lines
from rtchat.ui.console import ThemedConsole, print_text
from rtchat.ui.frame_height import FrameHeight
from rtchat.ui.reply_frame import ReplyFrame, Stream

if TYPE_CHECKING:
    from rtchat.core.values import StoredConversation
    from rtchat.ui.folding_stream import ReplyFormat
    from rtchat.ui.panel import LivePanel


def preload() -> None:
    """Import the modules for drawing. It takes long: call it in a thread, before text arrives."""
    for module in (
        *("rich.panel", "rtchat.markdown.render"),
        *("rtchat.ui.folding_stream", "rtchat.ui.panel"),
    ):
        import_module(module)
    from rtchat.markdown.highlight import Highlighter

    for language in ("python", "bash", "js"):  # the first use of each takes 25 ms
        Highlighter(language).lines("")


class LiveView:
    """Shows updates on a terminal.

    Replies go to `out`, everything about them to `err`. If both are terminals they are assumed to
    be the same one, and notices are printed above the panel while it is up. `banner` is for a
    conversation: it prints a greeting when the session is ready, the questions, and an empty line
    above each reply. `panel` is one that is already shown; without it, the view shows its own while
    a reply is pending. `plain` leaves Markdown as it is and draws no frame. `now` returns seconds.
    """

    def __init__(
        self,
        out: ThemedConsole,
        err: ThemedConsole,
        *,
        now: Callable[[], float] = time.monotonic,
        panel: LivePanel | None = None,
        banner: bool = False,
        plain: bool = False,
        verbose: bool = False,
        quiet: bool = False,
    ) -> None:
        self._out = out if panel is None else panel.console
        self._err = err
        self._banner = banner
        self._plain = plain
        self._now = now
        self._height = FrameHeight(self._out, now)
        self._outer_panel = panel
        self._is_advised = False
        """Whether the last line says how to exit."""
        self._verbose = verbose
        self._quiet = quiet
        self._was_ready = False
        self._is_pending = False
        """Whether a question was asked and its reply is not over."""
        self._heard: fx.ReplyHeard | None = None
        """How much was heard of the reply that is pending."""
        self._panel: LivePanel | None = None
        self._frame = ReplyFrame(now, is_plain=plain)
        self._shown = 0
        """How many characters of the reply have arrived."""
        self._has_printed = False
        """Whether any of the reply has been printed to the scrollback."""
        self._stream: Stream | None = None
        self._reply_format: ReplyFormat | None = None
        """How the replies of the conversation begin; None before the first one."""
        self._code_blocks = 0 if banner else None
        """The number of code blocks of the reply before the current text; None if they are not
        numbered."""

    def show(self, update: fx.Update) -> None:  # noqa: C901 - one arm for each update
        """Show an update."""
        self._is_advised = False
        match update:
            case fx.Connecting(model=model):
                self._frame.model = model
                self._set_status("connecting…", open_panel=not self._banner)
            case fx.Ready():
                self._greet(update)
                self._set_status("waiting")
            case fx.Waiting():
                self._wait(update)
            case fx.QuestionAsked(text, model, is_spoken):
                if self._banner and not is_spoken:
                    self.echo(text)
                self._frame.model, self._is_pending = model, True
                self._set_status("waiting", open_panel=True)
                self._frame.begin()
            case fx.UserTranscript(text=text):
                self._print_question(text)
            case fx.MicrophoneStatus():
                self._frame.microphone = update
                if self._plain and not update.is_opening:  # no level is shown
                    self._notice("info", messages.microphone(update))
            case fx.TextArrived(text, deltas):
                self._frame.deltas += deltas
                self._add(text)
            case fx.ReplyOver():
                self._finish(update)
            case fx.ReplyHeard() if self._is_pending:
                self._heard = update
            case fx.ReplyHeard():
                self._show_heard(update)
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
            case fx.Report(text):
                self._print_status(text)
            case fx.EventReceived(json):
                self._print_line(status_lines.server_event(json, self._out.width))
            case fx.ThemeChosen(name):
                self._choose_theme(name)
            case fx.Notice():
                text = messages.with_ids(update.text, update.ids)
                self._notice(update.level, text, update.hint)
            case fx.QuestionDropped(text):
                self.echo(text)
            case fx.Resumed(stored):
                self._show_end(stored)
            case fx.Copy() | fx.Draft() | fx.Queued() | fx.WholeConversation():
                pass  # `Terminal` handles them
            case fx.NotConnected() | fx.SpeechHeard() | fx.ReplyPlaying():
                pass  # `Terminal` handles them
            case (
                fx.InputStopped()
                | fx.TurnTranscribed()
                | fx.PartialTranscript()
                | fx.SourceArrived()
            ):
                pass  # belongs to sessions without replies, which have other views
            case _:
                assert_never(update)

    def tick(self) -> None:
        """Repaint the panel if anything in it has changed."""
        settled = self._stream.settled(self._out.width) if self._stream else None
        if self._panel is None:
            self._print(settled or [])
        elif settled is not None or self._frame.is_outdated(self._out.width):
            self._paint(settled or [])

    def show_waiting(self) -> None:
        """A question was asked: show the panel, even if nothing can be sent yet."""
        self._set_status(self._frame.status, open_panel=True)

    def hide(self) -> None:
        """Remove the panel from the screen until the next tick."""
        if self._panel is not None:
            self._panel.clear()
            self._frame.forget()

    def close(self) -> None:
        """Remove the panel and forget the reply."""
        if self._panel is not None and self._panel is self._outer_panel:
            self._panel.clear()
        elif self._panel is not None:
            self._panel.stop()
        self._panel = None
        self._stream, self._has_printed, self._shown = None, False, 0
        self._code_blocks = 0 if self._banner else None
        self._frame.reset()
        self._height.reset()

    # ------------------------------------------------------------------------------- the reply

    def _set_status(self, status: str, *, open_panel: bool = False) -> None:
        """Set what the panel shows until there is text."""
        self._frame.status = visible(status)
        if open_panel:
            self._open()
        if self._panel is not None:
            self._paint([])

    def _wait(self, update: fx.Waiting) -> None:
        self._set_status(messages.waiting(update))
        if self._panel is None:
            self._notice("info", self._frame.status)

    def _open(self) -> None:
        """Show the panel, if the terminal can."""
        if self._panel is not None or not self._out.is_terminal or self._out.is_dumb_terminal:
            return
        self._frame.begin()
        self._panel = self._outer_panel
        if self._panel is None:
            from rtchat.ui.panel import LivePanel

            self._panel = LivePanel(self._out, reflows=None)
            self._panel.start()

    def _add(self, text: str) -> None:
        self._open()
        if self._stream is None:
            self._stream = self._new_stream()
        self._stream.add(visible(text), self._out.width)
        self._shown += len(text)
        if self._frame.text_began() or self._stream.is_full:
            self.tick()

    def _new_stream(self) -> Stream:
        if self._plain:
            from rtchat.ui.plain_stream import PlainStream

            return PlainStream(self._out)
        from rtchat.markdown.render import MarkdownStream
        from rtchat.ui.folding_stream import FoldingStream, ReplyFormat

        self._reply_format = self._reply_format or ReplyFormat()
        hint = messages.THOUGHT_HINT if self._banner else ""
        new_stream = partial(MarkdownStream, self._out)
        blocks = self._code_blocks
        return FoldingStream(self._out, new_stream, self._now, self._reply_format, hint, blocks)

    def _end_block(self) -> None:
        """The model calls a tool: the text so far is final, and text after it is a new block."""
        lines = self._stream.finish(self._out.width) if self._stream else []
        if self._stream is not None:
            self._code_blocks = self._stream.code_blocks
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
            self._panel.set_content(Group())
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
        if self._heard is not None:
            self._show_heard(self._heard)
            self._heard = None

    def _paint(self, settled: list[Text]) -> None:
        """Print final lines and paint the panel below them."""
        assert self._panel is not None
        frame = self._draw(self._panel.room)
        if not settled:
            self._panel.paint(frame)
            return
        self._panel.set_content(frame)
        self._print(settled)

    def _draw(self, room: int) -> RenderableType:
        """The frame, or nothing while the size of the terminal changes."""
        rows = self._height.rows(room)
        if rows is None:
            self._frame.forget()
            return Group()
        return self._frame.draw(self._stream, self._out.width, rows)

    def _print(self, lines: list[Text]) -> None:
        """Print lines of the reply. In a conversation, an empty line precedes the first."""
        if not lines:
            return
        if self._banner and not self._has_printed:
            lines = [Text(), *lines]
        self._has_printed = True
        print_text(self._out, Text("\n").join(lines))

    # ------------------------------------------------------------------------- other lines

    def _greet(self, ready: fx.Ready) -> None:
        if self._banner:
            line = messages.reconnected(ready) if self._was_ready else messages.greeting(ready)
            self._notice("info", line)
        self._notice("detail", messages.session(ready.session))
        self._was_ready = True

    def _print_question(self, text: str) -> None:
        """Print a spoken question. If its transcript is late, the reply is above."""
        if not self._banner:
            self._notice("info", messages.transcript(fx.UserTranscript(text)))
            return
        is_answered = not self._is_pending
        print_text(self._out, status_lines.spoken_question(text, is_answered=is_answered))

    def _show_heard(self, update: fx.ReplyHeard) -> None:
        """Print where the playback of a reply was interrupted."""
        if not self._quiet:
            self._print_line(status_lines.reply_heard(update, self._out.width))

    def echo(self, entry: str) -> None:
        """Print what the user entered."""
        print_text(self._out, status_lines.question(entry))

    def advise(self) -> None:
        """Print how to exit, unless the last line already says so."""
        if not self._is_advised:
            self._print_status(messages.HOW_TO_LEAVE)
        self._is_advised = True

    def _show_end(self, stored: StoredConversation) -> None:
        """Show the last turns of a conversation that continues."""
        if self._banner:
            from rtchat.ui.history_view import show_end

            show_end(stored, self._out)
        else:
            self._notice("info", messages.conversation(stored))

    def _notice(self, level: fx.Level, text: str, hint: str = "") -> None:
        hidden = (level == "detail" and not self._verbose) or (level == "info" and self._quiet)
        if not text or hidden:
            return
        # An error message may come from a server and have many lines.
        is_error = level in ("warning", "error")
        self._print_status(on_a_line(text) if is_error else text, theme.NOTICES[level])
        if hint:
            self._print_status(hint_line(hint))

    def _choose_theme(self, name: ThemeName | None) -> None:
        styles = self._out.styles
        styles.theme = name or styles.theme
        names = () if name else theme.THEMES
        colors = not self._out.no_color
        text = messages.theme(styles.theme, styles.background or "", names, has_colors=colors)
        self._print_status(text)

    def _print_status(self, text: str, style: str = theme.DIM) -> None:
        """Print a line about the conversation, above the panel if there is one."""
        self._print_line(Text(visible(text), style))

    def _print_line(self, line: Text) -> None:
        has_panel = self._panel is not None or self._outer_panel is not None
        console = self._out if has_panel and self._err.is_terminal else self._err
        print_text(console, line, soft_wrap=not console.is_terminal)
