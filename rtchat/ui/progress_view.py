"""A line on stderr during a transcription, such as its progress: position, length and speed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TextIO

from rtchat.core import effects as fx
from rtchat.core.ports import Post, View
from rtchat.core.text import clock, shortened
from rtchat.ui.plain_view import columns_of

INTERVAL = 0.25
"""Seconds between two changes of the line."""
_TIMES = "\N{MULTIPLICATION SIGN}"
_ERASE = "\r\x1b[K"


class Progress:
    """How much of a recording is transcribed. Positions and lengths are in milliseconds. With
    `follows_turns`, the turns that are shown are the progress."""

    def __init__(
        self,
        length_ms: int | None = None,
        now: Callable[[], float] = time.monotonic,
        *,
        follows_turns: bool = False,
    ) -> None:
        self._follows_turns = follows_turns
        self._length_ms = length_ms
        self._now = now
        self._began: float | None = None
        self._done: dict[int, int] = {}
        """How much of each piece is done."""
        self._old_ms = 0

    def note(self, update: fx.Update) -> None:
        """Take note of an update."""
        match update:
            case fx.Ready() if self._follows_turns:
                self.begin()
            case fx.TurnTranscribed(end_ms=end_ms) if self._follows_turns:
                self.reach(0, end_ms or 0)
            case _:
                pass

    def begin(self) -> None:
        """The first session is ready."""
        if self._began is None:
            self._began = self._now()

    def reach(self, piece: int, ms: int) -> None:
        """So much of a piece is transcribed."""
        self._done[piece] = max(ms, self._done.get(piece, 0))

    def end(self, piece: int, length_ms: int, *, is_old: bool) -> None:
        """A piece is transcribed; `is_old` is whether this took place earlier."""
        self._done[piece] = length_ms
        self._old_ms += length_ms if is_old else 0

    @property
    def line(self) -> str:
        """The position, the length and the speed, as far as they are known."""
        done = sum(self._done.values())
        of = "" if self._length_ms is None else f" of {clock(self._length_ms / 1000)}"
        seconds = 0.0 if self._began is None else self._now() - self._began
        speed = (done - self._old_ms) / 1000 / seconds if seconds > 0 else 0.0
        shown = f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}"
        return f"{clock(done / 1000)}{of}" + (f" · {shown}{_TIMES}" if speed else "")


class Line(Protocol):
    """A line that changes."""

    @property
    def line(self) -> str:
        """What to show now."""

    def note(self, update: fx.Update) -> None:
        """Take note of an update."""


class ProgressView(View):
    """Shows a line below another view, cut at the width of the terminal. The line is erased while
    anything else is shown. If the other view writes text to this terminal (`has_text`), the line is
    not drawn within a line of text or where words of an incomplete turn are shown."""

    def __init__(
        self,
        view: View,
        line: Line,
        err: TextIO,
        now: Callable[[], float] = time.monotonic,
        *,
        has_text: bool = True,
    ) -> None:
        self._view = view
        self._line = line
        self._err = err
        self._has_text = has_text
        self._now = now
        self._shown = ""
        self._changed_at = float("-inf")
        self._is_at_line_start = True
        self._has_partial = False

    def show(self, update: fx.Update) -> None:
        """Show an update above the line."""
        line = self._shown
        self._erase()
        if isinstance(update, fx.PartialTranscript):
            self._has_partial = bool(update.text)
        self._line.note(update)
        if isinstance(update, fx.TextArrived):
            self._is_at_line_start = update.text.endswith("\n")
        self._view.show(update)
        if line and not isinstance(update, fx.ReplyOver):
            self._draw(line)

    def tick(self) -> None:
        """Draw the line if it has changed."""
        self._view.tick()
        if self._now() - self._changed_at >= INTERVAL:
            line = shortened(self._line.line, columns_of(self._err) - 1)
            if line != self._shown:
                self._draw(line)
                self._changed_at = self._now()

    async def run(self, _: Post) -> None:
        """Draw the line from time to time, until this is cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            self.tick()

    def close(self) -> None:
        """Erase the line, and close the other view."""
        self._erase()
        self._view.close()

    def _draw(self, line: str) -> None:
        if not self._has_text or (self._is_at_line_start and not self._has_partial):
            self._write(f"{_ERASE}{line}")
            self._shown = line

    def _erase(self) -> None:
        if self._shown:
            self._write(_ERASE)
            self._shown = ""

    def _write(self, text: str) -> None:
        with suppress(OSError):  # the terminal is gone
            self._err.write(text)
            self._err.flush()
