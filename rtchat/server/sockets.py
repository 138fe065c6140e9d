"""The server on its sockets: from where it listens to what ends when it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from ssl import SSLContext

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from rtchat.core.errors import UsageError
from rtchat.server.connection import CLOSE_SECONDS, Client, Shared
from rtchat.server.engine import Engine
from rtchat.server.handshake import PATH, ClientConnection, HandshakePolicy
from rtchat.server.limits import ServerLimits
from rtchat.server.protocol import NO_VOICE, SESSION_SECONDS
from rtchat.server.voice import Voice

_MAX_FRAME = 24 * 1024 * 1024
"""It has room for more audio than may be sent at once, so that a client is told what is wrong."""
_MOST_QUEUED = 1
"""How many messages may wait to be read; each may be as long as a frame."""
_HANDSHAKE_SECONDS = 10.0
_DEFAULTS = ServerLimits()


@asynccontextmanager
async def run_server(
    engine: Engine,
    *,
    voice: Voice | str = NO_VOICE,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    allow_origins: Sequence[str] = (),
    ssl: SSLContext | None = None,
    session_seconds: float = SESSION_SECONDS,
    limits: ServerLimits = _DEFAULTS,
    grace: float = 0.0,
) -> AsyncIterator[str]:
    """Serve while the block runs; the value is the URL. `voice` may be why there is none.

    Without `api_key` anybody who reaches the port is served. A browser's page is refused unless its
    origin is in `allow_origins`. When the block ends, responses have `grace` seconds to finish.
    Raises `UsageError` if the address cannot be had.
    """
    house = Shared(engine, voice, session_seconds, limits)
    door = HandshakePolicy(api_key, frozenset(allow_origins), limits, house.budget)
    clients: set[Client] = set()

    async def meet(socket: ServerConnection) -> None:
        assert isinstance(socket, ClientConnection)
        client = Client(socket, house)
        clients.add(client)
        try:
            await client.run()
        finally:
            clients.remove(client)

    try:
        server = await serve(
            meet,
            host,
            port,
            process_request=door.judge,  # type: ignore[arg-type] # it is a `ClientConnection`, made below
            select_subprotocol=_choose_protocol,
            compression=None,
            max_size=_MAX_FRAME,
            max_queue=_MOST_QUEUED,
            open_timeout=min(_HANDSHAKE_SECONDS, limits.client_seconds),
            close_timeout=CLOSE_SECONDS,
            ping_interval=None,  # see `ClientConnection.keep_alive`
            create_connection=partial(ClientConnection, door=door),  # type: ignore[arg-type] # as good as a class
            ssl=ssl,
            logger=_null_logger(),
        )
    except OSError as error:
        hint = "--port 0 takes a free one" if port else "another --host"
        message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise UsageError(message, hint=hint) from error
    try:
        yield _url(server, host, secure=ssl is not None)
    finally:
        server.close(close_connections=False)  # it would wait for a client that does not read
        await asyncio.gather(*(client.leave(grace) for client in clients))
        door.abort()
        with suppress(TimeoutError):  # connections without a TLS handshake
            async with asyncio.timeout(CLOSE_SECONDS):
                await server.wait_closed()


def _url(server: Server, host: str, *, secure: bool) -> str:
    port = server.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    return f"{'wss' if secure else 'ws'}://{shown}:{port}{PATH}"


def _null_logger() -> logging.Logger:
    # Unless somebody listens, a logger writes to stderr, which is the terminal of a conversation.
    logger = logging.getLogger("rtchat.server")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _choose_protocol(
    _socket: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    return next((name for name in offered if name == "realtime"), None)
