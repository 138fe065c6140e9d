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


def test_it_is_shown_between_lines_of_text_only() -> None:
    out, err = BytesIO(), StringIO()
    now = 0.0
    microphone = _Microphone()
    microphone.is_open = True
    text = transcript_view("txt", out, StatusWriter(err), is_terminal=True)
    view = ProgressView(text, MicrophoneLine(microphone), err, lambda: now)

    def drawn() -> bool:
        nonlocal now
        before = err.tell()
        now += INTERVAL
        microphone.level = 1.0 - microphone.level
        view.tick()
        return "Ctrl-C ends" in err.getvalue()[before:]

    view.show(Ready("w", 0.1))
    assert drawn()
    view.show(PartialTranscript("Good "))
    assert not drawn()
    view.show(TextArrived("Good day."))
    view.show(PartialTranscript(""))
    assert not drawn()
    view.show(TextArrived("\n"))
    assert drawn()
    view.close()
    assert err.getvalue().endswith("\r\x1b[K")
