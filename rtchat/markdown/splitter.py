"""Split streamed Markdown into final pieces, at a cost that is linear in the text.

Only the last leaf of a Markdown document (a paragraph, a table, a fence ...) is open: later text
cannot change the leaves before it. Those are returned as a `Piece` of source. Code, HTML, long
tables and `long` paragraphs are returned line by line. A piece that starts inside a list, a quote
or such a leaf has their opening lines as its `context`, so that it can be parsed by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate, takewhile, zip_longest

from markdown_it.token import Token

from rtchat.core.values import value
from rtchat.markdown.dialect import parser
from rtchat.markdown.limits import LONG_MARK, MAX_COST, cost, is_long
from rtchat.markdown.list_items import ItemNumber

_ITEM = re.compile(r"[ \t]*(?:[-+*]|\d{1,9}[.)])[ \t]*")
_QUOTE = re.compile(r"[ \t]*>[ \t]?")
_SPACES = str.maketrans("", "", " \t\n")
_CONTAINERS = frozenset({"blockquote_open", "list_item_open"})
_LEAVES = frozenset(
    {
        *("paragraph_open", "heading_open", "table_open", "long"),
        *("fence", "code_block", "html_block", "hr", "definition", "math_open"),
    }
)
_ENDED_BY_NEXT_LINE = {"paragraph_open", "table_open", "long", "definition", "math_open"}
"""The leaves that are complete once the next line is known not to belong to them."""
_MAX_INDENT = 4
"""Columns from the mark of an item to its text. After more, the text is indented code."""
MAX_LINE = 10_000
"""Characters after which a line is split."""
_MAX_WORD = 200
"""Characters before that among which a space is looked for."""
_SHORT = 300
"""Characters of an open block that may be parsed again with each line."""
_MAX_BLANK = 100
_ROW = 30
"""The cost of a row of a table besides its text, in characters of prose."""


@value
class Context:
    """The blocks that are open where a piece starts: source lines that reopen them, with `#` as
    content."""

    source: str = ""
    numbers: tuple[ItemNumber, ...] = ()
    """The number of the open item of each open list, outermost first."""

    @property
    def height(self) -> int:
        """How many lines `source` has."""
        return self.source.count("\n")


@value
class Piece:
    """A part of the source. The sources of all pieces, joined, are the text."""

    source: str
    context: Context = Context()


@value
class _Leaf:
    """A block that contains no blocks: its token, its lines, and the lists and quotes around it."""

    token: Token
    start: int
    end: int
    """The line after its last one, without trailing blank lines."""
    path: tuple[Token, ...]
    """The open quotes and list items, outermost first."""
    numbers: tuple[ItemNumber, ...]


def end_line(token: Token, lines: list[str], quotes: int) -> int:
    """The line at which a leaf inside `quotes` quotes ends, without trailing blank lines."""
    start, end = token.map or (0, 0)
    if token.type not in {"fence", "html_block"}:
        return start + 1 if token.type in _CONTAINERS else end
    return _without_blanks(lines, start, end, quotes)


def _without_blanks(lines: list[str], start: int, end: int, quotes: int) -> int:
    while end > start + 1 and _is_blank(lines[end - 1], quotes):
        end -= 1
    return end


def _is_blank(line: str, quotes: int) -> bool:
    marks = line.translate(_SPACES)
    return len(marks) <= quotes and not marks.strip(">")


class Lines:
    """Turns the deltas of one text into lines of limited length.

    A line longer than `MAX_LINE` is split, at a space if possible. After `_MAX_BLANK` blank lines
    in a row (or lines with only quote marks), the others are dropped; a blank line is cut to
    `_MAX_BLANK` characters.
    """

    def __init__(self) -> None:
        self._rest: list[str] = []
        self._size = 0
        self._blank = 0

    @property
    def rest(self) -> str:
        """The last line, which has no newline yet."""
        return "".join(self._rest)

    def feed(self, delta: str) -> list[str]:
        """Add a delta. Returns the lines that are complete now, with their newlines."""
        self._rest.append(delta)
        self._size += len(delta)
        if "\n" not in delta and self._size <= MAX_LINE:
            return []
        # Not `splitlines`, which also splits at U+2028, form feeds ...
        *lines, rest = (part for line in self.rest.split("\n") for part in _parts(line))
        self._rest, self._size = [rest], len(rest)
        return [kept + "\n" for line in lines if (kept := self._keep(line)) is not None]

    def _keep(self, line: str) -> str | None:
        if line.strip(" \t>"):
            self._blank = 0
            return line
        self._blank += 1
        return line[:_MAX_BLANK] if self._blank <= _MAX_BLANK else None


def _parts(line: str) -> Iterator[str]:
    while len(line) > MAX_LINE:
        space = line.rfind(" ", MAX_LINE - _MAX_WORD, MAX_LINE)
        at = space + 1 or MAX_LINE
        yield line[:at]
        line = line[at:]
    yield line


class Splitter:
    """Turns the deltas of one text into final pieces."""

    def __init__(self) -> None:
        self._parser = parser()
        self._context = Context()
        self._input = Lines()
        self._lines: list[str] = []
        self._size = self._next_parse = 0
        """The number of characters of the lines, and the number at which they are parsed again."""

    @property
    def tail(self) -> Piece:
        """The text that is not final yet."""
        return Piece("".join((*self._lines, self._input.rest)), self._context)

    def feed(self, delta: str) -> Piece | None:
        """Add a delta. Returns the text that has become final, if any."""
        new = self._input.feed(delta)
        self._lines += new
        self._size += sum(map(len, new))
        if not new or self._size < self._next_parse:
            return None
        piece = self._cut()
        # An open block is parsed again only after it has grown by an eighth. This keeps the cost of
        # an endless table or paragraph linear.
        self._size = sum(map(len, self._lines))
        self._next_parse = self._size + (self._size // 8 if self._size > _SHORT else 0)
        return piece

    def finish(self) -> Piece | None:
        """End the text. Returns the rest of it, if any."""
        piece = self.tail
        self._input, self._lines, self._context = Lines(), [], Context()
        self._size = self._next_parse = 0
        return piece if piece.source else None

    def _cut(self) -> Piece | None:
        """Remove and return the final part of the complete lines."""
        skip = self._context.height
        lines = [*_lines(self._context.source), *self._lines]
        tokens: list[Token] = []
        self._parser.block.parse("".join(lines), self._parser, {}, tokens)
        leaves = list(_leaves(tokens, lines, self._context))
        cut, context = _cut_position(leaves, lines, skip)
        if cut <= skip:
            return None
        piece = Piece("".join(lines[skip:cut]), self._context)
        self._lines, self._context = lines[cut:], context
        return piece


def _lines(text: str) -> list[str]:
    """The lines of a text, with their newlines."""
    return [line + "\n" for line in text.split("\n")[:-1]]


def _leaves(tokens: list[Token], lines: list[str], context: Context) -> Iterator[_Leaf]:
    """All leaves in order. An empty quote or item counts as a leaf."""
    path: list[Token] = []
    numbers: list[ItemNumber | None] = []
    for token, following in zip_longest(tokens, tokens[1:]):
        start = token.map[0] if token.map else 0
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                numbers.append(None)
            case "bullet_list_close" | "ordered_list_close":
                numbers.pop()
            case "blockquote_close" | "list_item_close":
                path.pop()
            case "list_item_open":
                depth, before = len(numbers) - 1, numbers[-1]
                if before is not None:
                    numbers[depth] = before.next(token.info)
                elif start < context.height:
                    numbers[depth] = context.numbers[depth]
                else:
                    numbers[depth] = ItemNumber(token.info)
                path.append(token)
            case "blockquote_open":
                path.append(token)
            case _:
                pass
        is_empty = token.type in _CONTAINERS and following is not None and following.nesting < 0
        if is_empty or token.type in _LEAVES:
            quotes = sum(outer.type == "blockquote_open" for outer in path)
            end = end_line(token, lines, quotes)
            yield _Leaf(token, start, end, tuple(path), tuple(filter(None, numbers)))


def _cut_position(leaves: list[_Leaf], lines: list[str], skip: int) -> tuple[int, Context]:
    """The line before which to cut, and the context there. A line up to `skip` means no cut."""
    if not leaves:
        return 0, Context()
    last = leaves[-1]
    final = _final(last, lines, is_continued=last.start < skip)
    if final > max(skip, last.start + _opening(last)):
        return final, _context(last, lines, inside=True)
    closed = leaves if _is_closed(last, lines) else leaves[:-1]
    while 0 < len(closed) < len(leaves) and _may_continue(closed[-1], leaves[len(closed)]):
        closed = closed[:-1]
    if not closed or closed[-1].end <= skip:
        return 0, Context()
    return closed[-1].end, _context(closed[-1], lines)


def _may_continue(leaf: _Leaf, following: _Leaf) -> bool:
    """Whether a link reference belongs to a run that is still open: the following leaf may become
    the title of its last one."""
    return leaf.token.type == "definition" and leaf.end == following.start


def _is_closed(leaf: _Leaf, lines: list[str]) -> bool:
    """Whether the next line cannot belong to this leaf. False if uncertain."""
    if leaf.token.type in _ENDED_BY_NEXT_LINE:
        return leaf.end < len(lines)
    if leaf.token.type == "heading_open" and "|" in lines[leaf.start]:
        return leaf.end < len(lines)  # together with the next line it may be the head of a table
    return leaf.token.type in {"heading_open", "hr"}


def _final(leaf: _Leaf, lines: list[str], *, is_continued: bool) -> int:
    """The line up to which an open leaf is final; 0 if none of it is.

    If `is_continued`, a part of it was returned before.
    """
    match leaf.token.type:
        case "fence" if _is_open_fence(leaf, lines):
            return leaf.end
        case "code_block":
            return leaf.end
        case "html_block":  # without its last line, which may have ended it
            quotes = sum(token.type == "blockquote_open" for token in leaf.path)
            return _without_blanks(lines, leaf.start, leaf.end - 1, quotes)
        case "table_open" if leaf.end == len(lines):
            rows = lines[leaf.start + 2 : leaf.end]
            return leaf.end if is_continued or rows_that_set_widths(rows) < len(rows) else 0
        case "long" if leaf.end == len(lines):  # its last line may become the head of a table
            before = leaf.token.content.rpartition("\n")[0].strip()
            return leaf.end - 1 if is_long(before) else 0
        case _:
            return 0


def _opening(leaf: _Leaf) -> int:
    """How many of its own lines are needed to reopen a leaf."""
    return {"long": 0, "table_open": 2}.get(leaf.token.type, 1)


def rows_that_set_widths(rows: list[str]) -> int:
    """How many rows of a table set the widths of its columns: those within `MAX_COST`, so that
    printing need not wait long."""
    costs = accumulate((_ROW + cost(row.rstrip("\n")) for row in rows[:-1]), initial=0)
    return sum(1 for _ in takewhile(lambda before: before <= MAX_COST, costs)) if rows else 0


def _is_open_fence(leaf: _Leaf, lines: list[str]) -> bool:
    """Whether the next line may belong to this fence. False if uncertain."""
    end = leaf.token.map[1] if leaf.token.map else 0
    if leaf.token.type != "fence" or end < len(lines):
        return False
    marker, last = leaf.token.markup, lines[-1].strip(" \t>\n")
    closes = end > leaf.start + 1 and last.startswith(marker) and not last.strip(marker[0])
    return not closes


def _context(leaf: _Leaf, lines: list[str], *, inside: bool = False) -> Context:
    """The context after a leaf or, with `inside`, in the middle of it."""
    opened = dict.fromkeys(token.map[0] for token in leaf.path if token.map)
    source = {start: _prefix(lines[start], start, leaf.path) for start in opened}
    first = lines[leaf.start]
    if inside and leaf.token.type == "table_open":
        source |= {leaf.start: first, leaf.start + 1: lines[leaf.start + 1]}
    elif inside and leaf.token.type == "long":
        text = leaf.token.content.partition("\n")[0].rstrip()
        source[leaf.start] = first.rstrip().removesuffix(text) + LONG_MARK + "\n"
    elif inside:
        # Without pipes: together with the next line it might be parsed as the head of a table.
        source[leaf.start] = first.replace("|", " ")
    elif leaf.token.type in _CONTAINERS:
        source[leaf.start] = first
    return Context("".join(source.values()), leaf.numbers)


def _prefix(line: str, start: int, path: tuple[Token, ...]) -> str:
    """The quote and item marks of a line, and an empty heading as content (it needs no closing)."""
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
            if pattern is _ITEM and columns > _MAX_INDENT:
                return f"{line[:marked]} #\n"
    if not line[position:].strip():  # the content of an empty item begins after one space
        return line[:position].rstrip() + " #\n"
    return line[:position] + "#\n"
