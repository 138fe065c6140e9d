"""The branches of a saved conversation: a tree of turns, of which one path is the current branch.

A turn that was undone, repeated or edited stays in the file as another branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rtchat.core.values import StoredConversation, value


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


@value
class TreeLine:
    """One turn of a tree. `lines` are the characters that connect it to its parent."""

    turn: int
    lines: str
    is_current: bool
    """Whether it is in the current branch."""
    is_head: bool
    """Whether it is the last turn of the current branch."""


def parents_of(conversation: StoredConversation) -> dict[int, int | None]:
    """The parent of each turn of a conversation that was read with all branches."""
    parents: dict[int, int | None] = {}
    for entry in conversation.entries:
        if entry.turn and parents.get(entry.turn) is None:
            parents[entry.turn] = entry.parent
    return parents


def tree(conversation: StoredConversation) -> Iterator[TreeLine]:
    """The turns of a conversation that was read with all branches. A turn is below its parent, and
    is indented only if its parent has several."""
    parents = parents_of(conversation)
    current = path(parents, conversation.head)
    children: dict[int, list[int]] = {}
    for turn, parent in resolved(parents).items():
        children.setdefault(parent, []).append(turn)
    waiting = [(turn, "", "") for turn in reversed(children.get(0, []))]
    if len(waiting) > 1:
        waiting = [_branch(turn, "", is_last=at == 0) for at, (turn, _, _) in enumerate(waiting)]
    while waiting:
        turn, lines, below = waiting.pop()
        yield TreeLine(turn, lines, turn in current, turn == current[-1] if current else False)
        following = children.get(turn, [])[::-1]
        if len(following) == 1:
            waiting.append((following[0], below, below))
        else:
            waiting += [_branch(next, below, is_last=at == 0) for at, next in enumerate(following)]


def _branch(turn: int, before: str, *, is_last: bool) -> tuple[int, str, str]:
    """A turn with siblings: the characters before it, and those before the turns below it."""
    return turn, before + ("└─ " if is_last else "├─ "), before + ("   " if is_last else "│  ")


def has_branches(conversation: StoredConversation) -> bool:
    """Whether a conversation that was read with all branches has more than the current one."""
    parents = parents_of(conversation)
    return len(path(parents, conversation.head)) < len(parents)
