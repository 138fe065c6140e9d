"""A conversation in a terminal: the prompt and the view take turns.

While an entry is edited nothing but notices is printed, above it; while a reply is due there is no
prompt. Not here: keys (`prompt`), drawing (`live_view`), or what an entry leads to.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from typing import Protocol

from rtchat.commands import AttachAsked, parse
from rtchat.effects import Connecting, Copy, ReplyOver, ToolAsked, Update
from rtchat.errors import UsageError
from rtchat.events import (
    Attached,
    CancelPressed,
    LeaveAsked,
    LocalEvent,
    Told,
    ToolAnswered,
    UserSaid,
)
from rtchat.ui import words
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.prompt import Prompt
from rtchat.values import Approval, ToolCall


class Screen(Protocol):
    """A view of a conversation that takes turns with a prompt."""

    def expect(self) -> None:
        """A question was asked."""

    def show(self, update: Update) -> None:
        """Show what happened."""

    def tick(self) -> None:
        """Repaint what changed."""

    def hide(self) -> None:
        """Take off what is painted, until the next tick."""

    def close(self) -> None:
        """Take down whatever is still painted."""


class Files(Protocol):
    """How what was typed becomes a file that goes with a question."""

    def dropped(self, entry: str) -> Sequence[str]:
        """The files that an entry is the paths of and nothing else; empty if it is not."""

    def attach(self, entered: str) -> Attached:
        """Read one. Raises UsageError where a model would not take it."""


class Terminal:
    """What `talk` shows and where it reads: a view, and the loop that asks for entries."""

    def __init__(self, view: Screen, prompt: Prompt, clipboard: Clipboard, files: Files) -> None:
        self._view = view
        self._prompt = prompt
        self._clipboard = clipboard
        self._files = files
        self._news = asyncio.Event()
        """Something ends the wait for a reply: that it is over, or a call that needs permission."""
        self._is_over = False
        self._call: ToolCall | Approval | None = None
        prompt.on_suspend = self._suspend

    def show(self, update: Update) -> None:
        """Show what happened, above the prompt if there is one."""
        if isinstance(update, Copy):
            update = self._clipboard.copy(update)
        if isinstance(update, Connecting):
            self._view.show(update)  # prints nothing, so the prompt can stay where it is
        else:
            self._prompt.above(lambda: self._view.show(update))
        if isinstance(update, ToolAsked):
            self._call = update.call
            self._news.set()
        if isinstance(update, ReplyOver):
            self._is_over = True
            self._prompt.abandon()
            self._news.set()

    def tick(self) -> None:
        """Repaint what changed."""
        if not self._prompt.active:
            self._view.tick()

    def _suspend(self) -> None:
        """Stop as job control has it, by Ctrl-Z or the signal, until the user brings us back."""
        if not self._prompt.active:
            self._view.hide()
        self._prompt.suspended(self._stop)

    def _stop(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(0, signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)

    def close(self) -> None:
        """Take down whatever is still painted."""
        self._view.close()

    async def run(self, post: Callable[[LocalEvent], None]) -> None:
        """Ask for entries and post what they mean, until the user leaves."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        try:
            while True:
                for event in await self._next():
                    if isinstance(event, UserSaid):
                        await self._ask(event, post)
                        continue
                    post(event)
                    if isinstance(event, LeaveAsked):
                        return
        finally:
            loop.remove_signal_handler(signal.SIGTSTP)

    async def _next(self) -> Sequence[LocalEvent]:
        """The meaning of the next entry; a terminal that went away means to leave."""
        while True:
            try:
                line = await self._prompt.read()
            except OSError:
                line = None
            if line is None:
                return [LeaveAsked()]
            if line.strip():
                return await self._meaning(line)

    async def _meaning(self, line: str) -> Sequence[LocalEvent]:
        """A path is a file to attach, unless it is a command or a literal slash."""
        event = parse(line)
        match event:
            case AttachAsked(file):
                return await self._attach([file])
            case UserSaid() | Told(is_error=True):
                files = self._files.dropped(line)
                return await self._attach(files) if files else [event]
            case _:
                return [event]

    async def _attach(self, files: Sequence[str]) -> Sequence[LocalEvent]:
        """All of them, or why not; a large picture takes a moment."""
        with self._prompt.replying(lambda: None):
            try:
                return await asyncio.to_thread(lambda: [self._files.attach(f) for f in files])
            except UsageError as error:
                return [Told(str(error), is_error=True)]

    async def _ask(self, question: UserSaid, post: Callable[[LocalEvent], None]) -> None:
        """Post a question and wait until its reply was shown; ask about the calls that it makes."""
        self._is_over = False
        self._view.expect()
        event: LocalEvent = question
        while True:
            self._news.clear()
            with self._prompt.replying(lambda: post(CancelPressed())):
                post(event)
                await self._news.wait()
            if self._is_over or self._call is None:
                return
            self._view.hide()
            call, self._call = self._call, None
            answer = await self._prompt.choose(f"{words.call(call)}  run it?")
            event = CancelPressed() if answer is None else ToolAnswered(answer)
