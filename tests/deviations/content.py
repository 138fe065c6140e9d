"""Deviations of what events contain."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from tests.deviations.kinds import (
    ARGUMENTS,
    CALL_EVENTS,
    TEXT_DELTAS,
    TEXT_DONE,
    Deviation,
    bodies,
    each,
    edited,
)
from tests.deviations.server import Data, Frame, Server, Transform

TEXT_KEYS = ("text", "transcript")
ARGUMENT_EVENTS = (
    "response.output_item.added",
    f"{ARGUMENTS}.delta",
    f"{ARGUMENTS}.done",
    "response.output_item.done",
    "response.done",
)
TEXT_EVENTS = (
    TEXT_DELTAS,
    TEXT_DONE,
    ("response.content_part.done",),
    ("response.output_item.done",),
    ("response.done",),
)


def text_only_in(types: tuple[str, ...]) -> Deviation:
    """The text of a reply is in no other event."""

    def change(frame: Frame) -> list[Frame]:
        is_text = frame.type in TEXT_DELTAS
        if frame.type in types or not frame.type.startswith("response."):
            return [frame]
        if is_text:
            return []
        data = frame.data
        if frame.type in TEXT_DONE:
            for key in TEXT_KEYS:
                data.pop(key, None)
        if "part" in data:
            data["part"] = {"type": data["part"]["type"]}
        for item in bodies(data):
            if item.get("type") == "message":
                item["content"] = []
        return [frame]

    return each(f"text only in {types[0]}", change)


def arguments_only_in(type: str) -> Deviation:
    """The arguments of calls are in no other event."""

    def change(frame: Frame) -> list[Frame]:
        if frame.type == type:
            if type == "response.output_item.added" and frame.call is not None:
                frame.data["item"]["arguments"] = frame.call["arguments"]
            return [frame]
        if frame.type == f"{ARGUMENTS}.delta":
            return []
        if frame.type == f"{ARGUMENTS}.done":
            frame.data.pop("arguments", None)
        for item in bodies(frame.data):
            if item.get("type") == "function_call":
                item["arguments"] = ""
        return [frame]

    needs = ["item ids", "pieces"] if type == f"{ARGUMENTS}.delta" else ()
    return each(f"arguments only in {type}", change, needs=needs)


def name_only_in(type: str) -> Deviation:
    """The names of called tools are in no other event."""

    def edit(data: Data) -> None:
        if data["type"] == type:
            return
        if data["type"] == f"{ARGUMENTS}.done":
            data.pop("name", None)
        for item in bodies(data):
            item.pop("name", None)

    return edited(f"the name only in {type}", edit)


def arguments_as_object(*types: str) -> Deviation:
    """The arguments of calls are objects in these events, or everywhere."""

    def change(frame: Frame) -> Iterator[Frame]:
        if not types or frame.type in types:
            for body in (frame.data, *bodies(frame.data)):
                if isinstance(text := body.get("arguments"), str):
                    body["arguments"] = json.loads(text or "{}")
        yield frame

    return each(f"arguments as objects{f' in {types[0]}' if types else ''}", change)


def cumulative(*types: str) -> Deviation:
    """Deltas have the whole text so far."""

    def make() -> Transform:
        texts: dict[tuple[str, str], str] = {}

        def transform(_: Server, __: str, frames: list[Frame]) -> list[Frame]:
            for frame in frames:
                if frame.type in types:
                    key = frame.type, str(frame.call and frame.call["id"]) + str(id(frame.response))
                    texts[key] = texts.get(key, "") + frame.piece
                    frame.data["delta"] = texts[key]
            return frames

        return transform

    return Deviation(f"cumulative {types[0]}", make, needs=frozenset({"pieces"}), order=-1)


def output(name: str, edit: Callable[[Data], object], *, hides: Iterable[str] = ()) -> Deviation:
    """`response.done` has other contents."""

    def change(data: Data) -> None:
        if data["type"] == "response.done" and "response" in data:
            edit(data)

    return edited(f"response.done with {name}", change, hides=hides)


def only_id_and_status(data: Data) -> None:
    """Leave out all other fields."""
    body = data["response"]
    data["response"] = {key: body[key] for key in ("id", "status") if key in body}


def nulls(data: Data) -> None:
    """Add null for optional fields."""
    for key in ("previous_item_id", "obfuscation", "logprobs"):
        data.setdefault(key, None)
    if isinstance(body := data.get("response"), dict):
        for key in ("metadata", "usage", "status_details", "conversation_id", "audio"):
            body.setdefault(key, None)
    for item in bodies(data):
        for key in ("status", "object", "phase"):
            item.setdefault(key, None)


def binary(*, every: int) -> Deviation:
    """JSON is in binary frames."""

    def make() -> Transform:
        number = 0

        def transform(_: Server, __: str, frames: list[Frame]) -> list[Frame]:
            nonlocal number
            for frame in frames:
                number += 1
                frame.is_binary = number % every == 0
            return frames

        return transform

    return Deviation(f"JSON in {'all' if every == 1 else 'some'} binary frames", make)


def among(name: str, **fields: object) -> Deviation:
    """An event after every other."""
    return each(f"{name} after every event", lambda f: [f, Frame({"type": name, **fields})])


ALL: tuple[Deviation, ...] = (
    *map(text_only_in, TEXT_EVENTS),
    *map(arguments_only_in, ARGUMENT_EVENTS),
    *map(name_only_in, CALL_EVENTS),
    arguments_as_object(),
    *map(arguments_as_object, CALL_EVENTS),
    cumulative(*TEXT_DELTAS),
    cumulative(f"{ARGUMENTS}.delta"),
    output("an empty output", lambda data: data["response"].update(output=[])),
    output("only id and status", only_id_and_status),
    output("no status", lambda data: data["response"].pop("status", None)),
    output("nothing in it", lambda data: data.pop("response", None), hides=["response ids"]),
    edited("nulls", nulls),
    binary(every=1),
    binary(every=2),
    among("ping"),
    among("vendor.event", payload={"x": [1]}),
)
