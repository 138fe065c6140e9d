"""The line about live input while it is transcribed: its state, its level, and how to end."""

from __future__ import annotations

from typing import Protocol

from rtchat.core.effects import Connecting, InputStopped, Ready, Update, Waiting
from rtchat.ui.level_bars import LevelBars

_LAST_WORDS = "○ waiting for the last words · Ctrl-C stops"


class LiveMicrophone(Protocol):
    """A microphone, which can be asked at any time."""

    @property
    def level(self) -> float:
        """Its level, from 0 to 1 on a decibel scale."""

    @property
    def is_open(self) -> bool:
        """Whether the device is open."""


class MicrophoneLine:
    """The line. Each reading of `line` also reads the level."""

    def __init__(self, microphone: LiveMicrophone) -> None:
        self._microphone = microphone
        self._bars = LevelBars()
        self._is_connected = False
        self._is_stopped = False

    def note(self, update: Update) -> None:
        """Take note of an update."""
        match update:
            case Connecting() | Waiting():
                self._is_connected = False
            case Ready():
                self._is_connected = True
            case InputStopped():
                self._is_stopped = True
            case _:
                pass

    @property
    def line(self) -> str:
        """What to show now."""
        if self._is_stopped:
            return _LAST_WORDS
        if not self._microphone.is_open:
            return "○ opening the microphone · Ctrl-C ends"
        self._bars.add(self._microphone.level)
        state = "listening" if self._is_connected else "recording until connected"
        return f"● {state} {self._bars} · Ctrl-C ends"


class PipeLine:
    """The line about a pipe, which is empty until the user ends the input."""

    def __init__(self) -> None:
        self.line = ""
        """What to show now."""

    def note(self, update: Update) -> None:
        """Take note of an update."""
        if isinstance(update, InputStopped):
            self.line = _LAST_WORDS
