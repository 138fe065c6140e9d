"""Small checks that are put together into the shape that a JSON object must have.

A check takes a value and the path to it and raises `FieldError` at the first thing that is wrong,
with the codes and the manner of OpenAI's server, where one wrong field spoils the whole event. Not
here: which fields there are (`shapes`); and what a client reads, which forgives nearly everything
(`fields`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType
from typing import TypeAlias

Check: TypeAlias = Callable[[object, str], None]

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
    """A field that may not be as it is. `param` is the path to it."""

    def __init__(self, code: str, message: str, param: str) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def anything(_value: object, _path: str) -> None:
    """Any JSON value."""


def of_type(*kinds: type) -> Check:
    """A value of one of these types of JSON; a boolean is no number."""

    def check(value: object, path: str) -> None:
        if type(value) not in kinds:
            expected = " or ".join(_NAMES[kind] for kind in kinds)
            got = _NAMES.get(type(value), "something else")
            message = f"Invalid type for '{path}': expected {expected}, but got {got} instead."
            raise FieldError("invalid_type", message, path)

    return check


boolean = of_type(bool)
json_object = of_type(dict)


def text(most: int | None = None) -> Check:
    """A string of at most so many characters."""
    is_text = of_type(str)

    def check(value: object, path: str) -> None:
        is_text(value, path)
        if most is not None and isinstance(value, str) and len(value) > most:
            message = f"Invalid '{path}': {len(value)} characters, at most {most} are allowed."
            raise FieldError("string_above_max_length", message, path)

    return check


def number(low: float, high: float, *, whole: bool = False) -> Check:
    """A number between these, both included."""
    is_number = of_type(int) if whole else of_type(int, float)

    def check(value: object, path: str) -> None:
        is_number(value, path)
        if isinstance(value, int | float) and not low <= value <= high:
            message = f"Invalid value for '{path}': {short(value)} is not in {low} to {high}."
            raise FieldError("invalid_value", message, path)

    return check


def one_of(*words: str) -> Check:
    """One of these words."""
    is_text = of_type(str)

    def check(value: object, path: str) -> None:
        is_text(value, path)
        if value not in words:
            raise FieldError("invalid_value", unsupported(value, words), path)

    return check


def array(each: Check) -> Check:
    """A list of these."""
    is_array = of_type(list)

    def check(value: object, path: str) -> None:
        is_array(value, path)
        for index, entry in enumerate(value if isinstance(value, list) else []):
            each(entry, f"{path}[{index}]")

    return check


def mapping(each: Check, most: int, longest_key: int) -> Check:
    """An object with any keys, so many and so long at the most."""

    def check(value: object, path: str) -> None:
        json_object(value, path)
        entries = value if isinstance(value, dict) else {}
        if len(entries) > most:
            message = f"Invalid '{path}': {len(entries)} pairs, at most {most} are allowed."
            raise FieldError("object_above_max_properties", message, path)
        for key, entry in entries.items():
            text(longest_key)(key, f"{path}.{key}")
            each(entry, f"{path}.{key}")

    return check


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with these fields and no others."""
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
    """An object whose field `tag` names which of these shapes it has."""

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
    """What the check for the value's own type says."""
    is_one = of_type(*checks)

    def check(value: object, path: str) -> None:
        is_one(value, path)
        checks[type(value)](value, path)

    return check


def nullable(kind: type, inner: Check) -> Check:
    """Null, or this."""
    return by_type({kind: inner, NoneType: anything})


def unsupported(value: object, words: tuple[str, ...]) -> str:
    """What to say of a word that is none of these."""
    *most, last = (f"'{word}'" for word in words)
    listed = f"{', '.join(most)} and {last}" if most else last
    return f"Invalid value: {short(value)}. Supported values are: {listed}."


def short(value: object) -> str:
    """A value for a message: a client's own, so it may be of any length."""
    shown = f"'{value}'" if isinstance(value, str) else str(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
