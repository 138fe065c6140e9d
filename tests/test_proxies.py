"""Connections through real proxies: HTTP CONNECT and SOCKS5, with passwords and with failures.

A proxy is not used for this machine, so the server has a name that only the proxy resolves: it
connects `realtime.test` to a server on 127.0.0.1. The choice of proxy is in `test_network`.
"""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from ssl import SSLContext
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.server import ServerConnection

from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from tests.faulty import certificate, connection, connections, sockets, unused_port
from tests.program import Program, Ran, background

KEY = "sk-0123456789abcdef"
PASSWORD = "hunter2/@"
IN_URL = "me:hunter2%2F%40@"
BASIC = b64encode(f"me:{PASSWORD}".encode()).decode()

Fault: TypeAlias = Literal["", "cuts", "in the handshake"]
Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter


class Proxy:
    """A proxy that connects to `port`, and the clients that connected to it.

    `fault` is when it closes the connection: before it answers, or in the TLS handshake.
    """

    def __init__(
        self, port: int, *, password: str = "", fault: Fault = "", status: int = 0
    ) -> None:
        self._port = port
        self._password = password
        self._fault = fault
        self.status = status
        self.address = ""
        self.targets: list[str] = []
        self.heads: list[bytes] = []
        self._writers: list[Writer] = []

    @asynccontextmanager
    async def serving(self, tls: SSLContext | None = None) -> AsyncIterator[Proxy]:
        async with connections(self._meet, tls=tls) as port:
            self.address = f"127.0.0.1:{port}"
            yield self

    async def _meet(self, reader: Reader, writer: Writer) -> None:
        if await self._greet(reader, writer):
            async with connection("127.0.0.1", self._port) as (there, back):
                await self._relay(reader, writer, there, back)

    async def _greet(self, reader: Reader, writer: Writer) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        self.targets.append(head.split()[1].decode())
        if self._fault == "cuts":
            return False
        basic = b64encode(f"me:{self._password}".encode())
        status = self.status
        if self._password and basic not in head:
            status = 407
        line = f"HTTP/1.1 {status or 200} Whatever, {BASIC}\r\n"
        writer.write(f"{line}X-Auth: me:{PASSWORD}\r\n\r\n".encode())
        await writer.drain()
        return not status

    async def _relay(self, reader: Reader, writer: Writer, there: Reader, back: Writer) -> None:
        self._writers = [writer, back]
        await asyncio.gather(
            self._pump(there, writer),
            self._pump(reader, back, 1 if self._fault == "in the handshake" else None),
        )

    async def _pump(self, source: Reader, sink: Writer, most: int | None = None) -> None:
        """Relay all data, or a limited number of packets, and then close both connections."""
        with suppress(OSError):
            while most != 0 and (data := await source.read(65536)):
                most = most and most - 1
                sink.write(data)
                await sink.drain()
        self.dies()

    def dies(self) -> None:
        """Close all connections at once."""
        for writer in self._writers:
            writer.close()


class Socks(Proxy):
    """A SOCKS5 proxy (RFC 1928, RFC 1929)."""

    async def _greet(self, reader: Reader, writer: Writer) -> bool:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if self._password:
            if 2 not in methods:
                writer.write(b"\x05\xff")
                return False
            writer.write(b"\x05\x02")
            name = await reader.readexactly((await reader.readexactly(2))[1])
            word = await reader.readexactly((await reader.readexactly(1))[0])
            is_right = (name, word) == (b"me", self._password.encode())
            writer.write(b"\x01\x00" if is_right else b"\x01\x01")
            if not is_right:
                return False
        else:
            writer.write(b"\x05\x00")
        *_, length = await reader.readexactly(5)
        host = await reader.readexactly(length)
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.targets.append(f"{host.decode()}:{port}")
        if self._fault == "cuts":
            return False
        writer.write(b"\x05" + bytes([self.status]) + b"\x00\x01\x7f\x00\x00\x01\x00\x00")
        return not self.status


class Authority(NamedTuple):
    """The certificate of `realtime.test`, and the port of a server that uses it."""

    file: Path
    context: SSLContext
    port: int


