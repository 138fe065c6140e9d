"""Whose reply a response is: servers also begin responses that the client did not request."""

from __future__ import annotations

from rtchat.core import events as ev
from rtchat.core.effects import ClearTimer, SetTimer, Show
from rtchat.core.notices import unrequested_reply
from rtchat.core.reply import Reply
from rtchat.core.server_errors import refuses_metadata
from rtchat.core.signals import HeldEvent, HeldEvents, Output
from rtchat.core.stale_responses import StaleResponses
from rtchat.core.values import ApprovalAnswer, Channel, Item, Message, ToolOutput

MAX_HELD = 256
"""How many events of such a response are held."""
MAX_HELD_TEXT = 200_000
"""How many characters of text and Base64 audio are held."""
OWNER_WAIT = 1.0
"""Seconds that the events of a response are held if it is not known whether it is the reply."""


class Ownership:
    """Whether a response is the reply to the current request. A server that can echoes the mark of
    the request. Others confirm the item before the request, so a response that began before that
    is another one. Until that is known, the events of the response are held."""

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
        self.others = OtherReplies()

    def reset(self) -> None:
        """Another session begins."""
        self._echoes, self._awaited = False, None
        self._confirms.clear()
        self._held.clear()
        self.others.is_active = False
        self.stale.clear()

    def requested(self, mark: str, awaited: Item | None) -> None:
        """A reply was requested after this item was sent, if any was."""
        self._mark, self.others.has_ended = mark, False
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
        """The server confirmed an item: a response that began before is not the reply to it."""
        if self._awaited is None or not _is_same(item, self._awaited):
            return []
        self._confirms[type(item)] = self._is_confirmed = True
        return self.disown() if self._held else []

    def own(self) -> list[Output]:
        """The response that began counts as the reply, if it is not known whose it is."""
        if not self._held:
            return []
        if self._awaited is not None:
            self._confirms.setdefault(type(self._awaited), False)
        self._is_confirmed = True
        return [ClearTimer(ev.Timer.OWNER), HeldEvents(self.release())]

    def disown(self) -> list[Output]:
        """The response that began is not the reply."""
        self.ignore(self.held_id)
        return [ClearTimer(ev.Timer.OWNER), HeldEvents(self.release()[1:])]

    def ignore(self, response_id: str) -> None:
        """This response is not the reply."""
        self.others.begin(response_id)
        self.stale.ignore(response_id)

    # ------------------------------------------------------------------------------------- holding

    @property
    def is_holding(self) -> bool:
        """Whether it is not known if the response that began is the reply."""
        return bool(self._held)

    @property
    def holds_end(self) -> bool:
        """Whether that response is over."""
        return any(isinstance(event, ev.ReplyEnded) for event in self._held)

    def hold(self, event: ev.ReplyStarted) -> SetTimer:
        """Hold the events of the response that began."""
        self._held.append(event)
        self.held_id = event.response_id
        return SetTimer(ev.Timer.OWNER, OWNER_WAIT)

    def receive(self, event: ev.Event) -> list[Output] | None:
        """Hold the event if it may belong to that response; None if it is to be handled now."""
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
                return self.own() if is_full else []

    def release(self) -> tuple[HeldEvent, ...]:
        """The events that were held."""
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


class OtherReplies:
    """The last response that was not requested. It is shown when it is complete."""

    def __init__(self) -> None:
        self.is_active = False
        """Whether it is being generated."""
        self.has_ended = False
        """Whether one has ended since the last request."""
        self._reply = Reply()

    @property
    def id(self) -> str:
        """The id of the response."""
        return self._reply.id

    def begin(self, response_id: str) -> None:
        """Such a response began."""
        self.is_active, self._reply = True, Reply(response_id)

    def _has(self, event: ev.ResponseEvent) -> bool:
        return self.is_active and event.response_id in ("", self.id)

    def content(self, event: ev.ResponseEvent) -> None:
        """More of it arrived."""
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
        """It is complete."""
        if not self._has(event):
            return []
        self._reply.finish(event.items)
        self.has_ended = True
        text, self.is_active = self._reply.text, False
        return [unrequested_reply(text)] if text.strip() else []
