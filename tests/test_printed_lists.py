"""Commands that only print: what they do if stdout is closed, full, or its reader has gone away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.program import Program

PRINTS = [
    "voices",
    "voices --local",
    "config path",
    "config show",
    "config profiles",
    "config options",
    "history list",
    "history show 1",
    "history search hi",
    "history export 1",
    "prompts list",
    "prompts show mine",
    "completion show bash",
    "man",
    "keys set --help",
    "--help",
    "--version",
]
_QUICK = ("voices", "config path", "history list", "man")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A program with a conversation and a template."""
    home = tmp_path_factory.mktemp("home")
    program = Program(home)
    program.environ |= {"RTCHAT_HISTORY": "on"}
    folder = Path(program.run("config", "path").text.strip()).parent / "prompts"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text('text = "hi"\n')
    assert program.run("once", "hi", "--url", "ws://127.0.0.1:9/v1/realtime").code == 4
    return program


@pytest.mark.parametrize(
    "command",
    [each if each in _QUICK else pytest.param(each, marks=pytest.mark.full) for each in PRINTS],
)
def test_output_that_cannot_be_written_is_an_error(
    program: Program, gone: int, command: str
) -> None:
    arguments = command.split()
    assert program.run(*arguments).out
    ran = program.run(*arguments, stdout=gone)
    assert (ran.code, ran.err) == (141, "")
    with open("/dev/full", "wb") as full:
        ran = program.run(*arguments, stdout=full)
    assert (ran.code, bool(ran.error)) == (6, True)


@pytest.mark.parametrize(
    "commands",
    [["voices"], pytest.param(PRINTS, marks=pytest.mark.full)],
    ids=["one command", "all commands"],
)
def test_a_closed_stdout_is_an_error(program: Program, commands: list[str]) -> None:
    ran = program.shell(";".join(f"rtchat {each} >&-; echo $?" for each in commands))
    assert ran.text.split() == ["6"] * len(commands)
    errors = [line for line in ran.err.splitlines() if line.startswith("rtchat: ")]
    assert errors == ["rtchat: stdout is closed"] * len(commands)
