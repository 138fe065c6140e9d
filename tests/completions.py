"""A small chat completions server whose responses a test controls byte by byte."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

from tests.faulty import connections

OPENING = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
CLOSING = b"0\r\n\r\n"


class CompletionRequest:
    """A received request, and methods to respond to it."""

    def __init__(
        self,
        headers: dict[str, str],
        body: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.headers = headers
        self.body = body
        self._reader = reader
        self._writer = writer

    async def write(self, *pieces: bytes) -> None:
        """Write raw bytes."""
        self._writer.write(b"".join(pieces))
        with suppress(ConnectionError):
            await self._writer.drain()

    async def stream(self, *events: object) -> None:
        """Write a complete stream of these events and [DONE]."""
        await self.write(OPENING, *map(event, events), data("[DONE]"), CLOSING)

    async def wait_closed(self) -> None:
        """Wait until the client closes the connection."""
        with suppress(ConnectionError):
            await self._reader.read()

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


Respond: TypeAlias = Callable[[CompletionRequest], Awaitable[None]]


def data(text: str) -> bytes:
    """An event with this data, as a chunk of the body."""
    return chunked(f"data: {text}\n\n".encode())


def chunked(piece: bytes) -> bytes:
    """A chunk of the body."""
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


def event(chunk: object) -> bytes:
    """An event with JSON data, as a chunk of the body."""
    return data(json.dumps(chunk, ensure_ascii=False))


def delta(reason: str | None = None, **fields: object) -> dict[str, object]:
    """A chat completion chunk."""
    choice = {"index": 0, "delta": fields, "finish_reason": reason}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def call(index: int, arguments: str, **fields: object) -> dict[str, object]:
    """A chunk with a piece of a function call. `id` and `name` start a call."""
    function = {"arguments": arguments, **({"name": fields["name"]} if "name" in fields else {})}
    identity = {"id": fields["id"]} if "id" in fields else {}
    return delta(tool_calls=[{"index": index, "type": "function", "function": function} | identity])


USAGE: dict[str, object] = {
    "choices": [],
    "usage": {
        "prompt_tokens": 20,
        "completion_tokens": 5,
        "total_tokens": 25,
        "prompt_tokens_details": {"cached_tokens": 16},
    },
}


@asynccontextmanager
async def completions(respond: Respond, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve for the duration of the block. Yields the URL of the API."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            await respond(await _read(reader, writer))

    async with connections(handle, tls=tls) as port:
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}/v1"


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> CompletionRequest:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    method, target, version = first.split(" ")
    assert (method, version) == ("POST", "HTTP/1.1")
    assert target.partition("?")[0] == "/v1/chat/completions"
    headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
    body = json.loads(await reader.readexactly(int(headers["content-length"])))
    return CompletionRequest(headers, body, reader, writer)
