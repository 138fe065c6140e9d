"""A conversation with a person at a terminal: the prompt, the view above it, and the keyboard."""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import gc
import os
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from select import select
from typing import TYPE_CHECKING

from rtchat.app.environment import Environment
from rtchat.app.frontend import consoles, renders, screen_of, status_writer_of, style_sheet
from rtchat.config.settings import Settings
from rtchat.core.effects import Update
from rtchat.core.events import LocalEvent
from rtchat.core.ports import Post, Source, View
from rtchat.core.values import value
from rtchat.ui.plain_view import PlainView, StatusWriter

if TYPE_CHECKING:
    from rtchat.app.saved_conversations import SavedConversations
    from rtchat.markdown.theme import Background, StyleSheet
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


@contextmanager
def unechoed(environment: Environment) -> Iterator[str]:
    """Turn off the terminal's echo and its line editing, and return what was typed before.

    In the context, unread input such as `^C` is not shown, and keys that are pressed before there
    is a prompt arrive unchanged.
    """
    terminal = environment.stdin or 0
    if not environment.can_repaint:
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


@value
class Interactive:
    """What the prompt of a conversation needs."""

    settings: Settings
    environment: Environment
    meters: Meters | None
    """The audio levels of a voice conversation."""
    candidates: Candidates
    """Complete the arguments of commands."""
    templates: Callable[[str, str], Sequence[LocalEvent]]
    """Returns the events of /t."""

    def open(self, typeahead: str) -> tuple[View, Source]:
        """A view and a source with a prompt; `typeahead` was typed before.

        Importing what is needed takes longer than connecting, so both happen at the same time.
        """
        deferred = _DeferredView(status_writer_of(self.settings, self.environment))

        async def run(post: Post) -> None:
            await asyncio.to_thread(import_module, "rtchat.ui.terminal")
            if not self.environment.can_repaint:
                lines = self._line_terminal()
                deferred.set_view(lines)
                await lines.run(post)
                return
            terminal = self._terminal(typeahead)
            deferred.set_view(terminal)
            await asyncio.gather(terminal.run(post), self._preload(terminal))

        return deferred, run

    async def _preload(self, terminal: Terminal) -> None:
        """Import what draws replies, once the prompt is shown, which it would delay."""
        await terminal.prompt_shown()
        if self._renders:
            from rtchat.ui.live_view import preload

            await asyncio.to_thread(preload)
        gc.freeze()  # collections while replies stream need not look at what is loaded

    @property
    def _renders(self) -> bool:
        return renders(self.settings, self.environment)

    def _clipboard(self) -> Clipboard:
        from rtchat.ui.clipboard import Clipboard

        return Clipboard(self.environment.stdout, self.environment.environ)

    def _conversations(self, styles: StyleSheet) -> SavedConversations:
        from rtchat.app.saved_conversations import SavedConversations

        return SavedConversations(self.settings, self.environment, styles)

    def _line_terminal(self) -> LineTerminal:
        from rtchat.inputs import attachments
        from rtchat.ui.line_terminal import LineTerminal

        settings, environment = self.settings, self.environment
        status = StatusWriter(
            environment.stderr, verbose=settings.verbose, quiet=settings.quiet, banner=True
        )
        return LineTerminal(
            PlainView(environment.stdout.buffer, status, raw=False),
            environment.stdin or 0,
            environment.stdout,
            self._clipboard(),
            attachments,
            self.templates,
            self._conversations(style_sheet(settings, environment)),
            settings.image_detail,
        )

    def _terminal(self, typeahead: str) -> Terminal:
        from rtchat.inputs import attachments
        from rtchat.ui.attention import Attention
        from rtchat.ui.background import can_answer
        from rtchat.ui.editing_mode import editing_mode
        from rtchat.ui.panel import LivePanel
        from rtchat.ui.prompt import Prompt
        from rtchat.ui.status_line import StatusLine
        from rtchat.ui.terminal import Terminal
        from rtchat.ui.terminal_input import TerminalInput
        from rtchat.ui.terminal_kind import TerminalModes, reflows, terminal_kind

        settings, environment, environ = self.settings, self.environment, self.environment.environ

        def write(text: str) -> None:
            environment.stdout.write(text)
            environment.stdout.flush()

        kind = terminal_kind(environ)
        console, _ = consoles(settings, environment)
        panel = LivePanel(console, reflows=reflows(kind, environ))
        attention = Attention(write, kind, sets_title=settings.title, notify=settings.notify)
        status = StatusLine(lambda: console.width, profile=settings.profile)

        def set_background(background: Background) -> None:
            console.styles.background = background
            prompt.invalidate()

        keyboard = TerminalInput(
            sys.stdin,
            TerminalModes(write, kind),
            on_focus=attention.set_focus,
            on_cursor=lambda row, column: prompt.cursor_reported(row, column),
            on_background=set_background if not console.no_color and can_answer(kind) else None,
        )
        prompt = Prompt(
            panel,
            environment.state_dir / "input_history",
            meters=self.meters,
            paints_meter=self._renders,
            status=status.paint if settings.status else list,
            candidates=self.candidates,
            editing_mode=editing_mode(settings.editing_mode, environ),
            input=keyboard,
            stdout=environment.stdout,
        )
        prompt.type_ahead(keyboard.keys_of(typeahead))
        return Terminal(
            screen_of(settings, environment, panel),
            prompt,
            self._clipboard(),
            attachments,
            self._conversations(console.styles),
            settings.image_detail,
            templates=self.templates,
            status=status,
            attention=attention,
        )
