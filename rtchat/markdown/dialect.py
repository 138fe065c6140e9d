"""The Markdown dialect: CommonMark with tables, strikethrough, task lists, alerts, bare links,
formulas, and limits.

Line ends that the author intended are hard breaks (see `line_ends`).

The limits keep an endless block from delaying a stream. They also apply to text rendered at once:
- A paragraph whose parsing cost exceeds `MAX_COST` becomes a `long` token, shown as written.
- A heading, table head or run of link references that exceeds it is parsed as a paragraph.
- A table has at most `_MAX_COLUMNS` columns; quotes and lists nested deeper than `_MAX_DEPTH` are
  text.
- A table also begins at a line that would go on the paragraph of a list item, and ends before a
  line without a pipe.
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
from itertools import takewhile
from typing import Any, TypeAlias

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block import blockquote as quote_rule
from markdown_it.rules_block import fence as fence_rule
from markdown_it.rules_block import heading as heading_rule
from markdown_it.rules_block import hr as hr_rule
from markdown_it.rules_block import html_block as html_rule
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

from rtchat.markdown.autolinks import InlineState, text_rule
from rtchat.markdown.line_ends import is_as_written, line_starts
from rtchat.markdown.math import add_math

_Rule: TypeAlias = Callable[[StateBlock, int, int, bool], bool]

MAX_COST = 5_000
"""The cost, in characters of prose, of a text that takes 10 ms to parse and render."""
LONG_MARK = "\x1a"
"""The first line of the continuation of a `long` paragraph. `visible` removes it from all input."""
_BRACKET_COST, _LINE_COST, _REFERENCE_COST, _MARKUP_COST = 30, 10, 20, 3
"""Costs in characters of prose: of a bracket that may open a link, a line end, a link reference,
and a character that may be markup."""
_MARKUP = "*_~`<&\\!"
_NOT_TABLES = ["paragraph", "reference", "blockquote"]
"""The blocks that a quote, a list or a heading can interrupt: all but tables."""
_MAX_COLUMNS = 30
_MAX_DEPTH = 26
"""Levels of nested tokens. Each quote and each list with its item takes two."""
_MAX_BRACKETS = 20
"""How deep brackets in a text may be nested. Each level takes as long as all others together."""
BOX = "box"
"""The key in the `meta` of a task item: its box, "☐" or "☑", which replaces the bullet."""
_TASK = re.compile(r"\[([ xX])\][ \t]+(?=\S)")
_INDENT = "indent"
"""The key in the `meta` of a paragraph: the columns before its first line, if there are any."""
_POSITION = "position"
"""The key in the `meta` of a soft break: its position in the source."""
_ALERT = re.compile(r"\[!([A-Za-z]+)\][ \t]*(?=\n|\Z)")
_LABEL = re.compile(r"(\*\*|__)(?:(?!\1).)+\1[:：]?|.{1,60}[:：]")
_COLUMNS = re.compile(r"\S(?: {3,}|\t)\S")
_SENTENCE_ENDS = (".", "!", ",", ";", "。", "！", "，", "；")
_CODE_OR_FORMULA = re.compile(
    r"(?<!`)(`++)(?:[^`]++|(?!\1(?!`))`++)++\1(?!`)"  # code
    r"|\$(?!\s)[^$]+(?<!\s)\$(?!\d)|\\\((?:(?!\\\().)+?\\\)"  # a formula, not `$5 | $10`
)
"""Matches what pipes do not divide in a row with too many cells."""
_PIPE = re.compile(r"(?<!\\)\|")
_PIPE_MARK = "\x1f"
"""Stands for a pipe that does not end a cell. `visible` removes it from all input."""
_DELIMITERS = re.compile(r"[|:\- \t]+")


def cost(source: str) -> int:
    """The cost of parsing inline text, in characters of prose."""
    marks = sum(map(source.count, _MARKUP))
    return (
        len(source)
        + _BRACKET_COST * source.count("[")
        + _LINE_COST * source.count("\n")
        + _MARKUP_COST * marks
    )


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
    markdown.inline.ruler.at("text", text_rule)
    quote, items = partial(_within_depth, quote_rule), partial(_within_depth, list_rule)
    block = markdown.block.ruler
    block.at("table", _table, {"alt": ["paragraph", "reference"]})
    block.at("fence", _where("`~", fence_rule), {"alt": [*_NOT_TABLES, "list"]})
    block.at("blockquote", _where(">", quote), {"alt": [*_NOT_TABLES, "list"]})
    block.at("hr", _where("*-_", hr_rule), {"alt": [*_NOT_TABLES, "list"]})
    block.at("list", _where("*+-0123456789", items), {"alt": _NOT_TABLES})
    block.at("reference", _where("[", _reference))
    block.at("html_block", _where("<", html_rule), {"alt": _NOT_TABLES})
    block.at("heading", _where("#", _heading), {"alt": _NOT_TABLES})
    block.at("lheading", _underlined)
    block.at("paragraph", _paragraph)
    block.before("paragraph", "label", _label, {"alt": ["paragraph"]})
    add_math(markdown, cost, MAX_COST)
    return markdown


def _where(characters: str, rule: _Rule) -> _Rule:
    """The rule, tried only on lines that begin with one of these characters. Most do not, and to
    try it takes longer."""

    def guarded(state: StateBlock, line: int, end: int, silent: bool) -> bool:
        start = state.bMarks[line] + state.tShift[line]
        return state.src[start : start + 1] in characters and rule(state, line, end, silent)

    return guarded


def references(known: dict[str, Any]) -> ChainMap[str, Any]:
    """The value of "references" in the `env` of a parser: an empty map, to which the parser adds
    the link references that it finds, and those that are known."""
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
            _show_task_or_alert(state.tokens[max(index - 2, 0)], token)
        while below and below[0][1]["map"][1] <= token.map[0]:
            found.update([below.popleft()])
        token.children = []
        if not token.content:
            continue
        has_lines = "\n" in token.content and state.tokens[index - 1].type != "heading_open"
        follows_mark = state.tokens[max(index - 2, 0)].type == "list_item_open"
        indent = 0 if follows_mark else token.meta.get(_INDENT, 0)
        if has_lines and is_as_written(token.content):
            token.children = list(_tokens_as_written(" " * indent + token.content))
            continue
        _parse(InlineState(token.content, state.md, state.env, token.children))
        if has_lines:
            starts = line_starts(token.content, None if follows_mark else indent)
            token.children = list(_with_line_starts(token.content, starts, token.children))
    found.update(below)


def _parse(state: InlineState) -> None:
    """Parse inline text as the parser's own `inline.parse` does, but with our state."""
    state.level = _MAX_DEPTH - _MAX_BRACKETS  # so that the parser's limit is ours
    state.md.inline.tokenize(state)
    for rule in state.md.inline.ruler2.getRules(""):
        rule(state)


