"""Searches the history: the meaning of a query, and the items that match it.

A query consists of words, `"phrases"` and beginnings of words (`web*`). An item matches if it
contains all of them. A word is also found inside other words, as "socket" in "WebSockets"; such
matches come last. Case and diacritics are ignored.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from rtchat.core.text import folded
from rtchat.core.values import value
from rtchat.history import schema

_ELEMENT = re.compile(r'"([^"]*)"(\*?)|([^\s"]+)')
"""A phrase, a phrase whose last word may be longer, or a word. A quotation mark without a partner
is ignored."""
_MIN_INSIDE = 3
"""The least number of ASCII characters that are searched for inside words."""
_MAX_INSIDE = 8
"""With more words than these, none is searched for inside words: that would take too long."""
_START, _END = "\ufdd0", "\ufdd1"
"""Mark a match in a snippet. They are noncharacters, which no text should contain."""


@value
class Snippet:
    """A part of a text, on one line, with the start and the end of each match in it."""

    text: str
    marks: tuple[tuple[int, int], ...]


@value
class _Element:
    """A part of a query. `word` is its text if it is also searched for inside words."""

    expression: str
    word: str = ""


def search(
    db: sqlite3.Connection, query: str, columns: str, limit: int
) -> list[tuple[Sequence[Any], Snippet]]:
    """These columns of the matching items and their conversations, with snippets.

    The newest matches come first, but matches inside words last.
    """
    elements = list(dict.fromkeys(_elements(query)))
    if not elements:
        return []
    select = f"""SELECT snippet(words, 0, ?, ?, '…', 16), {columns}
        FROM words JOIN item ON item.id = words.rowid
        JOIN conversation ON conversation.id = item.conversation
        WHERE words MATCH ? AND words.rowid NOT IN (SELECT rowid FROM words WHERE words MATCH ?)
        ORDER BY words.rowid DESC LIMIT ?"""
    plain = " AND ".join(element.expression for element in elements)
    found = db.execute(select, (_START, _END, plain, _NOTHING, limit)).fetchall()
    if len(found) < limit and len(elements) <= _MAX_INSIDE:
        inside = " AND ".join(_with_words_inside(db, element) for element in elements)
        if inside != plain:
            rest = (_START, _END, inside, plain, limit - len(found))
            found += db.execute(select, rest).fetchall()
    return [(row, _snippet(marked)) for marked, *row in found]


_NOTHING = '""'
"""An expression that matches nothing."""


def _elements(query: str) -> Iterator[_Element]:
    for phrase, star, word in _ELEMENT.findall(schema.plain(query)):
        is_prefix = bool(star or not phrase)
        text = phrase or word
        if any(character.isalnum() for character in text):
            has_star = word.endswith("*")
            inside = "" if phrase or has_star else folded(word)
            yield _Element(f'"{text}"*' if is_prefix else f'"{text}"', inside)


def _with_words_inside(db: sqlite3.Connection, element: _Element) -> str:
    """The expression for an element, or for one of the words that contain its word."""
    word = element.word
    if not word.isalnum() or (len(word) < _MIN_INSIDE and word.isascii()):
        return element.expression
    db.execute(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab(main, words, row)"
    )
    longer = db.execute("SELECT term FROM temp.vocabulary WHERE instr(term, ?) > 1", (word,))
    alternatives = [element.expression, *(f'"{term}"' for (term,) in longer)]
    return f"({' OR '.join(alternatives)})" if len(alternatives) > 1 else element.expression


def _snippet(marked: str) -> Snippet:
    text, marks = "", []
    for piece in re.split(f"([{_START}{_END}])", " ".join(marked.split())):
        if piece == _START:
            marks.append((len(text), len(text)))
        elif piece == _END and marks:
            marks[-1] = (marks[-1][0], len(text))
        elif piece not in (_START, _END):
            text += piece
    return Snippet(text, tuple(marks))
