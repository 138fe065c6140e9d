"""The audio options of a session, in the GA dialect, and what they mean."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from rtchat.core.dotted_keys import flat, merged, nested
from rtchat.core.values import AudioFormat, Dialect, JsonObject, Options
from rtchat.wire.fields import Fields

PCM: JsonObject = {"type": "audio/pcm", "rate": 24000}
"""The format of all audio that the program sends, plays and serves."""

Vad: TypeAlias = Literal["server", "semantic", "off"]
"""Who ends a turn: the server after silence (`server`) or by what was said (`semantic`), or the
user (`off`)."""

_DEFAULT_TRANSCRIPTION_MODEL = "gpt-4o-mini-transcribe"
_TURN_DETECTION = "audio.input.turn_detection"
_LIVE_MODELS = ("gpt-live-transcribe", "gpt-realtime-whisper")
"""Models that transcribe during speech and do not accept turn detection."""


def with_voice(session: JsonObject, *, hears: bool, speaks: bool, vad: Vad) -> JsonObject:
    """The options of a session with audio input (`hears`), audio output (`speaks`) or both.
    `session` overrides the defaults, except that `vad` "off" removes turn detection."""
    out: JsonObject = {}
    if hears:
        out = merged(out, nested("audio.input.format", PCM))
        out = merged(
            out, nested("audio.input.transcription", {"model": _DEFAULT_TRANSCRIPTION_MODEL})
        )
        out = merged(out, nested(_TURN_DETECTION, {"type": f"{vad}_vad"}))
    if speaks:
        out = merged(out, nested("audio.output.format", PCM))
    out = merged(out, session)
    return merged(out, nested(_TURN_DETECTION, None)) if hears and vad == "off" else out


def with_transcription(session: JsonObject, *, model: str, vad: Vad | None) -> Options:
    """The options of a transcription session, with the input audio options of `session`. If `vad`
    is None, the model decides."""
    vad = vad or ("off" if model.startswith(_LIVE_MODELS) else "server")
    audio = Fields(session, []).fields("audio").fields("input").data
    listening = with_voice({"audio": {"input": audio}}, hears=True, speaks=False, vad=vad)
    named = {"type": "transcription"} | nested("audio.input.transcription.model", model)
    return Options(other=merged(listening, named))


def has_speakers(model: str) -> bool:
    """Whether a transcription model distinguishes the speakers."""
    return "diarize" in model


def with_translation(session: JsonObject, *, language: str, has_source: bool) -> Options:
    """The options of a translation session, with the noise reduction of `session`. `has_source`
    requests a transcript in the source language, by the transcription model of `session` if there
    is one."""
    audio: dict[str, object] = {"output": {"language": language}}
    given = Fields(session, []).fields("audio").fields("input").data
    heard = {key: given[key] for key in ("noise_reduction",) if key in given}
    if has_source:
        heard["transcription"] = {"model": source_model(session)}
    return Options(other={"audio": audio | ({"input": heard} if heard else {})})


def source_model(session: JsonObject) -> str:
    """The model that transcribes the source language of a translation."""
    return transcription_model(session) or _DEFAULT_SOURCE_MODEL


_DEFAULT_SOURCE_MODEL = "gpt-realtime-whisper"


def is_transcription(session: JsonObject) -> bool:
    """Whether these are the options of a transcription session."""
    return session.get("type") == "transcription"


def other_formats(session: JsonObject) -> list[str]:
    """The audio formats that `session` asks for and that this program cannot play or record."""
    return [
        str(format)
        for key, format in flat(session)
        if key.startswith("audio.") and key.endswith(".format.type") and format != PCM["type"]
    ]


_IS_PCM = re.compile(r"(?:audio/)?(?:pcm|l16|linear16)_?(?:s?16(?:le)?|24)?(?:_?(\d{4,6}))?", re.I)
"""DashScope's `pcm24` means 24 kHz; other servers add the rate in Hz to the name."""


def read_format(session: JsonObject, way: Literal["input", "output"]) -> AudioFormat | None:
    """The format that a session reports for its input or output, in either dialect."""
    format = Fields(session, []).fields("audio").fields(way).data.get("format")
    format = session.get(f"{way}_audio_format") if format is None else format
    fields = Fields(format if isinstance(format, dict) else {"type": format}, [])
    name = fields.text("type")
    if not name:
        return None
    found = _IS_PCM.fullmatch(name)
    beside = Fields(session, []).integer(f"{way}_audio_sampling_rate")
    in_name = int(found[1] or 0) if found else 0
    rate = fields.integer("rate") or fields.integer("sample_rate") or in_name or beside
    return AudioFormat(name, rate, found is not None)


def input_rate(dialect: Dialect | None) -> int:
    """The sample rate, in Hz, of the audio that a server accepts."""
    # Source: https://www.alibabacloud.com/help/en/model-studio/client-events
    return 16_000 if dialect is Dialect.QWEN else OUTPUT_RATE


OUTPUT_RATE = 24_000
"""The sample rate, in Hz, of the audio that every server sends."""


def turn_ends(session: JsonObject) -> tuple[bool, bool, bool]:
    """What turn detection does: whether it is on, whether the server replies after each turn, and
    whether speech interrupts a reply."""
    fields = Fields(session, []).fields("audio").fields("input").fields("turn_detection").data
    replies = fields.get("create_response") is not False
    return bool(fields), replies, fields.get("interrupt_response") is not False


def transcribes(session: JsonObject) -> bool:
    """Whether input audio is transcribed."""
    return bool(_transcription(session).data)


def transcription_model(session: JsonObject) -> str:
    """The model that transcribes input audio; empty if none is named."""
    return _transcription(session).text("model")


def _transcription(session: JsonObject) -> Fields:
    return Fields(session, []).fields("audio").fields("input").fields("transcription")
