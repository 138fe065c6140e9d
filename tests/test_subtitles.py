"""Subtitles: cues from turns, judged by the parsers of other programs."""

from __future__ import annotations

import html
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import srt as other_srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from rtchat.core.cues import LINE_WIDTH, MAX_LINES, MAX_MS, MAX_SECONDS, Cue, CueMaker, width
from rtchat.core.effects import TurnTranscribed
from rtchat.core.subtitles import VTT_HEADER, srt, vtt
from rtchat.core.values import TranscriptSegment, TranscriptWord

LONG = (
    "We walked along a river until it was dark, and then took the last train home. "
    "Nobody spoke. The next morning the sun came up over the hills as if nothing had happened at "
    "all in the whole of that long and quiet valley where my grandparents had lived."
)


def turn(text: str, start: int | None = 0, end: int | None = 2000, **more: Any) -> TurnTranscribed:
    return TurnTranscribed("u", text, start_ms=start, end_ms=end, **more)


def cues(*turns: TurnTranscribed, named: bool = False) -> list[Cue]:
    maker = CueMaker(names_speakers=named)
    return [cue for each in turns for cue in maker.cues(each)]


def texts(made: list[Cue]) -> list[str]:
    return [" ".join(cue.lines) for cue in made]


def segment(start: float, end: float, text: str, speaker: str = "") -> TranscriptSegment:
    return TranscriptSegment("s", text, speaker, start, end)


def spoken(text: str, *starts: float, length: float = 0.4) -> tuple[TranscriptWord, ...]:
    pairs = zip(text.split(), starts, strict=True)
    return tuple(TranscriptWord(word, start, start + length) for word, start in pairs)


def test_a_short_turn_is_one_cue() -> None:
    assert cues(turn(" Good\nday. ", 500, 2250)) == [Cue(500, 2250, ("Good day.",))]


def test_a_turn_without_words_has_no_cues() -> None:
    assert cues(turn(" "), turn("\x00", 2000, 3000), turn("\x00 \x01", 4000, 5000)) == []


def test_a_long_turn_is_cut_where_sentences_and_clauses_end() -> None:
    made = cues(turn(LONG, 10_000, 27_000))
    assert texts(made)[:2] == [
        "We walked along a river until it was dark, and then took the last train home.",
        "Nobody spoke.",
    ]
    assert " ".join(texts(made)) == LONG
    assert (made[0].start_ms, made[-1].end_ms) == (10_000, 27_000)
    clauses = "One two three four five six seven eight nine ten eleven, twelve thirteen fourteen xv"
    assert texts(cues(turn(clauses * 2, 0, 14_000)))[0].endswith("eleven,")


def test_times_within_a_turn_are_in_proportion_to_the_text() -> None:
    first, second = cues(turn(f"{'aa ' * 26}aa. {'bb ' * 12}bb.", 0, 8000))
    assert (first.end_ms, second.start_ms) == (5400, 5400)


def test_words_with_times_decide_when_cues_are_shown() -> None:
    text = "Wait, here it is."
    words = spoken("wait here it is", 0.5, 4.0, 4.5, 5.0)
    assert cues(turn(text, 1000, 7000, words=words)) == [
        Cue(1500, 2500, ("Wait,",)),
        Cue(5000, 6400, ("here it is.",)),
    ]


def test_words_need_not_be_those_of_the_text() -> None:
    words = spoken("a b c d e f", *range(6))
    (cue,) = cues(turn("Twenty-two, thirty.", 0, 6000, words=words))
    assert (cue.start_ms, cue.end_ms) == (0, 5400)


def test_times_that_count_from_the_beginning_of_the_session() -> None:
    of_session = (segment(60.2, 62.0, "One."), segment(62.0, 64.0, "Two."))
    of_turn = (segment(0.2, 2.0, "One."), segment(2.0, 4.0, "Two."))
    made = cues(turn("One. Two.", 60_000, 64_000, segments=of_session))
    assert made == cues(turn("One. Two.", 60_000, 64_000, segments=of_turn))
    assert [cue.start_ms for cue in made] == [60_200, 62_000]


