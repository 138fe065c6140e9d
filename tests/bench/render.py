"""What a reply costs on a terminal: `python tests/bench/render.py`.

Each renderer is a process on a 120x40 pty of its own. CPU is what drawing took, imports apart, so
that a ratio within one run holds on any machine. Beside rtchat: one render at the end by Rich, the
text-book `Live(Markdown(all))` with each delta, and of `streamdown` and `llm`, which shows the text
as it is, those that can be imported.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import resource
import select
import statistics
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, it is in nobody's package

from rtchat.client.session import Session, SessionParts
from rtchat.client.transport import endpoint, open_connection
from rtchat.client.view_queue import SLICE, TICK
from rtchat.core.conversation import Conversation
from rtchat.core.effects import QuestionAsked, ReplyOver, TextArrived
from rtchat.core.events import InputEnded, UserSaid
from rtchat.core.mode import Mode
from rtchat.core.ports import Post
from rtchat.core.values import Options, Status
from rtchat.server.engine import Answer, CloseConnection, Finish, ModelInput
from rtchat.server.sockets import run_server
from rtchat.ui.console import ThemedConsole
from rtchat.ui.live_view import LiveView, preload
from tests.documents import ANSWER, BLOCKS

KB, DELTA, PACE = 1000, 40, 0.01
"""Bytes; characters a delta; seconds between two deltas of a paced reply."""
LAST = " OMEGA"
LIMIT = 60.0
"""Seconds after which a renderer is stopped."""
RUNS = 5


def document(size: int) -> str:
    """An answer of so many bytes; its last word is there once."""
    text = "\n".join(ANSWER for _ in range(size // len(ANSWER) + 1))
    return text[: size - len(LAST)].rstrip() + LAST


def deltas(text: str) -> list[str]:
    """The answer as a server sends it."""
    body = text.removesuffix(LAST)
    return [body[start : start + DELTA] for start in range(0, len(body), DELTA)] + [LAST]


# ----------------------------------------------------------------------- in the process on the pty


def console() -> ThemedConsole:
    """As `run` makes it."""
    return ThemedConsole(force_terminal=True, color_system="standard", legacy_windows=False)


def rtchat_instant(size: int, _: str) -> dict[str, float]:
    """All deltas at once, and a tick whenever one is due."""
    preload()
    text = document(size)
    view = LiveView(console(), console(), quiet=True)
    began, due = time.process_time(), time.monotonic() + TICK
    view.show(QuestionAsked("?", "model"))
    for delta in deltas(text):
        view.show(TextArrived(delta))
        if time.monotonic() > due:
            view.tick()
            due = time.monotonic() + TICK
    view.show(ReplyOver(Status.COMPLETED, text, "model"))
    return {"cpu": time.process_time() - began}


def rtchat_paced(size: int, _: str) -> dict[str, float]:
    """A hundred deltas a second; the reply ends half a second after its last one."""
    preload()
    text = document(size)
    view = LiveView(console(), console(), quiet=True)
    view.show(QuestionAsked("?", "model"))
    began = tick = time.monotonic()
    busy = time.process_time()
    last = began
    for index, delta in enumerate(deltas(text)):
        while (left := began + index * PACE - time.monotonic()) > 0:
            select.select([], [], [], max(0, min(left, tick - time.monotonic())))
            tick = ticked(view, tick)
        last = time.monotonic()
        view.show(TextArrived(delta))
    while time.monotonic() < last + 0.5:
        select.select([], [], [], max(0, tick - time.monotonic()))
        tick = ticked(view, tick)
    view.show(ReplyOver(Status.COMPLETED, text, "model"))
    return {"cpu": time.process_time() - busy, "last": last, "seconds": last - began}


def ticked(view: LiveView, due: float) -> float:
    """Tick if it is time to; when the next one is due."""
    if time.monotonic() < due:
        return due
    view.tick()
    return time.monotonic() + TICK


def rich_at_once(size: int, _: str) -> dict[str, float]:
    """One render of the whole text."""
    from rich.markdown import Markdown

    preload()
    text = document(size)
    out = ThemedConsole(force_terminal=True)
    began = time.process_time()
    out.print(Markdown(text))
    return {"cpu": time.process_time() - began}


def textbook(size: int, pace: str) -> dict[str, float]:
    """What the documentation of Rich leads to."""
    from rich.live import Live
    from rich.markdown import Markdown

    preload()
    whole = ""
    began = time.process_time()
    with Live(console=ThemedConsole(force_terminal=True)) as live:
        for delta in deltas(document(size)):
            whole += delta
            live.update(Markdown(whole))
            if pace == "paced":
                select.select([], [], [], PACE)
    return {"cpu": time.process_time() - began}


def streamdown(size: int, pace: str) -> dict[str, float]:
    """Its whole process, imports included: it has no other interface."""
    return piped("from streamdown.sd import main; main()", size, pace)


LLM = """
import os
source = os.fdopen(os.dup(0), newline="")
os.dup2(os.open("/dev/tty", os.O_RDONLY), 0)

import llm
from llm.cli import cli
from llm.plugins import pm


