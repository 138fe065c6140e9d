"""Sessions: effects are performed, events are posted, and nothing is left running."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from rtchat.client.history import History
from rtchat.client.session import Session, SessionParts
from rtchat.client.view_queue import MAX_SHOW_SECONDS, SLICE
from rtchat.core import notices as core_notices
from rtchat.core.conversation import Conversation
from rtchat.core.effects import Notice, ReplyOver, Resumed, TextArrived, Update, Waiting
from rtchat.core.errors import ExitCode, OutputError, Problem, UsageError
from rtchat.core.events import (
    AudioSaid,
    CancelPressed,
    ForkAsked,
    InputEnded,
    LeaveAsked,
    LocalEvent,
    NameSet,
    NewConversationAsked,
    PlaybackCut,
    ResumeAsked,
    UndoAsked,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.ports import Link, Post, Source, Tap
from rtchat.core.redaction import Redactor
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import (
    Dialect,
    Entry,
    JsonObject,
    Message,
    Options,
    Part,
    State,
    Status,
    StoredConversation,
)
from rtchat.ui.slash_commands import parse
from tests.scripted import (
    HELLO,
    QUESTION,
    Emit,
    End,
    Expect,
    Screen,
    ScriptedServer,
    Wait,
    answer,
    pass_time,
    run_fast,
)


def asking(*questions: str) -> Source:
    async def source(post: Post) -> None:
        for question in questions:
            post(UserSaid(question))
        post(InputEnded())

    return source


def make(
    server: ScriptedServer,
    view: Screen,
    *,
    mode: Mode = Mode.ONCE,
    dialect: Dialect | None = None,
    taps: tuple[Tap, ...] = (),
    history: History | None = None,
    wall_clock: Callable[[], float] | None = None,
) -> Session:
    conversation = Conversation("m", Options(modality="text"), mode=mode)
    ports = SessionParts(
        view,
        server.connect,
        dialect,
        Redactor(["sk-secret"]),
        taps=taps,
        history=history,
        now=lambda: asyncio.get_running_loop().time(),
        wall_clock=wall_clock or (lambda: asyncio.get_running_loop().time()),
        rng=lambda: 1.0,
    )
    return Session(conversation, ports)


def texts(view: Screen) -> str:
    return "".join(update.text for update in view.updates if isinstance(update, TextArrived))


def replies(view: Screen) -> list[ReplyOver]:
    return [update for update in view.updates if isinstance(update, ReplyOver)]


def notices(view: Screen) -> list[Notice]:
    return [update for update in view.updates if isinstance(update, Notice)]


def test_a_question_is_answered_and_the_connection_closed() -> None:
    server = ScriptedServer((*HELLO, *QUESTION, *answer("Hel", "lo")))
    view = Screen()
    assert asyncio.run(make(server, view).run(asking("hi"))) is ExitCode.OK
    assert texts(view) == "Hello"
    assert server.links[0].closed
    assert view.closed
    server.check_used_up()


def test_an_unanswered_question_is_resent_on_a_new_connection() -> None:
    server = ScriptedServer(
        (*HELLO, *QUESTION, End(1006)),
        (*HELLO, *QUESTION, *answer("Hello")),
    )
    view = Screen()
    assert run_fast(lambda: make(server, view).run(asking("hi"))) is ExitCode.OK
    assert texts(view) == "Hello"
    server.check_used_up()


def test_slow_sending_does_not_count_as_silence_of_the_server() -> None:
    appends = (Expect("input_audio_buffer.append", 20.0),) * 6
    said = (*appends, Expect("input_audio_buffer.commit"), Expect("response.create"))
    server = ScriptedServer((*HELLO, *said, *answer("Hello")))
    view = Screen()

    async def ask(post: Post) -> None:
        post(AudioSaid(bytes(6 * 24_000)))
        post(InputEnded())

    assert run_fast(lambda: make(server, view).run(ask)) is ExitCode.OK
    assert texts(view) == "Hello"
    server.check_used_up()


def test_an_unreadable_frame_is_ignored() -> None:
    odd = (Emit("{"), Emit(b"\x00"), Emit("[]"), Emit({"type": "x.new"}))
    server = ScriptedServer((*HELLO, *QUESTION, *odd, *answer("Hello")))
    view = Screen()
    assert asyncio.run(make(server, view).run(asking("hi"))) is ExitCode.OK
    assert [notice.level for notice in notices(view)] == ["detail"] * 4
    assert texts(view) == "Hello"


def test_a_key_quoted_by_the_server_is_removed() -> None:
    seen: list[tuple[str, JsonObject | str | LocalEvent]] = []
    bad = Emit({"type": "error", "error": {"message": "bad sk-secret"}})
    server = ScriptedServer((*HELLO, *QUESTION, bad, Emit("sk-secret"), *answer("sk-secret")))
    view = Screen()
    session = make(server, view, taps=(lambda way, data, _: seen.append((way, data)),))
    asyncio.run(session.run(asking("hi")))
    assert "sk-secret" not in repr(view.updates) + repr(seen)
    assert core_notices.server_reports("bad [key]").update in notices(view)


def test_taps_see_both_directions() -> None:
    seen: list[str] = []

    def tap(direction: str, data: JsonObject | str | LocalEvent, _now: float) -> None:
        name = data.get("type", "") if isinstance(data, dict) else type(data).__name__
        seen.append(f"{direction} {data if isinstance(data, str) else name}".strip())

    server = ScriptedServer((*HELLO, *QUESTION, Emit("?"), *answer()))
    asyncio.run(make(server, Screen(), taps=(tap,)).run(asking("hi")))
    assert seen == [
        "local Started",
        "local UserSaid",
        "local InputEnded",
        "local ConnectionOpened",
        "received session.created",
        "sent session.update",
        "received session.updated",
        "sent conversation.item.create",
        "sent response.create",
        "received ?",
        "received response.created",
        "received response.done",
        "end",
    ]


@pytest.mark.parametrize(
    ("session", "forced", "text_type"),
    [
        ({"type": "realtime"}, None, "output_modalities"),
        ({"modalities": ["text"]}, None, "modalities"),
        ({"modalities": ["text"]}, Dialect.GA, "output_modalities"),
        ({"type": "realtime"}, Dialect.BETA, "modalities"),
    ],
)
def test_the_dialect_is_that_of_the_session_unless_forced(
    session: JsonObject, forced: Dialect | None, text_type: str
) -> None:
    created = Emit({"type": "session.created", "session": session})
    server = ScriptedServer((created, *HELLO[1:], *QUESTION, *answer()))
    asyncio.run(make(server, Screen(), dialect=forced).run(asking("hi")))
    sent = server.links[0].sent[0]["session"]
    assert isinstance(sent, dict)
    assert text_type in sent
    response = server.links[0].sent[2]["response"]
    assert isinstance(response, dict)
    assert response[text_type] == ["text"]


def test_a_closed_output_pipe_cancels_the_reply() -> None:
    class Gone(Screen):
        def show(self, update: Update) -> None:
            super().show(update)
            if isinstance(update, TextArrived):
                raise BrokenPipeError

    server = ScriptedServer(
        (*HELLO, *QUESTION, *answer("Hel", ends=False), Expect("response.cancel"))
    )
    view = Gone()
    assert asyncio.run(make(server, view).run(asking("hi"))) is ExitCode.PIPE
    assert notices(view) == []
    server.check_used_up()


def test_a_full_disk_is_reported_and_ends_the_program() -> None:
    class Full(Screen):
        def show(self, update: Update) -> None:
            super().show(update)
            if isinstance(update, TextArrived):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    server = ScriptedServer(
        (*HELLO, *QUESTION, *answer("Hel", ends=False), Expect("response.cancel"))
    )
    view = Full()
    assert asyncio.run(make(server, view).run(asking("hi"))) is ExitCode.OUTPUT
    assert [notice.level for notice in notices(view)] == ["error"]
    assert "No space left on device" in notices(view)[0].text


def test_no_session_in_time_ends_the_program() -> None:
    view = Screen()
    server = ScriptedServer((Expect("session.update"), Wait(11)))
    assert run_fast(lambda: make(server, view).run(asking("hi"))) is ExitCode.LINK
    assert [reply.status for reply in replies(view)] == [Status.FAILED]


def test_silence_in_a_reply_is_measured_from_the_last_frame() -> None:
    slowly = [step for delta in answer("a", "b", "c") for step in (Wait(50), delta)]
    server = ScriptedServer((*HELLO, *QUESTION, *slowly))
    view = Screen()
    assert run_fast(lambda: make(server, view).run(asking("hi"))) is ExitCode.OK
    assert texts(view) == "abc"


def test_a_question_is_asked_once_if_the_server_is_silent() -> None:
    server = ScriptedServer(
        (*HELLO, *QUESTION, *answer(ends=False), Wait(61), *answer("late")),
        (*HELLO, *QUESTION, *answer("Hello")),
    )
    view = Screen()
    assert run_fast(lambda: make(server, view).run(asking("hi"))) is ExitCode.LINK
    assert texts(view) == ""
    assert replies(view)[-1].reason == "timed_out"


class Blocking(Screen):
    """Blocks the whole program, like a paused terminal or Ctrl-Z, when text is shown."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def show(self, update: Update) -> None:
        super().show(update)
        if isinstance(update, TextArrived):
            pass_time(self._seconds)


