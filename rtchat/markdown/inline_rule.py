"""Rules for inline text: what the parser reads in it, and what line ends and marks stand for."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline import newline as markdown_it_rule
from markdown_it.token import Token

from rtchat.markdown.autolinks import InlineState
from rtchat.markdown.limits import MAX_DEPTH
from rtchat.markdown.line_ends import is_as_written, line_starts

_MAX_BRACKETS = 20
"""Levels of nested brackets in inline text. Each level doubles the time."""
BOX = "box"
"""The key in the `meta` of a task item: its box, "☐" or "☑", which replaces the bullet."""
_TASK = re.compile(r"\[([ xX])\][ \t]+(?=\S)")
INDENT = "indent"
"""The key in the `meta` of a paragraph: the columns before its first line, if there are any."""
_POSITION = "position"
"""The key in the `meta` of a soft break: its position in the source."""
_ALERT = re.compile(r"\[!([A-Za-z]+)\][ \t]*(?=\n|\Z)")


def inline_rule(state: StateCore) -> None:
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
        indent = 0 if follows_mark else token.meta.get(INDENT, 0)
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
    state.level = MAX_DEPTH - _MAX_BRACKETS  # so that the parser's limit is ours
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


def newline_rule(state: StateInline, silent: bool) -> bool:
    """Read a line end, and note its position."""
    at = state.pos
    if state.src[at] != "\n":
        return False
    found = markdown_it_rule(state, silent)
    if found and not silent:
        state.tokens[-1].meta[_POSITION] = at
    return found
