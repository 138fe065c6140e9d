"""Converts the audio of files to PCM16 at 24 kHz. This needs the extra `audio`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from rtchat.audio.pcm import RATE
from rtchat.core.errors import UsageError
from rtchat.system.installation import extra_hint

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Samples: TypeAlias = NDArray[numpy.float32]


def pcm16_converter(rate: int, name: str) -> Callable[[Samples | None], bytes]:
    """Returns a function that converts mono samples from -1 to 1 at `rate` Hz to PCM16 at `RATE`;
    None flushes the rest.

    Raises:
        UsageError: a package for it is not installed. `name` is the file's name.
    """
    try:
        import numpy as np
        import soxr
    except ImportError as error:
        raise missing_package(f"{name} is not 24 kHz mono 16-bit audio", "soxr") from error

    resampler = None if rate == RATE else soxr.ResampleStream(rate, RATE, 1)

    def convert(samples: Samples | None) -> bytes:
        last = samples is None
        samples = np.zeros(0, "f4") if samples is None else samples
        if resampler is not None:
            samples = resampler.resample_chunk(samples, last=last)
        return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()

    return convert


def missing_package(message: str, package: str) -> UsageError:
    """The error if a package of the extra `audio` is not installed."""
    hint = f"use a 24 kHz mono 16-bit WAV file, or {extra_hint('audio')}"
    return UsageError(f"{message}, so it needs the package {package}", hint=hint)
