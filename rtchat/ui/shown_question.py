"""The question before a tool runs, on the screen: above the row in which it is answered, and in the
scrollback afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, repeat

from rich.text import Text

from rtchat.core.text import MARK, PROMPT
from rtchat.ui.approval import CHOICES, ToolQuestion

ANSWER = f"{MARK} {CHOICES} {PROMPT}"
"""What precedes the answer."""


class ShownQuestion:
    """One question. If it does not fit on the screen, its arguments are printed above it."""

    def __init__(self, question: ToolQuestion) -> None:
        self._question = question
        self._is_printed = False

    def rows(self, width: int, height: int) -> tuple[Text | None, Text]:
        """The arguments to print, if they do not fit and were not printed yet, and the rows to
        show."""
        details = None
        if not self._is_printed and len(self._question.rows(width)) + 3 > height:
            self._is_printed = True
            details = _styled(self._question.details(width))
        if self._is_printed:
            rows = self._question.summary(width, "printed above (scroll up to read them)")
        else:
            rows = self._question.rows(width)
        return details, _styled(rows)


def _styled(rows: Iterable[str]) -> Text:
    """The rows of a question. The first one has a style that no other text has."""
    styles = chain(("bold reverse",), repeat(""))
    lines = (
        Text.assemble((row[:1], "bold"), (row[1:], style))
        for row, style in zip(rows, styles, strict=False)
    )
    return Text("\n").join(lines)
