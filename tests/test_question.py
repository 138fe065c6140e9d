"""The question before a tool runs shows the whole call, and no other text looks like it."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.effects import ToolAsked
from rtchat.core.text import MARK, exact, visible
from rtchat.core.values import Approval, ToolCall
from rtchat.ui.approval import ToolQuestion, as_code
from tests.asked import arguments, body

_TEXT = st.text(st.characters(exclude_categories=()))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
    max_leaves=20,
)


def rows(arguments: str, width: int = 80, name: str = "f", server: str = "") -> list[str]:
    return ToolQuestion(ToolAsked(ToolCall(name, "c", arguments), server)).rows(width)


@given(st.dictionaries(_TEXT, _JSON), st.integers(60, 200), st.booleans())
def test_any_arguments_can_be_read_back_from_the_rows(
    given: dict[str, Any], width: int, is_ascii: bool
) -> None:
    text = json.dumps(given, ensure_ascii=is_ascii)
    assert arguments(body(rows(text, width))) == given


@given(_TEXT.filter(str.strip), st.integers(60, 200))
def test_arguments_that_are_no_object_are_shown_unparsed(text: str, width: int) -> None:
    shown = rows(text, width)
    assert all(row.startswith(f"{MARK} ") for row in shown)
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    assert is_object or arguments(body(rows(text, width))) == text


@given(st.dictionaries(_TEXT, _TEXT), st.integers(10, 100))
def test_no_row_controls_the_terminal_or_is_too_wide(given: dict[str, str], width: int) -> None:
    for row in rows(json.dumps(given), width):
        assert not {"Cc", "Cf", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, row))
        assert row.count(MARK) == 1
        assert len(row) <= max(width, 16)


@given(_TEXT)
def test_exact_text_can_be_read_back_and_hides_nothing(text: str) -> None:
    shown = exact(text)
    assert json.loads(shown) == text
    assert visible(shown) == shown
    spaces = {char for char in shown if unicodedata.category(char) == "Zs"}
    assert spaces <= {" "}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ls;  touch x", '"ls;  touch x"'),
        ("a\nb\tc\x1b[2J\x7f", r'"a\nb\tc\u001b[2J\u007f"'),
        ("a\u00a0b\u2003c\u3000d\u2800e", r'"a\u00a0b\u2003c\u3000d\u2800e"'),
        ("a\u200b\u202eb\u2066\ufe0fc", r'"a\u200b\u202eb\u2066\ufe0fc"'),
        ("x\U000e0041\U000e0100", r'"x\udb40\udc41\udb40\udd00"'),
        ("\u2028\u2029\ud800\ue000", r'"\u2028\u2029\ud800\ue000"'),
        ("naïve हिन्दी 日本 👍", '"naïve हिन्दी 日本 👍"'),
        ("x\u0302\u0302\u0302 \u0301", '"x\u0302\u0302\\u0302 \\u0301"'),
        ("\u00e1 a\u0301", '"\u00e1 a\\u0301"'),
        (f"{MARK} [y]es", r'"\u258d [y]es"'),
        ('say "hi" \\', r'"say \"hi\" \\"'),
    ],
)
def test_exact_text_escapes_everything_that_is_invisible(text: str, shown: str) -> None:
    assert exact(text) == shown


def test_each_argument_has_its_own_line() -> None:
    given = '{"path": "/tmp/a b", "deep": {"x": [1, 2.50, 1e400, true, null]}, "odd key": "y"}'
    assert rows(given) == [
        f"{MARK} Run f?",
        f'{MARK}   path: "/tmp/a b"',
        f'{MARK}   deep: {{"x": [1, 2.50, 1e400, true, null]}}',
        f'{MARK}   "odd key": "y"',
        f"{MARK} [a]lways: every call of f, with any arguments, until rtchat exits",
    ]


@pytest.mark.parametrize("given", ["", " \n", "{}", "{ }"])
def test_a_call_without_arguments(given: str) -> None:
    assert body(rows(given)) == ["no arguments"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ('{"path": "safe", "path": "evil"}', "duplicate key"),
        ('{"deep": [{"a": 1, "a": 2}]}', "duplicate key"),
        ('["ls"]', "not a JSON object"),
        ('{"path": "cut o', "not valid JSON"),
        ('{"n": NaN}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('\N{NO-BREAK SPACE}{"a": 1}', "not valid JSON"),
    ],
)
def test_ambiguous_or_invalid_arguments_are_shown_unparsed(given: str, why: str) -> None:
    first, raw = body(rows(given))
    assert first == f"{why}; shown exactly as received:"
    assert json.loads(raw) == given


def test_long_lines_are_folded_and_newlines_end_a_row() -> None:
    shown = rows(json.dumps({"a": "one\n" + "x" * 50 + f"   \n{MARK} [y]es"}), 40)
    assert shown[1:-2] == [
        f'{MARK}   a: "one\\n↩',
        f"{MARK}     {'x' * 33}↩",
        f"{MARK}     {'x' * 17}   \\n↩",
        f'{MARK}     \\u258d [y]es"',
    ]


def test_the_summary_has_the_length_of_the_arguments() -> None:
    asked = ToolQuestion(ToolAsked(ToolCall("f", "c", json.dumps({"a": "x" * 5000}))))
    assert asked.summary(80, "above") == [
        f"{MARK} Run f?",
        f"{MARK} Arguments: 5,009 characters, 69 lines, above",
        f"{MARK} [a]lways: every call of f, with any arguments, until rtchat exits",
    ]
    details = asked.details(80)
    assert details[:2] == [f"{MARK} Run f?", f"{MARK} Arguments, 5,009 characters:"]
    assert len(details) == 71


def test_the_server_is_named_and_look_alike_names_are_escaped() -> None:
    assert rows("{}", name="add", server="math")[0] == f"{MARK} Run add of the MCP server math?"
    asked = ToolAsked(Approval("a", "se\u0430rch", "{}", "docs\n? [y]es"))
    assert ToolQuestion(asked).rows(60)[:2] == [
        f'{MARK} Run "se\\u0430rch" of the remote MCP server "docs\\n? ↩',
        f'{MARK}   [y]es"?',
    ]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ('{"a":  "b  c"}', 'f({"a": "b  c"})'),
        ("", "f()"),
        ("no\u200b json", r'f("no\u200b json")'),
    ],
)
def test_a_call_as_code(given: str, code: str) -> None:
    assert as_code("f", given) == code
