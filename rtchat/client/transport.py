"""A WebSocket connection to a Realtime server, used by the command line and the Python API.

`open_connection` opens one; `SocketLink` sends events and receives frames. `failures` turns every
failure to connect and every lost connection into a `ConnectionLost`, with an exit code and whether
to try again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    WebSocketException,
)
from websockets.typing import Subprotocol

from rtchat._version import __version__
from rtchat.client.endpoint import Endpoint, endpoint
from rtchat.client.failures import (
    NORMAL_CLOSE,
    ConnectError,
    explain,
    explain_close,
    is_proxy_error,
)
from rtchat.client.proxies import proxy_of
from rtchat.core.events import ConnectionLost
from rtchat.core.text import compact_json
from rtchat.wire import as_text

__all__ = [
    "ConnectError",
    "Endpoint",
    "Socket",
    "SocketLink",
    "endpoint",
    "explain",
    "explain_close",
    "open_connection",
]

Socket: TypeAlias = ClientConnection
MAX_FRAME = 64 * 2**20
"""Bytes. The library's default, 1 MiB, is too small for audio items (close code 1009)."""
PING_INTERVAL = 20.0
"""Seconds between pings."""
USER_AGENT = f"rtchat/{__version__}"
CLOSE_TIMEOUT = 2.0
"""Seconds that a server has to answer a close frame."""

# --------------------------------------------------------------------------------------- connection


class SocketLink:
    """One open connection, by frames."""

    def __init__(
        self, socket: ClientConnection, endpoint: Endpoint, silence: float = PING_INTERVAL
    ) -> None:
        self.socket = socket
        """The underlying `websockets` connection."""
        self.url = endpoint.url
        self._endpoint = endpoint
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

    async def discard(self) -> None:
        """Receive frames until the connection ends: a server may answer a close only after them."""
        with suppress(ConnectionClosed, ConcurrencyError):
            while True:
                await self.socket.recv(decode=False)

    @property
    def _is_closing(self) -> bool:
        """Whether the socket is closed. When the library then aborts it, asyncio raises an
        AttributeError."""
        return self.socket.transport.is_closing()

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
        """Ping the server. The connection is lost if neither a frame nor the answer arrives in time
        after a ping. A busy server may answer pings late."""
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

    @property
    def ended_normally(self) -> bool:
        """Whether the connection was closed with a code that means no error."""
        return self._first_close()[0] in NORMAL_CLOSE

    def _first_close(self) -> tuple[int, str]:
        """The code and reason of the first close frame, sent or received; 1006 if there is none."""
        end = self._end
        first = end and (end.rcvd if end.rcvd_then_sent else end.sent or end.rcvd)
        return (first.code, first.reason) if first else (1006, "")


class OpenSocket(open_socket):
    """The library's connection, without redirects."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        # The library follows redirects and, to another host, drops only some of the headers that
        # may contain a key. No Realtime service redirects: report the target and let the user
        # decide.
        return exc


def proxy_and_tls(endpoint: Endpoint, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """The arguments of the library for the proxy and TLS. `tls` is the result of
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
    pong_timeout: float = PING_INTERVAL,
    max_unread: int = 16,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[SocketLink]:
    """Open a connection, and close it at the end. `tls` is the result of `endpoint.tls_context`.
    With `silence`, in seconds, the library sends no pings: `SocketLink.keep_alive` does. Otherwise
    the connection is lost if a ping is not answered within `pong_timeout` seconds. Beyond
    `max_unread` frames that are not received, nothing more is read from the socket.

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
            ping_timeout=pong_timeout,
            max_size=MAX_FRAME,
            max_queue=max_unread,
            compression=None,
            **proxy_and_tls(endpoint, tls),
        )
    except (OSError, WebSocketException, ImportError, ValueError) as error:
        # A proxy error can quote the proxy's URL with its password, so it is not chained.
        cause = None if is_proxy_error(error, endpoint) else error
        raise ConnectError(explain(error, endpoint, open_timeout)) from cause
    link = SocketLink(socket, endpoint, silence or PING_INTERVAL)
    try:
        yield link
    finally:
        await asyncio.gather(link.close(), link.discard())
