"""Text that fits into a number of columns of a terminal."""

from __future__ import annotations

from prompt_toolkit.utils import get_cwidth


def cut(text: str, columns: int) -> str:
    """The text, cut with … at the end if it is wider than so many columns."""
    if get_cwidth(text) <= columns:
        return text
    end, width = 0, 1  # the mark
    while end < len(text) and width + get_cwidth(text[end]) <= columns:
        width += get_cwidth(text[end])
        end += 1
    return f"{text[:end]}…" if columns > 0 else ""
