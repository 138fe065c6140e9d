"""The length of an audio file, from its header."""

from __future__ import annotations

import wave
from contextlib import suppress
from pathlib import Path


def duration_ms(path: Path) -> int | None:
    """The length in milliseconds; None if it is not known without reading the file."""
    with suppress(OSError, EOFError, ValueError, wave.Error), wave.open(str(path)) as file:
        frame = file.getnchannels() * file.getsampwidth()
        # Writers that do not know the length set a large one.
        frames = min(file.getnframes(), path.stat().st_size // frame)
        return int(frames * 1000 // file.getframerate())
    with suppress(Exception):  # not installed, or another format
        import soundfile

        info = soundfile.info(str(path))
        return int(info.frames * 1000 // info.samplerate)
    return None
