"""Sound devices, of a stand-in for PortAudio that does what devices do at their worst.

Not here: those of a sound server (`test_soundserver`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from rtchat.audio.devices import Device, Microphone, Speaker, find, listing
from rtchat.audio.files import RATE
from rtchat.core.errors import ExitCode, Problem, UsageError
from rtchat.core.events import PlaybackCut
from tests.program import PATIENCE
from tests.sounds import frequency, heard, tone


class PortAudioError(Exception):
    """As the package has it."""


class Stream:
    """A stream that nothing happens to but what a test does."""

    made: ClassVar[list[Stream]] = []
    refused: ClassVar[set[int]] = set()
    cannot_start = False
    latency = 0.04

    def __init__(self, **options: Any) -> None:
        if options["samplerate"] in self.refused:
            raise PortAudioError("Invalid sample rate")
        self.options = options
        self.samplerate = options["samplerate"]
        self.time = 0.0
        self.is_closed = False
        self.made.append(self)

    def start(self) -> None:
        if self.cannot_start:
            raise PortAudioError("Device unavailable")

    def abort(self) -> None:
        self.options["finished_callback"]()  # as PortAudio does

    def close(self, *, ignore_errors: bool) -> None:
        self.is_closed = ignore_errors

    def hears(self, audio: bytes, *, overflow: bool = False) -> None:
        status = SimpleNamespace(input_overflow=True) if overflow else None
        self.options["callback"](audio, len(audio) // 2, None, status)

    def plays(self, *, underflow: bool = False) -> bytes:
        """A block, which will have been heard 60 ms from now."""
        status = SimpleNamespace(output_underflow=True) if underflow else None
        out = bytearray(self.options["blocksize"] * 2)
        time = SimpleNamespace(outputBufferDacTime=self.time + 0.04, currentTime=self.time)
        self.options["callback"](memoryview(out), len(out) // 2, time, status)
        return bytes(out)


def _device(name: str, inputs: int, outputs: int) -> dict[str, object]:
    return {
        "name": name,
        "hostapi": 0,
        "default_samplerate": 48000.0,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
    }


DEVICES = [
    _device("HDA Intel: ALC (hw:0,0)", 2, 2),
    _device("USB Headset: Audio (hw:1,0)", 1, 2),
    _device("USB Webcam (hw:2,0)", 1, 0),
    _device("HDMI", 0, 8),
    _device("hdmi 2", 0, 8),
]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The devices of a machine, to be changed by a test."""
    devices = [device | {"index": number} for number, device in enumerate(DEVICES)]

    def query_devices(index: int | None = None) -> object:
        return devices if index is None else devices[index]

    module = ModuleType("sounddevice")
    module.__dict__.update(
        query_devices=query_devices,
        query_hostapis=lambda: [{"name": "ALSA"}],
        default=SimpleNamespace(device=(1, 0)),
        RawInputStream=Stream,
        RawOutputStream=Stream,
        PortAudioError=PortAudioError,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    monkeypatch.setattr(Stream, "made", [])
    return devices


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as caught:
        act()
    return str(caught.value)


@pytest.mark.usefixtures("machine")
def test_the_devices_of_a_machine() -> None:
    assert listing()[:3] == [
        Device(0, "HDA Intel: ALC (hw:0,0)", "ALSA", 2, 2, default_output=True),
        Device(1, "USB Headset: Audio (hw:1,0)", "ALSA", 1, 2, default_input=True),
        Device(2, "USB Webcam (hw:2,0)", "ALSA", 1, 0),
    ]


@pytest.mark.usefixtures("machine")
def test_a_device_is_found_by_its_number_or_a_part_of_its_name() -> None:
    assert [find(None, "input").index, find(None, "output").index] == [1, 0]
    assert [find(2, "input").index, find("2", "input").index] == [2, 2]
    assert [find("webCAM", "input").index, find("usb", "output").index] == [2, 1]
    assert find("hdmi", "output").index == 3  # its whole name


@pytest.mark.usefixtures("machine")
def test_a_device_that_is_not_there_or_may_be_several() -> None:
    hint = "rtchat devices lists what there is"
    assert refusal(lambda: find("flute", "input")) == f"there is no microphone flute: {hint}"
    assert refusal(lambda: find(3, "input")) == f"there is no microphone 3: {hint}"
    several = "usb may be any of 1 USB Headset: Audio (hw:1,0), 2 USB Webcam (hw:2,0)"
    assert refusal(lambda: find("usb", "input")) == f"{several}: give its number"


def test_a_machine_without_sound(machine: list[dict[str, object]]) -> None:
    del machine[3:], machine[:2]
    instead = "connect one, or type instead"
    assert refusal(lambda: find(None, "output")) == f"this machine has no speaker: {instead}"
    machine.clear()
    assert refusal(listing) == f"this machine has no sound device: {instead}"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ImportError", "sound takes the package sounddevice: pip install 'rtchat[voice]'"),
        (
            "raise OSError('PortAudio library not found')",
            "sound takes the library PortAudio: install it: on Debian, apt install libportaudio2",
        ),
        ("raise Exception('Internal error')", "there is no sound (Internal error): type instead"),
    ],
)
def test_a_machine_without_what_finds_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    (tmp_path / "sounddevice.py").write_text(source)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert refusal(listing) == said


