"""Recordings of the wire: a header line, then every event both ways as a JSON line with its time.

`{"t": 0.123, "direction": "sent" | "received", "data": {…}}`; a frame that was no JSON object
stands as `"raw"`, and so do the words of a connection that was `"lost"`. Times are seconds since
the recording began, on a clock that only goes forward. The handshake, where the key travels, is not
recorded; a key in an event is removed by `redactor`. `replay` shows a recording again.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from io import BufferedReader
from itertools import count
from pathlib import Path
from typing import BinaryIO

from rtchat._version import __version__
from rtchat.core.errors import OutputError, UsageError
from rtchat.core.redaction import Redactor
from rtchat.core.text import write_json
from rtchat.core.values import JsonObject, value
from rtchat.system.blocking import BlockingFile, write_all
from rtchat.system.worker import Worker
from rtchat.wire import without_keys

FORMAT = 1

# ------------------------------------------------------------------------------------------ writing

_MOST_WAITING = 32 * 1024 * 1024
"""Bytes that may wait for a slow disk, or for the reader of a pipe."""
_CLOSING = 2.0
"""Seconds to wait at exit for what is not written yet."""
_DESCRIPTOR = re.compile(r"/dev/(?:fd/(\d+)|(stdout)|(stderr))|/proc/self/fd/(\d+)")


class Trace:
    """A recording in progress; call it with each event.

    A thread writes it, so that neither a slow disk nor a pipe that nobody reads stops the
    conversation. `path` is the file: a new name if the one given exists, as no recording is ever
    overwritten. Audio and images are left out unless `complete` is set; `left_out` in the line then
    has their places and lengths in characters.

    Raises OutputError if the file cannot be opened. Once a line cannot be written the recording is
    over, and `failure` says why. The path `-` is stderr.
    """

    def __init__(
        self,
        path: Path,
        *,
        redactor: Redactor = Redactor(),  # noqa: B008 - never changed
        complete: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if str(path) == "-":  # stdout has the reply
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
            if _is_fifo(path):  # opening it waits for a reader
                self.path = path
                self._worker.do(self._open_fifo)
            else:
                self.path, self._descriptor = _open(path)
        except OSError as error:
            raise _failure(path, error) from error
        self._now = now
        self._began = now()
        self._write({"rtchat": __version__, "format": FORMAT, "began": time.time()})

    def __call__(self, direction: str, data: JsonObject | str) -> None:
        """Record one event."""
        line: dict[str, object] = {"t": round(self._now() - self._began, 6), "direction": direction}
        if isinstance(data, str):
            line["raw"] = data
        elif self._complete:
            line["data"] = data
        else:
            left_out: dict[str, int] = {}
            line["data"] = _without_media(data, str(data.get("type")), "", left_out)
            if left_out:
                line["left_out"] = left_out
        self._write(line)

    def close(self) -> None:
        """Write what is left, within a few seconds, and end the recording."""
        if self._is_closed:
            return
        self._is_closed = True
        self._worker.do(self._close)
        if not self._worker.close(_CLOSING):
            unread = f"not finished after {_CLOSING:g} s"
            self._fail("nothing reads it" if self._descriptor < 0 else unread)

    def _write(self, line: JsonObject) -> None:
        if self.failure is not None:
            return
        shown = write_json(line)
        if self._redactor.secrets and self._redactor.may_be_in_json(shown):
            shown = write_json(without_keys(line, self._redactor))
        text = (shown + "\n").encode()
        with self._lock:
            self._waiting += len(text)
        if self._waiting > _MOST_WAITING:
            self._fail(f"it is too slow: {_MOST_WAITING >> 20} MB are waiting")
            return
        self._worker.do(partial(self._put, text))

    # What follows runs in the thread.

    def _open_fifo(self) -> None:
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY)
        except OSError as error:
            self.failure = _failure(self.path, error)

    def _put(self, text: bytes) -> None:
        with self._lock:
            self._waiting -= len(text)
        if self.failure is not None:
            return
        try:
            write_all(self._descriptor, text)  # in one piece: a killed program leaves whole lines
        except OSError as error:
            self.failure = _failure(self.path, error)

    def _close(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)

    def _fail(self, why: str) -> None:
        self.failure = self.failure or _unwritten(self.path, why)


def _is_fifo(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode) and not _DESCRIPTOR.fullmatch(str(path))
    except OSError:
        return False


def _open(path: Path) -> tuple[Path, int]:
    """Open the path, or the next free name; return the name and the descriptor."""
    if found := _DESCRIPTOR.fullmatch(str(path)):
        # Opening by name would truncate a file behind the descriptor, and fail for a socket.
        fd, out, err, proc = found.groups()
        return path, os.dup(1 if out else 2 if err else int(fd or proc))
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            return path, os.open(path, os.O_WRONLY)
    for number in count(1):
        name = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        if (descriptor := _claim(name)) is not None:
            return name, descriptor
    raise AssertionError  # there is always a next number


def _claim(path: Path) -> int | None:
    """Open a new file, or an empty one such as `mktemp` makes; None if it has content, or another
    program is about to write to it."""
    is_free = True
    try:
        # Conversations are private.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        is_free = False
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)  # a link may be dangling
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
    return _unwritten(path, error.strerror or str(error))


def _unwritten(path: Path, why: str) -> OutputError:
    message = f"the trace {path} cannot be written ({why})"
    return OutputError(message, hint="choose another place with --trace")


def _without_media(data: object, kind: str, path: str, left_out: dict[str, int]) -> object:
    """A copy without base64; `path` leads to it in an event of this kind."""
    match data:
        case dict():
            inner = f"{path}." if path else ""
            return {
                key: _without_media(entry, kind, f"{inner}{key}", left_out)
                for key, entry in data.items()
            }
        case list():
            return [
                _without_media(entry, kind, f"{path}[{index}]", left_out)
                for index, entry in enumerate(data)
            ]
        case str() if data and (kept := _short(data, kind, path)) is not None:
            left_out[path] = len(data) - len(kept)
            return kept
    return data


def _short(text: str, kind: str, path: str) -> str | None:
    """What is kept of a text that is base64 audio or an image; None if it is neither."""
    key = path.rpartition(".")[2]
    if key == "audio" or (path == "delta" and kind.endswith("audio.delta")):
        return ""
    head, comma, rest = text.partition(",")
    if key == "image_url" and head.startswith("data:") and rest:
        return head + comma
    return None


# ------------------------------------------------------------------------------------------ reading


@value
class Recorded:
    """One line of a recording. A `str` in `data` is a frame that was no JSON object, or the words
    of a loss."""

    line: int
    time: float | None
    """Seconds since it began; None if it has no times."""
    direction: str
    """`sent`, `received` or `lost`."""
    data: JsonObject | str


@value
class Recording:
    """A recording that was read. `version` is that of the rtchat that made it, if one did."""

    version: str
    events: Sequence[Recorded]


_DIRECTIONS = ("sent", "received", "lost")
_HINT = "a trace is what rtchat once --trace FILE writes"


def read_trace(source: Path | int, warn: Callable[[str], None]) -> Recording:
    """Read a recording from a file or a descriptor.

    Lines that hold `direction` and `data` alone, without times and header, are one as well. `warn`
    is told of a last line that was cut off, as by a program that was killed.

    Raises:
        UsageError: it cannot be read, or is no recording; the message names the line.
    """
    name = "stdin" if isinstance(source, int) else str(source)
    try:
        if isinstance(source, int):
            return _read(BufferedReader(BlockingFile(source, "r")), name, warn)
        with source.open("rb") as file:
            return _read(file, name, warn)
    except OSError as error:
        raise UsageError(
            f"the trace {name} cannot be read ({error.strerror})", hint="check the path"
        ) from error


def _read(file: BinaryIO, name: str, warn: Callable[[str], None]) -> Recording:
    version = ""
    events: list[Recorded] = []
    lines = _lines(file, name, warn)
    for number, line in lines:
        if number == 1 and "rtchat" in line:
            version = _version(line, name)
        else:
            events.append(_recorded(number, line, name, events))
    if not (version or events):
        raise UsageError(f"the trace {name} is empty", hint=_HINT)
    return Recording(version, events)


def _lines(
    file: BinaryIO, name: str, warn: Callable[[str], None]
) -> Iterator[tuple[int, JsonObject]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number > 1 and not line.endswith(b"\n"):
                warn(f"line {number} of {name} is cut off: it is left out")
                return
            raise _unread(name, number, "is not JSON") from error
        if not isinstance(data, dict):
            raise _unread(name, number, "is not a JSON object")
        yield number, data


def _version(header: JsonObject, name: str) -> str:
    form = header.get("format")
    if form != FORMAT:
        raise UsageError(
            f"the trace {name} has a format that this rtchat does not know ({form})",
            hint="use the rtchat that made it, or a newer one",
        )
    return str(header["rtchat"])


def _recorded(number: int, line: JsonObject, name: str, before: Sequence[Recorded]) -> Recorded:
    direction, at = line.get("direction"), line.get("t")
    data = line.get("data", line.get("raw"))
    if not (isinstance(direction, str) and direction in _DIRECTIONS):
        raise _unread(name, number, "has no direction")
    if not isinstance(data, dict | str):
        raise _unread(name, number, "has no event")
    if at is not None and (isinstance(at, bool) or not isinstance(at, int | float)):
        raise _unread(name, number, "has a time that is no number")
    if at is not None:  # a clock only goes forward, and only so far; so do not NaN and infinity
        last = before[-1].time if before else 0.0
        at = float(at) if 0.0 <= at < 1e9 else 0.0
        at = max(at, last or 0.0)
    return Recorded(number, at, direction, data)


def _unread(name: str, number: int, why: str) -> UsageError:
    return UsageError(f"line {number} of the trace {name} {why}", hint=_HINT)
