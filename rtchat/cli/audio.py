"""`transcribe`, `translate` and `devices`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtchat.cli.environment import environment_of
from rtchat.cli.options import NoEnv, settings_of

if TYPE_CHECKING:
    from rtchat.config.settings import Settings
    from rtchat.core.subtitles import TranscriptFormat

AudioFile = Annotated[
    str | None,
    typer.Argument(metavar="[FILE|-]", show_default=False, help='An audio file; "-" is stdin.'),
]


def transcribe(
    *,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE|FOLDER|-]...",
            show_default=False,
            help='Audio files, or folders with audio files; "-" is stdin.',
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            metavar="txt|srt|vtt|json|tsv",
            help="Text, subtitles (srt, vtt), JSON or a table of turns.  [default: txt]",
            autocompletion=lambda: list(_FORMATS),
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object for each turn; same as -f json."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER",
            help="Write the transcript of each file into FOLDER.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing transcripts.")] = False,
    speakers: Annotated[
        bool,
        typer.Option("--speakers", help="Name the speakers; uses a model that tells them apart."),
    ] = False,
    no_resume: Annotated[
        bool,
        typer.Option("--no-resume", help="Do not continue an interrupted transcription."),
    ] = False,
    no_env: NoEnv = False,
    **options: object,
) -> int:
    """Print a transcript of speech.

    The speech is read from files, from a pipe or, without either, from the microphone.
    """
    from rtchat.app.transcribe import TranscribeOptions, transcribe

    chosen = _format(format, json=json)
    settings = settings_of(options, no_env=no_env, may_ask=chosen != "json")
    own = TranscribeOptions(
        _given_model(settings),
        chosen,
        has_speakers=speakers,
        resumes=not no_resume,
        folder=output,
        overwrites=force,
    )
    return transcribe(files or [], settings, environment_of(), own)


_FORMATS: tuple[TranscriptFormat, ...] = ("txt", "srt", "vtt", "json", "tsv")


def _format(name: str | None, *, json: bool) -> TranscriptFormat:
    from rtchat.core.errors import UsageError
    from rtchat.core.suggestions import closest, did_you_mean

    if name is None:
        return "json" if json else "txt"
    for format in _FORMATS:
        if format == name and (not json or format == "json"):
            return format
    if name in _FORMATS:
        raise UsageError(f"--json cannot be combined with --format {name}", hint="use one of them")
    hint = did_you_mean([closest(name, _FORMATS, {"text": "txt", "webvtt": "vtt"})])
    raise UsageError(f"invalid format {name!r} (expected {', '.join(_FORMATS)})", hint=hint)


def translate(
    *,
    file: AudioFile = None,
    audio_out: Annotated[
        Path | None,
        typer.Option(
            "--audio-out",
            metavar="FILE|-",
            help="Save the spoken translation as WAV, FLAC, Ogg or MP3.",
        ),
    ] = None,
    play: Annotated[
        bool, typer.Option("--play", help="Play the spoken translation on the speaker.")
    ] = False,
    show_original: Annotated[
        bool,
        typer.Option(
            "--show-original", help="Also show what was said, on stderr. This costs extra."
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
    no_env: NoEnv = False,
    **options: object,
) -> int:
    """Translate speech, and print the translation.

    The speech is read from a file, from a pipe or, without either, from the microphone.
    """
    from rtchat.app.translate import MODEL, TranslateOptions, translate

    settings = settings_of(options, no_env=no_env, may_ask=not json)
    own = TranslateOptions(
        _given_model(settings) or MODEL,
        audio_out,
        plays=play,
        shows_source=show_original,
        as_json=json,
    )
    return translate(file, settings, environment_of(), own)


def _given_model(settings: Settings) -> str | None:
    """The model of `--model`. Models from other sources are for conversations."""
    is_given = settings.origins["model"].startswith(type(settings).model.option)
    return settings.model if is_given else None


def voices(
    *,
    local: Annotated[
        bool, typer.Option("--local", help="List the voices of the built-in model.")
    ] = False,
) -> int:
    """List the voices for --voice-name, one per line.

    These are the voices of OpenAI's models. Other servers have their own.
    """
    from rtchat.wire.options import LOCAL_VOICES, VOICES

    for name in LOCAL_VOICES if local else VOICES:
        typer.echo(name)
    return 0


def devices() -> int:
    """List the microphones and speakers.

    --input-device and --output-device select one by its number or its name.
    """
    from rtchat.audio.device_list import list_devices
    from rtchat.core.text import on_a_line

    for device in list_devices():
        marks = [
            *(["input"] if device.inputs else []),
            *(["output"] if device.outputs else []),
            *(["default"] if device.default_input or device.default_output else []),
        ]
        name = on_a_line(device.name)
        typer.echo(f"{device.index:>3}  {name}  ({device.api})  {', '.join(marks)}")
    return 0
