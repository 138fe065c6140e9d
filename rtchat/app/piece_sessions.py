"""Transcribes a long file: cuts its audio into pieces, and runs a session for each."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import assert_never

from rtchat.app.os_signals import SESSION_EXIT_CODES
from rtchat.app.piece_store import PieceStore
from rtchat.app.ready_gate import ReadyGate
from rtchat.client.loop_handlers import loop_handlers
from rtchat.client.session import Session
from rtchat.client.view_queue import TICK, ViewQueue
from rtchat.core import effects as fx
from rtchat.core import pieces as pc
from rtchat.core.audio_cutter import AudioCutter, AudioPiece
from rtchat.core.errors import SIGNALLED, ExitCode, Problem, UsageError
from rtchat.core.events import InputEnded, LeaveAsked
from rtchat.core.long_transcription import LongTranscription
from rtchat.core.ports import Post, View
from rtchat.core.values import BYTES_A_MS
from rtchat.system.output import Output
from rtchat.ui.progress_view import Progress

_CHUNK = 100 * BYTES_A_MS
"""Bytes of audio sent at a time."""


class PieceView(View):
    """Collects what the session of one piece shows. `post` and `show` are of the whole
    transcription; `refuse` ends the session if the server does not accept it."""

    def __init__(
        self,
        number: int,
        progress: Progress,
        post: Callable[[pc.Event], None],
        show: Callable[[fx.Update], None],
    ) -> None:
        self._number = number
        self._progress = progress
        self._post = post
        self._show = show
        self._updates: list[pc.PieceUpdate] = []
        self._over: fx.ReplyOver | None = None
        self._refusal: fx.Waiting | None = None
        self._last_error = ""
        self._was_ready = False
        self.refuse: Callable[[], None] = lambda: None

    def show(self, update: fx.Update) -> None:
        """Collect an update."""
        match update:
            case fx.Ready(session=session):
                if self._was_ready:
                    self._show(update)
                self._was_ready = True
                self._progress.begin()
                self._post(pc.PieceReady(session))
            case fx.Waiting() if self._was_ready:
                self._show(update)
            case fx.Waiting():
                self._refusal = update
                self.refuse()
            case fx.TurnTranscribed(end_ms=end_ms):
                self._progress.reach(self._number, end_ms or 0)
                self._updates.append(update)
            case fx.TextArrived() | fx.Notice():
                self._updates.append(update)
                if isinstance(update, fx.Notice) and update.level == "error":
                    self._last_error = update.text
            case fx.ReplyOver():
                self._over = update
            case _:
                pass

    def outcome(self, code: ExitCode) -> pc.PieceOutcome:
        """How the session ended."""
        over, refusal = self._over, self._refusal
        problem: Problem | None
        text = "" if over is None else over.text
        transcript = pc.PieceTranscript(tuple(self._updates), text)
        if refusal is not None:
            problem = Problem(ExitCode.LIMIT, refusal.why, "wait a moment and try again")
            return pc.PieceOutcome(transcript, code, problem, was_ready=False, wait=refusal.seconds)
        if over is None:
            return pc.PieceOutcome(transcript, code, was_ready=self._was_ready)
        problem = over.problem
        if problem is None and code is ExitCode.LIMIT:
            problem = Problem(code, self._last_error, "wait a moment and try again")
        return pc.PieceOutcome(
            transcript, code, problem, was_ready=self._was_ready, usage=over.usage, cost=over.cost
        )


class PieceSessions:
    """Runs the transcription of one file. `make` makes a session for a view."""

    def __init__(
        self,
        file: Path,
        machine: LongTranscription,
        make: Callable[[View], Session],
        view: View,
        progress: Progress,
        *,
        output: Output | None = None,
        store: PieceStore | None = None,
        raw: int | None = None,
    ) -> None:
        """`raw` is the sample rate of a file without a header."""
        self._file = file
        self._raw = raw
        self._machine = machine
        self._make = make
        self._view = view
        self._progress = progress
        self._store = store
        self._views = ViewQueue(
            view, output, time.monotonic, lost=self._lose_output, fail=self._fail
        )
        self._tasks = asyncio.TaskGroup()
        self._background: set[asyncio.Task[None]] = set()
        """The tasks that the end of the transcription stops."""
        self._pieces: dict[int, AudioPiece] = {}
        """The pieces that are not finished yet."""
        self._events: deque[pc.Event] = deque()
        self._is_busy = False
        self._has_room = asyncio.Event()
        """Set while another piece may be read."""
        self._done = asyncio.Event()
        self._is_complete = False
        self._exit: ExitCode | None = None
        self._error: BaseException | None = None

    async def run(self) -> ExitCode:
        """Transcribe the file."""
        signals: dict[int, LeaveAsked] = {
            number: LeaveAsked(code) for number, code in SESSION_EXIT_CODES.items()
        }
        with loop_handlers(self._views, signals, self._on_signal):
            self._views.start()
            try:
                async with self._tasks:
                    self._run_task(self._tick())
                    self._run_task(self._read())
                    self._post(pc.Begun())
                    await self._done.wait()
                    for task in self._background:
                        task.cancel()
            finally:
                await self._views.close(self._exit)
        if self._error is not None:
            raise self._error
        assert self._exit is not None
        return self._views.lost_with or self._exit

    @property
    def is_complete(self) -> bool:
        """Whether the whole transcript is written, so that no piece needs to be kept."""
        is_written = self._views.lost_with is None and self._exit not in SIGNALLED
        return self._is_complete and is_written

    def _run_task(self, work: Coroutine[None, None, None]) -> None:
        async def run() -> None:
            try:
                await work
            except Exception as error:
                self._fail(error)

        task = self._tasks.create_task(run())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # --------------------------------------------------------------------------- events and effects

    def _post(self, event: pc.Event) -> None:
        """Handle an event, after those that are being handled or waiting."""
        self._events.append(event)
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._events and not self._done.is_set():
                event = self._events.popleft()
                for effect in self._machine.handle(event, time.monotonic()):
                    self._perform(effect)
        except Exception as error:
            self._fail(error)
        finally:
            self._is_busy = False
        if self._machine.needs_audio:
            self._has_room.set()
        else:
            self._has_room.clear()

    def _perform(self, effect: pc.Effect) -> None:
        match effect:
            case fx.Show(update):
                self._views.show(update)
            case pc.StartPiece(number):
                self._run_task(self._transcribe(number))
            case pc.EndPiece(number, finished, is_old):
                piece = self._pieces.pop(number)
                self._progress.end(number, piece.end_ms - piece.start_ms, is_old=is_old)
                if self._store is not None and finished is not None:
                    self._store.keep(number, finished)
            case pc.Wait(seconds):
                self._run_task(self._wait(seconds))
            case pc.ForgetPieces():
                self._is_complete = True
            case fx.Stop(code):
                self._exit = code
                self._done.set()
            case _:
                assert_never(effect)

    async def _wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._post(pc.WaitOver())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if not self._views.has_unwritten_output:
                self._views.call(self._view.tick)

    # ----------------------------------------------------------------------------- pieces, sessions

    async def _read(self) -> None:
        """Read the file, not faster than its pieces are transcribed."""
        from rtchat.audio.files import IncompleteFileError, stream_async

        cutter = AudioCutter()
        problem = None
        try:
            async for audio in stream_async(self._file, self._raw):
                await self._add(cutter.add(audio))
        except (UsageError, IncompleteFileError) as error:
            problem = error.problem
        await self._add(cutter.finish())
        self._post(pc.AudioEnded(problem))

    async def _add(self, pieces: Iterable[AudioPiece]) -> None:
        for piece in pieces:
            self._pieces[piece.number] = piece
            self._post(pc.PieceCut(piece.number, piece.start_ms, piece.end_ms))
            await self._has_room.wait()

    async def _transcribe(self, number: int) -> None:
        piece = self._pieces[number]
        view = PieceView(number, self._progress, self._post, self._views.show)
        gate = ReadyGate(view)
        session = self._make(gate)
        view.refuse = lambda: session.post(LeaveAsked(ExitCode.LIMIT))

        async def send(post: Post) -> None:
            for start in range(0, len(piece.audio), _CHUNK):
                await gate.send(piece.audio[start : start + _CHUNK], session, post)
            post(InputEnded())

        code = await session.run_beside_others(send)
        self._post(pc.PieceOver(number, view.outcome(code)))

    # -------------------------------------------------------------------------------------- the end

    def _lose_output(self, code: ExitCode) -> None:
        self._post(LeaveAsked(code))

    def _on_signal(self, number: int, event: LeaveAsked) -> None:
        """End the transcription. After its end, signals end the wait for output."""
        is_over = self._exit is not None
        self._exit = self._views.signalled(number, self._exit)
        if not is_over:
            self._post(event)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self._done.set()
