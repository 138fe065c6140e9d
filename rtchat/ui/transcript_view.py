"""The view of a transcription on a terminal."""

from __future__ import annotations

import shutil
from typing import BinaryIO

from rtchat.core import effects as fx
from rtchat.core.ports import View
from rtchat.ui.last_row import last_row
from rtchat.ui.plain_view import PlainView, StatusWriter

_ERASE = b"\r\x1b[K"


class TranscriptView(View):
    """Final transcripts as lines, and below them the words recognised so far, which are erased when
    their final transcript arrives. They take one row: the end of a longer text is shown."""

    def __init__(self, out: BinaryIO, status: StatusWriter) -> None:
        self._out = out
        self._plain = PlainView(out, status, raw=False)
        self._partial = ""
        self._is_drawn = False

    def show(self, update: fx.Update) -> None:
        """Show an update."""
        self.close()
        if isinstance(update, fx.PartialTranscript):
            width = max(2, shutil.get_terminal_size().columns) - 1
            self._partial = last_row(update.text, width)
        else:
            self._plain.show(update)
        if self._partial and self._plain.is_at_line_start:
            self._write(self._partial.encode())
            self._is_drawn = True

    def close(self) -> None:
        """Erase what is not final."""
        if self._is_drawn:
            self._write(_ERASE)
            self._is_drawn = False

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self._out.flush()
