"""The client's side of the wire: what is sent, and what is made of whatever a server says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.effects import AddItem, Cancel, Command, Configure, Delete, Reply, Retrieve, Truncate
from rtchat.events import (
    ChannelDone,
    Delta,
    ItemAdded,
    ItemDeleted,
    ItemDone,
    ItemRetrieved,
    ItemTruncated,
    Other,
    OutputAdded,
    OutputDone,
    PartAdded,
    PartDone,
    RateLimit,
    RateLimits,
    ReplyEnded,
    ReplyStarted,
    ServerEvent,
    ServerProblem,
    SessionCreated,
    SessionUpdated,
    ToolCalled,
    Unknown,
)
from rtchat.reply import Reply as ReplyText
from rtchat.values import (
    Channel,
    Dialect,
    Item,
    Message,
    Options,
    OtherItem,
    Part,
    Status,
    ToolCall,
    ToolOutput,
    Usage,
)
from rtchat.wire import decode, encode, read_error_body, read_frame, write_frame
from tests.oracle import assert_client_event

Json = dict[str, object]

# ------------------------------------------------------------------------------------ what is sent

_OPTIONS = Options("Be brief.", "text", 200)
_TOOL: Json = {"type": "function", "name": "now", "parameters": {"type": "object"}}
_IMAGE = "data:image/png;base64,AAAA"

_COMMANDS: list[tuple[Command, Json, Json]] = [
    (
        Configure(_OPTIONS),
        {
            "type": "session.update",
            "session": {
                "type": "realtime",
                "output_modalities": ["text"],
                "instructions": "Be brief.",
                "max_output_tokens": 200,
            },
        },
        {
            "type": "session.update",
            "session": {
                "modalities": ["text"],
                "instructions": "Be brief.",
                "max_response_output_tokens": 200,
            },
        },
    ),
    (
        Configure(Options(modality="audio", other={"tools": [_TOOL], "tool_choice": "auto"})),
        {
            "type": "session.update",
            "session": {
                "type": "realtime",
                "output_modalities": ["audio"],
                "tools": [_TOOL],
                "tool_choice": "auto",
            },
        },
        {
            "type": "session.update",
            "session": {
                "modalities": ["text", "audio"],
                "tools": [_TOOL],
                "tool_choice": "auto",
            },
        },
    ),
    (
        Reply(),
        {"type": "response.create", "response": {}},
        {"type": "response.create", "response": {}},
    ),
    (
        Reply(Options(None, "text", "inf")),
        {
            "type": "response.create",
            "response": {"output_modalities": ["text"], "max_output_tokens": "inf"},
        },
        {
            "type": "response.create",
            "response": {"modalities": ["text"], "max_response_output_tokens": "inf"},
        },
    ),
    (Cancel(), {"type": "response.cancel"}, {"type": "response.cancel"}),
    (
        Cancel("r"),
        {"type": "response.cancel", "response_id": "r"},
        {"type": "response.cancel", "response_id": "r"},
    ),
    (
        AddItem(Message("user", (Part("text", "hi"),))),
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "hi"}],
            },
        },
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "hi"}],
            },
        },
    ),
    (
        AddItem(Message("assistant", (Part("text", "hello"),), "i", "completed"), "root"),
        {
            "type": "conversation.item.create",
            "previous_item_id": "root",
            "item": {
                "id": "i",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "hello"}],
            },
        },
        {
            "type": "conversation.item.create",
            "previous_item_id": "root",
            "item": {
                "id": "i",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "text", "text": "hello"}],
            },
        },
    ),
    (
        AddItem(Message("assistant", (Part("audio", "hello", "AAAA"), Part("audio")))),
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "assistant",
                "content": [
                    {"type": "output_audio", "audio": "AAAA", "transcript": "hello"},
                    {"type": "output_audio"},
                ],
            },
        },
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "assistant",
                "content": [
                    {"type": "audio", "audio": "AAAA", "transcript": "hello"},
                    {"type": "audio"},
                ],
            },
        },
    ),
    (
        AddItem(Message("user", (Part("audio", "", "AAAA"), Part("image", data=_IMAGE)))),
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_audio", "audio": "AAAA"},
                    {"type": "input_image", "image_url": _IMAGE},
                ],
            },
        },
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_audio", "audio": "AAAA"},
                    {"type": "input_image", "image_url": _IMAGE},
                ],
            },
        },
    ),
    (
        AddItem(ToolCall("now", "c", "{}", "i", "completed"), "p"),
        {
            "type": "conversation.item.create",
            "previous_item_id": "p",
            "item": {
                "id": "i",
                "type": "function_call",
                "name": "now",
                "call_id": "c",
                "arguments": "{}",
                "status": "completed",
            },
        },
        {
            "type": "conversation.item.create",
            "previous_item_id": "p",
            "item": {
                "id": "i",
                "type": "function_call",
                "name": "now",
                "call_id": "c",
                "arguments": "{}",
                "status": "completed",
            },
        },
    ),
    (
        AddItem(ToolOutput("c", "noon")),
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "c", "output": "noon"},
        },
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "c", "output": "noon"},
        },
    ),
    (
        AddItem(
            OtherItem(
                "mcp_approval_response",
                "i",
                {
                    "type": "mcp_approval_response",
                    "id": "i",
                    "approval_request_id": "a",
                    "approve": True,
                },
            )
        ),
        {
            "type": "conversation.item.create",
            "item": {
                "id": "i",
                "type": "mcp_approval_response",
                "approval_request_id": "a",
                "approve": True,
            },
        },
        {
            "type": "conversation.item.create",
            "item": {
                "id": "i",
                "type": "mcp_approval_response",
                "approval_request_id": "a",
                "approve": True,
            },
        },
    ),
    (
        Retrieve("i"),
        {"type": "conversation.item.retrieve", "item_id": "i"},
        {"type": "conversation.item.retrieve", "item_id": "i"},
    ),
    (
        Delete("i"),
        {"type": "conversation.item.delete", "item_id": "i"},
        {"type": "conversation.item.delete", "item_id": "i"},
    ),
    (
        Truncate("i", 0, 1500),
        {
            "type": "conversation.item.truncate",
            "item_id": "i",
            "content_index": 0,
            "audio_end_ms": 1500,
        },
        {
            "type": "conversation.item.truncate",
            "item_id": "i",
            "content_index": 0,
            "audio_end_ms": 1500,
        },
    ),
]


@pytest.mark.parametrize(("command", "ga", "beta"), _COMMANDS)
def test_a_command_in_either_dialect(command: Command, ga: Json, beta: Json) -> None:
    assert encode(command, "e") == {"event_id": "e"} | ga
    assert encode(command, "e", Dialect.BETA) == {"event_id": "e"} | beta


_TEXT = st.text(max_size=5)
_PARTS = {
    "system": st.builds(Part, st.just("text"), _TEXT),
    "user": st.one_of(
        st.builds(Part, st.just("text"), _TEXT),
        st.builds(Part, st.just("audio"), _TEXT, _TEXT),
        st.builds(Part, st.just("image"), data=_TEXT),
    ),
    "assistant": st.one_of(
        st.builds(Part, st.just("text"), _TEXT),
        st.builds(Part, st.just("audio"), _TEXT, _TEXT),
    ),
}
_ITEM_STATUS = st.sampled_from(["", "completed", "incomplete", "in_progress"])
_MESSAGES = st.one_of(
    *(
        st.builds(
            Message, st.just(role), st.lists(parts, max_size=3).map(tuple), _TEXT, _ITEM_STATUS
        )
        for role, parts in _PARTS.items()
    )
)
_ITEMS: st.SearchStrategy[Item] = st.one_of(
    _MESSAGES,
    st.builds(ToolCall, _TEXT, _TEXT, _TEXT, _TEXT, _ITEM_STATUS),
    st.builds(ToolOutput, _TEXT, _TEXT, _TEXT),
)
_SETTINGS = st.builds(
    Options,
    st.none() | _TEXT,
    st.sampled_from([None, "text", "audio"]),
    st.sampled_from([None, 1, 4096, "inf"]),
    st.sampled_from([{}, {"tools": [_TOOL]}, {"tool_choice": "none"}]),
)
_ANY_COMMAND: st.SearchStrategy[Command] = st.one_of(
    st.builds(Configure, _SETTINGS),
    st.builds(Reply, _SETTINGS),
    st.builds(AddItem, _ITEMS, st.none() | _TEXT),
    st.builds(Cancel, _TEXT),
    st.builds(Retrieve, _TEXT),
    st.builds(Delete, _TEXT),
    st.builds(Truncate, _TEXT, st.integers(0, 9), st.integers(0, 10**6)),
)


@given(_ANY_COMMAND, st.text(max_size=20))
def test_the_official_types_take_whatever_is_sent(command: Command, event_id: str) -> None:
    assert_client_event(encode(command, event_id))


@given(_ITEMS)
def test_an_item_comes_back_from_the_wire(item: Item) -> None:
    sent = encode(AddItem(item), "e")["item"]
    assert decode({"type": "conversation.item.retrieved", "item": sent}) == [ItemRetrieved(item)]


# ------------------------------------------------------------------------------ what a server says

_SESSION: Json = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "s",
    "model": "m",
    "output_modalities": ["text"],
    "expires_at": 1785460927,
}
_BETA_SESSION: Json = {"id": "s", "model": "m", "modalities": ["text", "audio"]}
_MESSAGE: Json = {
    "id": "i",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "phase": "final_answer",
    "content": [{"type": "output_text", "text": "hi"}],
}
_HI = Message("assistant", (Part("text", "hi"),), "i", "completed")
_CALL: Json = {
    "id": "f",
    "type": "function_call",
    "status": "completed",
    "name": "now",
    "call_id": "c",
    "arguments": "{}",
}
_NOW = ToolCall("now", "c", "{}", "f", "completed")
_WHERE: Json = {"response_id": "r", "item_id": "i", "output_index": 1, "content_index": 2}
_USAGE: Json = {
    "total_tokens": 105,
    "input_tokens": 57,
    "output_tokens": 48,
    "input_token_details": {"text_tokens": 57, "audio_tokens": 0, "cached_tokens": 16},
    "output_token_details": {"text_tokens": 48, "audio_tokens": 0},
}
_HEARD = "conversation.item.input_audio_transcription"

_EVENTS: list[tuple[Json, ServerEvent]] = [
    (
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "code": "invalid_value",
                "message": "no",
                "param": "session.foo",
                "event_id": "c1",
            },
        },
        ServerProblem("no", "invalid_request_error", "invalid_value", "session.foo", "c1"),
    ),
    (
        {"type": "session.created", "session": _SESSION},
        SessionCreated("s", "m", Dialect.GA, 1785460927.0, _SESSION),
    ),
    (
        {"type": "session.updated", "session": _SESSION},
        SessionUpdated("s", "m", Dialect.GA, 1785460927.0, _SESSION),
    ),
    ({"type": "conversation.created", "conversation": {}}, Other("conversation.created")),
    (
        {"type": "conversation.item.created", "item": _MESSAGE, "previous_item_id": "p"},
        ItemAdded(_HI, "p"),
    ),
    (
        {"type": "conversation.item.added", "item": _MESSAGE, "previous_item_id": "p"},
        ItemAdded(_HI, "p"),
    ),
    (
        {"type": "conversation.item.done", "item": _CALL, "previous_item_id": None},
        ItemDone(_NOW, None),
    ),
    ({"type": "conversation.item.retrieved", "item": _MESSAGE}, ItemRetrieved(_HI)),
    ({"type": "conversation.item.deleted", "item_id": "i"}, ItemDeleted("i")),
    (
        {
            "type": "conversation.item.truncated",
            "item_id": "i",
            "content_index": 1,
            "audio_end_ms": 1500,
        },
        ItemTruncated("i", 1, 1500),
    ),
    (
        {"type": f"{_HEARD}.delta", "item_id": "i", "content_index": 2, "delta": "he"},
        Delta(Channel.HEARD, "he", "", "i", 0, 2),
    ),
    (
        {"type": f"{_HEARD}.completed", "item_id": "i", "content_index": 2, "transcript": "hey"},
        ChannelDone(Channel.HEARD, "hey", "", "i", 0, 2),
    ),
    ({"type": f"{_HEARD}.segment", "item_id": "i", "text": "h"}, Other(f"{_HEARD}.segment")),
    ({"type": f"{_HEARD}.failed", "item_id": "i", "error": {}}, Other(f"{_HEARD}.failed")),
    (
        {
            "type": "rate_limits.updated",
            "rate_limits": [
                {"name": "tokens", "limit": 15000000, "remaining": 14998954, "reset_seconds": 0.5},
                {"name": "requests"},
            ],
        },
        RateLimits((RateLimit("tokens", 15000000, 14998954, 0.5), RateLimit("requests"))),
    ),
    (
        {
            "type": "response.created",
            "response": {"id": "r", "status": "in_progress", "conversation_id": "conv"},
        },
        ReplyStarted("r", "conv"),
    ),
    (
        {
            "type": "response.done",
            "response": {
                "id": "r",
                "status": "completed",
                "status_details": None,
                "output": [_MESSAGE, _CALL],
                "conversation_id": "conv",
                "usage": _USAGE,
            },
        },
        ReplyEnded(
            "r",
            Status.COMPLETED,
            items=(_HI, _NOW),
            usage=Usage(57, 16, 48, 105),
            conversation_id="conv",
        ),
    ),
    (
        {
            "type": "response.output_item.added",
            "response_id": "r",
            "output_index": 1,
            "item": _MESSAGE | {"status": "in_progress", "content": []},
        },
        OutputAdded("r", 1, Message("assistant", (), "i", "in_progress")),
    ),
    (
        {
            "type": "response.output_item.done",
            "response_id": "r",
            "output_index": 1,
            "item": _CALL,
        },
        OutputDone("r", 1, _NOW),
    ),
    (
        {"type": "response.content_part.added", **_WHERE, "part": {"type": "text", "text": ""}},
        PartAdded("r", "i", 1, 2, Part("text")),
    ),
    (
        {
            "type": "response.content_part.done",
            **_WHERE,
            "part": {"type": "audio", "transcript": "hi"},
        },
        PartDone("r", "i", 1, 2, Part("audio", "hi")),
    ),
    (
        {"type": "response.output_text.delta", **_WHERE, "delta": "h", "obfuscation": "xyz"},
        Delta(Channel.TEXT, "h", "r", "i", 1, 2),
    ),
    (
        {"type": "response.output_text.done", **_WHERE, "text": "hi"},
        ChannelDone(Channel.TEXT, "hi", "r", "i", 1, 2),
    ),
    (
        {"type": "response.output_audio_transcript.delta", **_WHERE, "delta": "h"},
        Delta(Channel.TRANSCRIPT, "h", "r", "i", 1, 2),
    ),
    (
        {"type": "response.output_audio_transcript.done", **_WHERE, "transcript": "hi"},
        ChannelDone(Channel.TRANSCRIPT, "hi", "r", "i", 1, 2),
    ),
    (
        {"type": "response.output_audio.delta", **_WHERE, "delta": "AAAA"},
        Delta(Channel.AUDIO, "AAAA", "r", "i", 1, 2),
    ),
    (
        {"type": "response.output_audio.done", **_WHERE},
        ChannelDone(Channel.AUDIO, "", "r", "i", 1, 2),
    ),
    (
        {
            "type": "response.function_call_arguments.delta",
            "response_id": "r",
            "item_id": "f",
            "output_index": 1,
            "call_id": "c",
            "delta": "{",
        },
        Delta(Channel.ARGUMENTS, "{", "r", "f", 1, 0),
    ),
    (
        {
            "type": "response.function_call_arguments.done",
            "response_id": "r",
            "item_id": "f",
            "output_index": 1,
            "call_id": "c",
            "name": "now",
            "arguments": "{}",
        },
        ToolCalled("now", "c", "{}", "r", "f", 1),
    ),
]
_EVENTS += [
    ({"type": kind, "item_id": "i", "response_id": "r"}, Other(kind))
    for kind in (
        "input_audio_buffer.committed",
        "input_audio_buffer.cleared",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.dtmf_event_received",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "output_audio_buffer.cleared",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
    )
]
_BETA_EVENTS: list[tuple[Json, ServerEvent]] = [
    (
        {"type": "transcription_session.updated", "session": _BETA_SESSION},
        SessionUpdated("s", "m", Dialect.BETA, None, _BETA_SESSION),
    ),
    (
        {"type": "session.created", "session": _BETA_SESSION},
        SessionCreated("s", "m", Dialect.BETA, None, _BETA_SESSION),
    ),
    (
        {
            "type": "conversation.item.created",
            "item": _MESSAGE | {"content": [{"type": "text", "text": "hi"}]},
        },
        ItemAdded(_HI),
    ),
    (
        {"type": "response.text.delta", **_WHERE, "delta": "h"},
        Delta(Channel.TEXT, "h", "r", "i", 1, 2),
    ),
    (
        {"type": "response.text.done", **_WHERE, "text": "hi"},
        ChannelDone(Channel.TEXT, "hi", "r", "i", 1, 2),
    ),
    (
        {"type": "response.audio_transcript.delta", **_WHERE, "delta": "h"},
        Delta(Channel.TRANSCRIPT, "h", "r", "i", 1, 2),
    ),
    (
        {"type": "response.audio_transcript.done", **_WHERE, "transcript": "hi"},
        ChannelDone(Channel.TRANSCRIPT, "hi", "r", "i", 1, 2),
    ),
    (
        {"type": "response.audio.delta", **_WHERE, "delta": "AAAA"},
        Delta(Channel.AUDIO, "AAAA", "r", "i", 1, 2),
    ),
    (
        {"type": "response.audio.done", **_WHERE},
        ChannelDone(Channel.AUDIO, "", "r", "i", 1, 2),
    ),
    (
        {
            "type": "response.function_call_arguments.done",
            "response_id": "r",
            "item_id": "f",
            "call_id": "c",
            "arguments": "{}",
        },
        ToolCalled("", "c", "{}", "r", "f", 0),
    ),
]


@pytest.mark.parametrize(
    ("data", "event"),
    _EVENTS + _BETA_EVENTS,
    ids=lambda x: x.get("type") if isinstance(x, dict) else "",
)
def test_an_event_of_either_dialect(data: Json, event: ServerEvent) -> None:
    assert decode({"event_id": "event_1"} | data) == [event]


def test_every_event_of_the_api_is_known() -> None:
    names = [str(data["type"]) for data, _ in _EVENTS]
    assert len(names) == len(set(names)) == 46


_VARIANTS: list[tuple[str, Json, list[ServerEvent]]] = [
    ("ping", {"type": "ping", "timestamp": 1}, [Other("ping")]),
    (
        "a status that is a string, numbers beside an empty usage",
        {
            "type": "response.done",
            "response": {
                "id": "r",
                "status": "completed",
                "status_details": "unimplemented",
                "output": [{"type": "message", "role": "assistant", "id": "i"}],
                "usage": {},
            },
            "usage": {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11},
        },
        [
            ReplyEnded(
                "r",
                Status.COMPLETED,
                items=(Message("assistant", (), "i"),),
                usage=Usage(5, 0, 6, 11),
            )
        ],
    ),
    (
        "a finished part without the part",
        {"type": "response.content_part.done", "response_id": "r", "item_id": "i"},
        [PartDone("r", "i", 0, 0, Part("text"))],
    ),
    (
        "a part of an unknown kind",
        {"type": "response.content_part.added", **_WHERE, "part": {"type": "video"}},
        [PartAdded("r", "i", 1, 2, Part("text"))],
    ),
    (
        "a part named as its item names it, and twice",
        {
            "type": "response.content_part.done",
            **_WHERE,
            "part": {"type": "output_text", "text": "hi"},
            "content": {"type": "output_text", "text": "hi"},
        },
        [PartDone("r", "i", 1, 2, Part("text", "hi"))],
    ),
    (
        "arguments without an index",
        {
            "type": "response.function_call_arguments.delta",
            "response_id": "r",
            "item_id": "f",
            "delta": "{",
        },
        [Delta(Channel.ARGUMENTS, "{", "r", "f", 0, 0)],
    ),
    (
        "nulls for all that is absent",
        {
            "type": "response.done",
            "event_id": None,
            "response": {
                "id": "r",
                "status": "completed",
                "status_details": {"type": "completed", "reason": None, "error": None},
                "output": None,
                "usage": _USAGE | {"input_token_details": None},
                "conversation_id": None,
            },
        },
        [ReplyEnded("r", Status.COMPLETED, usage=Usage(57, 0, 48, 105))],
    ),
    (
        "cancelled",
        {
            "type": "response.done",
            "response": {
                "id": "r",
                "status": "cancelled",
                "status_details": {"type": "cancelled", "reason": "client_cancelled"},
            },
        },
        [ReplyEnded("r", Status.CANCELLED, "client_cancelled")],
    ),
    (
        "incomplete",
        {
            "type": "response.done",
            "response": {
                "id": "r",
                "status": "incomplete",
                "status_details": {"type": "incomplete", "reason": "max_output_tokens"},
            },
        },
        [ReplyEnded("r", Status.INCOMPLETE, "max_output_tokens")],
    ),
    (
        "failed",
        {
            "type": "response.done",
            "response": {
                "id": "r",
                "status": "failed",
                "status_details": {
                    "type": "failed",
                    "error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "slow"},
                },
            },
        },
        [ReplyEnded("r", Status.FAILED, "", "rate_limit_exceeded", "slow")],
    ),
    (
        "failed, the code in the type",
        {
            "type": "response.done",
            "response": {
                "id": "r",
                "status": "failed",
                "status_details": {"type": "error", "error": {"type": "server_error"}},
            },
        },
        [ReplyEnded("r", Status.FAILED, "", "server_error")],
    ),
    (
        "a status of its own",
        {"type": "response.done", "response": {"id": "r", "status": "in_progress"}},
        [ReplyEnded("r", Status.FAILED, message="unknown status 'in_progress'")],
    ),
    (
        "nothing but zeros is no usage",
        {
            "type": "response.done",
            "response": {"usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}},
        },
        [ReplyEnded("", Status.COMPLETED)],
    ),
    (
        "an error without words",
        {"type": "error", "error": {"code": "server_error"}},
        [ServerProblem("server_error", "", "server_error")],
    ),
    (
        "an error without anything",
        {"type": "error"},
        [ServerProblem("the server reported an error")],
    ),
    (
        "a GA session with a beta field",
        {"type": "session.created", "session": {"type": "realtime", "modalities": ["text"]}},
        [SessionCreated("", "", Dialect.GA, None, {"type": "realtime", "modalities": ["text"]})],
    ),
    (
        "GA by its modalities alone",
        {"type": "session.created", "session": {"output_modalities": ["text"]}},
        [SessionCreated("", "", Dialect.GA, None, {"output_modalities": ["text"]})],
    ),
    (
        "a session that says nothing of its dialect",
        {"type": "session.created", "session": {"id": "s"}},
        [SessionCreated("s", "", None, None, {"id": "s"})],
    ),
    (
        "an item of another type",
        {"type": "conversation.item.added", "item": {"type": "mcp_call", "id": "i", "name": "n"}},
        [ItemAdded(OtherItem("mcp_call", "i", {"type": "mcp_call", "id": "i", "name": "n"}))],
    ),
    (
        "a message of no role",
        {"type": "conversation.item.added", "item": {"type": "message", "role": "tool"}},
        [ItemAdded(OtherItem("message", "", {"type": "message", "role": "tool"}))],
    ),
    (
        "what a tool gave back, and a picture",
        {
            "type": "response.done",
            "response": {
                "output": [
                    {"type": "function_call_output", "id": "o", "call_id": "c", "output": "noon"},
                    {
                        "type": "message",
                        "role": "user",
                        "content": [{"type": "input_image", "image_url": _IMAGE}],
                    },
                ]
            },
        },
        [
            ReplyEnded(
                "",
                Status.COMPLETED,
                items=(
                    ToolOutput("c", "noon", "o"),
                    Message("user", (Part("image", data=_IMAGE),)),
                ),
            )
        ],
    ),
    (
        "fields of the wrong type are named and passed over",
        {
            "type": "response.output_text.delta",
            "delta": ["h"],
            "response_id": 5,
            "output_index": True,
            "content_index": "2",
        },
        [
            Delta(Channel.TEXT, ""),
            Unknown("response.output_text.delta", "delta is a list"),
            Unknown("response.output_text.delta", "response_id is a int"),
            Unknown("response.output_text.delta", "output_index is a bool"),
            Unknown("response.output_text.delta", "content_index is a str"),
        ],
    ),
    (
        "and so are those further in",
        {
            "type": "response.done",
            "response": {
                "id": "r",
                "output": [5, {"type": "message", "role": "assistant", "content": {"a": 1}}],
                "usage": {"input_tokens": "many", "output_tokens": 2.0},
                "status_details": {"error": "boom"},
            },
        },
        [
            ReplyEnded(
                "r",
                Status.COMPLETED,
                items=(Message("assistant", ()),),
                usage=Usage(0, 0, 2, 0),
            ),
            Unknown("response.done", "response.status_details.error is a str"),
            Unknown("response.done", "response.usage.input_tokens is a str"),
            Unknown("response.done", "response.output[] is a int"),
            Unknown("response.done", "response.output[].content is a dict"),
        ],
    ),
    (
        "another service's",
        {"type": "localai.x"},
        [Unknown("localai.x", "not an event of the API as rtchat knows it")],
    ),
    ("no type", {}, [Unknown("", "an object without a type")]),
    ("a type that is none", {"type": ["error"]}, [Unknown("", "an object without a type")]),
]


@pytest.mark.parametrize(
    ("data", "events"), [row[1:] for row in _VARIANTS], ids=[row[0] for row in _VARIANTS]
)
def test_what_servers_do_that_the_reference_does_not_say(
    data: Json, events: list[ServerEvent]
) -> None:
    assert decode(data) == events


@pytest.mark.parametrize(("number", "read"), [(2.9, 2), (1e300, 0), (10**400, 0), (math.nan, 0)])
def test_a_number_that_is_no_index(number: float, read: int) -> None:
    data: Json = {"type": "conversation.item.truncated", "item_id": "i", "audio_end_ms": number}
    assert decode(data) == [ItemTruncated("i", 0, read)]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
_TYPES = st.sampled_from([str(data["type"]) for data, _ in _EVENTS + _BETA_EVENTS])
_KEYS = st.sampled_from(
    [
        "session",
        "response",
        "item",
        "part",
        "error",
        "delta",
        "text",
        "transcript",
        "usage",
        "output",
        "content",
        "status",
        "role",
        "type",
        "status_details",
        "rate_limits",
        "input_token_details",
        "id",
        "item_id",
        "content_index",
    ]
)
_SPITEFUL = st.recursive(
    _JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), _JSON), st.none() | _JSON)
def test_any_object_is_an_event(data: Json, kind: object) -> None:
    assert decode(data | {"type": kind})


@given(_TYPES, st.dictionaries(_KEYS, _SPITEFUL))
def test_any_object_of_a_known_type_is_that_event(kind: str, data: Json) -> None:
    first, *notes = decode(data | {"type": kind})
    assert not isinstance(first, Unknown)
    assert all(isinstance(note, Unknown) for note in notes)


def _mutated(value: object, path: list[int], other: object) -> object:
    """The value with another in place of one that the path leads to."""
    if isinstance(value, dict) and value and path:
        key = list(value)[path[0] % len(value)]
        return value | {key: _mutated(value[key], path[1:], other)}
    if isinstance(value, list) and value and path:
        index = path[0] % len(value)
        return [*value[:index], _mutated(value[index], path[1:], other), *value[index + 1 :]]
    return other


@given(st.sampled_from(_EVENTS), st.lists(st.integers(0, 9), min_size=1, max_size=5), _SPITEFUL)
def test_a_valid_event_with_one_wrong_field_is_still_read(
    known: tuple[Json, ServerEvent], path: list[int], other: object
) -> None:
    data = _mutated(known[0], path, other)
    assert isinstance(data, dict)
    first, *notes = decode(data)
    assert all(isinstance(note, Unknown) for note in notes)
    if data["type"] == known[0]["type"]:
        assert type(first) is type(known[1])


# ------------------------------------------------------------------------------------------ frames


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b'{"type": "error"}', "a binary frame of 17 bytes"),
        ("", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[1]", "a JSON value that is not an object"),
        ("null", "a JSON value that is not an object"),
        ("{}", "an object without a type"),
        ('{"type": 5}', "an object without a type"),
        ('{"type": "x", "n": NaN}', "not JSON: NaN is no number"),
        ('{"type": "x", "n": -Infinity}', "not JSON: -Infinity is no number"),
        ('{"type": "x", "n": 1e999}', "not JSON: a number is out of range"),
        ('{"type": "x", "n": ' + "[" * 101 + "]" * 101 + "}", "not JSON: nested deeper than 100"),
    ],
)
def test_a_frame_that_cannot_be_read_says_why(frame: str | bytes, why: str) -> None:
    assert read_frame(frame) == Unknown("", why)


@pytest.mark.parametrize("frame", ["[" * 100_000, '{"type":' * 100_000, "1" * 5000])
def test_no_frame_is_too_much(frame: str) -> None:
    assert isinstance(read_frame(frame), Unknown)


def test_what_a_frame_says_can_be_written_again() -> None:
    frame = r'{"type": "x", "a\ud800": ["\ud83d\ude00", "\udc00b", {"deep": [1.5, true, null]}]}'
    data = {"type": "x", "a�": ["😀", "�b", {"deep": [1.5, True, None]}]}
    assert read_frame(frame) == data
    assert write_frame(data) == '{"type":"x","a�":["😀","�b",{"deep":[1.5,true,null]}]}'
    assert write_frame({"type": "a\ud83d", "x": "\ude00"}) == '{"type":"a�","x":"�"}'


@given(st.text() | st.binary() | _JSON.map(json.dumps))
def test_any_frame_is_read(frame: str | bytes) -> None:
    data = read_frame(frame)
    if not isinstance(data, Unknown):
        assert read_frame(write_frame(data)) == data
        write_frame(data).encode()


@given(st.dictionaries(st.text(max_size=5), _JSON))
def test_a_frame_comes_back_as_it_was(data: Json) -> None:
    frame = json.dumps(data | {"type": "x"})
    read = read_frame(frame)
    if "NaN" not in frame and "Infinity" not in frame:
        assert read == data | {"type": "x"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "no such model", "code": 404}}', "no such model"),
        (b'{"error": "no"}', "no"),
        (b'{"error": {"message": 5}}', ""),
        (b'{"message": "x"}', ""),
        (b"[1]", ""),
        (b"<html>", ""),
        (b"\xff\xfe", ""),
        (b"[" * 100_000, ""),
    ],
)
def test_the_message_of_an_error_page(body: bytes, words: str) -> None:
    assert read_error_body(body) == words


# -------------------------------------------------------------------------------------- recordings

_RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings"


def _recorded() -> list[Path]:
    return sorted(_RECORDINGS.glob("*.jsonl"))


def _received(path: Path) -> list[Mapping[str, object]]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line["data"] for line in lines if line["direction"] == "received"]


@pytest.mark.skipif(not _recorded(), reason="there are no recordings beside this checkout")
@pytest.mark.parametrize("path", _recorded(), ids=lambda path: path.stem)
def test_a_real_session_is_read_in_full(path: Path) -> None:
    events = [event for data in _received(path) for event in decode(data)]
    assert [event for event in events if isinstance(event, Unknown)] == []
    texts: list[str] = []
    reply, shown = ReplyText(), ""
    for event in events:
        match event:
            case ReplyStarted(response_id):
                reply, shown = ReplyText(response_id), ""
            case Delta():
                shown += reply.add(event)
            case ChannelDone():
                shown += reply.channel_done(event)
            case PartDone():
                shown += reply.part_done(event)
            case ReplyEnded(response_id, status, items=items):
                assert (response_id, status) == (reply.id, Status.COMPLETED)
                whole = [item.text for item in items if isinstance(item, Message) and item.text]
                before = shown
                shown += reply.finish(items)
                assert before == shown == reply.text
                if whole:  # xAI's reports the item without its content
                    assert shown == "\n\n".join(whole)
                texts.append(shown)
            case _:
                pass
    assert any(texts)
