"""The complete session object that a server reports: the defaults and a client's options."""

from __future__ import annotations

from rtchat.core.values import JsonObject, Options
from rtchat.wire.audio_options import PCM
from rtchat.wire.client_events import merged_fields
from rtchat.wire.commands import write_options
from rtchat.wire.fields import Fields

_SESSION_DEFAULTS: JsonObject = {
    "output_modalities": ["audio"],
    "tools": [],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "tracing": None,
    "truncation": "auto",
    "prompt": None,
    "include": None,
    "audio": {
        "input": {
            "format": PCM,
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": {"type": "server_vad"},
        },
        "output": {"format": PCM, "voice": "marin", "speed": 1.0},
    },
}
"""What OpenAI's server reports for a session before any configuration."""
_DETECTIONS: dict[object, JsonObject] = {
    "server_vad": {
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
    },
    "semantic_vad": {"eagerness": "auto"},
}
"""The defaults of each type of turn detection."""
_RESPONSES: JsonObject = {"create_response": True, "interrupt_response": True}


def write_session(*, session_id: str, model: str, expires_at: int, options: Options) -> JsonObject:
    """A complete session object for `SessionCreated.fields`: the defaults, changed by `options`."""
    fixed = {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "expires_at": expires_at,
    }
    session = merged_fields(_SESSION_DEFAULTS, write_options(options)) | {"model": model}
    return fixed | _with_complete_detection(session, _RESPONSES)


def write_transcription(*, session_id: str, expires_at: int, options: Options) -> JsonObject:
    """A complete transcription session object: the defaults, changed by `options`."""
    fixed = {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": session_id,
        "expires_at": expires_at,
    }
    return fixed | _with_complete_detection(merged_fields(_TRANSCRIPTION, options.other), {})


_TRANSCRIPTION: JsonObject = {
    "include": None,
    "audio": {
        "input": {
            "format": PCM,
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": {"type": "server_vad"},
        }
    },
}


def _with_complete_detection(session: dict[str, object], more: JsonObject) -> dict[str, object]:
    detection = Fields(session, []).fields("audio").fields("input").fields("turn_detection").data
    if not detection:
        return session
    kind = detection.get("type")
    complete = {"type": kind, **_DETECTIONS.get(kind, {}), **more, **detection}
    return merged_fields(session, {"audio": {"input": {"turn_detection": complete}}})
