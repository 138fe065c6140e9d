"""How much of an echo is removed, what that costs, and what is left of the speech over it:
`python tests/bench/echo.py`.

hibari tells a story on the loudspeaker of a simulated room. First the attenuation of the echo and
the CPU time of the canceller, while audio is played and while none is; then the word errors of
Whisper tiny in 20 sentences that are spoken over the story, with the echo and without it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, it is in nobody's package

from rtchat.audio.echo_canceller import EchoCanceller, is_installed
from rtchat.audio.pcm import RATE
from rtchat.core.values import BYTES_A_MS
from rtchat.server.local_voice import LocalVoice, missing
from tests.bench.voice import SENTENCES, hibari, row
from tests.sounds import transcript_of
from tests.wer import errors, words

MORE_SENTENCES = (
    "Stop, please stop.",
    "Wait a moment, I have another question.",
    "Could you say that again more slowly?",
    "The meeting was moved to Thursday afternoon.",
    "I would like two tickets for the evening show.",
    "How far is it from Rome to Naples?",
    "Her brother works at the harbour on the weekends.",
    "Please turn the volume down a little.",
    "What was the name of the clockmaker in that story?",
    "We ran out of milk and bread this morning.",
)
STORY = (
    "Once upon a time there was a small village at the foot of a mountain, and an old clockmaker "
    "lived there who had never been seen without his hat. Every evening he wound the big clock in "
    "the tower, and the children listened to its bells and to the stories he told them until dark."
)
ROOMS = [(db, delay_ms) for db in (-6, -20, -30) for delay_ms in (60, 200)]
NOISE = 10
"""The root mean square of the microphone's own noise."""
STEP = RATE // 50 * 2
"""Bytes in 20 ms."""
AHEAD = 6
"""Steps between the time at which the speaker is given audio and that at which it plays it."""


def samples(audio: bytes) -> Any:
    """PCM16 as floats."""
    return np.frombuffer(audio, "<i2").astype(float)


def pcm(values: Any) -> bytes:
    """Floats as PCM16."""
    return bytes(np.clip(values, -0x8000, 0x7FFF).astype("<i2").tobytes())


def in_room(played: bytes, said: bytes, db: int, delay_ms: int) -> bytes:
    """What the microphone captures, as long as what is played."""
    echo = samples(bytes(delay_ms * BYTES_A_MS) + played)[: len(played) // 2] * 10 ** (db / 20)
    noise = np.random.default_rng(0).normal(0, NOISE, len(echo))
    return pcm(echo + noise + samples(said.ljust(len(played), b"\0"))[: len(echo)])


class Room:
    """A canceller and its clock. `cpu` is the time that it took, in seconds."""

    def __init__(self) -> None:
        self._canceller = EchoCanceller()
        self._steps = 0
        self.cpu = 0.0

    def clean(self, played: bytes, captured: bytes) -> bytes:
        """The microphone's audio without the echo."""
        blocks = [played[at : at + STEP] for at in range(0, len(played), STEP)]
        cleaned = bytearray()
        for number, block in enumerate([*blocks, *[b""] * AHEAD]):
            now = 100 + (self._steps + number) * 0.02
            if block:
                self._canceller.played(block, RATE, now)
            if number >= AHEAD:
                piece = captured[(number - AHEAD) * STEP :][:STEP]
                began = time.process_time()
                cleaned += self._canceller.clean(piece, RATE, now - AHEAD * 0.02)
                self.cpu += time.process_time() - began
        self._steps += len(blocks)
        return bytes(cleaned)


def attenuation(story: bytes) -> None:
    """The table of echoes without speech."""
    row("an echo alone", "before dB", "after dB", "less dB", "CPU %")
    seconds = len(story) / RATE / 2
    for db, delay_ms in ROOMS:
        room, captured = Room(), in_room(story, b"", db, delay_ms)
        room.clean(story, captured)  # it learns the room
        room.cpu = 0.0
        cleaned = room.clean(story, captured)
        before, after = (
            float(np.sqrt(np.mean(samples(each) ** 2))) for each in (captured, cleaned)
        )
        levels = [20 * np.log10(max(level, 1e-2) / 0x8000) for level in (before, after)]
        row(
            f"  {db} dB, {delay_ms} ms",
            *(f"{level:.0f}" for level in (*levels, levels[0] - levels[1])),
            f"{100 * room.cpu / seconds:.2f}",
        )
    room, nothing = Room(), bytes(len(story))
    room.clean(nothing, in_room(nothing, b"", 0, 0))
    row("  nothing is played", "", "", "", f"{100 * room.cpu / seconds:.2f}")


async def double_talk(voice: LocalVoice, story: bytes) -> None:
    """The table of speech over the story."""
    sentences = (*SENTENCES, *MORE_SENTENCES)
    said = [await hibari(voice, sentence) for sentence in sentences]
    count = sum(len(words(sentence)) for sentence in sentences)
    row(f"word errors in {count} words", "captured", "cleaned")
    alone = 0
    for sentence, audio in zip(sentences, said, strict=True):
        alone += len(errors(sentence, await transcript_of(voice, audio)))
    row("  without an echo", f"{alone / count:.1%}", "")
    for db, delay_ms in ROOMS:
        wrong = [0, 0]
        room = Room()
        room.clean(story, in_room(story, b"", db, delay_ms))
        for sentence, audio in zip(sentences, said, strict=True):
            size = (len(audio) + 2 * STEP) // STEP * STEP
            captured = in_room(story[:size], audio, db, delay_ms)
            for which, each in enumerate((captured, room.clean(story[:size], captured))):
                wrong[which] += len(errors(sentence, await transcript_of(voice, each)))
        row(f"  {db} dB, {delay_ms} ms", *(f"{each / count:.1%}" for each in wrong))


async def measure() -> None:
    """Both tables."""
    voice = LocalVoice()
    story = await hibari(voice, STORY)
    story = story[: len(story) // STEP * STEP]
    attenuation(story)
    await double_talk(voice, story)


def main() -> int:
    """Print the tables."""
    if absent := [*missing(), *(["pywebrtc_audio"] if not is_installed() else [])]:
        sys.stderr.write(f"not installed: {', '.join(absent)}\n")
        return 2
    asyncio.run(measure())
    return 0


if __name__ == "__main__":
    sys.exit(main())
