"""Tools in the program: a file of functions, and a server whose model calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal

pytest.importorskip("msgspec", reason="the extra tools is not installed")

TOOLS = '''
import time

def weather(city: str) -> str:
    """The weather in a city."""
    print("looking out of the window")
    return f"sunny in {city}"

async def clock() -> dict[str, int]:
    """The time."""
    return {"hour": 12}

def slow() -> str:
    """Takes its time."""
    time.sleep(60)
    return "done"
'''
SCRIPT: dict[str, object] = {
    "model": "scripted",
    "rule": [
        {"match_output": "sunny", "text": "It is sunny in Oslo."},
        {"match_output": "no more calls", "text": "Enough."},
        {"match_output": "again", "tool_calls": [{"name": "again", "arguments": {}}]},
        {"match_output": "", "text": "I do not know."},
        {
            "match": "weather",
            "text": "Let me look.",
            "tool_calls": [{"name": "weather", "arguments": {"city": "Oslo"}}],
        },
        {
            "match": "both",
            "tool_calls": [
                {"name": "weather", "arguments": {"city": "Oslo"}},
                {"name": "clock", "arguments": {}},
            ],
        },
        {"match": "slow", "tool_calls": [{"name": "slow", "arguments": {}}]},
        {"match": "loop", "tool_calls": [{"name": "again", "arguments": {}}]},
        {"text": "Hello."},
    ],
}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    tools = TOOLS + 'def again() -> str:\n    """Wants more."""\n    return "again"\n'
    (tmp_path / "tools.py").write_text(tools, encoding="utf-8")
    with background(lambda: run_server(ScriptEngine(read_script(SCRIPT)))) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


def test_an_allowed_tool_runs_and_the_model_answers_its_output(program: Program) -> None:
    ran = program.run("once", "weather?", "--tools", "tools.py", "--allow-tool", "weather")
    assert (ran.code, ran.text) == (0, "Let me look.\n\nIt is sunny in Oslo.\n")
    assert ran.err.splitlines()[:3] == [
        'weather({"city": "Oslo"})',
        "looking out of the window",
        "weather → sunny in Oslo",
    ]


def test_without_a_terminal_a_tool_that_is_not_allowed_is_refused(
    program: Program,
) -> None:
    ran = program.run("once", "weather?", "--tools", "tools.py")
    assert (ran.code, ran.text) == (0, "Let me look.\n\nI do not know.\n")
    assert "--allow-tool weather" in ran.err
    assert "looking out" not in ran.err


def test_json_has_all_calls(program: Program) -> None:
    allowed = ("--allow-tool", "weather", "--allow-tool", "clock")
    ran = program.run("once", "both", "--json", "--tools", "tools.py", *allowed)
    reply = json.loads(ran.text)
    assert reply["text"] == "It is sunny in Oslo."
    assert [(call["name"], json.loads(call["arguments"])) for call in reply["tool_calls"]] == [
        ("weather", {"city": "Oslo"}),
        ("clock", {}),
    ]


def test_the_number_of_tool_rounds_is_limited(program: Program) -> None:
    options = ("--tools", "tools.py", "--allow-tool", "again", "--max-tool-rounds", "3")
    ran = program.run("once", "loop", *options)
    assert (ran.code, ran.text) == (0, "Enough.\n")
    assert ran.err.count("again({})") == 2


def test_calls_are_saved(program: Program) -> None:
    program.run("once", "weather?", "--tools", "tools.py", "--allow-tool", "weather")
    shown = program.run("history", "show").text
    assert '[call weather] {"city": "Oslo"}' in shown
    assert "sunny in Oslo\n" in shown
    again = program.run("once", "--continue", "hi")
    assert (again.code, again.text) == (0, "Hello.\n")


def test_tools_can_be_set_in_the_config_file(program: Program) -> None:
    folder = program.home / ".config" / "rtchat"
    folder.mkdir(parents=True)
    lines = f'tools = ["{program.home / "tools.py"}"]\nallow_tools = ["weather"]\n'
    (folder / "config.toml").write_text(lines, encoding="utf-8")
    assert program.run("once", "weather?").text == "Let me look.\n\nIt is sunny in Oslo.\n"


def test_a_missing_tools_file_is_a_usage_error(program: Program) -> None:
    ran = program.run("once", "weather?", "--tools", "none.py")
    assert (ran.code, ran.text) == (2, "")
    assert "none.py" in ran.err


@pytest.mark.parametrize(
    ("typed", "answer"), [("y", "It is sunny in Oslo."), ("no", "I do not know.")]
)
def test_the_user_is_asked(program: Program, typed: str, answer: str) -> None:
    terminal = Terminal(program, ["--tools", "tools.py"], {})
    terminal.shows(PROMPT)
    terminal.types("weather?\r")
    terminal.shows("Let me look.", "Run weather?", 'city: "Oslo"', f"[a]lways, [n]o {PROMPT}")
    terminal.types("perhaps")
    terminal.shows("Run weather?", f"[n]o {PROMPT} perhaps")
    terminal.types(f"\r{typed}")  # what is no answer is removed
    terminal.shows("Run weather?", f"[n]o {PROMPT} {typed}")
    terminal.types("\r")
    lines = terminal.shows(answer, "first token", PROMPT)
    assert not any("│" in line for line in lines)
    terminal.types("\x04")
    assert terminal.ends() == 0


def test_always_allows_later_calls(program: Program) -> None:
    terminal = Terminal(program, ["--tools", "tools.py"], {})
    terminal.shows(PROMPT)
    terminal.types("weather?\r")
    terminal.shows("[a]lways: every call of weather, with any arguments, until rtchat exits")
    terminal.shows(f"[n]o {PROMPT}")
    terminal.types("a\r")
    terminal.shows("It is sunny in Oslo.", "first token", PROMPT)
    terminal.types("weather?\r")
    lines = terminal.shows("It is sunny", "first token", "It is sunny", "first token", PROMPT)
    assert sum("Run weather?" in line for line in lines) == 1
    terminal.types("/tools\r")
    terminal.shows("clock", "slow", "weather (allowed)", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0


@pytest.mark.parametrize("when", ["asked", "running"])
def test_ctrl_c_stops_a_turn_with_a_call(program: Program, when: str) -> None:
    terminal = Terminal(program, ["--tools", "tools.py"], {})
    terminal.shows(PROMPT)
    terminal.types("slow\r")
    terminal.shows("Run slow?", "no arguments", f"[n]o {PROMPT}")
    if when == "running":
        terminal.types("y\r")
        terminal.shows("│ running slow")
    terminal.types("\x03")
    terminal.shows("interrupted", PROMPT)
    terminal.types("hello\r")
    terminal.shows("interrupted", "Hello.", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0
