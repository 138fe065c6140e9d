"""Audio files to PCM16, mono, 24 kHz, which is all that the API and the program know.

A WAV is read by its own header, whatever that says of its length; other formats by `soundfile`.
Whatever is not such PCM already needs the extra `audio`.
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
from rtchat.system.loop import post_to

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Samples: TypeAlias = NDArray[numpy.float32]

RATE = 24_000
"""Samples a second."""
WIDTH = 2
"""Bytes a sample."""
LONGEST = 30
"""Minutes of what `read` takes."""
Source: TypeAlias = Path | int
"""A file, or the descriptor of stdin."""

_STDIN = "stdin"
_PIECE = 0.1
"""Seconds of what is read at a time."""
_CHUNK = 65536
_MOST_PIPED = 64_000_000
"""Bytes from stdin of a format that cannot be decoded before its end is there."""
_ENDLESS = 0x7FFF_0000
"""A WAV with a length from here on says that its writer did not know it: sox, arecord, ffmpeg."""
_FLOOR = -60.0
"""Decibels below full scale that a meter shows as nothing."""


Warn: TypeAlias = Callable[[str], None]


def _say_nothing(_: str) -> None:
    """Nobody is to be warned."""


# ------------------------------------------------------------------------------------------ reading


def read(source: Source, warn: Warn = _say_nothing) -> bytes:
    """All of a recording; `warn` is told if there is less of it than it says.

    Raises:
        UsageError: it cannot be read, has no audio in it or too much, or its format needs the
            extra `audio`, which is not installed.
    """
    audio = bytearray()
    for piece in stream(source, warn):
        audio += piece
        if len(audio) > LONGEST * 60 * RATE * WIDTH:
            shown = _STDIN if isinstance(source, int) else shown_name(source)
            message = f"{shown} is longer than {LONGEST} minutes"
            raise UsageError(message, hint="give a part of it, or have rtchat transcribe it")
    return bytes(audio)


def stream(source: Source, warn: Warn = _say_nothing) -> Generator[bytes]:
    """A recording in pieces of about 100 ms, as they come: the source may have no end. Blocks while
    it has nothing; warns, and raises UsageError, as `read` does."""
    with _opened(source) as file:
        head = file.take(12)
        if not head:
            raise UsageError(f"{file.shown} is empty", hint="give a recording")
        form = _wav(file) if head[:4] == b"RIFF" and head[8:] == b"WAVE" else None
        pieces = _decoded(file) if form is None else _samples(file, form, warn)
        any_audio = False
        for piece in filter(None, pieces):
            any_audio = True
            yield piece
        if not any_audio:
            raise UsageError(f"{file.shown} has no audio in it", hint="record it again")


async def arriving(source: Source, warn: Warn = _say_nothing) -> AsyncGenerator[bytes]:
    """What `stream` gives, read by a thread that can be left behind when the program ends; `warn`
    is called on the loop."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | Exception] = asyncio.Queue()
    room = threading.Semaphore(50)  # pieces ahead of whoever takes them
    is_over = threading.Event()

    def tell(piece: bytes | Exception) -> None:
        room.acquire()
        post_to(loop, queue.put_nowait, piece)

    def warn_there(text: str) -> None:
        post_to(loop, warn, text)

    def run() -> None:
        try:
            with closing(stream(source, warn_there)) as pieces:
                for piece in pieces:
                    tell(piece)
                    if is_over.is_set() or loop.is_closed():
                        return
            tell(b"")
        except Exception as error:  # of any kind: it is waited for
            tell(error)

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
    """A descriptor, and what has been read of it before it was known what that is."""

    def __init__(self, descriptor: int, shown: str, *, piped: bool) -> None:
        self.descriptor = descriptor
        self.shown = shown
        self.piped = piped
        self.head: bytearray | None = bytearray()

    def take(self, size: int) -> bytes:
        """So many bytes; fewer only at the end."""
        data = bytearray()
        while len(data) < size and (chunk := self._some(min(size - len(data), _CHUNK))):
            data += chunk
        if self.head is not None:
            self.head += data
        return bytes(data)

    def _some(self, size: int) -> bytes:
        try:
            return read_some(self.descriptor, size)
        except OSError as error:
            raise unreadable(self.shown, error) from error

    def whole(self) -> BinaryIO:
        """All of it from its beginning, to seek in.

        Raises:
            UsageError: it comes through a pipe and is too large for that.
        """
        if not self.piped:
            os.lseek(self.descriptor, 0, os.SEEK_SET)
            return os.fdopen(os.dup(self.descriptor), "rb")
        before = bytes(self.head or b"")
        self.head = None
        rest = self.take(_MOST_PIPED + 1 - len(before))
        if len(before) + len(rest) > _MOST_PIPED:
            message = f"{self.shown} has more than {_MOST_PIPED // 1_000_000} MB"
            raise UsageError(message, hint="give the name of the file, or pipe in a WAV")
        return BytesIO(before + rest)


