"""An engine that forwards prompts to a chat completions server (Ollama, llama.cpp, vLLM, …).

Each request carries the complete conversation. Only open connections are kept between requests.
Cancelling a response closes its connection, which stops the upstream. Needs the extra `upstream`
(`httpx2`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import httpx2

from rtchat.core.redaction import Redactor, StreamRedactor
from rtchat.core.text import compact_json
from rtchat.server.chat_completions import (
    UPSTREAM_SECONDS,
    ChunkReader,
    Upstream,
    failed,
    not_supported,
    read_error,
    write_request,
)
from rtchat.server.engine import (
    Answer,
    CallPiece,
    CloseConnection,
    Finish,
    ModelInput,
    OutputPiece,
    limited,
)

_CONNECT_SECONDS = 10.0
_MAX_ERROR_BYTES = 64 * 1024
_TIMED_OUT = "The upstream timed out."


class UpstreamEngine:
    """Answers with the output of an upstream. Create it with `connect_upstream`."""

    instructions = ""

    def __init__(
        self,
        upstream: Upstream,
        client: httpx2.AsyncClient,
        silent_seconds: float,
        redactor: Redactor,
    ) -> None:
        self.model = upstream.model
        self._silent_seconds = silent_seconds
        self._redactor = redactor
        self._upstream = upstream
        self._client = client

    def on_connect(self) -> CloseConnection | None:
        return None

    def prepare(self, prompt: ModelInput) -> None:
        pass  # a request would be paid for

    async def answer(self, prompt: ModelInput) -> Answer:
        redactor = _AnswerRedactor(self._redactor)
        # The HTTP client's own timeout is reset by any bytes, even SSE comments.
        timed_out = failed(_TIMED_OUT)
        answer = limited(self._request(prompt), self._silent_seconds, timed_out, each=True)
        async with aclosing(answer) as pieces:
            async for piece in pieces:
                for redacted in redactor.read(piece):
                    yield redacted

    async def _request(self, prompt: ModelInput) -> Answer:
        if (unsupported := not_supported(prompt)) is not None:
            yield unsupported
            return
        body = await asyncio.to_thread(self._body, prompt)
        reader = ChunkReader()
        try:
            async with self._send(body) as response:
                if response.status_code != 200:
                    yield await _read_refusal(response)
                    return
                # Read the stream to its end, because only then can the connection be reused.
                async for event in httpx2.EventSource(response):
                    for piece in reader.read(event.data):
                        yield piece
                    if reader.has_failed:
                        return
            cause: httpx2.HTTPError | None = None
        except httpx2.HTTPError as error:
            cause = error
        if not reader.has_ended:
            yield _failure_of(cause) if cause and not reader.is_over else reader.end()

    @asynccontextmanager
    async def _send(self, body: bytes) -> AsyncIterator[httpx2.Response]:
        request = self._client.build_request("POST", self._upstream.url, content=body)
        try:
            response = await self._client.send(request, stream=True)
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            # The server had just closed a kept-alive connection: retry on a new one.
            response = await self._client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    def _body(self, prompt: ModelInput) -> bytes:
        # Encode each message separately: encoding a long conversation at once blocks other threads.
        request = {**write_request(prompt, self.model)}
        messages = request.pop("messages")
        assert isinstance(messages, list)
        chat = b",".join(compact_json(message).encode() for message in messages)
        return b'%s,"messages":[%s]}' % (compact_json(request).encode()[:-1], chat)


class _AnswerRedactor:
    """Redacts the server's keys in the pieces of an answer, because an upstream may echo them."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._streams: defaultdict[int | None, StreamRedactor] = defaultdict(
            lambda: StreamRedactor(redactor)
        )
        """One for the text (None) and one for the arguments of each call, by its number."""

    def read(self, piece: OutputPiece) -> Iterator[OutputPiece]:
        """The redacted pieces."""
        match piece:
            case str():
                if text := self._streams[None].feed(piece):
                    yield text
            case CallPiece(number, arguments, name, call_id):
                name, call_id = map(self._redactor.redact, (name, call_id))
                arguments = self._streams[number].feed(arguments)
                if name or arguments:
                    yield CallPiece(number, arguments, name, call_id)
            case Finish():
                for key, stream in self._streams.items():
                    if last := stream.end():
                        yield last if key is None else CallPiece(key, last)
                yield replace(piece, message=self._redactor.redact(piece.message))
            case CloseConnection():
                yield piece


async def _read_refusal(response: httpx2.Response) -> Finish:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MAX_ERROR_BYTES:
            break
    retry_after = response.headers.get("Retry-After", "")
    return read_error(body.decode("utf-8", "replace"), response.status_code, retry_after)


def _failure_of(error: httpx2.HTTPError) -> Finish:
    match error:
        case httpx2.ConnectTimeout():
            return failed(f"Connecting to the upstream timed out after {_CONNECT_SECONDS:g} s.")
        case httpx2.TimeoutException():
            return failed(_TIMED_OUT)
        case httpx2.ConnectError():
            return failed(f"Cannot connect to the upstream: {error}")
        case httpx2.SSEError():
            return failed(f"The upstream did not return an event stream: {error}")
        case _:
            return failed(
                f"The connection to the upstream was lost: {str(error) or type(error).__name__}"
            )


@asynccontextmanager
async def connect_upstream(
    upstream: Upstream,
    *,
    silent_seconds: float = UPSTREAM_SECONDS,
    secrets: Iterable[str] = (),
) -> AsyncIterator[UpstreamEngine]:
    """Open an engine for this upstream for the duration of the block. The upstream need not be
    running yet. `secrets` and its key are redacted from its output."""
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    if upstream.key:
        headers["Authorization"] = f"Bearer {upstream.key}"
    async with httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(silent_seconds, connect=_CONNECT_SECONDS, pool=None),
        # No limit: the sessions already limit the number of requests.
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        # Trust the same authorities as the rest of the program. No proxy for this machine.
        verify=ssl.create_default_context(),
        trust_env=not upstream.is_local,
    ) as client:
        redactor = Redactor((upstream.key, *secrets))
        yield UpstreamEngine(upstream, client, silent_seconds, redactor)
