"""One client's connection: runs engines and voices in tasks.

A lock is held from the creation of frames until they are sent, so that they leave in order. A
client that reads slowly therefore slows down only its own engine.
"""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
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
from rtchat.core.text import sentence
from rtchat.core.values import Dialect
from rtchat.server.audio_input import Transcribe, TranscribeEarly
from rtchat.server.client_secrets import ClientSecrets
from rtchat.server.engine import Answer, CloseConnection, Engine, Finish, limited
from rtchat.server.handshake import FRAGMENT, ClientConnection, offered
from rtchat.server.limits import MB, EventRate, MemoryBudget, ServerLimits, return_memory
from rtchat.server.outputs import Output, PrepareAnswer, StartResponse, StopResponse, Work
from rtchat.server.protocol import SESSION_SECONDS, ProtocolSession
from rtchat.server.response import Speak
from rtchat.server.streams import ENDED_EARLY, audio_pieces, catch_engine_errors, fragments
from rtchat.server.voice import Voice

_P = ParamSpec("_P")
_THREAD_FRAME = 16 * 1024
"""Longer frames are decoded in a thread, so that other clients do not have to wait."""
_LOCK_FRAME = MB
"""Of longer frames (images, files or attacks), only one is decoded at a time."""
_MAX_PENDING_TRANSCRIPTIONS = 8
"""The number of pending transcriptions after which the server stops reading from the client."""
CLOSE_SECONDS = 2.0
"""The maximum time to wait for the closing handshake."""
_MAX_GENERATIONS = 4
"""The maximum number of responses generated for a client at once; others wait."""
_TRIM_BYTES = 8 * MB
"""Sessions that used more than this many bytes return memory to the system at their end."""
_NORMAL, _GOING_AWAY = 1000, 1001
_ABNORMAL = 1006
"""The code of a connection that ended without a close frame. It cannot be sent."""
_MAX_AHEAD_SECONDS = 1.0
"""A client sends a recording if its audio is longer by this than the connection has lasted. The
turns of a recording are not transcribed early, because no user is waiting for them."""
_BETA_PROTOCOL = "openai-beta.realtime-v1"
_ALPHABET = string.ascii_letters + string.digits


