"""A connection for programs: events, callbacks, client events as methods, replies as text.

Nothing runs in the background: whoever waits for an event, a loop or a `text`, receives the next
one and passes it to everybody else (`receive`). So several coroutines can use a connection at once.
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
"""Frames that may wait for a program that does not read. Beyond that, pings are not read either, so
that the connection is lost."""
FIRST_EVENT_WAIT = 3.0
"""Seconds that `text` waits for the first event, which shows the dialect of the server."""


class _Loop:
    """One loop over the events of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.queue: deque[Received] = deque()
        """What others have received in the meantime."""

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


class _First:
    """Waits for the first event."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream

    @property
    def is_ready(self) -> bool:
        return self._stream.has_received


class Connection:
    """One connection, which only one event loop may use.

    `async for event in connection` yields every event as a dict. The loop ends when the connection
    is closed normally (1000, 1001 or no code); otherwise it raises `ConnectError`. An `error` event
    is passed to the `error` listeners as a `RealtimeError` and then yielded; without such a
    listener, the loop raises it instead. A frame that is not a JSON object with a type is handled
    like an `error` event. In both cases the connection stays usable: iterate again to continue.
    Several loops may run at once; each yields every event that is received while it runs.

    Events of older servers have the names of the current API, and an event that a server sends
    under both names is yielded once.

    With `reconnect=True`, a lost connection is restored: the new session receives the settings and
    the conversation, and a requested response of which nothing has arrived is requested again. The
    loop raises `ConnectError` if a response was interrupted; iterate again to continue. It does
    not end before the connection is closed from this side, or cannot be restored.
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
        """The loops that are running; one that ends is collected at once."""
        self._single = _Loop(self)
        """For `anext(connection)`."""

    @property
    def socket(self) -> Socket:
        """The underlying `websockets` connection; with `reconnect=True`, the current one."""
        return self._stream.link.socket

    async def send(self, event: Mapping[str, object]) -> None:
        """Send a client event as it is. Raises ConnectError if the connection is lost; with
        `reconnect=True`, waits until it is restored."""
        await self._stream.send(event)

    async def _send_ga(self, event: JsonObject) -> None:
        await self._stream.send(to_dialect(event, self._stream.dialect))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection. A server has 2 seconds to answer."""
        await self._stream.close(code, reason)

    # ----------------------------------------------------------------------------------- callbacks

    @overload
    def on(self, type: str, callback: F) -> F: ...
    @overload
    def on(self, type: str) -> Callable[[F], F]: ...

    def on(self, type: str, callback: F | None = None) -> F | Callable[[F], F]:
        """Call `callback` for each event of a type before the loop yields it; `event` means all.

        The callback gets the event, or a `RealtimeError` for type `error`. It may be a coroutine
        function. Callbacks run only while a loop or a `text` waits for events, which raises their
        exceptions. Without `callback`, returns a decorator.
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
        """Remove a callback; one that is not registered is ignored."""
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
        """The event that a loop yields. Raises an error instead, which ends the loop: the next one
        yields the rest."""
        if not isinstance(received, RtchatError):
            return cast("Event", received)
        if loop is not self._single:
            self._single.queue.extend(loop.queue)
            loop.queue.clear()
        raise received

    async def receive(self, reader: Reader, seconds: float | None = None) -> Received | None:
        """Receive the next event, and pass it to everybody but `reader`, for whom it is returned.
        None if the reader may be ready without it, or nothing has arrived for some seconds."""
        event = await self._stream.receive(reader, seconds)
        received = event
        if isinstance(event, Mapping) and event["type"] == "error":
            received = event if self._listeners.has("error") else RealtimeError(event)
        if received is not None:  # passed on at once, so that the events stay in order
            for loop in tuple(self._loops):
                if loop is not reader:
                    loop.queue.append(received)
        with suppress(ConnectError):  # noticed by whoever receives next
            await self._stream.flush()
        if isinstance(event, Mapping):
            for result in self._listeners.call(event):
                await result
        return received

    # ---------------------------------------------------------------------------------------- text

    async def text(self, question: str) -> AsyncGenerator[str, None]:
        """Ask a question and yield the text of the reply while it arrives: `async for piece in
        rt.text("…")`. Questions are asked one after another.

        A loop that is left early stops the reply; `contextlib.aclosing` does so at once. Events of
        the reply are also passed to callbacks and to loops that are running. If the reply calls a
        function of the session, use the events to answer it.

        Raises:
            ReplyError: the reply failed or is not complete.
            ConnectError: the connection is lost.
            RealtimeError: after the reply, if the server reported an error about something else,
                and there is no callback for `error` and no loop that raises it.
        """
        if not self._stream.has_received:
            await self.receive(_First(self._stream), FIRST_EVENT_WAIT)
        texts = self._stream.texts = self._stream.texts or TextReplies(self._timeout)
        reply = texts.ask(question)
        unheard: RealtimeError | None = None
        try:
            await self._stream.flush()
            while reply.over is None or reply.pieces:
                if reply.pieces:
                    yield reply.pieces.popleft()
                    continue
                with texts.attended() as seconds:
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
    headers: Iterable[tuple[str, str]] = (),
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

    Without `api_key`, OPENAI_API_KEY of the environment is sent, but only to OpenAI; an empty key
    means none. `auth="subprotocol"` sends the key as browsers do, for short-lived client secrets.
    `beta` asks the server for the dialect before May 2026. `insecure` allows a key over a network
    unencrypted. `ca_bundle` is a PEM file of the certificate authorities to trust instead of the
    system's, and `ssl` a context instead of both. `reconnect` restores a lost connection, see
    `Connection`. Times are in seconds: `open_timeout` for connecting, `timeout` for a server that
    sends nothing while `text` waits, or does not answer pings.

    Raises:
        UsageError: the URL, the key or the certificate authorities cannot be used, or the key would
            be sent over a network unencrypted.
        ConnectError: on entering the block, if the connection fails.
    """
    key = _own_key(url) if api_key is None else api_key
    where = endpoint(
        model, url=url, api_key=key, headers=headers, auth=auth, beta=beta, insecure=insecure
    )
    if ssl is not None and ca_bundle is not None:
        raise UsageError("ssl and ca_bundle cannot be used together", hint="use one of them")
    if ssl is None:
        environ = os.environ if where.is_encrypted else {}
        ssl = tls_context(None if ca_bundle is None else Path(ca_bundle), environ)
    return open_events(
        where, reconnects=reconnect, is_beta=beta, context=ssl, timeouts=(open_timeout, timeout)
    )


def _own_key(url: str) -> str:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # `endpoint` reports it
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
