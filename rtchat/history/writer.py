"""Reads and writes the history of a running conversation in a separate thread.

A file that is locked, slow or missing never blocks the event loop. Entries are written in the order
in which they were recorded. `store` reads and writes the file itself.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from rtchat.core.errors import OutputError, Problem
from rtchat.core.values import Entry, StoredConversation
from rtchat.history.database import HistoryBusyError
from rtchat.history.store import Store
from rtchat.system.worker import Worker

T = TypeVar("T")

_CLOSE_TIMEOUT = 5.0
"""Seconds to wait at exit for entries that are not written yet."""


class HistoryWriter:
    """Saves a conversation in `store`, which only the thread may use after the first call."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._worker = Worker("history")
        self._is_full = False
        """The queue was full. Nothing more is written: after a gap, entries might end up in the
        wrong conversation."""
        self._recorded = 0
        self._finished = 0
        """How many of the recorded entries were passed to the store."""

    def begin(self) -> None:
        """Entries recorded from now on belong to a new conversation."""
        self._do(self._store.begin)

    def resume(self, conversation: StoredConversation) -> None:
        """Entries recorded from now on belong to this conversation."""
        self._do(partial(self._store.resume, conversation))

    def record(self, entry: Entry) -> asyncio.Future[None]:
        """Save an entry. It is on disk when the future is done. The future raises OutputError if
        the entry cannot be written."""
        self._recorded += 1
        return self._call(partial(self._record, entry))

    def move_to(self, turn: int) -> asyncio.Future[None]:
        """Make this the last turn of the current branch. The future raises OutputError if that
        cannot be written."""
        return self._call(partial(self._store.move_to, turn))

    def fork(self, turn: int) -> asyncio.Future[None]:
        """Copy the current branch up to this turn to a new conversation, to which later entries
        belong. The future raises OutputError if that cannot be written."""
        return self._call(partial(self._store.fork, turn))

    def find(self, key: int | str | None) -> asyncio.Future[StoredConversation]:
        """Read a conversation by its ID or name, by default the latest one before this.

        The future raises UsageError if there is no such conversation.
        """
        return self._call(partial(self._store.find, key))

    def name(self, name: str) -> asyncio.Future[None]:
        """Name this conversation. The future raises UsageError if the name is not valid or taken,
        and OutputError if it cannot be written."""
        return self._call(partial(self._store.name, name))

    def current(self) -> asyncio.Future[int | None]:
        """The id of this conversation; None if it is not in the file yet."""
        return self._call(lambda: self._store.id)

    def close(self) -> Problem | None:
        """Write the remaining entries, within a few seconds. Return a problem if entries were lost,
        unless no entry could be written: then the first one has already reported why."""
        with suppress(queue.Full):
            self._worker.do(self._store.close)
        self._worker.close(_CLOSE_TIMEOUT)
        lost = self._recorded - self._finished + self._store.unwritten
        write_error = self._store.write_error
        was_never_usable = self._store.id is None and not isinstance(write_error, HistoryBusyError)
        if not lost or (write_error and was_never_usable):
            return None
        items = "1 item" if lost == 1 else f"{lost} items"
        why = f"the history did not respond for {_CLOSE_TIMEOUT:g} s"
        cause = write_error or OutputError(why)
        message = f"{items} of the conversation could not be written, because {cause.message}"
        return Problem(cause.exit, message, cause.hint)

    def _record(self, entry: Entry) -> None:
        self._finished += 1
        self._store.record(entry)

    def _do(self, job: Callable[[], None]) -> None:
        if not self._is_full:
            try:
                self._worker.do(job)
            except queue.Full:
                self._is_full = True

    def _call(self, job: Callable[[], T]) -> asyncio.Future[T]:
        if not self._is_full:
            try:
                return self._worker.call(job)
            except queue.Full:
                self._is_full = True
        failed: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        failed.set_exception(
            OutputError("the history is not responding; nothing more will be saved")
        )
        return failed
