"""Links without brackets: `https://…`, `www.…` and e-mail addresses, GFM's extended autolinks.

They are found before the text around them is parsed, so `_` and `*` inside them are not emphasis.
We differ from GFM in these points: a link has ASCII characters only and ends before Chinese and
Japanese text; `http://` may follow any character but an ASCII letter or digit; `localhost` is a
domain.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import MutableMapping
from typing import Any, NamedTuple
from unicodedata import east_asian_width

from markdown_it import MarkdownIt
from markdown_it.common.utils import unescapeAll
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline import text as text_rule
from markdown_it.token import Token

from rtchat.markdown.emphasis import EmphasisState

_MAIL = r"[A-Za-z0-9.+_-]++@[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++)++(?<![_-])"
_LINK = re.compile(
    rf"""(?P<web>(?:(?<![A-Za-z0-9])(?:https?|ftp)://|(?<![!-'+-^`-}}])www\.)
             (?P<domain>[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++)*+) [!-;=-_a-~]*+)
      | (?<![A-Za-z0-9.+_/:-]) (?:mailto:{_MAIL} | xmpp:{_MAIL}(?:/[A-Za-z0-9@.]++)? | {_MAIL})""",
    re.IGNORECASE | re.VERBOSE,
)
_ENTITY = re.compile(r"&[A-Za-z0-9]+;$")
_MARKS = "?!.,:*_~'\""
"""What is not part of a link at its end."""
_BRACKETS = {")": "(", "]": "["}


class BareLink(NamedTuple):
    """A link in the source of a text: where it ends, and its target."""

    end: int
    href: str


def bare_links(source: str) -> dict[int, BareLink]:
    """The links in the source of a text, by their start."""
    if "@" not in source and "://" not in source and "www." not in source.lower():
        return {}
    found = ((match, _link(match)) for match in _LINK.finditer(source))
    return {match.start(): link for match, link in found if link is not None}


def _link(found: re.Match[str]) -> BareLink | None:
    url = _trimmed(found[0])
    after = found.string[found.end() : found.end() + 1]
    is_open = url == found[0] and not url[-1].isalnum()
    if after.isalnum() and (is_open or east_asian_width(after) not in "WFH"):
        return None  # it continues with characters that are not ASCII
    if found["web"] and any("_" in part for part in found["domain"].split(".")[-2:]):
        return None
    start = url[:7].lower()
    before = "http://" if start.startswith("www.") else "" if ":" in start else "mailto:"
    return BareLink(found.start() + len(url), before + unescapeAll(url))


def _trimmed(url: str) -> str:
    """The URL without what follows it: punctuation, an entity, a bracket that it does not open."""
    while True:
        last = url[-1]
        opening = _BRACKETS.get(last)
        if last in _MARKS or (opening and url.count(last) > url.count(opening)):
            url = url[:-1]
        elif found := _ENTITY.search(url):
            url = url[: found.start()]
        else:
            return url


class InlineState(EmphasisState):
    """The state of the inline parser, with the links without brackets in its source."""

    def __init__(
        self, source: str, markdown: MarkdownIt, env: MutableMapping[str, Any], tokens: list[Token]
    ) -> None:
        super().__init__(source, markdown, env, tokens)
        self.bare_links = bare_links(source)
        self.starts = list(self.bare_links)


def bare_link_rule(state: StateInline, silent: bool) -> bool:
    """Read a link without brackets, unless it is in the label of another."""
    if silent or state.linkLevel or not isinstance(state, InlineState):
        return False
    link = state.bare_links.get(state.pos)
    if link is None or link.end > state.posMax:
        return False
    opening = state.push("link_open", "a", 1)
    opening.attrs, opening.markup, opening.info = {"href": link.href}, "linkify", "auto"
    text = state.push("text", "", 0)
    text.content = unescapeAll(state.src[state.pos : link.end])
    closing = state.push("link_close", "a", -1)
    closing.markup, closing.info = "linkify", "auto"
    state.pos = link.end
    return True


def text_up_to_link_rule(state: StateInline, silent: bool) -> bool:
    """Read text up to a character that may be markup, or up to a link without brackets."""
    start = state.pos
    if not isinstance(state, InlineState) or not state.bare_links:
        return text_rule(state, silent)
    if not text_rule(state, True):
        return False
    following = bisect_right(state.starts, start)
    state.pos = min(state.pos, *state.starts[following : following + 1], state.posMax)
    if not silent:
        state.pending += state.src[start : state.pos]
    return True
