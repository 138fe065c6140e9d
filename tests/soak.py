"""Conversations over a bad network for any time: `python tests/soak.py --seconds 1800`.

A proxy between the program and two servers interrupts, stalls and corrupts connections at random.
At the end, every question was answered once or is marked; none is lost, repeated or out of order on
stdout, on disk or on the server; and the program's memory has not grown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it is in nobody's package

from rtchat.core.values import Entry, Message
from rtchat.history.store import FILE, Store
from rtchat.server.engine import Answer, CloseConnection, Finish, ModelInput
from rtchat.server.sockets import run_server
from tests.faulty import End, connection, connections
from tests.program import Program, background

BETWEEN = 4.0
"""Seconds from the opening of a connection to its mishap, in the mean."""
CHAPTER = 150
"""Questions of one conversation, which may take several runs of the program."""
GROWTH = 16_000
"""KB by which the program may grow in a run, after its tenth reply."""
PATIENCE = 60.0
"""Seconds without a reply after which the program hangs."""

# ----------------------------------------------------------------------------------------- servers


class Recorder:
    """An engine that echoes, word for word with a `delay`, and remembers what it was asked."""

    instructions = ""

    def __init__(self, name: str, delay: float) -> None:
        self.model = name
        self._delay = delay
        self.prompts: list[list[str]] = []
        """For each time that it was asked, all that the user had said."""

    def prepare(self, prompt: ModelInput) -> None:
        pass

    def on_connect(self) -> CloseConnection | None:
        return None

    async def answer(self, prompt: ModelInput) -> Answer:
        said = [item for item in prompt.items if isinstance(item, Message)]
        self.prompts.append([item.text for item in said if item.role == "user"])
        for word in prompt.question.split(" "):
            await asyncio.sleep(self._delay)
            yield f"{word} "
        yield Finish()


def answer(question: str) -> str:
    """What a `Recorder` says."""
    return f"{question} "


# ------------------------------------------------------------------------------------------- proxy


class Proxy:
    """Passes bytes on, and harms every connection sooner or later."""

    def __init__(self, target: str, seed: int) -> None:
        self._target = urlsplit(target)
        self._rng = random.Random(seed)
        self.mishaps: Counter[str] = Counter()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """The URL that leads to the target through it."""
        async with connections(self._meet) as port:
            yield self._target._replace(netloc=f"127.0.0.1:{port}").geturl()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with connection(self._target.hostname, self._target.port) as there:
            await _Passage((reader, writer), there, self._rng, self.mishaps).run()


class _Passage:
    """One connection through the proxy."""

    def __init__(self, client: End, server: End, rng: random.Random, mishaps: Counter[str]) -> None:
        self._client, self._server = client, server
        self._rng, self._mishaps = rng, mishaps
        self._flows = asyncio.Event()
        self._flows.set()
        self._spoils = ""

    async def run(self) -> None:
        tasks = [
            asyncio.ensure_future(self._pump(self._client[0], self._server[1], "up")),
            asyncio.ensure_future(self._pump(self._server[0], self._client[1], "down")),
            asyncio.ensure_future(self._harm()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._flows.wait()
                if self._spoils == direction:
                    self._spoils = ""
                    data = self._spoil(data, direction)
                writer.write(data)
                await writer.drain()

    def _spoil(self, data: bytes, direction: str) -> bytes:
        """No frame begins with 0xFF and no UTF-8 has one, so that it cannot pass unnoticed.

        What a client sends is masked, and only its head can be told.
        """
        at = self._rng.randrange(len(data)) if direction == "down" else 0
        return data[:at] + b"\xff" + data[at + 1 :]

    async def _harm(self) -> None:
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / BETWEEN))
            kinds = ("reset", "close", "stall", "hiccup", "spoil up", "spoil down")
            kind = self._rng.choices(kinds, (4, 4, 2, 4, 1, 1))[0]
            self._mishaps[kind] += 1
            match kind:
                case "reset":
                    for _, writer in (self._client, self._server):
                        link: socket.socket = writer.get_extra_info("socket")
                        hard = struct.pack("ii", 1, 0)
                        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
                        writer.transport.abort()
                    return
                case "close":
                    return
                case "stall":
                    self._flows.clear()
                case "hiccup":
                    self._flows.clear()
                    await asyncio.sleep(self._rng.uniform(0.1, 1.0))
                    self._flows.set()
                case _:
                    self._spoils = kind.removeprefix("spoil ")


# ------------------------------------------------------------------------------------- one program


class Side:
    """One program, its server, and what they have been through."""

    def __init__(
        self, home: Path, url: str, recorder: Recorder, *, until: float, seed: int
    ) -> None:
        self._program = Program(home)
        self._program.environ["RTCHAT_URL"] = url
        self._recorder = recorder
        self._until = until
        self._rng = random.Random(seed)
        self.states: Counter[str] = Counter()
        self.runs = 0
        self.chapters = 0
        self.asked = 0
        self.growth = 0
        self.largest = 0

    def live(self) -> None:
        """Hold conversations until the time is up."""
        self._program.home.mkdir()
        while time.monotonic() < self._until:
            self._chapter()

    def _chapter(self) -> None:
        self.chapters += 1
        self._recorder.prompts.clear()
        questions = [self._question(number) for number in range(CHAPTER)]
        replies: list[dict[str, Any]] = []
        while len(replies) < CHAPTER and time.monotonic() < self._until:
            self._run(questions, replies)
        self._check(questions[: len(replies)], replies)

    def _question(self, number: int) -> str:
        words = " ".join("lorem" for _ in range(self._rng.randrange(80)))
        return f"question {self.chapters}-{number} {words}".strip()

    def _run(self, questions: list[str], replies: list[dict[str, Any]]) -> None:
        """One run of the program, which goes on where the last one ended."""
        self.runs += 1
        options = ["--json", "--timeout", "3", "--connect-timeout", "3"]
        if replies:
            options.append("--continue")
        with self._program.start("talk", *options) as process:
            begun, fed = len(replies), len(replies)
            assert process.stdin is not None
            lines = _lines(process)
            small = 0
            while not process.stdin.closed:
                ahead = len(replies) + self._rng.randrange(1, 4)
                with suppress(BrokenPipeError):
                    for question in questions[fed:ahead]:
                        fed += 1
                        process.stdin.write(f"{question}\n".encode())
                    process.stdin.flush()
                if fed == CHAPTER or time.monotonic() > self._until:
                    process.stdin.close()
                line = next(lines, None)
                if line is None:
                    break
                replies.append(json.loads(line))
                size = _size(process.pid)
                small = size if len(replies) - begun == 10 else small
                self.largest = max(self.largest, size)
                self.growth = max(self.growth, size - small if small else 0)
            replies += [json.loads(line) for line in lines]
            with suppress(BrokenPipeError):
                process.stdin.close()
            assert process.stderr is not None
            err = process.stderr.read().decode()
            code = process.wait()
        assert code in (0, 1, 4), f"exit {code}: {err[-2000:]}"
        assert "Traceback" not in err
        assert code == 4 or len(replies) == fed, "a question was not answered, and nobody said why"

    def _check(self, questions: list[str], replies: list[dict[str, Any]]) -> None:
        """Stdout, the disk and the server tell the same story."""
        path = self._program.home / ".local" / "share" / "rtchat" / FILE
        with closing(Store(path)) as store:
            kept = store.read(store.conversations(1)[0].id)
        told = [(_text(entry), str(entry.state)) for entry in kept.entries]
        expected: list[tuple[str, str]] = []
        for question, reply in zip(questions, replies, strict=True):
            state = "interrupted" if reply["reason"] == "connection_lost" else reply["status"]
            expected.append((question, state))
            if reply["text"]:
                expected.append((reply["text"], state))
            whole = answer(question)
            assert (
                reply["text"] == whole if state == "completed" else whole.startswith(reply["text"])
            )
            self.states[state] += 1
        assert told == expected
        self._check_server(questions, replies)

    def _check_server(self, questions: list[str], replies: list[dict[str, Any]]) -> None:
        """The server knew all that was answered before, in order, and nothing twice."""
        place = {question: number for number, question in enumerate(questions)}
        answered = {
            question for question, reply in zip(questions, replies, strict=True) if reply["text"]
        }
        last = -1
        for prompt in self._recorder.prompts:
            places = [place[question] for question in prompt]
            assert places == sorted(set(places))
            assert answered & set(questions[: places[-1]]) <= set(prompt)
            assert places[-1] >= last, "an earlier question was asked again"
            last = places[-1]
        asked = {prompt[-1] for prompt in self._recorder.prompts}
        assert answered <= asked
        self.asked += len(self._recorder.prompts)


def _lines(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """The lines of its stdout, as they come."""
    assert process.stdout is not None
    descriptor, rest = process.stdout.fileno(), b""
    while True:
        assert select.select((descriptor,), (), (), PATIENCE)[0], "the program hangs"
        data = os.read(descriptor, 65536)
        if not data:
            assert not rest
            return
        *complete, rest = (rest + data).split(b"\n")
        yield from complete


def _text(entry: Entry) -> str:
    assert isinstance(entry.item, Message)
    return entry.item.text


def _size(pid: int) -> int:
    """Resident memory in KB; 0 if it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


