"""The schema of client events in the GA dialect, as strict as OpenAI's server.

Source: the GA reference and `openai.types.realtime`. One table per level: events, session,
response, item, content part.
"""

from __future__ import annotations

from types import NoneType

from rtchat.wire.validators import (
    Check,
    FieldError,
    anything,
    array,
    boolean,
    by_type,
    json_object,
    mapping,
    nullable,
    number,
    one_of,
    record,
    tagged,
    text,
)

_text = text(10 * 1024 * 1024)
"""OpenAI's maximum length."""
_data = text()
"""Base64; only the size of a frame limits its length."""
_optional_text = nullable(str, _text)
_MAX_COUNT = 10**9
_TOKENS = number(0, _MAX_COUNT, whole=True)

# ------------------------------------------------------------------------------------- parts, items

_INPUT_TEXT = record({"type": _text, "text": _text})
_AUDIO = record({"type": _text}, {"audio": _data, "transcript": _optional_text})
_USER_PARTS = {
    "input_text": _INPUT_TEXT,
    "input_audio": _AUDIO,
    "input_image": record(
        {"type": _text, "image_url": _data}, {"detail": one_of("auto", "low", "high")}
    ),
}
_ASSISTANT_PARTS = {"output_text": _INPUT_TEXT, "output_audio": _AUDIO}

_COMMON = {
    "id": text(512),
    "object": one_of("realtime.item"),
    "status": one_of("completed", "incomplete", "in_progress"),
}


def _message(parts: dict[str, Check]) -> Check:
    fields = {"type": _text, "role": _text, "content": array(tagged("type", parts))}
    return record(fields, {**_COMMON, "phase": one_of("commentary", "final_answer")})


_ITEMS: dict[str, Check] = {
    "message": tagged(
        "role",
        {
            "system": _message({"input_text": _INPUT_TEXT}),
            "user": _message(_USER_PARTS),
            "assistant": _message(_ASSISTANT_PARTS),
        },
    ),
    "function_call": record(
        {"type": _text, "name": _text, "arguments": _text}, {**_COMMON, "call_id": _text}
    ),
    "function_call_output": record({"type": _text, "call_id": _text, "output": _text}, _COMMON),
    "mcp_list_tools": record(
        {"type": _text, "server_label": _text, "tools": array(json_object)}, _COMMON
    ),
    "mcp_call": record(
        {"type": _text, "id": _text, "server_label": _text, "name": _text, "arguments": _text},
        {"output": _optional_text, "approval_request_id": _optional_text, "error": anything},
    ),
    "mcp_approval_request": record(
        {"type": _text, "id": _text, "server_label": _text, "name": _text, "arguments": _text}
    ),
    "mcp_approval_response": record(
        {"type": _text, "id": _text, "approval_request_id": _text, "approve": boolean},
        {"reason": _optional_text},
    ),
}
_ITEM = tagged("type", _ITEMS)
_INPUT_ITEM = tagged("type", {**_ITEMS, "item_reference": record({"type": _text, "id": _text})})

# ------------------------------------------------------------------------------- session, response

_FORMAT = tagged(
    "type",
    {
        "audio/pcm": record({"type": _text}, {"rate": number(24000, 24000, whole=True)}),
        "audio/pcmu": record({"type": _text}),
        "audio/pcma": record({"type": _text}),
    },
)
_VOICE = by_type({str: _text, dict: record({"id": _text})})
_VAD_BOOLEANS = {"create_response": boolean, "interrupt_response": boolean}
_MILLISECONDS = number(0, 10**6, whole=True)
_TURN_DETECTION = tagged(
    "type",
    {
        "server_vad": record(
            {"type": _text},
            {
                "threshold": number(0, 1),
                "prefix_padding_ms": _MILLISECONDS,
                "silence_duration_ms": _MILLISECONDS,
                "idle_timeout_ms": nullable(int, _MILLISECONDS),
                **_VAD_BOOLEANS,
            },
        ),
        "semantic_vad": record(
            {"type": _text},
            {"eagerness": one_of("low", "medium", "high", "auto"), **_VAD_BOOLEANS},
        ),
    },
)
_AUDIO_INPUT = record(
    {},
    {
        "format": _FORMAT,
        "transcription": nullable(
            dict,
            record(
                {},
                {
                    "model": _text,
                    "language": _text,
                    "prompt": _text,
                    "delay": _text,
                    "keywords": array(_text),
                    "languages": array(_text),
                },
            ),
        ),
        "noise_reduction": nullable(
            dict,
            record({}, {"type": one_of("near_field", "far_field"), "strength": anything}),
        ),
        "turn_detection": nullable(dict, _TURN_DETECTION),
    },
)
_AUDIO_OUTPUT = {"format": _FORMAT, "voice": _VOICE}
_TOOL = tagged(
    "type",
    {
        "function": record(
            {"type": _text, "name": _text}, {"description": _text, "parameters": json_object}
        ),
        "mcp": record(
            {"type": _text, "server_label": _text},
            {
                "server_url": _text,
                "connector_id": _text,
                "tunnel_id": _text,
                "authorization": _text,
                "headers": nullable(dict, json_object),
                "allowed_tools": anything,
                "require_approval": anything,
                "server_description": _text,
                "defer_loading": boolean,
                "allowed_callers": anything,
            },
        ),
    },
)
_TOOL_CHOICE = by_type(
    {
        str: one_of("none", "auto", "required"),
        dict: tagged(
            "type",
            {
                "function": record({"type": _text, "name": _text}),
                "mcp": record({"type": _text, "server_label": _text}, {"name": _optional_text}),
            },
        ),
    }
)


