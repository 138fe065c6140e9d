"""Decodes a server's events, in any dialect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rtchat.core import events as ev
from rtchat.core.text import shortened
from rtchat.core.values import (
    Channel,
    Dialect,
    JsonObject,
    Part,
    Status,
    TranscriptSegment,
    TranscriptWord,
    Usage,
)
from rtchat.wire import beta
from rtchat.wire.audio_options import (
    format_of_delta,
    is_transcription,
    read_format,
    transcription_model,
)
from rtchat.wire.beta import type_to_ga
from rtchat.wire.commands import MARK
from rtchat.wire.errors import error_object
from rtchat.wire.fields import Fields
from rtchat.wire.items import read_item, read_part


def decode(data: JsonObject, held: str = "") -> list[ev.ServerEvent]:
    """A server's event, followed by an `Unknown` for each of its mistyped fields. `held` is the
    text of a delta that is held back."""
    kind = data.get("type")
    if not isinstance(kind, str):
        return [ev.Unknown("", "the object has no type")]
    kind = beta.type_to_ga(kind)  # the fields of server events are the same in both dialects
    read = _READERS.get(kind)
    if read is None:
        return [ev.Unknown(kind, "unknown event type")]
    notes: list[str] = []
    event = read(Fields(data, notes))
    if held and isinstance(event, ev.Delta):
        event = replace(event, held=held)
    return [event, *(ev.Unknown(kind, note) for note in notes)] if notes else [event]


def _session(make: type[ev.SessionCreated | ev.SessionUpdated], fields: Fields) -> ev.ServerEvent:
    session = fields.fields("session")
    transcriber = transcription_model(session.data) if is_transcription(session.data) else ""
    return make(
        session.text("id"),
        transcriber or session.text("model"),
        _dialect(session.data),
        session.number("expires_at"),
        session.data,
        read_format(session.data, "input"),
        read_format(session.data, "output"),
    )


def _dialect(session: JsonObject) -> Dialect | None:
    if session.get("type") == "translation":
        return Dialect.TRANSLATION
    # Some GA servers still report `modalities`, so a `type` or `output_modalities` decides first.
    if "type" in session or "output_modalities" in session:
        return Dialect.GA
    return Dialect.BETA if "modalities" in session else None


_MAX_ERROR_TEXT = 2000
"""Characters of a server's error message that are shown and saved."""


def _error_text(fields: Fields, key: str) -> str:
    value = fields.data.get(key)  # some servers send a number as `code`
    text = str(value) if type(value) is int else fields.text(key)
    return shortened(text, _MAX_ERROR_TEXT)


def _problem(fields: Fields) -> ev.ServerEvent:
    error = Fields(error_object(fields.data), fields.notes, "error.")
    return ev.ServerProblem(
        _error_text(error, "message")
        or _error_text(error, "code")
        or "the server reported an error",
        _error_text(error, "type"),
        _error_text(error, "code"),
        _error_text(error, "param"),
        error.text("event_id"),
    )


def _warning(fields: Fields) -> ev.ServerEvent:
    warning = fields.fields("warning")
    return ev.ServerWarning(_error_text(warning, "message") or _error_text(warning, "code"))


def _place(fields: Fields) -> tuple[str, str, int, int]:
    return (
        fields.text("response_id"),
        fields.text("item_id"),
        fields.integer("output_index"),
        fields.integer("content_index"),
    )


def _delta(channel: Channel, fields: Fields) -> ev.ServerEvent:
    # Without `_place`, which takes longer: this is the most frequent event.
    return ev.Delta(
        channel,
        fields.piece("delta"),
        fields.text("response_id"),
        fields.text("item_id"),
        fields.integer("output_index"),
        fields.integer("content_index"),
    )


def _translated(channel: Channel, fields: Fields) -> ev.ServerEvent:
    elapsed = fields.integer("elapsed_ms") if "elapsed_ms" in fields.data else None
    format = format_of_delta(fields)
    return ev.Delta(channel, fields.piece("delta"), elapsed_ms=elapsed, format=format)


def _channel_done(channel: Channel, key: str, fields: Fields) -> ev.ServerEvent:
    return ev.ChannelDone(channel, fields.text(key), *_place(fields))


def _part(make: type[ev.PartAdded | ev.PartDone], fields: Fields) -> ev.ServerEvent:
    return make(*_place(fields), read_part(fields.fields("part")) or Part("text"))


def _item(make: type[ev.ItemAdded | ev.ItemDone], fields: Fields) -> ev.ServerEvent:
    item = fields.fields("item")
    if item.text("type") == "mcp_list_tools":
        error = Fields(error_object(item.data), item.notes, "item.error.")
        return ev.ToolListing(
            item.text("id"), item.text("server_label"), None, _error_text(error, "message")
        )
    return make(read_item(item), fields.optional("previous_item_id"))


def _output(make: type[ev.OutputAdded | ev.OutputDone], fields: Fields) -> ev.ServerEvent:
    item = read_item(fields.fields("item"))
    return make(fields.text("response_id"), fields.integer("output_index"), item)


