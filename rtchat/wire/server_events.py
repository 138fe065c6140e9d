"""Encodes a server's events to JSON."""

from __future__ import annotations

from base64 import b64encode
from typing import TypeAlias, assert_never

from rtchat.core import events as ev
from rtchat.core.values import (
    Channel,
    Dialect,
    Item,
    JsonObject,
    Message,
    Options,
    Status,
    Usage,
    value,
)
from rtchat.wire import beta
from rtchat.wire.audio_options import PCM
from rtchat.wire.client_events import merged_fields
from rtchat.wire.items import write_item, write_part


@value
class ArgumentsDelta:
    """A `Delta` of a function call's arguments, with the call id, which clients do not need."""

    text: str
    call_id: str
    response_id: str
    item_id: str
    output_index: int


ServerMessage: TypeAlias = ev.ServerEvent | ArgumentsDelta
"""Every event that a server may send."""


def encode_event(
    event: ServerMessage,
    event_id: str,
    dialect: Dialect = Dialect.GA,
    options: Options = Options(),  # noqa: B008 - a frozen value
) -> JsonObject | None:
    """An event as JSON; None if the dialect has no such event or its contents are unknown.

    `options` are those of the response; its first and last events contain them.
    """
    out = _encode(event, options)
    if out is None:
        return None
    data = {"type": out["type"], "event_id": event_id} | out
    return data if dialect is Dialect.GA else beta.to_beta(data)


def _encode(event: ServerMessage, options: Options) -> dict[str, object] | None:  # noqa: C901 - one case per event
    match event:
        case ev.SessionCreated():
            return {"type": "session.created", "session": dict(event.fields)}
        case ev.SessionUpdated():
            return {"type": "session.updated", "session": dict(event.fields)}
        case ev.ItemAdded(item, previous):
            return _item("added", item) | {"previous_item_id": previous}
        case ev.ItemDone(item, previous):
            return _item("done", item) | {"previous_item_id": previous}
        case ev.ItemRetrieved(item):
            return _item("retrieved", item)
        case ev.ItemDeleted(item_id):
            return {"type": "conversation.item.deleted", "item_id": item_id}
        case ev.ItemTruncated(item_id, index, end):
            out = {"type": "conversation.item.truncated", "item_id": item_id}
            return out | {"content_index": index, "audio_end_ms": end}
        case ev.ReplyStarted():
            return {"type": "response.created", "response": _started(event, options)}
        case ev.ReplyEnded():
            return {"type": "response.done", "response": _ended(event, options)}
        case ev.OutputAdded():
            return {"type": "response.output_item.added"} | _output(event)
        case ev.OutputDone():
            return {"type": "response.output_item.done"} | _output(event)
        case ev.PartAdded():
            return {"type": "response.content_part.added", **_place(event), "part": _part(event)}
        case ev.PartDone():
            return {"type": "response.content_part.done", **_place(event), "part": _part(event)}
        case ev.Delta() | ev.ChannelDone():
            return _channel(event)
        case ArgumentsDelta():
            return _arguments(event)
        case ev.ToolCalled():
            return _tool_called(event)
        case ev.SpeechStarted(item_id, start):
            kind = "input_audio_buffer.speech_started"
            return {"type": kind, "item_id": item_id, "audio_start_ms": start}
        case ev.SpeechStopped(item_id, end):
            kind = "input_audio_buffer.speech_stopped"
            return {"type": kind, "item_id": item_id, "audio_end_ms": end}
        case ev.AudioCommitted(item_id, previous):
            kind = "input_audio_buffer.committed"
            return {"type": kind, "item_id": item_id, "previous_item_id": previous}
        case ev.AudioCleared():
            return {"type": "input_audio_buffer.cleared"}
        case ev.TranscriptionFailed(item_id, message, index, code):
            kind = "conversation.item.input_audio_transcription.failed"
            error = {"type": "transcription_error", "message": message}
            error |= {"code": code} if code else {}
            return {"type": kind, "item_id": item_id, "content_index": index, "error": error}
        case ev.RateLimits():
            return _rate_limits(event)
        case ev.ServerProblem():
            return _problem(event)
        case ev.RemoteCallUpdate() | ev.ToolListing():  # rtchat's server calls no MCP servers
            return None
        case (
            ev.SegmentTranscribed()
            | ev.SessionEnded()
            | ev.ServerWarning()
            | ev.Other()
            | ev.Unknown()
        ):
            return None
    assert_never(event)


def _item(what: str, item: Item) -> dict[str, object]:
    out = write_item(item)
    if isinstance(item, Message) and isinstance(parts := out["content"], list):
        # OpenAI's JavaScript agents SDK ends its process if the field is missing.
        out["content"] = [
            {"transcript": None} | part if part["type"] == "input_audio" else part for part in parts
        ]
    return {"type": f"conversation.item.{what}", "item": out}


def _output(event: ev.OutputAdded | ev.OutputDone) -> dict[str, object]:
    return {
        "response_id": event.response_id,
        "output_index": event.output_index,
        "item": write_item(event.item),
    }


def _place(event: ev.PartAdded | ev.PartDone | ev.Delta | ev.ChannelDone) -> dict[str, object]:
    return {
        "response_id": event.response_id,
        "item_id": event.item_id,
        "output_index": event.output_index,
        "content_index": event.content_index,
    }


