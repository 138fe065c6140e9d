"""Reads audio files and converts them to PCM16, mono, 24 kHz, the format of the API.

WAV files are parsed here, even if their header gives a wrong length; other formats are decoded by
`soundfile`. Anything but PCM16, mono, 24 kHz needs the extra `audio`.
"""

from __future__ import annotations

import asyncio
import os
import struct
import threading
from array import array
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from math import log10, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias

from rtchat.audio.c_stderr import silence_libraries
from rtchat.core.errors import UsageError
from rtchat.core.values import value
from rtchat.system.blocking import read_some
from rtchat.system.files import open_regular, shown_name, unreadable
from rtchat.system.installation import extra_hint
from rtchat.system.loop import post_to

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Samples: TypeAlias = NDArray[numpy.float32]

RATE = 24_000
"""Samples per second."""
WIDTH = 2
"""Bytes per sample."""
MAX_MINUTES = 30
"""The maximum length of audio that `read` accepts, in minutes."""
Source: TypeAlias = Path | int
"""A path, or the file descriptor of stdin."""

_STDIN = "stdin"
_PIECE_SECONDS = 0.1
"""The length of audio read at a time."""
_CHUNK = 65536
_MAX_PIPED_BYTES = 64_000_000
"""The maximum size of stdin for formats that can only be decoded as a whole."""
_MIN_UNKNOWN_LENGTH = 0x7FFF_0000
"""Writers that do not know the length (sox, arecord, ffmpeg) set a length of at least this."""
_FLOOR_DB = -60.0
"""The level that a meter shows as silence, relative to full scale."""


Warn: TypeAlias = Callable[[str], None]


def _ignore_warning(_: str) -> None:
    """The default `warn`: discard the warning."""


# ----------------------------------------------------------------------------------------- reading


def read(source: Source, warn: Warn = _ignore_warning) -> bytes:
    """Read a whole file. Calls `warn` if it is shorter than its header says.

    Raises:
        UsageError: the file cannot be read, has no audio or is too long, or its format needs the
            extra `audio`, which is not installed.
    """
    audio = bytearray()
    for piece in stream(source, warn):
        audio += piece
        if len(audio) > MAX_MINUTES * 60 * RATE * WIDTH:
            name = _STDIN if isinstance(source, int) else shown_name(source)
            message = f"{name} is longer than {MAX_MINUTES} minutes"
            raise UsageError(message, hint="use a shorter part of it, or `rtchat transcribe`")
    return bytes(audio)


def stream(source: Source, warn: Warn = _ignore_warning) -> Generator[bytes]:
    """Read a file or an endless stream in pieces of about 100 ms. Blocks while no data is
    available. Warns and raises UsageError like `read`."""
    with _open(source) as file:
        head = file.read(12)
        if not head:
            raise UsageError(f"{file.name} is empty", hint="use a file with audio")
        wav_format = _read_header(file) if head[:4] == b"RIFF" and head[8:] == b"WAVE" else None
        pieces = _decode(file) if wav_format is None else _read_samples(file, wav_format, warn)
        has_audio = False
        for piece in filter(None, pieces):
            has_audio = True
            yield piece
        if not has_audio:
            raise UsageError(f"{file.name} contains no audio", hint="use a file with audio")


