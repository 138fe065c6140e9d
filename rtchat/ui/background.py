"""Find out whether the background of a terminal is dark or light.

The terminal is asked with `QUERY`. Its answer arrives among the keys, and nothing waits for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rtchat.markdown.theme import Background
from rtchat.ui.terminal_kind import TerminalKind

QUERY = "\x1b]11;?\x1b\\"
"""Asks for the colour of the background."""
_COLOR = re.compile(
    r"\x1b\]11;rgba?:([0-9a-f]{1,4})/([0-9a-f]{1,4})/([0-9a-f]{1,4})(?:/[0-9a-f]{1,4})?"
    r"(?:\x1b\\|[\x07\x9c])",
    re.IGNORECASE,
)
_ANSWER_START = re.compile(r"\x1b\](?:1(?:1(?:;[rgba:/0-9A-F]{0,32}\x1b?)?)?)?", re.IGNORECASE)
_MIN_LIGHT_LUMA = 0.5
"""The least luma, from 0 to 1, of a light background."""


def can_answer(kind: TerminalKind) -> bool:
    """Whether a terminal of this kind may be asked. GNU screen never answers, and basic terminals
    may not know such sequences and print them."""
    return kind not in (TerminalKind.BASIC, TerminalKind.SCREEN)


def is_answer(sequence: str) -> bool:
    """Whether this complete sequence is an answer to `QUERY`, even one without a colour."""
    return sequence.startswith(QUERY[:5])


def may_begin_answer(text: str) -> bool:
    """Whether this text may be the beginning of an answer to `QUERY`."""
    return _ANSWER_START.fullmatch(text) is not None


def background_of(answer: str) -> Background | None:
    """The background in an answer to `QUERY`; None if the answer has no colour."""
    found = _COLOR.fullmatch(answer)
    if found is None:
        return None
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in found.groups())
    return "light" if 0.299 * red + 0.587 * green + 0.114 * blue >= _MIN_LIGHT_LUMA else "dark"


def hinted_background(environ: Mapping[str, str]) -> Background | None:
    """The background in the variable COLORFGBG, which some terminals set to a value such as `15;0`;
    None if it has none."""
    _, _, color = environ.get("COLORFGBG", "").rpartition(";")
    if not re.fullmatch(r"[0-9]|1[0-5]", color):
        return None
    return "light" if int(color) in (7, *range(9, 16)) else "dark"
