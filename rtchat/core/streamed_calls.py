"""Assembles the calls of a reply from the events that describe them."""

from __future__ import annotations

import json
from dataclasses import replace

from rtchat.core.delta_joiner import joined
from rtchat.core.values import ToolCall

MAX_STREAMED = 1000
"""The maximum number of calls with streamed arguments."""


class StreamedCalls:
    """What is known about each call. Some servers leave out fields or whole events."""

    def __init__(self) -> None:
        self._calls: list[ToolCall] = []
        self._complete: set[int] = set()
        """The indexes of the calls that an event reported as complete."""
        self._deltas: dict[str, list[str]] = {}
        """The streamed arguments, by item id."""

    def __len__(self) -> int:
        return len(self._calls)

    def add_arguments(self, item_id: str, delta: str) -> None:
        """Add the next piece of the arguments of a call; without an item id, of the last call. The
        pieces are used if no event has all arguments."""
        if not item_id and self._calls:
            item_id = self._calls[-1].id
        if delta and (item_id in self._deltas or len(self._deltas) < MAX_STREAMED):
            self._deltas.setdefault(item_id, []).append(delta)

    def add(self, call: ToolCall, *, is_complete: bool) -> tuple[int, ToolCall]:
        """Add what an event says about a call; return the number of the call and all that is known
        about it. A complete call does not change, because the user may have approved it."""
        index = self._find(call, is_complete=is_complete)
        if index is None:
            index, merged = len(self._calls), call
            self._calls.append(call)
        else:
            known = self._calls[index]
            merged = _merged(call, known) if index in self._complete else _merged(known, call)
        if is_complete:
            self._complete.add(index)
            merged = self._with_arguments(merged)
        self._calls[index] = merged
        return index, merged

    def _find(self, call: ToolCall, *, is_complete: bool) -> int | None:
        """The index of the call that an event describes."""
        ends = is_complete or bool(call.arguments)
        for is_same in (_has_same_call_id, _has_same_item_id, _has_same_content):
            for index, known in enumerate(self._calls):
                if is_same(known, call, ends or index not in self._complete):
                    return index
        return None

    @property
    def has_complete(self) -> bool:
        """Whether any call has a name and all arguments."""
        known = map(self._with_arguments, self._calls)
        return any(call.name and call.arguments for call in known)

    def complete(self) -> list[tuple[int, ToolCall]]:
        """The calls with a name and all arguments, and their numbers. One without a call id is
        answered by its item id."""
        known = map(self._with_arguments, self._calls)
        return [
            (index, replace(call, call_id=call.call_id or call.id or f"call_{index + 1}"))
            for index, call in enumerate(known)
            if call.name and call.arguments
        ]

    def _with_arguments(self, call: ToolCall) -> ToolCall:
        """The call with the streamed arguments if no event has them and they are complete."""
        deltas = self._deltas.get(call.id) or self._deltas.get("")
        if _given(call.arguments) or deltas is None:
            return call
        arguments = joined(deltas)
        return replace(call, arguments=arguments) if _is_json(arguments) else call


# `may_follow`: whether the event may be another one about the known call. The beginning of a call
# cannot follow its end.


def _has_same_call_id(known: ToolCall, call: ToolCall, may_follow: bool) -> bool:
    """Some servers send the item id as the call id in some events."""
    return bool(call.call_id) and call.call_id in (known.call_id, known.id)


def _has_same_item_id(known: ToolCall, call: ToolCall, may_follow: bool) -> bool:
    """Some servers use another call id in each event of a call, and others the same item id for
    all calls."""
    if not call.id or known.id != call.id:
        return False
    return not (known.call_id and call.call_id) or (may_follow and _is_compatible(known, call))


def _has_same_content(known: ToolCall, call: ToolCall, may_follow: bool) -> bool:
    """Some servers leave out the ids in some events, or use another item id in each event."""
    if (known.call_id and call.call_id) or not (may_follow and _is_compatible(known, call)):
        return False
    return not (known.id and call.id) or bool(known.arguments and call.arguments)


def _is_compatible(known: ToolCall, call: ToolCall) -> bool:
    """Whether two events do not contradict each other."""
    pairs = (known.name, call.name), (_given(known.arguments), _given(call.arguments))
    return all(one == other for one, other in pairs if one and other)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _given(arguments: str) -> str:
    """The arguments; empty if they are the placeholder that some servers send at first."""
    return "" if arguments == "{}" else arguments


def _merged(known: ToolCall, call: ToolCall) -> ToolCall:
    ids = [call_id for call_id in (call.call_id, known.call_id) if call_id]
    # Some servers send the item id as the call id in some events.
    call_id = next((each for each in ids if each not in (known.id, call.id)), "".join(ids[:1]))
    return ToolCall(
        call.name or known.name,
        call_id,
        _given(call.arguments) or known.arguments or call.arguments,
        call.id or known.id,
        call.status or known.status,
    )
