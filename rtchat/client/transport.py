"""A WebSocket to a Realtime server: the public Python API, and what the command line is built on.

`connect` opens one connection; `Connection` sends and yields events as plain dicts, as on the wire.
`failures` turns every way in which a connection can fail or end into a `ConnectionLost` value, with
its exit code and whether it is worth trying again.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import (
    ConnectionClosed,
    WebSocketException,
)
from websockets.typing import Subprotocol

from rtchat._version import __version__
from rtchat.client.endpoint import Auth, Endpoint, endpoint
from rtchat.client.failures import IN_ORDER, ConnectError, explain, explain_close, is_of_proxy
from rtchat.client.proxies import proxy_of
from rtchat.core.errors import RealtimeError
from rtchat.core.events import ConnectionLost, Unknown
from rtchat.core.text import compact_json
from rtchat.core.values import OPENAI_URL
from rtchat.wire import EventRedactor, read_frame

__all__ = [
    "ConnectError",
    "Connection",
    "Endpoint",
    "connect",
    "endpoint",
    "explain",
    "explain_close",
    "open_connection",
]

LARGEST_FRAME = 64 * 2**20
"""Bytes. The library's own limit, 1 MiB, breaks on audio items (close code 1009)."""
CLOSING = 2.0
"""Seconds that a server has to answer a close."""

# --------------------------------------------------------------------------------------- connection

Listener: TypeAlias = Callable[[Any], object]


class Connection:
    """One open connection.

    `async for event in connection` yields every event as a dict and ends when the connection does:
    quietly when it was closed in order (1000, 1001, or no code), with `ConnectError` when it was
    not. An `error` event goes to the `error` listeners, as a `RealtimeError`, and is yielded as
    well; with no such listener it is raised from the loop instead. A frame that is no JSON object
    with a type counts as one. Either way the connection stays usable: iterate again to go on.
    """

    def __init__(self, socket: ClientConnection, endpoint: Endpoint) -> None:
        self.socket = socket
        """The underlying `websockets` connection."""
        self.url = endpoint.url
        self._endpoint = endpoint
        self._listeners: dict[str, list[Listener]] = {}
        self._events = EventRedactor(endpoint.redactor)
        self._unseen: deque[dict[str, object]] = deque()
        """Events that were read but not yielded yet."""
        self._end: ConnectionClosed | None = None

    async def send(self, event: Mapping[str, object]) -> None:
        """Send a client event. Raises `ConnectError` if the connection is gone."""
        frame = compact_json(event)
        try:
            await self.socket.send(frame)
        except ConnectionClosed as error:
            self._end = error
            raise ConnectError(self.explain()) from error
        except AttributeError as error:
            if not self._is_gone:
                raise
            raise ConnectError(self.explain()) from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection; a server that does not answer is left after 2 seconds."""
        try:
            async with asyncio.timeout(CLOSING):
                await self.socket.close(code, reason)
        except TimeoutError:  # the library waits for a server that reads nothing
            self.socket.transport.abort()
        except AttributeError:
            if not self._is_gone:
                raise

    @property
    def _is_gone(self) -> bool:
        """Whether the socket is closed. When the library then aborts it, asyncio raises an
        AttributeError."""
        return self.socket.transport.is_closing()

    def on(self, type: str, callback: Listener) -> None:
        """Call back for each event of a type, before the loop yields it; `event` stands for all.

        The callback takes the event; for `error` it takes a `RealtimeError`. It may be a coroutine
        function. Callbacks run while somebody iterates over the connection.
        """
        self._listeners.setdefault(type, []).append(callback)

    def off(self, type: str, callback: Listener) -> None:
        """Undo `on`; a callback that is not there is ignored."""
        listeners = self._listeners.get(type, [])
        if callback in listeners:
            listeners.remove(callback)

    async def receive(self) -> str | bytes | None:
        """The next frame, unread; None once the connection is over, however it ended."""
        try:
            return await self.socket.recv()
        except ConnectionClosed as error:
            self._end = error
            return None

    def explain(self) -> ConnectionLost:
        """Why the connection ended."""
        code, reason = self._first_close()
        return explain_close(code, self._endpoint.redact(reason))

    def _first_close(self) -> tuple[int, str]:
        """The close frame that came first, the server's or ours; 1006 without any."""
        end = self._end
        first = end and (end.rcvd if end.rcvd_then_sent else end.sent or end.rcvd)
        return (first.code, first.reason) if first else (1006, "")

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> dict[str, object]:
        while not self._unseen:
            frame = await self.receive()
            self._unseen.extend(self._events.end() if frame is None else self._read(frame))
            if frame is None and not self._unseen:
                if self._first_close()[0] in IN_ORDER:
                    raise StopAsyncIteration
                raise ConnectError(self.explain())
        event = self._unseen.popleft()
        await self._tell(event)
        return event

    def _read(self, frame: str | bytes) -> Iterator[dict[str, object]]:
        event = read_frame(frame)
        if isinstance(event, Unknown):
            yield {"type": "error", "error": {"type": "unreadable_frame", "message": event.why}}
        else:
            assert isinstance(frame, str)
            yield from (redacted for redacted, _ in self._events.redact(frame, event))

    async def _tell(self, event: dict[str, object]) -> None:
        kind = str(event["type"])
        for listener in tuple(self._listeners.get("event", ())):
            await _call(listener, event)
        own = tuple(self._listeners.get(kind, ()))
        if kind != "error":
            for listener in own:
                await _call(listener, event)
            return
        error = RealtimeError(event)
        if not own:
            raise error
        for listener in own:
            await _call(listener, error)


