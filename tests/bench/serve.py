"""What many sessions cost `rtchat serve`: `python tests/bench/serve.py [SESSIONS]`.

One server with a script of 33 deltas a second; in turn one session is answered and all (100) are.
The latency of a delta is how much later than the script says it comes after the one before it, so
that the machine's own timer and this client are in it, in both rows alike: of machines that differ
only the ratios compare.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

RTCHAT = str(Path(sys.executable).with_name("rtchat"))
DELAY, DELTAS = 0.03, 100
ROUNDS = 4
SESSION = {"type": "realtime", "output_modalities": ["text"]}
QUESTION = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}


async def until(socket: ClientConnection, kind: str) -> list[float]:
    """When each delta came, up to an event of this type."""
    times = []
    while True:
        frame = await socket.recv(decode=False)
        if b'"response.output_text.delta"' in frame:
            times.append(time.perf_counter())
        elif json.loads(frame)["type"] == kind:
            return times


async def turn(socket: ClientConnection) -> list[float]:
    """One answer; the lateness of its deltas in milliseconds."""
    await socket.send(json.dumps({"type": "conversation.item.create", "item": QUESTION}))
    await socket.send(json.dumps({"type": "response.create"}))
    times = await until(socket, "response.done")
    assert len(times) == DELTAS
    return [(b - a - DELAY) * 1000 for a, b in pairwise(times)]


async def opened(stack: AsyncExitStack, url: str) -> ClientConnection:
    """A session that wants text."""
    socket = await stack.enter_async_context(connect(url, compression=None, proxy=None))
    await socket.send(json.dumps({"type": "session.update", "session": SESSION}))
    await until(socket, "session.updated")
    return socket


def memory(pid: int) -> float:
    """A process's memory in KiB."""
    command = ["ps", "-o", "rss=", "-p", str(pid)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def measure(url: str, pid: int, many: int) -> None:
    """The table."""
    async with AsyncExitStack() as stack:
        one = await opened(stack, url)
        await turn(one)  # warm
        before = memory(pid)
        everybody = [one, *[await opened(stack, url) for _ in range(many - 1)]]
        alone: list[float] = []
        crowded: list[float] = []
        for _ in range(ROUNDS):
            alone += await turn(one)
            for late in await asyncio.gather(*(turn(socket) for socket in everybody)):
                crowded += late
        after = memory(pid)
        row("sessions", "p50 ms", "p99 ms", "MB", "KB a session")
        row("1", *map(shown, shape(alone)), shown(before / 1024), "-")
        each = (after - before) / (many - 1)
        row(str(many), *map(shown, shape(crowded)), shown(after / 1024), shown(each))
        ratios = zip(shape(alone), shape(crowded), strict=True)
        row("ratio", *(f"{b / a:.2f}x" for a, b in ratios), f"{after / before:.2f}x")


def shape(late: list[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    return statistics.median(late), statistics.quantiles(late, n=100)[98]


def shown(figure: float) -> str:
    """A figure in its cell."""
    return f"{figure:.1f}"


def row(*cells: str) -> None:
    """One line of the table."""
    sys.stdout.write("".join(f"{cell:>14}" for cell in cells) + "\n")


def main() -> None:
    """Serve, measure, print."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as home:
        script = Path(home, "script.toml")
        words = json.dumps(["word "] * DELTAS)
        script.write_text(f"[[rule]]\ndeltas = {words}\ndelay = {DELAY}\n")
        with subprocess.Popen(
            [RTCHAT, "serve", "--port", "0", "--engine", f"script:{script}"],
            env={"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8"},
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            try:
                asyncio.run(measure(url, server.pid, many))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
