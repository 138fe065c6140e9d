"""Another engine as ours: any server of chat completions (Ollama, llama.cpp's, vLLM, a gateway).

Every question is a request of its own that carries the whole conversation: nothing is kept between
two but open connections, and one that is no longer wanted is closed, which stops the engine. It
needs `httpx2`, an optional part.
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
_LONGEST_ERROR = 64 * 1024


class UpstreamEngine:
    """Answers with what an upstream says. Use `connected`."""

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

    def greet(self) -> CloseConnection | None:
        return None

    async def answer(self, prompt: ModelInput) -> Answer:
        redacting = _Redacting(self._redactor)
        # The HTTP client's own timeout counts any bytes, even if they are only comments.
        silent = failed("The upstream fell silent.")
        answer = limited(self._ask(prompt), self._silent_seconds, silent, each=True)
        async with aclosing(answer) as pieces:
            async for piece in pieces:
                for redacted in redacting.read(piece):
                    yield redacted

    async def _ask(self, prompt: ModelInput) -> Answer:
        if (unable := not_supported(prompt)) is not None:
            yield unable
            return
        body = await asyncio.to_thread(self._body, prompt)
        reader = ChunkReader()
        try:
            async with self._send(body) as response:
                if response.status_code != 200:
                    yield await _refused(response)
                    return
                # To its end, past the last event of interest: only then is the connection free for
                # the next question.
                async for event in httpx2.EventSource(response):
                    for piece in reader.read(event.data):
                        yield piece
                    if reader.has_failed:
                        return
            cause: httpx2.HTTPError | None = None
        except httpx2.HTTPError as error:
            cause = error
        if not reader.has_ended:
            yield _explained(cause) if cause and not reader.is_over else reader.end()

    @asynccontextmanager
    async def _send(self, body: bytes) -> AsyncIterator[httpx2.Response]:
        request = self._client.build_request("POST", self._upstream.url, content=body)
        try:
            response = await self._client.send(request, stream=True)
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            # An open connection that the server had just given up: once more, on another.
            response = await self._client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    def _body(self, prompt: ModelInput) -> bytes:
        # Message by message: encoding a long conversation at once would stop all other threads.
        request = {**write_request(prompt, self.model)}
        messages = request.pop("messages")
        assert isinstance(messages, list)
        chat = b",".join(compact_json(message).encode() for message in messages)
        return b'%s,"messages":[%s]}' % (compact_json(request).encode()[:-1], chat)


class _Redacting:
    """Removes the server's keys, which an upstream may send back, from the pieces of an answer."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._streams: defaultdict[int | None, StreamRedactor] = defaultdict(
            lambda: StreamRedactor(redactor)
        )
        """The text, and the arguments of each call by its number."""

    def read(self, piece: OutputPiece) -> Iterator[OutputPiece]:
        """The pieces to pass on."""
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


async def _refused(response: httpx2.Response) -> Finish:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _LONGEST_ERROR:
            break
    retry_after = response.headers.get("Retry-After", "")
    return read_error(body.decode("utf-8", "replace"), response.status_code, retry_after)


def _explained(error: httpx2.HTTPError) -> Finish:
    match error:
        case httpx2.ConnectTimeout():
            return failed(f"The upstream did not answer within {_CONNECT_SECONDS:g} s.")
        case httpx2.TimeoutException():
            return failed("The upstream fell silent.")
        case httpx2.ConnectError():
            return failed(f"The upstream cannot be reached: {error}.")
        case httpx2.SSEError():
            return failed(f"The upstream did not stream: {error}")
        case _:
            return failed(f"The upstream broke off: {str(error) or type(error).__name__}.")


@asynccontextmanager
async def connected(
    upstream: Upstream,
    *,
    silent_seconds: float = UPSTREAM_SECONDS,
    secrets: Iterable[str] = (),
) -> AsyncIterator[UpstreamEngine]:
    """An engine that asks this upstream, while the block runs; it may come up later. `secrets`
    and its key are removed from what it says."""
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    if upstream.key:
        headers["Authorization"] = f"Bearer {upstream.key}"
    async with httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(silent_seconds, connect=_CONNECT_SECONDS, pool=None),
        # As many at once as there are sessions that ask.
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        # The authorities that the rest of the program trusts; and what is here needs no proxy.
        verify=ssl.create_default_context(),
        trust_env=not upstream.is_here,
    ) as client:
        redactor = Redactor((upstream.key, *secrets))
        yield UpstreamEngine(upstream, client, silent_seconds, redactor)
