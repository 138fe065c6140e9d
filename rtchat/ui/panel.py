"""A few rows at the bottom of the screen that are painted again and again, and print above them.

A Rich `Live` that writes only the cells that changed. The cursor rests on the first cell of the
rows: to erase them nothing has to be known about their number or about how the terminal wrapped
them after a resize. No scroll regions and no absolute positions: those lose lines of the
scrollback. Not here: what the rows say.
"""

from __future__ import annotations

from itertools import groupby

from rich.console import Console, ConsoleRenderable, RenderableType
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment, Segments
from rich.style import Style

Row = list[Segment]


class Panelled(Live):
    """Rows at the bottom of a console, up from `start` to `stop`."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._wanted: list[Row] = []
        self._shown: list[Row] = []
        self._width = console.width

    def paint(self, renderable: RenderableType) -> None:
        """Make the rows show this."""
        self.want(renderable)
        self.console.print(Control(), crop=False)

    def want(self, renderable: RenderableType) -> None:
        """What to show when something is printed next."""
        self._wanted = self.console.render_lines(renderable, pad=False)

    def stop(self) -> None:
        """Take the rows away."""
        self._wanted = []
        self.console.print(Control(), crop=False)
        super().stop()

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Rich calls this with whatever is to be printed while the rows are up."""
        bare = all(isinstance(each, Control) and not each.segment.text for each in renderables)
        same = len(self._wanted) == len(self._shown) and self._width == self.console.width
        rows = _changes(self._shown, self._wanted) if bare and same else None
        erase = [_ERASE] if self._shown else []
        self._shown, self._width = self._wanted, self.console.width
        if rows is not None:
            return [Segments(rows)]
        return [Segments(erase), *renderables, Segments(_all(self._shown))]


_ERASE = Segment("\x1b[K\x1b[C\x1b[J\r", None, [(ControlType.CLEAR,)])
"""From the first cell down. Not `[J` alone: tmux takes that, in the first cell of the screen, for
`clear` and moves all of it to the scrollback."""


def _all(rows: list[Row]) -> list[Segment]:
    segments: list[Segment] = []
    for row in rows:
        segments += [*row, Segment.line()]
    return [*segments[:-1], *_back(len(rows) - 1)]


def _changes(old: list[Row], new: list[Row]) -> list[Segment]:
    """What turns the old rows into as many new ones."""
    segments: list[Segment] = []
    at = 0
    for index, (before, after) in enumerate(zip(old, new, strict=True)):
        if before == after:
            continue
        column, cells = _change(before, after)
        down = [Control((ControlType.CURSOR_DOWN, index - at)).segment] if index > at else []
        move = Control((ControlType.CURSOR_MOVE_TO_COLUMN, column)).segment
        segments += [*down, move, *cells]
        at = index
    return [*segments, *_back(at)] if segments else []


def _back(rows: int) -> list[Segment]:
    """From anywhere in a row to the first cell of one so many rows up."""
    up = [Control((ControlType.CURSOR_UP, rows)).segment] if rows > 0 else []
    return [Control(ControlType.CARRIAGE_RETURN).segment, *up]


def _change(before: Row, after: Row) -> tuple[int, list[Segment]]:
    """From which column to write what. Whole rows where characters are not one cell each."""
    if any(part.cell_length != len(part.text) for part in (*before, *after)):
        return 0, [*after, Control((ControlType.ERASE_IN_LINE, 0)).segment]
    old, new = _cells(before), _cells(after)
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = len(new)
    while len(old) == len(new) and end > start and old[end - 1] == new[end - 1]:
        end -= 1
    cells = [
        Segment("".join(character for character, _ in run), style)
        for style, run in groupby(new[start:end], key=lambda cell: cell[1])
    ]
    if len(new) < len(old):
        cells.append(Control((ControlType.ERASE_IN_LINE, 0)).segment)
    return start, cells


def _cells(row: Row) -> list[tuple[str, Style | None]]:
    return [(character, part.style) for part in row for character in part.text]
