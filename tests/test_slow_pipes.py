"""Pipes whose other end pauses, never reads or never ends: nothing is lost, and the program can
always be stopped."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.program import PATIENCE, Program, background

MUCH = "A line of a long reply.\n" * 12_500
"""Several times what a pipe holds."""
SCRIPT: dict[str, object] = {
    "model": "scripted",
    "rule": [
        {"match": "much", "text": MUCH, "chunk": 1000},
        {"match": "forever", "text": "word " * 1_000_000, "chunk": 500},
        {"text": "Hello there."},
    ],
}
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with background(lambda: run_server(ScriptEngine(read_script(SCRIPT)))) as url:
        yield url


@pytest.fixture
def program(tmp_path: Path, url: str) -> Program:
    program = Program(tmp_path)
    program.environ |= {"RTCHAT_URL": url, "OPENAI_API_KEY": "sk-good"}
    return program


def line_of(stream: IO[bytes] | None) -> str:
    """The next line. Fails if there is none within `PATIENCE`."""
    assert stream is not None
    line = b""
    while not line.endswith(b"\n"):
        assert select.select((stream,), (), (), PATIENCE)[0], "nothing came"
        piece = os.read(stream.fileno(), 1)
        assert piece, f"the end came after {line!r}"
        line += piece
    return line.decode()


@contextmanager
def fed(data: bytes, *, times: int | None = None) -> Iterator[tuple[int, Callable[[], int]]]:
    """The reading end of a pipe to which this is written `times` times, or without end, and a
    function that returns how many bytes have been written."""
    reading, writing = os.pipe()
    taken = 0

    def write() -> None:
        nonlocal taken
        with suppress(BrokenPipeError):
            while times is None or taken < times * len(data):
                taken += os.write(writing, data)
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield reading, lambda: taken
    finally:
        os.close(reading)
        writer.join(PATIENCE)


# -------------------------------------------------------------------------------------- slow stdin


def is_waiting(line: str) -> bool:
    """Whether a line says that stdin is being read, and how to skip it."""
    return line.startswith("waiting for the end of stdin") and "--no-stdin" in line


def test_late_input_is_part_of_the_question(program: Program) -> None:
    with program.start("once", "explain", "--trace", "trace.jsonl") as process:
        assert process.stdin is not None
        assert is_waiting(line_of(process.stderr))
        out, _ = process.communicate(b"the text\n", PATIENCE)
    assert (process.returncode, out) == (0, b"Hello there.\n")
    assert json.dumps("explain\n\nthe text") in (program.home / "trace.jsonl").read_text()


@pytest.mark.parametrize("arguments", [("once", "hi"), ("once",)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_wait_for_stdin_can_be_stopped(
    program: Program, arguments: tuple[str, ...], number: int
) -> None:
    with program.start(*arguments) as process:
        assert line_of(process.stderr).startswith("waiting for the end of stdin")
        process.send_signal(number)
        # A shell reports 143 for a process that was killed by SIGTERM.
        assert process.wait(PATIENCE) in (128 + number, -number)
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_reading_a_long_text_can_be_stopped(program: Program) -> None:
    with program.start("once", "explain") as process:
        assert process.stdin is not None
        process.stdin.write(b"0123456789abcde\n" * (5 * 2**20 // 16))
        assert is_waiting(line_of(process.stderr))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130


def test_stdin_can_be_skipped(program: Program) -> None:
    with program.start("once", "hi", "--no-stdin", "-q") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.wait(PATIENCE) == 0
        assert (process.stdout.read(), process.stderr.read()) == (b"Hello there.\n", b"")


def test_a_socket_is_read_like_a_pipe(program: Program) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"much")
        theirs.shutdown(socket.SHUT_WR)
        assert program.run("once", "explain", stdin=ours.fileno()).text == MUCH


@pytest.mark.parametrize(
    "arguments",
    [("-",), ("hi", "--attach", "-"), ("--audio-in", "-"), ("hi", "--audio-in", "-")],
)
def test_reading_and_skipping_stdin_is_a_usage_error(
    program: Program, arguments: tuple[str, ...]
) -> None:
    ran = program.run("once", "--no-stdin", *arguments, stdin=b"hi")
    assert (ran.code, ran.out) == (2, b"")
    assert "--no-stdin" in ran.error


def test_without_stdin_there_must_be_a_prompt(program: Program) -> None:
    ran = program.run("once", "--no-stdin", stdin=b"hi")
    assert ran.code == 2
    assert ran.error.startswith("rtchat: there is no prompt")


# -------------------------------------------------------------------------------------- fast stdin


def test_endless_lines_are_answered_from_the_first_on(program: Program) -> None:
    with (
        fed(b"hi\n" * 1000) as (stdin, taken),
        program.start("talk", "-q", stdin=stdin) as process,
    ):
        for _ in range(3):
            assert line_of(process.stdout) == "Hello there.\n"
        assert taken() < 300_000  # the rest waits in the pipe
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        process.stdout.read()
        assert process.wait(PATIENCE) == 143


def test_twenty_thousand_lines_are_not_read_before_the_first_is_answered(program: Program) -> None:
    with (
        fed(b"hi\n" * 1000, times=20) as (stdin, _),
        program.start("talk", "-q", stdin=stdin) as process,
    ):
        assert line_of(process.stdout) == "Hello there.\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        process.stdout.read()
        assert process.wait(PATIENCE) == 130
    # A question that was not asked is not saved.
    assert "queued" not in program.run("history", "export", "-f", "json").text


def test_no_question_is_asked_while_replies_are_not_read(program: Program) -> None:
    with (
        fed(b"much\n" * 1000) as (stdin, _),
        program.start("talk", stdin=stdin) as process,
    ):
        assert "first token" in line_of(process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143
    assert program.run("history", "list").text.split("\t")[2] == "1"


def test_endless_blank_lines(program: Program) -> None:
    with (
        fed(b"\n" * 1000) as (stdin, _),
        program.start("talk", "-v", stdin=stdin) as process,
    ):
        while "connected in" not in line_of(process.stderr):
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(("talk",), "line 1 of stdin"), (("once",), "stdin"), (("once", "explain"), "stdin")],
)
def test_an_endless_text(program: Program, arguments: tuple[str, ...], what: str) -> None:
    with fed(b"x" * 65_536) as (stdin, _):
        ran = program.run(*arguments, stdin=stdin)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.error.startswith(f"rtchat: {what} is larger than 64 MB")


# ------------------------------------------------------------------------------------- slow stdout

REPLIES = [
    ("once", "much"),
    ("once", "much", "--json"),
    ("once", "much", "--events"),
    ("talk",),
    ("talk", "--json"),
    ("talk", "--events"),
]


def check(arguments: tuple[str, ...], out: bytes) -> None:
    """Check that the output is exactly the reply."""
    if "--json" in arguments:
        (line,) = out.splitlines()
        assert json.loads(line)["text"] == MUCH
    elif "--events" in arguments:
        events = [json.loads(line) for line in out.splitlines()]
        deltas = [event.get("delta") for event in events if event["type"].endswith("text.delta")]
        assert "".join(deltas) == MUCH
        assert events[-1]["type"] == "response.done"
    else:
        assert out.decode() == MUCH


@pytest.mark.parametrize("arguments", REPLIES)
def test_a_reader_may_start_after_the_reply_is_over(
    program: Program, arguments: tuple[str, ...]
) -> None:
    """The pipe cannot hold the reply. The server's events are still read."""
    with fed(b"much\n", times=1) as (stdin, _):
        process = program.start(*arguments, stdin=stdin)
    with process:
        assert "first token" in line_of(process.stderr)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (0, b"")
    check(arguments, out)


