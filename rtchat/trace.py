"""Recordings of the wire: a header line, then every event both ways as a JSON line with its time.

`{"t": 0.123, "direction": "sent" | "received", "data": {…}}`; a frame that was no JSON object
stands as `"raw"`, and so do the words of a connection that was `"lost"`. Times are seconds since
the recording began, on a clock that only goes forward. The handshake, where the key travels, is not
recorded; should it be in a frame, `redact` takes it out. Not here: showing one again (`replay`).
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from rtchat import __version__
from rtchat.errors import OutputError, UsageError
from rtchat.values import JsonObject, value
from rtchat.wire import write_frame

FORMAT = 1

# ------------------------------------------------------------------------------------------ writing

_OPEN_ALREADY = {"/dev/stdout": 1, "/dev/stderr": 2}
"""Opened by name, a file behind one of these would be cut to nothing, and a socket refused."""


class Trace:
    """A recording in progress; call it with each event.

    Audio and images are left out unless it is `complete`: what they were and how many characters
    long then stands in the line as `left_out`. Raises OutputError if the file cannot be opened.
    Once a line cannot be written the recording is over, and `failure` says why.
    """

    def __init__(
        self,
        path: Path,
        *,
        redact: Callable[[str], str] = str,
        complete: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failure: OutputError | None = None
        self._path = path
        self._redact = redact
        self._complete = complete
        try:
            self._descriptor = _open(path)
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
        """End the recording."""
        with suppress(OSError):
            os.close(self._descriptor)

    def _write(self, line: JsonObject) -> None:
        if self.failure is not None:
            return
        left = (self._redact(write_frame(line)) + "\n").encode()
        try:
            while left:  # in one piece, so that a program that is killed leaves whole lines
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            self.failure = _failure(self._path, error)


def _open(path: Path) -> int:
    if (number := _OPEN_ALREADY.get(str(path))) is not None:
        return os.dup(number)
    # Conversations are private: nobody else reads them, not even in a file that was there before.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
        os.fchmod(descriptor, 0o600)
    return descriptor


def _failure(path: Path, error: OSError) -> OutputError:
    message = f"the trace {path} cannot be written ({error.strerror})"
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
        with open(source, "rb", closefd=not isinstance(source, int)) as file:
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
