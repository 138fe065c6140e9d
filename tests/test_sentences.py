"""Splitting text into sentences, and the tone voice."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.values import BYTES_A_MS
from rtchat.server.sentences import SentenceQueue, SpokenText, cut_to
from rtchat.server.tone_voice import CHARACTER_MS, LoudnessDetector, ToneVoice, loudness
from rtchat.server.voice import FRAME_MS
from tests.sounds import silence, tone, transcript_of

LONG = "a " * 19 + "a"
"""Long enough for a first part, but not for a second one."""


def sentences(*texts: str) -> list[str]:
    """The sentences of a queue with these texts. Checks that no text is lost."""
    queue, said = SentenceQueue(), []
    for text in texts:
        queue.add(text)
    queue.end()
    while (sentence := queue.next()) is not None:
        said.append(sentence)
        queue.end_sentence()
    assert queue.is_done
    assert "".join(spoken.text for spoken in queue.spoken) == "".join(texts)
    return said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hi there! How are you?", ["Hi there!", "How are you?"]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("Pi is 3.14 today.", ["Pi is 3.14 today."]),
        ("Ask Dr. Smith, or Mrs. B. Jones.", ["Ask Dr. Smith, or Mrs. B. Jones."]),
        ("Well... yes", ["Well...", "yes"]),
        ("One\nTwo\n\nThree", ["One", "Two", "Three"]),
        ("1. Eat.\n2. Sleep.", ["1. Eat.", "2. Sleep."]),
        (f"{LONG}, and then. So, {LONG}, too.", [f"{LONG},", "and then.", f"So, {LONG}, too."]),
        (f"{LONG} — or so; ha.", [f"{LONG} —", "or so; ha."]),
        (f"{LONG}—or so.", [f"{LONG}—", "or so."]),
        (f"{LONG} \u2013 or 3\u20134.", [f"{LONG} \u2013", "or 3\u20134."]),
        (f"{LONG} - or so.", [f"{LONG} -", "or so."]),
        (f"{LONG} 10:30, 3,000 well-known.", [f"{LONG} 10:30,", "3,000 well-known."]),
        (f"So, {LONG}. But, {LONG}.", [f"So, {LONG}.", f"But, {LONG}."]),
        ("Well, not yet, my dear.", ["Well, not yet, my dear."]),
        ("Well, not today, my dear.", ["Well, not today,", "my dear."]),
        (
            "A cat is an animal of the house that eats.",
            ["A cat is an animal of the house", "that eats."],
        ),
        ("A cat and a dog and a mouse live here.", ["A cat and a dog and a mouse live here."]),
        (f"{LONG}, {LONG} {LONG}, a.", [f"{LONG},", f"{LONG} {LONG},", "a."]),
        (
            f"{LONG}, {LONG} {LONG}, {LONG} {LONG}, a.",
            [f"{LONG},", f"{LONG} {LONG},", f"{LONG} {LONG}, a."],
        ),
        ("…!", []),
        ("", []),
    ],
)
def test_text_is_split_into_sentences(text: str, said: list[str]) -> None:
    assert sentences(text) == said
    assert sentences(*text) == said


def test_a_long_sentence_is_split() -> None:
    clauses = sentences("so it goes on, " * 40)
    assert [clause[-1] for clause in clauses] == [","] * len(clauses)
    assert max(map(len, clauses)) <= 240
    assert {len(part) for part in sentences("x" * 500)} == {240, 20}
    assert [part[:3] for part in sentences("any so " * 80)] == ["any"] * 3


@given(st.lists(st.text("ab. ,\n!", max_size=40), max_size=20))
def test_the_text_is_complete_in_pieces_of_any_size(texts: list[str]) -> None:
    assert sentences(*texts)[:1] == sentences("".join(texts))[:1]


def test_a_first_sentence_is_split_before_its_end() -> None:
    queue = SentenceQueue()
    queue.add(f"{LONG}, and")
    assert queue.next() == f"{LONG},"
    queue.end_sentence()
    queue.add(f" {LONG}, and")
    assert queue.next() is None


def test_one_sentence_is_spoken_at_a_time() -> None:
    queue = SentenceQueue()
    assert (queue.next(), queue.is_done) == (None, True)
    queue.add("One. Two. Thr")
    assert (queue.next(), queue.next()) == ("One.", None)
    queue.add_audio(10)
    queue.add_audio(10)
    queue.end_sentence()
    assert queue.next() == "Two."
    queue.end_sentence()
    assert (queue.next(), queue.is_done) == (None, False)
    assert queue.spoken == [SpokenText("One. ", 20), SpokenText("Two. ")]


def test_a_cut_keeps_a_sentence_without_audio_after_a_spoken_one() -> None:
    spoken = [SpokenText("One. ", 100 * BYTES_A_MS), SpokenText("\n"), SpokenText("Two.", 48)]
    assert cut_to(spoken, 100) == [*spoken[:2], SpokenText("")]
    assert cut_to(spoken, 99) == [SpokenText("", 99 * BYTES_A_MS)]
    assert cut_to([], 5) == []


# -------------------------------------------------------------------------------------------- tone


def test_a_tone_matches_the_text_length_and_counts_as_speech() -> None:
    async def main() -> list[bytes]:
        return [piece async for piece in ToneVoice().speak("Hello you.")]

    pieces = asyncio.run(main())
    assert [len(piece) for piece in pieces] == [100 * BYTES_A_MS] * 6
    assert set(LoudnessDetector().feed(b"".join(pieces))) == {1.0}
    assert 1000 < loudness(pieces[0]) < 4000


def test_a_tone_has_a_speed() -> None:
    async def main() -> int:
        return sum([len(piece) async for piece in ToneVoice().speak("Hello you.", 1.5)])

    assert asyncio.run(main()) == 10 * CHARACTER_MS * BYTES_A_MS * 2 // 3


def test_the_last_piece_of_a_tone_may_be_shorter() -> None:
    async def main() -> list[bytes]:
        return [piece async for piece in ToneVoice().speak("xy")]

    assert [len(piece) for piece in asyncio.run(main())] == [4800, 20 * BYTES_A_MS]


def test_given_transcripts_are_returned_in_order() -> None:
    async def main() -> list[str]:
        voice = ToneVoice(("one", "two"))
        spoken, quiet = tone(480, 0.1), silence(0.1)
        return [await transcript_of(voice, audio) for audio in (spoken, quiet, spoken, spoken)]

    assert asyncio.run(main()) == ["one", "", "two", ""]


def test_loudness_is_measured_per_frame() -> None:
    frame = FRAME_MS * BYTES_A_MS
    detector = LoudnessDetector()
    assert detector.feed(bytes(frame - 2)) == []
    assert detector.feed(bytes(2) + b"\x00\x20" * (frame // 2)) == [0.0, 1.0]
    assert detector.feed(b"\xf4\x01" * (frame // 2)) == [0.5]
