"""Turn detection: speech probabilities in, turns out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.values import BYTES_A_MS, Options
from rtchat.server.turn_detection import (
    MAX_TURN_MS,
    PAUSE_MS,
    TurnBegan,
    TurnBoundary,
    TurnDetector,
    TurnEnded,
    TurnOptions,
    TurnSoFar,
    read_turn_options,
)
from rtchat.server.voice import FRAME_MS
from rtchat.wire.session_object import write_session

FRAME = FRAME_MS * BYTES_A_MS
PLAIN = TurnOptions(padding_ms=64, silence_ms=96)


class FakeDetector:
    """A detector that reads the probability, in percent, from the first sample of each frame."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, audio: bytes) -> list[float]:
        self._rest += audio
        whole = len(self._rest) // FRAME * FRAME
        frames = [self._rest[at : at + FRAME] for at in range(0, whole, FRAME)]
        self._rest = self._rest[whole:]
        return [int.from_bytes(frame[:2], "little") / 100 for frame in frames]


def frames(*percents: int) -> bytes:
    return b"".join(percent.to_bytes(2, "little") + bytes(FRAME - 2) for percent in percents)


def make_detector(turns: TurnOptions | None = PLAIN) -> TurnDetector:
    made = TurnDetector(FakeDetector)
    made.configure(turns)
    return made


def boundaries(detector: TurnDetector, *percents: int) -> list[TurnBoundary]:
    return [*detector.feed(frames(*percents))]


def test_a_turn_includes_padding_and_final_silence() -> None:
    percents = (0, 1, 2, 90, 91, 92, 3, 4, 5, 6)
    assert boundaries(make_detector(), *percents) == [
        TurnBegan(1 * FRAME_MS),
        TurnEnded(9 * FRAME_MS, frames(1, 2, 90, 91, 92, 3, 4, 5), 3 * FRAME),
    ]


def test_padding_is_limited_to_audio_after_the_last_turn() -> None:
    detector = make_detector(TurnOptions(padding_ms=1000, silence_ms=32))
    assert boundaries(detector, 90, 90, 0) == [
        TurnBegan(0),
        TurnEnded(3 * FRAME_MS, frames(90, 90, 0), FRAME),
    ]
    assert boundaries(detector, 1, 90, 90)[0] == TurnBegan(3 * FRAME_MS)


def test_a_single_frame_is_not_speech() -> None:
    assert boundaries(make_detector(), 0, 90, 0, 90, 0, 0, 0, 0) == []


def test_the_threshold_is_lower_during_speech() -> None:
    assert boundaries(make_detector(), 50, 50, 36, 0, 0, 36, 0, 0) == [TurnBegan(0)]
    assert boundaries(make_detector(TurnOptions(0.01, 0, 32)), 1, 1, 0) == [
        TurnBegan(0),
        TurnEnded(96, frames(1, 1, 0), FRAME),
    ]


@pytest.mark.parametrize(("percent", "is_speech"), [(79, False), (80, True)])
def test_the_threshold_is_the_minimum_probability(percent: int, is_speech: bool) -> None:
    found = boundaries(make_detector(TurnOptions(threshold=0.8, padding_ms=0)), percent, percent)
    assert found == ([TurnBegan(0)] if is_speech else [])


def test_a_turn_is_reported_each_second_of_speech_and_at_each_pause() -> None:
    detector = make_detector(TurnOptions(padding_ms=0, silence_ms=320))
    assert boundaries(detector, *[90] * 33) == [TurnBegan(0)]
    assert boundaries(detector, 90) == [
        TurnSoFar(34 * FRAME_MS, frames(*[90] * 34), is_paused=False)
    ]
    pause = PAUSE_MS // FRAME_MS
    assert boundaries(detector, *[0] * (pause - 1)) == []
    assert boundaries(detector, 0) == [
        TurnSoFar((34 + pause) * FRAME_MS, frames(*[90] * 34, *[0] * pause), is_paused=True)
    ]
    assert boundaries(detector, 0, 0, 90) == []
    assert [type(boundary) for boundary in boundaries(detector, *[0] * 10)] == [
        TurnSoFar,
        TurnEnded,
    ]


def test_zero_silence_means_one_frame() -> None:
    assert boundaries(make_detector(TurnOptions(padding_ms=0, silence_ms=0)), 90, 90, 90, 0) == [
        TurnBegan(0),
        TurnEnded(4 * FRAME_MS, frames(90, 90, 90, 0), FRAME),
    ]


def test_turns_do_not_depend_on_the_size_of_pieces() -> None:
    whole = frames(0, 0, 0, 90, 90, 90, 0, 0, 0, 0, 0)
    at_once = [*make_detector().feed(whole)]
    for size in (1, 7, 1000):
        detector = make_detector()
        pieces = (whole[at : at + size] for at in range(0, len(whole), size))
        assert [boundary for piece in pieces for boundary in detector.feed(piece)] == at_once


def test_audio_without_speech_is_discarded() -> None:
    detector = make_detector()
    for _ in range(1000):
        assert boundaries(detector, 0) == []
    assert detector.milliseconds == PLAIN.padding_ms
    assert boundaries(detector, 90, 90) == [TurnBegan(1000 * FRAME_MS - PLAIN.padding_ms)]


