"""Text from outside is escaped, so that it cannot control the terminal."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.text import sentence, visible, write_json

ALLOWED = {"\n", "\t", "\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
        ("\x1b[2J", "␛[2J"),
        ("\x9b2J", "<U+009B>2J"),
        ("\x00\x08\x0b\x0c\x7f", "␀␈␋␌␡"),
        ("one\r\ntwo\rthree", "one\ntwothree"),
        ("a\u202eb\u2066c\u200ed\u061ce", "a<U+202E>b<U+2066>c<U+200E>d<U+061C>e"),
        ("a\u200bb\u2060c\ufeffd", "a<U+200B>b<U+2060>c<U+FEFF>d"),
        ("\U000e0041\U000e007f", "<U+E0041><U+E007F>"),
        ("\ud800", "�"),
        ("👩\u200d💻 ❤\ufe0f क\u200cष", "👩\u200d💻 ❤\ufe0f क\u200cष"),
    ],
)
def test_control_characters_are_shown_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_no_control_characters_are_left(text: str) -> None:
    unsafe = {
        character
        for character in visible(text)
        if unicodedata.category(character) in {"Cc", "Cs"}
        or character in "\u202e\u200b\u2066\ufeff"
    }
    assert unsafe <= ALLOWED


@given(st.text(st.characters(exclude_categories=())), st.integers(0, 20))
def test_the_result_does_not_depend_on_the_deltas(text: str, at: int) -> None:
    assert visible(text[:at]) + visible(text[at:]) == visible(text)


@given(st.text(st.characters(exclude_categories=())))
def test_escaping_is_idempotent(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@given(st.dictionaries(st.text(), st.text(st.characters(exclude_categories=()))))
def test_json_is_equivalent_and_safe_for_a_terminal(data: dict[str, str]) -> None:
    expected = json.loads(json.dumps(data).encode("utf-16", "surrogatepass").decode("utf-16"))
    for indent in (None, 2):
        text = write_json(data, indent=indent)
        assert visible(text) == text
        assert json.loads(text).keys() == expected.keys()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\x9b2J\x7f\x1b", "\\u009b2J\\u007f\\u001b"),
        ("a\u202eb\u2028\u200b", "a\\u202eb\\u2028\\u200b"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("naïve 日本 👩\u200d💻", "naïve 日本 👩\u200d💻"),
        ("\ud800", "�"),
    ],
)
def test_control_characters_are_escaped_in_json(text: str, written: str) -> None:
    assert write_json({"a": text}) == f'{{"a":"{written}"}}'
    assert json.loads(write_json({"a": text}, indent=1))["a"] == text.replace("\ud800", "�")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("No memory", "No memory."),
        ("No memory.", "No memory."),
        ("No memory. \n", "No memory."),
        ("No memory...", "No memory."),
        ("Who? ", "Who?"),
        ("Stop!", "Stop!"),
        ("and so on…", "and so on…"),
    ],
)
def test_a_sentence_ends_with_one_mark(text: str, written: str) -> None:
    assert sentence(text) == written


def test_more_characters_than_are_cached_are_shown() -> None:
    text = "".join(map(chr, range(0x4E00, 0x9FFF)))
    assert visible(text) == text
