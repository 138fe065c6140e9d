"""The Markdown dialect: CommonMark with tables, strikethrough, task lists, alerts, bare links,
formulas, and limits.

Line ends that the author meant are hard breaks (see `line_ends`).

The limits keep an endless block from delaying a stream. They also apply to text rendered at once:
- A paragraph whose parsing cost exceeds `MAX_COST` becomes a `long` token, shown as written.
- A heading, table head or run of link references that exceeds it is parsed as a paragraph.
- A table has at most `_MAX_COLUMNS` columns; quotes and lists nested deeper than `_MAX_DEPTH` are
  text.
- A table also begins at a line that would go on the paragraph of a list item, and ends before a
  line without a pipe.
- The lines of a numbered item may be indented by only two columns more than its number.
- A label, such as `**Cons**` or `Cons:`, is not part of a list item if it is indented less.
- `---` below text makes it a heading only if it is one line and does not end like a sentence.
- In a row with more cells than the head, and in a head with more cells than the row of delimiters,
  pipes in code and formulas do not end a cell. Cells that are still too many, which GFM drops, are
  text of the last cell of a row.
- A link is resolved only by references above it: it is printed before any below it arrive.
  Therefore each reference becomes a `definition` token, which is shown.
"""

from __future__ import annotations

import re
from collections import ChainMap, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, takewhile
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
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline import newline as newline_rule
from markdown_it.token import Token

from rtchat.markdown.autolinks import InlineState, bare_link_rule, text_up_to_link_rule
from rtchat.markdown.line_ends import is_as_written, line_starts
from rtchat.markdown.math import add_math

_Rule: TypeAlias = Callable[[StateBlock, int, int, bool], bool]

MAX_COST = 5_000
"""The cost, in characters of prose, of text that takes 10 ms to parse and render."""
LONG_MARK = "\x1a"
"""The first line of the continuation of a `long` paragraph. `visible` removes it from all input."""
_BRACKET, _LINE, _REFERENCE, _MARK = 30, 10, 20, 3
"""Costs in characters of prose: a bracket that may open a link, a line, a link reference, a
character that may be markup."""
_MARKS = "*_~`<&\\!"
_NOT_TABLES = ["paragraph", "reference", "blockquote"]
"""The blocks that a quote, a list or a heading can interrupt."""
_MAX_COLUMNS = 30
_MAX_DEPTH = 26
BOX = "box"
"""The key of the `meta` of a list item whose bullet is a box: "☐" or "☑"."""
_TASK = re.compile(r"\[([ xX])\][ \t]+(?=\S)")
_INDENT = "indent"
"""The key of the `meta` of a paragraph: the columns before its first line, if there are any."""
_AT = "at"
"""The key of the `meta` of a soft break: its position in the source."""
_ALERT = re.compile(r"\[!([A-Za-z]+)\][ \t]*(?=\n|\Z)")
_LABEL = re.compile(r"(\*\*|__)(?:(?!\1).)+\1[:：]?|.{1,60}[:：]")
_ITEM_INDENT = 2
"""Columns from the start of a number to the other lines of its item, at least."""
_MAX_INDENT = 4
"""Columns from the mark of an item to its text. After more, the text is indented code."""
_COLUMNS = re.compile(r"\S(?: {3,}|\t)\S")
_SENTENCE_ENDS = (".", "!", ",", ";", "。", "！", "，", "；")
_UNDIVIDED = re.compile(
    r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)"  # code
    r"|\$(?!\s)[^$]+(?<!\s)\$(?!\d)|\\\((?:(?!\\\().)+?\\\)"  # a formula, not `$5 | $10`
)
_PIPE = re.compile(r"(?<!\\)\|")
_PIPE_MARK = "\x1f"
"""Stands for a pipe that does not end a cell. `visible` removes it from all input."""
_DELIMITERS = re.compile(r"[|:\- \t]+")


