"""Streamed Markdown, cut into pieces that will not change any more, at a cost linear in the text.

Only the last leaf of a Markdown document (a paragraph, a table, a fence ...) is open: what comes
next cannot change the leaves before it. They are handed out as a `Piece` of source; a fence is
handed out line by line. A piece that starts inside lists, quotes or a fence carries their opening
lines as its `context`, so it can be parsed by itself. Not here: rendering, or control characters
(`safe` comes first). Unlike in a document, a link whose reference is defined below it stays text:
it is in the scrollback by then.
"""

from __future__ import annotations

import re
from collections import ChainMap, deque
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from rtchat.values import value

_ITEM = re.compile(r"[ \t]*(?:[-+*]|\d{1,9}[.)])[ \t]*")
_QUOTE = re.compile(r"[ \t]*>[ \t]?")
_SPACES = str.maketrans("", "", " \t\n")
_CONTAINERS = frozenset({"blockquote_open", "list_item_open"})
_LEAVES = frozenset(
    {"paragraph_open", "heading_open", "table_open", "fence", "code_block", "html_block", "hr"}
)
_NESTING = 60
_WIDEST = 4
"""Columns from the mark of an item to its text; from more on the text is indented code."""


def parser() -> MarkdownIt:
    """The dialect that models write: CommonMark with tables and strikethrough."""
    markdown = MarkdownIt("commonmark", {"maxNesting": _NESTING})
    markdown.core.ruler.after("normalize", "last_line", _end_last_line)
    markdown.core.ruler.at("inline", _inline)
    return markdown.enable(["table", "strikethrough"])


def references(known: dict[str, Any]) -> ChainMap[str, Any]:
    """What a parse is to know of link references; those that it finds go into the first map."""
    return ChainMap({}, known)


def _end_last_line(state: StateCore) -> None:
    # markdown-it reads past the end of a text whose last line is an HTML block's and has no end.
    if not state.src.endswith("\n"):
        state.src += "\n"


def _inline(state: StateCore) -> None:
    """Read running text. It sees the link references above it only: a stream has no others."""
    found = state.env["references"].maps[0]
    below = deque(found.items())
    found.clear()
    for token in state.tokens:
        if token.type != "inline" or token.map is None:
            continue
        while below and below[0][1]["map"][1] <= token.map[0]:
            found.update([below.popleft()])
        token.children = []
        state.md.inline.parse(token.content, state.md, state.env, token.children)
    found.update(below)


@value
class Context:
    """What is open where a piece starts: source lines that open it again, with `#` for content."""

    source: str = ""
    numbers: tuple[int, ...] = ()
    """The number of the open item of each open list, outermost first; for bullets it is unused."""

    @property
    def height(self) -> int:
        """How many lines `source` has."""
        return self.source.count("\n")


@value
class Piece:
    """A stretch of source. Joined, the sources of all pieces are the text."""

    source: str
    context: Context = Context()


@value
class _Leaf:
    """A block that holds no blocks: its token, its lines, and the lists and quotes around it."""

    token: Token
    start: int
    end: int
    """Before its trailing blank lines."""
    path: tuple[Token, ...]
    """The open quotes and list items, outermost first."""
    numbers: tuple[int, ...]


def end_line(token: Token, lines: list[str], quotes: int) -> int:
    """Where a leaf inside so many quotes ends, without its blank lines: they are space after it."""
    start, end = token.map or (0, 0)
    if token.type not in {"fence", "html_block"}:
        return start + 1 if token.type in _CONTAINERS else end
    while end > start + 1 and _is_blank(lines[end - 1], quotes):
        end -= 1
    return end


def start_number(token: Token) -> int:
    """The number of the first item of a list."""
    return int(token.attrs.get("start", 1))


def _is_blank(line: str, quotes: int) -> bool:
    marks = line.translate(_SPACES)
    return len(marks) <= quotes and not marks.strip(">")


class Splitter:
    """Takes the deltas of one text and gives back the pieces that are final."""

    def __init__(self) -> None:
        self._parser = parser()
        self._context = Context()
        self._lines: list[str] = []
        self._rest: list[str] = []
        self._due = 1

    @property
    def tail(self) -> Piece:
        """What is not final yet."""
        return Piece("".join((*self._lines, *self._rest)), self._context)

    def feed(self, delta: str) -> Piece | None:
        """Take the next text; what became final by it, if anything did."""
        complete, newline, rest = delta.rpartition("\n")
        if not newline:
            self._rest.append(delta)
            return None
        self._lines += _lines("".join((*self._rest, complete, newline)))
        self._rest = [rest]
        if len(self._lines) < self._due:
            return None
        piece = self._cut()
        # A block that stays open is read again only after it has grown by a good part of itself:
        # that keeps the cost linear for a table or a paragraph without end.
        size = len(self._lines)
        self._due = size + 1 + size // 8
        return piece

    def finish(self) -> Piece | None:
        """There is no more text: the rest of it, if any."""
        piece = self.tail
        self._lines, self._rest, self._context, self._due = [], [], Context(), 1
        return piece if piece.source else None

    def _cut(self) -> Piece | None:
        """Take what is final off the front of the complete lines."""
        skip = self._context.height
        lines = [*_lines(self._context.source), *self._lines]
        tokens: list[Token] = []
        self._parser.block.parse("".join(lines), self._parser, {}, tokens)
        leaves = list(_leaves(tokens, lines, self._context))
        cut, context = _place(leaves, lines, skip)
        if cut <= skip:
            return None
        piece = Piece("".join(lines[skip:cut]), self._context)
        self._lines, self._context = lines[cut:], context
        return piece


