"""Where a line of text may be broken, by the Unicode line breaking algorithm (UAX #14).

`_may_break` has the rules of the standard, with its numbers. We differ from it in these points:

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

_LETTER, _NUMBER, _HEBREW, _WIDE = "ANHi"  # AL, NU, HL, ID
_SPACE, _ZERO_WIDTH_SPACE, _SOFT_HYPHEN, _GLUE, _WORD_JOINER = " ZyGW"  # SP, ZW, BA, GL, WJ
_DASH, _HYPHEN, _SLASH, _BREAK_AFTER, _BREAK_BEFORE = "BYSDF"  # B2, HY, SY, BA, BB
_OPEN, _CLOSE, _PARENTHESIS, _MARK, _INFIX, _NON_STARTER = "OCTXIn"  # OP, CL, CP, EX, IS, NS
_PREFIX, _POSTFIX, _LEADER = "RPE"  # PR, PO, IN
_QUOTE, _OPENING_QUOTE, _CLOSING_QUOTE = "QUV"  # QU, in three kinds
_COMBINING, _JOINER, _LINKER, _FLAG, _SKIN = "MJKfm"  # CM, ZWJ, CM that joins letters, RI, EM
"""The kinds of characters, with the classes of the standard. Wide characters have lower case: `o`
is a wide `O`, and `a` is Hangul."""
_END = "$"
"""The kind at both ends of a text."""
_COMBINE = _COMBINING + _JOINER + _LINKER
_RUN = _LETTER + _NUMBER

_SETS = {
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
    _MARK: "!?؛؝؞؟۔❢❣",
    _MARK.lower(): "︕︖﹖﹗！？",
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
"""The characters of each kind that do not follow from the general category."""
_KNOWN = {character: kind for kind, characters in _SETS.items() for character in characters}
_CATEGORIES = {
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
_WITH_WIDE = {_OPEN, _CLOSE, _PREFIX}
_NARROW_SCRIPTS = re.compile("[\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff]")
_CLUSTER = re.compile(
    rf"(?:fM*f|J[^ Z]|[^ Z])(?:[{_COMBINING}{_SKIN}]|{_JOINER}[^ Z]?|{_LINKER}+{_LETTER}?)*|.",
    re.DOTALL,
)
"""A character with those that belong to it."""
_UNIT = re.compile(
    rf"(?:[{_RUN}]+|a+|o+|c+|{_WIDE}{{3,}})(?![{_COMBINING}{_SKIN}{_JOINER}{_LINKER}])"
    rf"| +|{_CLUSTER.pattern}",
    re.DOTALL,
)
"""Characters between which lines never break, or wide ones between which they always may."""


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
    if known := _KNOWN.get(character):
        return known
    if 0x1F1E6 <= code < 0x1F200:
        return _FLAG
    if 0x1F3FB <= code < 0x1F400:
        return _SKIN
    if 0x1160 <= code < 0x1200 or 0xD7B0 <= code < 0xD800:  # the later parts of a Hangul syllable
        return _COMBINING
    if _NARROW_SCRIPTS.match(character):
        return _LETTER.lower()
    if 0x5D0 <= code < 0x5F3:
        return _HEBREW
    is_wide = east_asian_width(character) in "WFH"
    kind = _CATEGORIES.get(category(character), _LETTER)
    if is_wide and kind != _COMBINING:
        return kind.lower() if kind in _WITH_WIDE else _WIDE
    return kind


def clusters(text: str) -> Iterator[tuple[int, int]]:
    """The start and the end of each character with those that combine with it."""
    kinds = "".join(map(_KINDS.__getitem__, text))
    return (found.span() for found in _CLUSTER.finditer(kinds))


def words(text: str) -> list[tuple[int, int]]:
    """The start and the end of each part of a line that is not to be broken, without the spaces
    around it."""
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
        last = unit[-1] if first in _RUN and unit[-1] in _RUN else first
        is_spaced = False
    if last != _END:
        found.append((begin, over))
    return found


@lru_cache(maxsize=10_000)
def _may_break(before: str, last: str, is_spaced: bool, first: str, after: str) -> bool:
    """Whether a line may be broken between characters of the kinds `last` and `first`; `is_spaced`
    is whether there are spaces between them. `before` and `after` are the kinds around them."""
    last = _LETTER if last in _COMBINE else last  # LB10: they have nothing to combine with
    first = _LETTER if first in _COMBINE else first
    if _ZERO_WIDTH_SPACE in (last, first):
        return first != _ZERO_WIDTH_SPACE  # LB7, LB8
    if _is_narrow(last) and _is_narrow(first):
        return is_spaced or (last == _DASH and before in "ANH" and first in "ANH")
    around = before, last, first, after
    if _is_kept_at_spaces(*around):
        return False
    return is_spaced or not (_is_kept_by_quote(*around) or _is_kept(*around))


def _is_narrow(kind: str) -> bool:
    """Whether characters of a kind are not East Asian wide ones."""
    return not kind.islower()


def _is_kept_at_spaces(before: str, last: str, first: str, after: str) -> bool:
    """Whether a line is not broken here even if there are spaces."""
    return (
        first == _WORD_JOINER  # LB11
        or first in "CcTXxS"  # LB13
        or last in "Oo"  # LB14
        or (last == _OPENING_QUOTE and before in "$ OoQUVGZ")  # LB15a
        or (first == _CLOSING_QUOTE and after in "$ GWCcQUVTXxISZ")  # LB15b
        or (first == _INFIX and after != _NUMBER)  # LB15c, LB15d
        or (last in "CcT" and first == _NON_STARTER)  # LB16
    )


def _is_kept_by_quote(before: str, last: str, first: str, after: str) -> bool:
    """Whether a line is not broken here because of a quotation mark."""
    return (
        first in "QV"  # LB19
        or last in "QU"
        or (first == _OPENING_QUOTE and (_is_narrow(last) or _is_narrow(after)))  # LB19a
        or (last == _CLOSING_QUOTE and (_is_narrow(first) or _is_narrow(before)))
    )


def _is_kept(before: str, last: str, first: str, after: str) -> bool:
    """Whether a line is not broken here for another reason, if there are no spaces."""
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
        or first == _SKIN  # LB30b
    )
