"""A thread for work that may block, such as writing to a disk, a pipe or another program.

The event loop queues jobs and continues. They run one at a time, in order. The threads are daemons,
and `close` waits for a limited time. If a thread is still busy after that, the program exits
without the interpreter's shutdown, during which native code could crash.
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
    """Runs jobs in its own thread, which starts with the first job.

    At most `limit` jobs may wait. For further ones, `queue.Full` is raised.
    """

    def __init__(self, name: str, *, limit: int = 1000) -> None:
        self._jobs: queue.Queue[Callable[[], object] | None] = queue.Queue(limit)
        self._thread = threading.Thread(target=self._run, name=f"rtchat-{name}", daemon=True)
        self._is_closed = False
        with _ALL_LOCK:
            _ALL.add(self)

    @property
    def is_busy(self) -> bool:
        """Whether a job is running or waiting."""
        return self._thread.is_alive() and self._jobs.unfinished_tasks > 0

    def do(self, job: Callable[[], object]) -> None:
        """Queue a job that handles its own errors. Raises `queue.Full`."""
        self._jobs.put_nowait(job)
        if self._thread.ident is None:
            self._thread.start()

    def call(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Queue a job. The future gets its result or exception. A job whose future is cancelled
        before it starts is skipped. Raises `queue.Full`."""
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
        """Wait up to `timeout` seconds for all jobs to finish; return whether they did. A second
        call does not wait again."""
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
        """Wait for the running job, however long it takes, and drop the others."""
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
            del job  # release the objects that it refers to
            self._jobs.task_done()
        self._jobs.task_done()


_ALL: WeakSet[Worker] = WeakSet()
_ALL_LOCK = threading.Lock()
"""Threads of devices create workers, too, while others read the set."""


def is_any_busy() -> bool:
    """Whether any worker is busy."""
    with _ALL_LOCK:
        workers = list(_ALL)
    return any(worker.is_busy for worker in workers)


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
