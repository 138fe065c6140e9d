"""The length of audio files, from their headers."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from rtchat.audio.duration import duration_ms
from rtchat.audio.files import read
from rtchat.core.errors import UsageError
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


def test_a_flac_file_may_not_say_its_length(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    file = tmp_path / "a.flac"
    soundfile.write(file, memoryview(tone(440, 2.0)).cast("h"), 24_000)
    data = bytearray(file.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # as programs write it that stream
    file.write_bytes(data)
    assert duration_ms(file) in (None, 2000)  # ffprobe may find it


@pytest.mark.parametrize("kind", ["AIFF", "W64"])
def test_damaged_headers_cause_no_tracebacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    soundfile = pytest.importorskip("soundfile")
    monkeypatch.setenv("PATH", str(tmp_path))  # without ffmpeg
    file = tmp_path / "a"
    soundfile.write(file, memoryview(tone(440, 0.1)).cast("h"), 24_000, format=kind)
    whole = file.read_bytes()
    for at in range(4, 104, 3):
        file.write_bytes(whole[:at] + b"\xff" * 4 + whole[at + 4 :])
        duration_ms(file)
        with suppress(UsageError):
            read(file)


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
