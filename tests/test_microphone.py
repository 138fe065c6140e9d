"""When the device of the microphone is opened and closed."""

from __future__ import annotations

import pytest

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.conversation import Conversation
from rtchat.core.effects import MicrophoneStatus, UseMicrophone
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.microphone import CLOSE_DELAY
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import BYTES_A_MS, Options

SERVER_VAD = SpeechOptions(speaks=True, has_microphone=True, push_to_talk=False)
PUSH_TO_TALK = SpeechOptions(speaks=True, has_microphone=True)
GONE = ev.MicrophoneLost(Problem(ExitCode.USAGE, "it is gone"))
TOGGLED, OPENED, FOUND = (
    ev.MicrophoneToggled(),
    ev.MicrophoneOpened("Headset"),
    ev.MicrophoneFound(),
)
LATER = ev.TimerFired(ev.Timer.MICROPHONE)
WAIT, STOP_WAITING = (
    fx.SetTimer(ev.Timer.MICROPHONE, CLOSE_DELAY),
    fx.ClearTimer(ev.Timer.MICROPHONE),
)
OPEN, CLOSE = UseMicrophone(True), UseMicrophone(False)
CAPTURED = ev.AudioCaptured(bytes(500 * BYTES_A_MS))
SESSION = (ev.ConnectionOpened(), ev.SessionCreated("s", "m"), ev.SessionUpdated("s", "m"))


def status(state: str, speech: SpeechOptions) -> MicrophoneStatus:
    return MicrophoneStatus(
        state == "on",
        speech.push_to_talk,
        is_available=state != "lost",
        is_opening=state == "opening",
    )


def run(speech: SpeechOptions, *events: ev.Event) -> list[object]:
    """What the last event does to the device, and the state shown after it."""
    conversation = Conversation("m", Options(modality="audio"), speech=speech)
    effects: list[fx.Effect] = []
    for event in (ev.Started(), *SESSION, *events):
        effects = conversation.handle(event)
    return [
        *(e for e in effects if isinstance(e, UseMicrophone) or e in (WAIT, STOP_WAITING)),
        *(
            next(state for state in STATES if status(state, speech) == e.update)
            for e in effects
            if isinstance(e, fx.Show) and isinstance(e.update, MicrophoneStatus)
        ),
    ]


STATES = ("on", "opening", "off", "lost")


@pytest.mark.parametrize(
    ("events", "expected"),
    {
        "the device is open": ([OPENED], ["on"]),
        "muted": ([OPENED, TOGGLED], [WAIT, "off"]),
        "unmuted soon": ([OPENED, TOGGLED, TOGGLED], [STOP_WAITING, "on"]),
        "muted long": ([OPENED, TOGGLED, LATER], [CLOSE]),
        "unmuted later": ([OPENED, TOGGLED, LATER, TOGGLED], [OPEN, "opening"]),
        "unmuted later, and open": ([OPENED, TOGGLED, LATER, TOGGLED, OPENED], ["on"]),
        "muted twice": ([OPENED, TOGGLED, LATER, TOGGLED, OPENED, TOGGLED], [WAIT, "off"]),
        "muted before it is open": ([TOGGLED], [WAIT, "off"]),
        "opened while muted": ([TOGGLED, OPENED], ["off"]),
        "opened after it was closed": ([TOGGLED, LATER, OPENED], []),
        "cannot be opened": ([GONE], [CLOSE, "lost"]),
        "lost": ([OPENED, GONE], [CLOSE, "lost"]),
        "lost twice": ([OPENED, GONE, GONE], []),
        "lost while muted": ([OPENED, TOGGLED, GONE], [CLOSE, STOP_WAITING, "lost"]),
        "lost after it was closed": ([TOGGLED, LATER, GONE], ["lost"]),
        "found": ([OPENED, GONE, FOUND], [OPEN, "opening"]),
        "found, and lost": ([OPENED, GONE, FOUND, GONE], [CLOSE, "lost"]),
        "found again": ([OPENED, GONE, FOUND, GONE, FOUND], [OPEN, "opening"]),
        "found, but not lost": ([OPENED, FOUND], []),
        "lost while muted, and found": ([OPENED, TOGGLED, GONE, FOUND], ["off"]),
        "lost, and tried again": ([GONE, TOGGLED], [OPEN, "opening"]),
        "tried again, and found": ([GONE, TOGGLED, OPENED], ["on"]),
        "tried again in vain": ([GONE, TOGGLED, GONE], [CLOSE, "lost"]),
        "given up, then found": ([GONE, TOGGLED, TOGGLED, GONE, FOUND], ["off"]),
        "the connection is lost while muted": (
            [OPENED, TOGGLED, ev.ConnectionLost(GONE.problem, ev.Retry.ALWAYS), LATER],
            [CLOSE],
        ),
    }.values(),
)
def test_a_server_that_detects_turns(events: list[ev.Event], expected: list[object]) -> None:
    assert run(SERVER_VAD, *events) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    {
        "before anything is said": ([], []),
        "pressed": ([TOGGLED], [OPEN, "opening"]),
        "open": ([TOGGLED, OPENED], ["on"]),
        "pressed again": ([TOGGLED, OPENED, CAPTURED, TOGGLED], [CLOSE, "off"]),
        "pressed again too soon": ([TOGGLED, TOGGLED], [CLOSE, "off"]),
        "discarded": ([TOGGLED, OPENED, ev.CancelPressed()], [CLOSE, "off"]),
        "lost": ([TOGGLED, OPENED, CAPTURED, GONE], [CLOSE, "lost"]),
        "found": ([TOGGLED, OPENED, GONE, FOUND], ["off"]),
        "tried again": ([TOGGLED, OPENED, GONE, TOGGLED], [OPEN, "opening"]),
    }.values(),
)
def test_push_to_talk(events: list[ev.Event], expected: list[object]) -> None:
    assert run(PUSH_TO_TALK, *events) == expected


def test_the_name_of_the_device_is_shown_once_audio_arrives_from_it() -> None:
    conversation = Conversation("m", Options(modality="audio"), speech=SERVER_VAD)
    names = [
        effect.update.name
        for event in (ev.Started(), OPENED, OPENED, ev.MicrophoneOpened("Webcam"))
        for effect in conversation.handle(event)
        if isinstance(effect, fx.Show) and isinstance(effect.update, MicrophoneStatus)
    ]
    assert names == ["", "Headset", "Webcam"]


@pytest.mark.parametrize("speech", [SERVER_VAD, PUSH_TO_TALK])
def test_the_device_is_not_used_if_there_is_no_session(speech: SpeechOptions) -> None:
    refused = ev.ConnectionLost(Problem(ExitCode.LINK, "refused"), ev.Retry.NEVER)
    expected = [WAIT, "off"] if speech is SERVER_VAD else []
    assert run(speech, OPENED, refused) == expected


def test_without_a_microphone_nothing_is_opened() -> None:
    for event in (TOGGLED, FOUND, OPENED):
        assert run(SpeechOptions(), event) == []
