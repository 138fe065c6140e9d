"""Reads uncompressed WAV files and streams, even if their header gives a wrong length."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from rtchat.audio.completeness import incomplete
from rtchat.audio.conversion import pcm16_converter
from rtchat.audio.input_file import MAX_PIPED_BYTES, InputFile
from rtchat.audio.pcm import RATE
from rtchat.core.errors import UsageError
from rtchat.core.values import value

if TYPE_CHECKING:
    from rtchat.audio.conversion import Samples

PIECE_SECONDS = 0.1
"""The length of audio read at a time."""
_MIN_UNKNOWN_LENGTH = 0x7FFF_0000
"""Writers that do not know the length (sox, arecord, ffmpeg) set a length of at least this."""


@value
class WavFormat:
    """The sample format of a WAV. `kind` is i (integers) or f (floats), and the bytes per sample.
    `rate` is in Hz. `length` is the size of the audio in bytes, or None if it extends to the end of
    the file."""

    kind: str
    rate: int
    channels: int
    length: int | None = None

    @property
    def frame(self) -> int:
        """The bytes of a sample of all channels."""
        return int(self.kind[1:]) * self.channels


_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KINDS = {_PCM: "i", _FLOAT: "f"}
_KNOWN = ("i1", "i2", "i3", "i4", "f4", "f8")
_RATES = range(1000, 768_001)
_CHANNELS = range(1, 65)


def read_header(file: InputFile) -> WavFormat | None:
    """Read the header up to the first sample. None if the file is no WAV, or if its samples are
    compressed.

    Raises:
        UsageError: the header of a WAV is damaged, incomplete or too long.
    """
    preamble = file.read(12)
    if preamble[:4] != b"RIFF" or preamble[8:] != b"WAVE":
        return None
    wav_format = None
    while True:
        name, size = struct.unpack("<4sI", _read_exactly(file, 8))
        if name == b"data":
            break
        body = _read_exactly(file, size + size % 2)
        if name == b"fmt ":
            wav_format = _read_format(body, file.name)
            if wav_format is None:
                return None
    if wav_format is None:
        raise _damaged(file.name, "no format in its header")
    file.head = None
    known = 0 < size < _MIN_UNKNOWN_LENGTH
    return replace(wav_format, length=size if known else None)


def _read_exactly(file: InputFile, size: int) -> bytes:
    if size <= MAX_PIPED_BYTES - len(file.head or b"") and len(data := file.read(size)) == size:
        return data
    raise _damaged(file.name, "incomplete or too long header")


def _read_format(body: bytes, name: str) -> WavFormat | None:
    if len(body) < 16:
        raise _damaged(name, "no format in its header")
    tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE and len(body) >= 26:
        (tag,) = struct.unpack_from("<H", body, 24)
    # Samples of 24 bits may be stored in 32, left-aligned.
    width = align // channels if channels else (bits + 7) // 8
    kind = f"{_KINDS.get(tag, '')}{width}"
    if kind not in _KNOWN:
        return None
    is_consistent = align == channels * width and 0 < bits <= 8 * width
    if rate not in _RATES or channels not in _CHANNELS or not is_consistent:
        raise _damaged(name, f"{channels} channels, {rate} Hz, {bits} bits")
    return WavFormat(kind, rate, channels)


def _damaged(name: str, why: str) -> UsageError:
    return UsageError(
        f"{name} is a damaged WAV file ({why})", hint="save it again with another program"
    )


def read_samples(
    file: InputFile, wav_format: WavFormat, report: Callable[[str], None]
) -> Iterator[bytes]:
    """Read and convert the samples. Calls `report` with a finding of `completeness` if there are
    fewer than the header says."""
    is_plain = (wav_format.kind, wav_format.rate, wav_format.channels) == ("i2", RATE, 1)
    convert = None if is_plain else pcm16_converter(wav_format.rate, file.name)
    left = wav_format.length
    piece = max(1, round(wav_format.rate * PIECE_SECONDS)) * wav_format.frame
    while data := file.read(piece if left is None else min(piece, left)):
        if left is not None:
            left -= len(data)
        data = data[: len(data) - len(data) % wav_format.frame]
        yield data if convert is None else convert(_mono(data, wav_format))
    if convert is not None:
        yield convert(None)
    if left:
        report(incomplete(left / wav_format.frame / wav_format.rate))


def _mono(data: bytes, wav_format: WavFormat) -> Samples:
    import numpy as np

    match wav_format.kind:
        case "i1":
            samples = (np.frombuffer(data, "u1").astype("f4") - 128) / 128
        case "i3":
            wide = np.zeros((len(data) // 3, 4), "u1")
            wide[:, 1:] = np.frombuffer(data, "u1").reshape(-1, 3)
            samples = wide.view("<i4").astype("f4") / 2**31
        case "i2" | "i4":
            samples = np.frombuffer(data, f"<{wav_format.kind}").astype("f4")
            samples /= 2 ** (15 if wav_format.kind == "i2" else 31)
        case _:
            samples = np.frombuffer(data, f"<{wav_format.kind}")
            samples = np.nan_to_num(np.clip(samples, -1, 1)).astype("f4")
    mono: Samples = samples.reshape(-1, wav_format.channels).mean(axis=1, dtype="f4")
    return mono
