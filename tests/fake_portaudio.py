"""A fake of the package sounddevice, whose devices misbehave like real ones."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar
from weakref import WeakSet

import pytest

from rtchat.system import worker


class PortAudioError(Exception):
    """The exception class of the package sounddevice."""


class Stream:
    """A stream that is driven by the test."""

    made: ClassVar[list[Stream]] = []
    refused: ClassVar[set[int]] = set()
    cannot_start = False
    ends_at_start = False
    """Whether the next stream ends as soon as it is started."""
    latency = 0.04

    def __init__(self, kind: str, **options: Any) -> None:
        if options["samplerate"] in self.refused:
            raise PortAudioError("Invalid sample rate")
        self.kind = kind
        self.options = options
        self.samplerate = options["samplerate"]
        self.time = 0.0
        self.runs = self.is_closed = False
        self.made.append(self)

    def start(self) -> None:
        if self.cannot_start:
            raise PortAudioError("Device unavailable")
        self.runs = True
        if self.ends_at_start:
            Stream.ends_at_start = self.runs = False
            self.options["finished_callback"]()

    def abort(self) -> None:
        self.runs = False
        self.options["finished_callback"]()  # as in PortAudio

    def close(self, *, ignore_errors: bool) -> None:
        self.is_closed = ignore_errors

    def capture(self, audio: bytes, *, overflow: bool = False) -> None:
        status = SimpleNamespace(input_overflow=True) if overflow else None
        time = SimpleNamespace(inputBufferAdcTime=0.0, currentTime=self.time)
        self.options["callback"](audio, len(audio) // 2, time, status)

    def play_block(self, *, underflow: bool = False) -> bytes:
        """A block that begins to play in 40 ms."""
        status = SimpleNamespace(output_underflow=True) if underflow else None
        out = bytearray(self.options["blocksize"] * 2)
        time = SimpleNamespace(outputBufferDacTime=self.time + 0.04, currentTime=self.time)
        self.options["callback"](memoryview(out), len(out) // 2, time, status)
        return bytes(out)


def device_info(name: str, inputs: int, outputs: int) -> dict[str, object]:
    return {
        "name": name,
        "hostapi": 0,
        "default_samplerate": 48000.0,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
    }


DEVICES = [
    device_info("HDA Intel: ALC (hw:0,0)", 2, 2),
    device_info("USB Headset: Audio (hw:1,0)", 1, 2),
    device_info("USB Webcam (hw:2,0)", 1, 0),
    device_info("HDMI", 0, 8),
    device_info("hdmi 2", 0, 8),
]


async def settle() -> None:
    """Let the threads of the devices and the loop do what they were asked to."""
    quiet = 0
    while quiet < 100:  # several quick jobs in a row may all be over when the loop looks
        await asyncio.sleep(0)
        quiet = 0 if worker.is_any_busy() else quiet + 1


def install(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Replace the package. Returns the devices of the machine; tests may change the list."""
    devices = [device | {"index": number} for number, device in enumerate(DEVICES)]

    def query_devices(index: int | None = None) -> object:
        return devices if index is None else devices[index]

    module = ModuleType("sounddevice")
    module.__dict__.update(
        query_devices=query_devices,
        query_hostapis=lambda: [{"name": "ALSA"}],
        default=SimpleNamespace(device=(1, 0)),
        RawInputStream=partial(Stream, "input"),
        RawOutputStream=partial(Stream, "output"),
        PortAudioError=PortAudioError,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    monkeypatch.setattr(Stream, "made", [])
    monkeypatch.setattr(worker, "_ALL", WeakSet())  # `settle` waits for no thread of another test
    return devices
