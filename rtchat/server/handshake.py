"""Handshake checks and client connections.

`HandshakePolicy` checks the path, origin and key of a handshake, and the number of clients.
`ClientConnection` limits each read to about a millisecond of frame processing and detects clients
that disappear without closing.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import select
from http import HTTPStatus
from time import monotonic, perf_counter
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State

from rtchat.server.limits import MB, EventRate, MemoryBudget, ServerLimits

PATH = "/v1/realtime"
_PATHS = (PATH, "/realtime")
_KEY_PROTOCOL = "openai-insecure-api-key."
_MAX_HANDSHAKES = 256
"""The maximum number of connections in their handshake. Beyond it, the oldest is dropped."""
_RETRY_SECONDS = 5
_MIN_READ, _MAX_READ = 256, 64 * 1024
_READ_SECONDS = 0.001
"""The target time for processing the frames of one read."""
_CHECKS_PER_TIMEOUT = 3
"""How many times a client is checked before it times out."""
_CLOSE_SECONDS = 2.0
_POLL_HANGUP = getattr(select, "POLLRDHUP", 0)  # Linux; POLLHUP and POLLERR are always reported
FRAGMENT = MB
"""The maximum number of characters sent at once."""
_MAX_UNSENT = 5 * FRAGMENT
"""The maximum number of unsent bytes: one fragment in UTF-8 and many pongs."""


class HandshakePolicy:
    """Accepts or refuses clients, and keeps track of their connections."""

    def __init__(
        self,
        api_key: str | None,
        origins: frozenset[str],
        limits: ServerLimits,
        budget: MemoryBudget,
    ) -> None:
        self._key = None if api_key is None else api_key.encode()
        self._origins = origins
        self.limits = limits
        self.budget = budget
        self.buffer = memoryview(bytearray(_MAX_READ))
        """Shared by all connections: each processes its data before the next one reads."""
        self._handshaking: dict[ClientConnection, None] = {}
        """Connections in their handshake, oldest first."""
        self._connected: set[ClientConnection] = set()

    def check(self, link: ClientConnection, request: Request) -> Response | None:
        """The HTTP response that refuses a handshake, or None if it is accepted."""
        refusal = self._refusal(request)
        if refusal is None:
            self._handshaking.pop(link, None)
            self._connected.add(link)
        return refusal

    def add(self, link: ClientConnection) -> None:
        """Called when a connection opens."""
        self._handshaking[link] = None
        if len(self._handshaking) > _MAX_HANDSHAKES:
            next(iter(self._handshaking)).transport.abort()

    def remove(self, link: ClientConnection) -> None:
        """Called when a connection closes."""
        self._handshaking.pop(link, None)
        self._connected.discard(link)

    def abort(self) -> None:
        """Drop all connections without closing them properly."""
        for link in (*self._handshaking, *self._connected):
            link.transport.abort()

    def _refusal(self, request: Request) -> Response | None:
        if urlsplit(request.path).path not in _PATHS:
            return _refuse(HTTPStatus.NOT_FOUND, "", f"Not found. The Realtime API is at {PATH}.")
        origins = request.headers.get_all("Origin")
        if any(origin not in self._origins for origin in origins):
            message = "This origin is not allowed. Allow it with --allow-origin."
            return _refuse(HTTPStatus.FORBIDDEN, "origin_not_allowed", message)
        keys = _keys(request)
        if self._key is not None and not any(hmac.compare_digest(key, self._key) for key in keys):
            if keys:
                message = "Incorrect API key provided."
                return _refuse(HTTPStatus.UNAUTHORIZED, "invalid_api_key", message)
            message = "You didn't provide an API key. Send it as 'Authorization: Bearer KEY'."
            return _refuse(HTTPStatus.UNAUTHORIZED, "", message)
        if len(self._connected) >= self.limits.sessions or self.budget.is_exhausted:
            message = "The server is overloaded. Please try again later."
            return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, "server_overloaded", message)
        return None


def offered(request: Request) -> list[str]:
    """The subprotocols that a client offers."""
    lines = request.headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for line in lines for name in line.split(",")]


def _keys(request: Request) -> list[bytes]:
    bearer = [line.split(None, 1) for line in request.headers.get_all("Authorization")]
    offered_keys = [
        *(words[1].strip() for words in bearer if len(words) == 2 and words[0].lower() == "bearer"),
        *request.headers.get_all("api-key"),
        *(
            name.removeprefix(_KEY_PROTOCOL)
            for name in offered(request)
            if name.startswith(_KEY_PROTOCOL)
        ),
    ]
    return [key.encode("utf-8", "surrogateescape") for key in offered_keys]


def _refuse(status: HTTPStatus, code: str, message: str) -> Response:
    is_server_error = status is HTTPStatus.SERVICE_UNAVAILABLE
    error = {
        "message": message,
        "type": "server_error" if is_server_error else "invalid_request_error",
        "param": None,
        "code": code or None,
    }
    body = json.dumps({"error": error}).encode()
    headers = Headers(
        [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
    )
    if is_server_error:
        headers["Retry-After"] = str(_RETRY_SECONDS)
    return Response(status.value, status.phrase, headers, body)


class ClientConnection(ServerConnection, asyncio.BufferedProtocol):
    """A connection to a client.

    A `BufferedProtocol` controls how much is read at a time. By default asyncio reads 256 KiB,
    which can hold 40,000 one-byte frames.
    """

    def __init__(self, *arguments: Any, policy: HandshakePolicy, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._policy = policy
        self._read_size = _MIN_READ
        self._reads = 0
        self._drains = 0
        self._incoming = 0
        self._pings = EventRate(policy.limits.events_per_second, monotonic())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._policy.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._policy.remove(self)
        self.message_taken()

    # ------------------------------------------------------------------------------------- reading

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._policy.buffer[: self._read_size]

    def buffer_updated(self, nbytes: int) -> None:
        self._reads += 1
        self._count(self._incoming + nbytes)
        start = perf_counter()
        self.data_received(bytes(self._policy.buffer[:nbytes]))
        seconds = perf_counter() - start
        if seconds > _READ_SECONDS:
            self._read_size = max(_MIN_READ, self._read_size // 2)
        elif seconds < _READ_SECONDS / 4:
            self._read_size = min(_MAX_READ, self._read_size * 2)
        self._check()

    def message_taken(self) -> None:
        """Called when a message has been taken out of the connection's buffer."""
        self._count(0)

    def _count(self, incoming: int) -> None:
        self._policy.budget.used += incoming - self._incoming
        self._incoming = incoming

    def _check(self) -> None:
        if self.transport.get_write_buffer_size() > _MAX_UNSENT:
            self.transport.abort()  # the client sends pings but does not read the pongs
        elif self._incoming > MB and self._policy.budget.is_exceeded:
            self._fail(CloseCode.TRY_AGAIN_LATER, "The server is out of memory.")
            self.message_taken()

    def process_event(self, event: Event) -> None:
        super().process_event(event)
        is_ping = isinstance(event, Frame) and event.opcode is Opcode.PING
        if is_ping and self._pings.count(monotonic()) and self.protocol.state is State.OPEN:
            self._fail(CloseCode.POLICY_VIOLATION, "Too many pings.")

    def _fail(self, code: CloseCode, reason: str) -> None:
        self.protocol.fail(code, reason)
        self.send_data()
        self.loop.call_later(_CLOSE_SECONDS, self.transport.abort)

    # ---------------------------------------------------------------------------------- keep-alive

    def resume_writing(self) -> None:
        self._drains += 1
        super().resume_writing()

    async def keep_alive(self, seconds: float) -> None:
        """Ping the client. Drop the connection if for `seconds` nothing arrived although the server
        was reading, or the client accepted none of the data waiting to be sent."""
        silent = stuck = 0
        was_reading, reads, drains, unsent = False, 0, 0, 0
        while max(silent, stuck) < _CHECKS_PER_TIMEOUT:
            await asyncio.sleep(seconds / _CHECKS_PER_TIMEOUT)
            is_reading, waiting = (
                self.transport.is_reading(),
                self.transport.get_write_buffer_size(),
            )
            if not is_reading and self._is_half_closed():
                break
            is_silent = is_reading and was_reading and self._reads == reads
            silent = silent + 1 if is_silent else 0
            stuck = stuck + 1 if 0 < unsent <= waiting and self._drains == drains else 0
            was_reading, reads, drains, unsent = is_reading, self._reads, self._drains, waiting
            if not waiting:
                _ = await self.ping()
        self.transport.abort()

    def _is_half_closed(self) -> bool:
        """Whether the client has closed its end. The transport notices that only while it reads."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket"), _POLL_HANGUP)
        return bool(poll.poll(0))
