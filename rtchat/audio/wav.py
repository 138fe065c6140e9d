"""Audio into WAV files, as it comes: PCM16, mono, 24 kHz."""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile

from rtchat.audio.files import RATE, WIDTH
from rtchat.core.errors import OutputError
from rtchat.system.files import shown_name
from rtchat.system.folders import make_private


class WavWriter:
    """A WAV that is written as its audio comes, and is one after each write, whatever happens then.

    Opening it tells whether it can be written. A file that is there already is overwritten, as a
    shell's `>` would, but only when the first audio comes: a question that fails costs nobody a
    recording. A file that was not there and got no audio is removed again. Every method but `close`
    may raise OutputError.
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        """With `new`, it is a FileExistsError if there is one already."""
        self.path = path
        self._size = 0
        try:
            self._file, self._made = _open(path, new=new)
        except (OSError, ValueError) as error:
            if new and isinstance(error, FileExistsError):
                raise
            raise _unwritable(path, error) from error
        mode = os.fstat(self._file).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
            os.close(self._file)
            raise OutputError(f"{shown_name(path)} is not a regular file", hint="name another")

    @classmethod
    def next_in(cls, folder: Path) -> WavWriter:
        """The next `reply-001.wav` of a folder, which `prepare` has seen; none is overwritten."""
        taken = (path.stem.removeprefix("reply-") for path in folder.glob("reply-*.wav"))
        last = max((int(number) for number in taken if number.isdecimal()), default=0)
        for number in count(last + 1):
            with suppress(FileExistsError):
                return cls(folder / f"reply-{number:03}.wav", new=True)
        raise AssertionError  # there is always a next number

    def write(self, audio: bytes) -> None:
        """Append PCM16, mono, 24 kHz."""
        if not audio:
            return
        try:
            if not self._size:
                self._empty()
                self._put(header(0), 0)
            self._put(audio, _HEADER + self._size)
            self._size += len(audio)
            self._put(header(self._size), 0)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _empty(self) -> None:
        if stat.S_ISREG(os.fstat(self._file).st_mode):
            os.ftruncate(self._file, 0)

    def _put(self, data: bytes, place: int) -> None:
        while data:
            written = os.pwrite(self._file, data, place)
            data, place = data[written:], place + written

    def close(self) -> None:
        """It is whole already."""
        if self._file < 0:
            return
        if self._made and not self._size:
            with suppress(OSError):
                self.path.unlink()
        os.close(self._file)
        self._file = -1

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path, *, new: bool) -> tuple[int, bool]:
    """A descriptor, and whether the file was made for it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC  # nobody waits for a FIFO
    try:
        return os.open(path, flags | os.O_EXCL, 0o666), True
    except FileExistsError:
        if new:
            raise
    return os.open(path, flags, 0o666), False


_HEADER = 44


def header(size: int) -> bytes:
    """The header of a WAV with so many bytes of audio: PCM16, mono, 24 kHz."""
    most = 0xFFFF_FFFF - _HEADER  # 24 hours
    size = min(size, most)
    return struct.pack(
        *("<4sI4s4sIHHIIHH4sI", b"RIFF", size + _HEADER - 8, b"WAVE", b"fmt ", 16, 1, 1),
        *(RATE, RATE * WIDTH, WIDTH, WIDTH * 8, b"data", size),
    )


def prepare(folder: Path) -> None:
    """Have a folder for recordings. Raises OutputError where there can be none."""
    try:
        make_private(folder)
        TemporaryFile(dir=folder).close()
    except (OSError, ValueError) as error:
        raise _unwritable(folder, error) from error


def _unwritable(path: Path, error: OSError | ValueError) -> OutputError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    message = f"{shown_name(path)} cannot be written ({why})"
    return OutputError(message, hint="choose another place")
