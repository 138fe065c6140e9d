"""Questions from a pipe: all of stdin as one, or each line as one.

Reads the file descriptor itself, as a thread that waits in a buffered reader cannot be left behind
when the program ends. Not here: what a person types (`ui.prompt`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import stat
import threading
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import suppress

from rtchat.errors import UsageError
from rtchat.events import InputEnded, LocalEvent, UserSaid

GRACE = 0.5
"""Seconds that a prompt on the command line waits for a pipe that may have nothing to add."""
_CHUNK = 65536


def question(
    prompt: str | None,
    descriptor: int | None,
    warn: Callable[[str], None],
    *,
    is_all: bool = True,
    grace: float = GRACE,
) -> str:
    """The one question of `once`: the prompt, what is piped in, or both with a blank line between.

    `descriptor` is stdin, None if it is a terminal or closed. With a prompt, or where that `is_all`
    is not true, a pipe that stays silent is not waited for: `warn` is told. There may be no text
    then, unless the prompt is `-`.

    Raises:
        UsageError: there is nothing to ask, or it is not text.
    """
    if prompt == "-":
        prompt, is_all = None, True
    if prompt is not None and not prompt.strip():
        raise UsageError("the prompt is empty", hint='ask something: rtchat once "a question"')
    piped = ""
    if descriptor is not None:
        try:
            if (prompt is None and is_all) or _has_something(descriptor, grace):
                piped = _decode(b"".join(_chunks(descriptor)), "stdin").rstrip("\r\n")
            else:
                warn(f"stdin is open but silent: going on without it after {grace:g} s")
        except OSError as error:
            raise _unreadable(error) from error
    text = "\n\n".join(part for part in (prompt, piped) if part)
    if is_all and not text.strip():
        raise UsageError("no prompt", hint='rtchat once "a question", or pipe one in')
    return text


def _has_something(descriptor: int, grace: float) -> bool:
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return True
    readable, _, _ = select.select((descriptor,), (), (), grace)
    return bool(readable)


def _chunks(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:  # whoever started us has made the pipe so
            select.select((descriptor,), (), ())
            continue
        if not chunk:
            return
        yield chunk


def _unreadable(error: OSError) -> UsageError:
    return UsageError(f"stdin cannot be read ({error.strerror})", hint="pipe in text, or nothing")


def _decode(data: bytes, what: str) -> str:
    try:
        text = data.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{what} is not UTF-8 text (byte {error.start + 1})",
            hint="convert it, with iconv perhaps",
        ) from error
    if "\0" in text:
        raise UsageError(f"{what} has a NUL byte", hint="pipe in text, not a binary file")
    return text


async def lines(post: Callable[[LocalEvent], None], descriptor: int) -> None:
    """Post each line of stdin as a question, as it comes; blank ones are passed over.

    A line that is not text ends the input: what came before it is still answered.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        ended = InputEnded()
        try:
            for number, line in enumerate(_lines(descriptor), start=1):
                text = _decode(line, f"line {number} of stdin").rstrip("\r")
                if text.strip():
                    loop.call_soon_threadsafe(post, UserSaid(text))
        except UsageError as error:
            ended = InputEnded(error.problem)
        except OSError as error:
            if error.errno != errno.EIO:  # else it was a terminal, and went away
                ended = InputEnded(_unreadable(error).problem)
        loop.call_soon_threadsafe(post, ended)

    def read_safely() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            read()

    threading.Thread(target=read_safely, name="stdin", daemon=True).start()


def _lines(descriptor: int) -> Iterator[bytes]:
    rest: list[bytes] = []
    for chunk in _chunks(descriptor):
        *complete, last = chunk.split(b"\n")
        for line in complete:
            yield b"".join((*rest, line))
            rest = []
        rest.append(last)
    yield b"".join(rest)
