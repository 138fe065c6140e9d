"""The types of a server's events, for type checkers: the public Python API yields `Event`.

At run time an event is a plain dict with all fields that the server sent. To use events or fields
that are not listed here, compare `str(event["type"])` or use `dict(event)`. Sessions have the type
`dict`. A test compares these types with those of the official `openai` package. The file is long
because of its tables.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

# ------------------------------------------------------------------------------------------- items

ItemStatus: TypeAlias = Literal["completed", "incomplete", "in_progress"]


class Content(TypedDict):
    """A content part. `audio` is base64, `image_url` a data URL."""

    type: NotRequired[str | None]
    text: NotRequired[str | None]
    audio: NotRequired[str | None]
    transcript: NotRequired[str | None]
    image_url: NotRequired[str | None]
    detail: NotRequired[Literal["auto", "low", "high"] | None]


class _Item(TypedDict):
    id: NotRequired[str | None]
    object: NotRequired[Literal["realtime.item"] | None]
    status: NotRequired[ItemStatus | None]


class MessageItem(_Item):
    """A message."""

    type: Literal["message"]
    role: Literal["system", "user", "assistant"]
    content: list[Content]


class FunctionCallItem(_Item):
    """A call of a function; `arguments` is JSON."""

    type: Literal["function_call"]
    name: str
    arguments: str
    call_id: NotRequired[str | None]


class FunctionCallOutputItem(_Item):
    """The output of a call."""

    type: Literal["function_call_output"]
    call_id: str
    output: str


class McpCallItem(TypedDict):
    """A call of a tool of a remote MCP server, made by the server."""

    type: Literal["mcp_call"]
    id: str
    server_label: str
    name: str
    arguments: str
    output: NotRequired[str | None]
    error: NotRequired[dict[str, Any] | None]
    approval_request_id: NotRequired[str | None]


class McpListToolsItem(TypedDict):
    """The tools of a remote MCP server."""

    type: Literal["mcp_list_tools"]
    id: NotRequired[str | None]
    server_label: str
    tools: list[dict[str, Any]]


class McpApprovalRequestItem(TypedDict):
    """A call of a tool of a remote MCP server that waits for an approval."""

    type: Literal["mcp_approval_request"]
    id: str
    server_label: str
    name: str
    arguments: str


class McpApprovalResponseItem(TypedDict):
    """The answer to a request for approval."""

    type: Literal["mcp_approval_response"]
    id: str
    approval_request_id: str
    approve: bool
    reason: NotRequired[str | None]


Item: TypeAlias = (
    MessageItem
    | FunctionCallItem
    | FunctionCallOutputItem
    | McpCallItem
    | McpListToolsItem
    | McpApprovalRequestItem
    | McpApprovalResponseItem
)

# --------------------------------------------------------------------------------------- responses


class Failure(TypedDict):
    """Why something failed."""

    type: NotRequired[str | None]
    code: NotRequired[str | None]
    message: NotRequired[str | None]
    param: NotRequired[str | None]


class StatusDetails(TypedDict):
    """Why a response is not complete."""

    type: NotRequired[Literal["completed", "cancelled", "incomplete", "failed"] | None]
    reason: NotRequired[
        Literal["turn_detected", "client_cancelled", "max_output_tokens", "content_filter"] | None
    ]
    error: NotRequired[Failure | None]


class CachedTokensDetails(TypedDict):
    """The cached tokens of the input."""

    text_tokens: NotRequired[int | None]
    audio_tokens: NotRequired[int | None]
    image_tokens: NotRequired[int | None]


class InputTokenDetails(TypedDict):
    """The tokens of the input."""

    text_tokens: NotRequired[int | None]
    audio_tokens: NotRequired[int | None]
    image_tokens: NotRequired[int | None]
    cached_tokens: NotRequired[int | None]
    cached_tokens_details: NotRequired[CachedTokensDetails | None]


class OutputTokenDetails(TypedDict):
    """The tokens of the output."""

    text_tokens: NotRequired[int | None]
    audio_tokens: NotRequired[int | None]


class Usage(TypedDict):
    """The tokens that a response has used."""

    input_tokens: NotRequired[int | None]
    output_tokens: NotRequired[int | None]
    total_tokens: NotRequired[int | None]
    input_token_details: NotRequired[InputTokenDetails | None]
    output_token_details: NotRequired[OutputTokenDetails | None]


class Response(TypedDict):
    """A response."""

    id: NotRequired[str | None]
    object: NotRequired[Literal["realtime.response"] | None]
    status: NotRequired[ItemStatus | Literal["cancelled", "failed"] | None]
    status_details: NotRequired[StatusDetails | None]
    output: NotRequired[list[Item] | None]
    output_modalities: NotRequired[list[Literal["text", "audio"]] | None]
    audio: NotRequired[dict[str, Any] | None]
    conversation_id: NotRequired[str | None]
    max_output_tokens: NotRequired[int | Literal["inf"] | None]
    metadata: NotRequired[dict[str, str] | None]
    usage: NotRequired[Usage | None]


# ------------------------------------------------------------------------------------------ events


class _Event(TypedDict):
    event_id: str


class Error(TypedDict):
    """The error in an error event. `event_id` is that of the client event that caused it."""

    type: str
    message: str
    code: NotRequired[str | None]
    param: NotRequired[str | None]
    event_id: NotRequired[str | None]


class ErrorEvent(_Event):
    """The server refused something; the session continues."""

    type: Literal["error"]
    error: Error


class SessionEvent(_Event):
    """The session was created or updated."""

    type: Literal["session.created", "session.updated"]
    session: dict[str, Any]


class ConversationEvent(_Event):
    """The conversation was created."""

    type: Literal["conversation.created"]
    conversation: dict[str, Any]


class ItemEvent(_Event):
    """An item was added, or is complete."""

    type: Literal["conversation.item.added", "conversation.item.created", "conversation.item.done"]
    item: Item
    previous_item_id: NotRequired[str | None]


class ItemRetrievedEvent(_Event):
    """The answer to `conversation.item.retrieve`."""

    type: Literal["conversation.item.retrieved"]
    item: Item


class ItemDeletedEvent(_Event):
    """An item was deleted."""

    type: Literal["conversation.item.deleted"]
    item_id: str


class ItemTruncatedEvent(_Event):
    """The audio of an item was truncated."""

    type: Literal["conversation.item.truncated"]
    item_id: str
    content_index: int
    audio_end_ms: int


class TranscriptionDeltaEvent(_Event):
    """The next piece of the transcript of the user's speech."""

    type: Literal["conversation.item.input_audio_transcription.delta"]
    item_id: str
    content_index: NotRequired[int | None]
    delta: NotRequired[str | None]
    logprobs: NotRequired[list[dict[str, Any]] | None]


