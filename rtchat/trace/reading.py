"""Reads traces, including those of format 1 and recordings of other programs that have only
`direction` and `data`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from rtchat.core.errors import UsageError
from rtchat.core.events import LocalEvent
from rtchat.core.setup import SessionSetup
from rtchat.core.values import JsonObject, value
from rtchat.system.blocking import BlockingFile
from rtchat.trace.media import with_silence
from rtchat.trace.recording import FORMAT, MAX_LINE
from rtchat.trace.value_codec import decode_value


@value
class Recorded:
    """One line of a recording. If `data` is a string, it is a frame that is not a JSON object, or
    the reason of a lost connection."""

    line: int
    time: float | None
    """Seconds since the recording began; None if the line has no time."""
    direction: str
    data: JsonObject | str
    left_out: Mapping[str, int] = field(default_factory=dict)
    """The number of characters of audio and images left out, by path."""

    @property
    def event(self) -> LocalEvent:
        """The event of a "local" line, with silence in place of audio that was left out."""
        event: LocalEvent = _decoded(self.data, self.left_out, LocalEvent)
        return event


@value
class Recording:
    """The contents of a recording. `version` is the version of rtchat that made it, or empty.
    `setup` is None if there are no local events."""

    version: str
    events: Sequence[Recorded]
    setup: SessionSetup | None = None
    after: float = 0.0
    """How many seconds after the session began the recording was started."""


_DIRECTIONS = ("sent", "received", "lost", "setup", "local", "end")
_HINT = "record one with `rtchat once --trace FILE`"


def read_trace(source: Path | int, warn: Callable[[str], None]) -> Recording:
    """Read a recording from a file or a descriptor.

    `warn` is called if the last line is incomplete, for example because the program was killed.

    Raises:
        UsageError: it cannot be read or is not a recording; the message names the line.
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
    version, after = "", 0.0
    setup: SessionSetup | None = None
    events: list[Recorded] = []
    for number, line in _lines(file, name, warn):
        if number == 1 and "rtchat" in line:
            version, after = _read_version(line, name), _seconds(line.get("after"))
            continue
        recorded = _parse_line(number, line, name, events)
        try:
            if recorded.direction == "setup":
                setup = _decoded(recorded.data, recorded.left_out, SessionSetup)
                continue
            if recorded.direction == "local":
                _ = recorded.event
        except (ValueError, RecursionError) as error:
            why = f"has an event that this version of rtchat does not support ({error})"
            raise _invalid_line(name, number, why) from error
        events.append(recorded)
    if not (version or events):
        raise UsageError(f"the trace {name} is empty", hint=_HINT)
    return Recording(version, events, setup, after)


def _lines(
    file: BinaryIO, name: str, warn: Callable[[str], None]
) -> Iterator[tuple[int, JsonObject]]:
    lines = iter(partial(file.readline, MAX_LINE + 1), b"")
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE:
            raise _invalid_line(name, number, f"is longer than {MAX_LINE >> 20} MB")
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number > 1 and not line.endswith(b"\n"):
                warn(f"line {number} of {name} is incomplete and was ignored")
                return
            raise _invalid_line(name, number, "is not JSON") from error
        if not isinstance(data, dict):
            raise _invalid_line(name, number, "is not a JSON object")
        yield number, data


def _read_version(header: JsonObject, name: str) -> str:
    form = header.get("format")
    if type(form) is not int or not 1 <= form <= FORMAT:
        raise UsageError(
            f"the trace {name} has a format that this version of rtchat does not support ({form})",
            hint="use the version that recorded it, or a newer one",
        )
    return str(header["rtchat"])


def _seconds(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        return 0.0
    return float(given) if 0.0 <= given < 1e9 else 0.0


def _parse_line(number: int, line: JsonObject, name: str, before: Sequence[Recorded]) -> Recorded:
    direction, at = line.get("direction"), line.get("t")
    data = line.get("data", line.get("raw"))
    left_out: Any = line.get("left_out", {})
    if not (isinstance(direction, str) and direction in _DIRECTIONS):
        raise _invalid_line(name, number, "has no direction")
    if not isinstance(data, dict | str):
        raise _invalid_line(name, number, "has no event")
    if at is not None and (isinstance(at, bool) or not isinstance(at, int | float)):
        raise _invalid_line(name, number, "has a time that is not a number")
    if not _are_lengths(left_out):
        raise _invalid_line(name, number, "has an invalid left_out field")
    if at is not None:  # times never decrease; NaN, infinity and huge values become 0
        last = before[-1].time if before else 0.0
        at = float(at) if 0.0 <= at < 1e9 else 0.0
        at = max(at, last or 0.0)
    return Recorded(number, at, direction, data, left_out)


def _are_lengths(left_out: Any) -> bool:
    return isinstance(left_out, dict) and all(
        type(length) is int and 0 <= length <= MAX_LINE for length in left_out.values()
    )


def _decoded(data: JsonObject | str, left_out: Mapping[str, int], kind: Any) -> Any:
    if isinstance(data, str):
        raise ValueError(f"{data[:20]!r}")  # noqa: TRY004 - as for any other invalid data
    return decode_value(with_silence(data, left_out), kind)


def _invalid_line(name: str, number: int, why: str) -> UsageError:
    return UsageError(f"line {number} of the trace {name} {why}", hint=_HINT)
