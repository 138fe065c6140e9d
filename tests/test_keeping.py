"""What a conversation records, /resume, /retry and the renewal of sessions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtchat.core import notices
from rtchat.core.branches import DELETE_WAIT
from rtchat.core.conversation import Conversation
from rtchat.core.effects import (
    AddItem,
    ClearTimer,
    Configure,
    Connect,
    Connecting,
    CreateResponse,
    Delete,
    Effect,
    LoadConversation,
    NameConversation,
    QuestionAsked,
    Ready,
    Record,
    ReplyOver,
    Resumed,
    Send,
    SetTimer,
    Show,
    StartRecord,
    Stop,
    TextArrived,
    Timing,
    Waiting,
    WholeConversation,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    CancelPressed,
    ConnectionLost,
    ConnectionOpened,
    ConversationLoaded,
    Delta,
    HistoryAsked,
    InputEnded,
    ItemAdded,
    ItemDeleted,
    NameSet,
    NewConversationAsked,
    OutputAdded,
    ReplyEnded,
    ReplyStarted,
    ResumeAsked,
    Retry,
    RetryAsked,
    SessionCreated,
    SessionUpdated,
    Started,
    SystemSet,
    Timer,
    TimerFired,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.values import (
    Channel,
    Entry,
    Item,
    Message,
    Options,
    Part,
    Role,
    State,
    Status,
    StoredConversation,
    ToolCall,
    ToolOutput,
    Usage,
)
from tests.playbook import MINOR, Playbook

TEXT = Options(modality="text")
GONE = Problem(ExitCode.LINK, "connection lost (1006)")
LOST = ConnectionLost(GONE, Retry.ALWAYS)
REFUSED = ConnectionLost(GONE, Retry.NEVER)
CREATED, UPDATED = SessionCreated("s", "m"), SessionUpdated("s", "m")
DONE = ReplyEnded("r1", Status.COMPLETED)
CLEAR_ALL_TIMERS: tuple[Effect, ...] = tuple(
    ClearTimer(timer) for timer in Timer if timer not in MINOR
)


def message(role: Role, text: str) -> Message:
    return Message(role, (Part("text", text),))


def question(turn: int, text: str, state: State, reason: str = "") -> Record:
    return Record(Entry(turn, 0, message("user", text), state, "m", reason))


def reply(turn: int, text: str, state: State, **fields: object) -> Record:
    answered = "" if state is State.STREAMING else "m"
    fields = {"response_model": answered, **fields}
    entry = Entry(turn, 1, message("assistant", text), state, "m", **fields)  # type: ignore[arg-type] # checked at run time
    return Record(entry)


def delta(text: str) -> Delta:
    return Delta(Channel.TEXT, text, "r1", "i1")


def started(options: Options = TEXT, stored: StoredConversation | None = None) -> Playbook:
    conversation = Conversation("m", options, mode=Mode.CHAT, stored=stored)
    return Playbook(conversation, stores_audio=True).skip(Started())


def ready(options: Options = TEXT, stored: StoredConversation | None = None) -> Playbook:
    return started(options, stored).skip(ConnectionOpened(), CREATED, UPDATED)


def answered() -> Playbook:
    return ready().skip(UserSaid("hi"), ReplyStarted("r1"), delta("Yes."), DONE)


def saved(*entries: tuple[int, int, Item, State]) -> StoredConversation:
    made = tuple(Entry(turn, index, item, state, "m") for turn, index, item, state in entries)
    return StoredConversation(7, "A talk", 1.0, 2.0, "m", 2, made)


PAST = saved(
    (0, 0, message("system", "Sing."), State.COMPLETED),
    (1, 0, message("user", "one"), State.COMPLETED),
    (1, 1, ToolCall("f", "c", "{}"), State.COMPLETED),
    (1, 2, ToolOutput("c", "2"), State.COMPLETED),
    (1, 3, message("assistant", "Two."), State.COMPLETED),
    (2, 0, message("user", "and"), State.ASKED),
    (3, 0, message("user", "never sent"), State.QUEUED),
)


# --------------------------------------------------------------------------------- recorded entries


def test_a_question_is_recorded_before_sending_and_its_reply_while_streaming_and_at_its_end() -> (
    None
):
    play = ready(Options("Sing.", "text"))
    (
        play
        >> UserSaid("hi")
        << [
            Record(Entry(0, 0, message("system", "Sing."), State.COMPLETED)),
            question(1, "hi", State.ASKED),
            Show(QuestionAsked("hi", "m")),
            Send("rtchat_2", AddItem(message("user", "hi"))),
            Send("rtchat_3", CreateResponse(TEXT)),
            SetTimer(Timer.STALL, 60),
        ]
    )
    play >> ReplyStarted("r1")
    play >> delta("Yes, ") << [Show(TextArrived("Yes, ")), SetTimer(Timer.SAVE, 0.5)]
    play >> delta("you ") << Show(TextArrived("you "))
    play.at(0.5) >> TimerFired(Timer.SAVE) << reply(1, "Yes, you ", State.STREAMING)
    play >> delta("do.") << [Show(TextArrived("do.")), SetTimer(Timer.SAVE, 0.5)]
    usage = Usage(3, 0, 4, 7)
    (
        play.at(2.0)
        >> ReplyEnded("r1", Status.COMPLETED, usage=usage)
        << [
            ClearTimer(Timer.STALL),
            ClearTimer(Timer.SAVE),
            reply(1, "Yes, you do.", State.COMPLETED, usage=usage, first_token=0.0, seconds=2.0),
            question(1, "hi", State.COMPLETED),
            Show(
                ReplyOver(
                    Status.COMPLETED,
                    "Yes, you do.",
                    "m",
                    response_id="r1",
                    usage=usage,
                    timing=Timing(0.0, 0.0, 2.0),
                )
            ),
        ]
    )


def test_instructions_are_recorded_when_they_are_used_and_when_they_change() -> None:
    play = ready(Options("Sing.", "text")).skip(UserSaid("hi"), ReplyStarted("r1"), DONE)
    (
        play.skip(SystemSet("Dance."))
        >> UserSaid("and")
        << [
            Record(Entry(0, 0, message("system", "Dance."), State.COMPLETED)),
            question(2, "and", State.ASKED),
        ]
    )
    play.skip(ReplyStarted("r2"), ReplyEnded("r2", Status.COMPLETED))
    play >> UserSaid("again") << question(3, "again", State.ASKED)
    play.skip()


def test_a_queued_question_is_recorded_at_once() -> None:
    play = started()
    play >> UserSaid("hi") << question(1, "hi", State.QUEUED)
    play >> UserSaid("and") << question(2, "and", State.QUEUED)
    (
        play.skip(ConnectionOpened(), CREATED)
        >> UPDATED
        << [
            ClearTimer(Timer.START),
            Show(Ready("m", 0.0)),
            question(1, "hi", State.ASKED),
        ]
    )
    play.skip()


def test_an_interrupted_reply_is_recorded_as_interrupted() -> None:
    play = ready().skip(UserSaid("hi"), ReplyStarted("r1"), delta("Yes, "))
    (
        play
        >> LOST
        << [
            *CLEAR_ALL_TIMERS,
            ClearTimer(Timer.STALL),
            ClearTimer(Timer.SAVE),
            reply(1, "Yes, ", State.INTERRUPTED, reason=GONE.message, first_token=0.0, seconds=0.0),
            question(1, "hi", State.INTERRUPTED, GONE.message),
        ]
    )
    play.skip()


def test_cancelled_questions_are_recorded_as_cancelled() -> None:
    play = started().skip(UserSaid("hi"), UserSaid("and")) >> CancelPressed()
    gone = ReplyOver(Status.CANCELLED, "", "m", reason="client_cancelled")
    play << [question(1, "hi", State.CANCELLED), Show(gone)]
    play << [question(2, "and", State.CANCELLED), Show(gone)]


# ------------------------------------------------------------------------------------------ /resume


def test_a_saved_conversation_is_sent_to_a_new_session() -> None:
    play = started(stored=PAST).skip(ConnectionOpened())
    play >> CREATED << Send("rtchat_1", Configure(Options("Sing.", "text")))
    (
        play
        >> UPDATED
        << [
            ClearTimer(Timer.START),
            Show(Ready("m", 0.0, 2)),
            Send("rtchat_2", AddItem(message("user", "one"))),
            Send("rtchat_3", AddItem(ToolCall("f", "c", "{}"))),
            Send("rtchat_4", AddItem(ToolOutput("c", "2"))),
            Send("rtchat_5", AddItem(message("assistant", "Two."))),
            Send("rtchat_6", AddItem(message("user", "and"))),
        ]
    )
    play >> UserSaid("next") << question(4, "next", State.ASKED)
    play.skip()


def test_given_instructions_take_precedence_over_saved_ones() -> None:
    play = started(Options("Dance.", "text"), PAST).skip(ConnectionOpened())
    play >> CREATED << Send("rtchat_1", Configure(Options("Dance.", "text")))


def test_a_conversation_is_named() -> None:
    answered() >> NameSet("my talk") << NameConversation("my talk")


def _history(play: Playbook) -> StoredConversation:
    """What /history shows."""
    ((shown,),) = (play.conversation.handle(HistoryAsked()),)
    assert isinstance(shown, Show)
    assert isinstance(shown.update, WholeConversation)
    return shown.update.stored


def test_history_shows_all_that_was_said() -> None:
    play = ready()
    play >> HistoryAsked() << notices.NOTHING_TO_SHOW
    play.skip(UserSaid("hi"), ReplyStarted("r1"), delta("Yes."), DONE, UserSaid("and?"))
    shown = _history(play)
    assert shown.turns == 2
    assert [(entry.turn, entry.index, entry.state) for entry in shown.entries] == [
        (1, 0, State.COMPLETED),
        (1, 1, State.COMPLETED),
        (2, 0, State.ASKED),
    ]
    play.skip(NewConversationAsked())
    play >> HistoryAsked() << notices.NOTHING_TO_SHOW


def test_history_begins_with_what_was_saved() -> None:
    play = answered().skip(ConversationLoaded(PAST), ConnectionOpened(), CREATED, UPDATED)
    assert _history(play) == replace(PAST, turns=3)
    play.skip(UserSaid("next"))
    shown = _history(play)
    assert (shown.id, shown.title, shown.turns) == (7, "A talk", 4)
    assert shown.entries[:-1] == PAST.entries
    assert shown.entries[-1] == question(4, "next", State.ASKED).entry


def test_resume_continues_another_conversation() -> None:
    play = answered()
    play >> ResumeAsked(7) << LoadConversation(7)
    (
        play
        >> ConversationLoaded(PAST)
        << [
            Show(Resumed(PAST)),
            *CLEAR_ALL_TIMERS,
            Show(Connecting("m")),
            Connect("m"),
        ]
    )
    (
        play.skip(ConnectionOpened())
        >> CREATED
        << Send("rtchat_4", Configure(Options("Sing.", "text")))
    )
    play >> UPDATED << [ClearTimer(Timer.START), Show(Ready("m", 0.0, 2))]
    play.skip()


def test_a_new_conversation_is_recorded_separately() -> None:
    play = answered()
    (
        play
        >> NewConversationAsked()
        << [
            StartRecord(),
            notices.CONVERSATION_STARTED,
            *CLEAR_ALL_TIMERS,
            Show(Connecting("m")),
            Connect("m"),
        ]
    )
    (
        play.skip(ConnectionOpened(), CREATED, UPDATED)
        >> UserSaid("hi")
        << question(1, "hi", State.ASKED)
    )
    play.skip()


# ------------------------------------------------------------------------------------------- /retry


def test_retry_requests_another_response_to_an_unanswered_question() -> None:
    play = ready().skip(UserSaid("hi"), ReplyStarted("r1"))
    play.skip(ReplyEnded("r1", Status.FAILED, message="Oh no."))
    (
        play
        >> RetryAsked()
        << [
            Show(QuestionAsked("hi", "m")),
            Send("rtchat_4", CreateResponse(TEXT)),
            SetTimer(Timer.STALL, 60),
        ]
    )
    play.skip(ReplyStarted("r2"), Delta(Channel.TEXT, "Yes.", "r2", "i2"))
    (
        play
        >> ReplyEnded("r2", Status.COMPLETED)
        << [
            ClearTimer(Timer.STALL),
            ClearTimer(Timer.SAVE),
            reply(1, "Yes.", State.COMPLETED, first_token=0.0, seconds=0.0),
            question(1, "hi", State.COMPLETED),
        ]
    )
    play.skip()


def test_retry_repeats_an_answered_question() -> None:
    play = ready().skip(UserSaid("hi"), ItemAdded(replace(message("user", "hi"), id="q1")))
    play.skip(ReplyStarted("r1"), OutputAdded("r1", 0, Message("assistant", (), "i1")))
    (
        play.skip(delta("Yes."), DONE)
        >> RetryAsked()
        << [
            Send("rtchat_4", Delete("i1")),
            Send("rtchat_5", Delete("q1")),
            SetTimer(Timer.DELETE, DELETE_WAIT),
        ]
    )
    play << Record(Entry(2, 0, message("user", "hi"), State.QUEUED, "m", parent=0))
    play >> ItemDeleted("i1") >> ItemDeleted("q1") << ClearTimer(Timer.DELETE)
    play << Record(Entry(2, 0, message("user", "hi"), State.ASKED, "m", parent=0))
    play << [Show(QuestionAsked("hi", "m")), Send("rtchat_6", AddItem(message("user", "hi")))]
    play.skip()


def test_retry_asks_a_question_that_was_never_sent() -> None:
    play = started().skip(UserSaid("hi"), CancelPressed(), ConnectionOpened(), CREATED, UPDATED)
    play >> RetryAsked() << [question(1, "hi", State.ASKED), Show(QuestionAsked("hi", "m"))]
    play.skip()


def test_retry_reconnects_for_a_question_lost_with_the_connection() -> None:
    play = ready().skip(UserSaid("hi"), REFUSED)
    (
        play
        >> RetryAsked()
        << [
            Show(QuestionAsked("hi", "m")),
            *CLEAR_ALL_TIMERS,
            Show(Connecting("m")),
            Connect("m"),
        ]
    )
    (
        play.skip(ConnectionOpened(), CREATED)
        >> UPDATED
        << [
            ClearTimer(Timer.START),
            Show(Ready("m", 0.0, 1)),
            Send("rtchat_5", AddItem(message("user", "hi"))),
            Send("rtchat_6", CreateResponse(TEXT)),
            SetTimer(Timer.STALL, 60),
        ]
    )


def test_retry_asks_the_last_question_of_a_saved_conversation() -> None:
    stored = saved((1, 0, message("user", "one"), State.ASKED))
    play = ready(stored=stored) >> RetryAsked() << Show(QuestionAsked("one", "m"))
    play.skip()


def test_retry_without_a_question_is_an_error() -> None:
    nothing = notices.NOTHING_TO_REPEAT
    ready() >> RetryAsked() << nothing
    ready().skip(UserSaid("hi")) >> RetryAsked() << notices.REPLY_PENDING


# ------------------------------------------------------------------------------------------ renewal

HOUR = SessionCreated("s", "m", seconds_left=3600.0)


def test_a_session_is_renewed_before_it_expires() -> None:
    play = started().skip(ConnectionOpened())
    play >> HOUR << [Send("rtchat_1", Configure(TEXT)), SetTimer(Timer.RENEW, 3540.0)]
    (
        play.skip(UPDATED)
        >> TimerFired(Timer.RENEW)
        << [
            *CLEAR_ALL_TIMERS,
            Show(Connecting("m")),
            Connect("m"),
        ]
    )


def test_a_session_is_not_renewed_during_a_reply() -> None:
    play = started().skip(ConnectionOpened(), HOUR, UPDATED, UserSaid("hi"), ReplyStarted("r1"))
    play.skip(UserSaid("and")) >> TimerFired(Timer.RENEW)
    play >> DONE << [ClearTimer(Timer.STALL), question(1, "hi", State.COMPLETED)]
    over = ReplyOver(Status.COMPLETED, "", "m", response_id="r1", timing=Timing(0.0, None, 0.0))
    play << [Show(over), *CLEAR_ALL_TIMERS, Show(Connecting("m")), Connect("m")]
    (
        play.skip(ConnectionOpened(), CREATED)
        >> UPDATED
        << [
            ClearTimer(Timer.START),
            Show(Ready("m", 0.0, 1)),
            Send("rtchat_5", AddItem(message("user", "hi"))),
            question(2, "and", State.ASKED),
        ]
    )
    play.skip()


def test_a_session_is_not_renewed_after_the_end_of_input() -> None:
    conversation = Conversation("m", TEXT, mode=Mode.LINES)
    play = Playbook(conversation, stores_audio=True).skip(
        Started(), ConnectionOpened(), HOUR, UPDATED
    )
    play.skip(UserSaid("hi"), ReplyStarted("r1"), TimerFired(Timer.RENEW), InputEnded())
    play >> DONE << [ClearTimer(Timer.STALL), question(1, "hi", State.COMPLETED)]
    over = ReplyOver(Status.COMPLETED, "", "m", response_id="r1", timing=Timing(0.0, None, 0.0))
    play << [Show(over), *CLEAR_ALL_TIMERS, Stop(ExitCode.OK)]


@pytest.mark.parametrize("seconds", [None, -5.0, 0.0, 90.0])
def test_an_invalid_or_near_expiry_is_ignored(seconds: float | None) -> None:
    play = started().skip(ConnectionOpened())
    play >> SessionCreated("s", "m", seconds_left=seconds) << Send("rtchat_1", Configure(TEXT))


def test_a_failed_renewal_is_a_lost_connection() -> None:
    play = started().skip(ConnectionOpened(), HOUR, UPDATED, TimerFired(Timer.RENEW))
    (
        play
        >> LOST
        << [
            *CLEAR_ALL_TIMERS,
            Show(Waiting("connection lost (1006)", 0.5)),
            SetTimer(Timer.RETRY, 0.5, jitter=0.25),
        ]
    )
