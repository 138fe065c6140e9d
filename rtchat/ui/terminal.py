"""A conversation in a terminal: what the user enters, and what is shown above the entry."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from rich.text import Text

from rtchat.core.effects import (
    Copy,
    Draft,
    QuestionAsked,
    Queued,
    ReplyOver,
    Report,
    TextArrived,
    ToolAsked,
    Update,
    WholeConversation,
)
from rtchat.core.errors import ExitCode
from rtchat.core.events import (
    Answer,
    CancelPressed,
    LeaveAsked,
    LocalEvent,
    ToolAnswered,
    UserSaid,
)
from rtchat.core.ports import View
from rtchat.core.text import visible
from rtchat.core.values import ImageDetail, StoredConversation
from rtchat.markdown import theme
from rtchat.ui.approval import ToolQuestion
from rtchat.ui.attention import Attention
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.entries import Entries, Entry, Files
from rtchat.ui.pager import Pager
from rtchat.ui.picker import as_notice
from rtchat.ui.prompt import Prompt
from rtchat.ui.shown_question import ANSWER, ShownQuestion
from rtchat.ui.status_line import StatusLine


class Screen(View, Protocol):
    """A view of a conversation, above the entry."""

    def echo(self, entry: str) -> None:
        """Print what the user entered."""

    def advise(self) -> None:
        """Print how to exit, unless the last line already says so."""

    def show_waiting(self) -> None:
        """Show that a question waits for a connection."""

    def hide(self) -> None:
        """Remove what is painted, until the next tick."""


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
    """The user interface of `talk`: a view, and below it the entry. `detail` is for the images that
    the user attaches, unless /attach has its own."""

    def __init__(
        self,
        view: Screen,
        prompt: Prompt,
        clipboard: Clipboard,
        files: Files,
        conversations: Conversations,
        detail: ImageDetail | None = None,
        *,
        templates: Callable[[str, str], Sequence[LocalEvent]],
        status: StatusLine | None = None,
        attention: Attention | None = None,
    ) -> None:
        """`templates` returns the events of /t. `status` and `attention` see all updates."""
        self._status = status
        self._attention = attention
        self._view = view
        self._conversations = conversations
        self._prompt = prompt
        self._panel = prompt.panel
        self._clipboard = clipboard
        self._meanings = Entries(files, detail, templates, conversations.listed, host=self)
        self._entries: asyncio.Queue[Entry | None] = asyncio.Queue()
        """What the user has sent and is not handled yet; None at the end."""
        self._is_typed_pending = False
        """Whether a typed question has not been answered yet."""
        self._asked: QuestionAsked | None = None
        """The question that is being answered, typed or spoken."""
        self._queued: Sequence[str] = ()
        self._question: ShownQuestion | None = None
        """The question about a call that is on the screen."""
        self._copies: list[asyncio.Task[None]] = []
        """Copies to the clipboard that are in progress; leaving waits for them."""
        self._is_away = False
        """Whether a pager has the screen."""
        self._held: list[Update] = []
        """Updates that arrived while $EDITOR or a pager has the screen, or while the user is asked
        about a call, so that nothing is printed between its arguments and the answer."""
        prompt.on_suspend = self._suspend
        prompt.on_return = self._show_held
        prompt.on_resize = self._resized
        prompt.on_advice = view.advise
        prompt.on_entry = self._entries.put_nowait
        prompt.can_stop = lambda: self._can_stop

    @property
    def _can_stop(self) -> bool:
        """Whether Ctrl-C has a reply, a question or a file to stop."""
        is_pending = self._is_typed_pending or bool(self._queued) or self._asked is not None
        return is_pending or self._meanings.is_reading

    # ------------------------------------------------------------------------------- what is shown

    def show(self, update: Update) -> None:
        """Show an update above the entry."""
        if self._attention is not None:
            self._attention.show(update)
        if self._status is not None:
            self._status.show(update)
            if not isinstance(update, TextArrived):
                self._prompt.invalidate()
        self._prompt.show(update)
        if isinstance(update, Queued):  # nothing is printed, so it is never held
            self._queued = update.texts
            self._prompt.set_queue(update.texts)
        self._show_or_hold(update)

    def _show_or_hold(self, update: Update) -> None:
        if self._question is not None and isinstance(update, ReplyOver):
            self._prompt.dismiss_question()
        if self._held or self._is_hidden or self._question is not None:
            self._held.append(update)
        else:
            self._show(update)

    def _show(self, update: Update) -> None:
        match update:
            case Copy():
                self._copies.append(self._tasks.create_task(self._copy(update)))
                return
            case WholeConversation(stored):
                self._tasks.create_task(self._show_history(stored))
                return
            case Report(text, may_be_long=True) if self._conversations.pager.is_long(text):
                self._tasks.create_task(self.page(self._dim(text)))
                return
            case Draft(text):
                self._prompt.set_draft(text)
            case QuestionAsked():
                self._asked = update
            case _:
                pass
        self._view.show(update)
        match update:
            case Queued() if self._queued and self._asked is None:
                self._view.show_waiting()
            case ToolAsked():
                self._question = ShownQuestion(ToolQuestion(update))
                self._tasks.create_task(self._ask(self._question))
            case ReplyOver():
                self._end_reply()
            case _:
                pass

    async def _copy(self, asked: Copy) -> None:
        self.show(await self._clipboard.copy(asked))

    def _end_reply(self) -> None:
        # A rejected question is never asked. A typed question waits until a spoken one is answered.
        if self._asked is None or not self._asked.spoken:
            self._is_typed_pending = False
        self._asked = None

    def _show_held(self) -> None:
        held, self._held = self._held, []
        for update in held:
            self._show_or_hold(update)

    def tick(self) -> None:
        """Repaint what has changed."""
        if self._question is None and not self._is_hidden:
            self._view.tick()

    @property
    def _is_hidden(self) -> bool:
        return self._prompt.is_in_editor or self._is_away

    def echo(self, entry: str) -> None:
        """Print an entry that is not a question."""
        self._view.echo(entry)

    async def page(self, text: str) -> None:
        """Show a text that may contain styles, in a pager if it is long."""
        pager = self._conversations.pager
        if not pager.is_long(text):
            self._panel.print(Text.from_ansi(text.removesuffix("\n")))
            return
        self._is_away = True
        try:
            await self._prompt.page(text, pager)
        finally:
            self._is_away = False
            self._show_held()

    async def pick(self, conversations: Sequence[StoredConversation]) -> StoredConversation | None:
        """Let the user choose a conversation. Returns None if they cancel, or are shown a list."""
        if self._conversations.can_repaint:
            return await self._prompt.pick(conversations)
        self.show(as_notice(conversations, time.time()))
        return None

    async def _show_history(self, conversation: StoredConversation) -> None:
        await self.page(await asyncio.to_thread(self._conversations.text, conversation))

    def _dim(self, text: str) -> str:
        """A text for the pager, dim like a report above the entry."""
        console = self._panel.console
        style = console.get_style(theme.DIM)
        rows = Text(visible(text)).wrap(console, console.width, overflow="fold")
        return "".join(f"{style.render(row.plain)}\n" for row in rows)

    def _resized(self) -> None:
        if self._question is not None:
            self._paint_question(self._question)
        else:
            self._view.tick()

    def _suspend(self) -> None:
        """Stop the process for job control, after Ctrl-Z or SIGTSTP, until it is continued."""
        self._prompt.suspend(self._stop)

    def _stop(self) -> None:
        if self._attention is not None:
            self._attention.off()
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(0, signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        if self._attention is not None:
            self._attention.on()

    def close(self) -> None:
        """Show the held updates, then remove what is painted."""
        for update in self._held:
            self._view.show(update)
        self._view.close()
        if self._attention is not None:
            self._attention.off()
        self._panel.stop()
        self._prompt.close()

    # ---------------------------------------------------------------------- the question of a tool

    async def _ask(self, question: ShownQuestion) -> None:
        """Ask whether a call may run, and keep the question and the answer in the scrollback."""
        self._view.hide()
        answer: Answer | None = None
        typed = ""
        if not self._is_over:
            self._paint_question(question)
            answer, typed = await self._prompt.choose()
        _, rows = question.rows(self._panel.console.width, self._panel.console.height)
        self._panel.clear()
        self._panel.print(Text("\n").join((rows, Text(f"{ANSWER}{typed}"))))
        self._question = None
        if not self._is_over:
            self._post(CancelPressed() if answer is None else ToolAnswered(answer))
        self._show_held()

    @property
    def _is_over(self) -> bool:
        """Whether the reply that the question belongs to is over."""
        return any(isinstance(update, ReplyOver) for update in self._held)

    def _paint_question(self, question: ShownQuestion) -> None:
        console = self._panel.console
        details, rows = question.rows(console.width, self._panel.room)
        if details is not None:
            self._panel.print(details)
        self._panel.paint(rows)

    # ---------------------------------------------------------------------------- what is entered

    async def run(self, post: Callable[[LocalEvent], None]) -> None:
        """Read entries and post their events, until the user exits."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._post = post
        self._prompt.on_press = self._press
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._panel.start(show_cursor=True)
                if self._attention is not None:
                    self._attention.on()
                handling = self._tasks.create_task(self._handle_entries())
                reading = self._tasks.create_task(self._prompt.run())
                try:
                    await asyncio.wait((reading,))
                finally:
                    self._conversations.pager.stop()  # the prompt would wait for it
                    handling.cancel()
        except* (EOFError, OSError):  # the terminal is gone; its SIGHUP may come later
            post(LeaveAsked(ExitCode.HANGUP))
        finally:
            loop.remove_signal_handler(signal.SIGTSTP)

    async def prompt_shown(self) -> None:
        """Wait until the prompt has been drawn, or never will be."""
        await self._prompt.shown.wait()

    def _press(self, event: LocalEvent) -> None:
        if isinstance(event, LeaveAsked):
            self._entries.put_nowait(None)
        elif isinstance(event, CancelPressed) and self._meanings.is_reading:
            self._meanings.stop()
        else:
            self._post(event)

    async def _handle_entries(self) -> None:
        while (entry := await self._entries.get()) is not None:
            for event in await self._meanings.meaning(entry):
                if isinstance(event, LeaveAsked):
                    await self._leave(event)
                    return
                self._is_typed_pending |= isinstance(event, UserSaid)
                self._post(event)
        await self._leave(LeaveAsked())

    async def _leave(self, event: LeaveAsked) -> None:
        await asyncio.gather(*self._copies)
        self._prompt.exit()
        self._post(event)
