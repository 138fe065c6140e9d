"""`/copy`: what is copied, and by what."""

from __future__ import annotations

import asyncio
import io
from base64 import b64decode
from pathlib import Path

import pytest

from rtchat.effects import Copy, Notice
from rtchat.ui.clipboard import Clipboard

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
    program.write_text(f"#!/bin/sh\n{script}\n")
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
