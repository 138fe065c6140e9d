"""Split a line of text into rows that fit on the screen."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


def wrap(console: Console, text: Text, width: int) -> list[Text]:
    """The rows of a text, each at most `width` cells wide."""
    return list(text.wrap(console, width, overflow="fold"))
