"""A table as lines of text: the columns are measured once, then each row is rendered separately.

This way a long table can be printed while it still arrives.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Literal, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from rtchat.markdown import theme
from rtchat.markdown.wrap import wrap

Row: TypeAlias = list[Text]
Side: TypeAlias = Literal["left", "center", "right"]

_GAP = 3
MIN_WIDTH = 5
"""Cells of a column including its gap. With fewer than two of its own, some glyphs do not fit."""


class Grid:
    """The columns of a table. Their widths come from `rows`, of which the first is the head.

    Each column has at least `min_width` cells if there is room. All together are at most `width`
    wide; longer cells are folded. Rows may lack cells at their end.
    """

    def __init__(
        self,
        console: Console,
        rows: list[Row],
        justify: list[Side],
        width: int,
        *,
        min_width: int = 1,
    ) -> None:
        self._console = console
        self._justify = justify
        columns = zip_longest(*rows, fillvalue=Text())
        natural = [max(min_width, *map(_width, column)) for column in columns]
        self._widths = _fit(natural, width - _GAP * (len(natural) - 1))

    def head(self, cells: Row) -> list[Text]:
        """The lines of the head, and the rule below it."""
        for cell in cells:
            cell.stylize(theme.HEADING)
        rule = "─" * (sum(self._widths) + _GAP * (len(self._widths) - 1))
        return [*self.row(cells), Text(rule, theme.FRAME)]

    def row(self, cells: Row) -> list[Text]:
        """The lines of one row."""
        folded = [self._fold(cell, width) for cell, width in zip(cells, self._widths, strict=False)]
        return [self._line(parts) for parts in zip_longest(*folded)] or [Text()]

    def _fold(self, cell: Text, width: int) -> list[Text]:
        if cell.cell_len <= width and "\n" not in cell.plain:
            return [cell]
        return wrap(self._console, cell, width)

    def _line(self, parts: tuple[Text | None, ...]) -> Text:
        line = Text()
        padding = 0
        for part, width, side in zip(parts, self._widths, self._justify, strict=False):
            if part:
                space = width - part.cell_len
                left = {"left": 0, "center": space // 2, "right": space}[side]
                line.append(" " * (padding + left)).append_text(part)
                padding = space - left + _GAP
            else:
                padding += width + _GAP
        return line


def _width(cell: Text) -> int:
    return max(1, *map(cell_len, cell.plain.split("\n")))


def _fit(natural: list[int], available: int) -> list[int]:
    """Widths whose sum is at most `available`. The widest columns are reduced first."""
    left, count = available, len(natural)
    for width in sorted(natural):
        if width * count > left:
            break
        left -= width
        count -= 1
    else:
        return natural
    limit, remainder = divmod(left, count)
    widths = []
    for width in natural:
        extra = int(width > limit and remainder > 0)
        remainder -= extra
        widths.append(min(width, limit + extra))
    return widths
