"""The toolbox, which holds the tools that a model can call, and the redirection of their output.

`Toolbox.call` always returns text for the model: the result, or an error message.
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

MAX_OUTPUT = 32 * 1024
"""Bytes of UTF-8 in the output of a call."""
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""The tool names that the API accepts."""
THREAD_NAME = "rtchat tool"
"""The name of the threads that tools run in."""
_MAX_LINE = 2000
"""Characters of a printed line; a longer one is split."""
_MAX_PENDING = 100
"""Printed lines that wait for the event loop. A thread that prints faster is blocked."""

Run: TypeAlias = Callable[[str], Awaitable[str]]
"""Runs a tool: takes the arguments, JSON as the model wrote it, and returns the output. An
exception becomes the output."""
Say: TypeAlias = Callable[[str], None]


@value
class Handle:
    """A tool and how to run it, for at most `timeout` seconds.

    `server` is the name of the tool's MCP server; empty for a function of a file.
    """

    tool: Tool
    run: Run
    timeout: float
    server: str = ""


class Toolbox:
    """The tools of a session, under unique names."""

    def __init__(self, handles: Iterable[Handle] = ()) -> None:
        self.handles = tuple(handles)
        self._by_name = {handle.tool.name: handle for handle in self.handles}

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The declarations of the tools, for the Realtime server."""
        return tuple(handle.tool for handle in self.handles)

    @property
    def servers(self) -> dict[str, str]:
        """The name of the MCP server of each tool that has one."""
        return {handle.tool.name: handle.server for handle in self.handles if handle.server}

    async def call(self, name: str, arguments: str) -> str:
        """Call a tool. Returns its output or an error message. Raises only CancelledError, if the
        call is cancelled."""
        handle = self._by_name.get(name)
        if handle is None:
            available = ", ".join(self._by_name)
            return truncate(f"error: unknown tool {name}; available tools: {available}")
        timeout = asyncio.timeout(handle.timeout)
        try:
            async with timeout:
                return truncate(await handle.run(arguments))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return format_error(error)  # raised by the tool, not by a cancellation of this task
        except GeneratorExit:  # this coroutine is being closed
            raise
        except BaseException as error:  # also SystemExit: a tool does not end the program
            if timeout.expired():
                return f"error: {name} timed out after {handle.timeout:g} s and was stopped"
            return truncate(format_error(error))


def combine(*boxes: Toolbox) -> Toolbox:
    """One toolbox with all tools. Where names clash, a server's tools are prefixed with the name of
    the server, so that permission for one tool never covers another. Raises UsageError if two
    functions have the same name."""
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
            name = unique_name(f"{handle.server}__{handle.tool.name}", taken)
            taken.add(name)
            handle = replace(handle, tool=replace(handle.tool, name=name))
        named.append(handle)
    return Toolbox(named)


def unique_name(name: str, taken: set[str]) -> str:
    """The name, shortened or numbered if necessary: not taken, and valid for the API."""
    candidate, number = name[:64], 1
    while candidate in taken:
        number += 1
        candidate = f"{name[:60]}_{number}"
    return candidate


def truncate(output: str) -> str:
    """An output that can be sent: valid Unicode of at most `MAX_OUTPUT` bytes."""
    data = output.encode("utf-8", "replace")
    if len(data) <= MAX_OUTPUT:
        return data.decode()
    note = f"\n[truncated: the output has {len(data)} bytes]"
    return data[: MAX_OUTPUT - len(note)].decode("utf-8", "ignore") + note


def format_error(error: BaseException) -> str:
    """An exception as output for the model."""
    try:
        message = str(error)
    except Exception:  # the tool may define the class
        message = ""
    kind = type(error).__name__
    return f"error: {kind}: {message}" if message else f"error: {kind}"


# ---------------------------------------------------------------------------------- printed output


@contextmanager
def printing_to(say: Say) -> Iterator[None]:
    """Pass what is printed while the block runs to `say`, line by line, in the event loop.

    Tools must write neither to stdout, which is for replies, nor to the terminal, which the view
    paints. Enter this in the loop, before `load`. Output of child processes is not redirected.
    """
    lines = _Lines(say)
    # This covers logging and other threads, which all use the current `sys.stdout`.
    with redirect_stdout(lines), redirect_stderr(lines):
        try:
            yield
        finally:
            lines.flush_partial()
            left = any(thread.name == THREAD_NAME for thread in threading.enumerate())
    if left:
        sys.stdout, sys.stderr = _for_this_thread(sys.stdout), _for_this_thread(sys.stderr)


def _for_this_thread(stream: TextIO) -> TextIO:
    """A stream to which only this thread can write. In the thread of a cancelled tool, `print`
    raises SystemExit instead of mixing with the program's further output."""
    this_thread = threading.get_ident()

    class ThisThreadOnly:
        def write(self, text: str) -> int:
            if threading.get_ident() != this_thread:
                raise SystemExit
            return stream.write(text)

        def __getattr__(self, name: str) -> object:
            return getattr(stream, name)

    return cast("TextIO", ThisThreadOnly())


class _Lines(TextIOBase):
    """A stream that passes its lines to `say` in the event loop. Any thread may write to it."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._lock = threading.Lock()
        self._room = threading.Semaphore(_MAX_PENDING)
        self._partial = ""

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._partial = re.split(r"[\r\n]", self._partial + text)
            while len(self._partial) > _MAX_LINE:
                lines.append(self._partial[:_MAX_LINE])
                self._partial = self._partial[_MAX_LINE:]
        for line in filter(str.strip, lines):
            self._pass_on(line)
        return len(text)

    def flush_partial(self) -> None:
        """Pass on the last line, which has no newline."""
        if self._partial.strip():
            self._say(self._partial)

    def _pass_on(self, line: str) -> None:
        if threading.get_ident() == self._loop_thread:
            self._say(line)
        # Slows down a tool that prints endlessly. With a timeout: the loop may wait for the tool.
        elif self._room.acquire(timeout=5):
            post_to(self._loop, self._from_thread, line)

    def _from_thread(self, line: str) -> None:
        self._room.release()
        self._say(line)
