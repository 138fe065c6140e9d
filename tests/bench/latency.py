"""Typing while a reply streams: `python tests/bench/latency.py`.

Each program runs on a 120x40 pty of its own. Its server sends 100 deltas of 40 characters a second.
A key is pressed every 50 ms; its latency ends when the output that shows it is read. The output is
emulated afterwards, so that the emulator does not slow the program down. A second run without keys
counts the bytes written to the terminal for each byte of text. In both, the screen after each
synchronised update must show the prompt.

`codex` and `gemini` (npm's @openai/codex and @google/gemini-cli) are measured beside rtchat, all
three with the server `llmock` (@copilotkit/aimock), if these programs are on the PATH.
"""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import statistics
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, it is in nobody's package

import pyte

from tests import aimock
from tests.bench import peers
from tests.documents import ANSWER
from tests.forking import take_terminal
from tests.program import listening

ROOT = Path(__file__).parents[2]
SIZE, CHUNK, DELAY = 40_000, 40, 0.01
LAST = "EndOfReply"
TEXT = (ANSWER * (SIZE // len(ANSWER) + 1))[:SIZE] + f"\n\n{LAST}\n"
COLUMNS, ROWS = 120, 40
KEY_EVERY, TYPING = 0.05, 9
PAUSE = 0.5
"""Seconds before and after an entry is deleted."""
LONGEST = 80
PROMPT = "›"  # noqa: RUF001 # as at the prompt
KEYS = "abcdefghijklmnopqrstuvwxyz"
END = b"\x1b[?2026l"


@dataclass(frozen=True)
class Program:
    """A program, and what is on the screen when it is ready."""

    name: str
    command: list[str]
    ready: str
    prompt: str = PROMPT
    """How the row of the cursor starts."""


RTCHAT = Program("rtchat", [sys.executable, "-m", "rtchat", "talk", "--no-env"], "connected in")
PEERS = [
    Program("codex", ["codex"], "mock default"),
    Program("gemini", ["gemini", "--model", "gemini-2.5-pro"], "Type your message", ""),
]


@dataclass
class Run:
    """What one run showed. Times are in seconds."""

    pressed: list[tuple[float, str]] = field(default_factory=list)
    """When each key that was not shown yet was pressed, and the entry that it made."""
    latencies: list[float] = field(default_factory=list)
    written: int = 0
    frames: int = 0
    absent: int = 0
    """Frames in which the prompt was not on the screen."""


class Emulator(pyte.Screen):
    """Collects replies to queries, and ignores one that pyte takes for a colour."""

    replies = ""

    def select_graphic_rendition(self, *attributes: int, private: bool = False) -> None:
        if not private:
            super().select_graphic_rendition(*attributes)

    def write_process_input(self, data: str) -> None:
        self.replies += data


class Terminal:
    """A pty with a program, and the screen that its output makes."""

    def __init__(self, program: Program, environ: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (ROWS, COLUMNS))
        self._process = subprocess.Popen(
            program.command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            cwd=environ["HOME"],
            preexec_fn=take_terminal,
        )
        os.close(slave)
        self._screen = Emulator(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._prompt = program.prompt
        self._read: list[tuple[float, bytes]] = []
        self._unread = b""
        self._synchronises = False
        self.run = Run()

    def types(self, text: str) -> None:
        os.write(self._master, text.encode())

    def reads(self, seconds: float) -> bool:
        """Read once, for at most some seconds. Returns whether there was output."""
        ready, _, _ = select.select([self._master], [], [], max(seconds, 0))
        if not ready:
            return False
        data = os.read(self._master, 1 << 16)
        self._read.append((time.perf_counter(), data))
        self.run.written += len(data)
        return True

    def waits(self, seconds: float) -> None:
        """Read for some seconds."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.reads(left)

    def shows(self, text: str) -> None:
        """Wait until a text is on the screen. Replies to queries meanwhile."""
        self._emulates()
        while not any(text in row for row in self._screen.display):
            assert self.reads(20), f"{text!r} is not on the screen"
            self._emulates()
            self.types(self._screen.replies)
            self._screen.replies = ""

    def ends(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._master)

    def _emulates(self) -> None:
        """Emulate what was read. Finds the latencies, and the frames without the prompt."""
        run = self.run
        for when in self._updates():
            rows = self._screen.display
            run.frames += 1
            run.absent += not rows[self._screen.cursor.y].startswith(self._prompt)
            for key in [*run.pressed]:
                pressed, entry = key
                if pressed <= when and any(entry in row for row in rows):
                    run.latencies.append(when - pressed)
                    run.pressed.remove(key)

    def _updates(self) -> Iterator[float]:
        """Emulate what was read. After each synchronised update, or each read if the program has
        none, yields when it was read."""
        read, self._read = self._read, []
        for when, data in read:
            *frames, self._unread = (self._unread + data).split(END)
            self._synchronises |= bool(frames)
            for frame in frames:
                self._stream.feed(frame + END)
                yield when
            if not self._synchronises:
                self._stream.feed(self._unread)
                self._unread = b""
                yield when


def press(terminal: Terminal) -> None:
    """Press keys for some seconds."""
    entry, entries, next_key = "", 0, time.perf_counter()
    end = next_key + TYPING
    while (now := time.perf_counter()) < end:
        if now < next_key:
            terminal.reads(next_key - now)
        elif len(entry) == LONGEST:
            terminal.types("\x15")  # Ctrl-U
            entry, entries, next_key = "", entries + 1, now + PAUSE
        else:
            entry += (f"q{entries}q" + KEYS)[len(entry) % (3 + len(KEYS))]
            terminal.types(entry[-1])
            if len(entry) > 3:  # now it is nowhere else on the screen
                terminal.run.pressed.append((now, entry))
            next_key = now + (PAUSE if len(entry) == LONGEST else KEY_EVERY)


def measure(program: Program, url: str, *, types: bool) -> Run:
    """One reply, in which keys are pressed if `types`."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        http = "http" + url.removeprefix("ws").removesuffix("/v1/realtime")
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "HOME": home,
            "RTCHAT_URL": url,
            **peers.set_up(Path(home), http),
        }
        terminal = Terminal(program, environ)
        try:
            terminal.shows(program.ready)
            for key in "go":
                terminal.waits(PAUSE)
                terminal.types(key)
            terminal.waits(PAUSE)
            terminal.shows("go")
            terminal.run = Run()
            terminal.types("\r")
            terminal.shows("WebSocket")
            if types:
                press(terminal)
            else:
                terminal.waits(TYPING)
            terminal.shows(LAST)
        finally:
            terminal.ends()
    return terminal.run


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


@contextmanager
def server(folder: Path, aimock_program: str | None) -> Iterator[str]:
    """Serve the text with aimock, if there is one, or with `rtchat serve`. Gives the URL."""
    if aimock_program:
        answer = {"response": {"content": TEXT}, "chunkSize": CHUNK, "latency": 1000 * DELAY}
        fixtures: list[object] = [{"match": {}, **answer}]
        with aimock.running(Path(aimock_program), fixtures, folder, peers.KEY) as url:
            yield url
        return
    script = folder / "script.json"
    rule = {"text": TEXT, "chunk": CHUNK, "delay": DELAY}
    script.write_text(json.dumps({"rule": [rule]}), encoding="utf-8")
    serve = [sys.executable, "-m", "rtchat", "serve", "--port", "0", "--engine", f"script:{script}"]
    with listening(serve, r"(ws://\S+)", {**os.environ, "PYTHONPATH": str(ROOT)}) as url:
        yield url


def main() -> None:
    aimock_program = shutil.which("llmock")
    found = [each for each in PEERS if aimock_program and shutil.which(each.command[0])]
    with TemporaryDirectory() as folder, server(Path(folder), aimock_program) as url:
        for program in [RTCHAT, *found]:
            typing, quiet = (measure(program, url, types=types) for types in (True, False))
            sys.stdout.write(report(program, typing, quiet))


def report(program: Program, typing: Run, quiet: Run) -> str:
    ms = [1000 * each for each in typing.latencies]
    frames, absent = typing.frames + quiet.frames, typing.absent + quiet.absent
    lines = [
        f"{program.name}, keys while a reply streams: {len(ms)}, not shown: {len(typing.pressed)}",
        f"  median {statistics.median(ms):.1f} ms, p95 {percentile(ms, 95):.1f} ms, "
        f"p99 {percentile(ms, 99):.1f} ms, max {max(ms):.1f} ms",
        f"  bytes to the terminal for each byte of text: {quiet.written / len(TEXT.encode()):.2f}",
    ]
    if program.prompt:
        lines.append(f"  frames without the prompt: {absent} of {frames}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
