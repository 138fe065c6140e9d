"""The program as its users run it: in a process, with an environment made from nothing.

`Program.run` is a pipe's view of it; `background` keeps a server running in a thread meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import pytest

from rtchat.core.errors import RtchatError
from tests import forking, json_output
from tests.forking import Forked, Process, take_terminal

PATIENCE = 120
"""Seconds after which a run has failed."""

T = TypeVar("T")
_PYTHON_M_RTCHAT = [sys.executable, "-m", "rtchat"]


@contextmanager
def background(make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """What an asynchronous context manager yields, kept alive by a loop in a thread."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    ready = threading.Event()
    made: list[T] = []

    async def hold() -> None:
        try:
            async with make() as value:
                made.append(value)
                ready.set()
                await stop.wait()
        finally:
            ready.set()
            # What was accepted while the block ended is met by nobody.
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in others:
                    task.cancel()
                await asyncio.wait(others)

    thread = threading.Thread(target=lambda: loop.run_until_complete(hold()))
    thread.start()
    ready.wait(PATIENCE)
    try:
        yield made[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        loop.close()


@contextmanager
def piped(data: bytes, *, again: bytes = b"") -> Iterator[int]:
    """A pipe that starts with some data and then repeats other data endlessly."""
    reading, writing = os.pipe()

    def write() -> None:
        with suppress(BrokenPipeError), os.fdopen(writing, "wb", buffering=0) as file:
            file.write(data)
            while again:
                file.write(again)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield reading
    finally:
        os.close(reading)
        writer.join()


def two_lines(message: str, hint: str = "") -> str:
    """A message and its hint as the command line shows them."""
    return f"{message}\nhint: {hint}" if hint else message


def words_of(error: RtchatError) -> str:
    """What an error says, on one line or two."""
    return two_lines(error.message, error.hint)


def without_ids(err: str) -> str:
    """Stderr without the ids of the session and the response, which differ from run to run."""
    return re.sub(r" \(session \S+?(, response \S+?)?\)", "", err)


@dataclass(frozen=True)
class Ran:
    """How a run ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def error(self) -> str:
        """The one line that says what went wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("rtchat: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]

    @property
    def hint(self) -> str:
        """What the line after it says to do; empty without one."""
        lines = self.err.splitlines()
        after = lines[lines.index(self.error) + 1 :]
        return after[0].removeprefix("hint: ") if after and after[0].startswith("hint: ") else ""


class Program:
    """rtchat, in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.may_fork = True
        """Whether it may be started by a fork, which has the command line of its parent."""
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PYTHONWARNINGS": "error",
            **{name: text for name, text in os.environ.items() if name.startswith("COVERAGE")},
        }

    def command(self, *arguments: str) -> list[str]:
        return [*_PYTHON_M_RTCHAT, *arguments]

    def run(
        self,
        *arguments: str,
        stdin: bytes | IO[bytes] | int = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        environ: Mapping[str, str] | None = None,
    ) -> Ran:
        """Run it to its end."""
        text = stdin if isinstance(stdin, bytes) else None
        source = subprocess.PIPE if isinstance(stdin, bytes) else stdin
        with self.start(*arguments, stdin=source, stdout=stdout, environ=environ) as process:
            out, err = process.communicate(text, PATIENCE)
        json_output.check_lines(arguments, out or b"")
        return Ran(process.returncode, out or b"", err.decode())

    def shell(self, line: str, environ: Mapping[str, str] | None = None) -> Ran:
        """Run a line of bash in which `rtchat` is the program."""
        done = subprocess.run(
            ["bash", "-c", f'rtchat() {{ "{sys.executable}" -m rtchat "$@"; }}; {line}'],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**self.environ, **(environ or {})},
            cwd=self.home,
            timeout=PATIENCE,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr.decode())

    def start(
        self,
        *arguments: str,
        stdin: int | IO[bytes] = subprocess.PIPE,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.PIPE,
        environ: Mapping[str, str] | None = None,
        on_terminal: bool = False,
    ) -> Process:
        """Start it, with pipes at all three streams. `on_terminal`: `stdin` is a terminal that it
        has for itself."""
        command = self.command(*arguments)
        full = {**self.environ, **(environ or {})}
        kind: type[Process] = Process
        if self.may_fork and command[:3] == _PYTHON_M_RTCHAT and forking.is_possible(full):
            kind, command = Forked, command[2:]
        return kind(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=full,
            cwd=self.home,
            preexec_fn=take_terminal if on_terminal else None,
        )


@contextmanager
def listening(
    command: Sequence[str | Path],
    pattern: str,
    environ: Mapping[str, str],
    *,
    cwd: Path | None = None,
) -> Iterator[str]:
    """Run a server that is not ours while the block does; gives what `pattern` finds in the line
    that says where it listens."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env=environ,
    ) as process:
        assert process.stdout is not None
        try:
            said = ""
            for line in process.stdout:
                said += line
                if found := re.search(pattern, line):
                    yield found[1]
                    return
            pytest.fail(f"{command[0]} did not start: {said}")
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
