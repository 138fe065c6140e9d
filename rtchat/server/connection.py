"""One connection of the server, and a task for all that takes time.

Frames leave in the order in which the protocol made them: a lock is held from the one to the other,
and so a client that reads slowly slows its own engine only.
"""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import ParamSpec, assert_never
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request

from rtchat.core.effects import AppendAudio
from rtchat.core.events import ServerProblem
from rtchat.core.values import BYTES_A_MS, Dialect, Status
from rtchat.server.audio_input import Transcribe
from rtchat.server.engine import Answer, CloseConnection, Engine, Finish, limited
from rtchat.server.handshake import FRAGMENT, ClientConnection, offered
from rtchat.server.limits import MB, EventRate, MemoryBudget, ServerLimits, return_memory
from rtchat.server.protocol import (
    SESSION_SECONDS,
    Output,
    ProtocolSession,
    StartResponse,
    StopResponse,
)
from rtchat.server.response import Speak
from rtchat.server.voice import Voice

_P = ParamSpec("_P")
_LONG_FRAME = 16 * 1024
"""Decoding a longer frame takes more time than other clients should wait."""
_HUGE_FRAME = MB
"""Frames this long are images, files or attacks: only one is decoded at a time."""
_MOST_UNHEARD = 8
"""Recordings that a client may have waiting to be heard before it has to wait itself."""
_PIECE = 100 * BYTES_A_MS
"""Of audio, sent at a time: what comes between two of them is a cancel, perhaps."""
CLOSE_SECONDS = 2.0
"""How long a client has to answer a close."""
_MOST_ASKED = 4
"""How many responses of one client an engine generates at once; others wait."""
_MUCH = 8 * MB
"""From this many bytes on it pays to return memory to the system."""
_NORMAL, _GOING_AWAY = 1000, 1001
_BROKEN = 1006
"""Not a code that can be sent: it stands for a connection that broke."""
_BETA_PROTOCOL = "openai-beta.realtime-v1"
_ALPHABET = string.ascii_letters + string.digits


