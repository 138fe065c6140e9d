"""The values of the vocabulary go through JSON unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    Attached,
    AudioCaptured,
    ConnectionLost,
    ItemAdded,
    LeaveAsked,
    LocalEvent,
    RawSaid,
    Retry,
    ServerEvent,
    UserSaid,
)
from rtchat.core.setup import SessionSetup
from rtchat.core.text import write_json
from rtchat.core.values import Part
from rtchat.trace.value_codec import decode_value, encode_value

PLAIN: dict[object, st.SearchStrategy[Any]] = {
    str: st.text(max_size=5),
    bytes: st.binary(max_size=5),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
    type: st.sampled_from(get_args(ServerEvent)),
    object: st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
        max_leaves=4,
    ),
}


@cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Anything of this type."""
    args = get_args(kind)
    match get_origin(kind):
        case None if kind in PLAIN:
            return PLAIN[kind]
        case None if isinstance(kind, type) and is_dataclass(kind):
            fields = {name: values(hint) for name, hint in get_type_hints(kind).items()}
            return st.fixed_dictionaries(fields).map(lambda given: kind(**given))
        case None if issubclass(kind, Enum):
            return st.sampled_from(kind)
        case origin if origin in (Union, UnionType):
            return st.one_of(*map(values, args))
        case origin if origin is Literal:
            return st.sampled_from(args)
        case origin if origin is tuple:
            return st.lists(values(args[0]), max_size=2).map(tuple)
        case origin if origin is Mapping:
            return st.dictionaries(st.text(max_size=5), values(args[1]), max_size=2)
        case _:
            raise AssertionError(kind)


def through_json(value: object) -> object:
    encoded = encode_value(value)
    assert isinstance(encoded, dict)
    return json.loads(write_json(encoded))


@pytest.mark.parametrize("kind", get_args(LocalEvent), ids=lambda kind: kind.__name__)
@settings(max_examples=20)
@given(st.data())
def test_every_local_event_is_the_same_again(kind: type, data: st.DataObject) -> None:
    event = data.draw(values(kind))
    again = decode_value(through_json(event), LocalEvent)
    assert type(again) is kind
    assert again == event


@settings(max_examples=20)
@given(values(SessionSetup))
def test_so_is_what_a_session_is_made_from(setup: SessionSetup) -> None:
    assert decode_value(through_json(setup), SessionSetup) == setup


@pytest.mark.parametrize(
    ("event", "encoded"),
    [
        (UserSaid("hi"), {"class": "UserSaid", "text": "hi"}),
        (AudioCaptured(b"\0\1"), {"class": "AudioCaptured", "audio": "AAE="}),
        (LeaveAsked(ExitCode.PIPE), {"class": "LeaveAsked", "exit": 141}),
        (
            RawSaid({"type": "x"}, answer=ItemAdded),
            {
                "class": "RawSaid",
                "fields": {"type": "x"},
                "asks": False,
                "answer": "ItemAdded",
                "output_of": "",
            },
        ),
        (
            ConnectionLost(Problem(ExitCode.LINK, "gone"), Retry.ALWAYS, 1.5),
            {
                "class": "ConnectionLost",
                "problem": {
                    "class": "Problem",
                    "exit": 4,
                    "message": "gone",
                    "hint": "",
                    "code": "",
                    "ids": "",
                },
                "retry": "always",
                "retry_after": 1.5,
                "at_once": False,
            },
        ),
    ],
)
def test_how_a_value_looks(event: object, encoded: object) -> None:
    assert encode_value(event) == encoded


def test_a_trace_may_lack_fields_that_are_newer_than_it() -> None:
    data = {"class": "Attached", "name": "a.png", "part": {"class": "Part", "kind": "image"}}
    assert decode_value(data, LocalEvent) == Attached("a.png", Part("image"))


@pytest.mark.parametrize(
    "data",
    [
        None,
        5,
        "UserSaid",
        [],
        {},
        {"class": "Nothing"},
        {"class": []},
        {"class": "UserSaid"},
        {"class": "UserSaid", "text": 5},
        {"class": "UserSaid", "text": "hi", "more": 1},
        {"class": "AudioCaptured", "audio": "no base64!"},
        {"class": "LeaveAsked", "exit": 7},
        {"class": "LeaveAsked", "exit": "0"},
        {"class": "ToolAnswered", "answer": "perhaps"},
        {"class": "ToolAnswered", "answer": []},
        {"class": "CopyAsked", "block": True},
        {"class": "ConversationLoaded", "stored": {"class": "UserSaid", "text": "hi"}},
        {"class": "RawSaid", "fields": [], "asks": False, "answer": None, "output_of": ""},
        {"class": "RawSaid", "fields": {}, "asks": False, "answer": "int", "output_of": ""},
        {"class": "Delta", "channel": "text", "text": "a server's"},
    ],
)
def test_what_is_no_local_event(data: object) -> None:
    with pytest.raises(ValueError, match="is not"):
        decode_value(data, LocalEvent)
