"""The line editor, with keys from a pipe. `test_terminal` uses a real terminal."""

from __future__ import annotations

import asyncio
import io
import os
import termios
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.output import DummyOutput
from rich.text import Text

from rtchat.core.errors import UsageError
from rtchat.core.events import Attached, LeaveAsked, LocalEvent, LocalNotice
from rtchat.core.values import ImageDetail
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.console import ThemedConsole
from rtchat.ui.entries import Entry
from rtchat.ui.pager import Pager
from rtchat.ui.panel import LivePanel
from rtchat.ui.prompt import Prompt
from rtchat.ui.terminal import Terminal
from tests import screen
from tests.entry import EnteredText, with_entry
from tests.scripted import NothingSaved, Screen
from tests.terminal import PROMPT


def entries(history: Path | None, *typed: str) -> list[str]:
    """What is sent by these keys. Each is typed when the one before is handled."""

    async def use(entry: EnteredText) -> list[str]:
        for keys in typed:
            await entry.types(keys)
        return entry.texts

    return with_entry(use, history)


def test_an_entry_can_begin_with_a_draft() -> None:
    async def use(entry: EnteredText) -> list[str]:
        entry.prompt.set_draft("well begun")
        await entry.types("!\r")
        return entry.texts

    assert with_entry(use) == ["well begun!"]


def test_a_draft_goes_before_what_is_typed() -> None:
    async def use(entry: EnteredText) -> list[str]:
        await entry.types("typed")
        entry.prompt.set_draft("taken back")
        await entry.types("!\r")
        return entry.texts

    assert with_entry(use) == ["taken back!\ntyped"]


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("one\r", ["one"]),
        ("\x04", []),
        ("oops\x03one\r", ["one"]),
        ("one\rtwo\r", ["one", "two"]),
        ("\r  \rone\r", ["one"]),
    ],
)
def test_reading(typed: str, read: list[str]) -> None:
    async def use(entry: EnteredText) -> tuple[list[str], list[LocalEvent]]:
        await entry.types(typed)
        return entry.texts, entry.pressed

    assert with_entry(use) == (read, [] if read else [LeaveAsked()])


def test_searching_earlier_input() -> None:
    typed = ("apples\r", "pears\r", "\x12app\r\r")
    assert entries(None, *typed) == ["apples", "pears", "apples"]


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


def test_a_pager_has_the_screen_and_leaves_the_draft() -> None:
    async def use(entry: EnteredText) -> tuple[list[str], list[str], list[str]]:
        meanwhile: list[str] = []

        class Watching(Pager):
            def show(self, text: str) -> None:
                meanwhile.extend([text, *entry.screen.rows()])

        await entry.types("draft")
        await entry.prompt.page("long", Watching(io.StringIO(), {}))
        await entry.types("!")
        return meanwhile, entry.screen.rows(), entry.texts

    assert with_entry(use) == (["long"], [f"{PROMPT} draft!"], [])


def test_the_terminal_stays_raw_while_something_is_printed_above() -> None:
    """Otherwise an Enter typed at that moment would be read as a new line."""

    outer, inner = os.openpty()
    was_raw: list[bool] = []
    read: list[str] = []

    class Watching(io.StringIO):
        """Looks at the terminal while something is printed."""

        def write(self, text: str) -> int:
            if "above" in text:
                was_raw.append(not termios.tcgetattr(inner)[3] & termios.ICANON)
                os.write(outer, b"hello\r")
            return super().write(text)

    async def use(file: TextIO) -> None:
        panel = LivePanel(ThemedConsole(file=Watching(), force_terminal=True, width=80, height=40))
        prompt = Prompt(panel, None, input=Vt100Input(file), output=DummyOutput())

        def sent(entry: Entry) -> None:
            read.append(entry.text)
            prompt.exit()

        prompt.on_entry = sent
        panel.start(show_cursor=True)
        running = asyncio.create_task(prompt.run())
        while termios.tcgetattr(inner)[3] & termios.ICANON:  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0)
        panel.print(Text("above"))
        await running
        panel.stop()

    with open(inner, encoding="utf-8") as file:
        asyncio.run(use(file))
    os.close(outer)
    assert (was_raw, read) == ([True], ["hello"])


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
            panel = LivePanel(screen.Screen().console)
            prompt = Prompt(panel, None, input=keys, output=DummyOutput())
            clipboard = Clipboard(io.StringIO(), {})
            terminal = Terminal(
                Screen(), prompt, clipboard, files, NothingSaved(), templates=lambda *_: []
            )

            def post(event: LocalEvent) -> None:
                posted.append(event)
                if isinstance(event, LocalNotice):
                    keys.send_text("\x04")

            files.on_read = lambda: keys.send_text(stop)
            keys.send_text(f"{entry}\r")
            await terminal.run(post)

    asyncio.run(run())
    files.on_read = lambda: None  # the pipe of the keys is closed
    files.answers.set()
    notice, left = posted
    assert isinstance(notice, LocalNotice)
    assert notice.is_error
    assert named in notice.text
    assert left == LeaveAsked()
