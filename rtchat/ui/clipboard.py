"""`/copy`: copy a reply, or one of its code blocks, to the user's clipboard.

The first of these that is possible:
- the platform's clipboard command, if the user's screen is on this machine
- tmux's buffer; tmux is asked to pass it to the terminal. By default, tmux ignores OSC 52.
- OSC 52, which asks the terminal to copy. It works over ssh but does not report success.

Commands run in a thread because they may hang. Control characters are made visible: a shell would
execute them when they are pasted.
"""

from __future__ import annotations

import os
import signal
import sys
from base64 import b64encode
from collections.abc import Mapping
from enum import Enum, auto
from functools import partial
from shutil import which
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from typing import NamedTuple, TextIO

from rtchat.core.effects import Copy, Notice
from rtchat.core.text import visible
from rtchat.markdown.links import terminal_version
from rtchat.system.worker import Worker
from rtchat.ui.terminal_kind import TerminalKind, terminal_kind

_TIMEOUT = 2.0
"""Seconds that a command may take."""
_SUPPORTING = frozenset(
    {
        *(TerminalKind.KITTY, TerminalKind.GHOSTTY, TerminalKind.WEZTERM),
        *(TerminalKind.FOOT, TerminalKind.ALACRITTY),
    }
)
"""The terminals that are known to support OSC 52, unless the user has turned it off."""
_MIN_VERSIONS = {"VTE_VERSION": 7600, "KONSOLE_VERSION": 241200}
"""Variables of terminals, and the first version that supports OSC 52."""
_MAX_SUPPORTED_BYTES = 70_000
"""The size of a text, in bytes, that all of `_SUPPORTING` accept."""
_MAX_PART = 500
"""Characters that GNU screen gets at once. It passes on at most 768, with the ends of the part."""
_SCREEN_VARIABLES = ("SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY")
"""The variables that say on which machine and display the user's screen is."""


class _Destination(Enum):
    """Where a text was copied."""

    CLIPBOARD = auto()
    TMUX_AND_TERMINAL = auto()
    """tmux has it, and was asked to pass it to the terminal."""
    TMUX = auto()
    NOWHERE = auto()


class _CopyResult(NamedTuple):
    destination: _Destination
    failures: str
    """Which commands failed and why: the beginning of a message."""


