"""Typing while a reply streams: `python tests/bench/latency.py`.

Each program runs on a 120x40 pty of its own. Its server sends 100 deltas of 40 characters a second.
A key is pressed every 50 ms; its latency ends when the terminal emulator has it in the
entry. A second run without keys counts the bytes written to the terminal for each byte of text. In
both, the screen after each synchronised update must show the prompt.
"""

from __future__ import annotations

import json
import os
import pty
import select
import statistics
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, it is in nobody's package

import pyte

from tests.documents import ANSWER

SIZE, CHUNK, DELAY = 40_000, 40, 0.01
COLUMNS, ROWS = 120, 40
KEY_EVERY = 0.05
PROMPT = "› "  # noqa: RUF001 # as at the prompt
KEYS = "abcdefghijklmnopqrstuvwxyz "
END = b"\x1b[?2026l"


@dataclass
class Run:
    """What one run showed. Times are in seconds."""

    latencies: list[float] = field(default_factory=list)
    written: int = 0
    frames: int = 0
    absent: int = 0
    """Frames in which the prompt was not on the screen."""


class Terminal:
    """A pty and the screen that its output makes."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (ROWS, COLUMNS))
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
        )
        os.close(slave)
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self.screen)
        self._unread = b""
        self.run = Run()

    def types(self, text: str) -> None:
        os.write(self._master, text.encode())

    def reads(self, seconds: float) -> bool:
        """Read once, for at most some seconds. Returns whether there was output."""
        ready, _, _ = select.select([self._master], [], [], max(seconds, 0))
        if not ready:
            return False
        data = os.read(self._master, 1 << 16)
        self.run.written += len(data)
        *frames, self._unread = (self._unread + data).split(END)
        for frame in frames:
            self._stream.feed(frame + END)
            self.run.frames += 1
            self.run.absent += not self.entry.startswith(PROMPT.strip())
        return True

    @property
    def entry(self) -> str:
        """The row of the cursor."""
        return str(self.screen.display[self.screen.cursor.y])

    def shows(self, text: str) -> None:
        while not any(text in row for row in self.screen.display):
            assert self.reads(20), f"{text!r} is not on the screen"


def measure(url: str, home: str, *, types: bool) -> Run:
    """One reply, in which keys are pressed if `types`."""
    environ = {**os.environ, "HOME": home, "RTCHAT_URL": url, "TERM": "xterm-256color"}
    terminal = Terminal([sys.executable, "-m", "rtchat", "talk", "--no-env"], environ)
    terminal.shows("connected in")
    terminal.shows(PROMPT.strip())
    terminal.types("go\r")
    terminal.shows("Ctrl-C stops")
    terminal.run = run = Run()
    typed, sent, next_key = "", 0.0, time.perf_counter()
    while not any("first token" in row for row in terminal.screen.display):
        now = time.perf_counter()
        if types and not sent and now >= next_key and len(typed) < COLUMNS - 10:
            typed += KEYS[len(typed) % len(KEYS)]
            terminal.types(typed[-1])
            sent, next_key = now, now + KEY_EVERY
        elif types and not sent and len(typed) >= COLUMNS - 10:
            terminal.types("\x15")  # Ctrl-U
            typed = ""
            next_key = now + KEY_EVERY
        terminal.reads(0.005)
        if sent and terminal.entry.rstrip().endswith(typed.rstrip()):
            run.latencies.append(time.perf_counter() - sent)
            sent = 0.0
    terminal.types("\x15\x04")
    terminal.process.wait(20)
    return run


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def main() -> None:
    text = (ANSWER * (SIZE // len(ANSWER) + 1))[:SIZE]
    with TemporaryDirectory() as home:
        script = Path(home, "script.json")
        rule = {"text": text, "chunk": CHUNK, "delay": DELAY}
        script.write_text(json.dumps({"rule": [rule]}), encoding="utf-8")
        serve = ["serve", "--port", "0", "--engine", f"script:{script}"]
        server = subprocess.Popen(
            [sys.executable, "-m", "rtchat", *serve], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        try:
            url = server.stdout.readline().strip()
            typing, quiet = (measure(url, home, types=types) for types in (True, False))
        finally:
            server.kill()
            server.wait()
    ms = [1000 * each for each in typing.latencies]
    sys.stdout.write(f"keys while a reply streams: {len(ms)}" + "\n")
    sys.stdout.write(f"  median {statistics.median(ms):.1f} ms, p95 {percentile(ms, 95):.1f} ms, ")
    sys.stdout.write(f"p99 {percentile(ms, 99):.1f} ms, max {max(ms):.1f} ms" + "\n")
    sys.stdout.write(
        f"bytes to the terminal for each byte of text: {quiet.written / len(text.encode()):.2f}"
        + "\n"
    )
    frames, absent = typing.frames + quiet.frames, typing.absent + quiet.absent
    sys.stdout.write(f"frames without the prompt: {absent} of {frames}" + "\n")


if __name__ == "__main__":
    main()
