"""The Markdown that models write: CommonMark with tables and strikethrough, and its limits.

A stream has no time for a block without end, so there are four rules more, the same for a whole
text: a paragraph or heading that costs more than `LONG` to read is `long`, shown as written; what
exceeds it by itself is no heading, head of a table or run of link references, but a paragraph;
tables have `_COLUMNS` at most; quotes and lists deeper than `_DEEPEST` are text. A link knows the
references above it only: by the time of one below it is in the scrollback.
"""

from __future__ import annotations

from collections import ChainMap, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, TypeAlias

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block import blockquote as quote_rule
from markdown_it.rules_block import heading as heading_rule
from markdown_it.rules_block import lheading as underline_rule
from markdown_it.rules_block import list_block as list_rule
from markdown_it.rules_block import paragraph as paragraph_rule
from markdown_it.rules_block import reference as reference_rule
from markdown_it.rules_block import table as table_rule
from markdown_it.rules_block.table import escapedSplit
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

_Rule: TypeAlias = Callable[[StateBlock, int, int, bool], bool]

LONG = 5_000
"""In characters of prose: what takes 10 ms to read and to draw."""
LONG_MARK = "\x1a"
"""As the first line of a paragraph: it is long already. `visible` lets nobody else write it."""
_BRACKET, _LINE, _REFERENCE, _MARK = 30, 10, 20, 3
"""In characters: to look for a link that may open, for the end of a paragraph, to note a link, to
pair what may be a mark."""
_MARKS = "*_~`<&\\!"
_NOT_TABLES = ["paragraph", "reference", "blockquote"]
"""What quotes, lists and headings may end."""
_COLUMNS = 30
_DEEPEST = 20
_INLINE_DEEPEST = 20


def cost(source: str) -> int:
    """What reading running text costs, in characters of prose."""
    marks = sum(map(source.count, _MARKS))
    return len(source) + _BRACKET * source.count("[") + _LINE * source.count("\n") + _MARK * marks


def is_long(paragraph: str) -> bool:
    """Whether it is to be shown as written."""
    return paragraph.startswith(LONG_MARK) or cost(paragraph) > LONG


def parser() -> MarkdownIt:
    """A parser. Its `env` needs "references" for a parse of more than blocks."""
    markdown = MarkdownIt("commonmark", {"maxNesting": _INLINE_DEEPEST})
    markdown.core.ruler.after("normalize", "last_line", _end_last_line)
    markdown.core.ruler.at("inline", _inline)
    markdown.enable(["table", "strikethrough"])
    block = markdown.block.ruler
    block.at("table", _table, {"alt": ["paragraph", "reference"]})
    block.at("blockquote", partial(_shallow, quote_rule), {"alt": [*_NOT_TABLES, "list"]})
    block.at("list", partial(_shallow, list_rule), {"alt": _NOT_TABLES})
    block.at("reference", _reference)
    block.at("heading", _heading, {"alt": _NOT_TABLES})
    block.at("lheading", _underlined)
    block.at("paragraph", _paragraph)
    return markdown


def references(known: dict[str, Any]) -> ChainMap[str, Any]:
    """What a parse is to know of link references; those that it finds go into the first map."""
    return ChainMap({}, known)


def with_cells(tokens: Iterable[Token]) -> Iterator[Token]:
    """The tokens of a parse for a web page: with cells in the rows of tables, which the terminal
    does not need."""
    heads: list[Token] = []
    is_body = False
    left = iter(tokens)
    for token in left:
        match token.type:
            case "table_open":
                heads = []
            case "th_open":
                heads.append(token)
            case "thead_open" | "thead_close":
                is_body = token.type == "thead_close"
            case "tr_open" if is_body:
                row = takewhile(lambda part: part.type != "tr_close", left)
                yield from (token, *_cells(row, heads), Token("tr_close", "tr", -1, block=True))
                continue
            case _:
                pass
        yield token