def _truncated(fields: Fields) -> ev.ServerEvent:
    place = fields.integer("content_index"), fields.integer("audio_end_ms")
    return ev.ItemTruncated(fields.text("item_id"), *place)


def _committed(fields: Fields) -> ev.ServerEvent:
    return ev.AudioCommitted(fields.text("item_id"), fields.optional("previous_item_id"))


def _input_transcribed(fields: Fields) -> ev.ServerEvent:
    if fields.text("status") == "in_progress":  # xAI sends the text so far
        return ev.Other(fields.text("type"))
    return ev.ChannelDone(
        Channel.INPUT_TRANSCRIPT,
        fields.text("transcript"),
        *_place(fields),
        _usage(fields.fields("usage")),
        {key: fields.data[key] for key in _TRANSCRIPT_DETAILS if fields.data.get(key)},
        tuple(
            _part_of_transcript(each, index) for index, each in enumerate(fields.list("segments"))
        ),
        tuple(map(_word, fields.list("words"))),
    )


_TRANSCRIPT_DETAILS = ("languages", "logprobs")


def _part_of_transcript(fields: Fields, index: int) -> TranscriptSegment:
    return TranscriptSegment(
        str(index), fields.text("text").strip(), fields.text("speaker"), *_times(fields)
    )


def _word(fields: Fields) -> TranscriptWord:
    return TranscriptWord(fields.text("word").strip(), *_times(fields))


def _times(fields: Fields) -> tuple[float, float]:
    return fields.number("start") or 0.0, fields.number("end") or 0.0


def _segment(fields: Fields) -> ev.ServerEvent:
    return ev.SegmentTranscribed(
        fields.text("item_id"),
        fields.text("id"),
        fields.text("text"),
        fields.text("speaker"),
        *_times(fields),
        fields.integer("content_index"),
    )


def _transcription_failed(fields: Fields) -> ev.ServerEvent:
    error = fields.fields("error")
    code = _error_text(error, "code")
    message = _error_text(error, "message") or code
    place = fields.text("item_id"), fields.integer("content_index")
    return ev.TranscriptionFailed(place[0], message, place[1], code)


def _tool_called(fields: Fields) -> ev.ServerEvent:
    return ev.ToolCalled(
        fields.text("name"),
        fields.text("call_id"),
        fields.json_text("arguments"),
        fields.text("response_id"),
        fields.text("item_id"),
        fields.integer("output_index"),
    )


def _remote_call(state: ev.RemoteState | None, fields: Fields) -> ev.ServerEvent:
    item_id, response_id = fields.text("item_id"), fields.text("response_id")
    return ev.RemoteCallUpdate(item_id, state, fields.json_text("arguments"), response_id)


def _tool_listing(state: ev.RemoteState, fields: Fields) -> ev.ServerEvent:
    error = Fields(error_object(fields.data), fields.notes, "error.")
    return ev.ToolListing(
        fields.text("item_id"), fields.text("server_label"), state, _error_text(error, "message")
    )


def _reply_started(fields: Fields) -> ev.ServerEvent:
    response = fields.fields("response")
    mark = response.fields("metadata").text(MARK) if response.data.get("metadata") else ""
    return ev.ReplyStarted(response.text("id"), response.optional("conversation_id"), mark)


_STATUSES = {status.value: status for status in Status} | {"": Status.COMPLETED}


def _reply_ended(fields: Fields) -> ev.ServerEvent:
    response = fields.fields("response")
    status = response.text("status")
    # xAI sends a string as `status_details`, and the usage beside the response instead of in it.
    given = response.data.get("status_details")
    if not isinstance(given, dict):
        given = {} if status == "completed" else {"reason": given, "error": given}
    details = Fields(given, fields.notes, "response.status_details.")
    error = Fields(error_object(given), fields.notes, "response.status_details.error.")
    usage = _usage(response.fields("usage")) or _usage(fields.fields("usage"))
    return ev.ReplyEnded(
        response.text("id"),
        _STATUSES.get(status, Status.FAILED),
        _error_text(details, "reason"),
        _error_text(error, "code") or _error_text(error, "type"),
        _error_text(error, "message")
        or ("" if status in _STATUSES else f"unknown status {status[:40]!r}"),
        tuple(read_item(entry) for entry in response.list("output")),
        usage,
        response.optional("conversation_id"),
        response.text("model"),
    )


def _reply_cancelled(fields: Fields) -> ev.ServerEvent:
    # Some servers send this instead of `response.done`.
    response_id = fields.text("response_id") or fields.fields("response").text("id")
    return ev.ReplyEnded(response_id, Status.CANCELLED, "client_cancelled")


