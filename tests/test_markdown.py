"""The splitter returns all text once it is final, at a linear cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.text import visible
from rtchat.markdown.limits import MAX_COST
from rtchat.markdown.list_items import ItemNumber
from rtchat.markdown.splitter import MAX_LINE, Context, Lines, Piece, Splitter
from tests.documents import ANSWER, BLOCKS, RANDOM, cut
from tests.work import WorkCounter


def pieces(*deltas: str) -> list[Piece]:
    splitter = Splitter()
    fed = [splitter.feed(delta) for delta in deltas]
    return [piece for piece in (*fed, splitter.finish()) if piece is not None]


def sources(*deltas: str) -> list[str]:
    return [piece.source for piece in pieces(*deltas)]


@given(RANDOM | st.text(), st.lists(st.integers(0, 1000)))
def test_nothing_is_lost_whatever_the_deltas(text: str, places: list[int]) -> None:
    assert "".join(sources(*cut(text, places))) == text


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (["one\n", "\n", "two\n"], ["one\n", "\ntwo\n"]),
        (["one\n", "===\n", "two\n"], ["one\n===\n", "two\n"]),
        (["one\n\n", "two"], ["one\n", "\ntwo"]),
        (["# one\n", "two"], ["# one\n", "two"]),
        (["- a\n", "- b\n", "- c\n"], ["- a\n", "- b\n", "- c\n"]),
        (["```\n", "a\n", "\n", "b\n", "```\n"], ["```\na\n", "\nb\n", "```\n"]),
        (["|a|b|\n", "|-|-|\n", "|1|2|\n", "\n", "x"], ["|a|b|\n|-|-|\n|1|2|\n", "\nx"]),
        (
            ["[x]: /u\n", "'a title\n", "over two lines'\n"],
            ["[x]: /u\n'a title\nover two lines'\n"],
        ),
        (["<div>\n", "a\n", "b\n", "\n", "c\n"], ["<div>\na\n", "b\n", "\nc\n"]),
        (["    a\n", "    b\n", "\n", "    c\n"], ["    a\n    b\n", "\n    c\n"]),
        (["a\u2028b\x0cc\n", "\nd\n"], ["a\u2028b\x0cc\n", "\nd\n"]),
    ],
)
def test_the_final_pieces(deltas: list[str], expected: list[str]) -> None:
    assert sources(*deltas) == expected


def test_an_item_that_begins_with_indented_code_stays_open() -> None:
    assert pieces("1.     code\n", "\n   text\n", "\n       more\n")[1:] == [
        Piece("\n   text\n", Context("1. #\n", (ItemNumber("1"),))),
        Piece("\n       more\n", Context("1. #\n", (ItemNumber("1"),))),
    ]


def test_the_context_reopens_the_blocks_around_a_piece() -> None:
    assert pieces("7. a\n", "   > - b\n", "   > - c\n", "8. d\n") == [
        Piece("7. a\n"),
        Piece("   > - b\n", Context("7. #\n", (ItemNumber("7"),))),
        Piece("   > - c\n", Context("7. #\n   > - #\n", (ItemNumber("7"), ItemNumber("")))),
        Piece("8. d\n", Context("7. #\n   > #\n   > - #\n", (ItemNumber("7"), ItemNumber("", 1)))),
    ]


def test_the_tail_is_the_text_that_is_not_final() -> None:
    splitter = Splitter()
    splitter.feed("one\n\ntwo\nthr")
    assert splitter.tail == Piece("\ntwo\nthr")


def test_a_heading_with_a_pipe_waits_for_the_next_line() -> None:
    """A delimiter row would make the heading the head of a table."""
    splitter = Splitter()
    assert splitter.feed("# a|b\n") is None
    assert splitter.feed("-|-\n") is None
    assert splitter.feed("\n") == Piece("# a|b\n-|-\n")


@pytest.mark.parametrize("block", ["word\n", "|a|b|\n|-|-|\n" + "|1|2|\n" * 2, "- a\n", "> a\n"])
def test_the_cost_is_linear(block: str) -> None:
    def work(times: int) -> int:
        with WorkCounter() as counter:
            pieces(*[line + "\n" for line in (block * times).split("\n")])
        return counter.count

    work(20)
    assert work(160) < 10 * work(40)


@pytest.mark.parametrize("name", BLOCKS)
def test_no_block_holds_back_or_returns_much_at_once(name: str) -> None:
    splitter = Splitter()
    text = visible(BLOCKS[name](60_000))
    waiting, returned = [], []
    for start in range(0, len(text), 500):
        piece = splitter.feed(text[start : start + 500])
        waiting.append(len(splitter.tail.source))
        returned.append(len(piece.source) if piece else 0)
    assert max(waiting) <= 2 * MAX_LINE + MAX_COST
    assert max(returned) <= 2 * MAX_LINE + MAX_COST
    assert sum(returned) > len(text) // 3 or not text.strip("\n> `x")


def test_an_endless_line_is_split_at_a_space_if_possible() -> None:
    words, word = "word " * 3_000, "x" * 12_000
    lines = Lines()
    assert [len(line) for line in lines.feed(f"{words}\n{word}")] == [10_001, 5_001, 10_001]
    assert lines.rest == "x" * 2_000


def test_too_many_empty_lines_are_dropped() -> None:
    assert Lines().feed("a\n" + "\n> \n" * 300 + "b\n" + "\n" * 3) == [
        *("a\n", *["\n", "> \n"] * 50, "b\n"),
        *["\n"] * 3,
    ]


@pytest.mark.parametrize("text", [ANSWER, ANSWER.replace("\n", "\n   ")])
def test_little_of_a_reply_is_held_back(text: str) -> None:
    splitter = Splitter()
    longest = 0
    for line in text.split("\n"):
        splitter.feed(line + "\n")
        longest = max(longest, len(splitter.tail.source))
    assert longest < 300
