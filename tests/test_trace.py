"""Recordings of the wire, as files."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtchat import __version__
from rtchat.errors import ExitCode, OutputError, Problem
from rtchat.trace import Trace


def _clock(*times: float) -> Iterator[float]:
    yield from times


def _read(path: Path) -> list[dict[str, object]]:
    lines = path.read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    return [json.loads(line) for line in lines]


def test_a_recording_is_a_header_and_a_line_for_each_event(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    clock = _clock(100.0, 100.25, 101.5, 102.0)
    trace = Trace(path, now=lambda: next(clock))
    trace("sent", {"type": "response.create", "event_id": "e1"})
    trace("received", {"type": "error", "text": "Ä 😀\n"})
    trace("received", "<html>")
    header, *events = _read(path)  # every line is there at once, not only at the end
    trace.close()
    began = header.pop("began")
    assert header == {"rtchat": __version__, "format": 1}
    assert isinstance(began, float)
    assert events == [
        {"t": 0.25, "direction": "sent", "data": {"type": "response.create", "event_id": "e1"}},
        {"t": 1.5, "direction": "received", "data": {"type": "error", "text": "Ä 😀\n"}},
        {"t": 2.0, "direction": "received", "raw": "<html>"},
    ]
    assert trace.failure is None


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    Trace(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_earlier_recording_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text("old\n" * 1000)
    Trace(path).close()
    assert len(_read(path)) == 1


def test_what_no_file_can_hold_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace = Trace(path, now=lambda: 0.0)
    trace("received", "half a pair: \ud83d")
    trace.close()
    line = {"t": 0.0, "direction": "received", "raw": "half a pair: �"}
    assert _read(path)[1:] == [line]
    assert trace.failure is None


@pytest.mark.parametrize(
    ("name", "why"),
    [("", "Is a directory"), ("no/such/folder", "No such file or directory")],
)
def test_a_place_that_cannot_be_written(tmp_path: Path, name: str, why: str) -> None:
    path = tmp_path / name
    with pytest.raises(OutputError) as caught:
        Trace(path)
    message = f"the trace {path} cannot be written ({why})"
    assert caught.value.problem == Problem(ExitCode.OUTPUT, message, "choose another --trace")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_ends_the_recording_and_nothing_else() -> None:
    trace = Trace(Path("/dev/full"))
    trace("sent", {"type": "x"})
    trace("sent", {"type": "y"})
    trace.close()
    assert trace.failure is not None
    assert trace.failure.problem == Problem(
        ExitCode.OUTPUT,
        "the trace /dev/full cannot be written (No space left on device)",
        "choose another place with --trace",
    )
