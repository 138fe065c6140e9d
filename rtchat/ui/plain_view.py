"""Views that repaint nothing: the reply as text on stdout, everything about it on stderr.

In a pipe or a file the text is written byte for byte as it arrives. On a terminal (`--plain`)
control characters are escaped first.
"""

from __future__ import annotations

import os
from contextlib import suppress
from shutil import get_terminal_size
from typing import BinaryIO, TextIO, assert_never

from rtchat.core import effects as fx
from rtchat.core.errors import Problem, error_lines, hint_line
from rtchat.core.ports import View
from rtchat.core.text import shortened, visible
from rtchat.core.values import StoredConversation
from rtchat.ui import messages

_ROWS_BELOW = 4
"""Rows of the screen for the line above the last turns, the greeting and the prompt."""


class StatusWriter(View):
    """Writes status lines to stderr. Used alone, it is a view of everything except the replies.

    `banner` is for a conversation with a person: it prints a greeting.
    """

    def __init__(
        self,
        err: TextIO | None,
        *,
        verbose: bool = False,
        quiet: bool = False,
        banner: bool = False,
    ) -> None:
        self._banner = banner
        self._err = err
        self._verbose = verbose
        self._quiet = quiet
        self._was_ready = False
        self._last_error: Problem | None = None

    def show(self, update: fx.Update) -> None:  # noqa: C901 - one case per update
        """Show an update, except the text of a reply."""
        match update:
            case fx.Connecting(model):
                self._detail(f"connecting to {model}")
            case fx.Ready():
                if self._was_ready:
                    self._info(messages.reconnected(update))
                elif self._banner:
                    self._info(messages.greeting(update))
                else:
                    self._detail(messages.connected(update))
                self._detail(messages.session(update.session))
                self._was_ready = True
            case fx.Waiting():
                self._info(messages.waiting(update))
            case fx.QuestionAsked():
                self._last_error = None
            case fx.UserTranscript():
                self._info(messages.transcript(update))
            case fx.MicrophoneStatus():
                if not update.is_opening:
                    self._info(messages.microphone(update))
            case fx.TextArrived() | fx.PartialTranscript() | fx.TurnTranscribed():
                pass
            case fx.InputStopped() | fx.SourceArrived() | fx.Copy() | fx.Draft() | fx.ToolAsked():
                pass
            case fx.Queued() | fx.QuestionDropped() | fx.SpeechHeard() | fx.ReplyPlaying():
                pass
            case fx.ToolBegan(call):
                self._info(messages.call(call, in_full=self._verbose))
            case fx.ToolEnded():
                self._info(messages.outcome(update, in_full=self._verbose))
            case fx.ReplyOver():
                self._ended(update)
            case fx.ReplyHeard():
                self._info(messages.heard(update))
            case fx.Totals():
                self._line(messages.totals(update))
            case fx.Resumed(stored):
                self.resumed(stored)
            case fx.WholeConversation() | fx.NotConnected():
                pass  # the terminal shows it
            case fx.Report(text):
                self._line(text)
            case fx.EventReceived(json):
                self._line(shortened(json, columns_of(self._err)))
            case fx.ThemeChosen():
                self._line("the theme has no effect on plain text")
            case fx.Notice():
                self._notice(update)
            case _:
                assert_never(update)

    @property
    def is_for_person(self) -> bool:
        """Whether a person reads the conversation."""
        return self._banner

    def resumed(self, stored: StoredConversation, above: int = 0) -> None:
        """A conversation continues, with `above` turns that are not shown."""
        self._info(messages.resumed(stored, above))

    def say(self, text: str) -> None:
        """Write a line, unless `quiet`."""
        self._info(text)

    def _ended(self, over: fx.ReplyOver) -> None:
        ending = messages.ending(over)
        if over.problem is None:
            self._info(ending)
        elif ending and over.problem != self._last_error:  # it may end every queued question
            self._last_error = over.problem
            self._error(ending, over.problem.hint)
        self._info(messages.stats(over))
        self._detail(messages.response(over))

    def _notice(self, notice: fx.Notice) -> None:
        if notice.level in ("warning", "error"):
            self._error(messages.with_ids(notice.text, notice.ids), notice.hint)
            return
        show = self._detail if notice.level == "detail" else self._info
        show(notice.text)
        if notice.hint:
            show(hint_line(notice.hint))

    def _error(self, message: str, hint: str) -> None:
        self._line(error_lines(message, hint))

    def _detail(self, text: str) -> None:
        if text and self._verbose:
            self._line(text)

    def _info(self, text: str) -> None:
        if text and not self._quiet:
            self._line(text)

    def _line(self, text: str) -> None:
        if self._err is not None:
            with suppress(OSError):  # the reader of stderr is gone
                self._err.write(visible(text) + "\n")
                self._err.flush()


def columns_of(stream: TextIO | None) -> int:
    """The columns of the terminal to which a stream is written; 80 if that is not known."""
    try:
        return os.get_terminal_size(-1 if stream is None else stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


class PlainView(View):
    """Replies as text on `out`, everything else to `status`. `raw` leaves the text unchanged."""

    def __init__(self, out: BinaryIO, status: StatusWriter, *, raw: bool) -> None:
        self._out = out
        self._status_writer = status
        self._raw = raw
        self._last = ""

    def show(self, update: fx.Update) -> None:
        """Write text as soon as it arrives."""
        match update:
            case fx.TextArrived(text):
                self._write(text)
                return
            case fx.ReplyOver() | fx.ReplyHeard() | fx.ToolAsked():  # these begin a line
                if not self.is_at_line_start:
                    self._write("\n")
                self._last = ""
            case fx.Resumed(stored) if self._status_writer.is_for_person:
                from rtchat.history.transcript import plain_end  # would delay every start

                size = get_terminal_size()
                text, above = plain_end(stored, size.lines - _ROWS_BELOW, max(size.columns, 1))
                self._status_writer.resumed(stored, above)
                self._write(text)
                return
            case fx.EventReceived() if not (self._raw or self.is_at_line_start):
                self._write("\n")
            case _:
                pass
        self._status_writer.show(update)

    @property
    def is_at_line_start(self) -> bool:
        """Whether the text so far is empty or ends with a line break."""
        return self._last in ("", "\n")

    def show_waiting(self) -> None:
        """Do nothing: this view shows no progress."""

    def hide(self) -> None:
        """Do nothing: this view repaints nothing."""

    def _write(self, text: str) -> None:
        self._last = text[-1:] or self._last
        self._out.write((text if self._raw else visible(text)).encode())
        self._out.flush()
