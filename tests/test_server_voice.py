"""Audio input and output of the protocol session. The tests act as engine and voice."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.events import ServerProblem
from rtchat.core.values import BYTES_A_MS, Dialect, Message, Part, Status, ToolOutput
from rtchat.server.audio_input import Transcribe
from rtchat.server.engine import Answer, CallPiece, Finish, ModelInput
from rtchat.server.response import Speak
from rtchat.server.responses import MAX_RESPONSES
from rtchat.server.script import EchoEngine
from rtchat.server.tone_voice import ToneVoice
from rtchat.server.turn_detection import MAX_TURN_MS
from tests.loopback import configure, reply, user
from tests.protocol_driver import EarlyVoice, ProtocolDriver, types

VOICE = ToneVoice()
LOUD, QUIET = b"\x00\x20", b"\x00\x00"


def pcm(ms: int, sample: bytes = LOUD) -> bytes:
    return sample * (ms * BYTES_A_MS // 2)


def append(audio: bytes) -> dict[str, object]:
    return {"type": "input_audio_buffer.append", "audio": b64encode(audio).decode()}


COMMIT: dict[str, object] = {"type": "input_audio_buffer.commit"}
CLEAR: dict[str, object] = {"type": "input_audio_buffer.clear"}


def configure_input(turn_detection: object = None, **audio_input: object) -> dict[str, object]:
    """An update of the audio input settings."""
    return configure(audio={"input": {"turn_detection": turn_detection, **audio_input}})


def make_driver(*events: dict[str, object], **arguments: Any) -> ProtocolDriver:
    driver = ProtocolDriver(voice=VOICE, **arguments)
    driver.send(*events)
    return driver


def push_to_talk(**audio_input: object) -> ProtocolDriver:
    """A driver without turn detection."""
    return make_driver(configure(output_modalities=["text"]), configure_input(**audio_input))


def error(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    (event,) = events
    assert event["type"] == "error"
    found: dict[str, Any] = event["error"]
    return found


class RecordingEngine(EchoEngine):
    """An engine that records its prompts."""

    def __init__(self) -> None:
        self.prompts: list[ModelInput] = []

    def answer(self, prompt: ModelInput) -> Answer:
        self.prompts.append(prompt)
        return super().answer(prompt)


# -------------------------------------------------------------------------------- the input buffer


def test_a_commit_makes_an_item_that_is_transcribed() -> None:
    driver = push_to_talk(transcription={"model": "whisper-1"})
    assert driver.send(append(pcm(50)), append(pcm(70))) == []
    events = driver.send(COMMIT)
    item_id = events[0]["item_id"]
    item = {
        "id": item_id,
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_audio", "transcript": None}],
    }
    assert [{**event, "event_id": ""} for event in events] == [
        {
            "type": "input_audio_buffer.committed",
            "event_id": "",
            "item_id": item_id,
            "previous_item_id": None,
        },
        {
            "type": "conversation.item.added",
            "event_id": "",
            "item": item,
            "previous_item_id": None,
        },
        {"type": "conversation.item.done", "event_id": "", "item": item, "previous_item_id": None},
    ]
    assert driver.transcriptions == [Transcribe(item_id, pcm(120))]
    place = {"event_id": "", "item_id": item_id, "content_index": 0}
    stem = "conversation.item.input_audio_transcription"
    assert [{**event, "event_id": ""} for event in driver.end_transcript("hello")] == [
        {"type": f"{stem}.delta", **place, "delta": "hello"},
        {
            "type": f"{stem}.completed",
            **place,
            "transcript": "hello",
            "usage": {"type": "duration", "seconds": 0.12},
        },
    ]
    (got,) = driver.send({"type": "conversation.item.retrieve", "item_id": item_id})
    assert got["item"]["content"] == [{"type": "input_audio", "transcript": "hello"}]


def test_silence_has_an_empty_transcript() -> None:
    driver = push_to_talk(transcription={})
    driver.send(append(pcm(100)), COMMIT)
    (completed,) = driver.end_transcript("")
    assert completed["transcript"] == ""


def test_transcripts_are_sent_only_if_requested() -> None:
    driver = push_to_talk()
    driver.send(append(pcm(100)), COMMIT)
    assert driver.end_transcript("hello") == []
    item = driver.send(
        {"type": "conversation.item.retrieve", "item_id": driver.transcriptions[0].item_id}
    )
    assert item[0]["item"]["content"][0]["transcript"] == "hello"


def test_a_clear_discards_the_audio() -> None:
    driver = push_to_talk()
    (cleared,) = driver.send(append(pcm(500)), CLEAR)
    assert cleared["type"] == "input_audio_buffer.cleared"
    assert error(driver.send(COMMIT))["code"] == "input_audio_buffer_commit_empty"


@pytest.mark.parametrize(("ms", "named"), [(0, "0.00ms"), (99, "99.00ms")])
def test_a_short_commit_is_an_error_with_its_length(ms: int, named: str) -> None:
    driver = push_to_talk()
    problem = error(driver.send(append(pcm(ms)), {**COMMIT, "event_id": "mine"}))
    assert (problem["code"], problem["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
    assert named in problem["message"]
    assert driver.send(append(pcm(200)), COMMIT) != []


def test_a_sample_may_be_split_and_an_incomplete_one_is_dropped() -> None:
    driver = push_to_talk()
    whole = pcm(100)
    assert driver.send(append(whole[:3]), append(whole[3:]), append(b"\x07")) == []
    driver.send(COMMIT, append(whole), COMMIT)
    assert [one.audio for one in driver.transcriptions] == [whole, whole]


@pytest.mark.parametrize("audio", ["AAA", "!!!!", "AA=A", "äöüß"])
def test_invalid_base64_is_an_error(audio: str) -> None:
    driver = push_to_talk()
    event = append(b"") | {"audio": audio, "event_id": "mine"}
    problem = error(driver.send(event))
    assert (problem["code"], problem["param"]) == ("invalid_value", "audio")
    assert problem["event_id"] == "mine"
    assert driver.send(append(pcm(100))) == []


def test_the_size_of_an_append_is_limited() -> None:
    driver = push_to_talk()
    assert driver.send(append(bytes(15 * 1024 * 1024))) == []
    problem = error(driver.send(append(bytes(15 * 1024 * 1024 + 1))))
    assert (problem["code"], problem["param"]) == ("invalid_value", "audio")


def test_a_full_buffer_refuses_audio_until_it_is_committed() -> None:
    driver = push_to_talk()
    step = bytes(60_000 * BYTES_A_MS)
    for _ in range(MAX_TURN_MS // 60_000):
        assert driver.send(append(step)) == []
    problem = error(driver.send(append(pcm(1))))
    assert problem["code"] == "input_audio_buffer_full"
    driver.send(COMMIT)
    assert [len(transcription.audio) for transcription in driver.transcriptions] == [
        MAX_TURN_MS * BYTES_A_MS
    ]
    assert driver.send(append(step)) == []


@pytest.mark.parametrize("event", [append(b""), COMMIT, CLEAR])
def test_without_a_voice_audio_is_refused_with_the_reason(event: dict[str, object]) -> None:
    driver = ProtocolDriver(voice="No audio: pip install voice")
    problem = error(driver.send(event))
    assert problem["code"] == "audio_not_supported"
    assert problem["message"].startswith("No audio: pip install voice")


# ------------------------------------------------------------------------------------------- turns

VAD: dict[str, object] = {"type": "server_vad", "prefix_padding_ms": 32, "silence_duration_ms": 64}
SPEECH = pcm(64, QUIET) + pcm(320)
TURN = SPEECH + pcm(64, QUIET)


def test_the_server_commits_and_answers_a_turn() -> None:
    driver = make_driver(
        configure(output_modalities=["text"]), configure_input(VAD, transcription={})
    )
    started = driver.send(append(SPEECH))
    assert types(started) == ["input_audio_buffer.speech_started"]
    assert started[0]["audio_start_ms"] == 32
    events = driver.send(append(TURN[len(SPEECH) :]))
    assert types(events) == [
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert {event.get("item_id", started[0]["item_id"]) for event in events} == {
        started[0]["item_id"]
    }
    assert events[0]["audio_end_ms"] == 448
    assert driver.transcriptions == [Transcribe(started[0]["item_id"], TURN[32 * BYTES_A_MS :])]
    assert driver.started == []
    assert types(driver.end_transcript("hello")) == [
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
    ]
    assert driver.say("hi")[-1]["delta"] == "hi"
    assert driver.finish(Finish())[-1]["response"]["status"] == "completed"


@pytest.mark.parametrize("words", ["", " \n"])
def test_a_turn_without_words_gets_no_response(words: str) -> None:
    driver = make_driver(
        configure(output_modalities=["text"]), configure_input(VAD, transcription={})
    )
    driver.send(append(TURN))
    heard = driver.end_transcript(words)
    assert heard[-1]["type"] == "conversation.item.input_audio_transcription.completed"
    assert heard[-1]["transcript"] == words
    assert types(driver.send(reply())) == ["response.created"]  # the client may ask for one


def test_a_failed_transcription_fails_the_response() -> None:
    driver = make_driver(
        configure(output_modalities=["text"]), configure_input(VAD, transcription={})
    )
    driver.send(append(TURN))
    events = driver.end_transcript("", "Speech recognition failed: out of memory")
    assert types(events) == [
        "response.created",
        "conversation.item.input_audio_transcription.failed",
        "response.done",
    ]
    assert events[-1]["response"]["status"] == "failed"


@pytest.mark.parametrize(
    ("first", "second", "answered"),
    [("one", "two", 1), ("one", "", 1), ("", "two", 1), ("", "", 0)],
)
@pytest.mark.parametrize("late", [True, False])
def test_consecutive_turns_get_one_response_if_any_has_words(
    first: str, second: str, answered: int, late: bool
) -> None:
    driver = make_driver(configure(output_modalities=["text"]), configure_input(VAD))
    driver.send(append(TURN))
    before = [] if late else driver.send(append(SPEECH))  # the user continues before the transcript
    names = types(driver.end_transcript(first)) if not late else []
    assert "response.created" not in names + types(before)
    rest = TURN if late else pcm(64, QUIET)
    names += types(driver.send(append(rest)))
    if late:
        names += types(driver.end_transcript(second)) + types(
            driver.end_transcript(first, transcription=driver.transcriptions[0])
        )
    else:
        names += types(driver.end_transcript(second))
    assert names.count("response.created") == answered
    assert names.count("error") == 0


def test_a_turn_is_answered_when_the_next_one_is_cleared() -> None:
    driver = make_driver(configure(output_modalities=["text"]), configure_input(VAD))
    driver.send(append(TURN), append(SPEECH))
    assert driver.end_transcript("one") == []
    assert types(driver.send(CLEAR)) == ["input_audio_buffer.cleared", "response.created"]


def test_a_turn_is_answered_when_turn_detection_is_switched_off() -> None:
    driver = make_driver(configure(output_modalities=["text"]), configure_input(VAD))
    driver.send(append(TURN), append(SPEECH))
    driver.end_transcript("one")
    assert types(driver.send(configure_input(None))) == ["session.updated", "response.created"]


def test_a_turn_whose_item_is_deleted_gets_no_response() -> None:
    driver = make_driver(configure(output_modalities=["text"]), configure_input(VAD))
    driver.send(append(TURN))
    driver.send({"type": "conversation.item.delete", "item_id": driver.transcriptions[0].item_id})
    assert driver.end_transcript("hello") == []


def test_the_client_may_create_the_response() -> None:
    driver = make_driver(configure_input({**VAD, "create_response": False}))
    assert types(driver.send(append(TURN)))[-1] == "conversation.item.done"
    assert types(driver.send(reply(output_modalities=["text"]))) == ["response.created"]


def test_speech_interrupts_the_response() -> None:
    driver = make_driver(
        configure(output_modalities=["text"]), configure_input(VAD), user("hi"), reply()
    )
    driver.say("Well ")
    events = driver.send(append(SPEECH))
    assert types(events) == [
        "input_audio_buffer.speech_started",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    response = events[-1]["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert driver.stopped == [response["id"]]
    assert driver.say("late") == []


def test_without_interruption_speech_gets_no_second_response() -> None:
    vad = {**VAD, "interrupt_response": False}
    driver = make_driver(
        configure(output_modalities=["text"]), configure_input(vad), user("hi"), reply()
    )
    assert types(driver.send(append(TURN)))[-1] == "conversation.item.done"
    events = driver.end_transcript("hello")
    assert types(events) == ["error"]
    assert events[-1]["error"]["code"] == "conversation_already_has_active_response"
    assert driver.stopped == []
    assert types(driver.say("Well "))[-1] == "response.output_text.delta"


def test_speech_does_not_interrupt_out_of_band_responses() -> None:
    driver = make_driver(
        configure(output_modalities=["text"]), configure_input(VAD), reply(conversation="none")
    )
    assert types(driver.send(append(SPEECH))) == ["input_audio_buffer.speech_started"]


def test_speech_interrupts_a_response_that_waits_for_a_transcript() -> None:
    driver = make_driver(configure(output_modalities=["text"]), configure_input(VAD))
    driver.send(append(TURN), reply())
    events = driver.send(append(SPEECH))
    assert types(events) == ["input_audio_buffer.speech_started", "response.done"]
    assert events[-1]["response"]["output"] == []
    assert driver.end_transcript("too late") == []
    assert driver.started == []


def test_several_turns_in_one_append() -> None:
    driver = make_driver(configure_input({**VAD, "create_response": False}))
    names = types(driver.send(append(TURN * 3)))
    assert names.count("input_audio_buffer.speech_started") == 3
    assert names.count("input_audio_buffer.committed") == 3


def test_a_client_may_commit_or_clear_during_speech() -> None:
    driver = make_driver(configure_input({**VAD, "create_response": False}))
    (started,) = driver.send(append(SPEECH))
    assert driver.send(COMMIT)[0]["item_id"] == started["item_id"]
    assert driver.send(append(pcm(320, QUIET))) == []
    (again,) = driver.send(append(pcm(320)))
    assert again["item_id"] != started["item_id"]
    assert types(driver.send(CLEAR)) == ["input_audio_buffer.cleared"]
    assert driver.send(append(pcm(320, QUIET))) == []


def test_switching_turn_detection_off_ends_the_current_speech() -> None:
    driver = make_driver(configure_input(VAD))
    (started,) = driver.send(append(SPEECH))
    driver.send(configure_input(None))
    assert driver.send(append(pcm(320, QUIET))) == []
    assert driver.send(COMMIT)[0]["item_id"] != started["item_id"]


def test_a_spoken_item_follows_earlier_text() -> None:
    driver = push_to_talk()
    driver.send(user("first", id="q1"), append(pcm(100)))
    assert driver.send(COMMIT)[0]["previous_item_id"] == "q1"


# ------------------------------------------------------------------------------------------- words


def test_a_response_waits_for_the_transcript() -> None:
    engine = RecordingEngine()
    driver = make_driver(configure(output_modalities=["text"]), configure_input(), engine=engine)
    driver.send(append(pcm(100)), COMMIT)
    assert types(driver.send(reply())) == ["response.created"]
    assert (driver.started, engine.prompts) == ([], [])
    driver.send(user("of no concern"))
    driver.end_transcript("what is this?")
    assert len(driver.started) == 1
    assert [(item.role, item.parts) for item in messages(engine.prompts[-1])] == [
        ("user", (Part("text", "what is this?"),))
    ]


def messages(prompt: ModelInput) -> Iterator[Message]:
    for item in prompt.items:
        assert isinstance(item, Message)
        yield item


def test_a_response_waits_for_all_transcripts() -> None:
    driver = push_to_talk()
    driver.send(append(pcm(100)), COMMIT, append(pcm(100)), COMMIT, reply())
    first, second = driver.transcriptions
    driver.end_transcript("two", transcription=second)
    assert driver.started == []
    driver.end_transcript("one", transcription=first)
    assert len(driver.started) == 1


def test_a_failed_transcription_fails_the_waiting_response() -> None:
    driver = push_to_talk(transcription={})
    driver.send(append(pcm(100)), COMMIT, reply())
    failed, done = driver.end_transcript("", "Speech recognition failed: out of memory")
    assert failed["type"] == "conversation.item.input_audio_transcription.failed"
    assert failed["error"]["message"] == "Speech recognition failed: out of memory"
    assert done["response"]["status_details"]["error"] == {
        "type": "server_error",
        "code": "server_error",
        "message": "Speech recognition failed: out of memory",
    }
    assert driver.started == []


def test_a_waiting_response_can_be_cancelled() -> None:
    driver = push_to_talk()
    driver.send(append(pcm(100)), COMMIT, reply())
    assert types(driver.send({"type": "response.cancel"})) == ["response.done"]
    assert driver.end_transcript("late") == []
    assert driver.started == []
    assert types(driver.send(reply())) == ["response.created"]
    assert len(driver.started) == 1


class RefusingEngine(EchoEngine):
    """An engine that refuses every prompt with an error."""

    def answer(self, prompt: ModelInput) -> Answer:
        refusal: Any = ServerProblem("No.", "server_error", "c")
        answer: Answer = refusal
        return answer


def test_an_engine_may_refuse_a_waiting_response() -> None:
    driver = make_driver(
        configure(output_modalities=["text"]), configure_input(), engine=RefusingEngine()
    )
    driver.send(append(pcm(100)), COMMIT, reply())
    (done,) = driver.end_transcript("hello")
    assert done["response"]["status"] == "failed"
    assert done["response"]["status_details"]["error"]["code"] == "c"
    assert error(driver.send(reply()))["code"] == "c"
    driver = make_driver(
        configure(output_modalities=["text"]), configure_input(VAD), engine=RefusingEngine()
    )
    driver.send(append(TURN))
    assert error(driver.end_transcript("hello"))["code"] == "c"


def test_the_transcript_of_a_deleted_item_is_dropped() -> None:
    driver = push_to_talk(transcription={})
    driver.send(append(pcm(100)), COMMIT)
    driver.send({"type": "conversation.item.delete", "item_id": driver.transcriptions[0].item_id})
    assert driver.end_transcript("hello") == []


def test_the_id_of_an_item_being_transcribed_is_reserved() -> None:
    driver = push_to_talk(transcription={})
    item = spoken_item({"audio": b64encode(pcm(40)).decode()}, id="a")
    driver.send(item)
    driver.send({"type": "conversation.item.delete", "item_id": "a"})
    assert error(driver.send(item))["code"] == "item_create_duplicate_item_id"
    assert driver.end_transcript("hello") == []
    driver.send(item)
    assert driver.end_transcript("hello")[-1]["transcript"] == "hello"


def test_the_id_of_an_item_being_spoken_is_reserved() -> None:
    driver = make_driver(configure_input({**VAD, "create_response": False}))
    begun = driver.send(append(pcm(200)))
    assert types(begun) == ["input_audio_buffer.speech_started"]
    (taken,) = driver.send(user("hi", id=begun[0]["item_id"]))
    assert taken["error"]["code"] == "item_create_duplicate_item_id"
    committed = driver.send(append(pcm(1000, QUIET)))[1]
    assert (committed["item_id"], committed["previous_item_id"]) == (begun[0]["item_id"], None)


def test_a_long_recording_is_transcribed_in_pieces() -> None:
    driver = push_to_talk(transcription={})
    driver.send(append(pcm(100)), COMMIT)
    item_id = driver.transcriptions[0].item_id
    deltas = [
        driver.read(driver.protocol.add_transcript(item_id, piece))
        for piece in ("One.", "", " Two.")
    ]
    assert [[event["delta"] for event in events] for events in deltas] == [["One."], [], [" Two."]]
    (completed,) = driver.read(driver.protocol.end_transcript(item_id))
    assert completed["transcript"] == "One. Two."


def test_response_input_may_reuse_the_id_of_an_item_being_transcribed() -> None:
    engine = RecordingEngine()
    driver = make_driver(configure(output_modalities=["text"]), configure_input(), engine=engine)
    driver.send(append(pcm(100)), COMMIT)
    own = user("my own text", id=driver.transcriptions[0].item_id)["item"]
    driver.send(reply(conversation="none", input=[own]))
    driver.end_transcript("something else")
    assert [prompt.question for prompt in engine.prompts] == ["my own text"]


def test_items_other_than_messages_are_passed_to_the_engine() -> None:
    engine = RecordingEngine()
    driver = make_driver(configure(output_modalities=["text"]), engine=engine)
    item = {"type": "function_call_output", "call_id": "c", "output": "21"}
    driver.send({"type": "conversation.item.create", "item": item | {"id": "o"}}, reply())
    assert [*engine.prompts[-1].items] == [ToolOutput("c", "21", "o")]


def spoken_item(*parts: dict[str, object], **item: object) -> dict[str, object]:
    content = [{"type": "input_audio", **part} for part in parts]
    message = {"type": "message", "role": "user", "content": content, **item}
    return {"type": "conversation.item.create", "item": message}


def test_an_item_with_audio_is_transcribed() -> None:
    driver = push_to_talk(transcription={})
    audio = b64encode(pcm(40)).decode()
    known: dict[str, object] = {"audio": audio, "transcript": "so "}
    events = driver.send(spoken_item(known, {"audio": audio}, {"audio": audio}, id="said"))
    assert types(events) == ["conversation.item.added", "conversation.item.done"]
    assert events[0]["item"]["content"][0] == {"type": "input_audio", "transcript": "so "}
    assert driver.transcriptions == [Transcribe("said", pcm(80))]
    delta, completed = driver.end_transcript("hello")
    assert (delta["content_index"], completed["content_index"]) == (1, 1)
    assert completed["usage"] == {"type": "duration", "seconds": 0.08}


def test_an_item_with_a_transcript_is_not_transcribed() -> None:
    driver = push_to_talk()
    driver.send(
        spoken_item({"audio": "AAAA", "transcript": "so"}), spoken_item({"transcript": "so"})
    )
    driver.send(spoken_item({}))
    assert driver.transcriptions == []


def test_an_item_with_invalid_audio_is_refused() -> None:
    driver = push_to_talk()
    problem = error(driver.send(spoken_item({"transcript": "a"}, {"audio": "?"}, id="x")))
    assert (problem["code"], problem["param"]) == ("invalid_value", "item.content[1].audio")
    problem = error(driver.send({"type": "conversation.item.retrieve", "item_id": "x"}))
    assert problem["code"] == "item_retrieve_invalid_item_id"


def test_response_input_is_transcribed_first() -> None:
    engine = RecordingEngine()
    driver = make_driver(
        configure(output_modalities=["text"]), configure_input(transcription={}), engine=engine
    )
    item = spoken_item({"audio": b64encode(pcm(40)).decode()})["item"]
    asked_with = reply(conversation="none", input=[item, user("then")["item"]])
    assert types(driver.send(asked_with)) == ["response.created"]
    assert [one.audio for one in driver.transcriptions] == [pcm(40)]
    assert driver.end_transcript("first") == []
    assert [item.text for item in messages(engine.prompts[-1])] == ["first", "then"]
    bad = reply(input=[spoken_item({"audio": "?"})["item"]])
    assert error(driver.send(bad))["param"] == "response.input[0].content[0].audio"


def test_the_number_of_active_responses_is_limited() -> None:
    aside = reply(conversation="none", input=[spoken_item({"audio": "AAAA"})["item"]])
    driver = make_driver(*[aside] * MAX_RESPONSES)
    assert error(driver.send(aside))["code"] == "too_many_active_responses"
    driver.end_transcript("hello")
    driver.finish(Finish())
    assert types(driver.send(aside)) == ["response.created"]


# ---------------------------------------------------------------------------------- spoken replies


def active_driver(*, engine: EchoEngine | None = None) -> ProtocolDriver:
    """A driver with an active spoken response that has no output yet."""
    return make_driver(user("hi", id="q1"), reply(), engine=engine)


_RECORDED = Path(__file__).parents[2] / "shared" / "recordings" / "openai-text-in-audio-out.jsonl"


@pytest.mark.skipif(not _RECORDED.is_file(), reason="the recordings are not available")
def test_events_of_a_spoken_response_match_the_recording() -> None:
    lines = [json.loads(line) for line in _RECORDED.read_text(encoding="utf-8").splitlines()]
    recorded = [line["data"] for line in lines if line["direction"] == "received"]
    driver = make_driver(engine=EchoEngine())
    events = driver.send(user("Say a short greeting."), reply())
    for delta in ("Hi", " there", "!"):
        events += driver.say(delta)
    events += driver.finish(Finish())
    for _ in range(4):
        events += driver.add_audio(b"\x01\x00")
    events += driver.end_speech()
    assert types(events) == types(recorded)[2:]
    for event, theirs in zip(events, recorded[2:], strict=True):
        assert event.keys() == theirs.keys() - {"obfuscation"}
        assert event.get("part") == theirs.get("part")


def test_sentences_are_spoken_in_order_as_they_are_completed() -> None:
    driver = active_driver()
    events = driver.say("One is here. Two ")
    assert types(events)[-1] == "response.output_audio_transcript.delta"
    assert [speak.text for speak in driver.speaks] == ["One is here."]
    driver.say("is there. And")
    assert len(driver.speaks) == 1
    (delta,) = driver.add_audio(b"\x01\x02")
    assert delta["type"] == "response.output_audio.delta"
    assert b64decode(delta["delta"]) == b"\x01\x02"
    assert driver.end_speech() == []
    assert driver.speaks[-1] == Speak(driver.started[0].response_id, "Two is there.")
    assert driver.end_speech() == []
    assert driver.finish(Finish()) == []
    assert driver.speaks[-1].text == "And"
    assert types(driver.end_speech()) == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]


def test_what_the_model_thinks_is_not_spoken() -> None:
    driver = active_driver()
    driver.say("<thi")
    driver.say("nk>I greet. Back.</think>\n\nOne is here. And")
    assert [speak.text for speak in driver.speaks] == ["One is here."]
    driver.add_audio(b"\x01\x02")
    driver.finish(Finish())
    driver.end_speech()
    assert driver.speaks[-1].text == "And"
    driver = active_driver()
    driver.say("One is <")
    driver.finish(Finish())
    assert [speak.text for speak in driver.speaks] == ["One is <"]


def test_a_response_is_active_until_it_is_spoken() -> None:
    driver = active_driver()
    driver.say("One.")
    driver.finish(Finish())
    assert error(driver.send(reply()))["code"] == "conversation_already_has_active_response"
    assert driver.end_speech()[-1]["response"]["status"] == "completed"
    assert types(driver.send(reply())) == ["response.created"]


def test_text_without_words_is_not_spoken() -> None:
    driver = active_driver()
    driver.say("— … \n\n")
    events = driver.finish(Finish())
    assert driver.speaks == []
    assert events[-1]["response"]["output"][0]["content"] == [
        {"type": "output_audio", "transcript": "— … \n\n"}
    ]
    assert types(active_driver().finish(Finish()))[-1] == "response.done"


def test_a_failed_response_speaks_its_text_first() -> None:
    driver = active_driver()
    driver.say("It is")
    assert driver.finish(Finish(Status.FAILED, code="c", message="m")) == []
    assert driver.finish(Finish(Status.INCOMPLETE)) == []
    assert driver.end_speech()[-1]["response"]["status"] == "failed"


def test_calls_are_sent_during_speech() -> None:
    driver = active_driver()
    events = driver.say("I look. ") + driver.say(CallPiece(0, "{}", "f", "call"))
    assert types(events)[-1] == "response.function_call_arguments.delta"
    assert driver.finish(Finish()) == []
    done = driver.end_speech()[-1]["response"]
    assert [item["type"] for item in done["output"]] == ["message", "function_call"]


@pytest.mark.parametrize(("was_said", "kept"), [(0, ""), (1, "One. "), (2, "One. ")])
def test_a_cancel_reports_the_text_that_was_sent_and_keeps_only_what_was_spoken(
    was_said: int, kept: str
) -> None:
    driver = active_driver()
    item_id = ""
    if was_said:
        item_id = driver.say("One. Two. Three")[0]["item"]["id"]
        driver.add_audio(pcm(10))
    if was_said == 2:
        driver.end_speech()
    events = driver.send({"type": "response.cancel"})
    assert events[-1]["response"]["status_details"]["reason"] == "client_cancelled"
    for content in map(transcripts, events):
        assert content in ([], ["One. Two. Three"])
    if was_said:
        assert transcripts(events[-1]) == ["One. Two. Three"]
        (got,) = driver.send({"type": "conversation.item.retrieve", "item_id": item_id})
        assert transcripts(got) == [kept]
    assert driver.stopped == [driver.started[0].response_id]
    assert driver.read(driver.protocol.add_audio(driver.started[0].response_id, pcm(10))) == []
    assert driver.read(driver.protocol.end_speech(driver.started[0].response_id)) == []
    assert driver.read(driver.protocol.end_speech(driver.started[0].response_id, "late")) == []


def transcripts(event: dict[str, Any]) -> list[str]:
    """All transcripts in an event."""
    found: list[str] = []

    def search(value: object) -> None:
        if isinstance(value, dict):
            found.extend(value[key] for key in value if key == "transcript")
            for entry in value.values():
                search(entry)
        elif isinstance(value, list):
            for entry in value:
                search(entry)

    search(event)
    return found


def test_a_failed_voice_ends_the_response() -> None:
    driver = active_driver()
    driver.say("One. Two.")
    done = driver.end_speech("Speech synthesis failed: hoarse")[-1]["response"]
    assert done["status_details"]["error"]["message"] == "Speech synthesis failed: hoarse"
    assert driver.stopped == [driver.started[0].response_id]


def test_without_a_voice_spoken_responses_fail_with_the_reason() -> None:
    driver = ProtocolDriver(voice="No audio: pip install voice")
    created, done = driver.send(user("hi"), reply())[-2:]
    assert created["type"] == "response.created"
    problem = done["response"]["status_details"]["error"]
    assert problem["code"] == "audio_not_supported"
    assert problem["message"].startswith("No audio: pip install voice")


def test_the_engine_gets_spoken_messages_as_text() -> None:
    engine = RecordingEngine()
    driver = active_driver(engine=engine)
    driver.say("Hello.")
    driver.finish(Finish())
    driver.end_speech()
    driver.send(user("and?"), reply())
    assert [item.parts for item in messages(engine.prompts[-1])] == [
        (Part("text", "hi"),),
        (Part("text", "Hello."),),
        (Part("text", "and?"),),
    ]


def test_events_of_a_spoken_beta_turn() -> None:
    driver = make_driver(dialect=Dialect.BETA)
    driver.send({"type": "session.update", "session": {"turn_detection": VAD}})
    names = types(driver.send(append(TURN))) + types(driver.end_transcript("hello"))
    names += types(driver.say("Hi.")) + types(driver.finish(Finish()))
    names += types(driver.add_audio(pcm(10))) + types(driver.end_speech())
    assert names == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.created",
        "response.created",
        "response.output_item.added",
        "conversation.item.created",
        "response.content_part.added",
        "response.audio_transcript.delta",
        "response.audio.delta",
        "response.audio.done",
        "response.audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]


# -------------------------------------------------------------------------------------- truncation


def truncate(item_id: str, ms: int, index: int = 0) -> dict[str, object]:
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": index,
        "audio_end_ms": ms,
    }


def spoken_response() -> tuple[ProtocolDriver, str]:
    """A driver with a response of two spoken sentences (1000 and 2000 ms), and its item id."""
    driver = active_driver()
    driver.say("One is short. Two is quite a bit longer.")
    driver.add_audio(pcm(1000))
    driver.end_speech()
    driver.finish(Finish())
    driver.add_audio(pcm(2000))
    events = driver.end_speech()
    return driver, events[-1]["response"]["output"][0]["id"]


@pytest.mark.parametrize(
    ("ms", "kept"),
    [
        (0, ""),
        (499, "One"),
        (500, "One is"),
        (1000, "One is short. "),
        (1001, "One is short. "),
        (2000, "One is short. Two is quite"),
        (2900, "One is short. Two is quite a bit"),
        (3000, "One is short. Two is quite a bit longer."),
        (3001, "One is short. Two is quite a bit longer."),
    ],
)
def test_a_truncated_item_keeps_the_played_words(ms: int, kept: str) -> None:
    driver, item_id = spoken_response()
    (event,) = driver.send(truncate(item_id, ms))
    assert event.pop("event_id")
    assert event == {**truncate(item_id, ms), "type": "conversation.item.truncated"}
    (got,) = driver.send({"type": "conversation.item.retrieve", "item_id": item_id})
    assert got["item"]["content"][0].get("transcript", "") == kept


def test_an_item_can_be_truncated_again_but_not_extended() -> None:
    driver, item_id = spoken_response()
    driver.send(truncate(item_id, 2000))
    problem = error(driver.send(truncate(item_id, 2500)))
    assert (problem["code"], problem["param"]) == ("invalid_value", "audio_end_ms")
    assert types(driver.send(truncate(item_id, 0))) == ["conversation.item.truncated"]
    assert error(driver.send(truncate(item_id, 500)))["param"] == "audio_end_ms"


def test_only_audio_of_the_model_can_be_truncated() -> None:
    driver, item_id = spoken_response()
    assert error(driver.send(truncate(item_id, 3002)))["param"] == "audio_end_ms"
    assert error(driver.send(truncate(item_id, 0, 1)))["code"] == "invalid_value"
    refused = {
        "type": "invalid_request_error",
        "code": "unsupported_content_type",
        "message": "Only model output audio messages can be truncated",
        "param": None,
        "event_id": None,
    }
    assert error(driver.send(truncate("q1", 0))) == refused
    driver.send(reply())
    silent = driver.say("Still without audio. ")[0]["item"]["id"]
    assert error(driver.send(truncate(silent, 0))) == refused
    assert error(driver.send(truncate("x", 0)))["code"] == "item_truncate_invalid_item_id"


def test_an_item_can_be_truncated_while_it_is_spoken() -> None:
    """As the Agents SDK for Python does, before it cancels the response."""
    driver = active_driver()
    item_id = driver.say("One is short. Two is quite a bit longer.")[0]["item"]["id"]
    driver.add_audio(pcm(1000))
    assert error(driver.send(truncate(item_id, 1002)))["param"] == "audio_end_ms"
    assert types(driver.send(truncate(item_id, 500))) == ["conversation.item.truncated"]
    assert error(driver.send(truncate(item_id, 600)))["param"] == "audio_end_ms"
    (ended,) = driver.send({"type": "response.cancel"})[-1:]
    assert ended["response"]["status"] == "cancelled"
    (got,) = driver.send({"type": "conversation.item.retrieve", "item_id": item_id})
    assert got["item"]["content"][0]["transcript"] == "One is"
    assert error(driver.send(truncate(item_id, 600)))["param"] == "audio_end_ms"


def test_an_item_can_be_deleted_after_it_was_truncated_while_it_is_spoken() -> None:
    driver = active_driver()
    item_id = driver.say("One is short. Two.")[0]["item"]["id"]
    driver.add_audio(pcm(1000))
    driver.send(truncate(item_id, 500), {"type": "conversation.item.delete", "item_id": item_id})
    driver.send({"type": "response.cancel"})
    (got,) = driver.send({"type": "conversation.item.retrieve", "item_id": item_id})
    assert got["type"] == "error"


def test_some_errors_have_the_exact_messages_that_clients_look_for() -> None:
    driver, item_id = spoken_response()
    assert error(driver.send({"type": "response.cancel"}))["message"] == (
        "Cancellation failed: no active response found"
    )
    assert error(driver.send(truncate(item_id, 9000)))["message"] == (
        "Audio content of 3000ms is already shorter than 9000ms"
    )
    driver.send(reply())
    active = driver.started[-1].response_id
    assert error(driver.send(reply()))["message"] == (
        f"Conversation already has an active response in progress: {active}. "
        "Wait until the response is finished before creating a new one."
    )


def test_an_interrupted_item_can_be_truncated() -> None:
    driver = active_driver()
    driver.say("One is short. Two is quite a bit longer.")
    driver.add_audio(pcm(1000))
    driver.end_speech()
    driver.finish(Finish())
    driver.add_audio(pcm(300))
    done = driver.send(append(SPEECH))[-1]["response"]
    item = done["output"][0]
    assert item["content"][0]["transcript"] == "One is short. Two is quite a bit longer."
    driver.send(truncate(item["id"], 500))
    (got,) = driver.send({"type": "conversation.item.retrieve", "item_id": item["id"]})
    assert got["item"]["content"][0]["transcript"] == "One is"


def test_a_clause_is_spoken_while_its_sentence_is_written_and_may_be_interrupted() -> None:
    driver = active_driver()
    driver.say("I am sorry for your loss, but as")
    assert [speak.text for speak in driver.speaks] == ["I am sorry for your loss,"]
    driver.add_audio(pcm(1000))
    driver.end_speech()
    driver.say(" a model I cannot")
    assert len(driver.speaks) == 1
    done = driver.send(append(SPEECH))[-1]["response"]
    item = done["output"][0]
    assert item["content"][0]["transcript"] == "I am sorry for your loss, but as a model I cannot"
    place: dict[str, object] = {"type": "conversation.item.retrieve", "item_id": item["id"]}
    (got,) = driver.send(place)
    assert got["item"]["content"][0]["transcript"] == "I am sorry for your loss, "
    driver.send(truncate(item["id"], 600))
    (got,) = driver.send(place)
    assert got["item"]["content"][0]["transcript"] == "I am sorry for"


# -------------------------------------------------------------------------- transcription sessions


def transcribe(**session: object) -> dict[str, object]:
    return {"type": "session.update", "session": {"type": "transcription", **session}}


def test_a_truncate_with_a_wrong_content_index_is_refused() -> None:
    driver = active_driver()
    driver.say("One. ")
    driver.add_audio(pcm(100))
    driver.end_speech()
    item_id = driver.finish(Finish())[-1]["response"]["output"][0]["id"]
    assert (
        error(driver.send(truncate(item_id, 0) | {"content_index": 1}))["param"] == "content_index"
    )


@pytest.mark.parametrize("dialect", [Dialect.GA, Dialect.BETA])
def test_a_response_reports_its_own_voice_or_the_session_s(dialect: Dialect) -> None:
    driver = make_driver(dialect=dialect)
    own: dict[str, object]
    if dialect is Dialect.GA:
        own = {"audio": {"output": {"voice": "ash"}}}
        driver.send(configure(audio={"output": {"voice": "cedar", "speed": 1.2}}))
    else:
        own = {"voice": "ash"}
        driver.send({"type": "session.update", "session": {"voice": "cedar"}})
    driver.send(user("hi"))
    for voice, asked in {"cedar": {}, "ash": own}.items():
        created = driver.send({"type": "response.create", "response": asked})[0]["response"]
        audio = created["audio"]["output"] if dialect is Dialect.GA else created
        assert audio["voice"] == voice
        driver.send({"type": "response.cancel"})


@pytest.mark.parametrize("speed", [0.25, 1.0, 1.5])
def test_replies_are_spoken_at_the_speed_of_the_session(speed: float) -> None:
    driver = make_driver(configure(audio={"output": {"speed": speed}}), user("hi"), reply())
    driver.say("Hi. ")
    assert driver.speaks == [Speak(driver.started[0].response_id, "Hi.", speed)]


def test_the_voice_cannot_change_after_audio() -> None:
    ash = {"audio": {"output": {"voice": "ash"}}}
    driver = make_driver(configure(audio={"output": {"voice": "cedar"}}), user("hi"), reply())
    driver.say("Hi. ")
    assert types(
        driver.send(configure(**ash), configure(audio={"output": {"voice": "cedar"}}))
    ) == [
        "session.updated",
        "session.updated",
    ]
    driver.add_audio(pcm(10))
    assert types(driver.send(configure(audio={"output": {"voice": "cedar", "speed": 1.1}}))) == [
        "session.updated"
    ]
    problem = error(driver.send(configure(**ash)))
    assert (problem["code"], problem["param"]) == (
        "cannot_update_voice",
        "session.audio.output.voice",
    )
    driver.end_speech()
    driver.finish(Finish())
    assert error(driver.send(reply(**ash)))["code"] == "cannot_update_voice"
    assert types(driver.send(reply())) == ["response.created"]


def test_beta_errors_name_the_beta_parameter() -> None:
    driver = make_driver(dialect=Dialect.BETA)
    session = {"input_audio_format": "opus"}
    assert (
        error(driver.send({"type": "session.update", "session": session}))["param"]
        == "session.input_audio_format"
    )


def test_a_failed_transcription_names_the_content_part() -> None:
    driver = push_to_talk(transcription={})
    spoken = {"type": "input_audio", "audio": b64encode(pcm(40)).decode()}
    driver.send(spoken_item(content=[{"type": "input_text", "text": "Listen:"}, spoken]))
    (failed,) = driver.end_transcript("", "Speech recognition failed: out of memory")
    assert failed["content_index"] == 1


def test_a_transcription_session_is_created_and_updated() -> None:
    driver = make_driver(transcribes=True)
    (created,) = driver.read(driver.protocol.open())
    session = created["session"]
    assert session == {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": session["id"],
        "expires_at": 4600,
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                    "idle_timeout_ms": None,
                },
            }
        },
    }
    wanted = {"transcription": {"model": "whisper-1"}, "turn_detection": None}
    (updated,) = driver.send(transcribe(audio={"input": wanted}, include=None))
    assert updated["session"]["audio"]["input"] == session["audio"]["input"] | wanted


def test_a_transcription_session_does_not_respond() -> None:
    driver = make_driver(transcribes=True)
    names = types(driver.send(append(TURN), append(pcm(500, QUIET))))
    assert names == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert [event.get("transcript") for event in driver.end_transcript("hello")] == [None, "hello"]
    driver.send(transcribe(audio={"input": {"turn_detection": None}}))
    assert types(driver.send(append(pcm(100)), COMMIT))[0] == "input_audio_buffer.committed"


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        (reply(), "invalid_parameter", "type"),
        ({"type": "response.cancel"}, "invalid_parameter", "type"),
        (configure(), "invalid_parameter", "session.type"),
        (transcribe(instructions="x"), "unknown_parameter", "session.instructions"),
        (transcribe(audio={"output": {}}), "unknown_parameter", "session.audio.output"),
        (transcribe(include=["x"]), "invalid_value", "session.include[0]"),
        (
            {"type": "session.update", "session": {}},
            "missing_required_parameter",
            "session.type",
        ),
    ],
)
def test_a_transcription_session_refuses_realtime_events(
    event: dict[str, object], code: str, param: str
) -> None:
    problem = error(make_driver(transcribes=True).send(event))
    assert (problem["code"], problem["param"]) == (code, param)


def test_the_type_of_a_session_cannot_change() -> None:
    problem = error(make_driver().send(transcribe()))
    assert (problem["code"], problem["param"]) == ("invalid_parameter", "session.type")


def test_a_beta_transcription_session() -> None:
    driver = make_driver(dialect=Dialect.BETA, transcribes=True)
    assert types(driver.read(driver.protocol.open())) == ["transcription_session.created"]
    session = {"input_audio_transcription": {"model": "whisper-1"}, "turn_detection": None}
    (updated,) = driver.send({"type": "transcription_session.update", "session": session})
    assert updated["type"] == "transcription_session.updated"
    assert updated["session"]["input_audio_transcription"] == {"model": "whisper-1"}


# -------------------------------------------------------------------------------------- robustness

_SOUNDS = st.sampled_from([b"", b"\x01", pcm(32), pcm(96, QUIET), SPEECH, TURN, TURN * 2])
_STEPS = st.one_of(
    _SOUNDS.map(append),
    st.sampled_from(
        [
            COMMIT,
            CLEAR,
            configure_input(VAD),
            configure_input({"type": "semantic_vad"}),
            configure_input(None),
            configure_input(VAD, transcription={}),
            configure(output_modalities=["text"]),
            configure(output_modalities=["audio"]),
            user("hi"),
            user("hi", id="a"),
            spoken_item({"audio": "AAAA"}, id="a"),
            {"type": "conversation.item.delete", "item_id": "a"},
            reply(),
            reply(conversation="none", input=[spoken_item({"audio": "AAAA"})["item"]]),
            {"type": "response.cancel"},
            truncate("a", 0),
        ]
    ),
    st.sampled_from(["say", "finish", "sound", "spoken", "hoarse", "heard", "deaf"]),
    st.sampled_from(["early", "no early"]),
)


@given(st.lists(_STEPS, max_size=25), st.sampled_from([Dialect.GA, Dialect.BETA]), st.booleans())
def test_nothing_raises_in_any_order(  # noqa: C901 - one case per step
    steps: list[dict[str, object] | str], dialect: Dialect, transcribes: bool
) -> None:
    driver = ProtocolDriver(voice=EarlyVoice(), dialect=dialect, transcribes=transcribes)
    for step in steps:
        if isinstance(step, dict):
            driver.send(step)
            continue
        for early in driver.early[:1]:
            if step in ("early", "no early"):
                driver.early.remove(early)
                text = "words" if step == "early" else None
                driver.read(driver.protocol.add_early_transcript(early.item_id, text))
        for begun in driver.started[-2:]:
            if step == "say":
                driver.read(driver.protocol.add_piece(begun.response_id, "One. Two"))
            if step == "finish":
                driver.read(driver.protocol.finish(begun.response_id, Finish()))
        for speak in driver.speaks[-1:]:
            if step == "sound" and speak.response_id not in driver.stopped:
                driver.read(driver.protocol.add_audio(speak.response_id, pcm(10)))
            if step in ("spoken", "hoarse"):
                driver.speaks.remove(speak)
                driver.read(
                    driver.protocol.end_speech(speak.response_id, "x" if step == "hoarse" else "")
                )
        if driver.transcriptions and step in ("heard", "deaf"):
            transcription = driver.transcriptions.pop(0)
            driver.end_transcript(
                "words", "x" if step == "deaf" else "", transcription=transcription
            )


# ------------------------------------------------------------------------------- spoken languages


class EnglishVoice(ToneVoice):
    """A voice that recognises English only."""

    languages = ("en",)


def hears(**transcription: object) -> dict[str, object]:
    return configure_input(transcription=transcription)


@pytest.mark.parametrize("transcribes", [False, True])
@pytest.mark.parametrize(
    ("options", "is_known"),
    [
        ({"language": "en"}, True),
        ({"language": "EN-us"}, True),
        ({"languages": ["de", "en"]}, True),
        ({"languages": []}, True),
        ({"language": "de"}, False),
        ({"languages": ["de", "fr"]}, False),
    ],
)
def test_a_language_that_the_voice_does_not_know_is_refused(
    options: dict[str, object], is_known: bool, transcribes: bool
) -> None:
    driver = ProtocolDriver(voice=EnglishVoice(), transcribes=transcribes)
    kind = "transcription" if transcribes else "realtime"
    update = hears(**options)
    update["session"] = {**cast("dict[str, object]", update["session"]), "type": kind}
    before = driver.protocol.session_object()
    (event,) = driver.send(update)
    if is_known:
        assert event["type"] == "session.updated"
        return
    assert event["error"]["code"] == "invalid_value"
    (option,) = options
    assert event["error"]["param"] == f"session.audio.input.transcription.{option}"
    assert driver.protocol.session_object() == before


def test_other_voices_accept_any_language() -> None:
    assert types(make_driver().send(hears(language="de"))) == ["session.updated"]


def test_a_transcript_has_the_language_of_a_voice_that_knows_one() -> None:
    driver = ProtocolDriver(voice=EnglishVoice())
    driver.send(hears(), append(pcm(200)), COMMIT)
    done = driver.end_transcript("Hello.")[-1]
    assert done["languages"] == [{"code": "en"}]
