"""The audio options of a session, in the GA dialect, and what they mean."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from rtchat.core.dotted_keys import merged, nested
from rtchat.core.text import shortened
from rtchat.core.values import Dialect, Encoding, JsonObject, NamedFormat, Options
from rtchat.wire.fields import Fields

PCM: dict[str, object] = {"type": "audio/pcm", "rate": 24000}
"""The default format in both directions."""

Vad: TypeAlias = Literal["server", "semantic", "off"]
"""Who ends a turn: the server after silence (`server`) or by what was said (`semantic`), or the
user (`off`)."""

_DEFAULT_TRANSCRIPTION_MODEL = "gpt-4o-mini-transcribe"
_TRANSCRIPTION = "audio.input.transcription"
_TURN_DETECTION = "audio.input.turn_detection"
_LIVE_MODELS = ("gpt-live-transcribe", "gpt-realtime-whisper")
"""Models that transcribe during speech and do not accept turn detection."""


def with_voice(
    session: JsonObject,
    *,
    hears: bool,
    speaks: bool,
    vad: Vad | None,
    dialect: Dialect | None = None,
) -> JsonObject:
    """The options of a session with audio input (`hears`), audio output (`speaks`) or both.
    `session` overrides the defaults, and `vad` overrides its turn detection."""
    out: JsonObject = {}
    if hears:
        # Source: https://www.alibabacloud.com/help/en/model-studio/client-events
        pcm = PCM | {"rate": 16_000} if dialect is Dialect.QWEN else PCM
        out = merged(out, nested("audio.input.format", pcm))
        out = merged(
            out, nested("audio.input.transcription", {"model": _DEFAULT_TRANSCRIPTION_MODEL})
        )
        out = merged(out, nested(_TURN_DETECTION, {"type": "server_vad"}))
    if speaks:
        out = merged(out, nested("audio.output.format", PCM))
    out = merged(out, session)
    if not hears or vad is None:
        return out
    detection = None if vad == "off" else {"type": f"{vad}_vad"}
    return merged(out, nested(_TURN_DETECTION, detection))


def with_transcription(
    session: JsonObject,
    *,
    model: str,
    vad: Vad | None,
    dialect: Dialect | None = None,
    language: str | None = None,
    prompt: str | None = None,
) -> Options:
    """The options of a transcription session, with the input audio options of `session`. If `vad`
    is None, the model decides. `language` is a code such as "en"; `prompt` has words to expect."""
    vad = vad or ("off" if model.startswith(_LIVE_MODELS) else None)
    audio = Fields(session, []).fields("audio").fields("input").data
    listening = with_voice(
        {"audio": {"input": audio}}, hears=True, speaks=False, vad=vad, dialect=dialect
    )
    given = {"model": model, "language": language, "prompt": prompt}
    own = {key: value for key, value in given.items() if value is not None}
    named = {"type": "transcription"} | nested(_TRANSCRIPTION, own)
    return Options(other=merged(listening, named))


def tells_speakers(model: str) -> bool:
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


_RATE = r"(?:_?(\d{4,6})(?:hz)?)?"
_ENCODINGS = {
    Encoding.PCM: rf"(?:audio/)?(?:pcm|l16|linear16)_?(?:s?16(?:le)?|24)?{_RATE}",
    Encoding.ULAW: rf"(?:audio/)?(?:pcmu|(?:g711_|pcm_)?(?:u|mu)_?law){_RATE}",
    Encoding.ALAW: rf"(?:audio/)?(?:pcma|(?:g711_|pcm_)?a_?law){_RATE}",
}
"""The names of each encoding. DashScope's `pcm24` means 24 kHz; other servers add the rate in Hz to
the name."""
_MAX_NAME = 60
"""Characters that are kept of the name of another format, to be shown."""


def read_format(fields: JsonObject, way: Literal["input", "output"]) -> NamedFormat | None:
    """The format of the input or output in the fields of a session or response, in either
    dialect; None if there is none."""
    format = Fields(fields, []).fields("audio").fields(way).data.get("format")
    format = fields.get(f"{way}_audio_format") if format is None else format
    beside = Fields(fields, []).integer(f"{way}_audio_sampling_rate")
    named = Fields(format if isinstance(format, dict) else {"type": format}, [])
    rate = named.integer("rate") or named.integer("sample_rate")
    return _named(named.text("type"), rate, beside)


def format_of_delta(fields: Fields) -> NamedFormat | None:
    """The format that a delta of a translation names; None if it names none."""
    return _named(fields.text("format"), fields.integer("sample_rate"))


def _named(name: str, rate: int, usual: int = 0) -> NamedFormat | None:
    """A format by its name; None without one. If neither `rate` nor the name gives its rate, that
    is `usual`."""
    for encoding, pattern in _ENCODINGS.items():
        if found := re.fullmatch(pattern, name, re.IGNORECASE):
            return NamedFormat(name, rate or int(found[1] or 0) or usual, encoding)
    return NamedFormat(shortened(name, _MAX_NAME), rate or usual) if name else None


def with_output_format(session: JsonObject, response: JsonObject) -> JsonObject:
    """The options of a session whose output has the format that each response asks for, if they
    ask for one."""
    format = Fields(response, []).fields("audio").fields("output").data.get("format")
    return session if format is None else merged(session, nested("audio.output.format", format))


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


def spoken_languages(session: JsonObject) -> dict[str, list[str]]:
    """The languages in which the user says to speak, by the path of the option."""
    fields = _transcription(session)
    language, several = fields.text("language"), fields.data.get("languages")
    out = {f"{_TRANSCRIPTION}.language": [language]} if language else {}
    if isinstance(several, list) and several:
        out[f"{_TRANSCRIPTION}.languages"] = list(map(str, several))
    return out


def language_details(code: str) -> JsonObject:
    """The details of a transcript in a known language."""
    return {"languages": [{"code": code}]}


def _transcription(session: JsonObject) -> Fields:
    return Fields(session, []).fields("audio").fields("input").fields("transcription")
