"""When turns were spoken, as servers report it, and where that is in the input."""

from __future__ import annotations

from rtchat.core.audio_timeline import AudioTimeline
from rtchat.core.turn_times import MAX_TURNS, TurnTimes


def test_positions_follow_the_parts_of_the_input() -> None:
    timeline = AudioTimeline()
    timeline.add(0, 1000)
    timeline.add(200, 1200)  # it continues
    timeline.add(400, 5000)
    assert [timeline.position(at) for at in (0, 399, 400, 500)] == [1000, 1399, 5000, 5100]
    assert [timeline.end(at) for at in (0, 400, 401)] == [1000, 1400, 5001]
    assert timeline.parts(100, 600) == [(100, 400), (400, 600)]
    assert timeline.parts(400, 400) == []
    timeline.clear()
    assert timeline.position(7) == 7


def test_ids_that_differ_and_ids_that_are_missing() -> None:
    times = TurnTimes()
    times.started("a", 100)
    times.stopped("other", 900)
    assert times.committed("b", 2000) == (100, 900)
    times.stopped("c", 1500)
    assert times.committed("c", 2000) == (900, 1500)
    assert times.committed("d", 2000) == (1500, 2000)
    times.clear()
    assert times.committed("e", 300) == (0, 300)


def test_impossible_times_are_limited_to_the_audio() -> None:
    times = TurnTimes()
    times.started("a", -5)
    times.stopped("a", 10**17)
    assert times.committed("a", 1000) == (0, 1000)
    times.started("b", 5000)
    times.stopped("b", 900)
    assert times.committed("b", 1000) == (900, 900)


def test_turns_that_are_never_committed_are_forgotten() -> None:
    times = TurnTimes()
    for number in range(MAX_TURNS + 1):
        times.started(str(number), number)
    assert times.committed("0", 500) == (1, 500)
