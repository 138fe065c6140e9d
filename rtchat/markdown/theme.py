"""The styles of everything that is drawn on a terminal, and the themes that change them.

The definition of a style consists of the names of other styles in `STYLES` and of words of Rich
such as "bold". The built-in styles use the 16 colours of the terminal's own palette. No difference
is shown by red and green alone, which many people cannot tell apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from rtchat.core.suggestions import closest, did_you_mean
from rtchat.core.values import ThemeName

if TYPE_CHECKING:
    from rich.console import Console

Background: TypeAlias = Literal["dark", "light"]
"""The background of a terminal."""

ACCENT = "accent"
DIM = "dim"
FRAME = "frame"
PROMPT = "prompt"
SELECTED = "selected"
NOTICES = {"detail": DIM, "info": DIM, "warning": "warning", "error": "error"}
"""The styles of notices, by their level."""

DIFF_FILE = "diff-file"
HEADING = "heading"
TITLE = "title"
CODE = "code"
LABEL = "label"
LINK = "link"
MATCH = "match"
MARKER = "marker"
QUOTE = "quote"
HTML = "html"
MATH = "math"

SYNTAX = {
    "Token.Comment": "comment",
    "Token.Keyword": "keyword",
    "Token.Literal.Number": "number",
    "Token.Literal.String": "string",
    "Token.Name.Builtin": "builtin",
    "Token.Name.Class": "class",
    "Token.Name.Decorator": "decorator",
    "Token.Name.Function": "function",
    "Token.Name.Tag": "tag",
    "Token.Generic.Deleted": "diff-removed",
    "Token.Generic.Inserted": "diff-added",
    "Token.Generic.Heading": DIFF_FILE,
    "Token.Generic.Subheading": "diff-hunk",
}
"""The styles of Pygments token types. Other types have the style of their nearest ancestor."""


class StyleRow(NamedTuple):
    """A row of the table of styles."""

    definition: str
    """Names of other styles and words of Rich."""
    meaning: str
    """What the style is used for."""


STYLES = {
    "accent": StyleRow("cyan", "the name of the model, folded pastes, the microphone"),
    "dim": StyleRow("dim", "less important text: statistics, notices, the status line"),
    "warning": StyleRow("yellow", "warnings"),
    "error": StyleRow("red", "errors"),
    "prompt": StyleRow("", "the mark at the prompt and before your questions"),
    "suggestion": StyleRow("dim", "the rest of an earlier entry, suggested while you type"),
    "selected": StyleRow("bold accent", "the selected line of a list or a menu"),
    "match": StyleRow("bold yellow", "the words that a search found"),
    "frame": StyleRow("dim", "frames, and the line below the head of a table"),
    "title": StyleRow("bold underline", "headings of level 1"),
    "heading": StyleRow("bold", "other headings"),
    "code": StyleRow("accent", "code in a sentence"),
    "link": StyleRow("dim", "the address of a link"),
    "marker": StyleRow("accent", "the bullets and numbers of lists"),
    "quote": StyleRow("dim", "the bar beside a quotation, and horizontal rules"),
    "html": StyleRow("dim", "HTML"),
    "math": StyleRow("magenta", "formulas"),
    "label": StyleRow("dim", "the line above a code block"),
    "comment": StyleRow("dim", "comments in code"),
    "keyword": StyleRow("blue", "keywords in code"),
    "number": StyleRow("magenta", "numbers in code"),
    "string": StyleRow("green", "strings in code"),
    "builtin": StyleRow("cyan", "built-in names in code"),
    "class": StyleRow("bold", "the names of classes in code"),
    "decorator": StyleRow("magenta", "decorators in code"),
    "function": StyleRow("bold", "the names of functions in code"),
    "tag": StyleRow("blue", "tags in HTML and XML"),
    "diff-added": StyleRow("cyan", "added lines in a diff"),
    "diff-removed": StyleRow("red", "removed lines in a diff"),
    "diff-file": StyleRow("bold", "the names of files in a diff"),
    "diff-hunk": StyleRow("magenta", "the positions of changes in a diff"),
}
"""All styles by name. The config file can redefine each."""

_WITHOUT_COLORS = {
    **dict.fromkeys(("red", "yellow", "cyan", "blue"), "bold"),
    **dict.fromkeys(("green", "magenta"), ""),
    "diff-added": "bold",
}
THEMES: Mapping[ThemeName, Mapping[str, str]] = {
    "auto": {},
    "dark": {"blue": "bright_blue", "red": "bright_red", "magenta": "bright_magenta"},
    "light": {"cyan": "blue", "yellow": "magenta"},
    "mono": {**_WITHOUT_COLORS, "diff-removed": "dim"},
    "high-contrast": {
        **_WITHOUT_COLORS,
        "dim": "",
        "red": "bold reverse",
        "selected": "bold reverse",
        "suggestion": "italic",
        "diff-removed": "underline",
    },
}
"""For each theme, the colours, attributes and styles that it replaces, and their definitions.

