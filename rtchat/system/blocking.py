"""Read and write non-blocking descriptors as if they were blocking.

A parent process may have made a descriptor non-blocking. Python's own streams then lose data: a
write is cut short, and a read looks like the end of the file.
"""

from __future__ import annotations

import os
import select
from io import FileIO, RawIOBase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class BlockingFile(FileIO):
    """A file for a descriptor, which it does not close. Wrap it in a buffered reader or writer."""

    def __init__(self, descriptor: int, mode: str) -> None:
        super().__init__(descriptor, mode, closefd=False)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read once, or to the end."""
        data: bytes = RawIOBase.read(self, -1 if size is None else size)
        return data

    def readall(self) -> bytes:
        """Read to the end."""
        data: bytes = RawIOBase.readall(self)
        return data

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what is available, waiting if there is nothing. Returns 0 at the end."""
        while (size := super().readinto(buffer)) is None:
            select.select((self.fileno(),), (), ())
        return size

    def write(self, data: ReadableBuffer, /) -> int:
        """Write as much as fits, waiting if nothing does. Returns the number of bytes."""
        while (size := super().write(data)) is None:
            select.select((), (self.fileno(),), ())
        return size


def read_some(descriptor: int, size: int) -> bytes:
    """Read up to `size` bytes, waiting if there are none. Returns b"" at the end."""
    while True:
        try:
            return os.read(descriptor, size)
        except BlockingIOError:
            select.select((descriptor,), (), ())


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes, in one write if there is room."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            select.select((), (descriptor,), ())