class TranscriptionCompletedEvent(_Event):
    """The transcript of the user's speech."""

    type: Literal["conversation.item.input_audio_transcription.completed"]
    item_id: str
    content_index: int
    transcript: str
    usage: dict[str, Any]
    languages: NotRequired[list[dict[str, Any]] | None]
    logprobs: NotRequired[list[dict[str, Any]] | None]


class TranscriptionFailedEvent(_Event):
    """The user's speech could not be transcribed."""

    type: Literal["conversation.item.input_audio_transcription.failed"]
    item_id: str
    content_index: int
    error: Failure


class TranscriptionSegmentEvent(_Event):
    """A segment of the user's speech; `start` and `end` are in seconds."""

    type: Literal["conversation.item.input_audio_transcription.segment"]
    id: str
    item_id: str
    content_index: int
    speaker: str
    start: float
    end: float
    text: str


class AudioClearedEvent(_Event):
    """The audio buffer was cleared."""

    type: Literal["input_audio_buffer.cleared"]


class AudioCommittedEvent(_Event):
    """The audio buffer became an item."""

    type: Literal["input_audio_buffer.committed"]
    item_id: str
    previous_item_id: NotRequired[str | None]


class SpeechStartedEvent(_Event):
    """The server detected speech."""

    type: Literal["input_audio_buffer.speech_started"]
    item_id: str
    audio_start_ms: int


class SpeechStoppedEvent(_Event):
    """The server detected the end of speech."""

    type: Literal["input_audio_buffer.speech_stopped"]
    item_id: str
    audio_end_ms: int


class IdleTimeoutEvent(_Event):
    """Nobody spoke for the time set as `idle_timeout_ms`."""

    type: Literal["input_audio_buffer.timeout_triggered"]
    item_id: str
    audio_start_ms: int
    audio_end_ms: int


class DtmfEvent(TypedDict):
    """A key of a telephone was pressed."""

    type: Literal["input_audio_buffer.dtmf_event_received"]
    event: str
    received_at: int


