"""Every event of the API as JSON, with its decoded form. The file is long because of its tables."""

from __future__ import annotations

from rtchat.core.effects import (
    AddItem,
    Cancel,
    Command,
    Configure,
    CreateResponse,
    Delete,
    Retrieve,
    Truncate,
)
from rtchat.core.events import (
    AudioCleared,
    AudioCommitted,
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
    RemoteCallUpdate,
    RemoteState,
    ReplyEnded,
    ReplyStarted,
    SegmentTranscribed,
    ServerEvent,
    ServerProblem,
    SessionCreated,
    SessionEnded,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    ToolListing,
    TranscriptionFailed,
    Unknown,
)
from rtchat.core.values import (
    Channel,
    Dialect,
    Message,
    Options,
    OtherItem,
    Part,
    Status,
    ToolCall,
    ToolOutput,
    TranscriptSegment,
    TranscriptWord,
    Usage,
)
from tests.deviations.server import BETA

Json = dict[str, object]

_OPTIONS = Options("Be brief.", "text", 200)
TOOL: Json = {"type": "function", "name": "now", "parameters": {"type": "object"}}
_IMAGE = "data:image/png;base64,AAAA"
COMMANDS: list[tuple[Command, Json, Json | None]] = [
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
        Configure(Options(modality="audio", other={"tools": [TOOL], "tool_choice": "auto"})),
        {
            "type": "session.update",
            "session": {
                "type": "realtime",
                "output_modalities": ["audio"],
                "tools": [TOOL],
                "tool_choice": "auto",
            },
        },
        {
            "type": "session.update",
            "session": {
                "modalities": ["text", "audio"],
                "tools": [TOOL],
                "tool_choice": "auto",
            },
        },
    ),
    (CreateResponse(is_marked=False), {"type": "response.create", "response": {}}, None),
    (
        CreateResponse(Options(None, "text", "inf"), is_marked=False),
        {
            "type": "response.create",
            "response": {"output_modalities": ["text"], "max_output_tokens": "inf"},
        },
        {
            "type": "response.create",
            "response": {"modalities": ["text"], "max_response_output_tokens": "inf"},
        },
    ),
    (Cancel(), {"type": "response.cancel"}, None),
    (Cancel("r"), {"type": "response.cancel", "response_id": "r"}, None),
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
        None,
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
        None,
    ),
    (
        AddItem(Message("user", (Part("image", data=_IMAGE, detail="low"),))),
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_image", "image_url": _IMAGE, "detail": "low"}],
            },
        },
        None,
    ),
    (
        AddItem(Message("assistant", (Part("text", "hm"),), phase="commentary")),
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "assistant",
                "phase": "commentary",
                "content": [{"type": "output_text", "text": "hm"}],
            },
        },
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "text", "text": "hm"}],
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
        None,
    ),
    (
        AddItem(ToolOutput("c", "noon")),
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "c", "output": "noon"},
        },
        None,
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
        None,
    ),
    (Retrieve("i"), {"type": "conversation.item.retrieve", "item_id": "i"}, None),
    (Delete("i"), {"type": "conversation.item.delete", "item_id": "i"}, None),
    (
        Truncate("i", 0, 1500),
        {
            "type": "conversation.item.truncate",
            "item_id": "i",
            "content_index": 0,
            "audio_end_ms": 1500,
        },
        None,
    ),
]
"""Each command with its GA event, and its beta event if it differs."""
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
_HI = Message("assistant", (Part("text", "hi"),), "i", "completed", "final_answer")
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
EVENTS: list[tuple[Json, ServerEvent]] = [
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
        Delta(Channel.INPUT_TRANSCRIPT, "he", "", "i", 0, 2),
    ),
    (
        {"type": f"{_HEARD}.completed", "item_id": "i", "content_index": 2, "transcript": "hey"},
        ChannelDone(Channel.INPUT_TRANSCRIPT, "hey", "", "i", 0, 2),
    ),
    (
        {
            "type": f"{_HEARD}.completed",
            "item_id": "i",
            "content_index": 2,
            "transcript": "hey",
            "segments": [{"id": 7, "text": " hey", "start": 0, "end": 0.5}],
            "words": [{"word": "hey", "start": 0.1, "end": 0.5}],
        },
        ChannelDone(
            Channel.INPUT_TRANSCRIPT,
            "hey",
            "",
            "i",
            0,
            2,
            segments=(TranscriptSegment("0", "hey", "", 0.0, 0.5),),
            words=(TranscriptWord("hey", 0.1, 0.5),),
        ),
    ),
    (
        {
            "type": f"{_HEARD}.segment",
            "item_id": "i",
            "content_index": 1,
            "id": "seg",
            "text": "h",
            "speaker": "A",
            "start": 0.5,
            "end": 2,
        },
        SegmentTranscribed("i", "seg", "h", "A", 0.5, 2.0, 1),
    ),
    (
        {
            "type": f"{_HEARD}.failed",
            "item_id": "i",
            "content_index": 2,
            "error": {"message": "Too loud.", "code": "noise"},
        },
        TranscriptionFailed("i", "Too loud.", 2, "noise"),
    ),
    (
        {"type": "input_audio_buffer.committed", "item_id": "i", "previous_item_id": "h"},
        AudioCommitted("i", "h"),
    ),
    ({"type": "input_audio_buffer.cleared"}, AudioCleared()),
    (
        {"type": "input_audio_buffer.speech_started", "item_id": "i", "audio_start_ms": 1460},
        SpeechStarted("i", 1460),
    ),
    (
        {"type": "input_audio_buffer.speech_stopped", "item_id": "i", "audio_end_ms": 4256},
        SpeechStopped("i", 4256),
    ),
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
        OutputAdded("r", 1, Message("assistant", (), "i", "in_progress", "final_answer")),
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
EVENTS += [
    ({"type": kind, "item_id": "i", "response_id": "r"}, Other(kind))
    for kind in (
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.dtmf_event_received",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "output_audio_buffer.cleared",
        "response.mcp_call_arguments.delta",
    )
]
EVENTS.append(
    (
        {"type": "response.mcp_call_arguments.done", "item_id": "i", "arguments": "{}"},
        RemoteCallUpdate("i", None, "{}"),
    )
)
for _state in RemoteState:
    EVENTS.append(
        ({"type": f"response.mcp_call.{_state}", "item_id": "i"}, RemoteCallUpdate("i", _state))
    )
    EVENTS.append(
        ({"type": f"mcp_list_tools.{_state}", "item_id": "i"}, ToolListing("i", state=_state))
    )
