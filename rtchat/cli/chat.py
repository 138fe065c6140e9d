"""`talk` and `once`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtchat.cli.environment import environment_of
from rtchat.cli.options import Json, NoEnv, Plain, settings_of
from rtchat.core.errors import UsageError
from rtchat.core.values import conversation_key

if TYPE_CHECKING:
    from rtchat.app.chat_history import Past
    from rtchat.app.environment import OutputFormat

Attach = Annotated[
    list[str] | None,
    typer.Option(
        "-a", "--attach", metavar="FILE", help="Attach a PNG, JPEG or text file.  [can be repeated]"
    ),
]
Continue = Annotated[
    bool, typer.Option("-c", "--continue", help="Continue the latest conversation.")
]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="[ID|NAME]",
        help="Continue the conversation with this ID or name; without it, choose one.",
    ),
]
Events = Annotated[
    bool, typer.Option("--events", help="Print every event of the server as a JSON line.")
]


def talk(
    *,
    continue_: Continue = False,
    resume: Resume = None,
    attach: Attach = None,
    audio_out: Annotated[
        Path | None,
        typer.Option(
            "--audio-out", metavar="FOLDER", help="Save spoken replies as WAV files in FOLDER."
        ),
    ] = None,
    plain: Plain = False,
    json: Json = False,
    events: Events = False,
    no_env: NoEnv = False,
    **options: object,
) -> int:
    """Start a conversation. With piped stdin, each line is a turn."""
    from rtchat.app.audio_io import AudioSettings
    from rtchat.app.chat import ChatOptions, talk

    may_ask = not (json or events)
    settings = settings_of(options, plain=plain, no_env=no_env, may_ask=may_ask)
    environment = environment_of()
    # For a pipe, --voice applies only if it was given as an option.
    is_live = settings.voice and (bool(options["voice"]) or environment.stdin_is_terminal)
    sound = AudioSettings(audio_out=audio_out, is_live=is_live)
    past = _past(continue_=continue_, resume=resume)
    chat = ChatOptions(_output_format(json=json, events=events), past, attach or (), sound)
    return talk(settings, environment, chat)


def once(
    *,
    prompt: Annotated[
        list[str] | None, typer.Argument(metavar="[PROMPT]...", help='The question; "-" is stdin.')
    ] = None,
    continue_: Continue = False,
    resume: Resume = None,
    attach: Attach = None,
    no_stdin: Annotated[bool, typer.Option("--no-stdin", help="Do not read stdin.")] = False,
    audio_in: Annotated[
        str | None,
        typer.Option("--audio-in", metavar="FILE|-", help="Ask the question in this recording."),
    ] = None,
    audio_out: Annotated[
        Path | None,
        typer.Option(
            "--audio-out", metavar="FILE|-", help="Save the spoken reply as WAV, FLAC, Ogg or MP3."
        ),
    ] = None,
    plain: Plain = False,
    json: Json = False,
    events: Events = False,
    no_env: NoEnv = False,
    **options: object,
) -> int:
    """Ask one question. Without PROMPT, it is read from stdin.

    Several words need no quotation marks, but ? * \' and other characters of the shell do.
    """
    from rtchat.app.audio_io import AudioSettings
    from rtchat.app.chat import ChatOptions, run_once

    may_ask = not (json or events)
    settings = settings_of(options, plain=plain, no_env=no_env, may_ask=may_ask)
    question = " ".join(prompt) if prompt else None
    past = _past(continue_=continue_, resume=resume)
    sound = AudioSettings(audio_in, audio_out)
    environment = environment_of()
    if no_stdin:
        if "-" in (question, audio_in, *(attach or ())):
            raise UsageError("--no-stdin cannot be combined with -", hint="remove one of them")
        environment = replace(environment, stdin=None)
    chat = ChatOptions(_output_format(json=json, events=events), past, attach or (), sound)
    return run_once(question, settings, environment, chat)


def _past(*, continue_: bool, resume: str | None) -> Past:
    from rtchat.app.chat_history import Choice

    if continue_ and resume is not None:
        raise UsageError("--continue and --resume cannot be combined", hint="choose one")
    if resume is None:
        return Choice.LATEST if continue_ else None
    return conversation_key(resume) if resume.strip() else Choice.PICKED


def _output_format(*, json: bool, events: bool) -> OutputFormat:
    if json and events:
        raise UsageError("--json and --events both write to stdout", hint="choose one")
    return "json" if json else "events" if events else "text"
