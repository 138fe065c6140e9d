"""Conversations by the beta API of the package `openai`, which prints what it receives as JSON
lines.

Arguments: the URL of the server, and a file of speech followed by silence (PCM16, 24 kHz).
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from openai import AsyncOpenAI
from openai.resources.beta.realtime.realtime import AsyncRealtimeConnection
from openai.types.beta.realtime import RealtimeServerEvent

URL, SPEECH = sys.argv[1], Path(sys.argv[2]).read_bytes()
CLIENT = AsyncOpenAI(websocket_base_url=URL.removesuffix("/realtime"))
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def say(**seen: object) -> None:
    print(json.dumps(seen), flush=True)


@asynccontextmanager
async def connected(**session: object) -> AsyncIterator[AsyncRealtimeConnection]:
    async with CLIENT.beta.realtime.connect(model="gpt-4o-realtime-preview") as connection:
        await connection.session.update(session=session)
        await until(connection, "session.updated")
        yield connection


async def until(connection: AsyncRealtimeConnection, kind: str) -> list[RealtimeServerEvent]:
    """The events up to the first of a type. Errors are printed."""
    seen = []
    async for event in connection:
        seen.append(event)
        if event.type == "error":
            say(error=event.error.message)
        if event.type == kind:
            return seen
    raise EOFError("the connection was closed")


async def ask(connection: AsyncRealtimeConnection, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await connection.conversation.item.create(item=item)
    await connection.response.create()


async def answer(connection: AsyncRealtimeConnection) -> str:
    """The text of the next response."""
    return text_of(await until(connection, "response.done"))


def text_of(seen: list[RealtimeServerEvent]) -> str:
    kinds = ("response.text.delta", "response.audio_transcript.delta")
    return "".join(event.delta for event in seen if event.type in kinds)


async def speak(connection: AsyncRealtimeConnection) -> None:
    for start in range(0, len(SPEECH), 4800):
        audio = b64encode(SPEECH[start : start + 4800]).decode()
        await connection.input_audio_buffer.append(audio=audio)


async def text() -> None:
    """A question, and one that a tool answers."""
    async with connected(modalities=["text"], tools=[WEATHER]) as connection:
        await ask(connection, "hello")
        say(text=await answer(connection))
        await ask(connection, "weather in Oslo?")
        (call,) = (await until(connection, "response.done"))[-1].response.output
        arguments = json.loads(call.arguments)
        output = f"sunny in {arguments['city']}"
        say(tool=arguments, output=output)
        item = {"type": "function_call_output", "call_id": call.call_id, "output": output}
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        say(text=await answer(connection))


async def interrupted() -> None:
    """An answer that the program stops, and a question after it."""
    async with connected(turn_detection=None) as connection:
        await ask(connection, "something long")
        audio = (await until(connection, "response.audio.delta"))[-1]
        await connection.response.cancel()
        done = (await until(connection, "response.done"))[-1]
        await connection.conversation.item.truncate(
            item_id=audio.item_id, content_index=0, audio_end_ms=50
        )
        await until(connection, "conversation.item.truncated")
        say(interrupted=done.response.status == "cancelled")
        await ask(connection, "hello")
        say(text=await answer(connection))


async def spoken() -> None:
    """Spoken questions; the second answer is interrupted by the third question."""
    hears = {"input_audio_transcription": {"model": "whisper-1"}}
    async with connected(**hears, turn_detection={"type": "server_vad"}) as connection:
        await speak(connection)
        seen = await until(connection, "response.done")
        heard = "conversation.item.input_audio_transcription.completed"
        say(heard="".join(event.transcript for event in seen if event.type == heard))
        audio = [event.delta for event in seen if event.type == "response.audio.delta"]
        say(audio=sum(len(b64decode(piece)) for piece in audio))
        say(text=text_of(seen))
        await speak(connection)
        await until(connection, "response.audio.delta")
        await speak(connection)
        done = (await until(connection, "response.done"))[-1]
        say(interrupted=done.response.status_details.reason == "turn_detected")
        say(text=await answer(connection))


async def main() -> None:
    await text()
    await interrupted()
    await spoken()


asyncio.run(main())
