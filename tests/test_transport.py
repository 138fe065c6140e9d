"""How connections fail and end: the message, the exit code, and whether to try again.

The servers are real, on 127.0.0.1. DNS, TLS and proxies are in `test_network`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from rtchat.client.transport import (
    CLOSING,
    LARGEST_FRAME,
    MOST_QUOTED,
    ConnectError,
    Endpoint,
    endpoint,
    explain,
    explain_close,
    open_connection,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import ConnectionLost, Retry
from rtchat.core.text import visible
from tests.faulty import Talk, breaking, http, saying, sockets, tcp, unused_port

KEY = "sk-0123456789abcdef"
LINK = ExitCode.LINK


async def refused(where: Endpoint, open_timeout: float = 30.0) -> ConnectionLost:
    """Why opening a connection fails."""
    with pytest.raises(ConnectError) as caught:
        async with open_connection(where, open_timeout=open_timeout):
            pass
    assert caught.value.problem == caught.value.lost.problem
    return caught.value.lost


async def ended(talk: Talk) -> ConnectionLost:
    """Why a connection to this server ends."""
    async with sockets(talk) as url, open_connection(endpoint(url=url)) as connection:
        while await connection.receive() is not None:
            pass
        return connection.explain()


def failure(message: str, hint: str, retry: Retry = Retry.IF_IT_WORKED) -> ConnectionLost:
    """A network error."""
    return ConnectionLost(Problem(LINK, message, hint), retry)


# --------------------------------------------------------------------------------- there is nothing


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_refused_connection(host: str) -> None:
    with unused_port() as port:
        address = f"{host}:{port}"
        assert asyncio.run(refused(endpoint(url=f"ws://{address}/"))) == failure(
            f"{address} refused the connection", "check --url, or start the server"
        )


def test_other_network_errors() -> None:
    where = endpoint(url="wss://a.example", api_key=KEY)
    assert explain(OSError(113, f"No route\nto {KEY}"), where) == failure(
        "cannot connect to a.example ([Errno 113] No route to [key])", "check --url and the network"
    )
    assert explain(socket.gaierror(-3, "Temporary failure"), where) == failure(
        "host a.example not found", "check --url and the network"
    )


@pytest.mark.parametrize("at_once", [True, False])
def test_a_silent_server(at_once: bool) -> None:
    async def run() -> None:
        async with tcp(b"", at_once=at_once, stays=True) as port:
            assert await refused(endpoint(url=f"ws://{port.address}/"), 0.05) == failure(
                f"timed out: no response from {port.address} for 0.05 s",
                "check the network, or increase --connect-timeout",
            )

    asyncio.run(run())


# -------------------------------------------------------------------------- there is something else


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\xff" * 100_000,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        http("500 Internal Server Error", b"x" * 2**21),
    ],
    ids=["eof", "ssh", "tls", "garbage", "bare-101", "unproven-101", "endless-body"],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_server_that_is_not_a_websocket_server(reply: bytes, at_once: bool) -> None:
    async def run() -> None:
        async with tcp(reply, at_once=at_once) as port:
            assert await refused(endpoint(url=f"ws://{port.address}/")) == failure(
                f"{port.address} is not a WebSocket server", "check --url"
            )

    asyncio.run(run())


def error_body(message: object) -> bytes:
    return json.dumps({"error": {"message": message}}).encode()


@pytest.mark.parametrize(
    ("reply", "lost"),
    [
        (
            http("400 Bad Request", error_body("The deployment\n does not exist.")),
            ConnectionLost(
                Problem(
                    LINK,
                    "the server responded with HTTP 400 (The deployment does not exist.)",
                    "check --url and --model",
                    "400",
                ),
                Retry.NEVER,
            ),
        ),
        (
            http("401 Unauthorized", error_body(f"Incorrect API key provided: {KEY}.")),
            ConnectionLost(
                Problem(
                    ExitCode.REFUSED,
                    "the server responded with HTTP 401 (Incorrect API key provided: [key].)",
                    "check OPENAI_API_KEY",
                    "401",
                ),
                Retry.NEVER,
            ),
        ),
        (
            http("403 Forbidden"),
            ConnectionLost(
                Problem(
                    ExitCode.REFUSED,
                    "the server responded with HTTP 403",
                    "check that your key has access to this model",
                    "403",
                ),
                Retry.NEVER,
            ),
        ),
        (
            http("404 Not Found", b"<html>\r\n<h1>Not\tFound</h1>\r\n</html>\r\n"),
            ConnectionLost(
                Problem(
                    LINK,
                    "the server responded with HTTP 404 (<html> <h1>Not Found</h1> </html>)",
                    "check --url and --model",
                    "404",
                ),
                Retry.NEVER,
            ),
        ),
        (
            http("200 OK", b"\x1b[31mred\x00\xff\xfe"),
            ConnectionLost(
                Problem(
                    LINK,
                    "the server responded with HTTP 200 (␛[31mred␀\ufffd\ufffd)",
                    "check --url",
                    "200",
                ),
                Retry.NEVER,
            ),
        ),
        (
            http("500 Internal Server Error", b"x" * 100_000),
            ConnectionLost(
                Problem(
                    LINK,
                    f"the server responded with HTTP 500 ({'x' * 499}…)",
                    "try again later",
                    "500",
                ),
                Retry.ALWAYS,
            ),
        ),
        (
            http("503 Service Unavailable", error_body("y" * 100_000), "Retry-After: 7"),
            ConnectionLost(
                Problem(
                    LINK,
                    f"the server responded with HTTP 503 ({'y' * 499}…)",
                    "try again later",
                    "503",
                ),
                Retry.ALWAYS,
                7.0,
            ),
        ),
        (
            http("502 Bad Gateway", b"z" * 490 + KEY.encode() * 2),
            ConnectionLost(
                Problem(
                    LINK,
                    f"the server responded with HTTP 502 ({'z' * 490}[key][key])",
                    "try again later",
                    "502",
                ),
                Retry.ALWAYS,
            ),
        ),
    ],
    ids=lambda value: value[9:12].decode() if isinstance(value, bytes) else "",
)
def test_an_http_error(reply: bytes, lost: ConnectionLost) -> None:
    async def run() -> None:
        async with tcp(reply) as port:
            assert await refused(endpoint(url=f"ws://{port.address}/", api_key=KEY)) == lost

    asyncio.run(run())


TODAY = "Date: Sun, 22 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((), None),
        (("Retry-After: 20",), 20.0),
        (("Retry-After: 0.5",), 0.5),
        (("Retry-After: 20", "Retry-After: 30"), 20.0),
        (("Retry-After: -1",), None),
        (("Retry-After: nan",), None),
        (("Retry-After: 1e9",), None),
        (("Retry-After: soon",), None),
        ((TODAY, "Retry-After: soon"), None),
        ((TODAY, "Retry-After: Sun, 22 Nov 2026 12:01:30 GMT"), 90.0),
        ((TODAY, "Retry-After: Sun, 22 Nov 2026 11:00:00 GMT"), 0.0),
        ((TODAY, "Retry-After: Sun, 22 Nov 2037 11:00:00 GMT"), None),
        (("Retry-After: Sun, 22 Nov 2026 12:01:30 GMT",), None),
    ],
)
def test_a_rate_limit_with_retry_after(headers: tuple[str, ...], seconds: float | None) -> None:
    async def run() -> None:
        async with tcp(http("429 Too Many Requests", b"", *headers)) as port:
            hint = "wait and try again, or check your account's plan"
            problem = Problem(ExitCode.LIMIT, "the server responded with HTTP 429", hint, "429")
            lost = await refused(endpoint(url=f"ws://{port.address}/"))
            assert lost == ConnectionLost(problem, Retry.ALWAYS, seconds)

    asyncio.run(run())


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_redirect_is_not_followed(status: str, elsewhere: bool) -> None:
    async def run() -> None:
        async with tcp(http("404 Not Found")) as other:
            place = f"ws://{other.address}/{KEY}" if elsewhere else "/other"
            async with tcp(http(status, b"", f"Location: {place}", "Location: x")) as port:
                lost = await refused(endpoint(url=f"ws://{port.address}/", api_key=KEY))
                shown = place.replace(KEY, "[key]")
                message = f"the server responded with HTTP {status[:3]}, a redirect to {shown}"
                hint = "if this is the right server, use its address with --url"
                assert lost == ConnectionLost(Problem(LINK, message, hint, status[:3]), Retry.NEVER)
                assert (len(port.heads), other.heads) == (1, [])

    asyncio.run(run())


def test_a_redirect_without_a_location() -> None:
    async def run() -> None:
        async with tcp(http("302 Found")) as port:
            lost = await refused(endpoint(url=f"ws://{port.address}/"))
            assert (
                lost.problem.message == "the server responded with HTTP 302, a redirect to no URL"
            )

    asyncio.run(run())


LATIN = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])).map(str.strip)
CONTENT = st.one_of(LATIN, st.floats().map(str), st.datetimes().map(format_datetime))


@given(
    status=st.integers(200, 599),
    body=st.binary(max_size=1000),
    headers=st.lists(st.tuples(st.sampled_from(["Retry-After", "Date", "Location"]), CONTENT)),
)
def test_any_response_is_quoted_on_one_escaped_line(
    status: int, body: bytes, headers: list[tuple[str, str]]
) -> None:
    error = InvalidStatus(Response(status, "", Headers(headers), body))
    lost = explain(error, endpoint(url="wss://a.example"))
    line = str(lost.problem)
    assert len(line) <= MOST_QUOTED + 150
    assert visible(line) == line
    assert "\n" not in line
    assert lost.retry_after is None or 0 <= lost.retry_after <= 3600


def test_the_cause_is_chained() -> None:
    async def run() -> None:
        async with tcp(http("404 Not Found")) as port:
            with pytest.raises(ConnectError) as caught:
                async with open_connection(endpoint(url=f"ws://{port.address}/")):
                    pass
            assert isinstance(caught.value.__cause__, InvalidStatus)

    asyncio.run(run())


# ------------------------------------------------------------------------------------------ the end

AGAIN, NEVER = Retry.ALWAYS, Retry.NEVER


@pytest.mark.parametrize(
    ("code", "exit_code", "hint", "retry"),
    [
        (1000, LINK, "try again", AGAIN),
        (1001, LINK, "try again", AGAIN),
        (1002, LINK, "check --url and --model", NEVER),
        (1008, LINK, "check --url and --model", NEVER),
        (1009, LINK, "a message was too large; send or request less at a time", NEVER),
        (1011, LINK, "try again", AGAIN),
        (1012, LINK, "try again", AGAIN),
        (1013, LINK, "try again", AGAIN),
        (3000, ExitCode.REFUSED, "check OPENAI_API_KEY", NEVER),
        (4000, LINK, "check --url and --model", NEVER),
        (4004, LINK, "check --url and --model", NEVER),
    ],
)
def test_a_close(code: int, exit_code: ExitCode, hint: str, retry: Retry) -> None:
    problem = Problem(exit_code, f"connection lost ({code} for a reason)", hint, str(code))
    lost = asyncio.run(ended(saying(code=code, reason="for a\n reason")))
    assert lost == ConnectionLost(problem, retry, at_once=code == 1001)


def test_a_close_without_a_reason() -> None:
    assert asyncio.run(ended(saying("{}"))).problem.message == "connection lost (1000)"


def test_a_connection_lost_without_a_close_frame() -> None:
    problem = Problem(LINK, "connection lost (1006)", "check the network, then try again", "1006")
    assert asyncio.run(ended(breaking)) == ConnectionLost(problem, Retry.ALWAYS)


def test_a_close_over_the_quota() -> None:
    hint = "check the plan and the billing of your account"
    reason = "insufficient_quota.insufficient_quota"
    problem = Problem(ExitCode.LIMIT, f"connection lost (1013 {reason})", hint, "1013")
    assert explain_close(1013, reason) == ConnectionLost(problem, Retry.NEVER)


def test_a_close_that_quotes_the_key() -> None:
    async def run() -> str:
        async with (
            sockets(saying(code=3000, reason=f"Wrong: {KEY}")) as url,
            open_connection(endpoint(url=url, api_key=KEY)) as connection,
        ):
            assert await connection.receive() is None
            return str(connection.explain().problem)

    assert asyncio.run(run()) == "connection lost (3000 Wrong: [key]): check OPENAI_API_KEY"


def test_a_large_frame_is_received() -> None:
    frame = "é" * (30 * 10**6)

    async def run() -> str | bytes | None:
        async with (
            sockets(saying(frame)) as url,
            open_connection(endpoint(url=url)) as connection,
        ):
            return await connection.receive()

    assert asyncio.run(run()) == frame


def test_a_frame_over_the_limit_ends_the_connection() -> None:
    lost = asyncio.run(ended(saying(b"x" * (LARGEST_FRAME + 1))))
    assert lost.problem.hint == "a message was too large; send or request less at a time"
    assert (lost.problem.code, lost.retry) == ("1009", Retry.NEVER)


def test_closing_does_not_wait_for_a_server_that_stopped_reading() -> None:
    async def freeze(client: ServerConnection) -> None:
        client.transport.pause_reading()
        await client.wait_closed()

    async def main() -> None:
        async with sockets(freeze) as url:
            async with asyncio.timeout(5 * CLOSING):  # the library alone takes 20 s
                with suppress(TimeoutError):
                    async with open_connection(endpoint(url=url)) as connection:
                        while True:  # until the buffers between the two are full
                            async with asyncio.timeout(0.5):
                                await connection.send({"type": "x", "much": "x" * 2**20})

    asyncio.run(main())
