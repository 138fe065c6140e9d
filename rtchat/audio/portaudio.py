"""PortAudio through the package sounddevice: loads it silently and monitors its streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any, Literal, TypeAlias

from rtchat.audio.c_stderr import silence_libraries
from rtchat.audio.pcm import RATE
from rtchat.core.errors import UsageError
from rtchat.system.installation import extra_hint
from rtchat.system.loop import post_to
from rtchat.system.worker import Worker

BLOCK_SECONDS = {"input": 0.08, "output": 0.06}
"""The length of audio passed to or from a device at a time. Shorter blocks cost more CPU."""
LATENCY_SECONDS = {"input": BLOCK_SECONDS["input"], "output": 0.12}
"""The buffer of a device. That of a speaker is long, so that a busy machine causes no gaps.
Stopping drops it, so it adds no delay there."""
DEVICE_TIMEOUT = 2.0
"""Seconds without a callback after which a device counts as lost."""
START_TIMEOUT = 6.0
"""Seconds allowed for the first callback. Some headsets are slow."""
CLOSE_TIMEOUT = 2.0
"""Seconds allowed for closing a device. One that does not respond is left open."""
_CHECK_SECONDS = 0.5
"""Seconds between two checks for callbacks."""
Kind: TypeAlias = Literal["input", "output"]


def library() -> Any:
    """Import the package sounddevice.

    Raises:
        UsageError: it or PortAudio is not installed or does not work.
    """
    silence_libraries()
    try:
        import sounddevice
    except ImportError as error:
        message = "audio devices need the package sounddevice"
        raise UsageError(message, hint=extra_hint("voice")) from error
    except OSError as error:
        hint = "install it, on Debian with `apt install libportaudio2`"
        raise UsageError("audio devices need the library PortAudio", hint=hint) from error
    except Exception as error:  # sounddevice.PortAudioError, not importable here
        raise UsageError(
            f"audio is not available ({error})", hint="check the sound system, or use text instead"
        ) from error
    return sounddevice


def reload() -> None:
    """Find the devices that were connected since PortAudio was loaded. Does nothing while a device
    is open. May block."""
    sounddevice = library()
    if not _open_streams:
        with suppress(sounddevice.PortAudioError):
            sounddevice._terminate()
            sounddevice._initialize()


class AudioStream:
    """An open, monitored device. Its own thread starts, stops and closes it, which may block: with
    PortAudio forever, if the sound server is gone."""

    def __init__(
        self,
        kind: Kind,
        index: int,
        name: str,
        loop: asyncio.AbstractEventLoop,
        process: Callable[..., None],
        lost: Callable[[], None],
    ) -> None:
        """Open the device at `RATE`, or at its own rate if it refuses that. This may block.

        `process` is called in the device's thread. `lost` is called once, on the loop, if the
        device is lost.

        Raises:
            UsageError: the device cannot be opened.
        """
        sounddevice = library()
        self._loop = loop
        self._worker = Worker("device", limit=0)
        self._name = name
        self._process = process
        self._report_lost = lost
        self.is_over = False
        self.is_running = False
        """Whether the stream is to run: it may be about to start."""
        self._pauses = self._pauses_done = 0
        """How many stops of the stream were requested, counted by the loop, and completed, counted
        by the thread."""
        self._watch: asyncio.TimerHandle | None = None
        self._callbacks = self._callbacks_before = self._idle_checks = 0
        make = getattr(sounddevice, f"Raw{kind.title()}Stream")
        try:
            own = int(sounddevice.query_devices(index)["default_samplerate"])
            try:
                self._stream = make(**self._options(kind, index, RATE))
            except sounddevice.PortAudioError:
                self._stream = make(**self._options(kind, index, own))
        except sounddevice.PortAudioError as error:
            raise _open_error(name, error) from error
        _open_streams.add(self)
        self.rate = int(self._stream.samplerate)
        self.latency = float(self._stream.latency)

    def _options(self, kind: Kind, index: int, rate: int) -> dict[str, object]:
        return {
            "device": index,
            "samplerate": rate,
            "channels": 1,
            "dtype": "int16",
            "latency": LATENCY_SECONDS[kind],
            "blocksize": round(rate * BLOCK_SECONDS[kind]),
            "callback": self._on_block,
            "finished_callback": self._finished,
        }

    def start(self) -> None:
        """Start the stream at once. This may block.

        Raises:
            UsageError: the device cannot be started. It is closed.
        """
        self.is_running = True
        try:
            self._stream.start()
        except library().PortAudioError as error:
            self.is_over = True
            self._close_stream()
            raise _open_error(self._name, error) from error
        post_to(self._loop, self._watch_callbacks)

    def resume(self) -> None:
        """Start the stream soon, unless it is running."""
        if not (self.is_running or self.is_over):
            self.is_running = True
            self._worker.do(self._try_to_start)
            self._watch_callbacks()

    def _try_to_start(self) -> None:
        if self.is_over:
            return
        try:
            self._stream.start()
        except library().PortAudioError:
            post_to(self._loop, self._handle_lost)

    def pause(self) -> None:
        """Stop the stream soon, and drop the audio in the device's buffer."""
        if self.is_running and not self.is_over:
            self.is_running = False
            self._pauses += 1
            self._worker.do(self._abort)

    def _abort(self) -> None:
        with suppress(library().PortAudioError):  # a lost device is noticed elsewhere
            if not self.is_over:
                self._stream.abort()
        self._pauses_done += 1

    @property
    def is_pausing(self) -> bool:
        """Whether the stream is about to be stopped, and must not be given audio."""
        return self._pauses != self._pauses_done

    def _on_block(self, *arguments: Any) -> None:
        self._callbacks += 1
        self._process(*arguments)

    def _finished(self) -> None:
        if not self.is_pausing:
            post_to(self._loop, self._handle_lost)

    def _watch_callbacks(self) -> None:
        """The stream was started: expect callbacks until it is paused."""
        self._callbacks = self._callbacks_before = self._idle_checks = 0
        if self._watch is None:
            self._check()

    def _check(self) -> None:
        """Counts checks, not time, so that suspending the process does not count as a loss."""
        self._watch = None
        if self.is_over or not self.is_running:
            return
        is_idle = self._callbacks == self._callbacks_before
        self._idle_checks = self._idle_checks + 1 if is_idle else 0
        self._callbacks_before = self._callbacks
        if self._idle_checks * _CHECK_SECONDS > (
            DEVICE_TIMEOUT if self._callbacks else START_TIMEOUT
        ):
            self._handle_lost()
        else:
            self._watch = self._loop.call_later(_CHECK_SECONDS, self._check)

    def _handle_lost(self) -> None:
        if not self.is_over:
            self.is_over = True
            self._worker.do(self._close_stream)
            self._report_lost()

    def _close_stream(self) -> None:
        self._stream.close(ignore_errors=True)
        _open_streams.discard(self)

    @property
    def now(self) -> float:
        """The device's clock, in seconds; infinity if the device is lost."""
        with suppress(library().PortAudioError):  # the device is about to be lost
            return inf if self.is_over else float(self._stream.time)
        return inf

    def close(self) -> None:
        """Close the device. Blocks for up to `CLOSE_TIMEOUT` seconds."""
        if not self.is_over:
            self.is_over = True
            self._worker.do(self._close_stream)
        self._worker.close(CLOSE_TIMEOUT)


def _open_error(name: str, error: Exception) -> UsageError:
    message = f"{name} cannot be opened ({error})"
    return UsageError(message, hint="run `rtchat devices` to list the devices")


_open_streams: set[AudioStream] = set()
"""The devices that are not closed."""
