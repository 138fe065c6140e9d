"""Content and an entry at the bottom of the screen, while lines are printed above them.

After any steps the screen has every printed line once, then the content and the entry, and each
step is painted at once.
"""

from __future__ import annotations

from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from rtchat.ui.panel import LivePanel, fold
from tests.screen import Screen

BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"
Step: TypeAlias = tuple[object, ...]
_WORDS = st.text("ab 漢é", max_size=30)
_BOLD = Style(bold=True)


class _Painted:
    """A panel, and what is expected on its screen."""

    def __init__(self, width: int, height: int) -> None:
        self.screen = Screen(width, height)
        self.panel = LivePanel(self.screen.console)
        self.printed: list[str] = []
        self.content: list[str] = []
        self.entry: list[str] = []
        self.cursor = (0, 0)
        self._erased: list[str] = []
        """The content that the next step shows again."""
        self.panel.start(show_cursor=True)
        self.screen.rows()

    @property
    def width(self) -> int:
        return self.screen.console.width

    def do(self, step: Step) -> None:
        """Paint something. No row is wider than the screen."""
        self.content, self._erased = self.content or self._erased, []
        match step:
            case ("print", list(lines)):
                self.panel.print(Text("\n".join(lines)))
                for line in lines:
                    starts = range(0, max(len(line), 1), self.width)
                    self.printed += [line[start : start + self.width] for start in starts]
            case ("content", list(rows)):
                self.content = [set_cell_size(row, self.width - 1) for row in rows]
                self.panel.paint(Text("\n".join(self.content)) if rows else Text())
                self.content = self.content or [""]
            case ("clear",):
                self.panel.clear()
                self.content = []
            case ("entry", list(rows), int(row), int(column)):
                self.entry = [set_cell_size(each, self.width - 1) for each in rows]
                self.cursor = row % len(rows), column % self.width
                self.panel.paint_entry([_row(each) for each in self.entry], self.cursor)
            case ("erase",):
                self.panel.erase()
                self._erased, self.content, self.entry = self.content, [], []
            case _:
                raise AssertionError(step)

    def check(self) -> None:
        """Compare the screen with what is expected, and see that it changed at once."""
        self.screen.output = ""
        shown = [*self.content, *self.entry][-self.screen.console.height :]
        expected = [line.rstrip() for line in [*self.printed, *shown]]
        while expected and not expected[-1]:
            del expected[-1]
        assert self.screen.rows() == expected
        output = self.screen.output
        assert output.count(BEGIN) == output.count(END) <= 1
        if BEGIN in output:
            assert output.startswith(BEGIN)
            assert output.endswith(END)
        if self.entry:
            row = max(len(shown) - len(self.entry) + self.cursor[0], 0)
            at, column = self.screen.cursor
            at += self.screen.scrolled
            assert (at, column) == (len(self.printed) + row, self.cursor[1])


def _row(text: str) -> list[Segment]:
    half = len(text) // 2
    return [Segment(text[:half], _BOLD), Segment(text[half:])]


_ROWS = st.lists(_WORDS, min_size=1, max_size=8)
_STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("print"), st.lists(st.text("ab ", max_size=60), min_size=1, max_size=4)),
    st.tuples(st.just("content"), _ROWS),
    st.tuples(st.just("content"), st.lists(st.just("row"), min_size=1, max_size=30)),
    st.tuples(st.just("clear")),
    st.tuples(st.just("entry"), _ROWS, st.integers(0, 7), st.integers(0, 50)),
    st.tuples(st.just("erase")),
)


