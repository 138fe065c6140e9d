"""Tools of local MCP servers: programs that speak the Model Context Protocol over stdio.

The official `mcp` package (the extra `mcp`) implements the protocol. Importing it takes a second,
so only `open_servers` does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shlex
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, TextIO

from rtchat.core.errors import UsageError
from rtchat.core.values import Tool
from rtchat.system.installation import extra_hint
from rtchat.tools.mcp_messages import limit_messages
from rtchat.tools.toolbox import Handle, Toolbox, combine, unique_name

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult, ContentBlock
    from mcp.types import Tool as Listed

START_TIMEOUT = 30.0
"""Seconds in which a server must start and list its tools. npx may have to download it first."""
_INVALID = re.compile(r"[^a-zA-Z0-9_-]")
"""Matches characters that the API does not allow in a name."""
_STDERR_TIMEOUT = 2.0
"""Seconds to wait for the end of stderr after a server has exited."""
_MAX_PAGES = 100
"""Pages of a list of tools."""
_MAX_TOOLS = 500
"""Tools of a server that are used. Model APIs accept 128 to a few hundred."""
_MAX_TOOL_BYTES = 50_000
"""Bytes of the description and the schema of a tool."""
_MAX_ALL_BYTES = 1_000_000
"""The same for all tools of a server. They are sent to every session and cost tokens."""
_MAX_QUOTED = 500
"""Characters of a server's error message that are quoted."""


@asynccontextmanager
async def open_servers(
    commands: Sequence[str],
    *,
    say: Callable[[str], None] = lambda line: None,
    start_timeout: float = START_TIMEOUT,
    timeout: float = 60.0,
) -> AsyncIterator[Toolbox]:
    """Start MCP servers with these commands and yield their tools. They run while the block does.

    A server may take `start_timeout` seconds to start, and a call `timeout` seconds. Lines of a
    server's stderr are passed to `say` in the event loop. Raises UsageError if a command does not
    start a server. After a server has exited, calls of its tools return an error.
    """
    try:
        import mcp  # noqa: F401 # an extra: check that it is installed before starting servers
    except ImportError as error:
        raise UsageError("MCP servers need the package mcp", hint=extra_hint("mcp")) from error
    # The package logs errors of servers. Without a handler, they would appear on the screen.
    if not (log := logging.getLogger("mcp")).handlers:
        log.addHandler(logging.NullHandler())
    servers = [_Server(command, say, timeout) for command in commands]
    problem: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(server.run(start_timeout)) for server in servers]
        try:
            yield combine(*_with_unique_labels([await server.handles for server in servers]))
        except Exception as error:  # re-raised outside the group, which would wrap it
            problem = error
        for server, task in zip(servers, running, strict=True):
            if server.handles.done():
                server.stop.set()
            else:
                task.cancel()
    if problem is not None:
        raise problem


class _Server:
    """One server, run by its own task. If its connection breaks, only that task is cancelled, and
    its cancel scopes are exited in the task that entered them."""

    def __init__(self, command: str, say: Callable[[str], None], timeout: float) -> None:
        self._command = command
        self._words = _split(command)
        self._say = say
        self._timeout = timeout
        self._failure = ""
        self._name = ""
        self.handles: asyncio.Future[list[Handle]] = asyncio.get_running_loop().create_future()
        """Done when the server has listed its tools or failed to start."""
        self.stop = asyncio.Event()

    async def run(self, start_timeout: float) -> None:
        """Start the server and keep it running until `stop` is set."""
        errors, sink = await _pipe(self._log)
        try:
            with closing(sink):
                await self._serve(sink, start_timeout)
        except Exception as error:  # from the package, its dependencies or the system
            await errors.all_read()
            self._failure = _reason(error, start_timeout)
            if not self.handles.done():
                self.handles.set_exception(self._refusal(error, errors.last))
                self.handles.exception()  # mark it as retrieved: another server may be reported
        finally:
            errors.close()

    async def _serve(self, sink: TextIO, start_timeout: float) -> None:
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(start_timeout):
                client = await self._connect(sink, stack)
                listed, is_whole = await _list(client)
            self._name = _label(client, self._words)
            handles = [self._handle(client, tool) for tool in listed]
            used = list(_within(handles))
            if len(used) < len(handles) or not is_whole:
                rest = "the rest exceed the limit on number or size"
                self._log(f"only {len(used)} of its tools are used; {rest}")
            self.handles.set_result(used)
            await self.stop.wait()

    async def _connect(self, sink: TextIO, stack: AsyncExitStack) -> Client:
        from mcp import Client, StdioServerParameters, stdio_client

        limit_messages()
        command, *arguments = self._words
        # Without `env`, the package passes on PATH, HOME and similar variables, but no keys.
        parameters = StdioServerParameters(command=command, args=arguments)
        try:
            client = Client(stdio_client(parameters, errlog=sink), cache=None)
            return await stack.enter_async_context(client)
        except Exception as error:
            if not _is_closed(error):
                raise
        # Servers made with rmcp up to 1.7 exit at the first message of the 2026 protocol
        # (dmtrKovalenko/fff#798): try again with the previous protocol.
        client = Client(stdio_client(parameters, errlog=sink), cache=None, mode="legacy")
        return await stack.enter_async_context(client)

    def _log(self, line: str) -> None:
        self._say(f"{self._name or self._words[0]}: {line}")

    def _refusal(self, error: Exception, last_line: str) -> UsageError:
        output = f"; its last output was {last_line}" if last_line else ""
        refusal = UsageError(
            f"the MCP server {self._command!r} did not start ({self._failure}{output})",
            hint="run the command yourself to see why",
        )
        refusal.__cause__ = error
        return refusal

    def _handle(self, client: Client, listed: Listed) -> Handle:
        # A valid name for the API. MCP names may contain dots and slashes and have 128 characters.
        name = _INVALID.sub("_", listed.name)[:64]
        schema = {"properties": {}, **listed.input_schema}
        tool = Tool(name, listed.description or listed.title or "", schema)
        run = partial(self._call, client, listed.name)
        return Handle(tool, run, self._timeout, self._name)

    async def _call(self, client: Client, name: str, arguments: str) -> str:
        try:
            given = json.loads(arguments.strip() or "{}")
        except (ValueError, RecursionError) as error:
            return f"error: the arguments are not valid JSON; the tool was not run: {error}"
        if not isinstance(given, dict):
            return "error: the arguments are not a JSON object; the tool was not run"
        try:
            return _output(await client.call_tool(name, given))
        except Exception as error:
            why = self._failure or _reason(error, self._timeout)
            return f"error: the MCP server {self._name} failed to run the tool: {why}"


