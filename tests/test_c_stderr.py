"""Suppressing the stderr output of C libraries, and only theirs."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.sounds import tone

HUSHED = """
import ctypes, os, subprocess, sys
from rtchat.audio.c_stderr import silence_libraries
silence_libraries()
libc = ctypes.CDLL(None)
libc.perror(b"a library")
print("python", file=sys.stderr, flush=True)
subprocess.run(["sh", "-c", "echo a child >&2"])
os.write(2, b"descriptor 2\\n")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc's stderr can be replaced")
def test_only_the_stderr_of_c_libraries_is_suppressed() -> None:
    done = subprocess.run([sys.executable, "-c", HUSHED], capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("python\na child\ndescriptor 2\n", 0)


@pytest.mark.skipif(find_spec("soundfile") is None, reason="the extra audio is not installed")
def test_a_damaged_mp3_prints_nothing(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    path = tmp_path / "damaged.mp3"
    samples = np.frombuffer(tone(440, 2), "<i2").astype("f4") / 32768
    soundfile.write(path, samples, 24000, format="MP3", subtype="MPEG_LAYER_III")
    data = path.read_bytes()
    path.write_bytes(data[:2000] + bytes(1000) + data[3000:])
    imports = "from pathlib import Path; from rtchat.audio.files import read"
    program = f"{imports}; read(Path({str(path)!r}))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
