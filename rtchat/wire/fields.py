"""Reading JSON from a server that may send anything, and writing it.

Null counts as missing. A field of the wrong type reads as missing too, and is noted, so that
`--verbose` can say what was passed over. Nothing here raises.
"""

from __future__ import annotations

import json
import math
from itertools import islice
from typing import NoReturn

from rtchat.core.events import Unknown
from rtchat.core.text import whole_characters
from rtchat.core.values import JsonObject


def read_frame(frame: str | bytes) -> dict[str, object] | Unknown:
    """A frame as a JSON object with a `type`, or why it is not one. Never raises."""
    if isinstance(frame, bytes):
        return Unknown("", f"a binary frame of {len(frame)} bytes")
    try:
        data = read_json(frame)
    except (ValueError, RecursionError) as error:
        return Unknown("", f"not JSON: {error}")
    if not isinstance(data, dict):
        return Unknown("", "a JSON value that is not an object")
    if not isinstance(data.get("type"), str):
        return Unknown("", "an object without a type")
    return data


DEEPEST = 100
"""How deep arrays and objects may nest; the API itself needs about ten levels."""
MOST_VALUES = 1_000_000
"""How many values a frame may have: parsed, each takes many times the memory."""
_LARGE = 1_000_000
"""Characters; the values of a longer frame are counted."""
NOTES = 20
"""How many mistyped fields of an event are reported."""


def read_json(frame: str) -> object:
    """JSON that `write_json` can write again: it fits into strict JSON and the stack.

    Raises:
        ValueError: it is no such JSON. RecursionError is as good as that.
    """
    if len(frame) > _LARGE and sum(map(frame.count, ",[{")) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES} values")
    data, end = _JSON.raw_decode(frame) if frame.startswith("{") else (None, -1)
    if end != len(frame):  # white space around it, or more after it; or it is no object
        data = _JSON.decode(frame)
    # No deeper than it has brackets: most frames need not be walked through.
    if frame.count("{") + frame.count("[") > DEEPEST and isinstance(data, dict | list):
        _check_depth(data, 1)
    return data


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


_JSON = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
"""Made once: `json.loads` with these hooks would make one for every frame."""


def _check_depth(data: dict[str, object] | list[object], depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST}")
    for entry in data.values() if isinstance(data, dict) else data:
        if isinstance(entry, dict | list):
            _check_depth(entry, depth + 1)


def read_error_body(body: bytes) -> str:
    """The message in an HTTP error body of the usual shape, `{"error": {"message": …}}`, else
    ""."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = data.get("error") if isinstance(data, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""


class Fields:
    """A JSON object that is read with care; `notes` collects what was mistyped."""

    def __init__(self, data: JsonObject, notes: list[str], path: str = "") -> None:
        self.data = data
        self.notes = notes
        self.path = path

    def _get(self, key: str, kind: type | tuple[type, ...]) -> object:
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
            return value
        if len(self.notes) < NOTES:
            self.notes.append(f"{self.path}{key} is a {type(value).__name__}")
        return None

    def text(self, key: str) -> str:
        value = self.data.get(key)
        if type(value) is str and value.isascii():  # nearly all are, and a delta has many
            return value
        value = self._get(key, str)
        return whole_characters(value) if isinstance(value, str) else ""

    def piece(self, key: str) -> str:
        """A text that may begin or end with half a surrogate pair: its neighbour has the rest."""
        value = self.data.get(key)
        if type(value) is not str:
            value = self._get(key, str)
        return value if isinstance(value, str) else ""

    def optional(self, key: str) -> str | None:
        value = self._get(key, str)
        return whole_characters(value) if isinstance(value, str) else None

    def integer(self, key: str) -> int:
        value = self.data.get(key)
        if type(value) is int and -(10**18) < value < 10**18:
            return value
        value = self._get(key, (int, float))
        # Infinity and NaN are what json.loads makes of 1e999 and NaN.
        return int(value) if isinstance(value, int | float) and abs(value) < 1e18 else 0

    def number(self, key: str) -> float | None:
        value = self._get(key, (int, float))
        return float(value) if isinstance(value, int | float) and abs(value) < 1e18 else None

    def fields(self, key: str) -> Fields:
        value = self._get(key, dict)
        return Fields(value if isinstance(value, dict) else {}, self.notes, f"{self.path}{key}.")

    def list(self, key: str) -> list[Fields]:
        value = self._get(key, list)
        if not isinstance(value, list):
            return []
        path = f"{self.path}{key}[]."
        strange = (entry for entry in value if not isinstance(entry, dict))
        for entry in islice(strange, NOTES - len(self.notes)):
            self.notes.append(f"{path[:-1]} is a {type(entry).__name__}")
        return [Fields(entry, self.notes, path) for entry in value if isinstance(entry, dict)]
