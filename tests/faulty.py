"""Small real servers on 127.0.0.1 that misbehave.

`connections` provides plain TCP connections; `tcp` sends the same bytes to every client, such as an
HTTP response or a banner. `sockets` serves WebSockets with any frames and any close. `FaultyServer`
is a Realtime server whose replies consist of given frames and mishaps.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, TypeAlias, assert_never

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

End: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Meet: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Talk: TypeAlias = Callable[[ServerConnection], Awaitable[None]]
Refuse: TypeAlias = Callable[[ServerConnection, Request], Response | None]


@asynccontextmanager
async def connections(meet: Meet, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Listen, and call `meet` for every client. Returns the port.

    Nothing outlives the block: a task or connection left in a closed loop would be reported at the
    next garbage collection, as the failure of another test.
    """
    meetings: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await meet(reader, writer)
        finally:
            writer.close()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if server.is_serving():
            meetings[asyncio.ensure_future(hold(reader, writer))] = writer
        else:
            writer.transport.abort()

    server = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=tls)
    async with server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for meeting, writer in meetings.items():
                writer.transport.abort()  # a client that has stopped reading would block the close
                meeting.cancel()
            ends = await asyncio.gather(*meetings, return_exceptions=True)
            for writer in meetings.values():
                await leave(writer)
    for end in ends:
        if isinstance(end, Exception):
            raise end


@asynccontextmanager
async def connection(host: str | None, port: int | None) -> AsyncIterator[End]:
    """Both directions of a connection, which is closed at the end of the block."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        await leave(writer)


async def leave(writer: asyncio.StreamWriter) -> None:
    """Close a writer, and wait until it is closed."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


class Port:
    """A listening port, and the head of every HTTP request that it got."""

    def __init__(self, number: int) -> None:
        self.address = f"127.0.0.1:{number}"
        self.heads: list[bytes] = []


@asynccontextmanager
async def tcp(
    reply: bytes, *, at_once: bool = False, stays: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Port]:
    """Send the same bytes to every client: after its request, or `at_once`.

    Then close the connection; if it `stays`, wait until the client closes it.
    """

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not at_once:
            port.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply)
        await writer.drain()
        if stays:
            await reader.read()

    async with connections(meet, tls=tls) as number:
        port = Port(number)
        yield port


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A complete HTTP response. `status` is like "404 Not Found"; `headers` are complete lines."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1") + body


@contextmanager
def unused_port() -> Iterator[int]:
    """A port where nothing listens and that is reserved until the end of the block."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@asynccontextmanager
async def sockets(
    talk: Talk,
    *,
    subprotocols: Iterable[str] = (),
    tls: ssl.SSLContext | None = None,
    refusals: Iterable[tuple[int, str]] = (),
    refuse: Refuse | None = None,
) -> AsyncIterator[str]:
    """Serve WebSockets with `talk`; the connection closes with 1000 when it returns.

    The first handshakes get these HTTP statuses and `Retry-After` values instead; `refuse` may
    refuse any handshake.
    """
    left = list(refusals)

    def answer(client: ServerConnection, request: Request) -> Response | None:
        if not left:
            return None if refuse is None else refuse(client, request)
        status, wait = left.pop(0)
        response = client.respond(status, "")
        if wait:
            response.headers["Retry-After"] = wait
        return response

    async def meet(client: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await talk(client)

    server = await serve(
        meet,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        compression=None,
        max_size=None,
        close_timeout=1,
        process_request=answer,
        ssl=tls,
    )
    async with server:
        number = server.sockets[0].getsockname()[1]
        yield f"{'wss' if tls else 'ws'}://127.0.0.1:{number}/v1/realtime"


def saying(*frames: str | bytes, code: int = 1000, reason: str = "") -> Talk:
    """Send these frames, then close."""

    async def talk(client: ServerConnection) -> None:
        for frame in frames:
            await client.send(frame)
        await client.close(code, reason)

    return talk


async def breaking(client: ServerConnection) -> None:
    """Break the connection without a close frame."""
    client.transport.abort()


@dataclass(frozen=True)
class Close:
    """Close the connection."""

    code: int
    reason: str = ""


class Mishap(Enum):
    """How a connection fails without a close frame."""

    RESET = auto()
    """The connection is reset: the client's next read fails."""
    SILENCE = auto()
    """Nothing more is sent; pings are answered."""
    FREEZE = auto()
    """Nothing more is sent or read, as if the network were cut."""


