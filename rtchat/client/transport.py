"""A WebSocket to a Realtime server: the public Python API, and what the command line is built on.

`connect` opens one connection; `Connection` sends and yields events as plain dicts, as on the wire.
`explain` turns every way in which a connection can fail or end into a `ConnectionLost` value, with
its exit code and whether it is worth trying again.
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
from rtchat.client.endpoint import Auth, Endpoint, endpoint
from rtchat.core.errors import ExitCode, LinkError, Problem, RealtimeError
from rtchat.core.events import ConnectionLost, Retry, Unknown
from rtchat.core.text import compact_json, on_a_line, shortened
from rtchat.core.values import OPENAI_URL
from rtchat.system.network import is_loopback
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

LARGEST_FRAME = 64 * 2**20
"""Bytes. The library's own limit, 1 MiB, breaks on audio items (close code 1009)."""
CLOSING = 2.0
"""Seconds that a server has to answer a close."""
MOST_QUOTED = 500
"""Characters of what a server said that an error quotes."""

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
                if self._first_close()[0] in _IN_ORDER:
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


def proxy_of(endpoint: Endpoint) -> str | None:
    """The environment's proxy for an endpoint. What stays on this machine is nobody's to see."""
    url = urlsplit(endpoint.url)
    if is_loopback(url.hostname) or proxy_bypass(url.netloc):
        return None
    proxies = getproxies()
    return proxies.get("https") or proxies.get("all")  # the library would not look at ALL_PROXY


def proxy_keys(endpoint: Endpoint) -> list[str]:
    """The password of the proxy of an endpoint, alone and with its name, if it has one."""
    try:
        proxy = urlsplit(proxy_of(endpoint) or "")
    except ValueError:  # reported when it is used
        return []
    name, password = unquote(proxy.username or ""), unquote(proxy.password or "")
    return [password, f"{name}:{password}"] if password else []


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
        cause = None if _is_of_proxy(error, endpoint) else error
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


# -------------------------------------------------------------------------------- what went wrong


class ConnectError(LinkError):
    """A connection could not be made, or was lost; `lost` says whether to try again."""

    def __init__(self, lost: ConnectionLost) -> None:
        problem = lost.problem
        super().__init__(problem.message, hint=problem.hint, code=problem.code)
        self.exit = problem.exit
        self.lost = lost


_IN_ORDER = frozenset({1000, 1001, 1005})
_NEVER_AGAIN = frozenset({1002, 1003, 1007, 1008, 1009, 3000, *range(4000, 5000)})
_CLOSE_HINTS = {
    1006: "check the network, then try again",
    1009: "a message was too large: send, or ask for, less at a time",
    3000: "check OPENAI_API_KEY",
}


def explain_close(code: int, reason: str) -> ConnectionLost:
    """What a close code means (RFC 6455 §7.4; 3000 and 4000 up are OpenAI's)."""
    retry = Retry.NEVER if code in _NEVER_AGAIN else Retry.ALWAYS
    exit_code = ExitCode.REFUSED if code == 3000 else ExitCode.LINK
    hint = _CLOSE_HINTS.get(
        code, "check --url and --model" if retry is Retry.NEVER else "try again"
    )
    if "insufficient_quota" in reason:
        exit_code, retry = ExitCode.LIMIT, Retry.NEVER
        hint = "check the plan and the billing of your account"
    because = f" {quoted}" if (quoted := _quote(reason)) else ""
    problem = Problem(exit_code, f"connection lost ({code}{because})", hint, str(code))
    return ConnectionLost(problem, retry, at_once=code == 1001)


def explain(error: Exception, endpoint: Endpoint, open_timeout: float = 10.0) -> ConnectionLost:
    """Why a connection could not be made."""
    if isinstance(error, InvalidStatus):
        return _explain_status(error.response, endpoint)
    host = urlsplit(endpoint.url).netloc
    if _is_of_proxy(error, endpoint):
        return _explain_proxy(error, host)
    match error:
        case TimeoutError():
            message = f"no answer from {host} within {open_timeout:g} s"
            return _lost(message, "check the network, or raise --connect-timeout")
        case InvalidHandshake():
            return _lost(f"{host} does not answer as a WebSocket server", "check --url")
        case ssl.SSLCertVerificationError():
            why = error.verify_message.rstrip(".")
            message = f"the certificate of {host} is not trusted ({why})"
            return _lost(message, _DISTRUST.get(error.verify_code, _UNKNOWN_CA), Retry.NEVER)
        case ssl.SSLError():
            message = f"no TLS with {host} ({error.reason})"
            return _lost(message, "is it ws:// instead of wss://?", Retry.NEVER)
        case socket.gaierror():
            return _lost(f"{host} cannot be found", "check --url and the network")
        # asyncio joins the failures of a name with several addresses, such as localhost, into one.
        case OSError() if f"[Errno {errno.ECONNREFUSED}]" in str(error):
            return _lost(f"nothing listens at {host}", "check --url, or start the server")
        case _:
            why = _quote(endpoint.redact(str(error)))
            return _lost(f"no connection to {host} ({why})", "check --url and the network")


