"""Open the files that a user names, with errors that state the cause."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rtchat.core.errors import UsageError


def shown_name(name: object) -> str:
    """A file name with unprintable characters replaced, to show to a user or a model."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(name)
    )


@contextmanager
def open_regular(path: Path, *, folder_hint: str, special_hint: str) -> Iterator[int]:
    """Open a regular file for reading; the context is its descriptor.

    Raises:
        UsageError: it is a folder (the hint is `folder_hint`), a pipe or a device (`special_hint`),
            or it cannot be opened.
    """
    shown = shown_name(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(f"{shown} is a folder", hint=folder_hint)
        if not stat.S_ISREG(mode):
            raise UsageError(f"{shown} is not a regular file", hint=special_hint)
        # Non-blocking, in case it has become a FIFO meanwhile.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:  # a NUL in a name is a ValueError
        raise unreadable(shown, error) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file as a whole, readable only by its owner, or not at all. Raises OSError."""
    import tempfile

    descriptor, part = tempfile.mkstemp(prefix=".rtchat-", dir=path.parent)  # 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise


def unreadable(shown: str, error: OSError | ValueError) -> UsageError:
    """The error to raise for a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return UsageError(f"file not found: {shown}", hint="check the file name")
    why = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"{shown} cannot be read ({why})", hint="check its name and permissions")
