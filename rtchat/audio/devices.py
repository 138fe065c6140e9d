"""A microphone and a speaker through PortAudio.

Callbacks run on the given event loop. The code that runs in the device's thread never raises,
prints or blocks. Needs the extra `voice`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from rtchat.audio.codec import Convert, converter
from rtchat.audio.device_list import Device
from rtchat.audio.echo_canceller import EchoCanceller
from rtchat.audio.pcm import RATE, is_silent, level
from rtchat.audio.playback import Playback
from rtchat.audio.portaudio import AudioStream, Kind
from rtchat.audio.pulse import opening
from rtchat.core.errors import ExitCode, Problem, UsageError
from rtchat.core.events import PlaybackCut, SpeakerLost
from rtchat.core.values import AudioFormat
from rtchat.system.loop import post_to

IDLE_SECONDS = 2.0
"""Seconds of silence after which a speaker is paused, so that it costs no CPU."""
_MAX_LATE_BLOCKS = 50
"""The number of blocks kept if the event loop is late."""


class Microphone:
    """Captures audio from a device until closed, as PCM16, mono, 24 kHz.

    `on_audio` is called on the loop with 80 ms of audio, or more if the loop is late; `on_lost`
    once if the device is lost. `overruns` counts lost audio: blocks dropped because the loop was
    too late, and overflows that the device reports.
    """

    def __init__(
        self,
        device: Device,
        on_audio: Callable[[bytes], None],
        *,
        on_lost: Callable[[Problem], None],
        loop: asyncio.AbstractEventLoop,
        canceller: EchoCanceller | None = None,
    ) -> None:
        """Open the device, which may block. `canceller` removes the echo of a speaker that has the
        same one. Raises UsageError if the device cannot be opened."""
        self.device = device
        self.overruns = 0
        self._canceller = canceller
        self._on_audio = on_audio
        self._on_lost = on_lost
        self._loop = loop
        self._blocks: deque[tuple[bytes, float]] = deque(maxlen=_MAX_LATE_BLOCKS)
        """Audio, and the time at which its capture began."""
        self._last = b""
        self._is_delivery_scheduled = False
        self._stream = _open(device, "input", loop, self._on_block, self._on_stream_lost)
        self._resample = _resampler(self._stream, self._stream.rate, RATE)
        self._stream.start()

    def _on_block(self, data: Any, _frames: int, time: Any, status: Any) -> None:
        self.overruns += len(self._blocks) == _MAX_LATE_BLOCKS or bool(
            status and status.input_overflow
        )
        begins = time.inputBufferAdcTime or time.currentTime - self._stream.latency
        self._blocks.append((bytes(data), begins))
        if self._is_delivery_scheduled:
            return
        self._is_delivery_scheduled = True
        post_to(self._loop, self._deliver)

    def _deliver(self) -> None:
        self._is_delivery_scheduled = False
        if self._stream.is_over:
            return
        audio = bytearray()
        while self._blocks:
            audio += self._cleaned(*self._blocks.popleft())
        self._last = bytes(audio)
        if resampled := self._resample(bytes(audio), last=False):
            self._on_audio(resampled)

    def _cleaned(self, audio: bytes, begins: float) -> bytes:
        if self._canceller is None:
            return audio
        return self._canceller.clean(audio, self._stream.rate, begins)

    def _on_stream_lost(self) -> None:
        self._last = b""
        self._on_lost(lost_microphone(self.device))

    @property
    def is_lost(self) -> bool:
        """Whether the device was lost or closed."""
        return self._stream.is_over

    @property
    def level(self) -> float:
        """The current level, 0 to 1."""
        return level(self._last)

    def close(self) -> None:
        """Stop capturing. May block for a short time."""
        self._stream.close()
        self._last = b""

    def __enter__(self) -> Microphone:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Speaker:
    """Plays items one after another and tracks how much of each was played.

    The device runs only while there is audio to play, and for `IDLE_SECONDS` after that. `on_lost`
    is called once, on the loop, if the device is lost. Audio passed in after that is dropped.
    """

    def __init__(
        self,
        device: Device,
        *,
        on_lost: Callable[[SpeakerLost], None],
        loop: asyncio.AbstractEventLoop,
        canceller: EchoCanceller | None = None,
    ) -> None:
        """Open the device, which may block. `canceller` is told what is played. Raises UsageError
        if the device cannot be opened."""
        self.device = device
        self._loop = loop
        self._on_lost = on_lost
        self._canceller = canceller
        self._last = b""
        self._silent_frames = 0
        self._late_underruns = 0
        self._item: tuple[str, int] | None = None
        self._asked_at = 0.0
        """When the device asked for audio last, by its clock."""
        self._stream = _open(device, "output", loop, self._fill, self._on_stream_lost)
        self._rate = self._stream.rate
        self._resample = _resampler(self._stream, RATE, self._rate)
        self._playback = Playback(self._rate)

    def _fill(self, out: Any, frames: int, time: Any, status: Any) -> None:
        if self._stream.is_pausing:
            out[:] = bytes(len(out))
            return
        if status and status.output_underflow and not is_silent(self._last):
            self._late_underruns += 1
        self._asked_at = time.currentTime
        begins = time.outputBufferDacTime or time.currentTime + self._stream.latency
        self._last = self._playback.feed(frames, begins + frames / self._rate)
        out[:] = self._last
        if self._canceller is not None:
            self._canceller.played(self._last, self._rate, begins)
        self._count_silence(frames)

    def _count_silence(self, frames: int) -> None:
        before = self._silent_frames
        self._silent_frames = before + frames if is_silent(self._last) else 0
        limit = round(IDLE_SECONDS * self._rate)
        if self._silent_frames // limit > before // limit:
            post_to(self._loop, self._pause)

    def _pause(self) -> None:
        if not self.playing:
            self._last = b""
            self._stream.pause()

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Queue audio of an item. Playback starts once 100 ms are buffered."""
        if self._stream.is_over:
            return
        if self._item != (item_id, content_index):
            self._flush()
            self._item = (item_id, content_index)
        self._playback.put(item_id, content_index, self._resample(audio, last=False))
        self._stream.resume()

    def end(self, item_id: str) -> None:
        """Mark an item as complete. Must be called for each item, or its last 100 ms may not be
        played."""
        if self._item is not None and self._item[0] == item_id:
            self._flush()
        self._playback.end(item_id)

    def _flush(self) -> None:
        """Queue the audio that the resampler still holds, as part of the current item."""
        if self._item is not None:
            rest = self._resample(b"", last=True)
            if not self._stream.is_over:
                self._playback.put(*self._item, rest)
        self._item = None

    def stop(self) -> PlaybackCut | None:
        """Stop at once. Returns the current or next item and how many milliseconds of it were
        played; None if nothing was queued."""
        self._resample(b"", last=True)
        self._item = None
        cut = self._playback.stop(self._stream.now)
        self._last = b""
        self._stream.pause()
        if cut is not None and self._canceller is not None:
            self._canceller.restarted()
        return cut

    @property
    def playing(self) -> bool:
        """Whether audio is playing or queued."""
        return self._playback.is_playing(self._stream.now)

    @property
    def position(self) -> PlaybackCut | None:
        """The position in the current or next item; None if nothing is playing or queued."""
        return self._playback.position(self._stream.now)

    @property
    def underruns(self) -> int:
        """The number of gaps in the middle of an item, because the network or this machine was too
        slow."""
        return self._playback.underruns + self._late_underruns

    def _on_stream_lost(self) -> None:
        self._last = b""
        cut = self._playback.stop(self._asked_at)  # what its buffer held is lost as well
        self._on_lost(SpeakerLost(lost_speaker(self.device), cut))

    def close(self) -> None:
        """Stop playback and drop the queue. May block for a short time."""
        self._stream.close()
        self._playback.stop()
        self._last = b""

    def __enter__(self) -> Speaker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(
    device: Device,
    kind: Kind,
    loop: asyncio.AbstractEventLoop,
    process: Callable[..., None],
    lost: Callable[[], None],
) -> AudioStream:
    index = device.index if device.portaudio_index is None else device.portaudio_index
    with opening(kind, device.pulse_id):
        return AudioStream(kind, index, device.name, loop, process, lost)


def _resampler(stream: AudioStream, rate: int, to: int) -> Convert:
    """Resamples the audio of a stream. If that is not possible, closes the stream."""
    try:
        reason = f"the device uses {stream.rate} Hz"
        return converter(AudioFormat(rate=rate), AudioFormat(rate=to), reason)
    except UsageError:
        stream.close()
        raise


def lost_microphone(device: Device) -> Problem:
    """The problem of a microphone that is gone."""
    return _lost("microphone", device, ExitCode.USAGE)


def lost_speaker(device: Device) -> Problem:
    """The problem of a speaker that is gone."""
    return _lost("speaker", device, ExitCode.OUTPUT)


def _lost(what: str, device: Device, code: ExitCode) -> Problem:
    return Problem(code, f"lost the {what} {device.name}", "connect it again, or continue in text")
