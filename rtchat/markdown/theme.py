"""Rich styles, in the 16 colours of the terminal's own palette, and the themes that change them.

There is one accent colour; everything about a reply is dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from rtchat.core.values import ThemeName

if TYPE_CHECKING:
    from rich.console import Console

ACCENT = "cyan"
DIM = "dim"
FRAME = "dim"
NOTICES = {"detail": "dim", "info": "dim", "warning": "yellow", "error": "red"}

HEADING = "bold"
TITLE = "bold underline"
CODE = "cyan"
LABEL = "dim"
LINK = "dim"
MATCH = "bold yellow"
MARKER = "cyan"
QUOTE = "dim"
HTML = "dim"
MATH = "magenta"

SYNTAX = {
    "Token.Comment": "dim",
    "Token.Keyword": "blue",
    "Token.Literal.Number": "magenta",
    "Token.Literal.String": "green",
    "Token.Name.Builtin": "cyan",
    "Token.Name.Class": "bold",
    "Token.Name.Decorator": "magenta",
    "Token.Name.Function": "bold",
    "Token.Name.Tag": "blue",
    "Token.Generic.Deleted": "red",
    "Token.Generic.Inserted": "green",
    "Token.Generic.Heading": "bold",
    "Token.Generic.Subheading": "cyan",
}
"""Styles of Pygments token types. Types not listed have the style of their nearest ancestor."""

_NO_COLORS = {
    "red": "bold",
    "yellow": "bold",
    "cyan": "bold",
    "blue": "bold",
    "green": "",
    "magenta": "",
}
THEMES: Mapping[ThemeName, Mapping[str, str]] = {
    "auto": {},
    "dark": {"blue": "bright_blue", "red": "bright_red", "magenta": "bright_magenta"},
    "light": {"cyan": "blue", "yellow": "magenta"},
    "mono": _NO_COLORS,
    "high-contrast": _NO_COLORS | {"dim": "", "red": "bold reverse"},
}
"""For each theme, the words of the styles above that it replaces. "auto" suits most palettes.

The others avoid colours that are hard to read on a dark or a light background, all colours, or
everything that has less contrast than the terminal's own text.
"""


@cache
def in_theme(style: str, name: ThemeName) -> str:
    """A style as a theme draws it."""
    replaced = THEMES[name]
    return " ".join(filter(None, (replaced.get(word, word) for word in style.split())))


def has_code_color(console: Console) -> bool:
    """Whether a console shows inline code in a colour of its own."""
    is_colored = console.color_system is not None and not console.no_color
    return is_colored and console.get_style(CODE).color is not None
