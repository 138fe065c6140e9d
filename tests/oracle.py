"""A strict check of events against the types of the official `openai` package.

Those types accept unknown fields; here, an unknown or mistyped field is an error. Fields that the
types lack but recordings of the real service contain are listed in `_SEEN`, with their source.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from openai.types.realtime import RealtimeServerEvent, RealtimeTranslationServerEvent
from openai.types.realtime.realtime_client_event_param import RealtimeClientEventParam
from openai.types.realtime.realtime_response_create_params_param import (
    RealtimeResponseCreateParamsParam,
)
from openai.types.realtime.realtime_session_create_request_param import (
    RealtimeSessionCreateRequestParam,
)
from openai.types.realtime.realtime_translation_client_event_param import (
    RealtimeTranslationClientEventParam,
)
from pydantic import BaseModel, TypeAdapter, ValidationError

_SEEN = {
    "session.id",  # every recorded session has these three
    "session.object",
    "session.expires_at",
    "response.status_details.error.message",  # reports of failures quote it
    "item.phase",  # gpt-realtime-2.1: commentary or final answer
    "response.output[].phase",
    "obfuscation",  # every recorded delta
}


def assert_server_event(event: Mapping[str, object]) -> None:
    """Fail unless this is an event that a GA server may send."""
    _assert_event(event, RealtimeServerEvent)


def assert_client_event(event: Mapping[str, object]) -> None:
    """Fail unless this is an event that a GA client may send."""
    _assert_event(event, RealtimeClientEventParam)


def assert_translation_event(event: Mapping[str, object]) -> None:
    """Fail unless this is an event that a server for translations may send."""
    _assert_event(event, RealtimeTranslationServerEvent)


def assert_translation_command(event: Mapping[str, object]) -> None:
    """Fail unless this is an event that a server for translations accepts."""
    _assert_event(event, RealtimeTranslationClientEventParam)


def _assert_event(event: Mapping[str, object], union: Any) -> None:
    shape = _by_type(union).get(str(event.get("type")))
    assert shape is not None, f"no event of the API: {event.get('type')!r}"
    try:
        _reader(shape).validate_python(event, strict=True)
        leftovers = [path for path in _leftovers(event, shape, "") if path not in _SEEN]
    except ValidationError as error:
        raise AssertionError(f"{event}\n{error}") from None
    assert leftovers == [], f"{event.get('type')} has fields that the API does not: {leftovers}"


@cache
def _reader(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)  # takes milliseconds to create


@cache
def _by_type(union: Any) -> dict[str, Any]:
    shapes = {}
    for shape in _members(union):
        for name in get_args(_unwrap(_fields(shape)["type"])):
            shapes[name] = shape
    return shapes


def _members(shape: Any) -> list[Any]:
    """The alternatives of a union, flattened; a type that is not a union is its only one."""
    shape = _unwrap(shape)
    if get_origin(shape) in (Union, types.UnionType):
        return [leaf for part in get_args(shape) for leaf in _members(part)]
    return [shape]


def _unwrap(shape: Any) -> Any:
    while hasattr(shape, "__value__"):  # a `type X = …` alias
        shape = shape.__value__
    if get_origin(shape) is Annotated or str(get_origin(shape)) in _QUALIFIERS:
        return _unwrap(get_args(shape)[0])
    return shape


_QUALIFIERS = ("typing.Required", "typing_extensions.Required", "typing.NotRequired")


def _fields(shape: Any) -> dict[str, Any]:
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return {field.alias or name: field.annotation for name, field in shape.model_fields.items()}
    return get_type_hints(shape, include_extras=True)


def _is_record(shape: Any) -> bool:
    is_typed_dict = hasattr(shape, "__required_keys__")  # of `typing` or of `typing_extensions`
    return is_typed_dict or (isinstance(shape, type) and issubclass(shape, BaseModel))


def _leftovers(value: Any, shape: Any, path: str) -> list[str]:
    """The paths of the fields that no matching alternative of the type names."""
    found = [_unknown(value, member, path) for member in _members(shape) if _fits(value, member)]
    return min(found, key=len, default=[])


def _fits(value: Any, member: Any) -> bool:
    """Whether the literal fields of a record match; validation has checked the others."""
    if not isinstance(value, dict):
        return True
    if not _is_record(member):
        return get_origin(member) is dict or member in (dict, object, Any)
    for name, annotation in _fields(member).items():
        words = [word for part in _members(annotation) for word in _words(part)]
        if words and name in value and value[name] not in words and value[name] is not None:
            return False
    return True


def _words(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _unknown(value: Any, shape: Any, path: str) -> list[str]:
    if isinstance(value, list):
        inner = (get_args(shape) or (Any,))[0]
        if get_origin(shape) is Iterable:  # pydantic looks into one only when it is walked
            for entry in value:
                TypeAdapter(inner).validate_python(entry, strict=True)
        return [leftover for entry in value for leftover in _leftovers(entry, inner, f"{path}[]")]
    if not isinstance(value, dict) or not _is_record(shape):
        return []
    fields = _fields(shape)
    prefix = f"{path}." if path else ""
    out: list[str] = []
    for name, entry in value.items():
        known = fields.get(name)
        if known is None:
            out.append(f"{prefix}{name}")
        else:
            out.extend(_leftovers(entry, known, f"{prefix}{name}"))
    return out


def session_options() -> set[str]:
    """The dotted names of all session options."""
    return _leaves(RealtimeSessionCreateRequestParam, "")


def response_options() -> set[str]:
    """The dotted names of all response options."""
    return _leaves(RealtimeResponseCreateParamsParam, "")


def _leaves(shape: Any, path: str) -> set[str]:
    out = set()
    for member in _members(shape):
        fields = _fields(member) if _is_record(member) else {}
        for name, inner in fields.items():
            out |= _leaves(inner, f"{path}.{name}" if path else name)
        if not fields and member is not types.NoneType:
            out.add(path)
    return out
