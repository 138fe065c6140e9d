"""The history in its thread: locked, slow and hanging files, and what is saved then."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from rtchat.client.history import History
from rtchat.client.session import Session, SessionParts
from rtchat.core.backoff import Timeouts
from rtchat.core.conversation import Conversation
from rtchat.core.effects import Notice, ReplyOver
from rtchat.core.errors import ExitCode, OutputError, Problem
from rtchat.core.events import (
    InputEnded,
    LeaveAsked,
    LocalEvent,
    NewConversationAsked,
    ResumeAsked,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.ports import Post, Source, Tap
from rtchat.core.values import Entry, JsonObject, Message, Options, Part, State, StoredConversation
from rtchat.history.store import FILE, Store
from rtchat.history.writer import HistoryWriter
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from tests.program import Program, background
from tests.scripted import HELLO, QUESTION, Expect, Screen, ScriptedServer, answer, run_fast
from tests.terminal import PROMPT, Terminal

LOCKED = "is locked by another program"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An existing, empty history."""
    path = tmp_path / FILE
    with closing(Store(path)) as store:
        store.conversations()
    return path


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Lock the file from another connection, which can release it early with a rollback."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


def entry(turn: int, index: int, text: str, state: State = State.COMPLETED) -> Entry:
    item = Message("assistant" if index else "user", (Part("text", text),))
    return Entry(turn, index, item, state, "m")


def said(path: Path) -> list[list[str]]:
    """The texts of each conversation in the file, oldest first."""
    with closing(Store(path)) as store:
        kept = [store.read(found.id) for found in reversed(store.conversations())]
    items = [[entry.item for entry in each.entries] for each in kept]
    return [[item.text for item in each if isinstance(item, Message)] for each in items]


# ---------------------------------------------------------------------------------- the writer


def test_a_locked_file_does_not_block_the_loop(path: Path) -> None:
    """Only the loop releases the lock: if it had waited, the entry could not be written."""

    async def main() -> str:
        writer = HistoryWriter(Store(path))
        with locked(path) as other:
            written = writer.record(entry(1, 0, "hi"))
            assert not written.done()
            other.execute("ROLLBACK")
            await written
        return told(writer.close())

    assert asyncio.run(main()) == ""
    assert said(path) == [["hi"]]


def test_lost_entries_are_reported_with_the_reason(path: Path) -> None:
    async def main() -> str:
        writer = HistoryWriter(Store(path))
        with locked(path):
            for turn in (1, 2):
                with pytest.raises(OutputError, match=LOCKED):
                    await writer.record(entry(turn, 0, "hi"))
            return told(writer.close())

    message = asyncio.run(main())
    assert message.startswith("2 items of the conversation could not be written")
    assert f"{path} {LOCKED}" in message
    assert said(path) == []


def test_pending_entries_are_written_on_close(path: Path) -> None:
    async def main() -> str:
        writer = HistoryWriter(Store(path))
        with locked(path), pytest.raises(OutputError):
            await writer.record(entry(1, 0, "hi"))
        return told(writer.close())

    assert asyncio.run(main()) == ""
    assert said(path) == [["hi"]]


def test_lost_entries_of_an_earlier_conversation_are_reported(path: Path) -> None:
    async def main() -> str:
        writer = HistoryWriter(Store(path))
        with locked(path):
            with pytest.raises(OutputError):
                await writer.record(entry(1, 0, "one"))
            writer.begin()
            with pytest.raises(OutputError):
                await writer.record(entry(1, 0, "two"))
        return told(writer.close())

    assert asyncio.run(main()).startswith("1 item of the conversation could not be written")
    assert said(path) == [["two"]]


def test_entries_are_written_in_order(path: Path) -> None:
    async def main() -> str:
        writer = HistoryWriter(Store(path))
        for length in range(1, 300):
            _ = writer.record(entry(1, 0, "x" * length))
        writer.begin()
        _ = writer.record(entry(1, 0, "another"))
        return told(writer.close())  # waits for the entries that were not awaited

    assert asyncio.run(main()) == ""
    assert said(path) == [["x" * 299], ["another"]]


def test_the_queue_of_a_hanging_file_is_limited(path: Path) -> None:
    async def main() -> str:
        writer = HistoryWriter(Store(path))
        with locked(path):
            written = [writer.record(entry(turn, 0, "hi")) for turn in range(1, 1500)]
            with pytest.raises(OutputError, match="is not responding"):
                await written[-1]
            writer.begin()
            with pytest.raises(OutputError, match="is not responding"):
                await writer.find(None)
            message = told(writer.close())
        await asyncio.gather(*written, return_exceptions=True)
        return message

    assert asyncio.run(main()).startswith("1499 items of the conversation could not be written")


