"""Tables on a terminal: widths of columns, rows of several lines, records, pipes, and previews."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtchat.markdown.render import Drawing, MarkdownStream
from rtchat.markdown.splitter import Piece
from tests.documents import BLOCKS, cut
from tests.screen import Screen
from tests.test_scrollback import at_once, streamed


def drawn(text: str, width: int) -> list[str]:
    console = Screen(width).console
    return [line.plain for line in Drawing(console).draw(Piece(text), width)]


def table(head: list[str], *rows: list[str], marks: list[str] | None = None) -> str:
    lines = [head, marks or ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


PROSE = "Tokens are sent as soon as the model has produced them, in small deltas"
SIX = table(
    ["#", "Feature", "Description", "Price", "Default", "Notes"],
    ["1", "**Streaming**", PROSE, "$1,200.00", "`--stream`", "Not in *batch* mode"],
    ["2", "Function calling", PROSE, "1 234.50 €", "`a \\|\\| b`", "first<br>second"],
    ["10", "Vision", "Images", "10 ms", "—", ""],
    marks=["--:", "---", "---", "--:", "---", ":-:"],
)
"""Six columns of prose, numbers and code, as models write them."""


# ------------------------------------------------------------------------------------------- widths


def test_a_column_keeps_its_longest_word_and_its_numbers() -> None:
    text = table(
        ["Name", "Description", "Size", "Cost"],
        ["authentication", PROSE, "1 234.50 €", "10 ms"],
        ["b", PROSE, "2 €", "200 ms"],
    )
    for width in (60, 80):
        lines = drawn(text, width)
        shown = " ".join(lines)
        assert max(map(len, lines)) <= width
        assert all(word in shown for word in ("authentication", "Description", "produced"))
        assert all(number in shown for number in ("1 234.50 €", "10 ms", "200 ms"))


def test_short_columns_keep_their_width_and_the_longest_has_the_rest() -> None:
    text = table(["Aspect", "REST", "WebSocket"], ["Overhead", PROSE, "2-14 bytes"])
    assert drawn(text, 60) == [
        "Aspect     REST                                   WebSocket",
        "────────────────────────────────────────────────────────────",
        "Overhead   Tokens are sent as soon as the model   2-14 bytes",
        "           has produced them, in small deltas",
    ]


def test_columns_that_fit_are_as_wide_as_their_cells() -> None:
    text = table(list("abcdefghij"), list("1234567890"))
    assert drawn(text, 37) == ["   ".join("abcdefghij"), "─" * 37, "   ".join("1234567890")]


def test_only_a_table_of_one_column_cuts_words_that_are_too_long() -> None:
    assert drawn(table(["head"], ["x" * 25], ["y"]), 20) == [
        "head",
        "─" * 20,
        "x" * 20,
        "x" * 5,
        "",
        "y",
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_six_columns_lose_nothing(width: int) -> None:
    lines = drawn(SIX, width)
    shown = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width
    for part in ("Streaming", "$1,200.00", "--stream", "1 234.50 €", "a || b", "10 ms", "Vision"):
        assert part in shown


# ----------------------------------------------------------------------------------- several lines


def test_rows_of_several_lines_are_separated() -> None:
    text = table(["a", "b"], ["1", "x<br>y"], ["2", "z"], ["3", "z"])
    assert drawn(text, 80) == ["a   b", "─────", "1   x", "    y", "", "2   z", "", "3   z"]


def test_rows_of_one_line_are_not_separated() -> None:
    assert drawn(table(["a"], ["1"], ["2"]), 80) == ["a", "─", "1", "2"]


def test_a_later_row_of_several_lines_separates_the_rows_from_there_on() -> None:
    text = table(["n", "words"], *[["1", "some words"]] * 200, ["2", "some<br>words"], ["3", "x"])
    lines = drawn(text, 80)
    assert lines[:202].count("") == 0
    assert lines[202:] == ["", "2          some", "           words", "", "3          x"]


@pytest.mark.parametrize(
    ("mark", "lines"),
    [
        (":--", ["1   日本語", "    👍", "    ab"]),
        (":-:", ["1   日本語", "      👍", "      ab"]),
        ("--:", ["1   日本語", "        👍", "        ab"]),
    ],
)
def test_wrapped_cells_are_aligned(mark: str, lines: list[str]) -> None:
    text = table(["n", "v"], ["1", "日本語<br>👍<br>ab"], marks=["---", mark])
    assert drawn(text, 80)[2:] == lines


# ------------------------------------------------------------------------------------------ records


def test_columns_that_are_too_narrow_become_records() -> None:
    text = table(
        ["Name", "**What**", "", "`d`", "Last"],
        ["one", PROSE, "no key", "10", "x<br>y"],
        ["two"],
        ["three", "", "", "*d*", ""],
    )
    assert drawn(text, 32) == [
        *("Name: one", "What: Tokens are sent as soon", "  as the model has produced"),
        *("  them, in small deltas", "no key", "d: 10", "Last: x", "  y"),
        *("", "Name: two"),
        *("", "Name: three", "d: d"),
    ]


def test_words_that_do_not_fit_are_whole_in_records() -> None:
    text = table(["Path", "Digest"], ["a.txt", "e" * 38], ["b.txt", "f" * 40])
    assert drawn(text, 48)[0] == "Path    Digest"
    assert drawn(text, 40) == [
        *("Path: a.txt", "Digest:", "  " + "e" * 38, ""),
        *("Path: b.txt", "Digest:", "f" * 40),
    ]


def test_the_head_of_records_without_rows_is_shown() -> None:
    head = ["authentication", "authorization", "internationalization"]
    assert drawn(table(head), 40) == head


def test_records_in_a_quote_in_a_list() -> None:
    text = "- > " + SIX.replace("\n", "\n  > ") + "\n"
    lines = drawn(text, 40)
    assert lines[:2] == ["• ▌ #: 1", "  ▌ Feature: Streaming"]
    assert "  ▌" in lines
    assert max(map(len, lines)) <= 40


# -------------------------------------------------------------------------------------------- pipes


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (r"| `a \|\| b` | x |", ["a || b", "x"]),
        (r"| a \| b \| c | x |", ["a | b | c", "x"]),
        (r"| **`\|`** | \|\| |", ["|", "||"]),
        (r"| `a\\|b` | a \\| b |", [r"a\|b", "a | b"]),
        ("| `a || b` | x |", ["a || b", "x"]),
        ("| ``a ` | b`` | x |", ["a ` | b", "x"]),
        (r"| `a | b \| c` | x |", ["a | b | c", "x"]),
        ("| $P(A|B)$ | x |", ["P(A|B)", "x"]),
        (r"| \(|x|\) | x |", ["|x|", "x"]),
        ("| $5 | $10 | $15 |", ["$5", "$10 | $15"]),
        ("| `a | b` |", ["`a", "b`"]),
        ("| ` | ` |", ["`", "`"]),
        ("| a | b | c | d |", ["a", "b | c | d"]),
        ("| a | b | | |", ["a", "b"]),
        ("a | b | c", ["a", "b | c"]),
        ("| a |", ["a"]),
        ("|", [""]),
    ],
)
def test_pipes_in_cells(row: str, cells: list[str]) -> None:
    lines = drawn(f"| first head | second head |\n|---|---|\n{row}\n", 80)
    shown = [lines[2][:10].strip(), *filter(None, [lines[2][13:]])]
    assert shown == cells


@pytest.mark.parametrize("head", ["`a || b` | x", "$P(A|B)$ | x", "x | $|y|$", r"`a \|\| b` | x"])
@pytest.mark.parametrize("before", ["", "text\n", "> ", "- "])
def test_pipes_in_a_head(head: str, before: str) -> None:
    indent = " " * len(before) if before == "- " else before.replace("text\n", "")
    lines = drawn(f"{before}| {head} |\n{indent}|---|---|\n{indent}| 1 | 2 |\n", 80)
    shown = re.sub(r"[`$\\]", "", head).split(" | ")
    assert re.split(" {2,}", lines[-3].lstrip("▌• ")) == shown


@pytest.mark.parametrize("text", ["$5 | $10\n|---|", "a | `b\n|---|", "`a | b`\n|---|---|---|"])
def test_a_head_with_other_pipes_is_text(text: str) -> None:
    assert not any("─" in line for line in drawn(text + "\n", 80))


def test_a_head_with_pipes_in_code_whose_cells_are_right_is_divided_there() -> None:
    assert drawn("| `a | b` |\n|---|---|\n| c | d |\n", 80)[0] == "`a   b`"


def test_a_head_without_text_is_not_shown() -> None:
    assert drawn("| | |\n|---|---|\n| a | b |\n", 80) == ["a   b"]


# ----------------------------------------------------------------------------------------- previews


def columns(text: str, heads: list[str], width: int) -> list[list[int]]:
    """The offsets of the columns in each preview of a table that arrives by characters, without
    repetitions."""
    stream = MarkdownStream(Screen(width).console)
    found: list[list[int]] = []
    for character in text:
        stream.add(character, width)
        assert not stream.settled(width)
        lines = [line.plain for line in stream.preview(width, 100)]
        if len(lines) > 1 and set(lines[1]) == {"─"}:
            offsets = [lines[0].index(head) for head in heads]
            if not found or found[-1] != offsets:
                found.append(offsets)
    return found


@pytest.mark.parametrize("width", [60, 76, 116])
def test_the_columns_of_a_preview_only_grow(width: int) -> None:
    heads = ["Aspect", "REST", "WebSocket"]
    rows = [
        *(["Id", "GET", "1"], ["Direction", "Client to server", "Both ways"], ["Overhead", PROSE]),
        *(["Authentication", "`a || b`", PROSE], ["Caching", "x", "y"]),
    ]
    found = columns(table(heads, *rows), heads, width)
    assert 2 <= len(found) <= sum(map(len, rows))
    for before, after in pairwise(found):
        assert all(x <= y for x, y in zip(before, after, strict=True))


_RANDOM_CELLS = st.sampled_from(
    ("", "1", "$1,234.50", "yes", "`code`", "a<br>b", "word " * 7, PROSE, "x" * 30, "漢字" * 9)
)


def test_a_preview_of_many_rows_is_rendered() -> None:
    stream = MarkdownStream(Screen(80).console)
    text = table(["a", "b"], *[["plain words " * 40, "b"]] * 14)
    for start in range(0, len(text), 100):
        stream.add(text[start : start + 100], 80)
        stream.settled(80)
        assert start < 100 or not any("|" in line.plain for line in stream.preview(76, 100))


@pytest.mark.full
@given(
    rows=st.lists(st.lists(_RANDOM_CELLS, min_size=1, max_size=4), max_size=5),
    width=st.integers(30, 100),
)
@settings(max_examples=40, deadline=None)
def test_no_column_of_a_preview_becomes_narrower(rows: list[list[str]], width: int) -> None:
    heads = ["Aa", "Bb", "Cc", "Dd"]
    found = columns(table(heads, *rows), heads, width)
    assert 1 <= len(found) <= 1 + sum(map(len, rows))
    for before, after in pairwise(found):
        assert all(x <= y for x, y in zip(before, after, strict=True))


def test_characters_of_a_row_do_not_move_the_columns() -> None:
    heads = ["Name", "Text"]
    assert columns(table(heads, ["a", PROSE], ["b", PROSE]), heads, 60) == [[0, 7]]


def test_the_open_cell_uses_the_room_to_its_right() -> None:
    stream = MarkdownStream(Screen(60).console)
    stream.add(table(["Name", "Text"]) + "| authentication", 60)
    stream.settled(60)
    shown = [line.plain for line in stream.preview(56, 10)]
    assert shown == ["Name   Text", "───────────", "authentication"]


def test_the_preview_of_a_long_table_has_the_columns_that_are_printed() -> None:
    text = table(["n", "words"], *[["1", "some words"]] * 200)
    stream = MarkdownStream(Screen(60).console)
    stream.add(text, 60)
    printed = [line.plain for line in stream.settled(60) or []]
    stream.add("| 2 | some words, and more\n| 3", 60)
    printed += [line.plain for line in stream.settled(60) or []]
    shown = [line.plain for line in stream.preview(56, 10)]
    assert printed[2].index("some") == 11
    assert shown[-1] == "3"


def test_later_rows_fit_into_a_window_that_became_narrower() -> None:
    stream = MarkdownStream(Screen(60).console)
    stream.add(table(["n", "words"], *[["1", "some words and others"]] * 200), 60)
    assert max(line.cell_len for line in stream.settled(60) or []) > 30
    stream.add("| 2 | some words and others |\n" * 200, 30)
    lines = stream.finish(30)
    assert max(line.cell_len for line in lines) <= 30
    assert [line.plain for line in lines[-3:]] == [
        "",
        "2          some words and",
        "           others",
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("text", [SIX, "> - " + SIX.replace("\n", "\n>   ")])
def test_streamed_equals_at_once(text: str, width: int) -> None:
    assert streamed(cut(text, list(range(0, len(text), 7))), width, 20) == at_once(text, width)


def test_long_records_streamed_equal_those_at_once() -> None:
    text = BLOCKS["table of records"](9_000)
    assert streamed(cut(text, list(range(0, len(text), 600))), 40, 20) == at_once(text, 40)