async def stream_async(source: Source, warn: Warn = _ignore_warning) -> AsyncGenerator[bytes]:
    """Like `stream`, but reads in a daemon thread, which does not delay the end of the program.
    Calls `warn` on the event loop."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | Exception] = asyncio.Queue()
    room = threading.Semaphore(50)  # the number of pieces read ahead
    is_over = threading.Event()

    def put(piece: bytes | Exception) -> None:
        room.acquire()
        post_to(loop, queue.put_nowait, piece)

    def warn_on_loop(text: str) -> None:
        post_to(loop, warn, text)

    def run() -> None:
        try:
            with closing(stream(source, warn_on_loop)) as pieces:
                for piece in pieces:
                    put(piece)
                    if is_over.is_set() or loop.is_closed():
                        return
            put(b"")
        except Exception as error:  # re-raised on the loop
            put(error)

    threading.Thread(target=run, name="audio", daemon=True).start()
    try:
        while piece := await queue.get():
            room.release()
            if isinstance(piece, Exception):
                raise piece
            yield piece
    finally:
        is_over.set()
        room.release()


class _Input:
    """A file descriptor, and the data read from it before its format is known."""

    def __init__(self, descriptor: int, name: str, *, piped: bool) -> None:
        self.descriptor = descriptor
        self.name = name
        self.piped = piped
        self.head: bytearray | None = bytearray()

    def read(self, size: int) -> bytes:
        """Read `size` bytes, or fewer at the end of the file."""
        data = bytearray()
        while len(data) < size and (chunk := self._read_some(min(size - len(data), _CHUNK))):
            data += chunk
        if self.head is not None:
            self.head += data
        return bytes(data)

    def _read_some(self, size: int) -> bytes:
        try:
            return read_some(self.descriptor, size)
        except OSError as error:
            raise unreadable(self.name, error) from error

    def as_file(self) -> BinaryIO:
        """The whole input as a seekable file.

        Raises:
            UsageError: the input is a pipe and too large to be held in memory.
        """
        if not self.piped:
            os.lseek(self.descriptor, 0, os.SEEK_SET)
            return os.fdopen(os.dup(self.descriptor), "rb")
        before = bytes(self.head or b"")
        self.head = None
        rest = self.read(_MAX_PIPED_BYTES + 1 - len(before))
        if len(before) + len(rest) > _MAX_PIPED_BYTES:
            message = f"{self.name} is larger than {_MAX_PIPED_BYTES // 1_000_000} MB"
            raise UsageError(message, hint="name the file instead, or pipe in a WAV")
        return BytesIO(before + rest)


@contextmanager
def _open(source: Source) -> Iterator[_Input]:
    if isinstance(source, int):
        yield _Input(source, _STDIN, piped=True)
        return
    with open_regular(
        source,
        folder_hint="use a file in it",
        special_hint="pipe it in and use - as the name",
    ) as descriptor:
        yield _Input(descriptor, shown_name(source), piped=False)


# --------------------------------------------------------------------------------------------- WAV


@value
class _WavFormat:
    """The sample format of a WAV. `kind` is i or f and the bytes per sample. `length` is the size
    of the audio in bytes, or None if it extends to the end of the file."""

    kind: str
    rate: int
    channels: int
    length: int | None = None

    @property
    def frame(self) -> int:
        return int(self.kind[1:]) * self.channels


_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KINDS = {_PCM: "i", _FLOAT: "f"}
_KNOWN = ("i1", "i2", "i3", "i4", "f4", "f8")
_RATES = range(1000, 768_001)
_CHANNELS = range(1, 65)


def _read_header(file: _Input) -> _WavFormat | None:
    """Read the header up to the first sample. None if the samples are encoded in another way.

    Raises:
        UsageError: the header is damaged or incomplete.
    """
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
    return _WavFormat(
        wav_format.kind, wav_format.rate, wav_format.channels, size if known else None
    )


def _read_exactly(file: _Input, size: int) -> bytes:
    if size <= _MAX_PIPED_BYTES and len(data := file.read(size)) == size:
        return data
    raise _damaged(file.name, "incomplete header")


def _read_format(body: bytes, name: str) -> _WavFormat | None:
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
    return _WavFormat(kind, rate, channels)


def _damaged(name: str, why: str) -> UsageError:
    return UsageError(
        f"{name} is a damaged WAV file ({why})", hint="save it again with another program"
    )


def _read_samples(file: _Input, wav_format: _WavFormat, warn: Warn) -> Iterator[bytes]:
    is_plain = (wav_format.kind, wav_format.rate, wav_format.channels) == ("i2", RATE, 1)
    convert = None if is_plain else _converter(wav_format, file.name)
    left = wav_format.length
    piece = max(1, round(wav_format.rate * _PIECE_SECONDS)) * wav_format.frame
    while data := file.read(piece if left is None else min(piece, left)):
        if left is not None:
            left -= len(data)
        data = data[: len(data) - len(data) % wav_format.frame]
        yield data if convert is None else convert(_mono(data, wav_format))
    if convert is not None:
        yield convert(None)
    if left:
        seconds = left / wav_format.frame / wav_format.rate
        warn(f"{file.name} is truncated: {seconds:.1f} s shorter than its header says")


def _mono(data: bytes, wav_format: _WavFormat) -> Samples:
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


# -------------------------------------------------------------------------------------- conversion


def _converter(wav_format: _WavFormat, name: str) -> Callable[[Samples | None], bytes]:
    """Returns a function that converts samples to PCM16 at `RATE`; None flushes the rest."""
    try:
        import numpy as np
        import soxr
    except ImportError as error:
        raise _missing_package(f"{name} is not 24 kHz mono 16-bit audio", "soxr") from error

    resampler = None if wav_format.rate == RATE else soxr.ResampleStream(wav_format.rate, RATE, 1)

    def convert(samples: Samples | None) -> bytes:
        last = samples is None
        samples = np.zeros(0, "f4") if samples is None else samples
        if resampler is not None:
            samples = resampler.resample_chunk(samples, last=last)
        return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()

    return convert


def _decode(file: _Input) -> Iterator[bytes]:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: without libsndfile
        raise _missing_package(
            f"{file.name} is not an uncompressed WAV file", "soundfile"
        ) from error
    silence_libraries()
    try:
        with file.as_file() as seekable, soundfile.SoundFile(seekable) as audio_file:
            wav_format = _WavFormat("f4", audio_file.samplerate, audio_file.channels)
            convert = _converter(wav_format, file.name)
            # Prevents a seek after each read, which would change the decoded audio of an MP3.
            audio_file.seekable = lambda: False
            size = max(1, round(wav_format.rate * _PIECE_SECONDS))
            while len(block := audio_file.read(size, dtype="float32", always_2d=True)):
                yield convert(block.mean(axis=1))
            yield convert(None)
    except (soundfile.SoundFileError, ValueError) as error:
        message = f"{file.name} is not an audio file, or is damaged"
        raise UsageError(message, hint="use a WAV, FLAC, OGG or MP3 file") from error


class Resample(Protocol):
    def __call__(self, audio: bytes, *, last: bool) -> bytes: ...


def resampler(rate: int, to: int, why: str) -> Resample:
    """Returns a function that resamples PCM16 piece by piece; `last` flushes and resets it. Raises
    UsageError with the reason `why` if the package for it is not installed."""
    if rate == to:
        return lambda audio, *, last: audio
    try:
        import numpy as np
        import soxr
    except ImportError as error:
        message = f"{why}, so it needs the package soxr"
        raise UsageError(message, hint=extra_hint("audio")) from error

    resampler = soxr.ResampleStream(rate, to, 1, dtype="int16")

    def resample(audio: bytes, *, last: bool) -> bytes:
        samples = np.frombuffer(audio[: len(audio) - len(audio) % WIDTH], np.int16)
        out = bytes(resampler.resample_chunk(samples, last=last).tobytes())
        if last:
            resampler.clear()
        return out

    return resample


def _missing_package(message: str, package: str) -> UsageError:
    hint = f"use a 24 kHz mono 16-bit WAV file, or {extra_hint('audio')}"
    return UsageError(f"{message}, so it needs the package {package}", hint=hint)


# ------------------------------------------------------------------------------------------- level


def level(audio: bytes) -> float:
    """The level for a meter: 0 for silence, 1 for full scale, linear in decibels."""
    samples = array("h", audio[: len(audio) - len(audio) % WIDTH])[::4]
    if not samples:
        return 0.0
    loudness = sqrt(sum(sample * sample for sample in samples) / len(samples)) / 32768
    return min(1.0, max(0.0, 1 - 20 * log10(loudness) / _FLOOR_DB)) if loudness else 0.0
