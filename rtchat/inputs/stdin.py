"""Questions from a pipe: all of stdin as one question, or each line as one.

Reads the file descriptor directly: a thread that waits in a buffered reader would block the exit of
the program.
"""

from __future__ import annotations

import asyncio
import errno
import select
import threading
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, Iterator

from rtchat.core.errors import UsageError
from rtchat.core.events import InputEnded, LocalEvent, UserSaid
from rtchat.system.blocking import read_some
from rtchat.system.loop import post_to

SILENCE_SECONDS = 1.0
"""Seconds without input after which a message says that stdin is being read."""
MAX_QUESTION = 64_000_000
"""Bytes of one question."""
_CHUNK = 65536


def read_prompt(
    prompt: str | None,
    descriptor: int | None,
    say: Callable[[str], None],
    *,
    is_all: bool = True,
    silence: float = SILENCE_SECONDS,
) -> str:
    """The question of `once`: the prompt, the piped text, or both separated by a blank line.

    `descriptor` is stdin, None if it is a terminal or closed. It is read to its end. `say` is
    called with a message if `silence` seconds pass without input. The text may be empty only if
    `is_all` is false (the question has other parts) and the prompt is not `-`.

    Raises:
        UsageError: there is no question, it is too large, or it is not text.
    """
    if prompt == "-":
        prompt, is_all = None, True
    if prompt is not None and not prompt.strip():
        raise UsageError("the prompt is empty", hint='write it as `rtchat once "a question"`')
    piped = ""
    if descriptor is not None:
        has_other = prompt is not None or not is_all
        data = _read(descriptor, lambda: say(_SKIP if has_other else _WAITING), silence)
        piped = _decode(data, "stdin").rstrip("\r\n")
    text = "\n\n".join(part for part in (prompt, piped) if part)
    if is_all and not text.strip():
        raise UsageError(
            "there is no prompt", hint='write `rtchat once "a question"`, or pipe one in'
        )
    return text


_WAITING = "waiting for the end of stdin"
_SKIP = f"{_WAITING} (to skip it, use --no-stdin or < /dev/null)"


def _read(descriptor: int, on_silence: Callable[[], None], silence: float) -> bytes:
    data = bytearray()
    try:
        for chunk in _chunks(descriptor, on_silence, silence):
            data += chunk
            if len(data) > MAX_QUESTION:
                raise _too_large("stdin")
    except OSError as error:
        raise _unreadable(error) from error
    return bytes(data)


def _chunks(
    descriptor: int, on_silence: Callable[[], None] | None = None, silence: float = SILENCE_SECONDS
) -> Iterator[bytes]:
    """Chunks of input until its end. `on_silence` is called at the first pause of `silence`
    seconds."""
    while True:
        if on_silence is not None and not select.select((descriptor,), (), (), silence)[0]:
            on_silence()
            on_silence = None
        chunk = read_some(descriptor, _CHUNK)
        if not chunk:
            return
        yield chunk


def _too_large(what: str) -> UsageError:
    return UsageError(
        f"{what} is larger than {MAX_QUESTION // 1_000_000} MB", hint="use a shorter text"
    )


def _unreadable(error: OSError) -> UsageError:
    return UsageError(f"stdin cannot be read ({error.strerror})", hint="use a pipe or a file")


def _decode(data: bytes, what: str) -> str:
    try:
        text = data.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{what} is not UTF-8 text (byte {error.start + 1})",
            hint="convert it, for example with iconv",
        ) from error
    if "\0" in text:
        raise UsageError(f"{what} contains a NUL byte", hint="use text, not a binary file")
    return text


async def read_lines(
    post: Callable[[LocalEvent], None], descriptor: int, answered: Callable[[], Awaitable[None]]
) -> None:
    """Post each line of stdin as a question, once the previous one is `answered`. Blank lines are
    skipped.

    A line that is not text or is too long ends the input; the lines before it are still answered.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[LocalEvent] = asyncio.Queue()
    wanted = threading.Semaphore(0)
    is_stopped = threading.Event()

    def read() -> None:
        for event in _questions(descriptor):
            wanted.acquire()
            if is_stopped.is_set():
                return
            post_to(loop, queue.put_nowait, event)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    try:
        while True:
            wanted.release()
            event = await queue.get()
            post(event)
            if isinstance(event, InputEnded):
                return
            await answered()
    finally:
        is_stopped.set()
        wanted.release()


def _questions(descriptor: int) -> Iterator[LocalEvent]:
    """Each line that is not blank, then how the input ended."""
    try:
        for number, line in enumerate(_lines(descriptor), start=1):
            if (text := _decode(line, f"line {number} of stdin").rstrip("\r")).strip():
                yield UserSaid(text)
    except UsageError as error:
        yield InputEnded(error.problem)
    except OSError as error:
        # A lost terminal is a normal end of input.
        yield InputEnded(None if error.errno == errno.EIO else _unreadable(error).problem)
    else:
        yield InputEnded()


def _lines(descriptor: int) -> Iterator[bytes]:
    rest = bytearray()
    number = 1
    for chunk in _chunks(descriptor):
        first, *others = chunk.split(b"\n")
        rest += first
        for line in others:
            yield bytes(rest)
            rest = bytearray(line)
            number += 1
        if len(rest) > MAX_QUESTION:
            raise _too_large(f"line {number} of stdin")
    yield bytes(rest)
