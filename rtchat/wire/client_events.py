"""What a client sends, to commands: strictly.

The strictness is OpenAI's: one unknown or mistyped field and the whole event is refused, with the
field's path in the error.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import Literal, TypeAlias

from rtchat.core import effects as fx
from rtchat.core.events import ServerProblem
from rtchat.core.values import Dialect, Item, JsonObject, Modality, Options, Tool, value
from rtchat.wire import beta
from rtchat.wire.fields import Fields, read_json
from rtchat.wire.items import read_item
from rtchat.wire.schema import COMMANDS, TRANSCRIPTION
from rtchat.wire.validators import FieldError, unsupported

INVALID_REQUEST = "invalid_request_error"

ClientRequest: TypeAlias = (
    fx.Configure
    | fx.AddItem
    | fx.CreateResponse
    | fx.Cancel
    | fx.Retrieve
    | fx.Delete
    | fx.Truncate
    | fx.AppendAudio
    | fx.CommitAudio
    | fx.ClearAudio
)
"""What a client may ask for."""
# ------------------------------------------------------------------------------------------- frames


def read_request(frame: str | bytes) -> dict[str, object] | ServerProblem:
    """A client's frame as a JSON object, or the error to answer it with. Never raises."""
    if isinstance(frame, bytes):
        message = f"Expected a text frame, but got a binary one of {len(frame)} bytes."
        return ServerProblem(message, INVALID_REQUEST, "invalid_frame")
    if _has_too_many_values(frame):
        message = f"The event has more than {MOST_VALUES} values in its arrays and objects."
        return ServerProblem(message, INVALID_REQUEST, "invalid_json")
    try:
        data = read_json(frame)
    except (ValueError, RecursionError) as error:
        return ServerProblem(f"Not JSON: {error}.", INVALID_REQUEST, "invalid_json")
    if not isinstance(data, dict):
        return ServerProblem("Expected a JSON object.", INVALID_REQUEST, "invalid_type")
    return data


MOST_VALUES = 100_000
"""How many values the arrays and objects of an event may have. Millions of empty objects fit into a
frame, and reading them takes seconds in which nothing else runs; a text may fill the frame."""


def _has_too_many_values(frame: str) -> bool:
    if len(frame) <= MOST_VALUES or _values(frame, 0, len(frame)) <= MOST_VALUES:
        return False
    found = at = 0
    while at >= 0 and found <= MOST_VALUES:  # not those inside strings
        quote = frame.find('"', at)
        found += _values(frame, at, quote if quote >= 0 else len(frame))
        at = quote if quote < 0 else _end_of_text(frame, quote + 1)
    return found > MOST_VALUES


def _values(frame: str, start: int, end: int) -> int:
    return sum(frame.count(mark, start, end) for mark in "[{,")


def _end_of_text(frame: str, at: int) -> int:
    """The position after the closing quote of a string; -1 if it has none."""
    while (quote := frame.find('"', at)) >= 0:
        slashes = quote
        while frame[slashes - 1] == "\\":
            slashes -= 1
        if (quote - slashes) % 2 == 0:
            return quote + 1
        at = quote + 1
    return -1


# ----------------------------------------------------------------------------------------- commands


def decode_command(
    data: JsonObject, dialect: Dialect = Dialect.GA, *, transcribes: bool = False
) -> ClientRequest | ServerProblem:
    """What a client asks for, or the error to answer it with. `transcribes`: its session is for
    transcription."""
    event_id = data.get("event_id")
    try:
        return _decode(beta.to_ga(data) if dialect is Dialect.BETA else data, transcribes)
    except FieldError as error:
        return ServerProblem(
            str(error),
            INVALID_REQUEST,
            error.code,
            beta.param_to_beta(error.param) if dialect is Dialect.BETA else error.param,
            event_id if isinstance(event_id, str) else "",
        )


def _decode(data: JsonObject, transcribes: bool) -> ClientRequest:
    if "type" not in data:
        message = "Missing required parameter: 'type'."
        raise FieldError("missing_required_parameter", message, "type")
    kind = data["type"]
    check = COMMANDS.get(kind) if isinstance(kind, str) else None
    if check is None:
        raise FieldError("invalid_value", unsupported(kind, tuple(COMMANDS)), "type")
    session = data.get("session")
    asked, other = _SESSION_TYPES if transcribes else _SESSION_TYPES[::-1]
    if isinstance(session, dict) and session.get("type") == other:
        message = f"This is a {asked} session: it cannot become a {other} session."
        raise FieldError("invalid_parameter", message, "session.type")
    if transcribes and kind in _NOT_TO_TRANSCRIBE:
        message = f"'{kind}' is not possible here: a transcription session has no responses."
        raise FieldError("invalid_parameter", message, "type")
    (TRANSCRIPTION if transcribes and kind == "session.update" else check)(data, "")
    read = _READERS.get(str(kind))
    if read is None:
        message = f"'{kind}' is for WebRTC: over a WebSocket the client plays the audio itself."
        raise FieldError("invalid_value", message, "type")
    return read(Fields(data, []))


_SESSION_TYPES = ("transcription", "realtime")
_NOT_TO_TRANSCRIBE = ("response.create", "response.cancel")


def _truncate(fields: Fields) -> ClientRequest:
    place = fields.integer("content_index"), fields.integer("audio_end_ms")
    return fx.Truncate(fields.text("item_id"), *place)


