"""Reads the question before a tool runs back from the screen."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from rtchat.core.text import MARK

CONTINUED = "\N{LEFTWARDS ARROW WITH HOOK}"


def unfold(rows: Iterable[str], indent: str = "  ") -> Iterator[str]:
    """The lines that were folded into these rows of a question."""
    line, is_continued = "", False
    for row in rows:
        assert row.startswith(f"{MARK} {indent}"), row
        text = row.removeprefix(f"{MARK} {indent}").rstrip(" ")
        if is_continued:
            assert text.startswith("  "), row
            text = text.removeprefix("  ")
        is_continued = text.endswith(CONTINUED)
        line += text.removesuffix(CONTINUED)
        if not is_continued:
            yield line
            line = ""
    assert not is_continued


def arguments(lines: Iterable[str]) -> object:
    """The arguments, read back from the lines of a question; text if they are shown unparsed."""
    first, *rest = lines
    if first == "no arguments":
        return {}
    if first.endswith("shown exactly as received:"):
        return json.loads(rest[0])
    given = {}
    for line in (first, *rest):
        name, value = _named(line)
        given[name] = json.loads(value)
    return given


def _named(line: str) -> tuple[str, str]:
    if line.startswith('"'):
        name, end = json.JSONDecoder().raw_decode(line)
        return name, line[end:].removeprefix(": ")
    name, _, value = line.partition(": ")
    return name, value


def body(rows: list[str]) -> list[str]:
    """The lines between the heading of a question, which is one row, and the row about [a]lways."""
    end = next(index for index, row in enumerate(rows) if row.startswith(f"{MARK} [a]lways"))
    return list(unfold(rows[1:end]))


def question(lines: list[str]) -> tuple[str, object]:
    """The heading and the arguments of the last question on a screen. Arguments that did not fit
    are read from where they were printed above it."""
    rows = [row for row in lines if row.startswith(MARK)]
    *before, last = (index for index, row in enumerate(rows) if row.startswith(f"{MARK} Run "))
    heading = rows[last].removeprefix(f"{MARK} ").rstrip()
    if not rows[last + 1].startswith(f"{MARK} Arguments: "):
        return heading, arguments(body(rows[last:]))
    first = before[-1]
    assert rows[first] == rows[last]
    assert rows[first + 1].startswith(f"{MARK} Arguments, ")
    return heading, arguments(unfold(rows[first + 2 : last]))
