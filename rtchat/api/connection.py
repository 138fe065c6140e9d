"""A connection for programs: events, callbacks, client events as methods, replies as text.

There are no background tasks. A loop or a `text` that waits for an event receives the next one and
passes it to all others (`receive`), so several coroutines can use a connection at once.
"""

from __future__ import annotations

import os
import ssl as tls
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import cast, overload
from urllib.parse import urlsplit
from weakref import WeakSet

from rtchat.api.listeners import F, Listener, Listeners
from rtchat.api.stream import EndedError, EventStream, Reader, Received
from rtchat.api.text_replies import TextReplies
from rtchat.client.endpoint import Auth, Endpoint, endpoint, tls_context
from rtchat.client.failures import ConnectError
from rtchat.client.transport import Socket, open_connection
from rtchat.core.errors import RealtimeError, RtchatError, UsageError
from rtchat.core.values import OPENAI_URL, Dialect, JsonObject
from rtchat.wire import to_dialect
from rtchat.wire.event_types import Event
from rtchat.wire.resources import (
    ConversationResource,
    InputAudioBufferResource,
    ResponseResource,
    SessionResource,
)

MAX_UNREAD = 10_000
"""The maximum number of frames that wait for a program that does not read. Beyond that, pings are
not read either, so the connection is lost."""
FIRST_EVENT_WAIT = 3.0
"""Seconds that `text` waits for the first event, which reveals the dialect of the server."""


