"""Attachments: read files, check them, and turn them into parts of a question.

A PNG or JPEG file is recognised by its content, never by its name, and is sent as an image. Any
other file is sent as text if it is UTF-8.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from base64 import b64encode
from codecs import BOM_UTF8
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from rtchat.core.errors import UsageError
from rtchat.core.events import Attached
from rtchat.core.values import ImageDetail, Part
from rtchat.inputs import images
from rtchat.system.blocking import read_some
from rtchat.system.files import open_regular, shown_name, unreadable

MAX_TEXT = 5_000_000
"""Bytes of a text file."""
MAX_TOTAL = 15_000_000
"""Characters of all attachments of one question. They are sent in one message; for audio, the API
documents 15 MiB as its maximum size."""
_MAX_READ = 64_000_000
"""Bytes of a file, before an image in it is scaled."""
_CHUNK = 1 << 20
_STDIN = "stdin"


def read(path: Path, detail: ImageDetail | None = None) -> Attached:
    """Read a file as an attachment. Its name also says how large it is. `detail` is for an image.

    Raises:
        UsageError: it cannot be read, or its kind or size is not supported.
    """
    return _part(_contents(path), shown_name(path.name), detail)


def attach(entered: str, detail: ImageDetail | None = None) -> Attached:
    """Read the file that the user entered: a path or a `file://` URL, which may be quoted as in a
    shell. Raises UsageError as `read` does."""
    return read(entered_path(entered), detail)


def text(entered: str) -> str:
    """Read the text file that the user entered. Raises UsageError if it cannot be read, is empty or
    is not text."""
    path = entered_path(entered)
    return _text(_contents(path), shown_name(path.name))


def read_all(
    paths: Sequence[str], stdin: int | None, detail: ImageDetail | None = None
) -> tuple[Attached, ...]:
    """Read the files of a command line, all or none. `-` means the descriptor `stdin`, which is
    None if there is no pipe. Raises UsageError as `read` does."""
    if paths.count("-") > 1:
        raise UsageError("stdin is attached more than once", hint="use --attach - only once")
    attached = tuple(
        _piped(stdin, detail) if path == "-" else read(_to_path(path), detail) for path in paths
    )
    total = sum(len(file.part.data or file.part.text) for file in attached)
    if total > MAX_TOTAL:
        size, limit = images.format_size(total), images.format_size(MAX_TOTAL)
        raise UsageError(
            f"the attachments are too large ({size} as sent; the limit is {limit})",
            hint="attach some of them to another question",
        )
    return attached


def may_be_dropped(entry: str) -> bool:
    """Whether a line at the prompt begins like a path. Only then does `paths_from_drop` read the
    disk."""
    line = entry.strip()
    return bool(_LOOKS_LIKE_A_PATH.match(line)) and "\n" not in line


def paths_from_drop(entry: str) -> tuple[str, ...]:
    """The paths of existing files in a line that consists only of such paths, as terminals paste
    them when files are dropped. Empty for any other line."""
    if not may_be_dropped(entry):
        return ()
    for words in ([entry.strip()], _split_words(entry)):
        paths = [_to_path(word) for word in words if _LOOKS_LIKE_A_PATH.match(word)]
        if words and len(paths) == len(words) and all(map(_is_file, paths)):
            return tuple(map(str, paths))
    return ()


def mentioned(words: Sequence[str]) -> tuple[str, ...]:
    """The paths of the files that the words after @ in a question name: each word as it is, or
    without the punctuation at its end. A word that names no file is text."""
    paths = (
        next(filter(_is_file, map(entered_path, (word, word.rstrip(_PUNCTUATION)))), None)
        for word in words
    )
    return tuple(dict.fromkeys(str(path.absolute()) for path in paths if path is not None))


_PUNCTUATION = ".,;:!?)]}>"
_LOOKS_LIKE_A_PATH = re.compile(r"""['"]?(/(?!/)|~/|\./|file:///|file://localhost/)""")


def entered_path(entered: str) -> Path:
    """The path that the user entered: as it is, a `file://` URL, or quoted as in a shell. A name as
    it is takes precedence if there is such a file, so this reads the disk."""
    literal = _to_path(entered)
    words = _split_words(entered)
    if len(words) != 1 or os.path.lexists(literal):
        return literal
    return _to_path(words[0])


def _split_words(text: str) -> list[str]:
    """Split a text into words as a shell does. Empty if a quotation mark is not closed."""
    with suppress(ValueError):
        return shlex.split(text)
    return []


def _to_path(word: str) -> Path:
    if word.startswith(("file:///", "file://localhost/")):
        return Path(os.fsdecode(unquote_to_bytes(urlsplit(word).path)))
    # `Path` first would remove the ./ that protects a name beginning with ~.
    return Path(os.path.expanduser(word))


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


# ------------------------------------------------------------------------------------------ reading


def _contents(path: Path) -> bytes:
    with open_regular(
        path,
        folder_hint="attach its files one by one",
        special_hint="attach a regular file, or pipe it into `rtchat once --attach -`",
    ) as file:
        return _bytes(file, shown_name(path))


def _piped(descriptor: int | None, detail: ImageDetail | None) -> Attached:
    if descriptor is None:
        raise UsageError("--attach - needs piped input", hint="pipe a file into it")
    return _part(_bytes(descriptor, _STDIN), _STDIN, detail)


def _bytes(file: int, shown: str) -> bytes:
    data = bytearray()
    try:
        while len(data) <= _MAX_READ:
            chunk = read_some(file, _CHUNK)
            if not chunk:
                return bytes(data)
            data += chunk
    except OSError as error:
        raise unreadable(shown, error) from error
    limit = images.format_size(_MAX_READ)
    raise UsageError(f"{shown} is larger than {limit}", hint="attach a smaller file")


# ------------------------------------------------------------------------------------------ content


def _part(data: bytes, name: str, detail: ImageDetail | None) -> Attached:
    kind = images.kind(data)
    if kind in ("PNG", "JPEG"):
        image = images.prepare(data, name)
        url = f"data:{image.mime};base64,{b64encode(image.data).decode()}"
        part = Part("image", data=url, detail=detail)
        return Attached(f"{name} ({images.describe(image)})", part)
    if kind:
        raise UsageError(
            f"{name} is a {kind} image, which is not supported", hint="convert it to PNG or JPEG"
        )
    return Attached(f"{name} ({images.format_size(len(data))})", Part("text", _fenced(data, name)))


def _fenced(data: bytes, name: str) -> str:
    """A text with its name, in a code fence that the text cannot close."""
    text = _text(data, name)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    end = "" if text.endswith("\n") else "\n"
    return f"File: {name}\n{fence}\n{text}{end}{fence}\n\n"


def _text(data: bytes, name: str) -> str:
    if not data:
        raise UsageError(f"{name} is empty", hint="attach a file that is not empty")
    if b"\0" in data:
        raise _unsupported(name)
    try:
        text = data.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise _unsupported(name) from error
    if len(data) > MAX_TEXT:
        size, limit = images.format_size(len(data)), images.format_size(MAX_TEXT)
        raise UsageError(
            f"{name} is too large ({size}; the limit for text is {limit})",
            hint="attach a part of it",
        )
    return text


def _unsupported(name: str) -> UsageError:
    return UsageError(f"{name} is not UTF-8 text, PNG or JPEG", hint="convert it to one of these")
