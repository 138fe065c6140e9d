"""Tells the requested reply from responses that the server begins by itself."""

from __future__ import annotations

from rtchat.core import events as ev
from rtchat.core.effects import ClearTimer, SetTimer, Show
from rtchat.core.notices import unrequested_reply
from rtchat.core.reply import Reply
from rtchat.core.server_errors import refuses_metadata
from rtchat.core.signals import HeldEvent, HeldEvents, Output
from rtchat.core.stale_responses import StaleResponses
from rtchat.core.values import ApprovalAnswer, Channel, Item, Message, RemoteCall, ToolOutput

MAX_HELD = 256
"""The maximum number of events that are held."""
MAX_HELD_TEXT = 200_000
"""The maximum number of characters of text and Base64 audio that are held."""
OWNER_WAIT = 1.0
"""Seconds for which events are held. Then the response counts as the reply."""


class Ownership:
    """Whether a response is the reply to the current request. Some servers echo the mark of the
    request. Others confirm the item that was sent before the request, and a response that began
    before the confirmation is not the reply. Until it is known, the events of a response are
    held."""

    def __init__(self) -> None:
        self.marks = True
        """Whether requests are marked; some servers refuse that."""
        self._mark = ""
        self._echoes = False
        self._confirms: dict[type[Item], bool] = {}
        """Whether the server confirms items of a type, once that is known."""
        self._awaited: Item | None = None
        """The item that the server may confirm before it begins the reply."""
        self._is_confirmed = False
        self._held: list[HeldEvent] = []
        self._held_text = 0
        self.held_id = ""
        """The id of the response whose events are held."""
        self.stale = StaleResponses()
        self.unrequested = UnrequestedReply()

    def reset(self) -> None:
        """Another session begins."""
        self._echoes, self._awaited = False, None
        self._confirms.clear()
        self.release()
        self.unrequested.is_active = False
        self.stale.clear()

    def requested(self, mark: str, awaited: Item | None) -> None:
        """A reply was requested; `awaited` is the item that was sent before the request, if any."""
        self._mark, self.unrequested.has_ended = mark, False
        if awaited is None or awaited is not self._awaited:
            self._is_confirmed = awaited is None
        self._awaited = awaited

    def judge(self, mark: str) -> bool | None:
        """Whether a response that begins with this mark is the reply; None if that is not known."""
        if mark:
            self._echoes = True
            return mark == self._mark
        if self._echoes:
            return False
        if self._is_confirmed or self._awaited is None:
            return True
        return None if self._confirms.get(type(self._awaited), True) else True

    def refuses_mark(self, error: ev.ServerProblem) -> bool:
        """Whether the server refuses the mark of the request; later requests have none."""
        if not self.marks or not refuses_metadata(error):
            return False
        self.marks = False
        return True

    def confirmed(self, item: Item) -> list[Output]:
        """The server confirmed an item: a response that began earlier is not the reply to it."""
        if self._awaited is None or not _is_same(item, self._awaited):
            return []
        self._confirms[type(item)] = self._is_confirmed = True
        return self.reject() if self._held else []

    def accept(self) -> list[Output]:
        """The response whose events are held, if any, counts as the reply."""
        if not self._held:
            return []
        if self._awaited is not None:
            self._confirms.setdefault(type(self._awaited), False)
        self._is_confirmed = True
        return [ClearTimer(ev.Timer.OWNER), HeldEvents(self.release())]

    def reject(self) -> list[Output]:
        """The response whose events are held is not the reply."""
        self.ignore(self.held_id)
        return [ClearTimer(ev.Timer.OWNER), HeldEvents(self.release()[1:])]

    def ignore(self, response_id: str) -> None:
        """This response is not the reply."""
        self.unrequested.begin(response_id)
        self.stale.ignore(response_id)

    # ------------------------------------------------------------------------------------- holding

    @property
    def is_holding(self) -> bool:
        """Whether events are held."""
        return bool(self._held)

    @property
    def holds_end(self) -> bool:
        """Whether the response whose events are held is over."""
        return any(isinstance(event, ev.ReplyEnded) for event in self._held)

    @property
    def continues(self) -> bool:
        """Whether that response is over and has nothing but calls that the server has made: the
        reply to the request, which another response continues."""
        ends = [event for event in self._held if isinstance(event, ev.ReplyEnded)]
        done = [event.item for event in self._held if isinstance(event, ev.OutputDone)]
        items = [*done, *(item for end in ends for item in end.items)]
        only_calls = items and all(isinstance(item, RemoteCall) for item in items)
        return bool(ends and only_calls) and not any(
            isinstance(event, ev.Delta) for event in self._held
        )

    def hold(self, event: ev.ReplyStarted) -> SetTimer:
        """A response began: hold its events."""
        self._held.append(event)
        self.held_id = event.response_id
        return SetTimer(ev.Timer.OWNER, OWNER_WAIT)

    def receive(self, event: ev.Event) -> list[Output] | None:
        """Hold the event if it may belong to the held response. None if it must be handled now."""
        if not self._held or not isinstance(event, HeldEvent):
            return None
        match event:
            case ev.Delta(Channel.INPUT_TRANSCRIPT) | ev.ChannelDone(Channel.INPUT_TRANSCRIPT):
                return None
            case ev.ServerProblem(event_id=event_id) if event_id:
                return None
            case ev.ReplyStarted(response_id) if response_id != self.held_id:
                return None
            case _:
                self._held.append(event)
                self._held_text += len(event.text) if isinstance(event, ev.Delta) else 0
                is_full = len(self._held) == MAX_HELD or self._held_text > MAX_HELD_TEXT
                return self.accept() if is_full else []

    def release(self) -> tuple[HeldEvent, ...]:
        """Return the events that were held, and hold no more."""
        held, self._held, self._held_text = tuple(self._held), [], 0
        return held


def _is_same(item: Item, awaited: Item) -> bool:
    match item, awaited:
        case Message(role="user"), Message():
            return not item.text or not awaited.text or item.text == awaited.text
        case ToolOutput(), ToolOutput():
            return item.call_id == awaited.call_id
        case ApprovalAnswer(), ApprovalAnswer():
            return item.request_id == awaited.request_id
        case _:
            return False


class UnrequestedReply:
    """The last response that was not requested. It is shown when it is complete."""

    def __init__(self) -> None:
        self.is_active = False
        """Whether the response is being generated."""
        self.has_ended = False
        """Whether such a response has ended since the last request."""
        self._reply = Reply()

    @property
    def id(self) -> str:
        """The id of the response."""
        return self._reply.id

    def begin(self, response_id: str) -> None:
        """A response that was not requested began."""
        self.is_active, self._reply = True, Reply(response_id)

    def _has(self, event: ev.ResponseEvent) -> bool:
        return self.is_active and event.response_id in ("", self.id)

    def content(self, event: ev.ResponseEvent) -> None:
        """More of the response arrived."""
        if not self._has(event):
            return
        match event:
            case ev.Delta():
                self._reply.add(event)
            case ev.ChannelDone():
                self._reply.channel_done(event)
            case ev.PartDone():
                self._reply.part_done(event)
            case ev.OutputDone(output_index=index, item=Message() as message):
                self._reply.message_done(message, index)
            case _:
                pass

    def end(self, event: ev.ReplyEnded) -> list[Show]:
        """The response is complete."""
        if not self._has(event):
            return []
        self._reply.finish(event.items)
        self.has_ended = True
        text, self.is_active = self._reply.text, False
        return [unrequested_reply(text)] if text.strip() else []
