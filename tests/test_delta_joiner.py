"""Deltas that are pieces of a text, and deltas that repeat the text."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.delta_joiner import DeltaJoiner, joined

PIECES = st.lists(st.text("ab ", min_size=1, max_size=3), max_size=8)


def repeats(deltas: list[str]) -> bool:
    """Whether the first three deltas could be a text that grows."""
    first = deltas[:3]
    return len(first) > 1 and all(
        len(after) > len(before) and after.startswith(before) for before, after in pairwise(first)
    )


@given(PIECES)
def test_pieces_are_joined(deltas: list[str]) -> None:
    if not repeats(deltas):
        assert joined(deltas) == "".join(deltas)


@given(PIECES)
def test_a_repeated_text_is_used_once(pieces: list[str]) -> None:
    assert joined(list(accumulate(pieces))) == "".join(pieces)


def test_the_first_delta_is_never_held_back() -> None:
    joiner = DeltaJoiner()
    assert [joiner.add(text) for text in ("He", "Hello", "Hello world.")] == [
        "He",
        "",
        "llo world.",
    ]


def test_pieces_may_follow_a_repeated_text() -> None:
    assert joined(["a", "ab", "abc", "d", "abcde"]) == "abcde"
