"""What surrounds a run: its streams, its folders and what goes to stdout."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, TextIO, TypeAlias

from rtchat.core.values import value
from rtchat.system.output import Output

Shape: TypeAlias = Literal["text", "json", "events"]
"""What goes to stdout: replies as text, as JSON, or every server event."""


@value
class Environment:
    """The three streams, what is at their other ends, and where things are kept."""

    stdin: int | None
    """The descriptor; None if it is closed."""
    stdout: TextIO
    stderr: TextIO | None
    data_dir: Path
    state_dir: Path
    environ: MutableMapping[str, str]
    stdin_is_terminal: bool = False
    stdout_is_terminal: bool = False
    stderr_is_terminal: bool = False
    output: Output | None = None
    """What `stdout` and `stderr` write through; None if writing to them may block."""


@contextmanager
def unblocked(streams: Environment) -> Iterator[Environment]:
    """The same, with streams that threads write to. At the end, wait for them."""
    err = streams.stderr
    with Output(streams.stdout.fileno(), None if err is None else err.fileno()) as output:
        yield replace(streams, stdout=output.stdout, stderr=output.stderr, output=output)
