"""Render the blocks of one piece of Markdown: lists, quotes, code, tables, paragraphs."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

from markdown_it.token import Token
from rich.console import Console
from rich.text import Span, Text

from rtchat.core.text import TAB, visible
from rtchat.markdown import theme
from rtchat.markdown.formula import display_formula
from rtchat.markdown.highlight import Highlighter
from rtchat.markdown.info_string import Info, parse_info
from rtchat.markdown.inline import draw_inline
from rtchat.markdown.inline_rule import BOX
from rtchat.markdown.links import LinkingConsole
from rtchat.markdown.list_items import ItemNumber
from rtchat.markdown.math import is_punctuation
from rtchat.markdown.splitter import Piece, end_line, rows_that_set_widths
from rtchat.markdown.table import Grid, read_table
from rtchat.markdown.wrap import wrap

_MIN_WIDTH = 8
"""The least width, in cells, for which text is wrapped."""
_MAX_RULE_WIDTH = 40
"""The maximum width of a horizontal rule, in cells."""
_STYLES = {"html_block": theme.HTML, "definition": theme.LINK}
"""The styles of blocks that are shown as written."""


class State:
    """What one piece of a text needs to know about the pieces before it."""

    def __init__(self, code_blocks: int | None = None) -> None:
        self.code_blocks = code_blocks
        """The number of code blocks of the reply so far; None if they are not numbered."""
        self.has_lines = False
        """Whether anything was rendered; if so, an empty line precedes the next block."""
        self.highlighter = Highlighter("")
        """Highlights the last fence."""
        self.grid: Grid | None = None
        """The columns of the last table."""
        self.ends_in_definition = False
        """Whether the last top-level block is a link reference."""
        self.line = 0
        """The number of source lines before the piece."""

    def copy(self) -> State:
        """An independent state with the same values."""
        other = copy(self)
        other.highlighter = self.highlighter.copy()
        other.grid = copy(self.grid)
        return other


class Blocks:
    """Renders the block tokens of one piece, and updates the state for the next one.

    `grids` is given for a preview, which updates it: the columns of its tables, by the line of the
    text at which each begins.
    """

    def __init__(
        self,
        console: Console,
        state: State,
        piece: Piece,
        grids: dict[int, Grid] | None = None,
    ) -> None:
        self._console = console
        self._state = state
        self._grids = grids
        self._lines = (piece.context.source + piece.source).split("\n")
        self._end = 0
        """The line at which the last leaf ended."""
        self._quotes = 0
        self._skip = piece.context.height
        self._numbers = piece.context.numbers
        self._depth = 0
        self._has_code_color = theme.has_code_color(console)

    def top(self, tokens: Iterator[Token], width: int) -> list[Text]:
        """The lines of the top-level blocks, which an empty line separates. `width` is in cells."""
        lines: list[Text] = []
        for token in tokens:
            continues = self._continues_definitions(token)
            drawn = self._block(token, tokens, width)
            if drawn and self._is_new(token) and (lines or self._state.has_lines) and not continues:
                lines.append(Text())
            lines += drawn
            self._state.ends_in_definition = token.type == "definition"
        return lines

    def _continues_definitions(self, token: Token) -> bool:
        """Whether a block is a link reference directly below another one."""
        start = token.map[0] if token.map else 0
        return (
            token.type == "definition"
            and self._state.ends_in_definition
            and start <= max(self._end, self._skip)
        )

    def _children(self, tokens: Iterator[Token], closing: str, width: int) -> list[Text]:
        """The lines of the blocks in a quote or an item, which empty lines separate if the source
        has them."""
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
                return self._fence(token, width)
            case "paragraph_open" | "heading_open":
                drawn = self._text(token, next(tokens), width)
                next(tokens)
                return drawn
            case "math_open":
                return self._formula(token, tokens, width)
            case "hr":
                return [Text("─" * min(width, _MAX_RULE_WIDTH), theme.QUOTE)]
            case "code_block":
                label = [self._label(Info("", ""), width)] if self._is_new(token) else []
                return label + self._as_written(token, "", keeps_tabs=self._is_at_margin)
            case "html_block" | "long" | "definition":
                return self._as_written(token, _STYLES.get(token.type, ""))
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
        return wrap(text, max(width, _MIN_WIDTH), whole_urls=True)

    def _text(self, token: Token, inline: Token, width: int) -> list[Text]:
        if not self._is_new(token):
            return []
        if token.type != "heading_open":
            return self._wrap(self._inline(inline, ""), width)
        if token.tag == "h1":
            return self._wrap(self._inline(inline, theme.TITLE), width)
        mark = "#" * int(token.tag[1:]) + " "
        title = self._inline(inline, theme.HEADING)
        return self._wrap(Text.assemble((mark, theme.DIM), title), width)

    @property
    def _is_at_margin(self) -> bool:
        """Whether lines begin in the first column, where tabs have their usual width."""
        return not self._depth and not self._quotes

    def _as_written(self, token: Token, style: str, *, keeps_tabs: bool = False) -> list[Text]:
        new = self._is_new(token)
        source = token.content if new else token.content.partition("\n")[2]
        text = visible(source).rstrip(" \t\n")
        text = text if keeps_tabs else text.expandtabs(TAB)
        return [Text(line, style) for line in text.split("\n")] if text or new else []

    def _fence(self, token: Token, width: int) -> list[Text]:
        lines: list[Text] = []
        if self._is_new(token):
            info = parse_info(token.info)
            self._state.highlighter = Highlighter(info.language)
            lines.append(self._label(info, width))
        code = visible(token.content).rstrip(" \t\n")
        code = code if self._is_at_margin else code.expandtabs(TAB)
        return lines + (self._state.highlighter.lines(code) if code else [])

    def _label(self, info: Info, width: int) -> Text:
        """The line above a code block: its language, its file and its number for `/copy`."""
        number = ""
        if self._state.code_blocks is not None:
            self._state.code_blocks += 1
            number = f"/copy {self._state.code_blocks}"
        is_extension = info.file.lower().endswith(f".{info.language}")
        name = Text(" · ".join(filter(None, ("" if is_extension else info.language, info.file))))
        name.truncate(max(width - len(f"── … · {number}"), _MIN_WIDTH), overflow="ellipsis")
        return Text(f"── {' · '.join(filter(None, (name.plain, number))) or 'code'}", theme.LABEL)

    def _formula(self, token: Token, tokens: Iterator[Token], width: int) -> list[Text]:
        """A display formula. Its lines are kept, and the terminal wraps long ones."""
        after = self._inline(next(tokens), "")
        next(tokens)
        lines = [Text(line, theme.MATH if token.info else "") for line in display_formula(token)]
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
        number = None if self._is_new(token) else self._numbers[self._depth]
        self._depth += 1
        first = True
        for item in tokens:
            if item.nesting < 0:
                break
            if not first or number is None:
                number = number.next(item.info) if number else ItemNumber(item.info)
            mark = f"{number.shown}{item.markup} " if item.info else f"{item.meta.get(BOX, '•')} "
            lines += self._gap(item, first=first)
            lines += self._item(item, tokens, mark, width)
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
        width = max(width, _MIN_WIDTH)
        rows, justify = read_table(tokens, self._inline)
        start, end = token.map or (0, 0)
        new = self._is_new(token)
        # The last line of a preview has no end yet.
        is_open = self._grids is not None and end == len(self._lines) and len(rows) > 1
        grid = self._state.grid
        if new or grid is None:
            known = 1 + rows_that_set_widths(self._lines[start + 2 : end])
            measured = [*rows[:-1], rows[-1][:-1]] if is_open else rows
            grid = Grid(measured[:known], justify, width, is_long=known < len(rows))
            if self._grids is not None:
                line = self._state.line + start - self._skip
                grid.keep_columns(self._grids.get(line))
                self._grids[line] = grid
        self._state.grid = grid = grid.within(width)
        lines = (grid.head() if len(rows) > 1 else grid.keys()) if new else []
        for row in rows[1:]:
            lines += grid.row(row, is_open=is_open and new and row is rows[-1])
        return lines

    def _inline(self, inline: Token, style: str = "") -> Text:
        links, backticks = isinstance(self._console, LinkingConsole), not self._has_code_color
        return draw_inline(inline, style, links=links, backticks=backticks)
