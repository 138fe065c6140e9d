"""The manual page: it is current, complete, and valid."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rtchat.app.manual import EXIT_CODES
from rtchat.cli import all_commands
from rtchat.config.settings import rows
from rtchat.core.errors import ExitCode
from rtchat.ui.slash_commands import TABLE
from tests import generate
from tests.program import PATIENCE, Program
from tests.terminal import Terminal

_PAGE = generate.MANUAL.read_text(encoding="utf-8")
_TEXT = _PAGE.replace("\\-", "-").replace("\\(aq", "'")


def test_it_is_current(tmp_path: Path) -> None:
    """`python -m tests.generate` writes it."""
    for columns in ("30", "200"):
        ran = Program(tmp_path).run("man", environ={"COLUMNS": columns})
        assert (ran.code, ran.err) == (0, "")
        assert ran.text == _PAGE


def test_it_names_everything() -> None:
    for path, command in all_commands():
        assert f'.SS "rtchat {path}' in _TEXT
        for parameter in command.params:
            assert all(name in _TEXT for name in parameter.opts if name[:2] == "--")
    for row in rows():
        assert row.variable is None or rf"\fB{row.variable.name}\fR" in _TEXT
    for command in TABLE:
        assert rf"\fB/{command.name}" in _TEXT
    assert r"\fBOPENAI_API_KEY\fR" in _TEXT


def test_the_exit_codes_are_those_of_the_readme() -> None:
    assert {code for codes in EXIT_CODES for code in codes} == {*ExitCode}
    readme = generate.README.read_text(encoding="utf-8").partition("## Exit codes")[2]
    for codes, text in EXIT_CODES.items():
        assert f"| {', '.join(str(code.value) for code in codes)} | {text} |" in readme


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_has_no_warnings() -> None:
    done = subprocess.run(
        ["mandoc", "-Tlint", "-W", "warning", str(generate.MANUAL)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_has_no_warnings() -> None:
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(generate.MANUAL)],
        capture_output=True,
        check=False,
    )
    if b"unrecognized option" in done.stderr:
        pytest.skip("this man has no warnings")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_on_a_terminal_it_is_shown_by_man(tmp_path: Path) -> None:
    pager = {"MANPAGER": "cat", "PAGER": "cat"}
    terminal = Terminal(Program(tmp_path), [], pager, verb="man")
    terminal.shows("EXIT STATUS")
    assert terminal.process.wait(PATIENCE) == 0


def test_without_man_a_hint_says_what_to_do(tmp_path: Path) -> None:
    terminal = Terminal(Program(tmp_path), [], {"PATH": "/nowhere"}, verb="man")
    terminal.shows("the program man is not installed", "hint: ")
    assert terminal.process.wait(PATIENCE) == 2


def test_it_is_in_the_wheel() -> None:
    text = (generate.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^"rtchat/cli/rtchat.1" = "share/man/man1/rtchat.1"', text, re.M)