def _append(fields: Fields) -> ClientRequest:
    return fx.AppendAudio(read_audio(fields.text("audio"), "audio"))


MOST_AUDIO = 15 * 1024 * 1024
"""Bytes that a client may send at a time."""


def read_audio(data: str, path: str) -> bytes:
    """The audio in a field. Raises `FieldError`."""
    try:
        audio = b64decode(data, validate=True)
    except ValueError as error:
        message = f"Invalid '{path}': expected PCM16 audio in base64 ({error})."
        raise FieldError("invalid_value", message, path) from None
    if len(audio) > MOST_AUDIO:
        message = f"Invalid '{path}': {len(audio)} bytes, at most {MOST_AUDIO} are allowed at once."
        raise FieldError("invalid_value", message, path)
    return audio


def _add_item(fields: Fields) -> ClientRequest:
    return fx.AddItem(read_item(fields.fields("item")), fields.optional("previous_item_id"))


_READERS: dict[str, Callable[[Fields], ClientRequest]] = {
    "session.update": lambda fields: fx.Configure(_options(fields.fields("session").data, "type")),
    "response.create": lambda fields: fx.CreateResponse(_options(fields.fields("response").data)),
    "response.cancel": lambda fields: fx.Cancel(fields.text("response_id")),
    "conversation.item.create": _add_item,
    "conversation.item.retrieve": lambda fields: fx.Retrieve(fields.text("item_id")),
    "conversation.item.delete": lambda fields: fx.Delete(fields.text("item_id")),
    "conversation.item.truncate": _truncate,
    "input_audio_buffer.append": _append,
    "input_audio_buffer.commit": lambda fields: fx.CommitAudio(),
    "input_audio_buffer.clear": lambda fields: fx.ClearAudio(),
}
_MODALITIES: dict[object, Modality] = {"text": "text", "audio": "audio"}
_READ = ("output_modalities", "instructions", "max_output_tokens")


def _options(data: JsonObject, *passed_over: str) -> Options:
    instructions, most = data.get("instructions"), data.get("max_output_tokens")
    modalities = data.get("output_modalities")
    return Options(
        instructions if isinstance(instructions, str) else None,
        _MODALITIES[modalities[0]] if isinstance(modalities, list) else None,
        "inf" if most == "inf" else most if isinstance(most, int) else None,
        {key: data[key] for key in data if key not in _READ and key not in passed_over},
    )


# ------------------------------------------------------------------------------------------ options


def merge_options(base: Options, change: Options) -> Options:
    """`base`, with what `change` sets; of the audio settings only those that it names."""
    return Options(
        base.instructions if change.instructions is None else change.instructions,
        base.modality if change.modality is None else change.modality,
        base.max_output_tokens if change.max_output_tokens is None else change.max_output_tokens,
        merged_fields(base.other, change.other),
    )


def merged_fields(base: JsonObject, change: JsonObject) -> dict[str, object]:
    """`base`, with what `change` sets; within the audio settings too."""
    out = {**base, **change}
    for key in ("audio", "input", "output"):
        old, new = base.get(key), change.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            out[key] = merged_fields(old, new)
    return out


@value
class Request:
    """What a `CreateResponse` asks that no session can: whether the reply stays out of the
    conversation, and what it answers instead of it (an item reference is an `OtherItem` with that
    id)."""

    out_of_band: bool
    input: tuple[Item, ...] | None
    options: Options
    """Its options without these two."""


ITEM_REFERENCE = "item_reference"


def read_reply(options: Options) -> Request:
    """The options of a decoded `CreateResponse`, taken apart."""
    fields = Fields(options.other, [])
    items = tuple(read_item(entry) for entry in fields.list("input"))
    rest = {key: options.other[key] for key in options.other if key not in _REQUEST_FIELDS}
    return Request(
        fields.text("conversation") == "none",
        items if "input" in options.other else None,
        Options(options.instructions, options.modality, options.max_output_tokens, rest),
    )


_REQUEST_FIELDS = ("conversation", "input")


@value
class ToolSettings:
    """Which functions the model may call, and whether it must."""

    functions: tuple[Tool, ...] = ()
    choice: Literal["auto", "none", "required"] = "auto"
    forced: str = ""
    """The name of the one function that it must call."""
    parallel: bool | None = None
    """Whether it may call several at once; None leaves that to the model."""


def read_tools(options: Options) -> ToolSettings:
    """The function tools among decoded options; those of other types are passed over."""
    fields = Fields(options.other, [])
    functions = tuple(
        Tool(tool.text("name"), tool.text("description"), tool.fields("parameters").data)
        for tool in fields.list("tools")
        if tool.text("type") == "function"
    )
    forced = fields.fields("tool_choice")
    parallel = options.other.get("parallel_tool_calls")
    return ToolSettings(
        functions,
        _CHOICES.get(fields.text("tool_choice"), "auto"),
        forced.text("name") if forced.text("type") == "function" else "",
        parallel if isinstance(parallel, bool) else None,
    )


_CHOICES: dict[str, Literal["none", "required"]] = {"none": "none", "required": "required"}


def model_asked(options: Options) -> str | None:
    """The model that a `Configure` names, if it does."""
    return Fields(options.other, []).optional("model")
