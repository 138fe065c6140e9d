"""Recordings of the wire: a header line, then every event both ways as a JSON line with its time.

`{"t": 0.123, "direction": "sent" | "received", "data": {…}}`; a frame that was no JSON object
stands as `"raw"`. Times are seconds since the recording began, on a clock that only goes forward.
The handshake, where the key travels, is not recorded; should it be in a frame, `redact` takes it
out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rtchat import __version__
from rtchat.errors import OutputError
from rtchat.values import JsonObject
from rtchat.wire import write_frame


class Trace:
    """A recording in progress; call it with each event.

    Raises OutputError if the file cannot be opened. Once a line cannot be written the recording is
    over, and `failure` says why.
    """

    def __init__(
        self,
        path: Path,
        *,
        redact: Callable[[str], str] = str,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            # Conversations are private: nobody else reads them.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise OutputError(
                f"the trace {path} cannot be written ({error.strerror})",
                hint="choose another --trace",
            ) from error
        self.failure: OutputError | None = None
        self._path = path
        self._redact = redact
        self._file = open(descriptor, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 - `close` does
        self._now = now
        self._began = now()
        self._write({"rtchat": __version__, "format": 1, "began": time.time()})

    def __call__(self, direction: str, data: JsonObject | str) -> None:
        """Record one event."""
        line: dict[str, object] = {"t": round(self._now() - self._began, 6), "direction": direction}
        self._write(line | ({"raw": data} if isinstance(data, str) else {"data": data}))

    def close(self) -> None:
        """End the recording."""
        with suppress(OSError):
            self._file.close()

    def _write(self, line: JsonObject) -> None:
        if self.failure is not None:
            return
        try:
            self._file.write(self._redact(write_frame(line)) + "\n")
        except OSError as error:
            self.failure = _failure(self._path, error)


def _failure(path: Path, error: OSError) -> OutputError:
    message = f"the trace {path} cannot be written ({error.strerror})"
    return OutputError(message, hint="choose another place with --trace")
