"""Pipes whose other end pauses, stays silent, never reads or never ends: nothing is lost, and the
program can always be stopped."""

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
    """The next line; fails if none comes."""
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
    """The reading end of a pipe to which this is written so many times, or without end; and how
    much of it was taken so far."""
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


# ------------------------------------------------------------------------------- stdin that is slow

WAITING = "waiting for the end of stdin (to ask without it: --no-stdin, or < /dev/null)\n"


def test_what_comes_late_is_part_of_the_question(program: Program) -> None:
    with program.start("once", "explain", "--trace", "trace.jsonl") as process:
        assert process.stdin is not None
        assert line_of(process.stderr) == WAITING
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
        # Who is killed by SIGTERM has ended with 143 for a shell.
        assert process.wait(PATIENCE) in (128 + number, -number)
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_long_text_can_be_stopped_while_it_is_read(program: Program) -> None:
    with program.start("once", "explain") as process:
        assert process.stdin is not None
        process.stdin.write(b"0123456789abcde\n" * (5 * 2**20 // 16))
        assert line_of(process.stderr) == WAITING
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130


def test_stdin_is_skipped_on_request(program: Program) -> None:
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
def test_to_read_stdin_and_to_skip_it_is_wrong_usage(
    program: Program, arguments: tuple[str, ...]
) -> None:
    ran = program.run("once", "--no-stdin", *arguments, stdin=b"hi")
    assert (ran.code, ran.out) == (2, b"")
    assert "--no-stdin" in ran.error


def test_without_stdin_there_must_be_a_prompt(program: Program) -> None:
    ran = program.run("once", "--no-stdin", stdin=b"hi")
    assert (ran.code, ran.error.split(":")[1]) == (2, " no prompt")


# ------------------------------------------------------------------------- stdin that is too fast


def test_lines_without_end_are_answered_from_the_first_on(program: Program) -> None:
    with (
        fed(b"hi\n" * 1000) as (stdin, taken),
        program.start("talk", "-q", stdin=stdin) as process,
    ):
        for _ in range(3):
            assert line_of(process.stdout) == "Hello there.\n"
        assert taken() < 300_000  # the rest of it waits in the pipe
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
    # What was not asked is not kept either.
    assert "queued" not in program.run("history", "export", "-f", "json").text


def test_nothing_more_is_asked_while_replies_are_not_read(program: Program) -> None:
    with (
        fed(b"much\n" * 1000) as (stdin, _),
        program.start("talk", stdin=stdin) as process,
    ):
        assert "first token" in line_of(process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143
    assert program.run("history", "list").text.split("\t")[2] == "1"


def test_blank_lines_without_end(program: Program) -> None:
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
def test_a_text_without_end(program: Program, arguments: tuple[str, ...], what: str) -> None:
    with fed(b"x" * 65_536) as (stdin, _):
        ran = program.run(*arguments, stdin=stdin)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.error == f"rtchat: {what} is larger than 64 MB: ask with less text"


# ---------------------------------------------------------------------------- stdout that is slow

REPLIES = [
    ("once", "much"),
    ("once", "much", "--json"),
    ("once", "much", "--events"),
    ("talk",),
    ("talk", "--json"),
    ("talk", "--events"),
]


def check(arguments: tuple[str, ...], out: bytes) -> None:
    """Nothing of the reply is missing, and there is nothing else."""
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
def test_a_reader_may_begin_once_the_reply_is_over(
    program: Program, arguments: tuple[str, ...]
) -> None:
    """Though a pipe does not hold it: the server is heard to its end, and never blamed."""
    with fed(b"much\n", times=1) as (stdin, _):
        process = program.start(*arguments, "--timeout", "1", stdin=stdin)
    with process:
        assert "first token" in line_of(process.stderr)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (0, b"")
    check(arguments, out)


@contextmanager
def small_pipe(*, is_blocking: bool) -> Iterator[tuple[int, int]]:
    """A pipe that holds less than any reply of these. The reader closes its end."""
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
def kept(tmp_path_factory: pytest.TempPathFactory, url: str) -> Program:
    """A program that has had a long conversation, and recorded it."""
    program = Program(tmp_path_factory.mktemp("kept"))
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
def test_and_of_what_any_command_prints(
    kept: Program, arguments: tuple[str, ...], environ: dict[str, str]
) -> None:
    expected = kept.run(*arguments).out
    assert MUCH.encode() in expected
    assert _through_non_blocking(kept, *arguments, environ=environ) == expected


def _through_non_blocking(program: Program, *arguments: str, environ: dict[str, str]) -> bytes:
    """What comes through a non-blocking stdout that holds little."""
    with small_pipe(is_blocking=False) as (reading, writing):
        with fed(b"much\n", times=1) as (stdin, _):
            process = program.start(*arguments, stdin=stdin, stdout=writing, environ=environ)
        os.close(writing)
        with process, os.fdopen(reading, "rb") as file:
            out = file.read()
            assert process.wait(PATIENCE) == 0
    return out


def test_a_recording_comes_whole_from_a_non_blocking_stdin(kept: Program) -> None:
    data = (kept.home / "trace.jsonl").read_bytes()
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    process = kept.start("replay", "-", "--speed", "inf", stdin=reading)
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
def test_a_stdout_that_is_never_read_does_not_keep_the_program(
    program: Program, arguments: tuple[str, ...], number: int, code: int
) -> None:
    with fed(b"much\n", times=1) as (stdin, _):
        process = program.start(*arguments, stdin=stdin)
    with process:
        assert "first token" in line_of(process.stderr)  # the rest is to be written
        process.send_signal(number)
        assert process.wait(PATIENCE) == code


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("arguments", [("once", "forever"), ("talk",)])
def test_nor_in_mid_reply_where_stderr_is_the_same_pipe(
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
def test_a_stderr_that_is_never_read_keeps_nothing_from_stdout(
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


def test_a_reader_that_leaves_while_the_model_thinks_ends_it(program: Program) -> None:
    """Not only when there is more to write."""
    with program.start("once", "much", "--no-stdin", "-q") as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 6) == b"A line"
        process.stdout.close()
        assert process.wait(PATIENCE) == 141


def test_the_order_is_kept_where_stdout_and_stderr_are_one(program: Program) -> None:
    ran = program.shell("rtchat once much </dev/null 2>&1 | cat")
    text, last = ran.text[: len(MUCH)], ran.text[len(MUCH) :]
    assert text == MUCH
    assert last.startswith("gpt-realtime-2.1 · first token ")


def test_a_command_that_prints_much_can_be_stopped(kept: Program) -> None:
    with kept.start("history", "show") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert os.read(process.stdout.fileno(), 6)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr.read() == b""


@pytest.mark.parametrize(("number", "code"), SIGNALS[:2])
def test_a_replay_that_is_not_read_can_be_stopped(kept: Program, number: int, code: int) -> None:
    with kept.start("replay", "trace.jsonl", "--speed", "inf") as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 6) == b"A line"
        process.send_signal(number)
        assert process.wait(PATIENCE) == code
