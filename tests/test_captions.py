"""What is shown of the user's speech while it is heard and transcribed."""

from __future__ import annotations

import pytest

from rtchat.core.captions import MAX_CHARACTERS, MAX_PENDING, Captions
from rtchat.core.effects import Effect, Show, SpeechHeard
from rtchat.core.events import (
    AudioCaptured,
    AudioCommitted,
    ChannelDone,
    ConnectionLost,
    Delta,
    Event,
    Retry,
    SpeechStarted,
    SpeechStopped,
    TranscriptionFailed,
)
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import Channel
from tests.playbook import Playbook
from tests.test_speech import GONE, OPEN_MICROPHONE, talking


def words(text: str, item_id: str = "u1", held: str = "") -> Delta:
    return Delta(Channel.INPUT_TRANSCRIPT, text, item_id=item_id, held=held)


def transcript(text: str, item_id: str = "u1") -> ChannelDone:
    return ChannelDone(Channel.INPUT_TRANSCRIPT, text, item_id=item_id)


def heard(play: Playbook, *events: Event) -> list[SpeechHeard]:
    """What is shown of the speech because of these events."""
    effects: list[Effect] = [effect for event in events for effect in play.handle(event)]
    updates = (effect.update for effect in effects if isinstance(effect, Show))
    return [update for update in updates if isinstance(update, SpeechHeard)]


SILENCE = SpeechHeard(is_speaking=False)
SPEECH = SpeechHeard(is_speaking=True)


def test_speech_is_shown_until_it_stops() -> None:
    play = talking(OPEN_MICROPHONE)
    assert heard(play, AudioCaptured(b"ab" * 4800)) == []
    assert heard(play, SpeechStarted("u1", 0)) == [SPEECH]
    assert heard(play, AudioCaptured(b"ab" * 4800)) == []
    assert heard(play, SpeechStopped("u1", 400)) == [SILENCE]
    assert heard(play, AudioCommitted("u1")) == []


def test_a_turn_ends_speech_that_was_not_said_to_stop() -> None:
    play = talking(OPEN_MICROPHONE)
    assert heard(play, SpeechStarted("u1", 0), AudioCommitted("u1")) == [SPEECH, SILENCE]


def test_captions_grow_until_the_transcript_is_complete() -> None:
    play = talking(OPEN_MICROPHONE)
    assert heard(play, SpeechStarted("u1", 0), words("Is it")) == [
        SPEECH,
        SpeechHeard(is_speaking=True, words="Is it"),
    ]
    play.skip(SpeechStopped("u1", 900), AudioCommitted("u1"))
    assert heard(play, words(" late?")) == [SpeechHeard(is_speaking=False, words="Is it late?")]
    assert heard(play, transcript("Is it late?")) == [SILENCE]
    assert heard(play, words(" late?")) == [], "it is repeated"


def test_a_failed_transcription_has_no_captions() -> None:
    play = talking(OPEN_MICROPHONE)
    play.skip(words("Is it"))
    assert heard(play, TranscriptionFailed("u1", "too loud")) == [SILENCE]


def test_a_lost_connection_ends_speech_and_captions() -> None:
    play = talking(OPEN_MICROPHONE).skip(SpeechStarted("u1", 0), words("Is it"))
    assert heard(play, ConnectionLost(GONE, Retry.ALWAYS)) == [SILENCE]


def test_without_a_microphone_nothing_is_shown() -> None:
    play = talking(SpeechOptions(speaks=True))
    assert heard(play, SpeechStarted("u1", 0), words("Is it"), transcript("Is it?")) == []


@pytest.mark.parametrize(
    ("deltas", "shown"),
    [
        ([words("Is"), words(" it")], "Is it"),
        ([words("Is"), words("Is it"), words("Is it late")], "Is it late"),
        ([words("One", "a"), words("two", "b"), words(" more", "a")], "One more two"),
        ([words("my key is ", held="sk-")], "my key is sk-"),
        ([words("my key is ", held="sk-"), words("sk-ill")], "my key is sk-ill"),
        ([words(" ")], ""),
    ],
    ids=["pieces", "repeated", "two turns", "held", "released", "blank"],
)
def test_the_words_of_all_deltas_are_joined(deltas: list[Delta], shown: str) -> None:
    captions = Captions()
    for delta in deltas:
        captions.add(delta)
    assert captions.words == shown


def test_a_transcript_with_an_unknown_id_ends_the_oldest_caption() -> None:
    captions = Captions()
    captions.add(words("one", "a"))
    captions.add(words("two", "b"))
    captions.end("other")
    captions.end("other")
    assert captions.words == "two"
    captions.end("b")
    captions.end("none is left")
    assert captions.words == ""
    captions.add(words("late", "b"))
    assert captions.words == ""
    captions.clear()
    captions.add(words("another session", "b"))
    assert captions.words == "another session"


def test_captions_are_limited() -> None:
    captions = Captions()
    for number in range(2 * MAX_PENDING):
        for _ in range(5):
            captions.add(words("x" * MAX_CHARACTERS, f"u{number}"))
    assert len(captions.words) <= MAX_PENDING * (MAX_CHARACTERS + 1)
