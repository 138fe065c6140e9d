"""The latest levels of a microphone, as bars."""

from __future__ import annotations

from collections import deque

BARS = "▁▂▃▄▅▆▇█"
SHOWN = 4
"""How many of the latest levels are shown."""


class LevelBars:
    """The bars. Levels are from 0 to 1 on a decibel scale."""

    def __init__(self) -> None:
        self._bars: deque[str] = deque(maxlen=SHOWN)
        self.clear()

    def clear(self) -> None:
        """Show silence."""
        self._bars.extend(BARS[0] * SHOWN)

    def add(self, level: float) -> None:
        """Add a level."""
        self._bars.append(BARS[min(int(level * len(BARS)), len(BARS) - 1)])

    def __str__(self) -> str:
        return "".join(self._bars)