class Client:
    """The program behind a proxy."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self._program = Program(folder)
        bundle = str(authority.file)
        self._program.environ |= {"RTCHAT_CA_BUNDLE": bundle, "OPENAI_API_KEY": KEY}
        self.port = authority.port

    def once(self, proxy: str, environ: Mapping[str, str] | None = None) -> Ran:
        """Ask a question through a proxy. No password or key may be shown, whatever happens."""
        ran = self._program.run(
            *("once", "hi", "--url", "wss://realtime.test/v1/realtime", "--verbose"),
            environ={"HTTPS_PROXY": proxy, "RTCHAT_DEBUG": "1", **(environ or {})},
        )
        for secret in ("hunter2", BASIC, KEY):
            assert secret not in ran.text + ran.err
        return ran

    def fails(self, proxy: str) -> str:
        """The error that the program ends with, from its last `rtchat:` line on."""
        ran = self.once(proxy)
        assert ran.code == 4
        assert "Traceback" not in ran.err
        return ran.err[ran.err.rindex("rtchat: ") :]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    file, context = certificate(tmp_path_factory.mktemp("tls"), "DNS:realtime.test", "IP:127.0.0.1")
    with background(lambda: run_server(EchoEngine(), ssl=context, api_key=KEY)) as url:
        yield Authority(file, context, urlsplit(url).port or 0)


@pytest.fixture
def client(tmp_path: Path, authority: Authority) -> Client:
    return Client(tmp_path, authority)


UNUSABLE = "the proxy for realtime.test cannot be used"


# ------------------------------------------------------------------------------------- HTTP CONNECT


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY", "https_proxy"])
def test_a_question_goes_through_a_proxy(client: Client, variable: str) -> None:
    with background(Proxy(client.port).serving) as proxy:
        ran = client.once("", {variable: f"http://{proxy.address}"})
        assert (ran.code, ran.text) == (0, "hi\n")
        assert proxy.targets == ["realtime.test:443"]
        assert KEY.encode() not in proxy.heads[0]
        assert b"uthorization" not in proxy.heads[0]


def test_a_proxy_over_tls(client: Client, authority: Authority) -> None:
    with background(lambda: Proxy(client.port).serving(authority.context)) as proxy:
        ran = client.once(f"https://{proxy.address}")
        assert (ran.code, ran.text) == (0, "hi\n")
        assert proxy.targets == ["realtime.test:443"]


def test_a_proxy_with_a_password(client: Client) -> None:
    with background(Proxy(client.port, password=PASSWORD).serving) as proxy:
        ran = client.once(f"http://{IN_URL}{proxy.address}")
        assert (ran.code, ran.text) == (0, "hi\n")
        assert f"Proxy-Authorization: Basic {BASIC}".encode() in proxy.heads[0]


@pytest.mark.parametrize("userinfo", ["", "me:hunter2@"])
def test_a_wrong_proxy_password(client: Client, userinfo: str) -> None:
    with background(Proxy(client.port, password=PASSWORD).serving) as proxy:
        error = client.fails(f"http://{userinfo}{proxy.address}")
        assert "the proxy refused to connect to realtime.test (HTTP 407)" in error
        assert "name:password@host:port" in error
        assert len(proxy.heads) == 1


@pytest.mark.parametrize("status", [403, 502, 504])
def test_a_proxy_that_refuses(client: Client, status: int) -> None:
    with background(Proxy(client.port, status=status).serving) as proxy:
        error = client.fails(f"http://{IN_URL}{proxy.address}")
        assert f"the proxy refused to connect to realtime.test (HTTP {status})" in error
        assert "HTTPS_PROXY" in error


@pytest.mark.parametrize("fault", ["cuts", "in the handshake"])
def test_a_proxy_that_fails_before_the_session(client: Client, fault: Fault) -> None:
    with background(Proxy(client.port, fault=fault).serving) as proxy:
        assert UNUSABLE in client.fails(f"http://{IN_URL}{proxy.address}")


def test_a_proxy_that_fails_later_is_a_lost_connection(
    tmp_path: Path, authority: Authority
) -> None:
    @asynccontextmanager
    async def dying() -> AsyncIterator[Proxy]:
        async def talk(socket: ServerConnection) -> None:
            await socket.send(json.dumps({"type": "session.created", "session": {}}))
            await socket.recv()
            proxy.status = 403  # else the program would keep retrying
            proxy.dies()
            await socket.wait_closed()

        async with sockets(talk, tls=authority.context) as url:
            proxy = Proxy(urlsplit(url).port or 0)
            async with proxy.serving():
                yield proxy

    with background(dying) as proxy:
        ran = Client(tmp_path, authority).once(f"http://{IN_URL}{proxy.address}")
        assert (ran.code, ran.text) == (4, "")
        assert "connection lost (1006)" in ran.err
        assert "rtchat: the proxy refused to connect to realtime.test (HTTP 403)" in ran.err


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@127.0.0.1:{port}",
        "http://me:hunter2@127.0.0.1:99999",
        "http://me:hunter2/x@127.0.0.1:{port}",
        "http://hunter2@127.0.0.1:{port}",
        "ftp://me:hunter2@127.0.0.1:{port}",
        "http://me:hunter2@127.0.0.1:{port}/hunter2?hunter2#hunter2",
        "me:hunter2@127.0.0.1",
    ],
)
def test_an_unusable_proxy_is_not_retried(client: Client, url: str) -> None:
    with unused_port() as port:
        assert UNUSABLE in client.fails(url.format(port=port))


# -------------------------------------------------------------------------------------------- SOCKS

needs_socks = pytest.mark.skipif(
    find_spec("python_socks") is None, reason="python-socks is not installed (the extra socks)"
)


def test_socks_needs_a_package(client: Client, tmp_path: Path) -> None:
    (tmp_path / "python_socks.py").write_text("raise ImportError\n")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    with unused_port() as port:
        ran = client.once(f"socks5h://{IN_URL}127.0.0.1:{port}", {"PYTHONPATH": path})
    assert ran.code == 4
    assert "rtchat: the proxy for realtime.test uses SOCKS" in ran.err
    assert "[socks]" in ran.err


@needs_socks
@pytest.mark.parametrize("password", ["", PASSWORD])
def test_a_question_goes_through_socks(client: Client, password: str) -> None:
    with background(Socks(client.port, password=password).serving) as proxy:
        ran = client.once(f"socks5h://{IN_URL if password else ''}{proxy.address}")
        assert (ran.code, ran.text) == (0, "hi\n")
        assert proxy.targets == ["realtime.test:443"]


@needs_socks
@pytest.mark.parametrize(
    ("password", "status", "fault"), [("other", 0, ""), ("", 5, ""), ("", 0, "cuts")]
)
def test_a_socks_proxy_that_does_not_work(
    client: Client, password: str, status: int, fault: Fault
) -> None:
    proxy = Socks(client.port, password=password, status=status, fault=fault)
    with background(proxy.serving):
        assert UNUSABLE in client.fails(f"socks5h://{IN_URL}{proxy.address}")
