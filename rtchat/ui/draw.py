"""Markdown as terminal lines, a piece at a time; the pieces of a text give the lines of all of it.

Made to be copied: nothing stands to the left of code, nothing is padded to the right, long code
lines are left to the terminal to wrap. Inside lists and quotes blocks are apart where they are
apart in the source, which is what makes a list drawable item by item. Not here: the screen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from markdown_it.token import Token
from rich.console import Console, JustifyMethod
from rich.text import Text

from rtchat.ui import theme
from rtchat.ui.highlight import Highlighter
from rtchat.ui.markdown import Piece, Splitter, end_line, parser, references, start_number
from rtchat.ui.safe import visible

_NARROWEST = 8
_RULE = 40
_MARKS = {"em": "italic", "strong": "bold", "s": "strike"}
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


_SLICE = 1_000
"""Characters that are read at once, at the least."""
_PREVIEW = 6_000
"""Characters of unfinished text that are still drawn as Markdown at every repaint."""


class Stream:
    """One text that arrives in deltas: lines for good, and the look of what is not yet final."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._splitter = Splitter()
        self._drawing = Drawing(console)
        self._new: list[str] = []
        self._size = 0
        self._lines: list[Text] | None = None

    def add(self, delta: str, width: int) -> None:
        """Take the next text. So much is read at a time that nobody waits for it long."""
        self._new.append(delta)
        self._size += len(delta)
        if self._size > _SLICE:
            self._read(width)

    def settled(self, width: int) -> list[Text] | None:
        """The lines that became final; None if there was no new text at all."""
        if self._new:
            self._read(width)
        lines, self._lines = self._lines, None
        return lines

    def _read(self, width: int) -> None:
        piece = self._splitter.feed("".join(self._new))
        self._new, self._size = [], 0
        self._lines = self._lines or []
        if piece:
            self._lines += self._drawing.draw(piece, width)

    def finish(self, width: int) -> list[Text]:
        """There is no more text: all lines that are still due."""
        lines = self.settled(width) or []
        piece = self._splitter.finish()
        return lines + self._drawing.draw(piece, width) if piece else lines

    def preview(self, width: int, rows: int) -> list[Text]:
        """The last rows of what is not final yet, none wider than `width`."""
        piece = self._splitter.tail
        if len(piece.source) > _PREVIEW:
            lines = [Text(piece.source[-rows * width :].expandtabs(4))]
        else:
            lines = self._drawing.preview(piece, width)
        while lines and not lines[0]:
            del lines[0]
        wrapped = (line.wrap(self._console, width, overflow="fold") for line in lines[-rows:])
        return [row for line in wrapped for row in line or [Text()]][-rows:]


