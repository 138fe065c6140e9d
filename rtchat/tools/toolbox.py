"""What a model may call: the toolbox, and where what its tools print goes.

Whatever a tool does, `Toolbox.call` gives text back: a result, or what went wrong, for the model to
act on.
"""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import TextIOBase
from typing import TextIO, TypeAlias, cast

from rtchat.core.errors import UsageError
from rtchat.core.values import Tool, value
from rtchat.system.loop import post_to

LIMIT = 32 * 1024
"""Bytes of UTF-8 that an output may have."""
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""The names of tools that the API takes."""
THREAD = "rtchat tool"
"""The name of the threads that tools run in."""
_LINE = 2000
"""Characters of a printed line that are passed on at once."""
_PENDING = 100
"""Printed lines that wait for the event loop; whoever prints faster waits too."""

Run: TypeAlias = Callable[[str], Awaitable[str]]
"""From arguments, JSON as the model wrote it, to the output. What it raises becomes the output."""
Say: TypeAlias = Callable[[str], None]


@value
class Handle:
    """A tool with how it is run, for `timeout` seconds at the most.

    `server` is the name of the MCP server that has it; empty for one of a file.
    """

    tool: Tool
    run: Run
    timeout: float
    server: str = ""


class Toolbox:
    """What a session can call. Each name stands for one tool."""

    def __init__(self, handles: Iterable[Handle] = ()) -> None:
        self.handles = tuple(handles)
        self._by_name = {handle.tool.name: handle for handle in self.handles}

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Its tools, as the server is told of them."""
        return tuple(handle.tool for handle in self.handles)

    @property
    def servers(self) -> dict[str, str]:
        """The MCP server of each tool that has one."""
        return {handle.tool.name: handle.server for handle in self.handles if handle.server}

    async def call(self, name: str, arguments: str) -> str:
        """The output of a tool, or what went wrong. Raises CancelledError if the call is
        cancelled, and nothing else."""
        handle = self._by_name.get(name)
        if handle is None:
            return cut(f"error: there is no tool {name}; there are: {', '.join(self._by_name)}")
        patience = asyncio.timeout(handle.timeout)
        try:
            async with patience:
                return cut(await handle.run(arguments))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return failure(error)  # the tool cancelled itself: nobody asked for it
        except GeneratorExit:  # this very coroutine is being thrown away
            raise
        except BaseException as error:  # also SystemExit: a tool does not end the program
            if patience.expired():
                return f"error: {name} took longer than {handle.timeout:g} s and was stopped"
            return cut(failure(error))


def combine(*boxes: Toolbox) -> Toolbox:
    """One toolbox with all tools. Where names clash, a server's tool is prefixed with its name, so
    that permission for one tool is never permission for another."""
    handles = [handle for box in boxes for handle in box.handles]
    uses = Counter(handle.tool.name for handle in handles)
    taken = {handle.tool.name for handle in handles if not handle.server}
    if len(taken) < sum(not handle.server for handle in handles):
        twice = next(h.tool.name for h in handles if not h.server and uses[h.tool.name] > 1)
        raise UsageError(f"two tools are named {twice}", hint="rename one of the functions")
    taken |= {name for name, count in uses.items() if count == 1}
    named = []
    for handle in handles:
        if handle.server and uses[handle.tool.name] > 1:
            name = free_name(f"{handle.server}__{handle.tool.name}", taken)
            taken.add(name)
            handle = replace(handle, tool=replace(handle.tool, name=name))
        named.append(handle)
    return Toolbox(named)


def free_name(name: str, taken: set[str]) -> str:
    """A name that is not taken and that the API accepts."""
    candidate, number = name[:64], 1
    while candidate in taken:
        number += 1
        candidate = f"{name[:60]}_{number}"
    return candidate


def cut(output: str) -> str:
    """An output that can be sent: of legal Unicode, and within the limit."""
    data = output.encode("utf-8", "replace")
    if len(data) <= LIMIT:
        return data.decode()
    note = f"\n[cut: this is the beginning of {len(data)} bytes]"
    return data[: LIMIT - len(note)].decode("utf-8", "ignore") + note


def failure(error: BaseException) -> str:
    """An exception as an output."""
    try:
        message = str(error)
    except Exception:  # its class is the tool's as well
        message = ""
    kind = type(error).__name__
    return f"error: {kind}: {message}" if message else f"error: {kind}"


# ---------------------------------------------------------------------------------- what is printed


@contextmanager
def printing_to(say: Say) -> Iterator[None]:
    """Whatever is printed while the block runs goes to `say`, line by line, in the event loop.

    Stdout is the reply's and the terminal is the view's, so tools get neither. To be entered in
    the loop, before `load`. Does not catch what a child process writes that inherits them.
    """
    lines = _Lines(say)
    # The two take care of logging and of threads as well: all look `sys.stdout` up.
    with redirect_stdout(lines), redirect_stderr(lines):
        try:
            yield
        finally:
            lines.rest()
            left = any(thread.name == THREAD for thread in threading.enumerate())
    if left:
        sys.stdout, sys.stderr = _ours(sys.stdout), _ours(sys.stderr)


def _ours(stream: TextIO) -> TextIO:
    """A stream to which this thread alone writes: a tool that was given up and prints on meets its
    end, instead of writing into what the program has yet to say."""
    home = threading.get_ident()

    class Ours:
        def write(self, text: str) -> int:
            if threading.get_ident() != home:
                raise SystemExit
            return stream.write(text)

        def __getattr__(self, name: str) -> object:
            return getattr(stream, name)

    return cast("TextIO", Ours())


class _Lines(TextIOBase):
    """A stream whose lines are said in the event loop, whichever thread writes them."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._home = threading.get_ident()
        self._lock = threading.Lock()
        self._room = threading.Semaphore(_PENDING)
        self._begun = ""

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._begun = re.split(r"[\r\n]", self._begun + text)
            while len(self._begun) > _LINE:
                lines.append(self._begun[:_LINE])
                self._begun = self._begun[_LINE:]
        for line in filter(str.strip, lines):
            self._pass_on(line)
        return len(text)

    def rest(self) -> None:
        """Say the line that was begun."""
        if self._begun.strip():
            self._say(self._begun)

    def _pass_on(self, line: str) -> None:
        if threading.get_ident() == self._home:
            self._say(line)
        # A tool that prints without end waits here; not for ever, as the loop may wait for it.
        elif self._room.acquire(timeout=5):
            post_to(self._loop, self._from_thread, line)

    def _from_thread(self, line: str) -> None:
        self._room.release()
        self._say(line)
