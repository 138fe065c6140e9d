"""The sound devices of the machine, by PortAudio: their list, a microphone and a speaker.

Both call back on the loop that they are given, and never raise, print or wait in the thread that
feeds the device. Needs the extra `voice`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rtchat.audio.files import RATE, level, resampler
from rtchat.audio.playback import Playback
from rtchat.audio.portaudio import AudioStream, Kind, library
from rtchat.core.errors import ExitCode, Problem, UsageError
from rtchat.core.events import PlaybackCut
from rtchat.core.values import value
from rtchat.system.loop import post_to

_MOST_LATE = 100
"""Blocks that the loop may be late by."""


@value
class Device:
    """A device as PortAudio numbers and names it, and how many channels it takes and gives."""

    index: int
    name: str
    api: str
    inputs: int
    outputs: int
    default_input: bool = False
    default_output: bool = False

    def does(self, kind: Kind) -> bool:
        return bool(self.inputs if kind == "input" else self.outputs)


# ------------------------------------------------------------------------------------ what there is


def listing() -> list[Device]:
    """All devices of the machine.

    Raises:
        UsageError: there are none, or what finds them is not installed.
    """
    sounddevice = library()
    found = sounddevice.query_devices()
    apis = sounddevice.query_hostapis()
    default_input, default_output = sounddevice.default.device
    devices = [
        Device(
            each["index"],
            each["name"],
            apis[each["hostapi"]]["name"],
            each["max_input_channels"],
            each["max_output_channels"],
            default_input=each["index"] == default_input,
            default_output=each["index"] == default_output,
        )
        for each in found
    ]
    if not devices:
        raise UsageError("this machine has no sound device", hint="connect one, or type instead")
    return devices


def find(wanted: str | int | None, kind: Kind) -> Device:
    """The device of a number or of a part of a name; the system's choice for None.

    Raises:
        UsageError: as `listing` does, or none or several are meant.
    """
    what = "microphone" if kind == "input" else "speaker"
    devices = [device for device in listing() if device.does(kind)]
    hint = "rtchat devices lists what there is"
    if not devices:
        raise UsageError(f"this machine has no {what}", hint="connect one, or type instead")
    if wanted is None:
        default = [each for each in devices if getattr(each, f"default_{kind}")]
        return (default or devices)[0]
    if isinstance(wanted, int) or wanted.isdecimal():
        meant = [device for device in devices if device.index == int(wanted)]
    else:
        sought = wanted.casefold()
        exact = [device for device in devices if device.name.casefold() == sought]
        meant = exact or [device for device in devices if sought in device.name.casefold()]
    if not meant:
        raise UsageError(f"there is no {what} {wanted}", hint=hint)
    if len(meant) > 1:
        names = ", ".join(f"{device.index} {device.name}" for device in meant)
        raise UsageError(f"{wanted} may be any of {names}", hint="give its number")
    return meant[0]


# --------------------------------------------------------------------------------------- in and out


class Microphone:
    """What a device hears, as PCM16, mono, 24 kHz, while this is open.

    `on_audio` is called on the loop with 20 ms, or with more where the loop is late; `on_lost` once
    if the device goes away. `overruns` counts losses: blocks of a loop that was too late, and what
    the device itself dropped.
    """

    def __init__(
        self,
        device: Device,
        on_audio: Callable[[bytes], None],
        *,
        on_lost: Callable[[Problem], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """To be made in the thread of the loop. Raises UsageError if it cannot be opened."""
        self.device = device
        self.overruns = 0
        self._on_audio = on_audio
        self._on_lost = on_lost
        self._loop = loop
        self._blocks: deque[bytes] = deque(maxlen=_MOST_LATE)
        self._last = b""
        self._is_awake = False
        self._stream = AudioStream("input", device.index, device.name, loop)
        self._resample = resampler(
            self._stream.rate, RATE, f"the device has {self._stream.rate} Hz"
        )
        self._stream.start(self._hear, self._lose)

    def _hear(self, data: Any, _frames: int, _time: Any, status: Any) -> None:
        self.overruns += len(self._blocks) == _MOST_LATE or bool(status and status.input_overflow)
        self._last = bytes(data)
        self._blocks.append(self._last)
        if self._is_awake:
            return
        self._is_awake = True
        post_to(self._loop, self._deliver)

    def _deliver(self) -> None:
        self._is_awake = False
        audio = bytearray()
        with suppress(IndexError):
            while True:
                audio += self._blocks.popleft()
        if resampled := self._resample(bytes(audio), last=False):
            self._on_audio(resampled)

    def _lose(self) -> None:
        self._last = b""
        self._on_lost(_gone("microphone", self.device, ExitCode.USAGE))

    @property
    def level(self) -> float:
        """How loud it is, 0 to 1."""
        return level(self._last)

    def close(self) -> None:
        """Nothing more is heard of it."""
        self._stream.close()
        self._blocks.clear()
        self._last = b""

    def __enter__(self) -> Microphone:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Speaker:
    """Plays items one after another, and knows how much of each was heard.

    `on_lost` is called once, on the loop, if the device goes away; what is to be played from then
    on is dropped.
    """

    def __init__(
        self,
        device: Device,
        *,
        on_lost: Callable[[Problem], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """To be made in the thread of the loop. Raises UsageError if it cannot be opened."""
        self.device = device
        self._on_lost = on_lost
        self._last = b""
        self._late = 0
        self._item: tuple[str, int] | None = None
        self._stream = AudioStream("output", device.index, device.name, loop)
        self._rate = self._stream.rate
        self._resample = resampler(RATE, self._rate, f"the device has {self._rate} Hz")
        self._playback = Playback(self._rate)
        self._stream.start(self._feed, self._lose)

    def _feed(self, out: Any, frames: int, time: Any, status: Any) -> None:
        if status and status.output_underflow and any(self._last):
            self._late += 1
        begins = time.outputBufferDacTime or time.currentTime + self._stream.latency
        self._last = self._playback.feed(frames, begins + frames / self._rate)
        out[:] = self._last

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Queue PCM16, mono, 24 kHz of an item; its first is heard once 100 ms of it are there."""
        if self._stream.is_over:
            return
        if self._item != (item_id, content_index):
            self._flush()
            self._item = (item_id, content_index)
        self._playback.put(item_id, content_index, self._resample(audio, last=False))

    def end(self, item_id: str) -> None:
        """Nothing more comes of an item; to be told of each, or its last 100 ms may not be
        heard."""
        if self._item is not None and self._item[0] == item_id:
            self._flush()
        self._playback.end(item_id)

    def _flush(self) -> None:
        """What the resampler keeps of the end of an item is of that item."""
        if self._item is not None:
            rest = self._resample(b"", last=True)
            if not self._stream.is_over:
                self._playback.put(*self._item, rest)
        self._item = None

    def stop(self) -> PlaybackCut | None:
        """Be silent at once. What was being heard, or was next, and how many milliseconds of it had
        been heard; None if nothing was."""
        self._resample(b"", last=True)
        self._item = None
        cut = self._playback.stop(self._stream.now)
        if cut is not None and not self._stream.is_over:
            self._stream.restart()
        return cut

    @property
    def playing(self) -> bool:
        """Whether something is being heard, or waits to be."""
        return self._playback.is_playing(self._stream.now)

    @property
    def underruns(self) -> int:
        """How often there was silence in the middle of an item: the network, or this machine, was
        too slow."""
        return self._playback.underruns + self._late

    def _lose(self) -> None:
        self._last = b""
        self._playback.stop()
        self._on_lost(_gone("speaker", self.device, ExitCode.OUTPUT))

    def close(self) -> None:
        """What waits is not heard any more."""
        self._stream.close()
        self._playback.stop()
        self._last = b""

    def __enter__(self) -> Speaker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _gone(what: str, device: Device, code: ExitCode) -> Problem:
    return Problem(code, f"the {what} {device.name} is gone", "the conversation goes on as text")
