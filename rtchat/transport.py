"""A WebSocket to a Realtime server: the public Python API, and what the command line is built on.

`connect` opens one connection; `Connection` sends and yields events as plain dicts, as on the wire.
`explain` turns every way in which a connection can fail or end into a `Lost` value, with its exit
code and whether it is worth trying again. Not here: reconnecting, sessions and what events mean
(`conversation`).
"""

from __future__ import annotations

import inspect
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxyStatus,
    InvalidStatus,
    ProxyError,
    WebSocketException,
)
from websockets.http11 import Response
from websockets.typing import Subprotocol

from rtchat import __version__
from rtchat.errors import ExitCode, LinkError, Problem, RealtimeError, UsageError, as_error
from rtchat.events import Lost, Retry, Unknown
from rtchat.values import OPENAI_URL, value
from rtchat.wire import read_error_body, read_frame, write_frame

LARGEST_FRAME = 64 * 2**20
"""Bytes. The library's own limit, 1 MiB, breaks on audio items (close code 1009)."""
BODY_SHOWN = 500
"""Bytes of an HTTP body that an error quotes."""

Auth = Literal["header", "subprotocol"]

# ----------------------------------------------------------------------------------------- endpoint


@value
class Endpoint:
    """Where to connect and what to say in the handshake."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    secret: str = ""

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"

    def redact(self, text: str) -> str:
        """The text without the key, should the server quote it."""
        return text.replace(self.secret, "[key]") if self.secret else text


def endpoint(
    model: str = "",
    *,
    url: str = OPENAI_URL,
    api_key: str = "",
    headers: Iterable[tuple[str, str]] = (),
    auth: Auth = "header",
    beta: bool = False,
    insecure: bool = False,
) -> Endpoint:
    """Check and put together an endpoint.

    `auth` "subprotocol" sends the key the way a browser must, which is meant for short-lived client
    secrets. `beta` adds the header that servers of the older dialect ask for; OpenAI's refuses it.

    Raises:
        UsageError: the URL is not a WebSocket URL, or a key would cross a network unencrypted.
    """
    parts = _split(url)
    if api_key and parts.scheme == "ws" and not insecure and not _is_loopback(parts.hostname or ""):
        raise UsageError(
            f"refusing to send a key over plain ws:// to {parts.hostname}",
            hint="use wss://, or --insecure if that network is yours",
        )
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if model and not query.keys() & {"model", "deployment", "call_id"}:
        query["model"] = model
    out = list(headers)
    subprotocols: tuple[str, ...] = ()
    if api_key and auth == "header":
        out.insert(0, ("Authorization", f"Bearer {api_key}"))
    elif api_key:
        subprotocols = ("realtime", f"openai-insecure-api-key.{api_key}")
    if beta:
        out.append(("OpenAI-Beta", "realtime=v1"))
    full = urlunsplit(parts._replace(query=urlencode(query, safe=":/")))
    return Endpoint(full, tuple(out), subprotocols, api_key)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("ws", "wss") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass  # an impossible port or address: the same mistake
    raise UsageError(
        f"{url!r} is not a WebSocket URL",
        hint="write it as wss://host/path, or ws:// for this machine",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --------------------------------------------------------------------------------------- connection

Listener = Callable[[object], object]


class Connection:
    """One open connection.

    `async for event in connection` yields every event as a dict and ends when the connection does:
    quietly when it was closed in order, with `LinkError` when it was not. An `error` event goes to
    the `error` listeners, as a `RealtimeError`, and is yielded as well; with no such listener it is
    raised from the loop instead. Either way the connection stays usable: iterate again to go on.
    """

    def __init__(self, socket: ClientConnection, endpoint: Endpoint) -> None:
        self.socket = socket
        """The underlying `websockets` connection."""
        self.url = endpoint.url
        self._endpoint = endpoint
        self._listeners: dict[str, list[Listener]] = {}

    async def send(self, event: Mapping[str, object]) -> None:
        """Send a client event. Raises `LinkError` if the connection is gone."""
        try:
            await self.socket.send(write_frame(event))
        except ConnectionClosed as error:
            raise as_error(self.explain().problem) from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection; a server that does not answer is left after 2 seconds."""
        await self.socket.close(code, reason)

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
        except ConnectionClosed:
            return None

    def explain(self) -> Lost:
        """Why the connection ended."""
        return explain_close(
            self.socket.close_code or 1006, self._endpoint.redact(self.socket.close_reason or "")
        )

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> dict[str, object]:
        frame = await self.receive()
        if frame is None:
            if self.socket.close_code in (1000, 1001):
                raise StopAsyncIteration
            raise as_error(self.explain().problem)
        event = read_frame(frame)
        if isinstance(event, Unknown):
            event = {"type": "error", "error": {"type": "unreadable_frame", "message": event.why}}
        await self._tell(event)
        return event

    async def _tell(self, event: dict[str, object]) -> None:
        kind = str(event["type"])
        own = self._listeners.get(kind, ())
        if kind == "error" and not own:
            raise RealtimeError(event)
        for listener in self._listeners.get("event", ()):
            await _call(listener, event)
        for listener in own:
            await _call(listener, RealtimeError(event) if kind == "error" else event)