def test_time_in_which_the_program_was_blocked_is_not_silence() -> None:
    later = (Wait(1), *answer("lo")[1:])
    server = ScriptedServer((*HELLO, *QUESTION, *answer("Hel", ends=False), *later))
    view = Blocking(80)
    assert run_fast(lambda: make(server, view).run(asking("hi"))) is ExitCode.OK
    assert texts(view) == "Hello"
    assert len(server.links) == 1


def test_silence_after_the_program_was_blocked_is_noticed() -> None:
    server = ScriptedServer(
        (*HELLO, *QUESTION, *answer("Hel", ends=False), Wait(1000)),
    )
    view = Blocking(80)
    assert run_fast(lambda: make(server, view).run(asking("hi"))) is ExitCode.LINK
    assert replies(view)[-1].reason == "timed_out"


def test_signals_post_events() -> None:
    server = ScriptedServer(
        (*HELLO, *QUESTION, *answer("Hel", ends=False), Expect("response.cancel"))
    )

    class Killed(Screen):
        def show(self, update: Update) -> None:
            super().show(update)
            if isinstance(update, TextArrived):
                os.kill(os.getpid(), signal.SIGTERM)

    view = Killed()
    signals: dict[int, LocalEvent] = {signal.SIGTERM: LeaveAsked(ExitCode.TERMINATED)}
    before = signal.getsignal(signal.SIGTERM)
    session = make(server, view)
    assert asyncio.run(session.run(asking("hi"), signals)) is ExitCode.TERMINATED
    assert replies(view)[0].text == "Hel"
    assert signal.getsignal(signal.SIGTERM) is before
    server.check_used_up()


