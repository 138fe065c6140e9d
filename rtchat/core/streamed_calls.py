"""The calls of a reply, put together from the events that describe them."""

from __future__ import annotations

from dataclasses import replace

from rtchat.core.values import ToolCall


class StreamedCalls:
    """What is known of each call. Servers leave out fields in some events, or whole events."""

    def __init__(self) -> None:
        self._calls: list[ToolCall] = []
        self._complete: set[int] = set()
        """The indexes of the calls that an event said to be complete."""

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: ToolCall, *, is_complete: bool) -> ToolCall:
        """Add what an event says about a call; return the call with everything that is known. A
        complete call does not change, as the user may have approved it."""
        for index, known in enumerate(self._calls):
            if is_same(known, call):
                merged = _merged(call, known) if index in self._complete else _merged(known, call)
                break
        else:
            index, merged = len(self._calls), call
            self._calls.append(call)
        self._calls[index] = merged
        if is_complete:
            self._complete.add(index)
        return merged

    def complete(self) -> list[ToolCall]:
        """The calls with a name and arguments. One without a call id is answered by its item id."""
        known = (call for call in self._calls if call.name and call.arguments)
        return [replace(call, call_id=call.call_id or call.id) for call in known]


def is_same(known: ToolCall, call: ToolCall) -> bool:
    """Whether two events describe the same call: by the call id, or else by the item id."""
    if known.call_id and call.call_id:
        return known.call_id == call.call_id
    return bool(call.id) and known.id == call.id


def _merged(known: ToolCall, call: ToolCall) -> ToolCall:
    return ToolCall(
        call.name or known.name,
        call.call_id or known.call_id,
        call.arguments or known.arguments,
        call.id or known.id,
        call.status or known.status,
    )
