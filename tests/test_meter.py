"""The status line below the prompt of a voice conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from rtchat.core.effects import (
    Connecting,
    MicrophoneStatus,
    NotConnected,
    Ready,
    ReplyPlaying,
    SpeechHeard,
    TextArrived,
    Update,
    Waiting,
)
from rtchat.ui.meter import Meter
from tests.entry import entry
from tests.terminal import PROMPT

READY = Ready("m", 0.1)
LISTENING = MicrophoneStatus(is_on=True, push_to_talk=False)
MUTED = MicrophoneStatus(is_on=False, push_to_talk=False)
HAND_OFF = MicrophoneStatus(is_on=False, push_to_talk=True)


class _Meters:
    def __init__(self, *levels: float, is_playing: bool = False) -> None:
        self.levels = list(levels)
        self.is_playing = is_playing

    @property
    def level(self) -> float:
        return self.levels.pop(0) if self.levels else 0.0


def _line(meter: Meter) -> str:
    return "".join(text for _, text, *_ in meter.paint())


@pytest.mark.parametrize(
    ("is_on", "push_to_talk", "width", "line"),
    [
        (True, False, 80, "● listening ▁▃▅█ · Ctrl-T mutes"),
        (True, False, 31, "● listening ▁▃▅█"),
        (True, False, 12, "● listening"),
        (True, False, 5, "● listening"),
        (False, False, 80, "○ muted · Ctrl-T unmutes"),
        (False, False, 20, "○ muted"),
        (True, True, 80, "● recording ▁▃▅█ · Ctrl-T sends · Esc discards"),
        (True, True, 40, "● recording ▁▃▅█ · Ctrl-T sends"),
        (False, True, 20, "○ Ctrl-T to talk"),
    ],
)
def test_it_shows_the_microphone_state_and_the_level(
    is_on: bool, push_to_talk: bool, width: int, line: str
) -> None:
    meter = Meter(_Meters(1.0, 0.0, 0.25, 0.5, 1.0), lambda: width)
    meter.show(READY)
    meter.show(MicrophoneStatus(is_on, push_to_talk))
    for _ in range(5):
        meter.poll()
    assert _line(meter) == line


def test_it_says_how_to_stop_playback() -> None:
    meter = Meter(_Meters(is_playing=True), lambda: 80)
    meter.show(MicrophoneStatus(is_on=False, push_to_talk=False))
    assert _line(meter) == "○ muted · Ctrl-T unmutes · Esc stops playback"


def test_a_missing_microphone_is_not_shown_as_muted() -> None:
    meter = Meter(_Meters(), lambda: 80)
    meter.show(MicrophoneStatus(is_on=False, push_to_talk=False, is_available=False))
    assert _line(meter) == "○ no microphone · Ctrl-T tries again"


@pytest.mark.parametrize("push_to_talk", [True, False])
def test_a_microphone_is_not_shown_as_on_before_audio_arrives(push_to_talk: bool) -> None:
    meter = Meter(_Meters(), lambda: 80)
    meter.show(MicrophoneStatus(False, push_to_talk, is_opening=True))
    assert _line(meter).startswith("○ opening the microphone · ")


def test_it_is_empty_before_the_microphone_state_is_known() -> None:
    assert _line(Meter(_Meters(), lambda: 80)) == ""


def test_polling_reports_whether_it_has_changed() -> None:
    meter = Meter(_Meters(0.0, 0.01, 0.5, 0.5), lambda: 80)
    meter.show(MicrophoneStatus(is_on=True, push_to_talk=False))
    meter.paint()
    changed = []
    for _ in range(10):
        changed.append(meter.poll())
        meter.paint()
    # Two bars come in, one goes to the left of the other, and both leave.
    assert changed == [False, False, True, True, True, True, True, True, False, False]


def test_it_is_polled_only_while_it_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        due: list[Callable[[], None]] = []

        def call_later(_seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
            due.append(call)
            return asyncio.TimerHandle(0.0, call, (), asyncio.get_running_loop())

        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
        meters, changes = _Meters(), list[str]()
        meter = Meter(meters, lambda: 80)
        with meter.polling(lambda: changes.append(_line(meter))):
            for update in (HAND_OFF, MUTED, READY):
                meter.show(update)
            assert not due
            meter.show(LISTENING)
            assert len(due) == 1
            meter.show(MUTED)
            due.pop()()
            assert not due  # the last one
            meters.is_playing = True
            meter.show(READY)
            due.pop()()
            meters.is_playing = False
            due.pop()()
            assert not due
        meter.show(LISTENING)
        assert not due
        assert changes == [
            "○ muted · Ctrl-T unmutes",
            "○ muted · Ctrl-T unmutes · Esc stops playback",
            "○ muted · Ctrl-T unmutes",
        ]

    asyncio.run(main())


def test_the_level_is_drawn_alone_while_the_entry_stays() -> None:
    async def main() -> None:
        meters = _Meters()
        async with entry(meters=meters) as entered:
            for update in (READY, LISTENING):
                entered.prompt.show(update)
            await entered.types("my draft")
            await entered.shows("my draft", "● listening ▁▁▁▁ · Ctrl-T mutes")
            meters.levels += [1.0, 0.0, 0.5, 1.0]
            rows = await entered.shows("● listening █▁▅█ · Ctrl-T mutes")
            assert [row for row in rows if row] == [
                f"{PROMPT} my draft",
                "● listening █▁▅█ · Ctrl-T mutes",
            ]
            await entered.types("s")
            assert f"{PROMPT} my drafts" in entered.screen.rows()

    asyncio.run(main())


def test_turning_the_microphone_off_clears_the_levels() -> None:
    meter = Meter(_Meters(1.0), lambda: 80)
    meter.show(READY)
    meter.show(MicrophoneStatus(is_on=True, push_to_talk=False))
    meter.poll()
    meter.show(MicrophoneStatus(is_on=False, push_to_talk=False))
    meter.show(MicrophoneStatus(is_on=True, push_to_talk=False))
    assert _line(meter) == "● listening ▁▁▁▁ · Ctrl-T mutes"


@pytest.mark.parametrize(
    ("updates", "line"),
    [
        ([LISTENING], "● recording until connected"),
        ([LISTENING, READY], "● listening"),
        (
            [LISTENING, READY, Waiting("the connection was lost", 2.0)],
            "● recording until connected",
        ),
        ([LISTENING, READY, Waiting("rate limit", 2.0, is_connected=True)], "● listening"),
        ([LISTENING, READY, Connecting("m")], "● recording until connected"),
        ([LISTENING, READY, NotConnected()], "● recording until connected"),
        ([LISTENING, Connecting("m"), TextArrived("Hi")], "● listening"),
        ([LISTENING, READY, SpeechHeard(is_speaking=True)], "● hearing you"),
        ([LISTENING, READY, SpeechHeard(is_speaking=True), SpeechHeard(False)], "● listening"),
        ([MUTED, READY, SpeechHeard(is_speaking=True)], "○ muted"),
    ],
)
def test_it_says_whether_the_user_is_heard(updates: list[Update], line: str) -> None:
    meter = Meter(_Meters(), lambda: 80)
    for update in updates:
        meter.show(update)
    assert _line(meter).startswith(line)


@pytest.mark.parametrize(
    ("microphone", "width", "line"),
    [
        (LISTENING, 80, "● hearing you ▁▁▁▁ · Is it late in Oslo?"),
        (LISTENING, 36, "● hearing you ▁▁▁▁ · …late in Oslo?"),
        (LISTENING, 33, "● hearing you ▁▁▁▁"),
        (HAND_OFF, 40, "○ Ctrl-T to talk · Is it late in Oslo?"),
    ],
)
def test_it_shows_the_last_words_heard(microphone: MicrophoneStatus, width: int, line: str) -> None:
    meter = Meter(_Meters(), lambda: width)
    for update in (READY, microphone, SpeechHeard(is_speaking=True, words="Is it late\nin Oslo?")):
        meter.show(update)
    assert _line(meter) == line


@pytest.mark.parametrize(
    ("width", "words", "line"),
    [
        (70, "", "● listening ▁▁▁▁ · Ctrl-T mutes · playing: It is late in Oslo."),
        (63, "", "● listening ▁▁▁▁ · Ctrl-T mutes · playing: It is late in Oslo."),
        (57, "", "● listening ▁▁▁▁ · Ctrl-T mutes · playing: …ate in Oslo."),
        (52, "", "● listening ▁▁▁▁ · Ctrl-T mutes"),
        (62, "Stop", "● listening ▁▁▁▁ · Stop"),
    ],
)
def test_it_shows_the_last_words_of_the_reply_that_were_heard(
    width: int, words: str, line: str
) -> None:
    meter = Meter(_Meters(), lambda: width)
    for update in (
        *(READY, LISTENING, ReplyPlaying("It is late in Oslo.")),
        SpeechHeard(is_speaking=False, words=words),
    ):
        meter.show(update)
    assert _line(meter) == line
