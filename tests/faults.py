"""Servers with faults, and the expected results of the program for each.

The program runs as a process against real servers on 127.0.0.1. The faults are in `test_faults`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from rtchat.core.values import Message
from rtchat.history.store import FILE, Store
from tests.faulty import (
    READY,
    Close,
    FaultyServer,
    Step,
    begun,
    certificate,
    done,
    error,
    said,
    sockets,
    tcp,
    unused_port,
)
from tests.program import Program, background

Server: TypeAlias = Callable[[Program], AbstractAsyncContextManager[str]]
"""Starts a server and returns its URL, with environment variables for the program if needed."""


@dataclass(frozen=True)
class Seen:
    """The results of a run."""

    code: int
    out: str
    err: tuple[str, ...]
    """The lines on stderr, without times, tokens and ids; the server's address is HERE. Of a hint
    there are only the options and variables that it names."""
    kept: str
    """The saved items and their states, in order."""


@dataclass(frozen=True)
class Row:
    """A fault, and the results of `once one` and of `talk` with the lines "one" and "two"."""

    name: str
    server: Server
    ends: tuple[Seen, Seen]
    options: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------ servers


def scripted(
    *replies: tuple[Step, ...],
    greetings: tuple[tuple[Step, ...], ...] = (),
    ready: tuple[Step, ...] = READY,
) -> Server:
    """A Realtime server that follows a script, then behaves correctly."""
    return lambda _: sockets(FaultyServer(*replies, greetings=greetings, ready=ready).talk)


def refusing(*refusals: tuple[int, str]) -> Server:
    """A server whose first handshakes fail with these HTTP statuses and `Retry-After` values."""
    return lambda _: sockets(FaultyServer().talk, refusals=refusals)


def saying_bytes(reply: bytes, *, stays: bool = False) -> Server:
    """A server that is not a WebSocket server."""

    @asynccontextmanager
    async def serve(_: Program) -> AsyncIterator[str]:
        async with tcp(reply, at_once=True, stays=stays) as port:
            yield f"ws://{port.address}/v1/realtime"

    return serve


@asynccontextmanager
async def nobody(_: Program) -> AsyncIterator[str]:
    """A port without a server."""
    with unused_port() as port:
        yield f"ws://127.0.0.1:{port}/v1/realtime"


@asynccontextmanager
async def nowhere(_: Program) -> AsyncIterator[str]:
    """A host that does not exist."""
    yield "wss://rtchat.invalid/v1/realtime"


def secured(*, expired: bool) -> Server:
    """A server with a self-signed certificate, or a trusted one that has expired."""

    @asynccontextmanager
    async def serve(program: Program) -> AsyncIterator[str]:
        file, context = certificate(program.home, "IP:127.0.0.1", expired=expired)
        if expired:
            program.environ["SSL_CERT_FILE"] = str(file)
        async with sockets(FaultyServer().talk, tls=context) as url:
            yield url

    return serve


# --------------------------------------------------------------------------------- expected results

ONE, TWO = "one completed | Fine. completed", "two completed | Fine. completed"


RACE = "what was read by then"
"""What is saved of lines from a pipe if the connection failed while the first was read."""


def refused(code: int, line: str, *names: str) -> tuple[Seen, Seen]:
    """Connecting failed and is not retried. The hint has these names."""
    err = (f"rtchat: {line}", hint(*names))
    return Seen(code, "", err, "one failed"), Seen(code, "", err, RACE)


def given_up(code: int, line: str, *names: str) -> tuple[Seen, Seen]:
    """Connecting failed for good after the first line was read; the second is never read."""
    once, _ = refused(code, line, *names)
    return once, once


def hint(*names: str) -> str:
    """A hint with these names, as `Seen` has it."""
    return " ".join(("hint:", *names))


def asked_again(*notes: str) -> tuple[Seen, Seen]:
    """Nothing of a reply was lost: all questions are answered, with these lines on stderr."""
    once = Seen(0, "Fine.\n", notes, ONE)
    return once, Seen(0, "Fine.\nFine.\n", notes, f"{ONE} | {TWO}")


def replayed(lost: str, times: int = 1) -> tuple[Seen, Seen]:
    """Lost before the reply: the question is asked again on a new connection."""
    return asked_again(
        *(f"{lost}; retrying in N s", "reconnected in N s · 1 turn replayed") * times
    )


def cut(lost: str, *names: str) -> tuple[Seen, Seen]:
    """Lost during a reply: it is saved as received, and the next question is sent on a new
    connection."""
    kept = "one interrupted | Half interrupted"
    err = (f"rtchat: {lost}", hint(*names))
    again = (f"{lost}; retrying in N s", "reconnected in N s · 1 turn replayed")
    talk = Seen(1, "Half\nFine.\n", (*err, *again), f"{kept} | {TWO}")
    return Seen(4, "Half\n", err, kept), talk


def silent(seconds: int, text: str, *names: str) -> tuple[Seen, Seen]:
    """The rest of the reply does not arrive: it is not requested again, and the next question is
    sent on a new connection."""
    kept = "one incomplete | Half incomplete" if text else "one failed"
    err = (f"rtchat: timed out: no response for {seconds} s", hint(*names))
    out = f"{text}\n" if text else ""
    again = "reconnected in N s · 1 turn replayed"
    return Seen(4, out, err, kept), Seen(1, f"{out}Fine.\n", (*err, again), f"{kept} | {TWO}")


def cut_off(code: int, line: str, *names: str) -> tuple[Seen, Seen]:
    """Lost during a reply, without another connection."""
    kept = "one interrupted | Half interrupted"
    err = (f"rtchat: {line}", hint(*names))
    seen = Seen(code, "Half\n", err, kept)
    return seen, seen


def fine(text: str, *err: str) -> tuple[Seen, Seen]:
    """The reply is this text, and everything else succeeds."""
    kept = f"one completed | {text} completed"
    talk = Seen(0, f"{text}\nFine.\n", err, f"{kept} | {TWO}")
    return Seen(0, f"{text}\n", err, kept), talk


def failed(code: int, text: str, state: str, line: str, *more: str) -> tuple[Seen, Seen]:
    """The reply is incomplete; the next one is complete."""
    kept = f"one {state} | {text} {state}" if text else f"one {state}"
    out = f"{text}\n" if text else ""
    err = (f"rtchat: {line}", *more)
    return Seen(code, out, err, kept), Seen(1, f"{out}Fine.\n", err, f"{kept} | {TWO}")


HALF: tuple[Step, ...] = (begun(), said("Half"))
SILENT = ("--timeout", "2")
HOUR = "Your session hit the maximum duration of 60 minutes."
EXPIRED: tuple[Step, ...] = (error("session_expired", HOUR), Close(1001, HOUR))


def always(step: Step) -> Server:
    """Every question ends like this."""
    return scripted(*[(step,)] * 6)


def failing(code: str, message: str, *before: Step) -> tuple[Step, ...]:
    """A reply that fails."""
    return *(before or (begun(),)), done("failed", error={"code": code, "message": message})


# ----------------------------------------------------------------------------------------- running


def together(folder: Path, runs: Sequence[tuple[Row, str]]) -> list[Seen]:
    """Run these at the same time, each with its own home folder and server."""
    homes = [folder / str(number) for number in range(len(runs))]
    with ThreadPoolExecutor(len(runs)) as pool:
        return list(pool.map(observe, homes, *zip(*runs, strict=True)))


def observe(home: Path, row: Row, command: str) -> Seen:
    """Run `once one`, or `talk` with two lines."""
    arguments, stdin = (["once", "one"], b"") if command == "once" else (["talk"], b"one\ntwo\n")
    home.mkdir()
    program = Program(home)
    with background(lambda: row.server(program)) as url:
        ran = program.run(*arguments, "--url", url, *row.options, stdin=stdin)
    assert "Traceback" not in ran.err
    err = re.sub(
        r"(retrying|reconnected) in [\d.]+ s",
        r"\1 in N s",
        ran.err.replace(urlsplit(url).netloc, "HERE"),
    )
    err = re.sub(r" \((session|response) [^)]*\)$", "", err, flags=re.MULTILINE)
    said = tuple(names_only(line) for line in err.splitlines() if " · first token " not in line)
    states = [f"{text} {state}" for text, state in kept(program)]
    return Seen(ran.code, ran.text, said, " | ".join(states))


def names_only(line: str) -> str:
    """The names of a hint; any other line as it is."""
    return hint(*re.findall(r"--[a-z-]+|[A-Z_]{4,}", line)) if line.startswith("hint: ") else line


def kept(program: Program) -> list[tuple[str, str]]:
    """The saved items of the only conversation, and their states."""
    with closing(Store(program.home / ".local" / "share" / "rtchat" / FILE)) as store:
        conversations = [store.read(found.id) for found in store.conversations()]
    assert len(conversations) <= 1
    entries = [entry for conversation in conversations for entry in conversation.entries]
    return [(entry.item.text, entry.state) for entry in entries if isinstance(entry.item, Message)]
