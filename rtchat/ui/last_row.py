"""The end of a text that takes one row of a terminal."""

from __future__ import annotations

from rich.cells import cell_len

from rtchat.core.text import visible


def last_row(text: str, columns: int) -> str:
    """The end of a text, as much as fits into so many columns. What is left out is marked by …"""
    line = visible(" ".join(text.split()))
    if cell_len(line) <= columns:
        return line
    end = line[-columns:]
    while cell_len(end) > columns - 1:
        end = end[1:]
    return f"…{end}"
