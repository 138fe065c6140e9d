"""Turns that are transcribed before they end. The tests act as voice and engine."""

from __future__ import annotations

from typing import Any

import pytest

from rtchat.core.values import BYTES_A_MS
from rtchat.server.audio_input import Transcribe
from rtchat.server.engine import Finish
from rtchat.server.tone_voice import ToneVoice
from rtchat.server.turn_detection import MAX_REPORTED_MS, PAUSE_MS
from tests.loopback import configure
from tests.protocol_driver import EarlyVoice, ProtocolDriver, types
from tests.test_server_voice import CLEAR, COMMIT, QUIET, append, configure_input, pcm

VAD = {"type": "server_vad", "prefix_padding_ms": 0, "silence_duration_ms": 320}
SPEECH = pcm(320)
PAUSE, REST = pcm(PAUSE_MS, QUIET), pcm(320 - PAUSE_MS, QUIET)
STEM = "conversation.item.input_audio_transcription"
ENDED = [
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
]


def listening(vad: dict[str, object] | None = None, **audio_input: object) -> ProtocolDriver:
    """A session whose turns are detected."""
    driver = ProtocolDriver(voice=EarlyVoice())
    options = {"transcription": {"model": "whisper-1"}} | audio_input
    driver.send(
        configure(output_modalities=["text"]), configure_input({**VAD, **(vad or {})}, **options)
    )
    return driver


def say(driver: ProtocolDriver, *audio: bytes) -> list[dict[str, Any]]:
    return driver.send(*map(append, audio))


def deltas(events: list[dict[str, Any]]) -> list[str]:
    return [event["delta"] for event in events if event["type"] == f"{STEM}.delta"]


# ---------------------------------------------------------------------------------------- the end


def test_a_pause_is_transcribed_and_the_answer_prepared() -> None:
    driver = listening()
    (started,) = say(driver, SPEECH, PAUSE)
    (early,) = driver.early
    assert (early.item_id, early.audio, early.end_ms) == (
        started["item_id"],
        SPEECH + PAUSE,
        320 + PAUSE_MS,
    )
    assert driver.end_early("Hello there.") == []
    events = say(driver, REST)
    assert types(events) == [*ENDED, f"{STEM}.delta", f"{STEM}.completed", "response.created"]
    assert {event["item_id"] for event in events[:6] if "item_id" in event} == {early.item_id}
    assert (events[4]["delta"], events[5]["transcript"]) == ("Hello there.", "Hello there.")
    assert events[5]["usage"]["seconds"] == 0.64
    assert driver.transcriptions == []
    (prepared,) = driver.prepared
    (prompt,) = driver.prompts
    assert (prepared.instructions, [*prepared.items]) == (prompt.instructions, [*prompt.items])


def test_a_turn_may_end_before_its_transcript() -> None:
    driver = listening()
    assert types(say(driver, SPEECH, PAUSE, REST))[1:] == ENDED
    assert types(driver.end_early("Hello there.")) == [
        f"{STEM}.delta",
        f"{STEM}.completed",
        "response.created",
    ]
    assert (driver.transcriptions, driver.prepared) == ([], [])


def test_the_whole_turn_is_transcribed_after_a_failure() -> None:
    for is_over in (False, True):
        driver = listening()
        say(driver, SPEECH, PAUSE, REST if is_over else b"")
        assert driver.end_early(None) == []
        say(driver, b"" if is_over else REST)
        assert driver.transcriptions == [Transcribe(driver.early[0].item_id, SPEECH + PAUSE + REST)]
        assert types(driver.end_transcript("Hello."))[-1] == "response.created"


def test_a_transcript_is_dropped_if_the_speech_goes_on() -> None:
    driver = listening()
    say(driver, SPEECH, PAUSE)
    assert driver.end_early("I think.") == []
    assert say(driver, SPEECH) == []
    assert say(driver, PAUSE) == []
    assert deltas(driver.end_early("I think so.")) == ["I"]
    events = say(driver, REST)
    assert deltas(events) == [" think so."]
    assert events[5]["transcript"] == "I think so."
    assert [early.audio for early in driver.early] == [
        SPEECH + PAUSE,
        SPEECH + PAUSE + SPEECH + PAUSE,
    ]
    assert [prompt.question for prompt in driver.prepared] == ["I think.", "I think so."]


def test_a_second_pause_waits_for_the_transcript_of_the_first() -> None:
    driver = listening()
    say(driver, SPEECH, PAUSE, SPEECH, PAUSE)
    assert len(driver.early) == 1
    driver.end_early("I think.")
    assert len(driver.early) == 2
    assert driver.prepared == []
    driver.end_early("I think so.")
    assert say(driver, REST)[5]["transcript"] == "I think so."


def test_a_turn_that_ends_during_the_transcript_of_an_earlier_part_is_transcribed() -> None:
    driver = listening()
    say(driver, SPEECH, PAUSE, SPEECH, PAUSE, REST)
    assert [transcribe.audio for transcribe in driver.transcriptions] == [
        SPEECH + PAUSE + SPEECH + PAUSE + REST
    ]
    assert driver.end_early("I think.") == []
    assert types(driver.end_transcript("I think so."))[-1] == "response.created"


@pytest.mark.parametrize("silence_ms", [64, PAUSE_MS])
def test_a_turn_that_ends_after_a_short_silence_is_transcribed_once(silence_ms: int) -> None:
    driver = listening({"silence_duration_ms": silence_ms})
    say(driver, SPEECH, PAUSE)
    assert (len(driver.early), len(driver.transcriptions)) == (0, 1)


