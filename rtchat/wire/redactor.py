"""Removes the user's keys from a server's events.

A server may send them back in any string of an event, or spread over several deltas of one text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from rtchat.core.redaction import Redactor, StreamRedactor
from rtchat.core.values import JsonObject
from rtchat.wire.beta import type_to_ga
from rtchat.wire.fields import Fields

_Place: TypeAlias = tuple[str, str, int]
_AUDIO = "audio.delta"
_ENDS = frozenset({"done", "completed", "failed"})
_BEGINS = frozenset({"response.created", "input_audio_buffer.committed"})
_PART = "response.content_part"
_OF_ITEMS = frozenset({_PART, "response.output_item", "conversation.item"})


@dataclass
class _Text:
    """A text that arrives in deltas, and its last delta."""

    stream: StreamRedactor
    stem: str
    item_id: str
    delta: dict[str, object]


class EventRedactor:
    """Removes keys from the events of one connection, which come in order."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._texts: dict[_Place, _Text] = {}
        """Texts that may end with the beginning of a key."""

    def redact(
        self, frame: str, event: dict[str, object]
    ) -> Iterable[tuple[dict[str, object], str]]:
        """Remove the keys from an event; `frame` is its JSON. Returns the events to handle, each
        with the part of its delta that is held back for a later event."""
        redactor = self._redactor
        if not redactor.secrets:
            return ((event, ""),)
        delta, kind = event.get("delta"), event["type"]
        is_text = begins = False
        # Audio is not text: in base64, a key may appear by chance.
        if isinstance(delta, str) and isinstance(kind, str) and not kind.endswith(_AUDIO):
            is_text, begins = True, redactor.begins.search(delta) is not None
        if redactor.may_be_in_json(frame):
            event = without_keys(event, redactor) | ({"delta": delta} if is_text else {})
        if begins or (is_text and self._texts):
            return (self._read_delta(event),)
        if self._texts:
            return (*((end, "") for end in self._ended_by(event)), (event, ""))
        return ((event, ""),)

    def end(self, *, replies_only: bool = False) -> Iterator[dict[str, object]]:
        """Yield the text that is still held back: all of it, or only that of replies."""
        for place in list(self._texts):
            if not replies_only or place[0].startswith("response."):
                yield from self._end(place)

    def _read_delta(self, event: dict[str, object]) -> tuple[dict[str, object], str]:
        place = _place(event)
        text = self._texts.get(place)
        if text is None:
            text = self._texts[place] = _Text(StreamRedactor(self._redactor), *place[:2], event)
        text.delta = event
        event["delta"] = text.stream.feed(str(event["delta"]))
        if text.stream.is_idle:
            del self._texts[place]
        return event, text.stream.held

    def _ended_by(self, event: JsonObject) -> Iterator[dict[str, object]]:
        """The last deltas of the texts that an event ends."""
        kind = type_to_ga(str(event["type"]))
        if kind in _BEGINS:  # earlier texts have ended
            self._texts = {place: text for place, text in self._texts.items() if text.stream.held}
        stem, _, what = kind.rpartition(".")
        if what not in _ENDS:
            return
        fields = Fields(event, [])
        item_id = fields.text("item_id") or fields.fields("item").text("id")
        for place, text in list(self._texts.items()):
            is_over = place == _place(event)
            if text.stem.startswith("response."):
                of_item = text.item_id == item_id and stem in _OF_ITEMS
                of_part = stem != _PART or place[2] == _place(event)[2]
                is_over |= stem == "response" or (of_item and of_part)
            if is_over:
                yield from self._end(place)

    def _end(self, place: _Place) -> Iterator[dict[str, object]]:
        text = self._texts[place]
        if last := text.stream.end():
            yield {**text.delta, "delta": last}
        if text.stream.is_idle:
            del self._texts[place]


@lru_cache(maxsize=64)
def _stem(kind: str) -> str:
    return type_to_ga(kind).rpartition(".")[0]


def _place(delta: JsonObject) -> _Place:
    """Identifies the text of a delta: a part of a reply, or the transcript of a spoken item."""
    stem = _stem(str(delta["type"]))
    if not stem.startswith("response."):
        return stem, Fields(delta, []).text("item_id"), 0
    item_id, index = delta.get("item_id"), delta.get("content_index")
    if isinstance(item_id, str) and item_id.isascii() and type(index) is int:  # the fast path
        return stem, item_id, index
    fields = Fields(delta, [])
    return stem, fields.text("item_id"), fields.integer("content_index")


def without_keys(event: JsonObject, redactor: Redactor) -> dict[str, object]:
    """A JSON object with the keys removed from its names and values."""
    return {redactor.redact(name): _clean(entry, redactor) for name, entry in event.items()}


def _clean(entry: object, redactor: Redactor) -> object:
    match entry:
        case str():
            return redactor.redact(entry)
        case dict():
            return without_keys(entry, redactor)
        case list():
            return [_clean(each, redactor) for each in entry]
        case int() if (digits := str(entry)) != (shown := redactor.redact(digits)):
            return shown
        case _:
            return entry