def _cells(row: Iterable[Token], heads: Sequence[Token]) -> Iterator[Token]:
    """A row with its cells aligned like the heads; one cell spans all that are missing."""
    missing = len(heads)
    for inline, head in zip(row, heads, strict=False):
        yield Token("td_open", "td", 1, attrs=head.attrs, block=True)
        yield from (inline, Token("td_close", "td", -1, block=True))
        missing -= 1
    if missing:
        yield Token("td_open", "td", 1, attrs={"colspan": missing}, block=True)
        yield Token("td_close", "td", -1, block=True)


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
        if token.content:
            state.md.inline.parse(token.content, state.md, state.env, token.children)
    found.update(below)


# -------------------------------------------------------------------------------- rules for blocks


def _source(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _shallow(rule: _Rule, state: StateBlock, line: int, end: int, silent: bool) -> bool:
    # One of these opens two levels. At the parser's own limit it would drop what is inside.
    return state.level + 2 < _DEEPEST and rule(state, line, end, silent)


def _heading(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    if not heading_rule(state, line, end, True) or cost(_source(state, line)) > LONG:
        return False
    return silent or heading_rule(state, line, end, False)


def _table(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    if not table_rule(state, line, end, True):
        return False
    head = _source(state, line)
    if head.count("|") > _COLUMNS or cost(head) > LONG:
        return False
    if not silent:
        _read_table(state, line, end)
    return True


def _read_table(state: StateBlock, line: int, end: int) -> None:
    """A table whose rows have the cells that they have: the parser's own adds what they lack, so
    that two characters become a cell for each column."""
    before = len(state.tokens)
    table_rule(state, line, line + 2, False)
    opening, closing = state.tokens[before], state.tokens.pop()
    columns = sum(token.type == "th_open" for token in state.tokens[before:])
    parent, state.parentType = state.parentType, "table"
    ends = state.md.block.ruler.getRules("blockquote")
    row = line + 2
    while row < end and state.sCount[row] >= state.blkIndent and not state.is_code_block(row):
        source = _source(state, row).strip()
        if not source or any(rule(state, row, end, True) for rule in ends):
            break
        _read_row(state, row, source, columns)
        row += 1
    state.tokens.append(closing)
    opening.map = [line, row]
    state.line, state.parentType = row, parent


def _read_row(state: StateBlock, line: int, source: str, columns: int) -> None:
    cells = escapedSplit(source)
    if not cells[0]:
        del cells[0]
    if cells and not cells[-1]:
        del cells[-1]
    state.push("tr_open", "tr", 1)
    for cell in cells[:columns]:
        token = state.push("inline", "", 0)
        token.content, token.map = cell.strip(), [line, line + 1]
    state.push("tr_close", "tr", -1)


def _paragraph(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    before = len(state.tokens)
    paragraph_rule(state, line, end, silent)
    inline = state.tokens[before + 1]
    if is_long(inline.content):
        inline.type = "long"
        state.tokens[before:] = [inline]
    return True


def _underlined(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    before, parent = len(state.tokens), state.parentType
    found = underline_rule(state, line, end, silent)
    state.parentType = parent  # the rule forgets to do this where it finds nothing
    if found and is_long(state.tokens[before + 1].content):
        state.line = line
        del state.tokens[before:]
        return False
    return found


def _reference(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    """A link reference, from no more than `LONG`, nor together with those right above it."""
    if not _source(state, line).startswith("["):
        return False
    blocks, spent = state.env.get("run", (0, 0))
    if blocks != len(state.tokens):
        spent = 0
    everything = state.lineMax
    start = state.bMarks[line]
    last = line
    while last < everything and state.eMarks[last] - start + _LINE * (last - line) <= LONG:
        last += 1
    if spent > LONG or last == line:
        return False
    state.lineMax = last
    found = reference_rule(state, line, end, silent)
    state.lineMax = everything
    if found:
        spent += state.bMarks[state.line] - start + _REFERENCE
        state.env["run"] = len(state.tokens), spent
    return found
