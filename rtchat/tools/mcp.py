"""Tools of local MCP servers: programs that speak the Model Context Protocol over their stdio.

The protocol is the business of the official `mcp` package (the extra `mcp`), which takes a second
to import: only `open_servers` does.
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
from rtchat.tools.mcp_messages import limit_messages
from rtchat.tools.toolbox import Handle, Toolbox, combine, free_name

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult, ContentBlock
    from mcp.types import Tool as Listed

START = 30.0
"""Seconds that a server has to start and to list its tools: npx may have to fetch it first."""
_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")
"""What the API does not take in a name."""
_LAST_ERRORS = 2.0
"""Seconds to wait for the end of what a server that has ended wrote to stderr."""
_PAGES = 100
"""How many pages a list of tools may have."""
_TOOLS = 500
"""How many tools of a server are used. Model APIs accept 128 to a few hundred."""
_TOOL_BYTES = 50_000
"""Bytes that the description and the schema of a tool may have."""
_ALL_BYTES = 1_000_000
"""The same for all tools of a server: every session is sent them, and they cost tokens."""
_QUOTED = 500
"""Characters of a server's words that an error quotes."""


@asynccontextmanager
async def open_servers(
    commands: Sequence[str],
    *,
    say: Callable[[str], None] = lambda line: None,
    start: float = START,
    timeout: float = 60.0,
) -> AsyncIterator[Toolbox]:
    """The tools of the servers that these commands start, which run while the block does.

    `say` is told, in the event loop, what they write to stderr. Raises UsageError for a command
    that does not start a server. One that ends later leaves tools that only say so.
    """
    try:
        import mcp  # noqa: F401 # an extra: said before anything is started
    except ImportError as error:
        hint = "pip install 'rtchat[mcp]'"
        raise UsageError("MCP servers need the package mcp", hint=hint) from error
    # It logs what a server gets wrong; without a handler that would land on the screen.
    if not (log := logging.getLogger("mcp")).handlers:
        log.addHandler(logging.NullHandler())
    servers = [_Server(command, say, timeout) for command in commands]
    problem: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(server.run(start)) for server in servers]
        try:
            yield combine(*_told_apart([await server.handles for server in servers]))
        except Exception as error:  # kept from the group, which would wrap it
            problem = error
        for server, task in zip(servers, running, strict=True):
            if server.handles.done():
                server.stop.set()
            else:
                task.cancel()
    if problem is not None:
        raise problem


class _Server:
    """One server, held by a task of its own: should its connection break, only that is cancelled,
    and its cancel scopes are left in the task that entered them."""

    def __init__(self, command: str, say: Callable[[str], None], timeout: float) -> None:
        self._command = command
        self._words = _split(command)
        self._say = say
        self._timeout = timeout
        self._ended = ""
        self._name = ""
        self.handles: asyncio.Future[list[Handle]] = asyncio.get_running_loop().create_future()
        """Settled once it has listed its tools, or failed to."""
        self.stop = asyncio.Event()

    async def run(self, start: float) -> None:
        """Start it, and keep it until it is to stop."""
        errors, sink = await _pipe(self._heard)
        try:
            with closing(sink):
                await self._hold(sink, start)
        except Exception as error:  # of any kind: the package, its dependencies, the system
            await errors.all_read()
            self._ended = _reason(error, start)
            if not self.handles.done():
                self.handles.set_exception(self._refusal(error, errors.last))
                self.handles.exception()  # seen, should another server be the one complained of
        finally:
            errors.close()

    async def _hold(self, sink: TextIO, start: float) -> None:
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(start):
                client = await self._connect(sink, stack)
                listed, is_whole = await _list(client)
            self._name = _label(client, self._words)
            handles = [self._handle(client, tool) for tool in listed]
            used = list(_within(handles))
            if len(used) < len(handles) or not is_whole:
                rest = "the rest are too many or too large"
                self._heard(f"{len(used)} of its tools are used: {rest}")
            self.handles.set_result(used)
            await self.stop.wait()

    async def _connect(self, sink: TextIO, stack: AsyncExitStack) -> Client:
        from mcp import Client, StdioServerParameters, stdio_client

        limit_messages()
        command, *arguments = self._words
        # No `env`: the package passes on PATH, HOME and the like, and no keys.
        parameters = StdioServerParameters(command=command, args=arguments)
        try:
            client = Client(stdio_client(parameters, errlog=sink), cache=None)
            return await stack.enter_async_context(client)
        except Exception as error:
            if not _is_closed(error):
                raise
        # Servers made with rmcp up to 1.7 end at the first question of the protocol of 2026
        # (dmtrKovalenko/fff#798): once more, with the protocol before it.
        client = Client(stdio_client(parameters, errlog=sink), cache=None, mode="legacy")
        return await stack.enter_async_context(client)

    def _heard(self, line: str) -> None:
        self._say(f"{self._name or self._words[0]}: {line}")

    def _refusal(self, error: Exception, said: str) -> UsageError:
        said = f"; it said: {said}" if said else ""
        refusal = UsageError(
            f"the MCP server {self._command!r} did not start: {self._ended}{said}",
            hint="check the command by running it",
        )
        refusal.__cause__ = error
        return refusal

    def _handle(self, client: Client, listed: Listed) -> Handle:
        # What the API takes; a server may allow itself dots, slashes and 128 characters.
        name = _FOREIGN.sub("_", listed.name)[:64]
        schema = {"properties": {}, **listed.input_schema}
        tool = Tool(name, listed.description or listed.title or "", schema)
        run = partial(self._call, client, listed.name)
        return Handle(tool, run, self._timeout, self._name)

    async def _call(self, client: Client, name: str, arguments: str) -> str:
        try:
            given = json.loads(arguments.strip() or "{}")
        except (ValueError, RecursionError) as error:
            return f"error: the arguments are not whole JSON, so nothing was run: {error}"
        if not isinstance(given, dict):
            return "error: the arguments are not a JSON object, so nothing was run"
        try:
            return _output(await client.call_tool(name, given))
        except Exception as error:
            why = self._ended or _reason(error, self._timeout)
            return f"error: the MCP server {self._name} did not run it: {why}"