def cost(source: str) -> int:
    """The cost of parsing inline text, in characters of prose."""
    marks = sum(map(source.count, _MARKS))
    return len(source) + _BRACKET * source.count("[") + _LINE * source.count("\n") + _MARK * marks


def is_long(paragraph: str) -> bool:
    """Whether a paragraph is shown as written."""
    return paragraph.startswith(LONG_MARK) or cost(paragraph) > MAX_COST


def parser() -> MarkdownIt:
    """Create a parser. To parse inline text too, its `env` needs "references"."""
    markdown = MarkdownIt("commonmark", {"maxNesting": _MAX_DEPTH})
    markdown.core.ruler.after("normalize", "last_line", _end_last_line)
    markdown.core.ruler.at("inline", _inline)
    markdown.enable(["table", "strikethrough"])
    markdown.inline.ruler.at("newline", _newline)
    markdown.inline.ruler.before("text", "bare_link", bare_link_rule)
    markdown.inline.ruler.at("text", text_up_to_link_rule)
    block = markdown.block.ruler
    block.at("table", _table, {"alt": ["paragraph", "reference"]})
    block.at("blockquote", partial(_within_depth, quote_rule), {"alt": [*_NOT_TABLES, "list"]})
    block.at("list", partial(_within_depth, list_rule), {"alt": _NOT_TABLES})
    block.at("reference", _reference)
    block.at("heading", _heading, {"alt": _NOT_TABLES})
    block.at("lheading", _underlined)
    block.at("paragraph", _paragraph)
    block.before("paragraph", "label", _label, {"alt": ["paragraph"]})
    tokenize = partial(_tokenize, markdown.block.tokenize)
    markdown.block.tokenize = tokenize  # type: ignore[method-assign] # the list rule calls it
    add_math(markdown, cost, MAX_COST)
    return markdown


def references(known: dict[str, Any]) -> ChainMap[str, Any]:
    """The `env` value "references" for a parse: known link references, and a first map to which the
    parse adds those that it finds."""
    return ChainMap({}, known)


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


def _end_last_line(state: StateCore) -> None:
    # markdown-it reads past the end of a text that ends in an HTML block without a newline.
    if not state.src.endswith("\n"):
        state.src += "\n"


def _inline(state: StateCore) -> None:
    """Parse inline text. It sees only the link references above it, as in a stream."""
    found = state.env["references"].maps[0]
    below = deque(found.items())
    found.clear()
    for index, token in enumerate(state.tokens):
        if token.type != "inline" or token.map is None:
            continue
        if token.content.startswith("[") and state.tokens[index - 1].type == "paragraph_open":
            _mark_first(state.tokens[max(index - 2, 0)], token)
        while below and below[0][1]["map"][1] <= token.map[0]:
            found.update([below.popleft()])
        token.children = []
        if not token.content:
            continue
        has_lines = "\n" in token.content and state.tokens[index - 1].type != "heading_open"
        follows_mark = state.tokens[max(index - 2, 0)].type == "list_item_open"
        indent = 0 if follows_mark else token.meta.get(_INDENT, 0)
        if has_lines and is_as_written(token.content):
            token.children = list(_as_lines(" " * indent + token.content))
            continue
        _parse(InlineState(token.content, state.md, state.env, token.children))
        if has_lines:
            starts = line_starts(token.content, None if follows_mark else indent)
            token.children = list(_with_line_starts(token.content, starts, token.children))
    found.update(below)


def _parse(state: InlineState) -> None:
    """What the parser's own `inline.parse` does, with our state."""
    state.md.inline.tokenize(state)
    for rule in state.md.inline.ruler2.getRules(""):
        rule(state)


def _mark_first(parent: Token, inline: Token) -> None:
    """Show the box of a task, or the kind of an alert, that the first paragraph of an item or a
    quote begins with."""
    if parent.type == "blockquote_open":
        inline.content = _ALERT.sub(r"**\1**", inline.content, count=1)
    elif parent.type == "list_item_open" and (task := _TASK.match(inline.content)):
        box = "☐" if task[1] == " " else "☑"
        inline.content = inline.content[task.end() :]
        if parent.info:
            inline.content = f"{box} {inline.content}"
        else:
            parent.meta[BOX] = box


