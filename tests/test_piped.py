"""Questions from a pipe."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rtchat.core.errors import ExitCode, UsageError
from rtchat.core.events import InputEnded, LocalEvent, UserSaid
from rtchat.inputs.stdin import read_lines, read_prompt
from tests.program import PATIENCE, piped

_WAITING = "waiting for the end of stdin"
_SKIP = "--no-stdin"


@contextmanager
def _pipe(data: bytes | None, *, open_ended: bool = False) -> Iterator[int]:
    """The reading end of a pipe to which a thread writes. It is then closed, unless open-ended."""
    reading, writing = os.pipe()

    def write() -> None:
        if data:
            with os.fdopen(os.dup(writing), "wb") as file:
                file.write(data)
        if not open_ended:
            os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield reading
    finally:
        writer.join()
        os.close(reading)
        if open_ended:
            os.close(writing)


def _question(prompt: str | None, descriptor: int | None) -> tuple[str, list[str]]:
    """The question, and the messages to the user while it is read."""
    messages: list[str] = []
    return read_prompt(prompt, descriptor, messages.append, silence=PATIENCE), messages


def _refused(prompt: str | None, descriptor: int | None) -> str:
    with pytest.raises(UsageError) as caught:
        _question(prompt, descriptor)
    return str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "data", "text"),
    [
        ("Why?", None, "Why?"),
        (None, b"Why?\n", "Why?"),
        ("-", b"Why?", "Why?"),
        ("Explain:", b"some\ntext\n", "Explain:\n\nsome\ntext"),
        ("Explain:", b"", "Explain:"),
        ("Explain:", b"\n\r\n", "Explain:"),
        (None, b"  spaces stay \r\n", "  spaces stay "),
        (None, b"a\r\nb\n\n\n", "a\r\nb"),
        (None, b"\xef\xbb\xbfWhy?", "Why?"),
        (None, "Ä 😀".encode(), "Ä 😀"),
        ("a\nb", None, "a\nb"),
    ],
)
def test_the_question(prompt: str | None, data: bytes | None, text: str) -> None:
    if data is None:
        assert _question(prompt, None) == (text, [])
        return
    with _pipe(data) as descriptor:
        assert _question(prompt, descriptor) == (text, [])


def test_five_megabytes() -> None:
    data = b"0123456789abcde\n" * (5 * 2**20 // 16)
    with _pipe(data) as descriptor:
        assert _question(None, descriptor) == (data.decode().rstrip("\n"), [])


def test_a_character_may_be_split_across_two_reads() -> None:
    text = "a" + "é" * 100_000
    with _pipe(text.encode()) as descriptor:
        assert _question(None, descriptor) == (text, [])


def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("some text\n")
    with file.open("rb") as stream:
        assert _question("Explain:", stream.fileno()) == ("Explain:\n\nsome text", [])
        assert _question("Explain:", stream.fileno()) == ("Explain:", [])


@pytest.mark.parametrize(
    ("prompt", "is_all", "can_skip"),
    [
        ("Explain:", True, True),
        (None, False, True),
        (None, True, False),
        ("-", True, False),
    ],
)
@pytest.mark.parametrize("before", [b"", b"so"])
def test_a_pause_is_reported_once(
    prompt: str | None, is_all: bool, can_skip: bool, before: bytes
) -> None:
    """`before` is the input before the pause, which ends when the user is told about it."""
    reading, writing = os.pipe()
    os.write(writing, before)
    messages: list[str] = []

    def say(text: str) -> None:
        messages.append(text)
        os.write(writing, b"me text")
        os.close(writing)

    text = read_prompt(prompt, reading, say, is_all=is_all, silence=0.01)
    os.close(reading)
    piped = before.decode() + "me text"
    assert text == (f"Explain:\n\n{piped}" if prompt == "Explain:" else piped)
    (message,) = messages
    assert message.startswith(_WAITING)
    assert (_SKIP in message) == can_skip


@pytest.mark.parametrize("data", [b"", b"some text\n"])
def test_a_socket_is_read_to_its_end(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        expected = "Explain:\n\nsome text" if data else "Explain:"
        assert _question("Explain:", ours.fileno()) == (expected, [])


def test_dev_null_is_empty() -> None:
    with open(os.devnull, "rb") as null:
        assert _question("Why?", null.fileno()) == ("Why?", [])


def test_a_question_that_is_too_large() -> None:
    with piped(b"x", again=b"x" * 65_536) as descriptor:
        assert _refused(None, descriptor).startswith("stdin is larger than 64 MB")


def test_a_non_blocking_pipe_is_read_to_its_end() -> None:
    text = "x" * 5 * 2**20  # many times what a pipe holds, so that the reader has to wait
    with _pipe(text.encode()) as descriptor:
        os.set_blocking(descriptor, False)
        assert _question(None, descriptor) == (text, [])


@pytest.mark.parametrize(
    ("prompt", "data", "message"),
    [
        (None, None, "there is no prompt"),
        ("-", None, "there is no prompt"),
        (None, b"", "there is no prompt"),
        ("-", b" \n\t\n", "there is no prompt"),
        (None, b"\xef\xbb\xbf", "there is no prompt"),
        ("", None, "the prompt is empty"),
        (" \n", b"text", "the prompt is empty"),
        (None, b"abc\xff", "stdin is not UTF-8 text (byte 4)"),
        (None, b"a\0b", "stdin contains a NUL byte"),
    ],
)
def test_questions_that_are_refused(prompt: str | None, data: bytes | None, message: str) -> None:
    if data is None:
        assert _refused(prompt, None).startswith(message)
        return
    with _pipe(data) as descriptor:
        assert _refused(prompt, descriptor).startswith(message)


def test_stdin_that_cannot_be_read(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert _refused(None, folder).startswith("stdin cannot be read (Is a directory)")
    finally:
        os.close(folder)
    assert _refused("Why?", folder).startswith("stdin cannot be read (Bad file descriptor)")


# ------------------------------------------------------------------------------------------- lines


async def _at_once() -> None:
    """The previous question is always answered already."""


async def _collect(
    descriptor: int, answered: Callable[[], Awaitable[None]] = _at_once
) -> list[LocalEvent]:
    """All events that are posted, up to the end of the input."""
    events: list[LocalEvent] = []
    await asyncio.wait_for(read_lines(events.append, descriptor, answered), PATIENCE)
    return events


def _lines(descriptor: int) -> list[LocalEvent]:
    return asyncio.run(_collect(descriptor))


def _problem(event: LocalEvent) -> tuple[ExitCode, str]:
    """The exit code and the message of the problem that ended the input."""
    assert isinstance(event, InputEnded)
    assert event.problem is not None
    assert event.problem.hint
    return event.problem.exit, event.problem.message


_HUGE = "x" * 300_000


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"", []),
        (b"\n", []),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\ntwo", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"one\n\n \t\n\r\ntwo\n\n", ["one", "two"]),
        (b"\xef\xbb\xbfone\n", ["one"]),
        (b"  one \n", ["  one "]),
        (b"/exit\n", ["/exit"]),
        ("ä\N{LINE SEPARATOR}b\fc\rd\n".encode(), ["ä\N{LINE SEPARATOR}b\fc\rd"]),
        (f"{_HUGE}\n{_HUGE}".encode(), [_HUGE, _HUGE]),
        (b"x\n" * 5000, ["x"] * 5000),
    ],
)
def test_each_line_is_a_question(data: bytes, texts: list[str]) -> None:
    with _pipe(data) as descriptor:
        assert _lines(descriptor) == [*map(UserSaid, texts), InputEnded()]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"one\n\ntwo \xff\nthree\n", "line 3 of stdin is not UTF-8 text (byte 5)"),
        (b"one\na\0b", "line 2 of stdin contains a NUL byte"),
    ],
)
def test_a_line_that_is_not_text_ends_the_input(data: bytes, message: str) -> None:
    with _pipe(data) as descriptor:
        question, end = _lines(descriptor)
    assert question == UserSaid("one")
    assert _problem(end) == (ExitCode.USAGE, message)


def test_a_folder_has_no_lines(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        (end,) = _lines(folder)
    finally:
        os.close(folder)
    assert _problem(end) == (ExitCode.USAGE, "stdin cannot be read (Is a directory)")


def test_a_line_that_is_too_large() -> None:
    with piped(b"x", again=b"x" * 65_536) as descriptor:
        (end,) = _lines(descriptor)
    assert _problem(end) == (ExitCode.USAGE, "line 1 of stdin is larger than 64 MB")


def test_a_line_is_posted_once_the_previous_one_is_answered() -> None:
    async def converse(descriptor: int) -> list[LocalEvent]:
        events: list[LocalEvent] = []
        open_questions: list[int] = []
        answers = asyncio.Semaphore(0)

        async def answered() -> None:
            open_questions.append(len(events))
            answers.release()
            await asyncio.sleep(0)
            await answers.acquire()

        await asyncio.wait_for(read_lines(events.append, descriptor, answered), PATIENCE)
        assert open_questions == [1, 2, 3]
        return events

    with _pipe(b"one\ntwo\nthree\n") as descriptor:
        questions = [UserSaid(text) for text in ("one", "two", "three")]
        assert asyncio.run(converse(descriptor)) == [*questions, InputEnded()]


def test_a_lost_terminal_ends_the_input() -> None:
    outer, inner = os.openpty()
    os.write(outer, b"one\n")
    os.set_blocking(inner, True)

    async def hang_up() -> None:
        os.close(outer)

    assert asyncio.run(_collect(inner, hang_up)) == [UserSaid("one"), InputEnded()]
    os.close(inner)


def test_a_cancelled_reader_ends_with_its_next_line() -> None:
    reading, writing = os.pipe()

    async def begin() -> None:
        task = asyncio.get_running_loop().create_task(read_lines(lambda _: None, reading, _at_once))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(begin())
    (reader,) = (thread for thread in threading.enumerate() if thread.name == "stdin")
    os.write(writing, b"late\n")
    os.close(writing)
    reader.join(PATIENCE)
    assert not reader.is_alive()
    os.close(reading)
