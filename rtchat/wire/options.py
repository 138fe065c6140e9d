"""The options of a session and of a response, by dotted name, with help texts and checks.

Values are checked against `schema`, so that the client is as strict as the server will be. Source:
the GA reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from rtchat.core.dotted_keys import has, merged, nested
from rtchat.core.errors import UsageError
from rtchat.core.suggestions import closest, did_you_mean
from rtchat.core.values import MAX_RATE, MIN_RATE, AudioFormat, JsonObject
from rtchat.wire.fields import Fields, read_json
from rtchat.wire.schema import RESPONSE, SESSION
from rtchat.wire.validators import FieldError, number

OptionScope: TypeAlias = Literal["session", "response"]

_SHARED_OPTIONS = {
    "output_modalities": '["text"] or ["audio"]: whether replies are text or speech',
    "instructions": "instructions for the model",
    "max_output_tokens": "the maximum length of a reply in tokens, or inf",
    "tools": "a list of functions and MCP servers",
    "tool_choice": "auto, none, required or a tool",
    "tool_choice.type": "function or mcp",
    "tool_choice.name": "the function to call",
    "tool_choice.server_label": "the MCP server to call",
    "parallel_tool_calls": "true or false: allow several calls at once (reasoning models)",
    "reasoning.effort": "none, minimal, low, medium, high or xhigh (reasoning models)",
    "prompt.id": "the id of a stored prompt",
    "prompt.version": "the version of the stored prompt",
    "prompt.variables": "values for the variables of the stored prompt",
    "audio.output.format.type": "audio/pcm, audio/pcmu or audio/pcma",
    "audio.output.format.rate": "8000 to 48000 (audio/pcm); OpenAI accepts 24000",
    "audio.output.voice": "the name of a voice",
    "audio.output.voice.id": "the id of a custom voice",
    "temperature": "0.6 to 1.2 (older dialects only)",
}
_VAD = "audio.input.turn_detection"
_TRANSCRIPTION = "audio.input.transcription"
SESSION_OPTIONS: Mapping[str, str] = {
    **_SHARED_OPTIONS,
    "model": "for servers that expect it here; elsewhere it is in the URL",
    "truncation": "auto or disabled: whether old items are dropped when the context is full",
    "truncation.type": "retention_ratio",
    "truncation.retention_ratio": "0 to 1: how much of the context to retain when truncating",
    "truncation.token_limits.post_instructions": "maximum tokens in the context after instructions",
    "tracing": "auto or null",
    "tracing.workflow_name": "the name of the trace",
    "tracing.group_id": "the group that the trace belongs to",
    "tracing.metadata": "metadata to store with the trace",
    "include": '["item.input_audio_transcription.logprobs"]',
    "audio.input.format.type": "audio/pcm, audio/pcmu or audio/pcma",
    "audio.input.format.rate": "8000 to 48000 (audio/pcm); OpenAI accepts 24000",
    _TRANSCRIPTION: "null: do not transcribe the input",
    f"{_TRANSCRIPTION}.model": "the transcription model",
    f"{_TRANSCRIPTION}.language": "the language of the input, such as en",
    f"{_TRANSCRIPTION}.languages": "a list of languages",
    f"{_TRANSCRIPTION}.prompt": "text that guides the transcription",
    f"{_TRANSCRIPTION}.keywords": "a list of words to expect",
    f"{_TRANSCRIPTION}.delay": "how long a transcript may be delayed",
    "audio.input.noise_reduction": "null: no noise reduction",
    "audio.input.noise_reduction.type": "near_field or far_field",
    "audio.input.noise_reduction.strength": "the strength of the noise reduction",
    _VAD: "null: turns end when the client commits them",
    f"{_VAD}.type": "server_vad or semantic_vad",
    f"{_VAD}.threshold": "0 to 1: the level that counts as speech (server_vad)",
    f"{_VAD}.prefix_padding_ms": "audio to include from before the speech (server_vad)",
    f"{_VAD}.silence_duration_ms": "the silence that ends a turn (server_vad)",
    f"{_VAD}.idle_timeout_ms": "the silence after which the model speaks on its own (server_vad)",
    f"{_VAD}.eagerness": "low, medium, high or auto (semantic_vad)",
    f"{_VAD}.create_response": "true or false: reply at the end of a turn",
    f"{_VAD}.interrupt_response": "true or false: speech interrupts a reply",
    "audio.output.speed": "0.25 to 1.5",
}
RESPONSE_OPTIONS: Mapping[str, str] = {
    **_SHARED_OPTIONS,
    "conversation": "auto, none or an id: the conversation that the reply becomes part of",
    "input": "a list of items to use instead of the conversation",
    "metadata": "up to 16 text values; response.metadata.NAME sets one",
}
_OPTIONS: Mapping[OptionScope, Mapping[str, str]] = {
    "session": SESSION_OPTIONS,
    "response": RESPONSE_OPTIONS,
}
_IMPLIED = {
    "audio.input.format": {"rate": "audio/pcm"},
    "audio.output.format": {"rate": "audio/pcm"},
    "truncation": {"retention_ratio": "retention_ratio", "token_limits": "retention_ratio"},
    "tool_choice": {"server_label": "mcp", "name": "function"},
    _VAD: {
        "eagerness": "semantic_vad",
        **dict.fromkeys(("threshold", "prefix_padding_ms"), "server_vad"),
        **dict.fromkeys(("silence_duration_ms", "idle_timeout_ms"), "server_vad"),
    },
}
"""The `type` of an object that does not name it, by the fields that only this type has."""
_temperature = number(0.0, 2.0)


VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo"),
    *("marin", "sage", "shimmer", "verse"),
)
"""The voices of OpenAI's server."""
LOCAL_VOICES = ("heart",)
"""The voices of the built-in model."""


