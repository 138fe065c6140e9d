"""Blocks that CommonMark reads in another way than their author meant them."""

from __future__ import annotations

import pytest

from tests.test_list_numbers import shown

_RULE = "─" * 40
_TABLE = "| A | B |\n|---|---|\n| 1 | 2 |\n"
_DRAWN = ["A   B", "─────", "1   2"]


def _indented(text: str, by: int) -> str:
    return "".join(" " * by + line + "\n" for line in text.rstrip("\n").split("\n"))


def test_numbers_of_one_list_may_be_indented() -> None:
    assert shown(" 1. a\n 2. b\n  3. c\n") == ["1. a", "2. b", "3. c"]
    assert shown("- 1. a\n  2. b\n") == ["• 1. a", "  2. b"]


# ---------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize("label", ["**Cons**", "**Cons:**", "__Cons__:", "Cons:", "缺点："])
@pytest.mark.parametrize("mark", ["- ", "1. ", "> - "])
def test_a_label_ends_a_list(label: str, mark: str) -> None:
    start = "> " if mark.startswith(">") else ""
    lines = shown(f"{mark}fast\n{start}{label}\n{mark}slow\n")
    assert lines[-2].strip("▌ ") == "" or start
    assert any(
        line.removeprefix("▌ ") == label.strip("*_").replace("__", "").replace("**", "")
        for line in lines
    )


@pytest.mark.parametrize(
    "line", ["more", "**bold** text", "a: b", "  **Cons**", "like this:", "Word " * 15 + ":"]
)
def test_other_lines_belong_to_an_item(line: str) -> None:
    assert len(shown(f"- fast\n{line}\n", 100)) == 2


def test_a_line_of_a_space_that_is_no_ascii_character() -> None:
    assert shown("- fast\n\u00a0\n") == ["• fast"]


# ---------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("start", ["- a\n", "1. a\n", "1. a\n   - b\n"])
@pytest.mark.parametrize("columns", [0, 1])
def test_a_table_with_less_indent_follows_an_item(start: str, columns: int) -> None:
    assert shown(start + _indented(_TABLE, columns))[-4:] == ["", *_DRAWN]


def test_text_below_a_table_is_not_a_row() -> None:
    assert shown(_TABLE + "Text *after*.\nmore") == [*_DRAWN, "", "Text after.", "more"]
    assert shown("> " + _TABLE.replace("\n", "\n> ") + "text")[-1] == "▌ text"
    assert shown("| A |\n|---|\none\n| two |\n") == ["A", "───", "one", "two"]
    assert shown("A | B\n--|--\n1 | 2\n3 |\n") == [*_DRAWN, "3"]


# ---------------------------------------------------------------------------------------- rules


@pytest.mark.parametrize(
    "text", ["It ends here.", "It ends!", "完了。", "two\nlines", "**Name:** x\n**Age:** y"]
)
def test_a_line_below_text_is_a_rule(text: str) -> None:
    lines = [line.replace("**", "") for line in text.split("\n")]
    assert shown(f"{text}\n---\nmore\n") == [*lines, "", _RULE, "", "more"]


@pytest.mark.parametrize("text", ["Title", "**Title**", "A question?", "Part 1: Start"])
def test_a_line_below_a_title_makes_a_heading(text: str) -> None:
    assert shown(f"{text}\n---\nmore\n") == [f"## {text.replace('**', '')}", "", "more"]


def test_two_lines_with_equals_signs_below_are_a_heading() -> None:
    assert shown("It ends\nhere.\n===\n") == ["It ends here."]


def test_the_first_row_of_columns_is_no_heading() -> None:
    assert shown("Item     Qty\n------------\nNut       10\n") == [
        *("Item     Qty", "", _RULE, "", "Nut       10"),
    ]
    rows = ["Item     Qty", "============", "Nut       10"]
    assert shown("\n".join(rows)) == rows
