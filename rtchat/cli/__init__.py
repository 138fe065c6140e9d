"""The command line: argv in, an exit code out.

Errors become exit codes here. Only the modules of this folder read `os.environ`, or test whether a
stream is a terminal. Expensive imports are inside functions, so that `--help` does not need them.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtchat._version import __version__
from rtchat.cli.environment import is_terminal, open_streams, stdout
from rtchat.core.errors import ExitCode, RtchatError, error_lines, stdout_error

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
    "voices": "audio.voices",
    "history": "history.app",
    "keys": "configure.keys",
    "config": "configure.config",
    "prompts": "prompts.app",
    "local": "serve.local",
    "completion": "completion.app",
    "man": "man.man",
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

    If `name` is not a command, all commands are included, with only their names and help texts.
    """
    app = _program()
    for key, place in _COMMANDS.items():
        if name in _COMMANDS and key != name:
            continue
        if name in _COMMANDS:
            _add(app, key, _load(place), schema)
        else:
            app.command(key, help=_help_of(place))(_nothing)
    return app


def command_names() -> dict[str, str]:
    """The commands and their help texts."""
    return {name: _help_of(place) for name, place in _COMMANDS.items()}


def _help_of(place: str) -> str:
    command = _load(place)
    return (command.info.help if isinstance(command, typer.Typer) else command.__doc__) or ""


def whole_command_line() -> typer.Typer:
    """The command line with the options of all commands."""
    app = _program()
    for key, place in _COMMANDS.items():
        _add(app, key, _load(place), None)
    return app


def _program() -> typer.Typer:
    from rtchat.cli.help import CommandGroup, help_width

    app = typer.Typer(
        name="rtchat",
        cls=CommandGroup,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        subcommand_metavar="[COMMAND|QUESTION]",
        context_settings={
            "help_option_names": ["-h", "--help"],
            "terminal_width": help_width(),
        },
    )
    app.callback()(root)
    return app


def _add(
    app: typer.Typer,
    name: str,
    command: Callable[..., int] | typer.Typer,
    schema: type[Settings] | None,
) -> None:
    from rtchat.cli.help import CommandGroup, GroupedCommand
    from rtchat.cli.options import with_settings

    if isinstance(command, typer.Typer):
        for each in command.registered_commands:
            if each.callback is not None:
                each.cls = GroupedCommand
                path = f"{name} {each.name or each.callback.__name__}"
                each.callback = with_settings(path, each.callback, schema)
        app.add_typer(command, name=name, cls=CommandGroup)
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


def _with_values(arguments: list[str]) -> list[str]:
    """The arguments, with an empty value for a `--resume` without one: Typer has no options whose
    value may be missing."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    following = [*arguments[1:end], "-"]
    options = zip(arguments[:end], following, strict=True)
    given = [
        "--resume=" if each == "--resume" and after.startswith("-") else each
        for each, after in options
    ]
    return given + arguments[end:]


def _fault(error: BaseException) -> RtchatError:
    cause = error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    message = f"internal error ({type(cause).__name__}: {cause})"
    fault = RtchatError(message, hint="report it with the traceback that RTCHAT_DEBUG=1 shows")
    fault.__cause__ = error
    return fault


def _dispatch(arguments: list[str]) -> ExitCode:
    if arguments[:1] == ["__complete"]:
        complete = _load("complete.complete")
        return ExitCode(complete(*arguments[1:]))
    arguments = _with_command(arguments)
    try:
        code = _program_with(arguments[0])(
            _with_values(arguments), prog_name="rtchat", standalone_mode=False
        )
    except _ArgumentError as error:
        from rtchat.cli.mistakes import argument_error

        raise argument_error(error, arguments, _commands_with_option) from error
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # the library has its own exit code
            return ExitCode.PIPE
        raise
    return ExitCode(code or 0)


def _with_command(arguments: list[str]) -> list[str]:
    """The arguments, beginning with a command: a question alone is `once`."""
    default = "talk" if is_terminal(sys.stdin) else "once"
    if not arguments:
        return [default]
    first, *rest = arguments
    if first == "help" and (not rest or rest[0] in _COMMANDS):
        return [*rest, "--help"]
    if first in _COMMANDS or first in _OWN_OPTIONS:
        return arguments
    words = _words(default, arguments) if first.startswith("-") else [first]
    if not words:
        return [default, *arguments]
    from rtchat.cli.mistakes import is_question, meant_command, misplaced, unknown_command

    if first.startswith("-") and words[0] in _COMMANDS:
        raise misplaced(first, words[0])
    if first.startswith("-"):
        may_ask = default == "once" and not meant_command(words[0], _COMMANDS)
    else:
        may_ask = False
        words = [first, *_words("once", rest)]
    if not (may_ask or is_question(words, _COMMANDS)):
        raise unknown_command(words, _COMMANDS, "rtchat")
    return ["once", *arguments]


@cache
def _program_with(command: str) -> Any:
    """The program with the options of one command, as typer makes it."""
    return typer.main.get_command(command_line(command))


def _words(command: str, arguments: list[str]) -> list[str]:
    """The arguments that are neither options of a command nor the values of options."""
    program = _program_with(command)
    context = program.commands[command].make_context(
        command, list(arguments), resilient_parsing=True
    )
    words: list[str] = [*(context.params.get("prompt") or ()), *context.args]
    return words


def _commands_with_option(option: str) -> list[str]:
    """The commands that have an option."""
    return [
        path
        for path, command in all_commands()
        if any(option in each.opts for each in command.params)
    ]


def all_commands() -> Iterator[tuple[str, Any]]:
    """Every command, with all words of its name after `rtchat`."""
    program: Any = typer.main.get_command(whole_command_line())
    for name, command in program.commands.items():
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {each}", leaf) for each, leaf in inner.items())


if TYPE_CHECKING:
    from typer import BadParameter as _ArgumentError
else:
    # Since 0.26, Typer has its own copy of click, whose base error class has no other public name.
    _ArgumentError = typer.BadParameter.__mro__[1]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OWN_OPTIONS = ("-h", "--help", "--version")


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
