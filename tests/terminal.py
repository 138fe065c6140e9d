"""Runs the program in a terminal and reads its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

import pyte

from tests.forking import take_terminal
from tests.program import PATIENCE, Program

PROMPT = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
"""The mark before the entry, and before each question above it.

If it is the last text that `Terminal.shows` waits for, the program must be idle: the cursor is in
the entry, and above that there is neither a reply that streams nor a question that waits.
"""
_INCOMPLETE = rb"\x1b(\[[?\d]*)?\Z"
_UPDATE = re.compile(rb"(?!%b).+?(\x1b\[\?2026l|(?=%b)|\Z)" % (_INCOMPLETE, _INCOMPLETE), re.DOTALL)
"""Matches output up to the end of a synchronised update, or up to an incomplete sequence."""


_SYNCHRONISED = 2026 << 5
"""The private mode, as pyte represents it, that is on during a synchronised update."""


class Emulator(pyte.HistoryScreen):
    """A screen that answers requests for the cursor position."""

    answers: Callable[[str], None]

    def __init__(self, columns: int, rows: int, history: int = 1000) -> None:
        super().__init__(columns, rows, history)
        self.above: list[str] = []
        """The text of the rows in the scrollback."""

    def index(self) -> None:
        if self.cursor.y == self.lines - 1:
            self.above.append(self.row(0))
        super().index()

    def row(self, y: int) -> str:
        """The text of a row of the screen, as in `display`, which takes long."""
        cells = self.buffer[y]
        return "".join([cells[x].data for x in range(self.columns)]).rstrip()

    def write_process_input(self, data: str) -> None:
        self.answers(data)


class Terminal:
    """A terminal of 24 rows and 80 columns that runs the program."""

    def __init__(
        self,
        program: Program,
        arguments: list[str],
        environ: Mapping[str, str],
        *,
        verb: str = "talk",
        shell: bool = False,
        ignores: bool = False,
    ) -> None:
        """With `shell`, start a shell and type the command into it. With `ignores`, SIGINT and
        SIGHUP are ignored at the start, as after `nohup` and in the background of a script."""
        self.screen = Emulator(80, 24)
        self.screen.answers = self.types
        self._stream = pyte.ByteStream(self.screen)
        self._unseen = b""
        self.output = b""
        """Everything that was written."""
        self._terminal, slave = pty.openpty()
        opened: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
        full = {**program.environ, "TERM": "xterm-256color", **environ}
        command = program.command(verb, *arguments)
        if shell or ignores:
            ignore = ["/bin/bash", "-c", "trap '' INT HUP; exec \"$@\"", "bash", *command]
            self.process = subprocess.Popen(
                ignore if ignores else ["/bin/bash", "--norc", "-i"],
                **opened,
                env=full,
                cwd=program.home,
                preexec_fn=take_terminal,
            )
        else:
            self.process = program.start(verb, *arguments, **opened, environ=full, on_terminal=True)
        os.close(slave)
        self.resizes(24)
        if shell:
            self.types(shlex.join(command) + "\r")

    def types(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def resizes(self, rows: int, columns: int = 80) -> None:
        """Change the size of the window."""
        self.screen.resize(rows, columns)
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    def lines(self) -> list[str]:
        """All rows of the scrollback and the screen, without the empty rows at the end."""
        rows = [*self.screen.above, *map(self.screen.row, range(self.screen.lines))]
        while len(rows) > 1 and not rows[-1]:
            rows.pop()
        return rows

    def shows(self, *texts: str | tuple[str, ...]) -> list[str]:
        """Wait until each of these texts, or one of the texts of a tuple, is in a line of its own,
        in this order. If the last one is `PROMPT`, the program must be idle."""
        for _ in self.updates(*texts):
            pass
        return self.lines()

    def updates(self, *texts: str | tuple[str, ...]) -> Iterator[str]:
        """The row with the cursor after each synchronised update, until `shows` would return."""
        until = monotonic() + PATIENCE
        while not self._has(texts):
            has_more = self._reads() and monotonic() < until  # a meter may be painted forever
            assert has_more, f"{texts} is not on the screen:\n" + "\n".join(self.lines())
            if _SYNCHRONISED not in self.screen.mode:
                yield self.screen.row(self.screen.cursor.y)

    def shows_at_cursor(self, *rows: str) -> str:
        """Wait until the row with the cursor is one of these. Returns that row."""
        until = monotonic() + PATIENCE
        while (row := self.screen.row(self.screen.cursor.y)) not in rows:
            has_more = self._reads() and monotonic() < until
            assert has_more, f"{row!r} is not in {rows}:\n" + "\n".join(self.lines())
        return row

    def _has(self, texts: tuple[str | tuple[str, ...], ...]) -> bool:
        lines = iter(self.lines())
        choices = [(text,) if isinstance(text, str) else text for text in texts]
        has_all = all(any(text in line for line in lines for text in each) for each in choices)
        return has_all and (texts[-1] != PROMPT or self._is_idle())

    def _is_idle(self) -> bool:
        y = self.screen.cursor.y
        is_busy = y > 0 and self.screen.row(y - 1).startswith(("╰", "queued: "))
        return self.screen.row(y).startswith(PROMPT) and not is_busy

    def reads_for(self, seconds: float) -> None:
        """Read what is written in this time."""
        until = monotonic() + seconds
        while (left := until - monotonic()) > 0:
            if select.select((self._terminal,), (), (), left)[0]:
                self._receives(0)
        while _UPDATE.match(self._unseen):
            self._reads()

    def _reads(self) -> bool:
        """Read at most one synchronised update, so that the caller sees every intermediate screen.
        Returns whether there was more output."""
        self._receives(0)  # the program need not wait for the emulator
        while not (update := _UPDATE.match(self._unseen)):
            if not self._receives(PATIENCE):
                return False
        self._stream.feed(update[0])
        self._unseen = self._unseen[update.end() :]
        return True

    def _receives(self, seconds: float) -> bool:
        """Wait for output for so many seconds. Returns whether there was any."""
        ready, _, _ = select.select((self._terminal,), (), (), seconds)
        try:
            data = os.read(self._terminal, 65536) if ready else b""
        except OSError:
            return False
        self._unseen += data
        self.output += data
        return bool(data)

    def goes_away(self) -> int:
        """Close the window. Returns the exit code of the program."""
        os.close(self._terminal)
        return self.process.wait(PATIENCE)

    def ends_by_ctrl_c(self) -> int:
        """Press Ctrl-C at a question of a command. Returns the exit code of the program."""
        until = monotonic() + PATIENCE
        # Python misses a signal in the very moment before it waits for a line: press it again then.
        while self.process.poll() is None and monotonic() < until:
            self.types("\x03")
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
        return self.ends()

    def ends(self) -> int:
        """Wait for the program to exit. Returns its exit code."""
        until = monotonic() + PATIENCE
        while self._reads() and monotonic() < until:
            pass
        if monotonic() >= until:
            self.process.kill()
        os.close(self._terminal)
        return self.process.wait(PATIENCE)