def _as_lines(source: str) -> Iterator[Token]:
    """The inline tokens of lines that are shown as written."""
    for index, line in enumerate(source.split("\n")):
        if index:
            yield Token("hardbreak", "br", 0)
        yield Token("text", "", 0, content=line)


def _with_line_starts(source: str, starts: list[str], tokens: Iterable[Token]) -> Iterator[Token]:
    """Turn each soft break into what it means: a hard break, a space or nothing."""
    if starts[0]:
        yield Token("text", "", 0, content=starts[0])
    line = at = 0
    for token in tokens:
        if token.type != "softbreak":
            yield token
            continue
        line += source.count("\n", at, token.meta[_AT] + 1)
        at = token.meta[_AT] + 1
        start = starts[line]
        if start.startswith("\n"):
            yield Token("hardbreak", "br", 0)
            start = start[1:]
        if start:
            yield Token("text", "", 0, content=start)


def _newline(state: StateInline, silent: bool) -> bool:
    at = state.pos
    found = newline_rule(state, silent)
    if found and not silent:
        state.tokens[-1].meta[_AT] = at
    return found


# -------------------------------------------------------------------------------------- block rules


def _source(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _within_depth(rule: _Rule, state: StateBlock, line: int, end: int, silent: bool) -> bool:
    # Each of these opens two levels. At its own limit the parser would drop the content.
    is_within = state.level + 2 < _MAX_DEPTH
    # The item that ends a paragraph may belong to a list around it.
    return (is_within or (silent and rule is list_rule)) and rule(state, line, end, silent)


def _tokenize(
    tokenize: Callable[[StateBlock, int, int], None], state: StateBlock, line: int, end: int
) -> None:
    """Read blocks. Those in a numbered item may be indented less than its text."""
    item = state.tokens[-1] if state.tokens else None
    mark = state.src[state.bMarks[line] : state.bMarks[line] + state.tShift[line]]
    tokenize(state, line, end)
    if item is None or item.type != "list_item_open" or not item.info:
        return
    indent, spaces = state.blkIndent, len(mark) - len(mark.rstrip())
    column = indent - len(item.info) - 1 - (spaces if 0 < spaces <= _MAX_INDENT else 1)
    least = column + _ITEM_INDENT
    is_loose = not state.tight
    while (at := state.line) < end and least <= state.sCount[at] < indent:
        is_loose |= state.isEmpty(at - 1)
        state.blkIndent = max(least, state.sCount[at] - _MAX_INDENT + 1)
        any(rule(state, at, end, False) for rule in state.md.block.ruler.getRules(""))
        state.blkIndent = indent
        tokenize(state, state.line, end)
    state.tight = not is_loose


def _label(state: StateBlock, line: int, _end: int, silent: bool) -> bool:
    """End the paragraph of an item before a label. It is a paragraph itself."""
    is_outside = 0 <= state.sCount[line] < state.blkIndent
    if not silent or not is_outside:
        return False
    source = _source(state, line).rstrip()
    return not source[:1].islower() and _LABEL.fullmatch(source) is not None


def _heading(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    if not heading_rule(state, line, end, True) or cost(_source(state, line)) > MAX_COST:
        return False
    return silent or heading_rule(state, line, end, False)


def _table(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    head = _source(state, line)
    if "|" not in head or head.count("|") > _MAX_COLUMNS or cost(head) > MAX_COST:
        return False
    indent, source = state.blkIndent, state.src
    if silent:  # with less indent than the item before, it ends the item
        state.blkIndent = min(indent, max(state.sCount[line], 0))
    found = table_rule(state, line, end, True)
    if not found:
        _hide_pipes(state, line, end)
        found = state.src is not source and table_rule(state, line, end, True)
    if found and not silent:
        _read_table(state, line, end)
    state.blkIndent, state.src = indent, source
    return found


def _hide_pipes(state: StateBlock, line: int, end: int) -> None:
    """Replace the pipes in code and formulas of what may be the head of a table."""
    head = _source(state, line)
    if line + 1 >= end or not _DELIMITERS.fullmatch(_source(state, line + 1)):
        return
    hidden = _UNDIVIDED.sub(lambda part: _PIPE.sub(_PIPE_MARK, part[0]), head)
    if hidden != head:
        start = state.eMarks[line] - len(head)
        state.src = state.src[:start] + hidden + state.src[state.eMarks[line] :]


def _read_table(state: StateBlock, line: int, end: int) -> None:
    """Read a table without padding its rows. markdown-it's rule adds missing cells, so that a row
    of two characters becomes a cell for each column."""
    before = len(state.tokens)
    table_rule(state, line, line + 2, False)
    opening, closing = state.tokens[before], state.tokens.pop()
    columns = 0
    for token in state.tokens[before:]:
        columns += token.type == "th_open"
        token.content = token.content.replace(_PIPE_MARK, "|")
    parent, state.parentType = state.parentType, "table"
    ends = state.md.block.ruler.getRules("blockquote")
    row = line + 2
    while row < end and state.sCount[row] >= state.blkIndent and not state.is_code_block(row):
        source = _source(state, row).strip()
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
    cells = _split(source)
    if len(cells) > columns:
        cells = _split(_UNDIVIDED.sub(lambda part: _PIPE.sub(r"\\|", part[0]), source))
    while len(cells) > columns and not cells[-1].strip():
        del cells[-1]
    last = "|".join(cells[columns - 1 :])
    return [*cells[: columns - 1], last] if len(cells) >= columns else cells


def _split(source: str) -> list[str]:
    cells = escapedSplit(source)
    if not cells[0]:
        del cells[0]
    if cells and not cells[-1]:
        del cells[-1]
    return cells


def _paragraph(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    before = len(state.tokens)
    paragraph_rule(state, line, end, silent)
    inline = state.tokens[before + 1]
    if indent := state.sCount[line] - state.blkIndent:
        inline.meta[_INDENT] = indent
    if is_long(inline.content):
        inline.type = "long"
        state.tokens[before:] = [inline]
    return True


def _underlined(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    """Read a heading with a line below it. Below a sentence or several lines, `---` was meant as a
    rule. The first row of text in columns is no heading."""
    before, parent = len(state.tokens), state.parentType
    found = underline_rule(state, line, end, silent)
    state.parentType = parent  # the rule does not restore it if it finds nothing
    if not found:
        return False
    opening, inline = state.tokens[before : before + 2]
    is_text = "\n" in inline.content or inline.content.endswith(_SENTENCE_ENDS)
    is_row = _COLUMNS.search(inline.content) is not None
    if is_long(inline.content) or is_row or (opening.markup == "-" and is_text):
        state.line = line
        del state.tokens[before:]
        return False
    return True


def _reference(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    """Read a link reference. It and the references directly above it cost at most `MAX_COST`."""
    if not _source(state, line).startswith("["):
        return False
    end_of_run, spent = state.env.get("run", (0, 0))
    if end_of_run != line:
        spent = 0
    if spent > MAX_COST:
        return False
    line_max = state.lineMax
    # A longer one would be a `long` paragraph before its end arrives.
    costs = (cost(_source(state, each)) + 1 + _LINE for each in range(line, line_max))
    lines = sum(1 for _ in takewhile(lambda total: total <= MAX_COST, accumulate(costs)))
    if not lines:
        return False
    state.lineMax = line + lines
    found = reference_rule(state, line, end, silent)
    state.lineMax = line_max
    if found:
        if not silent:
            token = state.push("definition", "", 0)
            token.content = state.getLines(line, state.line, state.blkIndent, False)
            token.map, token.hidden = [line, state.line], True
        spent += state.bMarks[state.line] - state.bMarks[line] + _REFERENCE
        state.env["run"] = state.line, spent
    return found
