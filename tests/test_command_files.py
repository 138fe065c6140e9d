"""The commands of `rtchat talk` that write files or show what happens, in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rtchat.history.store import Store
from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal

SCRIPT: dict[str, object] = {
    "rule": [
        {"match": "code", "text": "Here:\n\n```python\nprint(1)\n```\n"},
        {"text": "Some **bold** text."},
    ],
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with background(lambda: run_server(ScriptEngine(read_script(SCRIPT)))) as url:
        yield url


@pytest.fixture
def program(tmp_path: Path, url: str) -> Program:
    program = Program(tmp_path)
    program.environ["RTCHAT_URL"] = url
    return program


class Talk:
    """A conversation in a terminal."""

    def __init__(self, program: Program, *arguments: str) -> None:
        self._terminal = Terminal(program, list(arguments), {})
        self._terminal.shows("/help", PROMPT)

    def enter(self, line: str, *shown: str) -> str:
        """Enter a line and wait for what it shows. Returns the whole screen."""
        self._terminal.types(f"{line}\r")
        return "\n".join(self._terminal.shows(line, *shown, PROMPT))

    def ends(self) -> int:
        self._terminal.types("/exit\r")
        return self._terminal.ends()


def test_a_conversation_is_exported_and_its_code_saved(program: Program) -> None:
    talk = Talk(program, "--no-history")
    talk.enter("/export", "nothing to export")
    talk.enter("Some code, please", "print(1)", "first token")
    talk.enter("/export my talk.md", "exported 1 turn to my talk.md")
    talk.enter("/export 'my talk.md'", "already exists", "--force")
    talk.enter("/save 1 print\\ it.py", "saved code block 1 to print it.py")
    talk.enter("/status", "not saved", "voice", "trace")
    assert talk.ends() == 0
    exported = (program.home / "my talk.md").read_text()
    assert "Some code, please" in exported
    assert "```python" in exported
    assert (program.home / "print it.py").read_text() == "print(1)\n"


def test_the_status_names_the_saved_conversation(program: Program) -> None:
    talk = Talk(program)
    talk.enter("Hello", "bold", "first token")
    talk.enter("/status", "ready since", "1 turn, saved with ID 1", "trace")
    talk.enter("/export x.json", "exported")
    assert talk.ends() == 0
    with closing(Store(program.home / ".local" / "share" / "rtchat" / "history.db")) as store:
        assert store.read(1).title == "Hello"
    assert '"id": 1,' in (program.home / "x.json").read_text()


def test_a_recording_that_begins_during_the_conversation(program: Program) -> None:
    talk = Talk(program)
    talk.enter("First", "bold", "first token")
    talk.enter("/trace t.jsonl", "recording to t.jsonl")
    talk.enter("Second", "bold", "first token")
    talk.enter("/trace off", "t.jsonl has ended")
    talk.enter("Third", "bold", "first token")
    assert talk.ends() == 0
    text = (program.home / "t.jsonl").read_text()
    assert '"Second"' in text
    assert "First" not in text
    assert "Third" not in text
    checked = program.run("replay", "--check", "t.jsonl")
    assert checked.code == 0, checked
    assert "after the session began" in checked.text
    assert "question: Second" in checked.text
    shown = program.run("replay", "--speed", "1000", "t.jsonl")
    assert shown.text == "Some **bold** text.\n"
    assert "after the session began" in shown.err


def test_a_recording_from_the_start_ends_with_the_program(program: Program) -> None:
    talk = Talk(program, "--trace", "t.jsonl")
    talk.enter("/trace other.jsonl", "already recorded to t.jsonl", "/trace off")
    talk.enter("/theme mono", "theme: mono")
    talk.enter("/reasoning low", "reasoning.effort")
    talk.enter("Hello", "bold", "first token")
    assert talk.ends() == 0
    checked = program.run("replay", "--check", "t.jsonl")
    assert checked.code == 0, checked
    assert "differences: 0" in checked.text


def test_events_are_lines_above_the_prompt(program: Program) -> None:
    talk = Talk(program)
    talk.enter("/events on", "server events are shown")
    screen = talk.enter("Hello", '"type":"response.created"', "bold", "first token")
    lines = [line for line in screen.splitlines() if line.startswith("{")]
    assert all(len(line) <= 80 for line in lines)
    assert any('"response.done"' in line for line in lines)
    talk.enter("/events off", "server events are not shown")
    assert talk.ends() == 0
