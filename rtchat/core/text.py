"""Text of others, made harmless for a terminal: the one gate that all of it passes.

What a terminal would act on, or what hides or reorders what a reader sees, is replaced by something
to be seen: C0 and DEL by their control pictures (ESC is ␛), anything else by its number (<U+202E>),
lone surrogates by �. In JSON the same characters are escaped. Carriage returns vanish, so that CRLF
is a line end however it was cut into deltas. Kept: newline, tab, and the joiners and variation
selectors that scripts and emoji need. `exact` is stricter: no two texts look the same.
"""

from __future__ import annotations

import json
import re
from functools import cache
from unicodedata import category, normalize

from rtchat.core.values import JsonObject

MARK = "▍"
"""Begins each row of the question before a tool runs. It is escaped in all other text, so that no
such text looks like a question."""
_NUMBERED = (
    range(0x80, 0xA0),  # C1: some terminals read U+009B as ESC [
    (0xAD,),  # from here on what is not drawn: soft hyphens, fillers, joiners of graphemes
    (0x034F, 0x061C),
    range(0x115F, 0x1161),
    range(0x17B4, 0x17B6),
    range(0x180B, 0x1810),
    (0x200B,),
    range(0x200E, 0x2010),
    range(0x2028, 0x202F),  # line and paragraph separators; bidi embeddings and overrides
    (ord(MARK),),
    range(0x2060, 0x2070),  # word joiner, invisible operators, bidi isolates
    (0x3164, 0xFEFF, 0xFFA0),
    range(0xFFF9, 0xFFFC),
    range(0x1D173, 0x1D17B),
    range(0xE0000, 0xE0200),  # tags and more variation selectors: text for models only
)
_MOST_KEPT = 10_000
"""Characters that are remembered; a text of all there are must not fill the memory."""


def whole_characters(text: str) -> str:
    """The text with each half of a surrogate pair joined to its other half, or replaced by U+FFFD.

    JSON can carry half a pair, and so can a badly decoded terminal; no UTF-8 can.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class _Table(dict[int, str | None]):
    """What each character becomes, found out when it first comes: a start has no time for all."""

    def __missing__(self, code: int) -> str | None:
        shown = _shown(code)
        if len(self) < _MOST_KEPT:
            self[code] = shown
        return shown


def _shown(code: int) -> str | None:
    if code in (0x09, 0x0A):
        return chr(code)
    if code == 0x0D:
        return None
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0xD800 <= code < 0xE000:
        return "�"
    numbered = any(code in codes for codes in _NUMBERED)
    return f"<U+{code:04X}>" if numbered else chr(code)


_TABLE = _Table()


def visible(text: str) -> str:
    """The same text with everything that could act on a terminal made visible.

    Each character by itself, so that it does not matter how a text was cut into deltas.
    """
    return text.translate(_TABLE)


def on_a_line(text: str) -> str:
    """The same text as one harmless line."""
    return visible(" ".join(text.split()))


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and … if it has more characters than `most`."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


_BLANK = {"\x7f", "\u2800", *map(chr, range(0xFE00, 0xFE10))}
"""Characters that `visible` keeps or replaces, and `exact` escapes."""
_MOST_MARKS = 2
"""Combining marks on a letter. More could cover the text around it."""


def exact(text: str) -> str:
    """The text as a JSON string: `json.loads` returns it unchanged.

    Besides what JSON requires, this escapes every character that is invisible, looks like a space
    but is not one, changes how others are shown, or turns the letter before it into another.
    """
    literal = json.dumps(text, ensure_ascii=False)
    if literal.isascii() and "\x7f" not in literal:
        return literal
    shown = []
    before, marks = "", _MOST_MARKS
    for character in literal:
        kind = category(character)[0]
        marks = marks + 1 if kind == "M" else 0 if kind == "L" else _MOST_MARKS
        is_misleading = kind == "M" and (
            marks > _MOST_MARKS or len(normalize("NFC", before + character)) < 2
        )
        is_seen = character.isprintable() and character == visible(character)
        before = character if is_seen and not is_misleading and character not in _BLANK else ""
        shown.append(before or _ESCAPED.get(character) or json.dumps(character)[1:-1])
    return "".join(shown)


_ESCAPED = {"\x7f": "\\u007f"}
"""Escapes that `json` does not make."""


def compact_json(data: JsonObject) -> str:
    """A JSON object as one line without spaces: a frame, or a field of the database."""
    return whole_characters(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def write_json(data: JsonObject, *, indent: int | None = None) -> str:
    """A JSON object for a file or a terminal. What a terminal could act on is always escaped; other
    text stays as it is."""
    text = compact_json(data)
    if indent is not None:
        # From the frame, in which every text can be encoded.
        text = json.dumps(json.loads(text), ensure_ascii=False, indent=indent)
    return _harmless(text)


def exact_json(data: JsonObject) -> str:
    """As `write_json` on one line, but half a surrogate pair, which no UTF-8 can hold, is escaped
    and not replaced."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    if whole_characters(text) != text:
        text = json.dumps(data, separators=(",", ":"))
    return _harmless(text)


def _harmless(text: str) -> str:
    if text.isascii() and "\x7f" not in text:
        return text
    return _acting().sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


@cache
def _acting() -> re.Pattern[str]:
    """Matches characters that `visible` replaces, except those that JSON escapes anyway."""
    codes = (0x7F, *(code for codes in _NUMBERED for code in codes))
    return re.compile(f"[{''.join(map(chr, codes))}]")
