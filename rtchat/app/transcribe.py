"""`transcribe`: audio from a file, a pipe or the microphone in, its transcript out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NoReturn, TypeAlias

from rtchat.app.audio_io import AudioSettings, refuse_microphone_options, requested_format
from rtchat.app.environment import Environment, unblocked
from rtchat.app.frontend import status_writer_of
from rtchat.app.listening import audio_source, price_of, run_pieces, run_session
from rtchat.app.live_audio import LiveAudio
from rtchat.app.transcript_files import (
    STDIN,
    Job,
    jobs_of,
    new_of,
    write_transcript,
)
from rtchat.app.wiring import prepare
from rtchat.audio.duration import duration_ms
from rtchat.audio.wav import prepare_folder
from rtchat.config.settings import Settings
from rtchat.core.backoff import Timeouts
from rtchat.core.effects import Notice, error_notice
from rtchat.core.errors import SIGNALLED, ExitCode, RtchatError, UsageError
from rtchat.core.notices import files_left, nothing_kept, part_kept
from rtchat.core.ports import View
from rtchat.core.subtitles import TranscriptFormat
from rtchat.core.transcription import TranscriptionSetup
from rtchat.core.values import OPENAI_URL, value
from rtchat.system.files import shown_name
from rtchat.system.worker import Worker
from rtchat.ui.microphone_line import MicrophoneLine, PipeLine
from rtchat.ui.progress_view import Line, Progress, ProgressView
from rtchat.ui.transcript_formats import OutcomeView, transcript_view
from rtchat.wire.audio_options import tells_speakers, turn_ends, with_transcription

MODEL = "gpt-live-transcribe"
"""OpenAI's model for live transcription."""
TIMED_MODEL = "gpt-4o-transcribe"
"""OpenAI's model for transcripts with the times of turns."""
SPEAKERS_MODEL = "gpt-4o-transcribe-diarize"
"""OpenAI's model that tells speakers apart."""
LOCAL_MODEL = "whisper-tiny.en"
LOCAL_LANGUAGE = "en"
ENGLISH_ONLY = "the built-in model understands English only"
_ENDS_ALL = frozenset(
    [
        *SIGNALLED,
        ExitCode.REFUSED,
        ExitCode.LIMIT,
        ExitCode.OUTPUT,
        ExitCode.PIPE,
    ]
)
"""After these exit codes, the remaining files are not transcribed."""
_ENDS_ALL_IF_REPEATED = frozenset([ExitCode.LINK, ExitCode.USAGE])
"""Nor are they after these, if two files in a row fail for the same reason: the server is gone, or
it refuses the options."""
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
    folder: Path | None = None
    """Where to write the transcripts; None is stdout."""
    overwrites: bool = False
    """Whether existing transcripts are replaced."""


def transcribe(
    files: Sequence[str], settings: Settings, environment: Environment, options: TranscribeOptions
) -> ExitCode:
    """Transcribe files and the files of folders, stdin (`-`) or, without any, the microphone."""
    model = _model(settings, options)
    jobs = jobs_of(files, options.folder, options.format, overwrites=options.overwrites)
    new = jobs if options.overwrites else new_of(jobs)
    source = audio_source(jobs[0].source if jobs else None, environment)
    if source is not None:
        refuse_microphone_options(settings)
    status = status_writer_of(settings, environment)
    prepare(settings, environment, status, AudioSettings(transcribes=True))
    if settings.local and settings.language is None and environment.stderr_is_terminal:
        status.show(Notice("info", ENGLISH_ONLY))
    if len(new) < len(jobs):
        text = f"skipped {len(jobs) - len(new)} of {len(jobs)} files that have a transcript"
        status.show(Notice("info", text, "use --force to replace the transcripts"))
    with unblocked(environment) as environment:
        if options.folder is not None:
            prepare_folder(options.folder)
        run = _Run(settings, environment, options, model)
        if options.folder is None and len(jobs) < 2:
            return run.run(source, None)
        return run.run_jobs(new)


Save: TypeAlias = Callable[[], Awaitable[None]]
"""Writes the transcript into its file."""


