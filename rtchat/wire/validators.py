"""Small checks that `schema` combines into the schema of a JSON object.

A check takes a value and its path and raises `FieldError` at the first error. Codes and messages
follow OpenAI's server, which refuses the whole event for one wrong field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType
from typing import TypeAlias

Check: TypeAlias = Callable[[object, str], None]
Words: TypeAlias = tuple[str, ...]

_NAMES: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a decimal",
    bool: "a boolean",
    list: "an array",
    dict: "an object",
    NoneType: "null",
}


class FieldError(Exception):
    """A field is invalid. `param` is the path to it. If only some words are valid, they are `words`
    and `value` is the invalid value."""

    def __init__(
        self, code: str, message: str, param: str, *, value: object = None, words: Words = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.value = value
        self.words = words


def anything(_value: object, _path: str) -> None:
    """Any JSON value."""


def of_type(*kinds: type) -> Check:
    """A value of one of these JSON types; a boolean is not a number."""

    def check(value: object, path: str) -> None:
        if type(value) not in kinds:
            expected = " or ".join(_NAMES[kind] for kind in kinds)
            got = _NAMES.get(type(value), "something else")
            message = f"Invalid type for '{path}': expected {expected}, but got {got} instead."
            words = ("true", "false") if kinds == (bool,) else ()
            raise FieldError("invalid_type", message, path, value=value, words=words)

    return check


boolean = of_type(bool)
json_object = of_type(dict)


def text(max_length: int | None = None) -> Check:
    """A string of at most `max_length` characters."""
    is_text = of_type(str)

    def check(value: object, path: str) -> None:
        is_text(value, path)
        if max_length is not None and isinstance(value, str) and len(value) > max_length:
            expected = f"Expected a string with maximum length {max_length}"
            got = f"but got a string with length {len(value)} instead"
            message = f"Invalid '{path}': string too long. {expected}, {got}."
            raise FieldError("string_above_max_length", message, path)

    return check


def number(low: float, high: float, *, whole: bool = False) -> Check:
    """A number from `low` to `high`, both included."""
    is_number = of_type(int) if whole else of_type(int, float)

    def check(value: object, path: str) -> None:
        is_number(value, path)
        if isinstance(value, int | float) and not low <= value <= high:
            expected = f"expected a value from {low} to {high}"
            message = f"Invalid value for '{path}': {expected}, but got {short(value)} instead."
            raise FieldError("invalid_value", message, path)

    return check


def one_of(*words: str) -> Check:
    """One of these strings."""
    is_text = of_type(str)

    def check(value: object, path: str) -> None:
        is_text(value, path)
        if value not in words:
            message = unsupported(value, words)
            raise FieldError("invalid_value", message, path, value=value, words=words)

    return check


def array(each: Check) -> Check:
    """An array whose entries pass the check `each`."""
    is_array = of_type(list)

    def check(value: object, path: str) -> None:
        is_array(value, path)
        for index, entry in enumerate(value if isinstance(value, list) else []):
            each(entry, f"{path}[{index}]")

    return check


def mapping(each: Check, max_entries: int, max_key_length: int) -> Check:
    """An object with any keys, limited in number and length."""

    def check(value: object, path: str) -> None:
        json_object(value, path)
        entries = value if isinstance(value, dict) else {}
        if len(entries) > max_entries:
            expected = f"Expected an object with at most {max_entries} properties"
            got = f"but got an object with {len(entries)} properties instead"
            message = f"Invalid '{path}': too many properties. {expected}, {got}."
            raise FieldError("object_above_max_properties", message, path)
        for key, entry in entries.items():
            text(max_key_length)(key, f"{path}.{key}")
            each(entry, f"{path}.{key}")

    return check


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with these fields and no other fields."""
    fields = {**required, **(optional or {})}

    def check(value: object, path: str) -> None:
        json_object(value, path)
        entries = value if isinstance(value, dict) else {}
        prefix = f"{path}." if path else ""
        for key in entries:
            if key not in fields:
                name = f"{prefix}{key}"
                raise FieldError("unknown_parameter", f"Unknown parameter: '{name}'.", name)
        for key in required:
            if key not in entries:
                name = f"{prefix}{key}"
                message = f"Missing required parameter: '{name}'."
                raise FieldError("missing_required_parameter", message, name)
        for key, entry in entries.items():
            fields[key](entry, f"{prefix}{key}")

    return check


def tagged(tag: str, shapes: Mapping[str, Check]) -> Check:
    """An object whose field `tag` selects one of these checks."""

    def check(value: object, path: str) -> None:
        json_object(value, path)
        entries = value if isinstance(value, dict) else {}
        name = f"{path}.{tag}" if path else tag
        if tag not in entries:
            message = f"Missing required parameter: '{name}'."
            raise FieldError("missing_required_parameter", message, name)
        one_of(*shapes)(entries[tag], name)
        shapes[str(entries[tag])](value, path)

    return check


def by_type(checks: Mapping[type, Check]) -> Check:
    """A value of one of these types that passes the check for its type."""
    is_one = of_type(*checks)

    def check(value: object, path: str) -> None:
        is_one(value, path)
        checks[type(value)](value, path)

    return check


def nullable(kind: type, inner: Check) -> Check:
    """Null, or a value of type `kind` that passes the check `inner`."""
    return by_type({kind: inner, NoneType: anything})


def unsupported(value: object, words: tuple[str, ...]) -> str:
    """The message for a value that is not one of these strings."""
    *others, last = (f"'{word}'" for word in words)
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"Invalid value: {short(value)}. Supported values are: {listed}."


def short(value: object) -> str:
    """A value for a message, at most 80 characters long."""
    shown = f"'{value}'" if isinstance(value, str) else str(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
