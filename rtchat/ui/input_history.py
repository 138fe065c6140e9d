"""The input history: a file of JSON strings, one per line.

Without a file, or if it cannot be read or written, history lasts until the program exits.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from prompt_toolkit.history import History

from rtchat.system.folders import make_private
from rtchat.system.worker import Worker

_HISTORY_TIMEOUT = 1.0
"""Seconds to wait for the input history to be read, or to be written at the end."""
_MAX_HISTORY = 2_000
"""How many of the last lines of the history file are read."""


class InputHistory(History):
    """Entries in a file that only its owner may read. It is read and written in a thread; errors
    are ignored."""

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self._path = path
        self._worker = Worker("input-history")
        self._reading: asyncio.Future[None] | None = None
        self._read: list[str] = []

    async def ready(self) -> None:
        """Wait until the file is read, for at most `_HISTORY_TIMEOUT`: its disk may hang."""
        if self._path is not None and self._reading is None:
            self._reading = self._worker.call(partial(self._load, self._path))
            await asyncio.wait((self._reading,), timeout=_HISTORY_TIMEOUT)

    def _load(self, path: Path) -> None:
        lines: list[str] = []
        with suppress(OSError):
            lines = path.read_text("utf-8", errors="replace").split("\n")[-_MAX_HISTORY:]
        for line in reversed(lines):
            with suppress(ValueError, RecursionError):
                if line.startswith('"'):
                    self._read.append(json.loads(line))

    def load_history_strings(self) -> Iterable[str]:
        return list(self._read)

    def store_string(self, string: str) -> None:
        if self._path is not None:
            with suppress(queue.Full):
                self._worker.do(partial(self._append, self._path, string))

    def _append(self, path: Path, string: str) -> None:
        line = json.dumps(string) + "\n"
        with suppress(OSError):
            make_private(path.parent)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(file, "wb") as stream:
                stream.write(line.encode())

    def close(self) -> None:
        """Finish writing, for at most `_HISTORY_TIMEOUT`: the disk may hang."""
        self._worker.close(_HISTORY_TIMEOUT)
