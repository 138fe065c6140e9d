"""Rich consoles for everything that the program shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from rtchat.core.text import TAB
from rtchat.core.values import ThemeName
from rtchat.markdown.links import LinkingConsole, supports_links
from rtchat.markdown.theme import in_theme


class ThemedConsole(Console):
    """A console that draws all styles in a theme, which can be changed at any time."""

    theme: ThemeName = "auto"

    def get_style(self, name: str | Style, *, default: Style | str | None = None) -> Style:
        """The style with this definition, in the theme."""
        if isinstance(name, str) and self.theme != "auto":
            name = in_theme(name, self.theme)
        return super().get_style(name, default=default)


class _ThemedLinkingConsole(ThemedConsole, LinkingConsole):
    pass


def make_console(
    out: TextIO, environ: Mapping[str, str], *, is_terminal: bool, colors: bool
) -> ThemedConsole:
    """A console on a stream.

    It uses the 16 colours of the terminal's own palette, which are legible on any background.
    Without colours, a terminal still shows bold and underlined text.
    """
    styled = colors or (is_terminal and environ.get("TERM") != "dumb")
    kind = _ThemedLinkingConsole if is_terminal and supports_links(environ) else ThemedConsole
    return kind(
        file=out,
        force_terminal=is_terminal,
        color_system="standard" if styled else None,
        no_color=not colors,
        legacy_windows=False,
    )


class WithTabs:
    """Text that is printed with its tabs, which Rich would replace by spaces."""

    def __init__(self, text: Text) -> None:
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the segments of the text, and a newline."""
        shown = self.text
        if console.is_terminal:
            lines = shown.split("\n", allow_blank=True)
            shown = Text("\n").join(_within(line, console.width) for line in lines)
        yield from shown.render(console, end="\n")


def _within(line: Text, width: int) -> Text:
    """The line, with spaces for the tabs that lead past the right margin: there a terminal stops,
    and writes over the last character."""
    first, *parts = line.split("\t", allow_blank=True)
    column = first.cell_len
    shown = first
    for part in parts:
        stop = (column // TAB + 1) * TAB
        shown.append("\t" if stop < width else " " * (stop - column))
        shown.append_text(part)
        column = stop + part.cell_len
    return shown


def print_text(console: Console, text: Text, *, soft_wrap: bool = True) -> None:
    """Print text unchanged: Rich interprets nothing in it. With `soft_wrap`, the terminal wraps
    its lines, and tabs are kept unless the terminal is dumb."""
    keeps_tabs = soft_wrap and "\t" in text.plain and not console.is_dumb_terminal
    shown = WithTabs(text) if keeps_tabs else text
    console.print(shown, soft_wrap=soft_wrap, markup=False, highlight=False, emoji=False)
