"""What a new session must receive to continue a lost one: the settings, the items, and the requests
that were not answered.

The Python API uses it to reconnect; `core.log` does the same for the command line's conversation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from rtchat.core import events as ev
from rtchat.core.effects import AddItem
from rtchat.core.question import add, replay_item
from rtchat.core.reply import Reply
from rtchat.core.values import (
    Channel,
    Item,
    JsonObject,
    Message,
    Part,
    ToolCall,
    ToolOutput,
    TurnLimits,
)
from rtchat.wire.client_events import merged_fields
from rtchat.wire.commands import encode
from rtchat.wire.fields import Fields
from rtchat.wire.items import read_item

_PREFIX = "rtchat_again_"


@dataclass
class _Entry:
    """An item of the conversation. `is_sent` is whether the client sent it, `is_copy` whether it
    was sent again to a new session, and `is_confirmed` whether the server has confirmed it."""

    item: Item
    event_id: str = ""
    is_sent: bool = False
    is_copy: bool = False
    is_confirmed: bool = False


@dataclass
class _Request:
    """A `response.create`, and whether it is sent again to a new session."""

    data: JsonObject
    repeats: bool


@dataclass
class _Response:
    """A response in progress; `request` is None if the server began it by itself."""

    request: _Request | None
    is_out_of_band: bool
    reply: Reply = field(default_factory=lambda: Reply(limits=TurnLimits()))
    has_items: bool = False

    @property
    def has_begun(self) -> bool:
        return self.has_items or self.reply.has_begun


class SessionCopy:
    """Tracks a session. Pass it each event that is sent or received, once and in order."""

    def __init__(self) -> None:
        self._updates: list[tuple[str, JsonObject]] = []
        """The settings that the server has not accepted yet, with their event ids."""
        self._settings: dict[str, object] = {}
        self._entries: list[_Entry] = []
        self._requests: list[_Request] = []
        """The requests without a response yet."""
        self._responses: dict[str, _Response] = {}
        self._has_out_of_band = False
        """Whether any response was requested outside the conversation."""
        self._is_created = self._is_updating = False
        """Whether the server has confirmed a session; whether it must still confirm the settings
        that a new session received."""
        self._count = 0

    # -------------------------------------------------------------------------------- what happens

    def sent(self, data: JsonObject, *, repeats: bool = True) -> None:
        """An event was sent. With `repeats`, a lost `response.create` is sent again."""
        fields = Fields(data, [])
        event_id = fields.text("event_id")
        match data.get("type"):
            case "session.update":
                self._updates.append((event_id, fields.fields("session").data))
            case "conversation.item.create":
                item = read_item(fields.fields("item"))
                self._place(_Entry(item, event_id, is_sent=True), data.get("previous_item_id"))
            case "response.create":
                self._requests.append(_Request(data, repeats))
                response = fields.fields("response")
                self._has_out_of_band |= response.text("conversation") == "none"
            case _:
                pass

    def received(self, event: ev.ServerEvent) -> bool:
        """An event was received. Return whether it only confirms something that was sent again."""
        match event:
            case ev.Delta() | ev.ChannelDone() | ev.PartDone():
                self._content(event)
            case ev.SessionCreated():
                is_copy, self._is_created = self._is_created, True
                return is_copy
            case ev.SessionUpdated():
                return self._updated()
            case ev.ItemAdded(item, previous) | ev.ItemDone(item, previous):
                return self._added(item, previous)
            case ev.OutputDone(response_id, _, item):
                self._output(self._response(response_id), item)
            case ev.ItemDeleted(item_id):
                self._entries = [entry for entry in self._entries if entry.item.id != item_id]
            case ev.ReplyStarted():
                self._started(event)
            case ev.ReplyEnded():
                self._ended(event)
            case ev.ServerProblem(event_id=event_id) if event_id:
                self._refused(event_id)
            case _:
                pass
        return False

    def _updated(self) -> bool:
        is_copy, self._is_updating = self._is_updating, False
        if self._updates and not is_copy:
            self._settings = merged_fields(self._settings, self._updates.pop(0)[1])
        return is_copy

    def _refused(self, event_id: str) -> None:
        self._updates = [update for update in self._updates if update[0] != event_id]
        self._entries = [entry for entry in self._entries if entry.event_id != event_id]
        self._requests = [each for each in self._requests if each.data.get("event_id") != event_id]

    def _added(self, item: Item, previous: str | None) -> bool:
        entry = self._find(item)
        if entry is None:
            self._place(_Entry(item, is_confirmed=True), previous)
            return False
        entry.is_confirmed = True
        if entry.is_sent:  # the server may not return all of its content
            entry.item = replace(entry.item, id=item.id)
        else:
            entry.item = item
        return entry.is_copy

    def _find(self, item: Item) -> _Entry | None:
        """The entry of an item: by its id, or the next one of its kind that is not confirmed."""
        if known := self._by_id(item.id):
            return known
        for entry in self._entries:
            if entry.is_sent and not entry.is_confirmed and _kind(entry.item) == _kind(item):
                return entry
        return None

    def _by_id(self, item_id: str) -> _Entry | None:
        entries = (entry for entry in self._entries if item_id and entry.item.id == item_id)
        return next(entries, None)

    def _place(self, entry: _Entry, previous: object) -> None:
        ids = [each.item.id for each in self._entries]
        at = len(ids)
        if previous == "root":
            at = 0
        elif previous and previous in ids:
            at = ids.index(str(previous)) + 1
        self._entries.insert(at, entry)

    # ----------------------------------------------------------------------------------- responses

    def _started(self, event: ev.ReplyStarted) -> None:
        is_out_of_band = self._has_out_of_band and event.conversation_id is None
        request = self._take_request(event.mark)
        self._responses[event.response_id] = _Response(request, is_out_of_band)

    def _take_request(self, mark: str) -> _Request | None:
        for request in self._requests:
            if not mark or request.data.get("event_id") == mark:
                self._requests.remove(request)
                return request
        return None

    def _response(self, response_id: str) -> _Response:
        """The response with this id; some servers do not announce it."""
        if response_id not in self._responses:
            self._started(ev.ReplyStarted(response_id))
        return self._responses[response_id]

    def _content(self, event: ev.Delta | ev.ChannelDone | ev.PartDone) -> None:
        if isinstance(event, ev.PartDone):
            self._response(event.response_id).reply.part_done(event)
        elif event.channel is not Channel.INPUT_TRANSCRIPT:
            reply = self._response(event.response_id).reply
            if isinstance(event, ev.Delta):
                reply.add(event)
            else:
                reply.channel_done(event)
        elif isinstance(event, ev.ChannelDone):
            self._transcribed(event.item_id, event.text)

    def _transcribed(self, item_id: str, text: str) -> None:
        entry = self._by_id(item_id)
        if entry is not None and isinstance(entry.item, Message):
            parts = (
                replace(part, text=text) if part.kind == "audio" else part
                for part in entry.item.parts
            )
            entry.item = replace(entry.item, parts=tuple(parts))

    def _output(self, response: _Response, item: Item) -> None:
        response.has_items = True
        entry = self._by_id(item.id)
        if entry is not None:
            entry.item = item
        elif not response.is_out_of_band:
            self._entries.append(_Entry(item, is_confirmed=True))

    def _ended(self, event: ev.ReplyEnded) -> None:
        response = self._response(event.response_id)
        if not response.has_items:
            for item in event.items:
                self._output(response, item)
        if not response.has_items:
            self._keep_text(response)
        del self._responses[event.response_id]

    def _keep_text(self, response: _Response) -> None:
        response.reply.cut()
        if response.reply.text and not response.is_out_of_band:
            text = Message("assistant", (Part("text", response.reply.text),))
            self._entries.append(_Entry(text, is_confirmed=True))

    # ------------------------------------------------------------------------------ another session

    def lost(self) -> bool:
        """The session was lost. Return whether a response was interrupted and will not be requested
        again. Its text so far is kept."""
        responses, self._responses = self._responses, {}
        is_interrupted = False
        for response in responses.values():
            request = response.request
            if request is not None and not response.has_begun:
                self._requests.insert(0, request)
                continue
            if not response.has_items:
                self._keep_text(response)
            is_interrupted |= request is None or request.repeats
        return is_interrupted

    def restore(self) -> list[JsonObject]:
        """The events that a new session must receive."""
        self._is_updating = bool(self._settings) and not self._updates
        for _, fields in self._updates:
            self._settings = merged_fields(self._settings, fields)
        self._updates.clear()
        out: list[JsonObject] = []
        if self._settings:
            event_id = self._next_id()
            settings = self._settings
            out.append({"event_id": event_id, "type": "session.update", "session": settings})
        entries, self._entries = self._entries, []
        for entry in entries:
            if commands := _commands(entry.item):
                copy = _Entry(entry.item, self._next_id(), is_sent=True, is_copy=entry.is_confirmed)
                self._entries.append(copy)
                out += [encode(command, copy.event_id) for command in commands]
        self._requests = [request for request in self._requests if request.repeats]
        return [*out, *(request.data for request in self._requests)]

    def _next_id(self) -> str:
        self._count += 1
        return f"{_PREFIX}{self._count}"


def _commands(item: Item) -> list[AddItem]:
    if not isinstance(item, Message | ToolCall | ToolOutput):
        return []  # the server creates the others itself
    if isinstance(item, Message | ToolCall):
        if item.status == "in_progress":
            return []
        item = replace(item, status="")
    again = replay_item(item)
    if again is None or (isinstance(again, Message) and not again.parts):
        return []
    commands = list(add(again))
    if len(commands) == 1:
        return commands
    return [AddItem(replace(command.item, id="")) for command in commands]


def _kind(item: Item) -> tuple[type, str]:
    return type(item), item.role if isinstance(item, Message) else ""
