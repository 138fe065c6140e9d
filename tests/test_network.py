"""What the environment decides of a connection: names, certificates and proxies.

Where it matters, the connection is made by a process with an environment of its own; the servers
are here, on 127.0.0.1. Not here: what a server does wrong (`test_transport`).
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidProxy, InvalidProxyStatus, ProxyError
from websockets.http11 import Response

from rtchat.errors import ExitCode, Problem
from rtchat.events import Lost, Retry
from rtchat.server.realtime import serving
from rtchat.server.script import EchoEngine
from rtchat.transport import ConnectError, endpoint, explain, open_connection
from tests.faulty import certificate, http, tcp, unused_port

PROGRAM = """
import asyncio, sys
from rtchat.transport import ConnectError, endpoint, open_connection

async def main():
    try:
        async with open_connection(endpoint(url=sys.argv[1]), open_timeout=float(sys.argv[2])):
            print("connected")
    except ConnectError as error:
        print(int(error.exit), error.lost.retry.value, error, sep="|")

asyncio.run(main())
"""


async def in_a_process(url: str, open_timeout: str = "30", **environ: str) -> str:
    """How opening a connection goes in this environment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, url, open_timeout),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1]), **environ},
    )
    out, _ = await process.communicate()
    return out.decode().strip()


async def refused(url: str) -> Lost:
    """How opening a connection fails here, whatever the environment."""
    with pytest.raises(ConnectError) as caught:
        async with open_connection(endpoint(url=url), open_timeout=30.0):
            pass
    return caught.value.lost


def test_a_name_that_nobody_has() -> None:
    async def run() -> str:
        return await in_a_process("wss://rtchat.invalid/v1/realtime", "5")

    assert asyncio.run(run()) in (
        "4|if it worked|rtchat.invalid cannot be found: check --url and the network",
        "4|if it worked|no answer from rtchat.invalid within 5 s: "  # a resolver that is far away
        "check the network, or raise --connect-timeout",
    )


# ---------------------------------------------------------------------------------------------- TLS


def test_a_certificate_that_nobody_signed(tmp_path: Path) -> None:
    _, context = certificate(tmp_path, "IP:127.0.0.1")

    async def run() -> None:
        async with tcp(b"", tls=context) as port:
            lost = await refused(f"wss://{port.address}/")
            message = f"the certificate of {port.address} is not trusted (self-signed certificate)"
            hint = "set SSL_CERT_FILE to the authority that signed it"
            assert lost == Lost(Problem(ExitCode.LINK, message, hint), Retry.NEVER)

    asyncio.run(run())


def test_the_certificate_file_of_the_environment_is_trusted(tmp_path: Path) -> None:
    file, context = certificate(tmp_path, "IP:127.0.0.1")

    async def run() -> None:
        async with serving(EchoEngine(), ssl=context) as url:
            assert await in_a_process(url, SSL_CERT_FILE=str(file)) == "connected"

    asyncio.run(run())


def test_a_certificate_of_somebody_else(tmp_path: Path) -> None:
    file, context = certificate(tmp_path, "DNS:other.example")

    async def run() -> None:
        async with tcp(b"", tls=context) as port:
            assert await in_a_process(f"wss://{port.address}", SSL_CERT_FILE=str(file)) == (
                f"4|never|the certificate of {port.address} is not trusted (IP address mismatch, "
                "certificate is not valid for '127.0.0.1'): "
                "set SSL_CERT_FILE to the authority that signed it"
            )

    asyncio.run(run())


def test_tls_where_there_is_none() -> None:
    async def run() -> None:
        async with tcp(http("400 Bad Request"), at_once=True) as port:
            lost = await refused(f"wss://{port.address}/")
            # What went wrong has another name in every version of OpenSSL.
            assert lost.problem.message.startswith(f"no TLS with {port.address} (")
            assert lost.problem.hint == "is it ws:// instead of wss://?"
            assert lost.retry is Retry.NEVER

    asyncio.run(run())


