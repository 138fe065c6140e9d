"""Reads JSON from a server that may send anything.

Null counts as missing. So does a field of the wrong type, which is noted, so that `--verbose` can
report it.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from itertools import islice
from typing import NoReturn

from rtchat.core.events import Unknown
from rtchat.core.text import whole_characters
from rtchat.core.values import JsonObject


def as_text(frame: str | bytes) -> str | bytes:
    """The frame as text if it is a binary frame with a JSON object, which some servers and proxies
    send."""
    if isinstance(frame, bytes) and frame.startswith(b"{"):
        with suppress(UnicodeDecodeError):
            return frame.decode()
    return frame


def read_frame(frame: str | bytes) -> dict[str, object] | Unknown:
    """A frame as a JSON object with a `type`, or why it is not one. Never raises."""
    if isinstance(frame, bytes):
        return Unknown("", f"binary frame of {len(frame)} bytes")
    try:
        data = read_json(frame)
    except (ValueError, RecursionError) as error:
        return Unknown("", f"invalid JSON: {error}")
    if not isinstance(data, dict):
        return Unknown("", "not a JSON object")
    if not isinstance(data.get("type"), str):
        return Unknown("", "the object has no type")
    return data


MAX_DEPTH = 100
"""How deeply arrays and objects may nest; the API itself needs about ten levels."""
MAX_VALUES = 1_000_000
"""How many values a frame may have: each takes much more memory once it is parsed."""
_LARGE = 1_000_000
"""The values of a frame of more characters than this are counted."""
MAX_NOTES = 20
"""How many mistyped fields of an event are reported."""


def read_json(frame: str) -> object:
    """Parse strict JSON, limited in depth and number of values, so that `write_json` can write it.

    Raises:
        ValueError: the frame is invalid JSON or exceeds a limit.
        RecursionError: it nests too deeply for the parser.
    """
    if len(frame) > _LARGE and sum(map(frame.count, ",[{")) > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    data, end = _JSON.raw_decode(frame) if frame.startswith("{") else (None, -1)
    if end != len(frame):  # not an object, or there is text around it
        data = _JSON.decode(frame)
    # JSON nests no deeper than its number of brackets, so most frames need no closer check.
    if frame.count("{") + frame.count("[") > MAX_DEPTH and isinstance(data, dict | list):
        _check_depth(data, 1)
    return data


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _parse_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("number out of range")
    return number


_JSON = json.JSONDecoder(parse_constant=_reject_constant, parse_float=_parse_float)
"""Created once: `json.loads` with these hooks would create a decoder for every frame."""


def _check_depth(data: dict[str, object] | list[object], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    for entry in data.values() if isinstance(data, dict) else data:
        if isinstance(entry, dict | list):
            _check_depth(entry, depth + 1)


class Fields:
    """Reads the fields of a JSON object; `notes` collects the mistyped ones."""

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
        if len(self.notes) < MAX_NOTES:
            self.notes.append(f"{self.path}{key} is a {type(value).__name__}")
        return None

    def text(self, key: str) -> str:
        value = self.data.get(key)
        if type(value) is str and value.isascii():  # the fast path for nearly every text
            return value
        value = self._get(key, str)
        return whole_characters(value) if isinstance(value, str) else ""

    def piece(self, key: str) -> str:
        """Part of a text. It may begin or end with half a surrogate pair, whose other half is in
        the adjacent part."""
        value = self.data.get(key)
        if type(value) is not str:
            value = self._get(key, str)
        return value if isinstance(value, str) else ""

    def json_text(self, key: str) -> str:
        """JSON in a string. Some servers send the object itself, which is converted."""
        value = self.data.get(key)
        return json.dumps(value) if isinstance(value, dict | list) else self.text(key)

    def optional(self, key: str) -> str | None:
        value = self._get(key, str)
        return whole_characters(value) if isinstance(value, str) else None

    def integer(self, key: str) -> int:
        value = self.data.get(key)
        if type(value) is int and -(10**18) < value < 10**18:
            return value
        value = self._get(key, (int, float))
        # json.loads turns 1e999 into infinity and NaN into NaN.
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
        others = (entry for entry in value if not isinstance(entry, dict))
        for entry in islice(others, MAX_NOTES - len(self.notes)):
            self.notes.append(f"{path[:-1]} is a {type(entry).__name__}")
        return [Fields(entry, self.notes, path) for entry in value if isinstance(entry, dict)]
