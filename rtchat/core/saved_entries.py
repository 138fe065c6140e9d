"""The entries of the current conversation, whether or not there is a history.

They are as they are saved, but without audio, which would take much memory.
"""

from __future__ import annotations

from dataclasses import replace

from rtchat.core.turn_tree import Head, current
from rtchat.core.values import Entry, Message, StoredConversation


class SavedEntries:
    """The entries since a conversation began, and those of the saved conversation that it
    continues. `now` is in seconds of the conversation's clock."""

    def __init__(self, stored: StoredConversation | None) -> None:
        self.restart(stored, 0.0)

    def restart(self, stored: StoredConversation | None, now: float) -> None:
        """Begin another conversation: a new one, or the saved conversation `stored`."""
        self._stored = stored
        self._began = now
        self._head = Head()
        self._entries: dict[tuple[int, int], Entry] = {}
        for entry in stored.entries if stored is not None else ():
            self.add(entry)
        if stored is not None and stored.newest:
            self._head.turn, self._head.newest = stored.head, stored.newest

    def add(self, entry: Entry) -> None:
        """Add an entry; it replaces one with the same turn and index."""
        self._entries[entry.turn, entry.index] = _without_audio(entry)
        self._head.add(entry)

    def move_to(self, turn: int) -> None:
        """Make this the last turn of the current branch, 0 for none."""
        self._head.turn = turn

    def fork(self, turn: int, now: float) -> None:
        """Begin another conversation, with the turns of the current branch up to this one."""
        self._head.turn = turn
        entries = self._branch()
        self.restart(None, now)
        for entry in entries:
            self.add(entry)
        self._head.turn = turn

    def age(self, now: float) -> float:
        """The seconds since the conversation began or was resumed."""
        return now - self._began

    def conversation(self) -> StoredConversation | None:
        """The current branch of the conversation so far; None if nothing was said. What only the
        history knows is 0 or empty, unless a saved conversation is continued."""
        entries = self._branch()
        turns = len({entry.turn for entry in entries if entry.turn})
        if not turns:
            return None
        model = next((entry.model for entry in reversed(entries) if entry.model), "")
        saved = self._stored or StoredConversation(0, "", 0.0, 0.0, "", 0)
        head, newest = self._head.turn, self._head.newest
        return replace(saved, model=model, turns=turns, entries=entries, head=head, newest=newest)

    def _branch(self) -> tuple[Entry, ...]:
        entries = tuple(self._entries[key] for key in sorted(self._entries))
        head = self._head.turn
        return current(StoredConversation(0, "", 0.0, 0.0, "", 0, entries, head=head)).entries


def _without_audio(entry: Entry) -> Entry:
    item = entry.item
    if not isinstance(item, Message) or not any(part.kind == "audio" for part in item.parts):
        return entry
    parts = (replace(part, data="") if part.kind == "audio" else part for part in item.parts)
    return replace(entry, item=replace(item, parts=tuple(parts)))
