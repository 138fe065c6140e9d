"""The audio of the program: PCM16 (signed, little-endian), mono, 24 kHz."""

from __future__ import annotations

from array import array
from math import log10
from operator import mul

RATE = 24_000
"""Samples per second."""
WIDTH = 2
"""Bytes per sample."""
SILENCE_DB = -60.0
"""Quieter audio counts as silence, in decibels of full scale."""


def decibels(audio: bytes) -> float:
    """The level of PCM16 in decibels of full scale; `SILENCE_DB` for silence."""
    samples = array("h", audio[: len(audio) - len(audio) % WIDTH])[::4]  # enough for a level
    power = sum(map(mul, samples, samples)) / max(1, len(samples)) / 32768**2
    return max(SILENCE_DB, 10 * log10(power)) if power else SILENCE_DB


def level(audio: bytes) -> float:
    """The level for a meter: 0 for silence, 1 for full scale, linear in decibels."""
    return 1 - decibels(audio) / SILENCE_DB


def is_silent(audio: bytes) -> bool:
    """Whether all samples are zero."""
    return not audio.strip(b"\0")
