"""Questions from a pipe, a real one."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rtchat.errors import ExitCode, Problem, UsageError
from rtchat.events import InputEnded, LocalEvent, UserSaid
from rtchat.piped import lines, question

_SILENT = "stdin is open but silent: going on without it after 0.01 s"


@contextmanager
def _pipe(data: bytes | None, *, open_ended: bool = False) -> Iterator[int]:
    """The reading end of a pipe that somebody writes to, and closes unless it is open-ended."""
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
    warnings: list[str] = []
    return question(prompt, descriptor, warnings.append, grace=0.01), warnings


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
        # The writer may not have begun, and a question with a prompt would go on without it.
        if prompt not in (None, "-"):
            select.select((descriptor,), (), (), 10)
        assert _question(prompt, descriptor) == (text, [])


def test_five_megabytes() -> None:
    data = b"0123456789abcde\n" * (5 * 2**20 // 16)
    with _pipe(data) as descriptor:
        assert _question(None, descriptor) == (data.decode().rstrip("\n"), [])


def test_a_character_may_lie_across_two_reads() -> None:
    text = "a" + "é" * 100_000
    with _pipe(text.encode()) as descriptor:
        assert _question(None, descriptor) == (text, [])


def test_a_file_is_read_whatever_it_has(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("some text\n")
    with file.open("rb") as stream:
        assert _question("Explain:", stream.fileno()) == ("Explain:\n\nsome text", [])
        assert _question("Explain:", stream.fileno()) == ("Explain:", [])


def test_a_pipe_that_stays_silent_is_not_waited_for() -> None:
    with _pipe(None, open_ended=True) as descriptor:
        assert _question("Why?", descriptor) == ("Why?", [_SILENT])


def test_a_pipe_that_must_not_be_waited_on_is_waited_for() -> None:
    text = "x" * 5 * 2**20  # many times what a pipe holds: the reader is faster more than once
    with _pipe(text.encode()) as descriptor:
        os.set_blocking(descriptor, False)
        assert _question(None, descriptor) == (text, [])


@pytest.mark.parametrize(
    ("prompt", "data", "message"),
    [
        (None, None, 'no prompt: rtchat once "a question", or pipe one in'),
        ("-", None, 'no prompt: rtchat once "a question", or pipe one in'),
        (None, b"", 'no prompt: rtchat once "a question", or pipe one in'),
        ("-", b" \n\t\n", 'no prompt: rtchat once "a question", or pipe one in'),
        (None, b"\xef\xbb\xbf", 'no prompt: rtchat once "a question", or pipe one in'),
        ("", None, 'the prompt is empty: ask something: rtchat once "a question"'),
        (" \n", b"text", 'the prompt is empty: ask something: rtchat once "a question"'),
        (
            None,
            b"abc\xff",
            "stdin is not UTF-8 text (byte 4): convert it, with iconv perhaps",
        ),
        (None, b"a\0b", "stdin has a NUL byte: pipe in text, not a binary file"),
    ],
)
def test_nothing_to_ask(prompt: str | None, data: bytes | None, message: str) -> None:
    if data is None:
        assert _refused(prompt, None) == message
        return
    with _pipe(data) as descriptor:
        assert _refused(prompt, descriptor) == message


def test_stdin_that_is_no_stream(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    message = "stdin cannot be read (Is a directory): pipe in text, or nothing"
    try:
        assert _refused(None, folder) == message
    finally:
        os.close(folder)
    message = "stdin cannot be read (Bad file descriptor): pipe in text, or nothing"
    assert _refused("Why?", -1) == message


# ------------------------------------------------------------------------------------------- lines


def _lines(descriptor: int) -> list[LocalEvent]:
    """Everything that is posted, up to the end of the input."""

    async def collect() -> list[LocalEvent]:
        ended = asyncio.Event()
        events: list[LocalEvent] = []

        def post(event: LocalEvent) -> None:
            events.append(event)
            if isinstance(event, InputEnded):
                ended.set()

        await lines(post, descriptor)
        await asyncio.wait_for(ended.wait(), 10)
        return events

    return asyncio.run(collect())


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
    ("data", "message", "hint"),
    [
        (
            b"one\n\ntwo \xff\nthree\n",
            "line 3 of stdin is not UTF-8 text (byte 5)",
            "convert it, with iconv perhaps",
        ),
        (
            b"one\na\0b",
            "line 2 of stdin has a NUL byte",
            "pipe in text, not a binary file",
        ),
    ],
)
def test_a_line_that_is_no_text_ends_it(data: bytes, message: str, hint: str) -> None:
    with _pipe(data) as descriptor:
        assert _lines(descriptor) == [
            UserSaid("one"),
            InputEnded(Problem(ExitCode.USAGE, message, hint)),
        ]


def test_a_folder_has_no_lines(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    message = "stdin cannot be read (Is a directory)"
    problem = Problem(ExitCode.USAGE, message, "pipe in text, or nothing")
    try:
        assert _lines(folder) == [InputEnded(problem)]
    finally:
        os.close(folder)


def test_a_terminal_that_goes_away_is_the_end() -> None:
    outer, inner = os.openpty()
    os.write(outer, b"one\n")
    os.set_blocking(inner, True)
    closing = threading.Timer(0, os.close, (outer,))
    events: list[LocalEvent] = []

    async def collect() -> None:
        ended = asyncio.Event()

        def post(event: LocalEvent) -> None:
            events.append(event)
            if isinstance(event, UserSaid):
                closing.start()
            else:
                ended.set()

        await lines(post, inner)
        await asyncio.wait_for(ended.wait(), 10)

    asyncio.run(collect())
    closing.join()
    os.close(inner)
    assert events == [UserSaid("one"), InputEnded()]


def test_nobody_listens_any_more() -> None:
    """A reader that outlives its loop ends in silence."""
    reading, writing = os.pipe()

    async def begin() -> None:
        await lines(lambda _: None, reading)

    asyncio.run(begin())
    (reader,) = (thread for thread in threading.enumerate() if thread.name == "stdin")
    os.write(writing, b"late\n")
    os.close(writing)
    reader.join(10)
    assert not reader.is_alive()
    os.close(reading)