"""Every GA event, once."""
BETA_EVENTS: list[tuple[Json, ServerEvent]] = [
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
BETA_EVENTS += [
    (data | {"type": BETA[kind]}, event)
    for data, event in EVENTS
    if (kind := str(data["type"])).startswith("response.") and kind in BETA
]
"""Events that only exist in beta."""
VARIANTS: list[tuple[str, Json, list[ServerEvent]]] = [
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
        {"type": "conversation.item.added", "item": {"type": "thought", "id": "i", "name": "n"}},
        [ItemAdded(OtherItem("thought", "i", {"type": "thought", "id": "i", "name": "n"}))],
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
                "status_details": {"error": ["boom"]},
            },
        },
        [
            ReplyEnded(
                "r",
                Status.COMPLETED,
                items=(Message("assistant", ()),),
                usage=Usage(0, 0, 2, 0),
            ),
            Unknown("response.done", "response.usage.input_tokens is a str"),
            Unknown("response.done", "response.output[] is a int"),
            Unknown("response.done", "response.output[].content is a dict"),
        ],
    ),
    (
        "another service's",
        {"type": "localai.x"},
        [Unknown("localai.x", "unknown event type")],
    ),
    ("no type", {}, [Unknown("", "the object has no type")]),
    ("a type that is none", {"type": ["error"]}, [Unknown("", "the object has no type")]),
]
"""Events of real servers that deviate from the reference."""

TRANSLATION_EVENTS: list[tuple[Json, ServerEvent]] = [
    (
        {"type": "session.output_transcript.delta", "delta": "hola", "elapsed_ms": 400},
        Delta(Channel.TRANSCRIPT, "hola", elapsed_ms=400),
    ),
    (
        {"type": "session.input_transcript.delta", "delta": "hello"},
        Delta(Channel.INPUT_TRANSCRIPT, "hello"),
    ),
    (
        {"type": "session.output_audio.delta", "delta": "AAA=", "sample_rate": 24000},
        Delta(Channel.AUDIO, "AAA="),
    ),
    ({"type": "session.closed"}, SessionEnded()),
]
"""Every event of a translation session that other sessions do not have."""
