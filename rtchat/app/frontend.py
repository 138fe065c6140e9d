"""Chooses the view and the source of keyboard input for the settings and streams."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, TextIO

from rtchat.app.environment import Environment, OutputFormat
from rtchat.config.settings import Settings
from rtchat.core.ports import View
from rtchat.ui.plain_view import PlainView, StatusWriter

if TYPE_CHECKING:
    from rtchat.markdown.theme import StyleSheet
    from rtchat.ui.console import ThemedConsole
    from rtchat.ui.live_view import LiveView
    from rtchat.ui.panel import LivePanel


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
        return environment.stdout_is_terminal and environment.can_repaint
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
    return is_terminal and environment.can_repaint


def style_sheet(settings: Settings, environment: Environment) -> StyleSheet:
    """The style sheet of the settings. The terminal is not asked for its background."""
    from rtchat.markdown.theme import StyleSheet
    from rtchat.ui.background import hinted_background

    return StyleSheet(settings.theme, settings.styles, hinted_background(environment.environ))


def consoles(settings: Settings, environment: Environment) -> tuple[ThemedConsole, ThemedConsole]:
    """The consoles for stdout and stderr, with the same style sheet."""
    from rtchat.ui.console import make_console

    styles = style_sheet(settings, environment)

    def console(file: TextIO, is_terminal: bool) -> ThemedConsole:
        colors = has_colors(settings, environment, is_terminal)
        return make_console(
            file, environment.environ, is_terminal=is_terminal, colors=colors, styles=styles
        )

    err = environment.stderr or StringIO()  # stderr is closed
    return (
        console(environment.stdout, environment.stdout_is_terminal),
        console(err, environment.stderr_is_terminal),
    )


def screen_of(
    settings: Settings, environment: Environment, panel: LivePanel | None = None
) -> LiveView:
    """The view of a conversation on a terminal. With `--plain`, Markdown is not rendered."""
    from rtchat.ui.live_view import LiveView

    out, err = consoles(settings, environment)
    if panel is not None:
        err.styles = panel.console.styles
    return LiveView(
        out,
        err,
        panel=panel,
        banner=True,
        plain=not renders(settings, environment),
        verbose=settings.verbose,
        quiet=settings.quiet,
    )
