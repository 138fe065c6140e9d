"""Replies on a terminal with `--plain`: each line once, as the model wrote it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from rtchat.ui.plain_stream import PlainStream
from tests.screen import Screen


@given(
    st.lists(st.text("ab \t\n漢👍*", max_size=30), max_size=12),
    st.integers(1, 40),
    st.integers(1, 6),
)
def test_the_lines_are_those_of_the_text(deltas: list[str], width: int, rows: int) -> None:
    stream = PlainStream(Screen().console)
    assert stream.settled(width) is None
    lines: list[str] = []
    for delta in deltas:
        stream.add(delta, width)
        lines += [line.plain for line in stream.settled(width) or []]
        assert stream.settled(width) is None
        preview = stream.preview(width, rows)
        assert len(preview) <= rows
        if width > 1:  # no wide character fits into one cell
            assert all(cell_len(row.plain.rstrip()) <= width for row in preview)
    lines += [line.plain for line in stream.finish(width)]
    text = "".join(deltas)
    assert "\n".join(lines) == text.removesuffix("\n")


def test_the_preview_is_the_end_of_the_line_that_is_not_complete() -> None:
    stream = PlainStream(Screen().console)
    stream.add("complete\n" + "x" * 25 + "END", 10)
    assert [row.plain for row in stream.preview(10, 2)] == ["x" * 10, "xxxxxxxEND"]


def test_many_lines_are_full() -> None:
    stream = PlainStream(Screen().console)
    stream.add("line\n" * 100, 80)
    assert not stream.is_full
    stream.add("line\n" * 1000, 80)
    assert stream.is_full
    assert len(stream.settled(80) or []) == 1100
    assert not stream.is_full
    assert stream.finish(80) == []
