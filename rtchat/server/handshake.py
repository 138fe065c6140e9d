"""Which clients are admitted, and how their connections are read.

`HandshakePolicy` checks handshakes: paths, origins, keys, and how many clients there are.
`ClientConnection` is a connection that reads about a millisecond's worth of frames at a time,
however many have arrived, and that notices a client which has gone without closing.
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
_MOST_ARRIVING = 256
"""How many connections may be in their handshake; beyond that the oldest is dropped."""
_RETRY_SECONDS = 5
_LEAST_READ, _MOST_READ = 256, 64 * 1024
_READ_SECONDS = 0.001
"""How long handling the frames of one read should take."""
_CHECKS = 3
"""How often a client is checked within its timeout."""
_FAREWELL_SECONDS = 2.0
_HANG_UP = getattr(select, "POLLRDHUP", 0)  # Linux; POLLHUP and POLLERR are always reported
FRAGMENT = MB
"""How many characters are sent at once."""
_MOST_UNSENT = 5 * FRAGMENT
"""How many bytes may wait for a client: a fragment in UTF-8 and many pongs."""


class HandshakePolicy:
    """Admits clients, and knows their connections."""

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
        self.buffer = memoryview(bytearray(_MOST_READ))
        """Shared by all connections: each has used its data up before the next one reads."""
        self._arriving: dict[ClientConnection, None] = {}
        """Connections in their handshake, oldest first."""
        self._inside: set[ClientConnection] = set()

    def judge(self, link: ClientConnection, request: Request) -> Response | None:
        """The response that refuses a handshake, or None to accept it."""
        refusal = self._refusal(request)
        if refusal is None:
            self._arriving.pop(link, None)
            self._inside.add(link)
        return refusal

    def arrived(self, link: ClientConnection) -> None:
        """A connection has been opened."""
        self._arriving[link] = None
        if len(self._arriving) > _MOST_ARRIVING:
            next(iter(self._arriving)).transport.abort()

    def left(self, link: ClientConnection) -> None:
        """A connection has been closed."""
        self._arriving.pop(link, None)
        self._inside.discard(link)

    def abort(self) -> None:
        """Break all connections."""
        for link in (*self._arriving, *self._inside):
            link.transport.abort()

    def _refusal(self, request: Request) -> Response | None:
        if urlsplit(request.path).path not in _PATHS:
            return _refuse(HTTPStatus.NOT_FOUND, "", f"Not found: the path is {PATH}.")
        origins = request.headers.get_all("Origin")
        if any(origin not in self._origins for origin in origins):
            message = "A page of this origin may not connect: see --allow-origin."
            return _refuse(HTTPStatus.FORBIDDEN, "origin_not_allowed", message)
        keys = _keys(request)
        if self._key is not None and not any(hmac.compare_digest(key, self._key) for key in keys):
            if keys:
                message = "Incorrect API key provided."
                return _refuse(HTTPStatus.UNAUTHORIZED, "invalid_api_key", message)
            message = "You did not provide an API key: send it as 'Authorization: Bearer KEY'."
            return _refuse(HTTPStatus.UNAUTHORIZED, "", message)
        if len(self._inside) >= self.limits.sessions or self.budget.is_spent:
            message = "The server has as many sessions as it can take: try again later."
            return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, "server_overloaded", message)
        return None


def offered(request: Request) -> list[str]:
    """The subprotocols that a client offers."""
    lines = request.headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for line in lines for name in line.split(",")]


def _keys(request: Request) -> list[bytes]:
    bearer = [line.split(None, 1) for line in request.headers.get_all("Authorization")]
    found = [
        *(words[1].strip() for words in bearer if len(words) == 2 and words[0].lower() == "bearer"),
        *request.headers.get_all("api-key"),
        *(
            name.removeprefix(_KEY_PROTOCOL)
            for name in offered(request)
            if name.startswith(_KEY_PROTOCOL)
        ),
    ]
    return [key.encode("utf-8", "surrogateescape") for key in found]


def _refuse(status: HTTPStatus, code: str, message: str) -> Response:
    is_ours = status is HTTPStatus.SERVICE_UNAVAILABLE
    error = {
        "message": message,
        "type": "server_error" if is_ours else "invalid_request_error",
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
    if is_ours:
        headers["Retry-After"] = str(_RETRY_SECONDS)
    return Response(status.value, status.phrase, headers, body)


class ClientConnection(ServerConnection, asyncio.BufferedProtocol):
    """A connection to a client.

    It is a `BufferedProtocol` because that decides how much is read at a time: a quarter of a
    megabyte, which asyncio would read, has 40,000 frames of a byte.
    """

    def __init__(self, *arguments: Any, door: HandshakePolicy, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._policy = door
        self._read_size = _LEAST_READ
        self._reads = 0
        self._drains = 0
        self._incoming = 0
        self._pings = EventRate(door.limits.events_per_second, monotonic())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._policy.arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._policy.left(self)
        self.taken()

    # ------------------------------------------------------------------------------------ reading

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._policy.buffer[: self._read_size]

    def buffer_updated(self, nbytes: int) -> None:
        self._reads += 1
        self._count(self._incoming + nbytes)
        began = perf_counter()
        self.data_received(bytes(self._policy.buffer[:nbytes]))
        took = perf_counter() - began
        if took > _READ_SECONDS:
            self._read_size = max(_LEAST_READ, self._read_size // 2)
        elif took < _READ_SECONDS / 4:
            self._read_size = min(_MOST_READ, self._read_size * 2)
        self._check()

    def taken(self) -> None:
        """A message has been taken from the connection, which no longer holds it."""
        self._count(0)

    def _count(self, incoming: int) -> None:
        self._policy.budget.held += incoming - self._incoming
        self._incoming = incoming

    def _check(self) -> None:
        if self.transport.get_write_buffer_size() > _MOST_UNSENT:
            self.transport.abort()  # it sends pings but does not read the pongs
        elif self._incoming > MB and self._policy.budget.is_exceeded:
            self._fail(CloseCode.TRY_AGAIN_LATER, "The server is out of memory.")
            self.taken()

    def process_event(self, event: Event) -> None:
        super().process_event(event)
        is_ping = isinstance(event, Frame) and event.opcode is Opcode.PING
        if is_ping and self._pings.take(monotonic()) and self.protocol.state is State.OPEN:
            self._fail(CloseCode.POLICY_VIOLATION, "You send too many pings.")

    def _fail(self, code: CloseCode, reason: str) -> None:
        self.protocol.fail(code, reason)
        self.send_data()
        self.loop.call_later(_FAREWELL_SECONDS, self.transport.abort)

    # ---------------------------------------------------------------------------- is it still there

    def resume_writing(self) -> None:
        self._drains += 1
        super().resume_writing()

    async def keep_alive(self, seconds: float) -> None:
        """Ping the client. Break the connection if for this long nothing came, although this side
        was reading, or the client accepted nothing of what was sent."""
        silent = stuck = 0
        was_reading, reads, drains, unsent = False, 0, 0, 0
        while max(silent, stuck) < _CHECKS:
            await asyncio.sleep(seconds / _CHECKS)
            is_reading, waits = self.transport.is_reading(), self.transport.get_write_buffer_size()
            if not is_reading and self._has_hung_up():
                break
            is_silent = is_reading and was_reading and self._reads == reads
            silent = silent + 1 if is_silent else 0
            stuck = stuck + 1 if 0 < unsent <= waits and self._drains == drains else 0
            was_reading, reads, drains, unsent = is_reading, self._reads, self._drains, waits
            if not waits:
                _ = await self.ping()
        self.transport.abort()

    def _has_hung_up(self) -> bool:
        """Whether the client has closed its end; the transport only notices that while it reads."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket"), _HANG_UP)
        return bool(poll.poll(0))
