"""Small real servers on 127.0.0.1 that misbehave, for clients to survive.

`tcp` serves bytes by hand: a web server, a banner, silence. `sockets` serves WebSockets by hand:
any frames, any close. Not here: a server that keeps to the protocol (`rtchat.server`).
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

Talk: TypeAlias = Callable[[ServerConnection], Awaitable[None]]


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

    meetings: set[asyncio.Task[None] | None] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        meetings.add(asyncio.current_task())
        try:
            if not at_once:
                port.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(reply)
            await writer.drain()
            if stays:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=tls)
    port = Port(server.sockets[0].getsockname()[1])
    try:
        yield port
    finally:
        server.close()
        for task in filter(None, meetings):
            task.cancel()
        await asyncio.gather(*filter(None, meetings))
        await server.wait_closed()


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole HTTP response; `status` is "404 Not Found", `headers` are whole lines."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1") + body


def unused_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@asynccontextmanager
async def sockets(
    talk: Talk, *, subprotocols: Iterable[str] = (), tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve WebSockets with `talk`; the connection closes with 1000 when it returns."""

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


def certificate(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """A new certificate that nobody has signed, for names as openssl writes them ("IP:127.0.0.1").

    Gives the file, and what a server needs to use it. Skips the test if there is no openssl.
    """
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed, which makes the certificate")
    key, file = folder / "key.pem", folder / "certificate.pem"
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=rtchat tests"]
    command += ["-addext", f"subjectAltName={','.join(names)}", "-keyout", str(key)]
    subprocess.run([*command, "-out", str(file)], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context
