"""A conversation in a terminal: the prompt and the view take turns.

While an entry is edited nothing but notices is printed, above it; while a reply is due, to what was
typed or to what was said aloud meanwhile, there is no prompt.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from rtchat.core.effects import (
    Connecting,
    Copy,
    MicrophoneStatus,
    QuestionAsked,
    ReplyOver,
    ToolAsked,
    Update,
)
from rtchat.core.errors import ExitCode, UsageError
from rtchat.core.events import (
    Attached,
    CancelPressed,
    LeaveAsked,
    LocalEvent,
    LocalNotice,
    ToolAnswered,
    UserSaid,
)
from rtchat.system.worker import Worker
from rtchat.ui.approval import ToolQuestion
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.prompt import Prompt
from rtchat.ui.slash_commands import AttachAsked, TextFileAsked, parse

T = TypeVar("T")


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

    def may_be_dropped(self, entry: str) -> bool:
        """Whether an entry begins like a path."""

    def paths_from_drop(self, entry: str) -> Sequence[str]:
        """The files that an entry is the paths of and nothing else; empty if it is not."""

    def attach(self, entered: str) -> Attached:
        """Read one. Raises UsageError where a model would not take it."""

    def text(self, entered: str) -> str:
        """Read a text file. Raises UsageError if it is not one."""


class Terminal:
    """What `talk` shows and where it reads: a view, and the loop that asks for entries."""

    def __init__(self, view: Screen, prompt: Prompt, clipboard: Clipboard, files: Files) -> None:
        self._view = view
        self._prompt = prompt
        self._clipboard = clipboard
        self._files = files
        self._disk = Worker("files")
        self._news = asyncio.Event()
        """Something ends the wait for a reply: that it is over, or a call that needs permission."""
        self._is_typed_due = False
        """A question that was typed is not answered yet."""
        self._asked: QuestionAsked | None = None
        """What is being answered, typed or spoken."""
        self._call: ToolAsked | None = None
        self._is_choosing = False
        """The question about a call is on the screen."""
        self._copies: list[asyncio.Task[None]] = []
        """Text on its way to the clipboard: leaving waits for it."""
        self._held: list[Update] = []
        """What happened while the screen was not free: a question and what came after it while the
        entry is taken down, everything while it is in an $EDITOR, and what comes while the user is
        asked about a call, so that nothing stands between its arguments and the answer."""
        prompt.on_suspend = self._suspend
        prompt.on_return = self._show_held

    def show(self, update: Update) -> None:
        """Show what happened, above the prompt if there is one; for a reply it makes room."""
        if isinstance(update, QuestionAsked) and not self._prompt.is_covered:
            self._prompt.put_aside()
        if self._is_choosing and isinstance(update, ReplyOver):
            self._is_choosing = False
            self._prompt.abandon()
            self._show_held()
        is_early = isinstance(update, QuestionAsked) and self._prompt.active
        if self._held or self._prompt.is_covered or is_early or self._is_choosing:
            self._held.append(update)
        else:
            self._show(update)

    def _show(self, update: Update) -> None:
        if isinstance(update, Copy):
            self._copies.append(self._tasks.create_task(self._copy(update)))
            return
        if isinstance(update, MicrophoneStatus):
            self._prompt.turn(update)
        if isinstance(update, Connecting):
            self._view.show(update)  # prints nothing, so the prompt can stay where it is
        else:
            self._prompt.above(lambda: self._view.show(update))
        match update:
            case QuestionAsked():
                self._asked = update
            case ToolAsked():
                self._call = update
                self._news.set()
            case ReplyOver():
                self._over()
            case _:
                pass

    async def _copy(self, asked: Copy) -> None:
        self.show(await self._clipboard.copy(asked))

    def _over(self) -> None:
        # A question that is refused was never asked; one that was typed waits for a spoken one.
        if self._asked is None or not self._asked.spoken:
            self._is_typed_due = False
        self._asked = self._call = None
        self._prompt.abandon()
        self._news.set()

    def _show_held(self) -> None:
        held, self._held = self._held, []
        for update in held:
            self.show(update)

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
        """Take down whatever is still painted; nothing that happened is passed over."""
        for update in self._held:
            self._view.show(update)
        self._view.close()
        self._prompt.close()

    async def run(self, post: Callable[[LocalEvent], None]) -> None:
        """Ask for entries and post what they mean, until the user leaves."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._prompt.on_press = post
        try:
            async with asyncio.TaskGroup() as self._tasks:
                with self._prompt.without_echo():
                    await self._converse(post)
        finally:
            loop.remove_signal_handler(signal.SIGTSTP)

    async def _converse(self, post: Callable[[LocalEvent], None]) -> None:
        while True:
            try:
                await self._replies(post)
                events = await self._next()
            except OSError:  # the terminal is gone; the signal that says so may come later
                events = [LeaveAsked(ExitCode.HANGUP)]
            for event in events:
                if isinstance(event, UserSaid):
                    self._is_typed_due = True
                if isinstance(event, LeaveAsked):
                    await asyncio.gather(*self._copies)
                post(event)
                if isinstance(event, LeaveAsked):
                    return

    async def _next(self) -> Sequence[LocalEvent]:
        """The meaning of the next entry, of which a reply that is due may leave nothing."""
        line = await self._prompt.read()
        if line is None:
            return [LeaveAsked()]
        return await self._meaning(line) if line.strip() else ()

    async def _meaning(self, line: str) -> Sequence[LocalEvent]:
        """A path is a file to attach, unless it is a command or a literal slash."""
        event = parse(line)
        match event:
            case AttachAsked(file):
                return await self._attach([file])
            case TextFileAsked(file, make):
                unread = "the instructions were not changed"
                return await self._read(lambda: [make(self._files.text(file))], unread)
            case UserSaid() | LocalNotice(is_error=True) if self._files.may_be_dropped(line):
                files = await self._from_disk(lambda: self._files.paths_from_drop(line))
                return await self._attach(files) if files else [event]
            case _:
                return [event]

    async def _attach(self, files: Sequence[str]) -> Sequence[LocalEvent]:
        """All files, or the reason why not."""
        unread = "nothing was attached"
        return await self._read(lambda: [self._files.attach(file) for file in files], unread)

    async def _read(
        self, read: Callable[[], Sequence[LocalEvent]], unread: str
    ) -> Sequence[LocalEvent]:
        """What was read, or the reason why not."""
        try:
            events = await self._from_disk(read)
        except UsageError as error:
            return [LocalNotice(str(error), is_error=True)]
        if events is None:
            return [LocalNotice(f"{unread}: reading was stopped", is_error=True)]
        return events

    async def _from_disk(self, read: Callable[[], T]) -> T | None:
        """Read from a disk, which may take a while or hang. None if the user stops waiting."""
        reading = self._disk.call(read)
        stopped = asyncio.Event()
        with self._prompt.replying(stopped.set):
            stop = self._tasks.create_task(stopped.wait())
            await asyncio.wait((reading, stop), return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
        if reading.done():
            return reading.result()
        self._disk = Worker("files")  # the old one may hang for ever
        return None

    async def _replies(self, post: Callable[[LocalEvent], None]) -> None:
        """Wait until no reply is due; ask about the calls that they make."""
        self._show_held()
        while self._is_typed_due or self._asked is not None:
            if self._call is None:
                if self._asked is None:
                    self._view.expect()
                self._news.clear()
                with self._prompt.replying(lambda: post(CancelPressed())):
                    await self._news.wait()
                continue
            self._view.hide()
            self._is_choosing = True
            answer = await self._prompt.choose(ToolQuestion(self._call))
            self._is_choosing = False
            if self._call is not None:  # else its reply is over
                self._call = None
                post(CancelPressed() if answer is None else ToolAnswered(answer))
            self._show_held()
