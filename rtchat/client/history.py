"""The history of a session: what is recorded, what is read, and what waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, assert_never

from rtchat.core.effects import LoadConversation, Record, StartRecord
from rtchat.core.errors import OutputError, RtchatError
from rtchat.core.events import ConversationLoaded, LocalEvent, LocalNotice
from rtchat.core.values import Entry, State, StoredConversation

HISTORY_TIMEOUT = 5.0
"""Seconds that a question waits to be on disk, and /resume for a conversation."""


class History(Protocol):
    """Keeps a conversation, as `history.writer.HistoryWriter` does. No call blocks; a failure is an
    OutputError of the future."""

    def begin(self) -> None:
        """What is recorded from here on is another conversation."""

    def resume(self, kept: StoredConversation) -> None:
        """Entries recorded from now on belong to this conversation."""

    def record(self, entry: Entry) -> asyncio.Future[None]:
        """Keep an entry. It is on disk when the future is done."""

    def find(self, id: int | None) -> asyncio.Future[StoredConversation]:
        """Read a conversation, by default the latest one before this. UsageError if not found."""


class SessionHistory:
    """Performs the effects on the history.

    `found` is called with the event that answers a `LoadConversation`; a failure of the history is
    told to `warn` once, and the conversation goes on. `fail` is called with any other error.
    """

    def __init__(
        self,
        keeper: History | None,
        *,
        found: Callable[[LocalEvent], None],
        warn: Callable[[str], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._keeper = keeper
        self._found = found
        self._warn = warn
        self._fail = fail
        self._has_warned = False
        self._fails = False
        """The last entry could not be written: nothing waits for the next one."""
        self._search: asyncio.Future[StoredConversation] | None = None
        self.question_kept: asyncio.Future[None] | None = None
        """Done once the last question is on disk; it is not sent earlier."""
        self.is_waiting = False
        """A question is held back until it is on disk."""

    @property
    def is_searching(self) -> bool:
        """Whether a conversation is being read; events are handled after that."""
        return self._search is not None

    def stop_search(self) -> None:
        """What is being read is not needed any more."""
        self._search = None

    def perform(self, effect: StartRecord | Record | LoadConversation) -> None:
        """Record something, or read a conversation."""
        if self._keeper is None:
            if isinstance(effect, LoadConversation):
                text = "nothing is kept: there is no history to go back to"
                self._found(LocalNotice(text, is_error=True))
            return
        match effect:
            case StartRecord():
                self._keeper.begin()
            case Record(entry):
                recorded = self._keeper.record(entry)
                recorded.add_done_callback(self._recorded)
                if entry.state is State.ASKED:
                    self.question_kept = None if self._fails else recorded
            case LoadConversation(number):
                self._search = search = self._keeper.find(number)
                search.add_done_callback(self._read)
                loop = asyncio.get_running_loop()
                loop.call_later(HISTORY_TIMEOUT, self._give_up_search, search)
            case _:
                assert_never(effect)

    async def wait(self, kept: asyncio.Future[None] | None) -> None:
        """Wait until a question is on disk, or the history takes too long."""
        if kept is None or kept.done() or self._fails:
            return
        self.is_waiting = True
        try:
            await asyncio.wait((kept,), timeout=HISTORY_TIMEOUT)
        finally:
            self.is_waiting = False
        if not kept.done():
            self._fails = True
            self._complain(f"the history did not respond for {HISTORY_TIMEOUT:g} s: continuing")

    def _recorded(self, future: asyncio.Future[None]) -> None:
        error = future.exception()
        self._fails = error is not None
        if isinstance(error, OutputError):
            self._complain(str(error))
        elif error is not None:
            self._fail(error)

    def _complain(self, message: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warn(message)

    def _read(self, search: asyncio.Future[StoredConversation]) -> None:
        error = search.exception()
        if search is not self._search:
            return  # given up
        self._search = None
        if error is None:
            assert self._keeper is not None
            self._keeper.resume(search.result())
            self._found(ConversationLoaded(search.result()))
        elif isinstance(error, RtchatError):
            self._found(LocalNotice(str(error), is_error=True))
        else:
            self._fail(error)

    def _give_up_search(self, search: asyncio.Future[StoredConversation]) -> None:
        if search is self._search:
            self._search = None
            message = f"the history did not respond for {HISTORY_TIMEOUT:g} s"
            self._found(LocalNotice(message, is_error=True))
