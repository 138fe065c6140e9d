"""The length of an audio file, as its header says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from rtchat.audio import ffmpeg
from rtchat.audio.file_format import recognise
from rtchat.audio.input_file import opened
from rtchat.audio.sound_file import open_sound, stated_seconds
from rtchat.audio.wav_reader import WavFormat, read_header
from rtchat.core.errors import UsageError


def duration_ms(path: Path, raw: int | None = None) -> int | None:
    """The length in milliseconds; None if the header does not say it or the file cannot be read.
    `raw` is the sample rate of a file without a header."""
    try:
        with opened(path) as file:
            wav_format = read_header(file) if raw is None else WavFormat("i2", raw, 1)
            if wav_format is not None:
                return _wav_ms(wav_format, file.descriptor)
            with file.as_file() as seekable:
                seconds = _by_soundfile(seekable) or _by_ffmpeg(seekable)
    except (UsageError, OSError):
        return None
    return round(seconds * 1000) if seconds else None


def _wav_ms(wav_format: WavFormat, descriptor: int) -> int:
    rest = os.fstat(descriptor).st_size - os.lseek(descriptor, 0, os.SEEK_CUR)
    size = rest if wav_format.length is None else min(rest, wav_format.length)
    return size // wav_format.frame * 1000 // wav_format.rate


def _by_soundfile(file: BinaryIO) -> float:
    """The length in seconds; 0 if soundfile is not installed or does not know it."""
    try:
        sound = open_sound(file)
    except (ImportError, OSError):  # OSError: without libsndfile
        return 0.0
    if sound is None:
        return 0.0
    with sound:
        return stated_seconds(sound)


def _by_ffmpeg(file: BinaryIO) -> float:
    """The length in seconds; 0 if ffmpeg is not installed or does not know it."""
    known = recognise(file)
    return ffmpeg.duration(file, known) if known is not None and known.demuxer else 0.0
