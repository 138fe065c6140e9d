"""The view of `translate`: the translation on stdout, and the original text on stderr."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import BinaryIO, TextIO

from rtchat.core import effects as fx
from rtchat.core.ports import View
from rtchat.core.text import visible
from rtchat.ui.plain_view import PlainView, StatusWriter

SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n")
"""Where the original text is split into lines."""


class TranslationView(View):
    """A view of a translation. The original text is written to `err`, unless it is None. If stdout
    and stderr are the same terminal (`shares_terminal`), complete lines of both alternate."""

    def __init__(
        self,
        out: BinaryIO,
        err: TextIO | None,
        status: StatusWriter,
        *,
        raw: bool,
        shares_terminal: bool,
    ) -> None:
        self._plain = PlainView(out, status, raw=raw)
        self._err = err
        self._shares_terminal = shares_terminal
        self._is_line_open = False
        self._source = ""
        """The original text of a sentence that is not complete."""

    def show(self, update: fx.Update) -> None:
        """Show an update."""
        match update:
            case fx.TextArrived(text):
                self._add(text)
                return
            case fx.SourceArrived(text):
                *sentences, self._source = SENTENCE_END.split(self._source + text)
                self._show_source(sentences)
                return
            case fx.ReplyOver():
                self._show_source([self._source])
                self._source = ""
            case fx.Waiting() | fx.Notice("info" | "warning" | "error"):
                self._end_line()
            case _:
                pass
        self._plain.show(update)

    def _add(self, text: str) -> None:
        if self._shares_terminal and not self._is_line_open:
            text = text.lstrip()
        if text:
            self._is_line_open = not text.endswith("\n")
            self._plain.show(fx.TextArrived(text))

    def _show_source(self, sentences: list[str]) -> None:
        if self._err is None:
            return
        for sentence in filter(None, map(str.strip, sentences)):
            self._end_line()
            with suppress(OSError):  # stderr is closed
                self._err.write(f"\u203a {visible(sentence)}\n")
                self._err.flush()

    def _end_line(self) -> None:
        """End the line of the translation before the terminal shows another line."""
        if self._shares_terminal and self._is_line_open:
            self._add("\n")
