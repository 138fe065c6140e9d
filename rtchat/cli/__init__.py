"""The command line: argv in, an exit code out.

Errors become exit codes here. Only the modules of this folder read `os.environ`, or test whether a
stream is a terminal. Expensive imports are inside functions, so that `--help` does not need them.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from rtchat._version import __version__
from rtchat.cli.environment import is_terminal, open_streams, stdout
from rtchat.core.errors import ExitCode, RtchatError, UsageError, error_lines, stdout_error

if TYPE_CHECKING:
    from rtchat.config.settings import Settings

_COMMANDS = {
    "talk": "chat.talk",
    "once": "chat.once",
    "transcribe": "audio.transcribe",
    "translate": "audio.translate",
    "serve": "serve.serve",
    "replay": "diagnose.replay",
    "doctor": "diagnose.doctor",
    "devices": "audio.devices",
    "history": "history.app",
    "keys": "configure.keys",
    "config": "configure.config",
    "prompts": "prompts.app",
    "local": "serve.local",
}
"""The commands, each with its module and its name there."""


def _load(place: str) -> Callable[..., int] | typer.Typer:
    module, _, name = place.partition(".")
    loaded: Callable[..., int] | typer.Typer = getattr(import_module(f"rtchat.cli.{module}"), name)
    return loaded


def _print_version(is_given: bool) -> None:
    if is_given:
        stdout().write(f"rtchat {__version__}\n")
        raise typer.Exit


def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> int:
    """Talk to models over the Realtime API. The default command is talk, or once if stdin is
    piped."""
    return 0


def command_line(name: str = "", schema: type[Settings] | None = None) -> typer.Typer:
    """The command line with the options of one command: building those of all takes 10 ms.

    If `name` is not a command, all commands are included, with only their names and help texts. For
    shell completion, their options are included too.
    """
    app = typer.Typer(
        name="rtchat",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    completes = "_RTCHAT_COMPLETE" in os.environ
    for key, place in _COMMANDS.items():
        if name in _COMMANDS and key != name and not completes:
            continue
        command = _load(place)
        if name not in _COMMANDS and not completes:
            text = command.info.help if isinstance(command, typer.Typer) else command.__doc__
            app.command(key, help=text)(_nothing)
        else:
            _add(app, key, command, schema)
    return app


def _add(
    app: typer.Typer,
    name: str,
    command: Callable[..., int] | typer.Typer,
    schema: type[Settings] | None,
) -> None:
    from rtchat.cli.options import GroupedCommand, with_settings

    if isinstance(command, typer.Typer):
        for each in command.registered_commands:
            if each.callback is not None:
                each.callback = with_settings(f"{name} {each.name}", each.callback, schema)
        app.add_typer(command, name=name)
    else:
        app.command(name, cls=GroupedCommand)(with_settings(name, command, schema))


def _nothing() -> None:
    """A placeholder for a command that is only listed."""


def run(arguments: list[str]) -> int:
    """Run the command line. Every error becomes an exit code."""
    open_streams()
    try:
        code = _report(arguments)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    return _flush(code)


def _report(arguments: list[str]) -> ExitCode:
    try:
        return _dispatch(arguments)
    except RtchatError as error:
        return _fail(error, error.exit)
    except BrokenPipeError:
        return ExitCode.PIPE
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            return _fail(_fault(error), ExitCode.FAULT)
        return _fail(stdout_error(error), ExitCode.OUTPUT)  # errors of files name the file
    except Exception as error:
        return _fail(_fault(error), ExitCode.FAULT)


def _fault(error: BaseException) -> RtchatError:
    cause = error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    message = f"internal error ({type(cause).__name__}: {cause})"
    fault = RtchatError(message, hint="report it with the traceback that RTCHAT_DEBUG=1 shows")
    fault.__cause__ = error
    return fault


def _dispatch(arguments: list[str]) -> ExitCode:
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in _OWN_OPTIONS):
        arguments = ["talk" if is_terminal(sys.stdin) else "once", *arguments]
    try:
        code = command_line(arguments[0])(arguments, prog_name="rtchat", standalone_mode=False)
    except _ArgumentError as error:
        message = error.format_message().rstrip(".")
        raise UsageError(message[0].lower() + message[1:], hint="run `rtchat --help`") from error
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # the library has its own exit code
            return ExitCode.PIPE
        raise
    return ExitCode(code or 0)


if TYPE_CHECKING:
    from typer import BadParameter as _ArgumentError
else:
    # Since 0.26, Typer has its own copy of click, whose base error class has no other public name.
    _ArgumentError = typer.BadParameter.__mro__[1]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OWN_OPTIONS = ("-h", "--help", "--version", "--install-completion", "--show-completion")


def _fail(error: RtchatError, code: ExitCode) -> ExitCode:
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(f"{error_lines(error.message, error.hint)}\n")
            if os.environ.get("RTCHAT_DEBUG"):
                import traceback

                traceback.print_exception(error)
    return code


def _flush(code: ExitCode) -> ExitCode:
    """Flush both streams, unless the user interrupts that. What cannot be written is discarded, so
    that the interpreter's flush at exit does not fail again."""
    for number, stream in enumerate((sys.stdout, sys.stderr), start=1):
        if stream is None:
            continue
        try:
            if code is ExitCode.INTERRUPTED:
                _discard(number)
            stream.flush()
        except KeyboardInterrupt:
            _discard(number)
            code = ExitCode.INTERRUPTED
        except OSError as error:
            _discard(number)
            if code is ExitCode.OK and stream is sys.stdout:
                is_closed = isinstance(error, BrokenPipeError)
                code = ExitCode.PIPE if is_closed else _fail(stdout_error(error), ExitCode.OUTPUT)
    return code


def _discard(descriptor: int) -> None:
    """Discard all further output to these streams."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
