"""Generated audio and WAV files: PCM16, mono, 24 kHz unless another rate is given."""

from __future__ import annotations

import math
import wave
from array import array
from functools import cache
from pathlib import Path

from rtchat.audio.pcm import RATE
from rtchat.server.voice import Voice

SECOND = 2 * RATE
"""Bytes per second."""
QUIET = 300
"""Louder samples count as audible."""


@cache
def tone(hertz: float, seconds: float, *, rate: int = RATE, loud: float = 0.5) -> bytes:
    """A sine wave."""
    step = 2 * math.pi * hertz / rate
    samples = (loud * 32767 * math.sin(step * number) for number in range(round(seconds * rate)))
    return array("h", map(round, samples)).tobytes()


def silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE))


async def transcript_of(voice: Voice, audio: bytes) -> str:
    """The complete transcript of the audio."""
    return "".join([piece async for piece in voice.transcribe(audio)])


def trim_silence(audio: bytes, *, above: int = 1000) -> bytes:
    """Audio without the silence before and after it."""
    samples = array("h", audio)
    loud = [number for number, sample in enumerate(samples) if abs(sample) > above]
    return samples[loud[0] : loud[-1] + 1].tobytes() if loud else b""


def without_silence(audio: bytes | bytearray) -> bytes:
    """Audio without any silence."""
    frames = (bytes(audio[start : start + 2]) for start in range(0, len(audio), 2))
    return b"".join(frame for frame in frames if frame != b"\0\0")


def utterances(audio: bytes) -> list[tuple[int, int]]:
    """The first and last sample of each sound, separated by gaps of at least a quarter second."""
    found: list[tuple[int, int]] = []
    for number, sample in enumerate(array("h", audio)):
        if abs(sample) <= QUIET:
            continue
        if found and number - found[-1][1] < RATE / 4:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found


def frequency(audio: bytes, *, rate: int = RATE) -> float:
    """The frequency of a tone, from its zero crossings."""
    samples = array("h", audio)
    ups = [n for n in range(1, len(samples)) if samples[n - 1] < 0 <= samples[n]]
    return (len(ups) - 1) * rate / (ups[-1] - ups[0]) if len(ups) > 1 else 0.0


def write_wav(path: Path, audio: bytes) -> Path:
    """Write a WAV file. Returns its path."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(audio)
    return path


def wav_audio(path: Path) -> bytes:
    """The audio of a WAV file, after checking its header."""
    with wave.open(str(path)) as file:
        assert file.getparams()[:3] == (1, 2, RATE)
        audio: bytes = file.readframes(10**9)
        assert len(audio) == file.getnframes() * 2
        return audio
