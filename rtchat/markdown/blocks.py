"""Render the blocks of one piece of Markdown: lists, quotes, code, tables, paragraphs."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

from markdown_it.token import Token
from rich.console import Console
from rich.text import Span, Text

from rtchat.core.text import visible
from rtchat.markdown import theme
from rtchat.markdown.formula import in_display
from rtchat.markdown.highlight import Highlighter
from rtchat.markdown.inline import draw_inline
from rtchat.markdown.links import LinkingConsole
from rtchat.markdown.math import is_punctuation
from rtchat.markdown.splitter import Piece, end_line, rows_that_set_widths, start_number
from rtchat.markdown.table import MIN_WIDTH, Grid, Row, Side
from rtchat.markdown.wrap import wrap

_MIN_WIDTH = 8
_RULE = 40
_MIN_LONG_WIDTH = 8
"""Minimum cells of a column in a long table: later rows may have longer numbers."""


class State:
    """What one piece of a text needs to know about the pieces before it."""

    def __init__(self) -> None:
        self.has_lines = False
        """Whether anything was rendered: then an empty line precedes the next block."""
        self.highlighter = Highlighter("")
        """Colours the last fence."""
        self.grid: Grid | None = None
        """The columns of the last table."""

    def copy(self) -> State:
        """An independent state with the same values."""
        other = copy(self)
        other.highlighter = self.highlighter.copy()
        return other


class Blocks:
    """Renders the block tokens of one piece, and updates the state for the next one."""

    def __init__(self, console: Console, state: State, piece: Piece) -> None:
        self._console = console
        self._state = state
        self._lines = (piece.context.source + piece.source).split("\n")
        self._end = 0
        """The line at which the last leaf ended."""
        self._quotes = 0
        self._skip = piece.context.height
        self._numbers = piece.context.numbers
        self._depth = 0

    def top(self, tokens: Iterator[Token], width: int) -> list[Text]:
        """The top-level blocks, always separated by an empty line."""
        lines: list[Text] = []
        for token in tokens:
            drawn = self._block(token, tokens, width)
            if drawn and self._is_new(token) and (lines or self._state.has_lines):
                lines.append(Text())
            lines += drawn
        return lines

    def _children(self, tokens: Iterator[Token], closing: str, width: int) -> list[Text]:
        """The blocks of a quote or an item, separated by an empty line if the source has one."""
        lines: list[Text] = []
        first = True
        for token in tokens:
            if token.type == closing:
                break
            lines += self._gap(token, first=first)
            lines += self._block(token, tokens, width)
            first = False
        return lines

    def _block(self, token: Token, tokens: Iterator[Token], width: int) -> list[Text]:
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                return self._list(token, tokens, width)
            case "blockquote_open":
                return self._quote(token, tokens, width)
            case _:
                self._close(token)
                return self._leaf(token, tokens, width)

    def _leaf(self, token: Token, tokens: Iterator[Token], width: int) -> list[Text]:
        match token.type:
            case "table_open":
                return self._table(token, tokens, width)
            case "fence":
                return self._fence(token)
            case "paragraph_open" | "heading_open":
                drawn = self._text(token, next(tokens), width)
                next(tokens)
                return drawn
            case "math_open":
                return self._formula(token, tokens, width)
            case "hr":
                return [Text("─" * min(width, _RULE), theme.QUOTE)]
            case "code_block" | "html_block" | "long":
                return self._as_written(token, theme.HTML if token.type == "html_block" else "")
            case _:
                return []

    def _is_new(self, token: Token) -> bool:
        """Whether a block starts in this piece, not in its context."""
        return token.map is not None and token.map[0] >= self._skip

    def _gap(self, token: Token, *, first: bool) -> list[Text]:
        apart = token.map is not None and token.map[0] > self._end
        return [Text()] if apart and self._is_new(token) and not first else []

    def _close(self, token: Token) -> None:
        self._end = end_line(token, self._lines, self._quotes)

    def _wrap(self, text: Text, width: int) -> list[Text]:
        return wrap(self._console, text, max(width, _MIN_WIDTH))

    def _text(self, token: Token, inline: Token, width: int) -> list[Text]:
        if not self._is_new(token):
            return []
        style = ""
        if token.type == "heading_open":
            style = theme.TITLE if token.tag == "h1" else theme.HEADING
        return self._wrap(self._inline(inline, style), width)

    def _as_written(self, token: Token, style: str) -> list[Text]:
        new = self._is_new(token)
        source = token.content if new else token.content.partition("\n")[2]
        text = visible(source).rstrip(" \t\n").expandtabs(4)
        return [Text(line, style) for line in text.split("\n")] if text or new else []

    def _fence(self, token: Token) -> list[Text]:
        new = self._is_new(token)
        if new:
            language = token.info.strip().partition(" ")[0]
            self._state.highlighter = Highlighter(language)
        code = visible(token.content).rstrip(" \t\n").expandtabs(4)
        return self._state.highlighter.lines(code) if code or new else []

    def _formula(self, token: Token, tokens: Iterator[Token], width: int) -> list[Text]:
        """A formula in display. Its lines are kept, and the terminal wraps long ones."""
        after = self._inline(next(tokens), "")
        next(tokens)
        lines = [Text(line, theme.MATH if token.info else "") for line in in_display(token)]
        if not is_punctuation(after.plain):
            return lines + self._wrap(after, width)
        lines[-1].append(after.plain)
        return lines

    def _quote(self, token: Token, tokens: Iterator[Token], width: int) -> list[Text]:
        self._close(token)
        self._quotes += 1
        drawn = self._children(tokens, "blockquote_close", width - 2)
        self._quotes -= 1
        if self._is_new(token) and not drawn:
            drawn = [Text()]
        return [Text("▌ ", spans=[Span(0, 1, theme.QUOTE)]).append_text(line) for line in drawn]

    def _list(self, token: Token, tokens: Iterator[Token], width: int) -> list[Text]:
        lines: list[Text] = []
        number = start_number(token) if self._is_new(token) else self._numbers[self._depth]
        self._depth += 1
        first = True
        for item in tokens:
            if item.nesting < 0:
                break
            mark = "• " if token.type == "bullet_list_open" else f"{number}{item.markup} "
            lines += self._gap(item, first=first)
            lines += self._item(item, tokens, mark, width)
            number += 1
            first = False
        self._depth -= 1
        return lines

    def _item(self, item: Token, tokens: Iterator[Token], mark: str, width: int) -> list[Text]:
        self._close(item)
        drawn = self._children(tokens, "list_item_close", width - len(mark))
        new = self._is_new(item)
        if new and not drawn:
            drawn = [Text()]
        return [
            Text.assemble((mark, theme.MARKER) if new and index == 0 else " " * len(mark), line)
            for index, line in enumerate(drawn)
        ]

    def _table(self, token: Token, tokens: Iterator[Token], width: int) -> list[Text]:
        rows: list[Row] = []
        justify: list[Side] = []
        for part in tokens:
            match part.type:
                case "table_close":
                    break
                case "tr_open":
                    rows.append([])
                case "th_open":
                    justify.append(_justify(part))
                case "inline":
                    rows[-1].append(self._inline(part, ""))
                case _:
                    pass
        start, end = token.map or (0, 0)
        new = self._is_new(token)
        if len(justify) * MIN_WIDTH > width:
            source = self._lines[start if new else self._skip : end]
            return self._wrap(Text(visible("\n".join(source))), width) if source else []
        if new or self._state.grid is None:
            known = 1 + rows_that_set_widths(self._lines[start + 2 : end])
            min_width = _MIN_LONG_WIDTH if known < len(rows) else 1
            self._state.grid = Grid(
                self._console, rows[:known], justify, width, min_width=min_width
            )
        grid = self._state.grid
        head = grid.head(rows[0]) if new else []
        return head + [line for row in rows[1:] for line in grid.row(row)]

    def _inline(self, inline: Token, style: str) -> Text:
        return draw_inline(inline, style, links=isinstance(self._console, LinkingConsole))


def _justify(token: Token) -> Side:
    match token.attrs.get("style"):
        case "text-align:right":
            return "right"
        case "text-align:center":
            return "center"
        case _:
            return "left"