class _Run:
    """Transcribes one input after another."""

    def __init__(
        self, settings: Settings, environment: Environment, options: TranscribeOptions, model: str
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._options = options
        self._model = model
        self._status = status_writer_of(settings, environment)
        self._reason = ""
        """Why the last input could not be transcribed."""

    def run_jobs(self, jobs: Sequence[Job]) -> ExitCode:
        """Transcribe these files. One that fails does not stop the others, unless they would fail,
        too."""
        failed: list[Job] = []
        left, end, reason_before = 0, ExitCode.REPLY, ""
        for number, job in enumerate(jobs):
            if job.target is None:
                self._show_heading(job.source, is_first=number == 0)
            code, reason = self._run_job(job)
            if code in _ENDS_ALL:
                if code in SIGNALLED and len(jobs) > 1:
                    self._show_left(len(jobs) - number, len(jobs))
                return code
            if code is not ExitCode.OK:
                failed.append(job)
            if code in _ENDS_ALL_IF_REPEATED and reason and reason == reason_before:
                left, end = len(jobs) - number - 1, code
                break
            reason_before = reason
        for job in failed:
            self._status.show(Notice("error", f"failed: {shown_name(job.source)}"))
        if left:
            self._status.show(Notice("error", f"not tried: {left} of {len(jobs)} files"))
        return end if failed else ExitCode.OK

    def _run_job(self, job: Job) -> tuple[ExitCode, str]:
        """Transcribe a file. Returns the exit code, and why it failed, or an empty text."""
        try:
            return self.run(job.source, job.target), self._reason
        except RtchatError as error:
            self._status.show(error_notice(error.problem))
            return error.problem.exit, error.message

    def run(self, source: str | None, target: Path | None) -> ExitCode:
        """Transcribe one input, into a file or to stdout."""
        options, environment = self._options, self._environment
        setup = _setup(source, self._settings, self._model, has_speakers=options.has_speakers)
        content = BytesIO()
        out: BinaryIO = environment.stdout.buffer if target is None else content
        is_terminal = target is None and environment.stdout_is_terminal
        status = status_writer_of(self._settings, environment)  # each input has its own connection
        view = OutcomeView(transcript_view(options.format, out, status, is_terminal=is_terminal))

        async def save() -> None:
            if target is not None and view.is_complete:
                data, overwrites = content.getvalue(), options.overwrites
                await asyncio.to_thread(write_transcript, target, data, overwrites=overwrites)
                status.show(Notice("info", f"wrote {shown_name(target)}"))

        code = asyncio.run(self._transcribe(source, setup, view, save))
        self._reason = view.reason
        return code

    async def _transcribe(
        self, source: str | None, setup: TranscriptionSetup, view: OutcomeView, save: Save
    ) -> ExitCode:
        if source is None:
            microphone = LiveAudio(self._settings, speaks=False)
            line = MicrophoneLine(microphone)
            return await self._run_session(None, setup, view, line, microphone=microphone)
        if source == STDIN:
            return await self._run_session(source, setup, view, PipeLine())
        return await self._transcribe_file(Path(source), setup, view, save)

    async def _transcribe_file(
        self, file: Path, setup: TranscriptionSetup, view: OutcomeView, save: Save
    ) -> ExitCode:
        """Transcribe a file, and save the transcript. A long file is transcribed in pieces, unless
        a trace is written or the server names the speakers: their names differ between sessions."""
        settings, environment = self._settings, self._environment
        length_ms = await _length_ms(file, settings.raw)
        is_long = length_ms is None or length_ms > LONG_MS
        in_pieces = is_long and settings.trace is None and not setup.has_speakers
        progress = Progress(length_ms, follows_turns=not in_pieces)
        is_kept = False
        if in_pieces:
            shown = self._with_line(view, progress) or view
            resumes = self._options.resumes
            code, is_kept = await run_pieces(
                file, setup, settings, environment, shown, progress, resumes=resumes, save=save
            )
        else:
            code = await self._run_session(str(file), setup, view, progress)
            await save()
        if is_long:
            self._show_kept(file, view, code, is_kept=is_kept)
        return code

    def _show_kept(self, file: Path, view: OutcomeView, code: ExitCode, *, is_kept: bool) -> None:
        """Say what another run finds of a long file. A reader of the output that has gone wants no
        more of it."""
        name, options = shown_name(file), self._options
        if is_kept and code is not ExitCode.PIPE:
            was_written = options.folder is not None and view.is_complete
            needs_force = was_written and not options.overwrites
            notice = part_kept(name, needs_force=needs_force, resumes=options.resumes)
            self._status.show(notice)
        elif code in SIGNALLED and not (is_kept or view.is_complete):
            self._status.show(nothing_kept(name))

    async def _run_session(
        self,
        source: str | None,
        setup: TranscriptionSetup,
        view: View,
        line: Line,
        *,
        microphone: LiveAudio | None = None,
    ) -> ExitCode:
        """Transcribe in one session, and show a line on a terminal."""
        shown = self._with_line(view, line)
        return await run_session(
            source,
            setup,
            self._settings.forced_dialect,
            self._settings,
            self._environment,
            shown or view,
            background=None if shown is None else shown.run,
            microphone=microphone,
        )

    def _with_line(self, view: View, line: Line) -> ProgressView | None:
        """A view that also shows a line, if stderr is a terminal that can erase it."""
        environment = self._environment
        err = environment.stderr
        can_show = environment.stderr_is_terminal and environment.can_repaint
        if err is None or self._settings.quiet or not can_show:
            return None
        is_printed = self._options.format == "txt" and self._options.folder is None
        has_text = is_printed and environment.stdout_is_terminal
        return ProgressView(view, line, err, has_text=has_text)

    def _show_left(self, left: int, count: int) -> None:
        skips_others = self._options.folder is not None and not self._options.overwrites
        self._status.show(files_left(left, count, skips_others=skips_others))

    def _show_heading(self, source: str, *, is_first: bool) -> None:
        text = f"{'' if is_first else chr(10)}==> {shown_name(source)} <==\n"
        self._environment.stdout.buffer.write(text.encode(errors="replace"))
        self._environment.stdout.buffer.flush()


async def _length_ms(file: Path, raw: int | None) -> int | None:
    """The length of a file, if it is known. Ctrl-C does not wait for a program that hangs."""
    worker = Worker("duration")
    try:
        return await worker.call(partial(duration_ms, file, raw))
    finally:
        worker.close(0)


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
    if settings.language not in (None, LOCAL_LANGUAGE):
        _refuse(ENGLISH_ONLY, "language", settings.origins["language"])
    if settings.transcription_prompt is not None:
        origin = settings.origins["transcription_prompt"]
        _refuse("the built-in model takes no prompt", "prompt", origin)
    if options.has_speakers:
        _refuse("the built-in model does not tell speakers apart", "speakers", "--speakers")


def _refuse(message: str, what: str, origin: str) -> NoReturn:
    place = origin if origin.startswith("--") else f"the {what} set by {origin}"
    raise UsageError(message, hint=f"remove {place}, or use another model")


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
