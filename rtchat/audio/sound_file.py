"""Opens audio files by the package `soundfile`, part of the extra `audio`."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from rtchat.audio.c_stderr import silence_libraries

if TYPE_CHECKING:
    from soundfile import SoundFile

_UNKNOWN_FRAMES = 2**62
"""`soundfile` reports at least this for a file that does not state its length."""


def open_sound(file: BinaryIO) -> SoundFile | None:
    """Open a file; None if it cannot be decoded. Raises ImportError or, if libsndfile is missing,
    OSError."""
    import soundfile

    silence_libraries()
    file.seek(0)
    try:
        return soundfile.SoundFile(_Source(file))
    except (soundfile.SoundFileError, ValueError):
        return None


def stated_seconds(sound: SoundFile) -> float:
    """The length that a file states or that is estimated from its size; 0 if it is not known."""
    return float(sound.frames / sound.samplerate) if sound.frames < _UNKNOWN_FRAMES else 0.0


class _Source:
    """A file as libsndfile reads it. Damaged files make it seek to invalid positions, which must
    not raise: an error in its callbacks would be printed with a traceback."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.tell = file.tell
        self._seek = file.seek

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        with suppress(OSError):
            self._seek(offset, whence)
