"""A voice conversation at a real terminal: the test sends updates, types, and reads the screen.

Run as a program, this module is the other end: a `Terminal` that shows the updates.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pickle
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from time import monotonic

import pyte
from rich.console import Console

from rtchat.core.effects import Update
from rtchat.core.events import LocalEvent
from rtchat.inputs import attachments
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.live_view import LiveView
from rtchat.ui.panel import LivePanel
from rtchat.ui.prompt import Prompt
from rtchat.ui.terminal import Terminal
from tests.program import PATIENCE
from tests.terminal import Emulator

_TIME = re.compile(r"─* \d+\.\d s( · ~\d+ tok/s)? ─*")


class Voiced:
    """Starts the program below on a pty of its own."""

    def __init__(self, *options: str, columns: int = 72, rows: int = 20, editor: str = "") -> None:
        """`options`: "silent" for a conversation without voice, "plain" for --plain."""
        self.screen = Emulator(columns, rows, history=1000)
        self.screen.answers = self.types
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        self._size(columns, rows)
        orders, self._orders = os.pipe()
        self._events, events = os.pipe()
        self._lines = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.voiced", str(orders), str(events), *options],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            pass_fds=[orders, events],
            start_new_session=True,
            cwd=Path(__file__).parents[1],
            env={"TERM": "xterm-256color", "PATH": os.defpath, "VISUAL": editor},
        )
        for end in (orders, events, slave):
            os.close(end)

    def ends(self) -> None:
        """Kill the program and close the terminal."""
        self.process.kill()
        self.process.wait()
        for end in (self._master, self._orders, self._events):
            os.close(end)

    def _size(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def resizes(self, columns: int, rows: int = 20) -> None:
        """Make the window another size, once everything written for the old one is read."""
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
        self._settles()
        self.screen.resize(rows, columns)
        self._size(columns, rows)
        for number in (signal.SIGWINCH, signal.SIGCONT):
            os.kill(self.process.pid, number)

    def types(self, keys: str) -> None:
        """Press these keys, without waiting for anything."""
        os.write(self._master, keys.encode())

    def happens(self, *updates: Update) -> None:
        """Send these updates to the terminal at once."""
        self._order(*updates)

    def measures(self, level: float = 0.0, *, is_playing: bool = False) -> None:
        """Set what the devices report."""
        self._order((level, is_playing))

    def _order(self, *orders: Update | tuple[float, bool]) -> None:
        os.write(self._orders, b"".join(map(pickle.dumps, orders)))

    def means(self) -> str:
        """Wait for the next event that the terminal posts."""
        while b"\n" not in self._lines:
            self._wait_until(self._has_event, self._events)
            self._lines += os.read(self._events, 65536) or b"gone\n"
        line, _, self._lines = self._lines.partition(b"\n")
        return line.decode()

    def _has_event(self) -> bool:
        return bool(select.select([self._events], [], [], 0)[0])

    def lines(self) -> list[str]:
        """All rows of the scrollback and the screen, without the empty rows at the end."""
        columns = range(self.screen.columns)
        above = ["".join(row[x].data for x in columns).rstrip() for row in self.screen.history.top]
        rows = [*above, *(line.rstrip() for line in self.screen.display)]
        return "\n".join(rows).rstrip().split("\n")

    def shows(self, *texts: str) -> list[str]:
        """Wait until each of these texts is in a line of its own, in this order, and the screen no
        longer changes."""
        self._wait_until(lambda: self._has(texts))
        self._settles()
        assert self._has(texts), f"{texts} has gone from the screen:\n" + "\n".join(self.lines())
        return self.lines()

    def stops_showing(self, text: str) -> list[str]:
        """Wait until no line contains this text."""
        self._wait_until(lambda: not self._has((text,)))
        return self.lines()

    def _has(self, texts: tuple[str, ...]) -> bool:
        lines = iter(self.lines())
        return all(any(text in line for line in lines) for text in texts)

    def _settles(self) -> None:
        """Wait until the screen no longer changes, apart from the time in the frame of a reply."""
        until = quiet = monotonic() + PATIENCE
        shown: list[str] = []
        while True:
            if (lines := [_TIME.sub("", line) for line in self.lines()]) != shown:
                shown, quiet = lines, monotonic() + 0.15
            if (left := quiet - monotonic()) <= 0:
                return
            assert monotonic() < until, "timed out:\n" + "\n".join(self.lines())
            if select.select([self._master], [], [], left)[0]:
                self._read()

    def _read(self) -> None:
        self._stream.feed(os.read(self._master, 65536))

    def _wait_until(self, condition: Callable[[], bool], *others: int) -> None:
        """Read the screen until the condition is true. Input on `others` also triggers a check."""
        until = monotonic() + PATIENCE
        while not condition():
            ready, _, _ = select.select([self._master, *others], [], [], PATIENCE)
            assert monotonic() < until, "timed out:\n" + "\n".join(self.lines())
            if self._master in ready:
                self._read()


class _Meters:
    level = 0.0
    is_playing = False


async def _talk(orders: int, events: int, options: list[str]) -> None:
    meters = _Meters()
    is_plain = "plain" in options
    console = Console(force_terminal=True, legacy_windows=False, no_color="uncoloured" in options)
    panel = LivePanel(console)
    prompt = Prompt(
        panel,
        None,
        meters=None if "silent" in options else meters,
        paints_meter=not is_plain,
    )
    view = LiveView(console, console, panel=panel, banner=True, plain=is_plain)
    terminal = Terminal(view, prompt, Clipboard(sys.stdout, {}), attachments)
    loop = asyncio.get_running_loop()

    def obey() -> None:
        received = BytesIO(os.read(orders, 1 << 16))
        while received.tell() < len(received.getvalue()):
            match pickle.load(received):  # from the test
                case (level, is_playing):
                    meters.level, meters.is_playing = level, is_playing
                case update:
                    terminal.show(update)

    def post(event: LocalEvent) -> None:
        os.write(events, f"{event!r}\n".encode())

    def tick() -> None:
        terminal.tick()
        loop.call_later(0.08, tick)

    loop.add_reader(orders, obey)
    tick()
    await terminal.run(post)
    terminal.close()


if __name__ == "__main__":
    asyncio.run(_talk(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
