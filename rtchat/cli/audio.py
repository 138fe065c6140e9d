"""`transcribe`, and `devices`: the microphones and speakers of the machine."""

from __future__ import annotations

from typing import Annotated

import typer

from rtchat.cli import chat
from rtchat.cli.environment import environment_of

Vad = Annotated[
    str | None,
    typer.Option(
        "--vad", metavar="server|semantic|off", help="Who tells turns apart; off: nobody."
    ),
]


def transcribe(
    ctx: typer.Context,
    file: Annotated[str | None, typer.Argument(metavar="[FILE|-]", show_default=False)] = None,
    model: chat.Model = None,
    url: chat.Url = None,
    dialect: chat.DialectName = None,
    profile: chat.Profile = None,
    local: chat.Local = False,
    vad: Vad = None,
    input_device: chat.InputDevice = None,
    set_: chat.SetOption = None,
    connect_timeout: chat.ConnectTimeout = None,
    timeout: chat.Timeout = None,
    header: chat.Headers = None,
    quiet: chat.Quiet = False,
    verbose: chat.Verbose = False,
    insecure: chat.Insecure = False,
    ca_bundle: chat.CaBundle = None,
    trace: chat.TraceFile = None,
    trace_audio: chat.TraceAudio = False,
    no_env: chat.NoEnv = False,
) -> int:
    """What is said in a file, a pipe or, without either, at the microphone, as text."""
    from rtchat.app.transcribe import transcribe

    return transcribe(file, chat.settings_of(ctx.params), environment_of(), model)


def devices() -> int:
    """The microphones and speakers for --input-device and --output-device."""
    from rtchat.audio.devices import listing

    for device in listing():
        marks = [
            *(["input"] if device.inputs else []),
            *(["output"] if device.outputs else []),
            *(["default"] if device.default_input or device.default_output else []),
        ]
        typer.echo(f"{device.index:>3}  {device.name}  ({device.api})  {', '.join(marks)}")
    return 0