# -------------------------------------------------------------------------------------------- soak


def soak(folder: Path, seconds: float, seed: int) -> list[str]:
    """Soak for so long; the figures, a line each. AssertionError if anything is amiss."""
    out = [f"{seconds:g} s, seed {seed}"]
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(2) as pool:
        names = (("echo", 0.004), ("slow", 0.02))
        work = [
            pool.submit(_side, folder / name, name, delay, until, seed + number)
            for number, (name, delay) in enumerate(names)
        ]
        for done in work:
            out += done.result()
    return out


def _side(home: Path, name: str, delay: float, until: float, seed: int) -> list[str]:
    recorder = Recorder(name, delay)
    with background(lambda: run_server(recorder)) as target:
        proxy = Proxy(target, seed)
        with background(proxy.serve) as url:
            side = Side(home, url, recorder, until=until, seed=seed)
            side.live()
    turns = side.states.total()
    assert turns, "nothing was said"
    assert side.growth < GROWTH, f"it grew by {side.growth} KB"
    states = ", ".join(f"{count} {state}" for state, count in side.states.most_common())
    mishaps = ", ".join(f"{count} {kind}" for kind, count in proxy.mishaps.most_common())
    return [
        f"{name}: {turns} questions ({states}), asked {side.asked} times",
        f"  {side.chapters} conversations in {side.runs} runs; {mishaps}",
        f"  at most {side.largest / 1000:.1f} MB, grown by {side.growth / 1000:.1f} MB in a run",
    ]


def main() -> int:
    """Soak, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = soak(Path(folder), arguments.seconds, arguments.seed)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
