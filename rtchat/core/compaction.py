"""/compact: the model summarises the conversation, and new sessions receive the summary instead of
all but the last turns.

The request is a turn that is not part of the conversation, because not every server supports
responses outside of it. At its end, the session is replaced, because it contains the request.
"""

from __future__ import annotations

from rtchat.core import effects as fx
from rtchat.core import notices
from rtchat.core.question import Question
from rtchat.core.question_queue import QuestionQueue
from rtchat.core.replay import summary_index
from rtchat.core.shared import SharedState
from rtchat.core.signals import Output
from rtchat.core.thinking import split
from rtchat.core.values import Message, Part, Status

_REQUEST = """\
Summarize our conversation so far. Only your summary will be available when we continue, so keep \
everything that may still be needed: what I want, facts, names, numbers, files, code, decisions, \
results, and open questions. Leave out what no longer matters. Use the language of the \
conversation. Reply with the summary only."""


class Compaction:
    """One summary after another."""

    def __init__(self, shared: SharedState, queue: QuestionQueue) -> None:
        self._connection = shared.connection
        self._context = shared.context
        self._log = shared.log
        self._queue = queue

    def ask(self, instructions: str) -> list[Output]:
        """Ask the model for a summary."""
        if not self._queue.is_empty:
            return [notices.CANNOT_COMPACT]
        if summary_index(self._log.items) is None:
            return [notices.NOTHING_TO_COMPACT]
        request = f"{_REQUEST}\n\n{instructions}" if instructions else _REQUEST
        return self._queue.say(Question(0, "/compact", summary_request=request))

    def end(self, over: fx.ReplyOver) -> list[Output]:
        """The reply to the request is over. Only a complete one replaces anything."""
        self._connection.is_renewal_due = True
        text = split(over.text).answer.strip()
        index = summary_index(self._log.items)
        if over.status is not Status.COMPLETED or not text or index is None:
            return [notices.NOT_COMPACTED]
        summary = Message("system", (Part("text", text),))
        items = [*self._log.items[:index], summary, *self._log.items[index:]]
        before, after = self._context.replay(), self._context.replay(items)
        if after.tokens >= before.tokens:
            return [notices.SUMMARY_TOO_LONG]
        record = self._log.add_summary(index, summary, over)
        turns = before.turns + before.left_out - after.turns - after.left_out
        return [record, notices.compacted(turns, before.tokens, after.tokens)]
