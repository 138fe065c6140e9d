"""An emulated terminal that wraps its rows again when its width changes, as tmux, VTE and most
others do."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyte
from wcwidth import wcswidth

from tests.screen import Grid, Screen

_WRAP_KEY = -1
"""The key of the cell that marks a row as continued in the next. It moves with the row."""


class _Cell(NamedTuple):
    character: Any
    width: int


class ReflowingGrid(Grid):
    """A grid that knows which rows continue in the next one.

    If `trims`, empty rows below the cursor are dropped before others move to the scrollback, as in
    VTE. Otherwise they are kept, as in tmux.
    """

    def __init__(self, width: int, height: int, *, clusters: bool, trims: bool) -> None:
        super().__init__(width, height, clusters=clusters)
        self._trims = trims

    def draw(self, data: str) -> None:
        if data.isascii():
            for character in data:
                self._mark_wrap(1)
                super().draw(character)
        else:
            super().draw(data)

    def _glyph(self, glyph: str) -> None:
        self._mark_wrap(max(wcswidth(glyph), 1))
        super()._glyph(glyph)

    def _mark_wrap(self, width: int) -> None:
        """Mark the row if the next character does not fit."""
        if self.cursor.x + width > self.columns and pyte.modes.DECAWM in self.mode:
            self.buffer[self.cursor.y][_WRAP_KEY] = self.default_char._replace(data="wraps")

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        if self.cursor.x == 0 or how:
            self.buffer[self.cursor.y].pop(_WRAP_KEY, None)
        super().erase_in_line(how, private)

    def resize_and_reflow(self, columns: int, rows: int) -> None:
        """Change the height, then the width."""
        self._change_height(rows)
        if columns != self.columns:
            self._change_width(columns)

    def _change_height(self, rows: int) -> None:
        screen = [self.buffer[y] for y in range(self.lines)]
        if rows < len(screen):
            below = len(screen) - 1 - self.cursor.y
            if dropped := min(below, len(screen) - rows):
                del screen[-dropped:]
            moved = len(screen) - rows
            self.history.top.extend(screen[:moved])
            del screen[:moved]
            self.cursor.y -= moved
        pulled = min(max(rows - len(screen), 0), len(self.history.top))
        screen[:0] = reversed([self.history.top.pop() for _ in range(pulled)])
        self.cursor.y += pulled
        self._set(screen, self.columns, rows)

    def _change_width(self, columns: int) -> None:
        above = len(self.history.top)
        rows = [*self.history.top, *(self.buffer[y] for y in range(self.lines))]
        if self._trims:
            while len(rows) - 1 > above + self.cursor.y and not self._cells(rows[-1]):
                rows.pop()
        cursor = above + self.cursor.y
        new: list[Any] = []
        at = 0, 0
        start = 0
        while start < len(rows):
            end = start
            while end + 1 < len(rows) and self.wraps(rows[end]) and self._cells(rows[end + 1]):
                end += 1
            parts = [self._cells(row) for row in rows[start : end + 1]]
            if start <= cursor <= end:
                before = sum(map(len, parts[: cursor - start]))
                before += _cells_before(parts[cursor - start], self.cursor.x)
                y, x = _position_of([cell for part in parts for cell in part], before, columns)
                at = len(new) + y, x
            new += self._rewrapped([cell for part in parts for cell in part], columns)
            start = end + 1
        moved = max(len(new) - self.lines, 0)
        self.history.top.clear()
        self.history.top.extend(new[:moved])
        self.cursor.y, self.cursor.x = (at[0] - moved, at[1]) if at[0] >= moved else (0, 0)
        self._set(new[moved:], columns, self.lines)

    def _set(self, screen: list[Any], columns: int, rows: int) -> None:
        self.buffer.clear()
        self.buffer.update(enumerate(screen))
        for y in range(rows):
            self.buffer[y]  # creates it
        self.lines, self.columns = rows, columns
        self.set_margins()

    def wraps(self, row: Any) -> bool:
        return bool(row[_WRAP_KEY].data == "wraps")

    def _cells(self, row: Any) -> list[_Cell]:
        """The cells of a row up to the last that is not empty."""
        end = max((x for x, cell in row.items() if x >= 0 and cell.data != " "), default=-1) + 1
        if self.wraps(row):
            end = self.columns - (self.columns - 1 not in row)  # a wide character did not fit
        return [
            _Cell(row[x], 1 + (x + 1 < end and not row[x + 1].data))
            for x in range(end)
            if row[x].data
        ]

    def _rewrapped(self, cells: list[_Cell], columns: int) -> list[Any]:
        rows: list[Any] = [pyte.screens.StaticDefaultDict(self.default_char)]
        x = 0
        for cell in cells:
            if x + cell.width > columns:
                rows[-1][_WRAP_KEY] = self.default_char._replace(data="wraps")
                rows.append(pyte.screens.StaticDefaultDict(self.default_char))
                x = 0
            rows[-1][x] = cell.character
            if cell.width == 2:
                rows[-1][x + 1] = cell.character._replace(data="")
            x += cell.width
        return rows


def _cells_before(cells: list[_Cell], x: int) -> int:
    """How many cells are before this column; those after the end of the row count too."""
    count = 0
    for cell in cells:
        if x <= 0:
            return count
        x -= cell.width
        count += 1
    return count + max(x, 0)


def _position_of(cells: list[_Cell], index: int, columns: int) -> tuple[int, int]:
    """The row and the column of the cell with this index."""
    y = x = 0
    for cell in cells[:index]:
        if x + cell.width > columns:
            y, x = y + 1, 0
        x += cell.width
    if index < len(cells):
        return (y + 1, 0) if x + cells[index].width > columns else (y, x)
    x += index - len(cells)
    return (y, x) if x < columns else (y, columns - 1)


class ReflowingScreen(Screen):
    """A console on a terminal that wraps rows again."""

    def __init__(self, width: int = 60, height: int = 20, *, trims: bool = False) -> None:
        super().__init__(width, height)
        self._pyte: ReflowingGrid = ReflowingGrid(width, height, clusters=True, trims=trims)
        self._pyte.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self._pyte)

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window."""
        self._read()
        self._pyte.resize_and_reflow(width, height)
        self.console.size = (width, height)

    def rows(self) -> list[str]:
        """All lines of the scrollback and the screen, with the rows that belong together joined."""
        self._read()
        lines: list[str] = []
        is_open = False
        for row in [*self._pyte.history.top, *self._lines()]:
            part = "".join(row[x].data for x in range(self._pyte.columns))
            lines[-1:] = [lines[-1] + part] if is_open else [*lines[-1:], part]
            is_open = self._pyte.wraps(row)
        return "\n".join(map(str.rstrip, lines)).rstrip("\n").split("\n")