@pytest.mark.parametrize("command", [CLEAR, COMMIT, configure_input(None)], ids=str)
def test_a_transcript_of_dropped_audio_is_ignored(command: dict[str, object]) -> None:
    driver = listening()
    say(driver, SPEECH, PAUSE)
    driver.send(command)
    assert driver.end_early("Hello.") == []
    assert len(driver.transcriptions) == (command == COMMIT)


def test_a_deleted_item_gets_no_response() -> None:
    driver = listening()
    say(driver, SPEECH, PAUSE, REST)
    item_id = driver.early[0].item_id
    driver.send({"type": "conversation.item.delete", "item_id": item_id})
    assert driver.end_early("Hello.") == []


def test_speech_interrupts_the_response_that_was_prepared() -> None:
    driver = listening()
    say(driver, SPEECH, PAUSE)
    driver.end_early("Hello there.")
    say(driver, REST)
    driver.say("Hi")
    events = say(driver, SPEECH)
    assert events[0]["type"] == "input_audio_buffer.speech_started"
    assert events[-1]["response"]["status_details"]["reason"] == "turn_detected"
    say(driver, PAUSE)
    driver.end_early("Stop.")
    assert say(driver, REST)[-1]["type"] == "response.created"
    assert driver.finish(Finish())[-1]["response"]["status"] == "completed"


@pytest.mark.parametrize("silent", ["", " "])
def test_nothing_is_prepared_without_words(silent: str) -> None:
    driver = listening()
    say(driver, SPEECH, PAUSE)
    driver.end_early(silent)
    assert say(driver, REST)[-1]["type"] == f"{STEM}.completed"
    assert (driver.prepared, driver.started) == ([], [])


def test_nothing_is_prepared_for_a_client_that_creates_responses() -> None:
    driver = listening({"create_response": False})
    say(driver, SPEECH, PAUSE)
    driver.end_early("Hello.")
    assert say(driver, REST)[-1]["type"] == f"{STEM}.completed"
    assert (driver.prepared, driver.started) == ([], [])


# --------------------------------------------------------------------------------- during speech


SECOND = pcm(1024)


def test_the_answer_is_prepared_during_speech() -> None:
    driver = listening()
    say(driver, SPEECH, SECOND)
    driver.end_early("Is there a farm?")
    say(driver, SECOND)
    driver.end_early("Is there a pharmacy near the")
    assert [prompt.question for prompt in driver.prepared] == [
        "Is there a farm?",
        "Is there a pharmacy near the",
    ]


def test_words_on_which_two_transcripts_agree_are_sent_during_speech() -> None:
    driver = listening()
    (started,) = say(driver, SPEECH, SECOND)
    assert driver.end_early("Is there a farm?") == []
    say(driver, SECOND)
    (delta,) = driver.end_early("Is there a pharmacy near the")
    assert (delta["item_id"], delta["delta"]) == (started["item_id"], "Is there a")
    say(driver, SECOND)
    (delta,) = driver.end_early("Is there a pharmacy near the station?")
    assert delta["delta"] == " pharmacy near the"
    say(driver, PAUSE)
    assert deltas(driver.end_early("Is there a pharmacy near the station?")) == [" station?"]
    events = say(driver, REST)
    assert deltas(events) == []
    assert events[4]["transcript"] == "Is there a pharmacy near the station?"


def test_words_that_were_wrong_are_replaced_at_the_end() -> None:
    driver = listening()
    say(driver, SPEECH, SECOND)
    driver.end_early("I scream")
    say(driver, SECOND)
    assert deltas(driver.end_early("I scream for")) == ["I scream"]
    say(driver, SECOND)
    assert driver.end_early("Ice cream for me") == []
    say(driver, PAUSE)
    assert driver.end_early("Ice cream for me.") == []
    events = say(driver, REST)
    assert types(events)[4:] == [f"{STEM}.completed", "response.created"]
    assert events[4]["transcript"] == "Ice cream for me."


def test_without_transcripts_for_the_client_only_pauses_are_transcribed() -> None:
    driver = listening(transcription=None)
    say(driver, SPEECH, SECOND, SECOND)
    assert driver.early == []
    say(driver, PAUSE)
    assert driver.end_early("Hello.") == []
    assert types(say(driver, REST)) == [*ENDED, "response.created"]


def test_a_turn_waits_for_the_transcripts_of_earlier_ones() -> None:
    driver = listening()
    say(driver, SPEECH, PAUSE, REST)
    say(driver, SPEECH, SECOND, PAUSE)
    assert len(driver.early) == 1
    driver.end_early("One.")
    say(driver, SPEECH, PAUSE)
    assert len(driver.early) == 2


def test_long_turns_are_not_transcribed_early() -> None:
    driver = listening()
    for _ in range(MAX_REPORTED_MS // 1024 + 3):
        say(driver, SECOND)
        if driver.early:
            driver.end_early("on and on")
    assert max(len(early.audio) for early in driver.early) <= MAX_REPORTED_MS * BYTES_A_MS
    before = len(driver.early)
    say(driver, PAUSE, REST)
    assert (len(driver.early), len(driver.transcriptions)) == (before, 1)


def test_other_voices_transcribe_only_whole_turns() -> None:
    driver = ProtocolDriver(voice=ToneVoice())
    driver.send(configure_input(VAD, transcription={}))
    say(driver, SPEECH, SECOND, PAUSE, REST)
    assert (len(driver.early), len(driver.transcriptions)) == (0, 1)
