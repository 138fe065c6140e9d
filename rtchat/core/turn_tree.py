"""The branches of a saved conversation: a tree of turns, of which one path is the current branch.

A turn that was undone, repeated or edited stays in the file as another branch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rtchat.core.values import Entry, State, StoredConversation, value


class Head:
    """The last turn of the current branch of a conversation to which entries are added."""

    def __init__(self, turn: int = 0, newest: int = 0) -> None:
        self.turn = turn
        """That turn, 0 if the branch is empty."""
        self.newest = newest
        """The highest turn number."""
        self._parents: dict[int, int] = {}
        """The parents of the turns that were added."""

    def add(self, entry: Entry) -> bool:
        """Add an entry; returns whether its turn becomes the last one. A new turn does, and so does
        a question that is being asked, unless others that follow it are waiting."""
        self._parents[entry.turn] = parent_of(entry) or 0
        is_asked = entry.state is State.ASKED and not self._is_in_branch(entry.turn)
        has_moved = entry.turn > self.newest or is_asked
        if has_moved:
            self.turn = entry.turn
        self.newest = max(self.newest, entry.turn)
        return has_moved

    def _is_in_branch(self, turn: int) -> bool:
        at = self.turn
        for _ in self._parents:
            if at in (turn, 0):
                break
            at = self._parents.get(at, 0)
        return at == turn


def parent_of(entry: Entry) -> int | None:
    """The parent of the turn of an entry; turn 0 has none."""
    if not entry.turn:
        return None
    return entry.turn - 1 if entry.parent is None else entry.parent


def path(parents: Mapping[int, int | None], head: int | None) -> list[int]:
    """The turns from the first one to `head`, by default the highest number. `parents` has the
    parent of each turn, None if it is the turn numbered before, as in files of older versions."""
    known = resolved(parents)
    turn = max(known, default=0) if head is None else head
    found: dict[int, None] = {}  # in order; a damaged file may have a circle
    while turn in known and turn not in found:
        found[turn] = None
        turn = known[turn]
    return [*reversed(found)]


def resolved(parents: Mapping[int, int | None]) -> dict[int, int]:
    """The parent of each turn, 0 for none, in the order of the turns."""
    out: dict[int, int] = {}
    before = 0
    for turn in sorted(parents):
        parent = parents[turn]
        out[turn] = parent if parent is not None and parent in (0, *parents) else before
        before = turn
    return out


def parents_of(conversation: StoredConversation) -> dict[int, int]:
    """The parent of each turn of a conversation that was read with all branches, 0 for none."""
    parents: dict[int, int | None] = {}
    for entry in conversation.entries:
        if entry.turn and parents.get(entry.turn) is None:
            parents[entry.turn] = entry.parent
    return resolved(parents)


def current(conversation: StoredConversation) -> StoredConversation:
    """The current branch of a conversation that was read with all branches."""
    turns = (0, *path(parents_of(conversation), conversation.head))
    places = {turn: place for place, turn in enumerate(turns)}
    entries = [entry for entry in conversation.entries if entry.turn in places]
    entries.sort(key=lambda entry: places[entry.turn])
    return replace(conversation, entries=tuple(entries))


@value
class TreeLine:
    """One turn of a tree. `lines` are the characters that connect it to its parent."""

    turn: int
    lines: str
    is_current: bool
    """Whether it is in the current branch."""


def tree(conversation: StoredConversation) -> list[TreeLine]:
    """The turns of a conversation that was read with all branches, empty if it has only one branch.
    A turn is below its parent, and is indented only if its parent has several."""
    parents = parents_of(conversation)
    branch = set(path(parents, conversation.head))
    if len(branch) == len(parents):
        return []
    children: dict[int, list[int]] = {}
    for turn, parent in parents.items():
        children.setdefault(parent, []).append(turn)
    out: list[TreeLine] = []
    waiting = _below(children.get(0, []), "")
    while waiting:
        turn, lines, before = waiting.pop()
        out.append(TreeLine(turn, lines, turn in branch))
        waiting += _below(children.get(turn, []), before)
    return out


def _below(turns: Sequence[int], before: str) -> list[tuple[int, str, str]]:
    """The turns that follow a turn, last first: each with the characters in front of it, and those
    in front of the turns below it."""
    if len(turns) == 1:
        return [(turns[0], before, before)]
    return [
        (turn, f"{before}└─ ", f"{before}   ")
        if turn == turns[-1]
        else (turn, f"{before}├─ ", f"{before}│  ")
        for turn in reversed(turns)
    ]
