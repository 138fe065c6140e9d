"""Read a formula in LaTeX and write it in Unicode, in one line.

The result shows everything that LaTeX would show: each letter, digit and symbol, and which of them
are raised, lowered, below a root or in a fraction. Where Unicode or one line of text cannot do
that, or a command is not known here, there is no result.
"""

# ruff: noqa: RUF001 - the symbols of mathematics that look like others are meant

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from rtchat.markdown.symbols import (
    ACCENTS,
    ALPHABETS,
    INVISIBLE,
    NAMES,
    OTHERS,
    SPACES,
    InexactError,
    fraction_sign,
    script_marks,
    scripts,
    styled,
    symbol_of,
)

_MAX_DEPTH = 12

TOKEN = re.compile(r"\\(?:[A-Za-z]+\*?|.)|\s+|.", re.DOTALL)
_TEXT = re.compile(r"[^\\{}$%`^_~#&]*")
_DELIMITERS = {"\\left", "\\right", "\\middle"}
_SIDES = {"\\left": "open", "\\lvert": "open", "\\lVert": "open"} | {
    "\\right": "close",
    "\\rvert": "close",
    "\\rVert": "close",
}
_IN_BRACKETS = {"\\pmod": " (mod ", "\\tag": "    ("}
"""Commands whose argument is shown in brackets, and what is before it."""
_PLAIN = {"\\text", "\\textrm", "\\mbox", "\\operatorname", "\\operatorname*"}
"""Commands whose argument is upright text."""
_PLAIN_LETTERS = {"\\mathrm", "\\mathit", "\\mathnormal"}
"""Commands whose argument is a formula in letters that are shown like all others."""
_FRACTIONS = {"\\frac", "\\dfrac", "\\tfrac", "\\cfrac"}
_ROOTS = {"3": "∛", "4": "∜"}
_SAFE_BEFORE = " =<>≤≥≠≈≡∼≃≅∝→⇒⟹⇔⟺↦∈+-−±∓·⋅×,;([{|∑∏"
_SAFE_AFTER = " =<>≤≥≠≈≡∼≃≅∝→⇒⟹⇔⟺∈+-−±∓,;.)]}|∣…⋯"
"""What may stand beside a fraction or root without changing what belongs to it."""


class _Part(NamedTuple):
    """A part of a line. `kind` is "space" (of the source), "gap" (of a command) or "break" (a line
    end); "name" (of a function); "letter" or "operator" (of a command; a space after it may only
    end its name); "script"; "product" (a fraction or root) or "sign" (a fraction as one character),
    which may need brackets; "open" or "close" (a bracket, also one like |); or ""."""

    text: str
    kind: str = ""


_ONE = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]")
_SCRIPTS = r"[²³¹\u2070-\u209c\u02b0-\u02b8\u02e0-\u02e4\u1d2c-\u1d6a\u1d9b-\u1dbf\u2c7c\u2c7d]*"
_BELOW = re.compile(
    r"√?\d+(?:\.\d+)?|√(?:[^\W\d_]|\([^()]*\))|∞"
    rf"|[d∂Δδ]?[^\W\d_][\u0300-\u036f\u20d7]?{_SCRIPTS}′*(?:\([^()+\-\u2212]*\))?"
)
_ABOVE = re.compile(r"[-\u2212]?(?:[\w.√∂∇∞°′\u2070-\u209c\u0300-\u036f\u20d7]|\([^()]*\))+")
"""What needs no brackets below and above the line of a fraction."""


def _grouped(text: str, plain: re.Pattern[str]) -> str:
    return text if plain.fullmatch(text) else f"({text})"


def _part_of_symbol(symbol: str) -> _Part:
    if symbol == "mod":
        return _Part(symbol, "name")
    return _Part(symbol, "letter" if symbol.isalpha() or symbol in "∂∇∀∃¬∠△" else "operator")


