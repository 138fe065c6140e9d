"""Records and reads saved conversations for a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol, assert_never

from rtchat.core.effects import (
    Fork,
    LoadConversation,
    MoveTo,
    NameConversation,
    Record,
    StartRecord,
)
from rtchat.core.errors import ExitCode, OutputError, Problem, RtchatError
from rtchat.core.events import ConversationLoaded, LocalEvent, LocalNotice, local_error
from rtchat.core.values import Entry, State, StoredConversation

HISTORY_TIMEOUT = 5.0
"""Seconds to wait for a question to be stored, and for /resume to read a conversation."""


class History(Protocol):
    """Stores conversations, as `history.writer.HistoryWriter` does. No call blocks; a failure is an
    OutputError in the future."""

    def begin(self) -> None:
        """Start a new conversation; later entries belong to it."""

    def resume(self, stored: StoredConversation) -> None:
        """Continue a saved conversation; later entries belong to it."""

    def record(self, entry: Entry) -> asyncio.Future[None]:
        """Store an entry. It is on disk when the future is done."""

    def move_to(self, turn: int) -> asyncio.Future[None]:
        """Make this the last turn of the current branch, 0 for none."""

    def fork(self, turn: int) -> asyncio.Future[None]:
        """Copy the current branch up to this turn to a new conversation; later entries belong to
        it."""

    def find(self, key: int | str | None) -> asyncio.Future[StoredConversation]:
        """Read a conversation by its ID or name, by default the latest one before this. UsageError
        if not found."""

    def name(self, name: str) -> asyncio.Future[None]:
        """Name this conversation. UsageError if the name is not valid or taken."""


class SessionHistory:
    """Performs the effects on the history.

    `found` is called with the event that answers a `LoadConversation`. `warn` is called with the
    first failure to store an entry; the conversation continues. `fail` is called with any other
    error.
    """

    def __init__(
        self,
        history: History | None,
        *,
        found: Callable[[LocalEvent], None],
        warn: Callable[[Problem], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._history = history
        self._found = found
        self._warn = warn
        self._fail = fail
        self._has_warned = False
        self._is_failing = False
        """Whether the last entry could not be written; then no question waits for its entry."""
        self.search: asyncio.Future[StoredConversation] | asyncio.Future[None] | None = None
        """The conversation being read or named, if any; events wait for it."""
        self.question_saved: asyncio.Future[None] | None = None
        """Done once the last question is stored; the question is not sent earlier."""
        self.is_waiting = False
        """Whether a question is waiting to be stored."""

    def stop_search(self) -> None:
        """Ignore the conversation that is being read or named."""
        self.search = None

    def perform(
        self, effect: StartRecord | Record | MoveTo | Fork | LoadConversation | NameConversation
    ) -> None:
        """Record something, read a conversation, or name this one."""
        if self._history is None:
            if isinstance(effect, LoadConversation | NameConversation):
                hint = "remove --no-history and set history to true"
                self._found(LocalNotice("conversations are not saved", is_error=True, hint=hint))
            return
        match effect:
            case StartRecord():
                self._history.begin()
            case Record(entry):
                recorded = self._history.record(entry)
                recorded.add_done_callback(self._on_recorded)
                if entry.state is State.ASKED:
                    self.question_saved = None if self._is_failing else recorded
            case MoveTo(turn):
                self._history.move_to(turn).add_done_callback(self._on_recorded)
            case Fork(turn):
                self._history.fork(turn).add_done_callback(self._on_recorded)
            case LoadConversation(number):
                reading = self._history.find(number)
                reading.add_done_callback(self._on_read)
                self._wait_for(reading)
            case NameConversation(name):
                naming = self._history.name(name)
                naming.add_done_callback(partial(self._on_named, name))
                self._wait_for(naming)
            case _:
                assert_never(effect)

    def _wait_for(self, search: asyncio.Future[StoredConversation] | asyncio.Future[None]) -> None:
        """Let events wait for this, for a while."""
        self.search = search
        loop = asyncio.get_running_loop()
        loop.call_later(HISTORY_TIMEOUT, self._give_up_search, search)

    async def wait(self, stored: asyncio.Future[None] | None) -> None:
        """Wait until a question is stored, or for `HISTORY_TIMEOUT`."""
        if stored is None or stored.done() or self._is_failing:
            return
        self.is_waiting = True
        try:
            await asyncio.wait((stored,), timeout=HISTORY_TIMEOUT)
        finally:
            self.is_waiting = False
        if not stored.done():
            self._is_failing = True
            message = (
                f"the history did not respond for {HISTORY_TIMEOUT:g} s; the conversation continues"
            )
            self._warn_once(Problem(ExitCode.OUTPUT, message))

    def _on_recorded(self, future: asyncio.Future[None]) -> None:
        error = future.exception()
        self._is_failing = error is not None
        if isinstance(error, OutputError):
            self._warn_once(error.problem)
        elif error is not None:
            self._fail(error)

    def _warn_once(self, problem: Problem) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warn(problem)

    def _on_read(self, search: asyncio.Future[StoredConversation]) -> None:
        error = search.exception()
        if search is not self.search:
            return  # given up
        self.search = None
        if error is None:
            assert self._history is not None
            self._history.resume(search.result())
            self._found(ConversationLoaded(search.result()))
        elif isinstance(error, RtchatError):
            self._found(local_error(error.problem))
        else:
            self._fail(error)

    def _on_named(self, name: str, named: asyncio.Future[None]) -> None:
        error = named.exception()
        if named is not self.search:
            return  # given up
        self.search = None
        if error is None:
            self._found(LocalNotice(f"this conversation is now named {name!r}"))
        elif isinstance(error, RtchatError):
            self._found(local_error(error.problem))
        else:
            self._fail(error)

    def _give_up_search(
        self, search: asyncio.Future[StoredConversation] | asyncio.Future[None]
    ) -> None:
        if search is self.search:
            self.search = None
            message = f"the history did not respond for {HISTORY_TIMEOUT:g} s"
            self._found(LocalNotice(message, is_error=True))
