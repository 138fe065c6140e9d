"""The Markdown dialect: CommonMark with tables, strikethrough, task lists, alerts, bare links,
formulas, and limits.

Line ends that the author intended are hard breaks (see `line_ends`).

The limits keep an endless block from delaying a stream. They also apply to text rendered at once:
- A paragraph whose parsing cost exceeds `MAX_COST` becomes a `long` token, shown as written.
- A heading, table head or run of link references that exceeds it is parsed as a paragraph.
- Quotes and lists nested deeper than `MAX_DEPTH` are text.
- A link is resolved only by references above it: it is printed before any below it arrive.
  Therefore each reference becomes a `definition` token, which is shown.

Other differences, where authors mean something else (see also `table_rule`):
- A label, such as `**Cons**` or `Cons:`, is not part of a list item if it is indented less.
- `---` below text makes it a heading only if it is one line and does not end like a sentence.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable
from functools import partial
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
from markdown_it.rules_core import StateCore

from rtchat.markdown.autolinks import text_rule
from rtchat.markdown.inline_rule import INDENT, inline_rule, newline_rule
from rtchat.markdown.limits import LINE_COST, MAX_COST, MAX_DEPTH, cost, is_long
from rtchat.markdown.line_ends import COLUMNS
from rtchat.markdown.math import add_math
from rtchat.markdown.table_rule import line_source, table_rule

_Rule: TypeAlias = Callable[[StateBlock, int, int, bool], bool]

_NOT_TABLES = ["paragraph", "reference", "blockquote"]
"""The blocks that a quote, a list or a heading can interrupt: all but tables."""
_LABEL = re.compile(r"(\*\*|__)(?:(?!\1).)+\1[:：]?|.{1,60}[:：]")
_REFERENCE_COST = 20
"""The cost, in characters of prose, of a link reference besides its text."""
_SENTENCE_ENDS = (".", "!", ",", ";", "。", "！", "，", "；")


def parser() -> MarkdownIt:
    """Create a parser. To parse inline text too, its `env` needs "references"."""
    markdown = MarkdownIt("commonmark", {"maxNesting": MAX_DEPTH})
    markdown.core.ruler.after("normalize", "last_line", _end_last_line)
    markdown.core.ruler.at("inline", inline_rule)
    markdown.enable(["table", "strikethrough"])
    markdown.inline.ruler.at("newline", newline_rule)
    markdown.inline.ruler.at("text", text_rule)
    quote, items = partial(_within_depth, quote_rule), partial(_within_depth, list_rule)
    block = markdown.block.ruler
    block.at("table", table_rule, {"alt": ["paragraph", "reference"]})
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
    add_math(markdown)
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


def _end_last_line(state: StateCore) -> None:
    # markdown-it reads past the end of a text that ends in an HTML block without a newline.
    if not state.src.endswith("\n"):
        state.src += "\n"


# -------------------------------------------------------------------------------------- block rules


def _within_depth(rule: _Rule, state: StateBlock, line: int, end: int, silent: bool) -> bool:
    # Each of these opens two levels. At its own limit the parser would drop the content.
    is_within = state.level + 2 < MAX_DEPTH
    # The item that ends a paragraph may belong to a list around it.
    return (is_within or (silent and rule is list_rule)) and rule(state, line, end, silent)


def _label(state: StateBlock, line: int, _end: int, silent: bool) -> bool:
    """End the paragraph of an item before a label. It is a paragraph itself."""
    is_outside = 0 <= state.sCount[line] < state.blkIndent
    if not silent or not is_outside:
        return False
    source = line_source(state, line).rstrip()
    return not source[:1].islower() and _LABEL.fullmatch(source) is not None


def _heading(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    if not heading_rule(state, line, end, True) or cost(line_source(state, line)) > MAX_COST:
        return False
    return silent or heading_rule(state, line, end, False)


def _paragraph(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    before = len(state.tokens)
    paragraph_rule(state, line, end, silent)
    inline = state.tokens[before + 1]
    if indent := state.sCount[line] - state.blkIndent:
        inline.meta[INDENT] = indent
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
    is_row = COLUMNS.search(inline.content) is not None
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
    return cost(line_source(state, line)) + 1 + LINE_COST
