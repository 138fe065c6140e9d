"""What `--json` prints: the fields of each object, and their version.

The README's tables are generated from here, and the tests check every object against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias, get_args

from rtchat.core.values import JsonObject, Phase, Status

VERSION = 1
"""The value of the field `version`. It grows when a field is removed, renamed or changes its
meaning; new fields do not change it."""

Kind: TypeAlias = Literal["string", "integer", "number", "boolean", "object", "array", "any"]


class Field(NamedTuple):
    """A field of an object, or of the objects in an array."""

    kind: Kind
    help: str
    is_nullable: bool = False
    fields: Mapping[str, Field] | None = None
    """The fields of the object, or of the objects in the array; None if they are not fixed."""
    is_optional: bool = False
    """Whether it may be missing."""
    choices: tuple[str, ...] = ()
    """All values of a string, if they are fixed."""


Fields: TypeAlias = Mapping[str, Field]


class Output(NamedTuple):
    """A kind of object. `commands` print one on each line."""

    commands: str
    fields: Fields


_VERSION: Fields = {"version": Field("integer", f"{VERSION}: the version of this format")}
_USAGE: Fields = {
    "input_tokens": Field("integer", "tokens of the input", is_optional=True),
    "cached_tokens": Field("integer", "tokens of the input that were cached", is_optional=True),
    "output_tokens": Field("integer", "tokens of the reply", is_optional=True),
    "total_tokens": Field("integer", "all tokens", is_optional=True),
    "seconds": Field(
        "number", "seconds of audio, if they are billed instead of tokens", is_optional=True
    ),
    "cost_usd": Field("number", "the cost in US dollars", is_nullable=True),
}
_TRANSCRIPTION: Fields = {
    "model": Field("string", "the transcription model", is_nullable=True),
    "usage": Field("object", "its usage", is_nullable=True, fields=_USAGE),
    "languages": Field("any", "as received from the server", is_optional=True),
    "logprobs": Field("any", "as received from the server", is_optional=True),
}
_ERROR: Fields = {
    "code": Field("string", "the code of the error", is_nullable=True),
    "message": Field("string", "what happened"),
    "hint": Field("string", "what to do", is_nullable=True),
}
_CONVERSATION: Fields = {
    **_VERSION,
    "id": Field("integer", "the ID of the conversation"),
    "name": Field("string", "its name", is_nullable=True),
    "title": Field("string", "its title"),
    "began": Field("number", "when it began, in Unix seconds"),
    "updated": Field("number", "when it was last changed, in Unix seconds"),
    "model": Field("string", "the model"),
    "turns": Field("integer", "how many questions it has"),
}

OUTPUTS: Mapping[str, Output] = {
    "reply": Output(
        "once, talk, translate",
        {
            **_VERSION,
            "heard": Field("string", "the transcript of a spoken question", is_nullable=True),
            "text": Field("string", "the text of the reply"),
            "parsed": Field("any", "with `--output-schema`: the value"),
            "extracted": Field("string", "with `--extract`: the code block", is_nullable=True),
            "messages": Field(
                "array",
                "the parts of the text, if the model marks commentary",
                is_nullable=True,
                fields={
                    "phase": Field(
                        "string",
                        "the kind of text",
                        is_nullable=True,
                        choices=get_args(Phase),
                    ),
                    "text": Field("string", "its text"),
                },
            ),
            "status": Field("string", "how the reply ended", choices=tuple(Status)),
            "reason": Field("string", "why the reply is not complete", is_nullable=True),
            "response_id": Field("string", "the server's ID of the response", is_nullable=True),
            "conversation_id": Field(
                "string", "the server's ID of the conversation", is_nullable=True
            ),
            "model": Field("string", "the model that was requested"),
            "response_model": Field("string", "the model that answered", is_nullable=True),
            "session_id": Field("string", "the server's ID of the session", is_nullable=True),
            "url": Field("string", "the URL of the session, without keys", is_nullable=True),
            "usage": Field("object", "the usage that is billed", is_nullable=True, fields=_USAGE),
            "transcription": Field(
                "object",
                "the transcription of a spoken question",
                is_nullable=True,
                fields=_TRANSCRIPTION,
            ),
            "timing": Field(
                "object",
                "times in milliseconds",
                fields={
                    "connect_ms": Field("integer", "to connect", is_nullable=True),
                    "first_token_ms": Field("integer", "to the first text", is_nullable=True),
                    "total_ms": Field("integer", "to the end of the reply", is_nullable=True),
                },
            ),
            "tool_calls": Field(
                "array",
                "the tool calls of the model",
                fields={
                    "name": Field("string", "the tool"),
                    "call_id": Field("string", "the ID of the call"),
                    "arguments": Field("string", "its arguments, as JSON"),
                },
            ),
            "mcp_calls": Field(
                "array",
                "the calls that the server itself made to MCP servers",
                fields={
                    "server": Field("string", "the MCP server"),
                    "name": Field("string", "the tool"),
                    "arguments": Field("string", "its arguments, as JSON"),
                    "output": Field("string", "its output", is_nullable=True),
                    "error": Field("string", "its error", is_nullable=True),
                },
            ),
            "error": Field("object", "why it failed", is_nullable=True, fields=_ERROR),
        },
    ),
    "turn": Output(
        "transcribe",
        {
            **_VERSION,
            "item_id": Field("string", "the server's ID of the spoken turn", is_nullable=True),
            "text": Field("string", "its transcript"),
            "start": Field("number", "when it began, in seconds of the audio", is_nullable=True),
            "end": Field("number", "when it ended, in seconds of the audio", is_nullable=True),
            "words": Field(
                "array",
                "its words, if the server sends their times",
                fields={
                    "text": Field("string", "the word"),
                    "start": Field("number", "its beginning, in seconds of the turn"),
                    "end": Field("number", "its end, in seconds of the turn"),
                },
            ),
            "segments": Field(
                "array",
                "what each speaker said",
                fields={
                    "id": Field("string", "the ID of the segment"),
                    "speaker": Field("string", "the speaker"),
                    "text": Field("string", "the text"),
                    "start": Field("number", "its beginning, in seconds of the turn"),
                    "end": Field("number", "its end, in seconds of the turn"),
                },
            ),
            **_TRANSCRIPTION,
            "error": Field("string", "why there is no transcript", is_nullable=True),
        },
    ),
    "conversation": Output("history list", _CONVERSATION),
    "match": Output(
        "history search",
        {
            **_CONVERSATION,
            "turn": Field("integer", "the number of the turn"),
            "snippet": Field("string", "the text around the match"),
        },
    ),
    "report": Output(
        "doctor",
        {
            **_VERSION,
            "ok": Field("boolean", "whether every stage succeeded"),
            "stages": Field(
                "array",
                "the stages of a connection",
                fields={
                    "name": Field("string", "the stage"),
                    "ok": Field("boolean", "null if it was not tried", is_nullable=True),
                    "ms": Field("integer", "its time in milliseconds", is_nullable=True),
                    "detail": Field("string", "the result"),
                },
            ),
            "settings": Field("object", "each setting, with its `value` and `origin`"),
            "error": Field("object", "why a stage failed", is_nullable=True, fields=_ERROR),
        },
    ),
}
"""The objects that `--json` prints, by name."""


def schema_of(name: str) -> JsonObject:
    """The JSON Schema of a kind of object, with only the fields that this version has."""
    schema = _object(OUTPUTS[name].fields)
    return schema | {"title": name, "allOf": [{"properties": {"version": {"const": VERSION}}}]}


def _object(fields: Fields) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {name: _schema(field) for name, field in fields.items()},
        "required": [name for name, field in fields.items() if not field.is_optional],
        "additionalProperties": False,
    }


def _schema(field: Field) -> dict[str, object]:
    out: dict[str, object] = {"description": field.help}
    if field.kind == "any":
        return out
    if field.fields is not None:
        out |= {"items": _object(field.fields)} if field.kind == "array" else _object(field.fields)
    if field.choices:
        out["enum"] = [*field.choices, *([None] if field.is_nullable else [])]
    return out | {"type": [field.kind, "null"] if field.is_nullable else field.kind}
