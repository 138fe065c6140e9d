"""Writes files that the user asked for: exports, replies and code."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from rtchat.core.errors import OutputError, UsageError
from rtchat.history.export import Format
from rtchat.system.files import shown_name

_FORMATS: dict[str, Format] = {
    "": "markdown",
    ".md": "markdown",
    ".markdown": "markdown",
    ".json": "json",
    ".html": "html",
    ".htm": "html",
}
"""By file extension."""


def format_of(file: Path | None, *, has_option: bool = True) -> Format:
    """The format of an export, by the extension of its file. `has_option` is whether the user could
    have chosen it with --format. Raises UsageError if the extension is unknown."""
    # A pipe can have any name. Unlike the methods of Path, these functions of os.path never raise.
    if file is None or (os.path.exists(file) and not os.path.isfile(file)):
        return "markdown"
    chosen = _FORMATS.get(file.suffix.lower())
    if chosen is None:
        known = ", ".join(filter(None, _FORMATS))
        hint = f"use {known}, or choose a format with --format" if has_option else f"use {known}"
        raise UsageError(f"unknown file extension {file.suffix!r}", hint=hint)
    return chosen


def save_file(file: Path, content: bytes, *, force: bool) -> None:
    """Write a file that only its owner can read: conversations are private.

    Raises:
        UsageError: the file exists, and `force` is not set.
        OutputError: it cannot be written.
    """
    if not _write(file, content, force=force):
        hint = "use --force to overwrite it"
        raise UsageError(f"{shown_name(file)} already exists", hint=hint)


def save_new_file(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Write a file whose name is not used yet, and return its path. Raises OutputError."""
    for number in count(1):
        file = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        if _write(file, content, force=False):
            return file
    raise AssertionError  # unreachable: `count` is infinite


def _write(file: Path, content: bytes, *, force: bool) -> bool:
    """Write a file; return False if it exists and `force` is not set. Raises OutputError."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    with errors_translated(file):
        if file.exists() and not file.is_file():  # a pipe or a device: nothing is overwritten
            flags = os.O_WRONLY
        try:
            with open(os.open(file, flags, 0o600), "wb") as out:
                out.write(content)
        except FileExistsError:
            return False
    return True


def check_folder(path: Path, option: str, endings: Collection[str], hint: str) -> None:
    """Raise UsageError if an option should name a folder, and its value is `-`, the name of a file,
    or a new name with one of these endings, which are those of files."""
    is_name_of_file = os.path.exists(path) or path.suffix.lower() in endings
    if str(path) == "-" or (is_name_of_file and not os.path.isdir(path)):
        message = f"{option} needs the name of a folder, not {shown_name(path)}"
        raise UsageError(message, hint=hint)


@contextmanager
def errors_translated(path: Path) -> Iterator[None]:
    """Raise OutputError for an OSError in writing this path."""
    try:
        yield
    except (OSError, ValueError) as error:  # a NUL in a name is a ValueError
        why = error.strerror if isinstance(error, OSError) else str(error)
        message = f"{shown_name(path)} cannot be written ({why})"
        raise OutputError(message, hint="use another path") from error
