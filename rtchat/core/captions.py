"""The words recognised so far of speech whose transcript is not complete."""

from __future__ import annotations

from collections import deque

from rtchat.core.delta_joiner import DeltaJoiner
from rtchat.core.events import Delta

MAX_CHARACTERS = 1000
"""Characters of one transcript that are kept: the last ones."""
MAX_PENDING = 8
"""How many transcripts may be incomplete."""


class _Caption:
    def __init__(self) -> None:
        self._joiner = DeltaJoiner()
        self._text = self._held = ""

    def add(self, delta: Delta) -> None:
        self._text = (self._text + self._joiner.add(delta.text))[-MAX_CHARACTERS:]
        self._held = delta.held

    @property
    def text(self) -> str:
        return self._text + self._held


class Captions:
    """The incomplete transcripts of a session, by item id, in the order in which they began."""

    def __init__(self) -> None:
        self._captions: dict[str, _Caption] = {}
        self._ended: deque[str] = deque(maxlen=8 * MAX_PENDING)
        """The item ids of the last complete transcripts."""

    @property
    def words(self) -> str:
        """The words of all of them."""
        return " ".join(filter(None, (each.text.strip() for each in self._captions.values())))

    def add(self, delta: Delta) -> None:
        """Add the next words of a transcript. Those that follow its end are ignored."""
        if delta.item_id in self._ended:
            return
        self._captions.setdefault(delta.item_id, _Caption()).add(delta)
        if len(self._captions) > MAX_PENDING:
            del self._captions[next(iter(self._captions))]

    def end(self, item_id: str) -> None:
        """A transcript is complete, or there will be none. One with an unknown id is the oldest:
        some servers use other ids."""
        if item_id in self._ended:
            return
        self._ended.append(item_id)
        known = item_id if item_id in self._captions else next(iter(self._captions), "")
        self._captions.pop(known, None)

    def clear(self) -> None:
        """The session is closed."""
        self._captions.clear()
        self._ended.clear()
