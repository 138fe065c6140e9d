"""Rows at the bottom of the screen that are repainted, while other text is printed above them.

Unlike Rich's `Live`, this writes only cells that changed, and moves rows that only moved. Without
an entry, the cursor stays on the first cell of the rows, so they can be erased without knowing how
many there are or how the terminal wrapped them after a resize. Space is made by newlines at the
bottom: scroll regions and absolute positions would lose lines of the scrollback.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, groupby
from unicodedata import category

from rich.cells import cell_len
from rich.console import ConsoleRenderable, RenderableType, RenderHook
from rich.control import Control
from rich.segment import ControlType, Segment, Segments
from rich.style import Style
from rich.text import Text

from rtchat.core.text import TAB
from rtchat.ui.console import TabbedText, ThemedConsole, print_text

Row = list[Segment]
_FIRST = (0, 0)
"""The first cell of the rows."""


class LivePanel(RenderHook):
    """Rows at the bottom of a console, shown from `start` to `stop`: the content, and below it the
    entry that the user is editing, if there is one, with the cursor in it.

    `reflows` is whether the terminal wraps rows again when its width changes; None if that is not
    known.
    """

    def __init__(self, console: ThemedConsole, *, reflows: bool | None = False) -> None:
        self.console = console
        self._reflows = reflows
        self._is_started = False
        self._content: list[Row] = []
        self._content_size = console.size
        """The size for which the content was drawn. It is not shown at another one."""
        self._entry: list[Row] = []
        self._entry_cursor = _FIRST
        """The row and the column of the cursor in the entry."""
        self._shown: list[Row] = []
        self._cursor = _FIRST
        """The row and the column of the terminal's cursor, from the first cell of the rows."""
        self._width = console.width

    @property
    def room(self) -> int:
        """How many rows of content fit above the entry."""
        return max(self.console.height - len(self._entry), 0)

    def start(self, *, show_cursor: bool = False) -> None:
        """Show the rows from now on."""
        self._is_started = True
        self.console.show_cursor(show_cursor)
        self.console.push_render_hook(self)

    def paint(self, renderable: RenderableType) -> None:
        """Repaint the rows with this content."""
        self.set_content(renderable)
        self._refresh()

    def set_content(self, renderable: RenderableType) -> None:
        """Set the content that is shown after the next print."""
        self._content = self.console.render_lines(renderable, pad=False)
        self._content_size = self.console.size

    def paint_entry(self, rows: list[Row], cursor: tuple[int, int]) -> None:
        """Repaint the rows with this entry; `cursor` is the row and the column of its cursor."""
        self._entry, self._entry_cursor = rows, cursor
        self._refresh()

    def paint_rows(self, first: int, rows: list[Row]) -> None:
        """Repaint these rows of the entry, from the `first` one on."""
        self._entry[first : first + len(rows)] = rows
        self._refresh()

    def clear(self) -> None:
        """Remove the content."""
        self._content = []
        self._refresh()

    def erase(self) -> None:
        """Remove all rows from the screen; the next paint shows them again. The cursor is where the
        first row was."""
        content, self._content, self._entry = self._content, [], []
        self._refresh()
        self._content = content

    def forget(self) -> None:
        """The screen was cleared, and the cursor is where the rows begin."""
        self._shown, self._cursor = [], _FIRST

    def print(self, text: Text) -> None:
        """Print text above the rows."""
        print_text(self.console, text)

    def stop(self) -> None:
        """Remove the rows and show the cursor again."""
        if not self._is_started:
            return
        self._is_started = False
        self._entry = []
        self.clear()
        self.console.pop_render_hook()
        self.console.show_cursor(True)

    def _refresh(self) -> None:
        self.console.print(Control(), crop=False)

    def _rows(self) -> tuple[list[Row], tuple[int, int]]:
        """The rows to show, and where the cursor is to be. If there are too many rows, the first
        ones are left out."""
        width = self.console.width
        content = self._content if self._content_size == self.console.size else []
        # The entry is painted again soon after the width has changed.
        entry = [Segment.adjust_line_length(row, width, pad=False) for row in self._entry]
        rows = [*content, *entry][-max(self.console.height, 1) :]
        if not entry:
            return rows, _FIRST
        row, column = self._entry_cursor
        return rows, (max(len(rows) - len(entry) + row, 0), min(column, width - 1))

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Rich calls this with everything to be printed while the rows are shown."""
        old, width = self._shown, self.console.width
        new, cursor = self._rows()
        same = bool(old and new) and self._width == width
        home = _first_cell(self._cursor[0] if self._width == width else self._rows_above(width))
        apart = self._apart(width)
        from_, self._cursor = self._cursor, cursor
        self._shown, self._width = new, width
        count = _height(renderables, width) if same else None
        if count is None or count + max(len(old), len(new)) > self.console.height:
            erase = [*home, _ERASE, *apart] if old else []
            begin = Segments([_BEGIN, *erase])
            return [begin, *renderables, Segments([*_joined(new), *_to(cursor), _END])]
        room = _room(len(old), len(new) + count)
        insert = [_code(f"[{count}L")] if count else []
        painted = [*room, *_reshape(old, new), *_changes(old, new), *insert]
        if painted:
            begin = Segments([_BEGIN, *home, *painted])
            return [begin, *renderables, Segments([*_below(cursor), _END])]
        return [Segments([*home, *_to(cursor)])] if cursor != from_ else []

    def _rows_above(self, width: int) -> int:
        """How many rows of the screen are between the first cell and the cursor, after the width
        of the terminal changed; the minimum if this is not certain."""
        row, column = self._cursor
        if not self._reflows:
            return row
        return sum(_wrapped(each, width) for each in self._shown[:row]) + column // width

    def _apart(self, width: int) -> list[Segment]:
        """What keeps the text that follows apart from rows that are out of reach, after the width
        of the terminal changed: otherwise the terminal may join it with the last of them."""
        if self._width == width or self._reflows is False:
            return []
        above = self._shown[: self._cursor[0]]
        if not self._reflows and any(_wrapped(row, width) > 1 for row in above):
            return [Segment.line()]
        return [_BELOW_TOP]


def fold(line: Text, width: int) -> list[Text]:
    """Split a line into rows that no terminal wraps, whatever width it gives emoji and vowel
    signs."""
    if line.plain.isascii():
        return [line]
    ends = [
        index
        for index, cells in enumerate(accumulate(map(_max_cells, line.plain)))
        if cells > width
    ]
    if not ends:
        return [line]
    first, rest = line.divide([max(ends[0], 1)])
    return [first, *(fold(rest, width) if rest else [])]


@lru_cache(maxsize=10_000)
def _max_cells(character: str) -> int:
    """The maximum number of cells that a terminal uses for a character. Terminals differ in which
    characters they combine."""
    if "\U0001f1e6" <= character <= "\U0001f1ff" or "\U0001f3fb" <= character <= "\U0001f3ff":
        return 2  # regional indicators and skin tones
    return cell_len(character) or int(character == "\ufe0f" or category(character) == "Mc")


def _wrapped(row: Row, width: int) -> int:
    """How many rows a terminal of this width makes of this one."""
    rows, cells = 1, 0
    for character in "".join(part.text for part in row):
        taken = cell_len(character)
        rows, cells = (rows + 1, taken) if cells + taken > width else (rows, cells + taken)
    return rows


def _height(renderables: list[ConsoleRenderable], width: int) -> int | None:
    """How many rows these take; None if that is not certain."""
    height = 0
    for each in renderables:
        if isinstance(each, Control) and not each.segment.text:
            continue
        text = each.text if isinstance(each, TabbedText) else each
        if not isinstance(text, Text):
            return None
        for line in text.plain.expandtabs(TAB).split("\n"):
            if len(line) >= width:
                return None
            if not (line.isascii() or len(line) == cell_len(line) == sum(map(_max_cells, line))):
                return None
            height += 1
    return height


def _code(text: str) -> Segment:
    return Segment(f"\x1b{text}", None, [(ControlType.CURSOR_DOWN, 0)])


BEGIN_UPDATE = "\x1b[?2026h"
_BEGIN, _END = _code(BEGIN_UPDATE.removeprefix("\x1b")), _code("[?2026l")
"""Around output that is to appear at once (synchronised output). Terminals ignore private modes
that they do not support."""
_SAVE, _RESTORE = _code("7"), _code("8")


def _room(rows: int, needed: int) -> list[Segment]:
    """Make sure that there are `needed` rows, of which `rows` exist. The screen scrolls if there is
    no room below."""
    if needed <= rows:
        return []
    down = Segment("\n" * (needed - 1), None, [(ControlType.CURSOR_DOWN, needed - 1)])
    return [down, *_first_cell(needed - 1)]


def _reshape(old: list[Row], new: list[Row]) -> list[Segment]:
    """Insert or delete rows until there are as many as in `new`; `old` is updated to match."""
    count = len(new) - len(old)
    if not count:
        return []
    same = 0
    while same < min(len(old), len(new)) and old[-1 - same] == new[-1 - same]:
        same += 1
    at = min(len(old), len(new)) - same
    move = [_code(f"[{at}B")] if at else []
    if count > 0:
        old[at:at] = [[] for _ in range(count)]
        return [_SAVE, *move, _code(f"[{count}L"), _RESTORE]
    del old[at : at - count]
    return [_SAVE, *move, _code(f"[{-count}M"), _RESTORE]


_ERASE = Segment("\x1b[K\x1b[C\x1b[J\r", None, [(ControlType.CLEAR,)])
"""Erases from the first cell down. Not `[J` alone: in the first cell of the screen tmux treats that
as `clear` and moves the whole screen to the scrollback."""


_BELOW_TOP = Segment("\x1b[A\n", None, [(ControlType.CURSOR_UP, 1)])
"""Moves from the first row of the screen to the second; from any other, to the same row."""


def _joined(rows: list[Row]) -> list[Segment]:
    segments: list[Segment] = []
    for row in rows:
        segments += [*row, Segment.line()]
    return [*segments[:-1], *_first_cell(len(rows) - 1)]


def _changes(old: list[Row], new: list[Row]) -> list[Segment]:
    """The output that turns the old rows into the new ones, which are as many."""
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
    return [_SAVE, *segments, _RESTORE] if segments else []


def _first_cell(rows: int) -> list[Segment]:
    """Move from anywhere in a row to the first cell of the row that is `rows` rows up."""
    up = [Control((ControlType.CURSOR_UP, rows)).segment] if rows > 0 else []
    return [Control(ControlType.CARRIAGE_RETURN).segment, *up]


def _to(cursor: tuple[int, int]) -> list[Segment]:
    """Move from the first cell to this row and column."""
    row, column = cursor
    down = [Control((ControlType.CURSOR_DOWN, row)).segment] if row else []
    right = [Control((ControlType.CURSOR_MOVE_TO_COLUMN, column)).segment] if column else []
    return [*down, *right]


def _below(cursor: tuple[int, int]) -> list[Segment]:
    """As `_to`, but the screen scrolls if there are not as many rows: if the terminal became
    narrower a moment ago, the printed text took more rows than there was room for."""
    row, column = cursor
    down = Segment("\n" * row, None, [(ControlType.CURSOR_DOWN, row)])
    return [down, *_to((0, column))]


def _change(before: Row, after: Row) -> tuple[int, list[Segment]]:
    """The column to write at, and what to write: the whole row unless every character is one cell
    wide."""
    if not all(_takes_one_cell_each(part.text) for part in (*before, *after)):
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


def _takes_one_cell_each(text: str) -> bool:
    return text.isascii() or all(cell_len(character) == 1 for character in text)


def _cells(row: Row) -> list[tuple[str, Style | None]]:
    return [(character, part.style) for part in row for character in part.text]
