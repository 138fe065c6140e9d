"""The server listens and speaks: a dialogue without sockets; the tests are engine and voice."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.events import ServerProblem
from rtchat.core.values import BYTES_A_MS, Dialect, Message, Part, Status, ToolOutput
from rtchat.server.audio_input import Transcribe
from rtchat.server.engine import Answer, CallPiece, Finish, ModelInput
from rtchat.server.protocol import MOST_REPLIES
from rtchat.server.response import Speak
from rtchat.server.script import EchoEngine
from rtchat.server.tone_voice import ToneVoice
from rtchat.server.turn_detection import LONGEST_MS
from tests.desk import Desk, types
from tests.loopback import configure, reply, user

VOICE = ToneVoice()
LOUD, QUIET = b"\x00\x20", b"\x00\x00"


def sound(ms: int, sample: bytes = LOUD) -> bytes:
    return sample * (ms * BYTES_A_MS // 2)


def append(audio: bytes) -> dict[str, object]:
    return {"type": "input_audio_buffer.append", "audio": b64encode(audio).decode()}


COMMIT: dict[str, object] = {"type": "input_audio_buffer.commit"}
CLEAR: dict[str, object] = {"type": "input_audio_buffer.clear"}


def listen(turn_detection: object = None, **audio_input: object) -> dict[str, object]:
    """An update of what is done with the user's audio."""
    return configure(audio={"input": {"turn_detection": turn_detection, **audio_input}})


def desk(*events: dict[str, object], **arguments: Any) -> Desk:
    made = Desk(voice=VOICE, **arguments)
    made.send(*events)
    return made


def push_to_talk(**audio_input: object) -> Desk:
    """A desk whose client commits."""
    return desk(configure(output_modalities=["text"]), listen(**audio_input))


