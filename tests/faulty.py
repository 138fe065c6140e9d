"""Small real servers on 127.0.0.1 that misbehave, for clients to survive.

`connections` hands out bare ones, `tcp` the same bytes to everybody: a web server, a banner,
silence. `sockets` serves WebSockets by hand:
any frames, any close. `Hand` is a Realtime server whose replies are frames and mishaps, one by one.
Not here: a server that keeps to the protocol (`rtchat.server`).
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


@asynccontextmanager
async def connections(meet: Meet, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Listen, `meet` everybody who connects until they go away, and give the port.

    Nothing outlives the block: a task or a connection left in a closed loop is found when garbage
    is collected, and held against whichever test runs then.
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
                writer.transport.abort()  # a client that no longer reads would never let it close
                meeting.cancel()
            ends = await asyncio.gather(*meetings, return_exceptions=True)
            for writer in meetings.values():
                await leave(writer)
    for end in ends:
        if isinstance(end, Exception):
            raise end


@asynccontextmanager
async def connection(host: str | None, port: int | None) -> AsyncIterator[End]:
    """Both directions of a connection, left when the block is."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        await leave(writer)


async def leave(writer: asyncio.StreamWriter) -> None:
    """Close, and wait until it is."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


class Port:
    """A port that listens, and the head of every HTTP request that came to it."""

    def __init__(self, number: int) -> None:
        self.address = f"127.0.0.1:{number}"
        self.heads: list[bytes] = []


@asynccontextmanager
async def tcp(
    reply: bytes, *, at_once: bool = False, stays: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Port]:
    """Serve the same bytes to everybody: after their request, or `at_once`.

    Then close the connection, or, if it `stays`, wait until the client does.
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
    """A whole HTTP response; `status` is "404 Not Found", `headers` are whole lines."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1") + body


@contextmanager
def unused_port() -> Iterator[int]:
    """A port where nobody listens, nor can begin to."""
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
) -> AsyncIterator[str]:
    """Serve WebSockets with `talk`; the connection closes with 1000 when it returns.

    The first handshakes get these HTTP statuses and `Retry-After`s instead.
    """
    left = list(refusals)

    def refuse(client: ServerConnection, _: Request) -> Response | None:
        if not left:
            return None
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
        process_request=refuse,
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
    """Break the connection without a farewell."""
    client.transport.abort()


@dataclass(frozen=True)
class Close:
    """Close the connection."""

    code: int
    reason: str = ""


class Mishap(Enum):
    """What happens to a connection without a close frame."""

    RESET = auto()
    """Broken off: the client's next read fails."""
    SILENCE = auto()
    """No more word; pings are answered."""
    FREEZE = auto()
    """Nothing is read any more either, so that nothing is answered: as if the cable were cut."""


Step: TypeAlias = str | bytes | Close | Mishap
"""A frame as it is, or how the connection ends."""


def frame(type: str, **fields: object) -> str:
    """An event as a frame."""
    return json.dumps({"type": type, **fields})


def begun(id: str = "r") -> str:
    """`response.created`."""
    return frame("response.created", response={"id": id, "status": "in_progress"})


def said(text: str, id: str = "r") -> str:
    """A piece of a reply."""
    where = {"response_id": id, "item_id": "own", "output_index": 0, "content_index": 0}
    return frame("response.output_text.delta", delta=text, **where)


def whole(text: str, id: str = "r") -> str:
    """The text of a reply, complete."""
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


class Hand:
    """A Realtime server that does by hand what it is told; `talk` is its side of a connection.

    Every time that a reply is due, it takes the next of `replies`, and says "Fine." once there are
    none left. The first connections are greeted with the steps in `greetings`, the others well.
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
        """For each connection, the texts of the items that it was told."""

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
                    told += [part["text"] for part in event["item"].get("content", ())]
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
    """Do one after the other."""
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
    """Break the connection as a crashed machine does: with a TCP reset."""
    link: socket.socket = client.transport.get_extra_info("socket")
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.transport.abort()


def certificate(folder: Path, *names: str, expired: bool = False) -> tuple[Path, ssl.SSLContext]:
    """A new certificate that nobody has signed, for names as openssl writes them ("IP:127.0.0.1").

    Gives the file, and what a server needs to use it. Skips the test if there is no openssl.
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
