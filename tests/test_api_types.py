"""The types of events that type checkers see, compared with those of the official package."""

from __future__ import annotations

import types
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel

from rtchat.wire.event_types import Event

_OURS_ONLY = {"conversation.item.created"}


def _unwrap(shape: Any) -> Any:
    while get_origin(shape) in (Annotated, NotRequired, Required):
        shape = get_args(shape)[0]
    return shape


def _members(shape: Any) -> list[Any]:
    shape = _unwrap(shape)
    if get_origin(shape) in (Union, types.UnionType):
        return [leaf for part in get_args(shape) for leaf in _members(part)]
    if get_origin(shape) is Literal:
        return [Literal[word] for word in get_args(shape)]
    return [shape]


def _fields(shape: Any) -> dict[str, tuple[Any, bool]]:
    """The fields of a record, each with its type and whether it is required."""
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        fields = shape.model_fields.items()
        return {key: (info.annotation, info.is_required()) for key, info in fields}
    hints = get_type_hints(shape, include_extras=True)
    return {key: (hint, get_origin(hint) is not NotRequired) for key, hint in hints.items()}


def _is_model(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, BaseModel)


def _check(ours: Any, official: Any, path: str) -> None:
    """Fail unless each value of the official type is one of ours."""
    for member in _members(official):
        assert any(_accepts(own, member, path) for own in _members(ours)), (path, ours, member)


def _accepts(own: Any, member: Any, path: str) -> bool:
    if own in (member, Any, object) or (own is float and member is int):
        return True
    if get_origin(member) is Literal:
        return own is type(get_args(member)[0])
    if _is_model(member):
        return get_origin(own) is dict or (is_typeddict(own) and _is_same_record(own, member, path))
    if get_origin(member) is list and get_origin(own) is list:
        _check(get_args(own)[0], get_args(member)[0], f"{path}[]")
        return True
    return get_origin(own) is dict and get_origin(member) is dict


def _is_same_record(own: Any, member: Any, path: str) -> bool:
    """Whether a record is the one for this model; then its fields must fit."""
    mine, theirs = _fields(own), _fields(member)
    if not _tags(theirs) <= (_tags(mine) or _tags(theirs)):
        return False
    missing = theirs.keys() - mine.keys()
    assert missing == set(), f"{path}: fields that are missing here: {missing}"
    for name, (shape, is_required) in theirs.items():
        hint, is_needed = mine[name]
        assert is_required or not is_needed, f"{path}.{name} may be absent"
        _check(hint, shape, f"{path}.{name}")
    return True


def _tags(fields: dict[str, tuple[Any, bool]]) -> set[str]:
    """The types that a record may have, if they are listed."""
    shape, _ = fields.get("type", (None, False))
    return {word for member in _members(shape) for word in get_args(member)}


OFFICIAL = {
    word: model
    for model in _members(RealtimeServerEvent)
    for word in get_args(_fields(model)["type"][0])
}
OURS = {
    word: shape for shape in _members(Event) for word in get_args(get_type_hints(shape)["type"])
}


def test_every_event_of_the_api_has_a_type() -> None:
    assert OFFICIAL.keys() <= OURS.keys()
    assert OURS.keys() - OFFICIAL.keys() <= _OURS_ONLY


@pytest.mark.parametrize("kind", sorted(OFFICIAL))
def test_an_event_has_the_official_fields(kind: str) -> None:
    ours, official = _fields(OURS[kind]), _fields(OFFICIAL[kind])
    assert ours.keys() == official.keys()
    for name, (shape, is_required) in official.items():
        hint, is_needed = ours[name]
        assert is_required or not is_needed, f"{name} may be absent"
        _check(hint, shape, f"{kind}.{name}")


def test_a_type_that_differs_is_found() -> None:
    with pytest.raises(AssertionError):
        _check(int, str, "x")
    with pytest.raises(AssertionError):
        _check(OURS["response.done"], OFFICIAL["error"], "x")
