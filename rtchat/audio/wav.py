"""Writes WAV files and streams while audio arrives: PCM16, mono, 24 kHz."""

from __future__ import annotations

import struct
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from rtchat.audio.output_file import AudioWriter, unwritable
from rtchat.audio.pcm import RATE, WIDTH
from rtchat.system.folders import make_private


class WavWriter(AudioWriter):
    """A WAV file that is valid after each write, even if the program is killed."""

    _size = 0
    """Bytes of audio."""

    @classmethod
    def next_in(cls, folder: Path) -> WavWriter:
        """Create the next of `reply-001.wav`, `reply-002.wav` … without overwriting any file."""
        numbers = (path.stem.removeprefix("reply-") for path in folder.glob("reply-*.wav"))
        last = max((int(number) for number in numbers if number.isdecimal()), default=0)
        for number in count(last + 1):
            with suppress(FileExistsError):
                return cls(folder / f"reply-{number:03}.wav", new=True)
        raise AssertionError  # unreachable

    def _begin(self) -> None:
        self._write_at(header(0), 0)

    def _append(self, audio: bytes) -> None:
        self._write_at(audio, _HEADER + self._size)
        self._size += len(audio)
        self._write_at(header(self._size), 0)

    def _finish(self) -> None:
        pass


class WavStream:
    """A WAV of unknown length on a pipe."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._has_audio = False

    def write(self, audio: bytes) -> None:
        """Write audio, after the header if it is the first."""
        if not self._has_audio:
            self._out.write(header(_UNKNOWN_SIZE))
            self._has_audio = True
        self._out.write(audio)

    def close(self) -> None:
        """Do nothing: the pipe is not ours."""


_HEADER = 44
_UNKNOWN_SIZE = 0x7FFF_F000
"""The length that sox and espeak write, too, if they do not know it, and that readers of streams
ignore."""


def header(size: int) -> bytes:
    """The header of a WAV file with `size` bytes of audio: PCM16, mono, 24 kHz."""
    size = min(size, 0xFFFF_FFFF - _HEADER)  # 24 hours
    return struct.pack(
        *("<4sI4s4sIHHIIHH4sI", b"RIFF", size + _HEADER - 8, b"WAVE", b"fmt ", 16, 1, 1),
        *(RATE, RATE * WIDTH, WIDTH, WIDTH * 8, b"data", size),
    )


def prepare_folder(folder: Path) -> None:
    """Create the folder for recordings and check that it is writable. Raises OutputError."""
    try:
        make_private(folder)
        TemporaryFile(dir=folder).close()
    except (OSError, ValueError) as error:
        raise unwritable(folder, error) from error