class Clipboard:
    """The clipboard of a terminal's user. `environ` is the environment, from which follows how it
    can be reached."""

    def __init__(self, terminal: TextIO, environ: Mapping[str, str]) -> None:
        self._terminal = terminal
        self._environ = environ
        self._worker = Worker("clipboard")

    async def copy(self, request: Copy) -> Notice:
        """Copy the requested text and return a notice about the result."""
        text, what = request.text, "the reply"
        if request.block:
            # Imported here because it would delay the prompt.
            from rtchat.markdown.code_blocks import count_blocks, latest_blocks

            blocks = latest_blocks(visible(request.so_far), visible(request.text))
            if request.block > len(blocks):
                return Notice("error", f"the reply has {count_blocks(blocks)}")
            text = blocks[request.block - 1].text
            what = f"code block {request.block} of {len(blocks)}"
        save = f"/save {request.block} FILE" if request.block else "/save FILE"
        text = visible(text)
        destination, failures = await self._worker.call(partial(self._copy, text))
        match destination:
            case _Destination.CLIPBOARD:
                return Notice("info", f"copied {what} to the clipboard")
            case _Destination.TMUX_AND_TERMINAL:
                message = (
                    f"{failures}copied {what} to tmux's buffer and asked the terminal to copy it"
                )
                return Notice("info", message, "in tmux, paste it with the prefix key and ]")
            case _Destination.TMUX:
                message = f"{failures}copied {what} to tmux's buffer, not to the clipboard"
                return Notice("info", message, "in tmux, paste it with the prefix key and ]")
            case _Destination.NOWHERE:
                return self._ask_terminal(text, what, failures, save)

    def _ask_terminal(self, text: str, what: str, failures: str, save: str) -> Notice:
        kind = terminal_kind(self._environ)
        is_too_old = any(
            0 < terminal_version(self._environ, name) < version
            for name, version in _MIN_VERSIONS.items()
        )
        if kind is TerminalKind.BASIC or (
            is_too_old and kind in (TerminalKind.VTE, TerminalKind.OTHER)
        ):
            message = f"{failures}this terminal does not let programs copy"
            return Notice("warning", message, f"{self._advice()}use {save}")
        data = text.encode()
        self._terminal.write(_request(data, kind))
        self._terminal.flush()
        if kind is TerminalKind.TMUX:
            hint = f"tmux copies only if its set-clipboard option is on; otherwise use {save}"
            return Notice("info", f"{failures}asked tmux to copy {what}", hint)
        is_supported = kind in _SUPPORTING and len(data) <= _MAX_SUPPORTED_BYTES
        hint = (
            "" if is_supported else f"if the clipboard does not have it, {self._advice()}use {save}"
        )
        return Notice("info", f"{failures}asked the terminal to copy {what}", hint)

    def _advice(self) -> str:
        """Which command to install, if the user's screen is on this machine and there is none."""
        if self._environ.get("SSH_CONNECTION") or self._command(self._environ):
            return ""
        if self._environ.get("WAYLAND_DISPLAY"):
            return "install wl-clipboard or "
        return "install xclip or " if self._environ.get("DISPLAY") else ""

    # ------------------------------------------------------------------ commands, in the thread

    def _copy(self, text: str) -> _CopyResult:
        """Pass the text to the first command that succeeds."""
        environ = dict(self._environ)
        tmux = self._path_of("tmux") if environ.get("TMUX") else None
        if tmux:
            _update_from_tmux(environ, tmux)
        command = self._command(environ)
        failures = failure = ""
        if command is not None:
            name = command[0].rpartition("/")[2]
            # Windows assumes its old code page unless the text begins with a byte order mark.
            data = text.encode("utf-16" if name == "clip.exe" else "utf-8")
            failure = _failure(command, data, environ)
            if not failure:
                return _CopyResult(_Destination.CLIPBOARD, "")
            failures = f"{name} {failure}; "
        if tmux:
            data = text.encode()
            # Before tmux 3.2 there is no -w.
            for destination, option in (
                (_Destination.TMUX_AND_TERMINAL, ["-w"]),
                (_Destination.TMUX, []),
            ):
                failure = _failure([tmux, "load-buffer", *option, "-"], data, environ)
                if not failure:
                    return _CopyResult(destination, failures)
            failures += f"tmux {failure}; "
        return _CopyResult(_Destination.NOWHERE, failures)

    def _path_of(self, name: str) -> str | None:
        return which(name, path=self._environ.get("PATH", ""))

    def _command(self, environ: Mapping[str, str]) -> list[str] | None:
        """The first installed command that reaches the user's own screen."""
        if environ.get("SSH_CONNECTION"):
            return None
        commands = (
            (sys.platform == "darwin", ["pbcopy"]),
            ("WSL_DISTRO_NAME" in environ, ["clip.exe"]),
            ("WAYLAND_DISPLAY" in environ, ["wl-copy"]),
            ("DISPLAY" in environ, ["xclip", "-selection", "clipboard"]),
            ("DISPLAY" in environ, ["xsel", "--clipboard", "--input"]),
        )
        for is_usable, (name, *arguments) in commands:
            found = self._path_of(name) if is_usable else None
            if found:
                return [found, *arguments]
        return None


def _update_from_tmux(environ: dict[str, str], tmux: str) -> None:
    """Set the variables that say where the user's screen is, as tmux knows them from the client
    that was attached last. The pane has those of the client that created it."""
    failure, output = _run_command([tmux, "show-environment"], b"", environ)
    for line in output.splitlines() if not failure else ():
        name, separator, value = line.partition("=")
        if name in _SCREEN_VARIABLES and separator:
            environ[name] = value
        elif name.removeprefix("-") in _SCREEN_VARIABLES:
            environ.pop(name[1:], None)


def _failure(command: list[str], data: bytes, environ: Mapping[str, str]) -> str:
    """Run a command with this input. Returns why it failed; "" if it succeeded."""
    return _run_command(command, data, environ, has_output=False)[0]


def _run_command(
    command: list[str], data: bytes, environ: Mapping[str, str], *, has_output: bool = True
) -> tuple[str, str]:
    """Run a command with this input. Returns why it failed ("" if it succeeded) and its output."""
    output = PIPE if has_output else DEVNULL
    try:
        process = Popen(
            command,
            stdin=PIPE,
            stdout=output,
            stderr=DEVNULL,
            env=dict(environ),
            start_new_session=True,
        )
    except OSError:
        return "could not be started", ""
    with process:
        try:
            written, _ = process.communicate(data, _TIMEOUT)
        except TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # and its children
            return f"timed out after {_TIMEOUT:g} s", ""
    return "failed" if process.returncode else "", (written or b"").decode(errors="replace")


def _request(data: bytes, kind: TerminalKind) -> str:
    """The sequence that asks a terminal to copy. GNU screen passes it on in parts."""
    sequence = f"\x1b]52;c;{b64encode(data).decode()}\x07"
    if kind is not TerminalKind.SCREEN:
        return sequence
    starts = range(0, len(sequence), _MAX_PART)
    return "".join(f"\x1bP{sequence[start : start + _MAX_PART]}\x1b\\" for start in starts)
