"""Echo cancellation on simulated rooms: what the microphone captures is what was played, later and
quieter, and what the user says.

Real devices are in `test_echo_runs`, speech in `bench/echo.py`.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from functools import cache
from itertools import count
from random import Random
from typing import Any

import pytest

from rtchat.audio.echo_canceller import EchoCanceller
from rtchat.audio.echo_gate import EchoGate
from rtchat.audio.pcm import RATE, SILENCE_DB, decibels
from rtchat.audio.played_audio import MAX_JITTER_SECONDS, PlayedAudio
from rtchat.audio.portaudio import Kind
from rtchat.audio.residual_echo import ResidualEcho
from tests.sounds import frequency, silence, tone

np: Any = pytest.importorskip("numpy")
STEP = 480
"""Samples in 20 ms."""


@cache
def syllables(seconds: float, seed: int = 0, loud: float = 0.3) -> bytes:
    """Noise with the rhythm of speech: syllables of 100 to 300 ms, and pauses."""
    random = np.random.default_rng(seed)
    sound = np.zeros(0)
    while len(sound) < seconds * RATE:
        shape = np.sin(np.pi * np.linspace(0, 1, random.integers(RATE // 10, RATE // 3)))
        height = random.choice((0, 0.3, 0.6, 1, 1)) * loud
        sound = np.append(sound, height * shape * random.uniform(-1, 1, len(shape)))
    return pcm(32767 * sound[: round(seconds * RATE)])


def pcm(samples: Any) -> bytes:
    """Samples as PCM16."""
    return bytes(np.clip(np.round(samples), -32768, 32767).astype(np.int16).tobytes())


def mixed(first: bytes, second: bytes) -> bytes:
    """The sum of two audios that begin at the same time."""
    size = max(len(first), len(second))
    tracks = [np.frombuffer(each.ljust(size, b"\0"), np.int16) for each in (first, second)]
    return pcm(tracks[0].astype(float) + tracks[1])


def echo_of(audio: bytes, db: float, delay_ms: int) -> bytes:
    """The audio, later and quieter."""
    late = bytes(2 * RATE * delay_ms // 1000) + audio
    return pcm(np.frombuffer(late, np.int16) * 10 ** (db / 20))


def steps(audio: bytes) -> Iterator[tuple[float, bytes]]:
    """The audio in pieces of 20 ms, and the times at which they begin."""
    for number in count():
        piece = audio[number * STEP * 2 : (number + 1) * STEP * 2]
        if len(piece) < STEP * 2:
            return
        yield 100 + number * 0.02, piece


def clean(canceller: EchoCanceller, played: bytes, captured: bytes, *, jitter: float = 0) -> bytes:
    """What the canceller makes of a microphone; the devices' times are wrong by up to `jitter`."""
    random = Random(1)
    heard = bytearray()
    ahead = iter(steps(played))
    for begins, piece in steps(captured):
        for at, block in ahead:
            canceller.played(block, RATE, at + random.uniform(-jitter, jitter))
            if at > begins + 0.1:
                break
        heard += canceller.clean(piece, RATE, begins + random.uniform(-jitter, jitter))
    return bytes(heard)


def level(audio: bytes, start: float = 0, end: float = 1e9) -> float:
    """The level of the audio between two times, in decibels of full scale."""
    return decibels(audio[round(start * RATE) * 2 : round(min(end, 1e4) * RATE) * 2])


@pytest.mark.parametrize(
    ("db", "delay_ms", "jitter"), [(-6, 60, 0), (-6, 200, 0.008), (-20, 60, 0.008), (-20, 200, 0)]
)
def test_an_echo_is_removed(db: float, delay_ms: int, jitter: float) -> None:
    pytest.importorskip("pywebrtc_audio")
    gated: list[bool] = []
    played = syllables(6)
    captured = echo_of(played, db, delay_ms)
    heard = clean(EchoCanceller(lambda: gated.append(True)), played, captured, jitter=jitter)
    assert level(captured, 2) - level(heard, 2) > 10
    assert level(heard, 2) < -45
    assert gated == []


