"""Translates client events for translation sessions, whose events have other names.

The server's events have names of their own, which `codec` reads like those of other sessions.
Source: https://developers.openai.com/api/docs/guides/realtime-translation
"""

from __future__ import annotations

from rtchat.core.values import JsonObject


def to_translation(data: JsonObject) -> dict[str, object]:
    """A GA event for a translation session. Its type cannot be set."""
    out = dict(data)
    if isinstance(session := out.get("session"), dict):
        out["session"] = {key: value for key, value in session.items() if key != "type"}
    if str(out["type"]).startswith("input_audio_buffer."):
        out["type"] = f"session.{out['type']}"
    return out
