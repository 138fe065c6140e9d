"""Whether the background of a terminal is dark or light, as far as the terminal says.

The answer to `QUERY` arrives among the keys, whenever the terminal sends it: nothing waits for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rtchat.markdown.theme import Background
from rtchat.ui.terminal_kind import TerminalKind

QUERY = "\x1b]11;?\x1b\\"
"""Asks for the colour of the background."""
_ANSWER = re.compile(
    r"\x1b\]11;rgba?:([0-9a-f]{1,4})/([0-9a-f]{1,4})/([0-9a-f]{1,4})(?:/[0-9a-f]{1,4})?"
    r"(?:\x1b\\|[\x07\x9c])",
    re.IGNORECASE,
)
_BEGINNING = re.compile(r"\x1b\](?:1(?:1(?:;[rgba:/0-9A-F]{0,32}\x1b?)?)?)?", re.IGNORECASE)
_LIGHT = 0.5
"""The luma, from 0 to 1, from which on a background is light."""


def can_answer(kind: TerminalKind) -> bool:
    """Whether a terminal of this kind may be asked. screen never answers, and terminals without a
    title may not know that kind of sequence."""
    return kind not in (TerminalKind.BASIC, TerminalKind.SCREEN)


def is_answer(sequence: str) -> bool:
    """Whether this complete sequence answers the query, in whatever form."""
    return sequence.startswith(QUERY[:5])


def is_beginning(text: str) -> bool:
    """Whether this is the beginning of an answer, and not that of a key."""
    return _BEGINNING.fullmatch(text) is not None


def background_of(answer: str) -> Background | None:
    """The background in an answer; None if the answer has no colour."""
    found = _ANSWER.fullmatch(answer)
    if found is None:
        return None
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in found.groups())
    return "light" if 0.299 * red + 0.587 * green + 0.114 * blue >= _LIGHT else "dark"


def hinted_background(environ: Mapping[str, str]) -> Background | None:
    """The background that COLORFGBG names, as in `15;0`, which some terminals set."""
    _, _, color = environ.get("COLORFGBG", "").rpartition(";")
    if not re.fullmatch(r"[0-9]|1[0-5]", color):
        return None
    return "light" if int(color) in (7, *range(9, 16)) else "dark"