def random_id(prefix: str) -> str:
    """An id as OpenAI's server makes them."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(21))}"


class Shared:
    """What all clients of a server share."""

    def __init__(
        self, engine: Engine, voice: Voice | str, seconds: float, limits: ServerLimits
    ) -> None:
        self.engine = engine
        self.voice = voice
        self.seconds = seconds
        self.limits = limits
        self.budget = MemoryBudget(limits.total_bytes)
        self.reading = asyncio.Lock()
        """Only one long event is decoded at a time: the interpreter cannot do more, and each takes
        several times its size in memory."""


class Client:
    """One client, served until either side closes."""

    def __init__(self, socket: ClientConnection, house: Shared) -> None:
        request = socket.request
        assert request is not None  # the handshake is over
        asked = parse_qs(urlsplit(request.path).query)
        self._socket = socket
        self._shared = house
        self._engine = house.engine
        self._voice = house.voice
        self._budget = house.budget
        self._protocol = ProtocolSession(
            house.engine,
            new_id=random_id,
            now=time.time(),
            voice=house.voice,
            model=asked.get("model", [""])[0],
            dialect=_dialect(request),
            seconds=house.seconds,
            transcribes=asked.get("intent") == ["transcription"],
            limits=house.limits,
            budget=house.budget,
        )
        self._held = self._most_held = 0
        """The bytes of the dialogue that the budget has counted, and the most it has held."""
        self._pace = EventRate(house.limits.events_per_second, time.monotonic())
        self._is_slowed = False
        self._order = asyncio.Lock()
        self._group = asyncio.TaskGroup()
        self._replies: dict[str, set[asyncio.Task[None]]] = {}
        """What is done for each reply: its engine, and its voice."""
        self._asking = asyncio.Semaphore(_MOST_ASKED)
        self._hearing: set[asyncio.Task[None]] = set()
        self._ear = asyncio.Lock()
        """One client's recordings are heard one after the other, several clients' in turn."""

    async def run(self) -> None:
        """Serve until either side closes."""
        try:
            with suppress(ConnectionClosed):
                hang_up = self._engine.greet()
                if hang_up is None:
                    try:
                        async with asyncio.timeout(self._shared.seconds):
                            await self._converse()
                    except TimeoutError:
                        hang_up = _EXPIRED
                if hang_up is not None:
                    await self._hang_up(hang_up)
            await self._close(_NORMAL)
        finally:
            self._socket.transport.abort()
            self._protocol.forget()
            self._settle()
            if self._most_held > _MUCH:
                return_memory()

    async def leave(self, grace: float) -> None:
        """Give responses this many seconds to finish, then close."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while work := {*self._hearing, *chain.from_iterable(self._replies.values())}:
                    await asyncio.wait(work)
        await self._close(_GOING_AWAY)

    async def _close(self, code: int, reason: str = "") -> None:
        """Close the connection; break it if the client does not take part."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close(code, reason)
        self._socket.transport.abort()

    async def _converse(self) -> None:
        async with self._group:
            gone = self._group.create_task(self._socket.wait_closed())
            watch = self._group.create_task(self._watch())
            try:
                await self._perform(self._protocol.open())
                async for frame in self._socket:
                    self._socket.taken()
                    async with self._order:
                        await self._perform(await self._receive(frame))
                    del frame  # it may be long, and the next one may take a while
                    await self._slow_down()
                    while self._hears_enough() and not gone.done():
                        first = asyncio.FIRST_COMPLETED
                        await asyncio.wait({gone, *self._hearing}, return_when=first)
            except ConnectionClosed:
                return
            finally:
                replies = chain.from_iterable(self._replies.values())
                for task in (gone, watch, *self._hearing, *replies):
                    task.cancel()

    async def _watch(self) -> None:
        with suppress(ConnectionClosed):
            await self._socket.keep_alive(self._shared.limits.client_seconds)

    async def _slow_down(self) -> None:
        """Wait until the client may send its next event; in any case let others run."""
        seconds = self._pace.take(time.monotonic())
        if seconds and not self._is_slowed:
            async with self._order:
                await self._perform(self._protocol.refuse(self._too_fast()))
        self._is_slowed = seconds > 0
        await asyncio.sleep(seconds)

    def _too_fast(self) -> ServerProblem:
        rate = self._shared.limits.events_per_second
        message = f"You send more than {rate} events per second: they are read more slowly."
        return ServerProblem(message, "rate_limit_error", "rate_limit_exceeded")

    def _hears_enough(self) -> bool:
        most = self._shared.limits.session_bytes // 4
        return len(self._hearing) >= _MOST_UNHEARD or self._protocol.untranscribed_bytes > most

    async def _receive(self, frame: str | bytes) -> Sequence[Output]:
        if len(frame) <= _LONG_FRAME:
            return self._protocol.receive(frame)
        if len(frame) <= _HUGE_FRAME:
            return await asyncio.to_thread(self._protocol.receive, frame)
        async with self._shared.reading:
            asked = await asyncio.to_thread(self._protocol.decode, frame)
            if not isinstance(asked.command, AppendAudio):
                return await asyncio.to_thread(self._protocol.obey, asked)
        # A long recording is analysed throughout: other clients should not wait for that.
        return await asyncio.to_thread(self._protocol.obey, asked)

    def _settle(self) -> None:
        """Tell the budget what the dialogue holds."""
        held = self._protocol.held
        self._most_held = max(self._most_held, held)
        self._budget.held += held - self._held
        self._held = held

    async def _perform(self, outputs: Sequence[Output]) -> None:
        self._settle()
        left = deque(outputs)
        del outputs  # free each as soon as it is sent
        unsent = sum(len(output) for output in left if isinstance(output, str))
        self._budget.held += unsent
        try:
            while left:
                output = left.popleft()
                if isinstance(output, str):
                    await self._send(output)
                    unsent -= len(output)
                    self._budget.held -= len(output)
                else:
                    self._do(output)
        finally:
            self._budget.held -= unsent

    async def _send(self, frame: str) -> None:
        # In fragments if it is long: encoding and copying it at once would keep others waiting.
        await self._socket.send(frame if len(frame) <= FRAGMENT else _fragments(frame))

    def _do(self, output: StartResponse | Speak | Transcribe | StopResponse) -> None:
        match output:
            case StartResponse(reply_id, answer):
                self._start(reply_id, self._reply(reply_id, answer))
            case Speak(reply_id, text):
                self._start(reply_id, self._speak(reply_id, text))
            case Transcribe(item_id, audio):
                task = self._group.create_task(self._hear(item_id, audio))
                self._hearing.add(task)
                task.add_done_callback(self._hearing.discard)
            case StopResponse(reply_id):
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
        seconds = self._shared.limits.response_seconds
        late = replace(_BROKE_OFF, message=f"The response was not complete after {seconds:g} s.")
        with suppress(ConnectionClosed):
            async with self._asking, aclosing(limited(_guarded(answer), seconds, late)) as pieces:
                async for piece in pieces:
                    match piece:
                        case CloseConnection():
                            await self._hang_up(piece)
                            return
                        case Finish():
                            await self._pass_on(self._protocol.finish, reply_id, piece)
                        case _:
                            await self._pass_on(self._protocol.say, reply_id, piece)

    async def _speak(self, reply_id: str, text: str) -> None:
        assert not isinstance(self._voice, str)  # else nothing is spoken
        failure = ""
        with suppress(ConnectionClosed):
            async with aclosing(_pieces(self._voice.speak(text))) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        failure = f"The voice failed: {piece}"
                    else:
                        await self._pass_on(self._protocol.sound, reply_id, piece)
            await self._pass_on(self._protocol.spoken, reply_id, failure)

    async def _hear(self, item_id: str, audio: bytes) -> None:
        assert not isinstance(self._voice, str)  # else nothing is heard
        failure = ""
        with suppress(ConnectionClosed):
            try:
                async with self._ear, aclosing(self._voice.hear(audio)) as pieces:
                    async for piece in pieces:
                        await self._pass_on(self._protocol.hear, item_id, piece)
            except ConnectionClosed:
                return
            except Exception as error:
                failure = f"The ears failed: {type(error).__name__}: {error}"
            await self._pass_on(self._protocol.heard, item_id, failure)

    async def _pass_on(
        self, tell: Callable[_P, Sequence[Output]], *args: _P.args, **named: _P.kwargs
    ) -> None:
        async with self._order:
            await self._perform(tell(*args, **named))

    async def _hang_up(self, hang_up: CloseConnection) -> None:
        if hang_up.problem is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS), self._order:
                    await self._perform(self._protocol.refuse(hang_up.problem))
        if hang_up.code == _BROKEN:
            self._socket.transport.abort()
        else:
            await self._close(hang_up.code, hang_up.reason)


async def _fragments(frame: str) -> AsyncGenerator[str, None]:
    for start in range(0, len(frame), FRAGMENT):
        yield frame[start : start + FRAGMENT]
        await asyncio.sleep(0)


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
_SHUTTING_DOWN = f"Your session hit the maximum duration of {SESSION_SECONDS // 60} minutes."
_EXPIRED = CloseConnection(
    1001, _SHUTTING_DOWN, ServerProblem(_SHUTTING_DOWN, "invalid_request_error", "session_expired")
)


def _dialect(request: Request) -> Dialect:
    asked = request.headers.get_all("OpenAI-Beta")
    if _BETA_PROTOCOL in offered(request) or any("realtime=v1" in line for line in asked):
        return Dialect.BETA
    return Dialect.GA
