"""A transcription session: audio in, transcripts out, no replies.

Like `conversation`: events in, effects out, no I/O and no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices, server_errors
from rtchat.core import signals as sg
from rtchat.core.audio_commits import AudioCommits
from rtchat.core.audio_formats import AudioFormats
from rtchat.core.backoff import Timeouts
from rtchat.core.connection import Phase, SessionConnection
from rtchat.core.errors import CHECK_KEY, ExitCode, Problem
from rtchat.core.options import SessionOptions
from rtchat.core.pending_transcripts import PendingTranscripts
from rtchat.core.signals import Output, report
from rtchat.core.speech_input import SpeechInput, SpeechOptions
from rtchat.core.transcript_lines import TranscriptLines
from rtchat.core.values import Channel, Options, Status

CLEAR_WAIT = 3.0
"""Seconds after the last transcript. Servers that do not know `input_audio_buffer.clear` never
answer it, and so do not say that they have processed all audio."""
LAST_AUDIO_WAIT = 0.5
"""Seconds to wait for the last audio after Ctrl-C. A program that records into a pipe receives the
same Ctrl-C, a little earlier or later."""


class Transcription:
    """One transcription. `options` are those of the session. `has_turns` is whether the server
    detects turns; otherwise the transcription cannot continue after a lost connection. `from_file`
    is whether the audio comes from a file, as fast as the server accepts it, and `input_rate` the
    requested input rate in samples per second."""

    def __init__(
        self,
        model: str,
        options: Options,
        *,
        has_turns: bool,
        from_file: bool = False,
        input_rate: int = 0,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - a frozen value
        key_hint: str = CHECK_KEY,
    ) -> None:
        self._model = model
        self._timeouts = timeouts
        self._time = sg.EventTime()
        self._connection = SessionConnection(
            model,
            SessionOptions(options, Options()),
            self._time,
            timeouts=timeouts,
            formats=AudioFormats(input_rate, 0),
            renews=False,
            resumes=has_turns,
            key_hint=key_hint,
        )
        self._commits = AudioCommits(self._connection, has_turns=has_turns)
        speech = SpeechOptions(has_microphone=True, push_to_talk=False)
        self._speech = SpeechInput(speech, from_file=from_file)
        self._is_ending = False
        """Whether the remaining audio was committed, as there is no more."""
        self._is_stopped = False
        self._text = TranscriptLines()
        self._pending = PendingTranscripts()
        self._is_stopping = False
        self._input_ended = False
        self._input_ended_at = 0.0
        self._exit = ExitCode.OK
        self._last_error = ""
        """The last error shown: a server may repeat it for every event."""
        self._began = 0.0
        self._ready: float | None = None
        self._first: float | None = None
        self._out: list[fx.Effect] = []

    def handle(self, event: ev.Event, now: float = 0.0) -> list[fx.Effect]:
        """Return the effects of an event. `now` is in seconds of a monotonic clock."""
        self._time.now, self._out = now, []
        if not self._is_stopped:
            self._dispatch(event)
        return self._out

    def _dispatch(self, event: ev.Event) -> None:  # noqa: C901 - one case per event
        match event:
            case ev.AudioCaptured(audio):
                self._captured(audio)
            case ev.Delta(Channel.INPUT_TRANSCRIPT):
                item_id = self._pending.own_id(event.item_id)
                self._do(*self._pending.extend(item_id))
                self._show_text(self._text.add(replace(event, item_id=item_id)))
            case ev.ChannelDone(Channel.INPUT_TRANSCRIPT, text, item_id=item_id):
                self._transcript_done(self._pending.own_id(item_id), text)
            case ev.TranscriptionFailed(item_id, message):
                self._do(notices.transcription_failed(message))
                self._exit = ExitCode.REPLY
                self._transcript_done(self._pending.own_id(item_id), "")
            case ev.SpeechStarted(_, start_ms):
                self._speech.started(start_ms)
            case ev.SpeechStopped(_, end_ms):
                self._speech.stopped(end_ms)
            case ev.AudioCommitted(item_id):
                self._committed(item_id)
            case ev.AudioCleared():
                self._commits.forget()
                self._end_if_done()
            case ev.Started():
                self._began = self._time.now
                self._perform(self._connection.handle(event))
            case (
                ev.ConnectionOpened()
                | ev.SessionCreated()
                | ev.SessionUpdated()
                | ev.ConnectionLost()
            ):
                self._perform(self._connection.handle(event))
            case ev.ServerWarning(message):
                self._do(self._connection.server_reports(message, "warning"))
            case ev.ServerProblem():
                self._problem(event)
            case ev.CancelPressed():
                self._stop_input()
            case ev.InputEnded(problem) | ev.MicrophoneLost(problem):
                self._end_input(problem)
            case ev.LeaveAsked(exit_code):
                self._leave(exit_code)
            case ev.TimerFired(timer):
                self._timer(timer)
            case ev.Unknown(kind, why):
                self._do(notices.ignored_event(kind, why))
            case _:
                pass

    # ------------------------------------------------------------------------------- the connection

    def _perform(self, outputs: Iterable[Output]) -> None:
        """Perform the effects of the connection, and handle its signals."""
        for output in outputs:
            match output:
                case sg.SessionReady():
                    self._begin_session()
                case sg.SessionLost(problem, will_retry):
                    self._lose_session(problem, will_retry=will_retry)
                case sg.SessionUnusable(problem):
                    self._finish(problem)
                case _ if not isinstance(output, sg.Signal):
                    self._do(output)
                case _:
                    pass

    def _begin_session(self) -> None:
        if self._ready is None:
            self._ready = self._time.now - self._began
        self._do(fx.Show(fx.Ready(self._model, self._ready, session=self._connection.session)))
        for audio in self._speech.opened():
            self._do(self._connection.send(audio))
        self._end()

    def _lose_session(self, problem: Problem, *, will_retry: bool) -> None:
        self._input_ended |= self._is_stopping
        if not will_retry:
            self._finish(problem)
            return
        self._is_ending = False
        self._show_text(self._text.end_connection())
        self._speech.closed()
        self._speech.hold_first(self._pending.clear())
        self._commits.forget()

    def _problem(self, error: ev.ServerProblem) -> None:
        if self._commits.is_about_clear(error):
            self._commits.forget()
            self._end_if_done()
        elif self._commits.is_about_commit(error) and (
            self._commits.is_complete or self._exit is not ExitCode.OK
        ):
            pass  # all audio is in turns, or the input failed, which was reported
        elif self._connection.phase in (Phase.CONNECTING, Phase.CONFIGURING):
            self._finish(server_errors.refused_settings(error))
        elif server_errors.is_fatal(error) or error.code == server_errors.NO_AUDIO_SUPPORT:
            self._finish(server_errors.of_error(error))
        elif self._is_about_empty_commit(error):
            self._do(self._connection.server_reports(error.message, "detail"))
            self._end_if_done()
        elif error.code != server_errors.EXPIRED:  # the close that follows is reported
            self._exit = ExitCode.REPLY
            level: fx.Level = "detail" if error.message == self._last_error else "error"
            self._last_error = error.message
            self._do(self._connection.server_reports(error.message, level))

    def _is_about_empty_commit(self, error: ev.ServerProblem) -> bool:
        """Whether the server, which gives no code, seems to refuse a last commit without audio."""
        is_anonymous = not error.event_id and not error.code
        return is_anonymous and self._is_ending and not self._pending and bool(self._text.all)

    def _timer(self, timer: ev.Timer) -> None:
        match timer:
            case ev.Timer.RETRY:
                self._perform(self._connection.retry())
            case ev.Timer.SETUP:
                self._perform(self._connection.setup_is_late())
            case ev.Timer.INPUT:
                self._end_input(None)
            case ev.Timer.OVERDUE:
                self._commits.forget()
                self._end_if_done()
            case ev.Timer.TRANSCRIPT:
                item_id, timer_effects = self._pending.skip()
                self._end_turn(item_id)
                self._do(*timer_effects)
            case ev.Timer.START | ev.Timer.STALL:
                self._do(fx.Disconnect())
                is_ready = self._connection.is_ready
                seconds = self._timeouts.reply if is_ready else self._timeouts.start
                self._finish(server_errors.no_response(seconds))
            case _:
                pass

    # ----------------------------------------------------------------------- audio and transcripts

    def _captured(self, audio: bytes) -> None:
        if self._input_ended:
            return
        command = self._speech.captured(audio, has_session=self._connection.is_ready)
        if command is not None:
            self._do(self._connection.send(replace(command, live=False)))
            self._do(*self._commits.sent(audio))

    def _committed(self, item_id: str) -> None:
        self._text.make_room(item_id)
        self._do(*self._pending.add(item_id, self._speech.committed()))

    def _transcript_done(self, item_id: str, text: str) -> None:
        self._connection.works()
        timer = self._pending.remove(item_id)
        self._end_turn(item_id, text)
        self._do(*timer)
        self._end_if_done()

    def _end_turn(self, item_id: str, text: str = "") -> None:
        self._show_text(self._text.end_turn(item_id, text))
        self._show_text(self._text.end_line())

    def _show_text(self, text: str) -> None:
        if text and self._first is None:
            self._first = self._time.now - self._began
        if text:
            self._do(fx.Show(fx.TextArrived(text)))

    def _stop_input(self) -> None:
        """The user stops the input; the second time, also the wait for the transcripts."""
        is_late = self._input_ended and self._time.now - self._input_ended_at > LAST_AUDIO_WAIT
        if self._is_stopping or is_late:
            self._leave(ExitCode.INTERRUPTED)
            return
        self._is_stopping = True
        if not self._input_ended:
            self._do(fx.SetTimer(ev.Timer.INPUT, LAST_AUDIO_WAIT))

    def _end_input(self, problem: Problem | None) -> None:
        if self._input_ended:
            return
        self._input_ended, self._input_ended_at = True, self._time.now
        has_audio = self._connection.is_ready or self._speech.has_audio
        if problem is not None and not has_audio:
            self._finish(problem)  # no audio is left to transcribe
            return
        if problem is not None:
            self._exit = problem.exit
            self._do(report(problem))
        self._end()

    def _end(self) -> None:
        """Once the input has ended, commit the remaining audio as the last turn."""
        if self._input_ended and self._connection.is_ready and not self._is_ending:
            self._is_ending = True
            self._do(*self._commits.finish())
            self._do(fx.SetTimer(ev.Timer.STALL, self._timeouts.reply))

    def _end_if_done(self) -> None:
        if not self._is_ending or self._pending:
            return
        if self._commits.is_pending:
            self._do(fx.SetTimer(ev.Timer.OVERDUE, CLEAR_WAIT))
        else:
            self._finish(None)

    def _leave(self, exit_code: ExitCode) -> None:
        if self._text.all:
            self._end_text(Status.CANCELLED, None)
        self._stop(exit_code)

    def _finish(self, problem: Problem | None) -> None:
        """End the transcription, because of a problem if there is one."""
        self._end_text(Status.COMPLETED if problem is None else Status.INCOMPLETE, problem)
        self._stop(self._exit if problem is None else problem.exit)

    def _end_text(self, status: Status, problem: Problem | None) -> None:
        self._show_text(self._text.end_connection())
        timing = fx.Timing(self._ready, self._first, self._time.now - self._began)
        text = self._text.all
        session = self._connection.session
        over = fx.ReplyOver(
            status,
            text,
            self._model,
            problem=problem,
            timing=timing,
            session=session,
        )
        self._do(fx.Show(over))

    # --------------------------------------------------------------------------------------- output

    def _do(self, *effects: fx.Effect) -> None:
        self._out += effects

    def _stop(self, exit_code: ExitCode) -> None:
        self._is_stopped = True
        self._out += [*sg.clear_timers(), fx.Stop(exit_code)]
