"""Limits for the clients of a server, so that no client can block the others.

`ServerLimits` holds the settings, `MemoryBudget` tracks the memory of all sessions, and `EventRate`
limits how fast a client may send. Deterministic and without I/O.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from sys import getsizeof

from rtchat.core.values import value

MB = 1_000_000
_BURST_SECONDS = 10.0
_RESERVE = 96 * MB
"""Room for four events of the maximum size."""
_OVERHEAD = 100
"""The approximate size of an object without its contents, in bytes."""


@value
class ServerLimits:
    """The limits of `run_server`. Byte limits apply to items, audio and unsent events."""

    sessions: int = 100
    session_bytes: int = 256 * MB
    total_bytes: int = 1024 * MB
    """The limit for all sessions together."""
    events_per_second: int = 1000
    """The server reads more slowly from a client that sends more."""
    client_seconds: float = 40.0
    """How long a client may leave pings unanswered or not read what it is sent. Also limits the
    handshake."""
    response_seconds: float = 900.0
    """How long a response may take."""
    image_urls: bool = False
    """Whether `http:` and `https:` URLs of images are passed to the engine."""


class MemoryBudget:
    """Tracks the memory of all sessions together, in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0

    @property
    def is_exhausted(self) -> bool:
        return self.used > self.max_bytes

    @property
    def is_exceeded(self) -> bool:
        """Whether there is not even room to receive events and refuse them."""
        return self.used > self.max_bytes + _RESERVE


class EventRate:
    """Limits how fast a client may send events. A burst of ten seconds' worth is allowed."""

    def __init__(self, rate: int, now: float) -> None:
        self._interval = 1 / rate
        self._next_due = now - _BURST_SECONDS

    def count(self, now: float) -> float:
        """Count an event. Returns how many seconds the client must wait."""
        self._next_due = max(self._next_due, now - _BURST_SECONDS) + self._interval
        return max(0.0, self._next_due - now)


def size_of(thing: object) -> int:
    """The approximate size of an object and its contents, in bytes."""
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
    """Return freed memory to the operating system, where the C library would keep it."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
