"""Rendering, colours and cursor movement, depending on options, environment and stdout.

The tests run the program in a terminal and in a pipe.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.program import PATIENCE, Program, background

SOURCE = "# Title\n\nSome **bold** and `code`, <https://a.example>.\n"
RENDERED = "Title\n\nSome bold and `code`, https://a.example.\n"
"""The reply without colours. With colours, inline code has no backticks."""
_COLOUR = re.compile(r"\x1b\[(?:\d+;)*3[0-7]m")
_WEIGHT = re.compile(r"\x1b\[1(?:;4)?m")
_MOVES = re.compile(r"\x1b\[\d*[ABCGJKLM]|\x1b\[\?\d+[hl]|\x1b[78]|\r(?!\n)")
_LINK = re.compile(r"\x1b\]8;[^\x1b]*\x1b\\")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that always sends the same reply."""
    script = read_script({"rule": [{"text": SOURCE}]})
    with background(lambda: run_server(ScriptEngine(script))) as url:
        yield url


@pytest.fixture
def program(tmp_path: Path, url: str) -> Program:
    program = Program(tmp_path)
    program.environ |= {"RTCHAT_URL": url, "OPENAI_API_KEY": "sk-x", "TERM": "xterm-256color"}
    return program


def in_terminal(program: Program, *arguments: str, environ: Mapping[str, str]) -> str:
    """Run the program in a terminal. Returns everything that it writes."""
    here, there = pty.openpty()
    started = subprocess.Popen(
        program.command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=there,
        stderr=there,
        env={**program.environ, **environ},
        cwd=program.home,
    )
    os.close(there)
    written = bytearray()
    try:
        while data := os.read(here, 65536):
            written += data
    except OSError:  # the other end is closed
        pass
    os.close(here)
    assert started.wait(PATIENCE) == 0
    return written.decode().replace("\r\n", "\n")


def kinds(written: str) -> set[str]:
    """The kinds of text and escape sequences in the output."""
    bare = re.sub(r"\x1b\[[\d;]*m", "", _LINK.sub("", _MOVES.sub("", written)))
    is_colored = bool(_COLOUR.search(written))
    last = RENDERED.splitlines()[-1]
    last = last.replace("`", "") if is_colored else last
    found = {
        "source": SOURCE in bare,
        "rendered": last in bare,
        "colour": is_colored,
        "weight": bool(_WEIGHT.search(written)),
        "movement": bool(_MOVES.search(written)),
        "link": bool(_LINK.search(written)),
    }
    assert found["link"] or "\x1b]" not in written
    return {name for name, is_found in found.items() if is_found}


LIVE = {"rendered", "weight", "movement"}


@pytest.mark.parametrize(
    ("options", "environ", "expected"),
    [
        ("", {}, LIVE | {"colour"}),
        ("", {"WT_SESSION": "1"}, LIVE | {"colour", "link"}),
        ("--color never", {}, LIVE),
        ("--color never", {"FORCE_COLOR": "1"}, LIVE),
        ("", {"NO_COLOR": "1"}, LIVE),
        ("", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, LIVE),
        ("", {"NO_COLOR": "1", "WT_SESSION": "1"}, LIVE | {"link"}),
        ("", {"NO_COLOR": ""}, LIVE | {"colour"}),
        ("--color always", {"NO_COLOR": "1"}, LIVE | {"colour"}),
        ("", {"TERM": "dumb"}, {"source"}),
        ("", {"TERM": "dumb", "FORCE_COLOR": "1"}, {"source"}),
        ("--render always", {"TERM": "dumb"}, {"rendered"}),
        ("--render always --color always", {"TERM": "dumb"}, {"rendered", "weight", "colour"}),
        ("--render never", {}, {"source"}),
        ("--plain", {}, {"source"}),
        ("--plain", {"FORCE_COLOR": "1"}, {"source"}),
    ],
)
def test_on_a_terminal(
    program: Program, options: str, environ: dict[str, str], expected: set[str]
) -> None:
    written = in_terminal(program, "once", "hi", "-q", *options.split(), environ=environ)
    assert kinds(written) == expected


@pytest.mark.parametrize(
    ("options", "environ", "expected"),
    [
        ("", {}, SOURCE),
        ("--plain", {}, SOURCE),
        ("--color always", {}, SOURCE),
        ("", {"FORCE_COLOR": "1", "WT_SESSION": "1"}, SOURCE),
        ("--render always", {}, RENDERED),
        ("--render always", {"WT_SESSION": "1"}, RENDERED),
        ("--render always --color always", {}, {"rendered", "weight", "colour"}),
        ("--render always --color always", {"NO_COLOR": "1"}, {"rendered", "weight", "colour"}),
        ("--render always", {"FORCE_COLOR": "1"}, {"rendered", "weight", "colour"}),
        ("--render always", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, RENDERED),
        ("--render always --color never", {"FORCE_COLOR": "1"}, RENDERED),
        ("--render never --color always", {"FORCE_COLOR": "1"}, SOURCE),
    ],
)
def test_in_a_pipe(
    program: Program, options: str, environ: dict[str, str], expected: str | set[str]
) -> None:
    ran = program.run("once", "hi", "-q", *options.split(), environ=environ)
    assert (ran.text if isinstance(expected, str) else kinds(ran.text)) == expected
