"""The frame headers of audio that is a sequence of frames.

Each `…_frame` function returns the length in bytes of the frame that begins with these bytes,
including its header; 0 if they are no header.
"""

from __future__ import annotations

_MPEG_1_KILOBITS = {
    1: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_MPEG_2_KILOBITS = {
    1: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""The bit rates of MPEG 2 and 2.5 by layer."""
_AC3_KILOBITS = (
    *(32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640),
)
_AMR_BYTES = (13, 14, 16, 18, 20, 21, 27, 32, 6)
_AMR_WB_BYTES = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6)
_AMR_LOST, _AMR_NO_DATA = 14, 15


def mpeg_frame(audio: bytes) -> int:
    """An MPEG audio frame of layer I, II or III (MP3), but not of free format."""
    if not _is_mpeg(audio) or is_free_mpeg(audio):
        return 0
    version, layer = _version(audio), _layer(audio)
    bitrate, padding = audio[2] >> 4, audio[2] >> 1 & 1
    kilobits = (_MPEG_1_KILOBITS if version == 3 else _MPEG_2_KILOBITS)[layer][bitrate]
    samples, hertz = _mpeg_samples(audio)
    slot = 4 if layer == 1 else 1
    return (samples // 8 // slot * kilobits * 1000 // hertz + padding) * slot


def is_free_mpeg(audio: bytes) -> bool:
    """Whether an MPEG audio frame of free format begins with these bytes. Its header does not say
    how long it is."""
    return _is_mpeg(audio) and audio[2] >> 4 == 0


def _is_mpeg(audio: bytes) -> bool:
    """Whether these are the first bytes of an MPEG audio frame."""
    if len(audio) < 4 or audio[0] != 0xFF or audio[1] & 0xE0 != 0xE0:
        return False
    bitrate, rate = audio[2] >> 4, audio[2] >> 2 & 3
    return _version(audio) != 1 and _layer(audio) != 4 and bitrate != 15 and rate != 3


def mp3_frame(audio: bytes) -> int:
    """An MPEG audio frame of layer III."""
    length = mpeg_frame(audio)
    return length if length and _layer(audio) == 3 else 0


def mpeg_frame_seconds(frame: bytes) -> float:
    """The length in seconds of the audio in an MPEG audio frame."""
    samples, hertz = _mpeg_samples(frame)
    return samples / hertz


def _version(frame: bytes) -> int:
    """3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5."""
    return frame[1] >> 3 & 3


def _layer(frame: bytes) -> int:
    return 4 - (frame[1] >> 1 & 3)


def _mpeg_samples(frame: bytes) -> tuple[int, int]:
    """The number of samples in a frame, and the sample rate in Hz."""
    version, layer = _version(frame), _layer(frame)
    hertz = (44_100, 48_000, 32_000)[frame[2] >> 2 & 3] // {3: 1, 2: 2, 0: 4}[version]
    if layer == 1:
        return 384, hertz
    return 576 if layer == 3 and version != 3 else 1152, hertz


def adts_frame(audio: bytes) -> int:
    """A frame of AAC in an ADTS stream."""
    if len(audio) < 6 or audio[0] != 0xFF or audio[1] & 0xF6 != 0xF0:
        return 0
    return (audio[3] & 3) << 11 | audio[4] << 3 | audio[5] >> 5


def ac3_frame(audio: bytes) -> int:
    """A frame of AC-3 or E-AC-3."""
    if len(audio) < 6 or audio[:2] != b"\x0b\x77":
        return 0
    if (version := audio[5] >> 3) > 10:
        return 0 if version > 16 else 2 * (((audio[2] & 7) << 8 | audio[3]) + 1)
    rate, code = audio[4] >> 6, audio[4] & 0x3F
    if rate == 3 or code >= 2 * len(_AC3_KILOBITS):
        return 0
    words = _AC3_KILOBITS[code // 2] * 96_000 // (48_000, 44_100, 32_000)[rate]
    return 2 * (words + (code % 2 if rate == 1 else 0))


def amr_frame(audio: bytes) -> int:
    """A frame of AMR at 8 kHz."""
    return _amr_frame(audio, _AMR_BYTES)


def amr_wb_frame(audio: bytes) -> int:
    """A frame of AMR-WB, at 16 kHz."""
    return _amr_frame(audio, _AMR_WB_BYTES)


def _amr_frame(audio: bytes, sizes: tuple[int, ...]) -> int:
    if not audio:
        return 0
    kind = audio[0] >> 3 & 15
    if kind < len(sizes):
        return sizes[kind]
    return 1 if kind in (_AMR_LOST, _AMR_NO_DATA) else 0
