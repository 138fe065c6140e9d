"""Decodes frames of the server into events, with keys removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from rtchat import wire
from rtchat.core.events import ServerEvent, SessionCreated, Unknown
from rtchat.core.redaction import Redactor
from rtchat.core.values import Dialect, JsonObject

Received: TypeAlias = tuple[JsonObject | str, Sequence[ServerEvent]]
"""A JSON object from the server, or the text of a frame that is not one, and its events."""


class FrameReader:
    """Reads the frames of consecutive connections. `wall` returns the Unix time."""

    def __init__(
        self, redactor: Redactor, forced: Dialect | None, wall: Callable[[], float]
    ) -> None:
        self.dialect = forced or Dialect.GA
        """The forced dialect, or that of the last session that the server reported."""
        self._forced = forced
        self._wall = wall
        self._redactor = redactor
        self._events = wire.EventRedactor(redactor)
        self._decoder = wire.Decoder()

    def connected(self) -> None:
        """Start a new connection."""
        self._events = wire.EventRedactor(self._redactor)
        self._decoder = wire.Decoder()

    def read(self, frame: str | bytes) -> list[Received]:
        """Decode a frame, preceded by the held-back ends of the texts that it completes."""
        data = wire.read_frame(frame)
        if isinstance(data, Unknown):
            shown = frame if isinstance(frame, str) else repr(frame)
            return [(self._redactor.redact(shown), (data,))]
        assert isinstance(frame, str)
        received: list[Received] = []
        for redacted, held in self._events.redact(frame, data):
            events = self._decoder.decode(redacted, held)
            if isinstance(events[0], SessionCreated):
                events[0] = self._created(events[0])
            received.append((redacted, events))
        return received

    def end(self, *, replies_only: bool = False) -> Iterable[JsonObject]:
        """End all texts, or those of replies, and return what was held back of them. The
        conversation has it already."""
        return self._events.end(replies_only=replies_only)

    def _created(self, event: SessionCreated) -> SessionCreated:
        self.dialect = self._forced or event.dialect or Dialect.GA
        if event.expires_at is None:
            return event
        return replace(event, seconds_left=event.expires_at - self._wall())
