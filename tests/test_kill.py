"""`kill -9` at any moment: the file opens, and what was shown is in it but for the last second.

Conversations of several processes at once, each killed at a random moment of its own.
RTCHAT_TEST_KILLS is how many in the full suite; RTCHAT_TEST_SEED chooses other moments.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rtchat.core.values import Entry, Message, State
from rtchat.history.store import FILE, Store
from rtchat.server.engine import Answer, CloseConnection, Finish, ModelInput
from rtchat.server.sockets import run_server
from tests.program import PATIENCE, Program, background

FEW, KILLS = 24, int(os.environ.get("RTCHAT_TEST_KILLS", "200"))
SEED = int(os.environ.get("RTCHAT_TEST_SEED", "20261122"))
AT_ONCE = 8
EARLY = 1.0
"""Seconds from the start of a process in which every fourth is killed."""
LATE = 2.5
"""Seconds from its first word in which the others are."""
LAST_SECOND = 1.0
LINES = 12
"""More than can be answered in that time."""


@dataclass
class Slow:
    """Answers with a hundred words of its own to each question, a hundred a second."""

    model = "slow"
    instructions = ""
    asked: list[str] = field(default_factory=list)

    def prepare(self, prompt: ModelInput) -> None:
        pass

    def on_connect(self) -> CloseConnection | None:
        return None

    async def answer(self, prompt: ModelInput) -> Answer:
        self.asked.append(prompt.question)
        for number in range(random.Random(prompt.question).randrange(1, 150)):
            await asyncio.sleep(0.01)
            yield f"{prompt.question}-{number} "
        yield Finish()


@dataclass
class Killed:
    """What a process that was killed had done."""

    number: int
    shown: str
    """On stdout, up to a second before its end."""
    file: Path

    def check(self, asked: list[str]) -> None:
        """`asked` are the questions that the server was asked, by whomever."""
        mine = [line for line in asked if line in lines(self.number)]
        if not self.file.exists():
            assert (self.shown, mine) == ("", [])
            return
        with closing(sqlite3.connect(self.file)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        with closing(Store(self.file)) as store:
            kept = [store.read(found.id) for found in store.conversations()]
        entries = [entry for conversation in kept for entry in conversation.entries]
        questions = [text(entry) for entry in entries if entry.index == 0]
        replies = [text(entry) for entry in entries if entry.index > 0]
        assert questions == lines(self.number)[: len(questions)]
        assert mine == questions[: len(mine)]
        assert "".join(f"{reply}\n" for reply in replies).startswith(self.shown)
        unfinished = [entry for entry in entries if entry.state is State.STREAMING]
        assert unfinished in ([], entries[2 * len(replies) - 1 : 2 * len(replies)])


def text(entry: Entry) -> str:
    assert isinstance(entry.item, Message)
    return entry.item.text


def lines(number: int) -> list[str]:
    """The questions of a process."""
    return [f"{number}-{line}" for line in range(LINES)]


def killed(home: Path, url: str, number: int) -> Killed:
    """Start a conversation, and kill it."""
    home.mkdir()
    program = Program(home)
    program.environ["RTCHAT_URL"] = url
    rng = random.Random(SEED + number).random()
    moment = time.monotonic() + (PATIENCE if number % 4 else EARLY * rng)
    arrived: list[tuple[float, bytes]] = []
    with program.start("talk", "-q") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(f"{line}\n" for line in lines(number)).encode())
        process.stdin.flush()
        while (left := moment - time.monotonic()) > 0:
            if select.select((process.stdout,), (), (), left)[0]:
                arrived.append((time.monotonic(), os.read(process.stdout.fileno(), 65536)))
                if number % 4 and len(arrived) == 1:
                    moment = time.monotonic() + LATE * rng
        process.kill()
        process.stdin.close()
        assert process.wait() == -9
    shown = b"".join(data for when, data in arrived if when < moment - LAST_SECOND)
    return Killed(number, shown.decode(), home / ".local" / "share" / "rtchat" / FILE)


@pytest.mark.parametrize("kills", [FEW, pytest.param(KILLS, marks=pytest.mark.full)])
def test_nothing_that_was_shown_is_missing_but_the_last_second(tmp_path: Path, kills: int) -> None:
    slow = Slow()
    with background(lambda: run_server(slow)) as url, ThreadPoolExecutor(AT_ONCE) as pool:
        runs = list(pool.map(lambda n: killed(tmp_path / str(n), url, n), range(kills)))
    for run in runs:
        run.check(slow.asked)
    assert sum(bool(run.shown) for run in runs) > kills / 4, "most were killed too soon to tell"
