"""Links that can be pressed: OSC 8, written by us alone, where a terminal is known to take it.

What a link leads to is always printed too, and only what is printed can be pressed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from rich.console import Console
from rich.style import Style

from rtchat.core.text import visible

_CLEAN = re.compile(r"https?://[!-~]{1,2000}")
"""No space, nothing that is not ASCII, and so no control character that could end the sequence."""
_PROGRAMS = {"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby", "rio"}
_TERMS = ("xterm-kitty", "xterm-ghostty", "alacritty", "foot", "contour", "wezterm")
_VERSIONS = {"VTE_VERSION": 5001, "KONSOLE_VERSION": 201200}
"""From these on; VTE 0.50.0 crashed on links."""


class LinkingConsole(Console):
    """A console on a terminal that takes links."""


def takes_links(environ: Mapping[str, str]) -> bool:
    """Whether the terminal says of itself that it is one of those that take links."""
    term = environ.get("TERM", "")
    if term == "dumb" or term.startswith(("screen", "tmux")) or "TMUX" in environ:
        return False
    return (
        environ.get("TERM_PROGRAM") in _PROGRAMS
        or term.startswith(_TERMS)
        or any(environ.get(name) for name in ("KITTY_WINDOW_ID", "WT_SESSION", "DOMTERM"))
        or any(_number(environ.get(name, "")) >= least for name, least in _VERSIONS.items())
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


@lru_cache(maxsize=256)
def link(href: str) -> Style | None:
    """What makes text lead there, if it is harmless. The same object each time: it has an id."""
    if not _CLEAN.fullmatch(href) or visible(href) != href:
        return None
    return Style(link=href)
