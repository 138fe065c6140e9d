"""The connection of a session: opens it, reads frames, and sends queued events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import TypeAlias

from rtchat.client.endpoint import shown_url
from rtchat.client.transport import ConnectError
from rtchat.core.errors import LinkError, RtchatError
from rtchat.core.events import ConnectionLost, ConnectionOpened, LocalEvent, Retry
from rtchat.core.ports import Link
from rtchat.core.values import JsonObject

CLOSE_TIMEOUT = 2.0
"""Seconds to wait for queued events to be sent and for the server to answer the close."""
FRAMES_AT_ONCE = 50
"""Frames that may be read before the event loop runs other tasks."""
MAX_UNSENT = 250
"""Events that may wait for a slow network, 20 s of microphone audio. More audio is dropped."""

Stored: TypeAlias = asyncio.Future[None]
Outbox: TypeAlias = asyncio.Queue[tuple[JsonObject, Stored | None] | None]
"""Events to send, each with the future of the entry that must be stored first; None at the end."""


class ServerLink:
    """One connection at a time. `connect` opens it for a model.

    `post` is called when it is opened and lost, and `read` with each frame. `is_behind` says
    whether the view must catch up before the next frame. Before an event is sent, `wait` waits
    until its entry is stored and `writing` is called; `sent` is called afterwards.
    """

    def __init__(
        self,
        connect: Callable[[str], AbstractAsyncContextManager[Link]],
        tasks: asyncio.TaskGroup,
        *,
        post: Callable[[LocalEvent], None],
        read: Callable[[str | bytes], None],
        is_behind: Callable[[], bool],
        wait: Callable[[Stored | None], Awaitable[None]],
        writing: Callable[[JsonObject], None],
        sent: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._tasks = tasks
        self._post = post
        self._read = read
        self._is_behind = is_behind
        self._wait = wait
        self._writing = writing
        self._sent = sent
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._outbox: Outbox = asyncio.Queue()
        self._has_room = asyncio.Event()
        self._is_open = False
        self.unsent = 0
        """Events that were queued for this connection and not sent."""

    @property
    def is_slow(self) -> bool:
        """Whether too many events are waiting to be sent."""
        return self._outbox.qsize() > MAX_UNSENT

    @property
    def is_idle(self) -> bool:
        """Whether no events are waiting to be sent."""
        return self._outbox.empty()

    def open(self, model: str) -> None:
        """Start to connect; an open connection is dropped first."""
        self.drop()
        self._outbox = asyncio.Queue()
        self._has_room.set()
        self._is_open = False
        self.unsent = 0
        self._task = self._tasks.create_task(self._run_connection(model, self._outbox))

    def drop(self) -> None:
        """Close the connection without sending the queued events or reading more frames."""
        for task in (self._task, self._writer):
            if task is not None:
                task.cancel()
        self._task = self._writer = None

    def send(self, data: JsonObject, stored: Stored | None) -> None:
        """Queue an event; it is sent once its entry is stored."""
        self.unsent += 1
        self._outbox.put_nowait((data, stored))

    async def drained(self) -> None:
        """Wait until most queued events are sent."""
        if self._outbox.qsize() > MAX_UNSENT // 2:
            self._has_room.clear()
            await self._has_room.wait()

    async def close(self) -> None:
        """Send the queued events and close with code 1000, within `CLOSE_TIMEOUT` seconds."""
        task = self._task
        if task is None:
            return
        if not self._is_open:
            task.cancel()
            return
        self._outbox.put_nowait(None)
        await asyncio.wait((task,), timeout=CLOSE_TIMEOUT)
        task.cancel()

    def abandon(self) -> None:
        """Do not wait for the server to answer the close."""
        if self._task is not None:
            self._task.cancel()

    async def _run_connection(self, model: str, outbox: Outbox) -> None:
        """Hold one connection until it ends, sending the events of `outbox`."""
        try:
            async with self._connect(model) as link:
                self._is_open = True
                self._post(ConnectionOpened(shown_url(link.url)))
                writer = self._writer = self._tasks.create_task(self._write(link, outbox))
                pings = self._tasks.create_task(link.keep_alive())
                try:
                    read = 0
                    while (frame := await link.receive()) is not None:
                        self._read(frame)
                        read += 1
                        # Buffered frames must not block other tasks or get ahead of the view.
                        if read % FRAMES_AT_ONCE == 0 or self._is_behind():
                            await asyncio.sleep(0)
                finally:
                    writer.cancel()
                    pings.cancel()
                lost = link.explain()
        except ConnectError as error:
            lost = error.lost
        except RtchatError as error:  # from starting the server of `--local`
            lost = ConnectionLost(error.problem, Retry.NEVER)
        self._task = None
        self.drop()
        self._post(lost)

    async def _write(self, link: Link, outbox: Outbox) -> None:
        while (entry := await outbox.get()) is not None:
            data, stored = entry
            await self._wait(stored)
            if outbox.qsize() < MAX_UNSENT // 4:
                self._has_room.set()
            self.unsent -= 1
            self._writing(data)
            with suppress(LinkError):  # `_run_connection` reports the lost connection
                await link.send(data)
                self._sent()
        await link.close()
