"""The audio of the program: PCM16 (signed, little-endian), mono, 24 kHz."""

from __future__ import annotations

from array import array
from math import log10, sqrt

RATE = 24_000
"""Samples per second."""
WIDTH = 2
"""Bytes per sample."""
_FLOOR_DB = -60.0
"""The level that a meter shows as silence, relative to full scale."""


def level(audio: bytes) -> float:
    """The level for a meter: 0 for silence, 1 for full scale, linear in decibels."""
    samples = array("h", audio[: len(audio) - len(audio) % WIDTH])[::4]
    if not samples:
        return 0.0
    loudness = sqrt(sum(sample * sample for sample in samples) / len(samples)) / 32768
    return min(1.0, max(0.0, 1 - 20 * log10(loudness) / _FLOOR_DB)) if loudness else 0.0
