"""Trace files: writing and reading."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rtchat import __version__
from rtchat.core.errors import ExitCode, OutputError, Problem, UsageError
from rtchat.core.events import AudioCaptured, UserSaid
from rtchat.core.redaction import Redactor
from rtchat.core.setup import ConversationSetup, SessionSetup
from rtchat.core.values import JsonObject, Options
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from rtchat.trace.reading import Recorded, Recording, read_trace
from rtchat.trace.recording import MAX_LINE, Trace
from rtchat.wire import decode
from tests.faulty import saying, sockets
from tests.program import Program, background


def _read(path: Path) -> list[dict[str, object]]:
    lines = path.read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    return [json.loads(line) for line in lines]


# ------------------------------------------------------------------------------------------ writing


def test_a_trace_has_a_header_and_a_line_for_each_event(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace = Trace(path)
    trace("sent", {"type": "response.create", "event_id": "e1"}, 0.25)
    trace("received", {"type": "error", "text": "Ä 😀\n"}, 1.5)
    trace("received", "<html>", 2.0)
    trace("local", UserSaid("hi"), 2.5)
    trace.close()
    header, *events = _read(path)
    began = header.pop("began")
    assert header == {"rtchat": __version__, "format": 2}
    assert isinstance(began, float)
    assert events == [
        {"t": 0.25, "direction": "sent", "data": {"type": "response.create", "event_id": "e1"}},
        {"t": 1.5, "direction": "received", "data": {"type": "error", "text": "Ä 😀\n"}},
        {"t": 2.0, "direction": "received", "raw": "<html>"},
        {"t": 2.5, "direction": "local", "data": {"class": "UserSaid", "text": "hi"}},
    ]
    assert trace.failure is None


@pytest.mark.parametrize("mode", [None, 0o644, 0o777])
def test_other_users_cannot_read_a_trace(tmp_path: Path, mode: int | None) -> None:
    path = tmp_path / "trace.jsonl"
    if mode is not None:
        path.touch()
        path.chmod(mode)
    Trace(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_trace_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "bug.jsonl"
    path.write_text("the first\n")
    (tmp_path / "bug-3.jsonl").write_text("another\n")
    names = []
    for _ in range(3):
        trace = Trace(path)
        trace.close()
        names.append(trace.path.name)
    assert names == ["bug-2.jsonl", "bug-4.jsonl", "bug-5.jsonl"]
    assert path.read_text() == "the first\n"
    assert (tmp_path / "bug-3.jsonl").read_text() == "another\n"
    assert [len(_read(tmp_path / name)) for name in names] == [1, 1, 1]


@pytest.mark.parametrize("exists", [False, True])
def test_traces_that_begin_at_the_same_time_do_not_share_a_file(
    tmp_path: Path, exists: bool
) -> None:
    path = tmp_path / "bug.jsonl"
    if exists:
        path.touch()
    with ThreadPoolExecutor(8) as pool:
        traces = list(pool.map(lambda _: Trace(path), range(24)))
    for trace in traces:
        trace.close()
    assert len({trace.path for trace in traces}) == 24
    assert path in {trace.path for trace in traces}
    assert {len(_read(trace.path)) for trace in traces} == {1}


def test_the_name_of_a_second_trace_is_shown(tmp_path: Path) -> None:
    program = Program(tmp_path)
    with background(lambda: run_server(EchoEngine())) as url:
        program.environ["RTCHAT_URL"] = url
        first = program.run("once", "one", "--trace", "bug.jsonl")
        second = program.run("once", "two", "--trace", "bug.jsonl")
        program.environ["RTCHAT_TRACE"] = "bug.jsonl"
        third = program.run("talk", "-q", stdin=b"three\n")
    said = [[line for line in ran.err.splitlines() if "bug" in line] for ran in (first, second)]
    assert said == [[], ["bug.jsonl exists, so the run is recorded to bug-2.jsonl"]]
    assert (third.code, third.err) == (0, "")
    for name, word in (("bug", "one"), ("bug-2", "two"), ("bug-3", "three")):
        assert f'"{word}"' in (tmp_path / f"{name}.jsonl").read_text()


def test_an_empty_file_is_used(tmp_path: Path) -> None:
    path = tmp_path / "made-by-mktemp"
    path.touch()
    trace = Trace(path)
    trace.close()
    assert trace.path == path
    assert len(_read(path)) == 1


def test_lone_surrogates_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace = Trace(path)
    trace("received", "half a pair: \ud83d", 0.0)
    trace.close()
    line = {"t": 0.0, "direction": "received", "raw": "half a pair: \ud83d"}
    assert _read(path)[1:] == [line]
    assert trace.failure is None


def test_keys_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace = Trace(path, redactor=Redactor(["sk-mine"]))
    trace("received", {"type": "error", "error": {"message": "sk-mine is wrong"}}, 0.0)
    trace.close()
    assert _read(path)[1]["data"] == {"type": "error", "error": {"message": "[key] is wrong"}}


MEDIA: list[tuple[JsonObject, JsonObject, dict[str, int]]] = [
    (
        {"type": "response.output_audio.delta", "delta": "AAAA", "item_id": "i"},
        {"type": "response.output_audio.delta", "delta": "", "item_id": "i"},
        {"delta": 4},
    ),
    (
        {"type": "response.audio.delta", "delta": "AAAAAAAA"},
        {"type": "response.audio.delta", "delta": ""},
        {"delta": 8},
    ),
    (
        {"type": "input_audio_buffer.append", "audio": "AAAA"},
        {"type": "input_audio_buffer.append", "audio": ""},
        {"audio": 4},
    ),
    (
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "data:image/png;base64,is text here"},
                    {"type": "input_audio", "audio": "AAAA", "transcript": "hi"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAAAAA"},
                    {"type": "input_image", "image_url": "https://a.example/b.png"},
                ],
            },
        },
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "data:image/png;base64,is text here"},
                    {"type": "input_audio", "audio": "", "transcript": "hi"},
                    {"type": "input_image", "image_url": "data:image/png;base64,"},
                    {"type": "input_image", "image_url": "https://a.example/b.png"},
                ],
            },
        },
        {"item.content[1].audio": 4, "item.content[2].image_url": 6},
    ),
]


@pytest.mark.parametrize(("event", "shortened", "left_out"), MEDIA)
def test_audio_and_images_are_left_out(
    tmp_path: Path, event: JsonObject, shortened: JsonObject, left_out: dict[str, int]
) -> None:
    path = tmp_path / "trace.jsonl"
    before = json.dumps(event)
    trace = Trace(path)
    trace("received", event, 0.0)
    trace.close()
    line = {"t": 0.0, "direction": "received", "data": shortened, "left_out": left_out}
    assert _read(path)[1:] == [line]
    assert json.dumps(event) == before
    (recorded,) = read_trace(path, print).events
    assert recorded.data == shortened
    assert [type(read) for read in decode(shortened)] == [type(read) for read in decode(event)]


@pytest.mark.parametrize("event", [event for event, _, _ in MEDIA])
def test_a_complete_trace_has_audio_and_images(tmp_path: Path, event: JsonObject) -> None:
    path = tmp_path / "trace.jsonl"
    trace = Trace(path, complete=True)
    trace("received", event, 0.0)
    trace.close()
    assert _read(path)[1:] == [{"t": 0.0, "direction": "received", "data": event}]


def test_a_complete_trace_leaves_out_audio_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace = Trace(path, complete=True)
    trace("sent", {"type": "input_audio_buffer.append", "audio": "A" * MAX_LINE}, 0.0)
    trace.close()
    assert trace.failure is None
    assert _read(path)[1]["left_out"] == {"audio": MAX_LINE}


def test_other_data_is_not_left_out(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    events: list[JsonObject] = [
        {"type": "response.output_audio_transcript.delta", "delta": "words"},
        {"type": "response.output_text.delta", "delta": "words"},
        {"type": "session.created", "session": {"audio": {"output": {"voice": "marin"}}}},
        {"type": "conversation.item.added", "item": {"content": [{"audio": None}]}},
    ]
    trace = Trace(path)
    for event in events:
        trace("received", event, 0.0)
    trace.close()
    assert [line["data"] for line in _read(path)[1:]] == events


@pytest.mark.parametrize(("options", "audio"), [((), ""), (("--trace-audio",), "AAAA")])
def test_trace_audio_includes_audio(tmp_path: Path, options: tuple[str, ...], audio: str) -> None:
    session = {"type": "realtime", "id": "s", "model": "m"}
    events = [
        {"type": "session.created", "session": session},
        {"type": "response.output_audio.delta", "delta": "AAAA"},
    ]
    program = Program(tmp_path)
    talk = saying(*(json.dumps(event) for event in events), code=4000)
    with background(lambda: sockets(talk)) as url:
        program.run("once", "hi", "--url", url, "--trace", "trace.jsonl", *options)
    lines = _read(tmp_path / "trace.jsonl")[1:]
    deltas = [line["data"] for line in lines if "delta" in str(line.get("data"))]
    assert deltas == [{"type": "response.output_audio.delta", "delta": audio}]


# ------------------------------------------------------------------------------------- destinations


@pytest.mark.parametrize(
    ("name", "why"),
    [("", "Is a directory"), ("no/such/folder", "No such file or directory")],
)
def test_a_path_that_cannot_be_written(tmp_path: Path, name: str, why: str) -> None:
    path = tmp_path / name
    with pytest.raises(OutputError) as caught:
        Trace(path)
    message = f"the trace {path} cannot be written ({why})"
    assert caught.value.problem == Problem(ExitCode.OUTPUT, message, HINT)


HINT = "choose another file"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_only_ends_the_trace() -> None:
    trace = Trace(Path("/dev/full"))
    trace("sent", {"type": "x"}, 0.0)
    trace("sent", {"type": "y"}, 0.0)
    trace.close()
    assert trace.failure is not None
    assert trace.failure.problem == Problem(
        ExitCode.OUTPUT,
        "the trace /dev/full cannot be written (No space left on device)",
        HINT,
    )


def test_a_named_pipe_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    trace = Trace(path)
    trace("received", {"type": "x", "text": "word " * 50_000}, 0.0)  # exceeds the pipe buffer
    trace.close()
    reader.join(30)
    header, event = received[0].splitlines()
    assert json.loads(header)["format"] == 2
    assert len(json.loads(event)["data"]["text"]) == 250_000
    assert trace.failure is None
    assert trace.path == path


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_can_be_written(device: str) -> None:
    trace = Trace(Path(device))
    trace("received", {"type": "x"}, 0.0)
    trace.close()
    assert (trace.path, trace.failure) == (Path(device), None)


LONG = "words" * 20_000
"""More than the buffer of a pipe."""


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Program]:
    """The program with a server that replies with the question."""
    program = Program(tmp_path)
    with background(lambda: run_server(EchoEngine())) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


@pytest.mark.parametrize("path", ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"])
def test_a_descriptor_of_a_file_is_appended_to(echo: Program, path: str) -> None:
    """Opening it by name would truncate the file."""
    log = echo.home / "log"
    ran = echo.shell(
        f"{{ echo before >&2; rtchat once -q hi --trace {path}; echo after >&2; }} 2>{log}"
    )
    before, header, *events, after = log.read_text().splitlines()
    assert (ran.code, before, after) == (0, "before", "after")
    assert json.loads(header)["format"] == 2
    assert any("response.done" in line for line in events)
    assert sorted(path.name for path in echo.home.iterdir() if path.is_file()) == ["log"]


def test_any_open_descriptor_can_be_written(echo: Program) -> None:
    log = echo.home / "log"
    assert echo.shell(f"rtchat once -q hi --trace /dev/fd/7 7>>{log}").text == "hi\n"
    assert echo.shell(f"rtchat once -q hi --trace >(cat >>{log}; echo read >>{log})").code == 0
    assert log.read_text().count('"format":2') == 2


def test_a_closed_descriptor_is_an_error(echo: Program) -> None:
    ran = echo.run("once", "hi", "--trace", "/dev/fd/77")
    assert (ran.code, ran.text) == (6, "")
    assert "the trace /dev/fd/77 cannot be written (Bad file descriptor)" in ran.error


def test_a_dash_means_stderr(echo: Program) -> None:
    ran = echo.run("once", "-q", "hi", "--trace", "-")
    assert (ran.code, ran.text) == (0, "hi\n")
    lines = [json.loads(line) for line in ran.err.splitlines()]
    assert {line["direction"] for line in lines[1:]} == {
        "setup",
        "local",
        "received",
        "sent",
        "end",
    }
    assert not (echo.home / "-").exists()


@pytest.mark.parametrize("is_open", [False, True])
def test_an_unread_pipe_does_not_stop_the_conversation(echo: Program, is_open: bool) -> None:
    path = echo.home / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if is_open else -1
    ran = echo.run("talk", "-q", "--trace", "pipe", stdin=f"{LONG}\nnext\n".encode())
    if is_open:
        os.close(reader)
    assert ran.text.splitlines() == [LONG, "next"]
    assert ran.code == 6
    assert "the trace pipe cannot be written" in ran.error


def test_the_data_waiting_for_a_pipe_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    trace = Trace(path)
    events = 0
    while trace.failure is None:
        trace("received", {"type": "x", "text": "x" * 1_000_000}, 0.0)
        events += 1
    assert events < 100
    assert "MB are waiting" in trace.failure.message
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    trace.close()


# ------------------------------------------------------------------------------------------ reading


def _written(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


HEADER = '{"rtchat":"0.1","format":1,"began":1.5}'
EVENT = '{"t":0.5,"direction":"received","data":{"type":"x"}}'


def test_a_written_trace_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace = Trace(path)
    trace("sent", {"type": "a"}, 0.25)
    trace("received", "<html>", 1.5)
    trace.close()
    events = [
        Recorded(2, 0.25, "sent", {"type": "a"}),
        Recorded(3, 1.5, "received", "<html>"),
    ]
    assert read_trace(path, print) == Recording(__version__, events)


def test_times_and_the_header_are_optional(tmp_path: Path) -> None:
    line = '{"kind": "message", "direction": "sent", "data": {"type": "a"}}'
    path = _written(tmp_path / "trace.jsonl", line, "", line)
    event = {"type": "a"}
    events = [Recorded(1, None, "sent", event), Recorded(3, None, "sent", event)]
    assert read_trace(path, print) == Recording("", events)


def test_a_descriptor_can_be_read(tmp_path: Path) -> None:
    path = _written(tmp_path / "trace.jsonl", HEADER, EVENT)
    descriptor = os.open(path, os.O_RDONLY)
    recording = read_trace(descriptor, print)
    os.close(descriptor)
    assert recording == Recording("0.1", [Recorded(2, 0.5, "received", {"type": "x"})])


def test_times_never_decrease(tmp_path: Path) -> None:
    times = ("5", "1", "-1", "1e300", "6")
    lines = [f'{{"t":{time},"direction":"sent","raw":""}}' for time in times]
    path = _written(tmp_path / "trace.jsonl", *lines)
    assert [event.time for event in read_trace(path, print).events] == [5, 5, 5, 5, 6]


@pytest.mark.parametrize("cut", range(1, len(EVENT)))
def test_an_incomplete_last_line_is_left_out(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(f"{HEADER}\n{EVENT}\n{EVENT[:cut]}")
    said: list[str] = []
    recording = read_trace(path, said.append)
    assert recording == Recording("0.1", [Recorded(2, 0.5, "received", {"type": "x"})])
    assert said == [f"line 3 of {path} is incomplete and was ignored"]


def test_a_last_line_without_a_line_break_may_be_complete(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(f"{HEADER}\n{EVENT}")
    assert len(read_trace(path, print).events) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "the trace {} is empty"),
        (("", ""), "the trace {} is empty"),
        (("hello",), "line 1 of the trace {} is not JSON"),
        ((HEADER, EVENT[:-1], EVENT), "line 2 of the trace {} is not JSON"),
        ((HEADER, "[1]"), "line 2 of the trace {} is not a JSON object"),
        ((HEADER, HEADER), "line 2 of the trace {} has no direction"),
        ((EVENT, '{"direction":"up","data":{}}'), "line 2 of the trace {} has no direction"),
        (('{"direction":[],"data":{}}',), "line 1 of the trace {} has no direction"),
        (('{"direction":"sent"}',), "line 1 of the trace {} has no event"),
        (('{"direction":"sent","data":[]}',), "line 1 of the trace {} has no event"),
        (
            ('{"t":"now","direction":"sent","data":{}}',),
            "line 1 of the trace {} has a time that is not a number",
        ),
        (("[" * 100_000,), "line 1 of the trace {} is not JSON"),
        (
            (HEADER, '{"direction":"local","data":{"class":"Sung"}}'),
            "line 2 of the trace {} has an event that this version of rtchat does not support",
        ),
        (
            (HEADER, '{"direction":"local","raw":"UserSaid"}'),
            "line 2 of the trace {} has an event that this version of rtchat does not support",
        ),
        (
            (HEADER, '{"direction":"setup","data":{"class":"Session"}}'),
            "line 2 of the trace {} has an event that this version of rtchat does not support",
        ),
        (
            (HEADER, '{"direction":"sent","data":{},"left_out":{"audio":-1}}'),
            "line 2 of the trace {} has an invalid left_out field",
        ),
        (
            (HEADER, '{"direction":"sent","data":{},"left_out":["audio"]}'),
            "line 2 of the trace {} has an invalid left_out field",
        ),
        (
            ('{"rtchat":"9.0","format":3}',),
            "the trace {} has a format that this version of rtchat does not support (3)",
        ),
    ],
)
def test_an_invalid_trace_is_a_usage_error(
    tmp_path: Path, lines: tuple[str, ...], message: str
) -> None:
    path = _written(tmp_path / "trace.jsonl", *lines)
    with pytest.raises(UsageError) as caught:
        read_trace(path, print)
    assert caught.value.message.startswith(message.format(path))
    assert caught.value.hint != ""


def test_the_length_of_a_line_is_limited(tmp_path: Path) -> None:
    path = _written(tmp_path / "trace.jsonl", HEADER)
    with path.open("r+b") as file:
        file.truncate(MAX_LINE + 1000)
    with pytest.raises(UsageError) as caught:
        read_trace(path, print)
    assert caught.value.message == f"line 2 of the trace {path} is longer than 64 MB"


def test_local_events_have_silence_in_place_of_audio(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    events = [AudioCaptured(b"\1" * size) for size in range(7)]
    setup = SessionSetup(ConversationSetup("m", Options()))
    trace = Trace(path)
    trace("setup", setup, 0.0)
    for event in events:
        trace("local", event, 0.0)
    trace.close()
    recording = read_trace(path, print)
    assert recording.setup == setup
    assert [each.event for each in recording.events] == [AudioCaptured(bytes(n)) for n in range(7)]


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "none"
    with pytest.raises(UsageError, match="cannot be read \\(No such file or directory\\)"):
        read_trace(path, print)
