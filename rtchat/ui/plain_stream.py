"""Shows a text as it is, line by line, with control characters made visible."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from rtchat.core.text import TAB

_MAX_LINES = 200
"""Lines that may wait for a tick."""


class PlainStream:
    """One text that arrives in deltas: complete lines are final."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: list[Text] = []
        self._rest = ""
        self._has_new = False

    def add(self, delta: str, width: int) -> None:
        """Add text."""
        *lines, self._rest = (self._rest + delta).split("\n")
        self._lines += map(Text, lines)
        self._has_new = True

    @property
    def code_blocks(self) -> None:
        """Code blocks are not numbered."""

    @property
    def is_full(self) -> bool:
        """Whether enough lines are final that they should be printed now."""
        return len(self._lines) > _MAX_LINES

    def settled(self, width: int) -> list[Text] | None:
        """The lines that became final since the last call; None if there was no new text."""
        if not self._has_new:
            return None
        lines, self._lines, self._has_new = self._lines, [], False
        return lines

    def finish(self, width: int) -> list[Text]:
        """End the text. Returns all remaining lines."""
        lines = self.settled(width) or []
        return [*lines, Text(self._rest)] if self._rest else lines

    def preview(self, width: int, rows: int) -> list[Text]:
        """The last `rows` rows of the line that is not complete, none wider than `width`."""
        line = Text(self._rest[-rows * width :].expandtabs(TAB))
        return list(line.wrap(self._console, width, overflow="fold"))[-rows:] if line else []
