"""Reads the question before a tool runs back from the screen."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from rtchat.core.text import MARK

NEXT_ROW = "\N{LEFTWARDS ARROW WITH HOOK}"


def unfold(rows: Iterable[str], indent: str = "  ") -> Iterator[str]:
    """The lines that these rows of a question were made of."""
    line, goes_on = "", False
    for row in rows:
        assert row.startswith(f"{MARK} {indent}"), row
        text = row.removeprefix(f"{MARK} {indent}").rstrip(" ")
        if goes_on:
            assert text.startswith("  "), row
            text = text.removeprefix("  ")
        goes_on = text.endswith(NEXT_ROW)
        line += text.removesuffix(NEXT_ROW)
        if not goes_on:
            yield line
            line = ""
    assert not goes_on


def arguments(lines: Iterable[str]) -> object:
    """What the lines of a question say the arguments are; text if they are shown as they came."""
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
    """The lines between the heading of a question, which is a row, and what its answers mean."""
    end = next(index for index, row in enumerate(rows) if row.startswith(f"{MARK} [a]lways"))
    return list(unfold(rows[1:end]))


def question(lines: list[str]) -> tuple[str, object]:
    """The heading and the arguments of the last question on a screen; if they did not fit, those
    that were printed above it."""
    rows = [row for row in lines if row.startswith(MARK)]
    *before, last = (index for index, row in enumerate(rows) if row.startswith(f"{MARK} Run "))
    heading = rows[last].removeprefix(f"{MARK} ").rstrip()
    if not rows[last + 1].startswith(f"{MARK} Arguments: "):
        return heading, arguments(body(rows[last:]))
    first = before[-1]
    assert rows[first] == rows[last]
    assert rows[first + 1].startswith(f"{MARK} Arguments, ")
    return heading, arguments(unfold(rows[first + 2 : last]))
