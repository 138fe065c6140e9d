"""A minimal client for tests of the server: JSON objects over a real socket on 127.0.0.1.

The oracle checks every event that a GA server sends.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.oracle import assert_server_event
from tests.program import PATIENCE


class Peer:
    """One connection."""

    def __init__(self, socket: ClientConnection, *, is_beta: bool = False) -> None:
        self.socket = socket
        self._is_beta = is_beta

    async def send(self, *events: Mapping[str, object]) -> None:
        """Send events."""
        for event in events:
            await self.socket.send(json.dumps(event))

    async def receive(self) -> dict[str, Any]:
        """The next event."""
        async with asyncio.timeout(PATIENCE):
            event: dict[str, Any] = json.loads(await self.socket.recv())
        if not self._is_beta:
            assert_server_event(event)
        return event

    async def until(self, *types: str) -> list[dict[str, Any]]:
        """The events up to the first of one of these types."""
        events = [await self.receive()]
        while events[-1]["type"] not in types:
            events.append(await self.receive())
        return events

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait until the connection is closed. Returns the close code and reason."""
        async with asyncio.timeout(PATIENCE):
            await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason


@asynccontextmanager
async def joined(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    is_beta: bool = False,
) -> AsyncIterator[Peer]:
    """A connection, before its first event."""
    offered = [Subprotocol(name) for name in subprotocols] or None
    async with connect(
        url, additional_headers=headers, subprotocols=offered, proxy=None, max_size=None
    ) as socket:
        yield Peer(socket, is_beta=is_beta)


@asynccontextmanager
async def ready(url: str) -> AsyncIterator[Peer]:
    """A connection whose session uses text."""
    async with joined(url) as peer:
        await peer.send(configure(output_modalities=["text"]))
        await peer.until("session.updated")
        yield peer


async def entered(url: str) -> Peer:
    """A connection that the server will close."""
    return Peer(await connect(url, proxy=None))


def configure(**session: object) -> dict[str, object]:
    """`session.update`."""
    return {"type": "session.update", "session": {"type": "realtime", **session}}


def user(text: str, **item: object) -> dict[str, object]:
    """`conversation.item.create` of a user's message."""
    content = [{"type": "input_text", "text": text}]
    message = {"type": "message", "role": "user", "content": content, **item}
    return {"type": "conversation.item.create", "item": message}


def reply(**response: object) -> dict[str, object]:
    """`response.create`."""
    return {"type": "response.create", "response": response}


def text_of(events: Sequence[Mapping[str, Any]]) -> str:
    """The deltas, joined."""
    return "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
