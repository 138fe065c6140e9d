"""How long rtchat takes to start: `python tests/bench/startup.py`.

Ratios within one run, medians of at least seven, CPU seconds of the whole process as the operating
system counts them: machines differ and are shared, ratios hold. Each pair is run in turn, A B A B.
"""

from __future__ import annotations

import asyncio
import os
import pty
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pyte
from websockets.asyncio.server import ServerConnection, serve

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, it is in nobody's package

from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from tests.program import background

RUNS = 15
RTCHAT = str(Path(sys.executable).with_name("rtchat"))

BARE = """
import asyncio, json, sys
import typer, websockets
from websockets.asyncio.client import connect
app = typer.Typer()

@app.command()
def once(prompt: str, url: str) -> None:
    asyncio.run(exchange(prompt, url))

async def exchange(prompt, url):
    async with connect(url, compression=None) as socket:
        json.loads(await socket.recv())
        session = {"type": "realtime", "output_modalities": ["text"]}
        await socket.send(json.dumps({"type": "session.update", "session": session}))
        json.loads(await socket.recv())
        content = [{"type": "input_text", "text": prompt}]
        item = {"type": "message", "role": "user", "content": content}
        await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
        response = {"output_modalities": ["text"]}
        await socket.send(json.dumps({"type": "response.create", "response": response}))
        while (event := json.loads(await socket.recv()))["type"] != "response.done":
            if event["type"] == "response.output_text.delta":
                sys.stdout.write(event["delta"])
                sys.stdout.flush()
        print()

app()
"""


def cpu(command: Sequence[str], home: str) -> float:
    """CPU seconds of one run."""
    environ = {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command,
        env=environ,
        cwd=home,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ratio(a: Sequence[str], b: Sequence[str], home: str) -> tuple[float, float, float]:
    """The medians of A and B in milliseconds, and of A/B pair by pair."""
    cpu(a, home), cpu(b, home)
    pairs = [(cpu(a, home), cpu(b, home)) for _ in range(RUNS)]
    first = statistics.median(pair[0] for pair in pairs) * 1000
    second = statistics.median(pair[1] for pair in pairs) * 1000
    return first, second, first / second


@asynccontextmanager
async def slow_handshake() -> AsyncIterator[str]:
    """A server that takes 250 ms to shake hands, then is silent."""

    async def wait(socket: ServerConnection, request: object) -> None:
        await asyncio.sleep(0.25)

    async def meet(socket: ServerConnection) -> None:
        HANDSHAKES.append(time.monotonic())
        await socket.wait_closed()

    async with serve(meet, "127.0.0.1", 0, process_request=wait) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime"


HANDSHAKES: list[float] = []


def prompt_lead(url: str, home: str) -> float:
    """Milliseconds from the prompt on the screen to the end of the handshake."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
    }
    HANDSHAKES.clear()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home)
        os.execve(RTCHAT, [RTCHAT, "talk", "--url", url], environ)
    seen = b""
    shown = 0.0
    while not shown or not HANDSHAKES:
        if select.select((terminal,), (), (), 0.005)[0]:
            seen += os.read(terminal, 65536)
            if b"\xe2\x80\xba" in seen and not shown:
                shown = time.monotonic()
    os.write(terminal, b"\x04")
    os.waitpid(pid, 0)
    os.close(terminal)
    return (HANDSHAKES[0] - shown) * 1000


def first_key(url: str, home: str) -> float:
    """Seconds from the start of the program until a key that was pressed at once is in the
    entry."""
    environ = {"PATH": os.environ["PATH"], "HOME": home, "TERM": "xterm-256color"}
    started = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home)
        os.execve(RTCHAT, [RTCHAT, "talk", "--url", url], environ)
    os.write(terminal, b"k")
    screen = pyte.Screen(80, 24)
    stream = pyte.ByteStream(screen)
    entry = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} k"
    while not any(row.startswith(entry) for row in screen.display):
        stream.feed(os.read(terminal, 65536))
    seconds = time.perf_counter() - started
    os.write(terminal, b"\x15\x04")
    with suppress(OSError):
        while os.read(terminal, 65536):
            pass
    os.waitpid(pid, 0)
    os.close(terminal)
    return seconds


def bare_start() -> float:
    """Seconds that Python takes to do nothing."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - started


def measured() -> Iterator[tuple[str, float, float, float, float]]:
    """The name of each pair, its two times, their ratio and its goal."""
    python = sys.executable
    with tempfile.TemporaryDirectory() as home:
        nothing = [python, "-c", "pass"]
        for arguments, goal in ((["--version"], 2.0), (["--help"], 7.0)):
            name = f"rtchat {arguments[0]} / python -c pass"
            yield name, *ratio([RTCHAT, *arguments], nothing, home), goal
        with background(lambda: run_server(EchoEngine())) as url:
            once, bare = [RTCHAT, "once", "hi", "--url", url], [python, "-c", BARE, "hi", url]
            yield "rtchat once hi / a bare script", *ratio(once, bare, home), 1.3


def ratios() -> dict[str, float]:
    """The ratios by name."""
    return {name: times for name, _, _, times, _ in measured()}


def main() -> None:
    """Print each figure beside its goal."""
    for row in measured():
        print_row(*row)
    with tempfile.TemporaryDirectory() as home, background(slow_handshake) as url:
        leads = sorted(prompt_lead(url, home) for _ in range(7))
        median = statistics.median(leads)
        sys.stdout.write(
            f"talk: the prompt is there {median:.0f} ms before a 250 ms handshake is over "
            f"(median of {len(leads)}; {leads[0]:.0f} to {leads[-1]:.0f}; goal > 0)\n"
        )
        keys = [first_key(url, home) for _ in range(RUNS)]
        bare = statistics.median(bare_start() for _ in range(RUNS))
        key = statistics.median(keys)
        sys.stdout.write(
            f"talk: the first key is in the entry after {key:.2f} s, {key / bare:.1f}x bare Python "
            f"(median of {RUNS}; goal <= 12x)\n"
        )


def print_row(name: str, a: float, b: float, times: float, goal: float) -> None:
    """One figure."""
    sys.stdout.write(
        f"{name}: {times:.2f}x ({a:.0f} ms / {b:.0f} ms CPU, medians of {RUNS}; goal <= {goal}x)\n"
    )


if __name__ == "__main__":
    main()
