"""Events that the user sends by /raw, and the server's answers to them."""

from __future__ import annotations

from collections import deque

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices
from rtchat.core.question_queue import QuestionQueue
from rtchat.core.replies import Replies
from rtchat.core.shared import SharedState
from rtchat.core.signals import Output, report
from rtchat.core.turns import Turns
from rtchat.core.values import JsonObject, Message

MAX_RAW_EVENTS = 20
"""How many events sent by /raw are remembered until the server answers them."""
MAX_UNREQUESTED_REPLIES = 100
"""How many replies an event sent by /raw may cause, for example by enabling turn detection."""


class RawEvents:
    """The user's own events of one session."""

    def __init__(
        self, shared: SharedState, replies: Replies, turns: Turns, queue: QuestionQueue
    ) -> None:
        self._replies = replies
        self._turns = turns
        self._queue = queue
        self._connection = shared.connection
        self._log = shared.log
        self._call_outputs = shared.call_outputs
        self._usage = shared.usage
        self.unanswered: deque[ev.RawSaid] = deque(maxlen=MAX_RAW_EVENTS)
        self._replies_left = 0
        """How many unrequested replies the user's events may still cause."""

    def send(self, raw: ev.RawSaid) -> list[Output]:
        """Send an event; one that requests a reply is a turn, like a question."""
        if not self._connection.has_session:
            return [notices.NO_SESSION]
        if raw.asks:
            return self._ask(raw)
        self._call_outputs.given(raw.output_of)
        self._replies_left = MAX_UNREQUESTED_REPLIES
        self.unanswered.append(raw)
        sent = self._connection.send(fx.Raw(raw.fields))
        return [sent, notices.raw_sent(_kind(raw.fields))]

    def _ask(self, raw: ev.RawSaid) -> list[Output]:
        if (spent := self._usage.over_budget()) is not None:
            return [report(spent)]
        question = self._log.enter_raw(raw.fields)
        is_free = self._turns.is_idle and self._turns.current is None
        shown = (notices.raw_sent if is_free else notices.raw_queued)(_kind(raw.fields))
        return [shown, *self._queue.say(question)]

    def confirm(self, event: ev.Event) -> list[Output]:
        """Report that the server carried out one of the user's events, if nothing else shows it."""
        item = event.item if isinstance(event, ev.ItemAdded | ev.ItemRetrieved) else None
        is_ours = isinstance(event, ev.SessionUpdated) and self._connection.commands.is_configuring
        is_ours |= isinstance(event, ev.ItemAdded) and self._turns.current is not None
        raw = next((raw for raw in self.unanswered if type(event) is raw.answer), None)
        if raw is None or is_ours:
            return []
        self.unanswered.remove(raw)
        item_id = getattr(event, "item_id", "") or getattr(item, "id", "")
        text = item.text if isinstance(item, Message) else ""
        return [notices.raw_done(_kind(raw.fields), item_id, text)]

    def refused(self, fields: JsonObject, error: ev.ServerProblem) -> list[Output]:
        """The server refused one of the user's events."""
        left = (raw for raw in self.unanswered if raw.fields is not fields)
        self.unanswered = deque(left, MAX_RAW_EVENTS)
        return [notices.raw_refused(_kind(fields), error.message)]

    def unrequested_reply(self, response_id: str) -> list[Output]:
        """The server began a reply by itself: a turn, if one of the user's events may have caused
        it."""
        if not self._replies_left:
            self._replies.ownership.ignore(response_id)
            return []
        self._replies_left -= 1
        return self._turns.begin_unrequested(self._log.enter_raw({}), response_id)

    def session_closed(self) -> None:
        """The session is closed; the next one will not answer the events."""
        self.unanswered.clear()
        self._replies_left = 0


def _kind(fields: JsonObject) -> str:
    return str(fields["type"])
