"""Where the questions come from, which determines the effect of a failure."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """Where the questions come from."""

    ONCE = "once"
    """One question: the program ends with its reply."""
    LINES = "lines"
    """A pipe, each line a question: continue after a failed reply, and exit with 1 at the end."""
    CHAT = "chat"
    """A person: once a session was ready, only the user ends the program."""
