"""Writes traces: a header, then one JSON line for each event of a session.

`{"t": 0.123, "direction": "received", "data": {…}}`. Times are seconds since the session began.
The directions are those of `core.ports.Tap`, and "setup", whose data the conversation was created
from. A frame that is not a JSON object is in "raw" instead of "data". The data of "setup" and
"local" are values, see `value_codec`. A trace has everything needed to repeat the session exactly,
unless it was started later: then it has no "setup", and `after` in its header is the time at which
it was started.

The handshake, which has the key, is not recorded; `redactor` removes keys from events.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import threading
import time
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

from rtchat._version import __version__
from rtchat.core.errors import OutputError
from rtchat.core.events import LocalEvent
from rtchat.core.redaction import Redactor
from rtchat.core.setup import SessionSetup
from rtchat.core.text import exact_json
from rtchat.core.values import JsonObject
from rtchat.system.blocking import write_all
from rtchat.system.worker import Worker
from rtchat.trace.media import without_media
from rtchat.trace.value_codec import encode_value
from rtchat.wire import without_keys

FORMAT = 2
"""Format 1 had no "setup", "local" and "end", but "lost" with the reason of a lost connection."""
MAX_LINE = 64 * 1024 * 1024
"""Maximum bytes of a line. A longer one is written without its audio and images."""
_MAX_WAITING = 32 * 1024 * 1024
"""Maximum bytes waiting for a slow disk or the reader of a pipe."""
_CLOSE_TIMEOUT = 2.0
"""Seconds to wait at exit for unwritten lines."""
_DESCRIPTOR = re.compile(r"/dev/(?:fd/(\d+)|(stdout)|(stderr))|/proc/self/fd/(\d+)")


class Trace:
    """A recording in progress; call it with each event, as a `Tap`.

    A thread writes it, so that a slow disk or a pipe without a reader does not block the
    conversation. The path `-` means stderr. A file is never overwritten: if it exists, a new name
    is chosen, and `path` has it. Audio and images are left out unless `complete` is set; `left_out`
    in the line then has the number of characters left out by path. `after` is the number of seconds
    since the session began.

    Raises OutputError if the file cannot be opened. After an error in writing, the recording ends
    and `failure` has the error.
    """

    def __init__(
        self,
        path: Path,
        *,
        redactor: Redactor = Redactor(),  # noqa: B008 - never changed
        complete: bool = False,
        after: float = 0.0,
    ) -> None:
        if str(path) == "-":  # stdout is for the reply
            path = Path("/dev/stderr")
        self.failure: OutputError | None = None
        self._redactor = redactor
        self._complete = complete
        self._worker = Worker("trace", limit=0)
        self._waiting = 0
        self._lock = threading.Lock()
        self._descriptor = -1
        self._is_closed = False
        try:
            if _is_fifo(path):  # opening it blocks until there is a reader
                self.path = path
                self._worker.do(self._open_fifo)
            else:
                self.path, self._descriptor = _open(path)
        except OSError as error:
            raise _failure(path, error) from error
        header = {"rtchat": __version__, "format": FORMAT, "began": time.time() - after}
        self._write(header | {"after": after} if after else header)

    def __call__(
        self, direction: str, data: JsonObject | str | LocalEvent | SessionSetup, now: float
    ) -> None:
        """Record one event."""
        line: dict[str, object] = {"t": now, "direction": direction}
        if isinstance(data, str):
            self._write(line | {"raw": data})
            return
        encoded = data if isinstance(data, dict) else encode_value(data)
        assert isinstance(encoded, dict)
        is_written = self._complete and self._write(line | {"data": encoded}, MAX_LINE)
        if not is_written:
            shortened, left_out = without_media(encoded)
            line["data"] = shortened
            self._write(line | {"left_out": left_out} if left_out else line)

    def close(self) -> None:
        """Write the remaining lines, for at most 2 s, and end the recording."""
        if self._is_closed:
            return
        self._is_closed = True
        self._worker.do(self._close)
        if not self._worker.close(_CLOSE_TIMEOUT):
            unfinished = f"not finished after {_CLOSE_TIMEOUT:g} s"
            self._fail("no program reads it" if self._descriptor < 0 else unfinished)

    def _write(self, line: JsonObject, limit: int | None = None) -> bool:
        """Write a line unless it exceeds `limit` bytes; return False if it does."""
        if self.failure is not None:
            return True
        shown = exact_json(line)
        if self._redactor.secrets and self._redactor.may_be_in_json(shown):
            shown = exact_json(without_keys(line, self._redactor))
        text = (shown + "\n").encode()
        if limit is not None and len(text) > limit:
            return False
        with self._lock:
            is_too_slow = self._waiting > _MAX_WAITING
            self._waiting += len(text)
        if is_too_slow:
            self._fail(f"the disk is too slow, and {_MAX_WAITING >> 20} MB are waiting")
        else:
            self._worker.do(partial(self._write_line, text))
        return True

    # The following methods run in the thread.

    def _open_fifo(self) -> None:
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY)
        except OSError as error:
            self.failure = _failure(self.path, error)

    def _write_line(self, text: bytes) -> None:
        with self._lock:
            self._waiting -= len(text)
        if self.failure is not None:
            return
        try:
            write_all(self._descriptor, text)  # in one call, so that lines are complete if killed
        except OSError as error:
            self.failure = _failure(self.path, error)

    def _close(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)

    def _fail(self, why: str) -> None:
        self.failure = self.failure or _write_error(self.path, why)


def _is_fifo(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode) and not _DESCRIPTOR.fullmatch(str(path))
    except OSError:
        return False


def _open(path: Path) -> tuple[Path, int]:
    """Open the path, or the next free name; return the name and the descriptor."""
    if found := _DESCRIPTOR.fullmatch(str(path)):
        # Opening it by name would truncate a file, and fail for a socket.
        fd, out, err, proc = found.groups()
        return path, os.dup(1 if out else 2 if err else int(fd or proc))
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            return path, os.open(path, os.O_WRONLY)
    for number in count(1):
        name = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        if (descriptor := _claim(name)) is not None:
            return name, descriptor
    raise AssertionError  # unreachable: `count` is infinite


def _claim(path: Path) -> int | None:
    """Create a file or open an empty one, such as from `mktemp`; None if it has content or another
    program has locked it."""
    is_free = True
    try:
        # readable only by the user
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        is_free = False
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)  # may be a dangling link
        except PermissionError:
            return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_free = os.fstat(descriptor).st_size == 0
    except BlockingIOError:
        is_free = False
    except OSError:  # a file system without locks
        pass
    if not is_free:
        os.close(descriptor)
        return None
    with suppress(OSError):  # the file belongs to another user
        os.fchmod(descriptor, 0o600)
    return descriptor


def _failure(path: Path, error: OSError) -> OutputError:
    return _write_error(path, error.strerror or str(error))


def _write_error(path: Path, why: str) -> OutputError:
    message = f"the trace {path} cannot be written ({why})"
    return OutputError(message, hint="choose another file")
