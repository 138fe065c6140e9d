"""The options of a session that is spoken, in the GA shape, and what such options mean."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from rtchat.core.dotted_keys import flat, merged, nested
from rtchat.core.values import AudioFormat, Dialect, JsonObject, Options
from rtchat.wire.fields import Fields

PCM: JsonObject = {"type": "audio/pcm", "rate": 24000}
"""The format of all audio that the program sends, plays and serves."""

Vad: TypeAlias = Literal["server", "semantic", "off"]
"""Who says that a turn is over: the server by its length of silence, or by what was said, or the
user."""

_WRITER = "gpt-4o-mini-transcribe"
_TURNS = "audio.input.turn_detection"
_ENDED_BY_HAND = ("gpt-live-transcribe", "gpt-realtime-whisper")
"""Models that write down what they hear while it is said, and take no turn detection."""


def with_voice(session: JsonObject, *, hears: bool, speaks: bool, vad: Vad) -> JsonObject:
    """The options of a session that listens, or speaks, or both; what `session` sets itself counts,
    but for turn detection if `vad` is off."""
    out: JsonObject = {}
    if hears:
        out = merged(out, nested("audio.input.format", PCM))
        out = merged(out, nested("audio.input.transcription", {"model": _WRITER}))
        out = merged(out, nested(_TURNS, {"type": f"{vad}_vad"}))
    if speaks:
        out = merged(out, nested("audio.output.format", PCM))
    out = merged(out, session)
    return merged(out, nested(_TURNS, None)) if hears and vad == "off" else out


def with_transcription(session: JsonObject, *, model: str, vad: Vad | None) -> Options:
    """The options of a transcription session; of `session` what is about hearing. Without `vad` it
    is as the model needs it."""
    vad = vad or ("off" if model.startswith(_ENDED_BY_HAND) else "server")
    audio = Fields(session, []).fields("audio").fields("input").data
    heard = with_voice({"audio": {"input": audio}}, hears=True, speaks=False, vad=vad)
    named = {"type": "transcription"} | nested("audio.input.transcription.model", model)
    return Options(other=merged(heard, named))


def is_transcription(session: JsonObject) -> bool:
    """Whether these are the options of a transcription session."""
    return session.get("type") == "transcription"


def other_formats(session: JsonObject) -> list[str]:
    """The formats of audio that `session` asks for and nobody here can play or record."""
    return [
        str(format)
        for key, format in flat(session)
        if key.startswith("audio.") and key.endswith(".format.type") and format != PCM["type"]
    ]


_IS_PCM = re.compile(r"(?:audio/)?(?:pcm|l16|linear16)_?(?:s?16(?:le)?|24)?(?:_?(\d{4,6}))?", re.I)
"""DashScope's `pcm24` means 24 kHz; others put the rate in Hz into the name."""


def read_format(session: JsonObject, way: Literal["input", "output"]) -> AudioFormat | None:
    """The format that a session reports for its input or output, in either dialect."""
    said = Fields(session, []).fields("audio").fields(way).data.get("format")
    said = session.get(f"{way}_audio_format") if said is None else said
    fields = Fields(said if isinstance(said, dict) else {"type": said}, [])
    name = fields.text("type")
    if not name:
        return None
    found = _IS_PCM.fullmatch(name)
    beside = Fields(session, []).integer(f"{way}_audio_sampling_rate")
    in_name = int(found[1] or 0) if found else 0
    rate = fields.integer("rate") or fields.integer("sample_rate") or in_name or beside
    return AudioFormat(name, rate, found is not None)


def input_rate(dialect: Dialect | None) -> int:
    """Samples per second of the sound that a server is sent."""
    # Source: https://www.alibabacloud.com/help/en/model-studio/client-events
    return 16_000 if dialect is Dialect.QWEN else OUTPUT_RATE


OUTPUT_RATE = 24_000
"""Samples per second of the sound that every server sends."""


def turn_ends(session: JsonObject) -> tuple[bool, bool, bool]:
    """What turn detection does: whether there is any, whether the server replies by itself, and
    whether speech interrupts a reply."""
    fields = Fields(session, []).fields("audio").fields("input").fields("turn_detection").data
    replies = fields.get("create_response") is not False
    return bool(fields), replies, fields.get("interrupt_response") is not False


def transcribes(session: JsonObject) -> bool:
    """Whether what is heard is to be written down."""
    return bool(Fields(session, []).fields("audio").fields("input").fields("transcription").data)
