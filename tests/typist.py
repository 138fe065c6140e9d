"""A user at a real terminal: types, reads the screen and the events that result.

Run as a program, this module is the other end: a `Terminal` with made-up replies. A reply to a
question that begins with "wait" goes on until it is stopped; questions that come meanwhile wait.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from prompt_toolkit.enums import EditingMode

from rtchat.core.effects import (
    Connecting,
    Draft,
    Notice,
    QuestionAsked,
    Queued,
    Ready,
    ReplyOver,
    TextArrived,
)
from rtchat.core.events import (
    CancelPressed,
    LocalEvent,
    LocalNotice,
    QueuedTakenBack,
    UserSaid,
)
from rtchat.core.values import Status
from rtchat.inputs import attachments
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.console import ThemedConsole
from rtchat.ui.live_view import LiveView
from rtchat.ui.panel import LivePanel
from rtchat.ui.prompt import Prompt
from rtchat.ui.terminal import Terminal
from tests.scripted import NothingSaved
from tests.window import Window


class Typist(Window):
    """Starts the program below. `options`: "vi" for the keys of vi."""

    def __init__(
        self, history: Path, *options: str, columns: int = 80, rows: int = 24, editor: str = ""
    ) -> None:
        super().__init__(
            "tests.typist", [str(history), *options], columns=columns, rows=rows, editor=editor
        )


class _Replies:
    """Answers questions in order."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._waiting: list[str] = []
        self._is_replying = False

    def ask(self, text: str) -> None:
        self._waiting.append(text)
        if self._is_replying:
            self._show_waiting()
        else:
            self._next()

    def take_back(self) -> None:
        if self._waiting:
            text = self._waiting.pop()
            self._show_waiting()
            self._terminal.show(Draft(text))

    def stop(self) -> None:
        if self._is_replying:
            self._is_replying = False
            self._terminal.show(ReplyOver(Status.CANCELLED, "", "model"))
            self._next()

    def _show_waiting(self) -> None:
        self._terminal.show(Queued(tuple(self._waiting)))

    def _next(self) -> None:
        while self._waiting and not self._is_replying:
            text = self._waiting.pop(0)
            self._show_waiting()
            self._terminal.show(QuestionAsked(text, "model"))
            reply = f"You said {text!r}."
            self._terminal.show(TextArrived(reply))
            self._is_replying = text.startswith("wait")
            if not self._is_replying:
                self._terminal.show(ReplyOver(Status.COMPLETED, reply, "model"))


async def _talk(events: int, history: Path, options: list[str]) -> None:
    console = ThemedConsole(no_color=True)
    panel = LivePanel(console)
    view = LiveView(console, ThemedConsole(stderr=True), panel=panel, banner=True)
    mode = EditingMode.VI if "vi" in options else EditingMode.EMACS
    prompt = Prompt(panel, history, editing_mode=mode)
    clipboard = Clipboard(sys.stdout, {})
    terminal = Terminal(
        view, prompt, clipboard, attachments, NothingSaved(), templates=lambda *_: []
    )
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, terminal.show, Ready("model", 0.1))
    replies = _Replies(terminal)

    def post(event: LocalEvent) -> None:
        os.write(events, f"{event!r}\n".encode())
        match event:
            case UserSaid(text):
                loop.call_soon(replies.ask, text)
            case CancelPressed():
                loop.call_soon(replies.stop)
            case QueuedTakenBack():
                loop.call_soon(replies.take_back)
            case LocalNotice(text):
                loop.call_soon(terminal.show, Notice("info", text))
            case _:
                pass

    terminal.show(Connecting("model"))
    await terminal.run(post)
    terminal.close()


if __name__ == "__main__":
    asyncio.run(_talk(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
