"""Separates the body of a POST request from its head.

`websockets` refuses requests with a body. It therefore receives only the head, without the fields
that announce a body.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Literal

MAX_BODY = 256 * 1024
"""The maximum size of a body in bytes."""
_MAX_HEAD = 64 * 1024
_MAX_DIGITS = 18
_POST = b"POST "
_END = b"\r\n\r\n"
_ANNOUNCEMENT = re.compile(
    rb"^(content-length|transfer-encoding)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r\n",
    re.IGNORECASE | re.MULTILINE,
)


class RequestBody:
    """The body of the request of one connection."""

    def __init__(self) -> None:
        self._state: Literal["head", "body", "none"] = "head"
        self._head = bytearray()
        self._length = 0
        self._body = bytearray()
        self._refusal: HTTPStatus | None = None
        self._is_complete = asyncio.Event()

    async def read(self) -> bytes | HTTPStatus:
        """The body as soon as it is complete, or the status with which to refuse the request."""
        await self._is_complete.wait()
        return self._refusal or bytes(self._body)

    def close(self) -> None:
        """Called when the connection is lost."""
        if not self._is_complete.is_set():
            self._refusal = HTTPStatus.BAD_REQUEST
            self._is_complete.set()

    def feed(self, data: bytes) -> bytes:
        """Receive data; return what does not belong to a body."""
        if self._state == "head":
            return self._feed_head(data)
        if self._state == "body":
            self._add(data)
            return b""
        return data

    def _feed_head(self, data: bytes) -> bytes:
        start = max(0, len(self._head) - len(_END))
        self._head += data
        is_post = self._head[: len(_POST)] == _POST[: len(self._head)]
        end = self._head.find(_END, start)
        if not is_post or (end < 0 and len(self._head) > _MAX_HEAD):
            self._state = "none"
            return self._take_head()
        if end < 0:
            return b""
        self._state = "body"
        received, end = self._take_head(), end + len(_END)
        head, rest = received[:end], received[end:]
        length = _body_length(head)
        if isinstance(length, HTTPStatus):
            self._refusal = length
        else:
            self._length = length
        self._add(rest)
        return _ANNOUNCEMENT.sub(b"", head)

    def _take_head(self) -> bytes:
        head = bytes(self._head)
        self._head.clear()
        return head

    def _add(self, data: bytes) -> None:
        self._body += data[: self._length - len(self._body)]
        if len(self._body) == self._length:
            self._is_complete.set()


def _body_length(head: bytes) -> int | HTTPStatus:
    """The length of the body after this head, or the status with which to refuse the request."""
    fields = {(name.lower(), text) for name, text in _ANNOUNCEMENT.findall(head)}
    lengths = {text for name, text in fields if name == b"content-length"}
    if len(lengths) < len(fields):
        return HTTPStatus.LENGTH_REQUIRED
    length = lengths.pop() if lengths else b"0"
    if lengths or not length.isdigit():
        return HTTPStatus.BAD_REQUEST
    is_small = len(length) <= _MAX_DIGITS and int(length) <= MAX_BODY
    return int(length) if is_small else HTTPStatus.REQUEST_ENTITY_TOO_LARGE
