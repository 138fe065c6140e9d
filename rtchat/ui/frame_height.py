"""How many rows of the screen the frame of a reply may take."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.console import Console

_RESIZE_SECONDS = 0.3
"""Seconds from the last change of the terminal's size until the frame is shown again: at each
change, rows of a frame could reach the scrollback, where they cannot be erased. tmux reports a
change up to 0.25 s late."""
_MIN_FRAME_ROWS = 6
"""The rows that a frame may always take: on a small screen, and after a change of the size, as the
next change may follow."""
_MAX_SMALL_FRAME_ROWS = 12
"""The rows that a frame may take on a screen that is large enough for it."""


class FrameHeight:
    """The height of the frame, which depends on the terminal and on changes of its size. `now`
    returns seconds."""

    def __init__(self, console: Console, now: Callable[[], float]) -> None:
        self._console = console
        self._now = now
        self._size = console.size
        self._resized_at = -math.inf
        self._was_resized = False
        """Whether the size of the terminal has changed during the reply."""

    def reset(self) -> None:
        """The next frame is that of another reply."""
        self._was_resized = False

    def rows(self, room: int) -> int | None:
        """How many of the free rows the frame may take; None while the size changes."""
        if self._size != self._console.size:
            self._size, self._resized_at, self._was_resized = self._console.size, self._now(), True
        if self._now() < self._resized_at + _RESIZE_SECONDS:
            return None
        return min(room, _MIN_FRAME_ROWS if self._was_resized else self._most(room))

    def _most(self, room: int) -> int:
        """The height of a frame that still fits on the screen, with an entry that was not wrapped
        before, if the terminal wraps both at half of the width."""
        height = self._console.height
        entry = height - room
        wrapped = (height - 2 * entry + 4) // 2  # two borders and an empty row are not wrapped
        return max(min(wrapped, max(height // 3, _MAX_SMALL_FRAME_ROWS)), _MIN_FRAME_ROWS)
