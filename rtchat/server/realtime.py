"""The server on its sockets: handshake, keys, origins, and a task for all that takes time.

Frames leave in the order in which the dialogue made them: a lock is held from the one to the other,
and so a client that reads slowly slows its own engine only. Not here: what is said (`dialogue`),
what answers (`engine`) and what hears and speaks (`voice`).
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
import string
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import chain
from ssl import SSLContext
from typing import ParamSpec, assert_never
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from rtchat.errors import UsageError
from rtchat.events import ServerProblem
from rtchat.server.dialogue import NO_VOICE, SESSION_SECONDS, Begin, Dialogue, Halt, Output
from rtchat.server.engine import Answer, Engine, Finish, HangUp
from rtchat.server.growing import Speak
from rtchat.server.listening import Hear
from rtchat.server.voice import Voice
from rtchat.values import BYTES_A_MS, Dialect, Status

_P = ParamSpec("_P")
PATH = "/v1/realtime"
_PATHS = (PATH, "/realtime")
_MAX_FRAME = 24 * 1024 * 1024
"""It has room for more audio than may be sent at once, so that a client is told what is wrong."""
_LONG_FRAME = 64 * 1024
"""Reading so much audio takes more time than other clients should wait."""
_MOST_UNHEARD = 8
"""Recordings that a client may have waiting to be heard before it has to wait itself."""
_PIECE = 100 * BYTES_A_MS
"""Of audio, sent at a time: what comes between two of them is a cancel, perhaps."""
_CLOSE_SECONDS = 2.0
_KEY_PROTOCOL = "openai-insecure-api-key."
_BETA_PROTOCOL = "openai-beta.realtime-v1"
_BROKEN = 1006
"""Not a code that can be sent: it stands for a connection that broke."""
_ALPHABET = string.ascii_letters + string.digits


def random_id(prefix: str) -> str:
    """An id as OpenAI's server makes them."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(21))}"


@asynccontextmanager
async def serving(
    engine: Engine,
    *,
    voice: Voice | str = NO_VOICE,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    allow_origins: Sequence[str] = (),
    ssl: SSLContext | None = None,
    session_seconds: float = SESSION_SECONDS,
) -> AsyncIterator[str]:
    """Serve while the block runs; the value is the URL. `voice` may be why there is none.

    Without `api_key` anybody who reaches the port is served. A browser's page is refused unless its
    origin is in `allow_origins`. Raises `UsageError` if the address cannot be had.
    """
    door = _Door(api_key, frozenset(allow_origins))

    async def meet(socket: ServerConnection) -> None:
        await _Client(socket, engine, voice, session_seconds).run()

    try:
        server = await serve(
            meet,
            host,
            port,
            process_request=door.judge,
            select_subprotocol=_choose_protocol,
            compression=None,
            max_size=_MAX_FRAME,
            close_timeout=_CLOSE_SECONDS,
            ping_timeout=None,  # while a client has to wait, its pongs are not read
            ssl=ssl,
            logger=_silent(),
        )
    except OSError as error:
        hint = "--port 0 takes a free one" if port else "another --host"
        message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise UsageError(message, hint=hint) from error
    async with server:
        yield _url(server, host, secure=ssl is not None)


def _url(server: Server, host: str, *, secure: bool) -> str:
    port = server.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    return f"{'wss' if secure else 'ws'}://{shown}:{port}{PATH}"


def _silent() -> logging.Logger:
    # Unless somebody listens, a logger writes to stderr, which is the terminal of a conversation.
    logger = logging.getLogger("rtchat.server")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _choose_protocol(
    _socket: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    return next((name for name in offered if name == "realtime"), None)


def _offered(request: Request) -> list[str]:
    lines = request.headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for line in lines for name in line.split(",")]


def _dialect(request: Request) -> Dialect:
    asked = request.headers.get_all("OpenAI-Beta")
    if _BETA_PROTOCOL in _offered(request) or any("realtime=v1" in line for line in asked):
        return Dialect.BETA
    return Dialect.GA


