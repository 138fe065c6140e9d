"""The question before a tool runs, as rows of text: what would run, and what the answers mean.

Every row begins with a mark that no other text on the screen can contain. What the model wrote is
in JSON strings, so that it can neither end a row nor begin one. `prompt` draws the rows and reads
the answer; `round` decides which calls are asked about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from textwrap import wrap
from unicodedata import category, east_asian_width

from rtchat.core.effects import ToolAsked
from rtchat.core.text import MARK, exact
from rtchat.core.values import Approval

CHOICES = "[y]es, [a]lways, [n]o"
_NEXT_ROW = "↩"
"""Ends a row that is continued in the next one."""
_UNIT = re.compile(r"\\u[0-9a-f]{4}|\\.|.", re.DOTALL)
"""What is never split: an escape, or a character."""
_NARROWEST = 8
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]+")


class ToolQuestion:
    """The question about one call."""

    def __init__(self, asked: ToolAsked) -> None:
        self._asked = asked
        self._folded: dict[int, list[str]] = {}
        """The rows of the arguments, cached by screen width: there may be many."""

    def rows(self, width: int) -> list[str]:
        """All rows but that of the choices, for a screen of `width` columns."""
        return [*self._heading(width), *self._body(width), *self._scope(width)]

    def short(self, width: int, where: str) -> list[str]:
        """The same without the arguments; `where` says where those are."""
        characters = f"{len(self._asked.call.arguments):,}"
        count = f"{len(self._body(width)):,}"
        text = f"Arguments: {characters} characters, {count} lines, {where}"
        return [*self._heading(width), *_wrap(text, width), *self._scope(width)]

    def whole(self, width: int) -> list[str]:
        """The call and its arguments, with their length."""
        characters = f"{len(self._asked.call.arguments):,}"
        length = _wrap(f"Arguments, {characters} characters:", width)
        return [*self._heading(width), *length, *self._body(width)]

    @property
    def _tool(self) -> str:
        call, server = self._asked.call, self._asked.server
        if isinstance(call, Approval):
            return f"{_name(call.name)} of the remote MCP server {_name(call.server)}"
        owner = f" of the MCP server {_name(server)}" if server else ""
        return f"{_name(call.name)}{owner}"

    def _heading(self, width: int) -> list[str]:
        return _wrap(f"Run {self._tool}?", width)

    def _scope(self, width: int) -> list[str]:
        scope = f"any call of {self._tool}, with any arguments, until rtchat exits"
        return _wrap(f"[a]lways: {scope}", width)

    def _body(self, width: int) -> list[str]:
        if width not in self._folded:
            self._folded[width] = [row for line in self._lines for row in _fold(line, width)]
        return self._folded[width]

    @cached_property
    def _lines(self) -> list[str]:
        return list(_arguments(self._asked.call.arguments))


def as_code(name: str, arguments: str) -> str:
    """A call on one line, exactly: `weather({"city": "Oslo"})`."""
    try:
        return f"{_name(name)}({_value(_read(arguments))})"
    except (ValueError, RecursionError):
        return f"{_name(name)}({exact(arguments) if arguments else ''})"


def _name(name: str) -> str:
    """A name as it is if it is unambiguous, otherwise escaped to ASCII: letters of other alphabets
    can look the same."""
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name).replace("\x7f", "\\u007f")


# ---------------------------------------------------------------------------------------- arguments


class _Number(str):
    """A number as it was written."""


class _RepeatedKeyError(ValueError):
    """An object has a key twice."""


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    read = dict(pairs)
    if len(read) < len(pairs):
        raise _RepeatedKeyError
    return read


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def _read(text: str) -> object:
    return json.loads(
        text,
        object_pairs_hook=_pairs,
        parse_int=_Number,
        parse_float=_Number,
        parse_constant=_refuse,
    )


def _arguments(text: str) -> Iterator[str]:
    """A line for each argument. Arguments that could be read in more ways than one are shown as
    they came."""
    if not text.strip(" \t\r\n"):
        yield "no arguments"
        return
    try:
        read = _read(text)
        if isinstance(read, dict):
            lines = [f"{_name(key)}: {_value(value)}" for key, value in read.items()]
            yield from lines or ["no arguments"]
            return
        why = "not a JSON object"
    except _RepeatedKeyError:
        why = "a key is repeated"
    except (ValueError, RecursionError):
        why = "not valid JSON"
    yield f"{why}; exactly as the model wrote them:"
    yield exact(text)


def _value(value: object) -> str:
    match value:
        case _Number():
            return str.__str__(value)
        case str():
            return exact(value)
        case dict():
            return (
                f"{{{', '.join(f'{exact(key)}: {_value(each)}' for key, each in value.items())}}}"
            )
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            return json.dumps(value)


# --------------------------------------------------------------------------------------------- rows


def _wrap(sentence: str, width: int) -> list[str]:
    """Rows of a sentence of this program, which is all ASCII."""
    room = max(width - len(f"{MARK}   {_NEXT_ROW}"), _NARROWEST)
    *lines, last = wrap(sentence, room, drop_whitespace=False, break_on_hyphens=False)
    rows = [*(f"{line}{_NEXT_ROW}" for line in lines), last]
    return [f"{MARK} {rows[0]}", *(f"{MARK}   {row}" for row in rows[1:])]


def _fold(line: str, width: int) -> Iterator[str]:
    """Rows that fit; all but the last end with a sign. An escaped newline also ends a row."""
    room = max(width - len(f"{MARK}     {_NEXT_ROW}"), _NARROWEST)
    indent = "  "
    row, used, ends = "", 0, False
    for unit in _UNIT.findall(line):
        cells = sum(map(_cells, unit))
        if row and (ends or used + cells > room) and category(unit[0])[0] != "M":
            yield f"{MARK} {indent}{row}{_NEXT_ROW}"
            indent = "    "
            row, used = "", 0
        row, used, ends = row + unit, used + cells, unit == r"\n"
    yield f"{MARK} {indent}{row}"


def _cells(character: str) -> int:
    """The most cells that a terminal may use for it."""
    is_wide = character >= "\U0001f000" or east_asian_width(character) in "WFA"
    return 2 if is_wide and not character.isascii() else 1
