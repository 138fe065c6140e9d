"""The symbols of LaTeX's mathematics in Unicode.

`pylatexenc` (the extra `math`) knows most of them. It is loaded with the first formula. Its own
conversion to text drops what it does not know, so it is not used.
"""

# ruff: noqa: RUF001 - the symbols of mathematics that look like others are meant

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import Any


class InexactError(Exception):
    """The formula cannot be written exactly."""


def _table(pairs: str) -> dict[str, str]:
    words = pairs.split()
    return dict(zip(words[::2], words[1::2], strict=True))


NAMES = {
    "\\" + name: name
    for name in (
        *("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "arcsin"),
        *("arccos", "arctan", "log", "ln", "lg", "exp", "lim", "max", "min", "sup", "inf", "arg"),
        *("det", "dim", "ker", "deg", "gcd", "hom", "Pr"),
    )
}
"""Functions, which are written as their names."""
OTHERS = _table(
    r"""
    \ne ≠  \implies ⟹  \impliedby ⟸  \iff ⟺  \gets ←  \coloneqq ≔  \owns ∋  \mid ∣
    \neg ¬  \lnot ¬  \land ∧  \lor ∨  \bot ⊥  \top ⊤  \models ⊨
    \Re ℜ  \Im ℑ  \hbar ℏ  \ell ℓ  \degree °  \prime ′  ' ′  \triangle △  \checkmark ✓  \Box □
    \dots …  \ldots …  \dotsc …  \cdots ⋯  \dotsb ⋯  \lt <  \gt >  \colon :  \bmod mod  \mod mod
    \vert |  \lvert |  \rvert |  \Vert ‖  \lVert ‖  \rVert ‖  \| ‖
    \lbrace {  \rbrace }  \lbrack [  \rbrack ]
    \{ {  \} }  \% %  \$ $  \# #  \& &  \_ _
    """
)
"""Symbols that `pylatexenc` lacks, or has in a form for text."""
SPACES = dict.fromkeys(("\\,", "\\:", "\\;", "\\>", "\\ ", "~"), " ") | {
    "\\quad": "  ",
    "\\qquad": "    ",
    "\\!": "",
}
INVISIBLE = {
    *("\\displaystyle", "\\textstyle", "\\limits", "\\nolimits", "\\notag", "\\nonumber")
} | {"\\" + size + side for size in ("big", "Big", "bigg", "Bigg") for side in ("", "l", "r", "m")}
"""Commands that show nothing: they change sizes, places, and whether a line has a number."""
ALPHABETS = {
    "\\mathbb": ("DOUBLE-STRUCK", "MATHEMATICAL DOUBLE-STRUCK"),
    "\\mathcal": ("SCRIPT", "MATHEMATICAL SCRIPT"),
    "\\mathscr": ("SCRIPT", "MATHEMATICAL SCRIPT"),
    "\\mathfrak": ("BLACK-LETTER", "MATHEMATICAL FRAKTUR"),
    "\\mathbf": ("MATHEMATICAL BOLD",),
    "\\boldsymbol": ("MATHEMATICAL BOLD",),
    "\\bm": ("MATHEMATICAL BOLD",),
    "\\mathsf": ("MATHEMATICAL SANS-SERIF",),
    "\\mathtt": ("MATHEMATICAL MONOSPACE",),
}
ACCENTS = {
    "\\hat": "\u0302",
    "\\bar": "\u0304",
    "\\tilde": "\u0303",
    "\\dot": "\u0307",
    "\\ddot": "\u0308",
    "\\vec": "\u20d7",
    "\\overline": "\u0305",
    "\\widehat": "\u0302",
    "\\widetilde": "\u0303",
    "\\mathring": "\u030a",
}


@cache
def database() -> Any:
    """The commands that `pylatexenc` knows; None if it is not installed."""
    try:
        from pylatexenc.latex2text import (  # type: ignore[import-untyped] # has no types
            get_default_latex_context_db,
        )
    except ImportError:
        return None
    return get_default_latex_context_db()


@lru_cache(maxsize=1_000)
def symbol_of(command: str) -> str | None:
    """The symbol of a command; None if it is unknown or not a single visible character."""
    known = database().get_macro_spec(command[1:])
    text = getattr(known, "simplify_repl", None)
    if not isinstance(text, str) or len(text) != 1 or text.isascii():
        return None
    return text if text.isprintable() and not unicodedata.combining(text) else None


@cache
def scripts() -> dict[str, dict[str, str]]:
    """For `^` and `_`, each character that can be raised or lowered, and the result."""
    raised: dict[str, str] = {}
    lowered: dict[str, str] = {}
    letters = (
        range(0x2B0, 0x2B9),
        range(0x2E0, 0x2E5),
        range(0x1D2C, 0x1D6B),
        range(0x1D9B, 0x1DC0),
    )
    others = (range(0xB2, 0xBA), range(0x2070, 0x209D), (0x2C7C, 0x2C7D))
    for code in chain(*letters, *others):
        kind, _, base = unicodedata.decomposition(chr(code)).partition(" ")
        table = {"<super>": raised, "<sub>": lowered}.get(kind)
        if table is not None and " " not in base:
            table.setdefault(chr(int(base, 16)), chr(code))
    for table in (raised, lowered):
        table["-"] = table["\u2212"]
        table |= {" ": ""}
    return {"^": raised | {"′": "′", "°": "°", "∘": "°", "†": "†"}, "_": lowered}


@cache
def script_marks() -> tuple[set[str], set[str]]:
    """The raised and the lowered characters, without those that may precede another one."""
    raised, lowered = (set(table.values()) for table in scripts().values())
    return raised - {"′", "°", "†", ""}, lowered - {""}


def styled(text: str, alphabets: Sequence[str]) -> str:
    """Text in another alphabet of mathematics."""
    return "".join(_styled_letter(letter, alphabets) for letter in text)


@cache
def _styled_letter(letter: str, alphabets: Sequence[str]) -> str:
    name = unicodedata.name(letter, "")
    short = re.sub(r"^(?:LATIN|GREEK) (CAPITAL|SMALL) LETTER (\w+)$", r"\1 \2", name)
    if short == name and not letter.isdecimal():
        raise InexactError
    for alphabet in alphabets:
        try:
            return unicodedata.lookup(f"{alphabet} {short}")
        except KeyError:
            continue
    raise InexactError


def fraction_sign(above: str, below: str) -> str | None:
    """A fraction that is one character."""
    for code in (0xBC, 0xBD, 0xBE, *range(0x2150, 0x215F)):
        if unicodedata.normalize("NFKC", chr(code)) == f"{above}\u2044{below}":
            return chr(code)
    return None
