"""Audio devices, with a fake PortAudio that misbehaves like real devices.

Tests with a sound server are in `test_soundserver`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rtchat.audio.device_list import Device, find, list_devices
from rtchat.audio.devices import IDLE_SECONDS, Microphone, Speaker
from rtchat.audio.pcm import RATE
from rtchat.audio.portaudio import BLOCK_SECONDS, reload
from rtchat.audio.pulse import pulse_devices
from rtchat.cli.audio import devices
from rtchat.core.errors import ExitCode, Problem, UsageError
from rtchat.core.events import PlaybackCut, SpeakerLost
from tests.fake_portaudio import Stream, device_info, install, settle
from tests.program import PATIENCE
from tests.sounds import frequency, tone, trim_silence

BLOCK = round(RATE * BLOCK_SECONDS["output"])
"""Samples of a block of a speaker."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The devices of a machine."""
    return install(monkeypatch)


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as caught:
        act()
    assert caught.value.hint
    return caught.value.message


@pytest.mark.usefixtures("machine")
def test_the_devices_are_listed() -> None:
    assert list_devices()[:3] == [
        Device(0, "HDA Intel: ALC (hw:0,0)", "ALSA", 2, 2, default_output=True),
        Device(1, "USB Headset: Audio (hw:1,0)", "ALSA", 1, 2, default_input=True),
        Device(2, "USB Webcam (hw:2,0)", "ALSA", 1, 0),
    ]


def test_a_name_cannot_act_on_the_terminal(
    machine: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    machine[2]["name"] = "Webcam\x1b]0;title\x07\n  9  Fake\x9b2J"
    assert devices() == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == len(machine)
    assert out.replace("\n", "").isprintable()


@pytest.mark.usefixtures("machine")
def test_a_device_is_found_by_index_or_part_of_its_name() -> None:
    assert [find(None, "input").index, find(None, "output").index] == [1, 0]
    assert [find(2, "input").index, find("2", "input").index] == [2, 2]
    assert [find("webCAM", "input").index, find("usb", "output").index] == [2, 1]
    assert find("hdmi", "output").index == 3  # an exact match


@pytest.mark.usefixtures("machine")
def test_an_unknown_or_ambiguous_device_is_a_usage_error() -> None:
    assert refusal(lambda: find("flute", "input")) == "no microphone matches 'flute'"
    assert refusal(lambda: find(3, "input")) == "no microphone matches '3'"
    several = refusal(lambda: find("usb", "input"))
    assert several.startswith("'usb' matches several devices")
    assert "1 USB Headset: Audio (hw:1,0), 2 USB Webcam (hw:2,0)" in several


def test_no_device_is_a_usage_error(machine: list[dict[str, object]]) -> None:
    del machine[3:], machine[:2]
    assert refusal(lambda: find(None, "output")) == "no speaker found"
    machine.clear()
    assert refusal(list_devices) == "no audio device found"


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("raise ImportError", "package sounddevice"),
        ("raise OSError('PortAudio library not found')", "library PortAudio"),
        ("raise Exception('Internal error')", "(Internal error)"),
    ],
)
def test_a_missing_library_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, part: str
) -> None:
    (tmp_path / "sounddevice.py").write_text(source)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert part in refusal(list_devices)


class Callbacks:
    """Records the callbacks of both devices."""

    def __init__(self) -> None:
        self.audio: list[bytes] = []
        self.lost: list[Problem] = []
        self.cuts: list[PlaybackCut | None] = []

    def microphone(self) -> Microphone:
        loop = asyncio.get_running_loop()
        device = find(1, "input")
        return Microphone(device, self.audio.append, on_lost=self.lost.append, loop=loop)

    def speaker(self) -> Speaker:
        loop = asyncio.get_running_loop()
        return Speaker(find(1, "output"), on_lost=self._lost_speaker, loop=loop)

    def _lost_speaker(self, event: SpeakerLost) -> None:
        self.lost.append(event.problem)
        self.cuts.append(event.cut)


