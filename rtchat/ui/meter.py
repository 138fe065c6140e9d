"""The status line under the prompt in voice mode: microphone state and input level."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from prompt_toolkit.formatted_text import StyleAndTextTuples

from rtchat.core.effects import (
    Connecting,
    MicrophoneStatus,
    NotConnected,
    Ready,
    ReplyPlaying,
    SpeechHeard,
    TextArrived,
    Update,
    Waiting,
)
from rtchat.ui.entry_style import ACCENT, DIM
from rtchat.ui.last_row import last_row
from rtchat.ui.level_bars import LevelBars

_SEPARATOR = " · "
_INTERVAL = 0.2
"""Seconds between two readings of the level. Each reading costs CPU time."""
_MIN_ROOM = 12
"""Columns. With less room, words that are recognised or played are not shown."""


class Meters(Protocol):
    """The state of a voice conversation's audio devices. It can be read at any time."""

    @property
    def level(self) -> float:
        """The microphone's input level, from 0 to 1 on a decibel scale."""

    @property
    def is_playing(self) -> bool:
        """Whether audio of a reply is still to be played."""


class Meter:
    """The status line. `width` returns the number of columns of the terminal."""

    def __init__(self, meters: Meters, width: Callable[[], int]) -> None:
        self._meters = meters
        self._width = width
        self._microphone: MicrophoneStatus | None = None
        self._speech = SpeechHeard(is_speaking=False)
        self._playing = ""
        """The last words heard of the reply that is playing."""
        self._is_connected = False
        self._bars = LevelBars()
        self._painted: StyleAndTextTuples = []
        self._changed: Callable[[], None] | None = None
        """Called when a reading has changed the line; None outside `polling`."""
        self._timer: asyncio.TimerHandle | None = None

    def show(self, update: Update) -> None:
        """Take note of an update."""
        match update:
            case MicrophoneStatus():
                self._microphone = update
                self._bars.clear()
            case SpeechHeard():
                self._speech = update
            case ReplyPlaying(words):
                self._playing = words
            case Connecting() | NotConnected():
                self._is_connected = False
            case Waiting(is_connected=is_connected):
                self._is_connected = is_connected
            case Ready() | TextArrived():
                self._is_connected = True
            case _:
                pass
        self._schedule()

    def poll(self) -> bool:
        """Read the input level. Returns whether the line differs from the one painted last."""
        self._bars.add(self._meters.level)
        return self._line() != self._painted

    @contextmanager
    def polling(self, changed: Callable[[], None]) -> Iterator[None]:
        """A context in which the level is read regularly while there is one. `changed` is called
        when the line has changed."""
        self._changed = changed
        self._schedule()
        try:
            yield
        finally:
            self._changed = None
            if self._timer is not None:
                self._timer.cancel()

    def _schedule(self) -> None:
        """Read the level soon, if the line may change by itself."""
        if self._timer is None and self._changed is not None and self._is_live:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._update)

    def _update(self) -> None:
        self._timer = None
        self._schedule()
        if self.poll() and self._changed is not None:
            self._changed()

    @property
    def _is_live(self) -> bool:
        microphone = self._microphone
        has_level = microphone is not None and (microphone.is_on or microphone.is_opening)
        return has_level or self._meters.is_playing

    def paint(self) -> StyleAndTextTuples:
        """The current line."""
        self._painted = self._line()
        return self._painted

    def _line(self) -> StyleAndTextTuples:
        if self._microphone is None:
            return []
        parts = self._parts(self._microphone)
        while len(parts) > 1 and sum(map(len, parts)) > self._width() - 1:
            parts.pop()
        label, words = f"{_SEPARATOR}playing: ", self._playing
        if self._speech.words:
            label, words = _SEPARATOR, self._speech.words
            del parts[2:]
        text = "".join(parts)
        line = [(ACCENT if self._microphone.is_on else DIM, text[:1]), (DIM, text[1:])]
        room = self._width() - 1 - len(text) - len(label)
        if words and room >= _MIN_ROOM:
            line += [(DIM, label), ("", last_row(words, room))]
        return [*line]

    def _parts(self, microphone: MicrophoneStatus) -> list[str]:
        """The parts of the line. Where there is no room, the last ones are dropped first."""
        bars = f" {self._bars}"
        match microphone.is_on, microphone.push_to_talk:
            case _ if not microphone.is_available:
                parts = ["○ no microphone", " · Ctrl-T tries again"]
            case _ if microphone.is_opening:
                stop = "Esc discards" if microphone.push_to_talk else "Ctrl-T mutes"
                parts = ["○ opening the microphone", f" · {stop}"]
            case True, True:
                parts = ["● recording", bars, " · Ctrl-T sends", " · Esc discards"]
            case True, False:
                parts = [self._listening(), bars, " · Ctrl-T mutes"]
            case False, True:
                parts = ["○ Ctrl-T to talk"]
            case _:
                parts = ["○ muted", " · Ctrl-T unmutes"]
        if self._meters.is_playing and not (microphone.is_on and microphone.push_to_talk):
            parts.append(" · Esc stops playback")
        return parts

    def _listening(self) -> str:
        if not self._is_connected:
            return "● recording until connected"
        return "● hearing you" if self._speech.is_speaking else "● listening"
