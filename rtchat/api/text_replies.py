"""Questions of `Connection.text`, one after another, by the same rules as on the command line.

`TextReplies` passes events of the server to a `core.conversation`, and performs the effects that
concern the reply. The session belongs to the program, so its settings are not changed and its calls
are not answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.backoff import Timeouts
from rtchat.core.conversation import Conversation
from rtchat.core.errors import ExitCode, ReplyError
from rtchat.core.events import Timer
from rtchat.core.values import Channel, Message, Options

_TIMERS = frozenset({Timer.STALL, Timer.OVERDUE, Timer.OWNER, Timer.LIMIT})
MAX_WAIT = 1.0
"""The maximum time in seconds before a caller looks at the timers again."""
MAX_IDS = 100
"""The maximum number of event ids that are kept."""
Unsent: TypeAlias = tuple[str, fx.Command]
"""An event id, and the command to send with it."""


class TextReply:
    """One question and what has arrived of its reply."""

    def __init__(self, question: str) -> None:
        self.question = question
        self.pieces: deque[str] = deque()
        """The text that was not yielded yet."""
        self.over: fx.ReplyOver | None = None
        """How the reply ended; None while it is not over."""

    @property
    def is_ready(self) -> bool:
        """Whether something has arrived."""
        return bool(self.pieces) or self.over is not None

    def check(self) -> None:
        """Raise ReplyError unless the reply is complete."""
        over = self.over
        if over is not None and (problem := over.problem) is not None:
            is_lost = problem.exit is ExitCode.LINK
            reason = over.reason or ("connection_lost" if is_lost else "")
            raise ReplyError(problem, text=over.text, status=over.status.value, reason=reason)


class TextReplies:
    """The questions of one connection. `timeout` is in seconds."""

    def __init__(self, timeout: float) -> None:
        self.unsent: deque[Unsent] = deque()
        self._timeout = timeout
        self._conversation = Conversation(
            "", Options(), timeouts=Timeouts(reply=timeout), response=Options(modality="text")
        )
        self._waiting: deque[TextReply] = deque()
        self._current: TextReply | None = None
        self._is_asking = False
        """Whether the next message to send is the question and not an earlier item."""
        self._last_id = ""
        """The id of the last response."""
        self._stale: deque[str] = deque(maxlen=MAX_IDS)
        """The ids of the responses that the server did not end."""
        self._ids: deque[str] = deque(maxlen=MAX_IDS)
        """The event ids of the last commands, to recognise their errors."""
        self._inbox: deque[ev.Event] = deque()
        self._timers: dict[Timer, float] = {}
        self._waited = 0.0
        """Seconds that a caller has waited for replies. Timers count only this time, because a busy
        program does not read what the server sends."""
        self._waiters = 0
        self._waiting_since = 0.0
        self._handle(ev.Started())

    # ----------------------------------------------------------------------------------- questions

    def ask(self, question: str) -> TextReply:
        """Ask a question once the earlier ones are answered."""
        reply = TextReply(question)
        self._waiting.append(reply)
        self._ask_next()
        return reply

    def stop(self, reply: TextReply) -> None:
        """The caller no longer waits for this reply."""
        if reply in self._waiting:
            self._waiting.remove(reply)
        elif reply is self._current:
            self._handle(ev.CancelPressed())

    def _ask_next(self) -> None:
        if self._current is None and self._waiting:
            self._current = self._waiting.popleft()
            self._handle(ev.UserSaid(self._current.question))

    # -------------------------------------------------------------------------------- what happens

    def received(self, events: Iterable[ev.ServerEvent]) -> None:
        """The server sent an event."""
        if Timer.STALL in self._timers:
            self._timers[Timer.STALL] = self._now() + self._timeout
        for event in events:
            if self._concerns_reply(event):
                self._handle(event)

    def _concerns_reply(self, event: ev.ServerEvent) -> bool:
        if isinstance(event, ev.ResponseEvent) and event.response_id in filter(None, self._stale):
            return False
        if isinstance(event, ev.ServerProblem):
            return not event.event_id or self.is_own(event.event_id)
        if isinstance(event, ev.Delta | ev.ChannelDone):
            return event.channel is not Channel.INPUT_TRANSCRIPT
        return isinstance(event, ev.ResponseEvent | ev.ItemAdded)

    def is_own(self, event_id: str) -> bool:
        """Whether this is the id of an event that was sent for a question."""
        return event_id in self._ids

    def lost(self, lost: ev.ConnectionLost) -> None:
        """The connection was lost; it is being restored unless `retry` is `NEVER`."""
        self.unsent.clear()
        self._handle(lost)

    def give_up(self, reply: TextReply, lost: ev.ConnectionLost) -> None:
        """The connection cannot be restored. Ends this reply; the callers that wait for others end
        those."""
        if reply is self._current:
            self.lost(replace(lost, retry=ev.Retry.NEVER))

    def restored(self) -> None:
        """The connection was restored, and the session with it. Its responses may have the same
        ids."""
        self._stale.clear()
        self._last_id = ""
        self._handle(ev.TimerFired(Timer.RETRY))

    # -------------------------------------------------------------------------------------- timers

    @contextmanager
    def waiting(self) -> Iterator[float]:
        """A context in which a caller waits. Yields the seconds until it must look at the timers
        again: when one is due or earlier, as a reply that is stopped meanwhile sets one."""
        if not self._waiters:
            self._waiting_since = asyncio.get_running_loop().time()
        self._waiters += 1
        try:
            due = min(self._timers.values(), default=None)
            yield MAX_WAIT if due is None else min(MAX_WAIT, max(0.0, due - self._now()))
        finally:
            self._fire_due()
            now = self._now()
            self._waiters -= 1
            if not self._waiters:
                self._waited = now

    def _now(self) -> float:
        if not self._waiters:
            return self._waited
        return self._waited + asyncio.get_running_loop().time() - self._waiting_since

    def _fire_due(self) -> None:
        now = self._now()
        for timer in [timer for timer, due in self._timers.items() if due <= now]:
            if self._timers.pop(timer, None) is not None:
                self._handle(ev.TimerFired(timer))

    # ------------------------------------------------------------------------------------- effects

    def _handle(self, event: ev.Event) -> None:
        self._inbox.append(event)
        while self._inbox:
            for effect in self._conversation.handle(self._inbox.popleft(), self._now()):
                self._perform(effect)
        self._ask_next()

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Show(fx.TextArrived(text)) if self._current is not None:
                self._current.pieces.append(text)
            case fx.Show(fx.QuestionAsked()):
                self._is_asking = True
            case fx.Show(fx.ReplyOver() as over) if self._current is not None:
                self._current.over, self._current = over, None
                self._last_id = over.response_id or ""
            case fx.Send(event_id, command):
                self._send(event_id, command)
            case fx.SetTimer(timer, seconds) if timer in _TIMERS:
                self._timers[timer] = self._now() + seconds
            case fx.ClearTimer(timer):
                self._timers.pop(timer, None)
            case fx.Connect():
                # All sessions of the conversation use the program's connection, so more of the last
                # reply may arrive.
                self._stale.append(self._last_id)
                self._inbox.extend(
                    (ev.ConnectionOpened(), ev.SessionCreated("", ""), ev.SessionUpdated("", ""))
                )
            case _:
                pass

    def _send(self, event_id: str, command: fx.Command) -> None:
        match command:
            case fx.AddItem(Message(role="user")) if self._is_asking:
                pass
            case fx.CreateResponse() | fx.Cancel():
                self._is_asking = False
            case _:
                return
        self._ids.append(event_id)
        self.unsent.append((event_id, command))
