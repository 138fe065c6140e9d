"""`/copy`: what is copied, and how."""

from __future__ import annotations

import asyncio
import io
import os
import select
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from time import monotonic

import pytest

from rtchat.core.effects import Copy, Notice
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from rtchat.ui.clipboard import Clipboard
from tests.program import PATIENCE, Program, background
from tests.terminal import PROMPT, Terminal

REPLY = "One:\n\n```py\nprint(1)\n```\n\n- two:\n\n      x\x1b[2J\n"
IN_LISTS = (
    "1. a\n\n   ```go\n   if x {\n   \ty()\n   }\n   ```\n> - b\n>   ~~~\n>   z\n>     w\n>   ~~~\n"
)


def by_terminal(asked: Copy) -> tuple[Notice, str]:
    """The notice, and the text that the terminal was asked to copy."""
    terminal = io.StringIO()
    notice = asyncio.run(Clipboard(terminal, {"TERM": "xterm-kitty"}).copy(asked))
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


@pytest.mark.parametrize(("block", "code"), [(1, "if x {\n\ty()\n}\n"), (2, "z\n  w\n")])
def test_a_code_block_in_a_list_or_quote_is_copied_without_its_indent(
    block: int, code: str
) -> None:
    assert by_terminal(Copy(IN_LISTS, block))[1] == code


@pytest.mark.parametrize(("reply", "count"), [(REPLY, "2 code blocks"), ("hi", "no code blocks")])
def test_a_missing_code_block_is_an_error(reply: str, count: str) -> None:
    assert by_terminal(Copy(reply, 3)) == (Notice("error", f"the reply has {count}"), "")


@pytest.mark.parametrize(
    ("so_far", "copied"), [("A:\n```\nx\n", "x\n"), ("A:", "print(1)\n"), ("", "print(1)\n")]
)
def test_a_number_is_that_of_the_latest_reply_with_code(so_far: str, copied: str) -> None:
    assert by_terminal(Copy(REPLY, 1, so_far))[1] == copied


def command(folder: Path, script: str) -> dict[str, str]:
    """An environment with a clipboard command that runs this script."""
    program = folder / "wl-copy"
    program.write_text(f"#!/bin/sh\n{script}\n" if script else "#!/nowhere\n")
    program.chmod(0o700)
    return {"TERM": "xterm-kitty", "WAYLAND_DISPLAY": "wayland-0", "PATH": str(folder)}


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


def test_no_command_is_advised_if_there_is_one(tmp_path: Path) -> None:
    environ = command(tmp_path, "exit 1") | {"TERM": "xterm-256color"}
    hint = asyncio.run(Clipboard(io.StringIO(), environ).copy(Copy("hi", 0))).hint
    assert "/save FILE" in hint
    assert "install" not in hint


# ----------------------------------------------------------------------------- what a terminal does


def asked(environ: dict[str, str], text: str = "hi", block: int = 0) -> tuple[Notice, str]:
    """The notice, and what was written to the terminal."""
    terminal = io.StringIO()
    notice = asyncio.run(Clipboard(terminal, environ).copy(Copy(text, block)))
    return notice, terminal.getvalue()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"TERM": "dumb"},
        {"TERM": "linux"},
        {"TERM": "xterm-256color", "VTE_VERSION": "7401"},
        {"TERM": "xterm-256color", "KONSOLE_VERSION": "230805"},
    ],
)
def test_a_terminal_that_ignores_the_request_is_not_asked(environ: dict[str, str]) -> None:
    notice, written = asked(environ)
    assert (notice.level, written) == ("warning", "")
    assert "/save FILE" in notice.hint


@pytest.mark.parametrize(
    ("environ", "advice"),
    [
        ({"TERM": "xterm-256color"}, "/save 1 FILE"),
        ({"TERM": "xterm-256color", "VTE_VERSION": "8000"}, "/save 1 FILE"),
        ({"TERM": "xterm", "WAYLAND_DISPLAY": "w"}, "wl-clipboard"),
        ({"TERM": "xterm", "DISPLAY": ":0"}, "xclip"),
        ({"TERM": "xterm", "STY": "1.x"}, "/save 1 FILE"),
    ],
)
def test_a_terminal_that_may_ignore_the_request(environ: dict[str, str], advice: str) -> None:
    notice, written = asked(environ, "    x", 1)
    assert notice.text == "asked the terminal to copy code block 1 of 1"
    assert advice in notice.hint
    assert "]52;c;" in written


def test_over_ssh_no_command_is_advised() -> None:
    notice, _ = asked({"TERM": "xterm", "DISPLAY": ":0", "SSH_CONNECTION": "10.0.0.1"})
    assert "xclip" not in notice.hint


