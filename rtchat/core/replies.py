"""The reply to the current turn: requesting, streaming, waiting, stopping.

`Turns` decides when a reply is requested, and what follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import assert_never

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import server_errors
from rtchat.core.backoff import MAX_LIMIT_WAIT
from rtchat.core.deadline import ReplyDeadline
from rtchat.core.mode import Mode
from rtchat.core.ownership import Ownership
from rtchat.core.shared import SharedState
from rtchat.core.signals import (
    CallsRequested,
    HeldEvents,
    Output,
    ReplyDone,
    ReplyStopped,
    UnrequestedReply,
)
from rtchat.core.tool_calls import Call
from rtchat.core.turn import Turn
from rtchat.core.values import Channel, JsonObject, Message, RemoteCall, Status, ToolCall


class ReplyPhase(StrEnum):
    """The state of the current reply."""

    IDLE = "idle"
    ASKED = "asked"
    """Requested, but not begun."""
    REPLYING = "replying"
    LIMITED = "limited"
    """Waiting for a rate limit; ASKED follows."""
    ENDING = "ending"
    """Stopped, but the server has not reported its end."""


class Replies:
    """One reply after another, each belonging to `turn`."""

    def __init__(self, shared: SharedState) -> None:
        self.turn: Turn | None = None
        """The turn being answered."""
        self.phase = ReplyPhase.IDLE
        self.deadline = ReplyDeadline(shared.connection)
        self._connection = shared.connection
        self._options = shared.options
        self._time = shared.time
        self._mode = shared.mode
        self._timeouts = shared.timeouts
        self._policy = shared.tool_policy
        self._call_outputs = shared.call_outputs
        self._usage = shared.usage
        self._speech = shared.speech
        self._audio = shared.audio
        self._ending_id = ""
        """The stopped response; empty if its id is not known yet."""
        self._ending_calls: tuple[Call, ...] = ()
        """The complete calls of the stopped response; they are not made."""
        self._is_cancel_due = False
        self.ownership = Ownership()
        self.response_ids = self.ownership.stale
        self.unrequested = self.ownership.unrequested
        self._ended_early = ""
        """The response that ended before the server said that it began."""
        self.raw: JsonObject | None = None
        """The user's event that requested the pending reply, if any."""

    @property
    def is_due(self) -> bool:
        """Whether a reply was requested or is arriving."""
        return self.phase in (ReplyPhase.ASKED, ReplyPhase.REPLYING)

    # ---------------------------------------------------------------------------------- requesting

    def ask(self, *, may_call: bool = True) -> list[Output]:
        """Request a reply to the turn."""
        assert self.turn is not None
        if self._connection.needs_new_session:
            return self._connection.connect()
        self.turn.begin_reply(not_interruptible=self._speech.is_speaking)
        self.raw = None if self.turn.has_called else self.turn.question.raw
        if self.raw:
            return [self._connection.send(fx.Raw(self.raw)), self.expect()]
        question = self.turn.question
        may_call = may_call and not question.is_summary
        options = self._options.reply(may_call=may_call, instructions=question.instructions)
        if question.is_summary:
            options = replace(options, modality="text")
        request = self._connection.send(fx.CreateResponse(options, self.ownership.marks))
        self.ownership.requested(request.event_id, self.turn.awaited)
        return [request, self.expect()]

    def expect(self) -> fx.SetTimer:
        """Wait for a reply."""
        self.phase = ReplyPhase.ASKED
        return fx.SetTimer(ev.Timer.STALL, self._timeouts.reply)

    # ------------------------------------------------------------------------------------- content

    def started(self, event: ev.ReplyStarted) -> list[Output]:
        """The server began a reply."""
        self._usage.began(event.response_id)
        if self.ownership.is_holding:  # the reply cannot begin twice
            is_own = self.ownership.continues
            held = self.ownership.accept() if is_own else self.ownership.reject()
            return [*held, HeldEvents((event,))]
        turn = self.turn
        if self.phase is ReplyPhase.ENDING and self._is_cancel_due:
            self._is_cancel_due = False
            self._ending_id = event.response_id
            cancel = self._connection.send(fx.Cancel(event.response_id))
            return [cancel, self.deadline.cancelled()]
        if turn is not None and not turn.announced and self.is_due:
            return self._started_for(turn, event)
        if event.response_id in self.response_ids:
            pass
        elif turn is None and self.phase is ReplyPhase.IDLE and self._connection.is_ready:
            return [UnrequestedReply(event.response_id)]
        elif turn is None or event.response_id != turn.reply.id:
            self.ownership.ignore(event.response_id)
        return []

    def _started_for(self, turn: Turn, event: ev.ReplyStarted) -> list[Output]:
        """A response began while a reply to the turn was due."""
        if event.response_id and event.response_id == self._ended_early:
            self._ended_early = ""
            return []
        if self.unrequested.is_active and self.unrequested.id == event.response_id:
            return []  # a repeated event
        is_judged = turn.is_requested and not self.raw
        is_reply = self.ownership.judge(event.mark) if is_judged else True
        if is_reply is None:
            return [self.ownership.hold(event)]
        if not is_reply:
            self.ownership.ignore(event.response_id)
            return []
        self._connection.reply_began()
        self.phase = ReplyPhase.REPLYING
        turn.announced = True
        turn.reply.id = event.response_id
        return self._more_arrived(turn)

    def adopt(self, response_id: str) -> fx.SetTimer:
        """Make a reply that the server began by itself the reply to the turn."""
        assert self.turn is not None
        self._connection.reply_began()
        self.turn.reply.id, self.turn.announced = response_id, True
        timer = self.expect()
        self.phase = ReplyPhase.REPLYING
        return timer

    def content(self, event: ev.Delta | ev.ChannelDone | ev.PartDone) -> Sequence[Output]:
        """The next text or audio has arrived."""
        turn = self._turn_of(event.response_id)
        if turn is None:
            self.unrequested.content(event)
            return []
        self.phase = ReplyPhase.REPLYING
        turn.reply.id = turn.reply.id or event.response_id
        out: Sequence[Output]
        if isinstance(event, ev.PartDone):
            out = self.show(turn, turn.reply.part_done(event))
        elif event.channel is Channel.AUDIO:
            out = turn.play(event, self._audio, stores_audio=self._speech.options.stores_audio)
        elif isinstance(event, ev.Delta):
            out = self.show(turn, turn.add(event))
        else:
            out = self.show(turn, turn.reply.channel_done(event))
        if self.deadline.is_running:
            out = [*self._more_arrived(turn), *out]
        return [*out, *self.cut_off(turn)] if turn.exceeded else out

    def _more_arrived(self, turn: Turn) -> list[Output]:
        """More of the reply arrived, which may be complete."""
        out: list[Output] = [*self.deadline.clear()]
        return [*out, self.deadline.called()] if turn.calls.has_complete else out

    def item_event(self, event: ev.ItemEvent) -> list[Output]:  # noqa: C901 - one case per event
        """An item began or is complete; it may be a call or a message."""
        turn = self._turn_of(event.response_id)
        if turn is None:
            self.unrequested.content(event)
        if turn is None or self._call_outputs.has(event):
            return []
        match event:
            case ev.OutputAdded(item=RemoteCall() as remote):
                turn.remote.describe(remote)
            case ev.OutputAdded(item=Message() as message):
                turn.reply.announce(message)
            case ev.OutputAdded(item=ToolCall() as call):
                turn.calls.describe(call)
            case ev.OutputAdded():
                pass
            case ev.ToolCalled(name, call_id, arguments, item_id=item_id):
                turn.calls.describe(ToolCall(name, call_id, arguments, item_id))
            case ev.OutputDone(item=RemoteCall() as remote):
                return [*self.deadline.clear(), *turn.remote.end(remote)]
            case ev.RemoteCallUpdate():
                return [*self.deadline.clear(), *turn.remote.update(event)]
            case ev.OutputDone(output_index=index, item=Message() as message):
                shown = self.show(turn, turn.reply.message_done(message, index))
                return [*self.deadline.clear(), *shown]
            case ev.OutputDone(item=item):
                turn.calls.add(item)
            case _:
                assert_never(event)
        if turn.exceeded:
            return [*self.deadline.clear(), *self.cut_off(turn)]
        return self._more_arrived(turn)

    def _turn_of(self, response_id: str, *, is_end: bool = False) -> Turn | None:
        """The turn that an event of this response belongs to; None if the event is late, or belongs
        to another response."""
        turn = self.turn
        if turn is None or not self.is_due:
            return None
        if (
            not response_id
            and self.unrequested.is_active
            and not turn.announced
            and turn.is_requested
        ):
            return None
        is_own = self.response_ids.matches(response_id, turn.reply.id, is_end=is_end)
        return turn if is_own else None

    def show(self, turn: Turn, text: str) -> Sequence[Output]:
        """Show the next text."""
        waits = turn.question.item_id in self._speech.awaiting_transcript
        return turn.show(text, self._time.now, waits=waits)

    # -------------------------------------------------------------------------------------- ending

    def ended(self, event: ev.ReplyEnded) -> list[Output]:
        """The server reported the end of a reply."""
        self._usage.add(event.usage, self._connection.model, event.response_id)
        if self.phase is ReplyPhase.ENDING:
            refused = self._call_outputs.refuse(event.items)
            if not self.response_ids.matches(event.response_id, self._ending_id, is_end=True):
                return [*refused, *self.unrequested.end(event)]
            self.response_ids.ignore(event.response_id)
            return [*refused, *self.stopped()]
        turn = self._turn_of(event.response_id, is_end=True)
        if turn is None:
            over: list[Output] = [
                *self._call_outputs.refuse(event.items),
                *self.unrequested.end(event),
            ]
            was_busy = self.turn is not None and self.turn.server_was_busy
            is_ours = was_busy and self._connection.is_ready
            return [*over, *(self.ask() if is_ours else [])]
        self.deadline.take_error()  # the end of the reply says why
        remote = (item for item in event.items if isinstance(item, RemoteCall))
        out: list[Output] = [effect for call in remote for effect in turn.remote.end(call)]
        out += turn.remote.finish()
        turn.calls.finish(event.items)
        out += self.show(turn, turn.reply.finish(event.items))
        return [*out, *self._reply_ended(turn, event)]

    def _reply_ended(self, turn: Turn, event: ev.ReplyEnded) -> list[Output]:
        wait = server_errors.limit_wait(event)
        is_first = not (turn.waited or turn.has_begun)
        if wait is not None and wait <= MAX_LIMIT_WAIT and is_first:
            return self._wait_for_limit(turn, wait)
        turn.add_usage(event.usage)
        if turn.exceeded:
            return self.cut_off(turn, event)
        are_ours = not self._policy.is_external or self._policy.handles(turn.calls.made)
        may_call = not turn.question.is_summary
        if event.status is Status.COMPLETED and turn.calls.made and are_ours and may_call:
            return [CallsRequested(event)]
        if event.status is Status.COMPLETED and turn.only_remote_calls and turn.may_call:
            return self._await_next(turn)
        are_left = event.status is Status.COMPLETED and may_call
        refused = [] if are_left else self._call_outputs.refuse(turn.calls.made)
        problem = server_errors.of_reply(event) or turn.problem
        if self._mode is Mode.CHAT and event.code == server_errors.LIMITED:
            problem = problem and replace(problem, hint="use /retry to ask it again")
        return [*refused, ReplyDone(event.status, event.reason, problem, event)]

    def _await_next(self, turn: Turn) -> list[Output]:
        """The server has called MCP tools. It may continue by itself; otherwise the next reply is
        requested."""
        self.response_ids.ignore(turn.reply.id)
        turn.continue_reply()
        return [self.expect(), self.deadline.continues()]

    def _wait_for_limit(self, turn: Turn, seconds: float) -> list[Output]:
        turn.waited = True
        self.response_ids.ignore(turn.reply.id)
        self.phase = ReplyPhase.LIMITED
        return [
            fx.ClearTimer(ev.Timer.STALL),
            fx.Show(fx.Waiting("rate limit", seconds, is_connected=True)),
            fx.SetTimer(ev.Timer.LIMIT, seconds),
        ]

    def cut_off(self, turn: Turn, ended: ev.ReplyEnded | None = None) -> list[Output]:
        """The reply exceeds a limit: end the turn and replace the session, which may have calls
        without outputs, or too much content."""
        limit = turn.exceeded
        problem = server_errors.exceeded(limit, self._policy.limits)
        self._connection.needs_new_session = True
        stopped = [*self.stop(), *self.silence()] if ended is None else []
        return [*stopped, ReplyDone(Status.INCOMPLETE, limit, problem, ended)]

    def finish(self, turn: Turn) -> list[Output]:
        """The turn, or one of its replies, is over: stop waiting, unless the server has yet to
        report the end of a stopped reply."""
        self.response_ids.ignore(turn.reply.id)
        self._ended_early = "" if turn.announced else turn.reply.id
        out = self.ownership.reject() if self.ownership.is_holding else []
        out += map(self._connection.send, self._audio.truncations)
        self._audio.truncations.clear()
        if self.phase is ReplyPhase.ENDING:
            return out
        if self.is_due:
            self.phase = ReplyPhase.IDLE
        if self.deadline.is_wordless:
            out += self.deadline.clear()
        return [*out, fx.ClearTimer(ev.Timer.STALL)]

    def heard_nothing(self) -> list[Output]:
        """The question has no words: wait only shortly for a reply that the server begins by
        itself."""
        is_pending = self.turn is not None and not self.turn.is_requested
        if not is_pending or self.phase is not ReplyPhase.ASKED or self.deadline.is_running:
            return []
        return [self.deadline.heard_nothing()]

    def reset(self) -> None:
        """No reply is pending any more."""
        self.phase = ReplyPhase.IDLE

    def session_closed(self) -> None:
        """The responses of another session may have the same ids."""
        self.reset()
        self.ownership.reset()
        self._usage.forget_responses()

    # ------------------------------------------------------------------------------------ stopping

    def stop(self) -> list[Output]:
        """Cancel the reply. No other reply may be requested until the server reports its end."""
        assert self.turn is not None
        if held := self.ownership.release():
            self.turn.reply.id, self.phase = self.ownership.held_id, ReplyPhase.REPLYING
            self.response_ids.ignore(self.turn.reply.id)
        self._ending_id, self._ending_calls = self.turn.reply.id, tuple(self.turn.calls.made)
        # Servers ignore a cancel before the reply exists, so it waits for the reply's id.
        self._is_cancel_due = self.phase is ReplyPhase.ASKED
        self.phase = ReplyPhase.ENDING
        cancel = () if self._is_cancel_due else (self._connection.send(fx.Cancel(self._ending_id)),)
        return [*cancel, self.deadline.cancelled(), *([HeldEvents(held)] if held else [])]

    def silence(self, *, by_speech: bool = False) -> list[Output]:
        """Stop playback, and play no more of the current reply."""
        stopped = self._audio.silence(by_speech=by_speech)
        if stopped and self.turn is not None and self.phase is ReplyPhase.REPLYING:
            self.turn.is_silenced = True
        return [*stopped]

    def stopped(self) -> list[Output]:
        """The stopped reply is over."""
        self._connection.commands.accepted(fx.Cancel)
        self.phase = ReplyPhase.IDLE
        refused = self._call_outputs.refuse(self._ending_calls)
        timers = [fx.ClearTimer(ev.Timer.STALL), *self.deadline.clear()]
        return [*refused, *timers, ReplyStopped()]

    def expired(self, timer: ev.Timer) -> list[Output]:
        """The server did not end the reply in time, or nothing of it arrived. The question is not
        asked again, because each response has a price; `/retry` does that."""
        if self.phase is ReplyPhase.ENDING and timer is ev.Timer.OVERDUE:
            self._connection.needs_new_session = True  # the server may still be generating it
            self.response_ids.ignore(self._ending_id)
            return self.stopped()
        asks, self.deadline.asks = self.deadline.asks, False
        ends, self.deadline.ends = self.deadline.ends, False
        is_wordless, self.deadline.is_wordless = self.deadline.is_wordless, False
        problem = self.deadline.take_error()
        if is_wordless and self.phase is ReplyPhase.ASKED:
            return [ReplyDone(Status.CANCELLED, "no_words", None)]
        if asks and self.turn is not None and self.phase is ReplyPhase.ASKED:
            return self.ask()
        if ends and self.turn is not None and self.is_due:
            return self.ended(ev.ReplyEnded(self.turn.reply.id, Status.COMPLETED))
        if self.turn is None or not self.is_due or (problem is None and timer is ev.Timer.OVERDUE):
            return []
        self._connection.needs_new_session = True  # the server may be gone, or still generating
        if problem is not None:
            return [ReplyDone(Status.FAILED, "", problem)]
        problem = server_errors.no_response(self._timeouts.reply)
        status = Status.INCOMPLETE if self.turn.has_begun else Status.FAILED
        return [ReplyDone(status, "timed_out", problem)]

    def overtaken(self) -> None:
        """The server replies to new speech of the user: it reports nothing more about a stopped
        reply, and refuses a reply requested at the same time."""
        if self.phase is ReplyPhase.ENDING:
            self.response_ids.ignore(self._ending_id)
            self._is_cancel_due = False
            self._connection.commands.accepted(fx.Cancel)
        self._connection.commands.accepted(fx.CreateResponse)
