"""Conversations by semantic-kernel, which prints what it receives as JSON lines.

Arguments: the URL of the server, and a file of speech followed by silence (PCM16, 24 kHz).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from openai import AsyncOpenAI
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import (
    ListenEvents,
    OpenAIRealtimeExecutionSettings,
    OpenAIRealtimeWebsocket,
    SendEvents,
    TurnDetection,
)
from semantic_kernel.contents import AudioContent, TextContent
from semantic_kernel.contents.realtime_events import (
    RealtimeAudioEvent,
    RealtimeEvent,
    RealtimeEvents,
    RealtimeFunctionResultEvent,
    RealtimeTextEvent,
)
from semantic_kernel.functions import kernel_function

URL, SPEECH = sys.argv[1], Path(sys.argv[2]).read_bytes()


class Tools:
    @kernel_function
    def weather(self, city: str) -> str:
        """The weather in a city."""
        say(tool={"city": city}, output=f"sunny in {city}")
        return f"sunny in {city}"


def say(**seen: object) -> None:
    print(json.dumps(seen), flush=True)


def service() -> OpenAIRealtimeWebsocket:
    client = AsyncOpenAI(websocket_base_url=URL.removesuffix("/realtime"))
    return OpenAIRealtimeWebsocket(ai_model_id="gpt-realtime", client=client)


async def ask(rt: OpenAIRealtimeWebsocket, text: str) -> None:
    content = TextContent(text=text)
    kind = SendEvents.CONVERSATION_ITEM_CREATE
    await rt.send(RealtimeTextEvent(service_type=kind, text=content))
    await rt.send(RealtimeEvent(service_type=SendEvents.RESPONSE_CREATE))


async def speak(rt: OpenAIRealtimeWebsocket) -> None:
    for start in range(0, len(SPEECH), 4800):
        audio = AudioContent(data=SPEECH[start : start + 4800], data_format="base64")
        kind = SendEvents.INPUT_AUDIO_BUFFER_APPEND
        await rt.send(RealtimeAudioEvent(service_type=kind, audio=audio))


async def until(events: AsyncIterator[RealtimeEvents], kind: str) -> list[RealtimeEvents]:
    """The events up to the first of a type. Errors are printed."""
    seen = []
    async for event in events:
        seen.append(event)
        if event.service_type == ListenEvents.ERROR:
            say(error=event.service_event.error.message)
        if event.service_type == kind:
            return seen
    raise EOFError("the session ended")


async def answer(events: AsyncIterator[RealtimeEvents]) -> str:
    """The text of the next response."""
    return text_of(await until(events, ListenEvents.RESPONSE_DONE))


def text_of(seen: list[RealtimeEvents]) -> str:
    return "".join(event.text.text for event in seen if isinstance(event, RealtimeTextEvent))


async def text() -> None:
    """A question, and one that a tool answers."""
    settings = OpenAIRealtimeExecutionSettings(
        instructions="Be brief.",
        output_modalities=["text"],
        function_choice_behavior=FunctionChoiceBehavior.Auto(),
    )
    async with service()(settings=settings, plugins={"Tools": Tools()}) as rt:
        events = rt.receive()
        await ask(rt, "hello")
        say(text=await answer(events))
        await ask(rt, "weather in Oslo?")
        seen = await until(events, ListenEvents.RESPONSE_DONE)
        assert any(isinstance(event, RealtimeFunctionResultEvent) for event in seen)
        say(text=await answer(events))


async def interrupted() -> None:
    """An answer that the program stops, and a question after it."""
    async with service()(settings=OpenAIRealtimeExecutionSettings(voice="alloy")) as rt:
        events = rt.receive()
        await ask(rt, "something long")
        await until(events, ListenEvents.RESPONSE_AUDIO_DELTA)
        await rt.send(RealtimeEvent(service_type=SendEvents.RESPONSE_CANCEL))
        done = (await until(events, ListenEvents.RESPONSE_DONE))[-1]
        say(interrupted=done.service_event.response.status == "cancelled")
        await ask(rt, "hello")
        say(text=await answer(events))


async def spoken() -> None:
    """Spoken questions; the second answer is interrupted by the third question."""
    settings = OpenAIRealtimeExecutionSettings(
        turn_detection=TurnDetection(type="server_vad"),
        input_audio_transcription={"model": "whisper-1"},
    )
    async with service()(settings=settings) as rt:
        events = rt.receive()
        await speak(rt)
        kind = ListenEvents.CONVERSATION_ITEM_INPUT_AUDIO_TRANSCRIPTION_COMPLETED
        say(heard=(await until(events, kind))[-1].service_event.transcript)
        seen = await until(events, ListenEvents.RESPONSE_DONE)
        audio = [event.audio.data for event in seen if isinstance(event, RealtimeAudioEvent)]
        say(audio=sum(map(len, audio)))
        say(text=text_of(seen))
        await speak(rt)
        await until(events, ListenEvents.RESPONSE_AUDIO_DELTA)
        await speak(rt)
        done = (await until(events, ListenEvents.RESPONSE_DONE))[-1]
        say(interrupted=done.service_event.response.status_details.reason == "turn_detected")
        say(text=await answer(events))


async def main() -> None:
    await text()
    await interrupted()
    await spoken()


asyncio.run(main())
