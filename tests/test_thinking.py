"""The model's thoughts are separated from its answer, however the text arrives."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtchat.core.thinking import Kind, Piece, Reply, ThoughtReader, answer_of, split
from tests.documents import cut

TAGS = (
    *(("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<thought>", "</thought>")),
    *(("<reasoning>", "</reasoning>"), ("[THINK]", "[/THINK]")),
)
TEXTS = st.lists(
    st.sampled_from(
        (
            *("<think>", "</think>", "<think>", "</think>", "[THINK]", "[/THINK]", "<thinking>"),
            *("\n", "\n", "\n\n", " ", "  ", "```", "~~~", "\r\n", "\t", "<", "</", "[", "`", "~"),
            *("word", "a b", "漢字", "<thi", "nk>", "</th", "<div>", "</thinking>"),
            *(" " * 1_000, "\n" * 995),
        )
    ),
    max_size=14,
).map("".join)
"""Random sequences of tags, parts of tags, and what may surround them."""


def read(*deltas: str) -> list[Piece]:
    """The pieces of a text, as long as possible."""
    reader = ThoughtReader()
    pieces = [piece for delta in deltas for piece in reader.feed(delta)] + reader.finish()
    kinds = groupby(pieces, lambda piece: piece.kind)
    return [Piece(kind, "".join(piece.text for piece in group)) for kind, group in kinds]


@pytest.mark.parametrize(("start", "end"), TAGS)
def test_a_thought_at_the_beginning(start: str, end: str) -> None:
    assert split(f"{start}a\n\nb{end}answer") == Reply("a\n\nb", "answer")
    assert split(f"\n {start}\na b\n{end}\n\nanswer\n") == Reply("a b", "answer\n")


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("<think>never closed", Reply("never closed", "")),
        ("<think>closed</think>\n", Reply("closed", "")),
        ("<think>a</think", Reply("a</think", "")),
        ("<think>\n\n</think>\n\nanswer", Reply("", "answer")),
        ("<think></think>\n\n    code", Reply("", "    code")),
        ("<think>a</think>\n<think>b</think> c", Reply("a\n\nb", " c")),
        ("<think>\n<think>\na\n</think>\nb", Reply("<think>\na", "b")),
        ("<think>a </thinking> b</think>c", Reply("a </thinking> b", "c")),
        ("<think>of `<think>` tags</think>c", Reply("of `<think>` tags", "c")),
    ],
)
def test_thoughts_that_are_empty_repeated_or_not_closed(text: str, reply: Reply) -> None:
    assert split(text) == reply


@pytest.mark.parametrize("text", ["\n", " ", "a\n" + " ", "a\n</think> "])
def test_white_space_does_not_keep_back_the_answer(text: str) -> None:
    reader = ThoughtReader()
    reader.feed(text)
    assert reader.feed(text[-1] * 1_000)


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("a\n\nb\n</think>\n\nanswer", Reply("a\n\nb", "answer")),
        ("</think>\n\nanswer", Reply("", "answer")),
        ("a\n</think>", Reply("a", "")),
        ("a\n  </think> \r\nanswer", Reply("a", "answer")),
        ("a\n[/THINK]\nanswer", Reply("a", "answer")),
        ("```\na\n```\n</think>\nanswer", Reply("```\na\n```", "answer")),
        ("a\n</think>\nb\n</think>\nanswer", Reply("a\n\nb", "answer")),
        (
            "<think>\na\n<think>\nb\n</think>\nc\n</think>\nanswer",
            Reply("a\n<think>\nb\n\nc", "answer"),
        ),
    ],
)
def test_a_closing_tag_on_its_own_line_ends_a_thought(text: str, reply: Reply) -> None:
    assert split(text) == reply


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "an answer",
        "\n\n    code",
        "Models write `<think>` first.\n",
        "Then comes </think> and\n</think> is not alone",
        "`</think>`\n",
        "Like this:\n\n<think>\nthoughts\n</think>\nanswer",
        "```xml\n<think>\na\n</think>\n```\n",
        "```xml\n</think>\n```\n",
        "~~~\n```\n</think>\n~~~\n",
        "- a\n  ```\n  </think>\n  ```\n",
        "<thinker>a</thinker>",
        "<Think>a</Think>",
        "[think](https://example.com) of it",
        "<thi",
        "a\n</thi",
        "a\n``",
    ],
)
def test_other_tags_are_a_part_of_the_answer(text: str) -> None:
    assert split(text) == Reply("", text)
    assert answer_of(text) == text


def test_a_reply_of_a_thought_only_counts_as_the_answer() -> None:
    assert answer_of("<think>a</think>b") == "b"
    assert answer_of("<think>a") == "<think>a"


@given(TEXTS, st.lists(st.integers(0, 3_000), max_size=20))
@example("<think>a</think>\n\nb\n</think>\nc", list(range(40)))
@example("a\n</think> \n\n  b", list(range(40)))
def test_pieces_do_not_depend_on_the_deltas(text: str, places: list[int]) -> None:
    pieces = read(text)
    assert read(*cut(text, places)) == pieces
    assert read(*text) == pieces
    assert "".join(piece.text for piece in pieces) == text


@given(TEXTS)
def test_a_reply_has_all_words_of_the_text(text: str) -> None:
    """Only tags and white space are missing."""
    reply = split(text)
    tags = "".join(
        piece.text for piece in read(text) if piece.kind in (Kind.TAG, Kind.UNOPENED_TAG)
    )
    letters = sorted((reply.thought + reply.answer + tags).replace("\n", ""))
    assert "".join(letters).split() == "".join(sorted(text.replace("\n", ""))).split()


@given(st.text("ab \n<>`"), st.integers(1, 5))
def test_only_the_beginning_of_a_line_of_an_answer_waits(text: str, size: int) -> None:
    reader, shown = ThoughtReader(), ""
    for start in range(0, len(text), size):
        shown += "".join(piece.text for piece in reader.feed(text[start : start + size]))
        waiting = text[len(shown) : start + size]
        assert waiting == "" or waiting.strip(" \n") in ("", "<", "`", "``")