class _Loop:
    """One loop over the events of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.queue: deque[Received] = deque()
        """What other loops and texts have received for this loop."""

    @property
    def is_ready(self) -> bool:
        return bool(self.queue)

    def __aiter__(self) -> _Loop:
        return self

    async def __anext__(self) -> Event:
        while True:
            received = self.queue.popleft() if self.queue else await self._receive()
            if received is not None:
                return self._connection.checked(received, self)

    async def _receive(self) -> Received | None:
        try:
            return await self._connection.receive(self)
        except EndedError:
            raise StopAsyncIteration from None


class Connection:
    """One connection. All coroutines that use it must run in one asyncio event loop.

    `async for event in connection` yields every event as a dict. The loop ends when the connection
    is closed normally (1000, 1001 or no code); if it is lost, the loop raises `ConnectError`. An
    `error` event is passed to the callbacks for `error` as a `RealtimeError` and then yielded;
    without such a callback, the loop raises the `RealtimeError`. A frame that is not a JSON object
    with a type is handled like an `error` event. The connection stays usable: iterate again to
    continue. Several loops may run at once; each yields every event that is received while it runs.

    Events of older servers have the names of the current API, and an event that a server sends
    under both names is yielded once.

    With `reconnect=True`, a lost connection is restored: the new session receives the settings and
    the conversation, and a response of which nothing has arrived is requested again. If a response
    was interrupted, the loop raises `ConnectError`; iterate again to continue. The loop ends only
    when `close` is called, and raises `ConnectError` if the connection cannot be restored.
    """

    def __init__(self, stream: EventStream, url: str, timeout: float) -> None:
        self.url = url
        self.session = SessionResource(self._send_ga)
        self.response = ResponseResource(self._send_ga)
        self.conversation = ConversationResource(self._send_ga)
        self.input_audio_buffer = InputAudioBufferResource(self._send_ga)
        self._stream = stream
        self._timeout = timeout
        self._listeners = Listeners()
        self._loops: WeakSet[_Loop] = WeakSet()
        """The running loops; a loop that has ended is garbage-collected at once."""
        self._single = _Loop(self)
        """The loop for `anext(connection)`."""

    @property
    def socket(self) -> Socket:
        """The underlying `websockets` connection; with `reconnect=True`, the current one."""
        return self._stream.link.socket

    async def send(self, event: Mapping[str, object]) -> None:
        """Send a client event unchanged. With `reconnect=True`, waits while a lost connection is
        restored.

        Raises:
            ConnectError: the connection is lost.
        """
        await self._stream.send(event)

    async def _send_ga(self, event: JsonObject) -> None:
        await self._stream.send(to_dialect(event, self._stream.dialect))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection. The server has 2 seconds to confirm it."""
        await self._stream.close(code, reason)

    # ----------------------------------------------------------------------------------- callbacks

    @overload
    def on(self, type: str, callback: F) -> F: ...
    @overload
    def on(self, type: str) -> Callable[[F], F]: ...

    def on(self, type: str, callback: F | None = None) -> F | Callable[[F], F]:
        """Call `callback` for each event of a type before a loop yields it; "event" means all.

        The callback receives the event, or for type "error" a `RealtimeError`. It may be a
        coroutine function. Callbacks run only while a loop or a `text` waits for events, and it
        raises their exceptions. Without `callback`, returns a decorator.
        """
        return self._add(type, callback, is_once=False)

    @overload
    def once(self, type: str, callback: F) -> F: ...
    @overload
    def once(self, type: str) -> Callable[[F], F]: ...

    def once(self, type: str, callback: F | None = None) -> F | Callable[[F], F]:
        """Like `on`, but only for the next event of the type."""
        return self._add(type, callback, is_once=True)

    def _add(self, type: str, callback: F | None, *, is_once: bool) -> F | Callable[[F], F]:
        def add(callback: F) -> F:
            self._listeners.add(type, callback, is_once=is_once)
            return callback

        return add if callback is None else add(callback)

    def off(self, type: str, callback: Listener) -> None:
        """Remove a callback. Does nothing if it is not registered."""
        self._listeners.remove(type, callback)

    # ----------------------------------------------------------------------------------- receiving

    def __aiter__(self) -> AsyncIterator[Event]:
        loop = _Loop(self)
        loop.queue, self._single.queue = self._single.queue, loop.queue
        self._loops.add(loop)
        return loop

    async def __anext__(self) -> Event:
        return await self._single.__anext__()

    def checked(self, received: Received, loop: _Loop) -> Event:
        """Return an event for a loop to yield, or raise an error, which ends the loop. The next
        loop yields the events that are left."""
        if not isinstance(received, RtchatError):
            return cast("Event", received)
        if loop is not self._single:
            self._single.queue.extend(loop.queue)
            loop.queue.clear()
        raise received

    async def receive(self, reader: Reader, seconds: float | None = None) -> Received | None:
        """Receive the next event, pass it to all other readers, and return it for `reader`. None if
        the reader may be ready without it, or if nothing has arrived for `seconds`."""
        event = await self._stream.receive(reader, seconds)
        received = event
        if isinstance(event, Mapping) and event["type"] == "error":
            received = event if self._listeners.has("error") else RealtimeError(event)
        if received is not None:  # passed on at once, so that the events stay in order
            for loop in tuple(self._loops):
                if loop is not reader:
                    loop.queue.append(received)
        with suppress(ConnectError):  # the next call of `receive` raises it
            await self._stream.flush()
        if isinstance(event, Mapping):
            for result in self._listeners.call(event):
                await result
        return received

    # ---------------------------------------------------------------------------------------- text

    async def text(self, question: str) -> AsyncGenerator[str, None]:
        """Ask a question, and yield the text of the reply in pieces as it arrives: `async for piece
        in rt.text("…")`. Questions are asked one after another.

        Leaving the loop early stops the reply; with `contextlib.aclosing`, at once. Callbacks and
        running loops also receive the events of the reply. If the reply calls a function of the
        session, answer the call by means of the events.

        Raises:
            ReplyError: the reply failed or is not complete.
            ConnectError: the connection is lost.
            RealtimeError: after the reply, if the server reported an error about something else,
                and there is no callback for `error` and no loop that raises it.
        """
        if not self._stream.is_ready:
            await self.receive(self._stream, FIRST_EVENT_WAIT)
        texts = self._stream.texts = self._stream.texts or TextReplies(self._timeout)
        reply = texts.ask(question)
        unheard: RealtimeError | None = None
        try:
            await self._stream.flush()
            while reply.over is None or reply.pieces:
                if reply.pieces:
                    yield reply.pieces.popleft()
                    continue
                with texts.waiting() as seconds:
                    received = await self.receive(reply, seconds)
                if isinstance(received, RealtimeError) and not self._loops:
                    unheard = received
                await self._stream.flush()
        except ConnectError as error:
            texts.give_up(reply, error.lost)
            while reply.pieces:
                yield reply.pieces.popleft()
            raise ConnectError(error.lost) from error
        finally:
            texts.stop(reply)
            with suppress(ConnectError):
                await self._stream.flush(waits=False)
        reply.check()
        if unheard is not None:
            raise unheard