@pytest.mark.parametrize("kind", ["input", "output"])
def test_the_echo_of_another_device_is_learned_again(kind: Kind) -> None:
    pytest.importorskip("pywebrtc_audio")
    canceller = EchoCanceller()
    played = syllables(3)
    speech = mixed(echo_of(played, -20, 60), tone(700, 1.0, loud=0.05))
    heard = []
    for device in ("Built-in", "Built-in", "Headset"):
        canceller.use(kind, device)
        heard.append(level(clean(canceller, played, speech), 0.3, 0.9) > -30)
    assert heard == [False, True, False]


def test_speech_over_what_is_played_remains() -> None:
    pytest.importorskip("pywebrtc_audio")
    played, said = syllables(6), silence(4) + tone(700, 1.0, loud=0.2)
    captured = mixed(echo_of(played, -20, 60), said)
    heard = clean(EchoCanceller(), played, captured)
    assert level(heard, 4.2, 4.9) > level(captured, 4.2, 4.9) - 6
    assert level(heard, 2, 3.9) < -45


@pytest.mark.parametrize(("loud", "is_speech"), [(0.008, False), (0.02, True)])
def test_what_is_left_of_a_syllable_is_no_speech(loud: float, is_speech: bool) -> None:
    pytest.importorskip("pywebrtc_audio")
    played = syllables(8)
    rest = silence(5.0) + tone(700, 0.1, loud=loud) + silence(2.0)
    heard = clean(EchoCanceller(), played, mixed(echo_of(played, -20, 60), rest))
    assert (level(heard, 5, 5.4) > -60) is is_speech


def test_speech_is_not_heard_again_when_the_next_reply_begins() -> None:
    pytest.importorskip("pywebrtc_audio")
    played = syllables(1.2) + silence(3.8) + syllables(2, seed=3)
    said = silence(1.7) + tone(440, 1.6) + silence(3.7)
    heard = clean(EchoCanceller(), played, said)
    assert level(heard, 1.8, 3.2) > -20
    assert level(heard, 3.4) < -50


@pytest.mark.parametrize("pause", [0.5, 0.8, 1.1, 1.4])
def test_speech_soon_after_a_reply_is_no_reason_to_expect_a_loud_echo(pause: float) -> None:
    pytest.importorskip("pywebrtc_audio")
    said = tone(440, 1.0, loud=0.5)
    first, interruption = 1.2 + pause, 3.5 + pause
    played = tone(220, 1.2, loud=0.09) + silence(pause + 1.5) + tone(220, 2.5, loud=0.09)
    heard = clean(EchoCanceller(), played, silence(first) + said + silence(1.3) + said)
    assert level(heard, interruption + 0.1, interruption + 0.9) > -20


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 48_000])
def test_speech_is_not_heard_again_when_the_microphone_is_opened_again(rate: int) -> None:
    pytest.importorskip("pywebrtc_audio")
    canceller = EchoCanceller()
    said = tone(440, 1.0, rate=rate)
    assert decibels(canceller.clean(said, rate, 100)) > -20
    heard = canceller.clean(bytes(len(said)), rate, 103)
    assert len(heard) == len(said) // (rate // 50 * 2) * (rate // 50 * 2)
    assert decibels(heard) < -50


def test_an_echo_that_is_too_late_is_gated_and_reported_once() -> None:
    pytest.importorskip("pywebrtc_audio")
    gated: list[bool] = []
    played = syllables(12)
    captured = echo_of(played, -10, 900)
    heard = clean(EchoCanceller(lambda: gated.append(True)), played, captured)
    assert gated == [True]
    assert level(heard, 10, 12) == SILENCE_DB


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)


@pytest.mark.usefixtures("without_package")
@pytest.mark.parametrize("db", [-6, -20, -30])
def test_without_the_package_only_what_is_louder_than_the_echo_passes(db: float) -> None:
    gated: list[bool] = []
    played = syllables(6)
    loud = tone(700, 0.5, loud=0.9)
    captured = mixed(echo_of(played, db, 200), silence(4) + loud)
    heard = clean(EchoCanceller(lambda: gated.append(True)), played, captured)
    assert level(heard, 0, 3.9) == SILENCE_DB
    assert level(heard, 4.1, 4.4) > -6
    assert gated == [True]


