"""`/copy`: what is copied, and how."""

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
    """The notice, and the text that the terminal was asked to copy."""
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
    notice = Notice("info", f"asked the terminal to copy {what}")
    assert by_terminal(Copy(REPLY, block)) == (notice, copied)


@pytest.mark.parametrize(("reply", "count"), [(REPLY, "2 code blocks"), ("hi", "no code blocks")])
def test_a_missing_code_block_is_an_error(reply: str, count: str) -> None:
    assert by_terminal(Copy(reply, 3)) == (Notice("error", f"the reply has {count}"), "")


def command(folder: Path, script: str) -> dict[str, str]:
    """An environment with a clipboard command that runs this script."""
    program = folder / "wl-copy"
    program.write_text(f"#!/bin/sh\n{script}\n" if script else "#!/nowhere\n")
    program.chmod(0o700)
    return {"WAYLAND_DISPLAY": "wayland-0", "PATH": str(folder)}


def test_the_command_of_the_platform(tmp_path: Path) -> None:
    terminal = io.StringIO()
    clipboard = Clipboard(terminal, command(tmp_path, f"/bin/cat > {tmp_path / 'copied'}"))
    notice = asyncio.run(clipboard.copy(Copy("ü", 0)))
    copied = (tmp_path / "copied").read_text("utf-8")
    expected = Notice("info", "copied the reply to the clipboard")
    assert (notice, copied, terminal.getvalue()) == (expected, "ü", "")


@pytest.mark.parametrize(
    ("script", "change", "why"),
    [
        ("exit 0", {"SSH_CONNECTION": "10.0.0.1"}, ""),
        ("exit 0", {"PATH": "/nowhere"}, ""),
        ("exit 1", {}, "wl-copy failed; "),
        ("", {}, "wl-copy could not be started; "),
        ("/bin/cat; /bin/sleep 1000", {}, "wl-copy timed out after 2 s; "),
    ],
)
def test_if_the_command_fails_the_terminal_is_asked(
    tmp_path: Path, script: str, change: dict[str, str], why: str
) -> None:
    terminal = io.StringIO()
    clipboard = Clipboard(terminal, command(tmp_path, script) | change)
    notice = asyncio.run(clipboard.copy(Copy("hi", 0)))
    assert notice.text == f"{why}asked the terminal to copy the reply"
    assert terminal.getvalue() == "\x1b]52;c;aGk=\x07"


# ----------------------------------------------------------------------------------- the program


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[tuple[Terminal, Path]]:
    """A conversation with a reply. Its `xclip` creates the file `begun`, then waits for `go`."""
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


def test_keys_work_while_xclip_hangs(screen: tuple[Terminal, Path]) -> None:
    terminal, folder = screen
    wait_for(folder / "begun")
    terminal.types("still here")
    terminal.shows("/copy", "still here")
    (folder / "go").touch()  # had the keys waited for xclip, it would have timed out by now
    terminal.shows("copied the reply to the clipboard", "still here")
    assert (folder / "copied").read_text() == "copy me"
    terminal.types("\x03\x04")
    assert terminal.ends() == 0


def test_an_xclip_that_hangs_is_reported_on_one_line(screen: tuple[Terminal, Path]) -> None:
    terminal, _ = screen
    line = "xclip timed out after 2 s; asked the terminal to copy the reply"
    lines = terminal.shows(line, PROMPT)
    assert "".join(lines).count("xclip") == 1
    terminal.types("\x04")
    assert terminal.ends() == 0


def test_leaving_right_after_a_copy_waits_for_it(screen: tuple[Terminal, Path]) -> None:
    terminal, folder = screen
    wait_for(folder / "begun")
    terminal.types("\x04")
    (folder / "go").touch()
    assert terminal.ends() == 0
    assert (folder / "copied").read_text() == "copy me"
