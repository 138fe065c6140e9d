"""`rtchat talk` in a terminal, judged by what is on the screen."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from rtchat.core.events import ServerProblem
from rtchat.core.values import Message
from rtchat.history.store import Store
from rtchat.server.engine import Answer, ModelInput
from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal

SCRIPT: dict[str, object] = {
    "model": "scripted",
    "rule": [
        {"match": "slow", "text": "one two three four five", "chunk": 8},
        {"match": "broken", "fail": {"code": "server_error", "message": "Oh no."}},
        {"match": "cut", "times": 1, "text": "Half", "close": {"code": 1006}},
        {"match": "again", "times": 1, "close": {"code": 1006}},
        {
            "text": "Some **bold** text.\n\n- a list\n",
            "usage": {"input": 57, "cached": 16, "output": 48},
        },
    ],
}


class Engine(ScriptEngine):
    """Holds back the rest of the reply to "slow" until `may_go_on` is set."""

    def __init__(self) -> None:
        super().__init__(read_script(SCRIPT))
        self.may_go_on = threading.Event()

    def answer(self, prompt: ModelInput) -> Answer | ServerProblem:
        answer = super().answer(prompt)
        if prompt.question != "slow" or isinstance(answer, ServerProblem):
            return answer
        return self._slowly(answer)

    async def _slowly(self, answer: Answer) -> Answer:
        async with aclosing(answer):
            async for piece in answer:
                yield piece
                while not self.may_go_on.is_set():  # noqa: ASYNC110 - it is set in another thread
                    await asyncio.sleep(0.01)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def url(engine: Engine) -> Iterator[str]:
    with background(lambda: run_server(engine)) as url:
        yield url


@pytest.fixture
def program(tmp_path: Path, url: str) -> Program:
    program = Program(tmp_path)
    program.environ["RTCHAT_URL"] = url
    return program


def talk(program: Program, *arguments: str, **environ: str) -> Terminal:
    return Terminal(program, list(arguments), environ)


def leave(terminal: Terminal) -> int:
    terminal.types("\x04")
    return terminal.ends()


def test_a_conversation(program: Program) -> None:
    terminal = talk(program)
    terminal.shows("rtchat 0.1.0 · gpt-realtime-2.1 · connected in ", PROMPT)
    terminal.types("hello\r")
    lines = terminal.shows("48 out", PROMPT)
    start = lines.index(f"{PROMPT} hello")
    assert lines[start : start + 6] == [
        f"{PROMPT} hello",
        "",
        "Some bold text.",
        "",
        "• a list",
        "",
    ]
    assert lines[start + 6].startswith("gpt-realtime-2.1 · first token ")
    assert lines[start + 6].endswith("57 in (16 cached) · 48 out")
    assert lines[start + 7 :] == [PROMPT, "gpt-realtime-2.1 · connected"]
    assert leave(terminal) == 0


def test_the_panel_is_shown_while_a_reply_streams(program: Program, engine: Engine) -> None:
    terminal = talk(program)
    terminal.shows(PROMPT)
    terminal.types("slow\r")
    terminal.shows("╭─ gpt-realtime-2.1 ─", "│ one two", "╰─ Ctrl-C stops")
    engine.may_go_on.set()
    lines = terminal.shows("one two three four five", "gpt-realtime-2.1 · first token", PROMPT)
    assert not any("╭" in line or "│" in line for line in lines)
    assert leave(terminal) == 0


@pytest.mark.parametrize("key", ["\x03", "\x1b"], ids=["Ctrl-C", "Esc"])
def test_a_key_stops_the_reply_and_the_conversation_continues(program: Program, key: str) -> None:
    terminal = talk(program)
    terminal.shows(PROMPT)
    terminal.types("slow\r")
    terminal.shows("│ one two")
    terminal.types(key)
    lines = terminal.shows("interrupted", PROMPT)
    assert any(line.startswith("one two") for line in lines)
    terminal.types("hello\r")
    terminal.shows("interrupted", "Some bold text.", PROMPT)
    assert leave(terminal) == 0


def test_text_typed_during_a_reply_is_in_the_next_prompt(program: Program, engine: Engine) -> None:
    terminal = talk(program)
    terminal.shows(PROMPT)
    terminal.types("slow\r")
    terminal.shows("│ one")
    terminal.types("next question")
    engine.may_go_on.set()
    terminal.shows("one two three four five", f"{PROMPT} next question")
    terminal.types("\r")
    terminal.shows(f"{PROMPT} next question", "Some bold text.", PROMPT)
    assert leave(terminal) == 0


def test_a_failed_reply_is_reported_and_the_conversation_continues(program: Program) -> None:
    terminal = talk(program)
    terminal.shows(PROMPT)
    terminal.types("broken\r")
    terminal.shows("the reply failed: Oh no.", PROMPT)
    terminal.types("hello\r")
    terminal.shows("Some bold text.", PROMPT)
    assert leave(terminal) == 0


def test_a_connection_lost_during_a_reply_is_restored(program: Program) -> None:
    terminal = talk(program)
    terminal.shows(PROMPT)
    terminal.types("cut\r")
    terminal.shows("Half", "connection lost (1006)", "reconnected in ", PROMPT)
    terminal.types("hello\r")
    terminal.shows("Some bold text.", PROMPT)
    assert leave(terminal) == 0


def test_a_question_lost_with_the_connection_is_asked_again(program: Program) -> None:
    terminal = talk(program)
    terminal.shows(PROMPT)
    terminal.types("again\r")
    terminal.shows("Some bold text.", PROMPT)
    assert leave(terminal) == 0


def test_commands(program: Program) -> None:
    terminal = talk(program, PAGER="cat")
    terminal.shows("connected in", PROMPT)
    terminal.types("/help\r")
    terminal.shows("/usage", "Alt-Enter, Ctrl-J", PROMPT)
    terminal.types("/system Be brief.\r")
    terminal.shows("instructions set", PROMPT)
    terminal.types("hello\r")
    terminal.shows("Some bold text.", "48 out", PROMPT)
    terminal.types("/usage\r")
    terminal.shows("replies", "input", "output", PROMPT)
    terminal.types("/model other\r")
    terminal.shows("model set to other", "1 turn replayed", PROMPT)
    terminal.types("/new\r")
    terminal.shows("model set to other", "a new conversation", "reconnected in", PROMPT)
    terminal.types("/nwe\r")
    terminal.shows("unknown command /nwe", "hint: did you mean /new?", PROMPT)
    terminal.types("/exit\r")
    assert terminal.ends() == 0


def test_input_history_is_saved(program: Program) -> None:
    terminal = talk(program)
    terminal.shows(PROMPT)
    terminal.types("hello there\r")
    terminal.shows("Some bold text.", PROMPT)
    assert leave(terminal) == 0
    history = program.home / ".local" / "state" / "rtchat" / "input_history"
    assert history.stat().st_mode & 0o777 == 0o600
    later = talk(program)
    later.shows("connected in", PROMPT)
    later.types("\x1b[A")
    later.shows(f"{PROMPT} hello there")
    later.types("\x03")
    assert leave(later) == 0


def test_no_color_has_no_colours(program: Program) -> None:
    terminal = talk(program, NO_COLOR="1")
    terminal.shows(PROMPT)
    terminal.types("hello\r")
    terminal.shows("Some bold text.", PROMPT)
    colours = {cell.fg for row in terminal.screen.buffer.values() for cell in row.values()}
    assert colours == {"default"}
    assert leave(terminal) == 0


def test_if_no_server_listens_it_exits(program: Program) -> None:
    terminal = talk(program, RTCHAT_URL="ws://127.0.0.1:1/v1/realtime")
    terminal.shows("127.0.0.1:1 refused the connection", "hint: check --url")
    assert terminal.ends() == 4


# ---------------------------------------------------------------------------------- terminal events


def test_ctrl_z_suspends_it_at_the_prompt_and_fg_continues_it(program: Program) -> None:
    terminal = Terminal(program, [], {}, shell=True)
    terminal.shows("connected in", PROMPT)
    terminal.types("hel")
    terminal.shows(f"{PROMPT} hel")
    terminal.types("\x1a")
    terminal.shows("Stopped")
    terminal.types("echo here\r")
    terminal.shows("Stopped", "echo here", "here")
    terminal.types("fg\r")
    terminal.shows("fg", f"{PROMPT} hel")
    terminal.types("lo\r")
    terminal.shows(f"{PROMPT} hello", "Some bold text.", PROMPT)
    terminal.types("\x04")
    terminal.shows("fg", PROMPT, "bash-")
    terminal.types("exit\r")
    assert terminal.ends() == 0


def test_ctrl_z_suspends_it_during_a_reply(program: Program, engine: Engine) -> None:
    terminal = Terminal(program, [], {}, shell=True)
    terminal.shows("connected in", PROMPT)
    terminal.types("slow\r")
    terminal.shows("│ one")
    terminal.types("\x1a")
    lines = terminal.shows("Stopped")
    assert not any("│" in line for line in lines)
    terminal.types("echo here\r")
    terminal.shows("Stopped", "echo here", "here")
    terminal.types("fg\r")
    terminal.shows("fg", "│ one two")
    engine.may_go_on.set()
    lines = terminal.shows("fg", "one two three four five", "first token", PROMPT)
    assert sum("one two" in line for line in lines) == 1
    terminal.types("\x04")
    terminal.shows("fg", "first token", "bash-")
    terminal.types("exit\r")
    assert terminal.ends() == 0


class Broken(Program):
    """A program with a bug in its line editor."""

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", BROKEN, *arguments]


BROKEN = """
import sys
from prompt_toolkit.buffer import Buffer
from rtchat.__main__ import main
Buffer.insert_text = lambda *_, **__: 1 // 0
sys.exit(main())
"""


def test_an_internal_error_ends_it_with_one_line(tmp_path: Path, url: str) -> None:
    program = Broken(tmp_path)
    program.environ["RTCHAT_URL"] = url
    terminal = Terminal(program, [], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("x")
    lines = terminal.shows("RTCHAT_DEBUG=1")
    assert terminal.ends() == 70
    assert "rtchat: internal error (ZeroDivisionError: " in lines[1]
    assert not any("lost" in line or "Traceback" in line for line in lines)


@pytest.mark.parametrize("question", ["hello", "slow"])
def test_closing_the_window_ends_it_and_the_conversation_is_saved(
    program: Program, question: str
) -> None:
    terminal = talk(program)
    terminal.shows(PROMPT)
    terminal.types(f"{question}\r")
    terminal.shows("one" if question == "slow" else "48 out")
    assert terminal.goes_away() == 129
    with closing(Store(program.home / ".local" / "share" / "rtchat" / "history.db")) as store:
        (saved,) = store.conversations()
        items = [entry.item for entry in store.read(saved.id).entries]
    assert [item.role for item in items if isinstance(item, Message)] == ["user", "assistant"]


def test_a_saved_conversation_can_be_continued(program: Program, engine: Engine) -> None:
    engine.may_go_on.set()
    first = talk(program)
    first.shows(PROMPT)
    first.types("hello\r")
    first.shows("48 out", PROMPT)
    assert leave(first) == 0
    later = talk(program, "--continue")
    later.shows("conversation 1 · hello · 1 turn", "connected in", PROMPT)
    later.types("/new\r")
    later.shows("a new conversation", PROMPT)
    later.types("slow\r")
    later.shows("five", "first token", PROMPT)
    later.types("/resume 1\r")
    resumed = ("/resume 1", "conversation 1 · hello · 1 turn", f"{PROMPT} hello", "Some bold")
    later.shows(*resumed, "1 turn replayed", PROMPT)
    later.types("/resume 9\r")
    later.shows("there is no conversation 9", PROMPT)
    later.types("broken\r")
    later.shows("Oh no.", PROMPT)
    later.types("/retry\r")
    later.shows("Oh no.", "/retry", "Oh no.", PROMPT)
    assert leave(later) == 0