Step: TypeAlias = str | bytes | Close | Mishap
"""A frame as it is, or how the connection ends."""


def frame(type: str, **fields: object) -> str:
    """An event as a frame."""
    return json.dumps({"type": type, **fields})


def begun(id: str = "r") -> str:
    """`response.created`."""
    return frame("response.created", response={"id": id, "status": "in_progress"})


def said(text: str, id: str = "r") -> str:
    """A text delta of a reply."""
    where = {"response_id": id, "item_id": "own", "output_index": 0, "content_index": 0}
    return frame("response.output_text.delta", delta=text, **where)


def whole(text: str, id: str = "r") -> str:
    """The complete text of a reply."""
    where = {"response_id": id, "item_id": "own", "output_index": 0, "content_index": 0}
    return frame("response.output_text.done", text=text, **where)


def done(status: str = "completed", id: str = "r", **details: object) -> str:
    """`response.done`; `details` are the `status_details`."""
    return frame("response.done", response={"id": id, "status": status, "status_details": details})


def error(code: str, message: str, **fields: object) -> str:
    """An `error` event."""
    return frame("error", error={"code": code, "message": message, **fields})


SESSION: dict[str, object] = {"type": "realtime", "id": "s", "model": "m"}
HELLO = (frame("session.created", session=SESSION),)
READY = (frame("session.updated", session=SESSION),)


class FaultyServer:
    """A Realtime server that follows a script; `talk` is its side of a connection.

    For each reply, it takes the next of `replies`, or sends "Fine." if there are none left. The
    first connections start with the steps in `greetings`, later ones correctly.
    """

    def __init__(
        self,
        *replies: Iterable[Step],
        greetings: Iterable[Iterable[Step]] = (),
        ready: Iterable[Step] = READY,
    ) -> None:
        self._replies = list(replies)
        self._greetings = list(greetings)
        self._ready = ready
        self._fine = 0
        self.told: list[list[str]] = []
        """For each connection, the texts of the items that it received."""
        self.items: list[dict[str, Any]] = []
        """The items of all connections."""

    async def talk(self, client: ServerConnection) -> None:
        told: list[str] = []
        self.told.append(told)
        await perform(client, self._greetings.pop(0) if self._greetings else HELLO)
        async for data in client:
            event: dict[str, Any] = json.loads(data)
            match event["type"]:
                case "session.update":
                    await perform(client, self._ready)
                case "conversation.item.create":
                    self.items.append(event["item"])
                    told += [part["text"] for part in event["item"].get("content", ())]
                    await client.send(frame("conversation.item.added", item=event["item"]))
                case "response.create":
                    await perform(client, self._next())
                case _:
                    pass

    def _next(self) -> Iterable[Step]:
        if self._replies:
            return self._replies.pop(0)
        self._fine += 1
        id = f"fine_{self._fine}"
        return begun(id), said("Fine.", id), done(id=id)


async def perform(client: ServerConnection, steps: Iterable[Step]) -> None:
    """Perform the steps in order."""
    for step in steps:
        match step:
            case str() | bytes():
                await client.send(step)
            case Close(code, reason):
                await client.close(code, reason)
            case Mishap.RESET:
                reset(client)
            case Mishap.SILENCE:
                await client.wait_closed()
            case Mishap.FREEZE:
                client.transport.pause_reading()
                await client.wait_closed()
            case _:
                assert_never(step)


def reset(client: ServerConnection) -> None:
    """Break the connection with a TCP reset, like a crashed machine."""
    link: socket.socket = client.transport.get_extra_info("socket")
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()


def certificate(folder: Path, *names: str, expired: bool = False) -> tuple[Path, ssl.SSLContext]:
    """A new self-signed certificate, for names as openssl writes them ("IP:127.0.0.1").

    Returns the file and a server's TLS context. Skips the test if openssl is not installed.
    """
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed, which makes the certificate")
    key, file, request = (folder / name for name in ("key.pem", "certificate.pem", "request.pem"))
    command = [program, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-subj", "/CN=rtchat tests", "-keyout", str(key), "-out", str(request)]
    command += ["-addext", f"subjectAltName={','.join(names)}"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    command = [program, "x509", "-req", "-in", str(request), "-signkey", str(key)]
    command += ["-copy_extensions", "copy", "-days", "-1" if expired else "1", "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context
