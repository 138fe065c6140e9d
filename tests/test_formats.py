"""Sound in another format than was agreed on is refused by its name, and never played or sent; what
a service wants at another rate it gets at that rate."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rtchat.app.audio_io import AudioSettings, audio_config
from rtchat.config.settings import Settings
from rtchat.core.conversation import Conversation
from rtchat.core.effects import Disconnect, Play, ReplyOver, Show, UseFormats
from rtchat.core.errors import UsageError
from rtchat.core.events import (
    ConnectionOpened,
    Delta,
    Event,
    ReplyEnded,
    ReplyStarted,
    SessionCreated,
    SessionUpdated,
    Started,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import (
    AudioFormat,
    Channel,
    Dialect,
    Encoding,
    JsonObject,
    NamedFormat,
    Options,
    Status,
)
from rtchat.wire import Decoder
from rtchat.wire.audio_options import read_format, with_output_format, with_voice
from tests.playbook import Playbook
from tests.program import Program, Ran, background
from tests.sounds import SECOND, tone, wav_audio, write_wav
from tests.test_recorded_servers import playing

# -------------------------------------------------------------------------------- what it is called


PCM_24, PCM_16 = AudioFormat(), AudioFormat(Encoding.PCM, 16_000)
ULAW_8, ALAW_8 = AudioFormat(Encoding.ULAW, 8_000), AudioFormat(Encoding.ALAW, 8_000)


@pytest.mark.parametrize(
    ("said", "requested", "means"),
    [
        ({"type": "audio/pcm", "rate": 24000}, PCM_24, PCM_24),
        ({"type": "audio/pcm", "rate": 24000}, PCM_16, PCM_24),
        ({"type": "audio/pcm", "rate": 16000}, PCM_24, PCM_16),
        ({"type": "audio/pcm"}, PCM_24, PCM_24),
        ({"type": "audio/pcm"}, ULAW_8, PCM_24),
        ({"type": "pcm", "sample_rate": 16000}, PCM_16, PCM_16),
        ({"type": "audio/pcm", "rate": 8000}, PCM_24, AudioFormat(Encoding.PCM, 8_000)),
        ({"type": "audio/pcm", "rate": 48000}, PCM_24, AudioFormat(Encoding.PCM, 48_000)),
        ({"type": "audio/pcm", "rate": 7999}, PCM_24, "audio/pcm at 7999 Hz"),
        ({"type": "audio/pcm", "rate": 48001}, PCM_24, "audio/pcm at 48001 Hz"),
        ({"type": "audio/pcm", "rate": -1}, PCM_24, "audio/pcm at -1 Hz"),
        ("pcm16", PCM_24, PCM_24),
        ("pcm16", PCM_16, PCM_16),
        ("pcm24", PCM_24, PCM_24),
        ("pcm", PCM_16, PCM_16),
        ("pcm_24000", PCM_24, PCM_24),
        ("pcm_s16le_24000", PCM_24, PCM_24),
        ("pcm16_16000hz", PCM_24, PCM_16),
        ("pcm_16000", PCM_24, PCM_16),
        (None, PCM_16, PCM_16),
        ({}, PCM_16, PCM_16),
        ([], PCM_16, PCM_16),
        ({"type": "audio/pcmu"}, PCM_24, ULAW_8),
        ({"type": "audio/pcmu"}, ULAW_8, ULAW_8),
        ({"type": "audio/pcma"}, PCM_24, ALAW_8),
        ({"type": "audio/pcma"}, ULAW_8, ALAW_8),
        ("g711_ulaw", PCM_24, ULAW_8),
        ("g711_alaw", PCM_24, ALAW_8),
        ("pcm_mulaw", PCM_24, ULAW_8),
        ("ulaw_8000", PCM_24, ULAW_8),
        ("ulaw_16000", PCM_24, AudioFormat(Encoding.ULAW, 16_000)),
        ("pcm_f32le", PCM_24, "pcm_f32le"),
        ("pcm_s24le", PCM_24, "pcm_s24le"),
        ("mp3", PCM_24, "mp3"),
        ("x" * 1_000_000, PCM_24, f"{'x' * 59}…"),
        ({"type": "audio/opus", "rate": 48000}, PCM_24, "audio/opus at 48000 Hz"),
    ],
)
def test_a_format_by_its_name(
    said: object, requested: AudioFormat, means: AudioFormat | str
) -> None:
    for session in ({"audio": {"output": {"format": said}}}, {"output_audio_format": said}):
        found = read_format(session, "output")
        resolved = requested if found is None else found.resolved(requested) or str(found)
        assert resolved == means
        assert read_format(session, "input") is None


def test_a_rate_may_stand_beside_the_format() -> None:
    session = {"input_audio_format": "pcm16", "input_audio_sampling_rate": 16000}
    assert read_format(session, "input") == NamedFormat("pcm16", 16000, Encoding.PCM)


def test_dashscope_is_asked_to_accept_16_khz() -> None:
    formats = [
        read_format(with_voice({}, hears=True, speaks=True, vad="off", dialect=dialect), way)
        for dialect in (Dialect.QWEN, Dialect.BETA)
        for way in ("input", "output")
    ]
    assert [format and format.rate for format in formats] == [16_000, 24_000, 24_000, 24_000]


def test_a_delta_of_a_translation_names_its_format() -> None:
    delta = {"type": "session.output_audio.delta", "delta": "AAA=", "sample_rate": 16000}
    (event,) = Decoder().decode({**delta, "format": "pcm16"})
    assert isinstance(event, Delta)
    assert event.format == NamedFormat("pcm16", 16000, Encoding.PCM)
    (event,) = Decoder().decode(delta)
    assert isinstance(event, Delta)
    assert event.format is None


def test_the_format_of_responses_is_that_of_the_session() -> None:
    session = output(PCM)
    assert with_output_format(session, {}) == session
    assert with_output_format(session, output(ULAW)) == output(ULAW)


@pytest.mark.parametrize("way", ["input", "output"])
def test_settings_with_another_format_are_refused(way: str) -> None:
    both = AudioSettings(audio_in="a.wav", audio_out=Path("b.wav"))
    settings = Settings(session={"audio": {way: {"format": {"type": "audio/opus"}}}})
    with pytest.raises(UsageError, match="audio/opus"):
        audio_config(settings, both)
    audio_config(settings, AudioSettings())


# ------------------------------------------------------------------------------ what it sounds like


def mp3(header: bytes, length: int) -> bytes:
    return (header + bytes(length - len(header))) * 3


FOREIGN = {
    "MP3, tagged": (b"ID3\4" + bytes(100), "MP3"),
    "MP3": (mp3(b"\xff\xfb\x90\x00", 417), "MP3"),
    "MP3, padded": (mp3(b"\xff\xfb\x92\x00", 418), "MP3"),
    "MP3 of 24 kHz": (mp3(b"\xff\xf3\x64\x00", 144), "MP3"),
    "AAC": ((b"\xff\xf1\x50\x80\x02\x1f" + bytes(10)) * 2, "AAC"),
    "WAV": (b"RIFF" + bytes(100), "WAV"),
    "Ogg": (b"OggS" + bytes(100), "Ogg"),
    "FLAC": (b"fLaC" + bytes(100), "FLAC"),
    "WebM": (b"\x1aE\xdf\xa3" + bytes(100), "WebM"),
    "MP4": (b"\0\0\0\x20ftypM4A " + bytes(100), "MP4"),
    "AMR": (b"#!AMR\n" + bytes(100), "AMR"),
}
PLAIN = {
    "silence": bytes(1000),
    "what begins as MP3 does": b"\xff\xfb\x90\x00" + bytes(1000),
    "what is too short to tell": b"\xff\xfb\x90\x00" + bytes(10),
    "no rate": mp3(b"\xff\xfb\x9c\x00", 418),
    "no bitrate": mp3(b"\xff\xfb\xf0\x00", 418),
    "a version that is none": mp3(b"\xff\xeb\x90\x00", 418),
    "MP3 of two rates": b"\xff\xfb\x90\x00" + bytes(413) + b"\xff\xfb\x94\x00" + bytes(413),
    "what begins as AAC does": b"\xff\xf1\x50\x80\x02\x1f" + bytes(100),
    "loud noise": b"\xff\xff" * 500,
    "one sample": b"\xff\xf1",
}


def hearing(*events: Event) -> list[Any]:
    """What a conversation with a speaker does about these after a reply has begun."""
    speech = SpeechOptions(speaks=True, input_rate=16000, output_rate=24000)
    play = Playbook(Conversation("m", Options(modality="audio"), mode=Mode.LINES, speech=speech))
    start = (Started(), ConnectionOpened(), SessionCreated("s", "m"), SessionUpdated("s", "m"))
    for event in (*start, UserSaid("hi"), ReplyStarted("r")):
        play.handle(event)
    return [effect for event in events for effect in play.handle(event)]


def sound(audio: bytes) -> Delta:
    return Delta(Channel.AUDIO, b64encode(audio).decode(), "r", "i")


@pytest.mark.parametrize(("audio", "name"), FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_clearly_not_pcm_is_not_played(audio: bytes, name: str) -> None:
    done = hearing(sound(audio), sound(bytes(100)), ReplyEnded("r", Status.COMPLETED))
    assert not any(isinstance(effect, Play) and effect.audio for effect in done)
    (over,) = (e.update for e in done if isinstance(e, Show) and isinstance(e.update, ReplyOver))
    assert over.problem is not None
    assert (over.problem.exit, over.status) == (1, Status.COMPLETED)
    assert f"the audio of the reply is {name}, " in over.problem.message


@pytest.mark.parametrize("audio", PLAIN.values(), ids=PLAIN.keys())
def test_what_may_be_pcm_is_played(audio: bytes) -> None:
    done = hearing(sound(audio), sound(b"ID3\4"), ReplyEnded("r", Status.COMPLETED))
    played = b"".join(effect.audio for effect in done if isinstance(effect, Play))
    assert played == audio + b"ID3\4"


def test_a_format_that_is_not_supported_ends_the_session_in_mid_conversation() -> None:
    assert Disconnect() in hearing(SessionUpdated("s", "m", output_format=NamedFormat("mp3")))


@pytest.mark.parametrize("dialect", ["ga", "beta"])
@pytest.mark.parametrize("way", ["input", "output"])
@pytest.mark.parametrize(
    ("ga", "beta", "format"),
    [
        ({"type": "audio/pcm", "rate": 24000}, "pcm_24000", PCM_24),
        ({"type": "audio/pcm", "rate": 16000}, "pcm_16000", PCM_16),
        ({"type": "audio/pcm", "rate": 48000}, "pcm_48000", AudioFormat(rate=48_000)),
        ({"type": "audio/pcmu"}, "g711_ulaw", ULAW_8),
        ({"type": "audio/pcma"}, "g711_alaw", ALAW_8),
    ],
)
def test_the_formats_that_a_server_reports_are_used(
    ga: JsonObject, beta: str, format: AudioFormat, way: str, dialect: str
) -> None:
    fields = {"audio": {way: {"format": ga}}} if dialect == "ga" else {f"{way}_audio_format": beta}
    (updated,) = Decoder().decode({"type": "session.updated", "session": fields})
    done = hearing(updated, updated)
    requested = UseFormats(PCM_16, PCM_24)
    expected = replace(requested, **{way: format})
    assert [effect for effect in done if isinstance(effect, UseFormats)] == (
        [] if expected == requested else [expected]
    )
    assert Disconnect() not in done
    after = hearing(updated, SessionUpdated("s", "m"))
    assert [each for each in after if isinstance(each, UseFormats)][1:] == []


def test_formats_that_are_not_needed_do_not_matter() -> None:
    play = Playbook(Conversation("m", Options(), mode=Mode.LINES))
    start = (Started(), ConnectionOpened(), SessionCreated("s", "m"))
    updated = SessionUpdated("s", "m", None, None, {}, NamedFormat("opus"), NamedFormat("mp3"))
    done = [effect for event in (*start, updated) for effect in play.handle(event)]
    assert not any(isinstance(effect, UseFormats | Disconnect) for effect in done)


# ----------------------------------------------------------------------------------- by the program

PLACE = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}


def session(kind: str, fields: JsonObject) -> tuple[str, dict[str, Any]]:
    known: dict[str, object] = {"type": "realtime", "id": "s", "model": "m"}
    if "output_audio_format" in fields or "input_audio_format" in fields:
        known = {"id": "s", "model": "m", "modalities": ["text", "audio"]}
    return ("received", {"type": f"session.{kind}", "session": known | dict(fields)})


def talk(
    created: JsonObject, updated: JsonObject, audio: bytes = b"\1\2" * 100
) -> list[tuple[str, dict[str, Any]]]:
    """A server whose session is like this, and that says this."""
    delta = {"type": "response.output_audio.delta", "delta": b64encode(audio).decode(), **PLACE}
    words = {"type": "response.output_audio_transcript.done", "transcript": "Hi.", **PLACE}
    done = {"type": "response.done", "response": {"id": "r", "status": "completed"}}
    return [
        session("created", created),
        ("sent", {"type": "session.update"}),
        session("updated", updated),
        ("sent", {"type": "response.create"}),
        ("received", {"type": "response.created", "response": {"id": "r"}}),
        *(("received", each) for each in (delta, words, done)),
    ]


def run(
    program: Program, lines: list[tuple[str, dict[str, Any]]], *arguments: str, stdin: bytes = b""
) -> tuple[Ran, list[dict[str, Any]]]:
    sent: list[dict[str, Any]] = []
    with background(partial(playing, lines, sent)) as url:
        ran = program.run(*arguments, "--url", url, stdin=stdin)
    return ran, sent


def output(format: object) -> JsonObject:
    return {"audio": {"output": {"format": format}}}


def input(format: object) -> JsonObject:
    return {"audio": {"input": {"format": format}}}


PCM, ULAW = {"type": "audio/pcm", "rate": 24000}, {"type": "audio/pcmu"}
OPUS = {"type": "audio/opus"}
AGREED = {
    "as asked for": (output(ULAW), output(PCM)),
    "as always": (output(PCM), {}),
    "not said": ({}, {}),
    "of what is not heard": (input(OPUS), input(OPUS)),
    "beta": ({"output_audio_format": "pcm16"}, {"output_audio_format": "pcm16"}),
}
REFUSED = {
    "updated": (output(PCM), output(OPUS), "audio/opus"),
    "created": (output(OPUS), {}, "audio/opus"),
    "a rate": ({}, output({"type": "audio/pcm", "rate": 96000}), "audio/pcm at 96000 Hz"),
    "beta": ({}, {"output_audio_format": "mp3"}, "mp3"),
}


@pytest.mark.parametrize(("created", "updated"), AGREED.values(), ids=AGREED.keys())
def test_sound_that_was_agreed_on_is_heard(
    tmp_path: Path, created: JsonObject, updated: JsonObject
) -> None:
    ran, _ = run(Program(tmp_path), talk(created, updated), "once", "hi", "--audio-out", "a.wav")
    assert (ran.code, ran.text) == (0, "Hi.\n")
    assert wav_audio(tmp_path / "a.wav") == b"\1\2" * 100


@pytest.mark.parametrize(("created", "updated", "name"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("verb", ["once", "talk"])
def test_other_sound_is_refused_by_its_name(
    tmp_path: Path, verb: str, created: JsonObject, updated: JsonObject, name: str
) -> None:
    arguments = ("hi", "--audio-out", "a.wav") if verb == "once" else ("--audio-out", "a")
    ran, sent = run(Program(tmp_path), talk(created, updated), verb, *arguments, stdin=b"hi\n")
    assert (ran.code, ran.text) == (1, "")
    assert f"the server sends audio as {name}, " in ran.err
    assert "response.create" not in [event["type"] for event in sent]
    assert not (tmp_path / "a.wav").exists()
    assert not list(tmp_path.glob("a/*"))


def test_text_does_not_mind_the_format_of_sound(tmp_path: Path) -> None:
    ran, _ = run(Program(tmp_path), talk(output(OPUS), output(OPUS)), "once", "hi")
    assert (ran.code, ran.text) == (0, "Hi.\n")


@pytest.mark.parametrize("verb", ["once", "transcribe"])
def test_what_is_said_is_not_sent_to_a_server_that_takes_something_else(
    tmp_path: Path, verb: str
) -> None:
    write_wav(tmp_path / "said.wav", tone(440, 0.5))
    arguments = ("--audio-in", "said.wav") if verb == "once" else ("said.wav",)
    ran, sent = run(Program(tmp_path), talk({}, input(OPUS)), verb, *arguments)
    assert ran.code == 1
    assert "the server expects audio as audio/opus, " in ran.err
    assert [event["type"] for event in sent] == ["session.update"]


@pytest.mark.parametrize(("audio", "name"), [FOREIGN["MP3"], FOREIGN["Ogg"]], ids=["MP3", "Ogg"])
def test_bytes_of_another_format_are_refused_by_its_name(
    tmp_path: Path, audio: bytes, name: str
) -> None:
    lines = talk({}, output(PCM), audio)
    ran, _ = run(Program(tmp_path), lines, "once", "hi", "--audio-out", "a.wav")
    assert (ran.code, ran.text) == (1, "Hi.\n")
    assert f"the audio of the reply is {name}, " in ran.error
    assert not (tmp_path / "a.wav").exists()
    shown, _ = run(Program(tmp_path), lines, "once", "hi", "--audio-out", "a.wav", "--json")
    assert name in json.loads(shown.text)["error"]["message"]
    piped, _ = run(Program(tmp_path), lines, "talk", "--audio-out", "a", stdin=b"hi\n")
    assert (piped.code, piped.text) == (1, "Hi.\n")
    assert not list(tmp_path.glob("a/*"))


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["transcribe", "said.wav"], "audio.input.format.type"),
        (["once", "hi", "--audio-out", "a.wav"], "audio.output.format.type"),
        (["once", "hi", "--audio-out", "a.wav"], "response.audio.output.format.type"),
        (["once", "--audio-in", "said.wav"], "audio.input.format.type"),
    ],
)
def test_a_format_that_the_user_asks_for_is_refused_before_anything_is_sent(
    tmp_path: Path, arguments: list[str], option: str
) -> None:
    write_wav(tmp_path / "said.wav", tone(440, 0.5))
    ran = Program(tmp_path).run(
        *arguments, "--set", f"{option}=audio/opus", "--url", "ws://[::1]:1"
    )
    assert ran.code == 2
    assert "audio/opus" in ran.err


# ----------------------------------------------------------------------------------- another rate


def appended(sent: list[dict[str, Any]]) -> bytes:
    return b"".join(
        b64decode(event["audio"]) for event in sent if event["type"].endswith(".append")
    )


def crossings(audio: bytes) -> int:
    """How often a tone changes its sign."""
    samples = memoryview(audio).cast("h")
    return sum((a < 0) != (b < 0) for a, b in pairwise(samples))


@pytest.mark.parametrize(("dialect", "rate"), [("qwen", 16_000), ("beta", 24_000)])
def test_a_service_is_given_sound_at_the_rate_that_it_takes(
    tmp_path: Path, dialect: str, rate: int
) -> None:
    pytest.importorskip("soxr", reason="the extra audio is not installed")
    said = tone(440, 1.5)
    write_wav(tmp_path / "said.wav", said)
    formats = {"input_audio_format": "pcm16", "output_audio_format": "pcm24"}
    lines = talk(formats, formats)
    arguments = ("--audio-in", "said.wav", "--dialect", dialect)
    ran, sent = run(Program(tmp_path), lines, "once", *arguments)
    assert (ran.code, ran.text) == (0, "Hi.\n")
    audio = appended(sent)
    assert len(audio) / 2 / rate == pytest.approx(len(said) / SECOND, abs=0.001)
    assert crossings(audio) == pytest.approx(crossings(said), abs=2)
    kinds = [event["type"] for event in sent]
    assert "input_audio_buffer.append" not in kinds[kinds.index("input_audio_buffer.commit") :]
