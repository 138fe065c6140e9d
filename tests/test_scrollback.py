"""For any document, deltas and window, the scrollback equals that of the whole text at once.

The oracle renders the document at once, without the splitter and the panel, on a terminal of its
own. Cases are random. A failure prints the seed, which `RTCHAT_TEST_SEED` sets, and the smallest
case that hypothesis finds.
"""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from rich.text import Text

from rtchat.core.effects import QuestionAsked, ReplyOver, TextArrived
from rtchat.core.text import visible
from rtchat.core.values import Status
from rtchat.markdown.render import Drawing
from rtchat.markdown.splitter import Lines, Piece
from rtchat.ui.console import print_text
from rtchat.ui.live_view import LiveView
from tests.chunks import in_chunks
from tests.documents import DOCUMENTS, LONG, RANDOM, cut
from tests.screen import Screen

CHUNKS, CASES, LONG_CASES = 16, 70, 5
SEED = int(os.environ.get("RTCHAT_TEST_SEED", "20261122"))
"""The cases are the same in every run, so that a failure comes from a change. Other seeds give
other cases."""


def at_once(text: str, width: int, *, clusters: bool = True) -> list[str]:
    """The scrollback after the whole text is rendered at once."""
    screen = Screen(width, 60, clusters=clusters)
    gate = Lines()
    source = "".join(gate.feed(visible(text))) + gate.rest
    lines = Drawing(screen.console).draw(Piece(source), width)
    print_text(screen.console, Text("\n").join(lines))
    return screen.rows()


def streamed(deltas: list[str], width: int, height: int, *, clusters: bool = True) -> list[str]:
    """The scrollback after a stream, with a repaint after every delta."""
    screen = Screen(width, height, clusters=clusters)
    now = [0.0]
    view = LiveView(screen.console, screen.console, now=lambda: now[0])
    view.show(QuestionAsked("?", "model"))
    for delta in deltas:
        now[0] += 0.1
        view.show(TextArrived(delta))
        view.tick()
    view.show(ReplyOver(Status.COMPLETED, "".join(deltas), "model"))
    return screen.rows()


def test_an_emoji_of_two_characters_and_two_cells() -> None:
    text = "a shade of skin 👍🏽\n\n"
    for width in (20, 21):
        shown = streamed([text], width, 5, clusters=False)
        assert shown == at_once(text, width, clusters=False)


def test_an_html_block_that_ends_within_a_line_is_rendered() -> None:
    text = "> 1. <!-- a\n>    \n>    comment -->\n>    \n>    word\n\n"
    for end in range(len(text)):
        assert streamed([text[:end], text[end:]], 20, 5) == at_once(text, 20)
        assert streamed([text[:end]], 20, 5) == at_once(text[:end], 20)


@pytest.mark.parametrize(
    "text",
    [
        "[x]: /u\n" * 300 + "===\n\n",
        "[x]: /u\n" * 300 + "\n[x]: /u\n" * 30,
        "[x]: /u '" + "[x]: /u\n" * 124 + "'\na line of **words**, and",
        "> [x]: /u\n> [y]: /u\n> 'a\n\nb'",
    ],
)
def test_link_references_in_a_row_and_their_titles(text: str) -> None:
    for size in (7, 500, len(text)):  # 7: cut at each place of a reference
        deltas = [text[start : start + size] for start in range(0, len(text), size)]
        assert streamed(deltas, 30, 10) == at_once(text, 30)


CHARACTERS = ["x", "word ", "漢", "👩\u200d💻", "e\u0301", "עברית "]
STARTS = ["", "```\n", "| a | b |\n|---|---|\n| 1 | ", "- ", "> ", "<b>"]
LINES = [
    pytest.param(start, character, marks=[pytest.mark.full] if (row + column) % 3 else [])
    for row, start in enumerate(STARTS)
    for column, character in enumerate(CHARACTERS)
]
"""The quick suite has each start and each character twice."""


@pytest.mark.parametrize(("start", "character"), LINES)
def test_a_line_of_ten_thousand_characters(start: str, character: str) -> None:
    text = start + (character * 10_000)[: 10_000 - len(start)] + "\n\nafter\n"
    deltas = cut(text, list(range(0, len(text), 1_900)))
    rows = at_once(text, 80)
    shown = "".join(rows).replace(" ", "")
    assert streamed(deltas, 80, 24) == rows
    assert shown.count(character.strip()) >= 10_000 // len(character) - len(start)
    assert rows[-2:] == ["", "after"]


@in_chunks(CHUNKS)
@pytest.mark.parametrize(
    ("texts", "cases"),
    [(st.one_of(DOCUMENTS, DOCUMENTS, RANDOM), CASES), (LONG, LONG_CASES)],
    ids=["short", "long"],
)
def test_streamed_equals_at_once(chunk: int, texts: st.SearchStrategy[str], cases: int) -> None:
    sys.stdout.write(f"RTCHAT_TEST_SEED={SEED}\n")

    @seed(SEED + chunk)
    @settings(
        max_examples=cases,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(
        text=texts,
        places=st.lists(st.integers(0, 20_000), max_size=40),
        width=st.integers(20, 200),
        height=st.integers(5, 60),
        clusters=st.booleans(),
    )
    def check(text: str, places: list[int], width: int, height: int, clusters: bool) -> None:
        got = streamed(cut(text, places), width, height, clusters=clusters)
        assert got == at_once(text, width, clusters=clusters)

    check()