def test_an_internal_error_is_raised_by_run() -> None:
    class Broken(Screen):
        def show(self, update: Update) -> None:
            raise KeyError("bug")

    session = make(ScriptedServer(HELLO[:2]), Broken())
    with pytest.raises(KeyError, match="bug"):
        asyncio.run(session.run(asking("hi")))


def test_an_internal_error_in_a_callback_is_raised_by_run() -> None:
    async def source(post: Post) -> None:
        asyncio.get_running_loop().call_later(10, parse, cast("str", None))
        await asyncio.sleep(20)
        post(LeaveAsked())

    session = make(ScriptedServer(HELLO), Screen())
    with pytest.raises(AttributeError):
        run_fast(lambda: session.run(source))


def test_a_library_error_in_a_callback_is_only_a_detail() -> None:
    async def source(post: Post) -> None:
        asyncio.get_running_loop().call_soon(int, "no number")
        await asyncio.sleep(10)
        post(LeaveAsked())

    view = Screen()
    session = make(ScriptedServer(HELLO), view)
    assert run_fast(lambda: session.run(source)) is ExitCode.OK
    notices = [update for update in view.updates if isinstance(update, Notice)]
    assert [notice.level for notice in notices] == ["detail"]
    assert "invalid literal for int()" in notices[0].text


