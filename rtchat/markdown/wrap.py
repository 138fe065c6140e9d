"""Wrap a text into rows that fit on the screen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rich.cells import cell_len, get_character_cell_size
from rich.text import Text

from rtchat.core.text import TAB
from rtchat.markdown.line_breaks import clusters, words

_NARROW = re.compile("[^\xad\u1100-\u11ff\u200b\u2300-\U0010ffff]*")
"""Matches a text of narrow characters, which can be broken only after a `_WORD`."""
_WORD = re.compile(r"(?:[^ \u2014]|\B\u2014|\u2014\B)+\u2014?")
"""Matches up to a space, or up to and including an em dash between words."""
_URL = re.compile(r"https?://|www\.", re.IGNORECASE)


def wrap(text: Text, width: int, *, whole_urls: bool = False) -> list[Text]:
    """The rows of a text, each at most `width` cells wide. A longer word is divided between
    characters. With `whole_urls`, a longer URL instead gets a row of its own, which the terminal
    wraps, so that it can be clicked and copied."""
    rows: list[Text] = []
    for line in text.split(allow_blank=True):
        if "\t" in line.plain:
            line.expand_tabs(TAB)
        starts = _row_starts(line.plain, width, whole_urls=whole_urls)
        parts = line.divide(starts)
        for part in parts:
            part.rstrip()
        rows += parts
    return rows


def longest_word(text: Text) -> int:
    """The width in cells of the longest part of a text that `wrap` keeps whole if it fits."""
    plain = text.plain
    if plain.isascii():
        return max(map(len, plain.split()), default=0)
    lines = plain.split("\n")
    words = (cell_len(line[start:end]) for line in lines for start, end in _words(line) if line)
    return max(words, default=0)


def _row_starts(text: str, width: int, *, whole_urls: bool) -> list[int]:
    """The positions at which the rows of a text begin, without the first."""
    is_ascii = text.isascii()
    if len(text) <= width and (is_ascii or cell_len(text) <= width):
        return []
    starts: list[int] = []
    used = last = 0
    for start, end in _words(text):
        size = end - start if is_ascii else _size(text, start, end)
        used += start - last  # the spaces between
        if used + size > width and last:
            starts.append(start)
            used = 0
        if used + size <= width or (whole_urls and _URL.search(text, start, end)):
            used += size
        elif is_ascii:
            folds = range(start + max(width - used, 0), end, width)
            starts += folds
            used = end - folds[-1]
        else:
            for at, cells in _glyphs(text, start, end):
                if used and used + cells > width:
                    starts.append(at)
                    used = 0
                used += cells
        last = end
    return starts


def _words(text: str) -> Iterable[tuple[int, int]]:
    """The start and the end of each part that must not be broken, without spaces at its end."""
    if _NARROW.fullmatch(text):
        return map(re.Match.span, _WORD.finditer(text))
    return words(text)


def _glyphs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The start and the width in cells of each character with those that combine with it."""
    for first, after in clusters(text[start:end]):
        yield start + first, _size(text, start + first, start + after)


def _size(text: str, start: int, end: int) -> int:
    """The width in cells of a part of a text."""
    is_single = end - start == 1
    return get_character_cell_size(text[start]) if is_single else cell_len(text[start:end])
