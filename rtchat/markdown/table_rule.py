"""Tables of the Markdown dialect.

They differ from those of GFM in these points:
- A table has at most `_MAX_COLUMNS` columns, and its head is limited like a paragraph.
- A table also begins at a line that would go on the paragraph of a list item, and ends before a
  line without a pipe.
- In a row with more cells than the head, and in a head with more cells than the row of delimiters,
  pipes in code and formulas do not end a cell. Cells that are still too many, which GFM drops, are
  text of the last cell of a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from markdown_it.rules_block import StateBlock
from markdown_it.rules_block import table as gfm_rule
from markdown_it.rules_block.table import escapedSplit
from markdown_it.token import Token

from rtchat.markdown.limits import MAX_COST, cost
from rtchat.markdown.line_ends import CODE_OR_FORMULA

_MAX_COLUMNS = 30
_PIPE = re.compile(r"(?<!\\)\|")
_PIPE_MARK = "\x1f"
"""Stands for a pipe that does not end a cell. `visible` removes it from all input."""
_DELIMITERS = re.compile(r"[|:\- \t]+")


def line_source(state: StateBlock, line: int) -> str:
    """The source of a line, without the marks and the indent of the blocks around it."""
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def table_rule(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    """Read a table, if one begins in this line."""
    if line + 2 > end or "-" not in line_source(state, line + 1):
        return False
    head = line_source(state, line)
    if "|" not in head or head.count("|") > _MAX_COLUMNS or cost(head) > MAX_COST:
        return False
    indent, source = state.blkIndent, state.src
    if silent:  # with less indent than the item before, it ends the item
        state.blkIndent = min(indent, max(state.sCount[line], 0))
    found = gfm_rule(state, line, end, True)
    if not found:
        _hide_pipes(state, line, end)
        found = state.src is not source and gfm_rule(state, line, end, True)
    if found and not silent:
        _read_table(state, line, end)
    state.blkIndent, state.src = indent, source
    return found


def _hide_pipes(state: StateBlock, line: int, end: int) -> None:
    """Replace the pipes in code and formulas of what may be the head of a table."""
    head = line_source(state, line)
    if line + 1 >= end or not _DELIMITERS.fullmatch(line_source(state, line + 1)):
        return
    hidden = CODE_OR_FORMULA.sub(lambda part: _PIPE.sub(_PIPE_MARK, part[0]), head)
    if hidden != head:
        start = state.eMarks[line] - len(head)
        state.src = state.src[:start] + hidden + state.src[state.eMarks[line] :]


def _read_table(state: StateBlock, line: int, end: int) -> None:
    """Read a table without adding the missing cells of its rows. With markdown-it's own rule, a row
    of two characters becomes a cell for each column."""
    before = len(state.tokens)
    gfm_rule(state, line, line + 2, False)
    opening, closing = state.tokens[before], state.tokens.pop()
    columns = 0
    for token in state.tokens[before:]:
        columns += token.type == "th_open"
        token.content = token.content.replace(_PIPE_MARK, "|")
    parent, state.parentType = state.parentType, "table"
    ends = state.md.block.ruler.getRules("blockquote")
    row = line + 2
    while row < end and state.sCount[row] >= state.blkIndent and not state.is_code_block(row):
        source = line_source(state, row).strip()
        is_text = columns > 1 and "|" not in source
        if not source or is_text or any(rule(state, row, end, True) for rule in ends):
            break
        _read_row(state, row, source, columns)
        row += 1
    state.tokens.append(closing)
    opening.map = [line, row]
    state.line, state.parentType = row, parent


def _read_row(state: StateBlock, line: int, source: str, columns: int) -> None:
    state.push("tr_open", "tr", 1)
    for cell in _split_row(source, columns):
        token = state.push("inline", "", 0)
        token.content, token.map = cell.strip(), [line, line + 1]
    state.push("tr_close", "tr", -1)


def _split_row(source: str, columns: int) -> list[str]:
    """The cells of a row. If there are more than `columns`, pipes in code and formulas do not end a
    cell, and the last cell is the rest of the row."""
    cells = _split_at_pipes(source)
    if len(cells) > columns:
        cells = _split_at_pipes(
            CODE_OR_FORMULA.sub(lambda part: _PIPE.sub(r"\\|", part[0]), source)
        )
    while len(cells) > columns and not cells[-1].strip():
        del cells[-1]
    last = "|".join(cells[columns - 1 :])
    return [*cells[: columns - 1], last] if len(cells) >= columns else cells


def _split_at_pipes(source: str) -> list[str]:
    cells = escapedSplit(source)
    if not cells[0]:
        del cells[0]
    if cells and not cells[-1]:
        del cells[-1]
    return cells


def with_cells(tokens: Iterable[Token]) -> Iterator[Token]:
    """Add cell tokens to the rows of tables. A web page needs them, the terminal does not."""
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
    """The cells of a row, aligned like the head. One cell spans all missing columns."""
    missing = len(heads)
    for inline, head in zip(row, heads, strict=False):
        yield Token("td_open", "td", 1, attrs=head.attrs, block=True)
        yield from (inline, Token("td_close", "td", -1, block=True))
        missing -= 1
    if missing:
        yield Token("td_open", "td", 1, attrs={"colspan": missing}, block=True)
        yield Token("td_close", "td", -1, block=True)