"dark" and "light" avoid the colours that are hard to read on such a background, "mono" all colours,
and "high-contrast" also everything with less contrast than the terminal's own text. "auto" is the
theme for the background of the terminal; if that is not known, it replaces nothing.
"""


def has_code_color(console: Console) -> bool:
    """Whether a console shows inline code in a colour of its own."""
    is_colored = console.color_system is not None and not console.no_color
    return is_colored and console.get_style(CODE).color is not None


class StyleSheet:
    """How styles are drawn: as the user defined them, or else as the theme defines them."""

    def __init__(
        self,
        theme: ThemeName = "auto",
        overrides: Mapping[str, str] | None = None,
        background: Background | None = None,
    ) -> None:
        """`overrides` are the user's definitions of styles, by name, in words of Rich."""
        self.overrides = overrides or {}
        self._theme: ThemeName = theme
        self._background = background
        self._definitions: dict[str, str] = {}
        """The results of `definition`, by style."""

    @property
    def theme(self) -> ThemeName:
        """The theme that the user chose."""
        return self._theme

    @theme.setter
    def theme(self, name: ThemeName) -> None:
        self._theme = name
        self._definitions.clear()

    @property
    def background(self) -> Background | None:
        """The background of the terminal, if it is known."""
        return self._background

    @background.setter
    def background(self, background: Background) -> None:
        self._background = background
        self._definitions.clear()

    @property
    def effective_theme(self) -> ThemeName:
        """The theme that is used: with "auto", the one for the background."""
        return (self._background or "auto") if self._theme == "auto" else self._theme

    def definition(self, style: str) -> str:
        """The definition of a style, or of several separated by spaces, in words of Rich only."""
        known = self._definitions.get(style)
        if known is None:
            words = (self._resolve(word) for word in style.split())
            known = self._definitions[style] = " ".join(filter(None, words))
        return known

    def _resolve(self, word: str) -> str:
        """The definition of one word, in words of Rich."""
        replaced = THEMES[self.effective_theme]
        if word in self.overrides:
            return self.overrides[word]
        if word in replaced:
            return replaced[word]
        if word in STYLES and STYLES[word].definition != word:
            return self.definition(STYLES[word].definition)
        return word


# ------------------------------------------------------------------------- the user's definitions

_ATTRIBUTES = ("bold", "dim", "italic", "underline", "reverse", "strike")
_COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_COLOR_NAMES = ("default", *_COLORS, *(f"bright_{name}" for name in _COLORS))
_EXPECTED = (
    f"use {', '.join(_ATTRIBUTES)}, a colour, and 'on' with a colour for the background, or "
    "'none'; a colour is a name such as bright_blue, a number up to 255, or #rrggbb"
)


class StyleError(ValueError):
    """A definition is not valid. The text is a hint: what the user may have meant, or else what a
    definition may be."""

    def __init__(self, suggestion: str = "") -> None:
        super().__init__(did_you_mean([suggestion], _EXPECTED))


def parse_style(text: object) -> str:
    """Read a user's definition of a style. Returns it in words of Rich; "" stands for `none`.

    Raises:
        StyleError: the definition is not valid.
    """
    words = text.split() if isinstance(text, str) else []
    if words == ["none"]:
        return ""
    if not words:
        raise StyleError
    out: list[str] = []
    colors = {"": 0, "on": 0}
    before = ""
    for word in words:
        if before != "on" and word in (*_ATTRIBUTES, "on"):
            out.append(word)
        else:
            colors["on" if before == "on" else ""] += 1
            out.append(_color(word))
        before = word
    if before == "on" or max(colors.values()) > 1:
        raise StyleError
    return " ".join(out)


def _color(word: str) -> str:
    if word in _COLOR_NAMES or re.fullmatch(r"#[0-9a-fA-F]{6}", word):
        return word
    if re.fullmatch(r"[0-9]{1,3}", word) and int(word) < 256:
        return f"color({int(word)})"
    raise StyleError(closest(word, (*_ATTRIBUTES, *_COLOR_NAMES)))


def needs_more_colors(definitions: Mapping[str, str]) -> bool:
    """Whether any of these definitions in words of Rich has a colour other than the 16 names."""
    return any("#" in each or "(" in each for each in definitions.values())
