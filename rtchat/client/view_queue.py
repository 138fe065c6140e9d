"""What is shown of a session: updates to the view, and everything else that is written.

The view sees an update in a later turn of the event loop, and as much as it can draw in a short
time, so that pings are answered and frames are read meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from rtchat.core.effects import Notice, QuestionAsked, ReplyOver, TextArrived, Update
from rtchat.core.errors import ExitCode
from rtchat.core.ports import View
from rtchat.system.output import INTERRUPT_TIMEOUT, Output

TICK = 1 / 12
"""Seconds between two looks at whether the view has something to paint."""
LONGEST_SHOW = 0.02
"""Seconds that the view may draw before the rest of the program has a turn: pings want answers."""
SLICE = 500
"""Characters of a reply that the view is given at once."""
MOST_OWED = 65_536
"""If more bytes of output than this are waiting, nothing is repainted."""


class ViewQueue:
    """Shows updates to a view, and ticks it while a reply is due.

    `lost` is called with an exit code when there is nowhere to write to any more; `fail` with what
    the view raises otherwise. `output` is what the view and the taps write through, if anything.
    """

    def __init__(
        self,
        view: View,
        output: Output | None,
        now: Callable[[], float],
        *,
        lost: Callable[[ExitCode], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._view = view
        self._output = output
        self._now = now
        self._lost = lost
        self._fail = fail
        self._updates: deque[Update] = deque()
        self._draining: asyncio.Handle | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._is_written = asyncio.Event()
        """All output is written, or has been given up."""
        self._is_given_up = False
        self.lost_with: ExitCode | None = None
        """The exit code that says why nothing can be shown any more."""

    def __len__(self) -> int:
        return len(self._updates)

    @property
    def owes(self) -> bool:
        """Whether some output waits to be written."""
        return self._output is not None and self._output.unwritten > 0

    def start(self) -> None:
        """Notice from now on that output cannot be written."""
        if self._output is not None:
            self._output.on_failure(self.failed)

    def show(self, update: Update) -> None:
        """Queue an update; text that arrives together is shown together."""
        if isinstance(update, TextArrived):
            last = self._updates[-1] if self._updates else None
            if isinstance(last, TextArrived) and len(last.text) + len(update.text) <= SLICE:
                self._updates[-1] = TextArrived(last.text + update.text)
                return
        if isinstance(update, TextArrived) and len(update.text) > SLICE:
            text = update.text
            starts = range(0, len(text), SLICE)
            self._updates.extend(TextArrived(text[start : start + SLICE]) for start in starts)
        else:
            self._updates.append(update)
        if self._draining is None:
            self._draining = asyncio.get_running_loop().call_soon(self._drain)

    def call(self, draw: Callable[..., None], *arguments: object) -> None:
        """Call something that writes output."""
        try:
            draw(*arguments)
        except Exception as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """Output could not be written, or there is an error in what draws it."""
        match error:
            case BrokenPipeError():
                self._lose(ExitCode.PIPE)
            case OSError():
                self._lose(ExitCode.OUTPUT, f"stdout cannot be written ({error.strerror})")
            case _:
                self._fail(error)

    def stop(self) -> None:
        """Neither show nor paint any more by itself."""
        for handle in (self._ticker, self._draining):
            if handle is not None:
                handle.cancel()

    def close(self) -> None:
        """Show what is left, and close the view."""
        self._show_rest()
        self.call(self._view.close)

    async def write_rest(self, timeout: float | None) -> None:
        """Wait until all output is written; after a timeout it is dropped."""
        if self._output is None:
            return
        self._output.when_written(self._is_written.set)
        try:
            async with asyncio.timeout(timeout):
                await self._is_written.wait()
        except TimeoutError:
            self._is_given_up = True
        if self._is_given_up and self._output.unwritten:
            self._output.discard()
        self._show_rest()  # it may be that writing failed

    def give_up_soon(self) -> None:
        """Shorten the wait for output."""
        asyncio.get_running_loop().call_later(INTERRUPT_TIMEOUT, self.give_up)

    def give_up(self) -> None:
        """End the wait for output."""
        self._is_given_up = True
        self._is_written.set()

    def _lose(self, code: ExitCode, message: str = "") -> None:
        if self.lost_with is not None:
            return
        self.lost_with = code
        if message:
            self.show(Notice("error", message))
        self._lost(code)

    def _show_rest(self) -> None:
        while self._updates:
            self._show_one(self._updates.popleft())

    def _drain(self) -> None:
        """Show what is due, for a while."""
        self._draining = None
        until = self._now() + LONGEST_SHOW
        while self._updates:
            self._show_one(self._updates.popleft())
            if self._updates and self._now() > until:
                self._draining = asyncio.get_running_loop().call_soon(self._drain)
                return

    def _show_one(self, update: Update) -> None:
        if isinstance(update, QuestionAsked) and self._ticker is None:
            self._ticker = asyncio.get_running_loop().call_later(TICK, self._tick)
        if isinstance(update, ReplyOver) and self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        if self.lost_with is None or isinstance(update, Notice):
            self.call(self._view.show, update)

    def _tick(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(TICK, self._tick)
        if self._output is None or self._output.unwritten <= MOST_OWED:
            self.call(self._view.tick)
