"""`/copy`: copy a reply, or one of its code blocks, to the user's clipboard.

Uses the platform's clipboard command if the user's screen is on this machine, otherwise OSC 52,
which asks the terminal to copy. OSC 52 works over ssh but does not report success. The command runs
in a thread because it may hang. Control characters are made visible: a shell would execute them
when they are pasted.
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
from rtchat.markdown.code_blocks import code_blocks, count_blocks
from rtchat.system.worker import Worker

_TIMEOUT = 2.0
"""Seconds that a clipboard command may take."""


class Clipboard:
    """The clipboard of a terminal's user. `environ` tells which commands can reach it."""

    def __init__(self, terminal: TextIO, environ: Mapping[str, str]) -> None:
        self._terminal = terminal
        self._environ = environ
        self._worker = Worker("clipboard")

    async def copy(self, request: Copy) -> Notice:
        """Copy the requested text and return a notice about the result."""
        text, what = request.text, "the reply"
        if request.block:
            blocks = code_blocks(visible(request.text))
            if request.block > len(blocks):
                return Notice("error", f"the reply has {count_blocks(blocks)}")
            text = blocks[request.block - 1].text
            what = f"code block {request.block} of {len(blocks)}"
        text = visible(text)
        failed = await self._worker.call(partial(self._run, text))
        if failed is None:
            return Notice("info", f"copied {what} to the clipboard")
        self._terminal.write(f"\x1b]52;c;{b64encode(text.encode()).decode()}\x07")
        self._terminal.flush()
        return Notice("info", f"{failed}asked the terminal to copy {what}")

    def _run(self, text: str) -> str | None:
        """Pass the text to the platform's command. Returns None on success, otherwise the
        beginning of a message: empty if there is no command, or why it failed."""
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
            return f"{name} could not be started; "
        with process:
            try:
                process.communicate(data, _TIMEOUT)
            except TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # and its children
                return f"{name} timed out after {_TIMEOUT:g} s; "
        return f"{name} failed; " if process.returncode else None

    def _command(self) -> list[str] | None:
        """The first installed command that reaches the user's own screen."""
        if self._environ.get("SSH_CONNECTION"):
            return None
        commands = (
            (sys.platform == "darwin", ["pbcopy"]),
            ("WSL_DISTRO_NAME" in self._environ, ["clip.exe"]),
            ("WAYLAND_DISPLAY" in self._environ, ["wl-copy"]),
            ("DISPLAY" in self._environ, ["xclip", "-selection", "clipboard"]),
            ("DISPLAY" in self._environ, ["xsel", "--clipboard", "--input"]),
        )
        for is_usable, (name, *arguments) in commands:
            found = which(name, path=self._environ.get("PATH", "")) if is_usable else None
            if found:
                return [found, *arguments]
        return None