# --------------------------------------------------------------------------- with a conversation


def asks(*events: LocalEvent) -> Source:
    async def source(post: Post) -> None:
        for event in events:
            post(event)
        post(InputEnded())

    return source


def session(
    server: ScriptedServer,
    view: Screen,
    history: History,
    *,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - a frozen value
    tap: Tap = lambda _direction, _data, _now: None,
) -> Session:
    conversation = Conversation("m", Options(modality="text"), mode=Mode.LINES, timeouts=timeouts)
    ports = SessionParts(
        view,
        server.connect,
        history=history,
        taps=(tap,),
        now=lambda: asyncio.get_running_loop().time(),
    )
    return Session(conversation, ports)


def told(problem: Problem | None) -> str:
    """The message of a problem; empty without one."""
    return problem.message if problem else ""


def warnings(view: Screen) -> list[str]:
    return [u.text for u in view.updates if isinstance(u, Notice) and u.level != "info"]


def replies(view: Screen) -> list[str]:
    return [update.text for update in view.updates if isinstance(update, ReplyOver)]


def two_turns() -> ScriptedServer:
    return ScriptedServer((*HELLO, *QUESTION, *answer("One"), *QUESTION, *answer("Two")))


def asked(path: Path) -> list[str]:
    """The questions in the file that are marked as sent."""
    with closing(Store(path)) as store:
        (kept,) = store.conversations()
        entries = store.read(kept.id).entries
    items = [each.item for each in entries if not each.index and each.state is not State.QUEUED]
    return [item.text for item in items if isinstance(item, Message)]


def test_a_question_is_on_disk_before_it_is_sent(path: Path) -> None:
    view, on_disk = Screen(), list[list[str]]()

    def tap(direction: str, data: JsonObject | str | LocalEvent, _now: float) -> None:
        if direction == "sent" and isinstance(data, dict) and "item" in data:
            on_disk.append(asked(path))

    writer = HistoryWriter(Store(path))
    held = session(two_turns(), view, writer, tap=tap)
    assert asyncio.run(held.run(asks(UserSaid("first"), UserSaid("second")))) is ExitCode.OK
    assert on_disk == [["first"], ["first", "second"]]
    assert writer.close() is None
    assert said(path) == [["first", "One", "second", "Two"]]


def test_a_locked_history_is_reported_once_and_blocks_nothing(path: Path) -> None:
    view = Screen()
    writer = HistoryWriter(Store(path))
    with locked(path):
        held = session(two_turns(), view, writer)
        assert asyncio.run(held.run(asks(UserSaid("first"), UserSaid("second")))) is ExitCode.OK
        assert replies(view) == ["One", "Two"]
        [warning] = warnings(view)
        assert f"{path} {LOCKED}" in warning
    assert writer.close() is None
    assert said(path) == [["first", "One", "second", "Two"]]


class Hanging:
    """A history on a disk that never responds."""

    def begin(self) -> None:
        pass

    def resume(self, stored: StoredConversation) -> None:
        raise AssertionError

    def record(self, entry: Entry) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def move_to(self, turn: int) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def fork(self, turn: int) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def name(self, name: str) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def find(self, key: int | str | None) -> asyncio.Future[StoredConversation]:
        return asyncio.get_running_loop().create_future()


def test_a_hanging_history_delays_one_question_briefly() -> None:
    view = Screen()

    async def main() -> tuple[ExitCode, float]:
        code = await session(two_turns(), view, Hanging()).run(asks(UserSaid("a"), UserSaid("b")))
        return code, asyncio.get_running_loop().time()

    code, seconds = run_fast(main)
    assert (code, replies(view)) == (ExitCode.OK, ["One", "Two"])
    assert warnings(view) == ["the history did not respond for 5 s; the conversation continues"]
    assert 4.9 < seconds < 6


def test_the_delay_does_not_count_as_server_time() -> None:
    view = Screen()
    server = ScriptedServer((*HELLO, *QUESTION, *answer("One")))
    held = session(server, view, Hanging(), timeouts=Timeouts(10, 1))
    assert run_fast(lambda: held.run(asks(UserSaid("a")))) is ExitCode.OK
    assert replies(view) == ["One"]
    assert len(warnings(view)) == 1


