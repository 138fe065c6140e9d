"""The tool calls of a turn: making them, and requesting the next reply with their outputs."""

from __future__ import annotations

from collections.abc import Callable

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import server_errors
from rtchat.core.replies import Replies
from rtchat.core.shared import SharedState
from rtchat.core.signals import Output, ReplyDone
from rtchat.core.tool_calls import ToolCallBatch
from rtchat.core.turn import Turn
from rtchat.core.values import Status


class ToolLoop:
    """The calls of one reply after another, until a reply has none."""

    def __init__(self, shared: SharedState, replies: Replies) -> None:
        self._replies = replies
        self._connection = shared.connection
        self._log = shared.log
        self._policy = shared.tool_policy
        self._call_outputs = shared.call_outputs
        self._audio = shared.audio

    @property
    def is_running(self) -> bool:
        """Whether the turn is waiting for its calls."""
        turn = self._replies.turn
        return self._connection.is_ready and turn is not None and turn.batch is not None

    def start(self, event: ev.ReplyEnded) -> list[Output]:
        """Make the calls of a reply; once all have an answer, another reply is requested."""
        turn = self._replies.turn
        assert turn is not None
        if not self._policy.handles(turn.calls.made):
            self._call_outputs.leave_open(turn.calls.made)
            problem = server_errors.unavailable(call.name for call in turn.calls.made)
            return [ReplyDone(Status.INCOMPLETE, "tool_calls", problem, event)]
        if not turn.may_call:
            turn.limit = "max_tool_rounds"
            return self._replies.cut_off(turn, event)
        out = self._replies.finish(turn)
        out += turn.release()
        out += self._audio.finish()
        reply, audio = turn.reply, b"".join(turn.audio)
        model = self._connection.model
        out += self._log.called(turn.question, reply.save(), turn.calls.made, model, audio)
        self._call_outputs.note(turn.calls.made)
        turn.begin_calls(self._policy)
        return [*out, *self.update(ToolCallBatch.begin)]

    def update(self, change: Callable[[ToolCallBatch], list[fx.Effect]]) -> list[Output]:
        """Change the current calls; once all have answers, send these to the server."""
        turn = self._replies.turn
        if turn is None or turn.batch is None:
            return []
        out: list[Output] = [*change(turn.batch)]
        return [*out, *self.resume()] if self._connection.is_ready else out

    def resume(self) -> list[Output]:
        """Continue the turn in a session that is ready: request a reply if no calls are running."""
        turn = self._replies.turn
        assert turn is not None
        if turn.batch is None:
            return self._replies.ask()
        if not turn.batch.is_done:
            return []
        is_last = turn.batch.is_last
        return [*self._answer(turn), *self._replies.ask(may_call=not is_last)]

    def _answer(self, turn: Turn) -> list[Output]:
        answers = turn.end_calls()
        out: list[Output] = [*self._log.answered(turn.question, answers, self._connection.model)]
        if self._connection.is_ready:  # otherwise the next session receives them with all items
            out += [self._connection.send(fx.AddItem(answer)) for answer in answers]
        return out

    def stop(self, turn: Turn) -> list[Output]:
        """Stop the calls of a turn that is over, if there are any."""
        return [] if turn.batch is None else [*turn.batch.stop(), *self._answer(turn)]
