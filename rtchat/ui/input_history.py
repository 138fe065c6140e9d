"""What was entered before: a file of JSON strings, one a line.

Without a file, or when it cannot be read or written, the history lasts as long as the program.
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
"""Seconds to wait until the input history is read, or written at the end."""
_KEPT = 2_000
"""Entries of the history file that are read."""


class InputHistory(History):
    """Entries in a file that only its owner may read. A thread reads and writes it; failures are
    ignored."""

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self._path = path
        self._worker = Worker("input-history")
        self._reading: asyncio.Future[None] | None = None
        self._read: list[str] = []

    async def ready(self) -> None:
        """Wait until it is read, but not for long if its disk hangs."""
        if self._path is not None and self._reading is None:
            self._reading = self._worker.call(partial(self._load, self._path))
            await asyncio.wait((self._reading,), timeout=_HISTORY_TIMEOUT)

    def _load(self, path: Path) -> None:
        lines: list[str] = []
        with suppress(OSError):
            lines = path.read_text("utf-8", errors="replace").split("\n")[-_KEPT:]
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
        """Write what is left, but do not wait long if its disk hangs."""
        self._worker.close(_HISTORY_TIMEOUT)