class Ears:
    """What somebody who opened both devices is told."""

    def __init__(self) -> None:
        self.audio: list[bytes] = []
        self.lost: list[Problem] = []

    def microphone(self) -> Microphone:
        loop = asyncio.get_running_loop()
        device = find(1, "input")
        return Microphone(device, self.audio.append, on_lost=self.lost.append, loop=loop)

    def speaker(self) -> Speaker:
        loop = asyncio.get_running_loop()
        return Speaker(find(1, "output"), on_lost=self.lost.append, loop=loop)


async def turn() -> None:
    """Let the loop do what it was told to."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.mark.usefixtures("machine")
def test_a_microphone_hands_on_what_it_hears() -> None:
    async def main() -> None:
        ears = Ears()
        with ears.microphone() as microphone:
            (stream,) = Stream.made
            assert (stream.samplerate, stream.options["blocksize"]) == (RATE, 480)
            loud = tone(440, 0.02, loud=1)
            stream.hears(loud)
            await turn()
            assert (ears.audio, microphone.overruns) == ([loud], 0)
            assert microphone.level > 0.9
            stream.hears(b"\1\0" * 480)
            stream.hears(b"\2\0" * 480)
            await turn()
            assert ears.audio[1:] == [b"\1\0" * 480 + b"\2\0" * 480]
        assert (stream.is_closed, microphone.level) == (True, 0)

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_loop_that_is_late_loses_the_oldest_and_knows_how_much() -> None:
    async def main() -> None:
        ears = Ears()
        with ears.microphone() as microphone:
            for number in range(1, 104):
                Stream.made[0].hears(bytes([number, 0]) * 480, overflow=number == 50)
            await turn()
            assert ears.audio == [b"".join(bytes([n, 0]) * 480 for n in range(4, 104))]
            assert microphone.overruns == 4

    asyncio.run(main())


def test_a_device_with_a_rate_of_its_own_is_heard_and_fed_at_that(
    machine: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("soxr")
    monkeypatch.setattr(Stream, "refused", {RATE})

    async def main() -> None:
        ears = Ears()
        with ears.microphone(), ears.speaker() as speaker:
            hears, plays = Stream.made
            assert (hears.samplerate, plays.samplerate, len(machine)) == (48000, 48000, 5)
            sound = tone(440, 1, rate=48000)
            for start in range(0, len(sound), 1920):
                hears.hears(sound[start : start + 1920])
            await turn()
            audio = b"".join(ears.audio)
            assert len(audio) / 2 / RATE == pytest.approx(1, abs=0.1)
            assert frequency(audio) == pytest.approx(440, rel=0.01)
            for item in ("a", "b"):
                for start in range(0, RATE * 2, 960):
                    speaker.play(item, 0, tone(440, 1)[start : start + 960])
            speaker.end("b")
            out = b"".join(plays.plays() for _ in range(101))
            assert len(heard(out)) / 2 / 48000 == pytest.approx(2, abs=0.01)
            assert frequency(heard(out), rate=48000) == pytest.approx(440, rel=0.01)
            assert speaker.underruns == 0

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_speaker_plays_and_is_stopped_where_it_was_heard() -> None:
    async def main() -> None:
        ears = Ears()
        with ears.speaker() as speaker:
            (stream,) = Stream.made
            speaker.play("a", 0, tone(440, 1))
            assert speaker.playing
            out = b""
            for _ in range(10):
                out += stream.plays()
                stream.time += 0.02
            assert out == tone(440, 1)[: len(out)]
            assert speaker.stop() == PlaybackCut("a", 0, 160)  # 200, and 40 are on their way
            assert stream.plays() == bytes(960)
            assert (speaker.playing, speaker.stop(), speaker.underruns) == (False, None, 0)

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_speaker_that_cannot_go_on_after_a_stop_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        ears = Ears()
        with ears.speaker() as speaker:
            speaker.play("a", 0, tone(440, 1))
            Stream.made[0].plays()
            monkeypatch.setattr(Stream, "cannot_start", True)
            assert speaker.stop() is not None
            speaker.play("b", 0, tone(440, 1))
            assert (len(ears.lost), speaker.playing) == (1, False)

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_gap_that_the_device_makes_is_an_underrun_too() -> None:
    async def main() -> None:
        with Ears().speaker() as speaker:
            Stream.made[0].plays(underflow=True)
            assert speaker.underruns == 0  # nothing was to be heard
            speaker.play("a", 0, tone(440, 1))
            Stream.made[0].plays()
            Stream.made[0].plays(underflow=True)
            assert speaker.underruns == 1

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_device_that_vanishes_is_told_once_and_the_rest_goes_on() -> None:
    async def main() -> None:
        ears = Ears()
        with ears.microphone(), ears.speaker() as speaker:
            speaker.play("a", 0, tone(440, 1))
            for stream in Stream.made:
                stream.options["finished_callback"]()
                stream.options["finished_callback"]()
            await turn()
            hint, name = "the conversation goes on as text", "USB Headset: Audio (hw:1,0)"
            assert ears.lost == [
                Problem(ExitCode.USAGE, f"the microphone {name} is gone", hint),
                Problem(ExitCode.OUTPUT, f"the speaker {name} is gone", hint),
            ]
            speaker.play("b", 0, tone(440, 1))
            speaker.end("b")
            assert (speaker.playing, speaker.stop()) == (False, None)
        assert len(ears.lost) == 2

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_device_that_says_nothing_more_has_vanished() -> None:
    async def main() -> None:
        ears = Ears()
        gone = asyncio.get_running_loop().create_future()
        ears.lost = Told(gone.set_result)
        with ears.microphone():
            Stream.made[0].hears(bytes(960))
            problem = await asyncio.wait_for(gone, PATIENCE)
        assert "is gone" in problem.message

    asyncio.run(main())


class Told(list[Problem]):
    """A list that tells what is put in it."""

    def __init__(self, tell: Callable[[Problem], None]) -> None:
        self.append = tell  # type: ignore[method-assign] # it takes what a list takes


@pytest.mark.usefixtures("machine")
def test_a_device_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    hint = "rtchat devices lists what there is"
    name = "USB Headset: Audio (hw:1,0)"

    async def main() -> None:
        monkeypatch.setattr(Stream, "cannot_start", True)
        said = refusal(Ears().speaker)
        assert said == f"{name} cannot be opened (Device unavailable): {hint}"
        assert Stream.made[0].is_closed
        monkeypatch.setattr(Stream, "refused", {RATE, 48000})
        said = refusal(Ears().microphone)
        assert said == f"{name} cannot be opened (Invalid sample rate): {hint}"

    asyncio.run(main())
