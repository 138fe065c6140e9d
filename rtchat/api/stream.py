"""The events of a connection, one at a time, and its restoration when it is lost."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import replace
from typing import Protocol, TypeAlias

from rtchat.api.text_replies import TextReplies
from rtchat.client.endpoint import Endpoint
from rtchat.client.failures import ConnectError
from rtchat.client.transport import SocketLink
from rtchat.core import events as ev
from rtchat.core.backoff import backoff
from rtchat.core.errors import RtchatError
from rtchat.core.server_errors import EXPIRED
from rtchat.core.values import Dialect, JsonObject, Status
from rtchat.wire import (
    Decoder,
    EventRedactor,
    decode,
    encode,
    read_frame,
    to_dialect,
    type_to_ga,
)
from rtchat.wire.session_copy import SessionCopy

OpenLink: TypeAlias = Callable[[], AbstractAsyncContextManager[SocketLink]]
Received: TypeAlias = JsonObject | RtchatError
"""An event, or an error to raise: a response was interrupted, or no callback handles an `error`."""


class Reader(Protocol):
    """A loop or a `text` that may wait for the next event."""

    @property
    def is_ready(self) -> bool:
        """Whether it can continue without another event."""


class EndedError(ConnectError):
    """The connection was closed normally."""


class EventStream:
    """The connection that `open_link` opens and, with `reconnects`, those that replace it."""

    def __init__(
        self, open_link: OpenLink, where: Endpoint, dialect: Dialect | None, *, reconnects: bool
    ) -> None:
        self.dialect = dialect or Dialect.GA
        """The dialect that was set, or else that of the session."""
        self.is_ready = False
        """Whether anything has arrived; the stream is a `Reader` that waits for the first event."""
        self.texts: TextReplies | None = None
        """The questions of `Connection.text`."""
        self._open_link = open_link
        self._redactor = where.redactor
        self._forced_dialect = dialect
        self._links = AsyncExitStack()
        self._link: SocketLink | None = None
        self._reading = asyncio.Lock()
        self._read_count = 0
        self._unread: deque[Received] = deque()
        """What has arrived but is not returned yet."""
        self._closing = asyncio.Event()
        self._copy = SessionCopy() if reconnects else None
        self._lost: ev.ConnectionLost | None = None
        """Why the connection must be restored; None if it need not be."""
        self._attempt = 0
        self._sent = 0

    async def open(self) -> None:
        """Connect."""
        await self._links.aclose()
        self._link = await self._links.enter_async_context(self._open_link())
        self._events = EventRedactor(self._redactor)
        self._decoder = Decoder()

    @property
    def link(self) -> SocketLink:
        """The current connection."""
        assert self._link is not None
        return self._link

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        self._closing.set()
        await self.link.close(code, reason)

    async def leave(self) -> None:
        """Close the connection if it is open."""
        self._closing.set()
        await self._links.aclose()

    # ------------------------------------------------------------------------------------- sending

    async def send(self, event: JsonObject) -> None:
        """Send an event of the program."""
        if self._copy is not None and "event_id" not in event:
            self._sent += 1
            event = {"event_id": f"rtchat_event_{self._sent}", **event}
        while not await self._try_to_send(event):
            pass
        self._note_sent(event, is_own=False)

    async def flush(self, *, waits: bool = True) -> None:
        """Send the events of `text`. Unless it `waits`, only while the connection is open."""
        while self.texts is not None and self.texts.unsent and (waits or self._lost is None):
            if self._lost is not None:
                await self._recover(self.link)
            else:  # if it is lost, the conversation requests again what is needed
                await self._try_to_send(self._next_of_text(self.texts))

    def _next_of_text(self, texts: TextReplies) -> JsonObject:
        event_id, command = texts.unsent.popleft()
        event = encode(command, event_id, self.dialect)
        self._note_sent(event, is_own=True)
        return event

    async def _try_to_send(self, event: JsonObject) -> bool:
        """Send an event, or restore the connection. Returns whether it was sent."""
        link = self.link
        try:
            await link.send(event)
        except ConnectError as error:
            if not self._restores(error.lost):
                raise
            await self._recover(link)
            return False
        return True

    async def _recover(self, link: SocketLink) -> None:
        """Replace a lost connection, unless another coroutine has."""
        async with self._reading:
            if self._link is link:
                await self._drain(link)
                await self._restore()

    def _note_sent(self, event: JsonObject, *, is_own: bool) -> None:
        if self._copy is not None:
            self._copy.sent(event, repeats=not is_own)

    # ----------------------------------------------------------------------------------- receiving

    async def receive(self, reader: Reader, seconds: float | None) -> Received | None:
        """The next event. None if the reader may be ready without it, or if nothing has arrived for
        `seconds`, not counting the time to restore a lost connection.

        Raises:
            ConnectError: the connection is lost; `EndedError` if it was closed normally.
        """
        read = self._read_count
        try:
            async with asyncio.timeout(seconds) as limit, self._reading:
                if reader.is_ready or self._read_count != read:  # by another reader
                    return None
                self._read_count += 1
                return await self._next(limit)
        except TimeoutError:
            return None

    async def _next(self, limit: asyncio.Timeout) -> Received | None:
        """The next event; None if what has arrived is only for `text`, or nothing has."""
        if not self._unread:
            if self._lost is not None:
                when = limit.when()
                limit.reschedule(None)
                await self._restore()
                limit.reschedule(when)
            link = self.link
            frame = await link.receive()
            self._unread.extend(self._events.end() if frame is None else self._read(frame))
            if frame is None and not self._unread:
                self._end(link)
        return self._unread.popleft() if self._unread else None

    def _end(self, link: SocketLink) -> None:
        """The connection is closed, and everything was read."""
        lost = link.explain()
        if not self._restores(lost):
            raise (
                EndedError(lost)
                if self._closing.is_set() or link.ended_normally
                else ConnectError(lost)
            )
        self._lose(lost)

    def _read(self, frame: str | bytes) -> Iterator[JsonObject]:
        event = read_frame(frame)
        self.is_ready = True
        if isinstance(event, ev.Unknown):
            yield {"type": "error", "error": {"type": "unreadable_frame", "message": event.why}}
            return
        assert isinstance(frame, str)
        for redacted, held in self._events.redact(frame, event):
            if not self._decoder.is_repeated(redacted) and not self._is_internal(redacted, held):
                kind = str(redacted["type"])
                current = type_to_ga(kind)
                yield redacted if current == kind else {**redacted, "type": current}

    def _is_internal(self, data: JsonObject, held: str) -> bool:
        """Pass an event to `texts` and to the copy of the session. Return whether the program must
        not see it."""
        event, *notes = decode(data, held)
        if isinstance(event, ev.SessionCreated):
            self.dialect = self._forced_dialect or event.dialect or Dialect.GA
        is_internal = False
        if (texts := self.texts) is not None:
            texts.received((event, *notes))
            is_internal = isinstance(event, ev.ServerProblem) and texts.is_own(event.event_id)
        if self._copy is None:
            return is_internal
        if isinstance(event, ev.ReplyEnded) and event.status is Status.COMPLETED:
            self._attempt = 0
        is_expiry = isinstance(event, ev.ServerProblem) and event.code == EXPIRED
        return self._copy.received(event) or is_internal or is_expiry

    # -------------------------------------------------------------------------------- reconnecting

    def _restores(self, lost: ev.ConnectionLost) -> bool:
        return (
            self._copy is not None
            and not self._closing.is_set()
            and lost.retry is not ev.Retry.NEVER
        )

    async def _drain(self, link: SocketLink) -> None:
        """Read what arrived before the connection was lost."""
        if self._lost is None:
            while (frame := await link.receive()) is not None:
                self._unread.extend(self._read(frame))
            self._unread.extend(self._events.end())
            self._lose(link.explain())

    def _lose(self, lost: ev.ConnectionLost) -> None:
        assert self._copy is not None
        self._lost = lost
        if self.texts is not None:
            while self.texts.unsent:
                self._next_of_text(self.texts)
            self.texts.lost(replace(lost, retry=ev.Retry.ALWAYS))
        if self._copy.lost():
            self._unread.append(ConnectError(lost))

    async def _restore(self) -> None:
        """Open another connection, after a delay that grows with each attempt."""
        while (lost := self._lost) is not None:
            delay = None if lost.retry is ev.Retry.NEVER else backoff(self._attempt, lost)
            if delay is None:
                raise ConnectError(lost)
            self._attempt += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(delay * (1 - random.random() / 4)):
                    await self._closing.wait()
            try:
                await self._reopen(lost)
            except EndedError:
                raise
            except ConnectError as error:
                self._lost = error.lost
        if (texts := self.texts) is not None:
            texts.restored()
            with suppress(ConnectError):  # the next call of `receive` handles it
                while texts.unsent:
                    await self.link.send(self._next_of_text(texts))

    async def _reopen(self, lost: ev.ConnectionLost) -> None:
        if not self._closing.is_set():
            await self.open()
        if self._closing.is_set():
            await self._links.aclose()
            raise EndedError(lost)
        assert self._copy is not None
        for event in self._copy.restore():
            await self.link.send(to_dialect(event, self.dialect))
        self._lost = None
