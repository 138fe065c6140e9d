"""The text of `/help`: commands by group, and keys, in two columns for a width."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import get_args

from rtchat.ui.slash_commands import TABLE, Group, Row, find

KEYS = (
    ("Enter", "send"),
    ("Alt-Enter, Ctrl-J", "start a new line, like Shift-Enter in many terminals"),
    ("Up", "recall earlier input; at an empty prompt, take back the last queued question"),
    ("Ctrl-R", "search earlier input"),
    ("Right", "accept the suggestion after the cursor"),
    ("Tab", "complete a command, its argument, or a file after @"),
    ("Ctrl-C, Esc", "stop the reply and keep its text so far"),
    ("Ctrl-C", "at the prompt, clear the text (Up restores it) or remove the attached files"),
    ("Ctrl-D", "exit, at an empty prompt"),
    ("Ctrl-T", "with --voice: turn the microphone on or off"),
    ("Ctrl-X Ctrl-E", "edit the text in $VISUAL or $EDITOR"),
    ("Ctrl-Z", "suspend rtchat; the shell command fg resumes it"),
)
"""The keys of the prompt, and what they do."""
_NOTES = (
    "@FILE in a question attaches that file. A file that you drop here is attached to the next"
    " question.",
    "A space before / makes a command a question. Pasted text is never a command.",
)
_MAX_LEFT = 20
_MIN_WIDTH = 20
_MIN_FOR_COLUMNS = 36


def help_text(width: int, command: str = "") -> str:
    """All commands and keys, or one command, in lines of at most `width` columns."""
    return "\n".join(help_lines(width, command))


def help_lines(width: int, command: str = "") -> list[str]:
    """The lines of `help_text`, for a pager."""
    width = max(width, _MIN_WIDTH)
    row = find(command)
    if row is not None:
        return [*_wrapped(row.takes, width), *_wrapped(f"{row.help}{_others(row)}", width, "  ")]
    lines: list[str] = []
    for group, rows in grouped():
        lines += [
            group,
            *_columns([(row.takes, row.help + _others(row)) for row in rows], width),
            "",
        ]
    lines += ["Keys", *_columns(KEYS, width), ""]
    for note in _NOTES:
        lines += _wrapped(note, width)
    return lines


def grouped() -> Iterator[tuple[Group, list[Row]]]:
    """The groups and their commands, in order."""
    for group in get_args(Group):
        if rows := [row for row in TABLE if row.group == group]:
            yield group, rows


def _others(row: Row) -> str:
    return f" (also {', '.join(row.aliases)})" if row.aliases else ""


def _columns(rows: list[tuple[str, str]] | tuple[tuple[str, str], ...], width: int) -> list[str]:
    """Two columns, each row indented by two. A long left part has lines of its own, and in a narrow
    window every left part."""
    left = 0 if width < _MIN_FOR_COLUMNS else min(_MAX_LEFT, (width - 4) // 2)
    lines: list[str] = []
    for name, text in rows:
        indent = " " * (left + 4)
        right = _wrapped(text, width, indent)
        if len(name) <= left:
            right[0] = f"  {name:<{left}}  {right[0].lstrip()}"
        else:
            right = [*_wrapped(name, width, "  "), *right]
        lines += right
    return lines


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