class Drawing:
    """Draws the pieces of one text, in order."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.highlighter = Highlighter("")
        self.started = False
        """Whether anything was drawn, so that an empty line is due before the next block."""
        self._parser = parser()
        self._references: dict[str, Any] = {}

    def draw(self, piece: Piece, width: int) -> list[Text]:
        """The lines of the next piece, with the empty line that parts it from the one before."""
        known = references(self._references)
        tokens = self._parser.parse(piece.context.source + piece.source, {"references": known})
        self._references |= known.maps[0]
        lines = _Blocks(self, piece).top(iter(tokens), width)
        for line in lines:
            line.rstrip()
        self.started = self.started or bool(lines)
        return lines

    def preview(self, piece: Piece, width: int) -> list[Text]:
        """What `draw` would give, without going on from there."""
        before = self.started, self._references, self.highlighter
        self._references = dict(self._references)
        self.highlighter = self.highlighter.copy()
        lines = self.draw(piece, width)
        self.started, self._references, self.highlighter = before
        return lines


class _Blocks:
    """Draws the block tokens of one piece."""

    def __init__(self, drawing: Drawing, piece: Piece) -> None:
        self._drawing = drawing
        self._console = drawing.console
        self._lines = (piece.context.source + piece.source).split("\n")
        self._end = 0
        """Where the last leaf ended."""
        self._quotes = 0
        self._skip = piece.context.height
        self._numbers = piece.context.numbers
        self._depth = 0

    def top(self, tokens: Iterator[Token], width: int) -> list[Text]:
        """The blocks of the document itself: always an empty line apart."""
        lines: list[Text] = []
        for token in tokens:
            drawn = self._block(token, tokens, width)
            if drawn and self._is_new(token) and (lines or self._drawing.started):
                lines.append(Text())
            lines += drawn
        return lines

    def _children(self, tokens: Iterator[Token], closing: str, width: int) -> list[Text]:
        """The blocks of a quote or an item: apart where the source has them apart."""
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
            case "code_block" if self._is_new(token):
                return Highlighter("").lines(visible(token.content).rstrip(" \t\n").expandtabs(4))
            case "html_block" if self._is_new(token):
                return self._wrap(Text(visible(token.content).rstrip(" \t\n"), theme.HTML), width)
            case _:
                return []

    def _is_new(self, token: Token) -> bool:
        """Whether a block starts in this piece, not in the context it is read in."""
        return token.map is not None and token.map[0] >= self._skip

    def _gap(self, token: Token, *, first: bool) -> list[Text]:
        apart = token.map is not None and token.map[0] > self._end
        return [Text()] if apart and self._is_new(token) and not first else []

    def _close(self, token: Token) -> None:
        self._end = end_line(token, self._lines, self._quotes)

    def _wrap(self, text: Text, width: int) -> list[Text]:
        return list(text.wrap(self._console, max(width, _NARROWEST), overflow="fold"))

    def _text(self, token: Token, inline: Token, width: int) -> list[Text]:
        if not self._is_new(token):
            return []
        style = ""
        if token.type == "heading_open":
            style = theme.TITLE if token.tag == "h1" else theme.HEADING
        return self._wrap(_inline(inline, style), width)

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
        return [Text.assemble(("▌ ", theme.QUOTE), line) for line in drawn]

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
        rows: list[list[Text]] = []
        justify: list[JustifyMethod] = []
        for part in tokens:
            match part.type:
                case "table_close":
                    break
                case "tr_open":
                    rows.append([])
                case "th_open":
                    justify.append(_justify(part))
                case "inline":
                    rows[-1].append(_inline(part, ""))
                case _:
                    pass
        if len(justify) * 4 > width:
            start, end = token.map or (0, 0)
            source = Text(visible("\n".join(self._lines[start:end])))
            return self._wrap(source, width)
        return self._grid(rows, justify, width)

    def _grid(self, rows: list[list[Text]], justify: list[JustifyMethod], width: int) -> list[Text]:
        from rich import box
        from rich.table import Table

        grid = Table(
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            border_style=theme.FRAME,
            header_style=theme.HEADING,
        )
        for head, side in zip(rows[0], justify, strict=True):
            grid.add_column(head, justify=side, overflow="fold")
        for row in rows[1:]:
            grid.add_row(*row)
        options = self._console.options.update(width=width, height=None)
        lines = self._console.render_lines(grid, options, pad=False)
        return [Text.assemble(*((part.text, part.style or "") for part in line)) for line in lines]


def _justify(token: Token) -> JustifyMethod:
    match token.attrs.get("style"):
        case "text-align:right":
            return "right"
        case "text-align:center":
            return "center"
        case _:
            return "left"


def _inline(inline: Token, style: str) -> Text:
    """Running text in one style."""
    text = Text()
    styles = [style] if style else []
    targets: list[tuple[str, int]] = []
    for token in inline.children or ():
        match token.type:
            case "link_open":
                targets.append((str(token.attrs.get("href", "")), len(text)))
            case "link_close":
                href, start = targets.pop()
                _target(text, href, text.plain[start:])
            case "image":
                text.append(visible(token.content), " ".join(styles))
                _target(text, str(token.attrs.get("src", "")), token.content)
            case _ if token.tag in _MARKS and token.nesting > 0:
                styles.append(_MARKS[token.tag])
            case _ if token.tag in _MARKS:
                styles.pop()
            case _:
                _words(text, token, styles)
    return text


def _words(text: Text, token: Token, styles: list[str]) -> None:
    """Add a token that is text. Entities were read only now: it goes through the gate again."""
    match token.type:
        case "softbreak":
            text.append(" ")
        case "hardbreak":
            text.append("\n")
        case "html_inline" if _BREAK.fullmatch(token.content):
            text.append("\n")
        case "html_inline":
            text.append(visible(token.content), " ".join((*styles, theme.HTML)))
        case "code_inline":
            text.append(visible(token.content), " ".join((*styles, theme.CODE)))
        case _:
            text.append(visible(token.content), " ".join(styles))


def _target(text: Text, href: str, label: str) -> None:
    """Where a link leads, behind its label, unless that says the same."""
    if href not in {label, f"mailto:{label}"}:
        text.append(f" ({visible(href)})", theme.LINK)
