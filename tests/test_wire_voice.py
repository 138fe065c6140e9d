"""The audio options of a session."""

from __future__ import annotations

import pytest

from rtchat.core.effects import Configure
from rtchat.core.values import JsonObject, Options
from rtchat.wire import encode
from rtchat.wire.audio_options import (
    Vad,
    transcribes,
    turn_ends,
    with_transcription,
    with_voice,
)
from tests.oracle import assert_client_event

PCM = {"type": "audio/pcm", "rate": 24000}
WRITER = {"model": "gpt-4o-mini-transcribe"}


@pytest.mark.parametrize(
    ("vad", "turns"),
    [("server", {"type": "server_vad"}), ("semantic", {"type": "semantic_vad"}), ("off", None)],
)
def test_who_ends_a_turn(vad: Vad, turns: JsonObject | None) -> None:
    session = with_voice({}, hears=True, speaks=True, vad=vad)
    heard = {"format": PCM, "transcription": WRITER, "turn_detection": turns}
    assert session == {"audio": {"input": heard, "output": {"format": PCM}}}
    assert_client_event(encode(Configure(Options(modality="audio", other=session)), "e"))


def test_a_session_without_audio_input_has_no_input_options() -> None:
    session = with_voice({"tracing": "auto"}, hears=False, speaks=True, vad="server")
    assert session == {"tracing": "auto", "audio": {"output": {"format": PCM}}}


def test_the_users_options_take_precedence() -> None:
    turns = {"type": "server_vad", "create_response": False, "interrupt_response": False}
    own: JsonObject = {
        "audio": {
            "input": {"transcription": None, "turn_detection": turns},
            "output": {"voice": "marin"},
        }
    }
    session = with_voice(own, hears=True, speaks=True, vad="server")
    assert session["audio"] == {
        "input": {"format": PCM, "transcription": None, "turn_detection": turns},
        "output": {"format": PCM, "voice": "marin"},
    }
    assert turn_ends(session) == (True, False, False)
    assert not transcribes(session)


def test_vad_off_removes_turn_detection() -> None:
    own: JsonObject = {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}
    session = with_voice(own, hears=True, speaks=False, vad="off")
    assert turn_ends(session) == (False, True, True)
    assert transcribes(session)


@pytest.mark.parametrize(
    ("model", "vad", "turns"),
    [
        ("gpt-live-transcribe", None, None),
        ("gpt-realtime-whisper", None, None),
        ("gpt-4o-transcribe", None, {"type": "server_vad"}),
        ("gpt-4o-transcribe", "off", None),
        ("gpt-live-transcribe", "server", {"type": "server_vad"}),
    ],
)
def test_a_transcription_session(model: str, vad: Vad | None, turns: JsonObject | None) -> None:
    own: JsonObject = {
        "tracing": "auto",
        "audio": {"input": {"transcription": {"language": "en"}}, "output": {"voice": "marin"}},
    }
    options = with_transcription(own, model=model, vad=vad)
    heard = {"model": model, "language": "en"}
    assert options == Options(
        other={
            "type": "transcription",
            "audio": {"input": {"format": PCM, "transcription": heard, "turn_detection": turns}},
        }
    )
    assert_client_event(encode(Configure(options), "e"))