_UNKNOWN_CA = "name the authority that signed it with --ca-bundle or SSL_CERT_FILE"
_TIME, _NAME = "tell whoever runs the server, or set this computer's clock", "check --url"
_DISTRUST = {9: _TIME, 10: _TIME, 62: _NAME, 64: _NAME}
"""What to do about a certificate that is not valid yet or any more, or is another host's; OpenSSL's
codes (x509_vfy.h)."""


def _lost(message: str, hint: str, retry: Retry = Retry.IF_IT_WORKED) -> ConnectionLost:
    return ConnectionLost(Problem(ExitCode.LINK, message, hint), retry)


def _is_of_proxy(error: Exception, endpoint: Endpoint) -> bool:
    """Whether it was the proxy that could not be reached, or its URL that cannot be read."""
    if isinstance(error, InvalidProxy | ProxyError | ImportError):
        return True
    if isinstance(error, TimeoutError | ssl.SSLError):
        return False
    return isinstance(error, OSError | ValueError) and proxy_of(endpoint) is not None


def _explain_proxy(error: Exception, host: str) -> ConnectionLost:
    # What the library says of a proxy can quote its URL, and that a password.
    hint, retry = "check HTTPS_PROXY and ALL_PROXY", Retry.NEVER
    match error:
        case InvalidProxyStatus():
            status = error.response.status_code
            what = f"the proxy refused to connect to {host} (HTTP {status})"
            if status == 407:
                hint = "name it as http://name:password@host:port in HTTPS_PROXY"
            if status >= 500:
                retry = Retry.IF_IT_WORKED
        case InvalidProxy(msg=why):
            what = f"the proxy to {host} cannot be used ({why})"
        case ImportError():
            what = f"the proxy to {host} speaks SOCKS, and python-socks is not there"
            hint = 'pip install "rtchat[socks]"'
        case _:
            what, retry = f"the proxy to {host} cannot be used", Retry.IF_IT_WORKED
    return _lost(what, hint, retry)


_STATUSES: dict[int, tuple[ExitCode, str, Retry]] = {
    400: (ExitCode.LINK, "check --url and --model", Retry.NEVER),
    401: (ExitCode.REFUSED, "check OPENAI_API_KEY", Retry.NEVER),
    403: (ExitCode.REFUSED, "check that the key may use this model", Retry.NEVER),
    404: (ExitCode.LINK, "check --url and --model", Retry.NEVER),
    429: (ExitCode.LIMIT, "wait a little, or check the plan of your account", Retry.ALWAYS),
}


def _explain_status(response: Response, endpoint: Endpoint) -> ConnectionLost:
    status = response.status_code
    exit_code, hint, retry = _STATUSES.get(status, (ExitCode.LINK, "check --url", Retry.NEVER))
    if status >= 500:
        hint, retry = "try again later", Retry.ALWAYS
    message = f"the server answered HTTP {status}"
    body = bytes(response.body or b"")
    if 300 <= status < 400:
        place = _quote(endpoint.redact(_header(response, "Location"))) or "nowhere"
        message = f"{message}, a redirect to {place}"
        hint = "if that is the right place, name it with --url"
    elif gist := _quote(endpoint.redact(read_error_body(body) or body.decode(errors="replace"))):
        message = f"{message} ({gist})"
    problem = Problem(exit_code, message, hint, str(status))
    return ConnectionLost(problem, retry, retry_after=_retry_after(response))


def _quote(text: str) -> str:
    """What a server said, on one line, harmless and not too long. Redact it before it is cut."""
    return shortened(on_a_line(text), MOST_QUOTED)


def _header(response: Response, name: str) -> str:
    # A server may send several, and then the library's `get` raises.
    return next(iter(response.headers.get_all(name)), "")


def _retry_after(response: Response) -> float | None:
    """The wait that a server asks for: seconds, or a date, by its own clock (RFC 9110 §10.2.3)."""
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
