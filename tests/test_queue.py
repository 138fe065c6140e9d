"""Questions that are entered while another one is answered: shown, asked in order, taken back."""

from __future__ import annotations

from rtchat.core.conversation import Conversation
from rtchat.core.effects import (
    Draft,
    Effect,
    Notice,
    QuestionAsked,
    QuestionDropped,
    Queued,
    Record,
    Show,
    Update,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    Attached,
    CancelPressed,
    ConnectionLost,
    ConnectionOpened,
    Event,
    QueuedTakenBack,
    ReplyEnded,
    ReplyStarted,
    Retry,
    SessionCreated,
    SessionUpdated,
    Started,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.values import Dialect, Options, Part, State, Status
from tests.playbook import Playbook

CREATED = SessionCreated("s", "m", Dialect.GA)
READY = (Started(), ConnectionOpened(), CREATED, SessionUpdated("s", "m"))


def conversation(*events: Event, mode: Mode = Mode.CHAT) -> Playbook:
    chat = Playbook(Conversation("m", Options(modality="text"), mode=mode))
    for event in events:
        chat.handle(event)
    return chat


def shown(effects: list[Effect]) -> list[Update]:
    """The updates about questions."""
    about = QuestionAsked | Queued | QuestionDropped | Draft
    return [
        effect.update
        for effect in effects
        if isinstance(effect, Show) and isinstance(effect.update, about)
    ]


def test_questions_wait_in_order_and_leave_the_queue_when_they_are_asked() -> None:
    chat = conversation(*READY, UserSaid("one"))
    assert shown(chat.handle(UserSaid("two"))) == [Queued(("two",))]
    assert shown(chat.handle(UserSaid("three"))) == [Queued(("two", "three"))]
    chat.handle(ReplyStarted("r"))
    ended = chat.handle(ReplyEnded("r", Status.COMPLETED))
    assert shown(ended) == [Queued(("three",)), QuestionAsked("two", "m")]


def test_the_last_one_can_be_taken_back_with_its_files() -> None:
    chat = conversation(*READY, UserSaid("one"), UserSaid("two"))
    chat.handle(Attached("a.txt", Part("text", "content")))
    chat.handle(UserSaid("three"))
    taken = chat.handle(QueuedTakenBack())
    assert shown(taken) == [Queued(("two",)), Draft("three")]
    [entry] = [effect.entry for effect in taken if isinstance(effect, Record)]
    assert entry.state is State.WITHDRAWN
    assert any(isinstance(each, Show) and isinstance(each.update, Notice) for each in taken)
    assert shown(chat.handle(UserSaid("four"))) == [Queued(("two", "four"))]


def test_nothing_is_taken_back_if_nothing_waits() -> None:
    assert conversation(*READY, UserSaid("one")).handle(QueuedTakenBack()) == []


def test_stopping_while_connecting_drops_all_and_shows_each() -> None:
    chat = conversation(Started(), UserSaid("one"), UserSaid("two"))
    stopped = shown(chat.handle(CancelPressed()))
    assert stopped == [Queued(()), QuestionDropped("one"), QuestionDropped("two")]


def test_a_lost_server_drops_all_and_shows_each() -> None:
    chat = conversation(*READY, UserSaid("one"), UserSaid("two"))
    lost = ConnectionLost(Problem(ExitCode.REFUSED, "no"), Retry.NEVER)
    assert shown(chat.handle(lost)) == [Queued(()), QuestionDropped("two")]


def test_only_a_person_sees_the_queue() -> None:
    chat = conversation(*READY, UserSaid("one"), mode=Mode.LINES)
    assert shown(chat.handle(UserSaid("two"))) == []
