"""Detects an echo that is left in the audio of an echo canceller.

Its loudness follows that of what is played. The loudness of the user's speech does not, so speech
during a reply is not taken for an echo.
"""

from __future__ import annotations

from collections import deque

_WINDOW = 150
"""How many levels, of 20 ms each, are compared: 3 s."""
_MAX_DELAY = 60
"""The maximum delay of the echo, in levels: 1.2 s."""
_INTERVAL = 25
"""The number of levels between two comparisons: 0.5 s."""
_MIN_DB = -50.0
"""Quieter audio, in decibels of full scale, does not count as an echo."""
_ECHO, _NO_ECHO = 0.65, 0.4
"""An echo is detected once the correlation reaches the first value, and until it falls below the
second. The user's speech during a reply reaches 0.58. An echo that is later than the canceller
expects has 0.75 on average."""


class ResidualEcho:
    """Compares the levels of cleaned and played audio, of 20 ms each."""

    def __init__(self) -> None:
        self.is_echo = False
        """Whether there was an echo at the last comparison."""
        self._played: deque[float] = deque(maxlen=_WINDOW + _MAX_DELAY)
        self._cleaned: deque[float] = deque(maxlen=_WINDOW)
        self._until_next = _INTERVAL

    def add(self, cleaned_db: float, played_db: float) -> None:
        """Add the levels of 20 ms of each, in decibels of full scale."""
        self._played.append(10 ** (played_db / 20))
        self._cleaned.append(10 ** (cleaned_db / 20))
        self._until_next -= 1
        if self._until_next <= 0 and len(self._played) == _WINDOW + _MAX_DELAY:
            self._until_next = _INTERVAL
            correlation = self._correlation()
            self.is_echo = correlation >= (_NO_ECHO if self.is_echo else _ECHO)

    def _correlation(self) -> float:
        """The highest correlation at any delay."""
        import numpy as np

        if max(self._cleaned) < 10 ** (_MIN_DB / 20):
            return 0.0
        delayed = np.lib.stride_tricks.sliding_window_view(np.array(self._played), _WINDOW)
        played = delayed - delayed.mean(axis=1, keepdims=True)
        cleaned = np.array(self._cleaned) - np.mean(self._cleaned)
        scale = np.linalg.norm(played, axis=1) * np.linalg.norm(cleaned)
        correlations = played @ cleaned / np.maximum(scale, 1e-12)
        return float(correlations.max())
