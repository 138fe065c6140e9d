"""Output to stdout and stderr is written completely and in order, without blocking the loop."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BufferedWriter
from pathlib import Path

import pytest

from rtchat.core.errors import OutputError
from rtchat.system.blocking import BlockingFile
from rtchat.system.output import Output
from tests.program import PATIENCE

MUCH = 300_000
"""Bytes: several times what a pipe holds."""


@contextmanager
def pipe(*, is_blocking: bool = True) -> Iterator[tuple[int, int]]:
    """Both ends of a small pipe. A test may close one."""
    reading, writing = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, is_blocking)
    try:
        yield reading, writing
    finally:
        for end in (reading, writing):
            try:
                os.close(end)
            except OSError as error:
                assert error.errno == errno.EBADF  # noqa: PT017 - the test has closed it


def read(descriptor: int, size: int) -> bytes:
    """Read exactly `size` bytes."""
    data = b""
    while len(data) < size:
        data += os.read(descriptor, size - len(data))
    return data


def read_the_rest(descriptor: int) -> None:
    """Let a thread that is stuck in a write finish. Otherwise it would write to the next pipe with
    the same descriptor."""
    read(descriptor, MUCH - 1)


def numbers(count: int) -> list[str]:
    return [f"{number}\n" for number in range(count)]


@pytest.mark.parametrize("is_blocking", [True, False])
def test_everything_is_written_in_order_even_if_read_late(is_blocking: bool) -> None:
    lines = numbers(20_000)
    with pipe(is_blocking=is_blocking) as (reading, writing):
        output = Output(writing, None)
        for line in lines:
            output.stdout.write(line)
        expected = "".join(lines).encode()
        assert output.unwritten > len(expected) - 65_536
        assert read(reading, len(expected)) == expected
        output.close()
        assert output.unwritten == 0


def test_two_streams_to_one_file_keep_their_order() -> None:
    with pipe() as (reading, writing):
        other = os.dup(writing)
        with Output(writing, other) as output:
            assert output.stderr is not None
            for line in numbers(5_000):
                output.stdout.write(f"out {line}")
                output.stderr.write(f"err {line}")
            expected = "".join(f"out {line}err {line}" for line in numbers(5_000)).encode()
            assert read(reading, len(expected)) == expected
        os.close(other)


def test_one_stream_does_not_wait_for_the_other() -> None:
    with pipe() as (reading, writing), pipe() as (other_reading, other_writing):
        output = Output(writing, other_writing)
        assert output.stderr is not None
        output.stdout.write("x" * MUCH)
        output.stderr.write("a line\n")
        assert read(other_reading, 7) == b"a line\n"
        assert read(reading, MUCH) == b"x" * MUCH
        output.close()


def test_the_loop_is_not_blocked_and_is_told_when_all_is_written() -> None:
    async def converse(output: Output, reading: int) -> None:
        output.stdout.write("x" * MUCH)
        written: list[str] = []
        output.when_written(lambda: written.append("most"), 100_000)
        output.when_written(lambda: written.append("all"))
        await asyncio.sleep(0)
        assert written == []
        await asyncio.to_thread(read, reading, MUCH)
        await output.written()
        await output.written()  # returns at once
        assert written == ["most", "all"]

    with pipe() as (reading, writing):
        asyncio.run(asyncio.wait_for(converse(Output(writing, None), reading), PATIENCE))


def test_a_closed_stdout_is_reported_on_the_loop_and_then_raised() -> None:
    async def converse(output: Output, reading: int) -> OSError:
        reports: asyncio.Queue[OSError] = asyncio.Queue()
        output.on_failure(reports.put_nowait)
        output.stdout.write("x" * MUCH)
        os.close(reading)
        report = await reports.get()
        with pytest.raises(BrokenPipeError):
            output.stdout.write("more")
        await output.written()
        return report

    with pipe() as (reading, writing):
        output = Output(writing, None)
        report = asyncio.run(asyncio.wait_for(converse(output, reading), PATIENCE))
        assert isinstance(report, BrokenPipeError)
        output.close()  # it was reported


def test_a_failure_before_on_failure_is_set_is_reported_then() -> None:
    async def listen(output: Output) -> OSError:
        reports: asyncio.Queue[OSError] = asyncio.Queue()
        output.on_failure(reports.put_nowait)
        return await reports.get()

    with pipe() as (reading, writing):
        os.close(reading)
        output = Output(writing, None)
        output.stdout.write("x")
        with pytest.raises(BrokenPipeError):
            output.close()
        report = asyncio.run(asyncio.wait_for(listen(output), PATIENCE))
        assert isinstance(report, BrokenPipeError)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_failure_that_was_not_reported_is_raised_on_close() -> None:
    with open("/dev/full", "wb") as full:
        output = Output(full.fileno(), None)
        output.stdout.write("x")
        with pytest.raises(OutputError, match="No space left on device"):
            output.close()


def test_a_failure_after_the_end_of_the_loop_is_raised_on_close() -> None:
    async def listen(output: Output) -> None:
        output.on_failure(lambda error: pytest.fail(f"{error}"))

    with pipe() as (reading, writing):
        output = Output(writing, None)
        asyncio.run(listen(output))
        os.close(reading)
        output.stdout.write("x")
        with pytest.raises(BrokenPipeError):
            output.close()


def test_a_failure_of_stderr_is_ignored() -> None:
    with pipe() as (reading, writing), pipe() as (other_reading, other_writing):
        os.close(other_reading)
        output = Output(writing, other_writing)
        assert output.stderr is not None
        output.stderr.write("x")
        output.stdout.write("y")
        output.close()
        assert os.read(reading, 10) == b"y"


@pytest.mark.parametrize("timeout", [0.0, None])
def test_discarded_output_does_not_delay_close(timeout: float | None) -> None:
    with pipe() as (reading, writing):
        output = Output(writing, None)
        output.stdout.write("x" * MUCH)
        read(reading, 1)  # the thread is in its write
        if timeout is None:
            output.discard()
        output.close(timeout)
        output.stdout.write("discarded, too")
        output.close()
        read_the_rest(reading)


def test_after_an_interrupt_it_does_not_wait_for_the_reader() -> None:
    def interrupted(output: Output, reading: int) -> None:
        with output:
            output.stdout.write("x" * MUCH)
            read(reading, 1)  # the thread is in its write
            raise KeyboardInterrupt

    with pipe() as (reading, writing):
        with pytest.raises(KeyboardInterrupt):
            interrupted(Output(writing, None), reading)
        read_the_rest(reading)


def test_a_blocking_file_waits_for_non_blocking_descriptors() -> None:
    """Both ends are non-blocking, and each waits for the other."""
    with pipe(is_blocking=False) as (reading, writing):
        os.set_blocking(reading, False)
        data = os.urandom(MUCH)

        def write() -> None:
            file = BufferedWriter(BlockingFile(writing, "w"))
            file.write(data)
            file.flush()
            os.close(writing)

        writer = threading.Thread(target=write)
        writer.start()
        assert BufferedReader(BlockingFile(reading, "r")).read() == data
        writer.join()
