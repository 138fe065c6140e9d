"""Files for a model: what goes with a question, read, checked and made into a part of it.

A PNG or a JPEG is known by its content, never by its name, and goes as an image; anything else goes
as text if it is text.
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
from rtchat.core.values import Part
from rtchat.inputs import images
from rtchat.system.blocking import read_some
from rtchat.system.files import open_regular, shown_name, unreadable

MOST_TEXT = 5_000_000
"""Bytes of a text file."""
MOST_TOGETHER = 15_000_000
"""Characters of all that goes with one question: it is one message, and for sound the API names
15 MiB as the most that one may have."""
_MOST_READ = 64_000_000
"""Bytes of a picture's file, before it is scaled."""
_CHUNK = 1 << 20
_STDIN = "stdin"


def read(path: Path) -> Attached:
    """A file as it goes with a question, under a name that also says how large it is.

    Raises:
        UsageError: it cannot be read, or a model takes nothing of its kind or size.
    """
    return _part(_contents(path), shown_name(path.name))


def attach(entered: str) -> Attached:
    """The file that somebody means: a path or a `file://` URL, perhaps as a shell would have it
    quoted. Raises UsageError as `read` does."""
    return read(_meant(entered))


def text(entered: str) -> str:
    """The content of the text file that the user entered. Raises UsageError if it cannot be read,
    is empty or is not text."""
    path = _meant(entered)
    return _text(_contents(path), shown_name(path.name))


def read_all(paths: Sequence[str], stdin: int | None) -> tuple[Attached, ...]:
    """Files from a command line, all or none; `-` is the descriptor `stdin`, None if there is no
    pipe. Raises UsageError as `read` does."""
    if paths.count("-") > 1:
        raise UsageError("--attach - was given twice", hint="stdin can be read only once")
    attached = tuple(_piped(stdin) if path == "-" else read(_local(path)) for path in paths)
    together = sum(len(file.part.data or file.part.text) for file in attached)
    if together > MOST_TOGETHER:
        size, limit = images.amount(together), images.amount(MOST_TOGETHER)
        raise UsageError(
            f"what is attached is {size} as it is sent, more than {limit}",
            hint="attach some of it to another question",
        )
    return attached


def may_be_dropped(entry: str) -> bool:
    """Whether a line at the prompt begins like a path, so that `paths_from_drop` has to read the
    disk."""
    line = entry.strip()
    return bool(_LOOKS_LIKE_A_PATH.match(line)) and "\n" not in line


def paths_from_drop(entry: str) -> tuple[str, ...]:
    """The paths of the files that a line at the prompt is made of and nothing else, as terminals
    paste them when files are dropped; empty if it is a line like any other."""
    if not may_be_dropped(entry):
        return ()
    for words in ([entry.strip()], _words(entry)):
        paths = [_local(word) for word in words if _LOOKS_LIKE_A_PATH.match(word)]
        if words and len(paths) == len(words) and all(map(_is_file, paths)):
            return tuple(map(str, paths))
    return ()


_LOOKS_LIKE_A_PATH = re.compile(r"""['"]?(/(?!/)|~/|\./|file:///|file://localhost/)""")


def _meant(entered: str) -> Path:
    literal = _local(entered)
    words = _words(entered)
    if len(words) != 1 or os.path.lexists(literal):
        return literal
    return _local(words[0])


def _words(text: str) -> list[str]:
    """As a shell would split it; nothing if a quotation mark has no partner."""
    with suppress(ValueError):
        return shlex.split(text)
    return []


def _local(word: str) -> Path:
    if word.startswith(("file:///", "file://localhost/")):
        return Path(os.fsdecode(unquote_to_bytes(urlsplit(word).path)))
    return Path(
        os.path.expanduser(word)
    )  # before `Path` takes the ./ off a name that begins with ~


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


# ------------------------------------------------------------------------------------------ reading


def _contents(path: Path) -> bytes:
    with open_regular(
        path,
        folder_hint="attach files, one by one",
        special_hint="name a file; rtchat once --attach - takes what is piped in",
    ) as file:
        return _bytes(file, shown_name(path))


def _piped(descriptor: int | None) -> Attached:
    if descriptor is None:
        raise UsageError("--attach - wants a file piped in", hint="rtchat once -a - … < FILE")
    return _part(_bytes(descriptor, _STDIN), _STDIN)


def _bytes(file: int, shown: str) -> bytes:
    data = bytearray()
    try:
        while len(data) <= _MOST_READ:
            chunk = read_some(file, _CHUNK)
            if not chunk:
                return bytes(data)
            data += chunk
    except OSError as error:
        raise unreadable(shown, error) from error
    limit = images.amount(_MOST_READ)
    raise UsageError(f"{shown} is larger than {limit}", hint="attach something smaller")


# ------------------------------------------------------------------------------------------- a part


def _part(data: bytes, name: str) -> Attached:
    kind = images.kind(data)
    if kind in ("PNG", "JPEG"):
        picture = images.picture(data, name)
        url = f"data:{picture.mime};base64,{b64encode(picture.data).decode()}"
        return Attached(f"{name} ({images.about(picture)})", Part("image", data=url))
    if kind:
        raise UsageError(
            f"{name} is a {kind} image, and models take PNG and JPEG", hint="convert it"
        )
    return Attached(f"{name} ({images.amount(len(data))})", Part("text", _quoted(data, name)))


def _quoted(data: bytes, name: str) -> str:
    """A text under its name, in a fence that nothing inside can close."""
    text = _text(data, name)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    end = "" if text.endswith("\n") else "\n"
    return f"File: {name}\n{fence}\n{text}{end}{fence}\n\n"


def _text(data: bytes, name: str) -> str:
    if not data:
        raise UsageError(f"{name} is empty", hint="choose a file that is not empty")
    if b"\0" in data:
        raise _no_text(name)
    try:
        text = data.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise _no_text(name) from error
    if len(data) > MOST_TEXT:
        size, limit = images.amount(len(data)), images.amount(MOST_TEXT)
        raise UsageError(
            f"{name} has {size} of text, more than {limit}", hint="use a smaller part of it"
        )
    return text


def _no_text(name: str) -> UsageError:
    return UsageError(
        f"{name} is neither text (UTF-8), PNG nor JPEG", hint="convert it to one of these"
    )
