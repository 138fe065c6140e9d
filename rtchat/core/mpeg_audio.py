"""The frame headers of MPEG audio: MP3 (layer III) and AAC in ADTS frames."""

from __future__ import annotations

_MPEG_1_KILOBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG_2_KILOBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def mp3_frame(audio: bytes) -> int:
    """The length in bytes of the MPEG layer III frame at the start; 0 if there is none."""
    if len(audio) < 4 or audio[0] != 0xFF or audio[1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate = audio[1] >> 3 & 3, audio[2] >> 4, audio[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return 0
    kilobits = (_MPEG_1_KILOBITS if version == 3 else _MPEG_2_KILOBITS)[bitrate]
    samples, hertz = _mp3_samples(audio)
    return samples // 8 * kilobits * 1000 // hertz + (audio[2] >> 1 & 1)


def mp3_frame_seconds(frame: bytes) -> float:
    """The length of the audio in an MPEG layer III frame."""
    samples, hertz = _mp3_samples(frame)
    return samples / hertz


def _mp3_samples(frame: bytes) -> tuple[int, int]:
    """The samples in a frame, and the sample rate."""
    version = frame[1] >> 3 & 3
    hertz = (44_100, 48_000, 32_000)[frame[2] >> 2 & 3] // {3: 1, 2: 2, 0: 4}[version]
    return 1152 if version == 3 else 576, hertz


def adts_frame(audio: bytes) -> int:
    """The length in bytes of the AAC frame at the start; 0 if there is none."""
    if len(audio) < 6 or audio[0] != 0xFF or audio[1] & 0xF6 != 0xF0:
        return 0
    return (audio[3] & 3) << 11 | audio[4] << 3 | audio[5] >> 5
