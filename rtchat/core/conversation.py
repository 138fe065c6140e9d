"""The machine: every event in, every effect out, no I/O, no clock of its own.

One object holds the whole state of a conversation: the connection's phase, the questions that wait,
and the one that is being answered.

How a turn flows: `UserSaid` → queue → `_ask` → Send(AddItem), Send(Reply) → `ReplyStarted` →
`Delta`… → `ReplyEnded` → `_over` → the next in the queue. Every event that can cut this short is
one case below.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import assert_never

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import server_errors
from rtchat.core.attachments import Attachments
from rtchat.core.audio_state import (
    SHORTEST_MS,
    TAIL_MS,
    EchoDetector,
    FormatError,
    Speech,
    SpeechOptions,
)
from rtchat.core.backoff import LONGEST_LIMIT_WAIT, Timeouts, backoff
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.log import ConversationLog, Question, add
from rtchat.core.options import SessionOptions
from rtchat.core.pricing import Budget
from rtchat.core.tool_calls import STOPPED, UNAVAILABLE, ToolCallBatch, ToolPolicy
from rtchat.core.turn import Turn
from rtchat.core.usage import UsageMeter
from rtchat.core.values import (
    BYTES_A_MS,
    Approval,
    Channel,
    Item,
    JsonObject,
    Message,
    Options,
    Status,
    StoredConversation,
    ToolCall,
    ToolOutput,
)

RENEW_BEFORE = 60.0
"""Seconds before the end of a session (OpenAI's last 60 minutes) at which a new one is made."""
LAST_TURN = 5.0
"""Seconds that the end of the program waits for a turn of what a lost microphone heard."""
RAW = 20
"""How many events sent by /raw are remembered until the server answers them."""
UNASKED = 100
"""How many replies an event sent by /raw may cause, for example by making the server listen."""
UNANSWERED = 1000
"""How many commands are remembered in case the server refuses them."""
ERRORS = 1000
"""How many harmless errors a server may report between two turns."""
WORDS_LOST = 3.0
"""Seconds that the end of the program waits for what the user said to be written down."""


class Mode(StrEnum):
    """Who is talking, which decides what a failure means."""

    ONCE = "once"
    """One question: its end is the program's."""
    LINES = "lines"
    """A pipe, each line a question: go on, and say 1 at the end if a reply failed."""
    CHAT = "chat"
    """A person: once a session has worked, nothing but leaving ends the program."""


class Phase(StrEnum):
    """Where the connection and the current reply are."""

    DOWN = "down"
    """No connection, and none on the way."""
    CONNECTING = "connecting"
    CONFIGURING = "configuring"
    RETRYING = "retrying"
    """A timer runs; then CONNECTING."""
    READY = "ready"
    ASKED = "asked"
    """The reply was asked for and has not begun."""
    REPLYING = "replying"
    LIMITED = "limited"
    """A rate limit's wait; then ASKED again."""
    CALLING = "calling"
    """The reply was calls, and some have no answer yet; then ASKED again."""
    ENDING = "ending"
    """The user stopped the reply; the server has not said that it is over."""
    STOPPED = "stopped"


_REPLY_DUE = (Phase.REPLYING, Phase.ASKED)
_CUT_SHORT = (Phase.REPLYING, Phase.ASKED, Phase.CALLING, Phase.LIMITED)
_NO_SESSION = (Phase.DOWN, Phase.CONNECTING, Phase.RETRYING)


class Conversation:
    """One conversation. `handle` is the whole interface."""

    def __init__(
        self,
        model: str,
        options: Options,
        *,
        mode: Mode = Mode.CHAT,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - a frozen value
        past: StoredConversation | None = None,
        tool_policy: ToolPolicy | None = None,
        response: Options = Options(),  # noqa: B008 - a frozen value
        budget: Budget = Budget(),  # noqa: B008 - a frozen value
        speech: SpeechOptions = SpeechOptions(),  # noqa: B008 - a frozen value
    ) -> None:
        """`past` is a kept conversation to go on with, under its own instructions if `options` has
        none. `response` is what every reply is asked to be besides."""
        self._model = model
        self._speech = Speech(speech)
        self._echo = EchoDetector()
        self._is_cut_by_speech = False
        """Whether speech into the microphone cut short the last reply."""
        self._late_transcripts: list[fx.UserTranscript] = []
        """What was written down while the text of a reply was shown."""
        self._log = ConversationLog(past, stores_audio=speech.stores_audio)
        if options.instructions is None:
            options = replace(options, instructions=self._log.instructions)
        self._options = SessionOptions(options, response)
        self._usage = UsageMeter(budget)
        self._policy = tool_policy or ToolPolicy()
        self._mode = mode
        self._timeouts = timeouts
        self._phase = Phase.DOWN
        self._queue: deque[Question] = deque()
        self._attachments = Attachments()
        self._turn: Turn | None = None
        self._input_ended = False
        self._is_winding_down = False
        """The microphone is gone, and the server may still make a turn of what it heard."""
        self._exit = ExitCode.OK
        self._attempt = 0
        self._ever_connected = False
        self._connect_began = 0.0
        self._connect_seconds: float | None = None
        self._unanswered: dict[str, fx.Command] = {}
        self._sent = 0
        self._last_error: ev.ServerProblem | None = None
        self._errors = 0
        """How many harmless errors came since the last turn."""
        self._ending_id = ""
        self._stale_response_ids: deque[str] = deque(maxlen=8)
        """The last responses that are over, or not ours; their events may still come."""
        self._cancel_owed = False
        self._ending_until = 0.0
        self._open_calls: tuple[ToolCall | Approval, ...] = ()
        """Calls of the last reply to unavailable tools: the user may answer them by /raw."""
        self._refused = 0
        """How many calls of this session were refused because they came too late."""
        self._seen_calls: set[str] = set()
        """The ids of this session's calls that have an output or will get one."""
        self._raw: deque[ev.RawSaid] = deque(maxlen=RAW)
        """The user's own events that the server has not answered."""
        self._raw_reply: JsonObject | None = None
        """The user's event that asked for the reply that is due, if one did."""
        self._unasked_left = 0
        """How many unrequested replies they may still cause."""
        self._renewal_due = False
        self._is_spoiled = False
        """Whether this session can take no more questions: it has calls without outputs, or more
        content than the limits allow."""
        self._now = 0.0
        self._out: list[fx.Effect] = []

    def handle(self, event: ev.Event, now: float = 0.0) -> list[fx.Effect]:
        """What to do about an event. `now` is seconds on a clock that only goes forward."""
        self._now = now
        self._out = []
        if self._phase is Phase.ENDING and now > self._ending_until:
            self._silent("the server did not end the reply that was stopped", ev.Retry.ALWAYS)
        if self._raw:
            self._confirm_raw(event)
        if self._phase is not Phase.STOPPED:
            self._dispatch(event)
        return self._out

    def _dispatch(self, event: ev.Event) -> None:  # noqa: C901 - one case an event is the point
        match event:
            case ev.Delta() | ev.ChannelDone() | ev.PartDone():  # first, as nearly all events are
                self._text(event)
            case ev.AudioCaptured(audio):
                self._captured(audio)
            case ev.Started():
                if self._speech.options.has_microphone:
                    self._show_microphone()
                self._connect()
            case ev.UserSaid(text):
                self._say(self._enter(text))
            case ev.AudioSaid(audio, text):
                self._say(self._enter(text, audio))
            case ev.MicrophoneToggled():
                self._toggle_microphone()
            case ev.MicrophoneLost(problem):
                self._lose_microphone(problem)
            case ev.PlaybackCut():
                self._cut_playback(event)
            case ev.Attached():
                self._attach(event)
            case ev.AttachmentsAsked():
                self._notice("info", self._attachments.describe())
            case ev.DetachAsked(number):
                self._detach(number)
            case ev.EntryAbandoned():
                self._forget_attachments()
            case ev.InputEnded(problem):
                self._input_ended = True
                if problem is not None:
                    self._exit = problem.exit
                    self._notice("error", str(problem))
                self._next()
            case ev.CancelPressed():
                self._cancel()
            case ev.LeaveAsked(exit_code):
                self._leave(exit_code)
            case ev.SystemSet(instructions):
                self._set_instructions(instructions)
            case ev.OptionSet():
                self._set_option(event)
            case ev.OptionsAsked():
                self._notice("info", self._options.describe())
            case ev.RawSaid():
                self._send_raw(event)
            case ev.ModelSet(model):
                self._change_model(model)
            case ev.NewConversationAsked():
                self._start_over()
            case ev.ResumeAsked(number):
                self._recall(number)
            case ev.ConversationLoaded(kept):
                self._resume(kept)
            case ev.RetryAsked():
                self._ask_again()
            case ev.ToolsAsked():
                self._notice("info", self._policy.describe())
            case ev.ToolAnswered(answer):
                self._go_on(lambda calls: calls.answer(answer))
            case ev.ToolFinished(call_id, output):
                self._go_on(lambda calls: calls.finish(call_id, output))
            case ev.UsageAsked():
                self._show(self._usage.totals(self._now))
            case ev.CopyAsked(block):
                self._copy(block)
            case ev.LocalNotice(text, is_error):
                self._notice("error" if is_error else "info", text)
            case ev.ConnectionOpened():
                self._do(fx.SetTimer(ev.Timer.START, self._timeouts.start))
            case ev.ConnectionLost():
                self._lost(event)
            case ev.TimerFired(timer):
                self._timer(timer)
            case ev.SessionCreated(seconds_left=seconds):
                self._speech.agree(event)
                self._created(seconds)
            case ev.SessionUpdated(model=model):
                self._speech.agree(event)
                if self._has_session and (problem := self._speech.wrong_format()):
                    self._clear_timers()
                    self._give_up(problem)
                else:
                    self._configured(model)
            case ev.ServerProblem():
                self._problem(event)
            case ev.ReplyStarted():
                self._started(event)
            case ev.ReplyEnded():
                self._ended(event)
            case ev.OutputDone(response_id, item=item):
                self._called(response_id, item)
            case ev.SpeechStarted(_, start_ms):
                self._speak(start_ms)
            case ev.SpeechStopped(_, end_ms):
                self._speech.stopped(end_ms)
            case ev.AudioCommitted(item_id):
                self._committed(item_id)
            case ev.TranscriptionFailed(item_id, message):
                self._notice("warning", f"what was said could not be written down: {message}")
                self._heard(item_id, "", is_known=False)
            case ev.RateLimits(limits):
                self._usage.limit(limits, self._now)
            case ev.Unknown(kind, why):
                self._notice("detail", f"passed over {kind or 'a frame'}: {why}")
            case (
                ev.ItemAdded()
                | ev.ItemDone()
                | ev.ItemRetrieved()
                | ev.ItemDeleted()
                | ev.ItemTruncated()
                | ev.OutputAdded()
                | ev.PartAdded()
                | ev.ToolCalled()
                | ev.AudioCleared()
                | ev.Other()
            ):
                pass
            case _:
                assert_never(event)

    # ------------------------------------------------------------------------------- the connection

    def _connect(self) -> None:
        self._close_speech()
        self._attachments.begin_session()
        asked = None if self._turn is None else self._turn.question
        for question in filter(None, (asked, self._log.last, *self._queue)):
            question.forget_session()
        self._phase = Phase.CONNECTING
        self._connect_began = self._now
        self._last_error = None
        self._renewal_due = self._is_spoiled = False
        self._stale_response_ids.clear()
        self._unanswered.clear()
        self._open_calls, self._refused = (), 0
        self._seen_calls.clear()
        self._raw.clear()
        self._unasked_left = 0
        self._clear_timers()
        self._show(fx.Connecting(self._model))
        self._do(fx.Connect(self._model))

    def _created(self, seconds_left: float | None) -> None:
        if self._phase is not Phase.CONNECTING:
            return
        self._phase = Phase.CONFIGURING
        self._send(fx.Configure(self._options.session))
        if seconds_left is not None and seconds_left > 2 * RENEW_BEFORE:
            self._do(fx.SetTimer(ev.Timer.RENEW, seconds_left - RENEW_BEFORE))

    def _configured(self, model: str) -> None:
        outstanding = [
            (key, sent) for key, sent in self._unanswered.items() if isinstance(sent, fx.Configure)
        ]
        if outstanding:
            key, taken = outstanding[0]
            del self._unanswered[key]
            self._options.took(taken.options)
        if self._phase is not Phase.CONFIGURING or len(outstanding) > 1:
            return
        self._do(fx.ClearTimer(ev.Timer.START))
        self._connect_seconds = self._now - self._connect_began
        self._ever_connected = True
        self._phase = Phase.READY
        self._show(fx.Ready(model or self._model, self._connect_seconds, self._log.turns))
        for item in self._log.told():
            for command in self._telling(item):
                self._send(command)
        if self._speech.holds:
            self._tell_attached()
        for audio in self._speech.opened():
            self._send(audio)
        if self._is_winding_down:
            self._do(fx.SetTimer(ev.Timer.INPUT, LAST_TURN))
        self._next()

    def _telling(self, item: Item) -> Iterable[fx.Command]:
        """What tells a new session of an item; a recording that is to be answered is to be written
        down as well."""
        question = None if self._turn is None else self._turn.question
        if question is None or item is not question.item:
            return add(item)
        return question.telling(listens=self._speech.listens)

    def _lost(self, lost: ev.ConnectionLost) -> None:
        if self._phase in (Phase.DOWN, Phase.RETRYING):
            return
        self._clear_timers()
        self._close_speech()
        self._phase = Phase.DOWN
        problem, retry = self._explain(lost)
        turn = self._turn
        in_session = turn is not None and (turn.has_begun or turn.question.raw == {})
        if in_session:
            self._over(Status.INCOMPLETE, "connection_lost", problem, next_question=False)
        if self._phase is Phase.STOPPED:
            return
        if self._turn is None and not self._queue and self._all_is_said:
            self._stop(self._exit)
            return
        worth_it = retry is ev.Retry.ALWAYS or (
            retry is ev.Retry.IF_IT_WORKED and self._ever_connected
        )
        delay = backoff(self._attempt, lost.retry_after)
        if not worth_it or delay is None:
            self._give_up(problem, in_session=in_session)
            return
        if lost.at_once and self._attempt == 0:
            delay = lost.retry_after or 0.0
        self._attempt += 1
        self._phase = Phase.RETRYING
        self._show(fx.Waiting(problem.message, delay))
        self._do(fx.SetTimer(ev.Timer.RETRY, delay, jitter=0.25))

    def _explain(self, lost: ev.ConnectionLost) -> tuple[Problem, ev.Retry]:
        """The loss, in the light of the error event that came before it."""
        error = self._last_error
        if error is None or error.code == server_errors.EXPIRED:
            return lost.problem, lost.retry
        if server_errors.is_fatal(error):
            return server_errors.of_error(error), ev.Retry.NEVER
        message = f"{lost.problem.message}; the server said: {error.message}"
        return replace(lost.problem, message=message), lost.retry

    def _give_up(self, problem: Problem, *, in_session: bool = False) -> None:
        """No connection can be made, or none would help; `in_session` if a reply just ended with
        this problem."""
        self._attempt = 0
        self._do(fx.Disconnect())
        self._phase = Phase.DOWN
        if self._speech.give_up():
            self._show_microphone()
        if self._turn is not None and self._turn.round is not None:
            self._over(Status.FAILED, "", problem, next_question=False)
            if self._phase is Phase.STOPPED:
                return
        over = fx.ReplyOver(Status.FAILED, "", self._model, problem=problem)
        if self._turn is None and not self._queue and not in_session:
            self._notice("error", str(problem))
        if self._turn is not None:
            question, self._turn = self._turn.question, None
            self._end(question, over)
        while self._queue:
            self._end_unasked(self._queue.popleft(), over)
        if self._mode is not Mode.CHAT or not self._ever_connected:
            self._stop(problem.exit)

    def _renew(self) -> None:
        """A session that is near its end is replaced while nobody waits for it."""
        self._renewal_due = True
        self._next()

    # -------------------------------------------------------------------------- questions, replies

    def _say(self, question: Question) -> None:
        self._queue.append(question)
        self._next()
        if question in self._queue and question.raw is None:
            self._do(self._log.queued(question, self._model))

    def _next(self) -> None:
        """Whatever is due, if it can be done now."""
        idle = self._turn is None and not self._queue
        if idle and self._all_is_said and self._speech.awaiting_transcript and self._has_session:
            self._do(fx.SetTimer(ev.Timer.HEARD, WORDS_LOST))
        elif idle and self._all_is_said:
            self._stop(self._exit)
        elif self._phase is Phase.DOWN and not idle:
            self._connect()
        elif self._phase is not Phase.READY:
            pass
        elif self._is_spoiled:
            self._connect()
        elif self._turn is not None:
            self._go_on_with(self._turn)
        elif self._renewal_due and not self._speech.is_speaking:
            self._connect()
        elif self._queue:
            self._ask(self._queue.popleft())

    @property
    def _all_is_said(self) -> bool:
        """Whether no question can come any more. A pipe that has ended leaves the microphone."""
        is_heard = (self._speech.is_there and self._speech.is_on) or self._is_winding_down
        return self._input_ended and not (is_heard and self._mode is Mode.LINES)

    def _ask(self, question: Question) -> None:
        spent = self._usage.over_budget()
        if spent is not None:
            self._refuse(question, spent)
            return
        self._begin(question)
        for command in question.telling(listens=self._speech.listens):
            self._send(command)
        self._ask_reply()

    def _begin(self, question: Question) -> None:
        self._silence(by_speech=question.is_spoken)
        self._echo.asked(question, transcribes=self._speech.options.transcribes)
        self._close_calls()
        self._turn = Turn(question, self._now, self._policy.limits)
        self._out += self._log.asked(question, self._model, self._options.session.instructions)
        self._show(fx.QuestionAsked(question.text, self._model, question.is_spoken))
        self._show_words(question)

    def _close_calls(self) -> None:
        """Send an output for each call of the last reply that would not get one."""
        calls, self._open_calls = self._open_calls, ()
        self._send_refusals([call for call in calls if isinstance(call, ToolCall)], UNAVAILABLE)

    def _show_words(self, question: Question) -> None:
        """What was said aloud and written down before it was its turn."""
        if question.words.strip():
            self._show(fx.UserTranscript(question.words))

    def _refuse(self, question: Question, problem: Problem) -> None:
        """Neither this question nor any that waits is asked."""
        over = fx.ReplyOver(Status.FAILED, "", self._model, problem=problem)
        for refused in (question, *self._queue):
            self._end_unasked(refused, over)
        self._queue.clear()
        if self._mode is not Mode.CHAT:
            self._stop(problem.exit)
        elif self._speech.listens and self._speech.is_on:
            self._lose_microphone(problem, is_heard=False, is_gone=False)

    def _ask_reply(self, *, may_call: bool = True) -> None:
        assert self._turn is not None
        if self._is_spoiled:
            self._connect()
            return
        self._turn.begin_reply(not_interruptible=self._speech.is_speaking)
        self._phase = Phase.ASKED
        raw = None if self._turn.has_called else self._turn.question.raw
        self._raw_reply = raw
        if raw:
            self._send(fx.Raw(raw))
        else:
            self._send(fx.CreateResponse(self._options.reply(may_call=may_call)))
        self._do(fx.SetTimer(ev.Timer.STALL, self._timeouts.reply))

    def _started(self, event: ev.ReplyStarted) -> None:
        self._last_error = None
        self._answered(fx.AddItem, fx.CommitAudio, fx.CreateResponse)
        if self._phase is Phase.ENDING and self._cancel_owed:
            self._cancel_owed = False
            self._ending_id = event.response_id
            self._send(fx.Cancel(event.response_id))
            return
        turn = self._turn
        if turn is not None and not turn.announced and self._phase in (Phase.ASKED, Phase.REPLYING):
            self._phase = Phase.REPLYING
            turn.announced = True
            turn.reply.id = event.response_id
        elif event.response_id in self._stale_response_ids:
            pass
        elif turn is None and self._phase is Phase.READY and self._unasked_left:
            self._begin_unasked(event)
        elif turn is None or event.response_id != turn.reply.id:
            self._stale_response_ids.append(event.response_id)  # nobody here asked for it

    def _begin_unasked(self, event: ev.ReplyStarted) -> None:
        """The server replies to an event that the user sent by /raw."""
        self._unasked_left -= 1
        spent = self._usage.over_budget()
        self._begin(self._log.enter_raw({}))
        assert self._turn is not None
        self._turn.reply.id, self._turn.announced = event.response_id, True
        self._phase = Phase.REPLYING
        self._do(fx.SetTimer(ev.Timer.STALL, self._timeouts.reply))
        if spent is not None:
            self._stop_reply()
            self._over(Status.FAILED, "", spent)

    def _text(self, event: ev.Delta | ev.ChannelDone | ev.PartDone) -> None:
        if isinstance(event, ev.ChannelDone) and event.channel is Channel.HEARD:
            self._heard(event.item_id, event.text)
            return
        turn = self._current(event.response_id)
        if turn is None or (isinstance(event, ev.Delta) and event.channel is Channel.HEARD):
            return
        self._phase = Phase.REPLYING
        turn.reply.id = turn.reply.id or event.response_id
        match event:
            case ev.Delta(Channel.AUDIO) | ev.ChannelDone(Channel.AUDIO):
                self._play(turn, event)
            case ev.Delta():
                self._show_text(turn, turn.reply.add(event))
            case ev.ChannelDone():
                self._show_text(turn, turn.reply.channel_done(event))
            case ev.PartDone():
                self._show_text(turn, turn.reply.part_done(event))
            case _:
                assert_never(event)
        if turn.reply.exceeded:
            self._cut_off(turn)

    def _current(self, response_id: str) -> Turn | None:
        """The turn that an event of this response belongs to; None if it comes late, or from
        elsewhere.

        Not every server names the response in each event, nor announces it before its text.
        """
        turn = self._turn
        if turn is None or self._phase not in _REPLY_DUE:
            return None
        if not response_id:
            return turn
        expected = (
            response_id == turn.reply.id
            if turn.reply.id
            else response_id not in self._stale_response_ids
        )
        return turn if expected else None

    def _show_text(self, turn: Turn, text: str) -> None:
        waits = turn.question.item_id in self._speech.awaiting_transcript
        self._out += turn.show(text, self._now, waits=waits)

    def _save(self) -> None:
        turn = self._turn
        if turn is not None and turn.reply.text:
            turn.saving = False
            self._do(self._log.streaming(turn.question, turn.reply.text, self._model))

    def _ended(self, event: ev.ReplyEnded) -> None:
        self._usage.add(event.usage, self._model)
        if self._phase is Phase.ENDING:
            self._refuse_calls(event.items)
            if self._is_ending(event.response_id):
                self._stale_response_ids.append(event.response_id)
                self._cancelled()
            return
        turn = self._current(event.response_id)
        if turn is None:
            self._refuse_calls(event.items)
            if self._turn is not None and self._turn.server_was_busy:
                self._ask_reply()
            return
        self._show_text(turn, turn.reply.finish(event.items))
        wait = server_errors.limit_wait(event)
        is_first = not (turn.waited or turn.has_begun)
        if wait is not None and wait <= LONGEST_LIMIT_WAIT and is_first:
            self._wait_for_limit(turn, wait)
            return
        turn.add_usage(event.usage)
        if turn.reply.exceeded:
            self._cut_off(turn, event)
            return
        calls = turn.reply.calls
        if self._policy.elsewhere and not self._policy.concern(calls):
            calls = []
        if event.status is Status.COMPLETED and calls:
            self._called_at_the_end(turn, event)
            return
        problem = server_errors.of_reply(event) or turn.problem
        if self._mode is Mode.CHAT and event.code == server_errors.LIMITED:
            problem = problem and replace(problem, hint="/retry asks it again")
        self._over(event.status, event.reason, problem, event)

    def _is_ending(self, response_id: str) -> bool:
        """Whether this is the reply that was stopped, whose id may not be known yet."""
        if not response_id:
            return True
        if self._ending_id:
            return response_id == self._ending_id
        return response_id not in self._stale_response_ids

    def _called_at_the_end(self, turn: Turn, event: ev.ReplyEnded) -> None:
        if not self._policy.concern(turn.reply.calls):
            self._open_calls = tuple(turn.reply.calls)
            self._note_calls(self._open_calls)
            problem = server_errors.unavailable(call.name for call in self._open_calls)
            self._over(Status.INCOMPLETE, "tool_calls", problem, event)
        elif not turn.may_call:
            turn.reply.exceeded = "max_tool_rounds"
            self._cut_off(turn, event)
        else:
            self._make_calls(turn)

    def _cut_off(self, turn: Turn, ended: ev.ReplyEnded | None = None) -> None:
        """The reply exceeds a limit. The turn ends, and so does the session: its next question
        would follow calls without outputs, and everything else that was too much."""
        limit = turn.reply.exceeded
        problem = server_errors.exceeded(limit, self._policy.limits)
        self._is_spoiled = True
        if ended is None:
            self._stop_reply()
            self._silence()
        self._over(Status.INCOMPLETE, limit, problem, ended)

    def _refuse_calls(self, items: Iterable[Item]) -> None:
        """Answer calls that are not made: without outputs a server may accept no question. Calls
        that already have one, as when a server repeats the end of a reply, get no second."""
        if self._is_spoiled:
            return
        calls = {item.call_id: item for item in items if isinstance(item, ToolCall)}
        fresh = [call for call_id, call in calls.items() if call_id not in self._seen_calls]
        self._note_calls(fresh)
        self._send_refusals(fresh, STOPPED)

    def _note_calls(self, calls: Iterable[ToolCall | Approval]) -> None:
        self._seen_calls |= {call.call_id for call in calls if isinstance(call, ToolCall)}

    def _send_refusals(self, calls: Sequence[ToolCall], output: str) -> None:
        """Send their outputs; after too many of them, begin a new session instead."""
        self._refused += len(calls)
        self._is_spoiled |= self._refused > self._policy.limits.calls
        if not self._is_spoiled:
            for call in calls:
                self._send(fx.AddItem(ToolOutput(call.call_id, output)))

    def _wait_for_limit(self, turn: Turn, seconds: float) -> None:
        turn.waited = True
        self._stale_response_ids.append(turn.reply.id)
        self._phase = Phase.LIMITED
        self._do(fx.ClearTimer(ev.Timer.STALL))
        self._show(fx.Waiting("rate limit", seconds))
        self._do(fx.SetTimer(ev.Timer.LIMIT, seconds))

    def _over(
        self,
        status: Status,
        reason: str,
        problem: Problem | None,
        ended: ev.ReplyEnded | None = None,
        *,
        next_question: bool = True,
    ) -> None:
        """The current reply is over, however it went."""
        turn, self._turn = self._turn, None
        assert turn is not None
        self._errors = 0
        self._show_text(turn, turn.reply.cut())
        turn.question.has_reply |= turn.has_begun or status is Status.COMPLETED
        self._echo.replied(turn.question)
        if self._phase is not Phase.ENDING:  # there the server still owes a word
            self._do(fx.ClearTimer(ev.Timer.STALL))
        if turn.saving:
            self._do(fx.ClearTimer(ev.Timer.SAVE))
        if turn.round is not None:
            self._out += turn.round.stop()
            self._answer_calls(turn)
        self._out += turn.release()
        self._out += self._speech.finish()
        if status is Status.COMPLETED:
            self._attempt = 0
            self._usage.replies += 1
        over = turn.over(
            status,
            reason,
            problem,
            ended,
            model=self._model,
            connect=self._connect_seconds,
            now=self._now,
            bill=self._usage.bill(turn.usage, self._model),
        )
        self._end(turn.question, over, turn.reply.text, b"".join(turn.audio))
        self._stale_response_ids.append(turn.reply.id)
        self._count(problem)
        if self._phase in (Phase.ASKED, Phase.REPLYING, Phase.CALLING):
            self._phase = Phase.READY
        if next_question:
            self._end_echo()
        if next_question and self._phase is Phase.READY:
            self._next()

    def _end(
        self, question: Question, over: fx.ReplyOver, last: str = "", audio: bytes = b""
    ) -> None:
        """A question is done with, and it is kept how; `last` is the text of its last reply."""
        self._out += self._log.over(question, over, last, audio)
        self._show(over)
        for heard in self._late_transcripts:
            self._show(heard)
        self._late_transcripts.clear()

    def _end_unasked(self, question: Question, over: fx.ReplyOver) -> None:
        """The same of one that waited; what was said aloud is to be seen."""
        self._show_words(question)
        self._end(question, over)

    def _count(self, problem: Problem | None) -> None:
        """The exit code, as far as this reply decides it."""
        if problem is None:
            return
        if self._mode is Mode.ONCE:
            self._stop(problem.exit)
        elif self._mode is Mode.LINES:
            self._exit = ExitCode.REPLY

    # ------------------------------------------------------------------------------------- speech

    def _enter(self, text: str, audio: bytes | None = None) -> Question:
        """A question, and what goes with it."""
        return self._log.enter(text, self._attachments.take(), audio)

    def _attach(self, file: ev.Attached) -> None:
        self._attachments.add(file)
        advice = " (/detach removes it)" if self._mode is Mode.CHAT else ""
        self._notice("info", f"{file.name} attached to the next question{advice}")
        if self._speech.is_speaking:
            self._tell_attached()

    def _detach(self, number: int | None) -> None:
        if not self._attachments:
            self._notice("error", "nothing is attached")
        elif number is None or 0 < number <= len(self._attachments):
            self._forget_attachments(number)
        else:
            self._notice("error", f"there is no attachment {number}: /attach lists them")

    def _forget_attachments(self, number: int | None = None) -> None:
        names = self._attachments.names(number)
        for command in self._attachments.remove(number):
            if self._has_session:
                self._send(command)
        if self._speech.is_speaking:
            self._tell_attached()
        if names:
            self._notice("info", f"no longer attached: {names}")

    def _tell_attached(self) -> None:
        """The server makes a question of speech by itself: what goes with it is to be there."""
        if self._speech.listens and (command := self._attachments.tell()) is not None:
            self._send(command)

    def _captured(self, audio: bytes) -> None:
        has_session = self._has_session and self._phase is not Phase.CONFIGURING
        command = self._speech.captured(audio, has_session=has_session)
        if command is not None:
            self._send(command)

    def _toggle_microphone(self) -> None:
        options = self._speech.options
        if not self._speech.is_there:
            gone = "the microphone is gone: start rtchat again to have one"
            none = "there is no microphone here: rtchat talk --voice has one"
            self._notice("error", gone if options.has_microphone else none)
            return
        self._turn_microphone()

    def _turn_microphone(self) -> None:
        options = self._speech.options
        said = self._speech.toggle()
        self._show_microphone()
        if self._speech.is_on and self._phase is Phase.DOWN:
            self._connect()
        if options.push_to_talk and self._speech.is_on:
            self._silence()
            if self._phase in _CUT_SHORT:
                self._cancel()
        elif said is not None and len(said) < SHORTEST_MS * BYTES_A_MS:
            self._notice("info", "nothing was said: once to talk, once more to send")
        elif said is not None:
            self._say(self._enter("", said))

    def _lose_microphone(
        self, problem: Problem, *, is_heard: bool = True, is_gone: bool = True
    ) -> None:
        """Nothing more comes of it; if the server heard it, a turn that was begun can still end.
        Unless it is gone it can be turned on again."""
        self._notice("error", str(problem))
        speech = self._speech
        may_be_a_turn = is_heard and speech.is_on and speech.listens and speech.has_audio
        if may_be_a_turn:
            self._captured(bytes(TAIL_MS * BYTES_A_MS))
        was_there = speech.is_there
        speech.is_there = was_there and not is_gone
        if speech.is_on:
            self._turn_microphone()
        elif speech.is_there != was_there:
            self._show_microphone()
        if self._mode is Mode.LINES:
            self._exit = problem.exit
            self._wind_down(may_be_a_turn)

    def _wind_down(self, may_be_a_turn: bool) -> None:
        self._is_winding_down = may_be_a_turn
        if may_be_a_turn and self._has_session:
            self._do(fx.SetTimer(ev.Timer.INPUT, LAST_TURN))
        self._next()

    def _show_microphone(self) -> None:
        speech = self._speech
        self._show(fx.MicrophoneStatus(speech.is_on, speech.options.push_to_talk, speech.is_there))

    def _speak(self, start_ms: int) -> None:
        """The user began to."""
        self._speech.started(start_ms)
        self._tell_attached()
        if self._turn is not None and self._phase is Phase.ASKED:
            self._turn.not_interruptible = self._turn.is_asked_for
        if self._speech.options.interrupts:
            self._silence(by_speech=True)

    def _cut_playback(self, cut: ev.PlaybackCut) -> None:
        if self._speech.was_played(cut.item_id):
            self._send(fx.Truncate(cut.item_id, cut.content_index, cut.played_ms))
        if self._is_cut_by_speech:
            self._echo.cut(cut.played_ms)
            self._end_echo()

    def _end_echo(self) -> None:
        """Mute a microphone that picks up the loudspeaker: the server would reply to itself."""
        if self._echo.is_echo and self._speech.listens and self._speech.is_on:
            self._echo.forget()
            message = "the microphone seems to pick up the loudspeaker and was muted"
            hint = "use headphones, or --vad off"
            problem = Problem(ExitCode.REPLY, message, hint)
            self._lose_microphone(problem, is_heard=False, is_gone=False)

    def _committed(self, item_id: str) -> None:
        """The server made a user's message of what it has heard: of a question that we have sent,
        or of what the microphone gave."""
        turn = self._turn
        current = () if turn is None else (turn.question,)
        if item_id and item_id in {question.item_id for question in (*current, *self._queue)}:
            return  # it is said twice
        if self._speech.listens:
            if not self._speech.is_turn():
                self._notice("detail", "ignored a turn that the server began without audio")
                return
            question = self._enter("", self._speech.committed())
            question.item_id = item_id
        elif turn is not None and turn.question.is_spoken and not turn.question.item_id:
            question = turn.question
            question.item_id = item_id
        else:
            return
        if self._speech.options.transcribes:
            self._speech.expect(item_id, question)
        if not self._speech.listens:
            return
        if turn is not None and self._goes_on(turn):
            question.in_session = True  # and is answered when that is over
            self._say(question)
        else:
            self._begin_spoken(question)

    def _goes_on(self, turn: Turn) -> bool:
        """Whether a turn is not interrupted by what the user said meanwhile."""
        options = self._speech.options
        is_server_busy = self._phase in _REPLY_DUE or not options.replies
        return is_server_busy and (turn.not_interruptible or not options.interrupts)

    def _begin_spoken(self, question: Question) -> None:
        """The server has ended a turn of the user's, and replies to it."""
        if self._turn is not None:
            self._over(Status.CANCELLED, "turn_detected", None, next_question=False)
        if self._phase is Phase.ENDING:  # what it owes there is of the past
            self._stale_response_ids.append(self._ending_id)
            self._cancel_owed = False
            self._answered(fx.Cancel)
        self._answered(fx.CreateResponse)  # one that was asked for in this moment is overtaken
        self._begin(question)
        spent = self._usage.over_budget()
        is_ours = self._is_spoiled or not self._speech.options.replies
        if is_ours and spent is None:
            self._ask_reply()
            return
        self._phase = Phase.ASKED
        self._do(fx.SetTimer(ev.Timer.STALL, self._timeouts.reply))
        if spent is not None:
            self._stop_reply()
            self._over(Status.FAILED, "", spent, next_question=False)
            self._lose_microphone(spent, is_gone=False)

    def _heard(self, item_id: str, text: str, *, is_known: bool = True) -> None:
        """The transcript of what was said has come, or never will."""
        question = self._speech.awaiting_transcript.pop(item_id, None)
        if question is None:
            return
        question.is_wordless = is_known and not text.strip()
        self._out += self._log.heard(question, text)
        turn = self._turn
        if question in self._queue:
            pass  # it is shown when it is asked
        elif text.strip() and turn is not None and turn.is_shown:
            self._late_transcripts.append(fx.UserTranscript(text))
        elif text.strip():
            self._show(fx.UserTranscript(text))
        if turn is not None and turn.question is question:
            self._out += turn.release()
            question.has_reply |= turn.has_begun
        self._echo.replied(question)
        self._end_echo()
        self._next()

    def _play(self, turn: Turn, event: ev.Delta | ev.ChannelDone) -> None:
        if turn.is_silenced:
            return
        try:
            play = self._speech.play(event)
        except FormatError as error:
            turn.is_silenced = True
            message = f"the sound of the reply is {error}, not PCM, and is not played"
            turn.problem = Problem(ExitCode.REPLY, message, "choose another model or server")
            self._notice("error", str(turn.problem))
            return
        except ValueError as error:
            self._notice("detail" if turn.bad_audio_reported else "warning", str(error))
            turn.bad_audio_reported = True
            return
        if self._speech.parts > self._policy.limits.parts:
            turn.reply.exceeded = "parts"
        if play is None:
            return
        turn.is_heard = True
        turn.audio_bytes += len(play.audio)
        if turn.audio_bytes > self._policy.limits.audio_bytes:
            turn.reply.exceeded = "audio"
        self._do(play)
        if self._speech.options.stores_audio:
            turn.audio.append(play.audio)

    def _silence(self, *, by_speech: bool = False) -> None:
        """Nothing that was said so far is to be heard any more."""
        if self._speech.options.speaks:
            self._is_cut_by_speech = by_speech
            if self._turn is not None and self._phase is Phase.REPLYING:
                self._turn.is_silenced = True
            self._speech.silence()
            self._do(fx.StopPlaying())

    def _close_speech(self) -> None:
        """What was heard and said of this session is at its end."""
        self._out += self._speech.finish()
        self._speech.closed()

    # ------------------------------------------------------------------------------------- calls

    def _called(self, response_id: str, item: Item) -> None:
        turn = self._current(response_id)
        if turn is not None:
            turn.reply.call(item)
            if turn.reply.exceeded:
                self._cut_off(turn)

    def _make_calls(self, turn: Turn) -> None:
        """The reply is calls: they are made, all of them are answered, and a reply is due again."""
        self._do(fx.ClearTimer(ev.Timer.STALL))
        self._out += turn.release()
        self._out += self._speech.finish()
        reply, audio = turn.reply, b"".join(turn.audio)
        self._out += self._log.called(turn.question, reply.text, reply.calls, self._model, audio)
        self._stale_response_ids.append(reply.id)
        self._note_calls(reply.calls)
        turn.begin_round(self._policy)
        self._phase = Phase.CALLING
        self._go_on(ToolCallBatch.begin)

    def _go_on(self, step: Callable[[ToolCallBatch], list[fx.Effect]]) -> None:
        """Something happened to the calls; once all have their answers the server gets those."""
        turn = self._turn
        if turn is None or turn.round is None:
            return
        self._out += step(turn.round)
        if self._phase is Phase.CALLING:
            self._go_on_with(turn)

    def _go_on_with(self, turn: Turn) -> None:
        """The session is there, and so is the turn: ask, or see to its calls."""
        if turn.round is None:
            self._ask_reply()
        elif not turn.round.is_done:
            self._phase = Phase.CALLING
        else:
            enough = turn.round.is_last
            self._answer_calls(turn)
            self._ask_reply(may_call=not enough)

    def _answer_calls(self, turn: Turn) -> None:
        answers = turn.end_round()
        self._out += self._log.answered(turn.question, answers, self._model)
        if self._phase in (Phase.CALLING, Phase.READY):  # else they are replayed
            for answer in answers:
                self._send(fx.AddItem(answer))

    # ---------------------------------------------------------------------------- stopping a reply

    def _cancel(self) -> None:
        if self._phase not in _REPLY_DUE:
            self._silence()
        match self._phase:
            case Phase.ASKED | Phase.REPLYING:
                self._stop_reply()
                self._silence()  # what of it was heard is told after that it is over
                self._over(Status.CANCELLED, "client_cancelled", None, next_question=False)
            case Phase.CALLING:
                self._over(Status.CANCELLED, "client_cancelled", None)
            case Phase.LIMITED:
                self._clear_timers()
                self._phase = Phase.READY
                self._over(Status.CANCELLED, "client_cancelled", None)
            case _ if self._speech.drop():
                self._show_microphone()
                self._notice("info", "what was said is dropped")
            case _:
                self._drop_questions()

    def _stop_reply(self) -> None:
        """Tell the server; until it answers no other reply may be asked for."""
        assert self._turn is not None
        self._ending_id = self._turn.reply.id
        # A cancel that arrives before the reply exists is lost, so it waits for the reply's id.
        self._cancel_owed = self._phase is Phase.ASKED
        self._phase = Phase.ENDING
        self._ending_until = self._now + self._timeouts.reply
        if not self._cancel_owed:
            self._send(fx.Cancel(self._ending_id))

    def _cancelled(self) -> None:
        self._answered(fx.Cancel)
        self._phase = Phase.READY
        self._do(fx.ClearTimer(ev.Timer.STALL))
        self._next()

    def _drop_questions(self) -> None:
        """Nothing streams: what is stopped is the waiting for a connection."""
        if self._turn is not None:
            self._over(Status.CANCELLED, "client_cancelled", None, next_question=False)
        while self._queue:
            over = fx.ReplyOver(Status.CANCELLED, "", self._model, reason="client_cancelled")
            self._end_unasked(self._queue.popleft(), over)

    def _leave(self, exit_code: ExitCode) -> None:
        if self._phase is Phase.CALLING:
            self._over(Status.CANCELLED, "client_cancelled", None, next_question=False)
        if self._phase in (Phase.ASKED, Phase.REPLYING):
            self._stop_reply()
            self._over(Status.CANCELLED, "client_cancelled", None, next_question=False)
        self._stop(exit_code)

    # ------------------------------------------------------------------------------- what is wrong

    def _problem(self, error: ev.ServerProblem) -> None:  # noqa: C901 - one case per command
        command = self._unanswered.pop(error.event_id, None)
        match command:
            case fx.Configure():
                self._settings_refused(error)
            case fx.CreateResponse():
                self._reply_refused(error)
            case fx.Raw(fields) if fields is self._raw_reply:
                self._reply_refused(error)
            case fx.Raw(fields):
                self._raw_refused(fields, error)
            case fx.AddItem(item) if self._is_question(item):
                self._question_refused(error)
            case fx.CommitAudio() if self._phase in _REPLY_DUE and self._turn is not None:
                self._question_refused(error)
            case fx.Truncate():
                self._notice("detail", f"the server reports: {error.message}")
            case fx.Delete():
                self._notice("detail", f"the server reports: {error.message}")
                self._renew()  # a new session does not have what was not deleted
            case fx.Cancel():
                self._cancelled()  # harmless: the reply was over before the cancel arrived
            case _ if (
                error.code == server_errors.DEAF and self._speech.listens and self._speech.is_there
            ):
                self._last_error = error
                self._lose_microphone(server_errors.of_error(error), is_heard=False)
            case _:
                self._other_problem(error, is_known=command is not None)

    def _other_problem(self, error: ev.ServerProblem, *, is_known: bool) -> None:
        """One that ends nothing by itself; `is_known` is whether it is of a command of ours."""
        before, self._last_error = self._last_error, error
        self._errors += 1
        if self._errors > ERRORS:
            self._errors = 0
            self._do(fx.Disconnect())
            self._lost(ev.ConnectionLost(server_errors.too_many(ERRORS), ev.Retry.NEVER))
        elif self._phase in (Phase.CONNECTING, Phase.CONFIGURING) and server_errors.is_fatal(error):
            self._clear_timers()
            self._give_up(server_errors.of_error(error))
        elif error.code != server_errors.EXPIRED:  # the close that follows says the same
            was_overtaken = error.code == server_errors.BUSY and not is_known
            if was_overtaken and self._turn is not None and self._phase is Phase.ASKED:
                self._turn.server_was_busy = not self._turn.is_asked_for
            is_repeated = before is not None and before.message == error.message
            level: fx.Level = "detail" if was_overtaken or is_repeated else "error"
            self._notice(level, f"the server reports: {error.message}")

    def _settings_refused(self, error: ev.ServerProblem) -> None:
        problem = server_errors.refused_settings(error)
        if self._phase is Phase.CONFIGURING:
            self._clear_timers()
            self._give_up(problem)
            return
        self._options.refused()
        self._notice("error", problem.message)

    def _reply_refused(self, error: ev.ServerProblem) -> None:
        if self._phase is Phase.ENDING:
            self._cancelled()
        elif self._phase is Phase.ASKED:
            self._over(Status.FAILED, "", server_errors.of_error(error))

    def _is_question(self, item: Item) -> bool:
        turn = self._turn if self._phase in (Phase.ASKED, Phase.REPLYING) else None
        return turn is not None and turn.question.item is item

    def _question_refused(self, error: ev.ServerProblem) -> None:
        # The reply to it is on its way all the same, and would answer something else.
        assert self._turn is not None
        self._log.remove(self._turn.question)
        self._stop_reply()
        self._over(Status.FAILED, "", server_errors.of_error(error), next_question=False)

    # ------------------------------------------------------------------------ what the user changes

    def _set_instructions(self, instructions: str) -> None:
        self._options.instruct(instructions)
        self._notice("info", "instructions set")
        self._configure()

    def _set_option(self, option: ev.OptionSet) -> None:
        name = option.key if option.of == "session" else f"{option.of}.{option.key}"
        takes_back = option.change is None
        if takes_back and not self._options.is_set(option):
            self._notice("error", f"{name} is not set")
            return
        self._options.change(option)
        self._notice("info", f"{name} {'taken back' if takes_back else 'set'}")
        if option.of == "session" and takes_back:
            self._renew()  # a session forgets nothing that it was told: it takes a new one
        elif option.of == "session":
            self._configure()

    def _configure(self) -> None:
        if self._has_session:
            self._send(fx.Configure(self._options.session))

    def _send_raw(self, raw: ev.RawSaid) -> None:
        if not self._has_session:
            self._notice("error", "there is no session to send it to")
        elif raw.asks and (spent := self._usage.over_budget()) is not None:
            self._notice("error", str(spent))
        elif raw.asks:
            question = self._log.enter_raw(raw.fields)
            is_free = self._phase is Phase.READY and self._turn is None
            when = "sent" if is_free else "will be sent after this reply:"
            self._notice("info", f"{when} {raw.fields['type']}")
            self._say(question)
        else:
            self._open_calls = tuple(
                call
                for call in self._open_calls
                if not (isinstance(call, ToolCall) and call.call_id == raw.output_of)
            )
            self._unasked_left = UNASKED
            self._raw.append(raw)
            self._send(fx.Raw(raw.fields))
            self._notice("info", f"sent {raw.fields['type']}")

    def _confirm_raw(self, event: ev.Event) -> None:
        """The server did what the user asked for by /raw, and nothing else shows it."""
        is_ours = isinstance(event, ev.SessionUpdated) and any(
            isinstance(sent, fx.Configure) for sent in self._unanswered.values()
        )
        item = event.item if isinstance(event, ev.ItemAdded | ev.ItemRetrieved) else None
        is_ours |= self._turn is not None and isinstance(event, ev.ItemAdded)
        raw = next((raw for raw in self._raw if type(event) is raw.answer), None)
        if raw is None or is_ours:
            return
        self._raw.remove(raw)
        item_id = getattr(event, "item_id", "") or getattr(item, "id", "")
        words = f": {item.text}" if isinstance(item, Message) and item.text else ""
        self._notice("info", f"done: {raw.fields['type']} {item_id}{words}".rstrip())

    def _raw_refused(self, fields: JsonObject, error: ev.ServerProblem) -> None:
        self._notice("error", f"the server refused {fields['type']}: {error.message}")
        self._raw = deque((raw for raw in self._raw if raw.fields is not fields), RAW)

    @property
    def _has_session(self) -> bool:
        return self._phase not in _NO_SESSION

    def _change_model(self, model: str) -> None:
        if self._turn is not None and self._turn.has_begun:
            self._silence()
            self._over(Status.CANCELLED, "client_cancelled", None, next_question=False)
        self._model = model
        self._notice("info", f"model {model}")
        if self._usage.price_unknown(model):
            self._notice("warning", server_errors.no_price(model))
        self._connect()

    def _copy(self, block: int) -> None:
        reply = self._log.last_reply
        if reply is None:
            self._notice("error", "there is no reply to copy yet")
        else:
            self._show(fx.Copy(reply, block))

    # ------------------------------------------------------------------------ what was said before

    def _start_over(self) -> None:
        self._silence()
        self._drop_questions()  # they belong to what was before
        self._forget_attachments()
        self._log = ConversationLog(stores_audio=self._speech.options.stores_audio)
        self._do(fx.StartRecord())
        self._notice("info", "a new conversation")
        self._connect()

    def _recall(self, number: int | None) -> None:
        if self._turn is not None or self._queue:
            self._notice("error", "a reply is due here: stop it, or wait for it, then /resume")
        else:
            self._do(fx.LoadConversation(number))

    def _resume(self, kept: StoredConversation) -> None:
        self._silence()
        self._forget_attachments()
        self._log = ConversationLog(kept, stores_audio=self._speech.options.stores_audio)
        if self._log.instructions:
            self._options.instruct(self._log.instructions)
        self._notice("info", f"conversation {kept.id}: {kept.title}")
        self._connect()

    def _ask_again(self) -> None:
        last = self._log.last
        if last is None or self._turn is not None:
            self._notice("error", "there is no question to ask again")
        elif (spent := self._usage.over_budget()) is not None:
            self._notice("error", str(spent))
        elif not self._log.was_asked(last):
            self._say(last)
        elif not self._log.is_known(last):
            self._notice("error", "nobody knows what was said")
        elif self._log.items[-1] is not last.item:
            again = self._log.again(last)
            if again is None:
                self._notice("error", "nobody knows what was said")
            else:
                self._say(again)
        else:
            self._close_calls()
            self._turn = Turn(last, self._now, self._policy.limits)
            self._show(fx.QuestionAsked(last.text, self._model, last.is_spoken))
            self._next()

    def _timer(self, timer: ev.Timer) -> None:  # noqa: C901 - one case a timer is the point
        match timer:
            case ev.Timer.RETRY:
                if self._phase is Phase.RETRYING:
                    self._connect()
            case ev.Timer.LIMIT:
                if self._phase is Phase.LIMITED:
                    self._ask_reply()
            case ev.Timer.HEARD:
                self._stop_listening()
            case ev.Timer.INPUT:
                self._is_winding_down = False
                self._next()
            case ev.Timer.SAVE:
                self._save()
            case ev.Timer.RENEW:
                self._renew()
            case ev.Timer.START:
                begun = self._phase is not Phase.CONNECTING
                what = "answer to session.update" if begun else "session.created"
                self._silent(f"the server sent no {what}", ev.Retry.IF_IT_WORKED)
            case ev.Timer.STALL:
                seconds = f"{self._timeouts.reply:g}"
                self._silent(f"no word from the server for {seconds} s", ev.Retry.ALWAYS)
            case _:
                assert_never(timer)

    def _stop_listening(self) -> None:
        if self._turn is not None:
            self._out += self._turn.release()
        else:
            self._speech.awaiting_transcript.clear()
            self._next()

    def _silent(self, message: str, retry: ev.Retry) -> None:
        self._do(fx.Disconnect())
        hint = "check --url, or give it longer with --timeout and --connect-timeout"
        self._lost(ev.ConnectionLost(Problem(ExitCode.LINK, message, hint), retry))

    # ---------------------------------------------------------------------------------------- small

    def _do(self, effect: fx.Effect) -> None:
        self._out.append(effect)

    def _show(self, update: fx.Update) -> None:
        self._out.append(fx.Show(update))

    def _notice(self, level: fx.Level, text: str) -> None:
        self._out.append(fx.Show(fx.Notice(level, text)))

    def _send(self, command: fx.Command) -> None:
        self._sent += 1
        event_id = f"rtchat_{self._sent}"
        if isinstance(command, fx.Raw):  # which may have its own
            event_id = str(command.fields.get("event_id") or event_id)
        if not isinstance(command, fx.AppendAudio):  # nobody answers these
            self._unanswered[event_id] = command
            if len(self._unanswered) > UNANSWERED:
                del self._unanswered[next(iter(self._unanswered))]
        self._out.append(fx.Send(event_id, command))

    def _answered(self, *kinds: type[fx.Command]) -> None:
        """Commands of these kinds can no longer be refused; only one that can is worth keeping."""
        for event_id, command in list(self._unanswered.items()):
            if isinstance(command, kinds):
                del self._unanswered[event_id]

    def _stop(self, exit_code: ExitCode) -> None:
        self._phase = Phase.STOPPED
        self._clear_timers()
        self._out.append(fx.Stop(exit_code))

    def _clear_timers(self) -> None:
        self._out.extend(fx.ClearTimer(timer) for timer in ev.Timer)
