"""Bare links: `https://…`, `www.…` and e-mail addresses without brackets. GFM calls them extended
autolinks.

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
from markdown_it.rules_inline import text as plain_text_rule
from markdown_it.token import Token

from rtchat.markdown.emphasis import EmphasisState

_EMAIL = r"[A-Za-z0-9.+_-]++@[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++)++(?<![_-])"
_LINK = re.compile(
    rf"""(?P<web>(?:(?<![A-Za-z0-9])(?:https?|ftp)://|(?<![!-'+-^`-}}])www\.)
             (?P<domain>[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++)*+) [!-;=-_a-~]*+)
      | (?<![A-Za-z0-9.+_/:-]) (?:mailto:{_EMAIL} | xmpp:{_EMAIL}(?:/[A-Za-z0-9@.]++)?
          | {_EMAIL})""",
    re.IGNORECASE | re.VERBOSE,
)
_ENTITY = re.compile(r"&[A-Za-z0-9]+;$")
_TRAILING_PUNCTUATION = "?!.,:*_~'\""
"""The punctuation that does not belong to a link if it ends with it."""
_BRACKETS = {")": "(", "]": "["}


class BareLink(NamedTuple):
    """A bare link in the source of a text: the position of its end, and its target."""

    end: int
    href: str


def bare_links(source: str) -> dict[int, BareLink]:
    """The bare links in the source of a text, by the position of their start."""
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
    """The URL without the punctuation, entities and closing brackets that only follow it."""
    surplus = {
        closing: url.count(closing) - url.count(opening) for closing, opening in _BRACKETS.items()
    }
    while True:
        last = url[-1]
        if last in _TRAILING_PUNCTUATION or surplus.get(last, 0) > 0:
            url = url[:-1]
            surplus[last] = surplus.get(last, 0) - 1
        elif found := _ENTITY.search(url):
            url = url[: found.start()]
        else:
            return url


class InlineState(EmphasisState):
    """The state of the inline parser, with the bare links in its source."""

    def __init__(
        self, source: str, markdown: MarkdownIt, env: MutableMapping[str, Any], tokens: list[Token]
    ) -> None:
        super().__init__(source, markdown, env, tokens)
        self.bare_links = bare_links(source)
        self.link_starts = list(self.bare_links)


def text_rule(state: StateInline, silent: bool) -> bool:
    """Read a bare link, or text up to one or to a character that may be markup."""
    if not isinstance(state, InlineState) or not state.bare_links:
        return plain_text_rule(state, silent)
    start = state.pos
    if not silent and not state.linkLevel and _read_link(state):
        return True
    if not plain_text_rule(state, True):
        return False
    following = bisect_right(state.link_starts, start)
    state.pos = min(state.pos, *state.link_starts[following : following + 1], state.posMax)
    if not silent:
        state.pending += state.src[start : state.pos]
    return True


def _read_link(state: InlineState) -> bool:
    """Read the bare link that begins here, if there is one."""
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