def test_the_view_is_only_ticked_during_a_reply() -> None:
    server = ScriptedServer((*HELLO, *QUESTION, *answer("Hel", ends=False), Wait(1), *answer()[1:]))
    view = Screen()
    counts: list[int] = []

    async def source(post: Post) -> None:
        await asyncio.sleep(10)
        counts.append(view.ticks)
        post(UserSaid("hi"))
        await asyncio.sleep(10)
        counts.append(view.ticks)
        await asyncio.sleep(10)
        counts.append(view.ticks)
        post(LeaveAsked())

    assert run_fast(lambda: make(server, view, mode=Mode.CHAT).run(source)) is ExitCode.OK
    assert counts == [0, 12, 12]


def test_the_reason_why_a_local_server_cannot_start_is_shown() -> None:
    @asynccontextmanager
    async def connect(model: str) -> AsyncIterator[Link]:
        raise UsageError("the model is damaged", hint="rtchat local install")
        yield

    view = Screen()
    conversation = Conversation("m", Options(modality="text"), mode=Mode.ONCE)
    session = Session(conversation, SessionParts(view, connect))
    assert asyncio.run(session.run(asking("hi"))) is ExitCode.USAGE
    (over,) = replies(view)
    expected = Problem(ExitCode.USAGE, "the model is damaged", "rtchat local install")
    assert over.problem == expected


# ------------------------------------------------------------------------------------------ history


class MemoryHistory:
    """A history in memory, in which nothing can be recorded if it is `full`."""

    def __init__(self, *stored: StoredConversation, full: bool = False) -> None:
        self._saved = stored
        self._full = full
        self.written: list[Entry | str | None] = []
        self.names: list[str] = []

    def begin(self) -> None:
        self.written.append(None)

    def resume(self, stored: StoredConversation) -> None:
        self.written.append(None)

    def record(self, entry: Entry) -> asyncio.Future[None]:
        return self._write(entry)

    def move_to(self, turn: int) -> asyncio.Future[None]:
        return self._write(f"move to {turn}")

    def fork(self, turn: int) -> asyncio.Future[None]:
        return self._write(f"fork from {turn}")

    def _write(self, entry: Entry | str) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._full:
            message = "the history cannot be written (disk full)"
            done.set_exception(OutputError(message, hint="make room"))
        else:
            self.written.append(entry)
            done.set_result(None)
        return done

    def name(self, name: str) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.names.append(name)
        if name == "taken":
            done.set_exception(UsageError("conversation 3 has that name", hint="choose another"))
        else:
            done.set_result(None)
        return done

    def find(self, key: int | str | None) -> asyncio.Future[StoredConversation]:
        found: asyncio.Future[StoredConversation] = asyncio.get_running_loop().create_future()
        if self._saved:
            found.set_result(self._saved[0])
        else:
            found.set_exception(UsageError("no conversation 9", hint="rtchat history list"))
        return found


PAST = StoredConversation(
    9,
    "A talk",
    0.0,
    0.0,
    "m",
    1,
    (
        Entry(1, 0, Message("user", (Part("text", "one"),)), State.COMPLETED),
        Entry(1, 1, Message("assistant", (Part("text", "Two."),)), State.COMPLETED),
    ),
)


def posting(*events: LocalEvent) -> Source:
    async def source(post: Post) -> None:
        for event in events:
            post(event)
        post(InputEnded())

    return source