class OutputAudioBufferEvent(_Event):
    """The server's own playback, over WebRTC and SIP, started or ended."""

    type: Literal[
        "output_audio_buffer.started", "output_audio_buffer.stopped", "output_audio_buffer.cleared"
    ]
    response_id: str


class RateLimit(TypedDict):
    """One rate limit."""

    name: NotRequired[Literal["requests", "tokens"] | None]
    limit: NotRequired[int | None]
    remaining: NotRequired[int | None]
    reset_seconds: NotRequired[float | None]


class RateLimitsEvent(_Event):
    """The current rate limits."""

    type: Literal["rate_limits.updated"]
    rate_limits: list[RateLimit]


class McpListToolsEvent(_Event):
    """The server reads the tools of a remote MCP server."""

    type: Literal["mcp_list_tools.in_progress", "mcp_list_tools.completed", "mcp_list_tools.failed"]
    item_id: str


class ResponseEvent(_Event):
    """A response began, or is over."""

    type: Literal["response.created", "response.done"]
    response: Response


class OutputItemEvent(_Event):
    """A response began an item, or completed it."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    response_id: str
    output_index: int
    item: Item


class _PartEvent(_Event):
    response_id: str
    item_id: str
    output_index: int
    content_index: int


class ContentPartEvent(_PartEvent):
    """A response began a content part, or completed it."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    part: Content


class DeltaEvent(_PartEvent):
    """The next piece of the text, transcript or audio (base64) of a response."""

    type: Literal[
        "response.output_text.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
    ]
    delta: str


class TextDoneEvent(_PartEvent):
    """A text is complete."""

    type: Literal["response.output_text.done"]
    text: str


class TranscriptDoneEvent(_PartEvent):
    """The transcript of a spoken response is complete."""

    type: Literal["response.output_audio_transcript.done"]
    transcript: str


class AudioDoneEvent(_PartEvent):
    """The audio of a part is complete."""

    type: Literal["response.output_audio.done"]


class _CallEvent(_Event):
    response_id: str
    item_id: str
    output_index: int


class ArgumentsDeltaEvent(_CallEvent):
    """The next piece of the arguments of a call."""

    type: Literal["response.function_call_arguments.delta"]
    call_id: str
    delta: str


class ArgumentsDoneEvent(_CallEvent):
    """The arguments of a call, as JSON, are complete."""

    type: Literal["response.function_call_arguments.done"]
    call_id: str
    name: str
    arguments: str


class McpArgumentsDeltaEvent(_CallEvent):
    """The next piece of the arguments of a call of a remote MCP server."""

    type: Literal["response.mcp_call_arguments.delta"]
    delta: str
    obfuscation: NotRequired[str | None]


class McpArgumentsDoneEvent(_CallEvent):
    """The arguments of a call of a remote MCP server are complete."""

    type: Literal["response.mcp_call_arguments.done"]
    arguments: str


class McpCallEvent(_Event):
    """The server calls a tool of a remote MCP server."""

    type: Literal[
        "response.mcp_call.in_progress", "response.mcp_call.completed", "response.mcp_call.failed"
    ]
    item_id: str
    output_index: int


Event: TypeAlias = (
    ErrorEvent
    | SessionEvent
    | ConversationEvent
    | ItemEvent
    | ItemRetrievedEvent
    | ItemDeletedEvent
    | ItemTruncatedEvent
    | TranscriptionDeltaEvent
    | TranscriptionCompletedEvent
    | TranscriptionFailedEvent
    | TranscriptionSegmentEvent
    | AudioClearedEvent
    | AudioCommittedEvent
    | SpeechStartedEvent
    | SpeechStoppedEvent
    | IdleTimeoutEvent
    | DtmfEvent
    | OutputAudioBufferEvent
    | RateLimitsEvent
    | McpListToolsEvent
    | ResponseEvent
    | OutputItemEvent
    | ContentPartEvent
    | DeltaEvent
    | TextDoneEvent
    | TranscriptDoneEvent
    | AudioDoneEvent
    | ArgumentsDeltaEvent
    | ArgumentsDoneEvent
    | McpArgumentsDeltaEvent
    | McpArgumentsDoneEvent
    | McpCallEvent
)
"""Every event of the API. Compare `event["type"]` with a string to narrow it."""
