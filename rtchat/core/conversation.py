"""A conversation: events in, effects out, no I/O and no clock.

`Conversation` passes each event to the unit that handles it, and the signals of each unit to the
others. The units are `connection`, `replies`, `reply_errors`, `tool_loop`, `turns`,
`question_queue`, `attachments`, `branches`, `spoken_turns`, `raw`, `compaction` and
`shell_commands`; a unit calls only those before it in this list.

The course of a turn: `UserSaid` → `QuestionQueue.say` → `Turns.ask` → Send(AddItem) and
Send(CreateResponse) → `ReplyStarted` → `Delta`… → `ReplyEnded` → `Turns.end` → the next question.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices, server_errors
from rtchat.core import signals as sg
from rtchat.core.attachments import Attachments, holds_files
from rtchat.core.backoff import Timeouts
from rtchat.core.branches import Branches
from rtchat.core.compaction import Compaction
from rtchat.core.context import ContextLimits
from rtchat.core.errors import CHECK_KEY, ExitCode, Problem
from rtchat.core.mode import Mode
from rtchat.core.pricing import Budget
from rtchat.core.question_queue import QuestionQueue
from rtchat.core.raw import RawEvents
from rtchat.core.remote_tools import ToolListings
from rtchat.core.replies import Replies, ReplyPhase
from rtchat.core.reply_errors import ReplyErrors
from rtchat.core.shared import SharedState
from rtchat.core.shell_commands import ShellCommands
from rtchat.core.signals import Output, clear_timers, notice
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.spoken_turns import SpokenTurns
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.tool_loop import ToolLoop
from rtchat.core.turns import Turns
from rtchat.core.values import (
    Channel,
    Dialect,
    Item,
    Options,
    OtherItem,
    StoredConversation,
)


class Conversation:
    """One conversation. `handle` is its only method; the properties are for completion."""

    def __init__(
        self,
        model: str,
        options: Options,
        *,
        mode: Mode = Mode.CHAT,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - a frozen value
        stored: StoredConversation | None = None,
        tool_policy: ToolPolicy | None = None,
        response: Options = Options(),  # noqa: B008 - a frozen value
        budget: Budget = Budget(),  # noqa: B008 - a frozen value
        speech: SpeechOptions = SpeechOptions(),  # noqa: B008 - a frozen value
        key_hint: str = CHECK_KEY,
        context: ContextLimits = ContextLimits(),  # noqa: B008 - a frozen value
    ) -> None:
        """`stored` is a saved conversation to continue, with its own instructions if `options` has
        none. `response` has the options of each response. `key_hint` is the hint if the server
        refuses the key."""
        shared = SharedState(
            model,
            options,
            mode=mode,
            timeouts=timeouts,
            stored=stored,
            tool_policy=tool_policy,
            response=response,
            budget=budget,
            speech=speech,
            key_hint=key_hint,
            context=context,
        )
        self._shared = shared
        self._time = shared.time
        self._connection = shared.connection
        self._replies = Replies(shared)
        self._reply_errors = ReplyErrors(self._replies)
        self._tool_loop = ToolLoop(shared, self._replies)
        self._turns = Turns(shared, self._replies, self._tool_loop)
        self._queue = QuestionQueue(shared, self._tool_loop, self._turns)
        self._attachments = Attachments(shared)
        self._branches = Branches(
            shared, self._replies, self._turns, self._queue, self._attachments
        )
        self._spoken = SpokenTurns(
            shared, self._replies, self._turns, self._queue, self._attachments
        )
        self._raw = RawEvents(shared, self._replies, self._turns, self._queue)
        self._compaction = Compaction(shared, self._queue)
        self._commands = ShellCommands(shared, self._turns, self._spoken, stored)
        self._listings = ToolListings()
        self._is_stopped = False

    @property
    def last_replies(self) -> tuple[str, str]:
        """The reply that streams and the last complete one, without the model's thoughts. Either
        may be empty. The first that has code blocks is the one whose blocks /copy copies."""
        return self._turns.answer_so_far, self._shared.log.last_reply or ""

    @property
    def attached(self) -> tuple[str, ...]:
        """The names of the attached files, in the order of their numbers."""
        return self._attachments.names

    def handle(self, event: ev.Event, now: float = 0.0) -> list[fx.Effect]:
        """Return the effects of an event. `now` is in seconds of a monotonic clock."""
        self._time.now = now
        effects: list[fx.Effect] = []
        if self._is_stopped:
            return effects
        if self._raw.unanswered:
            self._collect(self._raw.confirm(event), effects)
        if not isinstance(event, ev.Delta):  # the most frequent event
            self._connection.items.handle(event)
        held = self._replies.ownership.receive(event)
        self._collect(self._route(event) if held is None else held, effects)
        self._collect(self._spoken.show_changes(), effects)
        return effects

    def _collect(self, outputs: Iterable[Output], effects: list[fx.Effect]) -> None:
        """Add the effects, in order; a signal is replaced by the outputs of the units that handle
        it. Nothing is added after `Stop`."""
        for output in outputs:
            if self._is_stopped:
                return
            if isinstance(output, sg.SignalBase):
                self._collect(self._pass_on(output), effects)
            else:
                effects.append(output)
                if isinstance(output, fx.Record | fx.StartRecord | fx.MoveTo | fx.Fork):
                    self._commands.note(output)
                elif isinstance(output, fx.Stop):
                    self._is_stopped = True

    def _route(self, event: ev.Event) -> Iterable[Output]:  # noqa: C901 - one case per event
        match event:
            case ev.Delta() if event.channel is not Channel.INPUT_TRANSCRIPT:  # the most frequent
                return self._replies.content(event)
            case ev.Delta():
                return self._spoken.transcript_grew(event)
            case ev.ChannelDone(Channel.INPUT_TRANSCRIPT):
                return self._spoken.transcript_done(event)
            case ev.ChannelDone() | ev.PartDone():
                return self._replies.content(event)
            case ev.AudioCaptured(audio):
                return self._spoken.captured(audio)
            case ev.Started():
                return [*self._spoken.begin(), *self._connection.handle(event)]
            case ev.SessionCreated(dialect=Dialect.TRANSLATION):
                return self._connection.close(server_errors.only_translation(), ev.Retry.NEVER)
            case (
                ev.ConnectionOpened()
                | ev.SessionCreated()
                | ev.SessionUpdated()
                | ev.ConnectionLost()
            ):
                return self._connection.handle(event)
            case ev.ServerProblem():
                return self._problem(event)
            case ev.ServerWarning(message):
                return [self._connection.server_reports(message, "warning")]
            case ev.ReplyStarted():
                return self._replies.started(event)
            case ev.ReplyEnded(items=items):
                return [*self._note_reasoning(items), *self._replies.ended(event)]
            case ev.OutputDone(item=OtherItem() as item):
                return [*self._note_reasoning((item,)), *self._replies.item_event(event)]
            case ev.OutputAdded() | ev.OutputDone() | ev.ToolCalled() | ev.RemoteCallUpdate():
                return self._replies.item_event(event)
            case ev.ToolListing():
                return self._listings.handle(event)
            case ev.TimerFired(timer):
                return self._timer(timer)
            case ev.UserSaid(text):
                return self._branches.say(text)
            case ev.QueuedTakenBack():
                return self._take_back()
            case ev.AudioSaid(audio, text):
                return self._queue.say(
                    self._shared.log.enter(text, self._attachments.take(), audio)
                )
            case ev.RetryAsked():
                return self._retry(event)
            case ev.EditAsked(turn):
                return self._branches.edit(turn)
            case ev.UndoAsked(count):
                return self._branches.undo(count)
            case ev.ForkAsked(turn):
                return self._branches.fork(turn)
            case ev.CompactAsked(instructions):
                return self._compaction.ask(instructions)
            case ev.InputEnded(problem):
                return self._queue.end_input(problem)
            case ev.CancelPressed():
                return self._cancel()
            case ev.LeaveAsked(exit_code):
                return self._leave(exit_code)
            case ev.ToolAnswered(answer):
                return self._tool_loop.update(lambda calls: calls.answer(answer))
            case ev.ToolFinished(call_id, output):
                return self._tool_loop.update(lambda calls: calls.finish(call_id, output))
            case ev.MicrophoneToggled():
                return self._spoken.toggle_microphone()
            case ev.MicrophoneOpened(name):
                return self._spoken.microphone_opened(name)
            case ev.MicrophoneLost(problem):
                return self._spoken.lose_microphone(problem)
            case ev.MicrophoneFound():
                return self._spoken.microphone_found()
            case ev.PlaybackCut():
                return self._spoken.playback_cut(event)
            case ev.PlaybackAdvanced():
                self._shared.audio.advance(event)
                return []
            case ev.PlaybackEnded():
                self._shared.audio.end()
                return []
            case ev.SpeakerLost(problem, cut):
                return self._spoken.lose_speaker(problem, cut)
            case ev.SpeechStarted(_, start_ms):
                return self._spoken.started(start_ms)
            case ev.SpeechStopped(_, end_ms):
                self._shared.speech.stopped(end_ms)
                return []
            case ev.AudioCommitted(item_id):
                return self._spoken.committed(item_id)
            case ev.TranscriptionFailed():
                return self._spoken.transcription_failed(event)
            case ev.Attached():
                return self._attachments.attach(event)
            case ev.AttachmentsAsked():
                return [notice("info", self._attachments.describe())]
            case ev.DetachAsked(number):
                return self._attachments.detach(number)
            case ev.EntryAbandoned():
                return self._abandon_entry()
            case ev.DraftAbandoned():
                return self._branches.abandon()
            case ev.SystemSet(instructions):
                self._shared.options.instruct(instructions)
                return [notices.INSTRUCTIONS_SET, *self._connection.configure()]
            case ev.OptionSet():
                return self._set_option(event)
            case ev.OptionsAsked():
                return [notice("info", self._shared.options.describe())]
            case ev.RawSaid():
                return self._raw.send(event)
            case ev.ModelSet(model):
                return self._change_model(model)
            case ev.NewConversationAsked():
                return self._start_over()
            case ev.ResumeAsked(number):
                return self._load_conversation(number)
            case ev.ConversationLoaded(stored):
                return self._resume(stored)
            case ev.NameSet(name):
                return [fx.NameConversation(name)]
            case ev.ToolsAsked():
                return [notice("info", self._shared.tool_policy.describe())]
            case ev.UsageAsked():
                return [fx.Show(self._shared.usage.totals(self._time.now))]
            case ev.CopyAsked(block):
                return self._copy(block)
            case (
                ev.StatusAsked()
                | ev.HistoryAsked()
                | ev.ExportAsked()
                | ev.SaveAsked()
                | ev.TraceAsked()
                | ev.EventsAsked()
                | ev.VoiceAsked()
                | ev.ReasoningAsked()
                | ev.ThemeAsked()
            ):
                return self._commands.handle(event)
            case ev.LocalNotice(text, is_error, hint):
                return [fx.Show(fx.Notice("error" if is_error else "info", text, hint))]
            case ev.RateLimits(limits):
                self._shared.usage.limit(limits, self._time.now)
                return []
            case ev.Unknown(kind, why):
                return [notices.ignored_event(kind, why)]
            case ev.ItemAdded(item) if holds_files(item):
                return []
            case ev.ItemAdded(item):
                return self._replies.ownership.confirmed(item)
            case ev.ItemDeleted(item_id):
                return self._branches.deleted(item_id)
            case (
                ev.ItemDone()
                | ev.ItemRetrieved()
                | ev.ItemTruncated()
                | ev.PartAdded()
                | ev.AudioCleared()
                | ev.SegmentTranscribed()
                | ev.SessionEnded()
                | ev.Other()
            ):
                return []
            case _:
                assert_never(event)

    def _pass_on(self, signal: sg.Signal) -> Iterable[Output]:  # noqa: C901 - one case per signal
        match signal:
            case sg.SessionReady(model, seconds):
                return self._session_ready(model, seconds)
            case sg.SessionClosed():
                return self._session_closed()
            case sg.SessionLost(problem, will_retry):
                return self._session_lost(problem, will_retry=will_retry)
            case sg.SessionUnusable(problem):
                return [*clear_timers(), *self._give_up(problem)]
            case sg.HeldEvents(events):
                return self._held(events)
            case sg.RenewalDue() | sg.ReplyStopped():
                return self._queue.next()
            case sg.UnrequestedReply(response_id) if self._shared.speech.has_stopped:
                return self._reply_to_speech(response_id)
            case sg.UnrequestedReply(response_id):
                return self._raw.unrequested_reply(response_id)
            case sg.CallsRequested(ended):
                return self._tool_loop.start(ended)
            case sg.ReplyDone(status, reason, problem, ended):
                return self._turns.end(status, reason, problem, ended)
            case sg.TurnDone(problem, asks_next):
                return self._turn_ended(problem, asks_next=asks_next)
            case sg.SummaryDone(over):
                return self._compaction.end(over)
            case sg.BudgetSpent(problem, ends_turn):
                return self._spoken.lose_microphone(problem, ends_turn=ends_turn, is_gone=False)
            case _:
                assert_never(signal)

    # ------------------------------------------------------------ what involves more than one unit

    def _session_ready(self, model: str, seconds: float) -> Iterable[Output]:
        session = self._connection.session
        replay = self._shared.context.replay()
        context = self._shared.context.estimate(replay)
        yield fx.Show(fx.Ready(model, seconds, replay.turns, session=session, context=context))
        yield from self._shared.context.describe(replay)
        yield from self._turns.session_ready(replay.items)
        yield from self._spoken.session_ready()
        yield from self._queue.session_ready()

    def _held(self, events: Iterable[ev.Event]) -> Iterable[Output]:
        """Handle the held events of a session, until one of them closes it."""
        was_open = self._connection.has_session
        for event in events:
            if self._connection.has_session or not was_open:
                yield from self._route(event)

    def _reply_to_speech(self, response_id: str) -> Iterable[Output]:
        """The server replies to speech, although it did not say that the turn is over."""
        yield from self._spoken.committed("")
        yield from self._replies.started(ev.ReplyStarted(response_id))

    def _session_closed(self) -> Iterable[Output]:
        yield from self._spoken.session_closed()
        self._attachments.session_closed()
        self._turns.session_closed()
        self._queue.session_closed()
        self._raw.session_closed()
        self._listings.session_closed()
        yield from clear_timers()

    def _session_lost(self, problem: Problem, *, will_retry: bool) -> Iterable[Output]:
        yield from self._replies.ownership.accept()
        turn = self._turns.current
        yield from self._spoken.session_closed()
        yield from self._turns.session_lost(problem)
        is_shown = turn is not None and self._turns.current is None
        yield from self._queue.session_lost()
        if not will_retry:
            yield from self._give_up(problem, is_shown=is_shown)

    def _give_up(self, problem: Problem, *, is_shown: bool = False) -> Iterable[Output]:
        """No session can be opened; `is_shown` is whether a reply just ended with this problem."""
        yield fx.Disconnect()
        yield from self._spoken.fail()
        yield from self._queue.fail(problem, is_shown=is_shown)
        yield fx.Show(fx.NotConnected())

    def _turn_ended(self, problem: Problem | None, *, asks_next: bool) -> Iterable[Output]:
        yield from self._queue.turn_ended(problem)
        if asks_next:
            yield from self._spoken.end_echo()
        if asks_next and self._turns.is_idle:
            yield from self._queue.next()

    def _cancel(self) -> Iterable[Output]:
        is_over = self._replies.ownership.holds_end
        yield from self._replies.ownership.accept()
        if is_over:
            return
        if self._turns.can_be_stopped:
            yield from self._turns.cancel()
        else:
            yield from self._replies.silence()
            yield from self._spoken.drop() or self._queue.drop()

    def _take_back(self) -> Iterable[Output]:
        question, outputs = self._queue.take_back()
        yield from outputs
        if question is not None:
            yield from self._attachments.put_back(question.attached)
            yield fx.Show(fx.Draft(question.text))

    def _abandon_entry(self) -> Iterable[Output]:
        yield from self._attachments.forget()
        yield from self._branches.abandon()

    def _leave(self, exit_code: ExitCode) -> Iterable[Output]:
        yield from self._replies.ownership.accept()
        yield from self._turns.leave_playback()
        yield from self._queue.leave(exit_code)

    def _problem(self, error: ev.ServerProblem) -> Iterable[Output]:
        command = self._connection.commands.refused(error.event_id)
        self._connection.items.refused(command)
        reported = self._connection.server_reports(error.message, "detail")
        match command:
            case fx.Configure():
                return self._connection.settings_refused(error)
            case fx.CreateResponse() | fx.Raw() if self._reply_errors.concerns(command):
                return self._reply_errors.refused(error)
            case fx.Cancel():
                return self._replies.stopped()
            case fx.AddItem() | fx.CommitAudio() if self._reply_errors.concerns(command):
                return self._turns.question_refused(error)
            case fx.Raw(fields):
                return self._raw.refused(fields, error)
            case fx.Truncate():
                return [reported]
            case fx.Delete() if self._connection.items.is_deleting:
                return [reported, *self._branches.not_deleted()]
            case fx.Delete():  # a new session does not have the item
                return [reported, *self._connection.renew()]
            case _ if error.code == server_errors.NO_AUDIO_SUPPORT and self._spoken.sends_audio:
                self._connection.last_error = error
                problem = server_errors.of_error(error)
                return self._spoken.lose_microphone(problem, ends_turn=False)
            case _:
                is_known = command is not None
                is_own = is_known or self._connection.commands.were_sent(error.event_id)
                out = [] if is_own else self._reply_errors.reported(error)
                return [*out, *self._connection.report(error, is_known=is_known, waits=bool(out))]

    def _timer(self, timer: ev.Timer) -> Iterable[Output]:  # noqa: C901 - one case per timer
        match timer:
            case ev.Timer.START:
                return self._connection.start_timed_out()
            case ev.Timer.OWNER:
                return self._replies.ownership.accept()
            case ev.Timer.SETUP:
                return self._connection.setup_is_late()
            case ev.Timer.RETRY:
                return self._connection.retry()
            case ev.Timer.RENEW:
                return self._connection.renew()
            case ev.Timer.STALL | ev.Timer.OVERDUE:
                return self._replies.ownership.accept() or self._replies.expired(timer)
            case ev.Timer.LIMIT:
                is_waiting = self._replies.phase is ReplyPhase.LIMITED
                return self._replies.ask() if is_waiting else []
            case ev.Timer.SAVE:
                return self._turns.save()
            case ev.Timer.TRANSCRIPT:
                return self._queue.transcript_did_not_come()
            case ev.Timer.DELETE:
                return self._branches.not_deleted()
            case ev.Timer.INPUT:
                return self._queue.turn_did_not_come()
            case ev.Timer.MICROPHONE:
                return self._spoken.close_microphone()
            case _:
                assert_never(timer)

    # ------------------------------------------------------------------------ what the user changes

    def _set_option(self, option: ev.OptionSet) -> Iterable[Output]:
        name = option.key if option.scope == "session" else f"{option.scope}.{option.key}"
        is_removal = option.change is None
        if is_removal and not self._shared.options.is_set(option):
            return [notices.option_not_set(name)]
        self._shared.options.change(option)
        shown = (notices.option_removed if is_removal else notices.option_set)(name)
        if option.scope != "session":
            return [shown]
        if is_removal:  # a session cannot reset a setting; a new session does not have it
            return [shown, *self._connection.renew()]
        return [shown, *self._connection.configure()]

    def _change_model(self, model: str) -> Iterable[Output]:
        turn = self._turns.current
        if turn is not None and turn.has_begun:
            yield from self._replies.silence()
            yield from self._turns.drop()
        self._connection.model = model
        yield notices.model_set(model)
        if self._shared.usage.price_unknown(model):
            yield notices.price_unknown(model)
        yield from self._connection.connect()

    def _retry(self, retry: ev.RetryAsked) -> Iterable[Output]:
        if (refused := self._branches.refuse_retry()) is not None:
            yield refused
            return
        if retry.model:
            yield from self._change_model(retry.model)
        yield from self._branches.retry(retry.instructions)

    def _copy(self, block: int) -> Iterable[Output]:
        so_far, reply = self.last_replies
        if not reply and not (block and so_far):
            return [notices.NOTHING_TO_COPY]
        return [fx.Show(fx.Copy(reply, block, so_far if block else ""))]

    def _note_reasoning(self, items: Iterable[Item]) -> Iterable[Output]:
        turn = self._turns.current
        return self._commands.reply_contains(None if turn is None else turn.question, items)

    def _start_over(self) -> Iterable[Output]:
        yield from self._turns.leave_playback()
        yield from self._replies.silence()
        yield from self._queue.drop()  # these questions belong to the previous conversation
        yield from self._abandon_entry()
        self._shared.log.restart()
        self._shared.context.restart()
        yield fx.StartRecord()
        yield notices.CONVERSATION_STARTED
        yield from self._connection.connect()

    def _load_conversation(self, number: int | str | None) -> Iterable[Output]:
        if self._queue.is_empty:
            return [fx.LoadConversation(number)]
        return [notices.CANNOT_RESUME]

    def _resume(self, stored: StoredConversation) -> Iterable[Output]:
        yield from self._turns.leave_playback()
        yield from self._replies.silence()
        yield from self._abandon_entry()
        self._shared.log.restart(stored)
        self._commands.restart(stored)
        self._shared.context.restart()
        if self._shared.log.instructions:
            self._shared.options.instruct(self._shared.log.instructions)
        yield fx.Show(fx.Resumed(stored))
        yield from self._connection.connect()
