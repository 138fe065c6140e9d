"""The items of one conversation, their order, and what was said aloud of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from rtchat.core.events import ServerProblem
from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    Item,
    Message,
    OtherItem,
    Part,
    ToolCall,
    ToolOutput,
)
from rtchat.server.limits import size_of
from rtchat.server.sentences import SpokenText, cut_to
from rtchat.wire.client_events import INVALID_REQUEST


class InvalidItemError(Exception):
    """A command cannot be obeyed: the client is told in an `error` event."""

    def __init__(self, code: str, message: str, param: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.problem = ServerProblem(message, kind or INVALID_REQUEST, code, param)


class Items:
    """A conversation's items. What cannot be done raises `InvalidItemError`."""

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._ids: set[str] = set()
        self._spoken: dict[str, Sequence[SpokenText]] = {}
        self.size = 0
        """Roughly how many bytes they take."""

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @property
    def last_id(self) -> str | None:
        return self._items[-1].id if self._items else None

    def append(self, item: Item) -> str | None:
        """Add one at the end; the id of the one before it."""
        previous = self.last_id
        self._items.append(item)
        self._ids.add(item.id)
        self.size += size_of(item)
        return previous

    def insert(self, item: Item, previous: str | None) -> str | None:
        """Add one after `previous`, as `AddItem` has it; the id of the one before it."""
        if item.id in self._ids:
            message = f"The conversation has an item '{item.id}' already."
            raise InvalidItemError("item_create_duplicate_item_id", message, "item.id")
        index = self._place_after(previous)
        self._items.insert(index, item)
        self._ids.add(item.id)
        self.size += size_of(item)
        return self._items[index - 1].id if index else None

    def _place_after(self, previous: str | None) -> int:
        if previous is None:
            return len(self._items)
        if previous == "root":
            return 0
        for index, item in enumerate(self._items):
            if item.id == previous:
                return index + 1
        message = f"The conversation has no item '{previous}' to put this one after."
        raise InvalidItemError("item_create_invalid_previous_item_id", message, "previous_item_id")

    def find(self, item_id: str, verb: str) -> Item:
        """The item with this id; the verb is what was to be done to it."""
        found = next((item for item in self._items if item.id == item_id), None)
        if found is None:
            message = f"The conversation has no item '{item_id}'."
            raise InvalidItemError(f"item_{verb}_invalid_item_id", message, "item_id")
        return found

    def delete(self, item_id: str) -> None:
        """Remove one."""
        self.size -= size_of(self.find(item_id, "delete"))
        self._items = [item for item in self._items if item.id != item_id]
        self._ids.discard(item_id)
        self._spoken.pop(item_id, None)

    def replace(self, item: Item, spoken: Sequence[SpokenText] | None = None) -> None:
        """Put an item in the place of the one with its id, unless a client has deleted that."""
        for index, known in enumerate(self._items):
            if known.id == item.id:
                self._items[index] = item
                self.size += size_of(item) - size_of(known)
                if spoken is not None:
                    self._spoken[item.id] = spoken

    def truncate(self, item_id: str, content_index: int, end_ms: int) -> None:
        """Forget what was said aloud after `end_ms`."""
        item = self.find(item_id, "truncate")
        if not isinstance(item, Message) or item.role != "assistant" or item.status == _GROWING:
            message = "Only what a response said aloud can be truncated, once that is over."
            raise InvalidItemError("invalid_value", message, "item_id")
        if content_index or not item.parts or item.parts[0].kind != "audio":
            message = "Only audio can be truncated: this content is text, or there is none."
            wrong = "content_index" if content_index else "item_id"
            raise InvalidItemError("invalid_value", message, wrong)
        spoken = self._spoken.get(item_id, ())
        length = sum(sentence.ms for sentence in spoken)
        if end_ms > length + 1:  # it may have been rounded
            message = f"The audio is {length:.0f} ms long and cannot be cut at {end_ms} ms."
            raise InvalidItemError("invalid_value", message, "audio_end_ms")
        kept = cut_to(spoken, end_ms)
        text = "".join(sentence.text for sentence in kept)
        self.replace(replace(item, parts=(Part("audio", text),)), kept)


_GROWING = "in_progress"


def complete(item: Item, item_id: str) -> Item:
    """A client's item as it joins a conversation."""
    match item:
        case Message() | ToolCall():
            return replace(item, id=item_id, status=item.status or "completed")
        case ToolOutput() | Approval() | ApprovalAnswer():
            return replace(item, id=item_id)
        case OtherItem():
            return replace(item, id=item_id, fields={**item.fields, "id": item_id})
    assert_never(item)
