"""Opens the audio file or the pipe that a user names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, TypeAlias

from rtchat.core.errors import UsageError
from rtchat.system.blocking import read_some
from rtchat.system.files import open_regular, shown_name, unreadable

Source: TypeAlias = Path | int
"""A path, or the file descriptor of stdin."""
MAX_PIPED_BYTES = 64_000_000
"""The maximum size of stdin for formats that can only be decoded as a whole."""

_STDIN = "stdin"
_CHUNK = 65536


def name_of(source: Source) -> str:
    """The name of a source, to show to a user."""
    return _STDIN if isinstance(source, int) else shown_name(source)


def path_of(name: str) -> Path:
    """The path of a file with audio. Raises UsageError if the name is empty or a URL."""
    if not name:
        hint = "check the variable of the shell that should contain it"
        raise UsageError("the name of the file is empty", hint=hint)
    if name.startswith(("http://", "https://")):
        hint = "download the file, or pipe it in and use - as the name"
        raise UsageError(f"{shown_name(name)} is a URL, not a file", hint=hint)
    return Path(name)


class InputFile:
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
        """The whole input as a seekable file with a descriptor.

        Raises:
            UsageError: the input is a pipe and too large, or its copy cannot be written.
        """
        if not self.piped:
            os.lseek(self.descriptor, 0, os.SEEK_SET)
            return os.fdopen(os.dup(self.descriptor), "rb")
        before = bytes(self.head or b"")
        self.head = None
        rest = self.read(MAX_PIPED_BYTES + 1 - len(before))
        if len(before) + len(rest) > MAX_PIPED_BYTES:
            message = f"{self.name} is larger than {MAX_PIPED_BYTES // 1_000_000} MB"
            raise UsageError(message, hint="name the file instead, or pipe in a WAV")
        try:
            copy = TemporaryFile()  # noqa: SIM115 - the caller closes it
            copy.writelines((before, rest))
            copy.flush()
        except OSError as error:
            message = f"{self.name} cannot be copied to a temporary file ({error.strerror})"
            raise UsageError(message, hint="name the file instead, or set TMPDIR") from error
        return copy


@contextmanager
def opened(source: Source) -> Iterator[InputFile]:
    """The opened source. Raises UsageError if it is not a regular file or cannot be opened."""
    if isinstance(source, int):
        yield InputFile(source, name_of(source), piped=True)
        return
    with open_regular(
        source,
        folder_hint="use a file in it",
        special_hint="pipe it in and use - as the name",
    ) as descriptor:
        yield InputFile(descriptor, name_of(source), piped=False)
