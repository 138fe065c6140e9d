"""Writes FLAC, Ogg Vorbis and MP3 files while audio arrives, by `soundfile`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtchat.audio.c_stderr import silence_libraries
from rtchat.audio.conversion import missing_package
from rtchat.audio.output_file import AudioWriter
from rtchat.audio.pcm import RATE
from rtchat.audio.wav import WavWriter
from rtchat.core.errors import UsageError
from rtchat.system.files import shown_name

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from soundfile import SoundFile

_ENCODINGS = {
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
"""The format and the codec for each ending of a name, as `soundfile` calls them."""
ENDINGS = (".wav", *_ENCODINGS)
"""The endings of the names of files that audio can be recorded to."""
_SETTINGS: Mapping[str, Any] = {
    # 64 kbit/s. With a variable rate, the length of an interrupted recording would be unknown.
    "MP3": {"bitrate_mode": "CONSTANT", "compression_level": 0.6},
}


def writer_of(path: Path) -> AudioWriter:
    """The writer for the ending of a name; a name without an ending is that of a WAV file.

    Raises:
        UsageError: the ending is unknown, or a package for it is not installed.
        OutputError: the file cannot be written.
    """
    ending = path.suffix.lower()
    if ending in _ENCODINGS:
        return EncodedWriter(path, *_ENCODINGS[ending])
    if ending in ("", ".wav"):
        return WavWriter(path)
    message = f"{shown_name(path)} cannot be recorded: unknown ending {shown_name(path.suffix)}"
    raise UsageError(message, hint="use a name that ends in .wav, .flac, .ogg or .mp3")


class EncodedWriter(AudioWriter):
    """A file that `soundfile` encodes. If the program is killed, what was encoded until then is in
    the file and can be read."""

    def __init__(self, path: Path, container: str, codec: str) -> None:
        try:
            import soundfile  # noqa: F401 - checked before the request
        except (ImportError, OSError) as error:  # OSError: without libsndfile
            message = f"{shown_name(path)} is not a WAV file"
            raise missing_package(message, "soundfile") from error
        super().__init__(path)
        self._container = container
        self._codec = codec
        self._target = _Target(self._file)
        self._sound: SoundFile | None = None

    def _begin(self) -> None:
        import soundfile

        silence_libraries()
        self._sound = soundfile.SoundFile(
            self._target,
            "w",
            samplerate=RATE,
            channels=1,
            format=self._container,
            subtype=self._codec,
            **_SETTINGS.get(self._container, {}),
        )
        self._target.check()

    def _append(self, audio: bytes) -> None:
        import numpy as np

        assert self._sound is not None
        # Floats, because libsndfile encodes integers as a different MP3 file.
        self._sound.write(np.frombuffer(audio, "<i2").astype("f4") / 32768)
        self._target.check()

    def _finish(self) -> None:
        assert self._sound is not None
        self._sound.close()
        self._target.check()


class _Target(RawIOBase):
    """The file of an encoder, which cannot handle exceptions: `check` raises the first one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = self._size = 0
        self._failure: OSError | None = None

    def check(self) -> None:
        """Raise the error of an earlier write."""
        if self._failure is not None:
            raise OSError(self._failure.errno, self._failure.strerror)

    def write(self, data: ReadableBuffer, /) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self._failure is None:
                written = os.pwrite(self._descriptor, left, self._position)
                left, self._position = left[written:], self._position + written
        except OSError as error:
            self._failure = error
        self._size = max(self._size, self._position)
        return size

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True
