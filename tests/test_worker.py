"""A thread for jobs that may block."""

from __future__ import annotations

import asyncio
import queue
import subprocess
import sys
import threading
from functools import partial

import pytest

from rtchat.system.worker import Worker, is_any_busy


def test_jobs_run_in_order_without_blocking_the_loop() -> None:
    done: list[int] = []

    async def main() -> None:
        worker = Worker("test")
        may_begin = threading.Event()
        first = worker.call(may_begin.wait)
        others = [worker.call(partial(done.append, number)) for number in range(10)]
        may_begin.set()  # the loop is not blocked
        await asyncio.gather(first, *others)

    asyncio.run(main())
    assert done == list(range(10))


def test_an_exception_goes_to_the_caller_and_the_next_job_runs() -> None:
    async def main() -> int:
        worker = Worker("test")
        with pytest.raises(ZeroDivisionError):
            await worker.call(lambda: 1 // 0)
        return await worker.call(lambda: 7)

    assert asyncio.run(main()) == 7


def test_a_cancelled_job_is_skipped() -> None:
    done: list[str] = []

    async def main() -> None:
        worker = Worker("test")
        may_begin = threading.Event()
        first = worker.call(may_begin.wait)
        cancelled = worker.call(lambda: done.append("cancelled"))
        last = worker.call(lambda: done.append("last"))
        cancelled.cancel()
        may_begin.set()
        await asyncio.gather(first, last)

    asyncio.run(main())
    assert done == ["last"]


def test_the_number_of_waiting_jobs_is_limited() -> None:
    worker = Worker("test", limit=2)
    begun, may_end = threading.Event(), threading.Event()
    done: list[int] = []

    def wait() -> None:
        begun.set()
        may_end.wait()

    worker.do(wait)
    begun.wait()
    worker.do(lambda: done.append(1))
    worker.do(lambda: done.append(2))
    with pytest.raises(queue.Full):
        worker.do(lambda: done.append(3))
    may_end.set()
    assert worker.close(60)
    assert done == [1, 2]


@pytest.mark.parametrize("waiting", [0, 1])
def test_close_does_not_wait_long_for_a_job_that_hangs(waiting: int) -> None:
    worker = Worker("test", limit=1)
    begun, may_end = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        may_end.wait()

    worker.do(hang)
    begun.wait()
    for _ in range(waiting):
        worker.do(lambda: None)
    assert not worker.close(0.01)
    assert not worker.close(1000)  # does not wait a second time
    assert worker.is_busy
    assert is_any_busy()
    may_end.set()
    worker.stop()
    assert not worker.is_busy


def test_a_result_after_the_end_of_the_loop_is_dropped() -> None:
    worker = Worker("test")
    may_end = threading.Event()

    async def main() -> None:
        _ = worker.call(may_end.wait)

    asyncio.run(main())
    may_end.set()
    assert worker.close(60)


def test_an_unused_worker_has_no_thread() -> None:
    before = threading.active_count()
    worker = Worker("test")
    assert worker.close(0)
    worker.stop()
    assert threading.active_count() == before


def test_stopping_drops_jobs_that_have_not_started() -> None:
    worker = Worker("test")
    begun, may_end = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> None:
        begun.set()
        may_end.wait()
        done.append("first")

    worker.do(first)
    worker.do(lambda: done.append("second"))
    begun.wait()
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    while worker._jobs.qsize() > 1:
        pass
    may_end.set()
    stopping.join()
    assert done == ["first"]


def test_the_program_exits_while_a_job_hangs() -> None:
    script = (
        "import sys, threading; from rtchat import cli, __main__\n"
        "def run(_):\n"
        "    from rtchat.system.worker import Worker\n"
        "    Worker('test').do(threading.Event().wait); return 7\n"
        "cli.run = run; sys.exit(__main__.main())"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (7, b"")
