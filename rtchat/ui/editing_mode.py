"""The editing mode of the prompt: emacs or vi, from the setting or from readline's init file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from prompt_toolkit.enums import EditingMode

EditingModeName: TypeAlias = Literal["auto", "emacs", "vi"]

_SYSTEM_FILE = Path("/etc/inputrc")
_MAX_SIZE = 1_000_000
"""Bytes of a file that are read."""
_MAX_DEPTH = 10
"""How deep files may include others."""


def editing_mode(name: EditingModeName, environ: Mapping[str, str]) -> EditingMode:
    """The editing mode to use. "auto" means that of $INPUTRC, ~/.inputrc or /etc/inputrc."""
    if name == "auto":
        chosen = Path(environ.get("INPUTRC") or f"{environ.get('HOME', '')}/.inputrc")
        init_file = chosen if os.path.isfile(chosen) else _SYSTEM_FILE
        return _InitFile(environ).read(init_file)
    return EditingMode(name.upper())


class _InitFile:
    """What a readline init file says about the editing mode."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._mode = EditingMode.EMACS

    def read(self, path: Path, depth: int = 0) -> EditingMode:
        """The mode after a file was read; a file that cannot be read changes nothing."""
        conditions: list[bool] = []
        for line in _lines(path):
            match line.split():
                case ["$if", *test]:
                    conditions.append(self._holds(" ".join(test)))
                case ["$else", *_] if conditions:
                    conditions[-1] = not conditions[-1]
                case ["$endif", *_] if conditions:
                    conditions.pop()
                case ["$include", name, *_] if all(conditions) and depth < _MAX_DEPTH:
                    self.read(self._path(path, name), depth + 1)
                case [set_, variable, value, *_] if all(conditions):
                    self._set(set_.lower(), variable.lower(), value.lower())
                case _:
                    pass
        return self._mode

    def _set(self, word: str, variable: str, value: str) -> None:
        if (word, variable) != ("set", "editing-mode"):
            return
        if value.startswith("vi"):
            self._mode = EditingMode.VI
        elif value.startswith("emacs"):
            self._mode = EditingMode.EMACS

    def _holds(self, test: str) -> bool:
        """Whether the test of an `$if` holds: of the mode, the terminal or the program."""
        name, _, value = (part.strip() for part in test.partition("="))
        term = self._environ.get("TERM", "")
        match name:
            case "mode":
                return value.upper() == self._mode.value
            case "term":
                return value in (term, term.partition("-")[0])
            case _:
                return test.strip().lower() == "rtchat"

    def _path(self, including: Path, name: str) -> Path:
        if name.startswith("~/"):
            name = os.path.join(self._environ.get("HOME", ""), name[2:])
        return including.parent / name


def _lines(path: Path) -> Iterator[str]:
    try:
        if path.is_file():  # a named pipe would block
            with path.open("rb") as file:
                yield from file.read(_MAX_SIZE).decode(errors="replace").splitlines()
    except OSError:
        return
