"""What large conversations cost: `python tests/bench/memory.py`.

Memory is what the operating system counts for the program's own process, beside that of a small
run, so that what is left is the text's; times are medians, beside those of a small history. Ratios
hold on any machine, megabytes and milliseconds on this one.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, it is in nobody's package

from rtchat.core.values import Entry, Message, Part, Role, State
from rtchat.history.store import FILE, Store
from tests.faulty import FaultyServer, begun, done, said, sockets
from tests.program import Program, background

MB = 10**6
QUESTION = "why is the sky blue? " * 10
FEW, MANY = 1_000, 10_000
"""Turns of one process."""
SMALL, LARGE = 1_000, 100_000
"""Items of a history."""
IN_ONE = 200
"""Items of one of its conversations."""
RUNS = 9


def row(what: str, *cells: str) -> None:
    """A line of the table."""
    sys.stdout.write(f"{what:<44}" + "".join(f"{cell:>16}" for cell in cells) + "\n")
    sys.stdout.flush()


# ------------------------------------------------------------------------------ memory of a process

NO_LIMIT = ("--max-reply-bytes", "1000000000")
WATCHED = """
import sys
from rtchat.__main__ import main
code = main()
with open("/proc/self/status") as status, open("peak", "w") as peak:
    peak.write(next(line for line in status if line.startswith("VmHWM:")).split()[1])
sys.exit(code)
"""
"""The program, which in the end writes down the most memory that it had, in KB."""


def peak(folder: Path, hand: FaultyServer, prompt: str) -> tuple[float, float]:
    """The most memory that `once` had, in bytes, and the seconds that it took."""
    home = Path(tempfile.mkdtemp(dir=folder))
    environ = {**Program(home).environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with background(lambda: sockets(hand.talk)) as url:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", WATCHED, "once", "-q", "--url", url, *NO_LIMIT],
            input=prompt.encode(),
            stdout=subprocess.DEVNULL,
            env=environ,
            cwd=home,
            check=True,
        )
    return int((home / "peak").read_text()) * 1024, time.perf_counter() - began


def reply(size: int) -> FaultyServer:
    """A server that answers with a frame of so many bytes."""
    return FaultyServer((begun(), said("x" * size), done()))


def large_messages(folder: Path) -> None:
    """A long prompt, a large frame."""
    least, _ = peak(folder, FaultyServer(), "hi")
    row("", "peak MB", "over small", "bytes/byte", "seconds")
    row("a small turn", f"{least / MB:.1f}")
    for what, hand, prompt, size in (
        ("a prompt of 5 MB", FaultyServer(), "word " * MB, 5 * MB),
        ("a frame of 6 MB", reply(6 * MB), "hi", 6 * MB),
        ("a frame of 60 MB", reply(60 * MB), "hi", 60 * MB),
    ):
        most, seconds = peak(folder, hand, prompt)
        more = most - least
        row(what, f"{most / MB:.1f}", f"{more / MB:.1f}", f"{more / size:.1f}", f"{seconds:.1f}")


def resident(pid: int) -> float:
    """The memory of a process, in bytes."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def many_turns(folder: Path) -> None:
    """One process, ten thousand questions."""
    home = Path(tempfile.mkdtemp(dir=folder))
    program = Program(home)
    sizes: dict[int, float] = {}
    began = time.perf_counter()
    with (
        background(lambda: sockets(FaultyServer().talk)) as url,
        program.start("talk", "-q", "--url", url) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        for turn in range(1, MANY + 1):
            process.stdin.write(f"{turn} {QUESTION}\n".encode())
            process.stdin.flush()
            assert process.stdout.readline() == b"Fine.\n"
            if turn in (100, FEW, MANY):
                sizes[turn] = resident(process.pid)
        process.stdin.close()
        assert process.wait() == 0
    seconds = time.perf_counter() - began
    text = (MANY - FEW) * (len(QUESTION) + len("Fine."))
    row("turns of one process", *(str(turn) for turn in sizes), "bytes/byte")
    ratio = (sizes[MANY] - sizes[FEW]) / text
    row("  MB", *(f"{size / MB:.1f}" for size in sizes.values()), f"{ratio:.1f}")
    row("  ms a turn", f"{seconds / MANY * 1000:.1f}")


# ---------------------------------------------------------------------------------------- a history


def message(turn: int, index: int) -> Entry:
    """The question or the reply of a turn; every hundredth reply has a rare word."""
    role: Role = "assistant" if index else "user"
    rare = " zebra" if index and turn % 100 == 7 else ""
    part = Part("text", f"{QUESTION}{turn}{rare}")
    return Entry(turn, index, Message(role, (part,)), State.COMPLETED, "model")


def fill(path: Path, items: int) -> float:
    """Make a history; the seconds that it took."""
    began = time.perf_counter()
    with closing(Store(path)) as store:
        for _ in range(items // IN_ONE):
            store.begin()
            for turn in range(1, IN_ONE // 2 + 1):
                store.record(message(turn, 0))
                store.record(message(turn, 1))
    return time.perf_counter() - began


def median(act: Callable[[], object]) -> float:
    """Seconds."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def opened(path: Path) -> None:
    """What `history list` does."""
    with closing(Store(path)) as store:
        store.conversations(20)


def times(path: Path) -> dict[str, float]:
    """How long each thing takes that the program does with a history."""
    taken = {"open, list 20": median(lambda: opened(path))}
    with closing(Store(path)) as store:
        turns = iter(range(1, RUNS + 1))
        store.begin()
        taken["record"] = median(lambda: store.record(message(next(turns), 0)))
        taken["read a conversation"] = median(lambda: store.read(2))
        taken["search a rare word"] = median(lambda: store.search("zebra"))
        taken["search a common word"] = median(lambda: store.search("blue"))
    return taken


def histories(folder: Path) -> None:
    """A small and a large history, side by side."""
    small, large = folder / "small" / FILE, folder / "large" / FILE
    fill(small, SMALL)
    seconds = fill(large, LARGE)
    row("items of a history", str(SMALL), str(LARGE), "ratio")
    sizes = [path.stat().st_size / MB for path in (small, large)]
    row("  MB", *(f"{size:.1f}" for size in sizes), f"{sizes[1] / sizes[0]:.1f}")
    for (what, before), after in zip(times(small).items(), times(large).values(), strict=True):
        row(f"  {what}, ms", f"{before * 1e3:.2f}", f"{after * 1e3:.2f}", f"{after / before:.1f}")
    row("  to write one of the large one's, ms", "", f"{seconds / LARGE * 1e3:.2f}")


def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large_messages(folder)
        many_turns(folder)
        histories(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