def test_questions_and_replies_are_recorded() -> None:
    server = ScriptedServer((*HELLO, *QUESTION, *answer("Hello")))
    history = MemoryHistory()
    session = make(server, Screen(), history=history)
    assert asyncio.run(session.run(asking("hi"))) is ExitCode.OK
    states = [
        (entry.turn, entry.index, entry.state)
        for entry in history.written
        if isinstance(entry, Entry)
    ]
    assert states == [
        (1, 0, State.QUEUED),
        (1, 0, State.ASKED),
        (1, 1, State.COMPLETED),
        (1, 0, State.COMPLETED),
    ]


def test_a_history_error_is_shown_once_and_the_conversation_continues() -> None:
    server = ScriptedServer((*HELLO, *QUESTION, *answer("Hello")))
    view = Screen()
    session = make(server, view, history=MemoryHistory(full=True))
    assert asyncio.run(session.run(asking("hi"))) is ExitCode.OK
    assert notices(view) == [
        Notice("warning", "the history cannot be written (disk full)", "make room")
    ]
    assert texts(view) == "Hello"


def test_resume_sends_the_saved_items() -> None:
    replay = (Expect("conversation.item.create"),) * 2
    server = ScriptedServer((), (*HELLO, *replay))
    view = Screen()
    session = make(server, view, mode=Mode.LINES, history=MemoryHistory(PAST))

    async def source(post: Post) -> None:
        post(ResumeAsked())
        await asyncio.sleep(5)
        post(InputEnded())

    assert run_fast(lambda: session.run(source)) is ExitCode.OK
    assert Resumed(PAST) in view.updates
    assert notices(view) == []
    items = [event["item"] for event in server.links[1].sent[1:]]
    assert [item["content"][0]["text"] for item in items] == ["one", "Two."]  # type: ignore[index] # sent as JSON


@pytest.mark.parametrize(
    ("history", "notice"),
    [
        (MemoryHistory(), Notice("error", "no conversation 9", "rtchat history list")),
        (
            None,
            Notice(
                "error",
                "conversations are not saved",
                "remove --no-history and set history to true",
            ),
        ),
    ],
)
def test_resume_without_a_saved_conversation_is_an_error(
    history: History | None, notice: Notice
) -> None:
    view = Screen()
    session = make(ScriptedServer(()), view, mode=Mode.LINES, history=history)
    assert asyncio.run(session.run(posting(ResumeAsked(9)))) is ExitCode.OK
    assert notices(view) == [notice]


@pytest.mark.parametrize(
    ("history", "name", "level"),
    [
        (MemoryHistory(), "my talk", "info"),
        (MemoryHistory(), "taken", "error"),
        (None, "my talk", "error"),
    ],
)
def test_a_name_is_confirmed_or_refused(
    history: MemoryHistory | None, name: str, level: str
) -> None:
    view = Screen()
    session = make(ScriptedServer(()), view, mode=Mode.LINES, history=history)
    assert asyncio.run(session.run(posting(NameSet(name)))) is ExitCode.OK
    (shown,) = notices(view)
    assert shown.level == level
    assert bool(shown.hint) == (level == "error")
    assert history is None or history.names == [name]


def test_a_new_conversation_begins_a_new_record() -> None:
    history = MemoryHistory()
    session = make(ScriptedServer((), ()), Screen(), mode=Mode.LINES, history=history)
    assert asyncio.run(session.run(posting(NewConversationAsked()))) is ExitCode.OK
    assert history.written == [None]


def test_undo_and_fork_are_recorded() -> None:
    history = MemoryHistory()
    server = ScriptedServer((*HELLO, *QUESTION, *answer("One")), HELLO, HELLO)
    session = make(server, Screen(), mode=Mode.CHAT, history=history)

    async def source(post: Post) -> None:
        post(UserSaid("a"))
        await asyncio.sleep(1)
        for event in (ForkAsked(), UndoAsked(), LeaveAsked()):
            post(event)

    assert run_fast(lambda: session.run(source)) is ExitCode.OK
    assert history.written[-2:] == ["fork from 1", "move to 0"]


