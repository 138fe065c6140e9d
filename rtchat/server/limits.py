"""Limits for the clients of a server, so that one cannot starve the others.

`ServerLimits` has the settings, `MemoryBudget` counts the memory of all sessions, and `EventRate`
limits how fast a client may send. Deterministic and without I/O.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from sys import getsizeof

from rtchat.core.values import value

MB = 1_000_000
_BURST_SECONDS = 10.0
_RESERVE = 96 * MB
"""Enough for four of the longest events."""
_OVERHEAD = 100
"""Roughly how many bytes an object takes besides its contents."""


@value
class ServerLimits:
    """The settings of `serving`. Bytes count memory: items, audio and what waits to be sent."""

    sessions: int = 100
    session_bytes: int = 256 * MB
    total_bytes: int = 1024 * MB
    """For all sessions together."""
    events_per_second: int = 1000
    """A client that sends more is read more slowly."""
    client_seconds: float = 40.0
    """How long a client may leave pings unanswered or read nothing of what it is sent. It limits
    the handshake, too."""
    response_seconds: float = 900.0
    """How long a response may take."""
    image_urls: bool = False
    """Whether `http:` and `https:` URLs of images are passed to the engine."""


class MemoryBudget:
    """Counts the bytes that all sessions hold together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    @property
    def is_spent(self) -> bool:
        return self.held > self.most

    @property
    def is_exceeded(self) -> bool:
        """Whether there is no room left for events to arrive and be refused."""
        return self.held > self.most + _RESERVE


class EventRate:
    """Limits how fast a client may send events; ten seconds' worth of them may come at once."""

    def __init__(self, rate: int, now: float) -> None:
        self._interval = 1 / rate
        self._due = now - _BURST_SECONDS

    def take(self, now: float) -> float:
        """Count an event; return how many seconds it has to wait."""
        self._due = max(self._due, now - _BURST_SECONDS) + self._interval
        return max(0.0, self._due - now)


def size_of(thing: object) -> int:
    """Roughly how many bytes of memory an object takes, including its contents."""
    if isinstance(thing, str | bytes):
        return getsizeof(thing)
    if isinstance(thing, dict):
        return _OVERHEAD + sum(size_of(key) + size_of(entry) for key, entry in thing.items())
    if isinstance(thing, list | tuple):
        return _OVERHEAD + sum(size_of(entry) for entry in thing)
    if is_dataclass(thing):
        return _OVERHEAD + sum(size_of(getattr(thing, field.name)) for field in fields(thing))
    return 8


def return_memory() -> None:
    """Return free memory to the system if the C library would keep it."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
