"""A conversation on a terminal that cannot be repainted (`TERM=dumb`), which edits lines itself."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from rtchat.core.effects import Copy, Ready, ReplyOver, ToolAsked, Update, WholeConversation
from rtchat.core.events import LeaveAsked, LocalEvent, ToolAnswered, UserSaid
from rtchat.core.ports import View
from rtchat.core.text import PROMPT
from rtchat.core.values import ImageDetail, StoredConversation
from rtchat.ui.approval import ToolQuestion, answer_of
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.entries import Entries, Entry, Files
from rtchat.ui.picker import as_notice
from rtchat.ui.shown_question import ANSWER
from rtchat.ui.terminal import Conversations

_WIDTH = 80


class LineTerminal:
    """Shows updates in a view, and reads lines from the file descriptor `stdin`."""

    def __init__(
        self,
        view: View,
        stdin: int,
        stdout: TextIO,
        clipboard: Clipboard,
        files: Files,
        templates: Callable[[str, str], Sequence[LocalEvent]],
        conversations: Conversations,
        detail: ImageDetail | None = None,
    ) -> None:
        self._view = view
        self._stdin = stdin
        self._stdout = stdout
        self._clipboard = clipboard
        self._conversations = conversations
        self._entries = Entries(files, detail, templates, conversations.listed, host=self)
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        """The lines that were read; None at the end."""
        self._unread = b""
        self._pending = 0
        """How many questions were posted and are not answered."""
        self._is_asking = False
        """Whether the next line is the answer to the question about a call."""

    def show(self, update: Update) -> None:
        """Show an update, and the prompt where the next line is expected."""
        if isinstance(update, Copy):
            self._tasks.create_task(self._copy(update))
            return
        if isinstance(update, WholeConversation):
            self._write(self._conversations.text(update.stored))
        self._view.show(update)
        match update:
            case Ready():
                self._prompt()
            case ReplyOver():
                self._pending = max(self._pending - 1, 0)
                self._is_asking = False
                self._prompt()
            case ToolAsked():
                self._is_asking = True
                rows = ToolQuestion(update).rows(_WIDTH)
                self._write("".join(f"{row}\n" for row in rows) + ANSWER)
            case _:
                pass

    def tick(self) -> None:
        """Do nothing: nothing is repainted."""

    def close(self) -> None:
        """Close the view."""
        self._view.close()

    async def run(self, post: Callable[[LocalEvent], None]) -> None:
        """Read lines and post their events, until the user exits."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._stdin, self._read)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._read_lines(post)
        finally:
            loop.remove_reader(self._stdin)

    async def _read_lines(self, post: Callable[[LocalEvent], None]) -> None:
        while (line := await self._lines.get()) is not None:
            if self._is_asking:
                self._answer(line, post)
                continue
            if not line.strip():
                self._prompt()
                continue
            events = await self._entries.meaning(Entry(line))
            for event in events:
                self._pending += isinstance(event, UserSaid)
                post(event)
                if isinstance(event, LeaveAsked):
                    return
            if not any(isinstance(event, UserSaid) for event in events):
                asyncio.get_running_loop().call_soon(self._prompt)  # otherwise after the reply
        post(LeaveAsked())

    def echo(self, entry: str) -> None:
        """Do nothing: the terminal has echoed it."""

    async def page(self, text: str) -> None:
        """Print a text."""
        self._write(text)

    async def pick(self, conversations: Sequence[StoredConversation]) -> StoredConversation | None:
        """List the conversations; the user enters /resume again with an ID."""
        self.show(as_notice(conversations, time.time()))
        return None

    def _answer(self, line: str, post: Callable[[LocalEvent], None]) -> None:
        answer = answer_of(line)
        if answer is None:
            self._write(ANSWER)
            return
        self._is_asking = False
        post(ToolAnswered(answer))

    async def _copy(self, asked: Copy) -> None:
        self.show(await self._clipboard.copy(asked))

    def _read(self) -> None:
        try:
            data = os.read(self._stdin, 65536)
        except OSError:
            data = b""
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._lines.put_nowait(line.decode(errors="replace"))
        if not data:
            asyncio.get_running_loop().remove_reader(self._stdin)
            self._lines.put_nowait(None)

    def _prompt(self) -> None:
        if not self._pending and not self._is_asking:
            self._write(PROMPT)

    def _write(self, text: str) -> None:
        self._stdout.write(text)
        self._stdout.flush()
