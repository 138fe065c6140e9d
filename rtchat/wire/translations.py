"""Translates client events for translation sessions, whose events have other names.

The server's events also have other names, which `events` reads.
Source: https://developers.openai.com/api/docs/guides/realtime-translation
"""

from __future__ import annotations

from rtchat.core.values import JsonObject


def to_translation(data: JsonObject) -> dict[str, object]:
    """A GA event for a translation session. Its type cannot be set."""
    out = dict(data)
    if isinstance(session := out.get("session"), dict):
        out["session"] = {key: value for key, value in session.items() if key != "type"}
    if str(out["type"]).startswith(_BUFFER):
        out["type"] = f"session.{out['type']}"
    return out


def to_ga(data: JsonObject) -> JsonObject:
    """A client event of a translation session as a GA event. Others are returned unchanged."""
    kind = str(data.get("type")).removeprefix("session.")
    return {**data, "type": kind} if kind.startswith(_BUFFER) else data


def is_close(data: JsonObject) -> bool:
    """Whether a client event ends a translation session."""
    return data.get("type") == "session.close"


_BUFFER = "input_audio_buffer."
