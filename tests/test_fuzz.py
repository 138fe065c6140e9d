"""A small, repeatable run of `tests/fuzz_decode.py`, which reads a million damaged frames."""

from __future__ import annotations

from tests.fuzz_decode import fuzz


def test_damaged_frames_are_read_without_an_exception() -> None:
    counts = fuzz(20_000, seed=1)
    assert counts.total() == 20_000
    assert counts["Unknown"] < 18_000, "few frames were more than noise"
    assert len(counts) > 15, "few kinds of event were met"
