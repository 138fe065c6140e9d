"""Translates client events for two vendors whose formats differ from both dialects.

Only sent events need this; received events of both are read like those of other servers. If a
server has a name of its own for an event, the table of names in `beta` translates it.
"""

from __future__ import annotations

from rtchat.core.values import JsonObject
from rtchat.wire import beta

_QWEN_FORMATS = {"pcm16": "pcm"}


def to_qwen(data: JsonObject) -> dict[str, object]:
    """A beta event for Alibaba's DashScope: tools are nested, and PCM has a shorter name.

    Source: https://www.alibabacloud.com/help/en/model-studio/client-events
    """
    out = dict(data)
    for key in ("session", "response"):
        if isinstance(fields := out.get(key), dict):
            out[key] = {name: _qwen_field(name, value) for name, value in fields.items()}
    return out


def _qwen_field(name: str, value: object) -> object:
    if name == "tools" and isinstance(value, list):
        return [_nested_tool(tool) for tool in value]
    if name in ("input_audio_format", "output_audio_format") and isinstance(value, str):
        return _QWEN_FORMATS.get(value, value)
    return value


def _nested_tool(tool: object) -> object:
    if not isinstance(tool, dict) or tool.get("type") != "function" or "function" in tool:
        return tool
    fields = {key: value for key, value in tool.items() if key != "type"}
    return {"type": "function", "function": fields}


def to_xai(data: JsonObject) -> dict[str, object]:
    """A GA event for xAI: some session fields are flat as in beta; items are as in GA.

    Source: recordings of the service.
    """
    out = dict(data)
    for key in ("session", "response"):
        if isinstance(fields := out.get(key), dict):
            out[key] = beta.flattened(fields, _XAI_FLAT)
    return out


_XAI_FLAT = frozenset({"modalities", "voice", "turn_detection"})
