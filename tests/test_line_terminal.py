"""Conversations on a terminal that cannot be repainted (`TERM=dumb`): lines in, lines out."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtchat.core.effects import Notice, QuestionAsked, Ready, ReplyOver, ToolAsked, Update
from rtchat.core.errors import ExitCode
from rtchat.core.events import (
    LeaveAsked,
    LocalEvent,
    LocalNotice,
    ToolAnswered,
    UsageAsked,
    UserSaid,
)
from rtchat.core.text import MARK
from rtchat.core.values import Status, ToolCall
from rtchat.inputs import attachments
from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from rtchat.ui.approval import CHOICES
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.line_terminal import LineTerminal
from tests.program import Program, background
from tests.scripted import NothingSaved, Screen
from tests.terminal import PROMPT, Terminal

ASKED = f"{MARK} {CHOICES} {PROMPT} "
OVER = ReplyOver(Status.COMPLETED, "Yes.", "model")
SCRIPT: dict[str, object] = {
    "model": "scripted",
    "rule": [
        {"match": "slow", "text": "one two three", "stall": True},
        {"text": "Some **bold** text.\n\n- a list\n"},
    ],
}


class Lines:
    """A terminal of lines. Each event that it posts is answered by some updates, after which more
    is entered."""

    def __init__(self, *answers: tuple[list[Update], str]) -> None:
        self._answers = list(answers)
        self._keys, stdin = os.pipe()[::-1]
        self._stdin = stdin
        self.written = io.StringIO()
        self.view = Screen()
        self.events: list[LocalEvent] = []
        clipboard = Clipboard(io.StringIO(), {})
        self.terminal = LineTerminal(
            self.view, stdin, self.written, clipboard, attachments, lambda *_: [], NothingSaved()
        )

    def run(self, *entered: bytes) -> list[LocalEvent]:
        """Enter this and then end the input once there are no more answers."""
        for data in entered:
            os.write(self._keys, data)
        asyncio.run(self._run())
        os.close(self._stdin)
        return self.events

    async def _run(self) -> None:
        self.terminal.show(Ready("model", 0.1))
        if not self._answers:
            os.close(self._keys)
        await self.terminal.run(self._post)
        self.terminal.tick()
        self.terminal.close()

    def _post(self, event: LocalEvent) -> None:
        self.events.append(event)
        if not self._answers or isinstance(event, LeaveAsked):
            return
        updates, keys = self._answers.pop(0)
        asyncio.get_running_loop().call_soon(self._answer, updates, keys)

    def _answer(self, updates: list[Update], keys: str) -> None:
        for update in updates:
            self.terminal.show(update)
        os.write(self._keys, keys.encode())
        if not self._answers:
            os.close(self._keys)


def test_each_line_is_a_question_and_the_end_of_input_leaves() -> None:
    lines = Lines()
    assert lines.run("one ü\n".encode(), b"two\n", b"\n", b"  \n") == [
        *(UserSaid("one ü"), UserSaid("two")),
        LeaveAsked(),
    ]
    assert lines.view.closed


def test_a_line_that_arrives_in_pieces() -> None:
    lines = Lines(([], "o\nthr"), ([], "ee\n"))
    said = [UserSaid("one"), UserSaid("two"), UserSaid("three")]
    assert lines.run(b"one\ntw") == [*said, LeaveAsked()]


def test_it_prompts_only_where_a_line_is_expected() -> None:
    lines = Lines(([QuestionAsked("one", "model"), OVER], ""))
    lines.run(b"one\n")
    assert lines.written.getvalue() == f"{PROMPT} " * 2
    pending = Lines(([QuestionAsked("one", "model")], ""))
    pending.run(b"one\n")
    assert pending.written.getvalue() == f"{PROMPT} "


def test_commands() -> None:
    lines = Lines()
    usage, unknown, leave = lines.run(b"/usage\n/nonsense\n/exit\nnever\n")
    assert (usage, leave) == (UsageAsked(), LeaveAsked())
    assert isinstance(unknown, LocalNotice)
    assert unknown.is_error
    assert lines.written.getvalue().count(PROMPT) >= 1


@pytest.mark.parametrize(
    ("typed", "answer", "asked"),
    [("y\n", "yes", 1), ("Always\n", "always", 1), ("\nperhaps\nno\n", "no", 3)],
)
def test_a_question_about_a_call(typed: str, answer: str, asked: int) -> None:
    call = ToolAsked(ToolCall("weather", "c", '{"city": "Oslo"}'))
    lines = Lines(([QuestionAsked("one", "model"), call], typed), ([OVER], ""))
    events = lines.run(b"one\n")
    assert [*map(repr, events)][:2] == ["UserSaid(text='one')", f"ToolAnswered(answer={answer!r})"]
    assert isinstance(events[1], ToolAnswered)
    written = lines.written.getvalue()
    assert written.count(ASKED) == asked
    assert f"{MARK} Run weather?\n" in written
    assert '"Oslo"' in written


def test_a_line_after_a_question_that_is_over_is_no_answer() -> None:
    call = ToolAsked(ToolCall("weather", "c", "{}"))
    over = ReplyOver(Status.CANCELLED, "", "model")
    lines = Lines(([QuestionAsked("one", "model"), call, over], "yes\n"))
    assert lines.run(b"one\n") == [UserSaid("one"), UserSaid("yes"), LeaveAsked()]


def test_updates_go_to_the_view() -> None:
    lines = Lines(([Notice("info", "news")], ""))
    lines.run(b"one\n")
    assert Notice("info", "news") in lines.view.updates


# --------------------------------------------------------------------------------- the program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with background(lambda: run_server(ScriptEngine(read_script(SCRIPT)))) as url:
        program = Program(tmp_path)
        program.environ["RTCHAT_URL"] = url
        yield program


def test_a_conversation_on_a_dumb_terminal(program: Program) -> None:
    terminal = Terminal(program, [], {"TERM": "dumb"})
    terminal.shows("connected in", PROMPT)
    terminal.types("hello\r")
    terminal.shows(f"{PROMPT} hello", "Some **bold** text.", "- a list", PROMPT)
    terminal.types("/usage\r")
    terminal.shows(f"{PROMPT} /usage", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == ExitCode.OK


def test_ctrl_c_on_a_dumb_terminal_stops_the_reply(program: Program) -> None:
    terminal = Terminal(program, [], {"TERM": "dumb"})
    terminal.shows("connected in", PROMPT)
    terminal.types("slow\r")
    terminal.shows("one")
    terminal.types("\x03")
    terminal.shows("interrupted", PROMPT)
    terminal.types("hello\r")
    terminal.shows("interrupted", "Some **bold** text.", PROMPT)
    terminal.types("/exit\r")
    assert terminal.ends() == ExitCode.OK