def test_each_segment_begins_a_cue_with_its_speaker() -> None:
    said = (segment(0, 1, "When?", "A"), segment(1, 2, "At noon.", "B"), segment(2, 2, " ", "B"))
    made = cues(turn("When? At noon.", segments=said))
    assert [(cue.speaker, cue.lines) for cue in made] == [("A", ("When?",)), ("B", ("At noon.",))]
    made = cues(turn("When? At noon.", segments=said), named=True)
    assert [cue.lines for cue in made] == [("A: When?",), ("B: At noon.",)]


@pytest.mark.parametrize("end", [0, -1, MAX_SECONDS + 1])
def test_segments_without_valid_times_share_the_time_of_the_turn(end: float) -> None:
    said = (
        segment(0, end, "Four", "A"),
        segment(0, 0, "", "C"),
        segment(0, 0, "twelve words", "B"),
    )
    made = cues(turn("Four twelve words", 1000, 9000, segments=said))
    assert [(cue.start_ms, cue.end_ms) for cue in made] == [(1000, 3000), (3000, 9000)]
    made = cues(turn("Four twelve words", None, None, segments=said))
    assert [cue.speaker for cue in made] == ["A", "B"]


def test_the_words_of_each_speaker_are_used() -> None:
    said = (segment(0, 5, "One two.", "A"), segment(5, 10, "Three.", "B"))
    words = spoken("one two three", 1, 2, 7)
    made = cues(turn("One two. Three.", 0, 10_000, segments=said, words=words))
    assert [(cue.start_ms, cue.end_ms) for cue in made] == [(1000, 2400), (7000, 8000)]


def test_speakers_at_the_same_time_are_shown_one_after_another() -> None:
    said = (segment(0, 5, "One.", "A"), segment(1, 2, "Two.", "B"), segment(5, 8, "Three.", "A"))
    made = cues(turn("One. Two. Three.", 0, 8000, segments=said))
    assert [(cue.start_ms, cue.end_ms) for cue in made] == [
        (0, 5000),
        (5000, 6000),
        (6000, 8000),
    ]


def test_a_turn_without_times_follows_the_last() -> None:
    first, second = cues(turn("One."), turn("Twenty.", None, None))
    assert second.start_ms == first.end_ms
    assert second.end_ms > second.start_ms


def test_a_long_pause_in_a_cue_is_not_shown() -> None:
    (cue,) = cues(turn("Well.", 0, 600_000))
    assert (cue.start_ms, cue.end_ms) == (0, MAX_MS)


@pytest.mark.parametrize(
    ("said", "is_estimated"),
    [
        (turn("Short."), False),
        (turn(LONG, 0, 20_000), True),
        (turn("Short.", None, None), True),
        (turn("Short.", 5, 5), True),
        (turn(LONG, 0, 20_000, words=spoken(LONG, *range(len(LONG.split())))), False),
        (turn("A b.", segments=(segment(0, 1, "A"), segment(1, 2, "b."))), False),
    ],
)
def test_it_is_known_whether_times_are_estimates(said: TurnTranscribed, is_estimated: bool) -> None:
    maker = CueMaker(names_speakers=False)
    maker.cues(said)
    assert maker.is_estimated is is_estimated


def test_text_without_spaces_is_cut_between_ideographs() -> None:
    made = cues(turn("你好，世界。" * 30, 0, 30_000))
    assert "".join("".join(cue.lines) for cue in made) == "你好，世界。" * 30
    assert not any(line.startswith(("，", "。")) for cue in made for line in cue.lines)


def test_a_word_longer_than_a_line_is_cut_without_losing_accents() -> None:
    word = "e\u0301" * 100
    lines = [line for cue in cues(turn(word, 0, 9000)) for line in cue.lines]
    assert "".join(lines) == word
    assert [len(line) for line in lines] == [2 * LINE_WIDTH, 2 * LINE_WIDTH, 32]


def test_the_name_of_a_speaker_is_shortened() -> None:
    said = (segment(0, 1, "Donaudampfschifffahrtsgesellschaftskapitän", "Maximilian " * 9),)
    (cue,) = cues(turn("x", segments=said), named=True)
    assert cue.lines == ("Maximilian Maximilia:", "Donaudampfschifffahrtsgesellschaftskapitän")


# --------------------------------------------------------------------------- random turns, parsers