def _told_apart(servers: Sequence[Sequence[Handle]]) -> list[Toolbox]:
    """The tools of each server, under a unique name: servers choose their own names."""
    boxes: list[Toolbox] = []
    taken: set[str] = set()
    for handles in servers:
        label = free_name(handles[0].server, taken) if handles else ""
        taken.add(label)
        boxes.append(Toolbox(replace(handle, server=label) for handle in handles))
    return boxes


def _split(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the MCP server {command!r}: {error}", hint="check the quotes") from error
    if not words:
        raise UsageError("the command of an MCP server is empty", hint="name a program")
    return words


async def _list(client: Client) -> tuple[list[Listed], bool]:
    """The tools of a server that are used, and whether these are all."""
    tools: list[Listed] = []
    cursor = None
    for _ in range(_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if not cursor or len(tools) > _TOOLS:
            break
    return tools[:_TOOLS], not cursor and len(tools) <= _TOOLS


def _within(handles: Sequence[Handle]) -> Iterator[Handle]:
    """The tools whose descriptions and schemas are not too large."""
    total = 0
    for handle in handles:
        tool = handle.tool
        size = len(tool.description.encode()) + len(json.dumps(tool.parameters))
        if size <= _TOOL_BYTES and total + size <= _ALL_BYTES:
            total += size
            yield handle


def _label(client: Client, words: Sequence[str]) -> str:
    """What a server calls itself, as a part of names."""
    info = client.server_info
    name = (info.name if info else "") or PurePath(words[0]).name
    return _FOREIGN.sub("_", name)[:30]


def _cause(error: BaseException) -> BaseException:
    """The first in groups of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _is_closed(error: BaseException) -> bool:
    from mcp import MCPError
    from mcp.types import CONNECTION_CLOSED

    cause = _cause(error)
    return isinstance(cause, MCPError) and cause.code == CONNECTION_CLOSED


def _reason(error: BaseException, start: float) -> str:
    """Why a server is not there, in plain words."""
    error = _cause(error)
    if _is_closed(error):
        return "it ended"
    if isinstance(error, TimeoutError):
        return f"it did not speak within {start:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)[:_QUOTED] or type(error).__name__


# ------------------------------------------------------------------------------------------ results


def _output(result: CallToolResult) -> str:
    parts = [_part(block) for block in result.content]
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    text = "\n".join(parts)
    return f"error: {text}" if result.is_error else text


def _part(block: ContentBlock) -> str:
    """A block of content as text; what is none is named in brackets."""
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
    """Of base64, decoded."""
    return len(data) * 3 // 4 - data[-2:].count("=")


# ------------------------------------------------------------------------------------------- stderr


class _Errors(asyncio.Protocol):
    """The end of a pipe where a server's stderr comes out."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun = b""
        self._over = asyncio.Event()
        self.last = ""
        """The last line that says something."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.close = transport.close

    def data_received(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + data).split(b"\n")
        self._begun = self._begun[-10_000:]
        for line in lines:
            self._line(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self._line(self._begun)
        self._over.set()

    def _line(self, data: bytes) -> None:
        line = data.decode(errors="replace").strip()
        if line:
            self.last = line
            self._say(line)

    async def all_read(self) -> None:
        """A server that has ended may leave a process that holds the pipe: no long wait."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_ERRORS):
                await self._over.wait()


async def _pipe(say: Callable[[str], None]) -> tuple[_Errors, TextIO]:
    """Where a server's errors come out, and where it is to write them."""
    inward, outward = os.pipe()
    loop = asyncio.get_running_loop()
    reading = partial(_Errors, say)
    _, errors = await loop.connect_read_pipe(reading, os.fdopen(inward, "rb", 0))
    return errors, os.fdopen(outward, "w")
