"""Keys typed at any moment of a conversation: before it begins, while a reply streams, and when a
tool asks. Nothing typed is lost, glued together or sent elsewhere."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pyte
import pytest
from websockets.asyncio.server import ServerConnection

from rtchat.core.events import ServerProblem
from rtchat.core.text import MARK
from rtchat.server.engine import Answer, ModelInput
from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.faulty import FaultyServer, sockets
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal

UP, ESC, CTRL_C, CTRL_D, CTRL_Z = "\x1b[A", "\x1b", "\x03", "\x04", "\x1a"
HELD = ("slow", "cut", "call")
SCRIPT: dict[str, object] = {
    "rule": [
        {"match_output": "", "text": "It is noon."},
        {"match": "slow", "text": "one two three four five", "chunk": 8},
        {"match": "cut", "times": 1, "text": "Half of it", "chunk": 5, "close": {"code": 1006}},
        {"match": "call", "text": "Well. ", "tool_calls": [{"name": "clock", "arguments": "{}"}]},
        {"text": "Yes."},
    ]
}
TOOLS = '''
def clock() -> str:
    """The time."""
    return "noon"
'''


class Engine(ScriptEngine):
    """Sends only the first delta of the reply to a question in `HELD` until `may_go_on` is set."""

    def __init__(self) -> None:
        super().__init__(read_script(SCRIPT))
        self.asked: list[str] = []
        self.may_go_on = threading.Event()

    def answer(self, prompt: ModelInput) -> Answer | ServerProblem:
        self.asked.append(prompt.question)
        answer = super().answer(prompt)
        if prompt.question not in HELD or isinstance(answer, ServerProblem):
            return answer
        return self._held(answer)

    async def _held(self, answer: Answer) -> Answer:
        async with aclosing(answer):
            async for piece in answer:
                yield piece
                await until(self.may_go_on)


async def until(event: threading.Event) -> None:
    """Wait for what happens in another thread."""
    while not event.is_set():  # noqa: ASYNC110 - it is set in another thread
        await asyncio.sleep(0.01)


def test_an_entry_that_was_sent_is_never_on_the_screen_twice(program: Program) -> None:
    terminal = Terminal(program, [], {})
    terminal.shows("connected in", PROMPT)
    for sent, answer in (("first", "Yes."), ("second", "Yes."), ("/usage", "tokens")):
        terminal.types(f"{sent}\r")
        for _ in terminal.updates(f"{PROMPT} {sent}", answer, PROMPT):
            assert terminal.lines().count(f"{PROMPT} {sent}") <= 1
    terminal.types(CTRL_D)
    terminal.ends()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def program(tmp_path: Path, engine: Engine) -> Iterator[Program]:
    program = Program(tmp_path)
    with background(lambda: run_server(engine)) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


def during_a_reply(program: Program, *options: str) -> Terminal:
    """The program while a reply streams."""
    terminal = Terminal(program, list(options), {})
    terminal.shows("connected in", PROMPT)
    terminal.types("slow\r")
    terminal.shows(f"{PROMPT} slow", "│ one", "╰")
    return terminal


def queue(terminal: Terminal, *questions: str) -> None:
    """Ask these questions while a reply streams."""
    for question in questions:
        terminal.types(f"{question}\r")
        terminal.shows("╰", f"queued: {question}")


def leave(terminal: Terminal) -> None:
    terminal.types(CTRL_D)
    assert terminal.ends() == 0


# ---------------------------------------------------------------------------------- during a reply


def test_questions_are_queued_and_asked_in_order(program: Program, engine: Engine) -> None:
    terminal = during_a_reply(program)
    queue(terminal, "first", "second")
    terminal.types("and a draft")
    rows = ("│ one", "╰", "queued: first", "queued: second", f"{PROMPT} and a draft")
    lines = terminal.shows(*rows)
    assert not any(line in (f"{PROMPT} first", f"{PROMPT} second") for line in lines)
    engine.may_go_on.set()
    asked = (f"{PROMPT} {text}" for text in ("first", "second"))
    answered = ("one two three four five", next(asked), "Yes.", next(asked), "Yes.")
    lines = terminal.shows(*answered, "first token", f"{PROMPT} and a draft")
    assert not any("queued" in line for line in lines)
    assert engine.asked == ["slow", "first", "second"]
    terminal.types("\r")
    terminal.shows(*answered, f"{PROMPT} and a draft", "Yes.", "first token", PROMPT)
    assert engine.asked == ["slow", "first", "second", "and a draft"]
    leave(terminal)


def test_up_takes_the_last_question_back(program: Program, engine: Engine) -> None:
    terminal = during_a_reply(program)
    queue(terminal, "first", "second")
    terminal.types(UP)
    lines = terminal.shows("╰", "queued: first", f"{PROMPT} second")
    assert not any("queued: second" in line for line in lines)
    terminal.types(" thoughts\r")
    terminal.shows("╰", "queued: first", "queued: second thoughts")
    engine.may_go_on.set()
    terminal.shows("five", f"{PROMPT} first", f"{PROMPT} second thoughts", "first token", PROMPT)
    assert engine.asked == ["slow", "first", "second thoughts"]
    leave(terminal)


@pytest.mark.parametrize("key", [CTRL_C, ESC], ids=["Ctrl-C", "Esc"])
def test_a_key_stops_the_reply_and_leaves_the_draft(
    program: Program, engine: Engine, key: str
) -> None:
    terminal = during_a_reply(program)
    terminal.types("my draft")
    terminal.shows("╰", f"{PROMPT} my draft")
    terminal.types(key)
    lines = terminal.shows("one", "interrupted", f"{PROMPT} my draft")
    assert not any("╰" in line for line in lines)
    terminal.types(" is whole\r")
    terminal.shows("interrupted", f"{PROMPT} my draft is whole", "Yes.", "first token", PROMPT)
    assert engine.asked == ["slow", "my draft is whole"]
    leave(terminal)


def test_a_command_acts_at_once(program: Program, engine: Engine) -> None:
    terminal = during_a_reply(program)
    terminal.types("/usage\r")
    terminal.shows(f"{PROMPT} /usage", "replies", "╰")
    engine.may_go_on.set()
    terminal.shows(f"{PROMPT} /usage", "five", "first token", PROMPT)
    assert engine.asked == ["slow"]
    leave(terminal)


def test_the_screen_of_a_reply_always_has_the_entry(program: Program, engine: Engine) -> None:
    """After each synchronised update, the cursor is in the entry."""
    terminal = during_a_reply(program)
    engine.may_go_on.set()
    rows = list(terminal.updates("five", "first token", PROMPT))
    assert rows
    assert all(row.startswith(PROMPT) for row in rows)
    leave(terminal)


def test_the_terminal_is_not_asked_where_its_cursor_is(program: Program, engine: Engine) -> None:
    """The answer would be typed into whatever runs next."""
    terminal = Terminal(program, [], {})
    answers: list[str] = []
    terminal.screen.answers = answers.append
    terminal.shows("connected in", PROMPT)
    terminal.types("slow\r")
    terminal.shows("│ one", "╰")
    queue(terminal, "next")
    terminal.resizes(12)
    engine.may_go_on.set()
    terminal.shows("next", "Yes.", "first token", PROMPT)
    leave(terminal)
    assert answers == []


# ------------------------------------------------------------------------------- before it begins


def test_the_entry_is_there_before_the_session_is(program: Program) -> None:
    begins = threading.Event()

    class Late(FaultyServer):
        """Sends nothing until `begins` is set."""

        async def talk(self, client: ServerConnection) -> None:
            await until(begins)
            await super().talk(client)

    server = Late()
    with background(lambda: sockets(server.talk)) as url:
        terminal = Terminal(program, ["--url", url], {})
        terminal.shows(PROMPT)
        terminal.types("hello\rand more")
        lines = terminal.shows("connecting", "queued: hello", f"{PROMPT} and more")
        assert not any("connected in" in line for line in lines)
        begins.set()
        terminal.shows("connected in", f"{PROMPT} hello", "Fine.", f"{PROMPT} and more")
        terminal.types("\r")
        terminal.shows("Fine.", f"{PROMPT} and more", "Fine.", PROMPT)
        leave(terminal)
    assert server.told == [["hello", "and more"]]


@pytest.mark.full
def test_keys_typed_from_the_first_moment_are_asked(program: Program, engine: Engine) -> None:
    """A key every 20 ms, from before Python has started until long after the prompt is there."""
    program.may_fork = False
    questions = [f"q{number}" for number in range(10, 40)]
    terminal = Terminal(program, [], {})
    for key in "".join(f"{question}\r" for question in questions):
        terminal.types(key)
        terminal.reads_for(0.02)
    terminal.types("and a draft")
    terminal.shows("connected in", questions[-1], "Yes.", f"{PROMPT} and a draft")
    assert engine.asked == questions
    terminal.types(CTRL_C)
    leave(terminal)


@pytest.mark.parametrize("typed", ["hello\rand a draft", "hello\n\rand a draft"])
def test_keys_typed_at_once_are_asked(program: Program, engine: Engine, typed: str) -> None:
    """They are in the terminal before the program reads from it."""
    program.may_fork = False
    terminal = Terminal(program, [], {})
    terminal.types(typed)
    lines = terminal.shows(
        "connected in", f"{PROMPT} hello", "Yes.", "first token", f"{PROMPT} and a draft"
    )
    assert engine.asked == ["hello"]
    connected = next(index for index, line in enumerate(lines) if "connected in" in line)
    assert sum("hello" in line for line in lines[connected:]) == 1
    terminal.types(CTRL_C)
    leave(terminal)


# ------------------------------------------------------------------- jobs, signals and lost servers


def test_ctrl_z_during_a_reply_keeps_the_draft_and_the_queue(
    program: Program, engine: Engine
) -> None:
    terminal = Terminal(program, [], {}, shell=True)
    terminal.shows("connected in", PROMPT)
    terminal.types("slow\r")
    terminal.shows("│ one", "╰")
    queue(terminal, "next")
    terminal.types("my dra")
    terminal.shows("│ one", "queued: next", f"{PROMPT} my dra")
    terminal.types(CTRL_Z)
    lines = terminal.shows("Stopped")
    assert not any("╰" in line or "my dra" in line for line in lines)
    terminal.types("echo here\r")
    terminal.shows("Stopped", "echo here", "here")
    terminal.types("fg\r")
    terminal.shows("fg", "│ one", "╰", "queued: next", f"{PROMPT} my dra")
    terminal.types("ft")
    engine.may_go_on.set()
    lines = terminal.shows("fg", "one two", f"{PROMPT} next", "Yes.", f"{PROMPT} my draft")
    assert engine.asked == ["slow", "next"]
    terminal.types("\r")
    terminal.shows("fg", f"{PROMPT} my draft", "Yes.", "first token", PROMPT)
    terminal.types(CTRL_D)
    terminal.shows("fg", "first token", "bash-")
    terminal.types("exit\r")
    assert terminal.ends() == 0
    assert engine.asked == ["slow", "next", "my draft"]


class Measured(Program):
    """Prints a checksum of the terminal's modes before and after the program."""

    def command(self, *arguments: str) -> list[str]:
        script = 'stty -g | cksum; "$@"; code=$?; stty -g | cksum; exit $code'
        return ["/bin/bash", "-c", script, "bash", *super().command(*arguments)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_reply_restores_the_terminal(
    program: Program, number: signal.Signals
) -> None:
    measured = Measured(program.home)
    measured.environ |= program.environ
    terminal = during_a_reply(measured)
    queue(terminal, "next")
    terminal.types("my draft")
    terminal.shows("│ one", "queued: next", f"{PROMPT} my draft")
    modes = terminal.lines()[0]
    bash = terminal.process.pid
    (child,) = Path(f"/proc/{bash}/task/{bash}/children").read_text().split()
    os.kill(int(child), number)
    assert terminal.ends() == 128 + number
    lines = terminal.lines()
    assert lines[-1] == modes != ""
    assert "one" in "\n".join(lines)
    assert not any("╰" in line or "my draft" in line for line in lines)
    assert terminal.screen.mode == pyte.Screen(80, 24).mode
    assert not terminal.screen.cursor.hidden


def test_a_server_that_goes_away_gets_each_queued_question_once(
    program: Program, engine: Engine
) -> None:
    terminal = Terminal(program, [], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("cut\r")
    terminal.shows("│ Half", "╰")
    queue(terminal, "first", "second")
    terminal.types("my draft")
    terminal.shows("queued: first", "queued: second", f"{PROMPT} my draft")
    engine.may_go_on.set()
    asked = (f"{PROMPT} first", "Yes.", f"{PROMPT} second", "Yes.", "first token")
    terminal.shows("Half of it", "connection lost", *asked, f"{PROMPT} my draft")
    assert engine.asked == ["cut", "first", "second"]
    terminal.types("\r")
    terminal.shows(*asked, f"{PROMPT} my draft", "Yes.", "first token", PROMPT)
    assert engine.asked == ["cut", "first", "second", "my draft"]
    leave(terminal)


# -------------------------------------------------------------------------------- a tool that asks


class Patient(Program):
    """A program that waits for as long as it takes until the terminal has shown a question."""

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", PATIENT, *arguments]


PATIENT = """
import sys
from rtchat.__main__ import main
from rtchat.ui import prompt
prompt._QUESTION_TIMEOUT = float("inf")
sys.exit(main())
"""


def test_a_tool_does_not_take_the_keys_of_a_draft(program: Program, engine: Engine) -> None:
    """The user is asked when nothing was typed for a while."""
    pytest.importorskip("msgspec", reason="the extra tools is not installed")
    (program.home / "tools.py").write_text(TOOLS)
    patient = Patient(program.home)
    patient.environ |= program.environ
    terminal = Terminal(patient, ["--tools", "tools.py"], {})
    answers: list[str] = []
    terminal.screen.answers = answers.append
    terminal.shows("connected in", PROMPT)
    terminal.types("call\r")
    terminal.shows("│ Well.", "╰")
    terminal.types("ma")
    terminal.shows("╰", f"{PROMPT} ma")
    engine.may_go_on.set()
    terminal.shows(f"{MARK} Run clock?", f"{PROMPT} ma")
    terminal.types("y n")
    terminal.shows(f"{MARK} Run clock?", f"{PROMPT} may n")
    terminal.types("".join(answers) + "ot")
    lines = terminal.shows(f"{MARK} Run clock?", f"[n]o {PROMPT}")
    assert not any("may not" in line for line in lines)
    terminal.types("n\r")
    terminal.shows(f"[n]o {PROMPT} n", "first token", f"{PROMPT} may not")
    terminal.types("\r")
    terminal.shows(f"{PROMPT} may not", "Yes.", "first token", PROMPT)
    assert engine.asked[-1] == "may not"
    leave(terminal)


# ------------------------------------------------------------- a terminal that cannot be repainted


def test_a_dumb_terminal(program: Program, engine: Engine) -> None:
    pytest.importorskip("msgspec", reason="the extra tools is not installed")
    (program.home / "tools.py").write_text(TOOLS)
    engine.may_go_on.set()
    terminal = Terminal(program, ["--tools", "tools.py"], {"TERM": "dumb"})
    terminal.shows("connected in", PROMPT)
    terminal.types("hello\r")
    terminal.shows(f"{PROMPT} hello", "Yes.", PROMPT)
    terminal.types("/usage\r")
    terminal.shows(f"{PROMPT} /usage", "replies", PROMPT)
    terminal.types("call\r")
    terminal.shows(f"{PROMPT} call", "Well.", f"{MARK} Run clock?", f"[n]o {PROMPT}")
    terminal.types("perhaps\r")
    terminal.shows(f"[n]o {PROMPT} perhaps", f"[n]o {PROMPT}")
    terminal.types("y\r")
    terminal.shows(f"[n]o {PROMPT} y", "It is noon.", PROMPT)
    terminal.types("slow\rnext\r")
    terminal.shows("one two three four five", "Yes.", PROMPT)
    assert engine.asked[-2:] == ["slow", "next"]
    terminal.types(CTRL_D)
    assert terminal.ends() == 0
    assert b"\x1b" not in terminal.output


def test_ctrl_c_on_a_dumb_terminal_stops_the_reply(program: Program, engine: Engine) -> None:
    terminal = Terminal(program, [], {"TERM": "dumb"})
    terminal.shows("connected in", PROMPT)
    terminal.types("slow\r")
    terminal.shows(f"{PROMPT} slow", "one")
    terminal.types(CTRL_C)
    terminal.shows("interrupted", PROMPT)
    terminal.types("hello\r")
    terminal.shows("interrupted", f"{PROMPT} hello", "Yes.", PROMPT)
    assert engine.asked == ["slow", "hello"]
    terminal.types(CTRL_D)
    assert terminal.ends() == 0
