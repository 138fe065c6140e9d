"""PortAudio through the package sounddevice: loads it silently and monitors its streams."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any, Literal, TypeAlias

from rtchat.audio.c_stderr import silence_libraries
from rtchat.audio.pcm import RATE
from rtchat.core.errors import UsageError
from rtchat.system.installation import extra_hint
from rtchat.system.loop import post_to

BLOCK_SECONDS = 0.02
"""The length of audio passed to or from a device at a time."""
LATENCY_SECONDS = 0.12
"""The output buffer of a speaker, so that a busy machine causes no gaps. Stopping drops it, so it
adds no delay there."""
DEVICE_TIMEOUT = 2.0
"""Seconds without a callback after which a device counts as lost."""
START_TIMEOUT = 6.0
"""Seconds allowed for the first callback. Some headsets are slow."""
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


class AudioStream:
    """An open, monitored device."""

    def __init__(self, kind: Kind, index: int, name: str, loop: asyncio.AbstractEventLoop) -> None:
        """Open the device at `RATE`, or at its own rate if it refuses that."""
        sounddevice = library()
        self._loop = loop
        self._name = name
        self.is_over = False
        self._is_restarting = False
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
        self.rate = int(self._stream.samplerate)
        self.latency = float(self._stream.latency)

    def _options(self, kind: Kind, index: int, rate: int) -> dict[str, object]:
        return {
            "device": index,
            "samplerate": rate,
            "channels": 1,
            "dtype": "int16",
            "latency": "low" if kind == "input" else LATENCY_SECONDS,
            "blocksize": round(rate * BLOCK_SECONDS),
            "callback": self._on_block,
            "finished_callback": self._finished,
        }

    def start(self, process: Callable[..., None], lost: Callable[[], None]) -> None:
        """Start. `process` is called in the device's thread. `lost` is called once, on the loop, if
        the device is lost."""
        sounddevice = library()
        self._process = process
        self._report_lost = lost
        try:
            self._stream.start()
        except sounddevice.PortAudioError as error:
            self.is_over = True
            self._close_stream()
            raise _open_error(self._name, error) from error
        self._watch = self._loop.call_later(_CHECK_SECONDS, self._check)

    def restart(self) -> None:
        """Drop the audio in the device's buffer and continue."""
        self._is_restarting = True
        try:
            self._stream.abort()
            self._stream.start()
        except library().PortAudioError:
            self._handle_lost()
        finally:
            self._is_restarting = False

    def _on_block(self, *arguments: Any) -> None:
        self._callbacks += 1
        self._process(*arguments)

    def _finished(self) -> None:
        if self._is_restarting:
            return
        post_to(self._loop, self._handle_lost)

    def _check(self) -> None:
        """Counts checks, not time, so that suspending the process does not count as a loss."""
        self._idle_checks = (
            0 if self._callbacks != self._callbacks_before else self._idle_checks + 1
        )
        self._callbacks_before = self._callbacks
        if self._idle_checks * _CHECK_SECONDS > (
            DEVICE_TIMEOUT if self._callbacks else START_TIMEOUT
        ):
            self._handle_lost()
        elif not self.is_over:
            self._watch = self._loop.call_later(_CHECK_SECONDS, self._check)

    def _handle_lost(self) -> None:
        if self.is_over:
            return
        self._end()
        # Closing a device that does not respond may block.
        threading.Thread(target=self._close_stream, name="device", daemon=True).start()
        self._report_lost()

    def _end(self) -> None:
        self.is_over = True
        self._watch.cancel()

    def _close_stream(self) -> None:
        self._stream.close(ignore_errors=True)

    @property
    def now(self) -> float:
        """The device's clock, in seconds; infinity if the device is lost."""
        with suppress(library().PortAudioError):  # the device is about to be lost
            return inf if self.is_over else float(self._stream.time)
        return inf

    def close(self) -> None:
        if not self.is_over:
            self._end()
            self._close_stream()


def _open_error(name: str, error: Exception) -> UsageError:
    message = f"{name} cannot be opened ({error})"
    return UsageError(message, hint="run `rtchat devices` to list the devices")
