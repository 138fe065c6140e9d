"""Chooses the view and the source of keyboard input for the settings and streams."""

from __future__ import annotations

import asyncio
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from io import StringIO
from typing import TYPE_CHECKING, TextIO

from rtchat.app.environment import Environment, OutputFormat
from rtchat.config.settings import Settings
from rtchat.core.effects import Update
from rtchat.core.ports import Post, Source, View
from rtchat.ui.plain_view import PlainView, StatusWriter

if TYPE_CHECKING:
    from rich.console import Console

    from rtchat.ui.meter import Meters
    from rtchat.ui.terminal import Screen


def status_writer_of(settings: Settings, environment: Environment) -> StatusWriter:
    """The writer of status lines and notices to stderr."""
    return StatusWriter(environment.stderr, verbose=settings.verbose, quiet=settings.quiet)


def view_of(
    settings: Settings, output_format: OutputFormat, environment: Environment, status: StatusWriter
) -> View:
    """The view for replies when there is no prompt."""
    if output_format == "events":
        return status
    if output_format == "json":
        from rtchat.ui.json_view import JsonView

        return JsonView(environment.stdout.buffer, status)
    if renders(settings, environment):
        from rtchat.ui.live_view import LiveView

        return LiveView(
            *consoles(settings, environment), verbose=settings.verbose, quiet=settings.quiet
        )
    return PlainView(environment.stdout.buffer, status, raw=not environment.stdout_is_terminal)


def renders(settings: Settings, environment: Environment) -> bool:
    """Whether Markdown is rendered."""
    if settings.render == "auto":
        return environment.stdout_is_terminal and environment.environ.get("TERM") != "dumb"
    return settings.render == "always"


def has_colors(settings: Settings, environment: Environment, is_terminal: bool) -> bool:
    """Whether to colour a stream.

    Precedence: option > NO_COLOR > FORCE_COLOR > whether it is a terminal other than TERM=dumb.
    """
    if settings.color != "auto":
        return settings.color == "always"
    if environment.environ.get("NO_COLOR"):
        return False
    if environment.environ.get("FORCE_COLOR"):
        return True
    return is_terminal and environment.environ.get("TERM") != "dumb"


def consoles(settings: Settings, environment: Environment) -> tuple[Console, Console]:
    """The consoles for stdout and stderr."""
    from rtchat.ui.console import make_console

    def console(file: TextIO, is_terminal: bool) -> Console:
        colors = has_colors(settings, environment, is_terminal)
        return make_console(file, environment.environ, is_terminal=is_terminal, colors=colors)

    err = environment.stderr or StringIO()  # stderr is closed
    out = console(environment.stdout, environment.stdout_is_terminal)
    return out, console(err, environment.stderr_is_terminal)


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
def unechoed(terminal: int) -> Iterator[None]:
    """Turn off the terminal's echo, so that input that is not read yet is not shown, such as `^C`
    and cursor position reports."""
    try:
        before = termios.tcgetattr(terminal)
    except termios.error:
        yield
        return
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(terminal, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal has closed
            termios.tcflush(terminal, termios.TCIFLUSH)
            termios.tcsetattr(terminal, termios.TCSANOW, before)


def screen_of(settings: Settings, environment: Environment) -> Screen:
    """The screen for a conversation. With `--plain`, as for screen readers, nothing is redrawn."""
    verbose, quiet = settings.verbose, settings.quiet
    if not renders(settings, environment):
        status = StatusWriter(environment.stderr, verbose=verbose, quiet=quiet, banner=True)
        return PlainView(environment.stdout.buffer, status, raw=False)
    from rtchat.ui.live_view import LiveView

    return LiveView(*consoles(settings, environment), banner=True, verbose=verbose, quiet=quiet)


def terminal_of(
    settings: Settings, environment: Environment, meters: Meters | None = None
) -> tuple[View, Source]:
    """A view and a source with a prompt; `meters` show the audio levels of a voice conversation.
    Importing them takes longer than connecting, so both happen at the same time."""
    deferred = _DeferredView(status_writer_of(settings, environment))

    async def run(post: Post) -> None:
        await asyncio.to_thread(import_module, "rtchat.ui.terminal")
        from rtchat.app.saved_conversations import SavedConversations
        from rtchat.inputs import attachments
        from rtchat.ui.clipboard import Clipboard
        from rtchat.ui.live_view import preload
        from rtchat.ui.prompt import Prompt
        from rtchat.ui.terminal import Terminal

        colors = has_colors(settings, environment, is_terminal=True)
        prompt = Prompt(
            environment.state_dir / "input_history",
            color=colors,
            meters=meters,
            paints_meter=renders(settings, environment),
            stdout=environment.stdout,
        )
        clipboard = Clipboard(environment.stdout, environment.environ)
        view, detail = screen_of(settings, environment), settings.image_detail
        conversations = SavedConversations(
            environment,
            is_kept=settings.history,
            renders=renders(settings, environment),
            color=colors,
        )
        terminal = Terminal(view, prompt, clipboard, attachments, detail, conversations)
        deferred.set_view(terminal)
        if renders(settings, environment):
            await asyncio.gather(terminal.run(post), asyncio.to_thread(preload))
        else:
            await terminal.run(post)

    return deferred, run
