"""A WebSocket connection to a Realtime server: the public Python API, also used by the CLI.

`connect` opens one connection; `Connection` sends and yields wire events as dicts. `failures` turns
every failure to connect and every lost connection into a `ConnectionLost`, with an exit code and
whether to try again.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
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
from rtchat.client.failures import (
    NORMAL_CLOSE,
    ConnectError,
    explain,
    explain_close,
    is_proxy_error,
)
from rtchat.client.proxies import proxy_of
from rtchat.core.errors import RealtimeError
from rtchat.core.events import ConnectionLost, Unknown
from rtchat.core.text import compact_json
from rtchat.core.values import OPENAI_URL
from rtchat.wire import EventRedactor, as_text, read_frame

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

MAX_FRAME = 64 * 2**20
"""Bytes. The library's default, 1 MiB, is too small for audio items (close code 1009)."""
PING_INTERVAL = 20.0
"""Seconds between pings."""
USER_AGENT = f"rtchat/{__version__}"
CLOSE_TIMEOUT = 2.0
"""Seconds that a server has to answer a close frame."""

# --------------------------------------------------------------------------------------- connection

Listener: TypeAlias = Callable[[Any], object]


class Connection:
    """One open connection.

    `async for event in connection` yields every event as a dict. The loop ends when the connection
    is closed normally (1000, 1001 or no code); otherwise it raises `ConnectError`. An `error` event
    is passed to the `error` listeners as a `RealtimeError` and then yielded; without such a
    listener, the loop raises it instead. A frame that is not a JSON object with a type is handled
    like an `error` event. In both cases the connection stays usable: iterate again to continue.
    """

    def __init__(
        self, socket: ClientConnection, endpoint: Endpoint, silence: float = PING_INTERVAL
    ) -> None:
        self.socket = socket
        """The underlying `websockets` connection."""
        self.url = endpoint.url
        self._endpoint = endpoint
        self._listeners: dict[str, list[Listener]] = {}
        self._events = EventRedactor(endpoint.redactor)
        self._unread: deque[dict[str, object]] = deque()
        """Events that were received but not yielded yet."""
        self._end: ConnectionClosed | None = None
        self._silence = silence
        self._received = False
        """Whether a frame arrived since the last ping."""
        self._is_unanswered = False
        """Whether the connection was given up because nothing arrived after a ping."""

    async def send(self, event: Mapping[str, object]) -> None:
        """Send a client event. Raises ConnectError if the connection is lost."""
        frame = compact_json(event)
        try:
            await self.socket.send(frame)
        except ConnectionClosed as error:
            self._end = error
            raise ConnectError(self.explain()) from error
        except AttributeError as error:
            if not self._is_closing:
                raise
            raise ConnectError(self.explain()) from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection. A server has 2 seconds to answer."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.socket.close(code, reason)
        except TimeoutError:  # the library waits for a server that has stopped reading
            self.socket.transport.abort()
        except AttributeError:
            if not self._is_closing:
                raise

    @property
    def _is_closing(self) -> bool:
        """Whether the socket is closed. When the library then aborts it, asyncio raises an
        AttributeError."""
        return self.socket.transport.is_closing()

    def on(self, type: str, callback: Listener) -> None:
        """Call `callback` for each event of a type before the loop yields it; `event` means all.

        The callback gets the event, or a `RealtimeError` for type `error`. It may be a coroutine
        function. Callbacks only run while the connection is iterated over.
        """
        self._listeners.setdefault(type, []).append(callback)

    def off(self, type: str, callback: Listener) -> None:
        """Remove a callback; one that is not registered is ignored."""
        listeners = self._listeners.get(type, [])
        if callback in listeners:
            listeners.remove(callback)

    async def receive(self) -> str | bytes | None:
        """The next frame, not decoded; None once the connection has ended for any reason."""
        try:
            frame = await self.socket.recv()
            self._received = True
            return as_text(frame)
        except ConnectionClosed as error:
            self._end = error
            return None

    async def keep_alive(self) -> None:
        """Ping the server. The connection is lost if nothing arrives for too long after a ping: no
        frame, and no answer to the ping, which a busy server may give late."""
        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(PING_INTERVAL)
                self._received = False
                answer = await self.socket.ping()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._silence):
                        await answer
                        continue
                if not self._received:
                    self._is_unanswered = True
                    self.socket.transport.abort()
                    return

    def explain(self) -> ConnectionLost:
        """Why the connection ended."""
        code, reason = self._first_close()
        if self._is_unanswered:
            code, reason = 1011, f"no answer to a ping for {self._silence:g} s"
        return explain_close(code, self._endpoint.redact(reason), self._endpoint.key_hint)

    def _first_close(self) -> tuple[int, str]:
        """The code and reason of the first close frame, sent or received; 1006 if there is none."""
        end = self._end
        first = end and (end.rcvd if end.rcvd_then_sent else end.sent or end.rcvd)
        return (first.code, first.reason) if first else (1006, "")

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> dict[str, object]:
        while not self._unread:
            frame = await self.receive()
            self._unread.extend(self._events.end() if frame is None else self._read(frame))
            if frame is None and not self._unread:
                if self._first_close()[0] in NORMAL_CLOSE:
                    raise StopAsyncIteration
                raise ConnectError(self.explain())
        event = self._unread.popleft()
        await self._notify(event)
        return event

    def _read(self, frame: str | bytes) -> Iterator[dict[str, object]]:
        event = read_frame(frame)
        if isinstance(event, Unknown):
            yield {"type": "error", "error": {"type": "unreadable_frame", "message": event.why}}
        else:
            assert isinstance(frame, str)
            yield from (redacted for redacted, _ in self._events.redact(frame, event))

    async def _notify(self, event: dict[str, object]) -> None:
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


