"""The views without a screen: the reply as raw text on stdout, all that is about it on stderr.

Off a terminal the text goes out byte for byte as it arrives; on one (`--plain`) it is made harmless
first. Nothing is ever painted twice.
"""

from __future__ import annotations

from contextlib import suppress
from typing import BinaryIO, TextIO, assert_never

from rtchat.core import effects as fx
from rtchat.core.text import visible
from rtchat.ui import messages


class StatusWriter:
    """The lines on stderr. As a view by itself it shows everything but the replies.

    `banner` is for a conversation with a person: it greets.
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
        self._complaint = ""

    def show(self, update: fx.Update) -> None:  # noqa: C901 - one arm an update
        """Show what is about the replies."""
        match update:
            case fx.Connecting(model):
                self._detail(f"connecting to {model}")
            case fx.Ready():
                if self._was_ready:
                    self._info(messages.connected_again(update))
                elif self._banner:
                    self._info(messages.greeting(update))
                else:
                    self._detail(messages.greeting(update))
                self._was_ready = True
            case fx.Waiting():
                self._info(messages.waiting(update))
            case fx.QuestionAsked():
                self._complaint = ""
            case fx.UserTranscript():
                self._info(messages.heard(update))
            case fx.MicrophoneStatus():
                self._info(messages.microphone(update))
            case fx.TextArrived() | fx.Copy() | fx.ToolAsked():
                pass
            case fx.ToolBegan(call):
                self._info(messages.call(call, in_full=self._verbose))
            case fx.ToolEnded():
                self._info(messages.outcome(update, in_full=self._verbose))
            case fx.ReplyOver():
                self._ended(update)
            case fx.Totals():
                self._line(messages.totals(update))
            case fx.Notice(level, text):
                self._notice(level, text)
            case _:
                assert_never(update)

    def tick(self) -> None:
        """Nothing is painted."""

    def close(self) -> None:
        """Nothing is left open."""

    def say(self, text: str) -> None:
        """A line for whoever wants to know what happens."""
        self._info(text)

    def _ended(self, over: fx.ReplyOver) -> None:
        remark = messages.remark(over)
        if over.problem is None:
            self._info(remark)
        elif remark != self._complaint:  # else it ends every question that waits, and was said
            self._complaint = remark
            self._complain(remark)
        self._info(messages.stats(over))

    def _notice(self, level: str, text: str) -> None:
        if level == "detail":
            self._detail(text)
        elif level == "info":
            self._info(text)
        else:
            self._complain(text)

    def _complain(self, text: str) -> None:
        self._line(f"rtchat: {' '.join(text.split())}")  # what a server says may have many lines

    def _detail(self, text: str) -> None:
        if self._verbose:
            self._line(text)

    def _info(self, text: str) -> None:
        if text and not self._quiet:
            self._line(text)

    def _line(self, text: str) -> None:
        if self._err is not None:
            with suppress(OSError):  # there is nobody left to tell
                self._err.write(visible(text) + "\n")
                self._err.flush()


class PlainView:
    """Replies as text on `out`, everything else to `status`. `raw` leaves the text as it is."""

    def __init__(self, out: BinaryIO, status: StatusWriter, *, raw: bool) -> None:
        self._out = out
        self._status_writer = status
        self._raw = raw
        self._last = ""

    def show(self, update: fx.Update) -> None:
        """Write what arrived, at once."""
        match update:
            case fx.TextArrived(text):
                self._write(text)
                return
            case fx.ReplyOver():
                if self._last and self._last != "\n":
                    self._write("\n")
                self._last = ""
            case _:
                pass
        self._status_writer.show(update)

    def expect(self) -> None:
        """Nothing is said until there is something to say."""

    def hide(self) -> None:
        """Nothing is painted."""

    def tick(self) -> None:
        """Nothing is painted."""

    def close(self) -> None:
        """Nothing is left open."""

    def _write(self, text: str) -> None:
        self._last = text[-1:] or self._last
        self._out.write((text if self._raw else visible(text)).encode())
        self._out.flush()
