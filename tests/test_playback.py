"""The playback queue and its position, without a device."""

from __future__ import annotations

import threading
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.audio.pcm import RATE
from rtchat.audio.playback import MAX_QUEUED_SECONDS, Playback
from rtchat.core.events import PlaybackCut
from tests.sounds import without_silence

BLOCK = RATE // 50
"""Frames of 20 ms."""


def sound(number: int, ms: int) -> bytes:
    """Audio that differs from silence and from other audio."""
    return number.to_bytes(2, "little") * (RATE * ms // 1000)


def fed(playback: Playback, blocks: int) -> bytes:
    return b"".join(playback.feed(BLOCK) for _ in range(blocks))


def test_an_empty_queue_plays_silence() -> None:
    playback = Playback()
    assert playback.feed(BLOCK) == bytes(BLOCK * 2)
    assert (playback.is_playing(), playback.stop(), playback.underruns) == (False, None, 0)


def test_an_item_starts_after_buffering_100_ms() -> None:
    playback = Playback()
    playback.put("a", 0, sound(1, 80))
    assert fed(playback, 3) == bytes(BLOCK * 2 * 3)
    assert playback.is_playing()
    playback.put("a", 0, sound(1, 20))
    assert playback.feed(BLOCK) == sound(1, 20)


def test_a_short_item_starts_when_it_is_complete() -> None:
    playback = Playback()
    playback.put("a", 0, sound(1, 30))
    playback.end("a")
    assert fed(playback, 2) == sound(1, 30) + sound(0, 10)
    assert (playback.is_playing(), playback.underruns) == (False, 0)


def test_a_new_item_completes_the_previous_one() -> None:
    playback = Playback()
    playback.put("a", 0, sound(1, 30))
    playback.put("a", 1, sound(2, 20))
    playback.put("b", 0, sound(3, 100))
    assert fed(playback, 7) == sound(1, 30) + sound(2, 20) + sound(3, 90)


def test_a_gap_in_an_item_is_an_underrun_and_buffers_again() -> None:
    playback = Playback()
    playback.put("a", 0, sound(1, 110))
    assert fed(playback, 7) == sound(1, 110) + sound(0, 30)
    assert fed(playback, 9) == sound(0, 180)
    assert playback.underruns == 1
    playback.put("a", 0, sound(2, 99))
    assert playback.feed(BLOCK) == sound(0, 20)
    playback.put("a", 0, sound(2, 1))
    playback.end("a")
    assert fed(playback, 6) == sound(2, 100) + sound(0, 20)
    assert (playback.underruns, playback.is_playing()) == (1, False)


def test_silence_between_items_is_not_an_underrun() -> None:
    playback = Playback()
    for item in "abc":
        playback.put(item, 0, sound(1, 100))
        playback.end(item)
        assert fed(playback, 7) == sound(1, 100) + sound(0, 40)
    assert playback.underruns == 0


def test_stop_silences_at_once_and_returns_the_position() -> None:
    playback = Playback()
    playback.put("a", 2, sound(1, 1000))
    playback.put("b", 0, sound(2, 1000))
    fed(playback, 10)
    assert playback.stop() == PlaybackCut("a", 2, 200)
    assert fed(playback, 3) == sound(0, 60)
    assert (playback.stop(), playback.is_playing()) == (None, False)


@pytest.mark.parametrize(
    ("now", "item", "ms"),
    [
        *[(7.0, "a", 0), (7.06, "a", 0), (7.1, "a", 40), (7.159, "a", 99)],
        *[(7.16, "b", 0), (7.18, "b", 20), (7.2, "b", 40), (9.0, "b", 40)],
    ],
)
def test_audio_in_the_device_buffer_does_not_count_as_played(
    now: float, item: str, ms: int
) -> None:
    playback = Playback()
    playback.put("a", 0, sound(1, 100))
    playback.put("b", 0, sound(2, 1000))
    for number in range(1, 8):  # each is played 60 ms after it was fed
        playback.feed(BLOCK, until=7 + number * 0.02 + 0.06)
    assert playback.is_playing(now)
    assert playback.stop(now) == PlaybackCut(item, 0, ms)


def test_only_audio_not_yet_played_can_be_cut() -> None:
    playback = Playback()
    playback.put("a", 0, sound(1, 100))
    playback.end("a")
    for number in range(1, 6):
        playback.feed(BLOCK, until=number * 0.02 + 0.06)
    assert playback.is_playing(0.15)
    assert not playback.is_playing(0.16)
    assert playback.stop(0.15) == PlaybackCut("a", 0, 90)
    assert playback.stop(0.15) is None


def test_an_item_not_yet_started_is_cut_at_zero() -> None:
    playback = Playback()
    playback.put("a", 0, sound(1, 20))
    playback.feed(BLOCK, until=5.0)
    assert playback.stop(4.9) == PlaybackCut("a", 0, 0)


def test_an_item_that_continues_keeps_its_position() -> None:
    playback = Playback()
    playback.put("a", 0, sound(1, 100))
    playback.end("a")
    fed(playback, 6)
    playback.put("a", 0, sound(1, 100))
    fed(playback, 2)
    assert playback.stop() == PlaybackCut("a", 0, 140)


def test_the_device_has_its_own_rate() -> None:
    playback = Playback(48_000)
    playback.put("a", 0, bytes(48_000 * 2))
    playback.feed(4800)
    assert playback.stop() == PlaybackCut("a", 0, 100)


def test_the_length_of_the_queue_is_limited() -> None:
    playback = Playback()
    minute = bytes(60 * RATE * 2)
    for _ in range(MAX_QUEUED_SECONDS // 60):
        playback.put("a", 0, minute)
    playback.put("a", 0, b"\1\1")
    playback.end("a")
    for _ in range(MAX_QUEUED_SECONDS // 60):
        assert playback.feed(60 * RATE) == minute
    assert playback.feed(1) == bytes(2)


def test_queued_audio_is_not_copied() -> None:
    playback = Playback()
    minute = bytes(60 * RATE * 2)
    playback.put("a", 0, minute)
    tracemalloc.start()
    assert playback.feed(BLOCK) == bytes(BLOCK * 2)
    playback.stop()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < len(minute) / 2


def test_an_incomplete_sample_is_ignored_by_the_queue() -> None:
    playback = Playback()
    playback.put("a", 0, b"\1")
    assert not playback.is_playing()
    playback.put("a", 0, b"\1\2\3")
    playback.end("a")
    assert playback.feed(2) == b"\1\2\0\0"


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 1), st.integers(1, 4000)), max_size=30
    ),
    st.lists(st.integers(1, 2000), max_size=30),
    st.data(),
)
def test_all_audio_is_played_once_and_in_order(
    puts: list[tuple[str, int, int]], feeds: list[int], data: st.DataObject
) -> None:
    playback = Playback()
    put, out = bytearray(), bytearray()
    turns = data.draw(st.permutations([True] * len(puts) + [False] * len(feeds)))
    todo = iter(puts)
    blocks = iter(feeds)
    for is_put in turns:
        if is_put:
            item, index, frames = next(todo)
            audio = b"".join((len(put) // 2 + n + 1).to_bytes(2, "little") for n in range(frames))
            put += audio
            playback.put(item, index, audio)
        else:
            frames = next(blocks)
            block = playback.feed(frames)
            assert len(block) == frames * 2
            out += block
    for item in "abc":
        playback.end(item)
    assert playback.is_playing() == (len(without_silence(out)) < len(put))
    out += playback.feed(len(put) // 2 + 1)
    assert without_silence(out) == bytes(put)
    assert not playback.is_playing()


@given(st.lists(st.integers(1, 900), min_size=1, max_size=40), st.integers(0, 40))
def test_the_position_follows_the_audio_fed(pieces: list[int], blocks: int) -> None:
    playback = Playback()
    for ms in pieces:
        playback.put("a", 0, sound(1, ms))
    playback.end("a")
    heard = min(20 * blocks, sum(pieces))
    out = fed(playback, blocks)
    assert out == sound(1, heard) + bytes(len(out) - heard * RATE // 1000 * 2)
    left = sum(pieces) > heard
    assert playback.stop() == (PlaybackCut("a", 0, heard) if left else None)


@pytest.mark.parametrize("seconds", [20])
def test_two_threads_lose_nothing(seconds: int) -> None:
    playback = Playback()
    out: list[bytes] = []
    full = threading.Event()

    def device() -> None:
        size = 0
        while size < seconds * RATE * 2:
            block = without_silence(playback.feed(BLOCK))
            size += len(block)
            out.append(block)
        full.set()

    thread = threading.Thread(target=device)
    thread.start()
    for number in range(seconds * 100):
        playback.put("a", 0, sound(number % 65_000 + 1, 10))
    playback.end("a")
    assert full.wait(60)
    thread.join()
    assert b"".join(out) == b"".join(sound(n % 65_000 + 1, 10) for n in range(seconds * 100))
