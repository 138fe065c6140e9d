"""The title of the window, and notifications about long replies that end while it has no focus."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeAlias

from rtchat.core import effects as fx
from rtchat.core import notices
from rtchat.core.text import on_a_line, shortened
from rtchat.core.values import Status
from rtchat.ui.terminal_kind import TerminalKind

Notify: TypeAlias = Literal["auto", "bell", "off"]

MIN_SECONDS = 10.0
"""A reply that took longer is announced."""
_MAX_TITLE = 60
"""Characters of a conversation's title that are shown."""
_BELL = "\a"
_PUSH_TITLE, _POP_TITLE = "\x1b[22;2t", "\x1b[23;2t"
_OSC_9 = "\x1b]9;{program}: {text}\x1b\\"
_OSC_777 = "\x1b]777;notify;{program};{text}\x1b\\"
_NOTIFICATIONS = {
    **dict.fromkeys(
        (TerminalKind.KITTY, TerminalKind.GHOSTTY, TerminalKind.WEZTERM, TerminalKind.ITERM),
        _OSC_9,
    ),
    TerminalKind.FOOT: _OSC_777,
    TerminalKind.VTE: _OSC_777 + _BELL,  # only some builds of it show notifications
}
"""What shows a notification. Elsewhere, and so inside tmux and screen, the bell is rung."""
_PROGRAM = "rtchat"


def announcement(
    text: str, seconds: float, *, is_focused: bool | None, kind: TerminalKind, notify: Notify
) -> str:
    """What to write to the terminal so that the user learns of `text`; "" if it is not needed.

    `seconds` is how long the user has waited, and `is_focused` what the terminal reported last. A
    terminal that has reported nothing has had the focus since the start, or does not report it.
    tmux and screen do not by default. In them the bell is rung, because they only mark a window
    that is not shown.
    """
    if notify == "off" or seconds <= MIN_SECONDS or is_focused:
        return ""
    if is_focused is None:
        return _BELL if kind in (TerminalKind.TMUX, TerminalKind.SCREEN) else ""
    notification = _BELL if notify == "bell" else _NOTIFICATIONS.get(kind, _BELL)
    return notification.format(program=_PROGRAM, text=text)


class Attention:
    """Sets the title of the window and announces replies. `write` writes to the terminal.

    `now` returns seconds.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        kind: TerminalKind,
        *,
        sets_title: bool = True,
        notify: Notify = "auto",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._kind = kind
        self._sets_title = sets_title and kind is not TerminalKind.BASIC
        self._notify: Notify = notify
        self._now = now
        self._is_on = False
        self._is_focused: bool | None = None
        self._title = ""
        self._asked_at = 0.0

    def on(self) -> None:
        """Save the title of the window and set it."""
        if self._sets_title and not self._is_on:
            self._is_on = True
            self._write(_PUSH_TITLE)
            self._write_title()

    def off(self) -> None:
        """Restore the title of the window. Call it whenever another program gets the terminal."""
        if self._is_on:
            self._is_on = False
            self._write(_POP_TITLE)

    def set_focus(self, is_focused: bool) -> None:
        """The terminal reported that its window has got or lost the focus."""
        self._is_focused = is_focused

    def set_title(self, title: str) -> None:
        """Show the title of the conversation; "" if it has none yet."""
        self._title = shortened(on_a_line(title), _MAX_TITLE)
        if self._is_on:
            self._write_title()

    def show(self, update: fx.Update) -> None:
        """Take note of an update."""
        match update:
            case fx.QuestionAsked(text=text):
                self._asked_at = self._now()
                self._take_title(text)
            case fx.UserTranscript(text=text):
                self._take_title(text)
            case fx.ReplyOver(status=status) if status is not Status.CANCELLED:
                is_complete = status is Status.COMPLETED
                self._announce("the reply is complete" if is_complete else "the reply ended early")
            case fx.ToolAsked():
                self._announce("a tool asks for your approval")
            case fx.Notice() if update == notices.CONVERSATION_STARTED.update:
                self.set_title("")
            case _:
                pass

    def _take_title(self, question: str) -> None:
        """Use the first question as the title, if there is none."""
        if question and not self._title:
            self.set_title(question)

    def _announce(self, text: str) -> None:
        seconds = self._now() - self._asked_at
        written = announcement(
            text, seconds, is_focused=self._is_focused, kind=self._kind, notify=self._notify
        )
        if written:
            self._write(written)

    def _write_title(self) -> None:
        title = f"{_PROGRAM}: {self._title}" if self._title else _PROGRAM
        self._write(f"\x1b]2;{title}\x1b\\")
