"""The line editor, with keys from a pipe. `test_terminal` uses a real terminal."""

from __future__ import annotations

import asyncio
import io
import os
import termios
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.output import DummyOutput

from rtchat.core.errors import UsageError
from rtchat.core.events import Attached, LeaveAsked, LocalEvent, LocalNotice
from rtchat.core.values import ImageDetail
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.prompt import Prompt
from rtchat.ui.terminal import Terminal
from tests.scripted import Screen

T = TypeVar("T")


def with_prompt(history: Path | None, use: Callable[[Prompt, PipeInput], Awaitable[T]]) -> T:
    """Run `use` with a prompt whose keys come from a pipe."""

    async def run() -> T:
        with create_pipe_input() as keys:
            prompt = Prompt(history, input=keys, output=DummyOutput())
            try:
                return await use(prompt, keys)
            finally:
                prompt.close()  # the history is written in a thread

    return asyncio.run(run())


def entries(history: Path | None, *typed: str) -> list[str | None]:
    async def use(prompt: Prompt, keys: PipeInput) -> list[str | None]:
        read: list[str | None] = []
        for text in typed:
            keys.send_text(text)
            read.append(await prompt.read())
        return read

    return with_prompt(history, use)


def test_an_entry_can_begin_with_a_default() -> None:
    async def use(prompt: Prompt, keys: PipeInput) -> str | None:
        keys.send_text("!\r")
        return await prompt.read("well begun")

    assert with_prompt(None, use) == "well begun!"


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("one\r", "one"),
        ("\x04", None),
        ("oops\x03one\r", "one"),
    ],
)
def test_reading(typed: str, read: str | None) -> None:
    assert entries(None, typed) == [read]


def test_searching_earlier_input() -> None:
    assert entries(None, "apples\r", "pears\r", "\x12app\r\r") == ["apples", "pears", "apples"]


def test_only_the_owner_can_read_the_history(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history"
    entries(path, "a secret\r")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_history_keeps_entries_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "history"
    entries(path, "one\ntwo ü\u2028\r", "three\r")
    assert entries(path, "\x1b[A\x1b[A\x1b[A\r") == ["one\ntwo ü\u2028"]


def test_corrupt_lines_of_the_history_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_bytes(b'"good"\n\xff\xfe{not json\n[1]\n' + b"[" * 100_000 + b"\n")
    assert entries(path, "\x1b[A\r") == ["good"]


def test_a_history_that_cannot_be_written_is_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    path = tmp_path / "file" / "history"
    assert entries(path, "one\r", "\x1b[A\r") == ["one", "one"]


def test_without_a_prompt_print_above_prints_at_once() -> None:
    async def use(prompt: Prompt, keys: PipeInput) -> list[str]:
        printed: list[str] = []
        prompt.print_above(lambda: printed.append("now"))
        return printed

    assert with_prompt(None, use) == ["now"]


def test_an_entry_that_is_cancelled_leaves_the_prompt_usable() -> None:
    async def use(prompt: Prompt, keys: PipeInput) -> tuple[bool, bool, str | None]:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(prompt.read())
            await asyncio.sleep(0)
            was_active = prompt.active
            reading.cancel()
        is_active = prompt.active
        keys.send_text("again\r")
        return was_active, is_active, await prompt.read()

    assert with_prompt(None, use) == (True, False, "again")


def test_the_terminal_stays_raw_while_something_is_printed_above() -> None:
    """Otherwise an Enter typed at that moment would be read as a new line."""

    async def use() -> tuple[bool, str | None]:
        outer, inner = os.openpty()
        with open(inner, encoding="utf-8") as file:  # noqa: ASYNC230 - a terminal
            prompt = Prompt(None, input=Vt100Input(file), output=DummyOutput())
            raw: list[bool] = []

            def show() -> None:
                raw.append(not termios.tcgetattr(inner)[3] & termios.ICANON)
                os.write(outer, b"hello\r")

            reading = asyncio.create_task(prompt.read())
            while termios.tcgetattr(inner)[3] & termios.ICANON:  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(0)
            prompt.print_above(show)
            entry = await reading
        os.close(outer)
        return raw == [True], entry

    assert asyncio.run(use()) == (True, "hello")


class Hanging:
    """Files on a disk that hangs until `answers` is set. `on_read` is called before it hangs."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.on_read: Callable[[], object] = lambda: None

    def may_be_dropped(self, entry: str) -> bool:
        return entry.startswith("/tmp")

    def paths_from_drop(self, entry: str) -> Sequence[str]:
        self.on_read()
        self.answers.wait()
        return ()

    def mentioned(self, words: Sequence[str]) -> Sequence[str]:
        self.on_read()
        self.answers.wait()
        return words

    def attach(self, entered: str, detail: ImageDetail | None) -> Attached:
        self.on_read()
        self.answers.wait()
        raise UsageError("too late")

    def text(self, entered: str) -> str:
        self.on_read()
        self.answers.wait()
        return "too late"


@pytest.mark.parametrize("stop", ["\x03", "\x1b"])
@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ("/attach slow.png", "nothing was attached"),
        ("/system @slow.txt", "the instructions were not changed"),
        ("what is in @slow.txt?", "nothing was asked"),
    ],
)
def test_reading_a_file_can_be_stopped(entry: str, named: str, stop: str) -> None:
    files, posted = Hanging(), list[LocalEvent]()

    async def run() -> None:
        with create_pipe_input() as keys:
            prompt = Prompt(None, input=keys, output=DummyOutput())
            terminal = Terminal(Screen(), prompt, Clipboard(io.StringIO(), {}), files)

            def post(event: LocalEvent) -> None:
                posted.append(event)
                if isinstance(event, LocalNotice):
                    keys.send_text("\x04")

            files.on_read = lambda: keys.send_text(stop)
            keys.send_text(f"{entry}\r")
            await terminal.run(post)

    asyncio.run(run())
    files.answers.set()
    notice, left = posted
    assert isinstance(notice, LocalNotice)
    assert notice.is_error
    assert named in notice.text
    assert left == LeaveAsked()
