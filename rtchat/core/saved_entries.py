"""The entries of the current conversation, whether or not there is a history.

They are as they are saved, but without audio, which would take much memory.
"""

from __future__ import annotations

from dataclasses import replace

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
        entries = stored.entries if stored is not None else ()
        self._entries: dict[tuple[int, int], Entry] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Add an entry; it replaces one with the same turn and index."""
        self._entries[entry.turn, entry.index] = _without_audio(entry)

    def age(self, now: float) -> float:
        """The seconds since the conversation began or was resumed."""
        return now - self._began

    def conversation(self) -> StoredConversation | None:
        """The conversation so far; None if nothing was said. What only the history knows is 0 or
        empty, unless a saved conversation is continued."""
        entries = tuple(self._entries[key] for key in sorted(self._entries))
        turns = len({entry.turn for entry in entries if entry.turn})
        if not turns:
            return None
        model = next((entry.model for entry in reversed(entries) if entry.model), "")
        saved = self._stored
        if saved is None:
            return StoredConversation(0, "", 0.0, 0.0, model, turns, entries)
        return replace(saved, model=model, turns=turns, entries=entries)


def _without_audio(entry: Entry) -> Entry:
    item = entry.item
    if not isinstance(item, Message) or not any(part.kind == "audio" for part in item.parts):
        return entry
    parts = (replace(part, data="") if part.kind == "audio" else part for part in item.parts)
    return replace(entry, item=replace(item, parts=tuple(parts)))
