"""A voice without a model: it hears what it was told to hear, and hums what it says.

For scripts, tests and demonstrations; it costs next to nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, Sequence
from functools import cache
from itertools import repeat
from math import pi, sin, sqrt
from operator import mul

from rtchat.core.values import BYTES_A_MS
from rtchat.server.voice import FRAME_MS

CHARACTER_MS = 60
"""How long it hums for a character, about as long as a person speaks."""
_PIECE_MS = 100
_FRAME = FRAME_MS * BYTES_A_MS
_LOUD = 1000
"""The loudness of what is certainly speech: a room is at a tenth of it, and a hum above it."""


class ToneVoice:
    """Hears the next of `heard` whatever was said, all clients together, and then nothing; in
    silence it hears nothing either."""

    def __init__(self, heard: Sequence[str] = ()) -> None:
        self._heard = iter(heard)

    def detector(self) -> LoudnessDetector:
        return LoudnessDetector()

    async def hear(self, audio: bytes) -> AsyncGenerator[str, None]:
        if any(share >= 1 for share in LoudnessDetector().feed(audio)):
            yield next(self._heard, "")

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        pieces, rest = divmod(len(text) * CHARACTER_MS, _PIECE_MS)
        for piece in repeat(_hum(), pieces):
            yield piece
        if rest:
            yield _hum()[: rest * BYTES_A_MS]


class LoudnessDetector:
    """Takes whatever is loud for speech."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, audio: bytes) -> list[float]:
        audio = self._rest + audio
        whole = len(audio) // _FRAME * _FRAME
        self._rest = audio[whole:]
        return [
            min(1.0, loudness(audio[start : start + _FRAME]) / _LOUD)
            for start in range(0, whole, _FRAME)
        ]


def loudness(audio: bytes) -> float:
    """The root of the mean square of its samples, 0 to 32768."""
    samples = array("h", audio)
    return sqrt(sum(map(mul, samples, samples)) / len(samples))


@cache
def _hum() -> bytes:
    """A piece: 480 Hz, so that it ends where it began."""
    samples = _PIECE_MS * 24
    return array("h", (round(3000 * sin(2 * pi * n / 50)) for n in range(samples))).tobytes()
