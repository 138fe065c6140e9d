"""Escapes untrusted text for a terminal. All text from outside the program passes through here.

Characters that control a terminal, or that hide or reorder text, are replaced by visible ones: C0
controls and DEL by their control pictures (ESC is ␛), lone surrogates by �, and all others by their
code points (<U+202E>). In JSON the same characters are escaped. Carriage returns are removed, so
that CRLF is a line end even if it is split between deltas. Newline, tab, and the joiners and
variation selectors that scripts and emoji need are not replaced. `exact` is stricter: no two texts
look the same.
"""

from __future__ import annotations

import json
import re
from functools import cache
from unicodedata import category, normalize

PROMPT = "› "  # noqa: RUF001 # the prompt is meant to look like this
"""Precedes what the user enters."""
TAB = 8
"""Cells between the tab stops of a terminal."""
MARK = "▍"
"""Begins each row of the question whether a tool may run. It is escaped in all other text, so that
no other text can look like such a question."""
_REPLACED = (
    range(0x80, 0xA0),  # C1: some terminals interpret U+009B as ESC [
    (0xAD,),  # from here on, invisible characters: soft hyphens, fillers, grapheme joiners
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
    range(0xE0000, 0xE0200),  # tags and more variation selectors: text that only models see
)
_MAX_CACHED = 10_000
"""How many characters are cached; a text with all Unicode characters must not exhaust the
memory."""


def whole_characters(text: str) -> str:
    """The text with each half of a surrogate pair joined to its other half, or replaced by U+FFFD.

    JSON and wrongly decoded terminal input can contain half a pair; UTF-8 cannot.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class _Table(dict[int, str | None]):
    """The replacement of each character, computed on first use to keep startup fast."""

    def __missing__(self, code: int) -> str | None:
        replacement = _replacement(code)
        if len(self) < _MAX_CACHED:
            self[code] = replacement
        return replacement


def _replacement(code: int) -> str | None:
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
    is_replaced = any(code in codes for codes in _REPLACED)
    return f"<U+{code:04X}>" if is_replaced else chr(code)


_TABLE = _Table()


def visible(text: str) -> str:
    """The text with all characters that could control a terminal replaced by visible ones.

    Characters are replaced one by one, so the result does not depend on how text was split.
    """
    if text.isascii() and text.isprintable():  # most text, and much faster
        return text
    return text.translate(_TABLE)


def hidden_characters() -> dict[str, str]:
    """The replacements of the characters that hide or reorder text."""
    hidden = {chr(code) for codes in _REPLACED for code in codes} - {MARK}
    return {character: visible(character) for character in hidden}


def on_a_line(text: str) -> str:
    """The text as one line, escaped as by `visible`."""
    return visible(" ".join(text.split()))


def folded(text: str) -> str:
    """The text for a comparison that ignores case and diacritics."""
    return "".join(c for c in normalize("NFD", text.casefold()) if category(c) != "Mn")


def shortened(text: str, max_length: int) -> str:
    """The text, shortened to `max_length` characters with … at the end if it is longer."""
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


_BLANK = {"\x7f", "\u2800", *map(chr, range(0xFE00, 0xFE10))}
"""Characters that `visible` keeps or replaces, and `exact` escapes."""
_MAX_MARKS = 2
"""Combining marks per letter. More could cover the text around it."""


def sentence(text: str) -> str:
    """The text with exactly one full stop at its end, or with the mark that it ends with."""
    text = text.rstrip()
    return text if text.endswith(("!", "?", "…")) else f"{text.rstrip('. ')}."


def exact(text: str) -> str:
    """The text as a JSON string: `json.loads` returns it unchanged.

    In addition to what JSON requires, every character is escaped that is invisible, looks like a
    space but is not one, changes how others are shown, or turns the letter before it into another.
    """
    literal = json.dumps(text, ensure_ascii=False)
    if literal.isascii() and "\x7f" not in literal:
        return literal
    shown = []
    before, marks = "", _MAX_MARKS
    for character in literal:
        kind = category(character)[0]
        marks = marks + 1 if kind == "M" else 0 if kind == "L" else _MAX_MARKS
        is_misleading = kind == "M" and (
            marks > _MAX_MARKS or len(normalize("NFC", before + character)) < 2
        )
        is_visible = character.isprintable() and character == visible(character)
        before = character if is_visible and not is_misleading and character not in _BLANK else ""
        shown.append(before or _ESCAPED.get(character) or json.dumps(character)[1:-1])
    return "".join(shown)


_ESCAPED = {"\x7f": "\\u007f"}
"""Escapes that `json` does not make."""


def compact_json(data: object) -> str:
    """A JSON value as one line without spaces: a frame, or a field of the database."""
    return whole_characters(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def write_json(data: object, *, indent: int | None = None) -> str:
    """A JSON value for a file or a terminal, with characters that could control one escaped."""
    text = compact_json(data)
    if indent is not None:
        # From the compact text, which has no lone surrogates.
        text = json.dumps(json.loads(text), ensure_ascii=False, indent=indent)
    return _escape(text)


def exact_json(data: object) -> str:
    """Like `write_json` on one line, but half a surrogate pair, which UTF-8 cannot encode, is
    escaped and not replaced."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    if whole_characters(text) != text:
        text = json.dumps(data, separators=(",", ":"))
    return _escape(text)


def _escape(text: str) -> str:
    if text.isascii() and "\x7f" not in text:
        return text
    return _control_characters().sub(_escape_match, text)


def _escape_match(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


@cache
def _control_characters() -> re.Pattern[str]:
    """Matches the characters that `visible` replaces, except those that JSON escapes anyway."""
    codes = (0x7F, *(code for codes in _REPLACED for code in codes))
    return re.compile(f"[{''.join(map(chr, codes))}]")


def clock(seconds: float) -> str:
    """A position in a recording: `3:12`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
