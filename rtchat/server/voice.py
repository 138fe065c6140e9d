"""What a server hears and speaks with: the protocol between a client's dialogue and those below.

Audio is PCM16, mono, 24 kHz, everywhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

FRAME_MS = 32
"""Milliseconds of audio that a detector judges at a time."""


class Detector(Protocol):
    """Tells speech from everything else in the audio of one client."""

    def feed(self, audio: bytes) -> Sequence[float]:
        """How likely each further frame of `FRAME_MS` is speech, 0 to 1; what is left over waits
        for more."""


class Voice(Protocol):
    """Ears and a mouth. One voice is shared by all clients and keeps nothing about them."""

    def detector(self) -> Detector:
        """A detector for one client."""

    def hear(self, audio: bytes) -> AsyncGenerator[str, None]:
        """The words in it, in pieces as they are understood, which may be empty. Closing it early
        stops it."""

    def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        """A sentence or so, said aloud, in pieces of whole samples. Closing it early stops it."""
