"""The panel while a reply is pending: a frame with the model, the time, and the end of the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from rtchat.core.effects import MicrophoneStatus
from rtchat.core.text import visible
from rtchat.markdown import theme
from rtchat.ui import messages

if TYPE_CHECKING:
    from rich.panel import Panel

_BOX = Box("╭─  \n│   \n    \n│   \n    \n    \n│   \n╰─  \n")
"""A box without a right border."""


class Stream(Protocol):
    """Renders one text that arrives in deltas, as `markdown.render.MarkdownStream` does."""

    def add(self, delta: str, width: int) -> None:
        """Add text."""

    @property
    def code_blocks(self) -> int | None:
        """The number of code blocks of the reply so far; None if they are not numbered."""

    @property
    def is_full(self) -> bool:
        """Whether enough lines are final that they should be printed now."""

    def settled(self, width: int) -> list[Text] | None:
        """The lines that became final since the last call; None if there was no new text."""

    def finish(self, width: int) -> list[Text]:
        """End the text. Returns all remaining lines."""

    def preview(self, width: int, rows: int) -> list[Text]:
        """The last `rows` rows of the text that is not final yet, none wider than `width`."""


class ReplyFrame:
    """What is known about the pending reply. `now` returns seconds. With `is_plain`, no frame is
    drawn."""

    def __init__(self, now: Callable[[], float], *, is_plain: bool) -> None:
        self._now = now
        self._is_plain = is_plain
        self.model = ""
        self.status = "connecting…"
        """What is shown until there is text."""
        self.microphone: MicrophoneStatus | None = None
        self.deltas = 0
        """How many deltas of the reply have arrived."""
        self._asked_at = 0.0
        self._first_at: float | None = None
        """When the first text arrived."""
        self._drawn: tuple[str, int] | None = None
        """The title and the width that were drawn last."""

    def begin(self) -> None:
        """The time of the reply starts now."""
        self._asked_at = self._now()

    def text_began(self) -> bool:
        """Text has arrived. Returns whether it is the first."""
        is_first = self._first_at is None
        if is_first:
            self._first_at = self._now()
        return is_first

    def reset(self) -> None:
        """The reply is over."""
        self._first_at, self.deltas = None, 0

    def forget(self) -> None:
        """The frame was removed from the screen."""
        self._drawn = None

    def is_outdated(self, width: int) -> bool:
        """Whether the title or the width has changed since the frame was drawn."""
        return self._drawn != (self._title(), width)

    def draw(self, stream: Stream | None, width: int, height: int) -> RenderableType:
        """The frame with the last rows of the text that may still change, or with the status."""
        title = self._title()
        self._drawn = title, width
        is_framed = height >= 4 and not self._is_plain
        columns, rows = (width - 3, height - 3) if is_framed else (width - 1, height - 1)
        body = self._body(stream, max(columns, 1), max(rows, 1))
        return self._framed(body, title, width) if is_framed else Group(*body)

    def _title(self) -> str:
        """What follows the model at the top of the frame: `1.2 s · ~84 tok/s`."""
        now = self._now()
        title = f"{now - self._asked_at:.1f} s"
        if self._first_at is None or self.deltas < 2 or now <= self._first_at:
            return title
        return f"{title} · ~{self.deltas / (now - self._first_at):.0f} tok/s"

    def _body(self, stream: Stream | None, width: int, height: int) -> list[Text]:
        from rtchat.ui.panel import fold

        body = stream.preview(width, height) if stream else [Text(self.status, theme.DIM)]
        return [row for line in body for row in fold(line, width)][-height:]

    def _framed(self, body: list[Text], title: str, width: int) -> RenderableType:
        from rich.panel import Panel

        heading = Text(visible(self.model), theme.ACCENT)
        if heading.cell_len + len(title) < width - 6:
            heading.append(" ─ ", theme.FRAME).append(title, theme.DIM)
        return _OpenPanel(
            Panel(
                Text("\n", no_wrap=True, overflow="ignore").join(body),
                box=_BOX,
                border_style=theme.FRAME,
                padding=(0, 0, 0, 1),
                title=heading,
                title_align="left",
                subtitle=Text(self._footer(width - 6), theme.DIM),
                subtitle_align="left",
            )
        )

    def _footer(self, width: int) -> str:
        """What stops the reply, in the shortest form if there is no room."""
        footer = messages.stop_keys(self.microphone)
        return footer if len(footer) <= width else messages.stop_keys(None)


class _OpenPanel:
    """A panel without what is right of its text: if the window becomes narrower, the terminal wraps
    only the rows whose text no longer fits."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the rows of the panel."""
        rows = console.render_lines(self._panel, options)
        for row in rows:
            fill = " ─" if row in (rows[0], rows[-1]) else " "
            text = "".join(part.text for part in row).rstrip(fill)
            yield from Segment.adjust_line_length(row, cell_len(text), pad=False)
            yield Segment.line()