def _lines(text: str) -> list[str]:
    """Its lines with their ends. Not `splitlines`, which also cuts at U+2028, form feeds ..."""
    return [line + "\n" for line in text.split("\n")[:-1]]


def _leaves(tokens: list[Token], lines: list[str], context: Context) -> Iterator[_Leaf]:
    """All leaves in order; an empty quote or item counts as one."""
    path: list[Token] = []
    numbers: list[int] = []
    for token, after in zip_longest(tokens, tokens[1:]):
        start = token.map[0] if token.map else 0
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                known = start < context.height
                number = context.numbers[len(numbers)] if known else start_number(token)
                numbers.append(number - 1)
            case "bullet_list_close" | "ordered_list_close":
                numbers.pop()
            case "blockquote_close" | "list_item_close":
                path.pop()
            case "list_item_open":
                numbers[-1] += 1
                path.append(token)
            case "blockquote_open":
                path.append(token)
            case _:
                pass
        is_empty = token.type in _CONTAINERS and after is not None and after.nesting < 0
        if is_empty or token.type in _LEAVES:
            quotes = sum(outer.type == "blockquote_open" for outer in path)
            end = end_line(token, lines, quotes)
            yield _Leaf(token, start, end, tuple(path), tuple(numbers))


def _place(leaves: list[_Leaf], lines: list[str], skip: int) -> tuple[int, Context]:
    """Before which line to cut, and what is open there; a line up to `skip` means nowhere."""
    if not leaves:
        return 0, Context()
    last = leaves[-1]
    if _is_open_fence(last, lines) and last.end > max(skip, last.start + 1):
        return last.end, _context(last, lines, fence=True)
    # Not at the start of the last leaf: a link reference before it may still swallow its lines.
    closed = leaves if _is_closed(last, lines) else leaves[:-1]
    if not closed or closed[-1].end <= skip:
        return 0, Context()
    return closed[-1].end, _context(closed[-1], lines)


def _is_closed(leaf: _Leaf, lines: list[str]) -> bool:
    """Whether the next line can no longer belong to this leaf. In doubt it can."""
    if leaf.token.type in {"paragraph_open", "table_open"}:
        return leaf.end < len(lines)
    return leaf.token.type in {"heading_open", "hr"}


def _is_open_fence(leaf: _Leaf, lines: list[str]) -> bool:
    """Whether the next line may still belong to this fence. In doubt it may not."""
    end = leaf.token.map[1] if leaf.token.map else 0
    if leaf.token.type != "fence" or end < len(lines):
        return False
    marker, last = leaf.token.markup, lines[-1].strip(" \t>\n")
    closes = end > leaf.start + 1 and last.startswith(marker) and not last.strip(marker[0])
    return not closes


def _context(leaf: _Leaf, lines: list[str], *, fence: bool = False) -> Context:
    """What is open after a leaf or, with `fence`, inside it."""
    opened = dict.fromkeys(token.map[0] for token in leaf.path if token.map)
    source = {start: _prefix(lines[start], start, leaf.path) for start in opened}
    if fence:
        # Without pipes: with the next line it might be read as the head of a table.
        source[leaf.start] = lines[leaf.start].replace("|", " ")
    elif leaf.token.type in _CONTAINERS:
        source[leaf.start] = lines[leaf.start]
    return Context("".join(source.values()), leaf.numbers)


def _prefix(line: str, start: int, path: tuple[Token, ...]) -> str:
    """The quote and item marks of a line, with an empty heading (it closes itself) for content."""
    position = 0
    for token in path:
        opened = token.map[0] if token.map else 0
        if opened > start:
            break
        pattern = _QUOTE if token.type == "blockquote_open" else _ITEM
        if pattern is _ITEM and opened < start:
            continue
        if found := pattern.match(line, position):
            position = found.end()
            mark = found.group().rstrip()
            marked = found.start() + len(mark)
            columns = len(line[:position].expandtabs(4)) - len(line[:marked].expandtabs(4))
            if pattern is _ITEM and columns > _WIDEST:
                return f"{line[:marked]} #\n"
    if not line[position:].strip():  # an item without text has its content one space on
        return line[:position].rstrip() + " #\n"
    return line[:position] + "#\n"
