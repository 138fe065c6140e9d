"""Keeps the finished pieces of a long transcription until it is complete, so that an interrupted
one can be continued."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rtchat._version import __version__
from rtchat.core.pieces import FinishedPiece
from rtchat.system.folders import make_private
from rtchat.system.worker import Worker
from rtchat.trace.value_codec import decode_value, encode_value

MAX_AGE = 30 * 24 * 3600
"""Seconds after which the pieces of a transcription that nobody continued are deleted."""
_SAMPLE = 65_536
"""Bytes at the beginning and at the end of a recording that identify it."""


class PieceStore:
    """The pieces of one transcription, in a file that only the user can read. Files are read and
    written in a thread. A piece that cannot be written is not kept."""

    def __init__(self, folder: Path, recording: Path, settings: object) -> None:
        self._folder = folder
        self._recording = recording
        self._settings = settings
        self._path: Path | None = None
        self._worker = Worker("pieces", limit=0)
        self.has_pieces = False
        """Whether pieces are kept, as far as they are written."""

    async def load(self, *, resumes: bool) -> Mapping[int, FinishedPiece]:
        """The pieces of an interrupted run for the same recording and settings; none unless this
        run `resumes`."""
        return await self._worker.call(lambda: self._load(resumes=resumes))

    def keep(self, number: int, piece: FinishedPiece) -> None:
        """Keep another piece."""
        line = json.dumps([number, encode_value(piece)])
        self._worker.do(lambda: self._append(line))

    async def forget(self) -> None:
        """The transcript is complete: delete the file."""
        await self._worker.call(self._delete)

    def close(self) -> None:
        """Wait until everything is written."""
        self._worker.close(2.0)

    # ------------------------------------------------------------------------------- in the thread

    def _load(self, *, resumes: bool) -> dict[int, FinishedPiece]:
        self._delete_old()
        pieces: dict[int, FinishedPiece] = {}
        with suppress(OSError):
            self._path = self._folder / f"{self._key()}.jsonl"
            if not resumes:
                self._delete()
                return {}
            for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError, TypeError):  # the last line may be incomplete
                    number, piece = json.loads(line)
                    pieces[number] = decode_value(piece, FinishedPiece)
                    self.has_pieces = True
        return pieces

    def _key(self) -> str:
        """Identifies the recording, by its path and content, and everything that changes the
        text."""
        if not self._recording.is_file():  # what is read from a pipe would be missing
            raise OSError("not a regular file")
        about = self._recording.stat()
        with self._recording.open("rb") as file:
            head = file.read(_SAMPLE)
            file.seek(max(0, about.st_size - _SAMPLE))
            content = hashlib.sha256(head + file.read(_SAMPLE)).hexdigest()
        place = [str(self._recording.resolve()), about.st_size, about.st_mtime_ns, content]
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
                self.has_pieces = False

    def _append(self, line: str) -> None:
        if self._path is None:
            return
        with suppress(OSError):
            make_private(self._folder)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with open(os.open(self._path, flags, 0o600), "w", encoding="utf-8") as file:
                file.write(f"{line}\n")
                file.flush()
                os.fsync(file.fileno())
            self.has_pieces = True
