"""Who is talking, which decides what a failure means."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """Who is talking."""

    ONCE = "once"
    """One question: its end is the program's."""
    LINES = "lines"
    """A pipe, each line a question: go on, and say 1 at the end if a reply failed."""
    CHAT = "chat"
    """A person: once a session has worked, nothing but leaving ends the program."""
