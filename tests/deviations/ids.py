"""Deviations of ids: absent, repeated, different in every event, or in some events only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.deviations.kinds import (
    CALL_EVENTS,
    TEXT_DELTAS,
    TRANSCRIPTION,
    Deviation,
    bodies,
    each,
    edited,
)
from tests.deviations.server import Data, Frame, Server, Transform


def edit_response_ids(data: Data, new: Callable[[str], str | None]) -> None:
    """Change every response id."""
    if "response_id" in data:
        _put(data, "response_id", new(data["response_id"]))
    if isinstance(body := data.get("response"), dict) and "id" in body:
        _put(body, "id", new(body["id"]))


def edit_item_ids(data: Data, new: Callable[[str], str | None]) -> None:
    """Change every item id of a response."""
    if not data["type"].startswith("response."):
        return
    if "item_id" in data:
        _put(data, "item_id", new(data["item_id"]))
    for item in bodies(data):
        if "id" in item:
            _put(item, "id", new(item["id"]))


def edit_call_ids(data: Data, new: Callable[[str], str | None]) -> None:
    """Change every call id."""
    for body in (data, *bodies(data)):
        if "call_id" in body:
            _put(body, "call_id", new(body["call_id"]))


def _put(body: Data, key: str, text: str | None) -> None:
    if text is None:
        body.pop(key, None)
    else:
        body[key] = text


Edit = Callable[[Data, Callable[[str], str | None]], None]


def without_ids(what: str, edit: Edit, *types: str) -> Deviation:
    """The ids are absent, everywhere or in these types."""

    def remove(frame: Frame) -> Iterator[Frame]:
        if not types or frame.type in types:
            edit(frame.data, lambda _: None)
        yield frame

    where = f" in {types[0]}" if types else ""
    hides = [what, "announced ids"]
    return each(f"no {what}{where}", remove, hides=hides, needs=_instead(what))


def _instead(what: str) -> list[str]:
    """What is needed if ids are absent."""
    return ["distinct item ids"] if what == "call ids" else []


def only_in(what: str, edit: Edit, type: str) -> Deviation:
    """The ids are absent but in events of this type."""

    def remove(frame: Frame) -> Iterator[Frame]:
        if frame.type != type:
            edit(frame.data, lambda _: None)
        yield frame

    hides = [what, "announced ids"] if type == "response.done" else [what]
    return each(f"{what} only in {type}", remove, hides=hides, needs=_instead(what))


def fresh_ids(what: str, edit: Edit) -> Deviation:
    """The ids are different in every event."""

    def make() -> Transform:
        def transform(server: Server, _: str, frames: list[Frame]) -> list[Frame]:
            for frame in frames:
                edit(frame.data, lambda _: server.new_id("fresh"))
            return frames

        return transform

    needs = {"call ids": ["item ids"], "item ids": ["call ids", "pieces"]}.get(what, ())
    return Deviation(f"other {what} in every event", make, frozenset({what}), frozenset(needs))


def fresh_in(what: str, edit: Edit, type: str) -> Deviation:
    """The ids are different in events of this type."""

    def change(frame: Frame) -> Iterator[Frame]:
        if frame.type == type:
            edit(frame.data, lambda id: f"other_{id}")
        yield frame

    needs = ["call ids", "pieces"] if what == "item ids" else ()
    hides = [what, "announced ids"]
    return each(f"other {what} in {type}", change, hides=hides, needs=needs)


def constant_ids(what: str, edit: Edit) -> Deviation:
    """The ids are always the same."""
    distinct = {"call ids": "one call id for each call", "item ids": "distinct item ids"}
    hides = [what, distinct.get(what, what)]
    needs = ["announced ids", "announcements"] if what == "response ids" else ()

    def change(frame: Frame) -> Iterator[Frame]:
        edit(frame.data, lambda _: "same")
        yield frame

    return each(f"the same {what} always", change, hides=hides, needs=needs)


def edit_event_ids(data: Data, new: Callable[[str], str | None]) -> None:
    """Change the event id."""
    _put(data, "event_id", new(str(data.get("event_id"))))


def without_field(key: str) -> Deviation:
    """A field of the event is absent."""
    return edited(f"no {key}", lambda data: data.pop(key, None), hides=[key])


def transcript_under(name: str, new: Callable[[str], str | None]) -> Deviation:
    """The transcript of the user's speech has another item's id."""

    def edit(data: Data) -> None:
        if data["type"].startswith(TRANSCRIPTION) and "item_id" in data:
            _put(data, "item_id", new(data["item_id"]))

    return edited(f"the transcript of speech has {name}", edit)


def item_id_as_call_id(type: str) -> Deviation:
    """The call id is that of the item."""

    def change(frame: Frame) -> Iterator[Frame]:
        if frame.type == type and frame.call is not None:
            edit_call_ids(frame.data, lambda _: str(frame.call and frame.call["id"]))
        yield frame

    name = f"the item id as call id in {type}"
    return each(name, change, hides=["call ids"], needs=["item ids"])


IDS: tuple[tuple[str, Edit], ...] = (
    ("response ids", edit_response_ids),
    ("item ids", edit_item_ids),
    ("call ids", edit_call_ids),
)
ALL: tuple[Deviation, ...] = (
    *(make(*each) for each in IDS for make in (without_ids, fresh_ids, constant_ids)),
    *(
        only_in("response ids", edit_response_ids, type)
        for type in ("response.created", "response.done")
    ),
    *(only_in("item ids", edit_item_ids, type) for type in CALL_EVENTS),
    *(only_in("call ids", edit_call_ids, type) for type in CALL_EVENTS),
    *(without_ids(*what, type) for what in IDS for type in CALL_EVENTS),
    *(fresh_in(*IDS[1], type) for type in (*CALL_EVENTS, *TEXT_DELTAS)),
    *(fresh_in(*IDS[0], type) for type in ("response.created", "response.done")),
    *(item_id_as_call_id(type) for type in CALL_EVENTS),
    without_ids("event ids", edit_event_ids),
    constant_ids("event ids", edit_event_ids),
    *map(without_field, ("output_index", "content_index")),
    transcript_under("another id", lambda id: f"other_{id}"),
    transcript_under("no id", lambda _: None),
)
