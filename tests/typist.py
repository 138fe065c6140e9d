"""A user at a real terminal: types into a pty, reads the screen and the events that result.

Run as a program, this module is the other end: a `Terminal` with made-up replies.
"""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console

from rtchat.core.effects import Connecting, Notice, QuestionAsked, Ready, ReplyOver, TextArrived
from rtchat.core.events import (
    CancelPressed,
    EntryAbandoned,
    LeaveAsked,
    LocalEvent,
    LocalNotice,
    UserSaid,
)
from rtchat.core.values import Status
from rtchat.inputs import attachments
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.live_view import LiveView
from rtchat.ui.panel import LivePanel
from rtchat.ui.prompt import Prompt
from rtchat.ui.terminal import Terminal
from tests.program import PATIENCE


class Typist:
    """Starts the program below on a pty of its own."""

    def __init__(self, history: Path) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        self.modes = termios.tcgetattr(slave)
        self._slave = slave
        self._screen = [self._master]
        self._events, events = os.pipe()
        self._seen = ""
        self._lines = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.typist", str(history), str(events)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            pass_fds=[events],
            start_new_session=True,
            cwd=Path(__file__).parents[1],
            env={"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "PATH": os.defpath},
        )
        os.close(events)

    def types(self, keys: str) -> None:
        """Press these keys, without waiting for anything."""
        os.write(self._master, keys.encode())

    def sees(self, text: str) -> str:
        """Wait until this text is written. Returns everything written before it since the last
        call."""
        while text not in self._seen:
            self._wait(self._master)
            self._seen += os.read(self._master, 65536).decode(errors="replace")
        before, _, self._seen = self._seen.partition(text)
        return before

    def means(self) -> str:
        """Wait for the next event that the terminal posts."""
        while b"\n" not in self._lines:
            self._wait(self._events)
            self._lines += os.read(self._events, 65536) or b"gone\n"
        line, _, self._lines = self._lines.partition(b"\n")
        return line.decode()

    def modes_now(self) -> list[object]:
        """The current modes of the terminal."""
        return termios.tcgetattr(self._slave)

    def hangs_up(self) -> None:
        """Close the window."""
        os.close(self._slave)
        os.close(self._master)
        self._screen = []

    def _wait(self, source: int) -> None:
        while True:
            ready, _, _ = select.select([source, *self._screen], [], [], PATIENCE)
            if source in ready:
                return
            assert ready, f"timed out; the last output was {self._seen!r}"
            self._seen += os.read(self._master, 65536).decode(errors="replace")


async def _talk(history: Path, events: int) -> None:
    console = Console(no_color=True)
    panel = LivePanel(console)
    view = LiveView(console, Console(stderr=True), panel=panel, banner=True)
    terminal = Terminal(view, Prompt(panel, history), Clipboard(sys.stdout, {}), attachments)
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, terminal.show, Ready("model", 0.1))

    def reply(text: str) -> None:
        terminal.show(QuestionAsked(text, "model"))
        terminal.show(TextArrived(f"You said {text!r}."))
        if not text.startswith("wait"):
            terminal.show(ReplyOver(Status.COMPLETED, f"You said {text!r}.", "model"))

    def post(event: LocalEvent) -> None:
        os.write(events, f"{event!r}\n".encode())
        match event:
            case UserSaid(text):
                loop.call_soon(reply, text)
            case CancelPressed():
                loop.call_soon(terminal.show, ReplyOver(Status.CANCELLED, "", "model"))
            case LocalNotice(text):
                loop.call_soon(terminal.show, Notice("info", text))
            case _:
                assert isinstance(event, LeaveAsked | EntryAbandoned)

    terminal.show(Connecting("model"))
    await terminal.run(post)


if __name__ == "__main__":
    asyncio.run(_talk(Path(sys.argv[1]), int(sys.argv[2])))
