"""Converts audio between the formats of servers and the sample rates of devices. All audio is mono.

Anything but PCM at the same rate needs the extra `audio`.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Protocol

from rtchat.core.errors import UsageError
from rtchat.core.values import AudioFormat, Encoding
from rtchat.system.installation import extra_hint

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

_SUBTYPES = {Encoding.ULAW: "ULAW", Encoding.ALAW: "ALAW"}
"""The names of G.711 encodings in `soundfile`."""


class Convert(Protocol):
    def __call__(self, audio: bytes, *, last: bool) -> bytes: ...


def converter(source: AudioFormat, target: AudioFormat, reason: str = "") -> Convert:
    """Returns a function that converts audio piece by piece. The pieces may be of any size; `last`
    flushes the rest and begins anew.

    Raises:
        UsageError: the extra `audio` is needed and not installed. `reason` says why it is needed;
            by default, that the session uses the other format.
    """
    return unchanged if source == target else _Converter(source, target, reason)


def unchanged(audio: bytes, *, last: bool) -> bytes:
    """The conversion between equal formats."""
    return audio


class _Converter:
    def __init__(self, source: AudioFormat, target: AudioFormat, reason: str) -> None:
        try:
            import soxr

            if _SUBTYPES.keys() & {source.encoding, target.encoding}:
                import soundfile  # noqa: F401 - used for each piece
        except (ImportError, OSError) as error:  # OSError: without libsndfile
            other = source if target == AudioFormat() else target
            reason = reason or f"the audio of this session is {other.encoding} at {other.rate} Hz"
            message = f"{reason}, so it needs the packages soxr and soundfile"
            raise UsageError(message, hint=extra_hint("audio")) from error
        self._source = source.encoding
        self._target = target.encoding
        self._rest = b""
        """The first byte of an incomplete sample."""
        # Unlike 16-bit integers, 32-bit floats are resampled without dither.
        self._resampler = (
            None
            if source.rate == target.rate
            else soxr.ResampleStream(source.rate, target.rate, 1, dtype="float32")
        )

    def __call__(self, audio: bytes, *, last: bool) -> bytes:
        audio = self._rest + audio
        width = 2 if self._source is Encoding.PCM else 1
        whole = len(audio) // width * width
        self._rest = b"" if last else audio[whole:]
        samples = _decode(audio[:whole], self._source)
        if self._resampler is not None:
            samples = self._resample(samples, last=last)
        return _encode(samples, self._target)

    def _resample(self, samples: NDArray[numpy.int16], *, last: bool) -> NDArray[numpy.int16]:
        import numpy as np

        assert self._resampler is not None
        floats = self._resampler.resample_chunk(samples.astype(np.float32), last=last)
        if last:
            self._resampler.clear()
        resampled: NDArray[numpy.int16]
        resampled = np.clip(np.rint(floats), -0x8000, 0x7FFF).astype("<i2")
        return resampled


def _decode(audio: bytes, encoding: Encoding) -> NDArray[numpy.int16]:
    samples: NDArray[numpy.int16]
    if encoding is Encoding.PCM:
        import numpy as np

        samples = np.frombuffer(audio, "<i2")
    else:
        import soundfile

        samples, _ = soundfile.read(
            BytesIO(audio),
            dtype="int16",
            samplerate=encoding.default_rate,
            channels=1,
            format="RAW",
            subtype=_SUBTYPES[encoding],
        )
    return samples


def _encode(samples: NDArray[numpy.int16], encoding: Encoding) -> bytes:
    if encoding is Encoding.PCM:
        return samples.tobytes()
    import soundfile

    file = BytesIO()
    subtype = _SUBTYPES[encoding]
    soundfile.write(file, samples, encoding.default_rate, format="RAW", subtype=subtype)
    return file.getvalue()