class _Door:
    """Who is let in."""

    def __init__(self, api_key: str | None, origins: frozenset[str]) -> None:
        self._key = None if api_key is None else api_key.encode()
        self._origins = origins

    def judge(self, socket: ServerConnection, request: Request) -> Response | None:
        """The answer to a handshake that is refused, or None."""
        if urlsplit(request.path).path not in _PATHS:
            return _refusal(HTTPStatus.NOT_FOUND, "", f"Not found: the path is {PATH}.")
        origins = request.headers.get_all("Origin")
        if any(origin not in self._origins for origin in origins):
            message = "A page of this origin may not connect: see --allow-origin."
            return _refusal(HTTPStatus.FORBIDDEN, "origin_not_allowed", message)
        keys = _keys(request)
        if self._key is None or any(hmac.compare_digest(key, self._key) for key in keys):
            return None
        if keys:
            message = "Incorrect API key provided."
            return _refusal(HTTPStatus.UNAUTHORIZED, "invalid_api_key", message)
        message = "You did not provide an API key: send it as 'Authorization: Bearer KEY'."
        return _refusal(HTTPStatus.UNAUTHORIZED, "", message)


def _keys(request: Request) -> list[bytes]:
    bearer = [line.split(None, 1) for line in request.headers.get_all("Authorization")]
    found = [
        *(words[1].strip() for words in bearer if len(words) == 2 and words[0].lower() == "bearer"),
        *request.headers.get_all("api-key"),
        *(
            name.removeprefix(_KEY_PROTOCOL)
            for name in _offered(request)
            if name.startswith(_KEY_PROTOCOL)
        ),
    ]
    return [key.encode("utf-8", "surrogateescape") for key in found]


