"""What transcription and translation sessions share: audio in, text out, no replies.

Like `conversation`: events in, effects out, no I/O and no clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices, server_errors
from rtchat.core import signals as sg
from rtchat.core.audio_formats import AudioFormats
from rtchat.core.backoff import Timeouts
from rtchat.core.connection import Phase, SessionConnection
from rtchat.core.errors import CHECK_KEY, ExitCode, Problem
from rtchat.core.models import Rate
from rtchat.core.options import SessionOptions
from rtchat.core.pricing import cost
from rtchat.core.signals import Output, report
from rtchat.core.speech_input import SpeechInput, SpeechOptions
from rtchat.core.values import AudioFormat, Encoding, Options, Status, Usage, value

LAST_AUDIO_WAIT = 0.5
"""Seconds to wait for the last audio after Ctrl-C. A program that records into a pipe receives the
same Ctrl-C, a little earlier or later."""


@value
class AudioSetup:
    """What a session is made from; a trace records it, so that a replay makes the same one."""

    model: str
    options: Options
    """The options of the session."""
    from_file: bool = False
    """Whether the audio comes from a file, as fast as the server accepts it."""
    input_rate: int = 0
    """Samples per second of the audio sent to the server; 0 if the server decides."""
    input_encoding: Encoding = Encoding.PCM
    timeouts: Timeouts = Timeouts()
    price: Rate | None = None
    """The price of the model, if known."""
    key_hint: str = CHECK_KEY
    """The hint if the server refuses the key."""

    @property
    def input_format(self) -> AudioFormat | None:
        """The format of the audio sent to the server; None if the server decides."""
        return AudioFormat(self.input_encoding, self.input_rate) if self.input_rate else None

    @property
    def output_format(self) -> AudioFormat | None:
        """The format of the audio from the server; None if there is none."""
        return None


class AudioSession(ABC):
    """One session, over one connection after another. `resumes` is whether another session can
    continue after a lost connection."""

    SETTINGS_HINT: ClassVar[str]
    """What to do if the server refuses the settings."""

    def __init__(self, setup: AudioSetup, *, resumes: bool = True) -> None:
        self._model = setup.model
        self._timeouts = setup.timeouts
        self._price = setup.price
        self._from_file = setup.from_file
        self._time = sg.EventTime()
        self._connection = SessionConnection(
            setup.model,
            SessionOptions(setup.options, Options()),
            self._time,
            timeouts=setup.timeouts,
            formats=AudioFormats(setup.input_format, setup.output_format),
            renews=False,
            resumes=resumes,
            key_hint=setup.key_hint,
        )
        speech = SpeechOptions(has_microphone=True, push_to_talk=False)
        self._speech = SpeechInput(speech, from_file=setup.from_file)
        self._is_ending = False
        """Whether the server knows that there is no more audio."""
        self._is_stopped = False
        self._is_stopping = False
        self._input_ended = False
        self._input_ended_at = 0.0
        self._input_problem: Problem | None = None
        """Why the input failed, until it is reported: the user may still stop the input."""
        self._exit = ExitCode.OK
        self._usage: Usage | None = None
        self._last_error = ""
        """The last error shown: a server may repeat it for every event."""
        self._began = 0.0
        self._ready: float | None = None
        self._first: float | None = None
        self._out: list[fx.Effect] = []

    def handle(self, event: ev.Event, now: float = 0.0) -> list[fx.Effect]:
        """Return the effects of an event. `now` is in seconds of a monotonic clock."""
        self._time.now = now
        self._out = []
        if not self._is_stopped:
            self._dispatch(event)
        return self._out

    def _dispatch(self, event: ev.Event) -> None:  # noqa: C901 - one case per event
        match event:
            case ev.AudioCaptured(audio):
                self._captured(audio)
            case ev.Started():
                self._began = self._time.now
                self._perform(self._connection.handle(event))
            case ev.SessionCreated() if (problem := self._unsuitable(event)) is not None:
                self._perform(self._connection.close(problem, ev.Retry.NEVER))
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
            case ev.InputEnded(problem):
                self._end_input(problem)
            case ev.MicrophoneLost(problem):
                self._end_input(problem)
                self._report_input_problem()
            case ev.LeaveAsked(exit_code):
                self._leave(exit_code)
            case ev.TimerFired(timer):
                self._timer(timer)
            case ev.Unknown(kind, why):
                self._do(notices.ignored_event(kind, why))
            case _:
                self._receive(event)

    # ---------------------------------------------------------------------- of each kind of session

    @abstractmethod
    def _unsuitable(self, session: ev.SessionCreated) -> Problem | None:
        """The problem if the server opened a session of another kind."""

    @abstractmethod
    def _receive(self, event: ev.Event) -> None:
        """Handle the output of the server: its text and audio."""

    @abstractmethod
    def _audio_sent(self, audio: bytes) -> None:
        """Audio was sent to the server."""

    @abstractmethod
    def _send_end(self) -> None:
        """Tell the server that there is no more audio."""

    @abstractmethod
    def _session_lost(self, problem: Problem) -> None:
        """The session was lost and will be replaced."""

    @abstractmethod
    def _end_text(self) -> str:
        """End the text at the end of the program. Return the whole text."""

    # ------------------------------------------------------------------------------- the connection

    def _perform(self, outputs: Iterable[Output]) -> None:
        """Perform the effects of the connection, and handle its signals."""
        for output in outputs:
            if self._is_stopped:
                return
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
        for command in self._speech.opened():
            self._send_audio(command)
        self._end()

    def _lose_session(self, problem: Problem, *, will_retry: bool) -> None:
        self._input_ended |= self._is_stopping
        if not will_retry:
            self._finish(problem)
            return
        self._session_lost(problem)
        self._is_ending = False

    def _problem(self, error: ev.ServerProblem) -> None:
        if self._connection.phase in (Phase.CONNECTING, Phase.CONFIGURING):
            self._fail(server_errors.refused_settings(error, self.SETTINGS_HINT))
        elif server_errors.is_fatal(error) or error.code == server_errors.NO_AUDIO_SUPPORT:
            self._fail(server_errors.of_error(error))
        elif error.code != server_errors.EXPIRED:  # the close that follows is reported
            self._exit = server_errors.of_error(error).exit
            level: fx.Level = "detail" if error.message == self._last_error else "error"
            self._last_error = error.message
            self._do(self._connection.server_reports(error.message, level))

    def _timer(self, timer: ev.Timer) -> None:
        match timer:
            case ev.Timer.RETRY:
                self._perform(self._connection.retry())
            case ev.Timer.SETUP:
                self._perform(self._connection.setup_is_late())
            case ev.Timer.INPUT:
                self._end_input(None)
            case ev.Timer.START | ev.Timer.STALL:
                self._do(fx.Disconnect())
                is_ready = self._connection.is_ready
                seconds = self._timeouts.reply if is_ready else self._timeouts.start
                self._fail(server_errors.no_response(seconds))
            case _:
                pass

    # --------------------------------------------------------------------------------- audio, usage

    def _captured(self, audio: bytes) -> None:
        if self._input_ended:
            return
        command = self._speech.captured(audio, has_session=self._connection.is_ready)
        if command is not None:
            self._send_audio(replace(command, live=False))

    def _send_audio(self, command: fx.AppendAudio) -> None:
        self._do(self._connection.send(command))
        self._audio_sent(command.audio)

    def _add_usage(self, usage: Usage | None) -> None:
        if usage is not None:
            self._usage = usage if self._usage is None else self._usage + usage

    def _bill(self, usage: Usage | None) -> float | None:
        """The cost of this usage in US dollars; None if it is not known."""
        return None if usage is None or self._price is None else cost(usage, self._price)

    def _show_text(self, text: str) -> None:
        if text and self._first is None:
            self._first = self._time.now - self._began
        if text:
            self._do(fx.Show(fx.TextArrived(text)))

    # -------------------------------------------------------------------------------------- the end

    def _stop_input(self) -> None:
        """The user stops the input and, the second time, the wait for the rest of the text."""
        is_late = self._input_ended and self._time.now - self._input_ended_at > LAST_AUDIO_WAIT
        if self._is_stopping or is_late:
            self._leave(ExitCode.INTERRUPTED)
            return
        self._is_stopping = True
        self._do(fx.Show(fx.InputStopped()))
        if not self._input_ended:
            self._do(fx.SetTimer(ev.Timer.INPUT, LAST_AUDIO_WAIT))

    def _end_input(self, problem: Problem | None) -> None:
        if self._input_ended:
            return
        if self._is_stopping:
            problem = None  # the user ended the input
        self._input_ended, self._input_ended_at = True, self._time.now
        has_audio = self._connection.is_ready or self._speech.has_audio
        if problem is not None and not has_audio:
            self._finish(problem)  # no audio is left to process
            return
        self._input_problem = problem
        self._end()

    def _report_input_problem(self) -> None:
        """Report why the input failed. A pipe that ends because of Ctrl-C has not failed."""
        problem, self._input_problem = self._input_problem, None
        if problem is not None and not self._is_stopping:
            self._exit = problem.exit
            self._do(report(problem))

    def _end(self) -> None:
        """Once the input has ended, tell the server."""
        if self._input_ended and self._connection.is_ready and not self._is_ending:
            self._is_ending = True
            self._send_end()
            self._do(fx.SetTimer(ev.Timer.STALL, self._timeouts.reply))

    def _leave(self, exit_code: ExitCode) -> None:
        self._over(Status.CANCELLED, None, is_needed=False)
        self._stop(exit_code)

    def _fail(self, problem: Problem) -> None:
        """End the session because of a problem of the server."""
        self._finish(self._connection.identify(problem))

    def _finish(self, problem: Problem | None) -> None:
        """End the session, because of a problem if there is one."""
        self._report_input_problem()
        self._over(Status.COMPLETED if problem is None else Status.INCOMPLETE, problem)
        self._stop(self._exit if problem is None else problem.exit)

    def _over(self, status: Status, problem: Problem | None, *, is_needed: bool = True) -> None:
        """Show the end and the usage; unless `is_needed`, only if there is any text."""
        text = self._end_text()
        if not text and not is_needed:
            return
        timing = fx.Timing(self._ready, self._first, self._time.now - self._began)
        usage, bill = self._usage, self._bill(self._usage)
        over = fx.ReplyOver(
            status,
            text,
            self._model,
            problem=problem,
            usage=usage,
            timing=timing,
            cost=bill,
            session=self._connection.session,
        )
        self._do(fx.Show(over))

    def _do(self, *effects: fx.Effect) -> None:
        self._out += effects

    def _stop(self, exit_code: ExitCode) -> None:
        self._is_stopped = True
        self._speech.end()
        self._out += [*sg.clear_timers(), fx.Stop(exit_code)]