def _usage(fields: Fields) -> Usage | None:
    if not any(fields.data.values()):
        return None
    details = fields.fields("input_token_details")
    cached = details.fields("cached_tokens_details")
    return Usage(
        fields.integer("input_tokens"),
        details.integer("cached_tokens"),
        fields.integer("output_tokens"),
        fields.integer("total_tokens"),
        details.integer("audio_tokens"),
        cached.integer("audio_tokens"),
        fields.fields("output_token_details").integer("audio_tokens"),
        details.integer("image_tokens"),
        cached.integer("image_tokens"),
        fields.number("seconds") or 0.0,
    )


def _rate_limits(fields: Fields) -> ev.ServerEvent:
    return ev.RateLimits(
        tuple(
            ev.RateLimit(
                line.text("name"),
                line.integer("limit"),
                line.integer("remaining"),
                line.number("reset_seconds") or 0.0,
            )
            for line in fields.list("rate_limits")
        )
    )


def session_event(data: JsonObject) -> type[ev.SessionCreated] | type[ev.SessionUpdated] | None:
    """The type of an event about the session, in any dialect; None for other events."""
    kind = data.get("type")
    match type_to_ga(kind) if isinstance(kind, str) else "":
        case "session.created":
            return ev.SessionCreated
        case "session.updated":
            return ev.SessionUpdated
        case _:
            return None


_INPUT_TRANSCRIPTION = "conversation.item.input_audio_transcription"

_READERS: dict[str, Callable[[Fields], ev.ServerEvent]] = {
    "error": _problem,
    "warning": _warning,
    "session.created": partial(_session, ev.SessionCreated),
    "session.updated": partial(_session, ev.SessionUpdated),
    "conversation.item.added": partial(_item, ev.ItemAdded),
    "conversation.item.done": partial(_item, ev.ItemDone),
    "conversation.item.retrieved": lambda fields: ev.ItemRetrieved(
        read_item(fields.fields("item"))
    ),
    "conversation.item.deleted": lambda fields: ev.ItemDeleted(fields.text("item_id")),
    "conversation.item.truncated": _truncated,
    f"{_INPUT_TRANSCRIPTION}.delta": partial(_delta, Channel.INPUT_TRANSCRIPT),
    f"{_INPUT_TRANSCRIPTION}.completed": _input_transcribed,
    f"{_INPUT_TRANSCRIPTION}.failed": _transcription_failed,
    f"{_INPUT_TRANSCRIPTION}.segment": _segment,
    "input_audio_buffer.committed": _committed,
    "input_audio_buffer.cleared": lambda fields: ev.AudioCleared(),
    "input_audio_buffer.speech_started": lambda fields: ev.SpeechStarted(
        fields.text("item_id"), fields.integer("audio_start_ms")
    ),
    "input_audio_buffer.speech_stopped": lambda fields: ev.SpeechStopped(
        fields.text("item_id"), fields.integer("audio_end_ms")
    ),
    "rate_limits.updated": _rate_limits,
    "response.created": _reply_started,
    "response.done": _reply_ended,
    "response.cancelled": _reply_cancelled,
    "response.output_item.added": partial(_output, ev.OutputAdded),
    "response.output_item.done": partial(_output, ev.OutputDone),
    "response.content_part.added": partial(_part, ev.PartAdded),
    "response.content_part.done": partial(_part, ev.PartDone),
    "response.output_text.delta": partial(_delta, Channel.TEXT),
    "response.output_text.done": partial(_channel_done, Channel.TEXT, "text"),
    "response.output_audio_transcript.delta": partial(_delta, Channel.TRANSCRIPT),
    "response.output_audio_transcript.done": partial(
        _channel_done, Channel.TRANSCRIPT, "transcript"
    ),
    "response.output_audio.delta": partial(_delta, Channel.AUDIO),
    "response.output_audio.done": partial(_channel_done, Channel.AUDIO, "audio"),
    "response.function_call_arguments.delta": partial(_delta, Channel.ARGUMENTS),
    "response.function_call_arguments.done": _tool_called,
    "response.mcp_call_arguments.done": partial(_remote_call, None),
    **{f"response.mcp_call.{state}": partial(_remote_call, state) for state in ev.RemoteState},
    **{f"mcp_list_tools.{state}": partial(_tool_listing, state) for state in ev.RemoteState},
    "session.input_transcript.delta": partial(_translated, Channel.INPUT_TRANSCRIPT),
    "session.output_transcript.delta": partial(_translated, Channel.TRANSCRIPT),
    "session.output_audio.delta": partial(_translated, Channel.AUDIO),
    "session.closed": lambda fields: ev.SessionEnded(),
}

_IGNORED = (
    "conversation.created",
    "input_audio_buffer.timeout_triggered",
    "input_audio_buffer.dtmf_event_received",
    "output_audio_buffer.started",
    "output_audio_buffer.stopped",
    "output_audio_buffer.cleared",
    "response.mcp_call_arguments.delta",
    "ping",
)
"""Events of the API, and xAI's `ping`, that this program ignores."""

_READERS |= {kind: lambda fields: ev.Other(fields.text("type")) for kind in _IGNORED}