async def _call(listener: Listener, argument: object) -> None:
    result = listener(argument)
    if inspect.isawaitable(result):
        await result


class _Connect(open_socket):
    def process_redirect(self, exc: Exception) -> Exception | str:
        # The library follows redirects, and to another host it drops only some of the headers that
        # can
        # carry a key. No Realtime service redirects: say where it points and let the user decide.
        return exc


@asynccontextmanager
async def open_connection(
    endpoint: Endpoint, *, open_timeout: float = 10.0
) -> AsyncIterator[Connection]:
    """Open a connection, and close it at the end.

    Raises:
        RtchatError: of the class that says what can be done; `explain` made it.
    """
    try:
        socket = await _Connect(
            endpoint.url,
            additional_headers=endpoint.headers,
            subprotocols=[Subprotocol(name) for name in endpoint.subprotocols] or None,
            user_agent_header=f"rtchat/{__version__}",
            open_timeout=open_timeout,
            close_timeout=2.0,
            max_size=LARGEST_FRAME,
            compression=None,
        )
    except (OSError, TimeoutError, WebSocketException, ImportError) as error:
        raise ConnectError(explain(error, endpoint, open_timeout)) from error
    try:
        yield Connection(socket, endpoint)
    finally:
        await socket.close()


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
    """Connect to a Realtime server: `async with rtchat.connect("gpt-realtime-2.1", api_key=…) as
    rt`.

    `auth="subprotocol"` passes the key the way browsers do, for short-lived client secrets. `beta`
    asks a server for the dialect before May 2026. `open_timeout` is in seconds.

    Raises:
        UsageError: the URL is none, or the key would leave this machine unencrypted.
        RtchatError: on entering, of the class that says what can be done.
    """
    where = endpoint(model, url=url, api_key=api_key, headers=headers, auth=auth, beta=beta)
    return open_connection(where, open_timeout=open_timeout)


# -------------------------------------------------------------------------------- what went wrong


class ConnectError(LinkError):
    """A connection could not be made; `lost` says whether to try again."""

    def __init__(self, lost: Lost) -> None:
        problem = lost.problem
        super().__init__(problem.message, hint=problem.hint, code=problem.code)
        self.exit = problem.exit
        self.lost = lost


_NEVER_AGAIN = frozenset({1002, 1003, 1007, 1008, 1009, 3000, *range(4000, 5000)})
_CLOSE_HINTS = {
    1009: "the server takes no message that large",
    3000: "check OPENAI_API_KEY",
}


