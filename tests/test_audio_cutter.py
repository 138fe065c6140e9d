"""Where long recordings are cut."""

from __future__ import annotations

import random
from array import array
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtchat.core import audio_cutter
from rtchat.core.audio_cutter import (
    FRAME_MS,
    MAX_PIECE_MS,
    MIN_PIECE_MS,
    AudioCutter,
    AudioPiece,
    best_cut,
    level,
)
from rtchat.core.values import BYTES_A_MS

LOUD, QUIET = 4000.0, 100.0


def cut(audio: bytes, chunk: int = 7001) -> list[AudioPiece]:
    """The pieces of audio that is added in chunks of this size."""
    cutter = AudioCutter()
    chunks = (audio[start : start + chunk] for start in range(0, len(audio), chunk))
    return [piece for each in chunks for piece in cutter.add(each)] + list(cutter.finish())


def sound(ms: int, sample: int = 3000) -> bytes:
    return array("h", [sample]).tobytes() * (ms * BYTES_A_MS // 2)


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 900), st.integers(0, 900)), min_size=1, max_size=20),
    chunk=st.sampled_from([962, 5000, 200_000]),
    odd=st.integers(0, 959),
)
def test_the_pieces_are_the_recording(lengths: list[tuple[int, int]], chunk: int, odd: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_cutter, "MIN_PIECE_MS", 2000)
        patch.setattr(audio_cutter, "MAX_PIECE_MS", 4000)
        words = (sound(word) + sound(pause, 5) for word, pause in lengths)
        audio = b"".join(words) + bytes(2 * odd)
        pieces = cut(audio, chunk)
        assert b"".join(piece.audio for piece in pieces) == audio
        assert [piece.number for piece in pieces] == list(range(len(pieces)))
        assert all(a.end_ms == b.start_ms for a, b in pairwise(pieces))
        assert all(2000 <= piece.end_ms - piece.start_ms <= 4000 for piece in pieces[:-1])
        assert pieces[-1].end_ms - pieces[-1].start_ms <= 5000
        assert cut(audio, 4800) == pieces


def speech(chance: random.Random, noise: float) -> list[float]:
    """The levels of words and pauses; at least one pause is 300 ms long."""
    levels: list[float] = []
    while len(levels) < 3000:
        levels += [chance.uniform(LOUD / 2, LOUD) for _ in range(chance.randint(5, 60))]
        pause = chance.choice([2, 4, 15, 25, 60])
        levels += [chance.uniform(0.8, 1.2) * noise for _ in range(pause)]
    return levels


@pytest.mark.parametrize("noise", [0.0, 10.0, QUIET, LOUD / 10])
@pytest.mark.parametrize("seed", range(10))
def test_no_word_is_cut_where_there_is_a_pause(noise: float, seed: int) -> None:
    levels = speech(random.Random(seed), noise)
    place = best_cut(levels)
    assert max(levels[place - 4 : place + 4]) <= 1.2 * noise


def test_a_long_and_late_pause_is_preferred() -> None:
    word, short, long = [LOUD] * 100, [QUIET] * 12, [QUIET] * 60
    assert best_cut(word + short + word + long + word) == 100 + 12 + 100 + 30
    assert best_cut(word + short + word + short + word) == 100 + 12 + 100 + 6
    assert best_cut(word + long + word + long + word) == 100 + 60 + 100 + 30


@pytest.mark.parametrize(
    ("levels", "place"),
    [
        ([LOUD] * 1000, 995),
        ([0.0] * 1000, 500),
        ([LOUD] * 500 + [LOUD / 2] * 10 + [LOUD] * 500, 505),
        ([LOUD] * 500 + [QUIET] * 10 + [LOUD] * 2500, 505),
        ([QUIET] * 2500 + [LOUD] * 100 + [QUIET] * 400, 2800),
    ],
    ids=["tone", "silence", "softer", "one pause", "one word"],
)
def test_audio_without_ordinary_pauses_is_cut_too(levels: list[float], place: int) -> None:
    assert best_cut(levels) == place


def test_the_last_piece_is_not_too_short_for_a_server() -> None:
    pieces = cut(sound(MAX_PIECE_MS + 500))
    assert [piece.end_ms for piece in pieces] == [MAX_PIECE_MS + 500]
    first, last = cut(sound(MAX_PIECE_MS + 1000))
    assert MIN_PIECE_MS <= first.end_ms <= MAX_PIECE_MS
    assert last.end_ms - last.start_ms >= 1000


def test_no_audio_is_no_piece() -> None:
    assert cut(b"") == []


def test_the_level_is_the_mean_of_the_samples() -> None:
    assert level(sound(FRAME_MS, -300)) == 300.0
    assert level(bytes(FRAME_MS * BYTES_A_MS)) == 0.0
