"""Conversations by pydantic-ai, which prints what it receives as JSON lines.

Arguments: the URL of the server, and a file of speech followed by silence (PCM16, 24 kHz).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.messages import SpeechPart, TextPart
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.realtime import RealtimeEvent, RealtimeSession
from pydantic_ai.realtime.openai import OpenAIRealtimeModel

URL, SPEECH = sys.argv[1].removesuffix("/realtime"), Path(sys.argv[2]).read_bytes()
# The package converts the URL of the HTTP API to a WebSocket URL.
MODEL = OpenAIRealtimeModel(
    "gpt-realtime", provider=OpenAIProvider(base_url=URL.replace("ws:", "http:"))
)

agent = Agent(instructions="Be brief.")


@agent.tool_plain
def weather(city: str) -> str:
    """The weather in a city."""
    say(tool={"city": city}, output=f"sunny in {city}")
    return f"sunny in {city}"


def say(**seen: object) -> None:
    print(json.dumps(seen), flush=True)


async def until(events: AsyncIterator[RealtimeEvent], kind: str) -> list[RealtimeEvent]:
    """The events up to the first of a kind. Errors are printed."""
    seen = []
    async for event in events:
        seen.append(event)
        if event.event_kind == "realtime_session_error":
            say(error=event.message)
        if event.event_kind == kind:
            return seen
    raise EOFError("the session ended")


def parts(session: RealtimeSession) -> list[SpeechPart | TextPart]:
    """The last part of each message in the history of the session."""
    return [message.parts[-1] for message in session.all_messages()]


def answer(session: RealtimeSession) -> str:
    """The last text of the model."""
    part = parts(session)[-1]
    return part.content if isinstance(part, TextPart) else part.transcript


async def text() -> None:
    """A question, and one that a tool answers."""
    async with agent.realtime(
        MODEL, model_settings={"output_modality": "text"}
    ).session() as session:
        events = aiter(session)
        for question in ("hello", "weather in Oslo?"):
            await session.send(question)
            await until(events, "realtime_turn_complete")
            say(text=answer(session))


async def interrupted() -> None:
    """An answer that the program stops, and a question after it."""
    async with agent.realtime(MODEL, model_settings={"turn_detection": False}).session() as session:
        events = aiter(session)
        await session.send("something long")
        await until(events, "part_delta")
        await session.interrupt(played_ms=100)
        await until(events, "realtime_turn_complete")
        say(interrupted=session.all_messages()[-1].state == "interrupted")
        await session.send("hello")
        await until(events, "realtime_turn_complete")
        say(text=answer(session))


async def spoken() -> None:
    """Spoken questions; the second answer is interrupted by the third question."""
    async with agent.realtime(MODEL).session() as session:
        events = aiter(session)
        await session.send_audio(SPEECH)
        seen = await until(events, "realtime_turn_complete")
        say(heard=parts(session)[-2].transcript)
        deltas = [event.delta for event in seen if event.event_kind == "part_delta"]
        say(audio=sum(len(delta.audio_chunk or b"") for delta in deltas))
        say(text=answer(session))
        await session.send_audio(SPEECH)
        await until(events, "part_end")  # of the question
        await until(events, "part_delta")
        await session.send_audio(SPEECH)
        await until(events, "realtime_turn_complete")
        say(interrupted=session.all_messages()[-1].state == "interrupted")
        await until(events, "realtime_turn_complete")
        say(text=answer(session))


async def main() -> None:
    await text()
    await interrupted()
    await spoken()


asyncio.run(main())
