"""Stdout and stderr for a program on an event loop, written by threads.

A reader that pauses, a full pipe or a slow disk stops the output, not the conversation.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from io import RawIOBase, TextIOWrapper
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from rtchat.core.errors import writing_stdout
from rtchat.system.blocking import write_all
from rtchat.system.loop import post_to

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

INTERRUPT_TIMEOUT = 1.0
"""Seconds to wait for readers to take the rest of the output after an interrupt."""
_MAX_WRITE = 65_536
"""Bytes to which several queued writes are joined."""


class Output:
    """Stdout and stderr. Writing to `stdout` and `stderr` never blocks.

    The order of writes is kept, also between the two if they are the same file. A thread that is
    stuck in a write does not prevent the program from exiting.
    """

    def __init__(self, stdout: int, stderr: int | None) -> None:
        self._changed = threading.Condition()
        self._stdout = stdout
        self._queues: dict[int, deque[tuple[int, bytes]]] = {stdout: deque()}
        if stderr is not None:
            is_same = os.path.sameopenfile(stdout, stderr)
            self._queues[stderr] = self._queues[stdout] if is_same else deque()
        self._started: set[int] = set()
        self._unwritten = 0
        self._failures: dict[int, OSError] = {}
        self._unreported: OSError | None = None
        self._is_discarding = False
        self._on_failure: Callable[[OSError], bool] | None = None
        self._waiting: list[tuple[int, Callable[[], object]]] = []
        self.stdout: TextIO = _text(self, stdout)
        self.stderr: TextIO | None = None if stderr is None else _text(self, stderr)

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        is_interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.close(INTERRUPT_TIMEOUT if is_interrupted else None)

    def close(self, timeout: float | None = None) -> None:
        """Wait until everything is written or discarded. After `timeout` seconds, discard the rest.

        Raises:
            BrokenPipeError: the reader of stdout is gone, which no loop was told.
            OutputError: the same for any other failure of stdout.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._unwritten, timeout)
        self.discard()
        if self._unreported is not None:
            with writing_stdout():
                raise self._unreported

    def discard(self) -> None:
        """Discard what has not been written, and all further output."""
        with self._changed:
            self._is_discarding = True
            for queue in self._queues.values():
                queue.clear()
            self._unwritten = 0

    @property
    def unwritten(self) -> int:
        """Bytes that have not been written yet."""
        return self._unwritten

    def put(self, descriptor: int, data: bytes) -> None:
        """Queue bytes. Raises OSError if earlier ones could not be written."""
        with self._changed:
            if (error := self._failures.get(descriptor)) is not None:
                if descriptor == self._stdout:
                    self._unreported = None
                raise OSError(error.errno, error.strerror)
            if self._is_discarding or not data:
                return
            queue = self._queues[descriptor]
            queue.append((descriptor, data))
            self._unwritten += len(data)
            self._changed.notify_all()
            if id(queue) not in self._started:
                self._started.add(id(queue))
                thread = threading.Thread(target=self._write, args=(queue,), daemon=True)
                thread.start()

    # ------------------------------------------------------------------------------ for event loops

    def on_failure(self, report: Callable[[OSError], object]) -> None:
        """Call `report` on the running loop if stdout cannot be written."""
        with self._changed:
            self._on_failure = _on_loop(report)
            error, self._unreported = self._unreported, None
        if error is not None:
            self._on_failure(error)

    def when_written(self, call: Callable[[], object], max_unwritten: int = 0) -> None:
        """Call `call` on the running loop as soon as at most `max_unwritten` bytes are left."""
        call = _on_loop(call)
        with self._changed:
            if self._unwritten > max_unwritten:
                self._waiting.append((max_unwritten, call))
            else:
                call()

    async def written(self, max_unwritten: int = 0) -> None:
        """Wait until at most `max_unwritten` bytes are left."""
        is_written = asyncio.Event()
        self.when_written(is_written.set, max_unwritten)
        await is_written.wait()

    # ----------------------------------------------------------------------------------- the thread

    def _write(self, queue: deque[tuple[int, bytes]]) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: queue)
                descriptor, data = _take(queue)
            error = None
            if descriptor not in self._failures:
                try:
                    write_all(descriptor, data)
                except OSError as failure:
                    error = failure
            self._wrote(descriptor, len(data), error)

    def _wrote(self, descriptor: int, size: int, error: OSError | None) -> None:
        with self._changed:
            self._unwritten = max(0, self._unwritten - size)
            if error is not None:
                self._failures[descriptor] = error
            if error is not None and descriptor == self._stdout:
                report = self._on_failure
                if report is None or not (report(error) or self._is_discarding):
                    self._unreported = error
            ready = [call for limit, call in self._waiting if self._unwritten <= limit]
            self._waiting = [each for each in self._waiting if self._unwritten > each[0]]
            for call in ready:
                call()
            self._changed.notify_all()


def _on_loop(call: Callable[..., object]) -> Callable[..., bool]:
    loop = asyncio.get_running_loop()

    def soon(*arguments: object) -> bool:
        return post_to(loop, call, *arguments)

    return soon


def _take(queue: deque[tuple[int, bytes]]) -> tuple[int, bytes]:
    """The next bytes, joined with those that follow for the same descriptor."""
    descriptor, first = queue.popleft()
    data, size = [first], len(first)
    while queue and queue[0][0] == descriptor and size + len(queue[0][1]) <= _MAX_WRITE:
        data.append(queue.popleft()[1])
        size += len(data[-1])
    return descriptor, b"".join(data)


def _text(output: Output, descriptor: int) -> TextIO:
    stream = _Stream(output, descriptor)
    return TextIOWrapper(stream, encoding="utf-8", errors="replace", write_through=True)  # type: ignore[type-var] # typeshed requires methods that are not used


class _Stream(RawIOBase):
    """Stdout or stderr as a stream of bytes."""

    def __init__(self, output: Output, descriptor: int) -> None:
        self._output = output
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: ReadableBuffer, /) -> int:
        copy = bytes(data)
        self._output.put(self._descriptor, copy)
        return len(copy)