# ------------------------------------------------------------------------------------------ proxies

HINT = "check HTTPS_PROXY and ALL_PROXY"


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("http://{unused}", "if it worked|the proxy to a.invalid cannot be used"),
        ("http://me:hunter2@{unused}", "if it worked|the proxy to a.invalid cannot be used"),
        ("http://127.0.0.1:99999", "if it worked|the proxy to a.invalid cannot be used"),
        (
            "ftp://me:hunter2@127.0.0.1",
            "never|the proxy to a.invalid cannot be used (scheme ftp isn't supported)",
        ),
        ("http://{refusing}", "never|the proxy refused to connect to a.invalid (HTTP 407)"),
        ("http://{babbling}", "if it worked|the proxy to a.invalid cannot be used"),
    ],
)
def test_a_proxy_that_does_not_work(proxy: str, said: str) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            refusing = await stack.enter_async_context(tcp(http("407 Proxy Authentication")))
            babbling = await stack.enter_async_context(tcp(b"SSH-2.0-x\r\n", at_once=True))
            url = proxy.format(
                unused=f"127.0.0.1:{unused_port()}",
                refusing=refusing.address,
                babbling=babbling.address,
            )
            assert await in_a_process("wss://a.invalid", HTTPS_PROXY=url) == f"4|{said}: {HINT}"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ImportError("connecting through a SOCKS proxy requires python-socks"),
            "the proxy to a.example cannot be used "
            "(connecting through a SOCKS proxy requires python-socks)",
        ),
        (
            InvalidProxy("http://me:hunter2@b.example/x", "path is meaningless"),
            "the proxy to a.example cannot be used (path is meaningless)",
        ),
        (
            InvalidProxyStatus(Response(502, "Bad Gateway", Headers())),
            "the proxy refused to connect to a.example (HTTP 502)",
        ),
    ],
)
def test_what_the_library_says_of_a_proxy(error: Exception, message: str) -> None:
    lost = explain(error, endpoint(url="wss://a.example"))
    assert lost == Lost(Problem(ExitCode.LINK, message, HINT), Retry.NEVER)


def test_a_proxy_may_come_back() -> None:
    lost = explain(ProxyError("http://me:hunter2@b.example"), endpoint(url="wss://a.example"))
    problem = Problem(ExitCode.LINK, "the proxy to a.example cannot be used", HINT)
    assert lost == Lost(problem, Retry.IF_IT_WORKED)


def test_which_proxy_is_asked() -> None:
    async def run() -> None:
        async with tcp(http("407 Proxy Authentication")) as proxy, tcp(b"") as other:
            asked, unasked = f"http://{proxy.address}", f"http://{other.address}"
            by_proxy = f"4|never|the proxy refused to connect to a.invalid:1 (HTTP 407): {HINT}"
            for url in ("wss://a.invalid:1", "ws://a.invalid:1"):
                assert await in_a_process(url, ALL_PROXY=asked) == by_proxy
                assert await in_a_process(url, https_proxy=asked, ALL_PROXY=unasked) == by_proxy
            assert [head.split()[:2] for head in proxy.heads] == [[b"CONNECT", b"a.invalid:1"]] * 4
            said = await in_a_process(
                "wss://a.invalid:1", "5", ALL_PROXY=asked, NO_PROXY=".invalid"
            )
            assert said.startswith("4|if it worked|")
            assert (len(proxy.heads), other.heads) == (4, [])

    asyncio.run(run())


def test_this_machine_is_reached_without_the_proxy() -> None:
    async def run() -> None:
        async with tcp(http("407 Proxy Authentication")) as proxy, serving(EchoEngine()) as url:
            address = f"http://{proxy.address}"
            assert await in_a_process(url, HTTPS_PROXY=address, ALL_PROXY=address) == "connected"
            assert proxy.heads == []

    asyncio.run(run())
