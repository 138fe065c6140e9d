"""The callbacks of a connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from inspect import isawaitable
from typing import Any, NamedTuple, TypeAlias, TypeVar

from rtchat.core.errors import RealtimeError
from rtchat.core.values import JsonObject
from rtchat.wire import type_to_ga

Listener: TypeAlias = Callable[[Any], object]
F = TypeVar("F", bound=Listener)


class _Entry(NamedTuple):
    callback: Listener
    is_once: bool


class Listeners:
    """Callbacks by event type; those of "event" are called for every event."""

    def __init__(self) -> None:
        self._entries: dict[str, list[_Entry]] = {}

    def add(self, kind: str, callback: Listener, *, is_once: bool) -> None:
        """Add a callback."""
        self._entries.setdefault(type_to_ga(kind), []).append(_Entry(callback, is_once))

    def remove(self, kind: str, callback: Listener) -> None:
        """Remove a callback, if it is registered."""
        entries = self._entries.get(type_to_ga(kind), [])
        for entry in entries:
            if entry.callback == callback:
                entries.remove(entry)
                return

    def has(self, kind: str) -> bool:
        """Whether there is a callback for this type."""
        return bool(self._entries.get(kind))

    def call(self, event: JsonObject) -> Iterator[Awaitable[object]]:
        """Call the callbacks for an event one after another, and yield the awaitables that they
        return: await each before the next callback. Those for errors receive a `RealtimeError`."""
        kind = str(event["type"])
        argument = RealtimeError(event) if kind == "error" else event
        for name, given in (("event", event), (kind, argument)):
            for entry in tuple(self._entries.get(name, ())):
                if entry.is_once and entry in self._entries[name]:
                    self._entries[name].remove(entry)
                result = entry.callback(given)
                if isawaitable(result):
                    yield result
