"""A terminal that never scrolls anything away, for tests that judge what a person would see.

Not here: a pty, or what anything should look like.
"""

from __future__ import annotations

import io

import pyte
from rich.console import Console


class Screen:
    """A Rich console whose output a terminal emulator reads."""

    def __init__(self, width: int = 60, height: int = 20) -> None:
        self._pyte = pyte.HistoryScreen(width, height, history=100_000, ratio=0.5)
        self._pyte.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self._pyte)
        self._file = io.StringIO()
        self.written = 0
        """How many bytes went to the terminal."""
        self.console = Console(
            file=self._file,
            force_terminal=True,
            color_system="standard",
            legacy_windows=False,
            width=width,
            height=height,
            _environ={},
        )

    def resize(self, width: int, height: int) -> None:
        """Make the window another size."""
        self._pyte.resize(height, width)
        self.console.size = (width, height)

    def rows(self) -> list[str]:
        """Everything from the first line ever written, without the empty rows at the end."""
        self._read()
        width = self._pyte.columns
        history = [
            "".join(row[column].data for column in range(width)) for row in self._pyte.history.top
        ]
        rows = [row.rstrip() for row in (*history, *self._pyte.display)]
        while rows and not rows[-1]:
            del rows[-1]
        return rows

    def visible(self) -> list[str]:
        """What is on the screen now, without the empty rows at the end."""
        self._read()
        rows = [row.rstrip() for row in self._pyte.display]
        while rows and not rows[-1]:
            del rows[-1]
        return rows

    def _read(self) -> None:
        output = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        self.written += len(output.encode())
        self._stream.feed(output)
