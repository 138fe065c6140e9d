"""Encodes the values of `core` as JSON and decodes them.

A value becomes an object with its fields and the name of its class as `class`, which cannot be the
name of a field. Tuples become arrays, enumerations their values, bytes base64, and classes their
names. Fields are decoded by their annotations. Renaming a class or a field changes the format of
traces.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from rtchat.core.events import ServerEvent

CLASS = "class"
_SERVER_EVENTS = {kind.__name__: kind for kind in get_args(ServerEvent)}
"""The only classes that fields may refer to, by name."""


def encode_value(data: object) -> object:
    """Encode a value, or anything that a field may hold, as JSON."""
    match data:
        case Enum():
            return data.value
        case bytes():
            return b64encode(data).decode()
        case type():
            return data.__name__
        case tuple() | list():
            return [encode_value(each) for each in data]
        case Mapping():
            return {key: encode_value(each) for key, each in data.items()}
        case _ if is_dataclass(data):
            names = (each.name for each in fields(data))
            inner = {name: encode_value(getattr(data, name)) for name in names}
            return {CLASS: type(data).__name__, **inner}
        case _:
            return data


def decode_value(data: object, kind: Any) -> Any:
    """Decode the JSON of `encode_value`; `kind` is its type, a class or an annotation.

    Raises:
        ValueError: the data is not of this type.
    """
    match get_origin(kind):
        case None:
            return _decode_plain(data, kind)
        case origin if origin is Union or origin is UnionType:
            for each in get_args(kind):
                with suppress(ValueError):
                    return decode_value(data, each)
        case origin if origin is Literal:
            if data in get_args(kind):
                return data
        case origin if origin is tuple and isinstance(data, list):
            return tuple(decode_value(each, get_args(kind)[0]) for each in data)
        case origin if origin is Mapping and isinstance(data, dict):
            return {key: decode_value(each, get_args(kind)[1]) for key, each in data.items()}
        case _:
            pass
    raise _wrong(data, kind)


def _decode_plain(data: object, kind: Any) -> Any:
    """Decode data of a type without parameters."""
    match data:
        case _ if kind is object:
            return data
        case dict() if is_dataclass(kind) and data.get(CLASS) == _name(kind):
            return _decode_fields(data, kind)
        case str() if kind is bytes:
            return b64decode(data, validate=True)
        case str() if kind is type and data in _SERVER_EVENTS:
            return _SERVER_EVENTS[data]
        case str() | int() if issubclass(kind, Enum):
            return kind(data)
        case int() | float() if kind is float and not isinstance(data, bool):
            return data
        case None | str() | int() if type(data) is kind:
            return data
        case _:
            raise _wrong(data, kind)


def _decode_fields(data: Mapping[str, object], kind: Any) -> Any:
    hints = _hints(kind)
    given = data.keys() - {CLASS}
    if not _required(kind) <= given <= hints.keys():
        raise _wrong(data, kind)
    return kind(**{name: decode_value(data[name], hints[name]) for name in given})


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _required(kind: Any) -> set[str]:
    """The fields without a default. Older traces may lack the others."""
    return {
        each.name
        for each in fields(kind)
        if each.default is MISSING and each.default_factory is MISSING
    }


def _wrong(data: object, kind: Any) -> ValueError:
    name = data.get(CLASS) if isinstance(data, dict) else type(data).__name__
    return ValueError(f"{name} is not {_name(kind)}")


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
