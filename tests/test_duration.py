"""The length of audio files, from their headers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rtchat.audio.duration import duration_ms
from tests.sounds import silence, tone, write_wav


def test_the_length_of_a_wav(tmp_path: Path) -> None:
    file = write_wav(tmp_path / "a.wav", tone(440, 1.5))
    assert duration_ms(file) == 1500
    data = bytearray(file.read_bytes())
    file.write_bytes(data[: len(data) // 2])  # truncated
    assert duration_ms(file) in range(740, 760)
    data[40:44] = b"\xff\xff\xff\xff"  # unknown, as recorders write it
    file.write_bytes(data)
    assert duration_ms(file) == 1500


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_the_length_of_a_compressed_file(tmp_path: Path, ending: str) -> None:
    soundfile = pytest.importorskip("soundfile")
    numpy = pytest.importorskip("numpy")
    file = tmp_path / f"a.{ending}"
    soundfile.write(file, numpy.frombuffer(tone(440, 2.0), "<i2"), 24_000)
    found = duration_ms(file)
    assert found is not None
    assert abs(found - 2000) <= 100


@pytest.mark.parametrize("ending", ["m4a", "wma"])
def test_the_length_of_a_file_for_ffmpeg(tmp_path: Path, ending: str) -> None:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None or shutil.which("ffprobe") is None:
        pytest.skip("ffmpeg is not installed")
    source = write_wav(tmp_path / "a.wav", tone(440, 2.0))
    file = tmp_path / f"a.{ending}"
    subprocess.run([ffmpeg, "-v", "quiet", "-i", source, file], check=True, timeout=60)
    found = duration_ms(file)
    assert found is not None
    assert abs(found - 2000) <= 150


def test_the_length_of_other_files_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no audio")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "header").write_bytes(b"RIFF\0\0\0\0WAVE")
    (tmp_path / "damaged.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path in (*tmp_path.iterdir(), tmp_path / "missing"):
        assert duration_ms(path) is None, path.name
    assert duration_ms(write_wav(tmp_path / "silent.wav", silence(0.0))) == 0
