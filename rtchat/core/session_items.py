"""The items that a session has on the server, and the turn that each belongs to.

The ids come from the events of the server. If any of them is not known for certain, the items of a
turn cannot be deleted, and a new session has to replace this one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import TypeAlias

from rtchat.core import events as ev
from rtchat.core.effects import AddItem, Command, CommitAudio
from rtchat.core.values import Item, Message, OtherItem, ToolOutput

MAX_ITEMS = 20_000
"""How many items of a session are tracked."""
MAX_REPORTED = 1000
"""How many items of a turn, other than those that were sent, are tracked."""
MAX_ID = 200
"""The maximum number of characters of an id."""

_Sent: TypeAlias = AddItem | CommitAudio


class SessionItems:
    """The items of one session."""

    def __init__(self) -> None:
        self._turn = self._reported = 0
        """The turn that items are sent for, and how many others the server reported during it."""
        self._turns: dict[str, int] = {}
        """The turn of each item that the server has reported, by item id."""
        self._unconfirmed: deque[tuple[_Sent, int]] = deque()
        """The commands that add items, and their turns, as long as the server did not confirm
        them."""
        self._is_complete = True
        self._deleting: set[str] = set()

    def reset(self) -> None:
        """Another session begins, without items."""
        self.begin(0)
        self._is_complete = True
        self._turns.clear()
        self._unconfirmed.clear()
        self._deleting.clear()

    def begin(self, turn: int) -> None:
        """The items that follow belong to this turn."""
        self._turn, self._reported = turn, 0

    def lose_track(self) -> None:
        """The session has an item whose id or turn is not known."""
        self._is_complete = False
        self._turns.clear()
        self._unconfirmed.clear()

    def sent(self, command: Command) -> None:
        """A command was sent; it may add an item."""
        if not isinstance(command, _Sent) or not self._is_complete:
            return
        self._unconfirmed.append((command, self._turn))
        if len(self._unconfirmed) > MAX_ITEMS:
            self.lose_track()

    def refused(self, command: Command | None) -> None:
        """The server refused a command: it adds no item."""
        kept = (sent for sent in self._unconfirmed if sent[0] is not command)
        self._unconfirmed = deque(kept)

    def note(self, item_id: str, turn: int) -> None:
        """An item belongs to this turn."""
        if not item_id or len(item_id) > MAX_ID or len(self._turns) > MAX_ITEMS:
            self.lose_track()
        elif self._is_complete:
            self._turns[item_id] = turn

    def handle(self, event: ev.Event) -> None:
        """Note the items that an event of the server reports."""
        match event:
            case ev.ItemAdded(item) | ev.ItemDone(item):
                self._added(item)
            case ev.OutputAdded(item=item) | ev.OutputDone(item=item):
                self._output(getattr(item, "id", ""))
            case ev.ToolCalled(item_id=item_id):
                self._output(item_id)
            case ev.ReplyEnded(items=items):
                for item in items:
                    self._output(getattr(item, "id", ""))
            case ev.AudioCommitted(item_id):
                if self._unconfirmed and isinstance(self._unconfirmed[0][0], CommitAudio):
                    self.note(item_id, self._unconfirmed.popleft()[1])
            case _:
                pass

    def _added(self, item: Item) -> None:
        """The server has another item: the next one that was sent, or an item of a response."""
        item_id = getattr(item, "id", "")
        if item_id in self._turns:
            return
        sent, turn = self._unconfirmed[0] if self._unconfirmed else (None, self._turn)
        if isinstance(sent, AddItem) and _is_same(item, sent.item):
            self._unconfirmed.popleft()
            self.note(item_id, turn)
        else:
            self._output(item_id)

    def _output(self, item_id: str) -> None:
        if not item_id or item_id in self._turns:
            return
        self._reported += 1
        if self._reported > MAX_REPORTED:
            self.lose_track()
        else:
            self.note(item_id, self._turn)

    # ------------------------------------------------------------------------------------ deleting

    @property
    def is_deleting(self) -> bool:
        """Whether items were not yet deleted that have to be."""
        return bool(self._deleting)

    def delete(self, turns: Mapping[int, int]) -> list[str] | None:
        """Begin to delete the items of these turns; the values are the numbers of items that they
        have at least. Returns the ids, newest first; None if they are not all known."""
        known = Counter(self._turns.values())
        if not self._is_complete or self._unconfirmed:
            return None
        if any(known[turn] < count for turn, count in turns.items()):
            return None
        ids = [item_id for item_id, turn in self._turns.items() if turn in turns]
        self._deleting = set(ids)
        return ids[::-1]

    def deleted(self, item_id: str) -> bool:
        """An item was deleted. Returns whether it was the last one to wait for."""
        self._turns.pop(item_id, None)
        was_deleting = self.is_deleting
        self._deleting.discard(item_id)
        return was_deleting and not self.is_deleting

    def stop_deleting(self) -> None:
        """The items will not be deleted: a new session replaces this one."""
        self._deleting.clear()


def _is_same(item: Item, sent: Item) -> bool:
    """Whether an item that the server reports may be the one that was sent."""
    match item, sent:
        case Message(role="user"), Message(role="user"):
            return not item.text or not sent.text or item.text == sent.text
        case Message(), Message():
            return item.role == sent.role and item.text == sent.text
        case ToolOutput(), ToolOutput():
            return item.call_id == sent.call_id
        case OtherItem(), _:
            return False
        case _:
            return type(item) is type(sent)
