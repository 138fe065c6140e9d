"""Render Markdown as terminal lines, piece by piece. The result equals rendering the whole text.

Output can be copied: code has nothing to its left, no line is padded on the right, and the terminal
wraps long lines of code. Inside lists and quotes, an empty line separates blocks only if the source
has one; therefore a list can be rendered item by item.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from markdown_it.token import Token
from rich.console import Console
from rich.text import Span, Text

from rtchat.core.text import visible
from rtchat.markdown import theme
from rtchat.markdown.dialect import MAX_COST, parser, references
from rtchat.markdown.highlight import Highlighter
from rtchat.markdown.links import LinkingConsole, link
from rtchat.markdown.splitter import Piece, Splitter, end_line, rows_that_set_widths, start_number
from rtchat.markdown.table import MIN_WIDTH, Grid, Row, Side

_MIN_WIDTH = 8
_RULE = 40
_MARKS = {"em": "italic", "strong": "bold", "s": "strike"}
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


_SLICE = 500
"""The minimum to read at once, in characters of prose."""
_LINE = 10
"""The cost of a line besides its text, in characters of prose."""
_MIN_LONG_WIDTH = 8
"""Minimum cells of a column in a long table: later rows may have longer numbers."""
_MAX_PARTS = 600
"""Lines and style changes that may wait for a tick. Printing more at once takes too long."""


class MarkdownStream:
    """Renders one text that arrives in deltas: final lines, and a preview of the rest."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._splitter = Splitter()
        self._drawing = Drawing(console)
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
        if len(piece.source) > MAX_COST:
            lines = [Text(piece.source[-rows * width :].expandtabs(4))]
        else:
            lines = self._drawing.preview(piece, width)
        while lines and not lines[0]:
            del lines[0]
        wrapped = (line.wrap(self._console, width, overflow="fold") for line in lines[-rows:])
        return [row for line in wrapped for row in line or [Text()]][-rows:]


class Drawing:
    """Renders the pieces of one text, in order."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.highlighter = Highlighter("")
        self.started = False
        """Whether anything was rendered: then an empty line precedes the next block."""
        self.grid: Grid | None = None
        """The columns of the last table."""
        self._parser = parser()
        self._references: dict[str, Any] = {}

    def draw(self, piece: Piece, width: int) -> list[Text]:
        """The lines of the next piece, with the empty line that separates it from the previous."""
        known = references(self._references)
        tokens = self._parser.parse(piece.context.source + piece.source, {"references": known})
        self._references |= known.maps[0]
        lines = _Blocks(self, piece).top(iter(tokens), width)
        for line in lines:
            line.rstrip()
        self.started = self.started or bool(lines)
        return lines

    def preview(self, piece: Piece, width: int) -> list[Text]:
        """The result of `draw`, without advancing to the next piece."""
        before = self.started, self._references, self.highlighter, self.grid
        self._references = dict(self._references)
        self.highlighter = self.highlighter.copy()
        lines = self.draw(piece, width)
        self.started, self._references, self.highlighter, self.grid = before
        return lines


class _Blocks:
    """Renders the block tokens of one piece."""

    def __init__(self, drawing: Drawing, piece: Piece) -> None:
        self._drawing = drawing
        self._console = drawing.console
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
            if drawn and self._is_new(token) and (lines or self._drawing.started):
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
        return list(text.wrap(self._console, max(width, _MIN_WIDTH), overflow="fold"))

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
            self._drawing.highlighter = Highlighter(language)
        code = visible(token.content).rstrip(" \t\n").expandtabs(4)
        return self._drawing.highlighter.lines(code) if code or new else []

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
        if new or self._drawing.grid is None:
            known = 1 + rows_that_set_widths(self._lines[start + 2 : end])
            min_width = _MIN_LONG_WIDTH if known < len(rows) else 1
            self._drawing.grid = Grid(
                self._console, rows[:known], justify, width, min_width=min_width
            )
        grid = self._drawing.grid
        head = grid.head(rows[0]) if new else []
        return head + [line for row in rows[1:] for line in grid.row(row)]

    def _inline(self, inline: Token, style: str) -> Text:
        return _Inline(links=isinstance(self._console, LinkingConsole)).draw(inline, style)


def _justify(token: Token) -> Side:
    match token.attrs.get("style"):
        case "text-align:right":
            return "right"
        case "text-align:center":
            return "center"
        case _:
            return "left"


class _Inline:
    """Renders inline text."""

    def __init__(self, *, links: bool) -> None:
        self._text = Text()
        self._links = links

    def draw(self, inline: Token, style: str) -> Text:
        """Render an inline token with its children, in one style."""
        text = self._text
        styles = [style] if style else []
        targets: list[tuple[str, int]] = []
        for token in inline.children or ():
            match token.type:
                case "link_open":
                    targets.append((str(token.attrs.get("href", "")), len(text)))
                case "link_close":
                    self._end_link(*targets.pop())
                case "image":
                    start = len(text)
                    text.append(visible(token.content), " ".join(styles))
                    self._end_link(str(token.attrs.get("src", "")), start)
                case _ if token.tag in _MARKS and token.nesting > 0:
                    styles.append(_MARKS[token.tag])
                case _ if token.tag in _MARKS:
                    styles.pop()
                case _:
                    self._add_text(token, styles)
        return text

    def _add_text(self, token: Token, styles: list[str]) -> None:
        """Add a text token. It is escaped again: the parser has decoded entities by now."""
        match token.type:
            case "softbreak":
                self._text.append(" ")
            case "hardbreak":
                self._text.append("\n")
            case "html_inline" if _BREAK.fullmatch(token.content):
                self._text.append("\n")
            case "html_inline":
                self._text.append(visible(token.content), " ".join((*styles, theme.HTML)))
            case "code_inline":
                self._text.append(visible(token.content), " ".join((*styles, theme.CODE)))
            case _:
                self._text.append(visible(token.content), " ".join(styles))

    def _end_link(self, href: str, start: int) -> None:
        """Print the target of a link after its label, unless they are the same."""
        text, label = self._text, self._text.plain[start:]
        if label != href and f"mailto:{label}" != href:
            start = len(text) + 2
            text.append(f" ({visible(href)})", theme.LINK)
        clickable = link(href) if self._links else None
        if clickable is not None:
            text.stylize(clickable, start, start + len(href))