def test_resume_from_a_hanging_history() -> None:
    view = Screen()
    server = ScriptedServer((*HELLO, *QUESTION, *answer("One")))
    held = session(server, view, Hanging())
    assert run_fast(lambda: held.run(asks(ResumeAsked(7), UserSaid("a")))) is ExitCode.OK
    assert warnings(view)[0] == "the history did not respond for 5 s"
    assert replies(view) == ["One"]


def test_exit_does_not_wait_for_a_conversation_lookup() -> None:
    view = Screen()

    async def main() -> tuple[ExitCode, float]:
        events = (ResumeAsked(7), UserSaid("a"), LeaveAsked(ExitCode.TERMINATED))
        code = await session(ScriptedServer(()), view, Hanging()).run(asks(*events))
        return code, asyncio.get_running_loop().time()

    code, seconds = run_fast(main)
    assert code is ExitCode.TERMINATED
    assert seconds < 5


def test_a_question_right_after_resume_belongs_to_that_conversation(path: Path) -> None:
    with closing(Store(path)) as store:
        store.record(entry(1, 0, "long ago"))
        store.record(entry(1, 1, "Yes."))
        store.begin()
        store.record(entry(1, 0, "another"))
    view = Screen()
    replay = (Expect("conversation.item.create"),) * 2
    server = ScriptedServer((), (*HELLO, *replay, *QUESTION, *answer("Now")))
    writer = HistoryWriter(Store(path))
    held = session(server, view, writer)
    assert asyncio.run(held.run(asks(ResumeAsked(1), UserSaid("and now")))) is ExitCode.OK
    assert writer.close() is None
    assert sorted(said(path)) == [["another"], ["long ago", "Yes.", "and now", "Now"]]


def test_a_new_conversation_right_after_a_question(path: Path) -> None:
    view = Screen()
    server = ScriptedServer((*HELLO, *QUESTION, *answer("Yes")))
    writer = HistoryWriter(Store(path))
    held = session(server, view, writer)
    events = (UserSaid("old"), NewConversationAsked(), UserSaid("new"))
    assert asyncio.run(held.run(asks(*events))) is ExitCode.OK
    assert writer.close() is None
    assert said(path) == [["old"], ["new", "Yes"]]


def test_branches_are_written_in_order_with_the_entries(path: Path) -> None:
    async def main() -> None:
        writer = HistoryWriter(Store(path))
        for turn in (1, 2):
            await writer.record(entry(turn, 0, f"question {turn}"))
        await writer.move_to(1)
        await writer.fork(1)
        await writer.record(entry(2, 0, "another"))
        assert writer.close() is None

    asyncio.run(main())
    assert said(path) == [["question 1"], ["question 1", "another"]]


# --------------------------------------------------------------------------------- the program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    with background(lambda: run_server(EchoEngine())) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


@pytest.fixture
def kept(program: Program) -> Path:
    """The program's history file, with one conversation."""
    assert program.run("once", "before").code == 0
    return program.home / ".local" / "share" / "rtchat" / FILE


def test_the_program_reports_unsaved_entries(program: Program, kept: Path) -> None:
    with locked(kept):
        ran = program.run("talk", stdin=b"one\ntwo\n")
    assert (ran.code, ran.text) == (0, "one\ntwo\n")
    first, last = [line for line in ran.err.splitlines() if line.startswith("rtchat: ")]
    assert first.startswith(f"rtchat: the history {kept} {LOCKED}")
    assert last.startswith("rtchat: 4 items of the conversation could not be written")
    assert ran.err.count("\nhint: ") == 2
    assert said(kept) == [["before", "before"]]


def test_the_prompt_works_with_a_locked_history(program: Program, kept: Path) -> None:
    with locked(kept) as other:
        terminal = Terminal(program, [], {})
        terminal.shows("connected in", PROMPT)
        terminal.types("first\r")
        terminal.shows(LOCKED[:20], "first", "first token", PROMPT)
        terminal.types("second\r")
        terminal.shows("first token", "second", "first token", PROMPT)
        other.execute("ROLLBACK")
    terminal.types("\x04")
    assert terminal.ends() == 0
    assert sorted(said(kept)) == [["before", "before"], ["first", "first", "second", "second"]]


def test_a_hanging_input_history_blocks_nothing(program: Program) -> None:
    """The input history is a named pipe without a writer or reader."""
    folder = program.home / ".local" / "state" / "rtchat"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "input_history")
    terminal = Terminal(program, [], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("first\r")
    terminal.shows("first token", PROMPT)
    terminal.types("\x1b[A!\r")
    terminal.shows("first!", "first!", "first token", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0
