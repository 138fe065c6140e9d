"""Faults over several connections: exhausted retries, endless replies, events with damaged fields,
and what the user sees.

The matrix of single faults is in `test_faults`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from tests.faults import (
    EXPIRED,
    HALF,
    SILENT,
    Row,
    Seen,
    Server,
    always,
    failing,
    hint,
    kept,
    nobody,
    refusing,
    together,
)
from tests.faulty import (
    HELLO,
    Close,
    FaultyServer,
    Mishap,
    Step,
    begun,
    done,
    said,
    sockets,
)
from tests.program import PATIENCE, Program, Ran, background
from tests.terminal import PROMPT, Terminal
from tests.wire_examples import BETA_EVENTS, EVENTS


def ran(program: Program, server: FaultyServer, *arguments: str, stdin: bytes = b"") -> Ran:
    """The result of the program with this server."""
    with background(lambda: sockets(server.talk)) as url:
        return program.run(*arguments, "--url", url, stdin=stdin)


# ---------------------------------------------------------------------------------- repeated faults


def test_faults_that_outlast_the_retries(tmp_path: Path) -> None:
    """Six attempts take about 13 s, so both commands run at the same time."""
    connected = "reconnected in N s · 1 turn replayed"
    faults: list[tuple[Server, str, tuple[str, ...]]] = [
        (
            always(Mishap.RESET),
            "connection lost (1006)",
            (connected,),
        ),
        (always(Close(1011, "oops")), "connection lost (1011 oops)", (connected,)),
        (refusing(*[(503, "")] * 6), "the server responded with HTTP 503", ()),
    ]
    rows = []
    for server, why, after in faults:
        err = (*(f"{why}; retrying in N s", *after) * 5, f"rtchat: {why}", hint())
        seen = Seen(4, "", err, "one failed")
        rows.append(Row(why, server, (seen, seen)))
    assert together(tmp_path, [(row, "once") for row in rows]) == [row.ends[0] for row in rows]


def test_every_line_is_answered_however_often_the_connection_breaks(
    program: Program,
) -> None:
    server = FaultyServer(*[(*HALF, Mishap.RESET)] * 3)
    done = ran(program, server, "talk", "-q", stdin=b"one\ntwo\nthree\nfour\n")
    assert (done.code, done.text) == (1, "Half\nHalf\nHalf\nFine.\n")
    said = ["one", "Half", "two", "Half", "three", "Half", "four"]
    assert server.told == [["one"], said[:3], said[:5], said]
    interrupted = [(text, "interrupted") for text in said[:6]]
    assert kept(program) == [*interrupted, ("four", "completed"), ("Fine.", "completed")]


def test_an_endless_reply_is_stopped_and_saved(program: Program) -> None:
    endless = FaultyServer(chain((begun(),), repeat(said("word "))))
    with (
        background(lambda: sockets(endless.talk)) as url,
        program.start("once", "one", "--url", url, "--no-stdin") as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        begin = process.stdout.read(9)
        process.send_signal(signal.SIGINT)
        text = (begin + process.stdout.read()).decode().removesuffix("\n")
        err = process.stderr.read().decode().splitlines()
    assert process.returncode == 130
    assert "interrupted" in err
    assert kept(program) == [("one", "cancelled"), (text, "cancelled")]


def test_a_frame_of_60_megabytes(program: Program) -> None:
    text = "sixty mb" * 7_500_000
    options = ("-q", "--max-reply-bytes", str(len(text)))
    done_ = ran(program, FaultyServer((begun(), said(text), done())), "once", "one", *options)
    assert (done_.code, done_.err) == (0, "")
    assert done_.text == f"{text}\n"
    assert kept(program) == [("one", "completed"), (text, "completed")]


ALIVE = """
import asyncio, signal, sys
from rtchat.__main__ import main
from rtchat.client import transport

patient = transport.SocketLink.keep_alive

async def hurried(connection):
    transport.SocketLink.keep_alive = patient
    dead = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, dead.set)
    await dead.wait()
    transport.PING_INTERVAL = connection._silence = 0.1
    await patient(connection)

transport.SocketLink.keep_alive = hurried
sys.exit(main())
"""
"""With a signal, the first connection of the program gets a short keepalive."""


def test_a_dead_connection_is_noticed_between_questions(program: Program) -> None:
    server = FaultyServer((begun(), said("Begin"), done(), Mishap.FREEZE))
    with background(lambda: sockets(server.talk)) as url:
        command = [sys.executable, "-c", ALIVE, "talk", "--url", url]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**program.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            cwd=program.home,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"Begin\n"
        process.send_signal(signal.SIGUSR1)
        process.stderr.readline()
        lost = process.stderr.readline().decode()
        out, _ = process.communicate(b"two\n", PATIENCE)
    assert lost == "connection lost (1011 no answer to a ping for 0.1 s); retrying in 0.5 s\n"
    assert (process.returncode, out) == (0, b"Fine.\n")
    assert server.told == [["one"], ["one", "Begin", "two"]]
    assert [state for _, state in kept(program)] == ["completed"] * 4


# ----------------------------------------------------------------------------------- damaged fields

WRONG = (None, 5, "x", ["x"], {"x": "x"}, True, -1.5)
"""One value of each JSON type."""


def damaged(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The event with each of its fields, at any depth, missing or of another type."""
    for path in paths(event):
        for wrong in (*WRONG, ...):
            copy = deepcopy(event)
            holder: Any = copy
            for key in path[:-1]:
                holder = holder[key]
            if type(wrong) is type(holder[path[-1]]):
                continue
            if wrong is not ...:
                holder[path[-1]] = wrong
            elif isinstance(holder, dict):
                del holder[path[-1]]
            yield copy


def paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all fields and entries of a JSON value."""
    if path:
        yield path
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for key, entry in entries:
        yield from paths(entry, (*path, key))


EXAMPLES = {str(event["type"]): event for event, _ in (*EVENTS, *BETA_EVENTS)}
SESSIONS = ("session.created", "session.updated")


def answers(program: Program, server: FaultyServer, questions: int) -> list[dict[str, Any]]:
    """The replies to this many questions."""
    stdin = b"question\n" * questions
    done = ran(program, server, "talk", "--json", "--timeout", "5", stdin=stdin)
    assert "Traceback" not in done.err
    assert "internal error" not in done.err
    return [json.loads(line) for line in done.text.splitlines()]


def test_damaged_events_within_a_reply(program: Program) -> None:
    replies: list[tuple[Step, ...]] = []
    for number, (type_, event) in enumerate(sorted(EXAMPLES.items())):
        id = f"r{number}"
        mine = json.loads(json.dumps(event).replace('"r"', f'"{id}"'))
        if type_ not in (*SESSIONS, "response.created", "response.done"):
            frames = [json.dumps(variant) for variant in damaged(mine)]
            replies.append((begun(id), said("Begin, ", id), *frames, said("end.", id), done(id=id)))
    found = answers(program, FaultyServer(*replies), len(replies))
    assert len(replies) > 30
    # A call in one of them is not for this program.
    statuses = ["incomplete" if reply["tool_calls"] else "completed" for reply in found]
    assert [reply["status"] for reply in found] == statuses
    assert len(found) == len(replies)
    assert [reply["text"][:11] for reply in found] == ["Begin, end."] * len(replies)


@pytest.mark.parametrize("type_", ["response.created", "response.done"])
def test_a_damaged_frame_around_a_reply(program: Program, type_: str) -> None:
    replies: list[tuple[Step, ...]] = []
    for number, variant in enumerate(damaged(EXAMPLES[type_])):
        id = f"r{number}"
        odd = json.dumps(variant).replace('"r"', f'"{id}"')
        first, last = (odd, done(id=id)) if type_ == "response.created" else (begun(id), odd)
        replies.append((first, said("Begin, ", id), said("end.", id), last, done(id=id)))
    found = answers(program, FaultyServer(*replies), len(replies))
    assert [reply["text"][:11] for reply in found] == ["Begin, end."] * len(replies)


@pytest.mark.parametrize("type_", SESSIONS)
def test_a_damaged_session(program: Program, type_: str) -> None:
    """Each reply ends its session, so that the next one gets different damage."""
    variants = [json.dumps(variant) for variant in damaged(EXAMPLES[type_])]
    before = HELLO if type_ == "session.updated" else ()
    server = FaultyServer(
        *[(begun(), said("Fine."), done(), Close(1001)) for _ in variants],
        greetings=[(*before, variant, *HELLO) for variant in variants],
    )
    found = answers(program, server, len(variants))
    assert [reply["text"] for reply in found] == ["Fine."] * len(variants)


# ----------------------------------------------------------------------------------- at the prompt


@pytest.mark.parametrize(
    ("mishap", "shows"),
    [
        ((*HALF, Mishap.RESET), ("Half", "connection lost (1006)", "reconnected in")),
        ((*HALF, *EXPIRED), ("Half", "connection lost (1001", "reconnected in")),
        (
            (*HALF, Mishap.SILENCE),
            ("Half", "no response for 2 s", "reconnected in"),
        ),
        (failing("server_error", "Oh no.", *HALF), ("Half", "the reply failed: Oh no.")),
        (
            failing("rate_limit_exceeded", "Please try again in 1m2s."),
            ("Please try again in 1m2s",),
        ),
        (
            (*HALF, done("incomplete", reason="content_filter")),
            ("Half", "stopped by the content filter"),
        ),
    ],
    ids=["reset", "expired", "stall", "failed", "limit", "filter"],
)
def test_the_prompt_shows_a_fault_and_continues(
    program: Program, mishap: tuple[Step, ...], shows: tuple[str, ...]
) -> None:
    with background(lambda: sockets(FaultyServer(mishap).talk)) as url:
        quick = SILENT if Mishap.SILENCE in mishap else ()
        terminal = Terminal(program, ["--url", url, *quick], {})
        terminal.shows("connected in", PROMPT)
        terminal.types("one\r")
        terminal.shows(f"{PROMPT} one", *shows, PROMPT)
        terminal.types("two\r")
        terminal.shows(f"{PROMPT} two", "Fine.", PROMPT)
        terminal.types("\x04")
        assert terminal.ends() == 0
    assert [text for text, _ in kept(program)][-2:] == ["two", "Fine."]


@pytest.mark.parametrize(
    ("server", "lines", "code"),
    [
        (nobody, ("refused the connection", "hint: check --url"), 4),
        (
            refusing((401, "")),
            ("the server responded with HTTP 401", "hint: set OPENAI_API_KEY"),
            3,
        ),
    ],
    ids=["refused", "401"],
)
def test_the_prompt_shows_why_connecting_failed(
    program: Program, server: Server, lines: tuple[str, str], code: int
) -> None:
    with background(lambda: server(program)) as url:
        terminal = Terminal(program, ["--url", url], {})
        terminal.shows(*lines)
        assert terminal.ends() == code
    assert kept(program) == []
