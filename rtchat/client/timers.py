"""The timers of a session, and the detection of system sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rtchat.core.events import Timer

SUSPENDED_SECONDS = 0.1
"""If a timer is this many seconds late, the program was suspended or blocked."""
WAITS_FOR_SERVER = frozenset(
    {
        Timer.START,
        Timer.SETUP,
        Timer.STALL,
        Timer.OVERDUE,
        Timer.OWNER,
        Timer.TRANSCRIPT,
        Timer.INPUT,
    }
)
"""Timers that limit the wait for the server."""
CHECK_EVERY, SLEEP_SECONDS = 5.0, 30.0
"""Seconds between checks of the clocks, and the difference in seconds that means system sleep."""


class Timers:
    """Calls `fired` when a timer is due. Timers that wait for the server do not count time in which
    frames could not be read, or (`is_waiting`) a question was not sent yet."""

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
        self._last_activity = 0.0

    def restart_stall(self) -> None:
        """Restart the stall timer: the server sent or received something."""
        self._last_activity = self._now()

    def set(self, timer: Timer, seconds: float) -> None:
        """Start or restart a timer."""
        self.clear(timer)
        if timer is Timer.STALL:
            self._stall_seconds = seconds
            self._last_activity = self._now()
        self._start(timer, seconds)

    def clear(self, timer: Timer) -> None:
        """Stop a timer if it is running."""
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
                self._last_activity = now
            left = self._last_activity + self._stall_seconds - now
        if now - due > SUSPENDED_SECONDS and timer in WAITS_FOR_SERVER:
            # Frames that arrived in the meantime are not read yet.
            left = max(left, min(now - due, seconds))
        if left > 0:
            self._start(timer, left)
        else:
            self._fired(timer)


class SleepWatch:
    """Calls `slept` with the seconds that the computer slept: then the clock `wall` advanced more
    than `now`. The connection is dead afterwards, but no error would report it for a while."""

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
        """Start watching."""
        self._check(self._wall() - self._now())

    def stop(self) -> None:
        """Stop watching."""
        if self._handle is not None:
            self._handle.cancel()

    def _check(self, ahead: float) -> None:
        slept = self._wall() - self._now() - ahead
        if slept < SLEEP_SECONDS:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(CHECK_EVERY, self._check, ahead + slept)
        else:
            self._slept(slept)
