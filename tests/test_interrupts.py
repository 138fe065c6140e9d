"""Ctrl-C, pressed once, held or mashed: it loses nothing and leaves nothing on the screen."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal

SCRIPT: dict[str, object] = {
    "rule": [{"match": "slow", "text": "It goes on and on. " * 40, "delay": 0.05}, {"text": "Yes."}]
}
MANY = 60


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    with background(lambda: run_server(ScriptEngine(read_script(SCRIPT)))) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


def mash(terminal: Terminal, times: int = MANY) -> None:
    for _ in range(times):
        terminal.types("\x03")


def assert_clean(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert "^" not in text
    assert "[" not in text, "an answer to where the cursor is"


def test_a_draft_that_is_cleared_is_kept_in_the_input_history(program: Program) -> None:
    terminal = Terminal(program, [], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("a long draft\nof two lines\x03")
    terminal.types("\x1b[A")
    terminal.shows(f"{PROMPT} a long draft", "of two lines")
    terminal.types("\x03\x04")
    assert terminal.ends() == 0
    (history,) = program.home.rglob("input_history")
    assert [json.loads(line) for line in history.read_text().splitlines()] == [
        "a long draft\nof two lines"
    ]
    terminal = Terminal(program, [], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("\x1b[A")
    terminal.shows(f"{PROMPT} a long draft", "of two lines")
    terminal.types("\x03\x04")
    assert terminal.ends() == 0


def test_at_an_empty_prompt_it_says_once_how_to_leave(program: Program) -> None:
    terminal = Terminal(program, [], {})
    terminal.shows("connected in", PROMPT)
    mash(terminal)
    terminal.types("hello\r")
    lines = terminal.shows("leaves", "hello", "Yes.", "first token", PROMPT)
    assert_clean(lines)
    assert sum("Ctrl-D or /exit leaves" in line for line in lines) == 1
    assert len([line for line in lines if PROMPT in line]) == 2
    mash(terminal, 3)
    terminal.shows("Yes.", "Ctrl-D or /exit leaves", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0


def test_mashed_during_a_reply_it_stops_that_and_no_more(program: Program) -> None:
    terminal = Terminal(program, [], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("slow\r")
    terminal.shows("It goes on")
    mash(terminal)
    terminal.shows("interrupted", PROMPT)
    mash(terminal, 5)
    terminal.types("hello\r")
    assert_clean(terminal.shows("interrupted", "hello", "Yes.", "first token", PROMPT))
    terminal.types("\x04")
    assert terminal.ends() == 0


@pytest.mark.parametrize("leave", ["\x04", "/exit\r"])
def test_mashed_before_the_prompt_is_there_and_while_the_program_ends(
    program: Program, leave: str
) -> None:
    terminal = Terminal(program, [], {})
    terminal.shows("connected in")
    mash(terminal, 10)
    terminal.shows(PROMPT)
    terminal.types(leave)
    mash(terminal)
    assert terminal.ends() in (0, 130)
    text = "\n".join(terminal.lines())
    assert "KeyboardInterrupt" not in text
    assert "[" not in text, "an answer to where the cursor is"


def test_the_first_moment_has_no_traceback_either(program: Program) -> None:
    """What the program imports first interrupts it."""
    folder = program.home / "first"
    folder.mkdir()
    (folder / "typer.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)\n")
    roots = [str(folder), str(Path(__file__).parents[1])]
    ran = program.run("once", "hi", environ={"PYTHONPATH": os.pathsep.join(roots)})
    assert (ran.code, ran.out, ran.err) == (130, b"", "")
