"""Typed conversations as playbooks, without an event loop."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from rtchat.core import notices, server_errors
from rtchat.core.backoff import Timeouts
from rtchat.core.conversation import Conversation
from rtchat.core.effects import (
    AddItem,
    Cancel,
    ClearTimer,
    Configure,
    Connect,
    Connecting,
    Copy,
    CreateResponse,
    Disconnect,
    Effect,
    NotConnected,
    Notice,
    QuestionAsked,
    Ready,
    ReplyOver,
    Send,
    SetTimer,
    Show,
    Stop,
    TextArrived,
    Timing,
    Totals,
    Waiting,
    error_notice,
)
from rtchat.core.errors import CHECK_KEY, ExitCode, Problem
from rtchat.core.events import (
    CancelPressed,
    ChannelDone,
    ConnectionLost,
    ConnectionOpened,
    CopyAsked,
    Delta,
    Event,
    InputEnded,
    ItemAdded,
    LeaveAsked,
    LocalNotice,
    ModelSet,
    NewConversationAsked,
    Other,
    PartDone,
    RateLimits,
    ReplyEnded,
    ReplyStarted,
    ResumeAsked,
    Retry,
    ServerProblem,
    ServerWarning,
    SessionCreated,
    SessionUpdated,
    Started,
    SystemSet,
    Timer,
    TimerFired,
    Unknown,
    UsageAsked,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.values import Channel, Message, Options, Part, Status, Usage
from tests.playbook import QUIET, Playbook

OPTIONS = Options("Be brief.", "text")
TEXT = Options(modality="text")
GONE = Problem(ExitCode.LINK, "connection lost (1006)", code="1006")
LOST = ConnectionLost(GONE, Retry.ALWAYS)
CREATED = SessionCreated("sess_1", "m")
UPDATED = SessionUpdated("sess_1", "m")


def user(text: str) -> Message:
    return Message("user", (Part("text", text),))


def assistant(text: str) -> Message:
    return Message("assistant", (Part("text", text),))


def delta(text: str, reply: str = "r1") -> Delta:
    return Delta(Channel.TEXT, text, reply, "i1")


def done(reply: str = "r1", usage: Usage | None = None) -> ReplyEnded:
    return ReplyEnded(reply, Status.COMPLETED, usage=usage)


def connecting() -> list[Effect]:
    return [*QUIET, Show(Connecting("m")), Connect("m")]


def ready(mode: Mode = Mode.CHAT) -> Playbook:
    """A conversation whose session is configured, at 1 s."""
    play = Playbook(Conversation("m", OPTIONS, mode=mode))
    return play.skip(Started(), ConnectionOpened(), CREATED).at(1.0).skip(UPDATED)


def asked(mode: Mode = Mode.CHAT) -> Playbook:
    return ready(mode).skip(UserSaid("hi"))


def replying(mode: Mode = Mode.CHAT) -> Playbook:
    return asked(mode).skip(ReplyStarted("r1"), delta("Hel"))


def over(status: Status, text: str = "", **more: object) -> Show:
    fields: dict[str, object] = {"timing": Timing(1.0, None, 0.0)} | more
    return Show(ReplyOver(status, text, "m", **fields))  # type: ignore[arg-type] # checked at run time


def result(effects: Iterable[Effect]) -> ReplyOver:
    """The only result of a turn among these effects."""
    shown = (effect.update for effect in effects if isinstance(effect, Show))
    (ended,) = (update for update in shown if isinstance(update, ReplyOver))
    return ended


# -------------------------------------------------------------------------------------------- turns


def test_a_complete_turn() -> None:
    play = Playbook(Conversation("m", OPTIONS, timeouts=Timeouts(10, 60)))
    play >> Started() << connecting()
    play >> ConnectionOpened() << SetTimer(Timer.START, 10)
    play >> CREATED << Send("rtchat_1", Configure(OPTIONS))
    play.at(0.5) >> UPDATED << [ClearTimer(Timer.START), Show(Ready("m", 0.5))]
    (
        play.at(2.0)
        >> UserSaid("hi")
        << [
            Show(QuestionAsked("hi", "m")),
            Send("rtchat_2", AddItem(user("hi"))),
            Send("rtchat_3", CreateResponse(TEXT)),
            SetTimer(Timer.STALL, 60),
        ]
    )
    play >> ItemAdded(user("hi")) >> Other("conversation.created") >> ReplyStarted("r1")
    play.at(2.25) >> delta("Hel") << Show(TextArrived("Hel"))
    play.at(3.0) >> delta("lo") << Show(TextArrived("lo"))
    play >> ChannelDone(Channel.TEXT, "Hello", "r1", "i1")
    play >> PartDone("r1", "i1", 0, 0, Part("text", "Hello"))
    usage = Usage(5, 2, 3, 8)
    (
        play.at(3.5)
        >> ReplyEnded(
            "r1", Status.COMPLETED, items=(assistant("Hello"),), usage=usage, conversation_id="c1"
        )
        << [
            ClearTimer(Timer.STALL),
            over(
                Status.COMPLETED,
                "Hello",
                response_id="r1",
                conversation_id="c1",
                usage=usage,
                timing=Timing(0.5, 0.25, 1.5),
            ),
        ]
    )
    play >> RateLimits(()) >> UsageAsked() << Show(Totals(1, usage))


def test_questions_entered_while_connecting_are_asked_in_order_once_ready() -> None:
    play = Playbook(Conversation("m", OPTIONS)).skip(Started())
    play >> UserSaid("one") >> UserSaid("two") >> ConnectionOpened() << SetTimer(Timer.START, 10)
    (
        play.skip(CREATED)
        >> UPDATED
        << [
            ClearTimer(Timer.START),
            Show(Ready("m", 0.0)),
            Show(QuestionAsked("one", "m")),
            Send("rtchat_2", AddItem(user("one"))),
            Send("rtchat_3", CreateResponse(TEXT)),
            SetTimer(Timer.STALL, 60),
        ]
    )
    (
        play.skip(ReplyStarted("r1"))
        >> done()
        << [
            ClearTimer(Timer.STALL),
            over(Status.COMPLETED, response_id="r1", timing=Timing(0.0, None, 0.0)),
            Show(QuestionAsked("two", "m")),
            Send("rtchat_4", AddItem(user("two"))),
            Send("rtchat_5", CreateResponse(TEXT)),
            SetTimer(Timer.STALL, 60),
        ]
    )


@pytest.mark.parametrize(
    "event",
    [
        ChannelDone(Channel.TEXT, "Hello", "r1", "i1"),
        PartDone("r1", "i1", 0, 0, Part("text", "Hello")),
        ChannelDone(Channel.TRANSCRIPT, "Hello", "r1", "i1"),
    ],
)
def test_text_only_in_a_done_event_is_shown(event: Event) -> None:
    asked().skip(ReplyStarted("r1")) >> event << Show(TextArrived("Hello"))


def test_text_only_in_response_done_is_shown() -> None:
    play = asked().skip(ReplyStarted("r1"))
    (
        play
        >> ReplyEnded("r1", Status.COMPLETED, items=(assistant("Hello"),))
        << [
            Show(TextArrived("Hello")),
            ClearTimer(Timer.STALL),
            over(Status.COMPLETED, "Hello", response_id="r1", timing=Timing(1.0, 0.0, 0.0)),
        ]
    )


def test_response_created_is_optional() -> None:
    play = asked()
    play >> delta("Hello") << Show(TextArrived("Hello"))
    (
        play
        >> done()
        << [
            ClearTimer(Timer.STALL),
            over(Status.COMPLETED, "Hello", response_id="r1", timing=Timing(1.0, 0.0, 0.0)),
        ]
    )


def test_events_of_another_response_are_ignored() -> None:
    play = replying()
    play >> delta("other", "r2") >> done("r2") >> ReplyStarted("r2")
    play >> delta("lo") << Show(TextArrived("lo"))


def test_events_between_turns_are_ignored() -> None:
    ready() >> delta("late") >> done() >> ReplyStarted("r9") >> UPDATED >> CREATED >> delta("late")


def test_an_unreadable_event_is_a_detail() -> None:
    play = ready()
    play >> Unknown("x.y", "new") << notices.ignored_event("x.y", "new")
    play >> Unknown("", "not JSON") << notices.ignored_event("", "not JSON")


# ---------------------------------------------------------------------------------- ends of replies


def test_a_failed_reply_is_explained_and_the_conversation_continues() -> None:
    play = asked().skip(ReplyStarted("r1"))
    (
        play
        >> ReplyEnded("r1", Status.FAILED, code="server_error", message="Oh no.")
        << [
            ClearTimer(Timer.STALL),
            over(
                Status.FAILED,
                response_id="r1",
                problem=Problem(ExitCode.REPLY, "the reply failed: Oh no.", code="server_error"),
            ),
        ]
    )
    play >> UserSaid("again") << Show(QuestionAsked("again", "m"))
    play.skip()


@pytest.mark.parametrize(
    ("mode", "code", "exit_code"),
    [
        (Mode.ONCE, "server_error", ExitCode.REPLY),
        (Mode.ONCE, "insufficient_quota", ExitCode.LIMIT),
        (Mode.LINES, "insufficient_quota", ExitCode.REPLY),
    ],
)
def test_a_failed_reply_sets_the_exit_code(mode: Mode, code: str, exit_code: ExitCode) -> None:
    play = asked(mode).skip(InputEnded(), ReplyStarted("r1"))
    effects = play.conversation.handle(ReplyEnded("r1", Status.FAILED, code=code, message="No."))
    assert effects[-1] == Stop(exit_code)


def test_once_ends_after_its_reply() -> None:
    play = asked(Mode.ONCE).skip(InputEnded(), ReplyStarted("r1"))
    (
        play
        >> done()
        << [
            ClearTimer(Timer.STALL),
            over(Status.COMPLETED, response_id="r1"),
            *QUIET,
            Stop(ExitCode.OK),
        ]
    )


def test_an_incomplete_reply_keeps_its_text_and_names_the_limit() -> None:
    play = replying(Mode.ONCE)
    problem = Problem(
        ExitCode.REPLY,
        "the reply reached the output limit",
        "increase --max-output-tokens",
        "max_output_tokens",
    )
    (
        play
        >> ReplyEnded("r1", Status.INCOMPLETE, "max_output_tokens")
        << [
            ClearTimer(Timer.STALL),
            over(
                Status.INCOMPLETE,
                "Hel",
                reason="max_output_tokens",
                problem=problem,
                response_id="r1",
                timing=Timing(1.0, 0.0, 0.0),
            ),
            *QUIET,
            Stop(ExitCode.REPLY),
        ]
    )


def test_a_short_rate_limit_is_waited_for_once() -> None:
    limited = ReplyEnded(
        "r1", Status.FAILED, code="rate_limit_exceeded", message="Please try again in 7.5s."
    )
    play = asked(Mode.ONCE).skip(ReplyStarted("r1"))
    (
        play
        >> limited
        << [
            ClearTimer(Timer.STALL),
            Show(Waiting("rate limit", 7.5)),
            SetTimer(Timer.LIMIT, 7.5),
        ]
    )
    (
        play
        >> TimerFired(Timer.LIMIT)
        << [Send("rtchat_4", CreateResponse(TEXT)), SetTimer(Timer.STALL, 60)]
    )
    play.skip(ReplyStarted("r2"))
    effects = play.conversation.handle(
        ReplyEnded("r2", Status.FAILED, code="rate_limit_exceeded", message="try again in 1s")
    )
    assert effects[-1] == Stop(ExitCode.LIMIT)


def test_a_long_rate_limit_is_not_waited_for() -> None:
    play = asked(Mode.ONCE).skip(ReplyStarted("r1"))
    effects = play.conversation.handle(
        ReplyEnded("r1", Status.FAILED, code="rate_limit_exceeded", message="try again in 1m26.4s")
    )
    assert effects[-1] == Stop(ExitCode.LIMIT)


# --------------------------------------------------------------------------------------- cancelling

CANCELLED = over(
    Status.CANCELLED,
    "Hel",
    reason="client_cancelled",
    response_id="r1",
    timing=Timing(1.0, 0.0, 0.0),
)


def test_cancelling_keeps_the_text_so_far_and_drops_late_text() -> None:
    play = replying()
    (
        play
        >> CancelPressed()
        << [
            Send("rtchat_4", Cancel("r1")),
            CANCELLED,
        ]
    )
    play >> delta("lo") >> UserSaid("next")
    (
        play
        >> ReplyEnded("r1", Status.CANCELLED, "client_cancelled", usage=Usage(1, 0, 2, 3))
        << [
            ClearTimer(Timer.STALL),
            Show(QuestionAsked("next", "m")),
            Send("rtchat_5", AddItem(user("next"))),
            Send("rtchat_6", CreateResponse(TEXT)),
            SetTimer(Timer.STALL, 60),
        ]
    )


def test_cancelling_before_the_response_begins_is_sent_when_it_does() -> None:
    play = asked()
    (
        play
        >> CancelPressed()
        << [
            over(Status.CANCELLED, reason="client_cancelled"),
        ]
    )
    play >> ReplyStarted("r1") << Send("rtchat_4", Cancel("r1"))
    play >> delta("late") >> ReplyEnded("r1", Status.CANCELLED) << ClearTimer(Timer.STALL)


def test_a_server_that_ignores_a_cancel_is_disconnected() -> None:
    play = replying().skip(CancelPressed(), UserSaid("next"))
    (
        play
        >> TimerFired(Timer.OVERDUE)
        << [ClearTimer(Timer.STALL), *QUIET, Show(Connecting("m")), Connect("m")]
    )
    play.skip(ConnectionOpened(), CREATED, UPDATED)
    play >> ReplyStarted("r2")
    play >> delta("Hi", "r2") << Show(TextArrived("Hi"))


def test_cancelling_too_late_is_not_an_error() -> None:
    play = replying().skip(CancelPressed())
    (
        play
        >> ServerProblem("none", code="response_cancel_not_active", event_id="rtchat_4")
        << (ClearTimer(Timer.STALL))
    )
    play >> UserSaid("next") << Show(QuestionAsked("next", "m"))
    play.skip()


def test_cancelling_ends_the_wait_for_a_rate_limit() -> None:
    play = asked().skip(
        ReplyStarted("r1"),
        ReplyEnded("r1", Status.FAILED, code="rate_limit_exceeded", message="try again in 2s"),
    )
    (
        play
        >> CancelPressed()
        << [
            ClearTimer(Timer.LIMIT),
            ClearTimer(Timer.STALL),
            over(Status.CANCELLED, reason="client_cancelled", response_id="r1"),
        ]
    )
    play >> TimerFired(Timer.LIMIT)


def test_cancelling_while_connecting_drops_the_question() -> None:
    play = Playbook(Conversation("m", OPTIONS)).skip(Started(), UserSaid("hi"))
    play >> CancelPressed() << Show(ReplyOver(Status.CANCELLED, "", "m", reason="client_cancelled"))
    play >> CancelPressed()


def test_leaving_during_a_reply_cancels_it() -> None:
    play = replying(Mode.ONCE)
    (
        play
        >> LeaveAsked(ExitCode.INTERRUPTED)
        << [
            Send("rtchat_4", Cancel("r1")),
            CANCELLED,
            *QUIET,
            Stop(ExitCode.INTERRUPTED),
        ]
    )
    play >> delta("lo") >> UserSaid("more")


# ------------------------------------------------------------------------------------ server errors


def test_an_error_is_shown_once_the_reply_continues() -> None:
    play = replying()
    play >> ServerProblem("Odd.", code="odd") << notices.server_reports("Odd.", "detail")
    play >> delta("lo") << [notices.server_reports("Odd."), Show(TextArrived("lo"))]
    play >> delta("!") << Show(TextArrived("!"))


def test_an_error_without_more_of_the_reply_ends_it() -> None:
    play = replying().skip(ServerProblem("Odd.", code="odd"))
    effects = play.conversation.handle(TimerFired(Timer.OVERDUE))
    problem = Problem(ExitCode.REPLY, "Odd.", code="odd")
    (ended,) = (
        e.update for e in effects if isinstance(e, Show) and isinstance(e.update, ReplyOver)
    )
    assert (ended.status, ended.text, ended.problem) == (Status.FAILED, "Hel", problem)


def test_a_reply_that_an_error_ended_is_not_asked_for_again_when_the_connection_is_lost() -> None:
    play = asked().skip(ServerProblem("No such model.", code="model_load_error"))
    effects = play.conversation.handle(ConnectionLost(Problem(ExitCode.LINK, "lost"), Retry.ALWAYS))
    (ended,) = (
        e.update for e in effects if isinstance(e, Show) and isinstance(e.update, ReplyOver)
    )
    assert ended.problem == Problem(ExitCode.REPLY, "No such model.", code="model_load_error")


def test_an_error_instead_of_a_session_is_final_and_shown_once() -> None:
    play = Playbook(Conversation("m", OPTIONS)).skip(Started(), ConnectionOpened())
    play >> ServerProblem("Blocked.", code="guardrail_error")
    play << notices.server_reports("Blocked.", "detail")
    effects = play.conversation.handle(ConnectionLost(Problem(ExitCode.LINK, "lost"), Retry.ALWAYS))
    assert Show(Notice("error", "Blocked.", code="guardrail_error")) in effects
    assert effects[-1] == Stop(ExitCode.LINK)


def test_an_error_that_does_not_prevent_the_session_is_shown() -> None:
    play = Playbook(Conversation("m", OPTIONS)).skip(Started(), ConnectionOpened(), CREATED)
    play.skip(ServerProblem("Voice x is unknown.", code="voice_fallback"))
    (
        play
        >> UPDATED
        << [
            ClearTimer(Timer.START),
            notices.server_reports("Voice x is unknown."),
            Show(Ready("m", 0.0)),
        ]
    )


def test_refused_initial_settings_end_the_program_and_name_the_field() -> None:
    play = Playbook(Conversation("m", OPTIONS)).skip(Started(), ConnectionOpened(), CREATED)
    (
        play
        >> ServerProblem(
            "Unknown parameter.", code="unknown_parameter", param="session.x", event_id="rtchat_1"
        )
        << [
            *QUIET,
            Disconnect(),
            Show(
                Notice(
                    "error",
                    "the server refused session.x: Unknown parameter.",
                    "remove that setting, or set the server's dialect with --dialect",
                    "unknown_parameter",
                )
            ),
            *QUIET,
            Stop(ExitCode.USAGE),
        ]
    )


def test_refused_later_settings_leave_the_old_ones() -> None:
    play = ready()
    (
        play
        >> SystemSet("Sing.")
        << [
            notices.INSTRUCTIONS_SET,
            Send("rtchat_2", Configure(Options("Sing.", "text"))),
        ]
    )
    (
        play
        >> ServerProblem("No.", param="session.instructions", event_id="rtchat_2")
        << Show(Notice("error", "the server refused session.instructions: No."))
    )
    (
        play
        >> SystemSet("Hum.")
        << [
            notices.INSTRUCTIONS_SET,
            Send("rtchat_3", Configure(Options("Hum.", "text"))),
        ]
    )
    play >> SessionUpdated("sess_1", "m")


BUSY = "conversation_already_has_active_response"


def test_a_refused_response_ends_the_turn() -> None:
    play = asked() >> ServerProblem("No.", code="invalid_value", event_id="rtchat_3")
    problem = Problem(ExitCode.REPLY, "No.", code="invalid_value")
    play << [ClearTimer(Timer.STALL), over(Status.FAILED, problem=problem)]


def test_a_request_refused_by_a_server_that_replies_by_itself_is_answered() -> None:
    play = asked().skip(ServerProblem("Busy.", code=BUSY, event_id="rtchat_3"))
    play >> ReplyStarted("r1")
    play >> delta("Hi") << Show(TextArrived("Hi"))


def test_a_server_that_is_busy_and_sends_no_reply_has_failed() -> None:
    play = asked().skip(ServerProblem("Busy.", code=BUSY, event_id="rtchat_3"))
    effects = play.conversation.handle(TimerFired(Timer.OVERDUE))
    assert result(effects).problem == Problem(ExitCode.REPLY, "Busy.", code=BUSY)


def test_after_a_refused_cancelled_response_the_next_question_is_asked() -> None:
    play = asked().skip(CancelPressed(), UserSaid("next"))
    (
        play
        >> ServerProblem("No.", event_id="rtchat_3")
        << [
            ClearTimer(Timer.STALL),
            Show(QuestionAsked("next", "m")),
        ]
    )
    play.skip()


def test_the_response_to_a_refused_question_is_cancelled() -> None:
    play = asked()
    (
        play
        >> ServerProblem("Too long.", code="too_long", event_id="rtchat_2")
        << [
            over(Status.FAILED, problem=Problem(ExitCode.REPLY, "Too long.", code="too_long")),
        ]
    )
    play >> ReplyStarted("r1") << Send("rtchat_4", Cancel("r1"))
    play >> ReplyEnded("r1", Status.CANCELLED) << ClearTimer(Timer.STALL)


def test_an_invalid_key_ends_the_program_at_once() -> None:
    play = Playbook(Conversation("m", OPTIONS, mode=Mode.ONCE))
    play.skip(Started(), UserSaid("hi"), InputEnded(), ConnectionOpened())
    problem = Problem(ExitCode.REFUSED, "Bad key.", CHECK_KEY, "invalid_api_key")
    (
        play
        >> ServerProblem("Bad key.", code="invalid_api_key")
        << [
            *QUIET,
            Disconnect(),
            Show(ReplyOver(Status.FAILED, "", "m", problem=problem)),
            *QUIET,
            Stop(ExitCode.REFUSED),
        ]
    )


def test_a_known_error_before_the_close_is_the_reason() -> None:
    play = ready().skip(ServerProblem("No credit.", code="insufficient_quota"))
    (
        play
        >> ConnectionLost(Problem(ExitCode.LINK, "connection lost (1013)"), Retry.ALWAYS)
        << [
            *QUIET,
            Disconnect(),
            Show(
                Notice(
                    "error",
                    "No credit.",
                    "check the plan and billing of your account",
                    "insufficient_quota",
                )
            ),
            Show(NotConnected()),
        ]
    )


def test_an_unknown_error_before_the_close_is_quoted() -> None:
    play = ready().skip(ServerProblem("Moon phase.", code="moon"))
    (
        play
        >> LOST
        << [
            *QUIET,
            Show(Waiting("connection lost (1006); the server said: Moon phase.", 0.5)),
            SetTimer(Timer.RETRY, 0.5, jitter=0.25),
        ]
    )


# --------------------------------------------------------------------------------- lost connections


def test_an_unanswered_question_is_resent_on_a_new_connection() -> None:
    play = ready().skip(UserSaid("first"), ReplyStarted("r0"), delta("One.", "r0"), done("r0"))
    play.skip(UserSaid("hi"))
    (
        play
        >> LOST
        << [
            *QUIET,
            Show(Waiting("connection lost (1006)", 0.5)),
            SetTimer(Timer.RETRY, 0.5, jitter=0.25),
        ]
    )
    play >> UserSaid("queued") >> TimerFired(Timer.RETRY) << connecting()
    play.skip(ConnectionOpened()) >> CREATED << Send("rtchat_6", Configure(OPTIONS))
    (
        play
        >> UPDATED
        << [
            ClearTimer(Timer.START),
            Show(Ready("m", 0.0, 2)),
            Send("rtchat_7", AddItem(user("first"))),
            Send("rtchat_8", AddItem(assistant("One."))),
            Send("rtchat_9", AddItem(user("hi"))),
            Send("rtchat_10", CreateResponse(TEXT)),
            SetTimer(Timer.STALL, 60),
        ]
    )
    (
        play.skip(ReplyStarted("r1"), delta("Two."))
        >> done()
        << [
            ClearTimer(Timer.STALL),
            over(Status.COMPLETED, "Two.", response_id="r1", timing=Timing(0.0, 0.0, 0.0)),
            Show(QuestionAsked("queued", "m")),
        ]
    )
    play.skip()


INTERRUPTED = over(
    Status.INCOMPLETE,
    "Hel",
    reason="connection_lost",
    problem=GONE,
    response_id="r1",
    timing=Timing(1.0, 0.0, 0.0),
)


def test_a_partial_reply_is_kept_and_not_requested_again() -> None:
    play = replying()
    (
        play
        >> LOST
        << [
            *QUIET,
            ClearTimer(Timer.STALL),
            INTERRUPTED,
            Show(Waiting("connection lost (1006)", 0.5)),
            SetTimer(Timer.RETRY, 0.5, jitter=0.25),
        ]
    )
    (
        play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), CREATED)
        >> UPDATED
        << [
            ClearTimer(Timer.START),
            Show(Ready("m", 0.0, 1)),
            Send("rtchat_5", AddItem(user("hi"))),
            Send("rtchat_6", AddItem(assistant("Hel"))),
        ]
    )


def test_once_ends_when_the_connection_is_lost_during_a_reply() -> None:
    (
        replying(Mode.ONCE)
        >> LOST
        << [
            *QUIET,
            ClearTimer(Timer.STALL),
            INTERRUPTED,
            *QUIET,
            Stop(ExitCode.LINK),
        ]
    )


def test_after_the_end_of_input_there_is_no_reconnection() -> None:
    (
        replying(Mode.LINES).skip(InputEnded())
        >> LOST
        << [
            *QUIET,
            ClearTimer(Timer.STALL),
            INTERRUPTED,
            *QUIET,
            Stop(ExitCode.REPLY),
        ]
    )


def test_retry_delays_double_up_to_8_s_and_end() -> None:
    play = asked()
    delays = []
    for _ in range(5):
        effects = play.conversation.handle(LOST)
        delays += [effect.seconds for effect in effects if isinstance(effect, SetTimer)]
        play.skip(TimerFired(Timer.RETRY))
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0]
    (
        play
        >> LOST
        << [
            *QUIET,
            Disconnect(),
            Show(ReplyOver(Status.FAILED, "", "m", problem=GONE)),
            Show(NotConnected()),
        ]
    )
    play >> UserSaid("again") << connecting()


def test_a_completed_reply_resets_the_retry_delay_but_a_connection_does_not() -> None:
    play = ready().skip(LOST, TimerFired(Timer.RETRY), ConnectionOpened(), CREATED, UPDATED)
    play >> LOST << [*QUIET, Show(Waiting("connection lost (1006)", 1.0))]
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), CREATED, UPDATED, UserSaid("hi"), done())
    play >> LOST << [*QUIET, Show(Waiting("connection lost (1006)", 0.5))]
    play.skip()


@pytest.mark.parametrize(
    ("lost", "seconds"),
    [
        (ConnectionLost(GONE, Retry.ALWAYS, at_once=True), 0.0),
        (ConnectionLost(GONE, Retry.ALWAYS, retry_after=20.0), 20.0),
        (ConnectionLost(GONE, Retry.ALWAYS, retry_after=20.0, at_once=True), 20.0),
    ],
)
def test_the_server_may_set_the_retry_delay(lost: ConnectionLost, seconds: float) -> None:
    wait = Show(Waiting("connection lost (1006)", seconds))
    ready() >> lost << [*QUIET, wait, SetTimer(Timer.RETRY, seconds, jitter=0.25)]


@pytest.mark.parametrize(
    "lost",
    [ConnectionLost(GONE, Retry.ALWAYS, retry_after=31.0), ConnectionLost(GONE, Retry.NEVER)],
)
def test_a_later_loss_without_a_retry_does_not_end_the_program(lost: ConnectionLost) -> None:
    ready() >> lost << [*QUIET, Disconnect(), Show(error_notice(GONE)), Show(NotConnected())]


@pytest.mark.parametrize("retry", [Retry.NEVER, Retry.IF_IT_WORKED])
def test_a_connection_that_never_worked_ends_the_program(retry: Retry) -> None:
    (
        Playbook(Conversation("m", OPTIONS)).skip(Started())
        >> ConnectionLost(GONE, retry)
        << [
            *QUIET,
            Disconnect(),
            Show(error_notice(GONE)),
            *QUIET,
            Stop(ExitCode.LINK),
        ]
    )


def test_a_repeated_connection_loss_is_ignored() -> None:
    ready().skip(LOST) >> LOST >> TimerFired(Timer.RETRY) << connecting()


def test_no_session_in_time_is_an_error() -> None:
    play = Playbook(Conversation("m", OPTIONS)).skip(Started(), ConnectionOpened())
    problem = server_errors.timed_out("the server sent no session.created")
    (
        play
        >> TimerFired(Timer.START)
        << [
            Disconnect(),
            *QUIET,
            Disconnect(),
            Show(error_notice(problem)),
            *QUIET,
            Stop(ExitCode.LINK),
        ]
    )


def test_a_question_is_not_asked_again_if_the_server_is_silent() -> None:
    play = asked() >> TimerFired(Timer.STALL)
    play << [
        ClearTimer(Timer.STALL),
        over(Status.FAILED, reason="timed_out", problem=server_errors.no_response(60)),
        *QUIET,
        Show(Connecting("m")),
        Connect("m"),
    ]


def test_a_cancelled_question_is_not_asked_again_on_a_new_connection() -> None:
    play = asked().skip(LOST)
    (
        play
        >> CancelPressed()
        << [
            ClearTimer(Timer.STALL),
            over(Status.CANCELLED, reason="client_cancelled"),
        ]
    )
    (
        play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), CREATED)
        >> UPDATED
        << [
            ClearTimer(Timer.START),
            Show(Ready("m", 0.0, 1)),
            Send("rtchat_5", AddItem(user("hi"))),
        ]
    )


# ----------------------------------------------------------------------------------------- commands


def test_another_model_gets_a_new_session_with_the_same_items() -> None:
    play = asked().skip(ReplyStarted("r1"), delta("Yes."), done())
    (
        play
        >> ModelSet("m2")
        << [
            notices.model_set("m2"),
            *QUIET,
            Show(Connecting("m2")),
            Connect("m2"),
        ]
    )
    (
        play.skip(ConnectionOpened(), CREATED)
        >> SessionUpdated("s", "m2")
        << [
            ClearTimer(Timer.START),
            Show(Ready("m2", 0.0, 1)),
            Send("rtchat_5", AddItem(user("hi"))),
            Send("rtchat_6", AddItem(assistant("Yes."))),
        ]
    )


def test_a_new_conversation_has_no_items() -> None:
    play = asked().skip(ReplyStarted("r1"), delta("Yes."), done())
    play >> NewConversationAsked() << [notices.CONVERSATION_STARTED, *connecting()]
    (
        play.skip(ConnectionOpened(), CREATED)
        >> UPDATED
        << [ClearTimer(Timer.START), Show(Ready("m", 0.0))]
    )


def test_instructions_set_while_connecting_are_in_the_first_settings() -> None:
    play = Playbook(Conversation("m", OPTIONS)).skip(
        Started(), SystemSet("Sing."), ConnectionOpened()
    )
    play >> CREATED << Send("rtchat_1", Configure(Options("Sing.", "text")))


def test_instructions_set_before_settings_are_confirmed_wait_for_both_confirmations() -> None:
    play = Playbook(Conversation("m", OPTIONS)).skip(Started(), ConnectionOpened(), CREATED)
    (
        play
        >> SystemSet("Sing.")
        << [
            notices.INSTRUCTIONS_SET,
            Send("rtchat_2", Configure(Options("Sing.", "text"))),
        ]
    )
    play >> UPDATED >> UPDATED << [ClearTimer(Timer.START), Show(Ready("m", 0.0))]


def test_local_notices_are_shown() -> None:
    play = ready()
    play >> LocalNotice("help") << Show(Notice("info", "help"))
    play >> LocalNotice("no such", is_error=True) << Show(Notice("error", "no such"))


def test_an_input_error_is_shown_and_sets_the_exit_code() -> None:
    play = asked(Mode.LINES)
    problem = Problem(ExitCode.USAGE, "stdin is not UTF-8 text")
    play >> InputEnded(problem) << Show(Notice("error", "stdin is not UTF-8 text"))
    play.skip(ReplyStarted("r1"))
    assert play.conversation.handle(done())[-1] == Stop(ExitCode.USAGE)


def test_an_empty_input_ends_with_success() -> None:
    (
        Playbook(Conversation("m", OPTIONS, mode=Mode.LINES)).skip(Started())
        >> InputEnded()
        << [
            *QUIET,
            Stop(ExitCode.OK),
        ]
    )


def test_response_ids_are_optional() -> None:
    play = asked().skip(ReplyStarted(""))
    play >> delta("Hello", "") << Show(TextArrived("Hello"))
    play.skip(done(""))
    play >> UsageAsked() << Show(Totals(1, Usage()))


def test_late_events_are_ignored() -> None:
    play = replying()
    (play >> ServerProblem("No.", event_id="rtchat_3") << notices.server_reports("No."))
    play >> TimerFired(Timer.RETRY) >> TimerFired(Timer.LIMIT) >> CancelPressed()
    play.skip() >> ReplyStarted("r0") >> done("r0") >> done("r1") << ClearTimer(Timer.STALL)
    (
        play
        >> ServerProblem("None.", code="response_cancel_not_active", event_id="rtchat_4")
        << notices.server_reports("None.", "detail")
    )


def test_a_response_that_has_begun_continues_after_an_error_for_it() -> None:
    play = asked().skip(delta("Hel"))
    play >> ServerProblem("Odd.", event_id="rtchat_3")
    play >> delta("lo") << Show(TextArrived("lo"))


def test_copy_copies_the_last_reply_even_after_a_lost_connection() -> None:
    play = ready()
    play >> CopyAsked(0) << notices.NOTHING_TO_COPY
    play.skip(UserSaid("hi"), ReplyStarted("r1"), delta("Yes."), done(), LOST)
    play >> CopyAsked(2) << Show(Copy("Yes.", 2))


def test_a_code_block_of_the_reply_that_streams_can_be_copied() -> None:
    play = ready()
    play.skip(UserSaid("hi"), ReplyStarted("r1"))
    play >> CopyAsked(1) << notices.NOTHING_TO_COPY
    play.skip(delta("<think>Hm.</think>\nLook:"))
    play >> CopyAsked(0) << notices.NOTHING_TO_COPY
    play >> CopyAsked(1) << Show(Copy("", 1, "Look:"))
    play.skip(done(), UserSaid("more"), ReplyStarted("r2"), delta("Here:", "r2"))
    play >> CopyAsked(0) << Show(Copy("Look:"))
    play >> CopyAsked(2) << Show(Copy("Look:", 2, "Here:"))
    play.skip(done("r2"))
    play >> CopyAsked(2) << Show(Copy("Here:", 2))


def test_an_expired_session_is_replaced_without_an_error() -> None:
    play = replying() >> ServerProblem("Your session hit the maximum.", code="session_expired")
    (
        play.skip(ConnectionLost(GONE, Retry.ALWAYS, at_once=True))
        >> TimerFired(Timer.RETRY)
        << connecting()
    )


def test_after_a_rate_limit_the_hint_is_retry() -> None:
    limit = ReplyEnded("r1", Status.FAILED, code="rate_limit_exceeded", message="try in an hour")
    (
        asked().skip(ReplyStarted("r1"))
        >> limit
        << [
            ClearTimer(Timer.STALL),
            over(
                Status.FAILED,
                problem=Problem(
                    ExitCode.LIMIT,
                    "the reply failed: try in an hour",
                    "use /retry to ask it again",
                    "rate_limit_exceeded",
                ),
                response_id="r1",
            ),
        ]
    )


def test_response_ids_may_repeat() -> None:
    play = replying().skip(done(), UserSaid("and"), ReplyStarted("r1"))
    play >> delta("Yes.") << Show(TextArrived("Yes."))


def test_an_unrequested_response_does_not_end_a_turn() -> None:
    play = replying().skip(ReplyStarted("r9"), done(), UserSaid("and")) >> done("r9")
    play.skip(ReplyStarted("r2")) >> delta("Yes.", "r2") << Show(TextArrived("Yes."))


def test_resume_is_refused_while_a_reply_is_due() -> None:
    (shown,) = asked().conversation.handle(ResumeAsked())
    assert isinstance(shown, Show)
    assert isinstance(shown.update, Notice)
    assert shown.update.level == "error"


def test_a_warning_of_the_server_is_shown() -> None:
    warning = ServerWarning("Voice x is not available.")
    (replying() >> warning << notices.server_reports("Voice x is not available.", "warning"))
