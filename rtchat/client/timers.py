"""The timers of a session, and the watch for a computer that slept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rtchat.core.events import Timer

STOOD_STILL = 0.1
"""A timer that is this many seconds late means that the program was stopped meanwhile."""
WAITS_FOR_SERVER = frozenset({Timer.START, Timer.STALL, Timer.HEARD, Timer.INPUT})
"""Timers that limit the wait for the server."""
LOOK_EVERY, SLEPT = 5.0, 30.0
"""Seconds between two looks at the clocks, and by how many they must differ to mean a sleep."""


class Timers:
    """Calls `fired` when a timer is due. Time in which the server could not be heard, or was not
    asked yet (`is_waiting`), does not count against it."""

    def __init__(
        self,
        fired: Callable[[Timer], None],
        now: Callable[[], float],
        is_waiting: Callable[[], bool],
    ) -> None:
        self._fired = fired
        self._now = now
        self._is_waiting = is_waiting
        self._handles: dict[Timer, asyncio.TimerHandle] = {}
        self._stall_seconds = 0.0
        self._last_word = 0.0

    def heard(self) -> None:
        """The server sent something, or took something: its silence begins anew."""
        self._last_word = self._now()

    def set(self, timer: Timer, seconds: float) -> None:
        """Start a timer, or start it again."""
        self.clear(timer)
        if timer is Timer.STALL:
            self._stall_seconds = seconds
            self._last_word = self._now()
        self._start(timer, seconds)

    def clear(self, timer: Timer) -> None:
        """Stop a timer, if it runs."""
        if handle := self._handles.pop(timer, None):
            handle.cancel()

    def stop(self) -> None:
        """Stop all timers."""
        for timer in list(self._handles):
            self.clear(timer)

    def _start(self, timer: Timer, seconds: float) -> None:
        due = self._now() + seconds
        loop = asyncio.get_running_loop()
        self._handles[timer] = loop.call_later(seconds, self._fire, timer, seconds, due)

    def _fire(self, timer: Timer, seconds: float, due: float) -> None:
        del self._handles[timer]
        now = self._now()
        left = 0.0
        if timer is Timer.STALL:
            if self._is_waiting():
                self._last_word = now
            left = self._last_word + self._stall_seconds - now
        if now - due > STOOD_STILL and timer in WAITS_FOR_SERVER:
            # What the server sent meanwhile is not read yet.
            left = max(left, min(now - due, seconds))
        if left > 0:
            self._start(timer, left)
        else:
            self._fired(timer)


class SleepWatch:
    """Calls `slept` with the seconds that the computer slept. Meanwhile its wall clock runs on and
    the other clock stands still; the connection is dead afterwards, which this side would be the
    last to notice."""

    def __init__(
        self,
        slept: Callable[[float], None],
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._slept = slept
        self._now = now
        self._wall = wall
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._look(self._wall() - self._now())

    def stop(self) -> None:
        """Watch no longer."""
        if self._handle is not None:
            self._handle.cancel()

    def _look(self, ahead: float) -> None:
        slept = self._wall() - self._now() - ahead
        if slept < SLEPT:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(LOOK_EVERY, self._look, ahead + slept)
        else:
            self._slept(slept)
