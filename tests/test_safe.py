"""What reaches a terminal from outside can be seen and does nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.ui.safe import visible

HARMLESS = {"\n", "\t", "\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"}


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
def test_it_shows(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_is_left_to_act_on_a_terminal(text: str) -> None:
    acting = {
        character
        for character in visible(text)
        if unicodedata.category(character) in {"Cc", "Cs"}
        or character in "\u202e\u200b\u2066\ufeff"
    }
    assert acting <= HARMLESS


@given(st.text(st.characters(exclude_categories=())), st.integers(0, 20))
def test_it_does_not_matter_how_a_text_was_cut(text: str, at: int) -> None:
    assert visible(text[:at]) + visible(text[at:]) == visible(text)


@given(st.text(st.characters(exclude_categories=())))
def test_once_is_enough(text: str) -> None:
    assert visible(visible(text)) == visible(text)
