"""Chooses the view and the source of keyboard input for the settings and streams."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import termios
from collections.abc import Iterator, Mapping
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

    from rtchat.ui.live_view import LiveView
    from rtchat.ui.meter import Meters
    from rtchat.ui.panel import LivePanel


_REFLOWING = (
    *("TMUX", "VTE_VERSION", "KITTY_WINDOW_ID", "ITERM_SESSION_ID", "WT_SESSION"),
    *("WEZTERM_PANE", "GHOSTTY_RESOURCES_DIR", "ALACRITTY_WINDOW_ID", "KONSOLE_VERSION"),
)
"""The variables that are set by terminals which wrap rows again."""


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


def _colors(settings: Settings, environment: Environment, is_terminal: bool) -> bool:
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
        colors = _colors(settings, environment, is_terminal)
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


def _can_repaint(environment: Environment) -> bool:
    """Whether the terminal can move its cursor."""
    return environment.environ.get("TERM") != "dumb"


@contextmanager
def unechoed(environment: Environment) -> Iterator[str]:
    """Turn off the terminal's echo and its line editing, and return what was typed before.

    Input that is not read yet is not shown then, such as `^C`, and keys pressed before there is a
    prompt arrive as they were pressed.
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
            return os.read(terminal, waiting).decode(errors="replace").replace("\n", "\r")
    return ""


def screen_of(
    settings: Settings, environment: Environment, panel: LivePanel | None = None
) -> LiveView:
    """The view of a conversation on a terminal. With `--plain`, Markdown is not rendered."""
    from rtchat.ui.live_view import LiveView

    return LiveView(
        *consoles(settings, environment),
        panel=panel,
        banner=True,
        plain=not renders(settings, environment),
        verbose=settings.verbose,
        quiet=settings.quiet,
    )


def _reflows(environ: Mapping[str, str]) -> bool:
    """Whether the terminal wraps rows again when its width changes, as far as that is known."""
    return any(environ.get(name) for name in _REFLOWING)


def terminal_of(
    settings: Settings, environment: Environment, meters: Meters | None, typeahead: str
) -> tuple[View, Source]:
    """A view and a source with a prompt; `meters` show the audio levels of a voice conversation,
    and `typeahead` was typed before.

    Importing them takes longer than connecting, so both happen at the same time."""
    deferred = _DeferredView(status_writer_of(settings, environment))

    async def run(post: Post) -> None:
        await asyncio.to_thread(import_module, "rtchat.ui.terminal")
        from rtchat.inputs import attachments
        from rtchat.ui.clipboard import Clipboard

        clipboard = Clipboard(environment.stdout, environment.environ)
        if not _can_repaint(environment):
            from rtchat.ui.line_terminal import LineTerminal

            plain = StatusWriter(
                environment.stderr, verbose=settings.verbose, quiet=settings.quiet, banner=True
            )
            lines = LineTerminal(
                PlainView(environment.stdout.buffer, plain, raw=False),
                environment.stdin or 0,
                environment.stdout,
                clipboard,
                attachments,
                settings.image_detail,
            )
            deferred.set_view(lines)
            await lines.run(post)
            return
        from rtchat.ui.live_view import preload
        from rtchat.ui.panel import LivePanel
        from rtchat.ui.prompt import Prompt
        from rtchat.ui.terminal import Terminal

        console, _ = consoles(settings, environment)
        panel = LivePanel(console, reflows=_reflows(environment.environ))
        prompt = Prompt(
            panel,
            environment.state_dir / "input_history",
            meters=meters,
            paints_meter=renders(settings, environment),
            stdout=environment.stdout,
        )
        view = screen_of(settings, environment, panel)
        prompt.type_ahead(typeahead)
        terminal = Terminal(view, prompt, clipboard, attachments, settings.image_detail)
        deferred.set_view(terminal)
        if renders(settings, environment):
            await asyncio.gather(terminal.run(post), asyncio.to_thread(preload))
        else:
            await terminal.run(post)

    return deferred, run
