"""The name that was meant by an unknown one, by spelling and by meaning."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.suggestions import closest, did_you_mean, distance

_KNOWN = ("talk", "once", "history", "max-output-tokens", "audio.output.voice")


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("tlak", "talk"),  # two neighbours swapped
        ("tlk", "talk"),
        ("tallk", "talk"),
        ("TALK", "talk"),
        ("hisotry", "history"),
        ("hist", "history"),  # its beginning
        ("max_output_tokens", "max-output-tokens"),
        ("max-ouptut-tokes", "max-output-tokens"),
        ("audio.output.voise", "audio.output.voice"),
        ("chat", "talk --new"),  # by meaning
        ("CHAT", "talk --new"),
    ],
)
def test_the_name_that_was_meant(word: str, name: str) -> None:
    assert closest(word, _KNOWN, {"chat": "talk --new"}) == name


@pytest.mark.parametrize("word", ["", "o", "how", "what", "where", "take it", "x" * 100_000])
def test_other_words_are_no_mistakes(word: str) -> None:
    assert closest(word, _KNOWN) == ""


def test_a_beginning_that_two_names_share_means_neither() -> None:
    assert closest("trans", ("transcribe", "translate")) == ""


def test_a_hint_offers_the_names() -> None:
    assert did_you_mean(["a"]) == "did you mean a?"
    assert did_you_mean(["a", "b", "c"]) == "did you mean a, b or c?"
    assert did_you_mean([], "use a") == did_you_mean([""], "use a") == "use a"


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_the_distance_is_symmetric_and_0_only_for_equal_words(a: str, b: str) -> None:
    assert distance(a, b, 9) == distance(b, a, 9)
    assert (distance(a, b, 9) == 0) == (a == b)
    assert abs(len(a) - len(b)) <= distance(a, b, 9) <= max(len(a), len(b))
