"""The streams, the variables and the folders of this process. Only `cli` reads them."""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedWriter, TextIOBase, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import typer

from rtchat.core.errors import ExitCode, OutputError, error_lines
from rtchat.core.text import on_a_line
from rtchat.system.blocking import BlockingFile

if TYPE_CHECKING:
    from rtchat.app.environment import Environment
    from rtchat.config.settings import Settings


def open_streams() -> None:
    """Make stdout and stderr accept any text and write all of it. Python's own streams lose text if
    a descriptor is non-blocking or PYTHONUNBUFFERED is set."""

    def opened(descriptor: int, *, line_buffering: bool) -> TextIO:
        buffer = BufferedWriter(BlockingFile(descriptor, "w"))
        return TextIOWrapper(
            buffer, encoding="utf-8", errors="replace", line_buffering=line_buffering
        )

    if sys.stdout is None:
        sys.stdout = cast("TextIO", _ClosedStdout())
    elif sys.stdout is sys.__stdout__:
        sys.stdout = opened(1, line_buffering=is_terminal(sys.stdout))
    if sys.stderr is not None and sys.stderr is sys.__stderr__:
        sys.stderr = opened(2, line_buffering=True)


class _ClosedStdout(TextIOBase):
    """Stdout if it is closed: any output is an error, as on a full disk."""

    encoding = "utf-8"

    def write(self, text: str, /) -> int:
        raise _stdout_closed()


def _stdout_closed() -> OutputError:
    return OutputError("stdout is closed", hint="leave it open, or redirect it to a file")


def stdout() -> TextIO:
    """The stdout of this process.

    Raises:
        OutputError: it is closed.
    """
    if sys.stdout is None or isinstance(sys.stdout, _ClosedStdout):
        raise _stdout_closed()
    return sys.stdout


def environment_of() -> Environment:
    """The streams and folders of this process."""
    from platformdirs import user_state_path

    from rtchat.app.environment import Environment

    return Environment(
        stdin=None if sys.stdin is None else sys.stdin.fileno(),
        stdout=stdout(),
        stderr=sys.stderr,
        data_dir=data_dir(),
        state_dir=_own(user_state_path),
        templates_dir=templates_dir(),
        environ=os.environ,
        stdin_is_terminal=is_terminal(sys.stdin),
        stdout_is_terminal=is_terminal(sys.stdout),
        stderr_is_terminal=is_terminal(sys.stderr),
    )


def load_settings(
    options: Mapping[str, object], *, needs_key: bool = True, no_env: bool = False
) -> Settings:
    """The settings from these options, the environment and this folder. What is ignored in its
    `.env` is reported on stderr, even with --quiet."""
    from rtchat.config.resolve import resolve

    noted: set[str] = set()

    def note(text: str) -> None:
        if options.get("verbose") and text not in noted:
            noted.add(text)
            say(text)

    def stored(profile: str) -> tuple[str, str] | None:
        from rtchat.config.keys import KeyStore, UnreadableError

        try:
            return KeyStore(data_dir()).get(profile)
        except UnreadableError as error:
            note(error.message)
            return None

    return resolve(
        options,
        os.environ,
        dotenv=dotenv_file(no_env),
        config=config_file(),
        templates=templates_dir(),
        stored=stored,
        needs_key=needs_key,
        warn=warn,
        note=note,
    )


def dotenv_file(no_env: bool) -> Path | None:
    """The path of this folder's `.env`, unless the user disabled it."""
    from rtchat.config.sources import is_dotenv_wanted

    return None if no_env or not is_dotenv_wanted(os.environ) else Path(".env")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal."""
    return stream is not None and stream.isatty()


def is_interactive() -> bool:
    """Whether all three streams are a terminal, so that nothing is part of a pipe or a script."""
    return all(map(is_terminal, (sys.stdin, sys.stdout, sys.stderr)))


@contextmanager
def asking() -> Iterator[None]:
    """A context for asking the user at the terminal. Ctrl-C interrupts, even if the program was
    started with that signal ignored. If the terminal is closed, the command ends as after a
    hangup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except Exception:
        if not _has_terminal():
            raise typer.Exit(ExitCode.HANGUP) from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _has_terminal() -> bool:
    try:
        termios.tcgetattr(sys.stdin)
    except termios.error:
        return False
    return True


def config_file() -> Path:
    """The path of the config file, unless RTCHAT_CONFIG names another."""
    from platformdirs import user_config_path

    return _own(user_config_path) / "config.toml"


def templates_dir() -> Path:
    """The folder of prompt templates. No variable can name another."""
    return config_file().with_name("prompts")


def data_dir() -> Path:
    """The folder of conversations, keys and the built-in model."""
    from platformdirs import user_data_path

    return _own(user_data_path)


def _own(find: Callable[..., Path]) -> Path:
    """One of the user's folders. Without a home folder, it is a path that cannot exist, and never
    one in the working directory."""
    try:
        path = find("rtchat", appauthor=False)
    except RuntimeError:  # no variable sets a home folder
        path = Path()
    return path if path.is_absolute() else Path(os.devnull, "rtchat")


def print_rows(rows: Iterable[tuple[str, ...]]) -> None:
    """Print aligned columns."""
    lines = [tuple(map(on_a_line, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def warn(text: str, hint: str = "") -> None:
    """Write a warning to stderr, even with --quiet."""
    for line in error_lines(text, hint).splitlines():
        say(line)


def say(text: str) -> None:
    """Write a line to stderr."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(f"{on_a_line(text)}\n")
            sys.stderr.flush()
