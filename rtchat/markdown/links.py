"""Clickable links (OSC 8), on terminals that are known to support them.

The target of a link is always printed, and only the printed target is clickable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from rich.console import Console
from rich.style import Style

from rtchat.core.text import visible

_SAFE_URL = re.compile(r"https?://[!-~]{1,2000}")
"""Matches URLs of printable ASCII: no character can end the escape sequence."""
_PROGRAMS = {"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby", "rio"}
_TERMS = ("xterm-kitty", "xterm-ghostty", "alacritty", "foot", "contour", "wezterm")
_VERSIONS = {"VTE_VERSION": 5001, "KONSOLE_VERSION": 201200}
"""The minimum versions. VTE 0.50.0 crashed on links."""


class LinkingConsole(Console):
    """A console on a terminal that supports links."""


def supports_links(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a terminal that supports links."""
    term = environ.get("TERM", "")
    if term == "dumb" or term.startswith(("screen", "tmux")) or "TMUX" in environ:
        return False
    return (
        environ.get("TERM_PROGRAM") in _PROGRAMS
        or term.startswith(_TERMS)
        or any(environ.get(name) for name in ("KITTY_WINDOW_ID", "WT_SESSION", "DOMTERM"))
        or any(terminal_version(environ, name) >= minimum for name, minimum in _VERSIONS.items())
    )


def terminal_version(environ: Mapping[str, str], name: str) -> int:
    """The version of a terminal in a variable that it sets, such as VTE_VERSION; 0 if it is not
    set."""
    text = environ.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() else 0


@lru_cache(maxsize=256)
def link(href: str) -> Style | None:
    """The style that links text to a target; None if the target is not safe. The same target gets
    the same object, which contains the link's id."""
    if not _SAFE_URL.fullmatch(href) or visible(href) != href:
        return None
    return Style(link=href)
