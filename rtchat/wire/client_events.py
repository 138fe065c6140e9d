"""Decodes a client's events to commands, as strictly as OpenAI's server.

One unknown or mistyped field makes the whole event invalid; the error names the field's path.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
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
"""Every command that a client may send."""

# ------------------------------------------------------------------------------------------- frames


def read_request(frame: str | bytes) -> dict[str, object] | ServerProblem:
    """A client's frame as a JSON object, or the error to answer it with. Never raises."""
    if isinstance(frame, bytes):
        message = f"Expected a text frame, but got a binary frame of {len(frame)} bytes."
        return ServerProblem(message, INVALID_REQUEST, "invalid_frame")
    if _has_too_many_values(frame):
        message = f"Invalid event: more than {MAX_VALUES} values in its arrays and objects."
        return ServerProblem(message, INVALID_REQUEST, "invalid_json")
    try:
        data = read_json(frame)
    except (ValueError, RecursionError) as error:
        return ServerProblem(f"Invalid JSON: {error}.", INVALID_REQUEST, "invalid_json")
    if not isinstance(data, dict):
        return ServerProblem("Expected a JSON object.", INVALID_REQUEST, "invalid_type")
    return data


MAX_VALUES = 100_000
"""The most values that the arrays and objects of an event may have. Millions of empty objects fit
into a frame, and parsing them would block everything else for seconds."""


def _has_too_many_values(frame: str) -> bool:
    if len(frame) <= MAX_VALUES or _values(frame, 0, len(frame)) <= MAX_VALUES:
        return False
    found = at = 0
    while at >= 0 and found <= MAX_VALUES:  # not those inside strings
        quote = frame.find('"', at)
        found += _values(frame, at, quote if quote >= 0 else len(frame))
        at = quote if quote < 0 else _end_of_string(frame, quote + 1)
    return found > MAX_VALUES


def _values(frame: str, start: int, end: int) -> int:
    return sum(frame.count(mark, start, end) for mark in "[{,")


def _end_of_string(frame: str, at: int) -> int:
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
    """A client's event as a command, or the error to answer it with. `transcribes` means that the
    client has a transcription session."""
    event_id = data.get("event_id")
    data = without_nulls(data)
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


_NULL_MEANS_OFF: Mapping[str, frozenset[str]] = {
    "session": frozenset(
        {
            *("tracing", "prompt", "turn_detection"),
            *("input_audio_transcription", "input_audio_noise_reduction"),
        }
    ),
    "input": frozenset({"turn_detection", "transcription", "noise_reduction"}),
    "response": frozenset({"prompt"}),
}
"""The fields that null turns off, by the name of the object that contains them."""
_OPAQUE = frozenset({"parameters", "metadata", "variables", "headers"})
"""The fields whose contents are not part of the API."""


def without_nulls(data: JsonObject, name: str = "") -> dict[str, object]:
    """The object without the fields that are null: many clients send null for every field that they
    leave out. Null is kept where it turns something off. `name` is the name of the object."""
    off = _NULL_MEANS_OFF.get(name, ())
    return {
        key: value if key in _OPAQUE else _without_nulls(value, key)
        for key, value in data.items()
        if value is not None or key in off
    }


def _without_nulls(value: object, name: str) -> object:
    if isinstance(value, dict):
        return without_nulls(value, name)
    return [_without_nulls(entry, "") for entry in value] if isinstance(value, list) else value


def _decode(data: JsonObject, transcribes: bool) -> ClientRequest:
    if "type" not in data:
        message = "Missing required parameter: 'type'."
        raise FieldError("missing_required_parameter", message, "type")
    kind = data["type"]
    check = COMMANDS.get(kind) if isinstance(kind, str) else None
    if check is None:
        raise FieldError("invalid_value", unsupported(kind, tuple(COMMANDS)), "type")
    session = data.get("session")
    current, other = _SESSION_TYPES if transcribes else _SESSION_TYPES[::-1]
    if isinstance(session, dict) and session.get("type") == other:
        message = f"Cannot change a {current} session to a {other} session."
        raise FieldError("invalid_parameter", message, "session.type")
    if transcribes and kind in _NEED_RESPONSES:
        message = f"Invalid value: '{kind}'. A transcription session has no responses."
        raise FieldError("invalid_parameter", message, "type")
    (TRANSCRIPTION if transcribes and kind == "session.update" else check)(data, "")
    read = _READERS.get(str(kind))
    if read is None:
        message = f"Invalid value: '{kind}'. This event is only supported over WebRTC."
        raise FieldError("invalid_value", message, "type")
    return read(Fields(data, []))


