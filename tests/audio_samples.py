"""Audio files of many formats, made by ffmpeg: a tone of 440 Hz, or noise if it has no encoder."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import pytest

from rtchat.core.audio_frames import ac3_frame, adts_frame, amr_frame, mpeg_frame

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

SECONDS = 1.5
_SHORT_PAGES = ("-page_duration", "200000")
_PICTURE = ("-f", "lavfi", "-i", "testsrc=size=320x240:duration=1:rate=1")
_COVER = (*_PICTURE, "-c:v", "png", "-disposition:v", "attached_pic")


@dataclass(frozen=True)
class Sample:
    """A kind of file. `muxer` and `options` are ffmpeg's. `has_late_index` is whether nothing can
    be read without the end of the file, and `hides_cuts` is whether a cut file looks complete
    (frames of DTS are not followed, as files of DTS-HD contain two kinds; those of free format do
    not state their length)."""

    muxer: str
    options: Sequence[str] = ()
    is_usual: bool = False
    """Whether the quick tests use it."""
    has_late_index: bool = False
    hides_cuts: bool = False
    frame_length: Callable[[bytes], int] | None = None
    """For a format without a length, in which a cut between two frames cannot be noticed."""
    padding: float = 0.0
    """Seconds of silence that the encoder adds."""


SAMPLES = {
    "m4a": Sample("ipod", ("-c:a", "aac"), is_usual=True, has_late_index=True),
    "m4a streamed": Sample("ipod", ("-c:a", "aac", "-movflags", "+faststart"), is_usual=True),
    "m4a fragmented": Sample("mp4", ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov")),
    "m4a lossless": Sample("ipod", ("-c:a", "alac"), has_late_index=True),
    "m4a with cover": Sample("ipod", (*_COVER, "-movflags", "+faststart")),
    "mp4 with picture": Sample("mp4", (*_PICTURE, "-c:v", "mpeg4", "-movflags", "+faststart")),
    "mov": Sample("mov", ("-c:a", "aac"), has_late_index=True),
    "3gp": Sample("3gp", ("-c:a", "aac"), has_late_index=True),
    "aac": Sample("adts", ("-c:a", "aac"), frame_length=adts_frame),
    "aac with ID3": Sample("adts", ("-c:a", "aac", "-write_id3v2", "1"), frame_length=adts_frame),
    "webm opus": Sample("webm", ("-c:a", "libopus"), is_usual=True),
    "webm vorbis": Sample("webm", ("-c:a", "libvorbis")),
    "webm with picture": Sample("webm", (*_PICTURE, "-c:v", "libvpx", "-c:a", "libopus")),
    "webm live": Sample("webm", ("-c:a", "libopus", "-live", "1")),
    "mka": Sample("matroska", ("-c:a", "flac")),
    "wma": Sample("asf", ("-c:a", "wmav2")),
    "amr": Sample("", is_usual=True, frame_length=amr_frame),
    "mp3": Sample("mp3", is_usual=True),
    "mp3 without length": Sample("mp3", ("-write_xing", "0"), frame_length=mpeg_frame),
    "mp3 with cover": Sample("mp3", _COVER),
    "mp3 at 22 kHz": Sample("mp3", ("-ar", "22050", "-write_xing", "0"), frame_length=mpeg_frame),
    "mp3 at 8 kHz": Sample(
        "mp3", ("-ar", "8000", "-write_xing", "0"), frame_length=mpeg_frame, padding=0.1
    ),
    "mp3 of free format": Sample("", hides_cuts=True),
    "mp2": Sample("mp2", frame_length=mpeg_frame),
    "mp2 at 22 kHz": Sample("mp2", ("-ar", "22050"), frame_length=mpeg_frame),
    "ac3": Sample("ac3", frame_length=ac3_frame),
    "eac3": Sample("eac3", frame_length=ac3_frame),
    "dts": Sample("dts", ("-c:a", "dca", "-strict", "-2"), hides_cuts=True),
    "tta": Sample("tta"),
    "voc": Sample("voc"),
    "3g2": Sample("3g2", ("-c:a", "aac"), has_late_index=True),
    "caf opus": Sample("caf", ("-c:a", "libopus"), has_late_index=True),
    "wav mu-law": Sample("wav", ("-c:a", "pcm_mulaw")),
    "aiff mu-law": Sample("aiff", ("-c:a", "pcm_mulaw")),
    "au mu-law": Sample("au", ("-c:a", "pcm_mulaw")),
    "flv mp3": Sample("flv", ("-c:a", "libmp3lame")),
    "mpeg ts mp3": Sample("mpegts", ("-c:a", "libmp3lame")),
    "mpeg ts of camcorders": Sample("mpegts", ("-c:a", "ac3", "-mpegts_m2ts_mode", "1")),
    "real": Sample("rm", ("-c:a", "ac3")),
    "ogg vorbis": Sample("ogg", ("-c:a", "libvorbis", *_SHORT_PAGES), is_usual=True),
    "ogg opus": Sample("ogg", ("-c:a", "libopus", *_SHORT_PAGES)),
    "ogg speex": Sample("ogg", ("-c:a", "libspeex", "-ar", "16000", *_SHORT_PAGES)),
    "ogg flac": Sample("ogg", ("-c:a", "flac", *_SHORT_PAGES)),
    "flac": Sample("flac", is_usual=True),
    "wav": Sample("wav", is_usual=True),
    "wav adpcm": Sample("wav", ("-c:a", "adpcm_ima_wav")),
    "wav mp3": Sample("wav", ("-c:a", "libmp3lame")),
    "aiff": Sample("aiff"),
    "au": Sample("au"),
    "caf": Sample("caf", ("-c:a", "pcm_s16be")),
    "caf lossless": Sample("caf", ("-c:a", "alac"), has_late_index=True),
    "w64": Sample("w64"),
    "rf64": Sample("wav", ("-rf64", "always")),
    "flv": Sample("flv", ("-c:a", "aac")),
    "avi": Sample("avi", ("-c:a", "libmp3lame")),
    "mpeg": Sample("vob", ("-c:a", "mp2")),
    "mpeg ts": Sample("mpegts", ("-c:a", "aac")),
    "wavpack": Sample("wv"),
}
USUAL = [name for name, sample in SAMPLES.items() if sample.is_usual]
ALL = [
    name if sample.is_usual else pytest.param(name, marks=pytest.mark.full)
    for name, sample in SAMPLES.items()
]


@cache
def sample_file(name: str, seconds: float = SECONDS) -> bytes:
    """The content of a file. Skips the test if this ffmpeg lacks an encoder."""
    sample = SAMPLES[name]
    if not sample.muxer:
        return _amr(seconds) if name == "amr" else _free_format(seconds)
    return encode(sample.muxer, *sample.options, seconds=seconds)


def encode(muxer: str, *options: str, seconds: float = SECONDS) -> bytes:
    """A tone in a file made by ffmpeg."""
    sine = f"sine=frequency=440:duration={seconds}:sample_rate=44100"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", sine, *options]
    return _written([*command, "-f", muxer])


def _written(command: Sequence[str]) -> bytes:
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile() as file:
        done = subprocess.run([*command, "-y", file.name], capture_output=True, text=True)
        if "Unknown encoder" in done.stderr:
            pytest.skip(done.stderr.splitlines()[0])
        assert done.returncode == 0, done.stderr
        return file.read()


def _amr(seconds: float) -> bytes:
    """AMR at 12.2 kbit/s, in frames of 20 ms of noise."""
    noise = random.Random(1)
    frames = (b"\x3c" + noise.randbytes(31) for _ in range(round(seconds * 50)))
    return b"#!AMR\n" + b"".join(frames)


def _free_format(seconds: float) -> bytes:
    """MP3 without bit rates in the headers of its frames, which are all of the same length."""
    length = 384  # 128 kbit/s at 48 kHz
    options = ("-b:a", "128k", "-ar", "48000", "-write_xing", "0")
    data = bytearray(encode("mp3", *options, seconds=seconds))
    for place in range(data.index(b"\xff\xfb"), len(data), length):
        data[place + 2] &= 0x0F
    return bytes(data)