# -------------------------------------------------------------------------------------------- audio

IDS = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}
AUDIO = Emit({"type": "response.output_audio.delta", "delta": "AQI=", **IDS})
BEGUN, *REST = answer("Hello")


class FakePlayer:
    """Always stops some milliseconds into the last item; playing may fail."""

    def __init__(self, *, fails: bool = False, stops_at: int = 20) -> None:
        self.played: list[tuple[str, bytes]] = []
        self.fails = fails
        self.stops_at = stops_at

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        self.played.append((item_id, audio))
        if self.fails:
            raise OutputError("the disk is full", hint="make room")

    def end(self, item_id: str) -> None:
        self.played.append((item_id, b""))

    def stop(self) -> PlaybackCut | None:
        return PlaybackCut(self.played[-1][0], 0, self.stops_at) if self.played else None


def speaking(
    server: ScriptedServer, view: Screen, player: FakePlayer, history: History | None = None
) -> Session:
    options, speech = Options(modality="audio"), SpeechOptions(speaks=True)
    conversation = Conversation("m", options, mode=Mode.LINES, speech=speech)
    return Session(conversation, SessionParts(view, server.connect, player=player, history=history))


def test_the_item_is_truncated_before_the_next_response_is_requested() -> None:
    cut = Expect("conversation.item.truncate")
    second = (cut, *QUESTION, *answer("Bye", reply="r2"))
    server = ScriptedServer((*HELLO, *QUESTION, BEGUN, AUDIO, *REST, *second))
    made = speaking(server, Screen(), FakePlayer())
    assert asyncio.run(made.run(asking("hi", "bye"))) is ExitCode.OK
    server.check_used_up()


def test_what_was_heard_is_saved_after_the_entry_of_the_reply() -> None:
    stopped = Expect("response.cancel"), Expect("conversation.item.truncate")
    begun = answer("Hello", ends=False)
    server = ScriptedServer((*HELLO, *QUESTION, *begun, AUDIO, *stopped, answer("Hello")[-1]))
    history = MemoryHistory()
    session = speaking(server, Screen(), FakePlayer(stops_at=0), history)

    async def source(post: Post) -> None:
        post(UserSaid("hi"))
        await asyncio.sleep(1)
        post(CancelPressed())
        post(InputEnded())

    run_fast(lambda: session.run(source))
    server.check_used_up()
    items = [entry.item for entry in history.written if isinstance(entry, Entry)]
    replies = [item for item in items if isinstance(item, Message) and item.role == "assistant"]
    assert [reply.heard for reply in replies][-2:] == [None, 0]
    assert replies[-1].text == "Hello"


def test_a_playback_error_is_shown_once_and_playback_continues() -> None:
    cut = Expect("conversation.item.truncate")
    second = (cut, *QUESTION, BEGUN, AUDIO, *REST)
    server = ScriptedServer((*HELLO, *QUESTION, BEGUN, AUDIO, *REST, *second))
    view, player = Screen(), FakePlayer(fails=True)
    assert asyncio.run(speaking(server, view, player).run(asking("hi", "bye"))) is ExitCode.OUTPUT
    assert notices(view) == [Notice("error", "the disk is full", "make room")]
    assert player.played == [("i1", b"\1\2"), ("i1", b"")] * 2


# ------------------------------------------------------------------------------------------- clocks