@contextmanager
def small_pipe(*, is_blocking: bool) -> Iterator[tuple[int, int]]:
    """A pipe that holds less than any of these replies. The caller closes the reading end."""
    reading, writing = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, is_blocking)
    try:
        yield reading, writing
    finally:
        with suppress(OSError):
            os.close(writing)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, url: str) -> Program:
    """A program with a long conversation in its history and in a trace."""
    program = Program(tmp_path_factory.mktemp("recorded"))
    program.environ |= {"RTCHAT_URL": url, "OPENAI_API_KEY": "sk-good"}
    program.run("once", "much", "--trace", "trace.jsonl")
    return program


UNBUFFERED = {"PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize("arguments", REPLIES)
def test_a_non_blocking_stdout_gets_every_byte_of_a_reply(
    program: Program, arguments: tuple[str, ...]
) -> None:
    out = _through_non_blocking(program, *arguments, environ=UNBUFFERED)
    check(arguments, out)


@pytest.mark.parametrize("environ", [{}, UNBUFFERED])
@pytest.mark.parametrize(
    "arguments",
    [
        ("once", "much"),
        ("replay", "trace.jsonl", "--speed", "inf"),
        ("history", "export", "-o", "-"),
        ("history", "show"),
    ],
)
def test_a_non_blocking_stdout_gets_every_byte_of_any_command(
    recorded: Program, arguments: tuple[str, ...], environ: dict[str, str]
) -> None:
    expected = recorded.run(*arguments).out
    assert MUCH.encode() in expected
    assert _through_non_blocking(recorded, *arguments, environ=environ) == expected


def _through_non_blocking(program: Program, *arguments: str, environ: dict[str, str]) -> bytes:
    """The output of a program whose stdout is a small non-blocking pipe."""
    with small_pipe(is_blocking=False) as (reading, writing):
        with fed(b"much\n", times=1) as (stdin, _):
            process = program.start(*arguments, stdin=stdin, stdout=writing, environ=environ)
        os.close(writing)
        with process, os.fdopen(reading, "rb") as file:
            out = file.read()
            assert process.wait(PATIENCE) == 0
    return out


def test_a_trace_is_read_from_a_non_blocking_stdin(recorded: Program) -> None:
    data = (recorded.home / "trace.jsonl").read_bytes()
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    process = recorded.start("replay", "-", "--speed", "inf", stdin=reading)
    os.close(reading)
    with process, os.fdopen(writing, "wb") as file:
        file.write(data)
        file.close()
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out.decode()) == (0, MUCH)


