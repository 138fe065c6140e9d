"""Conversations by livekit-agents with its OpenAI plug-in, which prints what it receives as JSON
lines.

Arguments: the URL of the server, and a file of speech followed by silence (PCM16, 24 kHz).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.llm import GenerationCreatedEvent, RealtimeSession
from livekit.agents.stt import SpeechEventType
from livekit.agents.utils import http_context
from livekit.plugins.openai import STT
from livekit.plugins.openai.realtime import RealtimeModel
from openai.types.realtime.realtime_audio_input_turn_detection import ServerVad

URL, SPEECH = sys.argv[1].removesuffix("/realtime"), Path(sys.argv[2]).read_bytes()


@function_tool
async def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def say(**seen: object) -> None:
    print(json.dumps(seen), flush=True)


class Assistant(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="Be brief.", tools=[weather])
        self.has_answered = asyncio.Event()

    async def transcription_node(self, text, model_settings):
        async for piece in text:
            self.has_answered.set()
            yield piece


async def text() -> None:
    """A question, one that a tool answers, and one whose answer the program stops."""
    model = RealtimeModel(base_url=URL, model="any", modalities=["text"])
    async with AgentSession(llm=model) as session:
        session.on("error", lambda event: say(error=str(event.error)))
        agent = Assistant()
        await session.start(agent)
        result = await session.run(user_input="hello")
        say(text=result.events[-1].item.text_content)

        result = await session.run(user_input="weather in Oslo?")
        call, output, message = [event.item for event in result.events]
        say(tool=json.loads(call.arguments), output=output.output)
        say(text=message.text_content)

        agent.has_answered.clear()
        speech = session.generate_reply(user_input="something long")
        await agent.has_answered.wait()
        await speech.interrupt()
        say(interrupted=speech.interrupted)
        result = await session.run(user_input="hello")
        say(text=result.events[-1].item.text_content)


def frames() -> Iterator[rtc.AudioFrame]:
    for start in range(0, len(SPEECH), 4800):
        piece = SPEECH[start : start + 4800]
        yield rtc.AudioFrame(piece, 24_000, 1, len(piece) // 2)


class Voice:
    """A session of the model, without the agent."""

    def __init__(self, session: RealtimeSession) -> None:
        self.session = session
        self.generations: asyncio.Queue[GenerationCreatedEvent] = asyncio.Queue()
        self.transcripts: asyncio.Queue[str] = asyncio.Queue()
        session.on("error", lambda event: say(error=str(event.error)))
        session.on("generation_created", self.generations.put_nowait)
        session.on("input_audio_transcription_completed", self._heard)

    def _heard(self, event) -> None:
        if event.is_final:
            self.transcripts.put_nowait(event.transcript)

    def speak(self) -> None:
        for frame in frames():
            self.session.push_audio(frame)


async def spoken() -> None:
    """Spoken questions; the second answer is interrupted by the third question."""
    detection = ServerVad(type="server_vad")
    model = RealtimeModel(base_url=URL, model="any", turn_detection=detection)
    voice = Voice(model.session())
    voice.speak()
    generation = await voice.generations.get()
    say(heard=await voice.transcripts.get())
    async for message in generation.message_stream:
        audio = sum([len(frame.data) * 2 async for frame in message.audio_stream])
        say(audio=audio)
        say(text="".join([piece async for piece in message.text_stream]))

    voice.speak()
    generation = await voice.generations.get()
    message = await anext(aiter(generation.message_stream))
    frame = await anext(aiter(message.audio_stream))
    voice.speak()
    second = await voice.generations.get()
    voice.session.truncate(
        message_id=message.message_id,
        modalities=["audio", "text"],
        audio_end_ms=int(frame.duration * 1000),
    )
    said = "".join([piece async for piece in message.text_stream])
    say(interrupted=said.startswith("This is long."))
    async for message in second.message_stream:
        say(text="".join([piece async for piece in message.text_stream]))
    await voice.session.aclose()


async def transcribed() -> None:
    """Speech that is only transcribed."""
    stream = STT(base_url=URL, model="gpt-4o-transcribe", use_realtime=True).stream()
    for frame in frames():
        stream.push_frame(frame)
    async for event in stream:
        if event.type == SpeechEventType.FINAL_TRANSCRIPT:
            say(transcribed=event.alternatives[0].text)
            break
    await stream.aclose()


async def main() -> None:
    async with http_context.open():
        await text()
        await spoken()
        await transcribed()


asyncio.run(main())
