"""PortAudio, by the package sounddevice: loaded in silence, and its streams watched."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any, Literal, TypeAlias

from rtchat.audio.c_stderr import silence_libraries
from rtchat.audio.files import RATE
from rtchat.core.errors import UsageError
from rtchat.system.loop import post_to

BLOCK = 0.02
"""Seconds of audio between the program and a device at a time."""
AHEAD = 0.12
"""Seconds of audio that a speaker has before they are heard, for a machine that is busy. They cost
nothing when it is to be silent: they are dropped."""
SILENT = 2.0
"""Seconds without a sign of a device after which it is gone."""
STARTING = 6.0
"""Seconds that it has for its first: some headsets take long."""
_LOOK = 0.5
"""Seconds between looks at whether there was a sign."""
Kind: TypeAlias = Literal["input", "output"]


def library() -> Any:
    """The package sounddevice.

    Raises:
        UsageError: it or what it needs is not installed, or does not work.
    """
    silence_libraries()
    try:
        import sounddevice
    except ImportError as error:
        hint = "pip install 'rtchat[voice]'"
        raise UsageError("sound takes the package sounddevice", hint=hint) from error
    except OSError as error:
        hint = "install it: on Debian, apt install libportaudio2"
        raise UsageError("sound takes the library PortAudio", hint=hint) from error
    except Exception as error:  # sounddevice.PortAudioError, which cannot be imported then
        raise UsageError(f"there is no sound ({error})", hint="type instead") from error
    return sounddevice


class AudioStream:
    """An open device that is watched: `lost` is called once if it goes away."""

    def __init__(self, kind: Kind, index: int, name: str, loop: asyncio.AbstractEventLoop) -> None:
        """Open it at our rate, or, where the device refuses that, at its own."""
        sounddevice = library()
        self._loop = loop
        self._name = name
        self.is_over = False
        self._restarts = False
        self._signs = self._signs_before = self._still = 0
        make = getattr(sounddevice, f"Raw{kind.title()}Stream")
        try:
            own = int(sounddevice.query_devices(index)["default_samplerate"])
            try:
                self._stream = make(**self._options(kind, index, RATE))
            except sounddevice.PortAudioError:
                self._stream = make(**self._options(kind, index, own))
        except sounddevice.PortAudioError as error:
            raise _refusal(name, error) from error
        self.rate = int(self._stream.samplerate)
        self.latency = float(self._stream.latency)

    def _options(self, kind: Kind, index: int, rate: int) -> dict[str, object]:
        return {
            "device": index,
            "samplerate": rate,
            "channels": 1,
            "dtype": "int16",
            "latency": "low" if kind == "input" else AHEAD,
            "blocksize": round(rate * BLOCK),
            "callback": self._call,
            "finished_callback": self._finished,
        }

    def start(self, serve: Callable[..., None], lost: Callable[[], None]) -> None:
        """Begin: `serve` is called by the device's thread, `lost` on the loop."""
        sounddevice = library()
        self._serve = serve
        self._lost = lost
        try:
            self._stream.start()
        except sounddevice.PortAudioError as error:
            self.is_over = True
            self._shut()
            raise _refusal(self._name, error) from error
        self._watch = self._loop.call_later(_LOOK, self._look)

    def restart(self) -> None:
        """Drop what the device has and has not let be heard, and go on."""
        self._restarts = True
        try:
            self._stream.abort()
            self._stream.start()
        except library().PortAudioError:
            self._lose()
        finally:
            self._restarts = False

    def _call(self, *arguments: Any) -> None:
        self._signs += 1
        self._serve(*arguments)

    def _finished(self) -> None:
        if self._restarts:
            return
        post_to(self._loop, self._lose)

    def _look(self) -> None:
        """Counts looks, not time: a process that was stopped has lost no device."""
        self._still = 0 if self._signs != self._signs_before else self._still + 1
        self._signs_before = self._signs
        if self._still * _LOOK > (SILENT if self._signs else STARTING):
            self._lose()
        elif not self.is_over:
            self._watch = self._loop.call_later(_LOOK, self._look)

    def _lose(self) -> None:
        if self.is_over:
            return
        self._end()
        # A device that does not answer may not let itself be closed either.
        threading.Thread(target=self._shut, name="device", daemon=True).start()
        self._lost()

    def _end(self) -> None:
        self.is_over = True
        self._watch.cancel()

    def _shut(self) -> None:
        self._stream.close(ignore_errors=True)

    @property
    def now(self) -> float:
        """Seconds, by the clock of what the device's thread is told; later than any without one."""
        with suppress(library().PortAudioError):  # it is about to be lost
            return inf if self.is_over else float(self._stream.time)
        return inf

    def close(self) -> None:
        if not self.is_over:
            self._end()
            self._shut()


def _refusal(name: str, error: Exception) -> UsageError:
    message = f"{name} cannot be opened ({error})"
    return UsageError(message, hint="rtchat devices lists what there is")
