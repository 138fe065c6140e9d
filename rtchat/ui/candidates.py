"""What the arguments of commands can be, as far as completion has to ask elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from rtchat.core.values import value
from rtchat.ui.slash_commands import ArgumentKind


@value
class Candidate:
    """Something that an argument can be, and what it means. Both may come from a server."""

    text: str
    help: str = ""


class Candidates(Protocol):
    """Finds what the arguments of commands can be."""

    def find(self, kind: ArgumentKind) -> AsyncIterator[Candidate]:
        """Yield the arguments of a kind, the likeliest first. Does not raise. It may take a while,
        and has no effect on the conversation."""
