"""Describes the first difference between two JSON objects."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rtchat.core.text import shortened

_MAX_SHOWN = 60
"""Maximum characters of a value in a description."""


def first_difference(recorded: object, now: object) -> str:
    """The path and the two values of the first difference; empty if the two are equal."""
    return next(_differences(recorded, now, ""), "")


def _differences(recorded: object, now: object, path: str) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(now, dict):
        inner = f"{path}." if path else ""
        for key in dict.fromkeys((*recorded, *now)):
            if key not in recorded:
                yield f"{inner}{key} was missing, now {_shown(now[key])}"
            elif key not in now:
                yield f"{inner}{key} was {_shown(recorded[key])}, now missing"
            else:
                yield from _differences(recorded[key], now[key], f"{inner}{key}")
    elif isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        for index, (before, after) in enumerate(zip(recorded, now, strict=True)):
            yield from _differences(before, after, f"{path}[{index}]")
    elif recorded != now:
        yield f"{path} was {_shown(recorded)}, now {_shown(now)}"


def _shown(data: object) -> str:
    return shortened(json.dumps(data, ensure_ascii=False), _MAX_SHOWN)
