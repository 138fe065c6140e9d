"""Render Markdown as terminal lines, piece by piece. The result equals rendering the whole text.

Output can be copied: code has nothing to its left and keeps its tabs, no line is padded on the
right, and the terminal wraps long lines of code. Inside lists and quotes, an empty line separates
blocks only if the source has one; therefore a list can be rendered item by item.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from rtchat.core.text import TAB
from rtchat.markdown.blocks import Blocks, State
from rtchat.markdown.dialect import parser, references
from rtchat.markdown.limits import MAX_COST
from rtchat.markdown.splitter import Piece, Splitter
from rtchat.markdown.table import Grid
from rtchat.markdown.wrap import wrap

_SLICE = 500
"""The minimum to read at once, in characters of prose."""
_LINE = 10
"""The cost of a line besides its text, in characters of prose."""
_MAX_PREVIEW = MAX_COST * 3 // 2
"""The length of a text whose preview is rendered. The first rows of a table exceed `MAX_COST`."""
_MAX_PARTS = 600
"""Lines and style changes that may wait for a tick. Printing more at once takes too long."""


class MarkdownStream:
    """Renders one text that arrives in deltas: final lines, and a preview of the rest.

    `code_blocks` is the number of code blocks of the reply before this text; None if they are not
    numbered. Widths are in cells.
    """

    def __init__(self, console: Console, code_blocks: int | None = None) -> None:
        self._splitter = Splitter()
        self._drawing = Drawing(console, code_blocks)
        self._new: list[str] = []
        self._size = 0
        self._lines: list[Text] | None = None
        self._parts = 0

    def add(self, delta: str, width: int) -> None:
        """Add text. It is read in slices, so that no single call takes long."""
        self._new.append(delta)
        self._size += len(delta) + _LINE * delta.count("\n")
        if self._size > _SLICE:
            self._read(width)

    @property
    def code_blocks(self) -> int | None:
        """The number of code blocks of the reply so far; None if they are not numbered."""
        return self._drawing.code_blocks

    @property
    def is_full(self) -> bool:
        """Whether enough lines are final that they should be printed now."""
        return self._parts > _MAX_PARTS

    def settled(self, width: int) -> list[Text] | None:
        """The lines that became final since the last call; None if there was no new text."""
        if self._new:
            self._read(width)
        lines, self._lines, self._parts = self._lines, None, 0
        return lines

    def _read(self, width: int) -> None:
        text = "".join(self._new)
        self._new, self._size = [], 0
        self._lines = self._lines or []
        for start in range(0, len(text), _SLICE):
            piece = self._splitter.feed(text[start : start + _SLICE])
            lines = self._drawing.draw(piece, width) if piece else []
            self._lines += lines
            self._parts += sum(3 + len(line.spans) for line in lines)

    def finish(self, width: int) -> list[Text]:
        """End the text. Returns all remaining lines."""
        lines = self.settled(width) or []
        piece = self._splitter.finish()
        return lines + self._drawing.draw(piece, width) if piece else lines

    def preview(self, width: int, rows: int) -> list[Text]:
        """The last `rows` rows of the text that is not final yet, none wider than `width`."""
        piece = self._splitter.tail
        if len(piece.source) > _MAX_PREVIEW:
            lines = [Text(piece.source[-rows * width :])]
        else:
            lines = self._drawing.preview(piece, width)
        while lines and not lines[0]:
            del lines[0]
        for line in lines[-rows:]:
            line.expand_tabs(TAB)
        wrapped = (wrap(line, width) for line in lines[-rows:])
        return [row for line in wrapped for row in line or [Text()]][-rows:]


class Drawing:
    """Renders the pieces of one text, in order. `code_blocks` is as for `MarkdownStream`."""

    def __init__(self, console: Console, code_blocks: int | None = None) -> None:
        self._console = console
        self._parser = parser()
        self._references: dict[str, Any] = {}
        self._state = State(code_blocks)
        self._grids: dict[int, Grid] = {}
        """The tables of the last preview."""

    @property
    def code_blocks(self) -> int | None:
        """The number of code blocks of the reply so far; None if they are not numbered."""
        return self._state.code_blocks

    def draw(self, piece: Piece, width: int) -> list[Text]:
        """The lines of the next piece, with the empty line that separates it from the previous."""
        lines = self._draw(piece, width)
        self._state.line += piece.source.count("\n")
        self._grids = {at: grid for at, grid in self._grids.items() if at >= self._state.line}
        return lines

    def _draw(self, piece: Piece, width: int, grids: dict[int, Grid] | None = None) -> list[Text]:
        known = references(self._references)
        tokens = self._parser.parse(piece.context.source + piece.source, {"references": known})
        self._references |= known.maps[0]
        lines = Blocks(self._console, self._state, piece, grids).top(iter(tokens), width)
        for line in lines:
            line.rstrip()
        self._state.has_lines = self._state.has_lines or bool(lines)
        return lines

    def preview(self, piece: Piece, width: int) -> list[Text]:
        """The result of `draw`, without advancing to the next piece."""
        before = self._references, self._state
        self._references, self._state = dict(self._references), self._state.copy()
        lines = self._draw(piece, width, self._grids)
        self._references, self._state = before
        return lines
