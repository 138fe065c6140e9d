"""Ctrl-C, pressed once, held or mashed: it loses nothing and leaves nothing on the screen."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from rtchat.ui.messages import HOW_TO_LEAVE
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal

SCRIPT: dict[str, object] = {
    "rule": [
        {"match": "slow", "text": "It goes on and on. " * 40, "delay": 0.05},
        {"match": "call", "tool_calls": [{"name": "clock", "arguments": "{}"}]},
        {"text": "Yes."},
    ]
}
TOOLS = '''
def clock() -> str:
    """The time."""
    return "noon"
'''
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
    lines = terminal.shows(HOW_TO_LEAVE, "hello", "Yes.", "first token", PROMPT)
    assert_clean(lines)
    assert sum(HOW_TO_LEAVE in line for line in lines) == 1
    assert len([line for line in lines if PROMPT in line]) == 2
    mash(terminal, 3)
    terminal.shows("Yes.", HOW_TO_LEAVE, PROMPT)
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


# ----------------------------------------------------------- signals that are ignored at the start


def at_key(program: Program) -> Terminal:
    terminal = Terminal(program, ["set"], {}, verb="keys", ignores=True)
    terminal.shows("not shown")
    return terminal


def at_confirmation(program: Program) -> Terminal:
    assert program.run("once", "hi").code == 0
    terminal = Terminal(program, ["delete", "1"], {}, verb="history", ignores=True)
    terminal.shows("[y/N]")
    return terminal


def at_prompt(program: Program) -> Terminal:
    terminal = Terminal(program, [], {}, ignores=True)
    terminal.shows("connected in", PROMPT)
    return terminal


def at_approval(program: Program) -> Terminal:
    pytest.importorskip("msgspec", reason="the extra tools is not installed")
    (program.home / "tools.py").write_text(TOOLS)
    terminal = Terminal(program, ["--tools", "tools.py"], {}, ignores=True)
    terminal.shows("connected in", PROMPT)
    terminal.types("call\r")
    terminal.shows("Run clock?", f"[n]o {PROMPT}")
    return terminal


@pytest.mark.parametrize("at", [at_key, at_confirmation])
def test_ctrl_c_leaves_a_command_that_asks(
    program: Program, at: Callable[[Program], Terminal]
) -> None:
    assert at(program).ends_by_ctrl_c() == 130


@pytest.mark.parametrize("at", [at_prompt, at_approval])
def test_ctrl_c_means_the_same_in_a_conversation(
    program: Program, at: Callable[[Program], Terminal]
) -> None:
    terminal = at(program)
    terminal.types("\x03")
    terminal.shows(HOW_TO_LEAVE if at is at_prompt else "interrupted", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0


@pytest.mark.parametrize("at", [at_key, at_confirmation, at_prompt, at_approval])
def test_a_terminal_that_goes_away_is_a_hangup(
    program: Program, at: Callable[[Program], Terminal]
) -> None:
    assert at(program).goes_away() == 129
