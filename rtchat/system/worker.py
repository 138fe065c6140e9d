"""A thread for work that may block, such as writing to a disk, to a pipe or to another program.

The event loop hands jobs over and goes on; they run one at a time, in order. The threads are
daemons: `close` waits for a limited time. If one is still busy after that, the program exits
without the interpreter's shutdown, during which native code would crash.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar
from weakref import WeakSet

from rtchat.system.loop import post_to

T = TypeVar("T")


class Worker:
    """Runs jobs in a thread of its own, which starts with the first of them.

    `limit` is how many jobs may wait. Further ones are refused with `queue.Full`.
    """

    def __init__(self, name: str, *, limit: int = 1000) -> None:
        self._jobs: queue.Queue[Callable[[], object] | None] = queue.Queue(limit)
        self._thread = threading.Thread(target=self._run, name=f"rtchat-{name}", daemon=True)
        self._is_closed = False
        _ALL.add(self)

    @property
    def is_busy(self) -> bool:
        """Whether a job is running or waiting."""
        return self._thread.is_alive() and self._jobs.unfinished_tasks > 0

    def do(self, job: Callable[[], object]) -> None:
        """Run a job that handles its own failures."""
        self._jobs.put_nowait(job)
        if self._thread.ident is None:
            self._thread.start()

    def call(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Run a job; the future has its result, or what it raises. A job whose future is cancelled
        before it begins is skipped."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                finish = partial(_resolve, future, job())
            except Exception as error:
                finish = partial(_fail, future, error)
            post_to(loop, finish)

        self.do(run)
        return future

    def close(self, timeout: float) -> bool:
        """Finish all jobs within `timeout` seconds; return whether that succeeded. A second call
        does not wait again."""
        if self._thread.ident is None:
            return True
        if self._is_closed:
            return not self._thread.is_alive()
        self._is_closed = True
        until = time.monotonic() + timeout
        with suppress(queue.Full):
            self._jobs.put(None, timeout=timeout)
            self._thread.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Finish the job that is running, however long it takes, and drop the others."""
        with suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()
                self._jobs.task_done()
        if self._thread.ident is not None:
            self._jobs.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # release what it refers to
            self._jobs.task_done()
        self._jobs.task_done()


_ALL: WeakSet[Worker] = WeakSet()


def is_any_busy() -> bool:
    """Whether any worker is busy."""
    return any(worker.is_busy for worker in list(_ALL))


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