def error(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    (event,) = events
    assert event["type"] == "error"
    found: dict[str, Any] = event["error"]
    return found


class Curious(EchoEngine):
    """An engine that remembers what it was asked."""

    def __init__(self) -> None:
        self.prompts: list[ModelInput] = []

    def answer(self, prompt: ModelInput) -> Answer:
        self.prompts.append(prompt)
        return super().answer(prompt)


# --------------------------------------------------------------------------------- the input buffer


def test_a_commit_makes_an_item_that_is_heard() -> None:
    at = push_to_talk(transcription={"model": "whisper-1"})
    assert at.send(append(sound(50)), append(sound(70))) == []
    events = at.send(COMMIT)
    item_id = events[0]["item_id"]
    item = {
        "id": item_id,
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_audio"}],
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
    assert at.hears == [Transcribe(item_id, sound(120))]
    place = {"event_id": "", "item_id": item_id, "content_index": 0}
    stem = "conversation.item.input_audio_transcription"
    assert [{**event, "event_id": ""} for event in at.heard("hello")] == [
        {"type": f"{stem}.delta", **place, "delta": "hello"},
        {
            "type": f"{stem}.completed",
            **place,
            "transcript": "hello",
            "usage": {"type": "duration", "seconds": 0.12},
        },
    ]
    (got,) = at.send({"type": "conversation.item.retrieve", "item_id": item_id})
    assert got["item"]["content"] == [{"type": "input_audio", "transcript": "hello"}]


def test_nothing_heard_is_an_empty_transcript() -> None:
    at = push_to_talk(transcription={})
    at.send(append(sound(100)), COMMIT)
    (completed,) = at.heard("")
    assert completed["transcript"] == ""


def test_who_asked_for_no_transcription_is_told_of_none() -> None:
    at = push_to_talk()
    at.send(append(sound(100)), COMMIT)
    assert at.heard("hello") == []
    item = at.send({"type": "conversation.item.retrieve", "item_id": at.hears[0].item_id})
    assert item[0]["item"]["content"][0]["transcript"] == "hello"


def test_a_clear_forgets_what_was_appended() -> None:
    at = push_to_talk()
    (cleared,) = at.send(append(sound(500)), CLEAR)
    assert cleared["type"] == "input_audio_buffer.cleared"
    assert error(at.send(COMMIT))["code"] == "input_audio_buffer_commit_empty"


@pytest.mark.parametrize(("ms", "named"), [(0, "0.00 ms"), (99, "99.00 ms")])
def test_an_empty_commit_is_an_error_that_says_how_much_there_was(ms: int, named: str) -> None:
    at = push_to_talk()
    problem = error(at.send(append(sound(ms)), {**COMMIT, "event_id": "mine"}))
    assert (problem["code"], problem["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
    assert named in problem["message"]
    assert at.send(append(sound(200)), COMMIT) != []


def test_a_sample_may_be_cut_in_two_and_a_lone_byte_is_dropped() -> None:
    at = push_to_talk()
    whole = sound(100)
    assert at.send(append(whole[:3]), append(whole[3:]), append(b"\x07")) == []
    at.send(COMMIT, append(whole), COMMIT)
    assert [hear.audio for hear in at.hears] == [whole, whole]


@pytest.mark.parametrize("audio", ["AAA", "!!!!", "AA=A", "äöüß"])
def test_wrong_base64_is_an_error(audio: str) -> None:
    at = push_to_talk()
    event = append(b"") | {"audio": audio, "event_id": "mine"}
    problem = error(at.send(event))
    assert (problem["code"], problem["param"]) == ("invalid_value", "audio")
    assert problem["event_id"] == "mine"
    assert at.send(append(sound(100))) == []


def test_there_is_a_most_that_can_be_appended_at_once() -> None:
    at = push_to_talk()
    assert at.send(append(bytes(15 * 1024 * 1024))) == []
    problem = error(at.send(append(bytes(15 * 1024 * 1024 + 1))))
    assert (problem["code"], problem["param"]) == ("invalid_value", "audio")


def test_a_full_buffer_takes_no_more_and_can_be_committed() -> None:
    at = push_to_talk()
    step = bytes(60_000 * BYTES_A_MS)
    for _ in range(LONGEST_MS // 60_000):
        assert at.send(append(step)) == []
    problem = error(at.send(append(sound(1))))
    assert problem["code"] == "input_audio_buffer_full"
    at.send(COMMIT)
    assert [len(hear.audio) for hear in at.hears] == [LONGEST_MS * BYTES_A_MS]
    assert at.send(append(step)) == []


@pytest.mark.parametrize("event", [append(b""), COMMIT, CLEAR])
def test_a_server_without_a_voice_says_what_to_install(event: dict[str, object]) -> None:
    at = Desk(voice="This server has no voice: pip install ears")
    problem = error(at.send(event))
    assert problem["code"] == "audio_not_supported"
    assert problem["message"] == "This server has no voice: pip install ears; send text."


@pytest.mark.parametrize("way", ["input", "output"])
def test_other_formats_are_refused(way: str) -> None:
    problem = error(desk().send(configure(audio={way: {"format": {"type": "audio/pcmu"}}})))
    assert problem["code"] == "invalid_value"
    assert problem["param"] == f"session.audio.{way}.format.type"
    problem = error(desk().send(reply(audio={"output": {"format": {"type": "audio/pcma"}}})))
    assert problem["param"] == "response.audio.output.format.type"


# -------------------------------------------------------------------------------------------- turns

VAD: dict[str, object] = {"type": "server_vad", "prefix_padding_ms": 32, "silence_duration_ms": 64}
SPEECH = sound(64, QUIET) + sound(320)
TURN = SPEECH + sound(64, QUIET)


def test_a_turn_is_committed_and_answered_by_the_server() -> None:
    at = desk(configure(output_modalities=["text"]), listen(VAD, transcription={}))
    started = at.send(append(SPEECH))
    assert types(started) == ["input_audio_buffer.speech_started"]
    assert started[0]["audio_start_ms"] == 32
    events = at.send(append(TURN[len(SPEECH) :]))
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
    assert at.hears == [Transcribe(started[0]["item_id"], TURN[32 * BYTES_A_MS :])]
    assert at.begun == []
    assert types(at.heard("hello")) == [
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
    ]
    assert at.say("hi")[-1]["delta"] == "hi"
    assert at.finish(Finish())[-1]["response"]["status"] == "completed"


@pytest.mark.parametrize("words", ["", " \n"])
def test_a_turn_without_words_gets_no_response(words: str) -> None:
    at = desk(configure(output_modalities=["text"]), listen(VAD, transcription={}))
    at.send(append(TURN))
    heard = at.heard(words)
    assert heard[-1]["type"] == "conversation.item.input_audio_transcription.completed"
    assert heard[-1]["transcript"] == words
    assert types(at.send(reply())) == ["response.created"]  # the client may ask for one


def test_a_turn_that_cannot_be_heard_gets_a_response_that_says_so() -> None:
    at = desk(configure(output_modalities=["text"]), listen(VAD, transcription={}))
    at.send(append(TURN))
    events = at.heard("", "The ears failed: out of memory")
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
def test_turns_in_a_row_are_answered_once_if_any_has_words(
    first: str, second: str, answered: int, late: bool
) -> None:
    at = desk(configure(output_modalities=["text"]), listen(VAD))
    at.send(append(TURN))
    before = [] if late else at.send(append(SPEECH))  # the user goes on before that is heard
    names = types(at.heard(first)) if not late else []
    assert "response.created" not in names + types(before)
    rest = TURN if late else sound(64, QUIET)
    names += types(at.send(append(rest)))
    if late:
        names += types(at.heard(second)) + types(at.heard(first, hear=at.hears[0]))
    else:
        names += types(at.heard(second))
    assert names.count("response.created") == answered
    assert names.count("error") == 0


def test_a_turn_is_answered_when_what_followed_it_is_cleared() -> None:
    at = desk(configure(output_modalities=["text"]), listen(VAD))
    at.send(append(TURN), append(SPEECH))
    assert at.heard("one") == []
    assert types(at.send(CLEAR)) == ["input_audio_buffer.cleared", "response.created"]


def test_a_turn_is_answered_when_turn_detection_ends_in_mid_speech() -> None:
    at = desk(configure(output_modalities=["text"]), listen(VAD))
    at.send(append(TURN), append(SPEECH))
    at.heard("one")
    assert types(at.send(listen(None))) == ["session.updated", "response.created"]


def test_a_turn_whose_item_is_deleted_gets_no_response() -> None:
    at = desk(configure(output_modalities=["text"]), listen(VAD))
    at.send(append(TURN))
    at.send({"type": "conversation.item.delete", "item_id": at.hears[0].item_id})
    assert at.heard("hello") == []


def test_a_turn_can_be_left_to_the_client_to_answer() -> None:
    at = desk(listen({**VAD, "create_response": False}))
    assert types(at.send(append(TURN)))[-1] == "conversation.item.done"
    assert types(at.send(reply(output_modalities=["text"]))) == ["response.created"]


def test_speech_interrupts_the_response() -> None:
    at = desk(configure(output_modalities=["text"]), listen(VAD), user("hi"), reply())
    at.say("Well ")
    events = at.send(append(SPEECH))
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
    assert at.halted == [response["id"]]
    assert at.say("late") == []


def test_speech_lets_the_response_go_on_if_it_shall_and_then_gets_none() -> None:
    vad = {**VAD, "interrupt_response": False}
    at = desk(configure(output_modalities=["text"]), listen(vad), user("hi"), reply())
    assert types(at.send(append(TURN)))[-1] == "conversation.item.done"
    events = at.heard("hello")
    assert types(events) == ["error"]
    assert events[-1]["error"]["code"] == "conversation_already_has_active_response"
    assert at.halted == []
    assert types(at.say("Well "))[-1] == "response.output_text.delta"


def test_speech_leaves_a_response_alone_that_is_not_of_the_conversation() -> None:
    at = desk(configure(output_modalities=["text"]), listen(VAD), reply(conversation="none"))
    assert types(at.send(append(SPEECH))) == ["input_audio_buffer.speech_started"]


def test_speech_interrupts_a_response_that_still_waits_for_its_question() -> None:
    at = desk(configure(output_modalities=["text"]), listen(VAD))
    at.send(append(TURN), reply())
    events = at.send(append(SPEECH))
    assert types(events) == ["input_audio_buffer.speech_started", "response.done"]
    assert events[-1]["response"]["output"] == []
    assert at.heard("too late") == []
    assert at.begun == []


def test_several_turns_may_come_at_once() -> None:
    at = desk(listen({**VAD, "create_response": False}))
    names = types(at.send(append(TURN * 3)))
    assert names.count("input_audio_buffer.speech_started") == 3
    assert names.count("input_audio_buffer.committed") == 3


def test_a_client_may_commit_or_clear_in_mid_speech() -> None:
    at = desk(listen({**VAD, "create_response": False}))
    (started,) = at.send(append(SPEECH))
    assert at.send(COMMIT)[0]["item_id"] == started["item_id"]
    assert at.send(append(sound(320, QUIET))) == []
    (again,) = at.send(append(sound(320)))
    assert again["item_id"] != started["item_id"]
    assert types(at.send(CLEAR)) == ["input_audio_buffer.cleared"]
    assert at.send(append(sound(320, QUIET))) == []


def test_turning_detection_off_in_mid_speech_leaves_it_to_the_client() -> None:
    at = desk(listen(VAD))
    (started,) = at.send(append(SPEECH))
    at.send(listen(None))
    assert at.send(append(sound(320, QUIET))) == []
    assert at.send(COMMIT)[0]["item_id"] != started["item_id"]


def test_what_was_said_goes_behind_what_was_written() -> None:
    at = push_to_talk()
    at.send(user("first", id="q1"), append(sound(100)))
    assert at.send(COMMIT)[0]["previous_item_id"] == "q1"


# -------------------------------------------------------------------------------------------- words


def test_a_response_waits_for_the_words_it_answers() -> None:
    engine = Curious()
    at = desk(configure(output_modalities=["text"]), listen(), engine=engine)
    at.send(append(sound(100)), COMMIT)
    assert types(at.send(reply())) == ["response.created"]
    assert (at.begun, engine.prompts) == ([], [])
    at.send(user("of no concern"))
    at.heard("what is this?")
    assert len(at.begun) == 1
    assert [(item.role, item.parts) for item in messages(engine.prompts[-1])] == [
        ("user", (Part("text", "what is this?"),))
    ]


def messages(prompt: ModelInput) -> Iterator[Message]:
    for item in prompt.items:
        assert isinstance(item, Message)
        yield item


def test_a_response_waits_for_all_of_it() -> None:
    at = push_to_talk()
    at.send(append(sound(100)), COMMIT, append(sound(100)), COMMIT, reply())
    first, second = at.hears
    at.heard("two", hear=second)
    assert at.begun == []
    at.heard("one", hear=first)
    assert len(at.begun) == 1


def test_ears_that_fail_end_the_response_that_waits() -> None:
    at = push_to_talk(transcription={})
    at.send(append(sound(100)), COMMIT, reply())
    failed, done = at.heard("", "The ears failed: out of memory")
    assert failed["type"] == "conversation.item.input_audio_transcription.failed"
    assert failed["error"]["message"] == "The ears failed: out of memory"
    assert done["response"]["status_details"]["error"] == {
        "type": "server_error",
        "code": "server_error",
        "message": "The ears failed: out of memory",
    }
    assert at.begun == []


def test_a_response_that_waits_can_be_cancelled() -> None:
    at = push_to_talk()
    at.send(append(sound(100)), COMMIT, reply())
    assert types(at.send({"type": "response.cancel"})) == ["response.done"]
    assert at.heard("late") == []
    assert at.begun == []
    assert types(at.send(reply())) == ["response.created"]
    assert len(at.begun) == 1


class Refusing(EchoEngine):
    """An engine with an error instead of an answer."""

    def answer(self, prompt: ModelInput) -> Answer:
        refusal: Any = ServerProblem("No.", "server_error", "c")
        answer: Answer = refusal
        return answer


def test_an_engine_may_refuse_what_it_is_asked_late() -> None:
    at = desk(configure(output_modalities=["text"]), listen(), engine=Refusing())
    at.send(append(sound(100)), COMMIT, reply())
    (done,) = at.heard("hello")
    assert done["response"]["status"] == "failed"
    assert done["response"]["status_details"]["error"]["code"] == "c"
    assert error(at.send(reply()))["code"] == "c"
    at = desk(configure(output_modalities=["text"]), listen(VAD), engine=Refusing())
    at.send(append(TURN))
    assert error(at.heard("hello"))["code"] == "c"


def test_a_deleted_item_is_heard_for_nothing() -> None:
    at = push_to_talk(transcription={})
    at.send(append(sound(100)), COMMIT)
    at.send({"type": "conversation.item.delete", "item_id": at.hears[0].item_id})
    assert at.heard("hello") == []


def test_no_item_takes_the_id_of_one_that_is_still_being_heard() -> None:
    at = push_to_talk(transcription={})
    item = spoken_item({"audio": b64encode(sound(40)).decode()}, id="a")
    at.send(item)
    at.send({"type": "conversation.item.delete", "item_id": "a"})
    assert error(at.send(item))["code"] == "item_create_duplicate_item_id"
    assert at.heard("hello") == []
    at.send(item)
    assert at.heard("hello")[-1]["transcript"] == "hello"


def test_no_item_takes_the_id_of_one_that_is_being_spoken() -> None:
    at = desk(listen({**VAD, "create_response": False}))
    begun = at.send(append(sound(200)))
    assert types(begun) == ["input_audio_buffer.speech_started"]
    (taken,) = at.send(user("hi", id=begun[0]["item_id"]))
    assert taken["error"]["code"] == "item_create_duplicate_item_id"
    committed = at.send(append(sound(1000, QUIET)))[1]
    assert (committed["item_id"], committed["previous_item_id"]) == (begun[0]["item_id"], None)


def test_a_long_recording_is_written_down_piece_by_piece() -> None:
    at = push_to_talk(transcription={})
    at.send(append(sound(100)), COMMIT)
    item_id = at.hears[0].item_id
    told = [at.read(at.protocol.hear(item_id, piece)) for piece in ("One.", "", " Two.")]
    assert [[event["delta"] for event in events] for events in told] == [["One."], [], [" Two."]]
    (completed,) = at.read(at.protocol.heard(item_id))
    assert completed["transcript"] == "One. Two."


def test_a_response_s_own_input_is_not_what_was_heard_of_another_with_its_id() -> None:
    engine = Curious()
    at = desk(configure(output_modalities=["text"]), listen(), engine=engine)
    at.send(append(sound(100)), COMMIT)
    own = user("my own text", id=at.hears[0].item_id)["item"]
    at.send(reply(conversation="none", input=[own]))
    at.heard("something else")
    assert [prompt.question for prompt in engine.prompts] == ["my own text"]


def test_what_is_no_message_is_read_as_it_is() -> None:
    engine = Curious()
    at = desk(configure(output_modalities=["text"]), engine=engine)
    item = {"type": "function_call_output", "call_id": "c", "output": "21"}
    at.send({"type": "conversation.item.create", "item": item | {"id": "o"}}, reply())
    assert engine.prompts[-1].items == (ToolOutput("c", "21", "o"),)


def spoken_item(*parts: dict[str, object], **item: object) -> dict[str, object]:
    content = [{"type": "input_audio", **part} for part in parts]
    message = {"type": "message", "role": "user", "content": content, **item}
    return {"type": "conversation.item.create", "item": message}


def test_an_item_with_audio_is_heard() -> None:
    at = push_to_talk(transcription={})
    audio = b64encode(sound(40)).decode()
    known: dict[str, object] = {"audio": audio, "transcript": "so "}
    events = at.send(spoken_item(known, {"audio": audio}, {"audio": audio}, id="said"))
    assert types(events) == ["conversation.item.added", "conversation.item.done"]
    assert events[0]["item"]["content"][0] == {"type": "input_audio", "transcript": "so "}
    assert at.hears == [Transcribe("said", sound(80))]
    delta, completed = at.heard("hello")
    assert (delta["content_index"], completed["content_index"]) == (1, 1)
    assert completed["usage"] == {"type": "duration", "seconds": 0.08}


def test_an_item_whose_words_are_known_is_not_heard() -> None:
    at = push_to_talk()
    at.send(spoken_item({"audio": "AAAA", "transcript": "so"}), spoken_item({"transcript": "so"}))
    at.send(spoken_item({}))
    assert at.hears == []


def test_an_item_with_wrong_audio_is_refused() -> None:
    at = push_to_talk()
    problem = error(at.send(spoken_item({"transcript": "a"}, {"audio": "?"}, id="x")))
    assert (problem["code"], problem["param"]) == ("invalid_value", "item.content[1].audio")
    problem = error(at.send({"type": "conversation.item.retrieve", "item_id": "x"}))
    assert problem["code"] == "item_retrieve_invalid_item_id"


def test_a_response_s_own_input_is_heard_first() -> None:
    engine = Curious()
    at = desk(configure(output_modalities=["text"]), listen(transcription={}), engine=engine)
    item = spoken_item({"audio": b64encode(sound(40)).decode()})["item"]
    asked_with = reply(conversation="none", input=[item, user("then")["item"]])
    assert types(at.send(asked_with)) == ["response.created"]
    assert [hear.audio for hear in at.hears] == [sound(40)]
    assert at.heard("first") == []
    assert [item.text for item in messages(engine.prompts[-1])] == ["first", "then"]
    bad = reply(input=[spoken_item({"audio": "?"})["item"]])
    assert error(at.send(bad))["param"] == "response.input[0].content[0].audio"


def test_only_so_many_responses_can_wait_at_once() -> None:
    aside = reply(conversation="none", input=[spoken_item({"audio": "AAAA"})["item"]])
    at = desk(*[aside] * MOST_REPLIES)
    assert error(at.send(aside))["code"] == "too_many_active_responses"
    at.heard("hello")
    at.finish(Finish())
    assert types(at.send(aside)) == ["response.created"]


# ----------------------------------------------------------------------------------- spoken replies


def talking(*, engine: EchoEngine | None = None) -> Desk:
    """A desk in the middle of a spoken reply, nothing said yet."""
    return desk(user("hi", id="q1"), reply(), engine=engine)


_RECORDED = Path(__file__).parents[2] / "shared" / "recordings" / "openai-text-in-audio-out.jsonl"


@pytest.mark.skipif(not _RECORDED.is_file(), reason="the recordings are not beside the checkout")
def test_a_spoken_reply_has_the_order_of_the_recorded_one() -> None:
    lines = [json.loads(line) for line in _RECORDED.read_text(encoding="utf-8").splitlines()]
    recorded = [line["data"] for line in lines if line["direction"] == "received"]
    at = desk(engine=EchoEngine())
    events = at.send(user("Say a short greeting."), reply())
    for delta in ("Hi", " there", "!"):
        events += at.say(delta)
    events += at.finish(Finish())
    for _ in range(4):
        events += at.sound(b"\x01\x00")
    events += at.spoken()
    assert types(events) == types(recorded)[2:]
    for event, theirs in zip(events, recorded[2:], strict=True):
        assert event.keys() == theirs.keys() - {"obfuscation"}
        assert event.get("part") == theirs.get("part")


def test_a_sentence_is_spoken_as_soon_as_it_is_complete_and_the_next_after_it() -> None:
    at = talking()
    events = at.say("One is here. Two ")
    assert types(events)[-1] == "response.output_audio_transcript.delta"
    assert [speak.text for speak in at.speaks] == ["One is here."]
    at.say("is there. And")
    assert len(at.speaks) == 1
    (delta,) = at.sound(b"\x01\x02")
    assert delta["type"] == "response.output_audio.delta"
    assert b64decode(delta["delta"]) == b"\x01\x02"
    assert at.spoken() == []
    assert at.speaks[-1] == Speak(at.begun[0].reply_id, "Two is there.")
    assert at.spoken() == []
    assert at.finish(Finish()) == []
    assert at.speaks[-1].text == "And"
    assert types(at.spoken()) == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]


def test_a_reply_that_is_not_spoken_to_its_end_is_the_active_one() -> None:
    at = talking()
    at.say("One.")
    at.finish(Finish())
    assert error(at.send(reply()))["code"] == "conversation_already_has_active_response"
    assert at.spoken()[-1]["response"]["status"] == "completed"
    assert types(at.send(reply())) == ["response.created"]


def test_what_cannot_be_spoken_is_not() -> None:
    at = talking()
    at.say("— … \n\n")
    events = at.finish(Finish())
    assert at.speaks == []
    assert events[-1]["response"]["output"][0]["content"] == [
        {"type": "output_audio", "transcript": "— … \n\n"}
    ]
    assert types(talking().finish(Finish()))[-1] == "response.done"


def test_a_reply_that_fails_says_first_what_there_is() -> None:
    at = talking()
    at.say("It is")
    assert at.finish(Finish(Status.FAILED, code="c", message="m")) == []
    assert at.finish(Finish(Status.INCOMPLETE)) == []
    assert at.spoken()[-1]["response"]["status"] == "failed"


def test_a_call_is_written_beside_what_is_spoken() -> None:
    at = talking()
    events = at.say("I look. ") + at.say(CallPiece(0, "{}", "f", "call"))
    assert types(events)[-1] == "response.function_call_arguments.delta"
    assert at.finish(Finish()) == []
    done = at.spoken()[-1]["response"]
    assert [item["type"] for item in done["output"]] == ["message", "function_call"]


@pytest.mark.parametrize(("was_said", "kept"), [(0, ""), (1, "One. "), (2, "One. ")])
def test_a_cancel_keeps_what_made_a_sound(was_said: int, kept: str) -> None:
    at = talking()
    if was_said:
        at.say("One. Two. Three")
        at.sound(sound(10))
    if was_said == 2:
        at.spoken()
    events = at.send({"type": "response.cancel"})
    assert events[-1]["response"]["status_details"]["reason"] == "client_cancelled"
    texts = [item["content"][0].get("transcript") for item in events[-1]["response"]["output"]]
    assert "".join(texts) == kept
    assert at.halted == [at.begun[0].reply_id]
    assert at.read(at.protocol.sound(at.begun[0].reply_id, sound(10))) == []
    assert at.read(at.protocol.spoken(at.begun[0].reply_id)) == []
    assert at.read(at.protocol.spoken(at.begun[0].reply_id, "late")) == []


def test_a_voice_that_fails_ends_the_reply() -> None:
    at = talking()
    at.say("One. Two.")
    done = at.spoken("The voice failed: hoarse")[-1]["response"]
    assert done["status_details"]["error"]["message"] == "The voice failed: hoarse"
    assert at.halted == [at.begun[0].reply_id]


def test_a_mute_server_says_what_to_install() -> None:
    at = Desk(voice="This server has no voice: pip install mouth")
    created, done = at.send(user("hi"), reply())[-2:]
    assert created["type"] == "response.created"
    problem = done["response"]["status_details"]["error"]
    assert problem["code"] == "audio_not_supported"
    assert problem["message"].startswith("This server has no voice: pip install mouth; or ask for")


def test_the_engine_is_told_what_was_spoken_as_text() -> None:
    engine = Curious()
    at = talking(engine=engine)
    at.say("Hello.")
    at.finish(Finish())
    at.spoken()
    at.send(user("and?"), reply())
    assert [item.parts for item in messages(engine.prompts[-1])] == [
        (Part("text", "hi"),),
        (Part("text", "Hello."),),
        (Part("text", "and?"),),
    ]


def test_the_whole_of_a_spoken_beta_turn() -> None:
    at = desk(dialect=Dialect.BETA)
    at.send({"type": "session.update", "session": {"turn_detection": VAD}})
    names = types(at.send(append(TURN))) + types(at.heard("hello"))
    names += types(at.say("Hi.")) + types(at.finish(Finish()))
    names += types(at.sound(sound(10))) + types(at.spoken())
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


def told() -> tuple[Desk, str]:
    """A desk that has said two sentences, of 1000 and 2000 ms; and their item."""
    at = talking()
    at.say("One is short. Two is quite a bit longer.")
    at.sound(sound(1000))
    at.spoken()
    at.finish(Finish())
    at.sound(sound(2000))
    events = at.spoken()
    return at, events[-1]["response"]["output"][0]["id"]


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
def test_a_truncated_item_keeps_the_words_that_were_heard(ms: int, kept: str) -> None:
    at, item_id = told()
    (event,) = at.send(truncate(item_id, ms))
    assert event.pop("event_id")
    assert event == {**truncate(item_id, ms), "type": "conversation.item.truncated"}
    (got,) = at.send({"type": "conversation.item.retrieve", "item_id": item_id})
    assert got["item"]["content"][0].get("transcript", "") == kept


def test_an_item_can_be_truncated_twice_but_not_made_longer() -> None:
    at, item_id = told()
    at.send(truncate(item_id, 2000))
    problem = error(at.send(truncate(item_id, 2500)))
    assert (problem["code"], problem["param"]) == ("invalid_value", "audio_end_ms")
    assert types(at.send(truncate(item_id, 0))) == ["conversation.item.truncated"]
    assert error(at.send(truncate(item_id, 500)))["param"] == "audio_end_ms"


def test_what_is_no_audio_of_a_response_cannot_be_truncated() -> None:
    at, item_id = told()
    assert error(at.send(truncate(item_id, 3002)))["param"] == "audio_end_ms"
    assert error(at.send(truncate(item_id, 0, 1)))["code"] == "invalid_value"
    assert error(at.send(truncate("q1", 0)))["code"] == "invalid_value"
    at.send(reply())
    running = at.say("Still at it")[0]["item"]["id"]
    assert error(at.send(truncate(running, 0)))["code"] == "invalid_value"
    assert error(at.send(truncate("x", 0)))["code"] == "item_truncate_invalid_item_id"


def test_an_interrupted_item_can_be_truncated_to_what_was_played() -> None:
    at = talking()
    at.say("One is short. Two is quite a bit longer.")
    at.sound(sound(1000))
    at.spoken()
    at.finish(Finish())
    at.sound(sound(300))
    done = at.send(append(SPEECH))[-1]["response"]
    item = done["output"][0]
    assert item["content"][0]["transcript"] == "One is short. Two is quite a bit longer."
    at.send(truncate(item["id"], 500))
    (got,) = at.send({"type": "conversation.item.retrieve", "item_id": item["id"]})
    assert got["item"]["content"][0]["transcript"] == "One is"


# ------------------------------------------------------------------------------ for transcription


def transcribe(**session: object) -> dict[str, object]:
    return {"type": "session.update", "session": {"type": "transcription", **session}}


def test_a_truncate_of_a_part_that_is_none_says_which() -> None:
    at = talking()
    at.say("One. ")
    at.sound(sound(100))
    at.spoken()
    item_id = at.finish(Finish())[-1]["response"]["output"][0]["id"]
    assert error(at.send(truncate(item_id, 0) | {"content_index": 1}))["param"] == "content_index"


@pytest.mark.parametrize("dialect", [Dialect.GA, Dialect.BETA])
def test_a_response_has_the_voice_of_its_session_or_its_own(dialect: Dialect) -> None:
    at = desk(dialect=dialect)
    own: dict[str, object]
    if dialect is Dialect.GA:
        own = {"audio": {"output": {"voice": "ash"}}}
        at.send(configure(audio={"output": {"voice": "cedar", "speed": 1.2}}))
    else:
        own = {"voice": "ash"}
        at.send({"type": "session.update", "session": {"voice": "cedar"}})
    at.send(user("hi"))
    for voice, asked in {"cedar": {}, "ash": own}.items():
        created = at.send({"type": "response.create", "response": asked})[0]["response"]
        audio = created["audio"]["output"] if dialect is Dialect.GA else created
        assert audio["voice"] == voice
        at.send({"type": "response.cancel"})


def test_a_beta_client_is_told_of_a_wrong_format_by_the_name_it_has_there() -> None:
    at = desk(dialect=Dialect.BETA)
    session = {"input_audio_format": "g711_ulaw"}
    assert (
        error(at.send({"type": "session.update", "session": session}))["param"]
        == "session.input_audio_format"
    )


def test_ears_that_fail_name_the_part_that_they_were_for() -> None:
    at = push_to_talk(transcription={})
    spoken = {"type": "input_audio", "audio": b64encode(sound(40)).decode()}
    at.send(spoken_item(content=[{"type": "input_text", "text": "Listen:"}, spoken]))
    (failed,) = at.heard("", "The ears failed: out of memory")
    assert failed["content_index"] == 1


def test_a_session_can_be_for_transcription() -> None:
    at = desk(transcribes=True)
    (created,) = at.read(at.protocol.open())
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
    (updated,) = at.send(transcribe(audio={"input": wanted}, include=None))
    assert updated["session"]["audio"]["input"] == session["audio"]["input"] | wanted


def test_a_transcription_session_hears_and_never_responds() -> None:
    at = desk(transcribes=True)
    names = types(at.send(append(TURN), append(sound(500, QUIET))))
    assert names == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert [event.get("transcript") for event in at.heard("hello")] == [None, "hello"]
    at.send(transcribe(audio={"input": {"turn_detection": None}}))
    assert types(at.send(append(sound(100)), COMMIT))[0] == "input_audio_buffer.committed"


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
def test_a_transcription_session_refuses_the_rest(
    event: dict[str, object], code: str, param: str
) -> None:
    problem = error(desk(transcribes=True).send(event))
    assert (problem["code"], problem["param"]) == (code, param)


def test_a_realtime_session_stays_one() -> None:
    problem = error(desk().send(transcribe()))
    assert (problem["code"], problem["param"]) == ("invalid_parameter", "session.type")


def test_a_beta_transcription_session() -> None:
    at = desk(dialect=Dialect.BETA, transcribes=True)
    assert types(at.read(at.protocol.open())) == ["transcription_session.created"]
    session = {"input_audio_transcription": {"model": "whisper-1"}, "turn_detection": None}
    (updated,) = at.send({"type": "transcription_session.update", "session": session})
    assert updated["type"] == "transcription_session.updated"
    assert updated["session"]["input_audio_transcription"] == {"model": "whisper-1"}


# --------------------------------------------------------------------------------------- hostility

_SOUNDS = st.sampled_from([b"", b"\x01", sound(32), sound(96, QUIET), SPEECH, TURN, TURN * 2])
_STEPS = st.one_of(
    _SOUNDS.map(append),
    st.sampled_from(
        [
            COMMIT,
            CLEAR,
            listen(VAD),
            listen({"type": "semantic_vad"}),
            listen(None),
            listen(VAD, transcription={}),
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
)


@given(st.lists(_STEPS, max_size=25), st.sampled_from([Dialect.GA, Dialect.BETA]), st.booleans())
def test_nothing_raises_in_any_order(
    steps: list[dict[str, object] | str], dialect: Dialect, transcribes: bool
) -> None:
    at = desk(dialect=dialect, transcribes=transcribes)
    for step in steps:
        if isinstance(step, dict):
            at.send(step)
            continue
        for begun in at.begun[-2:]:
            if step == "say":
                at.read(at.protocol.say(begun.reply_id, "One. Two"))
            if step == "finish":
                at.read(at.protocol.finish(begun.reply_id, Finish()))
        for speak in at.speaks[-1:]:
            if step == "sound" and speak.reply_id not in at.halted:
                at.read(at.protocol.sound(speak.reply_id, sound(10)))
            if step in ("spoken", "hoarse"):
                at.speaks.remove(speak)
                at.read(at.protocol.spoken(speak.reply_id, "x" if step == "hoarse" else ""))
        if at.hears and step in ("heard", "deaf"):
            hear = at.hears.pop(0)
            at.heard("words", "x" if step == "deaf" else "", hear=hear)
