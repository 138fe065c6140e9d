"""Whose reply a response is: servers also begin responses that the client did not request."""

from __future__ import annotations

from rtchat.core.effects import Show
from rtchat.core.events import ChannelDone, Delta, PartDone, ReplyEnded
from rtchat.core.notices import unrequested_reply
from rtchat.core.question import Question
from rtchat.core.reply import Reply

OWNER_WAIT = 1.0
"""Seconds that the first text waits if it is not known whether it is the reply."""


class Ownership:
    """Whether a response is the reply to the current request. A server that can echoes the mark of
    the request. Others confirm the question before they begin the reply, so a response that began
    before that is another one."""

    def __init__(self) -> None:
        self.marks = True
        """Whether requests are marked; some servers refuse that."""
        self._mark = ""
        self._echoes = False
        self._confirms: bool | None = None
        """Whether the server confirms questions, once that is known."""
        self._is_confirmed = False
        self._question: Question | None = None

    def reset(self) -> None:
        """Another session begins."""
        self._echoes, self._confirms, self._question = False, None, None

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

    def confirmed(self) -> None:
        """The server confirmed the question."""
        self._confirms = self._is_confirmed = True

    def not_confirmed(self) -> None:
        """The server did not confirm the question in time."""
        self._confirms = self._confirms or False


class OtherReplies:
    """The last response that was not requested. It is shown when it is complete."""

    def __init__(self) -> None:
        self.id = ""
        """The response while it is being generated."""
        self._reply = Reply()

    def begin(self, response_id: str, reply: Reply | None = None) -> None:
        """Such a response began; `reply` is what has already arrived of it."""
        self.id, self._reply = response_id, reply or Reply(response_id)

    def content(self, event: Delta | ChannelDone | PartDone) -> None:
        """More of it arrived."""
        if not self.id or event.response_id != self.id:
            return
        match event:
            case Delta():
                self._reply.add(event)
            case ChannelDone():
                self._reply.channel_done(event)
            case PartDone():
                self._reply.part_done(event)

    def end(self, event: ReplyEnded) -> list[Show]:
        """It is complete."""
        if not self.id or event.response_id != self.id:
            return []
        self._reply.finish(event.items)
        text, self.id = self._reply.text, ""
        return [unrequested_reply(text)] if text.strip() else []