@contextmanager
def _opened(source: Source) -> Iterator[_Input]:
    if isinstance(source, int):
        yield _Input(source, _STDIN, piped=True)
        return
    with open_regular(
        source, folder_hint="give a recording in it", special_hint="pipe it in, and name it -"
    ) as descriptor:
        yield _Input(descriptor, shown_name(source), piped=False)


# ------------------------------------------------------------------------------------------- a WAV


@value
class _WavFormat:
    """How the samples of a WAV are written. `kind` is i or f and the bytes of a sample; `length` is
    in bytes, None where it ends with the file."""

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


def _wav(file: _Input) -> _WavFormat | None:
    """What the header says, with all of it read; None where the samples are encoded otherwise.

    Raises:
        UsageError: it is no header, or ends too early.
    """
    form = None
    while True:
        name, size = struct.unpack("<4sI", _whole(file, 8))
        if name == b"data":
            break
        body = _whole(file, size + size % 2)
        if name == b"fmt ":
            form = _form(body, file.shown)
            if form is None:
                return None
    if form is None:
        raise _damaged(file.shown, "it does not say its format")
    file.head = None
    known = 0 < size < _ENDLESS
    return _WavFormat(form.kind, form.rate, form.channels, size if known else None)


def _whole(file: _Input, size: int) -> bytes:
    if size <= _MOST_PIPED and len(data := file.take(size)) == size:
        return data
    raise _damaged(file.shown, "it ends in its header")


def _form(body: bytes, shown: str) -> _WavFormat | None:
    if len(body) < 16:
        raise _damaged(shown, "it does not say its format")
    tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE and len(body) >= 26:
        (tag,) = struct.unpack_from("<H", body, 24)
    # 24 bits may stand in 32, to the left.
    width = align // channels if channels else (bits + 7) // 8
    kind = f"{_KINDS.get(tag, '')}{width}"
    if kind not in _KNOWN:
        return None
    fits = align == channels * width and 0 < bits <= 8 * width
    if rate not in _RATES or channels not in _CHANNELS or not fits:
        raise _damaged(shown, f"{channels} channels, {rate} Hz, {bits} bits")
    return _WavFormat(kind, rate, channels)


def _damaged(shown: str, why: str) -> UsageError:
    return UsageError(
        f"{shown} is a damaged WAV ({why})", hint="open it in another program and save it again"
    )


def _samples(file: _Input, form: _WavFormat, warn: Warn) -> Iterator[bytes]:
    plain = (form.kind, form.rate, form.channels) == ("i2", RATE, 1)
    convert = None if plain else _converter(form, file.shown)
    left = form.length
    piece = max(1, round(form.rate * _PIECE)) * form.frame
    while data := file.take(piece if left is None else min(piece, left)):
        if left is not None:
            left -= len(data)
        data = data[: len(data) - len(data) % form.frame]
        yield data if convert is None else convert(_mono(data, form))
    if convert is not None:
        yield convert(None)
    if left:
        seconds = left / form.frame / form.rate
        warn(f"{file.shown} is cut off: {seconds:.1f} s less than its header says")