def _show_task_or_alert(parent: Token, inline: Token) -> None:
    """Replace the mark of a task or an alert, with which the first paragraph of an item or a quote
    begins, by a box or the kind of the alert."""
    if parent.type == "blockquote_open":
        inline.content = _ALERT.sub(r"**\1**", inline.content, count=1)
    elif parent.type == "list_item_open" and (task := _TASK.match(inline.content)):
        box = "☐" if task[1] == " " else "☑"
        inline.content = inline.content[task.end() :]
        if parent.info:
            inline.content = f"{box} {inline.content}"
        else:
            parent.meta[BOX] = box


def _tokens_as_written(source: str) -> Iterator[Token]:
    """The inline tokens of lines that are shown as written."""
    for index, line in enumerate(source.split("\n")):
        if index:
            yield Token("hardbreak", "br", 0)
        yield Token("text", "", 0, content=line)


def _with_line_starts(source: str, starts: list[str], tokens: Iterable[Token]) -> Iterator[Token]:
    """Replace each soft break by what precedes the next line, as `line_starts` says."""
    if starts[0]:
        yield Token("text", "", 0, content=starts[0])
    line = at = 0
    for token in tokens:
        if token.type != "softbreak":
            yield token
            continue
        line += source.count("\n", at, token.meta[_POSITION] + 1)
        at = token.meta[_POSITION] + 1
        start = starts[line]
        if start.startswith("\n"):
            yield Token("hardbreak", "br", 0)
            start = start[1:]
        if start:
            yield Token("text", "", 0, content=start)


