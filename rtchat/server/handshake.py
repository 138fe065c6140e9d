"""Handshake checks and client connections.

`HandshakePolicy` checks the origin and key of a request, and the number of clients.
`ClientConnection` limits each read to about a millisecond of frame processing and detects clients
that disappear without closing.
"""

from __future__ import annotations

import asyncio
import hmac
import select
from http import HTTPStatus
from time import monotonic, perf_counter
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State

from rtchat.core.events import ServerProblem
from rtchat.core.text import compact_json
from rtchat.core.values import JsonObject
from rtchat.server.client_secrets import ClientSecrets
from rtchat.server.limits import MB, EventRate, MemoryBudget, ServerLimits
from rtchat.server.request_body import RequestBody
from rtchat.wire.client_events import INVALID_REQUEST
from rtchat.wire.http_bodies import SecretRequest, write_error

JSON = "application/json"
SERVER_ERROR = "server_error"
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
        secrets: ClientSecrets,
    ) -> None:
        self._key = None if api_key is None else api_key.encode()
        self._origins = origins
        self._secrets = secrets
        self.limits = limits
        self.budget = budget
        self.buffer = memoryview(bytearray(_MAX_READ))
        """Shared by all connections: each processes its data before the next one reads."""
        self._handshaking: dict[ClientConnection, None] = {}
        """Connections in their handshake, oldest first."""
        self._connected: set[ClientConnection] = set()

    def check(self, link: ClientConnection, request: Request) -> Response | None:
        """The HTTP response that refuses a handshake, or None if it is accepted."""
        found = (self._secrets.find(key, monotonic()) for key in _keys(request))
        link.secret = next(filter(None, found), None)
        refusal = self.refuse(request, has_secret=link.secret is not None)
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

    def refuse(self, request: Request, *, has_secret: bool = False) -> Response | None:
        """The HTTP response that refuses a request, or None if it is accepted. With a client
        secret, no key is required."""
        if (refusal := self.refuse_origin(request)) is not None:
            return refusal
        keys = _keys(request)
        key = None if has_secret else self._key
        if key is not None and not any(hmac.compare_digest(each, key) for each in keys):
            if keys:
                message = "Incorrect API key provided."
                return refused(HTTPStatus.UNAUTHORIZED, message, "invalid_api_key")
            message = "You didn't provide an API key. Send it as 'Authorization: Bearer KEY'."
            return refused(HTTPStatus.UNAUTHORIZED, message)
        if len(self._connected) >= self.limits.sessions or self.budget.is_exhausted:
            return overloaded()
        return None

    def refuse_origin(self, request: Request) -> Response | None:
        """The HTTP response that refuses the origin of a web page, or None if it is allowed."""
        if all(origin in self._origins for origin in request.headers.get_all("Origin")):
            return None
        message = "This origin is not allowed. Allow it with --allow-origin."
        return refused(HTTPStatus.FORBIDDEN, message, "origin_not_allowed")


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


def overloaded() -> Response:
    """The response if the server has reached a limit."""
    message = "The server is overloaded. Please try again later."
    response = refused(HTTPStatus.SERVICE_UNAVAILABLE, message, "server_overloaded")
    response.headers["Retry-After"] = str(_RETRY_SECONDS)
    return response


def refused(status: HTTPStatus, message: str, code: str = "", param: str = "") -> Response:
    """A response with an error in the format of OpenAI's API."""
    kind = SERVER_ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else INVALID_REQUEST
    return json_response(status, write_error(ServerProblem(message, kind, code, param)))


def json_response(status: HTTPStatus, data: JsonObject) -> Response:
    """A response with a JSON object, after which the connection is closed."""
    body = compact_json(data).encode()
    headers = Headers(
        [
            ("Content-Type", JSON),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
    )
    return Response(status.value, status.phrase, headers, body)


class ClientConnection(ServerConnection, asyncio.BufferedProtocol):
    """A connection to a client.

    A `BufferedProtocol` controls how much is read at a time. By default asyncio reads 256 KiB,
    which can hold 40,000 one-byte frames.
    """

    def __init__(self, *arguments: Any, policy: HandshakePolicy, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._policy = policy
        self.body = RequestBody()
        self.secret: SecretRequest | None = None
        """The request for the client secret in the handshake, if there is one."""
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
        self.body.close()
        self.message_taken()

    # ------------------------------------------------------------------------------------- reading

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._policy.buffer[: self._read_size]

    def buffer_updated(self, nbytes: int) -> None:
        self._reads += 1
        self._count(self._incoming + nbytes)
        start = perf_counter()
        if data := self.body.feed(bytes(self._policy.buffer[:nbytes])):
            self.data_received(data)
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