def test_the_length_of_a_turn_is_limited() -> None:
    detector = make_detector()
    max_frames = MAX_TURN_MS // FRAME_MS
    found = boundaries(detector, *[90] * (max_frames + 5))
    found = [boundary for boundary in found if not isinstance(boundary, TurnSoFar)]
    assert found[0] == TurnBegan(0)
    assert isinstance(found[1], TurnEnded)
    assert len(found[1].audio) >= MAX_TURN_MS * BYTES_A_MS
    assert found[1].end_ms == len(found[1].audio) // BYTES_A_MS
    assert found[2] == TurnBegan(found[1].end_ms)


def test_without_turn_detection_audio_is_buffered_until_taken() -> None:
    detector = make_detector(None)
    assert boundaries(detector, 90, 90, 0) == []
    assert [*detector.feed(b"\x05")] == []
    assert detector.milliseconds == 3 * FRAME_MS
    assert detector.take() == frames(90, 90, 0)
    assert (detector.milliseconds, detector.take()) == (0, b"")
    assert [*detector.feed(b"\x01\x00\x02")] == []
    assert detector.take() == b"\x01\x00"


def test_an_incomplete_sample_waits_for_the_next_piece() -> None:
    detector = make_detector(None)
    for piece in (b"\x01", b"\x02\x03", b"\x04\x05"):
        assert [*detector.feed(piece)] == []
    assert detector.take() == b"\x01\x02\x03\x04"


def test_the_buffer_is_limited_without_turn_detection() -> None:
    detector = make_detector(None)
    assert [*detector.feed(bytes(MAX_TURN_MS * BYTES_A_MS))] == []
    assert detector.has_room_for(0)
    assert not detector.has_room_for(2)
    detector.configure(PLAIN)
    assert detector.has_room_for(2)
    assert boundaries(detector, 0) == []
    assert detector.milliseconds == PLAIN.padding_ms


def test_take_ends_the_turn() -> None:
    detector = make_detector()
    assert boundaries(detector, 90, 90) == [TurnBegan(0)]
    assert detector.take() == frames(90, 90)
    assert boundaries(detector, 0, 0, 0, 0, 0) == []
    assert boundaries(detector, 90, 90)[0] == TurnBegan(5 * FRAME_MS)


def test_turn_detection_can_be_switched_off_and_on_during_speech() -> None:
    detector = make_detector()
    assert boundaries(detector, 90, 90) == [TurnBegan(0)]
    detector.configure(None)
    assert boundaries(detector, 90, 0, 0, 0) == []
    detector.configure(PLAIN)
    assert boundaries(detector, 90, 90)[0] == TurnBegan(4 * FRAME_MS)
    detector.configure(TurnOptions(silence_ms=32))
    found = boundaries(detector, 0)
    assert [type(boundary) for boundary in found] == [TurnEnded]


def test_the_detector_is_created_with_the_first_audio() -> None:
    made = []

    def make() -> FakeDetector:
        made.append(1)
        return FakeDetector()

    detector = TurnDetector(make)
    detector.configure(PLAIN)
    assert made == []
    assert [*detector.feed(b"\0\0")] == []
    assert [*detector.feed(b"\0\0")] == []
    assert made == [1]


@given(st.lists(st.integers(0, 100), max_size=60), st.lists(st.integers(1, 5000), max_size=20))
def test_turns_do_not_overlap_and_are_complete(
    percents: Sequence[int], sizes: Sequence[int]
) -> None:
    detector, whole, found, at = make_detector(), frames(*percents), [], 0
    for size in (*sizes, len(whole)):
        found += [*detector.feed(whole[at : at + size])]
        at += size
    begins, before = None, 0
    for boundary in found:
        if isinstance(boundary, TurnBegan):
            assert begins is None
            assert boundary.start_ms >= before
            begins = boundary.start_ms
        else:
            assert begins is not None
            assert boundary.audio == whole[begins * BYTES_A_MS : boundary.end_ms * BYTES_A_MS]
            begins, before = None, boundary.end_ms


# ---------------------------------------------------------------------------------------- settings


def turn_options_of(detection: object) -> TurnOptions | None:
    other = {"audio": {"input": {"turn_detection": detection}}}
    return read_turn_options(
        write_session(session_id="s", model="m", expires_at=1, options=Options(other=other))
    )


def test_default_turn_detection() -> None:
    session = write_session(session_id="s", model="m", expires_at=1, options=Options())
    assert read_turn_options(session) == TurnOptions(
        0.5, 300, 500, auto_respond=True, interrupts=True
    )


@pytest.mark.parametrize(
    ("detection", "turns"),
    [
        (None, None),
        ({"type": "server_vad"}, TurnOptions()),
        (
            {
                "type": "server_vad",
                "threshold": 0.0,
                "prefix_padding_ms": 0,
                "silence_duration_ms": 200,
                "create_response": False,
            },
            TurnOptions(0.0, 0, 200, auto_respond=False),
        ),
        ({"type": "server_vad", "interrupt_response": False}, TurnOptions(interrupts=False)),
        ({"type": "semantic_vad"}, TurnOptions(silence_ms=1000)),
        ({"type": "semantic_vad", "eagerness": "low"}, TurnOptions(silence_ms=2000)),
        (
            {"type": "semantic_vad", "eagerness": "high", "create_response": False},
            TurnOptions(silence_ms=600, auto_respond=False),
        ),
    ],
)
def test_turn_detection_is_read_from_the_session(
    detection: object, turns: TurnOptions | None
) -> None:
    assert turn_options_of(detection) == turns
