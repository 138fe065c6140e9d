"""A transcription session: audio in, transcripts out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices, server_errors
from rtchat.core.audio_commits import AudioCommits
from rtchat.core.audio_session import AudioSession, AudioSetup
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.finished_turns import FinishedTurns
from rtchat.core.pending_transcripts import PendingTranscripts
from rtchat.core.speakers import Speakers
from rtchat.core.transcript_lines import TranscriptLines
from rtchat.core.turn_times import TurnTimes
from rtchat.core.values import Channel, Dialect, TranscriptDetails, value

CLEAR_WAIT = 3.0
"""Seconds to wait after the last transcript. Servers that do not know `input_audio_buffer.clear`
do not answer it, so they do not report that all audio is processed."""


@value
class TranscriptionSetup(AudioSetup):
    """What a transcription is made from."""

    has_turns: bool = True
    """Whether the server detects turns; otherwise the transcription cannot continue after a lost
    connection."""
    has_speakers: bool = False
    """Whether the model distinguishes the speakers."""

    def make(self) -> Transcription:
        """A new transcription."""
        return Transcription(self)


class Transcription(AudioSession):
    """One transcription."""

    def __init__(self, setup: TranscriptionSetup) -> None:
        super().__init__(setup, resumes=setup.has_turns)
        self._commits = AudioCommits(self._connection, has_turns=setup.has_turns)
        self._speakers = Speakers(is_shown=setup.has_speakers)
        self._text = TranscriptLines()
        self._turns = FinishedTurns()
        self._times = TurnTimes()
        self._pending = PendingTranscripts()

    SETTINGS_HINT = "check --language, --prompt, --vad and --set, or set the dialect with --dialect"

    def _unsuitable(self, session: ev.SessionCreated) -> Problem | None:
        is_suitable = session.dialect is not Dialect.TRANSLATION
        return None if is_suitable else server_errors.only_translation()

    def _receive(self, event: ev.Event) -> None:
        match event:
            case ev.Delta(Channel.INPUT_TRANSCRIPT):
                item_id = self._pending.own_id(event.item_id)
                self._do(*self._pending.extend(item_id))
                if not self._speakers.is_shown:
                    self._add_partial(item_id, event)
            case ev.SegmentTranscribed():
                self._segment(event)
            case ev.ChannelDone(Channel.INPUT_TRANSCRIPT):
                self._transcript_done(event)
            case ev.TranscriptionFailed():
                self._transcript_failed(event)
            case ev.SpeechStarted(item_id, start_ms):
                self._pending.begin(item_id)
                self._speech.started(start_ms)
                self._times.started(item_id, start_ms)
            case ev.SpeechStopped(item_id, end_ms):
                self._speech.stopped(end_ms)
                self._times.stopped(item_id, end_ms)
            case ev.AudioCommitted(item_id):
                self._text.make_room(item_id)
                times = self._times.committed(item_id, self._speech.sent_ms)
                self._turns.begin(item_id, *self._speech.input_times(*times))
                self._do(*self._pending.add(item_id, self._speech.committed()))
            case ev.AudioCleared():
                self._commits.forget()
                self._end_if_done()
            case _:
                pass

    def _session_lost(self, problem: Problem) -> None:
        self._end_lines()
        self._speakers.clear()
        self._times.clear()
        self._speech.closed()
        self._speech.hold_first(self._pending.clear())
        self._commits.forget()

    def _problem(self, error: ev.ServerProblem) -> None:
        if self._commits.is_about_clear(error):
            self._commits.forget()
            self._end_if_done()
        elif self._commits.is_about_commit(error) and (
            self._commits.is_complete or self._input_problem or self._exit is not ExitCode.OK
        ):
            pass  # all audio is in turns, or the input failed, which was reported
        elif self._is_about_empty_commit(error):
            self._do(self._connection.server_reports(error.message, "detail"))
            self._end_if_done()
        else:
            super()._problem(error)

    def _is_about_empty_commit(self, error: ev.ServerProblem) -> bool:
        """Whether an error without a code probably refuses the last commit for lack of audio."""
        is_anonymous = not error.event_id and not error.code
        return is_anonymous and self._is_ending and not self._pending and bool(self._text.all)

    def _timer(self, timer: ev.Timer) -> None:
        match timer:
            case ev.Timer.OVERDUE:
                self._commits.forget()
                self._end_if_done()
            case ev.Timer.TRANSCRIPT:
                item_id, timer_effects = self._pending.skip()
                self._show_text(self._text.skip_turn(item_id))
                self._show_text(self._text.end_line())
                self._show(self._turns.skip(item_id))
                self._do(*timer_effects)
            case _:
                super()._timer(timer)

    # ----------------------------------------------------------------------- audio and transcripts

    def _audio_sent(self, audio: bytes) -> None:
        commits = self._commits.sent(audio)
        if commits:
            self._times.commit(self._speech.sent_ms)
        self._do(*commits)

    def _segment(self, segment: ev.SegmentTranscribed) -> None:
        item_id = self._pending.own_id(segment.item_id)
        self._do(*self._pending.extend(item_id))
        if text := self._speakers.add(replace(segment, item_id=item_id)):
            self._add_partial(item_id, ev.Delta(Channel.TEXT, text))

    def _add_partial(self, item_id: str, delta: ev.Delta) -> None:
        self._text.add_partial(item_id, delta)
        self._do(fx.Show(fx.PartialTranscript(self._text.partial)))

    def _transcript_done(self, done: ev.ChannelDone) -> None:
        item_id = self._pending.own_id(done.item_id)
        self._connection.works()
        self._add_usage(done.usage)
        details = TranscriptDetails(self._model, done.usage, self._bill(done.usage), done.details)
        labelled, segments = self._speakers.take(item_id, done.segments)
        turn = fx.TurnTranscribed(item_id, done.text, details, segments, words=done.words)
        self._show(self._turns.add(turn))
        self._end_pending(item_id, labelled or done.text)

    def _transcript_failed(self, failed: ev.TranscriptionFailed) -> None:
        error = ev.ServerProblem(failed.message, code=failed.code)
        if server_errors.is_fatal(error):  # the next turns would fail, too
            self._fail(server_errors.of_error(error))
            return
        self._do(notices.transcription_failed(failed.message, self._connection.session.ids()))
        self._exit = server_errors.of_error(error).exit
        item_id = self._pending.own_id(failed.item_id)
        self._show(self._turns.add(fx.TurnTranscribed(item_id, "", error=failed.message)))
        self._end_pending(item_id)

    def _end_pending(self, item_id: str, text: str = "") -> None:
        timer = self._pending.remove(item_id)
        self._end_turn(item_id, text)
        self._do(*timer)
        self._end_if_done()

    def _end_turn(self, item_id: str, text: str = "") -> None:
        before = self._text.partial
        self._show_text(self._text.end_turn(item_id, text))
        self._show_text(self._text.end_line())
        if self._text.partial != before:
            self._do(fx.Show(fx.PartialTranscript(self._text.partial)))

    def _send_end(self) -> None:
        self._times.commit(self._speech.sent_ms)
        self._do(*self._commits.finish())

    def _end_if_done(self) -> None:
        if not self._is_ending or self._pending:
            return
        if self._commits.is_pending:
            self._do(fx.SetTimer(ev.Timer.OVERDUE, CLEAR_WAIT))
        else:
            self._finish(None)

    def _end_text(self) -> str:
        self._end_lines()
        return self._text.all

    def _end_lines(self) -> None:
        self._show(self._turns.end(self._text.unfinished))
        self._show_text(self._text.end_connection())

    def _show(self, turns: Iterable[fx.TurnTranscribed]) -> None:
        self._do(*map(fx.Show, turns))
