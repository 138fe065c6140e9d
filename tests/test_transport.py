"""How connections fail and end: the message, the exit code, and whether to try again.

The servers are real, on 127.0.0.1. DNS, TLS and proxies are in `test_network`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from email.utils import format_datetime
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from rtchat.client.failures import MAX_QUOTE
from rtchat.client.transport import (
    CLOSE_TIMEOUT,
    MAX_FRAME,
    ConnectError,
    Endpoint,
    endpoint,
    explain,
    explain_close,
    open_connection,
)
from rtchat.core.errors import CHECK_KEY, ExitCode
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


def check(
    lost: ConnectionLost,
    *words: str,
    hint: str,
    retry: Retry,
    exit: ExitCode = LINK,
    code: str = "",
    after: float | None = None,
) -> None:
    """Check what matters to a caller; the message must contain the words."""
    problem = lost.problem
    assert (problem.exit, problem.code, lost.retry, lost.retry_after) == (exit, code, retry, after)
    assert [word for word in words if word not in problem.message] == []
    assert hint in problem.hint


# ---------------------------------------------------------------------------------------- no server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_refused_connection(host: str) -> None:
    with unused_port() as port:
        address = f"{host}:{port}"
        lost = asyncio.run(refused(endpoint(url=f"ws://{address}/")))
        check(lost, address, "refused", hint="--url", retry=Retry.IF_IT_WORKED)


def test_other_network_errors() -> None:
    where = endpoint(url="wss://a.example", api_key=KEY)
    lost = explain(OSError(113, f"No route\nto {KEY}"), where)
    words = ("a.example", "(", "[Errno 113] No route to [key]")
    check(lost, *words, hint="network", retry=Retry.IF_IT_WORKED)
    lost = explain(socket.gaierror(-3, "Temporary failure"), where)
    check(lost, "a.example", "not found", hint="--url", retry=Retry.IF_IT_WORKED)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_silent_server(at_once: bool) -> None:
    async def run() -> None:
        async with tcp(b"", at_once=at_once, stays=True) as port:
            lost = await refused(endpoint(url=f"ws://{port.address}/"), 0.05)
            words = ("timed out", port.address, "0.05 s")
            check(lost, *words, hint="--connect-timeout", retry=Retry.IF_IT_WORKED)

    asyncio.run(run())


# ------------------------------------------------------------------------------------ other servers


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
            lost = await refused(endpoint(url=f"ws://{port.address}/"))
            words = (port.address, "not a WebSocket server")
            check(lost, *words, hint="--url", retry=Retry.IF_IT_WORKED)

    asyncio.run(run())


def error_body(message: object) -> bytes:
    return json.dumps({"error": {"message": message}}).encode()


@pytest.mark.parametrize(
    ("reply", "quote", "exit_code", "hint", "retry", "after"),
    [
        (
            http("400 Bad Request", error_body("The deployment\n does not exist.")),
            "(The deployment does not exist.)",
            *(LINK, "--model", Retry.NEVER, None),
        ),
        (
            http("401 Unauthorized", error_body(f"Incorrect API key provided: {KEY}.")),
            "(Incorrect API key provided: [key].)",
            *(ExitCode.REFUSED, CHECK_KEY, Retry.NEVER, None),
        ),
        (http("403 Forbidden"), "", ExitCode.REFUSED, "key", Retry.NEVER, None),
        (
            http("404 Not Found", b"<html>\r\n<h1>Not\tFound</h1>\r\n</html>\r\n"),
            "(Not Found)",
            *(LINK, "--model", Retry.NEVER, None),
        ),
        (
            http("200 OK", b"\x1b[31mred\x00\xff\xfe"),
            "(␛[31mred␀\ufffd\ufffd)",
            *(LINK, "--url", Retry.NEVER, None),
        ),
        (
            http("500 Internal Server Error", b"x" * 100_000),
            f"({'x' * 499}…)",
            *(LINK, "later", Retry.ALWAYS, None),
        ),
        (
            http("503 Service Unavailable", error_body("y" * 100_000), "Retry-After: 7"),
            f"({'y' * 499}…)",
            *(LINK, "later", Retry.ALWAYS, 7.0),
        ),
        (
            http("502 Bad Gateway", b"<html><title>502 Bad Gateway</title><hr>nginx</html>"),
            "(502 Bad Gateway)",
            *(LINK, "later", Retry.ALWAYS, None),
        ),
        (
            http("401 Unauthorized", b'{"statusCode":401,"message":"The token has expired."}'),
            "(The token has expired.)",
            *(ExitCode.REFUSED, CHECK_KEY, Retry.NEVER, None),
        ),
        (
            http("502 Bad Gateway", b"z" * 490 + KEY.encode() * 2),
            f"({'z' * 490}[key][key])",
            *(LINK, "later", Retry.ALWAYS, None),
        ),
    ],
    ids=lambda value: value[9:12].decode() if isinstance(value, bytes) else "",
)
def test_an_http_error(
    reply: bytes,
    quote: str,
    exit_code: ExitCode,
    hint: str,
    retry: Retry,
    after: float | None,
) -> None:
    status = reply[9:12].decode()

    async def run() -> None:
        async with tcp(reply) as port:
            lost = await refused(endpoint(url=f"ws://{port.address}/", api_key=KEY))
            words = (f"HTTP {status}", quote)
            check(lost, *words, hint=hint, retry=retry, exit=exit_code, code=status, after=after)
            assert lost.problem.message.endswith(quote or status)

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
            lost = await refused(endpoint(url=f"ws://{port.address}/"))
            check(
                lost,
                "HTTP 429",
                hint="plan",
                retry=Retry.ALWAYS,
                exit=ExitCode.LIMIT,
                code="429",
                after=seconds,
            )

    asyncio.run(run())


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_redirect_is_not_followed(status: str, elsewhere: bool) -> None:
    async def run() -> None:
        async with tcp(http("404 Not Found")) as other:
            place = f"ws://{other.address}/{KEY}" if elsewhere else "/other"
            location = f"Location: {place}?api-key=somebody-else-s"
            async with tcp(http(status, b"", location, "Location: x")) as port:
                lost = await refused(endpoint(url=f"ws://{port.address}/", api_key=KEY))
                shown = place.replace(KEY, "[key]")
                words = (f"HTTP {status[:3]}", f"redirect to {shown}")
                check(lost, *words, hint="--url", retry=Retry.NEVER, code=status[:3])
                assert "somebody" not in lost.problem.message
                assert (len(port.heads), other.heads) == (1, [])

    asyncio.run(run())


def test_a_redirect_without_a_location() -> None:
    async def run() -> None:
        async with tcp(http("302 Found")) as port:
            lost = await refused(endpoint(url=f"ws://{port.address}/"))
            check(lost, "HTTP 302", "redirect", hint="--url", retry=Retry.NEVER, code="302")

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
    assert len(line) <= MAX_QUOTE + 150
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


# ------------------------------------------------------------------------------------------ closing

AGAIN, NEVER = Retry.ALWAYS, Retry.NEVER


@pytest.mark.parametrize(
    ("code", "exit_code", "hint", "retry"),
    [
        (1000, LINK, "try again", AGAIN),
        (1001, LINK, "try again", AGAIN),
        (1002, LINK, "--model", NEVER),
        (1008, LINK, "--model", NEVER),
        (1009, LINK, "send or request less", NEVER),
        (1011, LINK, "try again", AGAIN),
        (1012, LINK, "try again", AGAIN),
        (1013, LINK, "try again", AGAIN),
        (3000, ExitCode.REFUSED, CHECK_KEY, NEVER),
        (4000, LINK, "--model", NEVER),
        (4004, LINK, "--model", NEVER),
    ],
)
def test_a_close(code: int, exit_code: ExitCode, hint: str, retry: Retry) -> None:
    lost = asyncio.run(ended(saying(code=code, reason="for a\n reason")))
    words = ("connection lost", f"({code} for a reason)")
    check(lost, *words, hint=hint, retry=retry, exit=exit_code, code=str(code))
    assert lost.at_once == (code == 1001)


def test_a_close_without_a_reason() -> None:
    assert asyncio.run(ended(saying("{}"))).problem.message == "connection lost (1000)"


def test_a_connection_lost_without_a_close_frame() -> None:
    lost = asyncio.run(ended(breaking))
    check(lost, "connection lost (1006)", hint="network", retry=Retry.ALWAYS, code="1006")


def test_a_close_over_the_quota() -> None:
    lost = explain_close(1013, reason := "insufficient_quota.insufficient_quota")
    check(lost, reason, hint="billing", retry=Retry.NEVER, exit=ExitCode.LIMIT, code="1013")


def test_a_close_that_quotes_the_key() -> None:
    async def run() -> ConnectionLost:
        async with (
            sockets(saying(code=3000, reason=f"Wrong: {KEY}")) as url,
            open_connection(endpoint(url=url, api_key=KEY)) as connection,
        ):
            assert await connection.receive() is None
            return connection.explain()

    assert "(3000 Wrong: [key])" in asyncio.run(run()).problem.message


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
    lost = asyncio.run(ended(saying(b"x" * (MAX_FRAME + 1))))
    check(lost, hint="send or request less", retry=Retry.NEVER, code="1009")


def test_closing_does_not_wait_for_a_server_that_stopped_reading() -> None:
    async def freeze(client: ServerConnection) -> None:
        client.transport.pause_reading()
        await client.wait_closed()

    async def main() -> None:
        async with sockets(freeze) as url:
            async with asyncio.timeout(5 * CLOSE_TIMEOUT):  # the library alone takes 20 s
                with suppress(TimeoutError):
                    async with open_connection(endpoint(url=url)) as connection:
                        while True:  # until the buffers between the two are full
                            async with asyncio.timeout(0.5):
                                await connection.send({"type": "x", "much": "x" * 2**20})

    asyncio.run(main())


def test_closing_is_answered_by_a_server_that_sends_without_end() -> None:
    async def flood(client: ServerConnection) -> None:
        while True:
            await client.send(b"x" * 2**16)

    async def main() -> int | None:
        async with sockets(flood) as url:
            async with open_connection(endpoint(url=url)) as connection:
                await connection.receive()
                while connection.socket.transport.is_reading():  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0)
            return connection.socket.close_code

    assert asyncio.run(main()) == 1000


def test_a_connection_that_is_lost_while_much_is_sent_is_left_all_the_same() -> None:
    async def refuse(client: ServerConnection) -> None:
        await client.recv()

    async def main() -> None:
        async with sockets(refuse) as url:
            for _ in range(3):
                with suppress(ConnectError):
                    async with open_connection(endpoint(url=url)) as connection:
                        await connection.send({"type": "x", "much": "x" * 20 * 2**20})

    asyncio.run(main())


def test_a_fault_of_the_caller_is_no_lost_connection() -> None:
    class Broken(dict[str, object]):
        def items(self) -> NoReturn:
            raise AttributeError("a bug")

    async def main() -> None:
        async with (
            sockets(ServerConnection.wait_closed) as url,
            open_connection(endpoint(url=url)) as connection,
        ):
            await connection.send(Broken(type="x"))

    with pytest.raises(AttributeError, match="a bug"):
        asyncio.run(main())