def _refusal(status: HTTPStatus, code: str, message: str) -> Response:
    error = {
        "message": message,
        "type": "invalid_request_error",
        "param": None,
        "code": code or None,
    }
    body = json.dumps({"error": error}).encode()
    headers = Headers(
        [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
    )
    return Response(status.value, status.phrase, headers, body)


class _Client:
    """One connection."""

    def __init__(
        self, socket: ServerConnection, engine: Engine, voice: Voice | str, seconds: float
    ) -> None:
        request = socket.request
        assert request is not None  # the handshake is over
        asked = parse_qs(urlsplit(request.path).query)
        self._socket = socket
        self._engine = engine
        self._voice = voice
        self._seconds = seconds
        self._dialogue = Dialogue(
            engine,
            new_id=random_id,
            now=time.time(),
            voice=voice,
            model=asked.get("model", [""])[0],
            dialect=_dialect(request),
            seconds=seconds,
            transcribes=asked.get("intent") == ["transcription"],
        )
        self._order = asyncio.Lock()
        self._group = asyncio.TaskGroup()
        self._replies: dict[str, set[asyncio.Task[None]]] = {}
        """What is done for each reply: its engine, and its voice."""
        self._hearing: set[asyncio.Task[None]] = set()
        self._ear = asyncio.Lock()
        """One client's recordings are heard one after the other, several clients' in turn."""

    async def run(self) -> None:
        """Serve until either side closes."""
        with suppress(ConnectionClosed):
            hang_up = self._engine.greet()
            if hang_up is None:
                try:
                    async with asyncio.timeout(self._seconds):
                        await self._converse()
                except TimeoutError:
                    hang_up = _EXPIRED
            if hang_up is not None:
                await self._hang_up(hang_up)

    async def _converse(self) -> None:
        async with self._group:
            gone = self._group.create_task(self._socket.wait_closed())
            try:
                await self._perform(self._dialogue.open())
                async for frame in self._socket:
                    async with self._order:
                        await self._perform(await self._receive(frame))
                    while len(self._hearing) >= _MOST_UNHEARD and not gone.done():
                        first = asyncio.FIRST_COMPLETED
                        await asyncio.wait({gone, *self._hearing}, return_when=first)
            except ConnectionClosed:
                return
            finally:
                for task in (gone, *self._hearing, *chain.from_iterable(self._replies.values())):
                    task.cancel()

    async def _receive(self, frame: str | bytes) -> Sequence[Output]:
        if len(frame) > _LONG_FRAME:
            return await asyncio.to_thread(self._dialogue.receive, frame)
        return self._dialogue.receive(frame)

    async def _perform(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            match output:
                case str():
                    await self._socket.send(output)
                case Begin(reply_id, answer):
                    self._start(reply_id, self._reply(reply_id, answer))
                case Speak(reply_id, text):
                    self._start(reply_id, self._speak(reply_id, text))
                case Hear(item_id, audio):
                    task = self._group.create_task(self._hear(item_id, audio))
                    self._hearing.add(task)
                    task.add_done_callback(self._hearing.discard)
                case Halt(reply_id):
                    for task in self._replies.get(reply_id, ()):
                        task.cancel()
                case _:
                    assert_never(output)

    def _start(self, reply_id: str, work: Coroutine[None, None, None]) -> None:
        task = self._group.create_task(work)
        self._replies.setdefault(reply_id, set()).add(task)
        task.add_done_callback(partial(self._forget, reply_id))

    def _forget(self, reply_id: str, task: asyncio.Task[None]) -> None:
        tasks = self._replies[reply_id]
        tasks.remove(task)
        if not tasks:
            del self._replies[reply_id]

    async def _reply(self, reply_id: str, answer: Answer) -> None:
        with suppress(ConnectionClosed):
            async with aclosing(_guarded(answer)) as pieces:
                async for piece in pieces:
                    match piece:
                        case HangUp():
                            await self._hang_up(piece)
                            return
                        case Finish():
                            await self._pass_on(self._dialogue.finish, reply_id, piece)
                        case _:
                            await self._pass_on(self._dialogue.say, reply_id, piece)

    async def _speak(self, reply_id: str, text: str) -> None:
        assert not isinstance(self._voice, str)  # else nothing is spoken
        failure = ""
        with suppress(ConnectionClosed):
            async with aclosing(_pieces(self._voice.speak(text))) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        failure = f"The voice failed: {piece}"
                    else:
                        await self._pass_on(self._dialogue.sound, reply_id, piece)
            await self._pass_on(self._dialogue.spoken, reply_id, failure)

    async def _hear(self, item_id: str, audio: bytes) -> None:
        assert not isinstance(self._voice, str)  # else nothing is heard
        failure = ""
        with suppress(ConnectionClosed):
            try:
                async with self._ear, aclosing(self._voice.hear(audio)) as pieces:
                    async for piece in pieces:
                        await self._pass_on(self._dialogue.hear, item_id, piece)
            except ConnectionClosed:
                return
            except Exception as error:
                failure = f"The ears failed: {type(error).__name__}: {error}"
            await self._pass_on(self._dialogue.heard, item_id, failure)

    async def _pass_on(
        self, tell: Callable[_P, Sequence[Output]], *args: _P.args, **named: _P.kwargs
    ) -> None:
        async with self._order:
            await self._perform(tell(*args, **named))

    async def _hang_up(self, hang_up: HangUp) -> None:
        async with self._order:
            if hang_up.problem is not None:
                await self._perform(self._dialogue.refuse(hang_up.problem))
        if hang_up.code == _BROKEN:
            self._socket.transport.abort()
        else:
            await self._socket.close(hang_up.code, hang_up.reason)


async def _guarded(answer: Answer) -> Answer:
    """The same pieces; an engine's fault is the end of one reply, not of the server."""
    try:
        async with aclosing(answer):
            async for piece in answer:
                yield piece
    except Exception as error:
        message = f"The engine failed: {type(error).__name__}: {error}"
        yield replace(_BROKE_OFF, message=message)
    else:
        yield _BROKE_OFF  # it comes to nothing after a `Finish`


async def _pieces(audio: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes | str, None]:
    """The same audio in short pieces; a voice's fault is the last of them."""
    try:
        async with aclosing(audio):
            async for whole in audio:
                for start in range(0, len(whole), _PIECE):
                    yield whole[start : start + _PIECE]
                    await asyncio.sleep(0)  # a voice may be quick, and a socket too
    except Exception as error:
        yield f"{type(error).__name__}: {error}"


_BROKE_OFF = Finish(Status.FAILED, code="server_error", message="The engine broke off.")
_OVER = f"Your session hit the maximum duration of {SESSION_SECONDS // 60} minutes."
_EXPIRED = HangUp(1001, _OVER, ServerProblem(_OVER, "invalid_request_error", "session_expired"))