class OptionError(UsageError):
    """An option is unknown, or its value is invalid."""


def split(key: str) -> tuple[OptionScope, str]:
    """Whether an option belongs to the session or the response, and its name there.

    `response.metadata` is the option `metadata` of a response.
    """
    first, _, rest = key.partition(".")
    return ("response", rest) if first == "response" and rest else ("session", key)


def read_value(text: str) -> object:
    """The value after `=`: JSON if it parses, else text."""
    try:
        return read_json(text)
    except (ValueError, RecursionError):
        return text


def change(scope: OptionScope, key: str, value: object) -> dict[str, object]:
    """One option as nested fields.

    Raises:
        OptionError: the option is unknown, or the value is invalid.
    """
    if not all(key.split(".")):
        raise OptionError(f"invalid option name {key!r}")
    out = completed(nested(key, value))
    check(scope, out, only=key)
    return out


def completed(fields: JsonObject) -> dict[str, object]:
    """The fields, with every `type` added that the other fields imply."""
    out = dict(fields)
    for path, types in _IMPLIED.items():
        kind = next((kind for key, kind in types.items() if has(out, f"{path}.{key}")), None)
        if kind is not None and not has(out, f"{path}.type"):
            out = merged(out, nested(f"{path}.type", kind))
    return out


def check(scope: OptionScope, fields: JsonObject, *, only: str = "") -> None:
    """Check that a GA server would accept these options.

    `only` is the name of the option if there is just one; missing fields are then allowed, as later
    options may add them.

    Raises:
        OptionError: an option is unknown, or its value is invalid.
    """
    try:
        _validate(scope, fields)
    except FieldError as error:
        if error.code == "missing_required_parameter" and only:
            return
        if error.code == "unknown_parameter":
            raise _unknown_option(scope, only or error.param) from None
        why = str(error).removesuffix(".")
        message = f"invalid option {error.param} ({why[:1].lower()}{why[1:]})"
        meant = closest(str(error.value), error.words)
        raise OptionError(message, hint=did_you_mean([meant])) from None


def _validate(scope: OptionScope, fields: JsonObject) -> None:
    """Raise FieldError at the first error."""
    rest = _with_usual_rates(fields)
    rest.pop("temperature", None)
    if "temperature" in fields:
        _temperature(fields["temperature"], "temperature")
    if scope == "session":
        SESSION({"type": "realtime"} | rest, "")
    else:
        RESPONSE(rest, "response")


def _with_usual_rates(fields: JsonObject) -> dict[str, object]:
    """The fields with OpenAI's sample rate in place of others that are supported: some servers
    accept them."""
    out = dict(fields)
    for way in ("input", "output"):
        format = Fields(fields, []).fields("audio").fields(way).fields("format")
        if MIN_RATE <= format.integer("rate") <= MAX_RATE:
            out = merged(out, nested(f"audio.{way}.format.rate", AudioFormat().rate))
    return out


