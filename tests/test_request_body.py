"""Separating the body of a POST request."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.server.request_body import MAX_BODY, RequestBody

_HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"


def received(*pieces: bytes) -> tuple[bytes, bytes | HTTPStatus | None]:
    """The data that is passed on of these pieces, and the body; None while it is incomplete."""

    async def main() -> tuple[bytes, bytes | HTTPStatus | None]:
        body = RequestBody()
        passed = b"".join(map(body.feed, pieces))
        reading = asyncio.create_task(body.read())
        await asyncio.sleep(0)
        if not reading.done():
            body.close()
            assert await reading is HTTPStatus.BAD_REQUEST
            return passed, None
        return passed, reading.result()

    return asyncio.run(main())


@given(st.binary(max_size=20), st.lists(st.integers(0, 90)), st.binary(max_size=5))
def test_a_body_in_any_pieces(body: bytes, cuts: list[int], surplus: bytes) -> None:
    data = _HEAD + b"content-LENGTH:  %d \r\nA: b\r\n\r\n" % len(body) + body + surplus
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert received(*pieces) == (_HEAD + b"A: b\r\n\r\n", body)


@given(st.binary(max_size=100), st.integers(0, 100))
def test_other_data_is_passed_on(data: bytes, cut: int) -> None:
    for whole in (b"GET /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"\x16" + data, b"POSTx"):
        passed, _ = received(whole[:cut], whole[cut:])
        assert passed == whole


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"", b""),
        (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"),
        (b"Content-Length: 2\r\nContent-Length: 1\r\n", HTTPStatus.BAD_REQUEST),
        (b"Content-Length: -2\r\n", HTTPStatus.BAD_REQUEST),
        (b"Content-Length: \r\n", HTTPStatus.BAD_REQUEST),
        (b"Content-Length: %d\r\n" % (MAX_BODY + 1), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (b"Content-Length: 1%s\r\n" % (b"0" * 5000), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (b"Transfer-Encoding: chunked\r\n", HTTPStatus.LENGTH_REQUIRED),
        (b"Transfer-Encoding: gzip\r\nContent-Length: 2\r\n", HTTPStatus.LENGTH_REQUIRED),
        (b"Content-Length: 3\r\n", None),
    ],
)
def test_how_a_body_is_announced(fields: bytes, body: bytes | HTTPStatus | None) -> None:
    assert received(_HEAD + fields + b"\r\n", b"{}") == (_HEAD + b"\r\n", body)


def test_a_head_without_an_end_is_not_kept() -> None:
    body = RequestBody()
    passed = 0
    for _ in range(100):
        passed += len(body.feed(b"POST " + b"x" * 10_000))
    assert passed > 900_000
