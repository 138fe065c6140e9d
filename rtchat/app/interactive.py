"""A conversation with a person at a terminal: the prompt, the view above it, and the keyboard."""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import os
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from select import select
from typing import TYPE_CHECKING

from rtchat.app.environment import Environment
from rtchat.app.frontend import consoles, has_colors, renders, screen_of, status_writer_of
from rtchat.config.settings import Settings
from rtchat.core.effects import Update
from rtchat.core.events import LocalEvent
from rtchat.core.ports import Post, Source, View
from rtchat.ui.plain_view import PlainView, StatusWriter

if TYPE_CHECKING:
    from rtchat.app.saved_conversations import SavedConversations
    from rtchat.ui.candidates import Candidates
    from rtchat.ui.clipboard import Clipboard
    from rtchat.ui.line_terminal import LineTerminal
    from rtchat.ui.meter import Meters
    from rtchat.ui.terminal import Terminal

_REST_SECONDS = 0.1
"""How long the rest of a character may take to follow its first bytes."""


class _DeferredView:
    """Buffers updates until the real view is set.

    If the program ends before that, the updates go to `fallback`, because they may include errors.
    """

    def __init__(self, fallback: View) -> None:
        self._fallback = fallback
        self._view: View | None = None
        self._buffer: list[Update] = []

    def show(self, update: Update) -> None:
        if self._view is None:
            self._buffer.append(update)
        else:
            self._view.show(update)

    def tick(self) -> None:
        if self._view is not None:
            self._view.tick()

    def close(self) -> None:
        if self._view is None:
            self.set_view(self._fallback)
        else:
            self._view.close()

    def set_view(self, view: View) -> None:
        self._view = view
        for update in self._buffer:
            view.show(update)


def _can_repaint(environment: Environment) -> bool:
    """Whether the terminal can move its cursor."""
    return environment.environ.get("TERM") != "dumb"


@contextmanager
def unechoed(environment: Environment) -> Iterator[str]:
    """Turn off the terminal's echo and its line editing, and return what was typed before.

    In the context, unread input such as `^C` is not shown, and keys that are pressed before there
    is a prompt arrive unchanged.
    """
    terminal = environment.stdin or 0
    if not _can_repaint(environment):
        yield ""
        return
    try:
        before = termios.tcgetattr(terminal)
    except termios.error:
        yield ""
        return
    characters = [*before[6]]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    local = before[3] & ~(termios.ECHO | termios.ICANON)
    quiet = [before[0] & ~termios.ICRNL, *before[1:3], local, *before[4:6], characters]
    termios.tcsetattr(terminal, termios.TCSANOW, quiet)
    try:
        typed = _typeahead(terminal)
        if typed and not typed.endswith("\r"):
            environment.stdout.write("\r\x1b[K")  # it was echoed
        yield typed
    finally:
        with suppress(termios.error):  # the terminal has closed
            termios.tcflush(terminal, termios.TCIFLUSH)
            termios.tcsetattr(terminal, termios.TCSANOW, before)


def _typeahead(terminal: int) -> str:
    """What was typed while Enter was still a new line."""
    with suppress(OSError):
        waiting = int.from_bytes(fcntl.ioctl(terminal, termios.FIONREAD, bytes(4)), sys.byteorder)
        if waiting:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            typed = decoder.decode(os.read(terminal, waiting))
            while decoder.getstate()[0] and select([terminal], [], [], _REST_SECONDS)[0]:
                typed += decoder.decode(os.read(terminal, 1))
            return typed.replace("\n", "\r")
    return ""


