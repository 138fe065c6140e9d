"""Pings: a busy server is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection

from rtchat.client.endpoint import endpoint
from rtchat.client.transport import PING_INTERVAL, SocketLink
from tests.scripted import run_fast

SILENCE = 60.0


class Socket:
    """A socket whose server answers each ping after some seconds, and may send frames."""

    def __init__(self, answers_after: float, frames_every: float | None = None) -> None:
        self.answers_after = answers_after
        self.frames_every = frames_every
        self.pings = 0
        self.aborted_at: float | None = None
        self.transport = self

    async def ping(self) -> Awaitable[None]:
        self.pings += 1
        answer = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(self.answers_after, _answer, answer)
        return answer

    async def recv(self) -> str:
        await asyncio.sleep(self.frames_every or 1e9)
        return "{}"

    def abort(self) -> None:
        self.aborted_at = asyncio.get_running_loop().time()


def _answer(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def watched(socket: Socket, seconds: float) -> None:
    where = endpoint(url="ws://127.0.0.1:1/")
    connection = SocketLink(cast("ClientConnection", cast("Any", socket)), where, SILENCE)

    async def read() -> None:
        while True:
            await connection.receive()

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(read()), tasks.create_task(connection.keep_alive())]
        await asyncio.sleep(seconds)
        for task in running:
            task.cancel()


@pytest.mark.parametrize(
    "socket",
    [Socket(0.1), Socket(SILENCE - 1), Socket(1e9, frames_every=30)],
    ids=["answers", "answers late", "sends frames only"],
)
def test_a_server_that_sends_anything_is_kept(socket: Socket) -> None:
    run_fast(lambda: watched(socket, 600))
    assert socket.aborted_at is None
    assert socket.pings > 1


def test_a_server_that_sends_nothing_is_lost() -> None:
    socket = Socket(1e9)
    run_fast(lambda: watched(socket, 600))
    assert (socket.pings, socket.aborted_at) == (1, PING_INTERVAL + SILENCE)
