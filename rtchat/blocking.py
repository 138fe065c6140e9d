"""A file that blocks even if its descriptor is non-blocking, as the parent process may leave it.

Python's own streams lose data there: a write is cut short, and a read looks like the end.
"""

from __future__ import annotations

import select
from io import FileIO, RawIOBase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class BlockingFile(FileIO):
    """A descriptor, which it does not close. Give it a buffered reader or writer."""

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
        """Read what is there, or wait until there is something; 0 at the end."""
        while (size := super().readinto(buffer)) is None:
            select.select((self.fileno(),), (), ())
        return size

    def write(self, data: ReadableBuffer, /) -> int:
        """Write as much as fits now; wait if nothing does."""
        while (size := super().write(data)) is None:
            select.select((), (self.fileno(),), ())
        return size
