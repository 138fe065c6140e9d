"""The line about the microphone while it is transcribed."""

from __future__ import annotations

from io import BytesIO, StringIO

from rtchat.core.effects import (
    Connecting,
    InputStopped,
    PartialTranscript,
    Ready,
    TextArrived,
    Waiting,
)
from rtchat.core.subtitles import TranscriptFormat
from rtchat.ui.microphone_line import MicrophoneLine, PipeLine
from rtchat.ui.plain_view import StatusWriter
from rtchat.ui.progress_view import INTERVAL, ProgressView
from rtchat.ui.transcript_formats import transcript_view


class _Microphone:
    level = 0.0
    is_open = False


def test_it_says_whether_the_microphone_is_heard_and_how_to_end() -> None:
    microphone = _Microphone()
    line = MicrophoneLine(microphone)
    assert line.line.startswith("○ opening")
    microphone.is_open = True
    line.note(Connecting("w"))
    assert "until connected" in line.line
    line.note(Ready("w", 0.1))
    assert line.line == "● listening ▁▁▁▁ · Ctrl-C ends"
    microphone.level = 1.0
    assert line.line == "● listening ▁▁▁█ · Ctrl-C ends"
    line.note(Waiting("gone", 0.5))
    assert "until connected" in line.line
    line.note(TextArrived("Hi"))
    assert "Ctrl-C ends" in line.line
    line.note(InputStopped())
    line.note(Ready("w", 0.1))
    assert "last words" in line.line
    assert "Ctrl-C ends" not in line.line


def test_a_pipe_has_a_line_once_the_user_ends_it() -> None:
    line = PipeLine()
    for update in (Connecting("w"), Ready("w", 0.1), TextArrived("Hi")):
        line.note(update)
        assert line.line == ""
    line.note(InputStopped())
    line.note(TextArrived("there"))
    assert "Ctrl-C stops" in line.line


class _Shown:
    """The line below a transcript on a terminal; `has_text` is whether the transcript is text."""

    def __init__(self, *, has_text: bool) -> None:
        self.out, self.err = BytesIO(), StringIO()
        self._now = 0.0
        self._microphone = _Microphone()
        self._microphone.is_open = True
        format: TranscriptFormat = "txt" if has_text else "srt"
        view = transcript_view(format, self.out, StatusWriter(self.err), is_terminal=True)
        line = MicrophoneLine(self._microphone)
        self.view = ProgressView(view, line, self.err, lambda: self._now, has_text=has_text)

    def draws(self) -> bool:
        """Whether the line is drawn when the level changes."""
        before = self.err.tell()
        self._now += INTERVAL
        self._microphone.level = 1.0 - self._microphone.level
        self.view.tick()
        return "Ctrl-C ends" in self.err.getvalue()[before:]


def test_it_is_shown_between_lines_of_text_only() -> None:
    shown = _Shown(has_text=True)
    shown.view.show(Ready("w", 0.1))
    assert shown.draws()
    shown.view.show(PartialTranscript("Good "))
    assert not shown.draws()
    shown.view.show(TextArrived("Good day."))
    shown.view.show(PartialTranscript(""))
    assert not shown.draws()
    shown.view.show(TextArrived("\n"))
    assert shown.draws()
    shown.view.close()
    assert shown.err.getvalue().endswith("\r\x1b[K")


def test_it_stays_during_speech_whose_words_are_not_shown() -> None:
    shown = _Shown(has_text=False)
    for update in (Ready("w", 0.1), PartialTranscript("Good "), TextArrived("Good day.")):
        shown.view.show(update)
        assert shown.draws()
        shown.view.show(update)
        assert shown.err.getvalue().endswith("Ctrl-C ends"), "it is drawn again at once"
    assert shown.out.getvalue() == b""
