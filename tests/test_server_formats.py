"""`rtchat serve` with clients that use G.711."""

from __future__ import annotations

import sys
from base64 import b64encode
from typing import Any

import pytest

from rtchat.core.values import BYTES_A_MS, AudioFormat, Dialect, Encoding
from rtchat.server.engine import Finish
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from rtchat.server.tone_voice import CHARACTER_MS, ToneVoice
from rtchat.server.turn_detection import MAX_TURN_MS
from tests.loopback import configure, reply, user
from tests.program import Program, background
from tests.protocol_driver import types
from tests.sounds import tone, wav_audio, write_wav
from tests.test_server_audio import spoken
from tests.test_server_voice import CLEAR, COMMIT, VAD, append, configure_input, error, make_driver

pytest.importorskip("soxr", reason="the extra audio is not installed")
pytest.importorskip("soundfile", reason="the extra audio is not installed")

from rtchat.audio.codec import converter

OURS = AudioFormat()
FORMATS = {
    "audio/pcmu": AudioFormat(Encoding.ULAW, 8_000),
    "audio/pcma": AudioFormat(Encoding.ALAW, 8_000),
}
BETA = {"audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}
SAID = tone(440, 1.0)


def encoded(kind: str, audio: bytes = SAID) -> bytes:
    return converter(OURS, FORMATS[kind])(audio, last=True)


def decoded(kind: str, audio: bytes) -> bytes:
    return converter(FORMATS[kind], OURS)(audio, last=True)


def in_pieces(audio: bytes, size: int = 161) -> list[dict[str, object]]:
    return [append(audio[at : at + size]) for at in range(0, len(audio), size)]


def format_of(way: str, kind: str) -> dict[str, Any]:
    return configure(audio={way: {"format": {"type": kind}}})


@pytest.mark.parametrize("kind", FORMATS)
def test_input_is_decoded(kind: str) -> None:
    driver = make_driver(configure_input(format={"type": kind}))
    for _ in range(2):
        driver.send(*in_pieces(encoded(kind)), COMMIT)
        assert driver.transcriptions[-1].audio == decoded(kind, encoded(kind))
    driver.send(*in_pieces(encoded(kind)), CLEAR, *in_pieces(encoded(kind)), COMMIT)
    assert driver.transcriptions[-1].audio == decoded(kind, encoded(kind))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_audio_of_an_item_is_decoded(kind: str) -> None:
    driver = make_driver(format_of("input", kind))
    part = {"type": "input_audio", "audio": b64encode(encoded(kind)).decode()}
    item = {"type": "message", "role": "user", "content": [part]}
    driver.send({"type": "conversation.item.create", "item": item})
    assert driver.transcriptions[-1].audio == decoded(kind, encoded(kind))


def test_turns_are_found_at_the_times_of_the_session() -> None:
    kind = "audio/pcmu"
    driver = make_driver(configure_input(VAD, format={"type": kind}))
    silence, noise = bytes(64 * BYTES_A_MS), b"\x00\x20" * (320 * BYTES_A_MS // 2)
    events = driver.send(*in_pieces(encoded(kind, silence + noise + silence * 2)))
    times = [
        e.get("audio_start_ms", e.get("audio_end_ms")) for e in events if "speech" in e["type"]
    ]
    assert times == pytest.approx([32, 448], abs=32)


def test_a_format_that_changes_is_used_from_then_on() -> None:
    driver = make_driver(configure_input())
    driver.send(append(SAID), COMMIT)
    assert driver.transcriptions[-1].audio == SAID
    for kind in FORMATS:
        driver.send(format_of("input", kind), *in_pieces(encoded(kind)), COMMIT)
        assert driver.transcriptions[-1].audio == decoded(kind, encoded(kind))


@pytest.mark.parametrize("in_response", [False, True])
@pytest.mark.parametrize("kind", FORMATS)
def test_replies_are_encoded(kind: str, in_response: bool) -> None:
    output = {"output": {"format": {"type": kind}}}
    driver = make_driver() if in_response else make_driver(configure(audio=output))
    created = driver.send(user("hi"), reply(audio=output) if in_response else reply())
    described = created[-1]["response"]["audio"]["output"]["format"]
    assert described == {"type": kind}
    driver.say("Hi.")
    driver.finish(Finish())
    events = [e for at in range(0, len(SAID), 4800) for e in driver.add_audio(SAID[at : at + 4800])]
    events += driver.end_speech()
    assert spoken(events) == encoded(kind)
    last = types(events).index("response.output_audio.done")
    assert "response.output_audio.delta" not in types(events)[last:]


def test_positions_in_a_reply_are_those_of_its_sound() -> None:
    driver = make_driver(format_of("output", "audio/pcmu"))
    driver.send(user("hi"), reply())
    driver.say("Hi.")
    driver.finish(Finish())
    item = driver.add_audio(SAID)[0]["item_id"]
    driver.end_speech()
    cut = {"type": "conversation.item.truncate", "item_id": item, "content_index": 0}
    assert error(driver.send(cut | {"audio_end_ms": 3000}))["param"] == "audio_end_ms"
    assert types(driver.send(cut | {"audio_end_ms": 900})) == ["conversation.item.truncated"]


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_of_the_beta_dialect(kind: str) -> None:
    driver = make_driver(dialect=Dialect.BETA)
    fields = {"input_audio_format": BETA[kind], "output_audio_format": BETA[kind]}
    (updated,) = driver.send(
        {"type": "session.update", "session": {**fields, "turn_detection": None}}
    )
    assert {key: updated["session"][key] for key in fields} == fields
    driver.send(*in_pieces(encoded(kind)), COMMIT)
    assert driver.transcriptions[-1].audio == decoded(kind, encoded(kind))


@pytest.mark.parametrize(
    "format",
    [
        {"type": "audio/opus"},
        {"type": "audio/mpeg"},
        {"type": "audio/pcm", "rate": 16000},
        {"type": "audio/pcmu", "rate": 16000},
    ],
)
@pytest.mark.parametrize("way", ["input", "output"])
def test_other_formats_are_refused(way: str, format: dict[str, object]) -> None:
    problem = error(make_driver().send(configure(audio={way: {"format": format}})))
    assert problem["param"].startswith(f"session.audio.{way}.format")
    problem = error(make_driver().send(reply(audio={"output": {"format": format}})))
    assert problem["param"].startswith("response.audio.output.format")


@pytest.mark.parametrize("way", ["input", "output"])
def test_without_the_extra_g711_is_refused(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    problem = error(make_driver().send(format_of(way, "audio/pcmu")))
    assert (problem["code"], problem["param"]) == (
        "invalid_value",
        f"session.audio.{way}.format.type",
    )
    assert "soundfile" in problem["message"]
    assert types(make_driver().send(format_of(way, "audio/pcm"))) == ["session.updated"]


def test_compressed_audio_is_limited_by_its_length() -> None:
    """Not by its size: G.711 needs a sixth of the bytes."""
    driver = make_driver(configure_input(format={"type": "audio/pcmu"}))
    minute = append(bytes(60 * 8000))
    minutes = MAX_TURN_MS // 60_000
    driver.send(*[minute] * minutes)
    problem = error(driver.send(append(bytes(8000))))
    assert problem["code"] == "input_audio_buffer_full"
    data = b64encode(bytes((minutes * 60 + 1) * 8000)).decode()
    part = {"type": "input_audio", "audio": data}
    item = {"type": "message", "role": "user", "content": [part]}
    assert error(driver.send({"type": "conversation.item.create", "item": item}))["param"] == (
        "item.content"
    )


def test_a_client_of_the_server_in_g711(program: Program) -> None:
    """The same words arrive, and the sound of the reply is as long as in PCM."""
    voice = ToneVoice(("How are you?",))
    write_wav(program.home / "said.wav", SAID)
    with background(lambda: run_server(EchoEngine(), voice=voice)) as url:
        formats = [f"--set=audio.{way}.format.type=audio/pcmu" for way in ("input", "output")]
        arguments = ("--url", url, "--audio-in", "said.wav", "--audio-out", "a.wav")
        ran = program.run("once", *arguments, *formats)
    assert (ran.code, ran.text) == (0, "How are you?\n")
    expected = len("How are you?") * CHARACTER_MS * BYTES_A_MS
    assert len(wav_audio(program.home / "a.wav")) == pytest.approx(expected, abs=96)
