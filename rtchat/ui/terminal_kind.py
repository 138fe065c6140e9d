"""Which terminal this is, as far as the environment says, and which modes it understands.

A mode for keys is sent only to terminals that are known to have it: Terminal.app takes xterm's for
underlining, and older Linux consoles print kitty's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from typing import NamedTuple


class TerminalKind(Enum):
    """A terminal, or a group of terminals that need not be distinguished."""

    BASIC = auto()
    """A terminal without a title, such as the Linux console, or none at all."""
    TMUX = auto()
    SCREEN = auto()
    KITTY = auto()
    GHOSTTY = auto()
    WEZTERM = auto()
    ITERM = auto()
    FOOT = auto()
    ALACRITTY = auto()
    MINTTY = auto()
    VTE = auto()
    """GNOME Terminal and others that use its library."""
    XTERM = auto()
    OTHER = auto()


_NOT_REFLOWING = (TerminalKind.BASIC, TerminalKind.SCREEN, TerminalKind.XTERM)
_BASIC = ("", "dumb", "linux", "cons25", "ansi", "sun", "cygwin", "unknown")
_BASIC_PREFIXES = ("vt1", "vt2", "vt3", "vt4", "vt5", "eterm")
_TERMS = {
    "tmux": TerminalKind.TMUX,
    "screen": TerminalKind.SCREEN,
    "xterm-kitty": TerminalKind.KITTY,
    "xterm-ghostty": TerminalKind.GHOSTTY,
    "wezterm": TerminalKind.WEZTERM,
    "foot": TerminalKind.FOOT,
    "alacritty": TerminalKind.ALACRITTY,
    "mintty": TerminalKind.MINTTY,
    "rxvt": TerminalKind.OTHER,
    "st": TerminalKind.OTHER,
}
"""Terminals by the beginning of TERM, which is also known over SSH."""
_PROGRAMS = {
    "ghostty": TerminalKind.GHOSTTY,
    "WezTerm": TerminalKind.WEZTERM,
    "iTerm.app": TerminalKind.ITERM,
    "mintty": TerminalKind.MINTTY,
}
_VARIABLES = {
    "XTERM_VERSION": TerminalKind.XTERM,
    "VTE_VERSION": TerminalKind.VTE,
    "KITTY_WINDOW_ID": TerminalKind.KITTY,
    "ALACRITTY_WINDOW_ID": TerminalKind.ALACRITTY,
}
"""Terminals by a variable that only they set."""


def terminal_kind(environ: Mapping[str, str]) -> TerminalKind:
    """The terminal of a process with these environment variables."""
    term = environ.get("TERM", "")
    if term in _BASIC or term.startswith(_BASIC_PREFIXES):
        return TerminalKind.BASIC
    if environ.get("TMUX"):
        return TerminalKind.TMUX
    if environ.get("STY"):
        return TerminalKind.SCREEN
    for prefix, kind in _TERMS.items():
        if term.startswith(prefix):
            return kind
    if environ.get("LC_TERMINAL") == "iTerm2":
        return TerminalKind.ITERM
    if kind_of_program := _PROGRAMS.get(environ.get("TERM_PROGRAM", "")):
        return kind_of_program
    return next(
        (kind for name, kind in _VARIABLES.items() if environ.get(name)), TerminalKind.OTHER
    )


def reflows(kind: TerminalKind, environ: Mapping[str, str]) -> bool | None:
    """Whether a terminal of this kind wraps rows again when its width changes. None if that is not
    known, or if the program may paint before it learns of the change: over SSH that takes a while.
    """
    is_remote = environ.get("SSH_CONNECTION") and not environ.get("TMUX")
    if kind is TerminalKind.OTHER or (is_remote and kind not in _NOT_REFLOWING):
        return None
    return kind not in _NOT_REFLOWING


class Mode(NamedTuple):
    """A mode of a terminal: what turns it on and off."""

    on: str
    off: str


FOCUS_REPORTS = Mode("\x1b[?1004h", "\x1b[?1004l")
"""The terminal reports when its window gets or loses the focus. Others ignore it."""
KITTY_KEYS = Mode("\x1b[>1u", "\x1b[<u")
"""Keys that would be ambiguous are sent in kitty's encoding."""
XTERM_KEYS = Mode("\x1b[>4;1m", "\x1b[>4m")
"""Keys with modifiers are sent in xterm's encoding."""

_KEYS = {
    **dict.fromkeys(
        (
            *(TerminalKind.KITTY, TerminalKind.GHOSTTY, TerminalKind.WEZTERM),
            *(TerminalKind.ITERM, TerminalKind.FOOT, TerminalKind.ALACRITTY),
        ),
        KITTY_KEYS,
    ),
    **dict.fromkeys((TerminalKind.XTERM, TerminalKind.MINTTY, TerminalKind.TMUX), XTERM_KEYS),
}


def modes(kind: TerminalKind) -> tuple[Mode, ...]:
    """The modes that a terminal of this kind may be sent."""
    if kind is TerminalKind.BASIC:
        return ()
    return (FOCUS_REPORTS, _KEYS[kind]) if kind in _KEYS else (FOCUS_REPORTS,)


class TerminalModes:
    """Turns the modes of a terminal on and off. `write` writes to the terminal."""

    def __init__(self, write: Callable[[str], None], kind: TerminalKind) -> None:
        self._write = write
        self._modes = modes(kind)
        self._are_on = False

    @contextmanager
    def turned(self, *, on: bool) -> Iterator[None]:
        """A context in which the modes are on or off. At its end they are as before."""
        before = self._are_on
        self._turn(on=on)
        try:
            yield
        finally:
            self._turn(on=before)

    def ask(self, query: str) -> None:
        """Send a request to the terminal, which answers among the keys."""
        self._write(query)

    def _turn(self, *, on: bool) -> None:
        if self._modes and on is not self._are_on:
            self._are_on = on
            self._write("".join(mode.on if on else mode.off for mode in self._modes))
