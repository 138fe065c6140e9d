"""Every option of a session and of a response by its dotted name, and whether a value will do.

The names and their help stand here; what a value may be is what `shapes` says of a whole event, so
that a client is as strict beforehand as a server is afterwards. Source: the GA reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Literal, TypeAlias

from rtchat.core.dotted_keys import has, merged, nested
from rtchat.core.values import JsonObject
from rtchat.wire.fields import read_json
from rtchat.wire.schema import RESPONSE, SESSION
from rtchat.wire.validators import FieldError, number

Of: TypeAlias = Literal["session", "response"]

_FOR_BOTH = {
    "output_modalities": '["text"] or ["audio"]: what a reply is made of',
    "instructions": "what the model is told of its task",
    "max_output_tokens": "1 to 4096, or inf: the longest reply",
    "tools": "a list of functions and MCP servers",
    "tool_choice": "auto, none, required, or a tool",
    "tool_choice.type": "function or mcp",
    "tool_choice.name": "the function to call",
    "tool_choice.server_label": "the MCP server to call",
    "parallel_tool_calls": "true or false: several calls at once (reasoning models)",
    "reasoning.effort": "minimal, low, medium, high or xhigh (reasoning models)",
    "prompt.id": "a stored prompt",
    "prompt.version": "its version",
    "prompt.variables": "what to fill in there",
    "audio.output.format.type": "audio/pcm, audio/pcmu or audio/pcma",
    "audio.output.format.rate": "24000, of audio/pcm",
    "audio.output.voice": "a voice's name",
    "audio.output.voice.id": "a voice of your own",
    "temperature": "0.6 to 1.2: older dialects only",
}
_VAD = "audio.input.turn_detection"
_HEARD = "audio.input.transcription"
SESSION_OPTIONS: Mapping[str, str] = {
    **_FOR_BOTH,
    "model": "for servers that ask for it here; elsewhere it is in the URL",
    "truncation": "auto or disabled: what is dropped when the context is full",
    "truncation.type": "retention_ratio",
    "truncation.retention_ratio": "0 to 1: how much is kept then, to save the cache",
    "truncation.token_limits.post_instructions": "tokens that the context may grow to",
    "tracing": "auto or null",
    "tracing.workflow_name": "the name of the trace",
    "tracing.group_id": "what it belongs to",
    "tracing.metadata": "anything to keep with it",
    "include": '["item.input_audio_transcription.logprobs"]',
    "audio.input.format.type": "audio/pcm, audio/pcmu or audio/pcma",
    "audio.input.format.rate": "24000, of audio/pcm",
    _HEARD: "null: write down nothing of what is heard",
    f"{_HEARD}.model": "the model that writes it down",
    f"{_HEARD}.language": "such as en",
    f"{_HEARD}.languages": "a list of them",
    f"{_HEARD}.prompt": "words to expect",
    f"{_HEARD}.keywords": "a list of words to expect",
    f"{_HEARD}.delay": "how long it may take",
    "audio.input.noise_reduction": "null: none",
    "audio.input.noise_reduction.type": "near_field or far_field",
    "audio.input.noise_reduction.strength": "how much of it",
    _VAD: "null: turns end when they are committed",
    f"{_VAD}.type": "server_vad or semantic_vad",
    f"{_VAD}.threshold": "0 to 1: how loud speech is (server_vad)",
    f"{_VAD}.prefix_padding_ms": "audio kept from before speech (server_vad)",
    f"{_VAD}.silence_duration_ms": "silence that ends a turn (server_vad)",
    f"{_VAD}.idle_timeout_ms": "silence after which the model speaks up (server_vad)",
    f"{_VAD}.eagerness": "low, medium, high or auto (semantic_vad)",
    f"{_VAD}.create_response": "true or false: reply at the end of a turn",
    f"{_VAD}.interrupt_response": "true or false: speech stops a reply",
    "audio.output.speed": "0.25 to 1.5",
}
RESPONSE_OPTIONS: Mapping[str, str] = {
    **_FOR_BOTH,
    "conversation": "auto, or none: the reply is not part of the conversation",
    "input": "a list of items to answer instead of the conversation",
    "metadata": "up to 16 pairs of text; response.metadata.NAME sets one",
}
_KNOWN: Mapping[Of, Mapping[str, str]] = {"session": SESSION_OPTIONS, "response": RESPONSE_OPTIONS}
_IMPLIED = {
    "truncation": {"retention_ratio": "retention_ratio", "token_limits": "retention_ratio"},
    "tool_choice": {"server_label": "mcp", "name": "function"},
    _VAD: {
        "eagerness": "semantic_vad",
        **dict.fromkeys(("threshold", "prefix_padding_ms"), "server_vad"),
        **dict.fromkeys(("silence_duration_ms", "idle_timeout_ms"), "server_vad"),
    },
}
"""The `type` that an object without one can only have, by a field that it has."""
_temperature = number(0.0, 2.0)


class OptionError(ValueError):
    """An option that is none, or whose value will not do."""


def split(key: str) -> tuple[Of, str]:
    """What an option is of, and its name there: `response.metadata` is one of a response."""
    first, _, rest = key.partition(".")
    return ("response", rest) if first == "response" and rest else ("session", key)


def read_value(text: str) -> object:
    """What stands behind `=`: JSON, or else text."""
    try:
        return read_json(text)
    except (ValueError, RecursionError):
        return text


def change(of: Of, key: str, value: object) -> dict[str, object]:
    """One option as it stands in the whole.

    Raises:
        OptionError: there is no such option, or the value will not do.
    """
    if not all(key.split(".")):
        raise OptionError(f"{key!r} is not the name of an option")
    out = completed(nested(key, value))
    check(of, out, only=key)
    return out


def completed(fields: JsonObject) -> dict[str, object]:
    """The same, with the `type` of what can have only one."""
    out = dict(fields)
    for path, types in _IMPLIED.items():
        kind = next((kind for key, kind in types.items() if has(out, f"{path}.{key}")), None)
        if kind is not None and not has(out, f"{path}.type"):
            out = merged(out, nested(f"{path}.type", kind))
    return out


def check(of: Of, fields: JsonObject, *, only: str = "") -> None:
    """See to it that a server of the GA reference would take these options.

    If this is only one of them, what is missing may still come. Raises `OptionError`.
    """
    rest = {key: value for key, value in fields.items() if key != "temperature"}
    try:
        if "temperature" in fields:
            _temperature(fields["temperature"], "temperature")
        if of == "session":
            SESSION({"type": "realtime"} | rest, "")
        else:
            RESPONSE(rest, "response")
    except FieldError as error:
        if error.code == "missing_required_parameter" and only:
            return
        if error.code == "unknown_parameter":
            raise OptionError(_no_option(of, only or error.param)) from None
        message = str(error).removesuffix(".")
        is_named = f"'{error.param}'" in message
        raise OptionError(message if is_named else f"{error.param}: {message}") from None


def _no_option(of: Of, key: str) -> str:
    key = key.removeprefix("response.")
    prefix = "response." if of == "response" else ""
    near = [f"{prefix}{name}" for name in get_close_matches(key, _KNOWN[of], n=1)]
    advice = f"did you mean {near[0]}?" if near else "rtchat config options lists them"
    return f"no option {prefix}{key}: {advice} (/raw sends any event)"


AT_THE_START: Mapping[str, str] = {
    "type": "nothing: it is always realtime",
    "instructions": "--system",
    "max_output_tokens": "--max-output-tokens",
}
IN_A_CONVERSATION: Mapping[str, str] = {
    "type": "nothing: it is always realtime",
    "instructions": "/system",
    "model": "/model",
    "output_modalities": "--set, at the start",
}
"""Options of a session, and what is to be used instead, at either time."""
