"""`/copy`: a reply, or one of its code blocks, on the clipboard of the person at the terminal.

The platform's own command where there is one on the same machine, else OSC 52, which asks the
terminal: it works over ssh, and there is no telling whether the terminal obeys. The command runs in
a thread, as it may hang. Control characters are made visible, for a shell runs what is pasted.
"""

from __future__ import annotations

import os
import signal
import sys
from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from shutil import which
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from typing import TextIO

from rtchat.core.effects import Copy, Notice
from rtchat.core.text import visible
from rtchat.markdown.dialect import parser, references
from rtchat.system.worker import Worker

_TIMEOUT = 2.0
"""Seconds that a command may take."""


class Clipboard:
    """The clipboard that can be reached from a terminal; `environ` says what there is."""

    def __init__(self, terminal: TextIO, environ: Mapping[str, str]) -> None:
        self._terminal = terminal
        self._environ = environ
        self._worker = Worker("clipboard")

    async def copy(self, asked: Copy) -> Notice:
        """Copy what was asked for; what to tell about it."""
        text, what = asked.text, "the reply"
        if asked.block:
            blocks = _code_blocks(visible(asked.text))
            if asked.block > len(blocks):
                return Notice("error", f"the reply has {len(blocks)} code blocks")
            text, what = blocks[asked.block - 1], f"code block {asked.block} of {len(blocks)}"
        text = visible(text)
        failed = await self._worker.call(partial(self._run, text))
        if failed is None:
            return Notice("info", f"{what} is on the clipboard")
        self._terminal.write(f"\x1b]52;c;{b64encode(text.encode()).decode()}\x07")
        self._terminal.flush()
        return Notice("info", f"{failed}{what} was handed to the terminal to copy")

    def _run(self, text: str) -> str | None:
        """Pass it to the platform's command. None if that worked, else the start of a message."""
        command = self._command()
        if command is None:
            return ""
        name = command[0].rpartition("/")[2]
        # Windows assumes its old code page unless the text begins with a byte order mark.
        data = text.encode("utf-16" if name == "clip.exe" else "utf-8")
        try:
            process = Popen(
                command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
            )
        except OSError:
            return f"{name} does not start: "
        with process:
            try:
                process.communicate(data, _TIMEOUT)
            except TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # and its children
                return f"{name} did not end within {_TIMEOUT:g} s: "
        return f"{name} failed: " if process.returncode else None

    def _command(self) -> list[str] | None:
        """The first command that is installed and leads to the user's own screen."""
        if self._environ.get("SSH_CONNECTION"):
            return None
        commands = (
            (sys.platform == "darwin", ["pbcopy"]),
            ("WSL_DISTRO_NAME" in self._environ, ["clip.exe"]),
            ("WAYLAND_DISPLAY" in self._environ, ["wl-copy"]),
            ("DISPLAY" in self._environ, ["xclip", "-selection", "clipboard"]),
            ("DISPLAY" in self._environ, ["xsel", "--clipboard", "--input"]),
        )
        for is_here, (name, *arguments) in commands:
            found = which(name, path=self._environ.get("PATH", "")) if is_here else None
            if found:
                return [found, *arguments]
        return None


def _code_blocks(text: str) -> list[str]:
    tokens = parser().parse(text, {"references": references({})})
    return [token.content for token in tokens if token.type in {"fence", "code_block"}]
