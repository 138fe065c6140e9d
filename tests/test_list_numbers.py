"""Lists show the numbers, boxes and levels that the model wrote, however they arrive."""

from __future__ import annotations

import re

import pytest

from rtchat.core.values import Entry, Message, Part, State, StoredConversation
from rtchat.history.export import export
from tests.test_commonmark import lines_at_once, lines_streamed


def shown(source: str, width: int = 80) -> list[str]:
    """The lines of a text, which do not depend on how it is cut."""
    lines = lines_at_once(source, width)
    for size in (1, 3, 7, 50):
        deltas = [source[start : start + size] for start in range(0, len(source), size)]
        assert lines_streamed(deltas, width) == lines
    return lines


def numbers(source: str) -> list[str]:
    found = (re.match(r"[\s▌•]*(\d+[.)])", line) for line in shown(source))
    return [match[1] for match in found if match]


def page(source: str) -> str:
    entry = Entry(1, 0, Message("assistant", (Part("text", source),)), State.COMPLETED)
    kept = StoredConversation(7, "Hi?", 1795384632.0, 1795384700.5, "m1", 1, (entry,))
    return export(kept, "html").partition("<main>")[2]


NUMBERS = {
    "counted down": ("3. yes\n2. no\n1. maybe\n", ["3.", "2.", "1."]),
    "with gaps": ("1. a\n4. b\n6. c\n", ["1.", "4.", "6."]),
    "a year": ("8. a\n2024. That was a good year.\n", ["8.", "2024."]),
    "all the same": ("1. a\n1. b\n1. c\n", ["1.", "2.", "3."]),
    "all the same, not 1": ("5. a\n5. b\n5. c\n", ["5.", "6.", "7."]),
    "all zero": ("0. a\n0. b\n", ["0.", "1."]),
    "from zero": ("0. a\n1. b\n", ["0.", "1."]),
    "the same only at first": ("1. a\n1. b\n3. c\n1. d\n", ["1.", "2.", "3.", "1."]),
    "repeated later": ("1. a\n2. b\n2. c\n3. d\n", ["1.", "2.", "2.", "3."]),
    "loose": ("1. a\n\n3. b\n\n2. c\n", ["1.", "3.", "2."]),
    "with brackets": ("3) a\n9) b\n", ["3)", "9)"]),
    "nine digits": ("999999999. a\n1. b\n", ["999999999.", "1."]),
    "nine digits, the same": ("999999999. a\n999999999. b\n", ["999999999.", "1000000000."]),
    "leading zeros": ("007. a\n008. b\n", ["007.", "008."]),
    "leading zeros, the same": ("09. a\n09. b\n", ["09.", "10."]),
    "with blocks inside": (
        "2. a\n\n   ```\n   x\n   ```\n\n1. b\n\n   > q\n\n7. c\n",
        ["2.", "1.", "7."],
    ),
    "the same, with blocks inside": (
        "1. a\n\n   ```\n   x\n   ```\n\n1. b\n\n   > q\n\n1. c\n",
        ["1.", "2.", "3."],
    ),
    "nested": (
        "4. a\n\n   9. x\n   3. y\n2. b\n   1. x\n   1. y\n      - z\n   1. w\n2. c\n",
        ["4.", "9.", "3.", "2.", "1.", "2.", "3.", "2."],
    ),
    "in a bullet": ("- a\n\n  5. x\n  2. y\n- 7. z\n", ["5.", "2.", "7."]),
    "in a quote": ("> 3. a\n> 1. b\n>\n> 1. c\n", ["3.", "1.", "1."]),
    "in a quote in an item": (
        "2. a\n   > 7. x\n   > 7. y\n   > 7. z\n1. b\n",
        ["2.", "7.", "8.", "9.", "1."],
    ),
    "two lists": ("1. a\n1. b\n\n1) c\n3) d\n\ntext\n\n1. e\n", ["1.", "2.", "1)", "3)", "1."]),
    "empty items": ("3.\n1.\n2. a\n", ["3.", "1.", "2."]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_shown_as_written(name: str) -> None:
    source, expected = NUMBERS[name]
    assert numbers(source) == expected


@pytest.mark.parametrize("name", NUMBERS)
def test_a_web_page_has_the_same_numbers(name: str) -> None:
    """A browser counts from `start` or 1; `value` changes the count."""
    source, expected = NUMBERS[name]
    counts: list[int | None] = []
    got = []
    tag = re.compile(r'<(/?)(ol|ul|li)(?: (?:start|value)="(\d+)")?>')
    for closing, element, number in tag.findall(page(source)):
        if element != "li":
            if closing:
                counts.pop()
            else:
                counts.append(int(number or 1) if element == "ol" else None)
        elif not closing and (count := counts[-1]) is not None:
            got.append(int(number) if number else count)
            counts[-1] = got[-1] + 1
    assert got == [int(number[:-1]) for number in expected]


def test_tasks_have_boxes() -> None:
    source = (
        "- [ ] to do, *soon*\n- [x] done\n\n  more\n- [X] [link](https://example.com)\n- no task\n"
    )
    assert shown(source) == [
        "☐ to do, soon",
        "☑ done",
        "",
        "  more",
        "☑ link (https://example.com)",
        "• no task",
    ]


def test_tasks_with_numbers_in_quotes_and_nested() -> None:
    source = "> 2. [ ] a\n>    - [x] b\n> 1. [x] c\n"
    assert shown(source) == ["▌ 2. ☐ a", "▌    ☑ b", "▌ 1. ☑ c"]


def test_a_task_that_wraps_is_aligned_with_its_text() -> None:
    assert shown("- [x] one two three four five\n", 15) == ["☑ one two three", "  four five"]


@pytest.mark.parametrize(
    "source", ["[x] a\n", "- [y] a\n", "- [x]a\n", "- # [x] a\n", "- a\n\n  [x] b\n", "- [ ]\n"]
)
def test_text_that_is_not_a_task(source: str) -> None:
    assert not {"☐", "☑"} & set("".join(shown(source)))


def test_a_web_page_has_boxes() -> None:
    html = page("- [x] a\n- b\n\n1. [ ] c\n")
    assert '<li class="task">☑ a</li>' in html
    assert "<li>b</li>" in html
    assert "<li>☐ c</li>" in html


@pytest.mark.parametrize("unit", ["  ", "    ", "\t"])
@pytest.mark.parametrize("width", [40, 80])
def test_lists_of_many_levels_stay_lists(unit: str, width: int) -> None:
    source = "".join(f"{unit * level}- level {level}\n" for level in range(12))
    expected = [f"{'  ' * level}• level {level}" for level in range(12)]
    assert [line.rstrip() for line in shown(source, width)] == expected


def test_numbered_lists_of_many_levels_stay_lists() -> None:
    source = "".join(f"{'   ' * level}{level + 1}. level\n" for level in range(12))
    assert numbers(source) == [f"{level + 1}." for level in range(12)]


def test_headings_of_each_level_look_different() -> None:
    lines = shown("# One\n\n## Two\n\n### Three\n\nSetext\n---\n\n###### Six\n\n##\n")
    assert [line for line in lines if line] == [
        *("One", "## Two", "### Three", "## Setext", "###### Six", "##"),
    ]


def test_an_item_after_one_that_is_too_deep_is_in_its_own_list() -> None:
    deep = "".join("  " * depth + f"- {depth}\n" for depth in range(30))
    assert shown(deep + "- last\n")[-1] == "• last"
