"""A WebSocket connection to a Realtime server: the public Python API, also used by the CLI.

`connect` opens one connection; `Connection` sends and yields wire events as dicts. `explain` turns
every failure to connect into a `ConnectionLost`, with an exit code and whether to try again;
`explain_close` does so for a closed connection.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    ProxyError,
    WebSocketException,
)
from websockets.http11 import Response
from websockets.typing import Subprotocol

from rtchat._version import __version__
from rtchat.client.endpoint import Auth, Endpoint, endpoint, is_loopback
from rtchat.core.errors import ExitCode, LinkError, Problem, RealtimeError
from rtchat.core.events import ConnectionLost, Retry, Unknown
from rtchat.core.text import compact_json, on_a_line
from rtchat.core.values import OPENAI_URL
from rtchat.wire import EventRedactor, read_error_body, read_frame

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
CLOSE_TIMEOUT = 2.0
"""Seconds that a server has to answer a close frame."""
MAX_QUOTE = 500
"""Characters of a server's text that an error message quotes."""

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

    def __init__(self, socket: ClientConnection, endpoint: Endpoint) -> None:
        self.socket = socket
        """The underlying `websockets` connection."""
        self.url = endpoint.url
        self._endpoint = endpoint
        self._listeners: dict[str, list[Listener]] = {}
        self._events = EventRedactor(endpoint.redactor)
        self._unread: deque[dict[str, object]] = deque()
        """Events that were received but not yielded yet."""
        self._end: ConnectionClosed | None = None

    async def send(self, event: Mapping[str, object]) -> None:
        """Send a client event. Raises ConnectError if the connection is lost."""
        try:
            await self.socket.send(compact_json(event))
        except ConnectionClosed as error:
            self._end = error
            raise ConnectError(self.explain()) from error
        except AttributeError as error:  # raised by asyncio if the socket closes during a write
            raise ConnectError(self.explain()) from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection. A server has 2 seconds to answer."""
        await self.socket.close(code, reason)

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
            return await self.socket.recv()
        except ConnectionClosed as error:
            self._end = error
            return None

    def explain(self) -> ConnectionLost:
        """Why the connection ended."""
        code, reason = self._first_close()
        return explain_close(code, self._endpoint.redact(reason))

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
                if self._first_close()[0] in _NORMAL_CLOSE:
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


class _Connect(open_socket):
    def process_redirect(self, exc: Exception) -> Exception | str:
        # The library follows redirects and, to another host, drops only some of the headers that
        # may contain a key. No Realtime service redirects: report the target and let the user
        # decide.
        return exc


def proxy_of(endpoint: Endpoint) -> str | None:
    """The proxy that the environment sets for an endpoint; None for one on this machine."""
    url = urlsplit(endpoint.url)
    if is_loopback(url) or proxy_bypass(url.netloc):
        return None
    proxies = getproxies()
    return proxies.get("https") or proxies.get("all")  # the library ignores ALL_PROXY


def proxy_keys(endpoint: Endpoint) -> list[str]:
    """The password of an endpoint's proxy, alone and with the user name, if there is one."""
    try:
        proxy = urlsplit(proxy_of(endpoint) or "")
    except ValueError:  # reported when the proxy is used
        return []
    name, password = unquote(proxy.username or ""), unquote(proxy.password or "")
    return [password, f"{name}:{password}"] if password else []


