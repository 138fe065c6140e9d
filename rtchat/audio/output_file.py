"""Opens the file that audio is recorded to. The modules `wav` and `encoded_file` write it."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Self

from rtchat.core.errors import OutputError
from rtchat.system.files import shown_name


class AudioWriter(ABC):
    """A file that PCM16, mono, 24 kHz is written to while it arrives.

    Opening it checks that it can be written. An existing file is overwritten only when the first
    audio arrives, so that a failed request does not destroy it. A new file that stays empty is
    removed by `close`. Every method may raise OutputError.
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        """With `new`, raises FileExistsError if the file exists."""
        self.path = path
        self._has_audio = False
        self._has_failed = False
        try:
            self._file, self._was_created = _open(path, new=new)
        except (OSError, ValueError) as error:
            if new and isinstance(error, FileExistsError):
                raise
            raise unwritable(path, error) from error
        mode = os.fstat(self._file).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
            os.close(self._file)
            raise OutputError(f"{shown_name(path)} is not a regular file", hint="use another name")

    def write(self, audio: bytes) -> None:
        """Append PCM16, mono, 24 kHz."""
        if not audio:
            return
        try:
            if not self._has_audio:
                self._truncate()
                self._begin()
                self._has_audio = True
            self._append(audio)
        except OSError as error:
            self._has_failed = True
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Complete the file, unless writing it has failed, and close it."""
        if self._file < 0:
            return
        try:
            if self._has_audio and not self._has_failed:
                self._finish()
            elif self._was_created and os.fstat(self._file).st_size == 0:
                with suppress(OSError):
                    self.path.unlink()
        except OSError as error:
            raise unwritable(self.path, error) from error
        finally:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _begin(self) -> None:
        """Write what precedes the audio. Like the other two, may raise OSError."""

    @abstractmethod
    def _append(self, audio: bytes) -> None:
        """Write audio."""

    @abstractmethod
    def _finish(self) -> None:
        """Write what follows the audio."""

    def _truncate(self) -> None:
        if stat.S_ISREG(os.fstat(self._file).st_mode):
            os.ftruncate(self._file, 0)

    def _write_at(self, data: bytes, position: int) -> None:
        while data:
            written = os.pwrite(self._file, data, position)
            data, position = data[written:], position + written


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


def unwritable(path: Path, error: OSError | ValueError) -> OutputError:
    """The error to raise for a file that cannot be written."""
    why = error.strerror if isinstance(error, OSError) else str(error)
    message = f"{shown_name(path)} cannot be written ({why})"
    return OutputError(message, hint="use another path")
