"""How well and how fast the built-in voice hears and speaks: `python tests/bench/voice.py`.

First the parts: sentences said by hibari, cut out by the detector and written down by Whisper; the
same with noise; and said by another voice where espeak-ng is installed. Then spoken turns with the
built-in model over a WebSocket, at the pace of a microphone, and how long the user waits for the
first sound; the voice is loaded while the first question is asked. Server, model and this client
share the machine's cores, and so do other programs: see the load.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, it is in nobody's package

from rtchat.core.values import BYTES_A_MS
from rtchat.server import model_files
from rtchat.server.factory import open_engine
from rtchat.server.local_voice import LocalVoice, missing
from rtchat.server.sockets import run_server
from rtchat.server.turn_detection import TurnDetector, TurnEnded, TurnOptions
from rtchat.server.voice import Detector
from tests.loopback import Peer, configure, joined
from tests.sounds import transcript_of
from tests.wer import errors, words

SENTENCES = (
    "What is the capital of France?",
    "Please call Doctor Jane Miller tomorrow morning.",
    "The train to Boston leaves from platform twelve.",
    "My grandmother planted seventeen apple trees behind the old house.",
    "Is there a pharmacy near the central station that is open on Sundays?",
    "The blue jacket costs twenty three dollars.",
    "Turn left after the second bridge, then go straight on for about a mile.",
    "My name is Oliver Brown and I live in Vienna.",
    "How do I boil an egg so that the yolk stays soft?",
    "Remind me to water the plants in three days.",
)
NOISE = 0.15
"""Of the speech's root mean square."""
CHUNK_MS = 20
PAUSE_MS = 800
SHOWN = 90
"""Characters of an answer."""
TURNS = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
}
SESSION = configure(
    output_modalities=["audio"],
    audio={"input": {"turn_detection": TURNS, "transcription": {"model": "whisper-1"}}},
)


