"""`/copy`: what is copied, and by what."""

from __future__ import annotations

import asyncio
import io
import os
import select
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from rtchat.core.effects import Copy, Notice
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from rtchat.ui.clipboard import Clipboard
from tests.program import PATIENCE, Program, background
from tests.terminal import PROMPT, Terminal

REPLY = "One:\n\n```py\nprint(1)\n```\n\n- two:\n\n      x\x1b[2J\n"


def by_terminal(asked: Copy) -> tuple[Notice, str]:
    """What was told, and what the terminal was handed."""
    terminal = io.StringIO()
    notice = asyncio.run(Clipboard(terminal, {}).copy(asked))
    _, _, data = terminal.getvalue().rpartition(";")
    return notice, b64decode(data.removesuffix("\x07")).decode()


@pytest.mark.parametrize(
    ("block", "what", "copied"),
    [
        (0, "the reply", REPLY.replace("\x1b", "␛")),
        (1, "code block 1 of 2", "print(1)\n"),
        (2, "code block 2 of 2", "x␛[2J\n"),
    ],
)
def test_without_a_command_the_terminal_is_asked(block: int, what: str, copied: str) -> None:
    told = Notice("info", f"{what} was handed to the terminal to copy")
    assert by_terminal(Copy(REPLY, block)) == (told, copied)


def test_a_block_that_is_not_there() -> None:
    told = Notice("error", "the reply has 2 code blocks")
    assert by_terminal(Copy(REPLY, 3)) == (told, "")


def command(folder: Path, script: str) -> dict[str, str]:
    """An environment whose screen has a clipboard."""
    program = folder / "wl-copy"
    program.write_text(f"#!/bin/sh\n{script}\n" if script else "#!/nowhere\n")
    program.chmod(0o700)
    return {"WAYLAND_DISPLAY": "wayland-0", "PATH": str(folder)}


def test_the_command_of_the_platform(tmp_path: Path) -> None:
    terminal = io.StringIO()
    clipboard = Clipboard(terminal, command(tmp_path, f"/bin/cat > {tmp_path / 'copied'}"))
    told = asyncio.run(clipboard.copy(Copy("ü", 0)))
    copied = (tmp_path / "copied").read_text("utf-8")
    expected = Notice("info", "the reply is on the clipboard")
    assert (told, copied, terminal.getvalue()) == (expected, "ü", "")


@pytest.mark.parametrize(
    ("script", "change", "why"),
    [
        ("exit 0", {"SSH_CONNECTION": "10.0.0.1"}, ""),
        ("exit 0", {"PATH": "/nowhere"}, ""),
        ("exit 1", {}, "wl-copy failed: "),
        ("", {}, "wl-copy does not start: "),
        ("/bin/cat; /bin/sleep 1000", {}, "wl-copy did not end within 2 s: "),
    ],
)
def test_where_the_command_does_not_do_the_terminal_does(
    tmp_path: Path, script: str, change: dict[str, str], why: str
) -> None:
    terminal = io.StringIO()
    clipboard = Clipboard(terminal, command(tmp_path, script) | change)
    notice = asyncio.run(clipboard.copy(Copy("hi", 0)))
    assert notice.text == f"{why}the reply was handed to the terminal to copy"
    assert terminal.getvalue() == "\x1b]52;c;aGk=\x07"


# ----------------------------------------------------------------------------------- the program


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[tuple[Terminal, Path]]:
    """A conversation with a reply, whose `xclip` says when it began and waits until it may go."""
    folder = tmp_path / "bin"
    folder.mkdir()
    xclip = folder / "xclip"
    xclip.write_text(
        "#!/bin/sh\necho begun >../begun\n"
        "while [ ! -e ../go ]; do sleep 0.05; done\ncat >../copied\n"
    )
    xclip.chmod(0o700)
    program = Program(tmp_path / "bin")
    with background(lambda: run_server(EchoEngine())) as url:
        path = f"{folder}:{os.environ['PATH']}"
        environ = {"RTCHAT_URL": url, "DISPLAY": ":77", "PATH": path, "SSH_CONNECTION": ""}
        terminal = Terminal(program, [], environ)
        terminal.shows("connected in", PROMPT)
        terminal.types("copy me\r")
        terminal.shows("first token", PROMPT)
        terminal.types("/copy\r")
        yield terminal, tmp_path


def wait_for(file: Path) -> None:
    until = monotonic() + PATIENCE
    while not file.exists():
        assert monotonic() < until
        select.select([], [], [], 0.01)


def test_the_prompt_takes_keys_while_xclip_hangs(screen: tuple[Terminal, Path]) -> None:
    terminal, folder = screen
    wait_for(folder / "begun")
    terminal.types("still here")
    terminal.shows("/copy", "still here")
    (folder / "go").touch()  # had the keys waited for xclip, it would have been ended by now
    terminal.shows("the reply is on the clipboard", "still here")
    assert (folder / "copied").read_text() == "copy me"
    terminal.types("\x03\x04")
    assert terminal.ends() == 0


def test_an_xclip_that_hangs_for_ever_is_one_line(screen: tuple[Terminal, Path]) -> None:
    terminal, _ = screen
    line = "xclip did not end within 2 s: the reply was handed to the terminal to copy"
    lines = terminal.shows(line, PROMPT)
    assert "".join(lines).count("xclip") == 1
    terminal.types("\x04")
    assert terminal.ends() == 0


def test_leaving_right_after_a_copy_does_not_lose_it(screen: tuple[Terminal, Path]) -> None:
    terminal, folder = screen
    wait_for(folder / "begun")
    terminal.types("\x04")
    (folder / "go").touch()
    assert terminal.ends() == 0
    assert (folder / "copied").read_text() == "copy me"
