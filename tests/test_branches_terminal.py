"""Changes of earlier turns in a terminal, with the server of rtchat: what its model is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rtchat.core.values import Message
from rtchat.history.store import FILE, Store
from rtchat.server.engine import Answer, ModelInput
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal

CLEAR = "\x15"
"""Ctrl-U: clear a line that was put back at the prompt."""


class Recorder(EchoEngine):
    """Echoes, and records its input."""

    def __init__(self) -> None:
        self.prompts: list[list[str]] = []

    def answer(self, prompt: ModelInput) -> Answer:
        said = [item.text for item in prompt.items if isinstance(item, Message)]
        self.prompts.append([prompt.instructions or "", *said])
        return super().answer(prompt)


@pytest.fixture
def engine() -> Recorder:
    return Recorder()


@pytest.fixture
def program(tmp_path: Path, engine: Recorder) -> Iterator[Program]:
    with background(lambda: run_server(engine)) as url:
        program = Program(tmp_path)
        program.environ["RTCHAT_URL"] = url
        yield program


@pytest.mark.full
def test_the_model_is_told_only_the_current_branch(program: Program, engine: Recorder) -> None:
    terminal = Terminal(program, ["--verbose", "--system", "Be brief."], {})
    terminal.shows("connected in", PROMPT)
    for number, line in enumerate(("one", "two", "/retry In French.", "three"), start=1):
        terminal.types(f"{line}\r")
        terminal.shows(*["first token"] * number, PROMPT)
    terminal.types("/undo 2\r")
    terminal.shows("2 turns undone", PROMPT)
    terminal.types(f"{CLEAR}four\r")
    terminal.shows(*["first token"] * 5, PROMPT)
    terminal.types("/fork 1\r")
    terminal.shows("in a new conversation", PROMPT)
    terminal.types("five\r")
    terminal.shows(*["first token"] * 6, PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0
    assert sum("session sess_" in line for line in terminal.lines()) == 1, "it reconnected"
    brief = "Be brief."
    assert engine.prompts == [
        [brief, "one"],
        [brief, "one", "one", "two"],
        [f"{brief}\n\nIn French.", "one", "one", "two"],
        [brief, "one", "one", "two", "two", "three"],
        [brief, "one", "one", "four"],
        [brief, "one", "one", "five"],
    ]
    with closing(Store(program.home / ".local" / "share" / "rtchat" / FILE)) as store:
        forked, first = store.conversations()
        assert (forked.turns, first.turns) == (2, 5)
        assert [entry.turn for entry in store.read(first.id).entries] == [0, 1, 1, 5, 5]


@pytest.mark.parametrize("keys", ["\x03", f"{CLEAR}\r", f"{CLEAR}\x03"])
def test_an_edit_is_cancelled_at_the_prompt(
    program: Program, engine: Recorder, keys: str, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    terminal = Terminal(program, [], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("one\r")
    terminal.shows("first token", PROMPT)
    terminal.types(f"/attach {notes}\r")
    terminal.shows("attached", PROMPT)
    terminal.types("/edit\r")
    terminal.shows("editing turn 1", f"{PROMPT} one")
    terminal.types(keys)
    terminal.shows("the edit was cancelled", PROMPT)
    terminal.types("two\r")
    terminal.shows(*["first token"] * 2, PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0
    _, *before, asked = engine.prompts[-1]
    assert before == ["one", "one"]
    assert asked.endswith("two")
    assert ("mine" in asked) is (keys != f"{CLEAR}\x03"), "only Ctrl-C at an empty prompt detaches"
