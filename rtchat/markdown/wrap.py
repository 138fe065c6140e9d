"""Split a line of text into rows that fit on the screen."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_CJK = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")
"""Characters before and after which a line may break."""


def wrap(console: Console, text: Text, width: int) -> list[Text]:
    """The rows of a text, each at most `width` cells wide."""
    return list(text.wrap(console, width, overflow="fold"))


def longest_word(text: Text) -> int:
    """The width in cells of the longest part of a text that `wrap` keeps whole if it fits."""
    plain = text.plain
    if plain.isascii():
        return max(map(len, plain.split()), default=0)
    return max(map(cell_len, _CJK.sub(r" \g<0> ", plain).split()), default=0)
