"""The protocols for speech detection, recognition and synthesis.

All audio is PCM16, mono, 24 kHz.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

FRAME_MS = 32
"""The length of a detector's frame, in milliseconds."""


class Detector(Protocol):
    """Detects speech in the audio of one client."""

    def feed(self, audio: bytes) -> Sequence[float]:
        """The probability of speech, 0 to 1, for each complete frame of `FRAME_MS`. An incomplete
        frame is kept for the next call."""


class Voice(Protocol):
    """Recognizes and synthesizes speech. All clients share one voice, which keeps no state."""

    @property
    def languages(self) -> Sequence[str]:
        """The codes of the languages that it recognizes; empty if it recognizes any."""

    @property
    def transcribes_early(self) -> bool:
        """Whether unfinished turns should be transcribed too, some of them repeatedly."""

    def detector(self) -> Detector:
        """A detector for one client."""

    def transcribe(self, audio: bytes) -> AsyncGenerator[str, None]:
        """The transcript, in pieces as they are recognized; a piece may be empty. Closing the
        generator early stops the recognition."""

    def speak(self, text: str, speed: float = 1.0) -> AsyncGenerator[bytes, None]:
        """The audio of a sentence or two, in pieces of complete samples. Closing the generator
        early stops the synthesis."""
