"""Decides which audio of the microphone passes while audio is played and its echo cannot be
cancelled: only what is louder than the echo.
"""

from __future__ import annotations

from collections import deque

from rtchat.audio.pcm import SILENCE_DB

_ECHO_SECONDS = 1.2
"""Audio may be heard for this long after it was played: wireless speakers are late."""
_MARGIN_DB = 6.0
"""Speech passes if it is this much louder than the echo."""
_OPEN_SECONDS = 0.3
"""How long the gate stays open after speech, so that words are not cut into pieces."""
_RISE_DB = 12.0
_FALL_DB = 2.0
"""How fast the estimate of the echo may change, in decibels per second. It falls slowly, because a
pause in what is played does not make the echo of the rest quieter."""
_LEARNING_SECONDS = 1.5
"""Seconds of played audio from which the first estimate is made: the loudest sound captured in that
time, except speech that passed."""
_MIN_DB, _MAX_DB = -40.0, 20.0
"""The range of the estimate, in decibels."""


class EchoGate:
    """Estimates how loud the echo is, and decides which audio is louder."""

    def __init__(self) -> None:
        self._echo_db = 0.0
        """The estimate: how much louder the echo is than what is played, in decibels. Starts
        high."""
        self._loudest_echo_db = _MIN_DB
        self._played_seconds = 0.0
        self._played: deque[tuple[float, float]] = deque()
        """When something was played recently, and its level."""
        self._now = self._open_until = 0.0
        self.echo_db = SILENCE_DB
        """How loud the echo may be, in decibels of full scale."""

    def passes(self, captured_db: float, played_db: float, seconds: float) -> bool:
        """Whether the next audio of the microphone passes. `captured_db` is its level and
        `played_db` that of what the speaker plays meanwhile, in decibels of full scale; `seconds`
        is the length of both."""
        self._now += seconds
        self._played.append((self._now, played_db))
        while self._played[0][0] < self._now - _ECHO_SECONDS:
            self._played.popleft()
        loudest = max(level for _, level in self._played)
        self.echo_db = loudest + self._echo_db
        if loudest <= SILENCE_DB:
            return True
        echo_db = captured_db - loudest
        if self._played_seconds < _LEARNING_SECONDS:
            return self._learn(echo_db, played_db > SILENCE_DB, seconds)
        louder = echo_db - self._echo_db
        if louder > _MARGIN_DB:
            self._open_until = self._now + _OPEN_SECONDS
        step = max(-_FALL_DB * seconds, min(louder, _RISE_DB * seconds))
        self._echo_db = max(_MIN_DB, min(self._echo_db + step, _MAX_DB))
        return self._now < self._open_until

    def _learn(self, echo_db: float, is_playing: bool, seconds: float) -> bool:
        is_speech = echo_db > self._echo_db + _MARGIN_DB
        if not is_speech:
            self._loudest_echo_db = max(echo_db, self._loudest_echo_db)
        self._played_seconds += seconds * is_playing
        if self._played_seconds >= _LEARNING_SECONDS:
            self._echo_db = self._loudest_echo_db
        return is_speech
