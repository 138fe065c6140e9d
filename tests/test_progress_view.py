"""The progress of a transcription: its line, and where it is drawn."""

from __future__ import annotations

import errno
import io
import os
import pty
import termios
from typing import TextIO

import pyte
import pytest

from rtchat.core.effects import (
    Notice,
    PartialTranscript,
    Ready,
    ReplyOver,
    TextArrived,
    TurnTranscribed,
)
from rtchat.core.values import Status
from rtchat.ui.plain_view import PlainView, StatusWriter
from rtchat.ui.progress_view import INTERVAL, Progress, ProgressView

TIMES = "\N{MULTIPLICATION SIGN}"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("length", "line"),
    [(666_000, f"3:12 of 11:06 · 13{TIMES}"), (None, f"3:12 · 13{TIMES}")],
)
def test_the_line(length: int | None, line: str) -> None:
    clock = Clock()
    progress = Progress(length, clock)
    progress.begin()
    clock.now = 14.8
    progress.begin()
    progress.reach(0, 100_000)
    progress.reach(1, 92_000)
    progress.reach(1, 50_000)
    assert progress.line == line


def test_what_was_done_earlier_does_not_count_as_speed() -> None:
    clock = Clock()
    progress = Progress(4_000_000, clock)
    progress.end(0, 3_600_000, is_old=True)
    assert progress.line == "1:00:00 of 1:06:40"
    progress.begin()
    clock.now = 20.0
    progress.end(1, 30_000, is_old=False)
    assert progress.line == f"1:00:30 of 1:06:40 · 1.5{TIMES}"


class Shown:
    """A terminal to which both text and progress are written."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.out = io.BytesIO()
        self.err = io.TextIOWrapper(self.out, encoding="utf-8", write_through=True, newline="")
        plain = PlainView(self.out, StatusWriter(self.err), raw=False)
        progress = Progress(60_000, self.clock, follows_turns=True)
        self.view = ProgressView(plain, progress, self.err, self.clock)

    def tick(self) -> list[str]:
        self.clock.now += INTERVAL
        self.view.tick()
        return self.rows

    @property
    def rows(self) -> list[str]:
        screen = pyte.Screen(80, 10)
        pyte.ByteStream(screen).feed(self.out.getvalue().replace(b"\n", b"\r\n"))
        return [row.rstrip() for row in screen.display if row.strip()]


def test_the_line_is_below_the_text_and_never_in_it() -> None:
    shown = Shown()
    shown.view.show(Ready("w", 0.1))
    assert shown.tick() == ["0:00 of 1:00"]
    assert shown.tick() == ["0:00 of 1:00"]
    shown.view.show(TurnTranscribed("u1", "One.", end_ms=30_000))
    shown.view.show(TextArrived("One."))
    assert shown.tick() == ["One."]
    shown.view.show(TextArrived("\n"))
    assert shown.tick() == ["One.", f"0:30 of 1:00 · 30{TIMES}"]
    shown.view.show(Notice("warning", "odd"))
    assert shown.rows == ["One.", "rtchat: odd", f"0:30 of 1:00 · 30{TIMES}"]
    shown.view.show(PartialTranscript("Tw"))
    assert shown.tick() == ["One.", "rtchat: odd"]
    shown.view.show(PartialTranscript(""))
    assert shown.tick()[2].startswith("0:30 of 1:00")
    shown.view.show(ReplyOver(Status.COMPLETED, "One.", "w"))
    shown.view.close()
    assert not any("of 1:00" in row for row in shown.rows)


def test_the_line_changes_at_most_four_times_a_second() -> None:
    shown = Shown()
    shown.tick()
    before = len(shown.out.getvalue())
    shown.view.show(TurnTranscribed("u1", "", end_ms=30_000))
    shown.view.tick()
    erased = len(shown.out.getvalue())
    shown.clock.now += INTERVAL / 2
    shown.view.tick()
    assert len(shown.out.getvalue()) == erased > before
    assert shown.tick()[0].startswith("0:30")


def draw_and_erase(err: TextIO) -> None:
    view = ProgressView(PlainView(io.BytesIO(), StatusWriter(err), raw=True), Progress(60_000), err)
    view.tick()
    view.close()


@pytest.mark.parametrize(
    ("columns", "line"), [(8, "0:00 o…"), (0, "0:00 of 1:00")], ids=["narrow", "unknown"]
)
def test_the_line_fits_into_the_terminal(columns: int, line: str) -> None:
    reading, terminal = pty.openpty()
    try:
        termios.tcsetwinsize(terminal, (10, columns))
        with open(terminal, "w", encoding="utf-8") as err:
            draw_and_erase(err)
            drawn = b""
            while drawn.count(b"\x1b[K") < 2:
                drawn += os.read(reading, 100)
        assert drawn.decode() == f"\r\x1b[K{line}\r\x1b[K"
    finally:
        os.close(reading)


def test_a_terminal_that_is_gone_does_not_end_the_transcription() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "")

    draw_and_erase(Gone())
