"""Keeps the finished pieces of a long transcription until it is complete, so that an interrupted
one can be continued."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rtchat._version import __version__
from rtchat.core.long_transcription import FinishedPiece
from rtchat.system.folders import make_private
from rtchat.system.worker import Worker
from rtchat.trace.value_codec import decode_value, encode_value

MAX_AGE = 30 * 24 * 3600
"""Seconds after which the pieces of a transcription that nobody continued are deleted."""
_SAMPLE = 65_536
"""Bytes at the beginning and at the end of a recording that identify it."""


class PieceStore:
    """The pieces of one transcription, in a file that only the user can read. Files are read and
    written in a thread. If one cannot be written, nothing is kept."""

    def __init__(self, folder: Path, recording: Path, settings: object) -> None:
        self._folder = folder
        self._recording = recording
        self._settings = settings
        self._path: Path | None = None
        self._pieces: dict[int, FinishedPiece] = {}
        self._worker = Worker("pieces")

    async def load(self, *, resumes: bool) -> Mapping[int, FinishedPiece]:
        """The pieces of an interrupted run for the same recording and settings; none unless this
        run `resumes`."""
        await self._worker.call(lambda: self._load(resumes=resumes))
        return dict(self._pieces)

    def keep(self, number: int, piece: FinishedPiece) -> None:
        """Keep another piece."""
        self._pieces[number] = piece
        data = {str(number): encode_value(piece) for number, piece in self._pieces.items()}
        self._worker.do(lambda: self._write(data))

    async def forget(self) -> None:
        """The transcript is complete: delete the file."""
        await self._worker.call(self._delete)

    def close(self) -> None:
        """Wait until everything is written."""
        self._worker.close(2.0)

    # ------------------------------------------------------------------------------- in the thread

    def _load(self, *, resumes: bool) -> None:
        self._delete_old()
        with suppress(OSError, ValueError, AttributeError):
            self._path = self._folder / f"{self._key()}.json"
            if not resumes:
                self._delete()
                return
            data = json.loads(self._path.read_text(encoding="utf-8"))
            self._pieces = {
                int(number): decode_value(piece, FinishedPiece) for number, piece in data.items()
            }

    def _key(self) -> str:
        """Identifies the recording, by its path and content, and everything that changes the
        text."""
        stat = self._recording.stat()
        with self._recording.open("rb") as file:
            head = file.read(_SAMPLE)
            file.seek(max(0, stat.st_size - _SAMPLE))
            content = hashlib.sha256(head + file.read(_SAMPLE)).hexdigest()
        place = [str(self._recording.resolve()), stat.st_size, stat.st_mtime_ns, content]
        whole = json.dumps([__version__, *place, encode_value(self._settings)], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:32]

    def _delete_old(self) -> None:
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.stat().st_mtime < time.time() - MAX_AGE:
                    path.unlink()

    def _delete(self) -> None:
        with suppress(OSError):
            if self._path is not None:
                self._path.unlink()

    def _write(self, data: Mapping[str, object]) -> None:
        """Replace the file atomically."""
        if self._path is None:
            return
        with suppress(OSError):
            make_private(self._folder)
            descriptor, name = tempfile.mkstemp(dir=self._folder)  # 0600
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    json.dump(data, file)
                    file.flush()
                    os.fsync(descriptor)
                os.replace(name, self._path)
            except OSError:
                os.unlink(name)
                raise
