"""A few screens, stored as text in `screens/`: read them to see what rtchat shows.

`RTCHAT_UPDATE_SCREENS=1` rewrites the files; review the difference.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rtchat.core.effects import (
    Connecting,
    Notice,
    QuestionAsked,
    Ready,
    ReplyOver,
    TextArrived,
    Timing,
    Waiting,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.values import Status, Usage
from rtchat.ui.live_view import LiveView
from rtchat.ui.plain_view import PlainView, StatusWriter
from tests.documents import ANSWER
from tests.screen import Screen

MODEL = "gpt-realtime-2.1"
USAGE = Usage(57, 16, 142, 199)
OVER = ReplyOver(
    Status.COMPLETED, ANSWER, MODEL, usage=USAGE, timing=Timing(0.31, 0.21, 1.9), response_id="r"
)
WIDE = """\
日本語 mixed with English, 한국어 and emoji: 😀 👩\u200d💻 👍🏽 🇩🇪

| language | word |
|----------|-----:|
| 日本語 | 言葉 |
| עברית | מילה |
| नमस्ते | e\u0301 |

- a\ttab, and a word of no end: """


class Stage:
    """A view of a conversation, with a clock that only the test moves."""

    def __init__(self, width: int = 72, height: int = 20) -> None:
        self.now = 0.0
        self.screen = Screen(width, height)
        console = self.screen.console
        self.view = LiveView(console, console, now=lambda: self.now, banner=True)

    def begin(self) -> None:
        self.view.show(Connecting(MODEL))
        self.view.show(Ready(MODEL, 0.31))
        self.view.show(QuestionAsked("?", MODEL))

    def stream(self, text: str) -> None:
        for word in text.split(" "):
            self.now += 0.02
            self.view.show(TextArrived(word + " "))
        self.view.tick()


def connecting() -> list[str]:
    stage = Stage()
    stage.view.show(Connecting(MODEL))
    stage.view.show_waiting()
    stage.now += 0.7
    stage.view.tick()
    return stage.screen.visible()


def retrying() -> list[str]:
    stage = Stage()
    stage.begin()
    stage.view.show(Waiting("the connection was lost", 2))
    stage.now += 1.2
    stage.view.tick()
    return stage.screen.visible()


def streaming() -> list[str]:
    stage = Stage()
    stage.begin()
    stage.stream(ANSWER[:700])
    return stage.screen.visible()


def done() -> list[str]:
    stage = Stage()
    stage.begin()
    stage.stream(ANSWER)
    stage.view.show(OVER)
    return stage.screen.rows()


def stopped() -> list[str]:
    stage = Stage()
    stage.begin()
    stage.stream("A reply that was never")
    stage.view.show(ReplyOver(Status.CANCELLED, "A reply that was never", MODEL))
    return stage.screen.rows()


def failed() -> list[str]:
    stage = Stage()
    stage.begin()
    stage.view.show(Notice("warning", "a title? \x1b]0;owned\x07"))
    problem = Problem(ExitCode.LIMIT, "the rate limit was reached", "wait a minute")
    stage.view.show(ReplyOver(Status.FAILED, "", MODEL, problem=problem))
    return stage.screen.rows()


def wide() -> list[str]:
    stage = Stage(48, 24)
    stage.begin()
    stage.stream(WIDE + "漢" * 60)
    return stage.screen.visible()


def plain() -> list[str]:
    out = io.BytesIO()
    err = io.TextIOWrapper(out, write_through=True)
    view = PlainView(out, StatusWriter(err, banner=True), raw=False)
    view.show(Ready(MODEL, 0.31))
    view.show(QuestionAsked("?", MODEL))
    view.show(TextArrived("# A title\n\n*Markdown* stays as it is, \x1b[31mred is not red."))
    view.show(OVER)
    return out.getvalue().decode().splitlines()


@pytest.mark.parametrize(
    "draw", [connecting, retrying, streaming, done, stopped, failed, wide, plain]
)
def test_the_screen(draw: Callable[[], list[str]]) -> None:
    file = Path(__file__).parent / "screens" / f"{draw.__name__}.txt"
    shown = "".join(f"{row}\n" for row in draw())
    if os.environ.get("RTCHAT_UPDATE_SCREENS"):
        file.write_text(shown, "utf-8")
    assert shown == file.read_text("utf-8")