def explain_close(code: int, reason: str) -> Lost:
    """What a close code means (RFC 6455 §7.4; 3000 and 4000 up are OpenAI's)."""
    exit_code = ExitCode.REFUSED if code == 3000 else ExitCode.LINK
    because = f" {reason}" if reason else ""
    problem = Problem(
        exit_code, f"connection lost ({code}{because})", _CLOSE_HINTS.get(code, ""), str(code)
    )
    retry = Retry.NEVER if code in _NEVER_AGAIN else Retry.ALWAYS
    return Lost(problem, retry, at_once=code == 1001)


def explain(error: Exception, endpoint: Endpoint, open_timeout: float = 10.0) -> Lost:
    """Why a connection could not be made."""
    host = urlsplit(endpoint.url).netloc.rpartition("@")[2]
    match error:
        case InvalidStatus():
            return _explain_status(error.response, endpoint)
        case TimeoutError():
            message = f"no answer from {host} within {open_timeout:g} s"
            return _lost(message, "check the network, or raise --connect-timeout")
        case InvalidProxyStatus():
            return _lost(
                f"the proxy refused to connect to {host}", "check HTTPS_PROXY", Retry.NEVER
            )
        case ProxyError() | ImportError():
            return _lost(
                f"the proxy cannot be used: {error}", "check HTTPS_PROXY and ALL_PROXY", Retry.NEVER
            )
        case InvalidHandshake():
            hint = "check --url: this is not a Realtime endpoint"
            return _lost(f"{host} is not a WebSocket server", hint, Retry.IF_IT_WORKED)
        case ssl.SSLCertVerificationError():
            message = f"the certificate of {host} is not trusted ({error.verify_message})"
            return _lost(message, "set SSL_CERT_FILE to the authority that signed it", Retry.NEVER)
        case ssl.SSLError():
            return _lost(
                f"no TLS with {host} ({error.reason})",
                "is it ws:// instead of wss://?",
                Retry.NEVER,
            )
        case socket.gaierror():
            return _lost(f"no such host: {host}", "check --url and the network")
        case ConnectionRefusedError():
            return _lost(f"nothing listens at {host}", "check --url, or start the server")
        case _:
            return _lost(
                f"no connection to {host} ({endpoint.redact(str(error))})", "check the network"
            )


def _lost(message: str, hint: str, retry: Retry = Retry.IF_IT_WORKED) -> Lost:
    return Lost(Problem(ExitCode.LINK, message, hint), retry)


_STATUSES: dict[int, tuple[ExitCode, str, Retry]] = {
    400: (ExitCode.LINK, "check --url and --model", Retry.NEVER),
    401: (ExitCode.REFUSED, "check OPENAI_API_KEY", Retry.NEVER),
    403: (ExitCode.REFUSED, "check that the key may use this model", Retry.NEVER),
    404: (ExitCode.LINK, "check --url and --model", Retry.NEVER),
    429: (ExitCode.LIMIT, "wait a little, or check the plan of your account", Retry.ALWAYS),
}


def _explain_status(response: Response, endpoint: Endpoint) -> Lost:
    status = response.status_code
    unknown = (ExitCode.LINK, "check --url", Retry.ALWAYS if status >= 500 else Retry.NEVER)
    exit_code, hint, retry = _STATUSES.get(status, unknown)
    message = f"the server answered HTTP {status}"
    if 300 <= status < 400:
        place = response.headers.get("Location", "another place")
        message = f"{message}, a redirect to {place}"
        hint = "rtchat follows none with a key: name the right place with --url"
    elif body := _gist(bytes(response.body or b"")):
        message = f"{message} ({body})"
    problem = Problem(exit_code, endpoint.redact(message), hint, str(status))
    return Lost(problem, retry, retry_after=_seconds(response.headers.get("Retry-After")))


def _gist(body: bytes) -> str:
    """What an error body says: its message if it is the usual JSON, else its first bytes, on a
    line."""
    text = body[:BODY_SHOWN].decode(errors="replace")
    data = read_error_body(body)
    return " ".join((data or text).split())


def _seconds(header: str | None) -> float | None:
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds <= 3600 else None
