"""The machine of a transcription session: audio in, what was heard out, no replies.

As `conversation`: every event in, every effect out, no I/O and no clock of its own.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import server_errors
from rtchat.core.audio_state import SHORTEST_MS, Speech, SpeechOptions
from rtchat.core.backoff import Timeouts, backoff
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import ChannelDone, Delta
from rtchat.core.reply import Reply
from rtchat.core.values import BYTES_A_MS, Channel, Options, Status

LATE = 10.0
"""Seconds that turns wait for one before them to be written down, to stand in order."""
LAST_WORDS = 0.5
"""Seconds for what was said last to arrive, and the end of it: whoever records into a pipe gets the
same Ctrl-C, a little sooner or later."""
PART_MS = 600_000
"""How much is made a turn where the server makes none: ours keeps no more than 15 minutes."""


class _Phase(StrEnum):
    CONNECTING = "connecting"
    CONFIGURING = "configuring"
    RETRYING = "retrying"
    READY = "ready"
    ENDING = "ending"
    """There is no more audio; some may still be written down."""
    STOPPED = "stopped"


class Transcription:
    """One transcription. `options` are those of the session, and `has_turns` whether the server
    tells what is a turn; without, what was heard cannot be found again after a lost connection.
    `from_file` is whether the audio is that of a file, as fast as the server takes it, and
    `input_rate` the samples a second that the server is to take."""

    def __init__(
        self,
        model: str,
        options: Options,
        *,
        has_turns: bool,
        from_file: bool = False,
        input_rate: int = 0,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - a frozen value
    ) -> None:
        self._model = model
        self._options = options
        self._has_turns = has_turns
        self._timeouts = timeouts
        self._phase = _Phase.CONNECTING
        speech = SpeechOptions(has_microphone=True, push_to_talk=False, input_rate=input_rate)
        self._speech = Speech(speech, from_file=from_file)
        self._words = Reply(between="\n")
        self._before: list[str] = []
        """What was heard on connections that are lost: the next may use the same ids again."""
        self._is_begun = False
        """Whether anything of `_words` was shown."""
        self._unheard: dict[str, bytes] = {}
        """What was said and is not written down yet, by the id of its item."""
        self._awaited = ""
        """The first of them that others wait for, when somebody last looked."""
        self._passed: set[str] = set()
        """Those that nobody waits for any more."""
        self._is_stopping = False
        self._input_ended = False
        self._end_came = 0.0
        self._exit = ExitCode.OK
        self._uncommitted = 0
        """Bytes of audio that are no turn yet."""
        self._has_parts = False
        """Whether others are, by our hand."""
        self._said_error = ""
        """The last error that was shown: a server may say it of every event."""
        self._line_is_over = False
        """Whether what was shown last ended its line."""
        self._commit = self._clear = ""
        """The ids of our last two commands, until the server has answered the second."""
        self._began = 0.0
        self._ready: float | None = None
        self._first: float | None = None
        self._attempt = 0
        self._sent = 0
        self._now = 0.0
        self._out: list[fx.Effect] = []

    def handle(self, event: ev.Event, now: float = 0.0) -> list[fx.Effect]:
        """What to do about an event. `now` is seconds on a clock that only goes forward."""
        self._now, self._out = now, []
        if self._phase is not _Phase.STOPPED:
            self._dispatch(event)
        return self._out

    def _dispatch(self, event: ev.Event) -> None:  # noqa: C901 - one case an event is the point
        match event:
            case ev.AudioCaptured(audio):
                self._captured(audio)
            case ev.Delta(Channel.HEARD):
                self._hear(event)
            case ev.ChannelDone(Channel.HEARD, text, item_id=item_id):
                self._heard(item_id, text)
            case ev.TranscriptionFailed(item_id, message):
                self._notice("error", f"what was said could not be written down: {message}")
                self._exit = ExitCode.REPLY
                self._heard(item_id, "")
            case ev.SpeechStarted(_, start_ms):
                self._speech.started(start_ms)
            case ev.SpeechStopped(_, end_ms):
                self._speech.stopped(end_ms)
            case ev.AudioCommitted(item_id):
                self._committed(item_id)
            case ev.AudioCleared():
                self._cleared()
            case ev.Started():
                self._began = self._now
                self._connect()
            case ev.ConnectionOpened():
                self._do(fx.SetTimer(ev.Timer.START, self._timeouts.start))
            case ev.SessionCreated() if self._phase is _Phase.CONNECTING:
                self._speech.agree(event)
                self._phase = _Phase.CONFIGURING
                self._send(fx.Configure(self._options))
            case ev.SessionUpdated() if self._phase is _Phase.CONFIGURING:
                self._speech.agree(event)
                if problem := self._speech.wrong_format():
                    self._over(problem)
                else:
                    self._configured()
            case ev.ServerProblem():
                self._problem(event)
            case ev.ConnectionLost():
                self._lost(event)
            case ev.CancelPressed():
                self._stop_input()
            case ev.InputEnded(problem) | ev.MicrophoneLost(problem):
                self._end_input(problem)
            case ev.LeaveAsked(exit_code):
                self._leave(exit_code)
            case ev.TimerFired(timer):
                self._timer(timer)
            case ev.Unknown(kind, why):
                self._notice("detail", f"passed over {kind or 'a frame'}: {why}")
            case _:
                pass

    # ------------------------------------------------------------------------------- the connection

    def _connect(self) -> None:
        self._phase = _Phase.CONNECTING
        self._show(fx.Connecting(self._model))
        self._do(fx.Connect(self._model))

    def _configured(self) -> None:
        self._phase = _Phase.READY
        self._do(fx.ClearTimer(ev.Timer.START))
        if self._ready is None:
            self._ready = self._now - self._began
        self._show(fx.Ready(self._model, self._ready))
        for audio in self._speech.opened():
            self._send(audio)
        self._end()

    def _lost(self, lost: ev.ConnectionLost) -> None:
        if self._phase is _Phase.RETRYING:
            return
        self._clear_timers()
        self._input_ended |= self._is_stopping
        worth_it = lost.retry is ev.Retry.ALWAYS if self._ready is None else self._is_worth_it(lost)
        delay = backoff(self._attempt, lost.retry_after)
        if not worth_it or delay is None:
            self._over(lost.problem)
            return
        self._flush_words()
        self._speech.closed()
        self._speech.hold_first(self._unheard.values())
        self._unheard.clear()
        self._passed.clear()
        self._awaited = ""
        self._commit = self._clear = ""
        self._attempt += 1
        self._phase = _Phase.RETRYING
        self._show(fx.Waiting(lost.problem.message, delay))
        self._do(fx.SetTimer(ev.Timer.RETRY, delay, jitter=0.25))

    def _is_worth_it(self, lost: ev.ConnectionLost) -> bool:
        """Whether another connection can go on where the last one was."""
        return self._has_turns and lost.retry is not ev.Retry.NEVER

    def _problem(self, error: ev.ServerProblem) -> None:
        if error.event_id and error.event_id == self._clear:
            self._cleared()
        elif self._is_of_commit(error) and self._nothing_is_left:
            pass
        elif self._phase in (_Phase.CONNECTING, _Phase.CONFIGURING):
            self._over(server_errors.refused_settings(error))
        elif server_errors.is_fatal(error) or error.code == server_errors.DEAF:
            self._over(server_errors.of_error(error))
        elif error.code != server_errors.EXPIRED:  # the close that follows says the same
            self._exit = ExitCode.REPLY
            level: fx.Level = "detail" if error.message == self._said_error else "error"
            self._said_error = error.message
            self._notice(level, f"the server reports: {error.message}")

    def _is_of_commit(self, error: ev.ServerProblem) -> bool:
        """Not every server names the command that it refuses."""
        if not error.event_id:
            return error.code == server_errors.EMPTY
        return error.event_id == self._commit

    @property
    def _nothing_is_left(self) -> bool:
        """Whether the server had no turn to make of the rest: all of it is in turns, or the input
        was bad, which was said."""
        is_done = self._has_parts and self._uncommitted < SHORTEST_MS * BYTES_A_MS
        return self._has_turns or is_done or self._exit is not ExitCode.OK

    def _timer(self, timer: ev.Timer) -> None:
        match timer:
            case ev.Timer.RETRY:
                self._connect()
            case ev.Timer.INPUT:
                self._end_input(None)
            case ev.Timer.HEARD:
                self._pass_over(self._awaited)
            case ev.Timer.START | ev.Timer.STALL:
                self._do(fx.Disconnect())
                message = "the server sent nothing for too long"
                hint = "give it longer with --timeout and --connect-timeout"
                self._over(Problem(ExitCode.LINK, message, hint))
            case _:
                pass

    # ---------------------------------------------------------------------------------------- words

    def _captured(self, audio: bytes) -> None:
        if self._input_ended:
            return
        command = self._speech.captured(audio, has_session=self._phase is _Phase.READY)
        if command is None:
            return
        self._send(replace(command, live=False))
        self._uncommitted += len(audio)
        if not self._has_turns and self._uncommitted >= PART_MS * BYTES_A_MS:
            self._uncommitted, self._has_parts = 0, True
            self._send(fx.CommitAudio())

    def _committed(self, item_id: str) -> None:
        self._unheard[item_id] = self._speech.committed()
        self._words.add(Delta(Channel.TEXT, "", item_id=item_id))  # the place of its words
        self._wait_in_order()

    def _hear(self, heard: Delta) -> None:
        if heard.item_id == self._awaited:
            self._do(fx.SetTimer(ev.Timer.HEARD, LATE))
        text = Delta(Channel.TEXT, heard.text, item_id=heard.item_id, held=heard.held)
        self._show_words(self._words.add(text))

    def _heard(self, item_id: str, text: str) -> None:
        self._attempt = 0
        self._unheard.pop(item_id, None)
        self._end_turn(item_id, text)
        self._wait_in_order()
        self._end_if_done()

    def _end_turn(self, item_id: str, text: str = "") -> None:
        done = ChannelDone(Channel.TEXT, text, item_id=item_id)
        self._show_words(self._words.channel_done(done))
        if self._words.is_between and self._is_begun and not self._line_is_over:
            self._line_is_over = True  # whoever reads lines need not wait for the next
            self._show(fx.TextArrived("\n"))

    def _wait_in_order(self) -> None:
        """Servers write down several turns at once: those that are done wait for those before."""
        first = next((item for item in self._unheard if item not in self._passed), "")
        if first != self._awaited:
            self._awaited = first
            self._do(fx.SetTimer(ev.Timer.HEARD, LATE) if first else fx.ClearTimer(ev.Timer.HEARD))

    def _pass_over(self, item_id: str) -> None:
        """Its words may never come; should they, they stand where they come."""
        self._passed.add(item_id)
        self._end_turn(item_id)
        self._wait_in_order()

    def _show_words(self, text: str) -> None:
        if text and self._first is None:
            self._first = self._now - self._began
        if text:
            joint = "" if self._is_begun or not self._before else "\n"
            self._is_begun = True
            text = joint + text
            if self._line_is_over:
                text = text.removeprefix("\n")
            self._line_is_over = False
            self._show(fx.TextArrived(text))

    def _flush_words(self) -> None:
        """Nothing more comes of what was heard so far."""
        self._show_words(self._words.finish())
        if self._words.text:
            self._before.append(self._words.text)
        self._words, self._is_begun = Reply(between="\n"), False

    def _stop_input(self) -> None:
        """Nobody says any more; the second time nobody waits for what was said either."""
        is_late = self._input_ended and self._now - self._end_came > LAST_WORDS
        if self._is_stopping or is_late:
            self._leave(ExitCode.INTERRUPTED)
            return
        self._is_stopping = True
        if not self._input_ended:
            self._do(fx.SetTimer(ev.Timer.INPUT, LAST_WORDS))

    def _end_input(self, problem: Problem | None) -> None:
        if self._input_ended:
            return
        self._input_ended, self._end_came = True, self._now
        if problem is not None and self._phase is not _Phase.READY and not self._speech.has_audio:
            self._over(problem)  # there is nothing to wait for a server for
            return
        if problem is not None:
            self._exit = problem.exit
            self._notice("error", str(problem))
        self._end()

    def _end(self) -> None:
        """Once there is no more audio, what is left of it is a turn."""
        if self._input_ended and self._phase is _Phase.READY:
            self._phase = _Phase.ENDING
            self._commit = self._send(fx.CommitAudio())
            # The server may be behind with turns of its own: the answer to this comes after them.
            self._clear = self._send(fx.ClearAudio())
            self._do(fx.SetTimer(ev.Timer.STALL, self._timeouts.reply))

    def _cleared(self) -> None:
        self._clear = ""
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._phase is _Phase.ENDING and not self._clear and not self._unheard:
            self._over(None)

    def _leave(self, exit_code: ExitCode) -> None:
        if self._before or self._words.text:
            self._end_words(Status.CANCELLED, None)
        self._stop(exit_code)

    def _over(self, problem: Problem | None) -> None:
        """The end, and why."""
        self._end_words(Status.COMPLETED if problem is None else Status.INCOMPLETE, problem)
        self._stop(self._exit if problem is None else problem.exit)

    def _end_words(self, status: Status, problem: Problem | None) -> None:
        """What was heard stays."""
        self._flush_words()
        timing = fx.Timing(self._ready, self._first, self._now - self._began)
        text = "\n".join(self._before)
        self._show(fx.ReplyOver(status, text, self._model, problem=problem, timing=timing))

    # ---------------------------------------------------------------------------------------- small

    def _do(self, effect: fx.Effect) -> None:
        self._out.append(effect)

    def _show(self, update: fx.Update) -> None:
        self._out.append(fx.Show(update))

    def _notice(self, level: fx.Level, text: str) -> None:
        self._show(fx.Notice(level, text))

    def _send(self, command: fx.Command) -> str:
        self._sent += 1
        event_id = f"rtchat_{self._sent}"
        self._do(fx.Send(event_id, command))
        return event_id

    def _stop(self, exit_code: ExitCode) -> None:
        self._phase = _Phase.STOPPED
        self._clear_timers()
        self._do(fx.Stop(exit_code))

    def _clear_timers(self) -> None:
        self._out.extend(fx.ClearTimer(timer) for timer in ev.Timer)
