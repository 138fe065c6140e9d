"""The question before a tool runs, as rows of text: the call, and the possible answers.

Every row begins with a mark that no other text on the screen can contain. Text from the model is
shown as JSON strings, so it can neither end a row nor begin one. `shown_question` draws the rows,
`prompt` reads the answer, and `core.tool_calls` decides which calls need permission.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from textwrap import wrap
from unicodedata import category, east_asian_width

from rtchat.core.effects import ToolAsked
from rtchat.core.events import Answer
from rtchat.core.text import MARK, exact
from rtchat.core.values import Approval

CHOICES = "[y]es, [a]lways, [n]o"
_ANSWERS: tuple[Answer, ...] = ("yes", "always", "no")
_CONTINUED = "↩"
"""Ends a row that continues in the next one."""
_UNIT = re.compile(r"\\u[0-9a-f]{4}|\\.|.", re.DOTALL)
"""Matches an escape sequence or a character: rows are never split inside one."""
_MIN_WIDTH = 8
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]+")


class ToolQuestion:
    """The question about one tool call."""

    def __init__(self, asked: ToolAsked) -> None:
        self._asked = asked
        self._rows_by_width: dict[int, list[str]] = {}
        """The rows of the arguments, cached by screen width."""

    def rows(self, width: int) -> list[str]:
        """All rows except the one with the choices, for a screen of `width` columns."""
        return [*self._heading(width), *self._body(width), *self._scope(width)]

    def summary(self, width: int, where: str) -> list[str]:
        """The same without the arguments; `where` says where to find them."""
        characters = f"{len(self._asked.call.arguments):,}"
        count = f"{len(self._body(width)):,}"
        text = f"Arguments: {characters} characters, {count} lines, {where}"
        return [*self._heading(width), *_wrap(text, width), *self._scope(width)]

    def details(self, width: int) -> list[str]:
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
        scope = f"every call of {self._tool}, with any arguments, until rtchat exits"
        return _wrap(f"[a]lways: {scope}", width)

    def _body(self, width: int) -> list[str]:
        if width not in self._rows_by_width:
            self._rows_by_width[width] = [row for line in self._lines for row in _fold(line, width)]
        return self._rows_by_width[width]

    @cached_property
    def _lines(self) -> list[str]:
        return list(_argument_lines(self._asked.call.arguments))


def answer_of(typed: str) -> Answer | None:
    """The answer that begins with what was typed, if there is one."""
    typed = typed.strip().lower()
    return next((each for each in _ANSWERS if typed and each.startswith(typed)), None)


def as_code(name: str, arguments: str) -> str:
    """A call on one line, exactly: `weather({"city": "Oslo"})`."""
    try:
        return f"{_name(name)}({_format(_parse(arguments))})"
    except (ValueError, RecursionError):
        return f"{_name(name)}({exact(arguments) if arguments else ''})"


def _name(name: str) -> str:
    """The name itself if it is unambiguous, otherwise escaped to ASCII: letters of other alphabets
    can look the same."""
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name).replace("\x7f", "\\u007f")


# ---------------------------------------------------------------------------------------- arguments


class _Number(str):
    """A number, as the model wrote it."""


class _RepeatedKeyError(ValueError):
    """An object has a duplicate key."""


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    read = dict(pairs)
    if len(read) < len(pairs):
        raise _RepeatedKeyError
    return read


def _reject_constant(constant: str) -> object:
    raise ValueError(constant)


def _parse(text: str) -> object:
    return json.loads(
        text,
        object_pairs_hook=_unique_keys,
        parse_int=_Number,
        parse_float=_Number,
        parse_constant=_reject_constant,
    )


def _argument_lines(text: str) -> Iterator[str]:
    """One line for each argument. Ambiguous or invalid arguments are shown unparsed."""
    if not text.strip(" \t\r\n"):
        yield "no arguments"
        return
    try:
        read = _parse(text)
        if isinstance(read, dict):
            lines = [f"{_name(key)}: {_format(value)}" for key, value in read.items()]
            yield from lines or ["no arguments"]
            return
        why = "not a JSON object"
    except _RepeatedKeyError:
        why = "duplicate key"
    except (ValueError, RecursionError):
        why = "not valid JSON"
    yield f"{why}; shown exactly as received:"
    yield exact(text)


def _format(value: object) -> str:
    match value:
        case _Number():
            return str.__str__(value)
        case str():
            return exact(value)
        case dict():
            return (
                f"{{{', '.join(f'{exact(key)}: {_format(each)}' for key, each in value.items())}}}"
            )
        case list():
            return f"[{', '.join(map(_format, value))}]"
        case _:
            return json.dumps(value)


# --------------------------------------------------------------------------------------------- rows


def _wrap(sentence: str, width: int) -> list[str]:
    """Split one of this program's own sentences, which are ASCII, into rows."""
    room = max(width - len(f"{MARK}   {_CONTINUED}"), _MIN_WIDTH)
    *lines, last = wrap(sentence, room, drop_whitespace=False, break_on_hyphens=False)
    rows = [*(f"{line}{_CONTINUED}" for line in lines), last]
    return [f"{MARK} {rows[0]}", *(f"{MARK}   {row}" for row in rows[1:])]


def _fold(line: str, width: int) -> Iterator[str]:
    """Split a line into rows that fit. All but the last end with `_CONTINUED`. An escaped newline
    also ends a row."""
    room = max(width - len(f"{MARK}     {_CONTINUED}"), _MIN_WIDTH)
    indent = "  "
    row, used, ends = "", 0, False
    for unit in _UNIT.findall(line):
        cells = sum(map(_cells, unit))
        if row and (ends or used + cells > room) and category(unit[0])[0] != "M":
            yield f"{MARK} {indent}{row}{_CONTINUED}"
            indent = "    "
            row, used = "", 0
        row, used, ends = row + unit, used + cells, unit == r"\n"
    yield f"{MARK} {indent}{row}"


def _cells(character: str) -> int:
    """The maximum number of cells that a terminal uses for this character."""
    is_wide = character >= "\U0001f000" or east_asian_width(character) in "WFA"
    return 2 if is_wide and not character.isascii() else 1
