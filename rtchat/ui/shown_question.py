"""The question before a tool runs, as the prompt shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import chain, repeat

from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.output import Output
from prompt_toolkit.renderer import print_formatted_text
from prompt_toolkit.styles import Style

from rtchat.core.text import MARK
from rtchat.ui.approval import CHOICES, ToolQuestion

_PLAIN = Style([])


class ShownQuestion:
    """Shows a question. If it does not fit on the screen, its arguments are printed above it."""

    def __init__(self, question: ToolQuestion, output: Output) -> None:
        self._question = question
        self._output = output
        self._size = output.get_size()
        self._is_printed = not self._fits()
        if self._is_printed:
            self._print()

    def message(self, print_above: Callable[[Callable[[], None]], None]) -> FormattedText:
        """The text before the answer. `print_above` prints the arguments if they do not fit."""
        self._size = self._output.get_size()
        if not self._is_printed and not self._fits():
            self._is_printed = True
            asyncio.get_running_loop().call_soon(print_above, self._print)
        width = self._size.columns
        if self._is_printed:
            rows = self._question.summary(width, "printed above (scroll up to read them)")
        else:
            rows = self._question.rows(width)
        return FormattedText([*_styled(rows), ("bold", f"{MARK} "), ("", f"{CHOICES} › ")])  # noqa: RUF001 # as the prompt

    def _fits(self) -> bool:
        return len(self._question.rows(self._size.columns)) + 3 <= self._size.rows

    def _print(self) -> None:
        rows = _styled(self._question.details(self._size.columns))
        print_formatted_text(self._output, FormattedText(rows), _PLAIN)


def _styled(rows: Iterable[str]) -> list[tuple[str, str]]:
    """The rows of a question. The first one has a style that no other text has."""
    styles = chain(("bold reverse",), repeat(""))
    return [
        part
        for row, style in zip(rows, styles, strict=False)
        for part in (("bold", row[:1]), (style, row[1:]), ("", "\n"))
    ]
