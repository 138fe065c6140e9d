"""Conversations by pipecat-ai, which prints what it receives as JSON lines.

Arguments: the URL of the server, and a file of speech followed by silence (PCM16, 24 kHz).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    FunctionCallResultFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMRunFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.services.openai.stt import OpenAIRealtimeSTTService
from pipecat.workers.runner import WorkerRunner

KEY = os.environ["OPENAI_API_KEY"]
URL, SPEECH = sys.argv[1], Path(sys.argv[2]).read_bytes()
SPOKEN = 6
"""How many of the first pieces of 100 ms are speech."""


def say(**seen: object) -> None:
    print(json.dumps(seen), flush=True)


async def weather(params: FunctionCallParams, city: str) -> None:
    """The weather in a city.

    Args:
        city: Its name.
    """
    await params.result_callback(f"sunny in {city}")


class Seen(FrameProcessor):
    """Queues the frames that pass. Errors are printed."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            say(error=frame.error)
        self.frames.put_nowait(frame)
        await self.push_frame(frame, direction)

    async def until(self, kind: type[Frame]) -> list[Frame]:
        frames = [await self.frames.get()]
        while not isinstance(frames[-1], kind):
            frames.append(await self.frames.get())
        return frames

    async def says(self, text: str) -> None:
        """Wait for this text, so that none of it arrives later."""
        said = ""
        while text not in said:
            frame = (await self.until(LLMTextFrame))[-1]
            said += frame.text if isinstance(frame, LLMTextFrame) else ""

    async def answer(self) -> str:
        """The text of the next response with text."""
        text = ""
        while not text:
            frames = await self.until(LLMFullResponseEndFrame)
            text = "".join(frame.text for frame in frames if isinstance(frame, LLMTextFrame))
        return text


@asynccontextmanager
async def running(stages: list[FrameProcessor]) -> AsyncIterator[PipelineWorker]:
    worker = PipelineWorker(Pipeline(stages), enable_rtvi=False)
    worker.set_reached_upstream_filter((ErrorFrame,))
    worker.add_event_handler("on_frame_reached_upstream", lambda _, frame: say(error=frame.error))
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runner.run())
        yield worker
        await worker.queue_frame(EndFrame())


@asynccontextmanager
async def talking(
    question: str, **session: object
) -> AsyncIterator[tuple[PipelineWorker, Seen, Seen]]:
    """A pipeline that has asked a question, and the frames before and after the model."""
    llm = OpenAIRealtimeLLMService(
        api_key=KEY,
        base_url=URL,
        settings=OpenAIRealtimeLLMService.Settings(
            model="gpt-realtime",
            system_instruction="Be brief.",
            session_properties=events.SessionProperties(**session),
        ),
    )
    messages = [{"role": "user", "content": question}]
    context = LLMContext(messages, ToolsSchema(standard_tools=[weather]))
    aggregators = LLMContextAggregatorPair(context)
    before, after = Seen(), Seen()
    stages = [aggregators.user(), before, llm, after, aggregators.assistant()]
    async with running(stages) as worker:
        await worker.queue_frame(LLMRunFrame())
        yield worker, before, after


def speech() -> list[Frame]:
    pieces = [SPEECH[start : start + 4800] for start in range(0, len(SPEECH), 4800)]
    return [InputAudioRawFrame(piece, 24_000, 1) for piece in pieces]


def hearing(turn_detection: events.TurnDetection | bool) -> events.AudioConfiguration:
    transcription = events.InputAudioTranscription()
    listens = events.AudioInput(transcription=transcription, turn_detection=turn_detection)
    return events.AudioConfiguration(input=listens)


async def speak(worker: PipelineWorker, before: Seen) -> None:
    """Ask a spoken question. As when a person speaks, it ends after it has interrupted what is
    said: an interruption during the answer to it would discard a part of that answer."""
    frames = speech()
    await worker.queue_frames(frames[:SPOKEN])
    await before.until(InterruptionFrame)
    await worker.queue_frames(frames[SPOKEN:])


async def text() -> None:
    """A question, and one that a tool answers."""
    async with talking("hello", output_modalities=["text"]) as (_, _, seen):
        say(text=await seen.answer())
    async with talking("weather in Oslo?", output_modalities=["text"]) as (_, _, seen):
        result = (await seen.until(FunctionCallResultFrame))[-1]
        say(tool=result.arguments, output=result.result)
        say(text=await seen.answer())


async def interrupted() -> None:
    """An answer that the program stops, and a question after it, which is spoken."""
    async with talking("something long", audio=hearing(turn_detection=False)) as (worker, _, seen):
        await seen.says("it does not end")
        await worker.queue_frame(InterruptionFrame())
        await seen.until(LLMFullResponseEndFrame)
        say(interrupted=True)
        await worker.queue_frames([*speech(), UserStoppedSpeakingFrame()])
        say(text=await seen.answer())


async def spoken() -> None:
    """Spoken questions; the second answer is interrupted by the third question."""
    audio = hearing(events.TurnDetection())
    async with talking("hello", audio=audio) as (worker, before, seen):
        await seen.answer()
        await speak(worker, before)
        frames = await seen.until(LLMFullResponseEndFrame)
        say(heard=(await before.until(TranscriptionFrame))[-1].text)
        say(audio=sum(len(frame.audio) for frame in frames if isinstance(frame, TTSAudioRawFrame)))
        say(text="".join(frame.text for frame in frames if isinstance(frame, LLMTextFrame)))
        await speak(worker, before)
        await seen.says("it does not end")
        await speak(worker, before)
        await seen.until(LLMFullResponseEndFrame)
        say(interrupted=True)
        say(text=await seen.answer())


async def transcribed() -> None:
    """Speech that is only transcribed."""
    stt = OpenAIRealtimeSTTService(api_key=KEY, base_url=URL, turn_detection={"type": "server_vad"})
    seen = Seen()
    async with running([stt, seen]) as worker:
        await worker.queue_frames(speech())
        say(transcribed=(await seen.until(TranscriptionFrame))[-1].text)


async def main() -> None:
    await text()
    await interrupted()
    await spoken()
    await transcribed()


asyncio.run(main())
