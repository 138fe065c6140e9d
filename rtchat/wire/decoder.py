"""Decodes the events of one connection, without repetitions."""

from __future__ import annotations

from rtchat.core.events import ServerEvent, Unknown
from rtchat.core.values import JsonObject
from rtchat.wire import beta
from rtchat.wire.events import decode


class Decoder:
    """Decodes each event once. Some servers send an event under both names, or send it twice."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        """For each type of event with two names, the name that the server used first."""
        self._last: JsonObject = {}
        self._ids_vary = False
        """Whether two consecutive events had different ids; some servers always send the same."""

    def decode(self, data: JsonObject, held: str = "") -> list[ServerEvent]:
        """The events in a JSON object of the server; see `events.decode`."""
        if self.is_repeated(data):
            return [Unknown(str(data["type"]), "the server sent this event twice")]
        return decode(data, held)

    def is_repeated(self, data: JsonObject) -> bool:
        """Whether this event, the next one, is the same as an earlier one."""
        kind = data.get("type")
        if not isinstance(kind, str):
            return False
        if kind in beta.RENAMED and self._names.setdefault(beta.type_to_ga(kind), kind) != kind:
            return True
        last, self._last = self._last, data
        event_id, last_id = data.get("event_id"), last.get("event_id")
        if event_id != last_id:
            self._ids_vary = self._ids_vary or bool(last)
            return False
        return bool(event_id) and self._ids_vary and data == last
