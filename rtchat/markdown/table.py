"""Render a table: the columns are measured once, then each row is rendered separately.

This way a long table can be printed while it still arrives. If the columns would be too narrow, the
rows are shown as records: a line `key: value` for each cell.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from copy import copy
from functools import cached_property
from itertools import zip_longest
from typing import Literal, TypeAlias

from markdown_it.token import Token
from rich.cells import cell_len
from rich.text import Text

from rtchat.markdown import theme
from rtchat.markdown.wrap import longest_word, wrap

Row: TypeAlias = list[Text]
Alignment: TypeAlias = Literal["left", "center", "right"]

_GAP = 3
"""Cells between two columns."""
_MIN_WIDTH = 8
"""The minimum width of a column whose text is wrapped. With less room, rows become records."""
_MIN_LONG_WIDTH = 8
"""The minimum width of a column in a long table, if there is room: later rows may have longer
numbers."""
_MAX_RESERVED_WIDTH = 12
"""The width to which each column can grow, if there is room, while the table still arrives."""
_INDENT = "  "
"""Precedes all lines but the first of a cell in a record."""
_NUMBER = re.compile(r"\W{0,3}\d[\d\W]{0,16}\w{0,3}\W?")
"""A number with its sign, currency or unit, which is not wrapped: `1 234.50 €`, `10 ms`."""


def read_table(
    tokens: Iterator[Token], draw: Callable[[Token], Text]
) -> tuple[list[Row], list[Alignment]]:
    """The rendered rows of a table, the first of which is the head, and the alignments of its
    columns. Reads `tokens` up to the end of the table."""
    rows: list[Row] = []
    justify: list[Alignment] = []
    for token in tokens:
        match token.type:
            case "table_close":
                break
            case "tr_open":
                rows.append([])
            case "th_open":
                justify.append(_alignment(token))
            case "inline":
                rows[-1].append(draw(token))
            case _:
                pass
    return rows, justify


def _alignment(token: Token) -> Alignment:
    match token.attrs.get("style"):
        case "text-align:right":
            return "right"
        case "text-align:center":
            return "center"
        case _:
            return "left"


class Grid:
    """The columns of a table. Their widths follow from `rows`, of which the first is the head, and
    from the `width` of the table in cells. Rows may lack cells at their end.

    A column is as wide as its longest cell if there is room. Otherwise the widest columns are
    reduced first, but not below their longest word. If there is no room for the words, or a column
    would be narrower than `_MIN_WIDTH`, rows become records.

    `is_long` means that the table has more rows than `rows`.
    """

    def __init__(
        self,
        rows: list[Row],
        justify: list[Alignment],
        width: int,
        *,
        is_long: bool = False,
    ) -> None:
        self._justify = justify
        self._head = rows[0]
        for cell in self._head:
            cell.stylize(theme.HEADING)
        self._width = width
        self._columns = list(zip_longest(*rows, fillvalue=Text()))
        self._full_widths = [max(map(_width, column)) for column in self._columns]
        self._min_widths = [1] * len(self._columns)
        self._widths = self._fitted(self._full_widths)
        self._shows_records = self._is_too_narrow()
        if is_long:
            self._widths = self._fitted(
                [max(cells, _MIN_LONG_WIDTH) for cells in self._full_widths]
            )
        self._separates_rows = any(map(self._has_several_lines, rows[1:]))
        self._is_first_row = True

    def keep_columns(self, before: Grid | None) -> None:
        """Keep the columns where they were while rows of the table still arrive.

        `before` is the grid of the last preview: no column becomes narrower than there.
        Each column keeps room to grow, so that the columns to its left need not become narrower.
        """
        if before is not None and before._width == self._width:
            self._min_widths = before._widths
            self._shows_records |= before._shows_records
        share = min(_MAX_RESERVED_WIDTH, self._room // len(self._full_widths))
        fitted = self._fitted([max(cells, share) for cells in self._full_widths])
        grown = zip(fitted, self._full_widths, self._min_widths, strict=True)
        self._widths = [max(min(cells, most), least) for cells, most, least in grown]

    @cached_property
    def _words(self) -> list[int]:
        return [max(map(_unwrapped_width, column)) for column in self._columns]

    @property
    def _room(self) -> int:
        return self._width - _GAP * (len(self._justify) - 1)

    def _fitted(self, longest: list[int]) -> list[int]:
        """The widths of the columns, given the width of the longest cell of each."""
        if sum(longest) <= self._room:
            return list(map(max, self._min_widths, longest))
        return _fit(_fit(self._min_widths, self._words, self._room), longest, self._room)

    def _is_too_narrow(self) -> bool:
        if len(self._widths) == 1 or self._widths == self._full_widths:
            return False
        widths = zip(self._widths, self._full_widths, strict=True)
        is_narrow = any(width < min(_MIN_WIDTH, natural) for width, natural in widths)
        return is_narrow or sum(self._words) > self._room

    def within(self, width: int) -> Grid:
        """The grid itself, or a copy that fits into a smaller width."""
        if width >= self._width:
            return self
        narrow = copy(self)
        narrow._width, narrow._min_widths = width, [1] * len(self._widths)
        narrow._widths = narrow._fitted(self._widths)
        return narrow

    def head(self) -> list[Text]:
        """The lines of the head and the rule below it; none in records, or if it has no text."""
        if self._shows_records or not any(cell.plain.strip() for cell in self._head):
            return []
        rule = "─" * (sum(self._widths) + _GAP * (len(self._widths) - 1))
        return [*self._lines(self._head), Text(rule, theme.FRAME)]

    def keys(self) -> list[Text]:
        """The lines of the head of a table without rows."""
        if not self._shows_records:
            return self.head()
        return [line for key in self._head for line in wrap(key, self._width)]

    def row(self, cells: Row, *, is_open: bool = False) -> list[Text]:
        """The lines of the next row. An empty line precedes it if rows have several lines.

        With `is_open`, the last cell still grows and may use the columns to its right.
        """
        if self._shows_records:
            lines = self._record(cells)
            apart = bool(lines)
        else:
            lines = self._lines(cells, is_open=is_open)
            self._separates_rows |= len(lines) > 1
            apart = self._separates_rows
        if apart and not self._is_first_row:
            lines.insert(0, Text())
        self._is_first_row = self._is_first_row and not lines
        return lines

    def _record(self, cells: Row) -> list[Text]:
        lines = []
        for key, cell in zip(self._head, cells, strict=False):
            if not cell.plain.strip():
                continue
            named = Text(" ").join(key.split("\n")).append(": ") if key else Text()
            text = named.append_text(cell)
            # An indent must not cut a word.
            indent = _INDENT if longest_word(text) <= self._width - len(_INDENT) else ""
            width = self._width - len(indent)
            first, *others = wrap(text, width, whole_urls=True)
            lines += [first, *(Text(indent).append_text(line) for line in others)]
        return lines

    def _lines(self, cells: Row, *, is_open: bool = False) -> list[Text]:
        widths = self._widths[: len(cells)]
        if is_open and widths:
            widths[-1] = self._width - sum(widths[:-1]) - _GAP * (len(widths) - 1)
        folded = [self._fold(cell, width) for cell, width in zip(cells, widths, strict=False)]
        return [self._line(parts) for parts in zip_longest(*folded)] or [Text()]

    def _has_several_lines(self, cells: Row) -> bool:
        pairs = zip(cells, self._widths, strict=False)
        return any("\n" in cell.plain or cell.cell_len > width for cell, width in pairs)

    def _fold(self, cell: Text, width: int) -> list[Text]:
        if cell.cell_len <= width and "\n" not in cell.plain:
            return [cell]
        return wrap(cell, width)

    def _line(self, parts: tuple[Text | None, ...]) -> Text:
        line = Text()
        padding = 0
        for part, width, side in zip(parts, self._widths, self._justify, strict=False):
            if part:
                space = max(width - part.cell_len, 0)
                left = {"left": 0, "center": space // 2, "right": space}[side]
                line.append(" " * (padding + left)).append_text(part)
                padding = space - left + _GAP
            else:
                padding += width + _GAP
        return line


def _width(cell: Text) -> int:
    return max(1, *map(cell_len, cell.plain.split("\n")))


def _unwrapped_width(cell: Text) -> int:
    """The width of the longest part of a cell that should not be wrapped, in cells."""
    return _width(cell) if _NUMBER.fullmatch(cell.plain) else max(longest_word(cell), 1)


def _fit(least: list[int], most: list[int], room: int) -> list[int]:
    """Widths between `least` and `most` whose sum is at most `room`, provided that of `least` is.
    The widest are reduced first."""

    def limited(limit: int) -> list[int]:
        return [max(low, min(limit, high)) for low, high in zip(least, most, strict=True)]

    limit = bisect_right(range(max(most) + 1), room, key=lambda cells: sum(limited(cells))) - 1
    widths = limited(limit)
    left = room - sum(widths)
    for index, more in enumerate(limited(limit + 1)):
        if more > widths[index] and left > 0:
            widths[index] = more
            left -= 1
    return widths
