"""Queues updates for the view, and handles errors in writing output.

Updates are shown in a later iteration of the event loop, for a short time in each, so that pings
are answered and frames are read in between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from rtchat.core.effects import (
    Notice,
    QuestionAsked,
    Queued,
    ReplyOver,
    TextArrived,
    Update,
    error_notice,
)
from rtchat.core.errors import SIGNALLED, ExitCode, Problem, stdout_error
from rtchat.core.ports import View
from rtchat.system.output import INTERRUPT_TIMEOUT, Output

TICK = 1 / 12
"""Seconds between two ticks of the view, in which it may repaint."""
MAX_SHOW_SECONDS = 0.02
"""Seconds that the view may draw before the event loop runs other tasks and answers pings."""
SLICE = 500
"""Maximum characters of a reply in one update."""
MAX_UNWRITTEN = 65_536
"""If more bytes of output than this are waiting, nothing is repainted."""


class ViewQueue:
    """Shows updates in a view, and ticks it while a reply is pending.

    `lost` is called with an exit code when output can no longer be written, `fail` with any other
    exception of the view. `output` is the output of the view and the taps, if they share one.
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
        self._wait_is_over = asyncio.Event()
        """Set when all output is written or the wait has ended."""
        self.is_given_up = False
        """Whether the wait for output has ended because of a signal."""
        self._was_signalled = False
        self.lost_with: ExitCode | None = None
        """The exit code for why output can no longer be written, if so."""

    @property
    def is_waiting(self) -> bool:
        """Whether updates are waiting to be shown."""
        return bool(self._updates)

    def is_behind(self) -> bool:
        """Whether the view should catch up before there are more updates."""
        return len(self._updates) > 1

    @property
    def has_unwritten_output(self) -> bool:
        """Whether output is waiting to be written."""
        return self._output is not None and self._output.unwritten > 0

    def start(self) -> None:
        """Start to watch for write errors."""
        if self._output is not None:
            self._output.on_failure(self.failed)

    def show(self, update: Update) -> None:
        """Queue an update. Consecutive pieces of text are joined, up to `SLICE` characters."""
        if isinstance(update, TextArrived):
            last = self._updates[-1] if self._updates else None
            if isinstance(last, TextArrived) and len(last.text) + len(update.text) <= SLICE:
                self._updates[-1] = TextArrived(
                    last.text + update.text, last.deltas + update.deltas
                )
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
        """Call a function that writes output, and handle its exceptions."""
        try:
            draw(*arguments)
        except Exception as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """Handle an exception from writing or drawing output."""
        match error:
            case BrokenPipeError():
                self._lose_output(ExitCode.PIPE)
            case OSError():
                self._lose_output(ExitCode.OUTPUT, stdout_error(error).problem)
            case _:
                self._fail(error)

    def stop(self) -> None:
        """Stop showing updates and ticking the view."""
        for handle in (self._ticker, self._draining):
            if handle is not None:
                handle.cancel()

    async def close(self, exit_code: ExitCode | None) -> None:
        """Show the remaining updates, close the view, and wait until all output is written. After a
        signal, the output that is not written in `INTERRUPT_TIMEOUT` seconds is discarded."""
        if not self.has_unwritten_output:  # nothing is left of what was given up before
            self.is_given_up = False
            self._wait_is_over.clear()
        self._show_rest()
        self.call(self._view.close)
        if self._output is None:
            return
        self._output.when_written(self._wait_is_over.set)
        try:
            async with asyncio.timeout(INTERRUPT_TIMEOUT if exit_code in SIGNALLED else None):
                await self._wait_is_over.wait()
        except TimeoutError:
            self.is_given_up = True
        if self.is_given_up and self._output.unwritten:
            self._output.discard()
        self._show_rest()  # the error, if writing failed

    def signalled(self, number: int, exit_code: ExitCode | None) -> ExitCode | None:
        """Handle a signal of the program, whose exit code is known if only output is left to
        write. Then a first signal shortens the wait for it, and a second one ends it. Return the
        exit code after that."""
        is_first, self._was_signalled = not self._was_signalled, True
        if exit_code is None:
            return None
        if is_first:
            asyncio.get_running_loop().call_later(INTERRUPT_TIMEOUT, self._give_up)
        else:
            self._give_up()
        return ExitCode(128 + number) if self.has_unwritten_output else exit_code

    def _give_up(self) -> None:
        self.is_given_up = True
        self._wait_is_over.set()

    def _lose_output(self, code: ExitCode, problem: Problem | None = None) -> None:
        if self.lost_with is not None:
            return
        self.lost_with = code
        if problem is not None:
            self.show(error_notice(problem))
        self._lost(code)

    def _show_rest(self) -> None:
        while self._updates:
            self._show_one(self._updates.popleft())

    def _drain(self) -> None:
        """Show queued updates for at most `MAX_SHOW_SECONDS`."""
        self._draining = None
        until = self._now() + MAX_SHOW_SECONDS
        while self._updates:
            self._show_one(self._updates.popleft())
            if self._updates and self._now() > until:
                self._draining = asyncio.get_running_loop().call_soon(self._drain)
                return

    def _show_one(self, update: Update) -> None:
        is_pending = isinstance(update, QuestionAsked) or (
            isinstance(update, Queued) and bool(update.texts)
        )
        if is_pending and self._ticker is None:
            self._ticker = asyncio.get_running_loop().call_later(TICK, self._tick)
        if isinstance(update, ReplyOver) and self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        if self.lost_with is None or isinstance(update, Notice):
            self.call(self._view.show, update)

    def _tick(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(TICK, self._tick)
        if self._output is None or self._output.unwritten <= MAX_UNWRITTEN:
            self.call(self._view.tick)