@pytest.mark.usefixtures("without_package")
def test_without_the_package_the_microphone_is_unchanged_while_nothing_is_played() -> None:
    said = syllables(1)
    assert clean(EchoCanceller(), silence(1), said) == said
    assert clean(EchoCanceller(), b"", said) == said


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_devices_of_different_rates_are_matched(rate: int) -> None:
    pytest.importorskip("pywebrtc_audio")
    soxr = pytest.importorskip("soxr")
    played = syllables(5)
    captured = np.frombuffer(echo_of(played, -6, 60), np.int16).astype(np.float32)
    captured = pcm(soxr.resample(captured, RATE, rate))
    canceller, heard = EchoCanceller(), bytearray()
    size = rate // 50 * 2
    canceller.clean(b"", rate, 99)  # tells it the rate
    for begins, piece in steps(played):
        canceller.played(piece, RATE, begins)
    for number in range(len(captured) // size):
        heard += canceller.clean(captured[number * size :][:size], rate, 100 + number * 0.02)
    assert len(heard) == len(captured) // size * size
    assert decibels(bytes(heard[3 * rate * 2 :])) < -45


# ------------------------------------------------------------------------------- the time line


def block(value: int, count: int = STEP) -> bytes:
    return array("h", [value] * count).tobytes()


def test_what_was_played_is_found_by_its_time() -> None:
    played = PlayedAudio(RATE)
    played.add(block(1), RATE, 1.0)
    played.add(block(2), RATE, 1.02 + MAX_JITTER_SECONDS / 2)  # late, but continues
    played.add(block(3), RATE, 2.0)
    start = RATE
    assert played.read(start - 10, 20) == block(0, 10) + block(1, 10)
    assert played.read(start + STEP - 10, 20) == block(1, 10) + block(2, 10)
    assert played.read(start + 2 * STEP, STEP) == block(0)  # a gap is silence
    assert played.read(2 * RATE, STEP + 1) == block(3) + block(0, 1)
    assert played.read(3 * RATE, STEP) == block(0)


def test_audio_that_the_device_drops_is_replaced_by_what_it_plays_instead() -> None:
    played = PlayedAudio(RATE)
    for number in range(6):
        played.add(block(1), RATE, 1 + number * 0.02)
    played.restart()
    played.add(block(2), RATE, 1.01)
    heard = played.read(RATE, 2 * STEP)
    assert heard == block(1, STEP // 2) + block(2) + block(1, STEP // 2)


def test_a_speaker_that_returns_at_another_rate_is_resampled() -> None:
    pytest.importorskip("soxr")
    played = PlayedAudio(RATE)
    played.add(block(1), RATE, 1.0)
    sound = tone(440, 1, rate=48_000)
    for number in range(50):
        played.add(sound[number * 1920 :][:1920], 48_000, 2 + number * 0.02)
    assert played.read(RATE, STEP) == block(1)
    heard = played.read(2 * RATE, RATE // 2)
    assert frequency(heard) == pytest.approx(440, rel=0.01)


# ------------------------------------------------------------------------------ gate and residual


def test_the_gate_is_open_while_nothing_is_played() -> None:
    gate = EchoGate()
    assert gate.passes(-55, SILENCE_DB, 0.02)
    assert not gate.passes(-55, -10, 0.02)
    assert not gate.passes(-55, SILENCE_DB, 0.02)  # its echo may follow


def test_the_gate_learns_how_loud_the_echo_is() -> None:
    gate = EchoGate()
    speech, echo, played = -20, -40, -10
    assert not gate.passes(speech, played, 0.02)
    for _ in range(1000):
        assert not gate.passes(echo, played, 0.02)
    assert gate.passes(speech, played, 0.02)
    assert gate.passes(echo, played, 0.02)  # words are not cut
    for _ in range(15):
        gate.passes(echo, played, 0.02)
    assert not gate.passes(echo, played, 0.02)


@pytest.mark.parametrize(("delay_ms", "is_echo"), [(0, True), (800, True), (None, False)])
def test_an_echo_follows_what_is_played_and_speech_does_not(
    delay_ms: int | None, is_echo: bool
) -> None:
    pytest.importorskip("numpy")
    residual = ResidualEcho()
    played = syllables(9)
    heard = syllables(9, seed=7) if delay_ms is None else echo_of(played, -20, delay_ms)
    for (_, piece), (_, other) in zip(steps(heard), steps(played), strict=False):
        residual.add(decibels(piece), decibels(other))
    assert residual.is_echo == is_echo
    for (_, piece), (_, other) in zip(steps(silence(4)), steps(played), strict=False):
        residual.add(decibels(piece), decibels(other))
    assert not residual.is_echo