def words(scope: OptionScope, key: str) -> tuple[str, ...]:
    """The words that an option may be set to, or OpenAI's voices; empty if there are none, or any
    text is valid."""
    if key == "audio.output.voice":
        return VOICES
    error = _error(scope, key, "no such word")
    if error is None or error.code not in ("invalid_type", "invalid_value"):
        return ()
    literals = {"true": True, "false": False, "null": None}
    valid = (word for word, value in literals.items() if _error(scope, key, value) is None)
    return tuple(dict.fromkeys((*error.words, *valid)))


def _error(scope: OptionScope, key: str, value: object) -> FieldError | None:
    """What is wrong with a value of one option."""
    fields = completed(nested(key, value))
    if key.startswith(f"{_VAD}.") and not has(fields, f"{_VAD}.type"):
        fields = merged(fields, nested(f"{_VAD}.type", "server_vad"))
    try:
        _validate(scope, fields)
    except FieldError as error:
        return error
    return None


def _unknown_option(scope: OptionScope, key: str) -> OptionError:
    key = key.removeprefix("response.")
    prefix = "response." if scope == "response" else ""
    if hint := _MEANINGS.get(key):
        return OptionError(f"unknown option {prefix}{key}", hint=hint)
    near = [f"{prefix}{name}" for name in _meant(key, _OPTIONS[scope]) if name]
    first, dot, rest = key.partition(".")
    if scope == "session" and (first := closest(first, _ONLY_OF_RESPONSES)):
        near = [f"response.{first}{dot}{rest}"]
    hint = did_you_mean(near, "run `rtchat config options` to list all options")
    return OptionError(f"unknown option {prefix}{key}", hint=f"{hint} (/raw sends any event)")


def _meant(key: str, options: Mapping[str, str]) -> list[str]:
    """The options that are probably meant: those that contain the parts of the key in this order,
    the shortest first, or else the one with the closest spelling, or else what the key is part
    of."""
    ends = {name.rpartition(".")[2]: name for name in options}
    first, _, last = key.lower().rpartition(".")
    last = closest(last, ends, _SYNONYMS) or last
    parts = [*first.split("."), *last.split(".")] if first else last.split(".")
    found = [name for name in options if _is_within(parts, name.split("."))]
    if found or (near := closest(key, options)):
        return sorted(found, key=len)[:3] or [near]
    start, dot, rest = key.partition(".")
    parents = [name for name in options if key.startswith(f"{name}.")]
    if parents or (start := closest(start, options)) != "metadata":
        return [max(parents, key=len) if parents else start]
    return [f"metadata{dot}{rest}"]


def _is_within(parts: list[str], name: list[str]) -> bool:
    """Whether a name ends with the last part, and contains the others before it, in order."""
    rest = iter(name)
    return parts[-1] == name[-1] and all(part in rest for part in parts)


_ONLY_OF_RESPONSES = RESPONSE_OPTIONS.keys() - {key.partition(".")[0] for key in SESSION_OPTIONS}
_SYNONYMS = {
    "vad": "turn_detection.type",
    "reasoning": "reasoning.effort",
    "reasoning-effort": "reasoning.effort",
    "thinking": "reasoning.effort",
    "modalities": "output_modalities",
    "modality": "output_modalities",
    "functions": "tools",
    "function-call": "tool_choice",
    "lang": "language",
    "noise": "noise_reduction.type",
    "silence": "silence_duration_ms",
}
"""Other words for the last part of an option."""
_MEANINGS = {
    **dict.fromkeys(("system", "system_prompt", "system_message"), "use --system, or /system"),
    **dict.fromkeys(
        ("max_tokens", "max_completion_tokens", "max_response_output_tokens"),
        "use --max-output-tokens",
    ),
    **dict.fromkeys(
        ("top_p", "top_k", "seed", "stop", "n", "frequency_penalty", "presence_penalty"),
        "the Realtime API has no such option",
    ),
    **dict.fromkeys(("api_key", "key"), "run `rtchat keys set` to store a key"),
}
"""Hints for options that other programs and APIs have."""


AT_THE_START: Mapping[str, str] = {
    "type": "rtchat transcribe for a transcription session",
    "instructions": "--system",
    "max_output_tokens": "--max-output-tokens",
}
IN_A_CONVERSATION: Mapping[str, str] = {
    "type": "rtchat transcribe for a transcription session",
    "instructions": "/system",
    "model": "/model",
    "output_modalities": "--set when you start rtchat",
}
"""Session options that have their own command-line option or slash command."""