def _newline(state: StateInline, silent: bool) -> bool:
    at = state.pos
    if state.src[at] != "\n":
        return False
    found = newline_rule(state, silent)
    if found and not silent:
        state.tokens[-1].meta[_POSITION] = at
    return found


# -------------------------------------------------------------------------------------- block rules


def _line_source(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _within_depth(rule: _Rule, state: StateBlock, line: int, end: int, silent: bool) -> bool:
    # Each of these opens two levels. At its own limit the parser would drop the content.
    is_within = state.level + 2 < _MAX_DEPTH
    # The item that ends a paragraph may belong to a list around it.
    return (is_within or (silent and rule is list_rule)) and rule(state, line, end, silent)


def _label(state: StateBlock, line: int, _end: int, silent: bool) -> bool:
    """End the paragraph of an item before a label. It is a paragraph itself."""
    is_outside = 0 <= state.sCount[line] < state.blkIndent
    if not silent or not is_outside:
        return False
    source = _line_source(state, line).rstrip()
    return not source[:1].islower() and _LABEL.fullmatch(source) is not None


def _heading(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    if not heading_rule(state, line, end, True) or cost(_line_source(state, line)) > MAX_COST:
        return False
    return silent or heading_rule(state, line, end, False)


def _table(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    if line + 2 > end or "-" not in _line_source(state, line + 1):
        return False
    head = _line_source(state, line)
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
    head = _line_source(state, line)
    if line + 1 >= end or not _DELIMITERS.fullmatch(_line_source(state, line + 1)):
        return
    hidden = _CODE_OR_FORMULA.sub(lambda part: _PIPE.sub(_PIPE_MARK, part[0]), head)
    if hidden != head:
        start = state.eMarks[line] - len(head)
        state.src = state.src[:start] + hidden + state.src[state.eMarks[line] :]


def _read_table(state: StateBlock, line: int, end: int) -> None:
    """Read a table without adding the missing cells of its rows. With markdown-it's own rule, a row
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
        source = _line_source(state, row).strip()
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
            _CODE_OR_FORMULA.sub(lambda part: _PIPE.sub(r"\\|", part[0]), source)
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
    end_of_run, spent, within, left = state.env.get("run", (-1, 0, 0, 0))
    if end_of_run != line:
        spent, within, left = 0, line, MAX_COST
    if spent > MAX_COST:
        return False
    line_max = state.lineMax
    # A longer one would be a `long` paragraph before its end arrives.
    while within < line_max and not state.isEmpty(within):
        needed = _line_cost(state, within)
        if needed > left:
            break
        within, left = within + 1, left - needed
    if within == line:
        return False
    state.lineMax = within
    found = reference_rule(state, line, end, silent)
    state.lineMax = line_max
    if found:
        if not silent:
            token = state.push("definition", "", 0)
            token.content = state.getLines(line, state.line, state.blkIndent, False)
            token.map, token.hidden = [line, state.line], True
        spent += state.bMarks[state.line] - state.bMarks[line] + _REFERENCE_COST
        left += sum(_line_cost(state, each) for each in range(line, state.line))
        state.env["run"] = state.line, spent, within, left
    return found


def _line_cost(state: StateBlock, line: int) -> int:
    return cost(_line_source(state, line)) + 1 + _LINE_COST
