"""`transcribe`: audio from a file, a pipe or the microphone in, its transcript out."""

from __future__ import annotations

import asyncio

from rtchat.app.audio_io import AudioSettings, requested_format
from rtchat.app.environment import Environment, unblocked
from rtchat.app.frontend import status_writer_of
from rtchat.app.listening import audio_source, price_of, run_session
from rtchat.app.wiring import prepare
from rtchat.config.settings import Settings
from rtchat.core.backoff import Timeouts
from rtchat.core.errors import ExitCode
from rtchat.core.ports import View
from rtchat.core.transcription import TranscriptionSetup
from rtchat.ui.json_view import TranscriptJsonView
from rtchat.ui.plain_view import PlainView
from rtchat.ui.transcript_view import TranscriptView
from rtchat.wire.audio_options import has_speakers, turn_ends, with_transcription

MODEL = "gpt-live-transcribe"
"""OpenAI's model for live transcription."""
LOCAL_MODEL = "whisper-tiny.en"


def transcribe(
    file: str | None,
    settings: Settings,
    environment: Environment,
    model: str | None,
    *,
    as_json: bool = False,
) -> ExitCode:
    """Transcribe a file, stdin (`-`) or, without either, the microphone."""
    file = audio_source(file, environment)
    status = status_writer_of(settings, environment)
    prepare(settings, environment, status, AudioSettings(transcribes=True))
    setup = _setup(file, settings, model or (LOCAL_MODEL if settings.local else MODEL))
    with unblocked(environment) as environment:
        status = status_writer_of(settings, environment)
        out = environment.stdout.buffer
        view: View = PlainView(out, status, raw=True)
        if as_json:
            view = TranscriptJsonView(out, status)
        elif environment.stdout_is_terminal:
            view = TranscriptView(out, status)
        running = run_session(file, setup, settings.forced_dialect, settings, environment, view)
        return asyncio.run(running)


def _setup(file: str | None, settings: Settings, model: str) -> TranscriptionSetup:
    options = with_transcription(
        settings.session, model=model, vad=settings.vad, dialect=settings.forced_dialect
    )
    format = requested_format(options.other, "input")
    return TranscriptionSetup(
        model,
        options,
        has_turns=turn_ends(options.other)[0],
        has_speakers=has_speakers(model),
        from_file=file is not None,
        input_rate=format.rate,
        input_encoding=format.encoding,
        timeouts=Timeouts(settings.connect_timeout, settings.timeout),
        price=price_of(settings, model),
        key_hint=settings.key_hint,
    )
