"""Replaces audio and images in the lines of a trace by placeholders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from rtchat.core.values import JsonObject
from rtchat.trace.value_codec import CLASS

_Change: TypeAlias = Callable[[str, str, JsonObject], str | None]
"""Maps a string, its path and the object that contains it to a new string, or None to keep it."""


def without_media(data: JsonObject) -> tuple[dict[str, object], dict[str, int]]:
    """A copy without the base64 of audio and images, and the number of characters left out,
    by path."""
    kind = str(data.get("type"))
    left_out: dict[str, int] = {}

    def shorten(text: str, path: str, parent: JsonObject) -> str | None:
        shortened = _without_base64(text, path, parent, kind) if text else None
        if shortened is not None:
            left_out[path] = len(text) - len(shortened)
        return shortened

    return _changed(data, "", data, shorten), left_out


def with_silence(data: JsonObject, left_out: Mapping[str, int]) -> dict[str, object]:
    """A copy with zeros (for audio: silence) of the same length where base64 was left out."""

    def fill(text: str, path: str, parent: JsonObject) -> str | None:
        if path not in left_out:
            return None
        filler = "A" * left_out[path]
        return text + filler if text.startswith("data:") else filler + text

    changed: dict[str, object] = _changed(data, "", data, fill)
    return changed


def _without_base64(text: str, path: str, parent: JsonObject, kind: str) -> str | None:
    """The part to keep of a string with base64 audio or an image; None if it has neither."""
    key = path.rpartition(".")[2]
    is_part = parent.get(CLASS) == "Part" and key == "data"
    head, comma, rest = text.partition(",")
    if (key == "image_url" or is_part) and head.startswith("data:") and rest:
        return head + comma
    if CLASS in parent and (key == "audio" or is_part):
        return text[len(text.rstrip("=")) :]  # the padding, which the number of bytes depends on
    if key == "audio" or (path == "delta" and kind.endswith("audio.delta")):
        return ""
    return None


def _changed(data: Any, path: str, parent: JsonObject, change: _Change) -> Any:
    match data:
        case dict():
            inner = f"{path}." if path else ""
            return {
                key: _changed(each, f"{inner}{key}", data, change) for key, each in data.items()
            }
        case list():
            return [
                _changed(each, f"{path}[{index}]", parent, change)
                for index, each in enumerate(data)
            ]
        case str():
            changed = change(data, path, parent)
            return data if changed is None else changed
        case _:
            return data
