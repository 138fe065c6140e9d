"""The editing mode of the prompt, as readline's init file says, and the keys of vi."""

from __future__ import annotations

import asyncio
import io
import os
from math import inf
from pathlib import Path
from time import monotonic

import pytest
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.key_binding.vi_state import InputMode
from prompt_toolkit.output import DummyOutput

from rtchat.ui.console import ThemedConsole
from rtchat.ui.editing_mode import editing_mode
from rtchat.ui.panel import LivePanel
from rtchat.ui.prompt import Prompt
from tests.program import PATIENCE

_VI, _EMACS = EditingMode.VI, EditingMode.EMACS


def _mode(tmp_path: Path, text: str, **environ: str) -> EditingMode:
    (tmp_path / ".inputrc").write_text(text)
    return editing_mode("auto", {"HOME": str(tmp_path), "TERM": "xterm-256color", **environ})


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("set editing-mode vi\n", _VI),
        ("  SET  Editing-Mode\tVi  \n", _VI),
        ("set editing-mode vi\nset editing-mode emacs", _EMACS),
        ("# set editing-mode vi\nset bell-style none\n\\C-a: self-insert\n", _EMACS),
        ("set editing-mode\nset editing-mode nano\nset\n$if\n$else\n$endif\n$endif", _EMACS),
        ("$if rtchat\nset editing-mode vi\n$endif", _VI),
        ("$if Bash\nset editing-mode vi\n$endif", _EMACS),
        ("$if Bash\n$else\nset editing-mode vi\n$endif", _VI),
        ("$if Bash\n$if rtchat\nset editing-mode vi\n$endif\n$endif", _EMACS),
        ("$if Bash\nset editing-mode emacs\n$endif\nset editing-mode vi", _VI),
        ("$if term=xterm\nset editing-mode vi\n$endif", _VI),
        ("$if term=xterm-256color\nset editing-mode vi\n$endif", _VI),
        ("$if term=linux\nset editing-mode vi\n$endif", _EMACS),
        ("$if mode=emacs\nset editing-mode vi\n$endif", _VI),
        ("$if version >= 8.0\nset editing-mode vi\n$endif", _EMACS),
        ("$include more\n$include missing\n", _VI),
        ("$include ~/more\n", _VI),
        ("$if Bash\n$include more\n$endif\n", _EMACS),
        ("$include .inputrc\nset editing-mode vi\n", _VI),
        ("\0\ud7ff set editing-mode vi", _EMACS),
    ],
)
def test_the_init_file(tmp_path: Path, text: str, mode: EditingMode) -> None:
    (tmp_path / "more").write_text("set editing-mode vi\n")
    assert _mode(tmp_path, text) is mode


def test_inputrc_names_another_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("set editing-mode vi")
    assert _mode(tmp_path, "", INPUTRC=str(tmp_path / "other")) is _VI


def test_the_setting_takes_precedence(tmp_path: Path) -> None:
    (tmp_path / ".inputrc").write_text("set editing-mode vi")
    assert editing_mode("emacs", {"HOME": str(tmp_path)}) is _EMACS
    assert editing_mode("vi", {}) is _VI


def test_a_file_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xff\xfe\nset editing-mode vi")
    environ = {"INPUTRC": str(path)}
    assert editing_mode("auto", environ) is _VI
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path.write_text(f"$include {pipe}\n$include {tmp_path}\nset editing-mode vi")
    assert editing_mode("auto", environ) is _VI


def test_a_file_that_cannot_be_found_changes_nothing() -> None:
    assert editing_mode("auto", {"INPUTRC": "a" * 300}) is _EMACS


def test_esc_leaves_insert_mode_without_waiting_for_another_key() -> None:
    async def run() -> str:
        with create_pipe_input() as keys:
            panel = LivePanel(ThemedConsole(file=io.StringIO()))
            prompt = Prompt(panel, None, editing_mode=_VI, input=keys, output=DummyOutput())
            sent: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            prompt.on_entry = lambda entry: sent.set_result(entry.text)
            app = prompt._app
            app.timeoutlen = inf  # a key that could begin a sequence waits for the next one
            reading = asyncio.create_task(prompt.run())
            keys.send_text("abc\x1b")
            until = monotonic() + PATIENCE
            while app.vi_state.input_mode is not InputMode.NAVIGATION:
                assert monotonic() < until, "Esc has no effect"
                await asyncio.sleep(0.001)
            keys.send_text("x\r")
            text = await sent
            prompt.exit()
            await reading
            prompt.close()
            return text

    assert asyncio.run(run()) == "ab"
