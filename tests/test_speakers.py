"""The segments of transcripts, with the names of the speakers."""

from __future__ import annotations

from rtchat.core.events import SegmentTranscribed
from rtchat.core.speakers import MAX_SEGMENTS, MAX_TURNS, Speakers


def segment(number: int, text: str, speaker: str = "A", item: str = "u1") -> SegmentTranscribed:
    return SegmentTranscribed(item, f"s{number}", text, speaker, number, number + 1)


def test_a_speaker_begins_a_line() -> None:
    speakers = Speakers(is_shown=True)
    said = [("When?", "A"), (" Noon.", "B"), ("Or so.", "B"), ("Thanks.", "")]
    pieces = [speakers.add(segment(number, *each)) for number, each in enumerate(said)]
    assert pieces == ["A: When?", "\nB: Noon.", " Or so.", "\nThanks."]
    text, segments = speakers.take("u1")
    assert text == "".join(pieces)
    assert [each.start for each in segments] == [0, 1, 2, 3]
    assert speakers.take("u1") == ("", ())


def test_a_repeated_segment_is_ignored() -> None:
    speakers = Speakers(is_shown=True)
    speakers.add(segment(0, "When?"))
    assert speakers.add(segment(0, "When?")) == ""
    nameless = SegmentTranscribed("u1", "", "No", "A", 1, 2)
    assert [speakers.add(nameless), speakers.add(nameless)] == [" No", " No"]


def test_segments_may_be_kept_without_being_shown() -> None:
    speakers = Speakers(is_shown=False)
    assert speakers.add(segment(0, "When?")) == ""
    text, segments = speakers.take("u1")
    assert (text, len(segments)) == ("", 1)


def test_the_segments_are_limited() -> None:
    speakers = Speakers(is_shown=False)
    for number in range(MAX_SEGMENTS + 1):
        speakers.add(segment(number, "a"))
    assert len(speakers.take("u1")[1]) == MAX_SEGMENTS
    for number in range(MAX_TURNS + 1):
        speakers.add(segment(0, "a", item=f"u{number}"))
    assert speakers.take("u0") == ("", ())
    assert speakers.take("u1")[1] != ()
    speakers.clear()
    assert speakers.take("u2") == ("", ())
