"""The program in tmux, which redraws the screen when a window changes its size.

Skipped if tmux is not installed.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from time import monotonic

import pytest

from rtchat.core.effects import QuestionAsked, ReplyOver, TextArrived
from rtchat.core.values import Status
from rtchat.ui.console import ThemedConsole
from rtchat.ui.live_view import LiveView
from tests.program import PATIENCE
from tests.reflow import ReflowingScreen
from tests.screen import Screen
from tests.test_resize import Conversation, history

WORDS = [f"w{number}" for number in range(400)]
TEXT = "".join(
    f"- item {' '.join(WORDS[start : start + 10])}\n" if start % 40 else f"{WORDS[start]} head\n\n"
    for start in range(0, 400, 10)
)
_SIZES = [(70, 24), (34, 20), (90, 12), (50, 30), (80, 24)]


class Tmux:
    """A server of its own with one window."""

    def __init__(self, folder: Path) -> None:
        self._name = f"rtchat-{uuid.uuid4().hex[:8]}"
        self._folder = folder

    def __call__(self, *arguments: str) -> str:
        environ = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        command = ["tmux", "-L", self._name, "-f", "/dev/null", *arguments]
        environ["TMUX_TMPDIR"] = str(self._folder)
        done = subprocess.run(
            command,
            env=environ | {"TMUX_TMPDIR": str(self._folder)},
            capture_output=True,
            text=True,
        )
        return done.stdout

    def says(self, text: str, *arguments: str) -> str:
        """Ask until this is in the answer."""
        until = monotonic() + PATIENCE
        while text not in (said := self(*arguments)):
            assert monotonic() < until, f"no {text!r} in {said}"
            select.select([], [], [], 0.05)
        return said


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    if which("tmux") is None:
        pytest.skip("tmux is not installed")
    tmux = Tmux(tmp_path)
    yield tmux
    tmux("kill-server")


@pytest.mark.parametrize("times", [1, 4])
def test_a_window_of_changing_size_keeps_each_word_once(
    tmux: Tmux, tmp_path: Path, times: int
) -> None:
    pipe = tmp_path / "go"
    os.mkfifo(pipe)
    program = f"{sys.executable} -m tests.test_tmux {pipe}; read x"
    root = str(Path(__file__).parents[1])
    tmux("new-session", "-d", "-x", "80", "-y", "24", "-c", root, program)
    tmux("set-option", "-g", "history-limit", "100000")
    width = 80
    with pipe.open("w") as go:
        for step in range(40):
            if step % 9 == 4 and step // 9 < times:
                tmux.says(f"drawn {step - 1}\n", "display-message", "-p", "#{pane_title}")
                width, height = _SIZES[step // 9]
                tmux("resize-window", "-x", str(width), "-y", str(height))
            go.write(f"{width}\n")
            go.flush()
    shown = tmux.says("the-end", "capture-pane", "-p", "-J", "-S", "-")
    assert [word for word in shown.split() if word in WORDS] == TEXT_WORDS
    assert not {"╭", "╰", "│"} & {*shown}


_SEEDS = [3, 4, *(pytest.param(seed, marks=pytest.mark.full) for seed in (6, 8, 9, 10))]


@pytest.mark.parametrize("seed", _SEEDS)
def test_the_emulator_wraps_rows_as_tmux_does(tmux: Tmux, tmp_path: Path, seed: int) -> None:
    """In other histories (0, 1, 2, 5 and 7), a row had become shorter: tmux also wraps the cells
    that were erased, and the emulator does not."""
    pipe = tmp_path / "bytes"
    os.mkfifo(pipe)
    tmux("new-session", "-d", f"cat {pipe}; read x")
    screens: list[ReflowingScreen] = []

    def screen_of(width: int, height: int) -> Screen:
        tmux("resize-window", "-x", str(width), "-y", str(height))
        screens.append(ReflowingScreen(width, height))
        return screens[0]

    steps = 0

    def watch(_: Conversation, size: tuple[int, int] | None) -> None:
        """tmux draws what was written since the last call, before it changes its size."""
        nonlocal steps
        steps += 1
        writer.write(f"{screens[0].take()}\x1b]2;drawn {steps}\x1b\\")
        writer.flush()
        tmux.says(f"drawn {steps}\n", "display-message", "-p", "#{pane_title}")
        if size is not None:
            tmux("resize-window", "-x", str(size[0]), "-y", str(size[1]))
        shown = tmux("capture-pane", "-p", "-S", "-").rstrip().split("\n")
        assert [row.rstrip() for row in shown] == Screen.rows(screens[0])

    with pipe.open("w") as writer:
        history(seed, screen_of, reflows=True, has_entry=True, narrow=False, watch=watch)


TEXT_WORDS = [word for word in TEXT.split() if word in WORDS]


def _stream(pipe: Path) -> None:
    """The other end: a piece of the text for each width that comes, once the terminal has it.

    The title of the window says which was the last that the terminal has drawn.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
    console = ThemedConsole(force_terminal=True, legacy_windows=False)
    view = LiveView(console, console)
    view.show(QuestionAsked("?", "model"))
    size = -(-len(TEXT) // 40)
    with pipe.open() as go:
        for step, start in enumerate(range(0, len(TEXT), size)):
            width = int(go.readline())
            while console.width != width:
                signal.sigwait({signal.SIGWINCH})
            view.show(TextArrived(TEXT[start : start + size]))
            view.tick()
            console.set_window_title(f"drawn {step}")
    view.show(ReplyOver(Status.COMPLETED, TEXT, "model"))
    console.print("the-end")


if __name__ == "__main__":
    _stream(Path(sys.argv[1]))