def row(what: str, *cells: str) -> None:
    """A line of the table."""
    sys.stdout.write(f"{what:<34}" + "".join(f"{cell:>13}" for cell in cells) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A line below it."""
    sys.stdout.write(f"    {text}\n")
    sys.stdout.flush()


def resident() -> float:
    """The memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Clock:
    """How long something takes, compared with the audio that it takes or makes."""

    def __init__(self) -> None:
        self.work = 0.0
        self.sound = 0.0

    async def time(self, work: Awaitable[Any], audio: bytes = b"") -> Any:
        """What comes of it; audio if none is given."""
        began = time.perf_counter()
        result = await work
        self.work += time.perf_counter() - began
        self.sound += len(audio or result) / BYTES_A_MS / 1000
        return result

    @property
    def factor(self) -> str:
        return f"{self.work / self.sound:.3f}" if self.sound else "-"


# ---------------------------------------------------------------------------------------- speakers


async def hibari(voice: LocalVoice, text: str) -> bytes:
    """The built-in voice."""
    return b"".join([piece async for piece in voice.speak(text)])


async def with_noise(voice: LocalVoice, text: str) -> bytes:
    """The built-in voice, badly recorded."""
    samples = np.frombuffer(await hibari(voice, text), "<i2").astype(float)
    level = NOISE * np.sqrt(np.mean(np.square(samples)))
    noise = np.random.default_rng(len(text)).normal(0, level, len(samples))
    return bytes((samples + noise).clip(-0x8000, 0x7FFF).astype("<i2").tobytes())


async def espeak(_voice: LocalVoice, text: str) -> bytes:
    """A robot, which nobody here was tuned to."""
    command = ["espeak-ng", "-v", "en-us", "--stdout", text]
    wav = (await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)).stdout
    rate = int.from_bytes(wav[24:28], "little")
    samples = np.frombuffer(wav[44 : len(wav) // 2 * 2], "<i2").astype(float)
    times = np.arange(len(samples) * 24_000 // rate) * rate / 24_000
    return bytes(np.interp(times, np.arange(len(samples)), samples).astype("<i2").tobytes())


# ------------------------------------------------------------------------------------------- parts


async def cut_out(detector: Detector, audio: bytes) -> list[bytes]:
    """The turns in it."""
    ears = TurnDetector(lambda: detector)
    ears.configure(TurnOptions())
    return [mark.audio for mark in ears.feed(audio) if isinstance(mark, TurnEnded)]


async def load(voice: LocalVoice) -> None:
    """What it costs to have a voice at all."""
    row("", "seconds", "MB after")
    row("a process with nothing loaded", "-", f"{resident():.0f}")
    steps: tuple[tuple[str, Callable[[], Awaitable[object]]], ...] = (
        ("the mouth, and a first word", lambda: hibari(voice, "Yes.")),
        ("the ears", lambda: transcript_of(voice, bytes(BYTES_A_MS * 1000) + b"\x01\x00" * 2400)),
    )
    for what, step in steps:
        began = time.perf_counter()
        await step()
        row(what, f"{time.perf_counter() - began:.2f}", f"{resident():.0f}")
    began = time.perf_counter()
    voice.detector()
    row("a detector", f"{time.perf_counter() - began:.3f}", f"{resident():.0f}")


async def measure(
    what: str, voice: LocalVoice, speaker: Callable[[LocalVoice, str], Awaitable[bytes]]
) -> None:
    """One row, and what was heard wrong."""
    speaking, detecting, hearing = Clock(), Clock(), Clock()
    total, wrong = 0, []
    pause = bytes(PAUSE_MS * BYTES_A_MS)
    for sentence in SENTENCES:
        audio = pause + await speaking.time(speaker(voice, sentence)) + pause
        turns = await detecting.time(cut_out(voice.detector(), audio), audio)
        heard = [await hearing.time(transcript_of(voice, turn), turn) for turn in turns]
        total += len(words(sentence))
        wrong += errors(sentence, " ".join(heard))
    rate = f"{len(wrong) / total:.1%}"
    row(what, str(total), rate, speaking.factor, detecting.factor, hearing.factor)
    for error in wrong:
        note(error)


# ------------------------------------------------------------------------------------- whole turns


def end_of_speech(audio: bytes) -> float:
    """Seconds until the last sound in it."""
    samples = np.abs(np.frombuffer(audio, "<i2").astype(int))
    return float(np.flatnonzero(samples > 0.02 * samples.max())[-1]) / 24_000


class Turn:
    """A question, sent at the pace of a microphone, until the answer is complete."""

    def __init__(self, peer: Peer, audio: bytes) -> None:
        self._peer = peer
        self._audio = audio
        self.heard = self.answer = ""
        self.stopped = self.sounded = self.ended = 0.0

    async def run(self) -> None:
        """All of it."""
        async with asyncio.TaskGroup() as tasks:
            microphone = tasks.create_task(self._speak())
            async with asyncio.timeout(60):
                while (await self._listen())["type"] != "response.done":
                    pass
            microphone.cancel()

    async def _speak(self) -> None:
        began = time.perf_counter()
        self.ended = began + end_of_speech(self._audio)
        size = CHUNK_MS * BYTES_A_MS
        for number in count():
            chunk = self._audio[number * size : (number + 1) * size].ljust(size, b"\0")
            await asyncio.sleep(began + (number + 1) * CHUNK_MS / 1000 - time.perf_counter())
            event = {"type": "input_audio_buffer.append", "audio": b64encode(chunk).decode()}
            await self._peer.send(event)

    async def _listen(self) -> dict[str, Any]:
        event = await self._peer.receive()
        match event["type"]:
            case "input_audio_buffer.speech_stopped":
                self.stopped = time.perf_counter()
            case "response.output_audio.delta":
                self.sounded = self.sounded or time.perf_counter()
            case "conversation.item.input_audio_transcription.completed":
                self.heard = event["transcript"]
            case "response.output_audio_transcript.done":
                self.answer = event["transcript"]
            case _:
                pass
        return event


@asynccontextmanager
async def connected(voice: LocalVoice) -> AsyncIterator[Peer]:
    """A session with the built-in model."""
    with tempfile.TemporaryDirectory() as name:
        data_dir = Path(name)
        if model_files.find(data_dir) is None:
            model_files.install(data_dir)
        async with (
            open_engine("local", data_dir=data_dir, environ=os.environ) as engine,
            run_server(engine, voice=voice) as url,
            joined(url) as peer,
        ):
            await peer.send(SESSION)
            await peer.until("session.updated")
            yield peer


async def converse(audios: list[bytes]) -> None:
    """The table of turns."""
    after_stop, after_end = [], []
    async with connected(LocalVoice()) as peer:
        row("turns, ms until the first sound", "after stop", "after end")
        for sentence, audio in zip(SENTENCES, audios, strict=True):
            turn = Turn(peer, audio)
            await turn.run()
            after_stop.append((turn.sounded - turn.stopped) * 1000)
            after_end.append((turn.sounded - turn.ended) * 1000)
            row(f"  {len(after_end)}", f"{after_stop[-1]:.0f}", f"{after_end[-1]:.0f}")
            note(f"{turn.heard!r} {errors(sentence, turn.heard) or ''}")
            note(f"{turn.answer[:SHOWN]!r}")
        for what, measure in (("median", statistics.median), ("worst", max)):
            row(f"  {what}", *(f"{measure(times):.0f}" for times in (after_stop, after_end)))
        row("memory with model and voice, MB", f"{resident():.0f}")


async def measure_parts() -> list[bytes]:
    """The tables of the parts; the value is what hibari said."""
    voice = LocalVoice()
    await load(voice)
    row("", "words", "errors", "speak s/s", "detect s/s", "hear s/s")
    await measure("hibari", voice, hibari)
    await measure(f"hibari, noise {NOISE}", voice, with_noise)
    if shutil.which("espeak-ng"):
        await measure("espeak-ng", voice, espeak)
    return [await hibari(voice, sentence) for sentence in SENTENCES]


def parts() -> list[bytes]:
    """The same, for a process of their own: memory counts from nothing there."""
    return asyncio.run(measure_parts())


def main() -> int:
    """Print the tables."""
    if absent := missing():
        sys.stderr.write(f"the built-in voice is not installed (missing: {', '.join(absent)})\n")
        return 2
    row("load average", *(f"{load:.1f}" for load in os.getloadavg()))
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        audios = process.submit(parts).result()
    asyncio.run(converse(audios))
    row("load average", *(f"{load:.1f}" for load in os.getloadavg()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