async def _call(listener: Listener, argument: object) -> None:
    result = listener(argument)
    if inspect.isawaitable(result):
        await result


class _Connect(open_socket):
    def process_redirect(self, exc: Exception) -> Exception | str:
        # The library follows redirects, and to another host it drops only some of the headers that
        # can carry a key. No Realtime service redirects: say where it points; the user decides.
        return exc


@asynccontextmanager
async def open_connection(
    endpoint: Endpoint, *, open_timeout: float = 10.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Connection]:
    """Open a connection, and close it at the end. `tls` is what `endpoint.trust` gives.

    Raises:
        ConnectError: `explain` made it.
    """
    proxy = proxy_of(endpoint)
    trusted: dict[str, Any] = {}
    if tls is not None and endpoint.is_encrypted:
        trusted["ssl"] = tls
    if tls is not None and proxy is not None and proxy.startswith("https:"):
        trusted["proxy_ssl"] = tls
    try:
        socket = await _Connect(
            endpoint.url,
            additional_headers=endpoint.headers,
            subprotocols=[Subprotocol(name) for name in endpoint.subprotocols] or None,
            user_agent_header=f"rtchat/{__version__}",
            open_timeout=open_timeout,
            close_timeout=CLOSING,
            max_size=LARGEST_FRAME,
            compression=None,
            proxy=proxy,
            **trusted,
        )
    except (OSError, WebSocketException, ImportError, ValueError) as error:
        # What failed at a proxy can quote its URL, and that a password: no trace of it is kept.
        cause = None if is_of_proxy(error, endpoint) else error
        raise ConnectError(explain(error, endpoint, open_timeout)) from cause
    connection = Connection(socket, endpoint)
    try:
        yield connection
    finally:
        await connection.close()


def connect(
    model: str = "",
    *,
    url: str = OPENAI_URL,
    api_key: str = "",
    headers: Iterable[tuple[str, str]] = (),
    auth: Auth = "header",
    beta: bool = False,
    open_timeout: float = 10.0,
) -> AbstractAsyncContextManager[Connection]:
    """Connect: `async with rtchat.connect("gpt-realtime-2.1", api_key=…) as rt:`.

    `auth="subprotocol"` passes the key the way browsers do, for short-lived client secrets. `beta`
    asks a server for the dialect before May 2026. `open_timeout` is in seconds.

    Raises:
        UsageError: the URL is none, or the key would leave this machine unencrypted.
        ConnectError: on entering, with what can be done about it.
    """
    where = endpoint(model, url=url, api_key=api_key, headers=headers, auth=auth, beta=beta)
    return open_connection(where, open_timeout=open_timeout)