def _with_unique_labels(servers: Sequence[Sequence[Handle]]) -> list[Toolbox]:
    """A toolbox for each server, with unique server names: servers choose their own names."""
    boxes: list[Toolbox] = []
    taken: set[str] = set()
    for handles in servers:
        label = unique_name(handles[0].server, taken) if handles else ""
        taken.add(label)
        boxes.append(Toolbox(replace(handle, server=label) for handle in handles))
    return boxes


def _split(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(
            f"invalid MCP server command {command!r} ({error})", hint="check the quotation marks"
        ) from error
    if not words:
        raise UsageError("the MCP server command is empty", hint="name a program")
    return words


async def _list(client: Client) -> tuple[list[Listed], bool]:
    """At most `_MAX_TOOLS` tools of a server, and whether these are all."""
    tools: list[Listed] = []
    cursor = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if not cursor or len(tools) > _MAX_TOOLS:
            break
    return tools[:_MAX_TOOLS], not cursor and len(tools) <= _MAX_TOOLS


def _within(handles: Sequence[Handle]) -> Iterator[Handle]:
    """The tools whose descriptions and schemas are within the size limits."""
    total = 0
    for handle in handles:
        tool = handle.tool
        size = len(tool.description.encode()) + len(json.dumps(tool.parameters))
        if size <= _MAX_TOOL_BYTES and total + size <= _MAX_ALL_BYTES:
            total += size
            yield handle


def _label(client: Client, words: Sequence[str]) -> str:
    """The server's own name, or that of its program, as a valid part of tool names."""
    info = client.server_info
    name = (info.name if info else "") or PurePath(words[0]).name
    return _INVALID.sub("_", name)[:30]


def _cause(error: BaseException) -> BaseException:
    """The first exception in nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _is_closed(error: BaseException) -> bool:
    from mcp import MCPError
    from mcp.types import CONNECTION_CLOSED

    cause = _cause(error)
    return isinstance(cause, MCPError) and cause.code == CONNECTION_CLOSED


def _reason(error: BaseException, timeout: float) -> str:
    """Why a server failed, as text for the user."""
    error = _cause(error)
    if _is_closed(error):
        return "it exited"
    if isinstance(error, TimeoutError):
        return f"no response for {timeout:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)[:_MAX_QUOTED] or type(error).__name__


# ------------------------------------------------------------------------------------------ results


def _output(result: CallToolResult) -> str:
    parts = [_part(block) for block in result.content]
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    text = "\n".join(parts)
    return f"error: {text}" if result.is_error else text


def _part(block: ContentBlock) -> str:
    """A block of content as text. Other content is described in brackets."""
    match block.type:
        case "text":
            return block.text
        case "image" | "audio":
            return f"[{block.type}: {block.mime_type}, {_size(block.data)} bytes]"
        case "resource_link":
            return f"[resource: {block.name}, {block.uri}]"
        case "resource":
            inner = block.resource
            name = f"[resource: {inner.uri}]"
            return f"{name}\n{inner.text}" if hasattr(inner, "text") else name


def _size(data: str) -> int:
    """The number of bytes that base64 text decodes to."""
    return len(data) * 3 // 4 - data[-2:].count("=")


# ------------------------------------------------------------------------------------------- stderr


class _Stderr(asyncio.Protocol):
    """Reads a server's stderr from a pipe."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._partial = b""
        self._at_end = asyncio.Event()
        self.last = ""
        """The last line that is not blank."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.close = transport.close

    def data_received(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._partial = self._partial[-10_000:]
        for line in lines:
            self._line(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self._line(self._partial)
        self._at_end.set()

    def _line(self, data: bytes) -> None:
        line = data.decode(errors="replace").strip()
        if line:
            self.last = line
            self._say(line)

    async def all_read(self) -> None:
        """Wait for the end of the pipe, but not long: a child process of the server may hold it
        open."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STDERR_TIMEOUT):
                await self._at_end.wait()


async def _pipe(say: Callable[[str], None]) -> tuple[_Stderr, TextIO]:
    """A pipe for a server's stderr: its reader, and the file for the server to write to."""
    inward, outward = os.pipe()
    loop = asyncio.get_running_loop()
    reading = partial(_Stderr, say)
    _, errors = await loop.connect_read_pipe(reading, os.fdopen(inward, "rb", 0))
    return errors, os.fdopen(outward, "w")
