"""Shows long text in a pager, so that it can be read from its beginning."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from shutil import which
from threading import Thread
from typing import IO, TextIO

from rich.cells import cell_len
from rich.text import Text

_DEFAULT = ("less", "-FRX")
"""Ends at once if the text fits on the screen, shows colours, and leaves the text on the screen."""
_ENVIRON = {"LESS": "FRX", "LV": "-c", "LESSCHARSET": "utf-8"}
"""Set for the pager unless the user sets them."""


class Pager:
    """Shows text on the terminal `out`."""

    def __init__(self, out: TextIO, environ: Mapping[str, str]) -> None:
        self._out = out
        self._environ = environ

    def is_long(self, text: str) -> bool:
        """Whether text and a prompt below it do not fit on the screen."""
        try:
            size = os.get_terminal_size(self._out.fileno())
        except (OSError, ValueError):  # not a terminal, or closed
            return False
        rows = 0
        for line in text.splitlines():
            rows += max(1, -(-cell_len(Text.from_ansi(line).plain) // max(1, size.columns)))
            if rows >= size.lines:
                return True
        return False

    def show(self, text: str) -> None:
        """Show text: in $PAGER or `less` if it is long.

        Blocks until the user has left the pager. The text is written to `out` if there is no pager.
        `text` must be safe for a terminal; it may contain styles.
        """
        command = _command(self._environ) if self.is_long(text) else []
        with _foreground(self._out) as give:
            if give is None or not _run(command, text, self._out, self._environ, give):
                self._out.write(text)
                self._out.flush()


def _command(environ: Mapping[str, str]) -> list[str]:
    """The pager and its arguments; empty if there is none."""
    if environ.get("TERM", "dumb") == "dumb":
        return []
    chosen = environ.get("PAGER")
    try:
        command = list(_DEFAULT) if chosen is None else shlex.split(chosen)
    except ValueError:  # a quotation mark without a partner
        return []
    if not command or command[0] == "cat" or which(command[0], path=environ.get("PATH")) is None:
        return []
    return command


def _run(
    command: list[str],
    text: str,
    out: TextIO,
    environ: Mapping[str, str],
    give: Callable[[int], None],
) -> bool:
    """Show text in the pager `command`. Returns False if it cannot be started, or fails."""
    if not command:
        return False
    try:
        pager = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=out.fileno(),
            env={**_ENVIRON, **environ},
            process_group=0,
        )
    except OSError:
        return False
    assert pager.stdin is not None
    Thread(target=_feed, args=(pager.stdin, text.encode(errors="replace")), daemon=True).start()
    give(pager.pid)
    pager.returncode = _wait(pager.pid, give)
    return pager.returncode <= 0


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with suppress(OSError), pipe:  # the user may leave the pager before its end
        pipe.write(data)


def _wait(pid: int, give: Callable[[int], None]) -> int:
    """Wait for the pager. If Ctrl-Z stops it, this program stops, too, until it is continued."""
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        give(os.getpgrp())
        os.killpg(0, signal.SIGSTOP)
        give(pid)


@contextmanager
def _foreground(out: TextIO) -> Iterator[Callable[[int], None] | None]:
    """A context in which a process group can be given the terminal, as a shell does it: keys such
    as Ctrl-C act on that group only. None if the terminal is not this program's to give."""
    own = os.getpgrp()
    try:
        terminal = out.fileno()
        is_own = os.tcgetpgrp(terminal) == own
    except (OSError, ValueError):
        is_own = False
    if not is_own:
        yield None
        return

    def give(group: int) -> None:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            with suppress(OSError):  # the group or the terminal is gone
                os.tcsetpgrp(terminal, group)
                os.killpg(group, signal.SIGCONT)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    try:
        yield give
    finally:
        give(own)
