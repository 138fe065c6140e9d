"""The variables of the environment and of the `.env` of the working directory.

A `.env` may come from someone else, for example in a cloned or unpacked folder. So it is trusted
less than the options, the environment, the user's config file and the stored keys. It may change
settings, but not name a file to read, write, execute or trust (`Variable.dotenv`), and it cannot
refer to variables of the environment. A problem with it is a warning.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import TypeAlias

from rtchat.config import variables
from rtchat.config.table import Variable, choice_hint
from rtchat.core.errors import UsageError

Tell: TypeAlias = Callable[[str], None]
"""Shows a line to the user."""
Warn: TypeAlias = Callable[[str, str], None]
"""Shows a warning and a hint, which may be empty."""

_MAX_SIZE = 2**20
"""Bytes; a larger `.env` is ignored."""


class DotenvOrigin(str):
    """The origin of a value from a `.env`, as text for the user."""

    __slots__ = ()


def is_dotenv_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment allows reading a `.env`."""
    name = variables.DOTENV.name
    text = environ.get(name) or "on"
    if text not in ("on", "off"):
        message = f"invalid value {text!r} for {name} (expected on or off)"
        raise UsageError(message, hint=choice_hint(text, ("on", "off")))
    return text == "on"


class Sources:
    """The environment, then a `.env`, which may be missing. `warn` is called for each part of it
    that is ignored."""

    def __init__(self, environ: Mapping[str, str], dotenv: Path | None, warn: Warn) -> None:
        self._environ = environ
        self._warn = warn
        self._warned: set[str] = set()
        self._file: Mapping[str, str] = {}
        self._open_references: Mapping[str, str] = {}
        text = None if dotenv is None else _read(dotenv, self.warn)
        self.dotenv = None if dotenv is None or text is None else dotenv.absolute()
        """The `.env`, if it was read."""
        if text is not None:
            self._file, self._open_references = _parse(text, self.warn)

    def warn(self, text: str, hint: str = "") -> None:
        """Warn the user, once."""
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text, hint)

    def get(self, variable: Variable) -> str:
        """The value of a variable; empty if it is not set where it may be set."""
        if text := self._environ.get(variable.name):
            return text
        text = self._from_dotenv(variable.name)
        is_file = variable.dotenv == "no" or (variable.dotenv == "text" and text.startswith("@"))
        if not (text and is_file):
            return text
        self.warn(
            f"{variable.name} in .env is ignored, because it names a file",
            "set it in the environment or with an option",
        )
        return ""

    def find(self, variable: str, *, only_dotenv: bool = False) -> str:
        """The value of a variable that a setting names for a key or a part of an address."""
        text = "" if only_dotenv else self._environ.get(variable)
        return text or self._from_dotenv(variable)

    def is_outer(self, variable: str) -> bool:
        """Whether the environment sets a variable."""
        return bool(self._environ.get(variable))

    def origin(self, variable: str, *, only_dotenv: bool = False) -> str:
        """Where a variable is set, as text for the user."""
        if (self.is_outer(variable) and not only_dotenv) or not self._file.get(variable):
            return variable
        return DotenvOrigin(f"{variable} in .env")

    def _from_dotenv(self, variable: str) -> str:
        if other := self._open_references.get(variable):
            self.warn(
                f"{variable} in .env is ignored, because it refers to {other},"
                " which that file does not set"
            )
        return self._file.get(variable, "")


def _read(path: Path, warn: Tell) -> str | None:
    """The text of a `.env`; None if it is missing or cannot be used."""
    try:
        why = "" if stat.S_ISREG(path.stat().st_mode) else "it is not a regular file"
        if not why:
            with path.open("rb") as file:
                data = file.read(_MAX_SIZE + 1)
            if len(data) <= _MAX_SIZE:
                return data.decode("utf-8-sig")
            why = "it is too large"
    except FileNotFoundError:
        return None
    except OSError as error:
        why = str(error.strerror)
    except UnicodeDecodeError:
        why = "it is not UTF-8 text"
    warn(f".env is ignored ({why})")
    return None


def _parse(text: str, warn: Tell) -> tuple[dict[str, str], dict[str, str]]:
    """The variables of a `.env`, and which of them refer to one that it does not set.

    The library would replace `${NAME}` by a value of the environment, which could expose a key.
    """
    from dotenv.parser import parse_stream
    from dotenv.variables import Variable, parse_variables

    values: dict[str, str] = {}
    open_references: dict[str, str] = {}
    unread = []
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            unread.append(binding.original.line)
        if not binding.key or not binding.value:
            continue
        atoms = list(parse_variables(binding.value))
        others = [
            atom.name
            for atom in atoms
            if isinstance(atom, Variable) and atom.default is None and atom.name not in values
        ]
        values[binding.key] = "" if others else "".join(atom.resolve(values) for atom in atoms)
        open_references[binding.key] = others[0] if others else ""
    if unread:
        more = f" and {len(unread) - 1} more" if unread[1:] else ""
        warn(f".env line {unread[0]}{more} ignored (expected NAME=value)")
    return values, open_references