def terminal_of(
    settings: Settings,
    environment: Environment,
    meters: Meters | None,
    candidates: Candidates,
    templates: Callable[[str, str], Sequence[LocalEvent]],
    typeahead: str,
) -> tuple[View, Source]:
    """A view and a source with a prompt.

    `meters` show the audio levels of a voice conversation, `candidates` complete the arguments of
    commands, `templates` returns the events of /t, and `typeahead` was typed before. Importing what
    is needed takes longer than connecting, so both happen at the same time.
    """
    deferred = _DeferredView(status_writer_of(settings, environment))

    async def run(post: Post) -> None:
        await asyncio.to_thread(import_module, "rtchat.ui.terminal")
        from rtchat.ui.clipboard import Clipboard
        from rtchat.ui.live_view import preload

        clipboard = Clipboard(environment.stdout, environment.environ)
        if not _can_repaint(environment):
            lines = _line_terminal(settings, environment, templates, clipboard)
            deferred.set_view(lines)
            await lines.run(post)
            return
        terminal = _terminal(
            settings, environment, meters, candidates, templates, typeahead, clipboard
        )
        deferred.set_view(terminal)
        if renders(settings, environment):
            await asyncio.gather(terminal.run(post), asyncio.to_thread(preload))
        else:
            await terminal.run(post)

    return deferred, run


def _conversations(settings: Settings, environment: Environment) -> SavedConversations:
    from rtchat.app.saved_conversations import SavedConversations

    return SavedConversations(
        environment,
        is_kept=settings.history,
        renders=renders(settings, environment),
        color=has_colors(settings, environment, is_terminal=True),
    )


def _line_terminal(
    settings: Settings,
    environment: Environment,
    templates: Callable[[str, str], Sequence[LocalEvent]],
    clipboard: Clipboard,
) -> LineTerminal:
    from rtchat.inputs import attachments
    from rtchat.ui.line_terminal import LineTerminal

    status = StatusWriter(
        environment.stderr, verbose=settings.verbose, quiet=settings.quiet, banner=True
    )
    return LineTerminal(
        PlainView(environment.stdout.buffer, status, raw=False),
        environment.stdin or 0,
        environment.stdout,
        clipboard,
        attachments,
        templates,
        _conversations(settings, environment),
        settings.image_detail,
    )


def _terminal(
    settings: Settings,
    environment: Environment,
    meters: Meters | None,
    candidates: Candidates,
    templates: Callable[[str, str], Sequence[LocalEvent]],
    typeahead: str,
    clipboard: Clipboard,
) -> Terminal:
    from rtchat.inputs import attachments
    from rtchat.ui.attention import Attention
    from rtchat.ui.editing_mode import editing_mode
    from rtchat.ui.panel import LivePanel
    from rtchat.ui.prompt import Prompt
    from rtchat.ui.status_line import StatusLine
    from rtchat.ui.terminal import Terminal
    from rtchat.ui.terminal_input import TerminalInput
    from rtchat.ui.terminal_kind import REFLOWING, TerminalModes, terminal_kind

    def write(text: str) -> None:
        environment.stdout.write(text)
        environment.stdout.flush()

    environ = environment.environ
    kind = terminal_kind(environ)
    console, _ = consoles(settings, environment)
    panel = LivePanel(console, reflows=kind in REFLOWING)
    attention = Attention(write, kind, sets_title=settings.title, notify=settings.notify)
    status = StatusLine(lambda: console.width, profile=settings.profile)
    keyboard = TerminalInput(
        sys.stdin,
        TerminalModes(write, kind),
        on_focus=attention.set_focus,
        on_cursor=lambda row, column: prompt.cursor_reported(row, column),
    )
    prompt = Prompt(
        panel,
        environment.state_dir / "input_history",
        meters=meters,
        paints_meter=renders(settings, environment),
        status=status.paint if settings.status else list,
        candidates=candidates,
        editing_mode=editing_mode(settings.editing_mode, environ),
        input=keyboard,
        stdout=environment.stdout,
    )
    prompt.type_ahead(keyboard.keys_of(typeahead))
    return Terminal(
        screen_of(settings, environment, panel),
        prompt,
        clipboard,
        attachments,
        _conversations(settings, environment),
        settings.image_detail,
        templates=templates,
        status=status,
        attention=attention,
    )