@asynccontextmanager
async def open_connection(
    endpoint: Endpoint, *, open_timeout: float = 10.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Connection]:
    """Open a connection, and close it at the end. `tls` is the result of `endpoint.tls_context`.

    Raises:
        ConnectError: the connection failed.
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
            close_timeout=CLOSE_TIMEOUT,
            max_size=MAX_FRAME,
            compression=None,
            proxy=proxy,
            **trusted,
        )
    except (OSError, WebSocketException, ImportError, ValueError) as error:
        # A proxy error can quote the proxy's URL with its password, so it is not chained.
        cause = None if _is_proxy_error(error, endpoint) else error
        raise ConnectError(explain(error, endpoint, open_timeout)) from cause
    try:
        yield Connection(socket, endpoint)
    finally:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await socket.close()
        except TimeoutError:  # the library waits for a server that has stopped reading
            socket.transport.abort()


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


# ----------------------------------------------------------------------------------------- errors


class ConnectError(LinkError):
    """A connection failed or was lost; `lost` says whether to try again."""

    def __init__(self, lost: ConnectionLost) -> None:
        problem = lost.problem
        super().__init__(problem.message, hint=problem.hint, code=problem.code)
        self.exit = problem.exit
        self.lost = lost


_NORMAL_CLOSE = frozenset({1000, 1001, 1005})
_NO_RETRY = frozenset({1002, 1003, 1007, 1008, 1009, 3000, *range(4000, 5000)})
_CLOSE_HINTS = {
    1006: "check the network, then try again",
    1009: "a message was too large; send or request less at a time",
    3000: "check OPENAI_API_KEY",
}


def explain_close(code: int, reason: str) -> ConnectionLost:
    """Why a connection was closed (RFC 6455 §7.4; codes 3000 and from 4000 are OpenAI's)."""
    retry = Retry.NEVER if code in _NO_RETRY else Retry.ALWAYS
    exit_code = ExitCode.REFUSED if code == 3000 else ExitCode.LINK
    hint = _CLOSE_HINTS.get(
        code, "check --url and --model" if retry is Retry.NEVER else "try again"
    )
    if "insufficient_quota" in reason:
        exit_code, retry = ExitCode.LIMIT, Retry.NEVER
        hint = "check the plan and the billing of your account"
    detail = f" {quoted}" if (quoted := _quote(reason)) else ""
    problem = Problem(exit_code, f"connection lost ({code}{detail})", hint, str(code))
    return ConnectionLost(problem, retry, at_once=code == 1001)


def explain(error: Exception, endpoint: Endpoint, open_timeout: float = 10.0) -> ConnectionLost:
    """Why connecting failed. `open_timeout` is in seconds."""
    if isinstance(error, InvalidStatus):
        return _explain_status(error.response, endpoint)
    host = urlsplit(endpoint.url).netloc
    if _is_proxy_error(error, endpoint):
        return _explain_proxy(error, host)
    match error:
        case TimeoutError():
            message = f"timed out: no response from {host} for {open_timeout:g} s"
            return _connection_lost(message, "check the network, or increase --connect-timeout")
        case InvalidHandshake():
            return _connection_lost(f"{host} is not a WebSocket server", "check --url")
        case ssl.SSLCertVerificationError():
            why = error.verify_message.rstrip(".")
            message = f"the certificate of {host} is not trusted ({why})"
            hint = _CERTIFICATE_HINTS.get(error.verify_code, _UNKNOWN_CA)
            return _connection_lost(message, hint, Retry.NEVER)
        case ssl.SSLError():
            return _connection_lost(
                f"TLS with {host} failed ({error.reason})", TLS_HINT, Retry.NEVER
            )
        case socket.gaierror():
            return _connection_lost(f"host {host} not found", "check --url and the network")
        # asyncio combines the errors of a name with several addresses, such as localhost.
        case OSError() if f"[Errno {errno.ECONNREFUSED}]" in str(error):
            return _connection_lost(
                f"{host} refused the connection", "check --url, or start the server"
            )
        case _:
            why = _quote(endpoint.redact(str(error)))
            return _connection_lost(
                f"cannot connect to {host} ({why})", "check --url and the network"
            )


TLS_HINT = "the server may need ws:// instead of wss://"
_UNKNOWN_CA = "add its certificate authority with --ca-bundle or SSL_CERT_FILE"
_TIME, _NAME = "contact the server's operator, or check this computer's clock", "check --url"
_CERTIFICATE_HINTS = {9: _TIME, 10: _TIME, 62: _NAME, 64: _NAME}
"""Hints for a certificate that is not yet valid, has expired, or belongs to another host, by
OpenSSL's codes (x509_vfy.h)."""


def _connection_lost(message: str, hint: str, retry: Retry = Retry.IF_IT_WORKED) -> ConnectionLost:
    return ConnectionLost(Problem(ExitCode.LINK, message, hint), retry)


def _is_proxy_error(error: Exception, endpoint: Endpoint) -> bool:
    """Whether the error is about the proxy: it is unreachable, or its URL is invalid."""
    if isinstance(error, InvalidProxy | ProxyError | ImportError):
        return True
    if isinstance(error, TimeoutError | ssl.SSLError):
        return False
    return isinstance(error, OSError | ValueError) and proxy_of(endpoint) is not None


def _explain_proxy(error: Exception, host: str) -> ConnectionLost:
    # The library's messages can quote the proxy's URL with its password.
    hint, retry = "check HTTPS_PROXY and ALL_PROXY", Retry.NEVER
    match error:
        case InvalidProxyStatus():
            status = error.response.status_code
            what = f"the proxy refused to connect to {host} (HTTP {status})"
            if status == 407:
                hint = "set HTTPS_PROXY to http://name:password@host:port"
            if status >= 500:
                retry = Retry.IF_IT_WORKED
        case InvalidProxy(msg=why):
            what = f"the proxy for {host} cannot be used ({why})"
        case ImportError():
            what = f"the proxy for {host} uses SOCKS, but python-socks is not installed"
            hint = 'pip install "rtchat[socks]"'
        case _:
            what, retry = f"the proxy for {host} cannot be used", Retry.IF_IT_WORKED
    return _connection_lost(what, hint, retry)


_STATUSES: dict[int, tuple[ExitCode, str, Retry]] = {
    400: (ExitCode.LINK, "check --url and --model", Retry.NEVER),
    401: (ExitCode.REFUSED, "check OPENAI_API_KEY", Retry.NEVER),
    403: (ExitCode.REFUSED, "check that your key has access to this model", Retry.NEVER),
    404: (ExitCode.LINK, "check --url and --model", Retry.NEVER),
    429: (ExitCode.LIMIT, "wait and try again, or check your account's plan", Retry.ALWAYS),
}


def _explain_status(response: Response, endpoint: Endpoint) -> ConnectionLost:
    status = response.status_code
    exit_code, hint, retry = _STATUSES.get(status, (ExitCode.LINK, "check --url", Retry.NEVER))
    if status >= 500:
        hint, retry = "try again later", Retry.ALWAYS
    message = f"the server responded with HTTP {status}"
    body = bytes(response.body or b"")
    if 300 <= status < 400:
        target = _quote(endpoint.redact(_header(response, "Location"))) or "no URL"
        message = f"{message}, a redirect to {target}"
        hint = "if this is the right server, use its address with --url"
    elif text := _quote(endpoint.redact(read_error_body(body) or body.decode(errors="replace"))):
        message = f"{message} ({text})"
    problem = Problem(exit_code, message, hint, str(status))
    return ConnectionLost(problem, retry, retry_after=_retry_after(response))


def _quote(text: str) -> str:
    """A server's text on one line, escaped and shortened. It must already be redacted."""
    line = on_a_line(text)
    return line if len(line) <= MAX_QUOTE else line[: MAX_QUOTE - 1] + "…"


def _header(response: Response, name: str) -> str:
    # If a server sends the header several times, the library's `get` raises.
    return next(iter(response.headers.get_all(name)), "")


def _retry_after(response: Response) -> float | None:
    """The wait in seconds that a server asks for, or None (RFC 9110 §10.2.3).

    It may be a date, which is compared with the server's own clock.
    """
    header = _header(response, "Retry-After")
    try:
        seconds = float(header)
    except ValueError:
        until, sent = _date(header), _date(_header(response, "Date"))
        if until is None or sent is None:
            return None
        seconds = max(0.0, (until - sent).total_seconds())
    return seconds if 0 <= seconds <= 3600 else None


def _date(header: str) -> datetime | None:
    try:
        return parsedate_to_datetime(header).replace(tzinfo=UTC)
    except ValueError:
        return None
