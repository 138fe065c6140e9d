"""The realtime client of the official `openai` package, for tests of the server."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import (
    RealtimeConversationItemFunctionCall,
    RealtimeFunctionToolParam,
    RealtimeResponse,
    RealtimeServerEvent,
    ResponseDoneEvent,
)

from rtchat.server.engine import Engine
from rtchat.server.protocol import NO_VOICE
from rtchat.server.sockets import run_server
from rtchat.server.voice import Voice
from tests.program import PATIENCE

WEATHER: RealtimeFunctionToolParam = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def client(url: str, key: str = "sesame") -> AsyncOpenAI:
    """A client of the server at this URL."""
    base = url.removesuffix("/realtime")
    return AsyncOpenAI(
        api_key=key, base_url=base.replace("ws", "http", 1), websocket_base_url=base, max_retries=0
    )


@asynccontextmanager
async def connected(
    engine: Engine, voice: Voice | str = NO_VOICE
) -> AsyncIterator[AsyncRealtimeConnection]:
    """A connection to a server with this engine and voice."""
    async with (
        run_server(engine, voice=voice, api_key="sesame") as url,
        client(url).realtime.connect(model="any") as connection,
    ):
        yield connection


@asynccontextmanager
async def talking(engine: Engine) -> AsyncIterator[AsyncRealtimeConnection]:
    """A connection whose session uses text."""
    async with connected(engine) as connection:
        await connection.session.update(
            session={"type": "realtime", "output_modalities": ["text"], "instructions": "Brief."}
        )
        updated = (await until(connection, "session.updated"))[-1]
        assert updated.type == "session.updated"
        assert updated.session.type == "realtime"
        assert updated.session.instructions == "Brief."
        yield connection


async def until(connection: AsyncRealtimeConnection, kind: str) -> list[RealtimeServerEvent]:
    """The events up to the first of this type."""
    events = []
    async with asyncio.timeout(PATIENCE):
        async for event in connection:
            events.append(event)
            if event.type == kind:
                break
    return events


async def ask(connection: AsyncRealtimeConnection, text: str) -> None:
    """Send a text message from the user."""
    await connection.conversation.item.create(
        item={
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": text}],
        }
    )
    await connection.response.create()


def done(events: list[RealtimeServerEvent]) -> RealtimeResponse:
    """The response in the last of these events."""
    last = events[-1]
    assert isinstance(last, ResponseDoneEvent)
    return last.response


def text(events: list[RealtimeServerEvent]) -> str:
    """The deltas of text, joined."""
    return "".join(e.delta for e in events if e.type == "response.output_text.delta")


async def speak(connection: AsyncRealtimeConnection, audio: bytes) -> None:
    """Send audio in pieces, as a microphone does."""
    for at in range(0, len(audio), 4800):
        piece = b64encode(audio[at : at + 4800]).decode()
        await connection.input_audio_buffer.append(audio=piece)


def heard(events: list[RealtimeServerEvent]) -> list[str]:
    """The transcripts of the user's speech."""
    return [
        e.transcript
        for e in events
        if e.type == "conversation.item.input_audio_transcription.completed"
    ]


def transcript(events: list[RealtimeServerEvent]) -> str:
    """The transcript deltas, joined."""
    return "".join(e.delta for e in events if e.type == "response.output_audio_transcript.delta")


def audio(events: list[RealtimeServerEvent]) -> bytes:
    """The audio deltas, joined."""
    return b"".join(b64decode(e.delta) for e in events if e.type == "response.output_audio.delta")


async def hold_tool_round(connection: AsyncRealtimeConnection, output: str) -> str:
    """Force a call of `weather` for "Oslo", send this output, and return the answer."""
    await connection.conversation.item.create(
        item={
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Weather in Oslo?"}],
        }
    )
    await connection.response.create(
        response={
            "tools": [WEATHER],
            "tool_choice": {"type": "function", "name": "weather"},
        }
    )
    events = await until(connection, "response.done")
    response = done(events)
    assert response.status == "completed"
    (call,) = response.output or []
    assert isinstance(call, RealtimeConversationItemFunctionCall)
    assert (call.name, call.status) == ("weather", "completed")
    pieces = [e for e in events if e.type == "response.function_call_arguments.delta"]
    assert len(pieces) > 1
    assert "".join(piece.delta for piece in pieces) == call.arguments
    assert {piece.call_id for piece in pieces} == {call.call_id}
    whole = [e for e in events if e.type == "response.function_call_arguments.done"]
    assert [(e.name, e.arguments) for e in whole] == [("weather", '{"city": "Oslo"}')]
    assert call.call_id is not None
    await connection.conversation.item.create(
        item={"type": "function_call_output", "call_id": call.call_id, "output": output}
    )
    await connection.response.create()
    answered = await until(connection, "response.done")
    assert done(answered).status == "completed"
    return text(answered)
