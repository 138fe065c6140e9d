"""Writes WAV files while audio arrives: PCM16, mono, 24 kHz."""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile

from rtchat.audio.pcm import RATE, WIDTH
from rtchat.core.errors import OutputError
from rtchat.system.files import shown_name
from rtchat.system.folders import make_private


class WavWriter:
    """A WAV file that is valid after each write.

    Opening it checks that it can be written. An existing file is overwritten only when the first
    audio arrives, so that a failed request does not destroy it. A new file without audio is removed
    by `close`. Every method except `close` may raise OutputError.
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        """With `new`, raises FileExistsError if the file exists."""
        self.path = path
        self._size = 0
        try:
            self._file, self._was_created = _open(path, new=new)
        except (OSError, ValueError) as error:
            if new and isinstance(error, FileExistsError):
                raise
            raise _unwritable(path, error) from error
        mode = os.fstat(self._file).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
            os.close(self._file)
            raise OutputError(f"{shown_name(path)} is not a regular file", hint="use another name")

    @classmethod
    def next_in(cls, folder: Path) -> WavWriter:
        """Create the next of `reply-001.wav`, `reply-002.wav` … without overwriting any file."""
        numbers = (path.stem.removeprefix("reply-") for path in folder.glob("reply-*.wav"))
        last = max((int(number) for number in numbers if number.isdecimal()), default=0)
        for number in count(last + 1):
            with suppress(FileExistsError):
                return cls(folder / f"reply-{number:03}.wav", new=True)
        raise AssertionError  # unreachable

    def write(self, audio: bytes) -> None:
        """Append PCM16, mono, 24 kHz."""
        if not audio:
            return
        try:
            if not self._size:
                self._truncate()
                self._write_at(header(0), 0)
            self._write_at(audio, _HEADER + self._size)
            self._size += len(audio)
            self._write_at(header(self._size), 0)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _truncate(self) -> None:
        if stat.S_ISREG(os.fstat(self._file).st_mode):
            os.ftruncate(self._file, 0)

    def _write_at(self, data: bytes, position: int) -> None:
        while data:
            written = os.pwrite(self._file, data, position)
            data, position = data[written:], position + written

    def close(self) -> None:
        """Close the file. Its contents are already complete."""
        if self._file < 0:
            return
        if self._was_created and not self._size:
            with suppress(OSError):
                self.path.unlink()
        os.close(self._file)
        self._file = -1

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path, *, new: bool) -> tuple[int, bool]:
    """Open the file. Returns its descriptor and whether the file was created."""
    # Do not wait for the reader of a FIFO.
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_EXCL, 0o666), True
    except FileExistsError:
        if new:
            raise
    return os.open(path, flags, 0o666), False


_HEADER = 44


def header(size: int) -> bytes:
    """The header of a WAV file with `size` bytes of audio: PCM16, mono, 24 kHz."""
    size = min(size, 0xFFFF_FFFF - _HEADER)  # 24 hours
    return struct.pack(
        *("<4sI4s4sIHHIIHH4sI", b"RIFF", size + _HEADER - 8, b"WAVE", b"fmt ", 16, 1, 1),
        *(RATE, RATE * WIDTH, WIDTH, WIDTH * 8, b"data", size),
    )


def prepare(folder: Path) -> None:
    """Create the folder for recordings and check that it is writable. Raises OutputError."""
    try:
        make_private(folder)
        TemporaryFile(dir=folder).close()
    except (OSError, ValueError) as error:
        raise _unwritable(folder, error) from error


def _unwritable(path: Path, error: OSError | ValueError) -> OutputError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    message = f"{shown_name(path)} cannot be written ({why})"
    return OutputError(message, hint="use another path")
