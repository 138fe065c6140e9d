"""The program with servers that accept and send audio in other formats than PCM at 24 kHz."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest

from rtchat.core.values import AudioFormat, Encoding
from tests.program import Program
from tests.sounds import SECOND, tone, wav_audio, write_wav
from tests.test_formats import crossings
from tests.test_other_servers import Session, run

pytest.importorskip("soxr", reason="the extra audio is not installed")
pytest.importorskip("soundfile", reason="the extra audio is not installed")

from rtchat.audio.codec import converter

OURS = AudioFormat()
ULAW, ALAW = AudioFormat(Encoding.ULAW, 8_000), AudioFormat(Encoding.ALAW, 8_000)
GA: dict[str, tuple[object, AudioFormat]] = {
    "PCM at 8 kHz": ({"type": "audio/pcm", "rate": 8000}, AudioFormat(rate=8_000)),
    "PCM at 16 kHz": ({"type": "audio/pcm", "rate": 16000}, AudioFormat(rate=16_000)),
    "PCM at 48 kHz": ({"type": "audio/pcm", "rate": 48000}, AudioFormat(rate=48_000)),
    "G.711 u-law": ({"type": "audio/pcmu"}, ULAW),
    "G.711 A-law": ({"type": "audio/pcma"}, ALAW),
}
BETA: dict[str, tuple[object, AudioFormat]] = {
    "PCM at 16 kHz": ("pcm16_16000hz", AudioFormat(rate=16_000)),
    "G.711 u-law": ("g711_ulaw", ULAW),
    "G.711 A-law": ("g711_alaw", ALAW),
}
QUICK = "G.711 u-law, ga", "G.711 A-law, beta"
SERVERS = [
    pytest.param(dialect, *format, id=id, marks=[] if id in QUICK else pytest.mark.full)
    for dialect, formats in (("ga", GA), ("beta", BETA))
    for id, format in ((f"{name}, {dialect}", formats[name]) for name in formats)
]
SAID = tone(440, 1.0)


def session_of(dialect: str, way: str, format: object) -> dict[str, Any]:
    if dialect == "ga":
        return {"audio": {way: {"format": format}}}
    return {f"{way}_audio_format": format, "modalities": ["text", "audio"]}


async def say(s: Session, audio: bytes, *, number: int = 1) -> None:
    """Answer in pieces that are not whole milliseconds."""
    place = {"response_id": f"r{number}", "item_id": f"i{number}"}
    place |= {"output_index": 0, "content_index": 0}  # type: ignore[dict-item] # numbers
    await s.created(f"r{number}")
    for start in range(0, len(audio), 1001):
        piece = b64encode(audio[start : start + 1001]).decode()
        await s.send("response.output_audio.delta", delta=piece, **place)
    await s.send("response.output_audio.done", **place)
    await s.send("response.output_audio_transcript.done", transcript="Hi.", **place)
    await s.done(id=f"r{number}")


def received(s: Session) -> bytes:
    """The audio that the client sent."""
    kinds = ("input_audio_buffer.append",)
    return b"".join(b64decode(each["audio"]) for each in s.received if each["type"] in kinds)


@pytest.mark.parametrize(("dialect", "name", "format"), SERVERS)
def test_replies_are_recorded_as_the_server_means_them(
    program: Program, dialect: str, name: object, format: AudioFormat
) -> None:
    async def play(s: Session) -> None:
        await s.open(**session_of(dialect, "output", name))
        await s.ask()
        await say(s, converter(OURS, format)(SAID, last=True))

    arguments = ("--audio-out", "a.wav", "--dialect", dialect, "--trace", "t.jsonl")
    ran, _ = run(program, play, "once", "hi", *arguments)
    assert (ran.code, ran.text) == (0, "Hi.\n")
    recorded = wav_audio(program.home / "a.wav")
    assert len(recorded) == pytest.approx(len(SAID), abs=8)
    assert crossings(recorded) == pytest.approx(crossings(SAID), abs=2)
    checked = program.run("replay", "--check", "t.jsonl")
    assert (checked.code, checked.err) == (0, "")


@pytest.mark.parametrize(("dialect", "name", "format"), SERVERS)
def test_speech_is_sent_as_the_server_accepts_it(
    program: Program, dialect: str, name: object, format: AudioFormat
) -> None:
    async def play(s: Session) -> None:
        await s.open(**session_of(dialect, "input", name))
        await s.ask()
        await s.answer("Hi.")

    write_wav(program.home / "said.wav", SAID)
    arguments = ("--audio-in", "said.wav", "--dialect", dialect, "--trace", "t.jsonl")
    ran, server = run(program, play, "once", *arguments)
    assert (ran.code, ran.text) == (0, "Hi.\n")
    assert received(server.sessions[0]) == converter(OURS, format)(SAID, last=True)
    checked = program.run("replay", "--check", "t.jsonl")
    assert (checked.code, checked.err) == (0, "")


@pytest.mark.parametrize("dialect", ["ga", pytest.param("beta", marks=pytest.mark.full)])
@pytest.mark.parametrize(
    ("asked", "ga", "beta", "format"),
    [
        (["type=audio/pcmu"], {"type": "audio/pcmu"}, "g711_ulaw", ULAW),
        pytest.param(
            ["type=audio/pcma"], {"type": "audio/pcma"}, "g711_alaw", ALAW, marks=pytest.mark.full
        ),
        (["rate=16000"], {"type": "audio/pcm", "rate": 16000}, "pcm16", AudioFormat(rate=16_000)),
    ],
)
def test_formats_may_be_asked_for(
    program: Program, asked: list[str], ga: object, beta: str, format: AudioFormat, dialect: str
) -> None:
    """The server does not report its formats."""
    audio = converter(OURS, format)(SAID, last=True)

    async def play(s: Session) -> None:
        await s.open(**({} if dialect == "ga" else {"modalities": ["text", "audio"]}))
        await s.ask()
        await say(s, audio)

    write_wav(program.home / "said.wav", SAID)
    options = [f"--set=audio.{way}.format.{each}" for way in ("input", "output") for each in asked]
    arguments = ("--audio-in", "said.wav", "--audio-out", "a.wav", "--dialect", dialect)
    ran, server = run(program, play, "once", *arguments, *options)
    assert (ran.code, ran.text) == (0, "Hi.\n")
    (session,) = server.sessions
    fields = session.received[0]["session"]
    if dialect == "ga":
        assert fields["audio"]["input"]["format"] == fields["audio"]["output"]["format"] == ga
    else:
        assert (fields["input_audio_format"], fields["output_audio_format"]) == (beta, beta)
    assert received(session) == audio
    recorded = wav_audio(program.home / "a.wav")
    assert crossings(recorded) == pytest.approx(crossings(SAID), abs=2)


def test_a_format_of_the_responses_is_that_of_the_session(program: Program) -> None:
    async def play(s: Session) -> None:
        await s.open()
        request = await s.ask()
        assert request["response"]["audio"]["output"]["format"] == {"type": "audio/pcmu"}
        await say(s, converter(OURS, ULAW)(SAID, last=True))

    option = "--set=response.audio.output.format.type=audio/pcmu"
    ran, server = run(program, play, "once", "hi", "--audio-out", "a.wav", option)
    assert ran.code == 0
    output = server.sessions[0].received[0]["session"]["audio"]["output"]
    assert output["format"] == {"type": "audio/pcmu"}
    assert crossings(wav_audio(program.home / "a.wav")) == pytest.approx(crossings(SAID), abs=2)


@pytest.mark.parametrize("option", ["--set=audio.input.format.type=audio/pcmu", "--verbose"])
def test_transcribe_sends_what_was_agreed(program: Program, option: str) -> None:
    async def play(s: Session) -> None:
        await s.open(**session_of("ga", "input", {"type": "audio/pcmu"}), type="transcription")
        await s.until("input_audio_buffer.commit")
        place = {"item_id": "i", "content_index": 0}
        await s.send("input_audio_buffer.committed", item_id="i")
        heard = "conversation.item.input_audio_transcription.completed"
        await s.send(heard, **place, transcript="Hello.")
        await s.until("input_audio_buffer.clear")
        await s.send("input_audio_buffer.cleared")

    write_wav(program.home / "said.wav", SAID)
    ran, server = run(program, play, "transcribe", "said.wav", option)
    assert (ran.code, ran.text) == (0, "Hello.\n")
    assert received(server.sessions[0]) == converter(OURS, ULAW)(SAID, last=True)


LIES = {"ID3 in u-law": (b"ID3\4" + bytes(3000), "MP3"), "Ogg": (b"OggS" + bytes(3000), "Ogg")}


@pytest.mark.parametrize(("audio", "name"), LIES.values(), ids=LIES.keys())
def test_a_file_instead_of_samples_is_refused_by_its_name(
    program: Program, audio: bytes, name: str
) -> None:
    async def play(s: Session) -> None:
        await s.open(**session_of("ga", "output", {"type": "audio/pcmu"}))
        await s.ask()
        await say(s, audio)

    ran, _ = run(program, play, "once", "hi", "--audio-out", "a.wav")
    assert (ran.code, ran.text) == (1, "Hi.\n")
    assert f"the audio of the reply is {name}, " in ran.err
    assert not (program.home / "a.wav").exists()


def test_a_translation_names_the_format_of_each_delta(program: Program) -> None:
    async def play(s: Session) -> None:
        await s.open(type="translation")
        audio = converter(OURS, ULAW)(SAID, last=True)
        for start in range(0, len(audio), 1001):
            delta = b64encode(audio[start : start + 1001]).decode()
            fields = {"delta": delta, "format": "g711_ulaw", "sample_rate": 8000}
            await s.send("session.output_audio.delta", **fields)
        await s.send("session.output_transcript.delta", delta="Hola.")
        await s.until("session.close")
        await s.send("session.closed")

    write_wav(program.home / "said.wav", SAID)
    arguments = ("said.wav", "--to", "es", "--audio-out", "a.wav")
    ran, _ = run(program, play, "translate", *arguments)
    assert (ran.code, ran.text) == (0, "Hola.\n")
    recorded = wav_audio(program.home / "a.wav")
    assert len(recorded) == pytest.approx(len(SAID), abs=8)
    assert crossings(recorded) == pytest.approx(crossings(SAID), abs=2)


def test_nothing_but_the_error_is_printed(program: Program) -> None:
    """The library that resamples prints what is left of it when the program exits."""
    program.may_fork = False
    write_wav(program.home / "said.wav", SAID)
    option = "--set=audio.input.format.type=audio/pcmu"
    ran = program.run("once", "--audio-in", "said.wav", "--url", "ws://127.0.0.1:1", option)
    assert ran.code == 4
    assert len(ran.err.splitlines()) == 2


def test_the_formats_of_a_session_may_change(program: Program) -> None:
    """Each reply is recorded as the server means it at that time."""
    formats = [({"type": "audio/pcmu"}, ULAW), ({"type": "audio/pcm", "rate": 24000}, OURS)]

    async def play(s: Session) -> None:
        await s.open()
        for number, (format, means) in enumerate([*formats, formats[0]], start=1):
            await s.ask()
            fields = {"type": "realtime", **session_of("ga", "output", format)}
            await s.send("session.updated", session=fields)
            await say(s, converter(OURS, means)(SAID, last=True), number=number)

    ran, _ = run(program, play, "talk", "--audio-out", "replies", stdin=b"one\ntwo\nthree\n")
    assert ran.code == 0
    recorded = [wav_audio(each) for each in sorted((program.home / "replies").glob("*.wav"))]
    assert [len(audio) / SECOND for audio in recorded] == pytest.approx([1.0] * 3, abs=0.01)
    for audio in recorded:
        assert crossings(audio) == pytest.approx(crossings(SAID), abs=2)


def test_the_audio_that_the_history_keeps_is_converted(program: Program) -> None:
    async def play(s: Session) -> None:
        await s.open(audio={way: {"format": {"type": "audio/pcma"}} for way in ("input", "output")})
        await s.ask()
        await say(s, converter(OURS, ALAW)(SAID, last=True))

    write_wav(program.home / "said.wav", SAID)
    arguments = ("--audio-in", "said.wav", "--audio-out", "a.wav", "--keep-audio")
    ran, _ = run(program, play, "once", *arguments)
    assert ran.code == 0
    assert program.run("history", "export", "1", "--audio", "kept").code == 0
    kept = sorted(wav_audio(each) for each in (program.home / "kept").glob("*.wav"))
    assert kept == sorted([SAID, wav_audio(program.home / "a.wav")])


def test_json_events_have_the_audio_as_the_server_sent_it(program: Program) -> None:
    sent = converter(OURS, ULAW)(SAID[:4800], last=True)

    async def play(s: Session) -> None:
        await s.open(**session_of("ga", "output", {"type": "audio/pcmu"}))
        await s.ask()
        await say(s, sent)

    ran, _ = run(program, play, "once", "hi", "--audio-out", "a.wav", "--events")
    events = map(json.loads, ran.text.splitlines())
    deltas = [each["delta"] for each in events if each["type"] == "response.output_audio.delta"]
    assert b"".join(map(b64decode, deltas)) == sent