_TEXT = st.text(
    st.one_of(
        st.sampled_from("abc.,!?<>&-'\" e\u0301\n\t\r\x0b\x1c\x85\u2028"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=120,
) | st.lists(st.sampled_from([*LONG.split(), "-->", "<v B>", "&amp;", "NOTE", "1"])).map(" ".join)
_SECONDS = st.floats(0, 30).map(lambda seconds: round(seconds, 2)) | st.sampled_from([-1.0, 1e17])
_SEGMENT = st.builds(segment, _SECONDS, _SECONDS, _TEXT, st.sampled_from(["", "A"]) | _TEXT)
_WORD = st.builds(TranscriptWord, _TEXT, _SECONDS, _SECONDS)


@st.composite
def _turns(draw: st.DrawFn) -> list[TurnTranscribed]:
    turns: list[TurnTranscribed] = []
    now = 0
    for _ in range(draw(st.integers(0, 5))):
        start = now + draw(st.integers(-2000, 4000))
        now = max(0, start) + draw(st.integers(0, 20_000))
        times = draw(st.sampled_from([(max(0, start), now), (None, None)]))
        segments = draw(st.lists(_SEGMENT, max_size=4)) if draw(st.booleans()) else []
        words = draw(st.lists(_WORD, max_size=8)) if draw(st.booleans()) else []
        said = turn(draw(_TEXT), *times, segments=tuple(segments), words=tuple(words))
        turns.append(said)
    return turns


@settings(max_examples=60)
@given(_turns())
def test_other_programs_read_the_cues_of_any_turns(turns: list[TurnTranscribed]) -> None:
    made, named = cues(*turns), cues(*turns, named=True)
    _check(made)
    _check(named)
    assert _letters("".join("".join(cue.lines) for cue in made)) == _letters(_said(turns))
    read = list(other_srt.parse("".join(srt(number, cue) for number, cue in enumerate(named, 1))))
    assert [(each.index, each.start, each.end, each.content.splitlines()) for each in read] == [
        (
            number,
            timedelta(milliseconds=cue.start_ms),
            timedelta(milliseconds=cue.end_ms),
            [line.replace("-->", "->") for line in cue.lines],
        )
        for number, cue in enumerate(named, 1)
    ]
    captions = webvtt.from_string(VTT_HEADER + "".join(map(vtt, made))).captions
    assert [
        Cue(
            _milliseconds(each.start),
            _milliseconds(each.end),
            tuple(html.unescape(each.text).split("\n")),
            html.unescape(each.voice or "").strip(),
        )
        for each in captions
    ] == made


def _check(made: list[Cue]) -> None:
    for cue in made:
        assert 0 <= cue.start_ms < cue.end_ms <= cue.start_ms + MAX_MS
        assert 1 <= len(cue.lines) <= MAX_LINES
        assert all(line and width(line) <= LINE_WIDTH for line in cue.lines)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(made))


def _said(turns: list[TurnTranscribed]) -> str:
    return "".join(
        "".join(each.text for each in one.segments) if _uses_segments(one) else one.text
        for one in turns
    )


def _letters(text: str) -> list[str]:
    return sorted(filter(str.isalnum, text))


def _uses_segments(one: TurnTranscribed) -> bool:
    valid = all(0 <= each.start <= each.end <= MAX_SECONDS for each in one.segments)
    timed = valid and any(each.end > each.start for each in one.segments)
    return timed or any(each.speaker for each in one.segments)


def _milliseconds(time: str) -> int:
    hours, minutes, seconds = time.split(":")
    return round((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 1000)


def test_a_speaker_whose_name_ends_like_an_arrow() -> None:
    (caption,) = webvtt.from_string(VTT_HEADER + vtt(Cue(0, 1, ("Hi",), "A--"))).captions
    assert (caption.voice or "").strip() == "A--"


def test_files_as_they_are_written() -> None:
    cue = Cue(3_723_004, 3_725_040, ("Is 1 < 2 & 2 > 1?", "a --> b"), "Ann & Bob")
    assert vtt(cue) == (
        "01:02:03.004 --> 01:02:05.040\n"
        "<v Ann &amp; Bob>Is 1 &lt; 2 &amp; 2 &gt; 1?\na --&gt; b\n\n"
    )
    assert srt(7, cue) == ("7\n01:02:03,004 --> 01:02:05,040\nIs 1 < 2 & 2 > 1?\na -> b\n\n")
