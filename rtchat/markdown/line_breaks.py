"""Where a line of text may be broken, by the Unicode line breaking algorithm (UAX #14).

`_may_break` has the rules of the standard, with their numbers (`LB7`). We differ from it in these
points:

- Between narrow characters, lines break after spaces, zero-width spaces, soft hyphens and em dashes
  between letters only. So `--option`, `/usr/local`, `well-known` and `f(x)` stay whole.
- Hangul breaks at spaces. The standard allows this style as well as breaks inside words.
- Narrow symbols are letters, and so are the scripts of Java, Bali and others that the standard
  treats by syllables. Thai and its neighbours need a dictionary: they break at spaces.
- A line is not broken after spaces at its start.
- A skin tone is never separated from what precedes it, nor a flag into its letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from unicodedata import category, east_asian_width

# The kinds of characters, with their classes in the standard. A kind is one letter: the kinds of a
# text are a string, in which patterns can search, and the rules below write a set of kinds as a
# string. Upper case means narrow characters. Lower case means East Asian wide ones (`o` is the wide
# `O`), and the soft hyphen, after which a line may be broken as between them.
_LETTER = "A"  # AL; in lower case Hangul: H2, H3, JL
_NUMBER = "N"  # NU
_HEBREW = "H"  # HL
_WIDE = "i"  # ID: Chinese characters, kana, emoji
_SPACE = " "  # SP
_ZERO_WIDTH_SPACE = "Z"  # ZW
_SOFT_HYPHEN = "y"  # BA, only U+00AD
_GLUE = "G"  # GL: no-break spaces
_WORD_JOINER = "W"  # WJ
_DASH = "B"  # B2: em dashes
_HYPHEN = "Y"  # HY
_SLASH = "S"  # SY
_BREAK_AFTER = "D"  # BA
_BREAK_BEFORE = "F"  # BB
_OPEN = "O"  # OP: opening brackets
_CLOSE = "C"  # CL: closing brackets, and the wide full stop and comma
_PARENTHESIS = "T"  # CP: `)` and `]`
_EXCLAMATION = "X"  # EX: exclamation and question marks
_INFIX = "I"  # IS: narrow full stops, commas and colons
_NON_STARTER = "n"  # NS: small kana, iteration marks
_PREFIX = "R"  # PR: currencies and signs before a number
_POSTFIX = "P"  # PO: units after a number
_LEADER = "E"  # IN: ellipses
_QUOTE = "Q"  # QU, if it may open or close
_OPENING_QUOTE = "U"  # QU with the category Pi
_CLOSING_QUOTE = "V"  # QU with the category Pf
_COMBINING = "M"  # CM
_JOINER = "J"  # ZWJ
_LINKER = "K"  # CM, if it joins letters: the virama of Indian scripts
_FLAG = "f"  # RI: half of a flag
_SKIN_TONE = "m"  # EM
_END = "$"  # the beginning and the end of a text
_COMBINING_KINDS = _COMBINING + _JOINER + _LINKER
_ALPHANUMERIC = _LETTER + _NUMBER

_CHARACTERS = {
    _SPACE: " ",
    _ZERO_WIDTH_SPACE: "\u200b",
    _SOFT_HYPHEN: "\xad",
    _WORD_JOINER: "\u2060\ufeff",
    _GLUE: "\xa0\u2007\u2011\u202f\u180e\u0f08\u0f0c\u0f12",
    _JOINER: "\u200d",
    _HYPHEN: "-",
    _SLASH: "/",
    _DASH: "\u2014\u2e3a\u2e3b",
    _BREAK_AFTER: "\t|\u058a\u05be\u2010\u2012\u2013\u2027।॥\u0e5a\u0e5b"
    "\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a\u205f",
    _BREAK_AFTER.lower(): "\u3000",
    _BREAK_BEFORE: "\xb4\u02c8\u02cc\u02df\u1806",
    _PARENTHESIS: ")]",
    _CLOSE.lower(): "、。︐︑︒﹐﹒，．｡､",
    _EXCLAMATION: "!?؛؝؞؟۔❢❣",
    _EXCLAMATION.lower(): "︕︖﹖﹗！？",
    _INFIX: ",.:;\u037e\u0589،؍\u07f8\u2044",
    _NON_STARTER: "\u17d6‼‽⁇⁈⁉々〜〻〼゛゜ゝゞ゠・ヽヾꀕ︓︔﹔﹕：；･ﾞﾟー"
    "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶｧｨｩｪｫｬｭｮｯｰ"
    "\u31f0\u31f1\u31f2\u31f3\u31f4\u31f5\u31f6\u31f7\u31f8\u31f9\u31fa\u31fb\u31fc\u31fd\u31fe\u31ff",
    _PREFIX: "+\\±№−∓",
    _POSTFIX: "%¢°؉؊؋٪‰‱′″‴‵‶‷⁗₧℃℉﷼",
    _POSTFIX.lower(): "﹪％￠",
    _LEADER: "\u2024\u2025\u2026\u22ef",
    _LEADER.lower(): "\ufe19",
    _QUOTE: "\"'❛❜❝❞❟❠",
    _LINKER: "\u094d\u09cd\u0acd\u0b4d\u0c4d\u0d4d",
    _COMBINING: "\u0e33\u0eb3\u200c\u3035",
}
"""The characters whose kind does not follow from their general category."""
_KIND_OF_CHARACTER = {
    character: kind for kind, characters in _CHARACTERS.items() for character in characters
}
_KIND_OF_CATEGORY = {
    "Nd": _NUMBER,
    "Ps": _OPEN,
    "Pe": _CLOSE,
    "Pi": _OPENING_QUOTE,
    "Pf": _CLOSING_QUOTE,
    "Sc": _PREFIX,
    "Mn": _COMBINING,
    "Mc": _COMBINING,
    "Me": _COMBINING,
    "Cc": _COMBINING,
}
_ALSO_WIDE = {_OPEN, _CLOSE, _PREFIX}
"""The kinds of wide characters that follow from the category. All others are `_WIDE`."""
_HANGUL = re.compile("[\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff]")
_CLUSTER = re.compile(
    rf"(?:fM*f|J[^ Z]|[^ Z])(?:[{_COMBINING}{_SKIN_TONE}]|{_JOINER}[^ Z]?|{_LINKER}+{_LETTER}?)*|.",
    re.DOTALL,
)
"""Matches the kinds of a character and of those that combine with it."""
_UNIT = re.compile(
    rf"(?:[{_ALPHANUMERIC}]+|a+|o+|c+|{_WIDE}{{3,}})(?![{_COMBINING}{_SKIN_TONE}{_JOINER}{_LINKER}])"
    rf"| +|{_CLUSTER.pattern}",
    re.DOTALL,
)
"""Matches the kinds of characters between which a line is never broken, or of wide ones between
which it always may be."""


_MAX_CACHED = 10_000


class _Kinds(dict[str, str]):
    """The kind of each character, found on first use."""

    def __missing__(self, character: str) -> str:
        kind = _kind(character)
        if len(self) < _MAX_CACHED:
            self[character] = kind
        return kind


_KINDS = _Kinds()


def _kind(character: str) -> str:
    code = ord(character)
    if known := _KIND_OF_CHARACTER.get(character):
        return known
    if 0x1F1E6 <= code < 0x1F200:
        return _FLAG
    if 0x1F3FB <= code < 0x1F400:
        return _SKIN_TONE
    if 0x1160 <= code < 0x1200 or 0xD7B0 <= code < 0xD800:  # the later parts of a Hangul syllable
        return _COMBINING
    if _HANGUL.match(character):
        return _LETTER.lower()
    if 0x5D0 <= code < 0x5F3:
        return _HEBREW
    is_wide = east_asian_width(character) in "WFH"
    kind = _KIND_OF_CATEGORY.get(category(character), _LETTER)
    if is_wide and kind != _COMBINING:
        return kind.lower() if kind in _ALSO_WIDE else _WIDE
    return kind


def clusters(text: str) -> Iterator[tuple[int, int]]:
    """The start and the end of each character in a text, with those that combine with it."""
    kinds = "".join(map(_KINDS.__getitem__, text))
    return (found.span() for found in _CLUSTER.finditer(kinds))


def words(text: str) -> list[tuple[int, int]]:
    """The start and the end of each part of a line within which it must not be broken. The spaces
    between the parts are in none."""
    kinds = "".join(map(_KINDS.__getitem__, text))
    units = _UNIT.findall(kinds)
    found = []
    before, last, is_spaced = _END, _END, False
    begin = over = start = 0
    for unit, after in zip(units, (*units[1:], _END), strict=False):
        first = unit[0]
        end = start + len(unit)
        if first == _SPACE:
            is_spaced, start = True, end
            continue
        if last == _END:
            begin = start
        elif last == first == _WIDE or _may_break(before, last, is_spaced, first, after[0]):
            found.append((begin, over))
            begin = start
        if unit.startswith(_WIDE * 3):
            found.append((begin, start + 1))
            found += [(at, at + 1) for at in range(start + 1, end - 1)]
            begin, last, is_spaced = end - 1, _WIDE, False
        start = over = end
        before = _SPACE if is_spaced else last
        last = unit[-1] if first in _ALPHANUMERIC and unit[-1] in _ALPHANUMERIC else first
        is_spaced = False
    if last != _END:
        found.append((begin, over))
    return found


@lru_cache(maxsize=10_000)
def _may_break(before: str, last: str, is_spaced: bool, first: str, after: str) -> bool:
    """Whether a line may be broken between characters of the kinds `last` and `first`; `is_spaced`
    is whether there are spaces between them. `before` and `after` are the kinds around them."""
    last = _LETTER if last in _COMBINING_KINDS else last  # LB10: it has nothing to combine with
    first = _LETTER if first in _COMBINING_KINDS else first
    if _ZERO_WIDTH_SPACE in (last, first):
        return first != _ZERO_WIDTH_SPACE  # LB7, LB8
    if _is_narrow(last) and _is_narrow(first):
        return is_spaced or (last == _DASH and before in "ANH" and first in "ANH")
    around = before, last, first, after
    if _is_prohibited_at_spaces(*around):
        return False
    return is_spaced or not (_is_prohibited_by_quote(*around) or _is_prohibited(*around))


def _is_narrow(kind: str) -> bool:
    """Whether the characters of a kind are not East Asian wide ones."""
    return not kind.islower()


def _is_prohibited_at_spaces(before: str, last: str, first: str, after: str) -> bool:
    """Whether a break between `last` and `first` is prohibited even if there are spaces."""
    return (
        first == _WORD_JOINER  # LB11
        or first in "CcTXxS"  # LB13
        or last in "Oo"  # LB14
        or (last == _OPENING_QUOTE and before in "$ OoQUVGZ")  # LB15a
        or (first == _CLOSING_QUOTE and after in "$ GWCcQUVTXxISZ")  # LB15b
        or (first == _INFIX and after != _NUMBER)  # LB15c, LB15d
        or (last in "CcT" and first == _NON_STARTER)  # LB16
    )


def _is_prohibited_by_quote(before: str, last: str, first: str, after: str) -> bool:
    """Whether a break without spaces is prohibited by a quotation mark."""
    return (
        first in "QV"  # LB19
        or last in "QU"
        or (first == _OPENING_QUOTE and (_is_narrow(last) or _is_narrow(after)))  # LB19a
        or (last == _CLOSING_QUOTE and (_is_narrow(first) or _is_narrow(before)))
    )


def _is_prohibited(before: str, last: str, first: str, after: str) -> bool:
    """Whether a break without spaces is prohibited by another rule."""
    return (
        last in "WG"  # LB11, LB12
        or (first == _GLUE and last not in "DdYy")  # LB12a
        or first == _INFIX  # LB15d
        or (last == _HYPHEN and before in "$ ZG" and first == "a")  # LB20a
        or first in "DdyYn"  # LB21
        or last == _BREAK_BEFORE
        or (before == _HEBREW and last in "YD")  # LB21a
        or first in "Ee"  # LB22
        or (last in "aN" and first in "aN")  # LB23
        or (last in "Rr" and first in "im")  # LB23a
        or (last == _WIDE and first in "Pp")
        or (last in "RrPp" and first in "aAHNO" and (first != "O" or after == "N"))  # LB24, LB25
        or (last in "aAH" and first in "RrPp")  # LB24
        or (last == _NUMBER and first in "RrPp")  # LB25
        or (before == _NUMBER and last in "CTIS" and first in "RrPp")
        or (last in "aAH" and first in "aAH")  # LB28
        or (last == _INFIX and first == "a")  # LB29
        or (last == "a" and first == _OPEN)  # LB30
        or (last == _PARENTHESIS and first == "a")
        or first == _SKIN_TONE  # LB30b
    )
