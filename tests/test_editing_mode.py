"""The editing mode of the prompt, as readline's init file says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prompt_toolkit.enums import EditingMode

from rtchat.ui.editing_mode import editing_mode

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
