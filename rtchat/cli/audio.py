"""`transcribe`, and `devices`: the microphones and speakers of the machine."""

from __future__ import annotations

from typing import Annotated

import typer

from rtchat.cli.environment import environment_of
from rtchat.cli.options import NoEnv, settings_of


def transcribe(
    *,
    file: Annotated[str | None, typer.Argument(metavar="[FILE|-]", show_default=False)] = None,
    no_env: NoEnv = False,
    **options: object,
) -> int:
    """Print a transcript of a file, of piped audio or, without either, of the microphone."""
    from rtchat.app.transcribe import transcribe
    from rtchat.config.settings import Settings

    settings = settings_of(options, no_env=no_env)
    is_model_given = settings.origins["model"] == Settings.model.option
    model = settings.model if is_model_given else None  # otherwise the default for transcription
    return transcribe(file, settings, environment_of(), model)


def devices() -> int:
    """List the microphones and speakers for --input-device and --output-device."""
    from rtchat.audio.devices import list_devices

    for device in list_devices():
        marks = [
            *(["input"] if device.inputs else []),
            *(["output"] if device.outputs else []),
            *(["default"] if device.default_input or device.default_output else []),
        ]
        typer.echo(f"{device.index:>3}  {device.name}  ({device.api})  {', '.join(marks)}")
    return 0