class Reader:
    """Reads LaTeX, and writes it as one line of text; line ends of the source are kept."""

    def __init__(self, source: str) -> None:
        self._tokens = TOKEN.findall(source)
        self._at = 0
        self._depth = 0

    def read(self) -> str:
        """The whole formula. Raises `InexactError`."""
        text = _joined(self._parts(""))
        if self._at < len(self._tokens):
            raise InexactError
        return text

    def _next(self) -> str:
        """The next token; "" at the end."""
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        self._at += 1
        return token

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _skip_space(self) -> None:
        while self._peek().isspace():
            self._at += 1

    def _parts(self, closing: str) -> Iterator[_Part]:
        """The parts up to a token, which is read too, or to the end for ""."""
        scripts = ""
        while (token := self._next()) != closing:
            if not token:
                raise InexactError
            if token in _PLAIN_LETTERS:
                self._skip_space()
                token = self._next()
            if token in ("^", "_"):
                if token in scripts:
                    raise InexactError
                scripts += token
                yield self._script(token)
                continue
            if token.isspace():
                is_break = "\n" in token and not self._depth
                yield _Part("\n" if is_break else " ", "break" if is_break else "space")
                continue
            scripts = ""
            if token == "{":
                with self._nested():
                    yield from self._parts("}")
                continue
            yield self._atom(token)

    def _group(self) -> str:
        """The argument of a command: a group, or else one token."""
        self._skip_space()
        with self._nested():
            token = self._next()
            if token in _PLAIN_LETTERS:
                return self._group()
            return _joined(self._parts("}")).strip() if token == "{" else self._atom(token).text

    @contextmanager
    def _nested(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise InexactError
        yield
        self._depth -= 1

    def _script(self, mark: str) -> _Part:
        text = self._group()
        table = scripts()[mark]
        if not text or any(letter not in table for letter in text):
            raise InexactError
        return _Part("".join(table[letter] for letter in text), "script")

    def _atom(self, token: str) -> _Part:
        """One thing that is not a script. Raises `InexactError` for what is not known."""
        if token in SPACES:
            return _Part(SPACES[token], "gap")
        if token in INVISIBLE:
            self._skip_space()
            return _Part("")
        if token in OTHERS and token in _SIDES:
            return _Part(OTHERS[token], _SIDES[token])
        if token in OTHERS:
            is_name = token[1:].isalpha()
            return _part_of_symbol(OTHERS[token]) if is_name else _Part(OTHERS[token])
        if token in NAMES:
            return _Part(NAMES[token], "name")
        if token.startswith("\\"):
            return self._command(token)
        if token in "}^_&#%`$\\":  # also "", the end
            raise InexactError
        return _Part(token)

    def _command(self, command: str) -> _Part:
        if command in _PLAIN:
            kind = "name" if command.startswith("\\operatorname") else ""
            return _Part(self._plain(), kind)
        if command in _FRACTIONS:
            return self._fraction()
        if command == "\\sqrt":
            return self._root()
        if command in ALPHABETS:
            return _Part(styled(self._group(), ALPHABETS[command]))
        if command in ACCENTS:
            return _Part(self._accented(ACCENTS[command]))
        if command in _DELIMITERS:
            return self._delimiter(_SIDES.get(command, ""))
        if command == "\\not":
            return _part_of_symbol(self._composed(self._group(), "\u0338"))
        if command in _IN_BRACKETS:
            return _Part(f"{_IN_BRACKETS[command]}{self._group()})")
        symbol = symbol_of(command)
        if symbol is None:
            raise InexactError
        return _part_of_symbol(symbol)

    def _plain(self) -> str:
        """The text in braces that follows."""
        self._skip_space()
        if self._next() != "{":
            raise InexactError
        text = ""
        while (token := self._next()) != "}":
            token = {"\\ ": " ", "\\,": " ", "~": " "}.get(token, token)
            if token in ("\\_", "\\%", "\\$", "\\#", "\\&"):
                token = token[1]
            elif not token or not _TEXT.fullmatch(token):
                raise InexactError
            text += " " if token.isspace() else token
        return text

    def _fraction(self) -> _Part:
        above, below = self._group(), self._group()
        if not above or not below:
            raise InexactError
        sign = fraction_sign(above, below)
        if sign:
            return _Part(sign, "sign")
        return _Part(f"{_grouped(above, _ABOVE)}/{_grouped(below, _BELOW)}", "product")

    def _root(self) -> _Part:
        sign = "√"
        self._skip_space()
        if self._peek() == "[":
            self._next()
            with self._nested():
                degree = _joined(self._parts("]")).strip()
            raised = scripts()["^"]
            if not degree or any(letter not in raised for letter in degree):
                raise InexactError
            sign = _ROOTS.get(degree) or "".join(raised[letter] for letter in degree) + "√"
        text = self._group()
        if not text:
            raise InexactError
        return _Part(sign + (text if _ONE.fullmatch(text) else f"({text})"), "product")

    def _accented(self, accent: str) -> str:
        letter = {"ı": "i", "ȷ": "j"}.get(text := self._group(), text)
        if not _ONE.fullmatch(letter) or len(letter) != 1:
            raise InexactError
        return unicodedata.normalize("NFC", letter + accent)

    def _composed(self, base: str, mark: str) -> str:
        text = unicodedata.normalize("NFC", base + mark)
        if len(text) != 1:
            raise InexactError
        return text

    def _delimiter(self, kind: str) -> _Part:
        """The bracket after \\left, \\middle or \\right."""
        self._skip_space()
        with self._nested():
            text = self._atom(self._next()).text
        if text == "." or len(text) != 1 or text.isalnum():
            raise InexactError
        return _Part(text, kind)


def _joined(parts: Iterator[_Part]) -> str:
    """The text of parts: with spaces around names, and brackets around fractions and roots if what
    belongs to them would not be clear."""
    shown = [part for part in parts if part.text]
    text = space = ""
    last = _Part("")
    was_spaced = False
    for index, part in enumerate(shown):
        if part.kind in ("space", "gap", "break"):
            space = _wider(space, part, last, was_spaced=was_spaced)
            continue
        first = part.text[0]
        if last.kind == "letter" and space == " " and (first.isalnum() or part.kind == "letter"):
            space = ""
        if space == " " and (first == space or text.endswith(space)):
            space = ""
        if space == " " and (_is_bracket(last, "open") or _is_bracket(part, "close")):
            space = ""
        touches = not space and text and first.isalnum() and text[-1].isalnum()
        if touches and "name" in (last.kind, part.kind) and part.kind != "script":
            space = " "
        if part.kind == "script" and any({text[-1:], first} <= marks for marks in script_marks()):
            raise InexactError  # `{x^2}^3` is not x²³
        was_spaced = bool(space) or not text
        text += space + _bracketed(part, text, shown[index + 1 :])
        space = ""
        if part.kind != "script" or last.kind != "name":
            last = part
    return text + space


def _is_bracket(part: _Part, kind: str) -> bool:
    """Whether a part is a bracket of this kind, "open" or "close"."""
    if len(part.text) != 1:
        return False
    return (
        part.kind == kind or unicodedata.category(part.text) == {"open": "Ps", "close": "Pe"}[kind]
    )


def _wider(space: str, part: _Part, last: _Part, *, was_spaced: bool) -> str:
    """A space with another one after it. One that only ends the name of an operator does not count
    if there is none before the operator."""
    if part.kind == "space" and (space or (last.kind == "operator" and not was_spaced)):
        return space
    return part.text if part.kind == "break" or "\n" not in space else space


def _bracketed(part: _Part, before: str, following: Sequence[_Part]) -> str:
    """The text of a part, in brackets if it must be told apart from its neighbours."""
    if part.kind not in ("product", "sign"):
        return part.text
    after = "".join(each.text for each in following[:3]).strip()[:1]
    if part.kind == "sign":
        is_clear = not following or following[0].kind != "script"
    else:
        left = before.rstrip()[-1:]
        is_clear = left in _SAFE_BEFORE and after in _SAFE_AFTER
    return part.text if is_clear else f"({part.text})"