@pytest.mark.parametrize(
    ("arguments", "number", "code"),
    [
        *((arguments, *SIGNALS[0]) for arguments in REPLIES),
        *((("talk",), *each) for each in SIGNALS[1:]),
    ],
)
def test_a_signal_ends_it_if_stdout_is_never_read(
    program: Program, arguments: tuple[str, ...], number: int, code: int
) -> None:
    with fed(b"much\n", times=1) as (stdin, _):
        process = program.start(*arguments, stdin=stdin)
    with process:
        assert "first token" in line_of(process.stderr)  # the reply is not written yet
        process.send_signal(number)
        assert process.wait(PATIENCE) == code


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("arguments", [("once", "forever"), ("talk",)])
def test_a_signal_ends_it_during_a_reply_if_stderr_is_the_same_pipe(
    program: Program, arguments: tuple[str, ...], number: int, code: int
) -> None:
    with small_pipe(is_blocking=True) as (reading, writing):
        with fed(b"forever\n", times=1) as (stdin, _):
            process = program.start(*arguments, stdin=stdin, stdout=writing, stderr=writing)
        with process:
            assert os.read(reading, 5) == b"word "
            process.send_signal(number)
            assert process.wait(PATIENCE) == code
        os.close(reading)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_stdout_is_written_if_stderr_is_never_read(
    program: Program, number: int, code: int
) -> None:
    with small_pipe(is_blocking=True) as (reading, writing):
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while os.write(writing, b"x" * 4096):
                pass
        os.set_blocking(writing, True)
        process = program.start("once", "hi", "--no-stdin", stderr=writing)
        with process:
            assert line_of(process.stdout) == "Hello there.\n"
            process.send_signal(number)
            assert process.wait(PATIENCE) == code
        os.close(reading)


def test_it_ends_when_the_reader_leaves_while_the_model_thinks(program: Program) -> None:
    """The program notices it without writing more."""
    with program.start("once", "much", "--no-stdin", "-q") as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 6) == b"A line"
        process.stdout.close()
        assert process.wait(PATIENCE) == 141


def test_the_order_is_kept_if_stdout_and_stderr_are_one_pipe(program: Program) -> None:
    ran = program.shell("rtchat once much </dev/null 2>&1 | cat")
    text, last = ran.text[: len(MUCH)], ran.text[len(MUCH) :]
    assert text == MUCH
    assert last.startswith("gpt-realtime-2.1 · first token ")


def test_a_command_with_much_output_can_be_stopped(recorded: Program) -> None:
    with recorded.start("history", "show") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert os.read(process.stdout.fileno(), 6)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr.read() == b""


@pytest.mark.parametrize(("number", "code"), SIGNALS[:2])
def test_a_replay_whose_output_is_not_read_can_be_stopped(
    recorded: Program, number: int, code: int
) -> None:
    with recorded.start("replay", "trace.jsonl", "--speed", "inf") as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 6) == b"A line"
        process.send_signal(number)
        assert process.wait(PATIENCE) == code
