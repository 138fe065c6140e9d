"""Encodes the client's commands as JSON, in any dialect."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, assert_never

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.values import (
    Dialect,
    JsonObject,
    Message,
    Modality,
    Options,
    Tool,
    ToolOutput,
)
from rtchat.wire import beta, translations, vendors
from rtchat.wire.fields import Fields
from rtchat.wire.items import read_item, write_item


def encode(command: fx.Command, event_id: str, dialect: Dialect = Dialect.GA) -> JsonObject:
    """A command as a client event."""
    if dialect is not Dialect.GA and isinstance(command, fx.AddItem):
        command = _without_phase(command)
    data = {"event_id": event_id} | _encode(command)
    if dialect in _MARKED and isinstance(command, fx.CreateResponse) and command.is_marked:
        data["response"] = _marked(data["response"], event_id)
    return data if isinstance(command, fx.Raw) else to_dialect(data, dialect)


def to_dialect(data: JsonObject, dialect: Dialect) -> JsonObject:
    """A GA client event in a dialect."""
    if dialect is Dialect.GA:
        return data
    if dialect is Dialect.XAI:
        return vendors.to_xai(data)
    if dialect is Dialect.TRANSLATION:
        return translations.to_translation(data)
    data = beta.to_beta(data) or data
    return vendors.to_qwen(data) if dialect is Dialect.QWEN else data


def _without_phase(command: fx.AddItem) -> fx.AddItem:
    """The command without the phase, which servers of other dialects may refuse."""
    item = command.item
    if not isinstance(item, Message) or item.phase is None:
        return command
    return replace(command, item=replace(item, phase=None))


_MARKED = (Dialect.GA, Dialect.BETA)
"""The dialects whose servers accept metadata."""
MARK = "rtchat_request"
"""The name of the mark in the metadata of a response."""


def _marked(response: object, mark: str) -> dict[str, object]:
    fields = response if isinstance(response, dict) else {}
    metadata = fields.get("metadata")
    return fields | {"metadata": (metadata if isinstance(metadata, dict) else {}) | {MARK: mark}}


def _encode(command: fx.Command) -> dict[str, object]:  # noqa: C901 - one case per command
    match command:
        case fx.Configure(options):
            session = {"type": "realtime"} | write_options(options)
            return {"type": "session.update", "session": session}
        case fx.CreateResponse(options):
            return {"type": "response.create", "response": write_options(options)}
        case fx.Cancel(response_id):
            out: dict[str, object] = {"type": "response.cancel"}
            return out | {"response_id": response_id} if response_id else out
        case fx.AddItem(item, previous):
            out = {"type": "conversation.item.create", "item": write_item(item)}
            return out if previous is None else out | {"previous_item_id": previous}
        case fx.Retrieve(item_id):
            return {"type": "conversation.item.retrieve", "item_id": item_id}
        case fx.Delete(item_id):
            return {"type": "conversation.item.delete", "item_id": item_id}
        case fx.Truncate(item_id, index, end):
            out = {"type": "conversation.item.truncate", "item_id": item_id}
            return out | {"content_index": index, "audio_end_ms": end}
        case fx.AppendAudio(audio):
            return {"type": "input_audio_buffer.append", "audio": b64encode(audio).decode()}
        case fx.CommitAudio():
            return {"type": "input_audio_buffer.commit"}
        case fx.ClearAudio():
            return {"type": "input_audio_buffer.clear"}
        case fx.CloseSession():
            return {"type": "session.close"}
        case fx.Raw(fields):
            return dict(fields)
    assert_never(command)


def write_options(options: Options) -> dict[str, object]:
    """Options as the fields of a session or response. Only those that are set: a server refuses the
    whole event for one unsupported field."""
    out: dict[str, object] = {}
    if options.modality is not None:
        out["output_modalities"] = [options.modality]
    if options.instructions is not None:
        out["instructions"] = options.instructions
    if options.max_output_tokens is not None:
        out["max_output_tokens"] = options.max_output_tokens
    return out | dict(options.other)


def ask_for(
    modality: Modality,
    instructions: str | None,
    max_output_tokens: int | Literal["inf"] | None,
    other: JsonObject,
) -> Options:
    """The options of a session; output modalities in `other` take precedence over `modality`."""
    default = None if "output_modalities" in other else modality
    return Options(instructions, default, max_output_tokens, other)


def with_tools(session: JsonObject, tools: Iterable[Tool]) -> JsonObject:
    """The options of a session with these tools added."""
    own = [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        }
        for tool in tools
    ]
    present = session.get("tools")
    return (
        {**session, "tools": [*(present if isinstance(present, list) else []), *own]}
        if own
        else session
    )


# --------------------------------------------------------------------- raw events from the user

_ANSWERS: dict[str, type[ev.ServerEvent]] = {
    "session.update": ev.SessionUpdated,
    "conversation.item.create": ev.ItemAdded,
    "conversation.item.retrieve": ev.ItemRetrieved,
    "conversation.item.delete": ev.ItemDeleted,
    "conversation.item.truncate": ev.ItemTruncated,
    "input_audio_buffer.commit": ev.AudioCommitted,
    "input_audio_buffer.clear": ev.AudioCleared,
}


def asks(data: JsonObject) -> bool:
    """Whether a raw event from the user asks for a response."""
    return data.get("type") == "response.create"


def answer_to(data: JsonObject) -> type[ev.ServerEvent] | None:
    """The type of server event that confirms a raw event from the user, if any."""
    return _ANSWERS.get(str(data.get("type")))


def output_of(data: JsonObject) -> str:
    """The id of the tool call whose output a raw event from the user sends, else ""."""
    item = read_item(Fields(data, []).fields("item"))
    return item.call_id if isinstance(item, ToolOutput) else ""
