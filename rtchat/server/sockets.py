"""The WebSocket server: listens, accepts connections and shuts down."""

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
from rtchat.server.handshake import ClientConnection, HandshakePolicy
from rtchat.server.http_endpoints import PATH, HttpEndpoints, error_as_json
from rtchat.server.limits import ServerLimits
from rtchat.server.protocol import NO_VOICE, SESSION_SECONDS
from rtchat.server.voice import Voice

_MAX_FRAME = 24 * 1024 * 1024
"""Larger than the audio limit of an event, so that a client that exceeds it gets an error event."""
_MAX_QUEUED = 1
"""The maximum number of received messages in the queue; each may have the maximum frame size."""
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
    """Serve for the duration of the block. Yields the URL. `voice` may be the reason for refusing
    audio.

    Without `api_key`, every client that reaches the port is accepted. Web pages are refused unless
    their origin is in `allow_origins`. When the block ends, responses get `grace` seconds to
    finish. Raises `UsageError` if the server cannot listen on the address.
    """
    shared = Shared(engine, voice, session_seconds, limits)
    origins = frozenset(allow_origins)
    policy = HandshakePolicy(api_key, origins, limits, shared.budget, shared.secrets)
    clients: set[Client] = set()

    async def handle(socket: ServerConnection) -> None:
        assert isinstance(socket, ClientConnection)
        client = Client(socket, shared)
        clients.add(client)
        try:
            await client.run()
        finally:
            clients.remove(client)

    try:
        server = await serve(
            handle,
            host,
            port,
            process_request=HttpEndpoints(shared, policy).answer,  # type: ignore[arg-type] # always a `ClientConnection`, see below
            process_response=error_as_json,
            select_subprotocol=_choose_protocol,
            compression=None,
            max_size=_MAX_FRAME,
            max_queue=_MAX_QUEUED,
            open_timeout=min(_HANDSHAKE_SECONDS, limits.client_seconds),
            close_timeout=CLOSE_SECONDS,
            ping_interval=None,  # see `ClientConnection.keep_alive`
            create_connection=partial(ClientConnection, policy=policy),  # type: ignore[arg-type] # a partial works like the class
            ssl=ssl,
            logger=_null_logger(),
        )
    except OSError as error:
        hint = "use --port 0 for any free port" if port else "use another --host"
        message = f"cannot listen on {host}:{port} ({error.strerror or error})"
        raise UsageError(message, hint=hint) from error
    try:
        yield _url(server, host, secure=ssl is not None)
    finally:
        server.close(close_connections=False)  # `True` would wait for clients that do not read
        await asyncio.gather(*(client.shut_down(grace) for client in clients))
        policy.abort()
        with suppress(TimeoutError):  # connections without a TLS handshake
            async with asyncio.timeout(CLOSE_SECONDS):
                await server.wait_closed()


def _url(server: Server, host: str, *, secure: bool) -> str:
    port = server.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    return f"{'wss' if secure else 'ws'}://{shown}:{port}{PATH}"


def _null_logger() -> logging.Logger:
    # A logger without a handler writes to stderr, which may be the terminal of a conversation.
    logger = logging.getLogger("rtchat.server")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _choose_protocol(
    _socket: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    return next((name for name in offered if name == "realtime"), None)