def _modalities(value: object, path: str) -> None:
    array(one_of("text", "audio"))(value, path)
    if value not in (["text"], ["audio"]):
        # Audio includes its transcript, so the API does not accept both at once.
        message = f"Invalid modalities for '{path}'. Supported values are: ['text'] and ['audio']."
        raise FieldError("invalid_value", message, path)


_SHARED: dict[str, Check] = {
    "output_modalities": _modalities,
    "instructions": _text,
    # The maximum depends on the model (see `core.models`).
    "max_output_tokens": by_type({int: number(1, _MAX_COUNT, whole=True), str: one_of("inf")}),
    "tools": array(_TOOL),
    "tool_choice": _TOOL_CHOICE,
    "parallel_tool_calls": boolean,
    "reasoning": record(
        {}, {"effort": one_of("none", "minimal", "low", "medium", "high", "xhigh")}
    ),
    "prompt": nullable(
        dict,
        record({"id": _text}, {"version": _optional_text, "variables": nullable(dict, anything)}),
    ),
}
"""The options of both a session and a response."""

_INCLUDE = nullable(list, array(one_of("item.input_audio_transcription.logprobs")))
SESSION = record(
    {"type": one_of("realtime")},
    {
        **_SHARED,
        "model": _text,
        "truncation": by_type(
            {
                str: one_of("auto", "disabled"),
                dict: record(
                    {"type": one_of("retention_ratio"), "retention_ratio": number(0, 1)},
                    {"token_limits": record({}, {"post_instructions": _TOKENS})},
                ),
            }
        ),
        "tracing": by_type(
            {
                NoneType: anything,
                str: one_of("auto"),
                dict: record(
                    {}, {"workflow_name": _text, "group_id": _text, "metadata": json_object}
                ),
            }
        ),
        "include": _INCLUDE,
        "audio": record(
            {},
            {
                "input": _AUDIO_INPUT,
                "output": record({}, {**_AUDIO_OUTPUT, "speed": number(0.25, 1.5)}),
            },
        ),
    },
)
RESPONSE = record(
    {},
    {
        **_SHARED,
        "conversation": _text,  # auto, none or an id
        "input": array(_INPUT_ITEM),
        "metadata": nullable(dict, mapping(text(512), max_entries=16, max_key_length=64)),
        "audio": record({}, {"output": record({}, _AUDIO_OUTPUT)}),
    },
)

# ------------------------------------------------------------------------------------------- events


def _event(required: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    return record({"type": _text, **required}, {"event_id": text(512), **(optional or {})})


COMMANDS: dict[str, Check] = {
    "session.update": _event({"session": SESSION}),
    "conversation.item.create": _event({"item": _ITEM}, {"previous_item_id": _optional_text}),
    "conversation.item.retrieve": _event({"item_id": _text}),
    "conversation.item.delete": _event({"item_id": _text}),
    "conversation.item.truncate": _event(
        {
            "item_id": _text,
            "content_index": number(0, _MAX_COUNT, whole=True),
            "audio_end_ms": number(0, _MAX_COUNT, whole=True),
        }
    ),
    "response.create": _event({}, {"response": RESPONSE}),
    "response.cancel": _event({}, {"response_id": _text}),
    "input_audio_buffer.append": _event({"audio": _data}),
    "input_audio_buffer.commit": _event({}),
    "input_audio_buffer.clear": _event({}),
    "output_audio_buffer.clear": _event({}),
}
"""The schema of every client event, by type."""
TRANSCRIPTION = _event(
    {
        "session": record(
            {"type": one_of("transcription")},
            {"audio": record({}, {"input": _AUDIO_INPUT}), "include": _INCLUDE},
        )
    }
)
"""The schema of `session.update` for a transcription session."""

# --------------------------------------------------------------------------------- client secrets

SECRET_SECONDS = (10, 7200)
"""How long a client secret may be valid: the minimum and the maximum."""
EXPIRY = record(
    {}, {"anchor": one_of("created_at"), "seconds": number(*SECRET_SECONDS, whole=True)}
)
"""The schema of the lifetime of a client secret."""
SESSION_TYPE = one_of("realtime", "transcription")
"""The schema of the type of the sessions that a client secret opens."""
SECRET_REQUEST = record({}, {"expires_after": EXPIRY, "session": json_object})
"""The schema of a request for a client secret, without that of its session."""
