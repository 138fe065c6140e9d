"""The calls of one reply, each of them once."""

from __future__ import annotations

from collections.abc import Sequence

from rtchat.core.reply import size
from rtchat.core.streamed_calls import StreamedCalls
from rtchat.core.values import Approval, Item, ToolCall, TurnLimits


class ReplyCalls:
    """The calls of a reply. Calls beyond the `limits` are left out; then `exceeded` is the name of
    the limit."""

    def __init__(self, limits: TurnLimits) -> None:
        self.exceeded = ""
        self.made: list[ToolCall | Approval] = []
        """The complete calls."""
        self._limits = limits
        self._streamed = StreamedCalls()
        self._places: dict[int, int] = {}
        """The indexes in `made` of the streamed calls, by their numbers."""
        self._size = self._arguments = 0
        """Bytes of the complete calls, and of the streamed arguments."""

    @property
    def has_complete(self) -> bool:
        """Whether any call is complete."""
        return bool(self.made) or self._streamed.has_complete

    def add_arguments(self, item_id: str, text: str) -> None:
        """Add the next arguments of a call."""
        self._arguments += size(text)
        self._check_size(self._arguments)
        if not self.exceeded:
            self._streamed.add_arguments(item_id, text)

    def describe(self, call: ToolCall) -> None:
        """Add what an event says about a call that is not complete."""
        self._check_size(size(call.arguments))
        self._check_count(len(self._streamed))
        if not self.exceeded:
            self._streamed.add(call, is_complete=False)

    def add(self, item: Item) -> None:
        """Note a complete item, which may be a call; a repeated call is ignored."""
        if self.exceeded:
            return
        match item:
            case ToolCall():
                self._add_call(*self._streamed.add(item, is_complete=True))
            case Approval() if all(item.id != known.id for known in self.made):
                self._append(item)
            case _:
                pass

    def finish(self, items: Sequence[Item]) -> None:
        """The reply is over; `items` is its output as reported at the end."""
        for item in items:
            self.add(item)
        for number, call in self._streamed.complete():
            self._add_call(number, call)

    def _add_call(self, number: int, call: ToolCall) -> None:
        if (place := self._places.get(number)) is not None:
            self.made[place] = call
            return
        self._append(call)
        if not self.exceeded:
            self._places[number] = len(self.made) - 1

    def _append(self, call: ToolCall | Approval) -> None:
        self._size += size(call.name) + size(call.arguments)
        self._check_size(self._size)
        self._check_count(len(self.made))
        if not self.exceeded:
            self.made.append(call)

    def _check_count(self, count: int) -> None:
        if count >= self._limits.calls:
            self.exceeded = "max_tool_calls"

    def _check_size(self, count: int) -> None:
        if count > self._limits.call_bytes:
            self.exceeded = "max_tool_bytes"