@given(st.lists(_STEPS, max_size=14), st.integers(8, 40), st.integers(3, 16))
@example([("entry", ["a", "b"], 0, 0), ("print", ["x"]), ("entry", ["a"], 0, 3)], 10, 3)
def test_the_screen_has_what_was_painted(steps: list[Step], width: int, height: int) -> None:
    painted = _Painted(width, height)
    for step in steps:
        painted.do(step)
        painted.check()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("print"), st.lists(st.text("ab", max_size=4), max_size=3)),
            st.tuples(
                st.just("content"), st.lists(st.text("cd", max_size=40), min_size=1, max_size=2)
            ),
            st.tuples(
                st.just("entry"),
                st.lists(st.text("ef", min_size=1, max_size=40), min_size=1, max_size=2),
                st.integers(0, 1),
                st.integers(0, 50),
            ),
            st.tuples(st.just("resize"), st.integers(10, 60), st.integers(6, 12)),
        ),
        max_size=16,
    )
)
def test_a_window_of_changing_size_has_each_printed_line_once(steps: list[Step]) -> None:
    """Also if something is painted before the entry is drawn for the new width."""
    painted = _Painted(40, 12)
    total = 0
    for step in [*steps, ("clear",), ("entry", ["end"], 0, 0)]:
        match step:
            case ("resize", int(width), int(height)):
                painted.screen.resize(width, height)
            case ("print", list(lines)):
                numbered = [f"{total + number}:{line}" for number, line in enumerate(lines)]
                total += len(numbered)
                painted.do(("print", numbered or ["none"]))
            case _:
                painted.do(step)
    rows = painted.screen.rows()
    assert rows[-1] == "end"
    assert len(rows) == len(painted.printed) + 1
    for row, printed in zip(rows, painted.printed, strict=False):
        assert row == printed.rstrip()


def test_a_tick_between_a_resize_and_the_next_entry_leaves_nothing_behind() -> None:
    painted = _Painted(40, 10)
    painted.do(("entry", ["draft", "s" * 39], 0, 5))
    painted.do(("content", ["frame"]))
    painted.screen.resize(20, 10)
    painted.do(("content", ["frame again"]))
    assert painted.screen.rows() == ["frame again", "draft", "s" * 20]
    painted.do(("entry", ["draft", "status"], 0, 5))
    painted.check()


def test_painting_the_same_again_writes_nothing() -> None:
    painted = _Painted(40, 10)
    for _ in range(2):
        painted.do(("entry", ["draft"], 0, 5))
        painted.do(("content", ["frame"]))
    painted.screen.rows()
    written = painted.screen.written
    painted.do(("entry", ["draft"], 0, 5))
    painted.do(("content", ["frame"]))
    painted.screen.rows()
    assert painted.screen.written == written


def test_a_key_writes_few_bytes() -> None:
    painted = _Painted(80, 24)
    painted.do(("content", ["a long line of a reply " * 3] * 5))
    painted.do(("entry", ["draft"], 0, 5))
    painted.screen.rows()
    written = painted.screen.written
    painted.do(("entry", ["draft!"], 0, 6))
    painted.screen.rows()
    assert painted.screen.written - written < 100


@pytest.mark.parametrize("word", ["❤️", "漢\u0301", "नि", "👍🏽"])
def test_text_after_characters_of_uncertain_width_is_not_written_alone(word: str) -> None:
    screen = Screen(40, 10)
    panel = LivePanel(screen.console)
    panel.start()
    panel.paint(Text(f"{word} a"))
    screen.rows()
    panel.paint(Text(f"{word} ab"))
    screen.rows()
    assert word in screen.output


def test_stopping_removes_everything_and_returns_the_cursor() -> None:
    painted = _Painted(40, 10)
    painted.do(("print", ["above"]))
    painted.do(("entry", ["draft", "status"], 0, 5))
    painted.do(("content", ["frame"]))
    painted.panel.stop()
    painted.panel.stop()
    painted.screen.console.print("after")
    assert painted.screen.rows() == ["above", "after"]


@pytest.mark.parametrize("text", ["x" * 10, "漢" * 9, "👍🏽" * 9, "नि" * 20, "🇩🇪" * 9])
def test_folded_rows_fit_whatever_width_a_terminal_gives_them(text: str) -> None:
    rows = fold(Text(text), 12)
    assert "".join(row.plain for row in rows) == text
    assert all(cell_len(row.plain) <= 12 for row in rows)
