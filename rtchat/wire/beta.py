"""Translates JSON objects between the dialect before May 2026 (beta) and the current one (GA).

OpenAI has switched beta off; Azure's preview, Voice Live, DashScope, speaches and others still use
it. One table of event names and one of fields serve both directions, for clients and servers.
Unknown events and fields are left unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from rtchat.core.dotted_keys import without
from rtchat.core.values import JsonObject
from rtchat.wire.audio_options import PCM

_TYPES_TO_GA = {
    "conversation.item.created": "conversation.item.added",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "transcription_session.update": "session.update",
    "transcription_session.created": "session.created",
    "transcription_session.updated": "session.updated",
}
"""Every other name for a GA type. If a type has several, the first is the one that is sent."""
_TYPES_TO_BETA = {
    ga: beta for beta, ga in reversed(_TYPES_TO_GA.items()) if not beta.startswith("transcription_")
}
RENAMED = frozenset({*_TYPES_TO_GA, *_TYPES_TO_BETA})
"""The event types whose names differ between the dialects, with both names."""
_SESSION_TYPES = {"session.update": "realtime", "transcription_session.update": "transcription"}
_TRANSLATED = {
    *_TYPES_TO_GA,
    *_SESSION_TYPES,
    "response.create",
    "conversation.item.create",
}
"""The events that differ in GA."""
_GA_ONLY = frozenset({"conversation.item.done"})
"""GA events that do not exist in beta."""

_PARTS_TO_BETA = {"output_text": "text", "output_audio": "audio"}
_PARTS_TO_GA = {beta: ga for ga, beta in _PARTS_TO_BETA.items()}
_FORMATS_TO_GA: dict[object, JsonObject] = {
    "pcm16": PCM,
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}


def _format_to_ga(value: object) -> object:
    return _FORMATS_TO_GA.get(value, value) if isinstance(value, str) else value


def _format_to_beta(value: object) -> object:
    kind = value.get("type") if isinstance(value, dict) else None
    return next((beta for beta, ga in _FORMATS_TO_GA.items() if ga["type"] == kind), value)


def _modalities_to_ga(value: object) -> object:
    return ["audio"] if isinstance(value, list) and "audio" in value else value


def _modalities_to_beta(value: object) -> object:
    return ["text", "audio"] if value == ["audio"] else value


def _unchanged(value: object) -> object:
    return value


_Translate = Callable[[object], object]
_FIELDS: tuple[tuple[str, tuple[str, ...], _Translate, _Translate], ...] = (
    ("modalities", ("output_modalities",), _modalities_to_ga, _modalities_to_beta),
    ("max_response_output_tokens", ("max_output_tokens",), _unchanged, _unchanged),
    ("voice", ("audio", "output", "voice"), _unchanged, _unchanged),
    ("speed", ("audio", "output", "speed"), _unchanged, _unchanged),
    ("output_audio_format", ("audio", "output", "format"), _format_to_ga, _format_to_beta),
    ("input_audio_format", ("audio", "input", "format"), _format_to_ga, _format_to_beta),
    ("input_audio_transcription", ("audio", "input", "transcription"), _unchanged, _unchanged),
    ("input_audio_noise_reduction", ("audio", "input", "noise_reduction"), _unchanged, _unchanged),
    ("turn_detection", ("audio", "input", "turn_detection"), _unchanged, _unchanged),
)
"""The flat name in beta, the path in GA, and the translation of the value each way."""


def type_to_ga(kind: str) -> str:
    """The GA name of a client or server event type."""
    return _TYPES_TO_GA.get(kind, kind)


def to_ga(data: JsonObject) -> JsonObject:
    """A client or server event in the GA dialect. A GA event is returned unchanged."""
    kind = data.get("type")
    if not isinstance(kind, str) or kind not in _TRANSLATED:
        return data
    out = dict(data)
    out["type"] = type_to_ga(kind)
    session_type = _SESSION_TYPES.get(kind)
    if session_type is not None and isinstance(session := out.get("session"), dict):
        out["session"] = {"type": session_type} | _fields_to_ga(session)
    if kind == "response.create" and isinstance(response := out.get("response"), dict):
        out["response"] = _fields_to_ga(response)
    if kind == "conversation.item.create" and isinstance(item := out.get("item"), dict):
        out["item"] = _item_to_ga(item)
    return out


def param_to_beta(param: str) -> str:
    """The beta name of the field at a GA path."""
    top, _, rest = param.partition(".")
    for name, path, _, _ in _FIELDS:
        ga = ".".join(path)
        if top in ("session", "response") and (rest == ga or rest.startswith((f"{ga}.", f"{ga}["))):
            tail = "" if name.endswith("_format") else rest[len(ga) :]  # a string in beta
            return f"{top}.{name}{tail}"
    return param


def to_beta(data: JsonObject) -> dict[str, object] | None:
    """A client or server event in the beta dialect; None if beta has no such event."""
    kind = data.get("type")
    if kind in _GA_ONLY:
        return None
    out = dict(data)
    if isinstance(kind, str):
        out["type"] = _TYPES_TO_BETA.get(kind, kind)
        session = out.get("session")
        if isinstance(session, dict) and session.get("type") == "transcription":
            out["type"] = f"transcription_{kind}"
    if isinstance(session := out.get("session"), dict):
        out["session"] = session_to_beta(session)
    if isinstance(response := out.get("response"), dict):
        is_request = kind == "response.create"
        out["response"] = _fields_to_beta(response) if is_request else _response_to_beta(response)
    if isinstance(item := out.get("item"), dict):
        is_request = kind == "conversation.item.create"
        out["item"] = _item_to_beta(item) if is_request else _sent_item_to_beta(item)
    if isinstance(part := out.get("part"), dict):
        out["part"] = _part_to_beta(part)
    return out


def _fields_to_ga(fields: JsonObject) -> dict[str, object]:
    # GA has no temperature, and one unknown field makes a server refuse the whole update.
    out = {key: value for key, value in fields.items() if key != "temperature"}
    for beta, path, to_ga_value, _ in _FIELDS:
        if beta in out:
            _put(out, path, to_ga_value(out.pop(beta)))
    if isinstance(items := out.get("input"), list):
        out["input"] = [_item_to_ga(item) if isinstance(item, dict) else item for item in items]
    return out


def session_to_beta(session: JsonObject) -> dict[str, object]:
    """A session object in the beta dialect."""
    return _fields_to_beta(session)


def _fields_to_beta(fields: JsonObject) -> dict[str, object]:
    out = flattened(fields)
    out.pop("audio", None)
    for key in ("output", "input"):
        if isinstance(items := out.get(key), list):
            out[key] = [_item_to_beta(item) for item in items]
    return out


def _response_to_beta(response: JsonObject) -> dict[str, object]:
    """A response in an event of a server."""
    out = _fields_to_beta(response)
    if "max_output_tokens" in response:  # sessions and requests use another name
        out["max_output_tokens"] = out.pop("max_response_output_tokens")
    if isinstance(items := out.get("output"), list):
        out["output"] = [_sent_item_to_beta(item) for item in items]
    return out


def flattened(fields: JsonObject, only: Collection[str] | None = None) -> dict[str, object]:
    """The fields of a session or response under their flat names: those in `only`, or all."""
    out = {key: value for key, value in fields.items() if key != "type"}
    for beta, path, _, to_beta_value in _FIELDS:
        found, value = _take(fields, path)
        if found and (only is None or beta in only):
            out = without(out, ".".join(path))
            out[beta] = to_beta_value(value)
    return out


_BETA_ITEMS = ("message", "function_call", "function_call_output")
"""The types of items in the beta dialect."""


def _item_to_beta(item: object) -> object:
    if not isinstance(item, dict) or not isinstance(item.get("content"), list):
        return item
    return item | {"content": [_part_to_beta(part) for part in item["content"]]}


def _sent_item_to_beta(item: object) -> object:
    """An item in an event of a server."""
    out = _item_to_beta(item)
    if not isinstance(out, dict) or out.get("type") not in _BETA_ITEMS:
        return out
    return {"object": "realtime.item"} | out


def _item_to_ga(item: dict[str, object]) -> dict[str, object]:
    content = item.get("content")
    if item.get("role") != "assistant" or not isinstance(content, list):
        return item
    return item | {"content": [_renamed(part, _PARTS_TO_GA) for part in content]}


def _part_to_beta(part: object) -> object:
    return _renamed(part, _PARTS_TO_BETA)


def _renamed(part: object, names: Mapping[str, str]) -> object:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        return part
    return part | {"type": names.get(kind, kind)}


def _put(target: dict[str, object], path: tuple[str, ...], value: object) -> None:
    for key in path[:-1]:
        inner = target.get(key)
        # A copy, so that the caller's object does not change.
        target[key] = inner = dict(inner) if isinstance(inner, dict) else {}
        target = inner
    target[path[-1]] = value


def _take(source: JsonObject, path: tuple[str, ...]) -> tuple[bool, object]:
    value: object = source
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False, None
        value = value[key]
    return True, value
