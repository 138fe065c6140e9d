"""A conversation in a terminal: the prompt and the view take turns.

While an entry is being edited, only notices are printed, above it. While a reply to a typed or
spoken question is pending, there is no prompt.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
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
    WholeConversation,
)
from rtchat.core.errors import ExitCode, RtchatError, UsageError
from rtchat.core.events import (
    Attached,
    CancelPressed,
    LeaveAsked,
    LocalEvent,
    LocalNotice,
    ResumeAsked,
    ToolAnswered,
    UserSaid,
    local_error,
)
from rtchat.core.ports import View
from rtchat.core.values import ImageDetail, StoredConversation
from rtchat.system.worker import Worker
from rtchat.ui.approval import ToolQuestion
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.pager import Pager
from rtchat.ui.picker import as_text
from rtchat.ui.prompt import Prompt
from rtchat.ui.slash_commands import AttachAsked, PickerAsked, TextFileAsked, parse

T = TypeVar("T")


class Screen(View, Protocol):
    """A view of a conversation that takes turns with a prompt."""

    def show_waiting(self) -> None:
        """Show that a question was asked and its reply is pending."""

    def hide(self) -> None:
        """Remove what is painted, until the next tick."""


class Files(Protocol):
    """Finds and reads the files that the user names at the prompt."""

    def may_be_dropped(self, entry: str) -> bool:
        """Whether an entry begins like a path."""

    def paths_from_drop(self, entry: str) -> Sequence[str]:
        """The paths of which an entry consists; empty if it contains anything else."""

    def attach(self, entered: str, detail: ImageDetail | None) -> Attached:
        """Read a file. Raises UsageError if it cannot be attached."""

    def text(self, entered: str) -> str:
        """Read a text file. Raises UsageError if it cannot be read or is not text."""


class Conversations(Protocol):
    """The saved conversations, and the pager that shows one."""

    pager: Pager
    can_repaint: bool
    """Whether the user may choose from a list that is repainted."""

    def listed(self) -> Sequence[StoredConversation]:
        """All of them, newest first, without their entries. Raises UsageError if there are none,
        and OutputError if they cannot be read."""

    def text(self, conversation: StoredConversation) -> str:
        """One of them as it is shown on the terminal."""


class Terminal:
    """The user interface of `talk`: a view, and the loop that reads entries. `detail` is for the
    images that the user attaches, unless /attach has its own."""

    def __init__(
        self,
        view: Screen,
        prompt: Prompt,
        clipboard: Clipboard,
        files: Files,
        detail: ImageDetail | None = None,
        conversations: Conversations | None = None,
    ) -> None:
        self._view = view
        self._prompt = prompt
        self._clipboard = clipboard
        self._files = files
        self._conversations = conversations
        self._detail = detail
        self._disk = Worker("files")
        self._changed = asyncio.Event()
        """Set when a reply is over or a call needs permission."""
        self._is_typed_pending = False
        """Whether a typed question has not been answered yet."""
        self._asked: QuestionAsked | None = None
        """The question that is being answered, typed or spoken."""
        self._call: ToolAsked | None = None
        self._is_choosing = False
        """Whether the question about a call is on the screen."""
        self._copies: list[asyncio.Task[None]] = []
        """Copies to the clipboard that are in progress; leaving waits for them."""
        self._is_hidden = False
        """Whether a pager or the picker has the screen."""
        self._held: list[Update] = []
        """Updates that arrived while the screen was in use: a question and what follows it while
        the entry is being removed, everything while $EDITOR, a pager or the picker has the screen,
        and everything while the user is asked about a call, so that nothing is printed between its
        arguments and the answer."""
        prompt.on_suspend = self._suspend
        prompt.on_return = self._show_held

    def show(self, update: Update) -> None:
        """Show an update, above the prompt if there is one. A question removes the prompt."""
        if isinstance(update, QuestionAsked) and not self._prompt.is_in_editor:
            self._prompt.set_aside()
        if self._is_choosing and isinstance(update, ReplyOver):
            self._is_choosing = False
            self._prompt.dismiss_question()
            self._show_held()
        is_early = isinstance(update, QuestionAsked) and self._prompt.active
        is_hidden = self._prompt.is_in_editor or self._is_hidden
        if self._held or is_hidden or is_early or self._is_choosing:
            self._held.append(update)
        else:
            self._show(update)

    def _show(self, update: Update) -> None:
        if isinstance(update, Copy):
            self._copies.append(self._tasks.create_task(self._copy(update)))
            return
        if isinstance(update, WholeConversation):
            self._is_hidden = True
            self._tasks.create_task(self._page(update.stored))
            return
        if isinstance(update, MicrophoneStatus):
            self._prompt.set_microphone(update)
        if isinstance(update, Connecting):
            self._view.show(update)  # prints nothing, so the prompt can stay
        else:
            self._prompt.print_above(lambda: self._view.show(update))
        match update:
            case QuestionAsked():
                self._asked = update
            case ToolAsked():
                self._call = update
                self._changed.set()
            case ReplyOver():
                self._end_reply()
            case _:
                pass

    async def _copy(self, asked: Copy) -> None:
        self.show(await self._clipboard.copy(asked))

    async def _page(self, conversation: StoredConversation) -> None:
        assert self._conversations is not None
        try:
            text = await asyncio.to_thread(self._conversations.text, conversation)
            await self._prompt.page(text, self._conversations.pager)
        finally:
            self._is_hidden = False
            self._show_held()

    async def _pick(self) -> Sequence[LocalEvent]:
        """Let the user choose the conversation to resume."""
        assert self._conversations is not None
        try:
            conversations = await self._from_disk(self._conversations.listed)
        except RtchatError as error:
            return [local_error(error.problem)]
        if conversations is None:  # the user stopped waiting
            return []
        if not self._conversations.can_repaint:
            hint = "use /resume ID or /resume NAME"
            return [LocalNotice(as_text(conversations, time.time()), hint=hint)]
        self._is_hidden = True
        try:
            chosen = await self._prompt.pick(conversations)
        finally:
            self._is_hidden = False
            self._show_held()
        return [ResumeAsked(chosen.id)] if chosen else []

    def _end_reply(self) -> None:
        # A rejected question is never asked. A typed question waits until a spoken one is answered.
        if self._asked is None or not self._asked.spoken:
            self._is_typed_pending = False
        self._asked = self._call = None
        self._prompt.dismiss_question()
        self._changed.set()

    def _show_held(self) -> None:
        held, self._held = self._held, []
        for update in held:
            self.show(update)

    def tick(self) -> None:
        """Repaint what has changed."""
        if not self._prompt.active:
            self._view.tick()

    def _suspend(self) -> None:
        """Stop the process for job control, after Ctrl-Z or SIGTSTP, until it is continued."""
        if not self._prompt.active:
            self._view.hide()
        self._prompt.suspend(self._stop)

    def _stop(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(0, signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)

    def close(self) -> None:
        """Show the held updates, then remove what is painted."""
        for update in self._held:
            self._view.show(update)
        self._view.close()
        self._prompt.close()

    async def run(self, post: Callable[[LocalEvent], None]) -> None:
        """Read entries and post their events, until the user exits."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._prompt.on_press = post
        try:
            async with asyncio.TaskGroup() as self._tasks:
                with self._prompt.without_echo():
                    await self._read_entries(post)
        finally:
            loop.remove_signal_handler(signal.SIGTSTP)

    async def _read_entries(self, post: Callable[[LocalEvent], None]) -> None:
        while True:
            try:
                await self._wait_for_replies(post)
                events = await self._next()
            except OSError:  # the terminal is gone; its SIGHUP may come later
                events = [LeaveAsked(ExitCode.HANGUP)]
            for event in events:
                if isinstance(event, UserSaid):
                    self._is_typed_pending = True
                if isinstance(event, LeaveAsked):
                    await asyncio.gather(*self._copies)
                post(event)
                if isinstance(event, LeaveAsked):
                    return

    async def _next(self) -> Sequence[LocalEvent]:
        """The events of the next entry: none if it is blank or set aside."""
        line = await self._prompt.read()
        if line is None:
            return [LeaveAsked()]
        return await self._meaning(line) if line.strip() else ()

    async def _meaning(self, line: str) -> Sequence[LocalEvent]:
        """The events of an entry. A path is a file to attach, unless it is a command or begins with
        a literal slash."""
        event = parse(line)
        match event:
            case AttachAsked(file, detail):
                return await self._attach([file], detail or self._detail)
            case TextFileAsked(file, make):
                unchanged = "the instructions were not changed"
                return await self._read(lambda: [make(self._files.text(file))], unchanged)
            case PickerAsked():
                return await self._pick()
            case UserSaid() | LocalNotice(is_error=True) if self._files.may_be_dropped(line):
                files = await self._from_disk(lambda: self._files.paths_from_drop(line))
                return await self._attach(files, self._detail) if files else [event]
            case _:
                return [event]

    async def _attach(
        self, files: Sequence[str], detail: ImageDetail | None
    ) -> Sequence[LocalEvent]:
        """Attach all files, or none and return the reason."""
        unchanged = "nothing was attached"
        return await self._read(
            lambda: [self._files.attach(file, detail) for file in files], unchanged
        )

    async def _read(
        self, read: Callable[[], Sequence[LocalEvent]], unchanged: str
    ) -> Sequence[LocalEvent]:
        """The result of `read`, or a notice about why it failed."""
        try:
            events = await self._from_disk(read)
        except UsageError as error:
            return [local_error(error.problem)]
        if events is None:
            return [LocalNotice(f"reading was stopped; {unchanged}", is_error=True)]
        return events

    async def _from_disk(self, read: Callable[[], T]) -> T | None:
        """Read from a disk, which may be slow or hang. Returns None if the user stops waiting."""
        reading = self._disk.call(read)
        stopped = asyncio.Event()
        with self._prompt.replying(stopped.set):
            stop = self._tasks.create_task(stopped.wait())
            await asyncio.wait((reading, stop), return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
        if reading.done():
            return reading.result()
        self._disk = Worker("files")  # the old one may hang forever
        return None

    async def _wait_for_replies(self, post: Callable[[LocalEvent], None]) -> None:
        """Wait until no reply is pending, and ask about tool calls that need permission."""
        self._show_held()
        while self._is_typed_pending or self._asked is not None:
            if self._call is None:
                if self._asked is None:
                    self._view.show_waiting()
                self._changed.clear()
                with self._prompt.replying(lambda: post(CancelPressed())):
                    await self._changed.wait()
                continue
            self._view.hide()
            self._is_choosing = True
            answer = await self._prompt.choose(ToolQuestion(self._call))
            self._is_choosing = False
            if self._call is not None:  # else its reply is over
                self._call = None
                post(CancelPressed() if answer is None else ToolAnswered(answer))
            self._show_held()