def connect(
    model: str = "",
    *,
    url: str = OPENAI_URL,
    api_key: str | None = None,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    auth: Auth = "header",
    beta: bool = False,
    insecure: bool = False,
    ssl: tls.SSLContext | None = None,
    ca_bundle: str | Path | None = None,
    reconnect: bool = False,
    open_timeout: float = 10.0,
    timeout: float = 60.0,
) -> AbstractAsyncContextManager[Connection]:
    """Connect: `async with rtchat.connect("gpt-realtime-2.1") as rt:`.

    Without `api_key`, the environment variable OPENAI_API_KEY is sent, but only to OpenAI; an empty
    `api_key` means no key. `headers` are a mapping or pairs. `auth="subprotocol"` sends
    the key as browsers do, for short-lived client secrets. `beta` requests the API from before May
    2026. `insecure` allows a key to be sent unencrypted to another machine. `ca_bundle` is a PEM
    file of the certificate authorities to trust instead of the system's; `ssl` is a TLS context to
    use instead. `reconnect` restores a lost connection (see `Connection`). Times are in seconds:
    `open_timeout` is the maximum for connecting, and `timeout` the maximum without an event while
    `text` waits, and for the answer to a ping (at least 20).

    Raises:
        UsageError: an argument cannot be used, or the key would be sent unencrypted to another
            machine.
        ConnectError: on entering the block, if the connection fails.
    """
    key = _default_key(url) if api_key is None else api_key
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    where = endpoint(
        model, url=url, api_key=key, headers=pairs, auth=auth, beta=beta, insecure=insecure
    )
    if ssl is not None and ca_bundle is not None:
        raise UsageError("ssl and ca_bundle cannot be used together", hint="use one of them")
    if not (open_timeout > 0 and timeout > 0):
        raise UsageError("a time-out is not positive", hint="use a number of seconds above 0")
    if ssl is None:
        environ = os.environ if where.is_encrypted else {}
        ssl = tls_context(None if ca_bundle is None else Path(ca_bundle), environ)
    return open_events(
        where, reconnects=reconnect, is_beta=beta, context=ssl, timeouts=(open_timeout, timeout)
    )


def _default_key(url: str) -> str:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # reported by `endpoint`
        return ""
    is_openai = f".{host}".endswith(".openai.com")
    return os.environ.get("OPENAI_API_KEY", "") if is_openai else ""


@asynccontextmanager
async def open_events(
    where: Endpoint,
    *,
    reconnects: bool = False,
    is_beta: bool = False,
    context: tls.SSLContext | None = None,
    timeouts: tuple[float, float] = (10.0, 60.0),
) -> AsyncIterator[Connection]:
    """Connect to an endpoint. The timeouts are for connecting and for replies."""
    open_timeout, timeout = timeouts
    open_link = partial(
        open_connection,
        where,
        open_timeout=open_timeout,
        pong_timeout=max(20.0, timeout),
        max_unread=MAX_UNREAD,
        tls=context,
    )
    dialect = Dialect.BETA if is_beta else None
    stream = EventStream(open_link, where, dialect, reconnects=reconnects)
    await stream.open()
    try:
        yield Connection(stream, where.url, timeout)
    finally:
        await stream.leave()
