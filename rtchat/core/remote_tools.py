"""The tools of MCP servers that the model's server uses by itself: listings and calls."""

from __future__ import annotations

from dataclasses import replace

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices
from rtchat.core.values import RemoteCall, ToolCall

MAX_CALLS = 1000
"""The maximum number of calls of one turn, and of listings of one run, that are shown."""


class RemoteCalls:
    """The calls of one turn. Each is shown once: when it has begun and its arguments are known, if
    the server reports that, and when it is over."""

    def __init__(self) -> None:
        self.all: list[RemoteCall] = []
        """The calls that are over."""
        self._in_reply: list[RemoteCall] = []
        """The calls of the current reply that are over."""
        self._open: dict[str, RemoteCall] = {}
        """The calls of the current reply that are not over, by id."""
        self._started: set[str] = set()
        """The ids of the calls of the current reply that have begun."""
        self._begun: set[str] = set()
        """The ids of the calls whose beginning was shown."""
        self._failed: dict[str, None] = {}
        """The ids of the failed calls of the current reply, in order."""

    @property
    def has_any(self) -> bool:
        """Whether the current reply has calls."""
        return bool(self._in_reply or self._open)

    def begin_reply(self) -> None:
        """Another reply follows."""
        self._in_reply.clear()
        self._open.clear()
        self._started.clear()
        self._failed.clear()

    def describe(self, call: RemoteCall) -> None:
        """The server announced a call."""
        if call.id and len(self._open) < MAX_CALLS:
            self._open[call.id] = call

    def update(self, event: ev.RemoteCallUpdate) -> list[fx.Effect]:
        """The state of a call changed, or its arguments are complete."""
        if event.state is ev.RemoteState.FAILED and len(self._failed) < MAX_CALLS:
            self._failed[event.item_id] = None
        call = self._open.get(event.item_id)
        if call is None:
            return []
        if event.arguments:
            self._open[call.id] = call = replace(call, arguments=event.arguments)
        if event.state is ev.RemoteState.STARTED:
            self._started.add(call.id)
        is_known = call.id in self._started and call.arguments
        return self._begin(call) if is_known else []

    def end(self, call: RemoteCall) -> list[fx.Effect]:
        """A call is over."""
        if any(call == known or (call.id and call.id == known.id) for known in self._in_reply):
            return []
        if len(self.all) >= MAX_CALLS:
            return []
        if call.id in self._failed and not call.error:
            call = replace(call, error="the server gave no reason")
        self._in_reply.append(call)
        self.all.append(call)
        self._open.pop(call.id, None)
        begun = self._begin(call)
        shown = _as_shown(call)
        if call.error:
            return [*begun, notices.remote_call_failed(shown.name, call.error)]
        return [*begun, fx.Show(fx.ToolEnded(shown, call.output))]

    def finish(self) -> list[fx.Effect]:
        """The reply is over: show the failed calls that the server did not report as items."""
        ended = {call.id for call in self._in_reply}
        missing = [item_id for item_id in self._failed if item_id not in ended]
        unknown = RemoteCall("", "a tool of an MCP server", "", "")
        return [
            effect
            for item_id in missing
            for effect in self.end(self._open.get(item_id, replace(unknown, id=item_id)))
        ]

    def _begin(self, call: RemoteCall) -> list[fx.Effect]:
        if call.id in self._begun:
            return []
        if call.id:
            self._begun.add(call.id)
        return [fx.Show(fx.ToolBegan(_as_shown(call)))] if call.server else []


def _as_shown(call: RemoteCall) -> ToolCall:
    name = f"{call.server}.{call.name}" if call.server else call.name
    return ToolCall(name, call.id, call.arguments)


class ToolListings:
    """Reports the MCP servers whose tools the model's server could not list."""

    def __init__(self) -> None:
        self._known: dict[str, ev.ToolListing] = {}
        """What is known about each listing, by the id of its item."""
        self._reported: set[str] = set()
        """The servers that were reported; a new session lists their tools again."""

    def handle(self, event: ev.ToolListing) -> list[fx.Show]:
        """The server reported something about a listing."""
        known = self._known.get(event.item_id, event)
        known = replace(
            event, server=event.server or known.server, error=event.error or known.error
        )
        if len(self._known) < MAX_CALLS:
            self._known[event.item_id] = known
        if event.state is None:
            return []
        if event.state is not ev.RemoteState.FAILED:
            return [
                notices.tools_listed(
                    known.server, is_over=event.state is not ev.RemoteState.STARTED
                )
            ]
        is_repeated = (known.server or event.item_id) in self._reported
        if len(self._reported) < MAX_CALLS:
            self._reported.add(known.server or event.item_id)
        level: fx.Level = "detail" if is_repeated else "warning"
        return [notices.tools_not_listed(known.server, known.error, level)]

    def session_closed(self) -> None:
        """The session is closed; the next one has other items."""
        self._known.clear()
