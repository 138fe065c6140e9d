"""How well and how fast the built-in voice hears and speaks: `python tests/bench/voice.py`.

First the parts: sentences said by hibari, cut out by the detector and written down by Whisper; the
same with noise; and said by another voice where espeak-ng is installed. faster-whisper, where it is
installed, transcribes the same turns with the same weights. Then spoken turns with the built-in
model over a WebSocket, at the pace of a microphone: how long the user waits for the text and for
the first sound, how soon an interruption is noticed, and the CPU time of each state. The voice is
loaded before the first question. Server, model and this client share the machine's cores, and so do
other programs: see the load.
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
from importlib.util import find_spec
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, it is in nobody's package

from rtchat.audio.portaudio import BLOCK_SECONDS
from rtchat.core.values import BYTES_A_MS
from rtchat.server import model_files
from rtchat.server.factory import open_engine
from rtchat.server.local_voice import LocalVoice, missing
from rtchat.server.sockets import run_server
from rtchat.server.turn_detection import TurnDetector, TurnEnded, TurnOptions
from rtchat.server.voice import Detector
from tests.loopback import Peer, configure, joined, user
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
NOISE_DB = 10
"""How much louder the speech is than the noise."""
STATE_SECONDS = 8
CHUNK_MS = round(BLOCK_SECONDS["input"] * 1000)
"""The length of audio that a microphone delivers at a time."""
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
    level = 10 ** (-NOISE_DB / 20) * np.sqrt(np.mean(np.square(samples)))
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


Transcribe = Callable[[bytes], Awaitable[str]]


def faster_whisper() -> Transcribe | None:
    """faster-whisper with the weights of the built-in voice; None if it is not installed."""
    if find_spec("faster_whisper") is None:
        return None
    import soxr
    from faster_whisper import WhisperModel

    from rtchat.server.whisper import weights

    model = WhisperModel(str(weights()), compute_type="int8", cpu_threads=1)

    def transcribe(audio: bytes) -> str:
        samples = np.frombuffer(audio, "<i2").astype(np.float32) / 0x8000
        segments, _ = model.transcribe(
            soxr.resample(samples, 24_000, 16_000), language="en", beam_size=1
        )
        return "".join(segment.text for segment in segments)

    return lambda audio: asyncio.to_thread(transcribe, audio)


async def measure(
    what: str,
    voice: LocalVoice,
    speaker: Callable[[LocalVoice, str], Awaitable[bytes]],
    other: Transcribe | None,
) -> None:
    """One row for the built-in voice and one for the other transcription, and what each heard
    wrong."""
    speaking, detecting, hearing, other_hearing = Clock(), Clock(), Clock(), Clock()
    total, wrong, other_wrong = 0, [], []
    pause = bytes(PAUSE_MS * BYTES_A_MS)
    for sentence in SENTENCES:
        audio = pause + await speaking.time(speaker(voice, sentence)) + pause
        turns = await detecting.time(cut_out(voice.detector(), audio), audio)
        heard = [await hearing.time(transcript_of(voice, turn), turn) for turn in turns]
        total += len(words(sentence))
        wrong += errors(sentence, " ".join(heard))
        if other is not None:
            heard = [await other_hearing.time(other(turn), turn) for turn in turns]
            other_wrong += errors(sentence, " ".join(heard))
    rate = f"{len(wrong) / total:.1%}"
    row(what, str(total), rate, speaking.factor, detecting.factor, hearing.factor)
    for error in wrong:
        note(error)
    if other is not None:
        rate = f"{len(other_wrong) / total:.1%}"
        row("  faster-whisper alone", str(total), rate, "-", "-", other_hearing.factor)
        for error in other_wrong:
            note(error)


# ------------------------------------------------------------------------------------- whole turns


def end_of_speech(audio: bytes) -> float:
    """Seconds until the last sound in it."""
    return float(_sounds(audio)[-1]) / 24_000


def start_of_speech(audio: bytes) -> float:
    """Seconds until the first sound in it."""
    return float(_sounds(audio)[0]) / 24_000


def _sounds(audio: bytes) -> Any:
    samples = np.abs(np.frombuffer(audio, "<i2").astype(int))
    return np.flatnonzero(samples > 0.02 * samples.max())


class Turn:
    """A question, sent at the pace of a microphone, until the answer is complete."""

    def __init__(self, peer: Peer, audio: bytes) -> None:
        self._peer = peer
        self._audio = audio
        self.heard = self.answer = ""
        self.transcribed = self.sounded = self.ended = 0.0

    async def run(self) -> None:
        """All of it."""
        async with asyncio.TaskGroup() as tasks:
            microphone = tasks.create_task(self.speak())
            async with asyncio.timeout(60):
                while (await self._listen())["type"] != "response.done":
                    pass
            microphone.cancel()

    async def speak(self) -> None:
        """Send the question, and then silence for ever."""
        began = time.perf_counter()
        self.ended = began + end_of_speech(self._audio)
        for number in count():
            await self._send_chunk(began, number)

    async def send(self) -> None:
        """Send the audio, and nothing after it."""
        began = time.perf_counter()
        for number in range(len(self._audio) // (CHUNK_MS * BYTES_A_MS)):
            await self._send_chunk(began, number)

    async def _send_chunk(self, began: float, number: int) -> None:
        size = CHUNK_MS * BYTES_A_MS
        chunk = self._audio[number * size : (number + 1) * size].ljust(size, b"\0")
        await asyncio.sleep(began + (number + 1) * CHUNK_MS / 1000 - time.perf_counter())
        event = {"type": "input_audio_buffer.append", "audio": b64encode(chunk).decode()}
        await self._peer.send(event)

    async def _listen(self) -> dict[str, Any]:
        event = await self._peer.receive()
        match event["type"]:
            case "response.output_audio.delta":
                self.sounded = self.sounded or time.perf_counter()
            case "conversation.item.input_audio_transcription.completed":
                self.heard = event["transcript"]
                self.transcribed = time.perf_counter()
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
    until_text, until_sound = [], []
    voice = LocalVoice()
    await transcript_of(voice, await hibari(voice, SENTENCES[0]))
    async with connected(voice) as peer:
        row("ms from the end of speech to the", "text", "first sound")
        for sentence, audio in zip(SENTENCES, audios, strict=True):
            turn = Turn(peer, audio)
            await turn.run()
            until_text.append((turn.transcribed - turn.ended) * 1000)
            until_sound.append((turn.sounded - turn.ended) * 1000)
            row(f"  {len(until_sound)}", f"{until_text[-1]:.0f}", f"{until_sound[-1]:.0f}")
            note(f"{turn.heard!r} {errors(sentence, turn.heard) or ''}")
            note(f"{turn.answer[:SHOWN]!r}")
        for what, measure in (("median", statistics.median), ("worst", max)):
            row(f"  {what}", *(f"{measure(times):.0f}" for times in (until_text, until_sound)))
        await interrupt(peer, audios)
        await measure_states(peer, audios)
        row("memory with model and voice, MB", f"{resident():.0f}")


async def interrupt(peer: Peer, audios: list[bytes]) -> None:
    """How soon the server notices speech during its answer, and cancels the answer."""
    noticed, cancelled = [], []
    for audio in audios[:5]:
        await peer.send(user("Tell me a long story about the sea."))
        await peer.send({"type": "response.create"})
        await peer.until("response.output_audio.delta")
        turn = Turn(peer, audio)
        began = time.perf_counter() + start_of_speech(audio)
        microphone = asyncio.create_task(turn.speak())
        events = await peer.until("input_audio_buffer.speech_started")
        noticed.append((time.perf_counter() - began) * 1000)
        if all(event["type"] != "response.done" for event in events):  # the story is not over
            await peer.until("response.done")
            cancelled.append((time.perf_counter() - began) * 1000)
        await peer.until("response.done")
        microphone.cancel()
    row("ms from speech to", "noticed", "cancelled")
    medians = (
        f"{statistics.median(times):.0f}" if times else "-" for times in (noticed, cancelled)
    )
    row("  median", *medians)


async def measure_states(peer: Peer, audios: list[bytes]) -> None:
    """The CPU time of each state, of server, models and client together."""
    silence = bytes(STATE_SECONDS * 1000 * BYTES_A_MS)
    hum = np.random.default_rng(0).normal(0, 30, len(silence) // 2).astype("<i2").tobytes()
    pause = bytes(PAUSE_MS * BYTES_A_MS)
    speech = b"".join(audio + pause for audio in audios)[: len(silence)]
    row("CPU, % of a core")
    await peer.send(
        configure(audio={"input": {"turn_detection": TURNS | {"create_response": False}}})
    )
    for what, audio in (("digital silence", silence), ("a quiet room", hum), ("speech", speech)):
        used, began = time.process_time(), time.perf_counter()
        await Turn(peer, audio).send()
        share = (time.process_time() - used) / (time.perf_counter() - began)
        row(f"  listening to {what}", f"{share:.1%}")
    used = time.process_time()
    await asyncio.sleep(STATE_SECONDS)
    row("  connected, without audio", f"{(time.process_time() - used) / STATE_SECONDS:.1%}")


async def measure_parts() -> list[bytes]:
    """The tables of the parts; the value is what hibari said."""
    voice = LocalVoice()
    await load(voice)
    row("", "words", "errors", "speak s/s", "detect s/s", "hear s/s")
    other = faster_whisper()
    await measure("hibari", voice, hibari, other)
    await measure(f"hibari, noise at {NOISE_DB} dB", voice, with_noise, other)
    if shutil.which("espeak-ng"):
        await measure("espeak-ng", voice, espeak, other)
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
