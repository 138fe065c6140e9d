"""Devices that come, go and change while `talk --voice` runs, with a private sound server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.program import Program
from tests.script_server import scripted_server
from tests.sounds import SECOND
from tests.soundserver import SoundServer, pipewire, sound_server, started_again
from tests.terminal import PROMPT, Terminal

pytestmark = pytest.mark.full

STORY = "Once upon a time. " * 40
SCRIPT: dict[str, object] = {
    "rule": [{"match": "story", "text": STORY}, {"text": "It is noon."}],
}
CTRL_T = "\x14"


SERVERS = {"PulseAudio": sound_server, "PipeWire": pipewire}


@pytest.fixture(params=SERVERS)
def sound(request: pytest.FixtureRequest) -> Iterator[SoundServer]:
    with SERVERS[request.param]() as server:
        yield server


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    with scripted_server(SCRIPT) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


@contextmanager
def talking(program: Program, sound: SoundServer, *options: str) -> Iterator[Terminal]:
    """A voice conversation in a terminal."""
    terminal = Terminal(program, ["--voice", *options], sound.environ)
    try:
        terminal.shows("connected", PROMPT)
        yield terminal
    finally:
        terminal.types("\x15\x04")
        code = terminal.ends()
    assert code == 0


def test_single_devices_are_listed_and_chosen(program: Program, sound: SoundServer) -> None:
    with sound.headset():
        program.environ |= sound.environ
        listed = program.run("devices").text.splitlines()
        (headset,) = (line for line in listed if "  Headset  " in line)
        (monitor,) = (line for line in listed if " Monitor of Headset " in line)
        assert headset.endswith("output")
        for choice in ("headset", monitor.split()[0]):
            with talking(program, sound, "--input-device", choice) as terminal:
                terminal.shows("listening")
                sound.captures("headset.monitor")


def test_a_headset_that_comes_back_is_used_again(program: Program, sound: SoundServer) -> None:
    options = ("--input-device", "headset", "--output-device", "headset")
    with ExitStack() as connected:
        connected.enter_context(sound.headset())
        with talking(program, sound, *options) as terminal:
            terminal.shows("listening")
            sound.captures("headset.monitor")
            connected.close()
            terminal.shows("lost the speaker", "lost the microphone", "no microphone")
            sound.captures()
            with sound.headset():
                terminal.shows("listening")
                sound.captures("headset.monitor")


def test_a_reply_is_not_heard_after_the_speaker_is_lost(
    program: Program, sound: SoundServer
) -> None:
    with talking(program, sound, "--trace", "trace.jsonl") as terminal:
        with sound.record() as speaker:
            terminal.shows("listening")
            terminal.types("a story\r")
            speaker.waits(lambda audio: len(audio.lstrip(b"\0")) > SECOND)
            sound.dies()
        terminal.shows("lost the speaker", "heard up to here: ")
        terminal.types("/history\r")
        terminal.shows("[not heard]")
    assert "conversation.item.truncate" in (program.home / "trace.jsonl").read_text("utf-8")


def test_a_headset_that_is_connected_later_is_used(program: Program, sound: SoundServer) -> None:
    with talking(program, sound, "--input-device", "headset") as terminal:
        terminal.shows("no microphone matches", "no microphone ·")
        with sound.headset():
            terminal.shows("listening")
            sound.captures("headset.monitor")


def test_the_change_of_the_default_is_followed(program: Program, sound: SoundServer) -> None:
    with talking(program, sound) as terminal:
        terminal.shows("listening")
        sound.captures("mic.monitor")
        with sound.headset():
            sound.pactl("set-default-source", "headset.monitor")
            sound.captures("headset.monitor")
        sound.pactl("set-default-source", "mic.monitor")
        sound.captures("mic.monitor")
        assert "lost" not in "\n".join(terminal.lines())


def test_a_device_that_was_chosen_is_kept_if_the_default_changes(
    program: Program, sound: SoundServer
) -> None:
    with sound.headset():
        sound.pactl("set-default-source", "headset.monitor")
        with talking(program, sound, "--input-device", "headset") as terminal:
            terminal.shows("listening")
            sound.captures("headset.monitor")
            sound.pactl("set-default-source", "mic.monitor")
            sound.captures("headset.monitor")
            terminal.types("the time?\r")
            terminal.shows("It is noon.")
            sound.captures("headset.monitor")


def test_with_push_to_talk_the_device_is_open_only_while_the_user_speaks(
    program: Program, sound: SoundServer
) -> None:
    with talking(program, sound, "--vad", "off") as terminal:
        terminal.shows("Ctrl-T to talk")
        for _ in range(2):
            sound.captures()
            terminal.types(CTRL_T)
            terminal.shows("recording")
            sound.captures("mic.monitor")
            terminal.types("\x1b")
            terminal.shows("discarded")


def test_after_a_crash_of_the_sound_server_the_key_tries_again(
    program: Program, sound: SoundServer
) -> None:
    with talking(program, sound) as terminal:
        terminal.shows("listening")
        sound.dies()
        terminal.shows("lost the microphone", "no microphone ·")
        terminal.types(CTRL_T)
        terminal.shows("no microphone ·")
        terminal.types("the time?\r")
        terminal.shows("It is noon.")


def test_a_sound_server_that_is_started_again_is_used(program: Program) -> None:
    with sound_server() as sound, talking(program, sound) as terminal:
        terminal.shows("listening")
        terminal.types("the time?\r")
        terminal.shows("It is noon.", PROMPT)
        sound.dies()
        terminal.shows("lost the ", "lost the ", "no microphone ·")
        with started_again(sound):
            terminal.shows("lost the ", "lost the ", "listening")
            sound.captures("mic.monitor")
            with sound.record() as speaker:
                terminal.types("the time?\r")
                speaker.waits(any)
            assert "\n".join(terminal.lines()).count("lost the") == 2


def test_a_sound_server_that_hangs_is_used_when_it_answers(
    program: Program, sound: SoundServer
) -> None:
    with ExitStack() as hanging:
        hanging.enter_context(sound.hanging())
        with talking(program, sound) as terminal:
            terminal.types("the time?\r")
            terminal.shows("It is noon.")
            terminal.shows("the sound system does not answer", "no microphone")
            hanging.close()
            terminal.shows("the sound system does not answer", "listening")
            sound.captures("mic.monitor")
            with sound.hanging():
                terminal.shows("lost the microphone", "the sound system does not answer")
                terminal.types(CTRL_T)
                terminal.shows("lost the ", "does not answer", "does not answer", "no microphone")
            terminal.shows("does not answer", "does not answer", "listening")


def test_the_program_ends_while_the_sound_server_hangs(
    program: Program, sound: SoundServer
) -> None:
    with sound.hanging(), talking(program, sound) as terminal:
        terminal.shows(("opening the microphone", "the sound system does not answer"))
