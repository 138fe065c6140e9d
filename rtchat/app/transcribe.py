"""`transcribe`: audio from a file, a pipe or the microphone in, its transcript out."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rtchat.app.audio_io import AudioSettings, requested_format
from rtchat.app.environment import Environment, unblocked
from rtchat.app.frontend import status_writer_of
from rtchat.app.listening import audio_source, price_of, run_pieces, run_session
from rtchat.app.wiring import prepare
from rtchat.audio.duration import duration_ms
from rtchat.config.settings import Settings
from rtchat.core.backoff import Timeouts
from rtchat.core.errors import ExitCode, UsageError
from rtchat.core.ports import View
from rtchat.core.subtitles import TranscriptFormat
from rtchat.core.transcription import TranscriptionSetup
from rtchat.core.values import OPENAI_URL, value
from rtchat.ui.progress_view import Progress, ProgressView
from rtchat.ui.transcript_formats import transcript_view
from rtchat.wire.audio_options import tells_speakers, turn_ends, with_transcription

MODEL = "gpt-live-transcribe"
"""OpenAI's model for live transcription."""
TIMED_MODEL = "gpt-4o-transcribe"
"""OpenAI's model for transcripts with the times of turns."""
SPEAKERS_MODEL = "gpt-4o-transcribe-diarize"
"""OpenAI's model that tells speakers apart."""
LOCAL_MODEL = "whisper-tiny.en"
LOCAL_LANGUAGE = "en"
LONG_MS = 180_000
"""Longer files are transcribed in pieces."""


@value
class TranscribeOptions:
    """The options of `transcribe` that are not settings."""

    model: str | None = None
    format: TranscriptFormat = "txt"
    has_speakers: bool = False
    """Whether the transcript has to name the speakers."""
    resumes: bool = True
    """Whether the interrupted transcription of a long file is continued."""


def transcribe(
    file: str | None, settings: Settings, environment: Environment, options: TranscribeOptions
) -> ExitCode:
    """Transcribe a file, stdin (`-`) or, without either, the microphone."""
    model = _model(settings, options)
    file = audio_source(file, environment)
    status = status_writer_of(settings, environment)
    prepare(settings, environment, status, AudioSettings(transcribes=True))
    setup = _setup(file, settings, model, has_speakers=options.has_speakers)
    format, resumes = options.format, options.resumes
    with unblocked(environment) as environment:
        status = status_writer_of(settings, environment)
        out, is_terminal = environment.stdout.buffer, environment.stdout_is_terminal
        view = transcript_view(format, out, status, is_terminal=is_terminal)
        if file in (None, "-"):
            dialect = settings.forced_dialect
            running = run_session(file, setup, dialect, settings, environment, view)
        else:
            running = _run_file(Path(file), setup, settings, environment, view, resumes=resumes)
        return asyncio.run(running)


async def _run_file(
    file: Path,
    setup: TranscriptionSetup,
    settings: Settings,
    environment: Environment,
    view: View,
    *,
    resumes: bool,
) -> ExitCode:
    """Transcribe a file: a long one in pieces, unless its sessions are recorded or the server tells
    the speakers apart, which it does anew in each session."""
    length_ms = await asyncio.to_thread(duration_ms, file, settings.raw)
    progress = Progress(length_ms)
    err = environment.stderr
    is_long = length_ms is None or length_ms > LONG_MS
    in_pieces = is_long and settings.trace is None and not setup.has_speakers
    shows = environment.stderr_is_terminal and environment.can_repaint and not settings.quiet
    shown = None
    if shows and err is not None:
        shown = view = ProgressView(view, progress, err, follows_turns=not in_pieces)
    if in_pieces:
        return await run_pieces(file, setup, settings, environment, view, progress, resumes=resumes)
    background = None if shown is None else shown.run
    dialect = settings.forced_dialect
    return await run_session(
        str(file), setup, dialect, settings, environment, view, background=background
    )


def _model(settings: Settings, options: TranscribeOptions) -> str:
    """The model. Without --model it depends on the format: those with times need turn detection.

    Raises:
        UsageError: the model cannot do what the options ask for.
    """
    if settings.local:
        _check_local(settings, options)
        return options.model or LOCAL_MODEL
    if options.model is None:
        has_times = options.format in ("srt", "vtt", "tsv")
        return SPEAKERS_MODEL if options.has_speakers else TIMED_MODEL if has_times else MODEL
    if options.has_speakers and settings.url == OPENAI_URL and not tells_speakers(options.model):
        message = f"{options.model} does not tell speakers apart"
        raise UsageError(message, hint=f"use -m {SPEAKERS_MODEL}")
    return options.model


def _check_local(settings: Settings, options: TranscribeOptions) -> None:
    """Raise UsageError if the built-in model cannot do what the options ask for."""
    what = {
        "language": settings.language not in (None, LOCAL_LANGUAGE),
        "prompt": settings.transcription_prompt is not None,
        "speakers": options.has_speakers,
    }
    messages = {
        "language": "the built-in model understands English only",
        "prompt": "the built-in model takes no prompt",
        "speakers": "the built-in model does not tell speakers apart",
    }
    for name, is_asked in what.items():
        if is_asked:
            raise UsageError(messages[name], hint=f"remove --{name}, or use another model")


def _setup(
    file: str | None, settings: Settings, model: str, *, has_speakers: bool
) -> TranscriptionSetup:
    options = with_transcription(
        settings.session,
        model=model,
        vad=settings.vad,
        dialect=settings.forced_dialect,
        language=settings.language,
        prompt=settings.transcription_prompt,
    )
    format = requested_format(options.other, "input")
    return TranscriptionSetup(
        model,
        options,
        has_turns=turn_ends(options.other)[0],
        has_speakers=has_speakers or tells_speakers(model),
        from_file=file is not None,
        input_rate=format.rate,
        input_encoding=format.encoding,
        timeouts=Timeouts(settings.connect_timeout, settings.timeout),
        price=price_of(settings, model),
        key_hint=settings.key_hint,
    )
