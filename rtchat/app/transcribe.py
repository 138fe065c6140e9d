"""`transcribe`: audio from a file, a pipe or the microphone in, its transcript out."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from rtchat.app.audio_io import AudioSettings, LiveAudio, converter, refuse_formats
from rtchat.app.environment import Environment, unblocked
from rtchat.app.frontend import status_writer_of
from rtchat.app.os_signals import signal_events
from rtchat.app.wiring import close_trace, prepare, server_of, trace_of
from rtchat.client.session import Session, SessionParts
from rtchat.config.settings import Settings
from rtchat.core.backoff import Timeouts
from rtchat.core.effects import Connecting, Notice, Ready, Update, Waiting
from rtchat.core.errors import ExitCode, UsageError
from rtchat.core.events import AudioCaptured, CancelPressed, InputEnded, LeaveAsked
from rtchat.core.ports import Post
from rtchat.core.setup import SessionSetup, TranscriptionSetup
from rtchat.ui.plain_view import PlainView
from rtchat.wire.audio_options import input_rate, turn_ends, with_transcription

MODEL = "gpt-live-transcribe"
"""OpenAI's model for live transcription."""
LOCAL_MODEL = "whisper-tiny.en"


def transcribe(
    file: str | None, settings: Settings, environment: Environment, model: str | None
) -> ExitCode:
    """Transcribe a file, stdin (`-`) or, without either, the microphone."""
    refuse_formats(settings)
    status = status_writer_of(settings, environment)
    if file is None and not environment.stdin_is_terminal:
        file = "-"
    if file == "-" and environment.stdin is None:
        raise UsageError("there is no audio on stdin", hint="pipe in a WAV file, or name one")
    prepare(settings, environment, status, AudioSettings(transcribes=True))
    with unblocked(environment) as environment:
        status = status_writer_of(settings, environment)
        view = _ReadyGateView(
            PlainView(environment.stdout.buffer, status, raw=not environment.stdout_is_terminal)
        )
        return asyncio.run(_run_session(file, settings, environment, model, view))


async def _run_session(
    file: str | None,
    settings: Settings,
    environment: Environment,
    model: str | None,
    view: _ReadyGateView,
) -> ExitCode:
    model = model or (LOCAL_MODEL if settings.local else MODEL)
    options = with_transcription(settings.session, model=model, vad=settings.vad)
    has_turns = turn_ends(options.other)[0]
    timeouts = Timeouts(settings.connect_timeout, settings.timeout)
    async with AsyncExitStack() as stack:
        connect, redactor = server_of(settings, environment, stack, transcribes=True)
        trace = trace_of(settings, redactor, stack, view)
        setup = TranscriptionSetup(
            model,
            options,
            has_turns=has_turns,
            from_file=file is not None,
            input_rate=input_rate(settings.forced_dialect),
            timeouts=timeouts,
            key_hint=settings.key_hint,
        )
        if trace is not None:
            trace("setup", SessionSetup(setup, settings.forced_dialect), 0.0)
        ports = SessionParts(
            view,
            connect,
            settings.forced_dialect,
            redactor,
            fit=converter(setup.input_rate),
            taps=() if trace is None else (trace,),
            output=environment.output,
        )
        session = Session(setup.make(), ports)

        async def read(post: Post) -> None:
            if file is None:
                await LiveAudio(settings, speaks=False).listen(post)
            else:
                await _read(file, environment, session, view, post)

        is_live = file in (None, "-")
        stop = CancelPressed() if is_live else LeaveAsked(ExitCode.INTERRUPTED)
        code = await session.run(read, signal_events(stop))
        await close_trace(trace, code)
        return code


async def _read(
    file: str, environment: Environment, session: Session, gate: _ReadyGateView, post: Post
) -> None:
    """Read a file as fast as the server accepts it."""
    from rtchat.audio.files import stream_async

    source = environment.stdin if file == "-" else Path(file)
    assert source is not None
    try:
        async for audio in stream_async(source, gate.warn):
            await gate.ready.wait()
            post(AudioCaptured(audio))
            await session.drained()
    except UsageError as error:
        post(InputEnded(error.problem))
    else:
        post(InputEnded())


class _ReadyGateView:
    """A view that tracks whether the server accepts audio, so that a file is not read too early."""

    def __init__(self, view: PlainView) -> None:
        self._view = view
        self.ready = asyncio.Event()

    def show(self, update: Update) -> None:
        """Show an update."""
        match update:
            case Ready():
                self.ready.set()
            case Waiting() | Connecting():
                self.ready.clear()
            case _:
                pass
        self._view.show(update)

    def warn(self, text: str) -> None:
        """Show a warning about the file."""
        self._view.show(Notice("warning", text))

    def tick(self) -> None:
        """Do nothing: this view is never redrawn."""

    def close(self) -> None:
        """Do nothing."""
