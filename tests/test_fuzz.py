"""Spoiled frames in small: the same every time. `python tests/fuzz_decode.py` makes a million."""

from __future__ import annotations

from tests.fuzz_decode import fuzz


def test_damaged_frames_are_read_without_an_exception() -> None:
    counts = fuzz(20_000, seed=1)
    assert counts.total() == 20_000
    assert counts["Unknown"] < 18_000, "few frames were more than noise"
    assert len(counts) > 15, "few kinds of event were met"