def _mono(data: bytes, form: _WavFormat) -> Samples:
    import numpy as np

    match form.kind:
        case "i1":
            samples = (np.frombuffer(data, "u1").astype("f4") - 128) / 128
        case "i3":
            wide = np.zeros((len(data) // 3, 4), "u1")
            wide[:, 1:] = np.frombuffer(data, "u1").reshape(-1, 3)
            samples = wide.view("<i4").astype("f4") / 2**31
        case "i2" | "i4":
            samples = np.frombuffer(data, f"<{form.kind}").astype("f4")
            samples /= 2 ** (15 if form.kind == "i2" else 31)
        case _:
            samples = np.frombuffer(data, f"<{form.kind}")
            samples = np.nan_to_num(np.clip(samples, -1, 1)).astype("f4")
    mono: Samples = samples.reshape(-1, form.channels).mean(axis=1, dtype="f4")
    return mono


# -------------------------------------------------------------------------------- what needs extras


def _converter(form: _WavFormat, shown: str) -> Callable[[Samples | None], bytes]:
    """Makes PCM at our rate of samples as they come; of None what is left at their end."""
    try:
        import numpy as np
        import soxr
    except ImportError as error:
        raise _extra(f"{shown} is not at 24 kHz, mono and 16-bit", "soxr") from error

    resampler = None if form.rate == RATE else soxr.ResampleStream(form.rate, RATE, 1)

    def convert(samples: Samples | None) -> bytes:
        last = samples is None
        samples = np.zeros(0, "f4") if samples is None else samples
        if resampler is not None:
            samples = resampler.resample_chunk(samples, last=last)
        return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()

    return convert


def _decoded(file: _Input) -> Iterator[bytes]:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: without libsndfile
        raise _extra(f"{file.shown} is not a WAV of plain samples", "soundfile") from error
    silence_libraries()
    try:
        with file.whole() as whole, soundfile.SoundFile(whole) as sound:
            form = _WavFormat("f4", sound.samplerate, sound.channels)
            convert = _converter(form, file.shown)
            # It seeks to where it is after each read, and an MP3 is then another from there on.
            sound.seekable = lambda: False
            size = max(1, round(form.rate * _PIECE))
            while len(block := sound.read(size, dtype="float32", always_2d=True)):
                yield convert(block.mean(axis=1))
            yield convert(None)
    except (soundfile.SoundFileError, ValueError) as error:
        message = f"{file.shown} is no audio, or damaged"
        raise UsageError(message, hint="give a WAV, FLAC, OGG or MP3 file") from error


class Resample(Protocol):
    def __call__(self, audio: bytes, *, last: bool) -> bytes: ...


def resampler(rate: int, to: int, why: str) -> Resample:
    """Converts PCM16 from one rate to another, piece by piece; `last` returns the rest and resets
    it. Raises UsageError, which says `why`, if that needs a package that is not installed."""
    if rate == to:
        return lambda audio, *, last: audio
    try:
        import numpy as np
        import soxr
    except ImportError as error:
        hint = "pip install 'rtchat[audio]'"
        raise UsageError(f"{why}, which needs the package soxr", hint=hint) from error

    resampler = soxr.ResampleStream(rate, to, 1, dtype="int16")

    def resample(audio: bytes, *, last: bool) -> bytes:
        samples = np.frombuffer(audio[: len(audio) - len(audio) % WIDTH], np.int16)
        out = bytes(resampler.resample_chunk(samples, last=last).tobytes())
        if last:
            resampler.clear()
        return out

    return resample


def _extra(message: str, package: str) -> UsageError:
    hint = "pip install 'rtchat[audio]', or give a 24 kHz mono 16-bit WAV"
    return UsageError(f"{message}, which takes {package}", hint=hint)


# ------------------------------------------------------------------------------------------- meters


def level(audio: bytes) -> float:
    """How loud it is, for a meter: 0 for silence, 1 for as loud as can be, even in decibels."""
    samples = array("h", audio[: len(audio) - len(audio) % WIDTH])[::4]
    if not samples:
        return 0.0
    loudness = sqrt(sum(sample * sample for sample in samples) / len(samples)) / 32768
    return min(1.0, max(0.0, 1 - 20 * log10(loudness) / _FLOOR)) if loudness else 0.0
