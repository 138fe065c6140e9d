"""A program on a pty of its own, whose screen is read by an emulator and whose events by a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic

import pyte

from tests.forking import STARTED_WITH, Forked, leave_session
from tests.program import PATIENCE
from tests.screen import fill, resize
from tests.terminal import Emulator

_TIME = re.compile(r"─* \d+\.\d s( · ~\d+ tok/s)? ─*")
_END = b"\x1b[?2026l"
"""Ends a synchronised update."""
_ROOT = Path(__file__).parents[1]


def stop(pid: int) -> None:
    """Stop a process while it waits, so that it has written what it painted."""
    _wait_for_state(pid, "S")
    os.kill(pid, signal.SIGSTOP)
    _wait_for_state(pid, "T")


def _wait_for_state(pid: int, state: str) -> None:
    until = monotonic() + PATIENCE
    while f") {state} " not in Path(f"/proc/{pid}/stat").read_text():
        assert monotonic() < until, f"the process does not become {state}"
        os.sched_yield()


class _Emulator(Emulator):
    def delete_lines(self, count: int | None = None) -> None:
        fill(self)
        super().delete_lines(count)


class Window:
    """Starts a module of the tests. Its first argument is the file descriptor for events, which it
    writes one a line."""

    def __init__(
        self,
        module: str,
        arguments: Iterable[str],
        *,
        columns: int = 72,
        rows: int = 20,
        editor: str = "",
        pass_fds: Iterable[int] = (),
    ) -> None:
        self.screen = _Emulator(columns, rows, history=10_000)
        self.screen.answers = self.types
        self.requests = 0
        """How often the program asked for the position of the cursor."""
        self._stream = pyte.ByteStream(self.screen)
        self._unfed = b""
        self.on_update: Callable[[], None] = lambda: None
        """Called after each synchronised update."""
        self._master, self._slave = pty.openpty()
        self._set_size(columns, rows)
        self.modes = termios.tcgetattr(self._slave)
        self._events, events = os.pipe()
        self._lines = b""
        environ = {"TERM": "xterm-256color", "PATH": os.defpath, "VISUAL": editor}
        self.process = Forked(
            [module, str(events), *arguments],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            pass_fds=[events, *pass_fds],
            preexec_fn=leave_session,
            cwd=_ROOT,
            env=STARTED_WITH | environ,
        )
        os.close(events)
        self._is_open = True

    def ends(self) -> None:
        """Kill the program and close the window."""
        self.process.kill()
        self.process.wait()
        if self._is_open:
            self.hangs_up()
        os.close(self._events)

    def hangs_up(self) -> None:
        """Close the window."""
        os.close(self._slave)
        os.close(self._master)
        self._is_open = False

    def modes_now(self) -> list[object]:
        """The current modes of the terminal."""
        return termios.tcgetattr(self._slave)

    def _set_size(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def resizes(self, columns: int, rows: int = 20) -> None:
        """Make the window another size, once everything written for the old one is read."""
        stop(self.process.pid)
        self._settles()
        resize(self.screen, columns, rows)
        self._set_size(columns, rows)
        for number in (signal.SIGWINCH, signal.SIGCONT):
            os.kill(self.process.pid, number)

    def types(self, keys: str) -> None:
        """Press these keys, without waiting for anything."""
        data = keys.encode()
        while data:  # a terminal takes 4 KiB at a time
            data = data[os.write(self._master, data[:1000]) :]

    def means(self) -> str:
        """Wait for the next event that the program posts."""
        while b"\n" not in self._lines:
            self._wait_until(self._has_event, self._events)
            self._lines += os.read(self._events, 65536) or b"gone\n"
        line, _, self._lines = self._lines.partition(b"\n")
        return line.decode()

    def _has_event(self) -> bool:
        return bool(select.select([self._events], [], [], 0)[0])

    def has_meant(self) -> list[str]:
        """The events that the program has posted until the screen no longer changes."""
        self._settles()
        if self._has_event():
            self._lines += os.read(self._events, 65536)
        lines, self._lines = self._lines.decode().splitlines(), b""
        return lines

    # --------------------------------------------------------------------------- what it shows

    def lines(self) -> list[str]:
        """All rows of the scrollback and the screen, without the empty rows at the end."""
        columns = range(self.screen.columns)
        above = ["".join(row[x].data for x in columns).rstrip() for row in self.screen.history.top]
        rows = [*above, *(line.rstrip() for line in self.screen.display)]
        return "\n".join(rows).rstrip().split("\n")

    def visible(self) -> list[str]:
        """The rows of the screen, without the empty rows at the end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")

    def cursor(self) -> tuple[str, int]:
        """The row in which the cursor is, and its column."""
        return self.screen.display[self.screen.cursor.y].rstrip(), self.screen.cursor.x

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
        data = self._unfed + os.read(self._master, 65536)
        *updates, rest = data.split(_END)
        for update in updates:
            self._feed(update + _END)
            self.on_update()
        # An incomplete end of an update is not shown yet.
        start = next((n for n in range(len(_END) - 1, 0, -1) if rest.endswith(_END[:n])), 0)
        self._feed(rest[: len(rest) - start])
        self._unfed = rest[len(rest) - start :]

    def _feed(self, data: bytes) -> None:
        self.requests += data.count(b"\x1b[6n")
        self._stream.feed(data)

    def _wait_until(self, condition: Callable[[], bool], *others: int) -> None:
        """Read the screen until the condition is true. Input on `others` also triggers a check."""
        until = monotonic() + PATIENCE
        while not condition():
            sources = [self._master, *others] if self._is_open else others
            ready, _, _ = select.select(sources, [], [], PATIENCE)
            assert monotonic() < until, "timed out:\n" + "\n".join(self.lines())
            if self._master in ready:
                self._read()
