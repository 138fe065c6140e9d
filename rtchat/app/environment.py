"""The environment of a run: its streams, its folders and its kind of output."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, TextIO, TypeAlias

from rtchat.core.values import value
from rtchat.system.output import Output

OutputFormat: TypeAlias = Literal["text", "json", "events"]
"""The output on stdout: replies as text or JSON, or every server event."""


@value
class Environment:
    """The three standard streams, the environment variables, and the program's folders."""

    stdin: int | None
    """The file descriptor; None if it is closed."""
    stdout: TextIO
    stderr: TextIO | None
    data_dir: Path
    state_dir: Path
    templates_dir: Path
    environ: MutableMapping[str, str]
    stdin_is_terminal: bool = False
    stdout_is_terminal: bool = False
    stderr_is_terminal: bool = False
    output: Output | None = None
    """Writes `stdout` and `stderr` in threads; None if writing to them may block."""

    @property
    def can_repaint(self) -> bool:
        """Whether the terminal, if there is one, can move its cursor and show colours."""
        return self.environ.get("TERM") != "dumb"


@contextmanager
def unblocked(environment: Environment) -> Iterator[Environment]:
    """The environment with streams that are written in threads. On exit, wait for them."""
    err = environment.stderr
    with Output(environment.stdout.fileno(), None if err is None else err.fileno()) as output:
        yield replace(environment, stdout=output.stdout, stderr=output.stderr, output=output)