def _part(event: ev.PartAdded | ev.PartDone) -> JsonObject:
    match event.part.kind:
        case "text":  # not `output_text`, as in an item
            return {"type": "text", "text": event.part.text}
        case "audio":
            transcript = {"transcript": event.part.text}
            return write_part(event.part, "assistant") | transcript | {"type": "audio"}
        case "image":
            return write_part(event.part, "user")
        case _:
            assert_never(event.part.kind)


_STREAMS = {
    Channel.TEXT: ("response.output_text", "text"),
    Channel.TRANSCRIPT: ("response.output_audio_transcript", "transcript"),
    Channel.AUDIO: ("response.output_audio", ""),
    Channel.ARGUMENTS: ("response.function_call_arguments", ""),
    Channel.INPUT_TRANSCRIPT: ("conversation.item.input_audio_transcription", "transcript"),
}
"""The common part of a channel's event names, and the field with the complete text in its last
event."""
_MISSING = {
    Channel.ARGUMENTS: ("content_index",),
    Channel.INPUT_TRANSCRIPT: ("response_id", "output_index"),
}


def _channel(event: ev.Delta | ev.ChannelDone) -> dict[str, object] | None:
    stem, whole = _STREAMS[event.channel]
    missing = _MISSING.get(event.channel, ())
    place = {key: field for key, field in _place(event).items() if key not in missing}
    if isinstance(event, ev.Delta):
        return {"type": f"{stem}.delta", **place, "delta": event.text}
    if event.channel is Channel.ARGUMENTS:  # `ToolCalled` is its last event
        return None
    if event.channel is Channel.INPUT_TRANSCRIPT:
        out = {"type": f"{stem}.completed", **place, whole: event.text}
        seconds = event.usage and {"type": "duration", "seconds": event.usage.seconds}
        return out | ({"usage": seconds} if seconds else {}) | dict(event.details)
    return {"type": f"{stem}.done", **place} | ({whole: event.text} if whole else {})


def write_audio(audio: bytes) -> str:
    """Audio as base64, the text of an audio `Delta`."""
    return b64encode(audio).decode("ascii")


def _arguments(event: ArgumentsDelta) -> dict[str, object]:
    return {
        "type": "response.function_call_arguments.delta",
        "response_id": event.response_id,
        "item_id": event.item_id,
        "output_index": event.output_index,
        "call_id": event.call_id,
        "delta": event.text,
    }


def _tool_called(event: ev.ToolCalled) -> dict[str, object]:
    return {
        "type": "response.function_call_arguments.done",
        "response_id": event.response_id,
        "item_id": event.item_id,
        "output_index": event.output_index,
        "call_id": event.call_id,
        "name": event.name,
        "arguments": event.arguments,
    }


def _rate_limits(event: ev.RateLimits) -> dict[str, object]:
    lines = [
        {
            "name": line.name,
            "limit": line.limit,
            "remaining": line.remaining,
            "reset_seconds": line.reset_seconds,
        }
        for line in event.limits
    ]
    return {"type": "rate_limits.updated", "rate_limits": lines}


def _problem(event: ev.ServerProblem) -> dict[str, object]:
    error = {
        "type": event.kind,
        "code": event.code or None,
        "message": event.message,
        "param": event.param or None,
        "event_id": event.event_id or None,
    }
    return {"type": "error", "error": error}


def _started(event: ev.ReplyStarted, options: Options) -> JsonObject:
    known = _response(event.response_id, "in_progress", event.conversation_id, options)
    return known | {"status_details": None, "output": [], "usage": None}


def _ended(event: ev.ReplyEnded, options: Options) -> JsonObject:
    known = _response(event.response_id, event.status.value, event.conversation_id, options)
    return known | {
        "status_details": _status_details(event),
        "output": [write_item(item) for item in event.items],
        "usage": _usage(event.usage),
    }


def _response(
    response_id: str, status: str, conversation_id: str | None, options: Options
) -> dict[str, object]:
    requested = merged_fields({"audio": {"output": _DEFAULT_OUTPUT}}, options.other)
    return {
        "object": "realtime.response",
        "id": response_id,
        "status": status,
        "conversation_id": conversation_id,
        "output_modalities": [options.modality or "audio"],
        "max_output_tokens": options.max_output_tokens or "inf",
        "audio": requested["audio"],
        "metadata": requested.get("metadata"),
    }


_DEFAULT_OUTPUT: JsonObject = {"format": PCM, "voice": "marin"}


def _status_details(event: ev.ReplyEnded) -> JsonObject | None:
    details: dict[str, object] = {"type": event.status.value}
    if event.reason:
        details["reason"] = event.reason
    if event.status is Status.FAILED or event.code or event.message:
        kind = {"type": "server_error"} if event.code else {}
        details["error"] = kind | {"code": event.code, "message": event.message}
    return details if len(details) > 1 else None


def _usage(usage: Usage | None) -> JsonObject | None:
    if usage is None:
        return None
    by_kind = {"audio_tokens": 0, "image_tokens": 0}
    return {
        "total_tokens": usage.total,
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "input_token_details": {
            "text_tokens": usage.input,
            **by_kind,
            "cached_tokens": usage.cached,
            "cached_tokens_details": {"text_tokens": usage.cached, **by_kind},
        },
        "output_token_details": {"text_tokens": usage.output, "audio_tokens": 0},
    }