def random_id(prefix: str) -> str:
    """An id in the format of OpenAI's server."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(21))}"


class Shared:
    """The state that all clients of a server share."""

    def __init__(
        self, engine: Engine, voice: Voice | str, seconds: float, limits: ServerLimits
    ) -> None:
        self.engine = engine
        self.voice = voice
        self.seconds = seconds
        self.limits = limits
        self.budget = MemoryBudget(limits.total_bytes)
        self.secrets = ClientSecrets(self.budget)
        self.reading = asyncio.Lock()
        """Held while a long event is decoded. Decoding several at once is not faster, and each
        takes several times its size in memory."""


class Client:
    """One client, served until either side closes."""

    def __init__(self, socket: ClientConnection, shared: Shared) -> None:
        request = socket.request
        assert request is not None  # the handshake is over
        query = parse_qs(urlsplit(request.path).query)
        opened = socket.secret
        wants_transcription = query.get("intent") == ["transcription"]
        self._socket = socket
        self._shared = shared
        self._engine = shared.engine
        self._voice = shared.voice
        self._budget = shared.budget
        self._protocol = ProtocolSession(
            shared.engine,
            new_id=random_id,
            now=time.time(),
            voice=shared.voice,
            model=(query.get("model") or query.get("deployment") or [""])[0],
            dialect=_dialect(request),
            seconds=shared.seconds,
            transcribes=wants_transcription if opened is None else opened.transcribes,
            limits=shared.limits,
            budget=shared.budget,
        )
        if opened is not None:
            self._protocol.configure(opened.options)
        self._held = self._max_held = 0
        """The bytes of this session counted in the budget, and their maximum so far."""
        self._event_rate = EventRate(shared.limits.events_per_second, time.monotonic())
        self._is_slowed = False
        self._send_lock = asyncio.Lock()
        self._group = asyncio.TaskGroup()
        self._responses: dict[str, set[asyncio.Task[None]]] = {}
        """The running tasks of each response: its engine and its voice."""
        self._generation_slots = asyncio.Semaphore(_MAX_GENERATIONS)
        self._opened = time.monotonic()
        self._transcriptions: set[asyncio.Task[None]] = set()
        self._transcription_lock = asyncio.Lock()
        """One client's recordings are transcribed in order; clients take turns."""

    async def run(self) -> None:
        """Serve the client until either side closes."""
        try:
            with suppress(ConnectionClosed):
                close = self._engine.on_connect()
                if close is None:
                    try:
                        async with asyncio.timeout(self._shared.seconds):
                            await self._converse()
                    except TimeoutError:
                        close = _EXPIRED
                if close is not None:
                    await self._close_early(close)
            await self._close(_NORMAL)
        finally:
            self._socket.transport.abort()
            self._protocol.release()
            self._update_budget()
            if self._max_held > _TRIM_BYTES:
                return_memory()

    async def shut_down(self, grace: float) -> None:
        """Give responses `grace` seconds to finish, then close."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while work := {
                    *self._transcriptions,
                    *chain.from_iterable(self._responses.values()),
                }:
                    await asyncio.wait(work)
        await self._close(_GOING_AWAY)

    async def _close(self, code: int, reason: str = "") -> None:
        """Close the connection. Drop it if the client does not complete the closing handshake."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close(code, reason)
        self._socket.transport.abort()

    async def _converse(self) -> None:
        async with self._group:
            closed = self._group.create_task(self._socket.wait_closed())
            keep_alive = self._group.create_task(self._keep_alive())
            try:
                await self._perform(self._protocol.open())
                async for frame in self._socket:
                    self._socket.message_taken()
                    async with self._send_lock:
                        await self._perform(await self._receive(frame))
                    del frame  # free it: it may be long, and the next one may take a while
                    await self._slow_down()
                    while self._has_transcription_backlog() and not closed.done():
                        first = asyncio.FIRST_COMPLETED
                        await asyncio.wait({closed, *self._transcriptions}, return_when=first)
            except ConnectionClosed:
                return
            finally:
                responses = chain.from_iterable(self._responses.values())
                for task in (closed, keep_alive, *self._transcriptions, *responses):
                    task.cancel()

    async def _keep_alive(self) -> None:
        with suppress(ConnectionClosed):
            await self._socket.keep_alive(self._shared.limits.client_seconds)

    async def _slow_down(self) -> None:
        """Wait until the client may send its next event. Always yields to other tasks."""
        seconds = self._event_rate.count(time.monotonic())
        if seconds and not self._is_slowed:
            async with self._send_lock:
                await self._perform(self._protocol.refuse(self._too_fast()))
        self._is_slowed = seconds > 0
        await asyncio.sleep(seconds)

    def _too_fast(self) -> ServerProblem:
        rate = self._shared.limits.events_per_second
        message = f"Rate limit of {rate} events per second exceeded. Events are read more slowly."
        return ServerProblem(message, "rate_limit_error", "rate_limit_exceeded")

    def _has_transcription_backlog(self) -> bool:
        max_bytes = self._shared.limits.session_bytes // 4
        return (
            len(self._transcriptions) >= _MAX_PENDING_TRANSCRIPTIONS
            or self._protocol.untranscribed_bytes > max_bytes
        )

    async def _receive(self, frame: str | bytes) -> Sequence[Output]:
        if len(frame) <= _THREAD_FRAME:
            return self._protocol.receive(frame)
        if len(frame) <= _LOCK_FRAME:
            return await asyncio.to_thread(self._protocol.receive, frame)
        async with self._shared.reading:
            decoded = await asyncio.to_thread(self._protocol.decode, frame)
            if not isinstance(decoded.command, AppendAudio):
                return await asyncio.to_thread(self._protocol.execute, decoded)
        # Analyzing a long recording takes time: do it without the lock.
        return await asyncio.to_thread(self._protocol.execute, decoded)

    def _update_budget(self) -> None:
        """Update the budget with the session's current size."""
        held = self._protocol.held
        self._max_held = max(self._max_held, held)
        self._budget.used += held - self._held
        self._held = held

    async def _perform(self, outputs: Sequence[Output]) -> None:
        self._update_budget()
        left = deque(outputs)
        del outputs  # so that each is freed as soon as it is sent
        unsent = sum(len(output) for output in left if isinstance(output, str))
        self._budget.used += unsent
        try:
            while left:
                output = left.popleft()
                if isinstance(output, str):
                    await self._send(output)
                    unsent -= len(output)
                    self._budget.used -= len(output)
                else:
                    self._start_work(output)
        finally:
            self._budget.used -= unsent

    async def _send(self, frame: str) -> None:
        # Send long frames in fragments: encoding them at once would block other clients.
        await self._socket.send(frame if len(frame) <= FRAGMENT else fragments(frame))

    def _start_work(self, output: Work) -> None:
        match output:
            case StartResponse(response_id, answer):
                self._start(response_id, self._generate(response_id, answer))
            case PrepareAnswer(prompt):
                self._engine.prepare(prompt)
            case Speak():
                self._start(output.response_id, self._speak(output))
            case Transcribe(item_id, audio):
                self._start_transcription(self._transcribe(item_id, audio))
            case TranscribeEarly():
                self._start_transcription(self._transcribe_early(output))
            case StopResponse(response_id):
                for task in self._responses.get(response_id, ()):
                    task.cancel()
            case _:
                assert_never(output)

    def _start(self, response_id: str, work: Coroutine[None, None, None]) -> None:
        task = self._group.create_task(work)
        self._responses.setdefault(response_id, set()).add(task)
        task.add_done_callback(partial(self._remove_task, response_id))

    def _remove_task(self, response_id: str, task: asyncio.Task[None]) -> None:
        tasks = self._responses[response_id]
        tasks.remove(task)
        if not tasks:
            del self._responses[response_id]

    def _start_transcription(self, work: Coroutine[None, None, None]) -> None:
        task = self._group.create_task(work)
        self._transcriptions.add(task)
        task.add_done_callback(self._transcriptions.discard)

    async def _generate(self, response_id: str, answer: Answer) -> None:
        seconds = self._shared.limits.response_seconds
        late = replace(ENDED_EARLY, message=f"The response timed out after {seconds:g} s.")
        with suppress(ConnectionClosed):
            async with (
                self._generation_slots,
                aclosing(limited(catch_engine_errors(answer), seconds, late)) as pieces,
            ):
                async for piece in pieces:
                    match piece:
                        case CloseConnection():
                            await self._close_early(piece)
                            return
                        case Finish():
                            await self._feed_protocol(self._protocol.finish, response_id, piece)
                        case _:
                            await self._feed_protocol(self._protocol.add_piece, response_id, piece)

    async def _speak(self, speak: Speak) -> None:
        assert not isinstance(self._voice, str)  # otherwise nothing is spoken
        response_id, failure = speak.response_id, ""
        with suppress(ConnectionClosed):
            audio = self._voice.speak(speak.text, speak.speed)
            async with aclosing(audio_pieces(audio)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        failure = sentence(f"Speech synthesis failed: {piece}")
                    else:
                        await self._feed_protocol(self._protocol.add_audio, response_id, piece)
            await self._feed_protocol(self._protocol.end_speech, response_id, failure)

    async def _transcribe(self, item_id: str, audio: bytes) -> None:
        assert not isinstance(self._voice, str)  # otherwise nothing is transcribed
        failure = ""
        with suppress(ConnectionClosed):
            try:
                async with (
                    self._transcription_lock,
                    aclosing(self._voice.transcribe(audio)) as pieces,
                ):
                    async for piece in pieces:
                        await self._feed_protocol(self._protocol.add_transcript, item_id, piece)
            except ConnectionClosed:
                return
            except Exception as error:
                failure = sentence(f"Speech recognition failed: {type(error).__name__}: {error}")
            await self._feed_protocol(self._protocol.end_transcript, item_id, failure)

    async def _transcribe_early(self, turn: TranscribeEarly) -> None:
        assert not isinstance(self._voice, str)
        text: str | None = None
        elapsed = time.monotonic() - self._opened
        if turn.end_ms / 1000 <= elapsed + _MAX_AHEAD_SECONDS:
            with suppress(Exception):  # the transcription of the whole turn reports it
                async with (
                    self._transcription_lock,
                    aclosing(self._voice.transcribe(turn.audio)) as pieces,
                ):
                    text = "".join([piece async for piece in pieces])
        with suppress(ConnectionClosed):
            await self._feed_protocol(self._protocol.add_early_transcript, turn.item_id, text)

    async def _feed_protocol(
        self, method: Callable[_P, Sequence[Output]], *args: _P.args, **kwargs: _P.kwargs
    ) -> None:
        async with self._send_lock:
            await self._perform(method(*args, **kwargs))

    async def _close_early(self, close: CloseConnection) -> None:
        if close.problem is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS), self._send_lock:
                    await self._perform(self._protocol.refuse(close.problem))
        if close.code == _ABNORMAL:
            self._socket.transport.abort()
        else:
            await self._close(close.code, close.reason)


_EXPIRED_MESSAGE = f"Your session hit the maximum duration of {SESSION_SECONDS // 60} minutes."
_EXPIRED = CloseConnection(
    1001,
    _EXPIRED_MESSAGE,
    ServerProblem(_EXPIRED_MESSAGE, "invalid_request_error", "session_expired"),
)


def _dialect(request: Request) -> Dialect:
    versions = request.headers.get_all("OpenAI-Beta")
    if _BETA_PROTOCOL in offered(request) or any("realtime=v1" in line for line in versions):
        return Dialect.BETA
    return Dialect.GA
