"""An emulated terminal with unlimited scrollback, for tests of what the user sees."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyte
from wcwidth import wcwidth

from rtchat.ui.console import ThemedConsole

_GLYPH = re.compile(
    "[\U0001f1e6-\U0001f1ff]{2}|.(?:[\u0300-\u036f\ufe0f\U0001f3fb-\U0001f3ff]|\u200d.)*",
    re.DOTALL,
)
"""A character with those that are drawn in the same cell."""


class Grid(pyte.HistoryScreen):
    """Handles wide and zero-width characters as terminals do; pyte drops or splits some.

    With `clusters`, a glyph of several characters takes two cells, as in newer terminals. Without,
    each of its characters takes its own cells, as in older ones.
    """

    def __init__(self, width: int, height: int, *, clusters: bool) -> None:
        super().__init__(width, height, history=100_000, ratio=0.5)
        self._clusters = clusters
        self.ups = 0

    def cursor_up(self, count: int | None = None) -> None:
        self.ups += 1
        super().cursor_up(count)

    def delete_lines(self, count: int | None = None) -> None:
        fill(self)
        super().delete_lines(count)

    def draw(self, data: str) -> None:
        if data.isascii():
            super().draw(data)
            return
        glyphs: Iterable[str] = _GLYPH.findall(data) if self._clusters else data
        for glyph in glyphs:
            self._glyph(glyph)

    def _glyph(self, glyph: str) -> None:
        width = max(wcwidth(glyph[0]), 0)
        if len(glyph) > 1 and ({"\ufe0f", "\u200d"} & {*glyph} or glyph[0] >= "\U0001f1e6"):
            width = 2
        if not width:
            self._combine(glyph)
            return
        if width == 2 and self.cursor.x == self.columns - 1:
            self.cursor.x = self.columns  # it does not fit: move to the next row
        super().draw(glyph[0] if width == wcwidth(glyph[0]) else "\uff0a")
        cells = self.buffer[self.cursor.y]
        cells[self.cursor.x - width] = cells[self.cursor.x - width]._replace(data=glyph)

    def _combine(self, mark: str) -> None:
        """Add a character without a width to the one before it."""
        cells = self.buffer[self.cursor.y]
        column = next((x for x in range(self.cursor.x - 1, -1, -1) if cells[x].data), None)
        if column is not None:
            cells[column] = cells[column]._replace(data=cells[column].data + mark)


def fill(screen: pyte.Screen) -> None:
    """Make rows that were never written exist: pyte does not delete a row if there is none below
    it."""
    for y in range(screen.lines):
        screen.buffer[y]  # creates it


def resize(screen: pyte.HistoryScreen, columns: int, rows: int) -> None:
    """Change the size of a screen as terminals do that do not wrap rows again: if there is no room,
    empty rows at the bottom are dropped, and the first rows move to the scrollback."""
    last = max([y for y, row in screen.buffer.items() if row] + [screen.cursor.y])
    for _ in range(max(last + 1 - rows, 0)):
        screen.history.top.append(screen.buffer[0])
        for y in range(screen.lines - 1):
            screen.buffer[y] = screen.buffer[y + 1]
        screen.buffer.pop(screen.lines - 1, None)
        screen.cursor.y = max(screen.cursor.y - 1, 0)
    for y in range(rows, screen.lines):
        screen.buffer.pop(y, None)
    screen.lines = min(screen.lines, rows)
    screen.resize(rows, columns)
    screen.cursor.x = min(screen.cursor.x, columns - 1)


class Screen:
    """A Rich console whose output goes to a terminal emulator."""

    def __init__(self, width: int = 60, height: int = 20, *, clusters: bool = True) -> None:
        self._pyte: Grid = Grid(width, height, clusters=clusters)
        self._pyte.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self._pyte)
        self._file = io.StringIO()
        self.written = 0
        """The number of bytes written to the terminal."""
        self.output = ""
        """What was read last."""
        self._untaken = ""
        self.console = ThemedConsole(
            file=self._file,
            force_terminal=True,
            color_system="standard",
            legacy_windows=False,
            width=width,
            height=height,
            _environ={},
        )

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window."""
        self._read()
        resize(self._pyte, width, height)
        self.console.size = (width, height)

    def rows(self) -> list[str]:
        """All rows of the scrollback and the screen, without the empty rows at the end."""
        self._read()
        return self._text([*self._pyte.history.top, *self._lines()])

    def visible(self) -> list[str]:
        """The rows of the screen, without the empty rows at the end."""
        self._read()
        return self._text(self._lines())

    @property
    def cursor(self) -> tuple[int, int]:
        """The row and the column of the cursor on the screen."""
        self._read()
        return self._pyte.cursor.y, self._pyte.cursor.x

    @property
    def scrolled(self) -> int:
        """How many rows are in the scrollback."""
        self._read()
        return len(self._pyte.history.top)

    def take(self) -> str:
        """Everything that was written since the last call."""
        self._read()
        taken, self._untaken = self._untaken, ""
        return taken

    def _lines(self) -> list[Mapping[int, Any]]:
        return [self._pyte.buffer[line] for line in range(self._pyte.lines)]

    def _text(self, lines: list[Mapping[int, Any]]) -> list[str]:
        columns = range(self._pyte.columns)
        rows = ["".join(line[column].data for column in columns).rstrip() for line in lines]
        while rows and not rows[-1]:
            del rows[-1]
        return rows

    def _read(self) -> None:
        output = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        self.written += len(output.encode())
        self.output = output or self.output
        self._untaken += output
        self._stream.feed(output)
