"""What `transcribe` and `translate` share: a session whose only input is audio from a file, a pipe
or the microphone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from rtchat.app.environment import Environment
from rtchat.app.live_audio import LiveAudio
from rtchat.app.os_signals import signal_events
from rtchat.app.piece_sessions import PieceSessions
from rtchat.app.piece_store import PieceStore
from rtchat.app.ready_gate import ReadyGate
from rtchat.app.wiring import close_trace, conversion_of, server_of, trace_of
from rtchat.audio.input_file import path_of
from rtchat.client.session import Session, SessionParts
from rtchat.config.settings import Settings
from rtchat.core.errors import ExitCode, UsageError
from rtchat.core.events import CancelPressed, InputEnded, LeaveAsked
from rtchat.core.long_transcription import MAX_SESSIONS, LongTranscription
from rtchat.core.models import Rate
from rtchat.core.pieces import FinishedPiece
from rtchat.core.ports import Player, Post, Source, View
from rtchat.core.pricing import Budget, known_rates
from rtchat.core.setup import SessionSetup
from rtchat.core.transcription import TranscriptionSetup
from rtchat.core.translation import TranslationSetup
from rtchat.core.values import Dialect
from rtchat.ui.progress_view import Progress

LOCAL_SESSIONS = 1
"""Sessions at once with the built-in server, which share one model. Two take 10 to 20 % less time,
but the first text is shown later."""


def audio_source(file: str | None, environment: Environment) -> str | None:
    """The file to read; `-` means stdin, and None the microphone.

    Raises:
        UsageError: there is no stdin, or the name is not that of a file.
    """
    if file is not None:
        path_of(file)
    if file is None and not environment.stdin_is_terminal:
        file = "-"
    if file == "-" and environment.stdin is None:
        raise UsageError(
            "there is no audio on stdin", hint="pipe a WAV file to rtchat, or name one"
        )
    return file


def price_of(settings: Settings, model: str) -> Rate | None:
    """The price of a model, if it is known."""
    budget = Budget(known_rates(settings.url, settings.prices))
    return None if settings.local else budget.rate(model)


async def run_session(
    file: str | None,
    setup: TranscriptionSetup | TranslationSetup,
    dialect: Dialect | None,
    settings: Settings,
    environment: Environment,
    view: View,
    *,
    player: Player | None = None,
    background: Source | None = None,
    microphone: LiveAudio | None = None,
) -> ExitCode:
    """Send the audio, and show what the server returns. `player` receives the audio of a
    translation, and `background` runs at the same time. `microphone` is used without a file."""
    if file is None and settings.raw is not None:
        raise UsageError("--raw is for a file or a pipe", hint="remove --raw, or name a file")
    gate = ReadyGate(view)
    is_translation = isinstance(setup, TranslationSetup)
    async with AsyncExitStack() as stack:
        connect, redactor = server_of(
            settings,
            environment,
            stack,
            transcribes=not is_translation,
            translates=is_translation,
        )
        trace = trace_of(settings, redactor, stack, gate)
        if trace is not None:
            trace("setup", SessionSetup(setup, dialect), 0.0)
        ports = SessionParts(
            gate,
            connect,
            dialect,
            redactor,
            conversion=conversion_of(setup),
            taps=() if trace is None else (trace,),
            player=player,
            output=environment.output,
        )
        session = Session(setup.make(), ports)

        async def listen(post: Post) -> None:
            if file is None:
                live = microphone or LiveAudio(settings, speaks=False)
                live.use(True)
                await live.listen(post)
            else:
                await _read(file, settings, environment, session, gate, post)

        async def run(post: Post) -> None:
            await asyncio.gather(listen(post), *([background(post)] if background else ()))

        is_live = file in (None, "-")
        stop = CancelPressed() if is_live else LeaveAsked(ExitCode.INTERRUPTED)
        code = await session.run(run, signal_events(stop))
        await close_trace(trace, code)
        return code


async def run_pieces(
    file: Path,
    setup: TranscriptionSetup,
    settings: Settings,
    environment: Environment,
    view: View,
    progress: Progress,
    *,
    resumes: bool,
    save: Callable[[], Awaitable[None]],
) -> tuple[ExitCode, bool]:
    """Transcribe a long file in pieces, several at once where the server allows it. `resumes` is
    whether an interrupted transcription of it is continued. `save` writes the transcript; until it
    is done, the finished pieces are kept. Also return whether they are still kept."""
    dialect = settings.forced_dialect
    async with AsyncExitStack() as stack:
        connect, redactor = server_of(settings, environment, stack, transcribes=True)

        def make(view: View) -> Session:
            conversion = conversion_of(setup)
            parts = SessionParts(view, connect, dialect, redactor, conversion=conversion)
            return Session(setup.make(), parts)

        store = None
        finished: Mapping[int, FinishedPiece] = {}
        if settings.history:
            identity = (
                setup.model,
                setup.options,
                settings.url,
                settings.local,
                dialect,
                settings.raw,
            )
            store = PieceStore(environment.state_dir / "transcripts", file, identity)
            stack.callback(store.close)
            finished = await store.load(resumes=resumes)
        sessions = LOCAL_SESSIONS if settings.local else MAX_SESSIONS
        machine = LongTranscription(setup.model, finished, sessions=sessions)
        pieces = PieceSessions(
            file,
            machine,
            make,
            view,
            progress,
            output=environment.output,
            store=store,
            raw=settings.raw,
        )
        code = await pieces.run()
        await save()
        if store is not None and pieces.is_complete:
            await store.forget()
    return code, store is not None and store.has_pieces


async def _read(
    file: str,
    settings: Settings,
    environment: Environment,
    session: Session,
    gate: ReadyGate,
    post: Post,
) -> None:
    """Read a file as fast as the server accepts it."""
    from rtchat.audio.files import IncompleteFileError, stream_async

    source = environment.stdin if file == "-" else Path(file)
    assert source is not None
    try:
        async for audio in stream_async(source, settings.raw):
            await gate.send(audio, session, post)
    except (UsageError, IncompleteFileError) as error:
        post(InputEnded(error.problem))
    else:
        post(InputEnded())