_SESSION_TYPES = ("transcription", "realtime")
_NEED_RESPONSES = ("response.create", "response.cancel")


def _truncate(fields: Fields) -> ClientRequest:
    place = fields.integer("content_index"), fields.integer("audio_end_ms")
    return fx.Truncate(fields.text("item_id"), *place)


def _append(fields: Fields) -> ClientRequest:
    return fx.AppendAudio(read_audio(fields.text("audio"), "audio"))


MAX_AUDIO = 15 * 1024 * 1024
"""The most audio that a client may send in one event, in bytes."""


def read_audio(data: str, path: str) -> bytes:
    """The audio in a base64 field, as bytes. Raises FieldError."""
    try:
        audio = b64decode(data, validate=True)
    except ValueError as error:
        message = f"Invalid '{path}': expected base64-encoded PCM16 audio ({error})."
        raise FieldError("invalid_value", message, path) from None
    if len(audio) > MAX_AUDIO:
        message = f"Invalid '{path}': {len(audio)} bytes of audio (maximum: {MAX_AUDIO})."
        raise FieldError("invalid_value", message, path)
    return audio


def _add_item(fields: Fields) -> ClientRequest:
    return fx.AddItem(read_item(fields.fields("item")), fields.optional("previous_item_id"))


_READERS: dict[str, Callable[[Fields], ClientRequest]] = {
    "session.update": lambda fields: fx.Configure(_options(fields.fields("session").data, "type")),
    "response.create": lambda fields: fx.CreateResponse(
        _options(fields.fields("response").data), is_marked=False
    ),
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
_NAMED_OPTIONS = ("output_modalities", "instructions", "max_output_tokens")


def _options(data: JsonObject, *ignored: str) -> Options:
    instructions, limit = data.get("instructions"), data.get("max_output_tokens")
    modalities = data.get("output_modalities")
    return Options(
        instructions if isinstance(instructions, str) else None,
        _MODALITIES[modalities[0]] if isinstance(modalities, list) else None,
        "inf" if limit == "inf" else limit if isinstance(limit, int) else None,
        {key: data[key] for key in data if key not in _NAMED_OPTIONS and key not in ignored},
    )


# ------------------------------------------------------------------------------------------ options


def merge_options(base: Options, change: Options) -> Options:
    """`base` with the options that `change` sets. Audio options are merged one by one."""
    return Options(
        base.instructions if change.instructions is None else change.instructions,
        base.modality if change.modality is None else change.modality,
        base.max_output_tokens if change.max_output_tokens is None else change.max_output_tokens,
        merged_fields(base.other, change.other),
    )


def merged_fields(base: JsonObject, change: JsonObject) -> dict[str, object]:
    """`base` with the fields that `change` sets. Audio fields are merged one by one."""
    out = {**base, **change}
    for key in ("audio", "input", "output"):
        old, new = base.get(key), change.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            out[key] = merged_fields(old, new)
    return out


@value
class Request:
    """The options of a `CreateResponse`, with those that only a response has: whether it stays out
    of the conversation, and the input that replaces the conversation. An item reference in `input`
    is an `OtherItem` with that id."""

    out_of_band: bool
    input: tuple[Item, ...] | None
    options: Options
    """The remaining options."""


ITEM_REFERENCE = "item_reference"


def read_reply(options: Options) -> Request:
    """Split the options of a decoded `CreateResponse`."""
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
    """Which functions the model may call, and whether it must call one."""

    functions: tuple[Tool, ...] = ()
    choice: Literal["auto", "none", "required"] = "auto"
    forced: str = ""
    """The name of the function that the model must call; empty if there is none."""
    parallel: bool | None = None
    """Whether the model may call several functions at once; None leaves it to the model."""


def read_tools(options: Options) -> ToolSettings:
    """The function tools in decoded options; tools of other types are ignored."""
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
    """The model that the options of a `Configure` name, if any."""
    return Fields(options.other, []).optional("model")
