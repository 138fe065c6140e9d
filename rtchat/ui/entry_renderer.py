"""Draws a prompt-toolkit layout as the entry of a `LivePanel`.

prompt-toolkit's own renderer assumes that nothing else is painted. With this one, the layout and
the content above it are one painting: text is printed above both, and only cells that changed are
written. It does not ask the terminal for the position of its cursor, except to learn that
everything written before was shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from itertools import groupby
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.data_structures import Size
from prompt_toolkit.layout import Layout, Window
from prompt_toolkit.layout.mouse_handlers import MouseHandlers
from prompt_toolkit.layout.screen import Char, Screen, WritePosition
from prompt_toolkit.output import Output
from prompt_toolkit.renderer import Renderer
from prompt_toolkit.styles import BaseStyle
from rich.segment import Segment
from rich.style import Style

from rtchat.core.text import hidden_characters
from rtchat.ui.panel import BEGIN_UPDATE, LivePanel, Row

Char.display_mappings.update(hidden_characters())  # prompt_toolkit's own are only the controls


class EntryRenderer(Renderer):
    """Draws on a panel instead of the terminal; `output` is for the modes of the terminal."""

    def __init__(self, panel: LivePanel, style: BaseStyle, output: Output) -> None:
        super().__init__(style, output)
        self._panel = panel
        self._size: Size | None = None
        self._waits: list[asyncio.Future[None]] = []
        self.on_resize: Callable[[], None] = lambda: None
        """Called when the size of the terminal has changed; the content is to be painted again."""

        @cache
        def rich_style(classes: str, sheet: object) -> Style:
            return _rich_style(style, classes)

        self._rich_style = rich_style

    def render(self, app: Application[Any], layout: Layout, is_done: bool = False) -> None:
        """Draw the layout. If the application is done, remove it from the screen."""
        if is_done:
            self.erase()
            return
        if not self._bracketed_paste_enabled:
            self.output.enable_bracketed_paste()
            self._bracketed_paste_enabled = True
        size = self.output.get_size()
        height = layout.container.preferred_height(size.columns, size.rows).preferred
        height = min(height, size.rows)
        screen, mouse = Screen(), MouseHandlers()
        position = WritePosition(xpos=0, ypos=0, width=size.columns, height=height)
        layout.container.write_to_screen(screen, mouse, position, "", erase_bg=False, z_index=None)
        screen.draw_all_floats()
        self._last_screen, self._last_size, self.mouse_handlers = screen, size, mouse
        layout.visible_windows = screen.visible_windows
        shape = app.cursor.get_cursor_shape(app)
        if shape != self._last_cursor_shape:
            self.output.set_cursor_shape(shape)
            self._last_cursor_shape = shape
        self.output.flush()
        cursor = screen.get_cursor_position(layout.current_window)
        rows = [self._row(screen, y, size.columns) for y in range(height)]
        before, self._size = self._size, size
        self._panel.paint_entry(rows, (cursor.y, min(cursor.x, size.columns - 1)))
        if before not in (None, size):
            self.on_resize()

    def render_window(self, app: Application[Any], window: Window) -> None:
        """Draw one window again, which takes as many rows as in the last `render`."""
        if self._last_screen is None or self._size != self.output.get_size():
            return  # `render` is called soon
        position = self._last_screen.visible_windows_to_write_positions.get(window)
        if position is None:
            return
        app.render_counter += 1  # what is cached for the last rendering is not used again
        screen = Screen()
        window.write_to_screen(screen, MouseHandlers(), position, "", False, None)
        end = position.ypos + position.height
        rows = [self._row(screen, y, self._size.columns) for y in range(position.ypos, end)]
        self._panel.paint_rows(position.ypos, rows)

    def _row(self, screen: Screen, y: int, width: int) -> Row:
        cells = screen.data_buffer[y]
        end = max((x for x, cell in cells.items() if x < width and _is_drawn(cell)), default=-1) + 1
        runs = groupby((cells[x] for x in range(end)), key=lambda cell: cell.style)
        sheet = self.style.invalidation_hash()  # changes with the theme
        return [
            Segment("".join(cell.char for cell in run), self._rich_style(style, sheet))
            for style, run in runs
        ]

    def erase(self, leave_alternate_screen: bool = True) -> None:
        """Remove all rows from the screen, until the next `render`."""
        if not leave_alternate_screen:
            return  # the size has changed: `render` is called next, and the rows need not be absent
        self._panel.erase()
        self.reset()

    def clear(self) -> None:
        """Clear the screen, and show that together with the next `render`."""
        self.output.write_raw(BEGIN_UPDATE)
        self.output.erase_screen()
        self.output.cursor_goto(0, 0)
        self.output.flush()
        self._panel.forget()

    @property
    def height_is_known(self) -> bool:
        """Whether the layout may use the rows down to the bottom of the screen."""
        return True

    def request_absolute_cursor_position(self) -> None:
        """Do nothing: the panel needs no position."""

    async def shown(self, seconds: float) -> None:
        """Wait until the terminal has shown what was written so far: then it answers the request
        for the position of the cursor. It may never answer, so the wait is at most `seconds`."""
        if not self.output.responds_to_cpr:
            return
        wait = asyncio.get_running_loop().create_future()
        self._waits.append(wait)
        self.output.ask_for_cpr()
        self.output.flush()
        await asyncio.wait((wait,), timeout=seconds)

    def report_absolute_cursor_row(self, row: int) -> None:
        """The terminal has shown everything."""
        for wait in self._waits:
            if not wait.done():
                wait.set_result(None)
        self._waits.clear()


def _is_drawn(cell: Char) -> bool:
    return cell.char not in (" ", "") or "reverse" in cell.style or "selected" in cell.style


def _rich_style(style: BaseStyle, classes: str) -> Style:
    """The style that a style sheet of prompt-toolkit gives these classes."""
    attrs = style.get_attrs_for_style_str(classes)
    return Style(
        color=_color(attrs.color),
        bgcolor=_color(attrs.bgcolor),
        bold=attrs.bold or None,
        dim=getattr(attrs, "dim", None) or None,  # newer versions of prompt-toolkit have it
        italic=attrs.italic or None,
        underline=attrs.underline or None,
        strike=attrs.strike or None,
        reverse=attrs.reverse or None,
    )


def _color(name: str | None) -> str | None:
    """`ansibrightblack` is `bright_black`, and `a0b0c0` is `#a0b0c0`."""
    if not name or name in ("default", "ansidefault"):
        return None
    if not name.startswith("ansi"):
        return f"#{name}"
    name = {"ansigray": "ansiwhite", "ansiwhite": "ansibrightwhite"}.get(name, name)
    return name.removeprefix("ansi").replace("bright", "bright_")
