"""The transcription of a long recording, whose pieces are transcribed in several sessions at once.

Like `conversation`: events in, effects out, no I/O and no clock. The transcripts are shown in the
order of the pieces. A piece that fails is tried again once, in another session. If the server
refuses a session, fewer are open at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from rtchat.core import effects as fx
from rtchat.core import notices
from rtchat.core.cues import offset_ms
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import LeaveAsked
from rtchat.core.pieces import (
    AudioEnded,
    Begun,
    Effect,
    EndPiece,
    Event,
    FinishedPiece,
    ForgetPieces,
    PieceCut,
    PieceOutcome,
    PieceOver,
    PieceReady,
    PieceTranscript,
    PieceUpdate,
    StartPiece,
    Wait,
    WaitOver,
)
from rtchat.core.server_errors import NO_AUDIO_SUPPORT
from rtchat.core.signals import report
from rtchat.core.values import SessionInfo, Status, Usage

MAX_SESSIONS = 4
"""Sessions at once."""
MAX_REFUSALS = 8
"""How often in a row a server may refuse the only session."""
FIRST_WAIT, MAX_WAIT = 0.1, 8.0
"""Seconds to wait after the first refusal, which double with each further one, and their limit."""
_QUOTA = "insufficient_quota"


class _Piece:
    def __init__(self, cut: PieceCut) -> None:
        self.number = cut.number
        self.start_ms = cut.start_ms
        self.end_ms = cut.end_ms
        self.has_failed = False
        self.transcript: PieceTranscript | None = None
        """Its transcript, once it is to be shown."""


class LongTranscription:
    """One recording. `finished` are the pieces that an earlier run transcribed, by number."""

    def __init__(
        self,
        model: str,
        finished: Mapping[int, FinishedPiece] | None = None,
        *,
        sessions: int = MAX_SESSIONS,
    ) -> None:
        self._model = model
        self._finished = finished or {}
        self._max_sessions = sessions
        self._waiting: deque[_Piece] = deque()
        self._running: dict[int, _Piece] = {}
        self._unshown: deque[_Piece] = deque()
        """The pieces that are not shown yet, in order."""
        self._has_worked = False
        """Whether the server has accepted a session."""
        self._refusals = 0
        self._is_paused = False
        self._has_ended = False
        self._is_stopped = False
        self._is_complete = True
        """Whether no piece has failed."""
        self._exit = ExitCode.OK
        self._texts: list[str] = []
        self._shown = ""
        """The end of the text that was shown last."""
        self._usage: Usage | None = None
        self._cost: float | None = None
        self._session = SessionInfo()
        self._began = self._now = 0.0
        self._ready: float | None = None
        self._first: float | None = None
        self._out: list[Effect] = []

    @property
    def needs_audio(self) -> bool:
        """Whether the next piece can be cut; otherwise enough audio is in memory."""
        return not (self._waiting or self._is_stopped)

    def handle(self, event: Event, now: float = 0.0) -> list[Effect]:
        """Return the effects of an event. `now` is in seconds of a monotonic clock."""
        self._now = now
        self._out = []
        if not self._is_stopped:
            self._dispatch(event)
        return self._out

    def _dispatch(self, event: Event) -> None:
        match event:
            case Begun():
                self._begin()
            case PieceCut():
                self._cut(event)
            case AudioEnded(problem):
                self._end_audio(problem)
            case PieceReady(session):
                self._is_ready(session)
            case PieceOver(number, outcome):
                self._over(self._running.pop(number), outcome)
            case WaitOver():
                self._is_paused = False
            case LeaveAsked(exit_code):
                self._stop(Status.CANCELLED, None, exit_code)
            case _:
                assert_never(event)
        self._start()
        self._end_if_done()

    def _begin(self) -> None:
        self._began = self._now
        if self._finished:
            done = sum(piece.end_ms - piece.start_ms for piece in self._finished.values())
            self._out.append(notices.continuing(done / 1000))

    def _cut(self, cut: PieceCut) -> None:
        piece = _Piece(cut)
        self._unshown.append(piece)
        found = self._finished.get(cut.number)
        if found is None or (found.start_ms, found.end_ms) != (cut.start_ms, cut.end_ms):
            self._waiting.append(piece)
            return
        self._out.append(EndPiece(cut.number, is_old=True))
        self._show(piece, found.transcript)

    def _end_audio(self, problem: Problem | None) -> None:
        self._has_ended = True
        if problem is not None and not self._unshown and not self._texts:
            self._stop(Status.INCOMPLETE, problem, problem.exit)
        elif problem is not None:
            self._exit = problem.exit
            self._out.append(report(problem))

    # ------------------------------------------------------------------------------------- sessions

    def _start(self) -> None:
        """Start sessions. Until the first is accepted, there is one."""
        limit = self._max_sessions if self._has_worked else 1
        while self._waiting and len(self._running) < limit and not self._blocked:
            piece = self._waiting.popleft()
            if not self._has_worked:
                self._out.append(fx.Show(fx.Connecting(self._model)))
            self._running[piece.number] = piece
            self._out.append(StartPiece(piece.number))

    @property
    def _blocked(self) -> bool:
        return self._is_paused or self._is_stopped

    def _is_ready(self, session: SessionInfo) -> None:
        self._refusals = 0
        if self._has_worked:
            return
        self._has_worked, self._session = True, session
        self._ready = self._now - self._began
        self._out.append(fx.Show(fx.Ready(self._model, self._ready, session=session)))

    def _over(self, piece: _Piece, outcome: PieceOutcome) -> None:
        self._add_usage(outcome)
        problem = outcome.problem
        if problem is None and outcome.exit is ExitCode.OK:
            self._finish_piece(piece, outcome.transcript)
        elif problem is not None and self._is_refusal(outcome, problem):
            self._refused(piece, outcome, problem)
        elif problem is not None and _is_fatal(outcome, problem, is_second=piece.has_failed):
            self._stop(Status.INCOMPLETE, problem, problem.exit)
        elif piece.has_failed:
            self._fail_piece(piece, outcome)
        else:
            piece.has_failed = True
            self._waiting.appendleft(piece)

    def _is_refusal(self, outcome: PieceOutcome, problem: Problem) -> bool:
        """Whether the server may accept the session later, or if there are fewer at once."""
        if problem.exit is ExitCode.LIMIT and problem.code != _QUOTA:
            return self._has_worked or outcome.wait > 0
        return problem.exit is ExitCode.LINK and not outcome.was_ready and self._has_worked

    def _refused(self, piece: _Piece, outcome: PieceOutcome, problem: Problem) -> None:
        self._waiting.appendleft(piece)
        if self._running:
            self._max_sessions = len(self._running)
            self._out.append(notices.fewer_sessions(problem, self._max_sessions))
            return
        self._max_sessions = 1
        self._refusals += 1
        if self._refusals > MAX_REFUSALS:
            self._stop(Status.INCOMPLETE, problem, problem.exit)
            return
        seconds = max(outcome.wait, min(MAX_WAIT, FIRST_WAIT * 2.0 ** (self._refusals - 1)))
        self._is_paused = True
        self._out.append(Wait(seconds))
        if self._refusals > 1 or not self._has_worked:  # the server may be ending the last session
            self._out.append(fx.Show(fx.Waiting(problem.message, seconds)))

    # ---------------------------------------------------------------------------------- transcripts

    def _finish_piece(self, piece: _Piece, transcript: PieceTranscript) -> None:
        self._refusals = 0
        finished = FinishedPiece(piece.start_ms, piece.end_ms, transcript)
        self._out.append(EndPiece(piece.number, finished))
        self._show(piece, transcript)

    def _fail_piece(self, piece: _Piece, outcome: PieceOutcome) -> None:
        """Show what there is of a piece that failed twice, and its place."""
        self._exit, self._is_complete = ExitCode.REPLY, False
        start, end = piece.start_ms / 1000, piece.end_ms / 1000
        failed = notices.transcript_incomplete(start, end, outcome.problem)
        self._out.append(EndPiece(piece.number))
        transcript = outcome.transcript
        self._show(piece, replace(transcript, updates=(*transcript.updates, failed)))

    def _show(self, piece: _Piece, transcript: PieceTranscript) -> None:
        """Show a transcript, and those that waited for it, in order."""
        piece.transcript = transcript
        while self._unshown and (ready := self._unshown[0].transcript) is not None:
            start_ms = self._unshown.popleft().start_ms
            for update in ready.updates:
                self._show_update(update, start_ms)
            self._end_line()
            if ready.text:
                self._texts.append(ready.text)

    def _show_update(self, update: PieceUpdate, start_ms: int) -> None:
        match update:
            case fx.TurnTranscribed():
                self._out.append(fx.Show(shifted(update, start_ms)))
            case fx.TextArrived(text):
                self._show_text(text)
            case fx.Notice():
                self._out.append(fx.Show(update))
            case _:
                assert_never(update)

    def _end_line(self) -> None:
        if self._shown not in ("", "\n"):
            self._show_text("\n")

    def _show_text(self, text: str) -> None:
        if self._first is None:
            self._first = self._now - self._began
        self._shown = text[-1:]
        self._out.append(fx.Show(fx.TextArrived(text)))

    def _add_usage(self, outcome: PieceOutcome) -> None:
        if outcome.usage is not None:
            self._usage = outcome.usage if self._usage is None else self._usage + outcome.usage
        if outcome.cost is not None:
            self._cost = outcome.cost + (self._cost or 0.0)

    # -------------------------------------------------------------------------------------- the end

    def _end_if_done(self) -> None:
        if self._has_ended and not self._unshown and not self._is_stopped:
            if self._is_complete:
                self._out.append(ForgetPieces())
            self._stop(Status.COMPLETED, None, self._exit)

    def _stop(self, status: Status, problem: Problem | None, exit_code: ExitCode) -> None:
        self._is_stopped = True
        text = "\n".join(self._texts)
        if text or status is not Status.CANCELLED:
            over = fx.ReplyOver(
                status,
                text,
                self._model,
                problem=problem,
                usage=self._usage,
                timing=fx.Timing(self._ready, self._first, self._now - self._began),
                cost=self._cost,
                session=self._session,
            )
            self._out.append(fx.Show(over))
        self._out.append(fx.Stop(exit_code))


def _is_fatal(outcome: PieceOutcome, problem: Problem, *, is_second: bool) -> bool:
    """Whether other sessions would fail, too. `is_second` is whether the piece failed before."""
    if not outcome.was_ready or problem.code == NO_AUDIO_SUPPORT:
        return True
    return is_second if problem.exit is ExitCode.LINK else problem.exit is not ExitCode.REPLY


def shifted(turn: fx.TurnTranscribed, ms: int) -> fx.TurnTranscribed:
    """A turn with its times in the recording. `ms` is the beginning of its piece in the recording.
    The times of words and segments change only if they count from the beginning of the piece."""
    start, end = (None if time is None else time + ms for time in (turn.start_ms, turn.end_ms))
    later = replace(turn, start_ms=start, end_ms=end)
    if offset_ms(turn) == (turn.start_ms or 0):
        return later
    seconds = ms / 1000
    words = (replace(w, start=w.start + seconds, end=w.end + seconds) for w in turn.words)
    segments = (replace(s, start=s.start + seconds, end=s.end + seconds) for s in turn.segments)
    return replace(later, words=tuple(words), segments=tuple(segments))
