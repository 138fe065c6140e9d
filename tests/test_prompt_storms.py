"""`rtchat talk` in a terminal that sends anything at any time.

A random user types questions while replies stream, connections are lost, the window changes its
size and the terminal sends reports that nobody asked for. Whatever happens: every question is asked
once and in order, the entry is always on the screen, no text of the model acts on the terminal, and
the terminal is left as it was.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import random
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest

from rtchat.server.engine import Answer, CloseConnection, Finish, ModelInput
from rtchat.server.sockets import run_server
from tests.program import PATIENCE, Program, background
from tests.test_hostile import HOSTILE

PROMPT = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
ESCAPE = "\x1b"
REPORTS = [
    *(
        "\x1b[I",
        "\x1b[O",
        "\x1b[12;40R",
        "\x1b[1;1R",
        "\x1b[999999;1R",
        "\x1b[0n",
        "\x1b[?62;4;22c",
    ),
    *("\x1b[>41;354;0c", "\x1b[?2026;2$y", "\x1b[?0u", "\x1b[8;24;80t", "\x1b]11;rgb:00/00/00\x07"),
    *("\x1b]4;1;rgb:ff/00/00\x1b\\", "\x1bP1$r0m\x1b\\", "\x1bP>|xterm(379)\x1b\\"),
    *("\x1b_Gi=31;OK\x1b\\", "\x1b[<0;10;10M", "\x1b[<0;10;10m", "\x1b[M !!", "\x1b[99~"),
    *("\x1b[1;9Z", "\x1b[57441u", "\x1bO{", "\x1b[[F", "\x1b[?997;1n", "\x1b]52;c;aGk=\x07"),
    "\x1b]11;rgb:ffff/ffff/ffff\x1b\\",
]
"""What terminals send that is no key, or no key with a meaning here."""
QUIET = ["\x1b[C", "\x1bOF", "\x05", "\x1b[F", "\x1b[200~\x1b[201~", "\0"]
"""Keys that do not change an entry whose cursor is at its end."""
SIZES = [
    (24, 80),
    (40, 120),
    (15, 40),
    (10, 20),
    (6, 12),
    (24, 9),
    (3, 30),
    (2, 20),
    (1, 1),
    (3, 5),
]
ACTING = re.compile(
    rb"\x1b\[[\d;]*[mH]|\x1b\[\d*[ABCDGKLMJ]|\x1b[78]"  # styles, moves and erasing
    rb"|\x1b\[\?(?:25|1004|2004|2026|7|12)[hl]|\x1b\[6n|\x1b\[22;2t|\x1b\[23;2t"
    rb"|\x1b\[\d? q|\x1b\[>4;1m|\x1b\[>4m|\x1b\[>1u|\x1b\[<u"
    rb"|\x1b\]2;[^\0-\x1f\x7f]*\x1b\\"  # the title
    rb"|\x1b\]11;\?\x1b\\"  # asks for the background
    rb"|\x1b\]8;id=\d+-?\d*;https?://[!-~]+\x1b\\|\x1b\]8;;\x1b\\|[\r\n\t\x08\x07]"
)
"""Everything with a control character that the program may write."""
UPDATE = re.compile(rb".*?\x1b\[\?2026l", re.DOTALL)
_DROP = CloseConnection(1006, "", None)
_MAX_LATE = 5
"""The most updates that may still be drawn for the size that the window had before."""


class Engine:
    """Streams replies with hostile text, and drops connections."""

    model = "storm"
    heard = ()
    instructions = ""

    def __init__(self, seed: int, *, drops: bool = True, delay: float = 0.004) -> None:
        self._random = random.Random(seed)
        self._drops = drops
        self._delay = delay
        self.asked: list[str] = []

    def prepare(self, prompt: ModelInput) -> None:
        pass

    def on_connect(self) -> CloseConnection | None:
        return _DROP if self._drops and self._random.random() < 0.1 else None

    async def answer(self, prompt: ModelInput) -> Answer:
        self.asked.append(prompt.question)
        chance = self._random
        for _ in range(chance.randrange(1, 30)):
            await asyncio.sleep(chance.random() * self._delay)
            yield chance.choice([*HOSTILE.values(), "word ", "# Title\n\n", "\n\n", "```\ncode\n"])
        if self._drops and chance.random() < 0.1:
            yield _DROP
        else:
            yield Finish()


class Window:
    """A window of a terminal that runs the program."""

    def __init__(self, program: Program, *arguments: str, seed: int = 0, **environ: str) -> None:
        self._master, self._slave = pty.openpty()
        self._random = random.Random(seed)
        self.screen = pyte.HistoryScreen(80, 24, history=20_000)
        self.screen.write_process_input = self.types  # type: ignore[assignment]  # a hook
        self._stream = pyte.ByteStream(self.screen)
        self._unseen = b""
        self.sent: list[tuple[float, bytes]] = []
        self.written = b""
        self._to_skip = 0
        """How many updates may still be for an earlier size of the window."""
        self.frames_without_entry: list[str] = []
        self.resizes(24, 80)
        self.modes = termios.tcgetattr(self._slave)
        self.process = program.start(
            "talk",
            *arguments,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            environ={"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm", **environ},
            on_terminal=True,
        )

    def types(self, text: str | bytes) -> None:
        """Send text to the program, and read what it writes meanwhile."""
        data = text.encode() if isinstance(text, str) else text
        self.sent.append((time.monotonic(), data))
        while data:
            _, ready, _ = select.select([], [self._master], [], 0.1)
            if ready:
                data = data[os.write(self._master, data[:256]) :]
            self.reads(0)

    def types_in_pieces(self, text: str) -> None:
        """Send text, cut anywhere. Nothing is read meanwhile: if the rest of a sequence comes too
        late, its beginning is a key."""
        data = text.encode()
        while data:
            size = self._random.randrange(1, 8)
            os.write(self._master, data[:size])
            self.sent.append((time.monotonic(), data[:size]))
            data = data[size:]
            time.sleep(self._random.choice([0, 0, 0.001, 0.01]) if data else 0)
        self.reads(self._random.choice([0, 0, 0.001, 0.01]))

    def makes_noise(self, noise: str) -> None:
        """Send this, and sometimes a signal that the size of the window has changed."""
        self.types_in_pieces(noise)
        if noise == ESCAPE:  # otherwise it is Alt and the next key
            self.reads(0.25)
        if self._random.random() < 0.05:
            self.process.send_signal(signal.SIGWINCH)

    def resizes(self, rows: int, columns: int, *, is_idle: bool = False) -> None:
        """Change the size of the window. `is_idle`: the program is writing nothing."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)
        self._to_skip = 0 if is_idle else _MAX_LATE

    def reads(self, seconds: float) -> bool:
        """Show what the program writes for some time. Returns whether it still has the terminal."""
        until = time.monotonic() + seconds
        while select.select([self._master], [], [], max(until - time.monotonic(), 0))[0]:
            try:
                data = os.read(self._master, 65_536)
            except OSError:
                return False
            self.written += data
            self._unseen += data
            while update := UPDATE.match(self._unseen):
                self._stream.feed(update[0])
                self._unseen = self._unseen[update.end() :]
                self._check_frame()
            if b"\x1b" not in self._unseen:
                self._stream.feed(self._unseen)
                self._unseen = b""
        return True

    def _check_frame(self) -> None:
        has_entry = any(PROMPT in line for line in self.screen.display)
        is_large = self.screen.lines >= 10 and self.screen.columns >= 20
        if has_entry or not is_large:
            self._to_skip -= 1
        elif self._to_skip <= 0:
            self.frames_without_entry.append("\n".join(self.screen.display))

    def waits_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true."""
        until = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < until, "\n".join(self.screen.display)
            assert self.reads(0.02), "the program has exited"

    def trace(self) -> str:
        """What was typed, and when."""
        return "\n".join(f"{at:.3f} {data!r}" for at, data in self.sent)

    def text(self) -> str:
        """The scrollback and the screen."""
        columns = range(self.screen.columns)
        above = ["".join(row[x].data for x in columns) for row in self.screen.history.top]
        return "\n".join(line.rstrip() for line in (*above, *self.screen.display))

    def echoed(self) -> list[str]:
        """The questions in the scrollback and on the screen."""
        return re.findall(rf"^{PROMPT} (q\d+z.*?) *$", self.text(), re.MULTILINE)

    @property
    def has_empty_entry(self) -> bool:
        """Whether the entry, which looks like a question that was asked, is empty."""
        return bool(self.screen.display[self.screen.cursor.y].strip() == PROMPT)

    def leaves(self) -> int:
        """Press Ctrl-D. Returns the exit code."""
        self.types("\x04")
        return self.ends()

    def ends(self) -> int:
        """Wait for the program to exit. Returns its exit code, after checks of what it left."""
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < until, "it does not exit:\n" + "\n".join(self.screen.display)
            self.reads(0.02)
        self.reads(0)
        assert b"Traceback" not in self.written
        assert termios.tcgetattr(self._slave) == self.modes
        assert modes_left_on(self.written) == set()
        os.close(self._slave)
        os.close(self._master)
        return self.process.wait(PATIENCE)


def modes_left_on(written: bytes) -> set[bytes]:
    """The modes of the terminal that differ from those before."""
    modes = dict(re.findall(rb"\x1b\[\?(\d+)([hl])", written))
    changed = {mode for mode, state in modes.items() if (state == b"h") != (mode in (b"25", b"7"))}
    if written.count(b"\x1b[>1u") != written.count(b"\x1b[<u"):
        changed.add(b"kitty keys")
    if written.count(b"\x1b[22;2t") != written.count(b"\x1b[23;2t"):
        changed.add(b"title")
    return changed


def acting(written: bytes) -> set[bytes]:
    """Control characters outside of what the program may write."""
    rest = ACTING.sub(b"", written)
    return set(re.findall(rb"[^\0-\x08\x0b-\x1f\x7f]{0,20}[\0-\x08\x0b-\x1f\x7f].{0,20}", rest))


def storm(window: Window, engine: Engine, seed: int, questions: int, *, resizes: bool) -> None:
    """Ask questions, and send everything else meanwhile. With `resizes`, the window changes its
    size; without, Esc stops replies and questions that wait."""
    chance = random.Random(seed)
    noises = [*REPORTS, *QUIET, "\x0c" if resizes else ESCAPE]
    expected = [f"q{number}z \xe9\u4e16 {number}" for number in range(questions)]
    for question in expected:
        for part in re.findall(".{1,3}", question):
            window.types_in_pieces(part)
            for _ in range(chance.randrange(3)):
                window.makes_noise(chance.choice(REPORTS if question == expected[0] else noises))
            if resizes and chance.random() < 0.1:
                window.resizes(*chance.choice(SIZES))
        window.types("\r")
        if question == expected[0]:  # until then, what is typed is typeahead
            window.waits_for(lambda: bool(engine.asked))
        window.reads(chance.choice([0, 0, 0.05, 0.1]))
    window.resizes(24, 80)
    window.waits_for(
        lambda: (
            len(distinct(engine.asked)) == questions
            if resizes
            else window.has_empty_entry and len(window.echoed()) == questions
        )
    )
    asked = distinct(engine.asked)
    if resizes:
        assert asked == expected, window.trace()
    else:
        assert window.echoed() == expected, window.trace()
        assert asked == [each for each in expected if each in asked], window.trace()


def distinct(asked: list[str]) -> list[str]:
    """The questions, without those that were asked again after a lost connection."""
    return [each for at, each in enumerate(asked) if at == 0 or each != asked[at - 1]]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@contextmanager
def talking(program: Program, engine: Engine, *, seed: int = 0) -> Iterator[Window]:
    """A window with the program, and the server that it talks to."""
    with background(lambda: run_server(engine)) as url:
        program.environ["RTCHAT_URL"] = url
        window = Window(program, seed=seed)
        with window.process:
            yield window


def run(program: Program, seed: int, questions: int, *, resizes: bool, drops: bool) -> None:
    engine = Engine(seed, drops=drops)
    with talking(program, engine, seed=seed) as window:
        storm(window, engine, seed, questions, resizes=resizes)
        assert window.frames_without_entry == []
        assert window.leaves() == 0
        assert acting(window.written) == set()


@pytest.mark.parametrize("resizes", [False, True])
def test_every_question_is_asked_once_and_in_order(program: Program, resizes: bool) -> None:
    run(program, 1, 4, resizes=resizes, drops=True)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(20))
def test_long_storms(program: Program, seed: int) -> None:
    run(program, seed, 20, resizes=seed % 2 == 1, drops=seed % 4 > 1)


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("\x1b[99~\x1b[<0;10;10Mhi\x1b[?62c\r", ["hi"]),
        ("\x1b[8;24;80tone\x1b]11;rgb:0/0/0\x07\rtwo\r", ["one", "two"]),
        ("\u4e16\u754c\r", ["\u4e16\u754c"]),
    ],
)
def test_what_arrives_before_the_prompt_is_up_is_keys(
    program: Program, typed: str, asked: list[str]
) -> None:
    engine = Engine(0, drops=False)
    with talking(program, engine) as window:
        window.types_in_pieces(typed)
        window.waits_for(lambda: len(engine.asked) == len(asked))
        assert engine.asked == asked
        assert window.leaves() == 0


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        (["\x1b", "hello"], "hello"),  # not Alt-h
        (["/s", "\t", "\x1b", "\x7f\x7fhello"], "hello"),  # Esc closes the menu
        (["hel\0lo"], "hello"),  # Ctrl-Space sets the mark
        (["hello\0x\x7f"], "hello"),
        (["one\x1bd two\x1bb\x1bd\x7f"], "one"),
    ],
)
def test_no_key_is_lost_after_another(program: Program, keys: list[str], asked: str) -> None:
    engine = Engine(0, drops=False)
    with talking(program, engine) as window:
        window.waits_for(lambda: any(PROMPT in line for line in window.screen.display))
        for each in keys:
            window.types(each)
            window.reads(0.3)  # longer than an escape sequence takes
        window.types("\r")
        window.waits_for(lambda: bool(engine.asked))
        assert engine.asked == [asked]
        assert window.leaves() == 0


def test_the_entry_stays_on_the_screen_when_it_is_cleared_or_its_size_changes(
    program: Program,
) -> None:
    with talking(program, Engine(0)) as window:
        window.waits_for(lambda: any(PROMPT in line for line in window.screen.display))
        window.types("draft")
        window.reads(0.1)
        for size in ((20, 60), (24, 80)):
            window.resizes(*size, is_idle=True)
            window.reads(0.1)
            window.types("\x0c")
            window.reads(0.1)
            assert f"{PROMPT} draft" in window.text()
        assert window.frames_without_entry == []
        window.types("\x03")
        assert window.leaves() == 0


def test_characters_that_hide_or_reorder_text_are_visible_in_the_entry(program: Program) -> None:
    with talking(program, Engine(0)) as window:
        window.waits_for(lambda: any(PROMPT in line for line in window.screen.display))
        window.types("a\u202eb\u200bc\u2066d")
        shown = f"{PROMPT} a<U+202E>b<U+200B>c<U+2066>d"
        window.waits_for(lambda: shown in window.text())
        assert not {"\u202e", "\u200b", "\u2066"} & {*window.written.decode()}
        window.types("\x03")
        assert window.leaves() == 0
