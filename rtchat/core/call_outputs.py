"""The outputs that the calls in a session still need. Without them a server may refuse further
questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.connection import SessionConnection
from rtchat.core.tool_calls import STOPPED, UNAVAILABLE, Call
from rtchat.core.values import Item, ToolCall, ToolOutput


class CallOutputs:
    """The calls of one session, which is replaced after more than `max_refused` refused calls."""

    def __init__(self, connection: SessionConnection, max_refused: int) -> None:
        self._connection = connection
        self._max_refused = max_refused
        self._open: tuple[Call, ...] = ()
        """The last reply's calls of unavailable tools; the user may send their outputs by /raw."""
        self._refused = 0
        """How many calls were refused because they came too late."""
        self._seen: set[str] = set()
        """The call and item ids of the calls that have an output or will get one."""

    def reset(self) -> None:
        """Forget the calls: another session begins."""
        self._open, self._refused = (), 0
        self._seen.clear()

    def note(self, calls: Iterable[Call]) -> None:
        """These calls have an output, or will get one."""
        made = [call for call in calls if isinstance(call, ToolCall)]
        self._seen.update(*((call.call_id, call.id) for call in made))

    def has(self, event: ev.ItemEvent) -> bool:
        """Whether an event describes a call that was made or refused in this session."""
        match event:
            case ev.ToolCalled():
                ids = event.call_id, event.item_id
            case ev.OutputAdded(item=ToolCall() as call) | ev.OutputDone(item=ToolCall() as call):
                ids = call.call_id, call.id
            case _:
                return False
        return all(ids) and self._seen.issuperset(ids)

    def leave_open(self, calls: Sequence[Call]) -> None:
        """Leave these calls to the user until the next question."""
        self._open = tuple(calls)
        self.note(calls)

    def given(self, call_id: str) -> None:
        """The user sent the output of a call."""
        self._open = tuple(
            call
            for call in self._open
            if not (isinstance(call, ToolCall) and call.call_id == call_id)
        )

    def forget_open(self) -> None:
        """The calls that were left to the user are removed with their turn."""
        self._open = ()

    def close(self) -> list[fx.Send]:
        """Send an output for each call that was left to the user and has none."""
        calls, self._open = self._open, ()
        return self._send([call for call in calls if isinstance(call, ToolCall)], UNAVAILABLE)

    def refuse(self, items: Iterable[Item]) -> list[fx.Send]:
        """Send an output for each call that is not made. A call that already has one, as when a
        server repeats the end of a reply, gets no second output."""
        if self._connection.needs_new_session or not self._connection.has_session:
            return []
        new: list[ToolCall] = []
        for item in items:
            if isinstance(item, ToolCall) and (item.call_id or item.id) not in self._seen | {""}:
                new.append(item)
                self.note((item,))
        return self._send(new, STOPPED)

    def _send(self, calls: Sequence[ToolCall], output: str) -> list[fx.Send]:
        self._refused += len(calls)
        self._connection.needs_new_session |= self._refused > self._max_refused
        if self._connection.needs_new_session:
            return []
        outputs = (fx.AddItem(ToolOutput(call.call_id or call.id, output)) for call in calls)
        return [self._connection.send(command) for command in outputs]
