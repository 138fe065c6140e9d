"""The shell: effects are performed, whatever happens becomes an event, nothing is left running."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rtchat.conversation import Conversation, Mode
from rtchat.effects import Notice, ReplyOver, TextArrived, Update
from rtchat.errors import ExitCode, UsageError
from rtchat.events import InputEnded, LeaveAsked, LocalEvent, UserSaid
from rtchat.session import Link, Post, Session, Source, Tap
from rtchat.values import Dialect, JsonObject, Options, Status
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
    run_fast,
)


def asks(*questions: str) -> Source:
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
) -> Session:
    conversation = Conversation("m", Options(modality="text"), mode=mode)
    return Session(
        conversation,
        view,
        server.connect,
        dialect=dialect,
        redact=lambda text: text.replace("sk-secret", "[key]"),
        taps=taps,
        now=lambda: asyncio.get_running_loop().time(),
        chance=lambda: 1.0,
    )


def texts(view: Screen) -> str:
    return "".join(update.text for update in view.updates if isinstance(update, TextArrived))


def replies(view: Screen) -> list[ReplyOver]:
    return [update for update in view.updates if isinstance(update, ReplyOver)]


def notices(view: Screen) -> list[Notice]:
    return [update for update in view.updates if isinstance(update, Notice)]


def test_a_question_is_answered_and_the_connection_closed() -> None:
    server = ScriptedServer((*HELLO, *QUESTION, *answer("Hel", "lo")))
    view = Screen()
    assert asyncio.run(make(server, view).run(asks("hi"))) is ExitCode.OK
    assert texts(view) == "Hello"
    assert server.links[0].closed
    assert view.closed
    server.check_used_up()


def test_a_lost_question_is_asked_again_on_a_new_connection() -> None:
    server = ScriptedServer(
        (*HELLO, *QUESTION, End(1006)),
        (*HELLO, *QUESTION, *answer("Hello")),
    )
    view = Screen()
    assert run_fast(lambda: make(server, view).run(asks("hi"))) is ExitCode.OK
    assert texts(view) == "Hello"
    server.check_used_up()


def test_a_frame_that_cannot_be_read_is_passed_over() -> None:
    odd = (Emit("{"), Emit(b"\x00"), Emit("[]"), Emit({"type": "x.new"}))
    server = ScriptedServer((*HELLO, *QUESTION, *odd, *answer("Hello")))
    view = Screen()
    assert asyncio.run(make(server, view).run(asks("hi"))) is ExitCode.OK
    assert [notice.level for notice in notices(view)] == ["detail"] * 4
    assert texts(view) == "Hello"


def test_a_key_that_the_server_quotes_is_taken_out() -> None:
    seen: list[tuple[str, JsonObject | str]] = []
    bad = Emit({"type": "error", "error": {"message": "bad sk-secret"}})
    server = ScriptedServer((*HELLO, *QUESTION, bad, Emit("sk-secret"), *answer("sk-secret")))
    view = Screen()
    session = make(server, view, taps=(lambda way, data: seen.append((way, data)),))
    asyncio.run(session.run(asks("hi")))
    assert "sk-secret" not in repr(view.updates) + repr(seen)
    assert notices(view)[0] == Notice("error", "the server reports: bad [key]")


def test_taps_see_both_directions() -> None:
    seen: list[str] = []

    def tap(direction: str, data: JsonObject | str) -> None:
        seen.append(f"{direction} {data if isinstance(data, str) else data['type']}")

    server = ScriptedServer((*HELLO, *QUESTION, Emit("?"), *answer()))
    asyncio.run(make(server, Screen(), taps=(tap,)).run(asks("hi")))
    assert seen == [
        "received session.created",
        "sent session.update",
        "received session.updated",
        "sent conversation.item.create",
        "sent response.create",
        "received ?",
        "received response.created",
        "received response.done",
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
def test_the_dialect_is_read_from_the_session_unless_it_is_forced(
    session: JsonObject, forced: Dialect | None, text_type: str
) -> None:
    created = Emit({"type": "session.created", "session": session})
    server = ScriptedServer((created, *HELLO[1:], *QUESTION, *answer()))
    asyncio.run(make(server, Screen(), dialect=forced).run(asks("hi")))
    sent = server.links[0].sent[0]["session"]
    assert isinstance(sent, dict)
    assert text_type in sent
    response = server.links[0].sent[2]["response"]
    assert response == {text_type: ["text"]}


def test_a_reader_that_went_away_cancels_the_reply() -> None:
    class Gone(Screen):
        def show(self, update: Update) -> None:
            super().show(update)
            if isinstance(update, TextArrived):
                raise BrokenPipeError

    server = ScriptedServer(
        (*HELLO, *QUESTION, *answer("Hel", ends=False), Expect("response.cancel"))
    )
    view = Gone()
    assert asyncio.run(make(server, view).run(asks("hi"))) is ExitCode.PIPE
    assert notices(view) == []
    server.check_used_up()


def test_a_full_disk_is_said_and_ends_the_program() -> None:
    class Full(Screen):
        def show(self, update: Update) -> None:
            super().show(update)
            if isinstance(update, TextArrived):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    server = ScriptedServer(
        (*HELLO, *QUESTION, *answer("Hel", ends=False), Expect("response.cancel"))
    )
    view = Full()
    assert asyncio.run(make(server, view).run(asks("hi"))) is ExitCode.OUTPUT
    assert [notice.level for notice in notices(view)] == ["error"]
    assert "No space left on device" in notices(view)[0].text


def test_a_server_that_is_silent_before_the_session_is_given_up() -> None:
    view = Screen()
    server = ScriptedServer((Wait(11),))
    assert run_fast(lambda: make(server, view).run(asks("hi"))) is ExitCode.LINK
    assert [reply.status for reply in replies(view)] == [Status.FAILED]


def test_silence_in_a_reply_is_measured_from_the_last_word() -> None:
    slowly = [step for delta in answer("a", "b", "c") for step in (Wait(50), delta)]
    server = ScriptedServer((*HELLO, *QUESTION, *slowly))
    view = Screen()
    assert run_fast(lambda: make(server, view).run(asks("hi"))) is ExitCode.OK
    assert texts(view) == "abc"


def test_silence_for_too_long_is_a_lost_connection() -> None:
    server = ScriptedServer(
        (*HELLO, *QUESTION, *answer(ends=False), Wait(61), *answer("late")),
        (*HELLO, *QUESTION, *answer("Hello")),
    )
    view = Screen()
    assert run_fast(lambda: make(server, view).run(asks("hi"))) is ExitCode.OK
    assert texts(view) == "Hello"


def test_signals_are_events() -> None:
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
    assert asyncio.run(session.run(asks("hi"), signals)) is ExitCode.TERMINATED
    assert replies(view)[0].text == "Hel"
    assert signal.getsignal(signal.SIGTERM) is before
    server.check_used_up()


def test_a_fault_of_ours_comes_out_of_run() -> None:
    class Broken(Screen):
        def show(self, update: Update) -> None:
            raise KeyError("bug")

    session = make(ScriptedServer(HELLO[:1]), Broken())
    with pytest.raises(KeyError, match="bug"):
        asyncio.run(session.run(asks("hi")))


def test_the_view_is_ticked_only_while_a_reply_is_due() -> None:
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


def test_a_server_that_cannot_be_started_says_why() -> None:
    @asynccontextmanager
    async def connect(model: str) -> AsyncIterator[Link]:
        raise UsageError("the model is damaged", hint="rtchat local install")
        yield

    view = Screen()
    conversation = Conversation("m", Options(modality="text"), mode=Mode.ONCE)
    session = Session(conversation, view, connect)
    assert asyncio.run(session.run(asks("hi"))) is ExitCode.USAGE
    (over,) = replies(view)
    assert str(over.problem) == "the model is damaged: rtchat local install"
