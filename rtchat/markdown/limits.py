"""The limit for one block of Markdown, which keeps an endless block from delaying a stream."""

from __future__ import annotations

MAX_COST = 5_000
"""The cost, in characters of prose, of a text that takes 10 ms to parse and render."""
LONG_MARK = "\x1a"
"""The first line of the continuation of a `long` paragraph. `visible` removes it from all input."""
LINE_COST = 10
"""The cost, in characters of prose, of a line end."""
_BRACKET_COST, _MARKUP_COST = 30, 3
"""Costs in characters of prose: of a bracket that may open a link, and of a character that may be
markup."""
_MARKUP = "*_~`<&\\!"
MAX_DEPTH = 26
"""Levels of nested tokens. Each quote and each list with its item takes two."""


def cost(source: str) -> int:
    """The cost of parsing inline text, in characters of prose."""
    marks = sum(map(source.count, _MARKUP))
    return (
        len(source)
        + _BRACKET_COST * source.count("[")
        + LINE_COST * source.count("\n")
        + _MARKUP_COST * marks
    )


def is_long(paragraph: str) -> bool:
    """Whether a paragraph is shown as written."""
    return paragraph.startswith(LONG_MARK) or cost(paragraph) > MAX_COST
