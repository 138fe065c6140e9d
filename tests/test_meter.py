"""The line below the prompt of a voice conversation."""

from __future__ import annotations

import pytest

from rtchat.core.effects import MicrophoneStatus
from rtchat.ui.meter import Meter


class _Meters:
    def __init__(self, *levels: float, is_playing: bool = False) -> None:
        self._levels = list(levels)
        self.is_playing = is_playing

    @property
    def level(self) -> float:
        return self._levels.pop(0) if self._levels else 0.0


def _line(meter: Meter) -> str:
    return "".join(text for _, text, *_ in meter.paint())


@pytest.mark.parametrize(
    ("is_on", "push_to_talk", "width", "line"),
    [
        (True, False, 80, "● listening ▁▃▅█ · Ctrl-T mutes"),
        (True, False, 31, "● listening ▁▃▅█"),
        (True, False, 12, "● listening"),
        (True, False, 5, "● listening"),
        (False, False, 80, "○ muted · Ctrl-T listens"),
        (False, False, 20, "○ muted"),
        (True, True, 80, "● talking ▁▃▅█ · Ctrl-T sends · Esc drops it"),
        (True, True, 40, "● talking ▁▃▅█ · Ctrl-T sends"),
        (False, True, 20, "○ Ctrl-T to talk"),
    ],
)
def test_whether_it_is_on_and_what_it_hears(
    is_on: bool, push_to_talk: bool, width: int, line: str
) -> None:
    meter = Meter(_Meters(1.0, 0.0, 0.25, 0.5, 1.0), lambda: width)
    meter.turn(MicrophoneStatus(is_on, push_to_talk))
    for _ in range(5):
        meter.look()
    assert _line(meter) == line


def test_what_is_to_be_heard_can_be_stopped() -> None:
    meter = Meter(_Meters(is_playing=True), lambda: 80)
    meter.turn(MicrophoneStatus(is_on=False, push_to_talk=False))
    assert _line(meter) == "○ muted · Ctrl-T listens · Esc stops the voice"


def test_one_that_is_gone_is_not_muted() -> None:
    meter = Meter(_Meters(), lambda: 80)
    meter.turn(MicrophoneStatus(is_on=False, push_to_talk=False, is_there=False))
    assert _line(meter) == "○ no microphone"


def test_before_there_is_a_microphone_it_is_empty() -> None:
    assert _line(Meter(_Meters(), lambda: 80)) == ""


def test_it_is_painted_only_when_it_has_changed() -> None:
    meter = Meter(_Meters(0.0, 0.01, 0.5, 0.5), lambda: 80)
    meter.turn(MicrophoneStatus(is_on=True, push_to_talk=False))
    meter.paint()
    changed = []
    for _ in range(10):
        changed.append(meter.look())
        meter.paint()
    # Two bars come in, one goes to the left of the other, and both leave.
    assert changed == [False, False, True, True, True, True, True, True, False, False]


def test_a_microphone_that_was_off_shows_nothing_of_before() -> None:
    meter = Meter(_Meters(1.0), lambda: 80)
    meter.turn(MicrophoneStatus(is_on=True, push_to_talk=False))
    meter.look()
    meter.turn(MicrophoneStatus(is_on=False, push_to_talk=False))
    meter.turn(MicrophoneStatus(is_on=True, push_to_talk=False))
    assert _line(meter) == "● listening ▁▁▁▁ · Ctrl-T mutes"
