"""Whose reply a response is: servers also begin responses that the client did not request."""

from __future__ import annotations

from rtchat.core import events as ev
from rtchat.core.effects import SetTimer, Show
from rtchat.core.notices import unrequested_reply
from rtchat.core.question import Question
from rtchat.core.reply import Reply
from rtchat.core.values import Channel, Message

OWNER_WAIT = 1.0
"""Seconds that the events of a response are held if it is not known whether it is the reply."""


class Ownership:
    """Whether a response is the reply to the current request. A server that can echoes the mark of
    the request. Others confirm the question before they begin the reply, so a response that began
    before that is another one. Until that is known, the events of the response are held."""

    def __init__(self) -> None:
        self.marks = True
        """Whether requests are marked; some servers refuse that."""
        self._mark = ""
        self._echoes = False
        self._confirms: bool | None = None
        """Whether the server confirms questions, once that is known."""
        self._is_confirmed = False
        self._question: Question | None = None
        self._held: list[ev.ResponseEvent] = []

    def reset(self) -> None:
        """Another session begins."""
        self._echoes, self._confirms, self._question = False, None, None
        self._held.clear()

    def requested(self, mark: str, question: Question | None) -> None:
        """A reply was requested: to this typed question, or after other items."""
        self._mark = mark
        if question is None or question is not self._question:
            self._is_confirmed = question is None
        self._question = question

    def judge(self, mark: str) -> bool | None:
        """Whether a response that begins with this mark is the reply; None if that is not known."""
        if mark:
            self._echoes = True
            return mark == self._mark
        if self._echoes:
            return False
        return True if self._is_confirmed or self._confirms is False else None

    def confirmed(self, item: Message) -> bool:
        """The server confirmed a message; returns whether it may be the question."""
        if item.text and self._question is not None and item.text != self._question.item.text:
            return False
        self._confirms = self._is_confirmed = True
        return True

    def not_confirmed(self) -> None:
        """The server did not confirm the question in time."""
        self._confirms, self._is_confirmed = self._confirms or False, True

    # ------------------------------------------------------------------------------------- holding

    @property
    def is_holding(self) -> bool:
        """Whether it is not known if the response that began is the reply."""
        return bool(self._held)

    @property
    def held_id(self) -> str:
        """The id of that response."""
        return self._held[0].response_id

    @property
    def holds_end(self) -> bool:
        """Whether that response is over."""
        return any(isinstance(event, ev.ReplyEnded) for event in self._held)

    def hold(self, event: ev.ReplyStarted) -> SetTimer:
        """Hold the events of the response that began."""
        self._held.append(event)
        return SetTimer(ev.Timer.OWNER, OWNER_WAIT)

    def holds(self, event: ev.Event) -> bool:
        """Hold the event if it may belong to that response."""
        if not self._held or not isinstance(event, ev.ResponseEvent):
            return False
        match event:
            case ev.Delta(Channel.INPUT_TRANSCRIPT) | ev.ChannelDone(Channel.INPUT_TRANSCRIPT):
                return False
            case ev.ReplyStarted(response_id) if response_id != self.held_id:
                return False
            case _:
                self._held.append(event)
                return True

    def release(self) -> tuple[ev.ResponseEvent, ...]:
        """The events that were held."""
        held, self._held = tuple(self._held), []
        return held


class OtherReplies:
    """The last response that was not requested. It is shown when it is complete."""

    def __init__(self) -> None:
        self.is_active = False
        """Whether it is being generated."""
        self._reply = Reply()

    def begin(self, response_id: str) -> None:
        """Such a response began."""
        self.is_active, self._reply = True, Reply(response_id)

    def forget(self) -> None:
        """The session is closed."""
        self.is_active = False

    def _has(self, event: ev.ResponseEvent) -> bool:
        return self.is_active and event.response_id in ("", self._reply.id)

    def content(self, event: ev.Delta | ev.ChannelDone | ev.PartDone) -> None:
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

    def end(self, event: ev.ReplyEnded) -> list[Show]:
        """It is complete."""
        if not self._has(event):
            return []
        self._reply.finish(event.items)
        text, self.is_active = self._reply.text, False
        return [unrequested_reply(text)] if text.strip() else []
