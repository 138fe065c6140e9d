"""The items of one conversation, their order, and how much of each was spoken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace
from itertools import islice
from math import inf
from typing import assert_never, overload

from rtchat.core.events import ServerProblem
from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    Item,
    Message,
    OtherItem,
    Part,
    RemoteCall,
    ToolCall,
    ToolOutput,
)
from rtchat.server.engine import words_of
from rtchat.server.limits import size_of
from rtchat.server.sentences import SpokenText, cut_to
from rtchat.wire.client_events import INVALID_REQUEST


class CommandError(Exception):
    """A command cannot be carried out; the client receives an `error` event. Some clients look for
    OpenAI's exact message."""

    def __init__(self, code: str, message: str, param: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.problem = ServerProblem(message, kind or INVALID_REQUEST, code, param)


class ItemsView(Sequence[Item]):
    """The first `length` of other items, each converted when it is used. These items do not change,
    but more may follow them."""

    def __init__(
        self, items: Sequence[Item], length: int, convert: Callable[[Item], Item] | None = None
    ) -> None:
        self._items = items
        self._length = length
        self._convert = convert or (lambda item: item)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        return map(self._convert, islice(self._items, self._length))

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [*self][index]
        return self._convert(self._items[range(self._length)[index]])


def converted(items: Sequence[Item], convert: Callable[[Item], Item]) -> ItemsView:
    """These items, each converted when it is used."""
    return ItemsView(items, len(items), convert)


class Items:
    """A conversation's items. Invalid operations raise `CommandError`.

    The work of a turn does not depend on how many items there are.
    """

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._viewed = 0
        """How many items of this list the views may have, at most."""
        self._ids: set[str] = set()
        self._spoken: dict[str, Sequence[SpokenText]] = {}
        self._cuts: dict[str, int] = {}
        """Where items that are still being spoken were truncated: milliseconds by item id."""
        self.size = 0
        """The approximate size of all items in bytes."""
        self.words = 0
        """How many words all items have."""

    def __len__(self) -> int:
        return len(self._items)

    @property
    def ids(self) -> Set[str]:
        """The ids of all items."""
        return self._ids

    def view(self) -> ItemsView:
        """The items as they are now. Copying them for each response would be slow."""
        self._viewed = len(self._items)
        return ItemsView(self._items, self._viewed)

    def _before_change(self, index: int) -> None:
        """Make a new list if a view has the item at this index, or one after it."""
        if index < self._viewed:
            self._items, self._viewed = [*self._items], 0

    def _count(self, item: Item, sign: int) -> None:
        """Add an item to the totals, or subtract it."""
        self.size += sign * size_of(item)
        self.words += sign * words_of(item)

    def _index(self, item_id: str) -> int | None:
        if item_id not in self._ids:
            return None
        places = reversed(range(len(self._items)))  # most commands are about the latest items
        return next(index for index in places if self._items[index].id == item_id)

    @property
    def last_id(self) -> str | None:
        return self._items[-1].id if self._items else None

    def __contains__(self, item: object) -> bool:
        """Whether this object is one of the items. Comparing the contents of thousands of items
        would be slow."""
        return any(existing is item for existing in reversed(self._items))

    def clear(self) -> None:
        """Drop all items."""
        self._items, self._viewed = [], 0
        self._ids.clear()
        self._spoken.clear()
        self._cuts.clear()
        self.size = self.words = 0

    def append(self, item: Item) -> str | None:
        """Add an item at the end. Returns the id of the item before it."""
        previous = self.last_id
        self._items.append(item)
        self._ids.add(item.id)
        self._count(item, 1)
        return previous

    def insert(self, item: Item, previous: str | None) -> str | None:
        """Add an item after `previous` (see `AddItem`). Returns the id of the item before it."""
        if item.id in self._ids:
            message = f"Error adding item: an item with ID '{item.id}' already exists."
            raise CommandError("item_create_duplicate_item_id", message, "item.id")
        index = self._index_after(previous)
        self._before_change(index)
        self._items.insert(index, item)
        self._ids.add(item.id)
        self._count(item, 1)
        return self._items[index - 1].id if index else None

    def _index_after(self, previous: str | None) -> int:
        if previous is None:
            return len(self._items)
        if previous == "root":
            return 0
        index = self._index(previous)
        if index is not None:
            return index + 1
        message = f"Error adding item: the previous item with ID '{previous}' does not exist."
        raise CommandError("item_create_invalid_previous_item_id", message, "previous_item_id")

    def find(self, item_id: str, verb: str) -> Item:
        """The item with this id. `verb` names the operation, for the error code."""
        index = self._index(item_id)
        if index is None:
            message = f"Error: the item with ID '{item_id}' does not exist."
            raise CommandError(f"item_{verb}_invalid_item_id", message, "item_id")
        return self._items[index]

    def delete(self, item_id: str) -> None:
        item = self.find(item_id, "delete")
        self._items = [existing for existing in self._items if existing is not item]
        self._viewed = 0
        self._count(item, -1)
        self._ids.discard(item_id)
        self._spoken.pop(item_id, None)
        self._cuts.pop(item_id, None)

    def replace(self, item: Item, spoken: Sequence[SpokenText] | None = None) -> None:
        """Replace the item that has the same id, unless the client has deleted it."""
        index = self._index(item.id)
        if index is None:
            return
        if spoken is not None and isinstance(item, Message):
            item, spoken = self._cut(item, spoken, self._cuts.pop(item.id, None))
            self._spoken[item.id] = spoken
        self._before_change(index)
        self._count(self._items[index], -1)
        self._items[index] = item
        self._count(item, 1)

    def speak(self, item_id: str, spoken: Sequence[SpokenText]) -> None:
        """Register the speech of an item. The caller extends `spoken` while it is being spoken."""
        self._spoken[item_id] = spoken

    def truncate(self, item_id: str, content_index: int, end_ms: int) -> None:
        """Remove the speech after `end_ms` from an assistant message. If it is still being spoken,
        it is cut at its end."""
        item = self.find(item_id, "truncate")
        spoken = self._spoken.get(item_id)
        if spoken is None or not isinstance(item, Message):
            message = "Only model output audio messages can be truncated"
            raise CommandError("unsupported_content_type", message)
        if content_index:
            message = "Only audio content can be truncated."
            raise CommandError("invalid_value", message, "content_index")
        length = min(sum(sentence.ms for sentence in spoken), self._cuts.get(item_id, inf))
        if end_ms > length + 1:  # allow for rounding
            message = f"Audio content of {length:.0f}ms is already shorter than {end_ms}ms"
            raise CommandError("invalid_value", message, "audio_end_ms")
        if item.status == "in_progress":
            self._cuts[item_id] = end_ms
        else:
            self.replace(*self._cut(item, spoken, end_ms))

    def _cut(
        self, item: Message, spoken: Sequence[SpokenText], end_ms: int | None
    ) -> tuple[Message, Sequence[SpokenText]]:
        if end_ms is None:
            return item, spoken
        heard = cut_to(spoken, end_ms)
        text = "".join(sentence.text for sentence in heard)
        return replace(item, parts=(Part("audio", text),)), heard


def complete(item: Item, item_id: str) -> Item:
    """A client's item with its id and status filled in."""
    match item:
        case Message() | ToolCall():
            return replace(item, id=item_id, status=item.status or "completed")
        case ToolOutput() | Approval() | ApprovalAnswer() | RemoteCall():
            return replace(item, id=item_id)
        case OtherItem():
            return replace(item, id=item_id, fields={**item.fields, "id": item_id})
    assert_never(item)
