"""Open and name the files that a user asks for, with errors that say what is wrong."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtchat.core.errors import UsageError


def shown_name(name: object) -> str:
    """A file's name as one line, which a user or a model can be shown."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(name)
    )


@contextmanager
def open_regular(path: Path, *, folder_hint: str, special_hint: str) -> Iterator[int]:
    """A descriptor to read a regular file from.

    Raises:
        UsageError: it is a folder, which `folder_hint` is about, a pipe or a device, which
            `special_hint` is about, or it cannot be opened.
    """
    shown = shown_name(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(f"{shown} is a folder", hint=folder_hint)
        if not stat.S_ISREG(mode):
            raise UsageError(f"{shown} is not a regular file", hint=special_hint)
        # If it has become a FIFO since, the open must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:  # a NUL in a name is a ValueError
        raise unreadable(shown, error) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def unreadable(shown: str, error: OSError | ValueError) -> UsageError:
    """The error to raise for a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return UsageError(f"there is no file {shown}", hint="check its name")
    why = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"{shown} cannot be read ({why})", hint="check its name and who may read it")
