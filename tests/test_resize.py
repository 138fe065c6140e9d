"""A reply that streams while the window changes its size.

Whatever the terminal does with its rows, every word of the reply is in the scrollback and on the
screen once and in order. Parts of frames may remain, with at most `_TEXT_LEFT` rows of text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import pytest
from rich.segment import Segment

from rtchat.core.effects import QuestionAsked, ReplyOver, TextArrived
from rtchat.core.values import Status
from rtchat.ui.live_view import LiveView
from rtchat.ui.panel import LivePanel
from tests.chunks import seeds
from tests.reflow import ReflowingScreen
from tests.screen import Screen

_WORD = re.compile(r"k\d{3}")
_FRAME = re.compile("[╭╰│]")
_TEXT_LEFT = 4
"""How many rows with words of the reply may remain in frames."""


class Document:
    """Blocks in which each word is unique, so that a word that is lost or repeated is noticed."""

    def __init__(self, chance: random.Random, *, narrow: bool, blocks: int = 9) -> None:
        self._chance = chance
        self._narrow = narrow
        self._count = 99
        self.blocks: list[list[str]] = []
        """The words of each block."""
        parts: list[str] = []
        for _ in range(blocks):
            start = self._count + 1
            make = chance.choice(
                [self._table, self._paragraph, self._code, self._list, self._table]
            )
            parts.append(make())
            self.blocks.append([f"k{number}" for number in range(start, self._count + 1)])
        self.text = "\n\n".join(parts)

    def _words(self, most: int) -> Iterator[str]:
        count = self._chance.randint(1, 2 if self._narrow else most)
        for _ in range(count):
            self._count += 1
            yield f"k{self._count}"

    def _table(self) -> str:
        columns = 2 if self._narrow else self._chance.randint(2, 4)
        rows = ["|" + " head |" * columns, "|" + "---|" * columns]
        for _ in range(self._chance.randint(3, 14)):
            cells = (" ".join(self._words(1 if self._narrow else 3)) for _ in range(columns))
            rows.append("| " + " | ".join(cells) + " |")
        return "\n".join(rows)

    def _paragraph(self) -> str:
        return " ".join(f"{word} 漢" if not self._narrow else word for word in self._words(30))

    def _code(self) -> str:
        lines = [f"    {' '.join(self._words(20))}" for _ in range(self._chance.randint(1, 5))]
        return "\n".join(["```python", *lines, "```"])

    def _list(self) -> str:
        return "\n".join(f"- {' '.join(self._words(12))}" for _ in range(5))


class Conversation:
    """A reply on a screen, above an entry if there is one."""

    def __init__(self, screen: Screen, *, reflows: bool | None, has_entry: bool) -> None:
        self.screen = screen
        self.size: tuple[int, int] = screen.console.size
        self.now = 0.0
        self.panel: LivePanel | None = None
        if has_entry:
            self.panel = LivePanel(screen.console, reflows=reflows)
            self.panel.start(show_cursor=True)
            self._paint_entry()
        self.view = LiveView(
            screen.console,
            screen.console,
            now=lambda: self.now,
            panel=self.panel,
            banner=has_entry,
        )
        self.view.show(QuestionAsked("k999", "model"))

    def _paint_entry(self) -> None:
        if self.panel is not None:
            status = "status " * 30
            width = self.screen.console.width
            rows = [[Segment("> draft")], [Segment(status[: width - 1])]]
            self.panel.paint_entry(rows, (0, 7))

    def resize(self, width: int, height: int) -> None:
        self.size = width, height
        self.screen.resize(width, height)

    def resize_unnoticed(self, width: int, height: int) -> None:
        """Change the size of the window; the program learns of it with `notice`."""
        before = self.screen.console.size
        self.resize(width, height)
        self.screen.console.size = before

    def notice(self) -> None:
        """The program paints for the size."""
        self.screen.console.size = self.size
        self._paint_entry()
        self.view.tick()

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.view.tick()

    def ends(self, text: str) -> list[str]:
        self.view.show(ReplyOver(Status.COMPLETED, text, "model"))
        if self.panel is not None:
            self.panel.stop()
        return self.screen.rows()


SIZES = [(120, 40), (100, 30), (80, 24), (61, 20), (60, 12), (40, 30), (31, 14), (26, 40)]


def history(
    seed: int,
    screen_of: Callable[[int, int], Screen],
    *,
    reflows: bool | None,
    has_entry: bool,
    narrow: bool,
    watch: Callable[[Conversation, tuple[int, int] | None], None] = lambda *_: None,
) -> tuple[Document, list[str], int]:
    """Stream a random document while the window changes its size. Returns the document, the rows at
    the end, and how often the size changed after a pause."""
    chance = random.Random(seed)
    document = Document(chance, narrow=narrow)
    talk = Conversation(screen_of(*chance.choice(SIZES)), reflows=reflows, has_entry=has_entry)
    watch(talk, None)
    places = sorted(chance.sample(range(1, len(document.text)), 40))
    times = 0
    for start, end in zip([0, *places], [*places, len(document.text)], strict=True):
        talk.view.show(TextArrived(document.text[start:end]))
        talk.passes(chance.choice([0.1, 0.1, 1.0]))
        watch(talk, None)
        if chance.random() < 0.12:
            times += 1
            for _ in range(chance.choice([1, 1, 3])):
                width, height = chance.choice(SIZES)
                if chance.random() < 0.3:
                    width = talk.size[0]
                elif chance.random() < 0.3:
                    height = talk.size[1]
                talk.resize(width, height)
                watch(talk, (width, height))
                if chance.random() < 0.4:
                    talk.passes(0.1)  # before the entry is drawn for the new size
                if chance.random() < 0.7:
                    talk.notice()
            talk.notice()
            watch(talk, None)
    rows = talk.ends(document.text)
    watch(talk, None)
    return document, rows, times


def check(document: Document, rows: list[str], times: int) -> None:
    text = [row for row in rows if not _FRAME.search(row)]
    words = [word for row in text for word in _WORD.findall(row) if word != "k999"]
    assert sorted(words) == [word for block in document.blocks for word in block], "\n".join(rows)
    for block in document.blocks:
        assert sorted(words[: len(block)]) == block
        del words[: len(block)]
    frames = "\n".join(row for row in rows if _FRAME.search(row))
    assert frames.count("╭") <= times, frames
    assert text_left(rows) <= _TEXT_LEFT, frames


def text_left(rows: list[str]) -> int:
    """How many rows with words of the reply remain in frames."""
    return sum(bool(_FRAME.search(row) and _WORD.search(row)) for row in rows)


@pytest.mark.parametrize(("has_entry", "trims"), list(product([True, False], repeat=2)))
@pytest.mark.parametrize("reflows", [True, None])
@seeds(2, 24)
def test_a_terminal_that_wraps_rows_again(
    seed: int, has_entry: bool, reflows: bool | None, trims: bool
) -> None:
    screen_of = partial(ReflowingScreen, trims=trims)
    check(*history(seed, screen_of, reflows=reflows, has_entry=has_entry, narrow=False))


@pytest.mark.parametrize("reflows", [False, None])
@pytest.mark.parametrize("has_entry", [False, True])
@seeds(2, 24)
def test_a_terminal_that_cuts_rows(seed: int, has_entry: bool, reflows: bool | None) -> None:
    check(*history(seed, Screen, reflows=reflows, has_entry=has_entry, narrow=True))


TABLE = "| a | description |\n|---|---|\n" + "".join(
    f"| k{number} | {'word ' * 14}x{number} |\n" for number in range(100, 160)
)
PARAGRAPH = " ".join(f"k{number} word" for number in range(100, 260))


@pytest.mark.parametrize("text", [TABLE, PARAGRAPH])
@pytest.mark.parametrize("has_entry", [False, True])
@pytest.mark.parametrize("trims", [False, True])
@pytest.mark.parametrize("sizes", [[(120, 40), (60, 40)] * 3, [(80, 24), (40, 24)], [(90, 30)] * 2])
def test_no_text_remains_if_the_screen_has_scrolled(
    text: str, has_entry: bool, trims: bool, sizes: list[tuple[int, int]]
) -> None:
    """The terminal becomes narrower, to half of its width."""
    screen = ReflowingScreen(*sizes[0], trims=trims)
    screen.console.print("\n".join(f"old {number}" for number in range(80)))
    talk = Conversation(screen, reflows=True if has_entry else None, has_entry=has_entry)
    parts = [text[start : start + 150] for start in range(0, len(text), 150)]
    for step, part in enumerate(parts):
        talk.view.show(TextArrived(part))
        talk.passes(1)
        if step % 2 and step // 2 + 1 < len(sizes):
            talk.resize(*sizes[step // 2 + 1])
            talk.notice()
    rows = talk.ends(text)
    assert text_left(rows) == 0, "\n".join(rows)
    assert _WORD.findall("\n".join(rows)).count("k110") == 1


@pytest.mark.parametrize("has_entry", [False, True])
@pytest.mark.parametrize("trims", [False, True])
@seeds(2, 24)
def test_text_that_is_printed_before_a_change_is_noticed(
    seed: int, has_entry: bool, trims: bool
) -> None:
    """Over SSH, the terminal has another size a while before the program. No word is lost, though a
    frame may be damaged, and parts of it may stand beside a line of the reply."""
    chance = random.Random(seed)
    document = Document(chance, narrow=False)
    screen = ReflowingScreen(*chance.choice(SIZES), trims=trims)
    talk = Conversation(screen, reflows=None, has_entry=has_entry)
    places = sorted(chance.sample(range(1, len(document.text)), 40))
    late = 0
    for start, end in zip([0, *places], [*places, len(document.text)], strict=True):
        talk.view.show(TextArrived(document.text[start:end]))
        talk.passes(0.1 if late else chance.choice([0.1, 1.0]))
        if late == 1:
            talk.notice()
        elif not late and chance.random() < 0.12:
            talk.resize_unnoticed(*chance.choice(SIZES))
            late = 4
        late = max(late - 1, 0)
    talk.notice()
    shown = {*_WORD.findall("\n".join(talk.ends(document.text)))}
    assert shown >= {word for block in document.blocks for word in block}


@pytest.mark.parametrize("has_entry", [False, True])
def test_the_frame_is_hidden_while_the_size_changes(has_entry: bool) -> None:
    screen = ReflowingScreen(80, 24, trims=True)
    talk = Conversation(screen, reflows=True, has_entry=has_entry)
    talk.view.show(TextArrived("words of the reply"))
    talk.passes(1)
    assert any("╭" in row for row in talk.screen.visible())
    for width in (70, 60, 40):
        talk.resize(width, 24)
        talk.notice()
        talk.passes(0.2)
        assert not any("╭" in row for row in talk.screen.visible())
    talk.passes(0.2)
    assert sum("╭" in row for row in talk.screen.rows()) == 1


@pytest.mark.parametrize("text", ["👍🏽 " * 12, "漢" * 40, "नि " * 30, "word " * 20])
@pytest.mark.parametrize("size", [(33, 24), (41, 30), (90, 20), (60, 14)])
def test_a_frame_that_was_wrapped_is_erased(text: str, size: tuple[int, int]) -> None:
    talk = Conversation(ReflowingScreen(61, 24, trims=True), reflows=True, has_entry=True)
    talk.view.show(TextArrived("above\n\n" * 20 + text))
    talk.passes(1)
    talk.resize(*size)
    talk.notice()
    rows = talk.screen.rows()
    assert not any(_FRAME.search(row) for row in rows)
    assert rows.count("above") == 20


def test_a_frame_is_small_after_the_size_has_changed_until_the_reply_is_over() -> None:
    table = "| a | b |\n|---|---|\n" + "| c | d |\n" * 40
    talk = Conversation(Screen(80, 24), reflows=False, has_entry=True)
    talk.view.show(TextArrived(table))
    talk.passes(1)
    rows = [height_of_frame(talk)]
    talk.resize(80, 40)
    talk.notice()
    talk.passes(0.1)
    talk.passes(1)
    rows.append(height_of_frame(talk))
    talk.view.show(ReplyOver(Status.COMPLETED, table, "model"))
    talk.view.show(QuestionAsked("k999", "model"))
    talk.view.show(TextArrived(table))
    talk.passes(1)
    rows.append(height_of_frame(talk))
    assert rows == [11, 5, 12]


def height_of_frame(talk: Conversation) -> int:
    return sum(bool(_FRAME.match(row)) for row in talk.screen.visible())
