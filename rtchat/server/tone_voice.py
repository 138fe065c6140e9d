"""A voice without a model: it returns given transcripts and speaks tones.

For scripts, tests and demonstrations; it uses almost no CPU.
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
"""The length of the tone for each character, about the speed of speech."""
_PIECE_MS = 100
_FRAME = FRAME_MS * BYTES_A_MS
_SPEECH_LOUDNESS = 1000
"""The loudness that counts as certain speech. Room noise has about a tenth; tones are louder."""


class ToneVoice:
    """Transcribes any speech as the next of `transcripts`, counted over all clients. After the last
    one, and for silence, there is no transcript."""

    transcribes_early = False

    languages: Sequence[str] = ()

    def __init__(self, transcripts: Sequence[str] = ()) -> None:
        self._transcripts = iter(transcripts)

    def detector(self) -> LoudnessDetector:
        return LoudnessDetector()

    async def transcribe(self, audio: bytes) -> AsyncGenerator[str, None]:
        if any(share >= 1 for share in LoudnessDetector().feed(audio)):
            yield next(self._transcripts, "")

    async def speak(self, text: str, speed: float = 1.0) -> AsyncGenerator[bytes, None]:
        pieces, rest = divmod(round(len(text) * CHARACTER_MS / speed), _PIECE_MS)
        for piece in repeat(_tone(), pieces):
            yield piece
        if rest:
            yield _tone()[: rest * BYTES_A_MS]


class LoudnessDetector:
    """Treats loud audio as speech."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, audio: bytes) -> list[float]:
        audio = self._rest + audio
        whole = len(audio) // _FRAME * _FRAME
        self._rest = audio[whole:]
        return [
            min(1.0, loudness(audio[start : start + _FRAME]) / _SPEECH_LOUDNESS)
            for start in range(0, whole, _FRAME)
        ]


def loudness(audio: bytes) -> float:
    """The root mean square of the samples, 0 to 32768."""
    samples = array("h", audio)
    return sqrt(sum(map(mul, samples, samples)) / len(samples))


@cache
def _tone() -> bytes:
    """A piece of tone. At 480 Hz it contains complete periods, so that pieces join smoothly."""
    samples = _PIECE_MS * 24
    return array("h", (round(3000 * sin(2 * pi * n / 50)) for n in range(samples))).tobytes()
