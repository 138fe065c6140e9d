"""Rich consoles for everything that the program shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from rtchat.core.text import TAB
from rtchat.markdown.links import LinkingConsole, supports_links
from rtchat.markdown.theme import StyleSheet, needs_more_colors


class ThemedConsole(Console):
    """A console that draws all styles by a style sheet, which can change at any time."""

    def __init__(self, *, styles: StyleSheet | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.styles = styles or StyleSheet()

    def get_style(self, name: str | Style, *, default: Style | str | None = None) -> Style:
        """The style with this name or definition, by the style sheet."""
        if isinstance(name, str):
            name = self.styles.definition(name)
        return super().get_style(name, default=default)


class ThemedLinkingConsole(ThemedConsole, LinkingConsole):
    """A themed console on a terminal that supports links."""


def make_console(
    out: TextIO,
    environ: Mapping[str, str],
    *,
    is_terminal: bool,
    colors: bool,
    styles: StyleSheet | None = None,
) -> ThemedConsole:
    """A console on a stream.

    It uses the 16 colours of the terminal's own palette, which are legible on any background,
    unless the user's styles have others. Without colours, a terminal still shows bold and
    underlined text.
    """
    styled = colors or (is_terminal and environ.get("TERM") != "dumb")
    kind = ThemedLinkingConsole if is_terminal and supports_links(environ) else ThemedConsole
    return kind(
        styles=styles,
        file=out,
        force_terminal=is_terminal,
        color_system=_color_system(styles or StyleSheet(), environ) if styled else None,
        no_color=not colors,
        legacy_windows=False,
    )


class TabbedText:
    """A text that is printed with its tabs, which Rich would replace by spaces."""

    def __init__(self, text: Text) -> None:
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the segments of the text, and a newline."""
        shown = self.text
        if console.is_terminal:
            lines = shown.split("\n", allow_blank=True)
            shown = Text("\n").join(
                _without_tabs_past_margin(line, console.width) for line in lines
            )
        yield from shown.render(console, end="\n")


def _without_tabs_past_margin(line: Text, width: int) -> Text:
    """The line, in which spaces replace the tabs that lead past the right margin: after such a tab,
    a terminal would overwrite the last character."""
    first, *parts = line.split("\t", allow_blank=True)
    column = first.cell_len
    shown = first
    for part in parts:
        stop = (column // TAB + 1) * TAB
        shown.append("\t" if stop < width else " " * (stop - column))
        shown.append_text(part)
        column = stop + part.cell_len
    return shown


def _color_system(
    styles: StyleSheet, environ: Mapping[str, str]
) -> Literal["standard", "256", "truecolor"]:
    """As many colours as the styles need and the terminal has."""
    if not needs_more_colors(styles.overrides):
        return "standard"
    if environ.get("COLORTERM") in ("truecolor", "24bit"):
        return "truecolor"
    return "256" if "256color" in environ.get("TERM", "") else "standard"


def print_text(console: Console, text: Text, *, soft_wrap: bool = True) -> None:
    """Print text unchanged: Rich interprets nothing in it. With `soft_wrap`, the terminal wraps
    its lines, and tabs are kept unless the terminal is dumb."""
    keeps_tabs = soft_wrap and "\t" in text.plain and not console.is_dumb_terminal
    shown = TabbedText(text) if keeps_tabs else text
    console.print(shown, soft_wrap=soft_wrap, markup=False, highlight=False, emoji=False)
