"""Access to nested JSON objects by dotted keys, such as `audio.output.voice`.

No function changes its arguments.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from rtchat.core.text import shortened
from rtchat.core.values import JsonObject


def nested(key: str, value: object) -> dict[str, object]:
    """An object with only this value, at this key."""
    first, _, rest = key.partition(".")
    return {first: nested(rest, value) if rest else value}


def merged(base: JsonObject, change: JsonObject) -> dict[str, object]:
    """`base` with the values of `change`. Objects are merged, unless their `type` changes."""
    out = dict(base)
    for key, new in change.items():
        old = out.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping) and not _types_differ(old, new):
            new = merged(old, new)
        out[key] = new
    return out


def _types_differ(old: JsonObject, new: JsonObject) -> bool:
    return "type" in old and "type" in new and old["type"] != new["type"]


def without(base: JsonObject, key: str) -> dict[str, object]:
    """`base` without the value at a key, and without objects that become empty."""
    first, _, rest = key.partition(".")
    out = dict(base)
    inner = out.pop(first, None)
    if rest and isinstance(inner, Mapping) and (left := without(inner, rest)):
        out[first] = left
    return out


def has(base: JsonObject, key: str) -> bool:
    """Whether there is a value at a key."""
    first, _, rest = key.partition(".")
    inner = base.get(first)
    if rest:
        return isinstance(inner, Mapping) and has(inner, rest)
    return first in base


def flat(base: JsonObject, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every value with its key."""
    for key, value in base.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def described(base: JsonObject) -> list[str]:
    """Every value as one line of `key=JSON`, for display."""
    return [f"{key}={_shown(value)}" for key, value in flat(base)]


def _shown(value: object) -> str:
    if isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
        return "[…]"  # tools: long, and may contain an API key
    return shortened(json.dumps(value, ensure_ascii=False), _MAX_WIDTH)


_MAX_WIDTH = 60