class Piped(llm.Model):
    model_id = "piped"
    can_stream = True

    def execute(self, prompt, stream, response, conversation):
        while delta := source.read(40):
            yield delta


class Plugin:
    @llm.hookimpl
    def register_models(self, register):
        register(Piped())


pm.register(Plugin())
cli.main(["prompt", "--no-log", "--model", "piped", "?"])
"""


def llm(size: int, pace: str) -> dict[str, float]:
    """Its whole process, with a model that says what it is given."""
    with TemporaryDirectory() as folder:
        return piped(LLM, size, pace, {"LLM_USER_PATH": folder, "LLM_LOAD_PLUGINS": ""})


def piped(
    program: str, size: int, pace: str, environ: Mapping[str, str] | None = None
) -> dict[str, float]:
    """What a Python program costs that shows what it reads."""
    command = [sys.executable, "-c", program]
    everything = {**os.environ, **(environ or {})}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=everything) as process:
        assert process.stdin is not None
        for delta in deltas(document(size)):
            process.stdin.write(delta.encode())
            process.stdin.flush()
            if pace == "paced":
                select.select([], [], [], PACE)
        process.stdin.close()
        process.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu": used.ru_utime + used.ru_stime}


def block(size: int, name: str) -> dict[str, float]:
    """How long the view ever takes for one call, as a session makes them."""
    preload()
    text = BLOCKS[name](size)
    view = LiveView(console(), console(), quiet=True)
    view.show(QuestionAsked("?", "model"))
    calls: list[float] = []

    def timed(call: Callable[[], None]) -> None:
        began = time.perf_counter()
        call()
        calls.append(time.perf_counter() - began)

    due = time.monotonic() + TICK
    for start in range(0, len(text), SLICE):
        timed(partial(view.show, TextArrived(text[start : start + SLICE])))
        if time.monotonic() > due:
            timed(view.tick)
            due = time.monotonic() + TICK
    timed(partial(view.show, ReplyOver(Status.COMPLETED, text, "model")))
    return {"worst": max(calls)}


def session(_: int, argument: str) -> dict[str, float]:
    """A real session with a server in another process; how late a timer of the loop ever is."""
    url, question = argument.split(" ", 1)
    late: list[float] = []

    async def ask(post: Post) -> None:
        post(UserSaid(question))
        post(InputEnded())
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.002
            await asyncio.sleep(0.002)
            late.append(loop.time() - due)

    async def run() -> None:
        where = endpoint("model", url=url)
        view = LiveView(console(), console(), quiet=True)
        conversation = Conversation("model", Options(modality="text"), mode=Mode.LINES)
        await Session(conversation, SessionParts(view, lambda _: open_connection(where))).run(ask)

    preload()  # in a thread, as the program does it, it could outlast all that is to be measured
    began = time.monotonic()
    asyncio.run(run())
    return {"late": max(late), "timers": len(late), "seconds": time.monotonic() - began}


CHILDREN: dict[str, Callable[[int, str], dict[str, float]]] = {
    made.__name__: made
    for made in (
        *(rtchat_instant, rtchat_paced, rich_at_once, textbook, streamdown, llm, session, block),
    )
}

# -------------------------------------------------------------------------- at the pty's other end


@dataclass
class Run:
    """What one process wrote and said."""

    figures: dict[str, float]
    output: bytes
    shown: float
    """When the last word of the text was written."""

    @property
    def cpu(self) -> float:
        """Seconds; infinite if it was stopped."""
        return self.figures.get("cpu", float("inf"))


def run(name: str, size: int, argument: str = "instant") -> Run:
    """Run a renderer and read what it writes as fast as it does."""
    said, say = os.pipe()
    os.set_inheritable(say, True)
    pid, master = pty.fork()
    if pid == 0:
        termios.tcsetwinsize(0, (40, 120))
        environ = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        for key in ("COLUMNS", "LINES", "NO_COLOR"):
            environ.pop(key, None)
        program = [sys.executable, __file__, name, str(size), argument, str(say)]
        os.execve(sys.executable, program, environ)
    os.close(say)
    output, shown = drain(master)
    os.close(master)
    with suppress(ProcessLookupError):
        os.kill(pid, 9)
    os.waitpid(pid, 0)
    with open(said) as figures:
        return Run(json.loads(figures.read() or "{}"), output, shown)


def drain(master: int) -> tuple[bytes, float]:
    """All that is written within the limit, and when the last word was."""
    output, shown, until = bytearray(), 0.0, time.monotonic() + LIMIT
    word = LAST.strip().encode()
    while time.monotonic() < until and select.select([master], [], [], LIMIT)[0]:
        try:
            new = os.read(master, 65536)
        except OSError:  # the other end is gone
            break
        if not new:
            break
        output += new
        if not shown and word in output[-len(new) - len(word) :]:
            shown = time.monotonic()
    return bytes(output), shown


def median(name: str, size: int, argument: str, runs: int) -> Run:
    """The run of median CPU."""
    made = sorted((run(name, size, argument) for _ in range(runs)), key=lambda each: each.cpu)
    return made[len(made) // 2]


class Flood:
    """An engine that says it all at once: a block, if it is asked for one, or a document."""

    model = "flood"
    instructions = ""

    def prepare(self, prompt: ModelInput) -> None:
        pass

    def on_connect(self) -> CloseConnection | None:
        return None

    def answer(self, prompt: ModelInput) -> Answer:
        async def speak() -> Answer:
            for delta in deltas(BLOCKS.get(prompt.question, document)(200 * KB)):
                yield delta
            yield Finish()

        return speak()


@contextmanager
def flooding() -> Iterator[str]:
    """Its server, in a thread of this process; the URL."""
    loop, stop, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    urls: list[str] = []

    async def serve() -> None:
        async with run_server(Flood()) as url:
            urls.append(url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait()
    try:
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def say(name: str, figure: str, goal: str = "") -> None:
    """One line of the report."""
    sys.stdout.write(f"{name:<58} {figure:>18}  {goal}\n")
    sys.stdout.flush()


def row(name: str, small: Run, large: Run | None, paced: Run | None) -> None:
    """One line of the table."""

    def cell(made: Run | None, size: int) -> str:
        if made is None:
            return f"{'-':>22}"
        cpu = f"{made.cpu:.2f} s" if made.figures else f"> {LIMIT:.0f} s"
        return f"{cpu:>9} {len(made.output) / size:>8.1f} B/B"

    cells = (cell(small, 20 * KB), cell(large, 200 * KB), cell(paced, 20 * KB))
    sys.stdout.write(f"{name:<26} {' '.join(cells)}\n")
    sys.stdout.flush()


def goals(at_once: list[Run], instant: list[Run], paced: Run) -> None:
    """Each figure beside its goal."""
    for size, once, streamed in zip((20, 200), at_once, instant, strict=True):
        times = f"{streamed.cpu / once.cpu:.2f}x"
        say(f"{size} KB: CPU of streaming / one Rich render", times, "<= 1.5x")
        amplified = f"{len(streamed.output) / (size * KB):.2f}"
        say(f"{size} KB instant: bytes to the terminal / bytes of text", amplified, "<= 3")
    say("CPU of 200 KB / CPU of 20 KB", f"{instant[1].cpu / instant[0].cpu:.1f}x", "<= 12x")
    say("20 KB paced: bytes / bytes of text", f"{len(paced.output) / (20 * KB):.2f}", "<= 6")
    lag = (paced.shown - paced.figures["last"]) * 1000
    say("20 KB paced: last delta arrived, on screen after", f"{lag:.0f} ms", "<= 100 ms")
    ups = len(re.findall(rb"\x1b\[\d*A|\x1bM", paced.output)) / paced.figures["seconds"]
    say("20 KB paced: cursor-up moves a second", f"{ups:.1f}", "<= 15")
    share = paced.cpu / paced.figures["seconds"]
    say("20 KB paced: share of a core", f"{share:.0%}", "<= 20 %")


def blocks(url: str) -> None:
    """How long one block of 200 KB ever holds up the program."""
    sys.stdout.write(f"\n{'one block of 200 KB':<26} {'longest call':>22} {'loop lag':>22}\n")
    for name in BLOCKS:
        worst = run("block", 200 * KB, name).figures.get("worst", LIMIT)
        late = run("session", 0, f"{url} {name}").figures.get("late", LIMIT)
        sys.stdout.write(f"{name:<26} {worst * 1000:>19.0f} ms {late * 1000:>19.0f} ms\n")
        sys.stdout.flush()


def main() -> None:
    """The report."""
    sizes = (20 * KB, 200 * KB)
    pairs = [
        [(run("rich_at_once", size), run("rtchat_instant", size)) for _ in range(RUNS)]
        for size in sizes
    ]
    middle = [sorted(each, key=lambda pair: pair[1].cpu / pair[0].cpu)[RUNS // 2] for each in pairs]
    at_once, instant = [pair[0] for pair in middle], [pair[1] for pair in middle]
    paced = sorted((run("rtchat_paced", 20 * KB, "paced") for _ in range(3)), key=lambda r: r.cpu)
    goals(at_once, instant, paced[1])
    with flooding() as url:
        lags = [run("session", 0, f"{url} ?").figures["late"] * 1000 for _ in range(RUNS)]
        figure = f"{statistics.median(lags):.0f} ms ({max(lags):.0f})"
        say("200 KB through a real session: loop lag, median (worst)", figure, "<= 50 ms")
        blocks(url)
    sys.stdout.write(
        f"\n{'':<26} {'20 KB instant':>22} {'200 KB instant':>22} {'20 KB paced':>22}\n"
    )
    row("rtchat", instant[0], instant[1], paced[1])
    row("one Rich render at the end", at_once[0], at_once[1], None)
    names = ["textbook", *(name for name in ("streamdown", "llm") if find_spec(name))]
    for name in names:
        small, large = (run(name, size) for size in sizes)
        row(name, small, large, run(name, 20 * KB, "paced"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        kind, count, how, channel = sys.argv[1:]
        made = CHILDREN[kind](int(count), how)
        with open(int(channel), "w") as back:
            json.dump(made, back)
    else:
        main()