class OpenSocket(open_socket):
    """The library's connection, without redirects."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        # The library follows redirects and, to another host, drops only some of the headers that
        # may contain a key. No Realtime service redirects: report the target and let the user
        # decide.
        return exc


def route(endpoint: Endpoint, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """The library's arguments for the proxy and TLS. `tls` is the result of
    `endpoint.tls_context`."""
    proxy = proxy_of(endpoint)
    out: dict[str, Any] = {"proxy": proxy}
    if tls is not None and endpoint.is_encrypted:
        out["ssl"] = tls
    if tls is not None and proxy is not None and proxy.startswith("https:"):
        out["proxy_ssl"] = tls
    return out


@asynccontextmanager
async def open_connection(
    endpoint: Endpoint,
    *,
    open_timeout: float = 10.0,
    silence: float | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Connection]:
    """Open a connection, and close it at the end. `tls` is the result of `endpoint.tls_context`.
    With `silence`, in seconds, the library sends no pings: `Connection.keep_alive` does.

    Raises:
        ConnectError: the connection failed.
    """
    try:
        socket = await OpenSocket(
            endpoint.url,
            additional_headers=endpoint.headers,
            subprotocols=[Subprotocol(name) for name in endpoint.subprotocols] or None,
            user_agent_header=USER_AGENT,
            open_timeout=open_timeout,
            close_timeout=CLOSE_TIMEOUT,
            ping_interval=PING_INTERVAL if silence is None else None,
            max_size=MAX_FRAME,
            compression=None,
            **route(endpoint, tls),
        )
    except (OSError, WebSocketException, ImportError, ValueError) as error:
        # A proxy error can quote the proxy's URL with its password, so it is not chained.
        cause = None if is_proxy_error(error, endpoint) else error
        raise ConnectError(explain(error, endpoint, open_timeout)) from cause
    connection = Connection(socket, endpoint, silence or PING_INTERVAL)
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

    `auth="subprotocol"` sends the key as browsers do, for short-lived client secrets. `beta` asks
    the server for the dialect before May 2026. `open_timeout` is in seconds.

    Raises:
        UsageError: the URL is invalid, or the key would be sent over a network unencrypted.
        ConnectError: on entering the block, if the connection fails.
    """
    where = endpoint(model, url=url, api_key=api_key, headers=headers, auth=auth, beta=beta)
    return open_connection(where, open_timeout=open_timeout)