def test_a_long_text_may_be_too_long_for_the_terminal() -> None:
    assert asked({"TERM": "xterm-kitty"}, "x" * 60_000)[0].hint == ""
    assert "/save" in asked({"TERM": "xterm-kitty"}, "x" * 80_000)[0].hint


def test_gnu_screen_gets_the_request_in_parts() -> None:
    _, written = asked({"TERM": "screen", "STY": "1.x"}, "word " * 1_000)
    parts = written.removesuffix("\x1b\\").split("\x1b\\")
    assert len(parts) > 10
    assert max(map(len, parts)) < 768
    assert {part[:2] for part in parts} == {"\x1bP"}
    data = "".join(part[2:] for part in parts)
    assert b64decode(data.removeprefix("\x1b]52;c;").removesuffix("\x07")) == b"word " * 1_000


# -------------------------------------------------------------------------------------------- tmux


def in_tmux(folder: Path, script: str, **environ: str) -> dict[str, str]:
    """An environment in tmux, with a `tmux` command that runs this script."""
    program = folder / "tmux"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    known = {"TERM": "tmux-256color", "TMUX": "/tmp/tmux,1,0", "PATH": str(folder)}
    return known | environ


def test_tmux_gets_the_text_and_passes_it_on(tmp_path: Path) -> None:
    script = f'[ "$1 $2 $3" = "load-buffer -w -" ] && /bin/cat >{tmp_path}/copied'
    notice, written = asked(in_tmux(tmp_path, script), "ü")
    assert notice.text == "copied the reply to tmux's buffer and asked the terminal to copy it"
    assert ((tmp_path / "copied").read_text("utf-8"), written) == ("ü", "")


def test_an_old_tmux_only_gets_the_text(tmp_path: Path) -> None:
    script = f'[ "$1 $2" = "load-buffer -" ] && /bin/cat >{tmp_path}/copied'
    notice, written = asked(in_tmux(tmp_path, script))
    assert notice.text == "copied the reply to tmux's buffer, not to the clipboard"
    assert ((tmp_path / "copied").read_text(), written) == ("hi", "")


@pytest.mark.parametrize(("script", "why"), [("exit 1", "tmux failed; "), ("", "")])
def test_if_tmux_fails_nothing_is_claimed(tmp_path: Path, script: str, why: str) -> None:
    environ = in_tmux(tmp_path, script, **({} if script else {"PATH": "/nowhere"}))
    notice, written = asked(environ)
    assert notice.text == f"{why}asked tmux to copy the reply"
    assert "set-clipboard" in notice.hint
    assert written == "\x1b]52;c;aGk=\x07"


@pytest.mark.parametrize(
    ("pane", "client", "used"),
    [
        ({"WAYLAND_DISPLAY": "w"}, "", "wl-copy"),
        ({"WAYLAND_DISPLAY": "w"}, "SSH_CONNECTION=10.0.0.1", "tmux"),
        ({"WAYLAND_DISPLAY": "w", "SSH_CONNECTION": "10.0.0.1"}, "-SSH_CONNECTION", "wl-copy"),
        ({"WAYLAND_DISPLAY": "w"}, "-WAYLAND_DISPLAY", "tmux"),
        ({}, "WAYLAND_DISPLAY=w", "wl-copy"),
    ],
)
def test_in_tmux_the_screen_of_the_attached_client_is_used(
    tmp_path: Path, pane: dict[str, str], client: str, used: str
) -> None:
    script = f'[ $1 = show-environment ] && echo "{client}" || echo tmux >{tmp_path}/used'
    command(tmp_path, f'[ "$WAYLAND_DISPLAY" ] && echo wl-copy >{tmp_path}/used')
    asked(in_tmux(tmp_path, script, **pane))
    assert (tmp_path / "used").read_text().strip() == used


@pytest.mark.skipif(which("tmux") is None, reason="tmux is not installed")
def test_a_real_tmux(tmp_path: Path) -> None:
    base = ["tmux", "-S", str(tmp_path / "socket"), "-f", "/dev/null"]

    def tmux(*arguments: str) -> str:
        return subprocess.run([*base, *arguments], capture_output=True, text=True).stdout

    try:
        pane = tmux("new-session", "-d", "-P", "-F", "#{socket_path},#{pid},0 #{pane_id}", "cat")
        socket, pane_id = pane.split()
        environ = {"TERM": "tmux", "TMUX": socket, "TMUX_PANE": pane_id, "PATH": os.environ["PATH"]}
        notice, written = asked(environ, "ü\t\n")
        assert ("tmux's buffer" in notice.text, written) == (True, "")
        assert tmux("show-buffer") == "ü\t\n"
    finally:
        tmux("kill-server")


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
