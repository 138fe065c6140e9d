"""`--help`: examples first, options in groups, and lines that fit the terminal."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer.main

from rtchat.cli import all_commands, command_line, whole_command_line
from rtchat.cli.examples import EXAMPLES
from tests.program import Program

_PATHS = ["", *dict.fromkeys(path.partition(" ")[0] for path, _ in all_commands())]
_LEAVES = [path for path, _ in all_commands() if " " in path]


@pytest.fixture
def program(tmp_path: Any) -> Program:
    """The program."""
    return Program(tmp_path)


def _help(program: Program, path: str, columns: int = 80, option: str = "--help") -> str:
    ran = program.run(*path.split(), option, environ={"COLUMNS": str(columns)})
    assert (ran.code, ran.err) == (0, "")
    return ran.text


@pytest.mark.parametrize("path", [*_PATHS, *_LEAVES])
def test_the_help_of_each_command_fits_the_terminal(path: str) -> None:
    program: Any = typer.main.get_command(whole_command_line())
    context: Any = None
    command = program
    for name in ["", *path.split()]:
        command = command.commands[name] if name else program
        context = command.make_context(name or "rtchat", [], context, resilient_parsing=True)
    examples = {line.strip() for line, _ in EXAMPLES.get(path, ())}
    for width in (78, 38):
        context.terminal_width = width
        lines = command.get_help(context).splitlines()
        other = [line for line in lines if line.strip() not in examples]
        assert max(map(len, other)) <= width, path
        assert not any(re.search(r"[a-z]\.\.\.$", line) for line in other)  # nothing is cut
    for parameter in command.params:
        assert all(name in command.get_help(context) for name in parameter.opts if name[0] == "-")


@pytest.mark.parametrize("path", ["", "talk", "keys"])
def test_examples_are_before_the_options(program: Program, path: str) -> None:
    text = _help(program, path)
    assert text.index("Usage:") < text.index("Examples:") < text.index("Options:")
    assert text == _help(program, path, option="-h")


def test_options_are_in_groups(program: Program) -> None:
    headings = re.findall(r"^(\w.*):$", _help(program, "talk"), re.M)
    assert headings[:4] == ["Examples", "Options", "Connection options", "Reply options"]


def test_commands_are_in_groups(program: Program) -> None:
    text = _help(program, "")
    headings = re.findall(r"^(\w.*):$", text, re.M)
    assert headings[1] == "Conversations"
    assert "Other commands" not in headings
    for path in _PATHS[1:]:
        assert re.search(rf"^  {path} ", text, re.M)


def test_the_options_of_subcommands_are_in_groups(program: Program) -> None:
    assert "Connection options:" in _help(program, "keys mint")


@pytest.mark.parametrize(
    "path", [path for path in _PATHS if any(path == p.partition(" ")[0] for p in _LEAVES)]
)
def test_a_group_alone_shows_its_help(program: Program, path: str) -> None:
    ran = program.run(path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.text == program.run(path, "--help").text


@pytest.mark.parametrize("line", [line for rows in EXAMPLES.values() for line, _ in rows])
def test_each_example_is_valid(line: str) -> None:
    _, *words = shlex.split(re.findall(r"rtchat\b[^|<>]*", line)[0])
    command: Any = typer.main.get_command(whole_command_line())
    if not words or words[0] not in command.commands:
        words = ["once" if words and " " in words[0] else "talk", *words]
    context = None
    name = "rtchat"
    while hasattr(command, "commands"):
        context = command.make_context(name, [], context, resilient_parsing=True)
        name, *words = words
        command = command.commands[name]
    command.make_context(name, words, context)  # raises an exception if an option is unknown


def test_every_group_and_each_of_the_other_commands_has_examples() -> None:
    assert set(EXAMPLES) >= {*_PATHS} - {"devices", "trace"}
    assert {path.partition(" ")[0] for path in EXAMPLES} <= {*_PATHS}


def test_the_listing_has_no_options() -> None:
    program: Any = typer.main.get_command(command_line())
    assert set(program.commands) == {*_PATHS[1:]}
