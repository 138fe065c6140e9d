"""Conversations by openai-agents, which prints what it receives as JSON lines.

Arguments: the URL of the server, and a file of speech followed by silence (PCM16, 24 kHz).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from agents import function_tool
from agents.realtime import (
    RealtimeAgent,
    RealtimeRunner,
    RealtimeSessionEvent,
)

URL, SPEECH = sys.argv[1], Path(sys.argv[2]).read_bytes()


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def say(**seen: object) -> None:
    print(json.dumps(seen), flush=True)


def said(seen: list[RealtimeSessionEvent]) -> str:
    """The last message of the assistant in the history after these events."""
    history = [event.history for event in seen if event.type == "history_updated"][-1]
    messages = [item for item in history if item.type == "message" and item.role == "assistant"]
    (part,) = messages[-1].content
    return part.text if part.type == "text" else part.transcript


async def until(
    events: AsyncIterator[RealtimeSessionEvent], is_last: Callable[[RealtimeSessionEvent], bool]
) -> list[RealtimeSessionEvent]:
    """The events up to the first that matches. Errors are printed."""
    seen = []
    async for event in events:
        seen.append(event)
        if event.type == "error":
            say(error=str(event.error))
        if event.type == "raw_model_event" and event.data.type == "exception":
            say(error=repr(event.data.exception))
        if is_last(event):
            return seen
    raise EOFError("the session ended")


def has_type(kind: str) -> Callable[[RealtimeSessionEvent], bool]:
    return lambda event: event.type == kind


def transcript_in(event: RealtimeSessionEvent) -> str:
    """The transcript of the user's speech, if the event has it."""
    if event.type != "raw_model_event":
        return ""
    is_transcript = event.data.type == "input_audio_transcription_completed"
    return event.data.transcript if is_transcript else ""


async def text() -> None:
    """A question, and one that a tool answers."""
    agent = RealtimeAgent(name="Assistant", instructions="Be brief.", tools=[weather])
    runner = RealtimeRunner(agent, config={"model_settings": {"output_modalities": ["text"]}})
    async with await runner.run(model_config={"url": URL}) as session:
        events = aiter(session)
        await session.send_message("hello")
        say(text=said(await until(events, has_type("agent_end"))))

        await session.send_message("weather in Oslo?")
        seen = await until(events, has_type("agent_end"))  # of the response with the call
        seen += await until(events, has_type("agent_end"))
        (end,) = [event for event in seen if event.type == "tool_end"]
        say(tool=json.loads(end.arguments), output=end.output)
        say(text=said(seen))


async def interrupted() -> None:
    """An answer that the program stops, and a question after it."""
    agent = RealtimeAgent(name="Assistant", instructions="Be brief.")
    settings = {"audio": {"input": {"turn_detection": None}}}
    runner = RealtimeRunner(agent, config={"model_settings": settings})
    async with await runner.run(model_config={"url": URL}) as session:
        events = aiter(session)
        await session.send_message("something long")
        await until(events, has_type("audio"))
        await session.interrupt()
        seen = await until(events, has_type("agent_end"))
        say(interrupted=any(event.type == "audio_interrupted" for event in seen))
        await session.send_message("hello")
        say(text=said(await until(events, has_type("agent_end"))))


async def spoken() -> None:
    """Spoken questions; the second answer is interrupted by the third question."""
    agent = RealtimeAgent(name="Assistant", instructions="Be brief.")
    heard = {"transcription": {"model": "whisper-1"}, "turn_detection": {"type": "server_vad"}}
    runner = RealtimeRunner(agent, config={"model_settings": {"audio": {"input": heard}}})
    async with await runner.run(model_config={"url": URL}) as session:
        events = aiter(session)
        await session.send_audio(SPEECH)
        seen = await until(events, has_type("audio_end"))
        (heard,) = [transcript for event in seen if (transcript := transcript_in(event))]
        say(heard=heard)
        say(audio=sum(len(event.audio.data) for event in seen if event.type == "audio"))
        say(text=said(seen + await until(events, has_type("agent_end"))))

        await session.send_audio(SPEECH)
        await until(events, has_type("audio"))
        await session.send_audio(SPEECH)
        seen = await until(events, has_type("agent_end"))
        say(interrupted=any(event.type == "audio_interrupted" for event in seen))
        say(text=said(await until(events, has_type("agent_end"))))


async def main() -> None:
    await text()
    await interrupted()
    await spoken()


asyncio.run(main())