def test_a_session_is_renewed_before_its_expiry_time() -> None:
    created, update, updated = HELLO
    assert isinstance(created, Emit)
    assert isinstance(created.event, dict)
    session = {**created.event["session"], "expires_at": 1_000_600}
    short = (Emit({**created.event, "session": session}), update, updated)
    server = ScriptedServer((*short, Wait(3600)), (*HELLO, *QUESTION, *answer("Hello")))
    view = Screen()
    made = make(server, view, mode=Mode.LINES, wall_clock=lambda: 1_000_000.0)

    async def source(post: Post) -> None:
        await asyncio.sleep(545)
        post(UserSaid("hi"))
        post(InputEnded())

    assert run_fast(lambda: made.run(source)) is ExitCode.OK
    assert len(server.links) == 2
    assert texts(view) == "Hello"


def test_system_sleep_is_a_lost_connection() -> None:
    server = ScriptedServer((*HELLO, *QUESTION, Wait(600)), (*HELLO, *QUESTION, *answer("Hello")))
    view = Screen()
    slept = [0.0]

    def wall_clock() -> float:
        return asyncio.get_running_loop().time() + slept[0]

    async def source(post: Post) -> None:
        post(UserSaid("hi"))
        post(InputEnded())
        await asyncio.sleep(12)
        slept[0] = 3600.0

    assert run_fast(lambda: make(server, view, wall_clock=wall_clock).run(source)) is ExitCode.OK
    waits = [update for update in view.updates if isinstance(update, Waiting)]
    assert waits == [Waiting("the computer slept for 3600 s", 0.0)]
    assert texts(view) == "Hello"


def test_a_changed_system_clock_is_not_sleep() -> None:
    server = ScriptedServer((*HELLO, *QUESTION, Wait(30), *answer("Hello")))
    clock = [0.0]

    def wall_clock() -> float:
        clock[0] -= 1.0
        return asyncio.get_running_loop().time() + clock[0]

    assert (
        run_fast(lambda: make(server, Screen(), wall_clock=wall_clock).run(asking("hi")))
        is ExitCode.OK
    )


# --------------------------------------------------------------------------------------- slow views


class SlowScreen(Screen):
    """Draws slowly, and records how many iterations of another task ran before each update."""

    def __init__(self, others: list[int]) -> None:
        super().__init__()
        self._others = others
        self.iterations: list[int] = []

    def show(self, update: Update) -> None:
        super().show(update)
        if isinstance(update, TextArrived):
            assert len(update.text) <= SLICE
            self.iterations.append(self._others[0])
            until = time.monotonic() + MAX_SHOW_SECONDS / 2
            while time.monotonic() < until:
                pass


def test_other_tasks_run_while_a_long_text_is_drawn() -> None:
    text = "word " * 4_000
    server = ScriptedServer((*HELLO, *QUESTION, *answer(text)))
    others = [0]
    view = SlowScreen(others)

    async def source(post: Post) -> None:
        post(UserSaid("hi"))
        post(InputEnded())
        while True:
            others[0] += 1
            await asyncio.sleep(0)

    conversation = Conversation("m", Options(modality="text"), mode=Mode.ONCE)
    session = Session(conversation, SessionParts(view, server.connect))
    assert asyncio.run(session.run(source)) is ExitCode.OK
    assert texts(view) == text
    assert len(view.iterations) == 40
    # About two of the 40 updates fit between two iterations, or up to four.
    assert len(set(view.iterations)) >= 3
    assert isinstance(view.updates[-1], ReplyOver)


def test_the_deltas_of_text_that_is_shown_at_once_are_counted() -> None:
    view = Screen()
    server = ScriptedServer((*HELLO, *QUESTION, *answer("a", "b", "c")))
    assert run_fast(lambda: make(server, view).run(asking("hi"))) is ExitCode.OK
    assert sum(u.deltas for u in view.updates if isinstance(u, TextArrived)) == 3


def test_an_error_in_a_tick_of_the_view_is_raised_by_run() -> None:
    class Broken(Screen):
        def tick(self) -> None:
            raise ZeroDivisionError

    server = ScriptedServer((*HELLO, *QUESTION, Wait(5), *answer("Hello")))
    with pytest.raises(ZeroDivisionError):
        run_fast(lambda: make(server, Broken()).run(asking("hi")))
