"""Formulas on a terminal: in Unicode if that is exact, otherwise as their source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import zip_longest

from markdown_it.token import Token
from rich.cells import cell_len

from rtchat.core.text import visible
from rtchat.markdown.latex import TOKEN, LatexReader
from rtchat.markdown.symbols import InexactError, latex_database

_MAX_SIZE = 1_000
"""The longest formula, in characters, that is converted."""
_ROWS_ENVIRONMENT = re.compile(
    r"\s*\\begin\{(align|aligned|split|gather|gathered|equation|displaymath)(\*?)\}"
    r"(.*)\\end\{\1\2\}\s*",
    re.DOTALL,
)
"""An environment whose rows can be shown as lines."""


def inline_formula(token: Token) -> str:
    """The text of a `math_inline` token: the formula in Unicode, or else its source."""
    return _in_unicode(token.info) or visible(" ".join(token.content.split()))


def display_formula(token: Token) -> list[str]:
    """The lines of a `math_open` token: the formula in Unicode, or else its source. There is at
    least one."""
    return _rows_in_unicode(token.info) or visible(token.content).expandtabs(4).split("\n")


@lru_cache(maxsize=256)
def _in_unicode(source: str) -> str | None:
    """A formula in Unicode, on one line; None if that is not exact."""
    if not _is_convertible(source):
        return None
    try:
        return visible(LatexReader(source).read().replace("\n", " ").strip()) or None
    except InexactError:
        return None


@lru_cache(maxsize=256)
def _rows_in_unicode(source: str) -> list[str] | None:
    """The lines of a display formula in Unicode; None if that is not exact."""
    if not _is_convertible(source):
        return None
    is_environment = False
    while found := _ROWS_ENVIRONMENT.fullmatch(source):  # they may be nested
        source, is_environment = found.group(3), True
    try:
        rows = [_cells(row) for row in _rows(source)]
    except InexactError:
        return None
    if not is_environment and any(len(row) > 1 for row in rows):
        return None
    if rows[-1] == [""]:  # the last row ended with `\\`
        del rows[-1]
    lines = _aligned_lines(rows)
    return [line for row in lines for line in visible(row).split("\n") if line.strip()] or None


def _is_convertible(source: str) -> bool:
    return 0 < len(source) <= _MAX_SIZE and latex_database() is not None


def _split(source: str, mark: str) -> list[str]:
    """The parts of a source between the tokens that equal `mark`."""
    parts = [""]
    for found in TOKEN.finditer(source):
        if found.group() == mark:
            parts.append("")
        else:
            parts[-1] += found.group()
    return parts


_ROW_SPACE = re.compile(r"\s*\[-?[\d.]+\s*(?:pt|em|ex|mm|cm)\]")
"""Matches the vertical space that may follow the end of a row."""


def _rows(source: str) -> list[str]:
    first, *others = _split(source, "\\\\")
    return [first, *(_ROW_SPACE.sub("", row, count=1) for row in others)]


def _cells(row: str) -> list[str]:
    return [
        "\n".join(line.strip() for line in LatexReader(cell).read().strip().split("\n"))
        for cell in _split(row, "&")
    ]


def _aligned_lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of cells as lines. Columns are aligned alternately right and left, as `align` does."""
    if all(len(row) == 1 for row in rows):
        yield from (row[0] for row in rows)
        return
    if any("\n" in cell for row in rows for cell in row):
        rows = [[cell.replace("\n", " ") for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip_longest(*rows, fillvalue="")]
    for row in rows:
        line = ""
        for index, cell in enumerate(row):
            space = " " * (widths[index] - cell_len(cell))
            gap = ("" if not index else "  ") if index % 2 == 0 else " "
            line += gap + (space + cell if index % 2 == 0 else cell + space)
        yield line.rstrip()