@pytest.mark.usefixtures("machine")
def test_a_microphone_delivers_its_audio() -> None:
    async def main() -> None:
        callbacks = Callbacks()
        with callbacks.microphone() as microphone:
            (stream,) = Stream.made
            assert (stream.samplerate, stream.options["blocksize"]) == (RATE, RATE * 80 // 1000)
            loud = tone(440, 0.02, loud=1)
            stream.capture(loud)
            await settle()
            assert (callbacks.audio, microphone.overruns) == ([loud], 0)
            assert microphone.level > 0.9
            stream.capture(b"\1\0" * 480)
            stream.capture(b"\2\0" * 480)
            await settle()
            assert callbacks.audio[1:] == [b"\1\0" * 480 + b"\2\0" * 480]
        assert (stream.is_closed, microphone.level) == (True, 0)

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_late_loop_loses_the_oldest_blocks_and_counts_them() -> None:
    async def main() -> None:
        callbacks = Callbacks()
        with callbacks.microphone() as microphone:
            for number in range(1, 54):
                Stream.made[0].capture(bytes([number, 0]) * 480, overflow=number == 20)
            await settle()
            assert callbacks.audio == [b"".join(bytes([n, 0]) * 480 for n in range(4, 54))]
            assert microphone.overruns == 4

    asyncio.run(main())


def test_audio_is_resampled_for_a_device_with_another_rate(
    machine: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("soxr")
    monkeypatch.setattr(Stream, "refused", {RATE})

    async def main() -> None:
        callbacks = Callbacks()
        with callbacks.microphone(), callbacks.speaker() as speaker:
            input_stream, output_stream = Stream.made
            assert (input_stream.samplerate, output_stream.samplerate, len(machine)) == (
                48000,
                48000,
                5,
            )
            samples = tone(440, 1, rate=48000)
            for start in range(0, len(samples), 1920):
                input_stream.capture(samples[start : start + 1920])
            await settle()
            audio = b"".join(callbacks.audio)
            assert len(audio) / 2 / RATE == pytest.approx(1, abs=0.1)
            assert frequency(audio) == pytest.approx(440, rel=0.01)
            for item in ("a", "b"):
                for start in range(0, RATE * 2, 960):
                    speaker.play(item, 0, tone(440, 1)[start : start + 960])
            speaker.end("b")
            out = b"".join(output_stream.play_block() for _ in range(101))
            assert len(trim_silence(out)) / 2 / 48000 == pytest.approx(2, abs=0.01)
            assert frequency(trim_silence(out), rate=48000) == pytest.approx(440, rel=0.01)
            assert speaker.underruns == 0

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_device_is_closed_if_its_rate_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stream, "refused", {RATE})
    monkeypatch.setitem(sys.modules, "soxr", None)

    async def main() -> None:
        for opens in (Callbacks().microphone, Callbacks().speaker):
            assert "48000 Hz" in refusal(opens)
        assert [stream.is_closed for stream in Stream.made] == [True, True]

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_nothing_is_delivered_after_a_microphone_is_closed() -> None:
    async def main() -> None:
        callbacks = Callbacks()
        with callbacks.microphone():
            Stream.made[0].capture(b"\1\0" * 480)
        await settle()
        assert callbacks.audio == []

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_speaker_plays_and_reports_the_position_when_stopped() -> None:
    async def main() -> None:
        callbacks = Callbacks()
        with callbacks.speaker() as speaker:
            (stream,) = Stream.made
            speaker.play("a", 0, tone(440, 1))
            assert speaker.playing
            out = b""
            for _ in range(5):
                out += stream.play_block()
                stream.time += BLOCK_SECONDS["output"]
            assert out == tone(440, 1)[: len(out)]
            cut = speaker.stop()
            assert cut == PlaybackCut("a", 0, 260)  # 300 ms minus 40 ms in the device's buffer
            assert stream.play_block() == bytes(2 * BLOCK)
            assert (speaker.playing, speaker.stop(), speaker.underruns) == (False, None, 0)

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_speaker_runs_only_while_there_is_audio() -> None:
    async def main() -> None:
        callbacks = Callbacks()
        with callbacks.speaker() as speaker:
            (stream,) = Stream.made
            seen = [stream.runs]
            for item in ("a", "b"):
                speaker.play(item, 0, tone(440, 1))
                speaker.end(item)
                await settle()
                seen.append(stream.runs)
                while stream.runs:
                    stream.play_block()
                    stream.time += BLOCK_SECONDS["output"]
                    await settle()
            speaker.play("c", 0, tone(440, 1))
            speaker.stop()
            assert stream.play_block() == bytes(2 * BLOCK)
            speaker.play("d", 0, tone(440, 1))
            assert stream.play_block() == bytes(2 * BLOCK)  # the buffer is about to be dropped
            await settle()
            assert stream.runs
            assert stream.play_block() == tone(440, 1)[: 2 * BLOCK]
        assert seen == [False, True, True]
        assert stream.time == pytest.approx(2 * (1 + IDLE_SECONDS), abs=4 * BLOCK_SECONDS["output"])
        assert callbacks.lost == []

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_speaker_that_cannot_restart_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        callbacks = Callbacks()
        with callbacks.speaker() as speaker:
            speaker.play("a", 0, tone(440, 1))
            Stream.made[0].play_block()
            monkeypatch.setattr(Stream, "cannot_start", True)
            assert speaker.stop() is not None
            speaker.play("b", 0, tone(440, 1))
            await settle()
            assert (len(callbacks.lost), speaker.playing) == (1, False)
            assert callbacks.cuts == [PlaybackCut("b", 0, 0)]

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_what_a_lost_speaker_held_was_not_heard() -> None:
    async def main() -> None:
        callbacks = Callbacks()
        with callbacks.speaker() as speaker:
            (stream,) = Stream.made
            speaker.play("a", 0, tone(440, 1))
            for _ in range(5):
                stream.play_block()
                stream.time += BLOCK_SECONDS["output"]
            stream.time += 2  # until the loss is noticed
            stream.options["finished_callback"]()
            await settle()
        assert callbacks.cuts == [PlaybackCut("a", 0, 200)]  # 240 ms minus 40 ms in its buffer

    asyncio.run(main())


def test_devices_that_were_connected_later_are_found_once_none_is_open(
    machine: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    later = device_info("Gamepad", 1, 0) | {"index": len(machine)}
    module = sys.modules["sounddevice"]
    monkeypatch.setattr(module, "_terminate", lambda: None, raising=False)
    monkeypatch.setattr(module, "_initialize", lambda: machine.append(later), raising=False)

    async def main() -> None:
        with Callbacks().microphone():
            reload()
            assert "no microphone matches" in refusal(lambda: find("gamepad", "input"))
        reload()
        assert find("gamepad", "input").name == "Gamepad"

    asyncio.run(main())


def test_without_a_sound_server_it_has_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_SERVER", "unix:/nonexistent")
    assert pulse_devices("input") == []


@pytest.mark.usefixtures("machine")
def test_device_underflows_count_as_underruns() -> None:
    async def main() -> None:
        with Callbacks().speaker() as speaker:
            Stream.made[0].play_block(underflow=True)
            assert speaker.underruns == 0  # nothing was queued
            speaker.play("a", 0, tone(440, 1))
            Stream.made[0].play_block()
            Stream.made[0].play_block(underflow=True)
            assert speaker.underruns == 1

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_lost_device_is_reported_once() -> None:
    async def main() -> None:
        callbacks = Callbacks()
        with callbacks.microphone(), callbacks.speaker() as speaker:
            speaker.play("a", 0, tone(440, 1))
            for stream in Stream.made:
                stream.options["finished_callback"]()
                stream.options["finished_callback"]()
            await settle()
            assert [problem.exit for problem in callbacks.lost] == [
                ExitCode.USAGE,
                ExitCode.OUTPUT,
            ]
            name = "USB Headset: Audio (hw:1,0)"
            for problem, kind in zip(callbacks.lost, ("microphone", "speaker"), strict=True):
                assert problem.message == f"lost the {kind} {name}"
                assert problem.hint
            speaker.play("b", 0, tone(440, 1))
            speaker.end("b")
            assert (speaker.playing, speaker.stop()) == (False, None)
        assert len(callbacks.lost) == 2

    asyncio.run(main())


@pytest.mark.usefixtures("machine")
def test_a_device_without_callbacks_is_lost() -> None:
    async def main() -> None:
        callbacks = Callbacks()
        lost = asyncio.get_running_loop().create_future()
        callbacks.lost = ObservedList(lost.set_result)
        with callbacks.microphone():
            Stream.made[0].capture(bytes(960))
            problem = await asyncio.wait_for(lost, PATIENCE)
        assert problem.message.startswith("lost the microphone ")

    asyncio.run(main())


class ObservedList(list[Problem]):
    """A list that passes appended values to a function."""

    def __init__(self, observe: Callable[[Problem], None]) -> None:
        self.append = observe  # type: ignore[method-assign] # a function with the same signature


@pytest.mark.usefixtures("machine")
def test_a_device_that_cannot_be_opened_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "USB Headset: Audio (hw:1,0)"

    async def main() -> None:
        monkeypatch.setattr(Stream, "cannot_start", True)
        message = refusal(Callbacks().microphone)
        assert message == f"{name} cannot be opened (Device unavailable)"
        assert Stream.made[0].is_closed
        monkeypatch.setattr(Stream, "refused", {RATE, 48000})
        message = refusal(Callbacks().speaker)
        assert message == f"{name} cannot be opened (Invalid sample rate)"

    asyncio.run(main())
