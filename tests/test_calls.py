"""Tool calls in a conversation: approval, running, outputs, limits and interruption."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtchat.core import notices
from rtchat.core.conversation import Conversation
from rtchat.core.deadline import CALL_WAIT
from rtchat.core.effects import (
    AddItem,
    Cancel,
    ClearTimer,
    Connect,
    Connecting,
    Copy,
    CreateResponse,
    Notice,
    QuestionAsked,
    Ready,
    Record,
    ReplyOver,
    RunTool,
    Send,
    SetTimer,
    Show,
    Stop,
    StopTools,
    TextArrived,
    Timing,
    ToolAsked,
    ToolBegan,
    ToolEnded,
    Waiting,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    CancelPressed,
    ConnectionLost,
    ConnectionOpened,
    CopyAsked,
    Delta,
    Event,
    InputEnded,
    LeaveAsked,
    OutputAdded,
    OutputDone,
    RawSaid,
    ReplyEnded,
    ReplyStarted,
    Retry,
    RetryAsked,
    ServerProblem,
    SessionCreated,
    SessionUpdated,
    Started,
    Timer,
    TimerFired,
    ToolAnswered,
    ToolCalled,
    ToolFinished,
    ToolsAsked,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.server_errors import exceeded
from rtchat.core.server_errors import unavailable as unavailable_problem
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.tool_calls import LIMIT_REACHED, Call, ToolPolicy
from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    Channel,
    Entry,
    Item,
    Message,
    Options,
    Part,
    State,
    Status,
    ToolCall,
    ToolOutput,
    TurnLimits,
    Usage,
)
from tests.playbook import QUIET, Playbook

TEXT = Options(modality="text")
ONLY_TEXT = Options(modality="text", other={"tool_choice": "none"})
OSLO = ToolCall("weather", "c1", '{"city": "Oslo"}')
ROME = ToolCall("weather", "c2", '{"city": "Rome"}')
CLOCK = ToolCall("clock", "c3", "{}")
STALL = SetTimer(Timer.STALL, 60)
CREATED, UPDATED = SessionCreated("s", "m"), SessionUpdated("s", "m")
LOST = ConnectionLost(Problem(ExitCode.LINK, "connection lost (1006)"), Retry.ALWAYS)


def asked(
    mode: Mode = Mode.CHAT, *allowed: str, rounds: int = 10, stores_audio: bool = False
) -> Playbook:
    tool_policy = ToolPolicy(
        ["weather", "clock"], allowed, can_ask=mode is Mode.CHAT, limits=TurnLimits(rounds)
    )
    conversation = Conversation("m", TEXT, mode=mode, tool_policy=tool_policy)
    play = Playbook(conversation, stores_audio=stores_audio)
    return play.skip(
        Started(), ConnectionOpened(), CREATED, UPDATED, UserSaid("hi"), ReplyStarted("r1")
    )


def calls(*items: Item, reply: str = "r1", usage: Usage | None = None) -> ReplyEnded:
    return ReplyEnded(reply, Status.COMPLETED, items=items, usage=usage)


def message(text: str) -> Message:
    return Message("assistant", (Part("text", text),))


def send(number: int, call_id: str, output: str) -> Send:
    return Send(f"rtchat_{number}", AddItem(ToolOutput(call_id, output)))


def test_an_allowed_tool_runs_and_its_output_is_sent() -> None:
    play = asked(Mode.ONCE, "weather") >> calls(OSLO, usage=Usage(10, 0, 5, 15))
    play << [ClearTimer(Timer.STALL), Show(ToolBegan(OSLO)), RunTool(OSLO)]
    (
        play
        >> ToolFinished("c1", "sunny")
        << [
            Show(ToolEnded(OSLO, "sunny")),
            send(4, "c1", "sunny"),
            Send("rtchat_5", CreateResponse(TEXT)),
            STALL,
        ]
    )
    (
        play.skip(ReplyStarted("r2"))
        >> Delta(Channel.TEXT, "Sun.", "r2", "i")
        << Show(TextArrived("Sun."))
    )
    over = ReplyOver(
        Status.COMPLETED,
        "Sun.",
        "m",
        response_id="r2",
        usage=Usage(40, 10, 7, 47),
        timing=Timing(0.0, 0.0, 0.0),
        tool_calls=(OSLO,),
    )
    (
        play
        >> ReplyEnded("r2", Status.COMPLETED, usage=Usage(30, 10, 2, 32))
        << [ClearTimer(Timer.STALL), Show(over)]
    )


def test_text_before_and_after_a_call_is_separated() -> None:
    play = asked(Mode.ONCE, "clock") >> Delta(Channel.TEXT, "Let me see.", "r1", "i")
    play << Show(TextArrived("Let me see."))
    play.skip(calls(message("Let me see."), CLOCK), ToolFinished("c3", "noon"), ReplyStarted("r2"))
    play >> Delta(Channel.TEXT, "Noon.", "r2", "j") << Show(TextArrived("\n\nNoon."))
    play >> Delta(Channel.TEXT, " Yes.", "r2", "j") << Show(TextArrived(" Yes."))
    (
        play
        >> ReplyEnded("r2", Status.COMPLETED)
        << [
            ClearTimer(Timer.STALL),
            Show(
                ReplyOver(
                    Status.COMPLETED,
                    "Let me see.\n\nNoon. Yes.",
                    "m",
                    response_id="r2",
                    timing=Timing(0.0, 0.0, 0.0),
                    tool_calls=(CLOCK,),
                )
            ),
        ]
    )


def test_a_reply_divided_by_calls_is_copied_as_a_whole() -> None:
    play = asked(Mode.CHAT, "clock").skip(ReplyEnded("r1", Status.COMPLETED))
    play.skip(UserSaid("When?"), ReplyStarted("r2"), Delta(Channel.TEXT, "Wait.", "r2", "i"))
    play.skip(calls(message("Wait."), CLOCK, reply="r2"), ToolFinished("c3", "noon"))
    play.skip(ReplyStarted("r3"), Delta(Channel.TEXT, "Noon.", "r3", "j"))
    play.skip(ReplyEnded("r3", Status.COMPLETED))
    play >> CopyAsked(2) << Show(Copy("Wait.\n\nNoon.", 2))


def test_each_item_is_recorded() -> None:
    def record(index: int, item: Item, state: State = State.COMPLETED) -> Record:
        return Record(Entry(1, index, item, state, "m"))

    play = (
        asked(Mode.ONCE, "clock", stores_audio=True)
        >> calls(message("Wait."), CLOCK)
        << [
            Show(TextArrived("Wait.")),
            SetTimer(Timer.SAVE, 0.5),
            ClearTimer(Timer.STALL),
            record(1, message("Wait.")),
            record(2, CLOCK),
        ]
    )
    (
        play.skip()
        >> ToolFinished("c3", "noon")
        << [
            Show(ToolEnded(CLOCK, "noon")),
            record(3, ToolOutput("c3", "noon")),
        ]
    )
    play.skip(ReplyStarted("r2"), Delta(Channel.TEXT, "Noon.", "r2", "j"))
    (
        play
        >> ReplyEnded("r2", Status.COMPLETED)
        << [
            ClearTimer(Timer.STALL),
            ClearTimer(Timer.SAVE),
            Record(
                Entry(
                    1,
                    4,
                    message("Noon."),
                    State.COMPLETED,
                    "m",
                    first_token=0.0,
                    seconds=0.0,
                    response_model="m",
                )
            ),
        ]
    )
    play.skip()


def test_several_calls_run_concurrently_and_their_outputs_are_sent_in_order() -> None:
    play = (
        asked(Mode.ONCE, "weather", "clock")
        >> calls(OSLO, CLOCK)
        << [
            ClearTimer(Timer.STALL),
            Show(ToolBegan(OSLO)),
            RunTool(OSLO),
            Show(ToolBegan(CLOCK)),
            RunTool(CLOCK),
        ]
    )
    play >> ToolFinished("c3", "noon") << Show(ToolEnded(CLOCK, "noon"))
    (
        play
        >> ToolFinished("c1", "sunny")
        << [
            Show(ToolEnded(OSLO, "sunny")),
            send(4, "c1", "sunny"),
            send(5, "c3", "noon"),
            Send("rtchat_6", CreateResponse(TEXT)),
            STALL,
        ]
    )


def test_a_call_reported_twice_runs_once() -> None:
    play = asked(Mode.ONCE, "clock") >> OutputDone("r1", 0, CLOCK)
    play >> calls(CLOCK) << [ClearTimer(Timer.STALL), Show(ToolBegan(CLOCK)), RunTool(CLOCK)]


def test_the_user_is_asked_about_one_call_at_a_time() -> None:
    play = asked() >> calls(OSLO, CLOCK) << [ClearTimer(Timer.STALL), Show(ToolAsked(OSLO))]
    play >> ToolAnswered("yes") << [Show(ToolBegan(OSLO)), RunTool(OSLO), Show(ToolAsked(CLOCK))]
    refused = "error: the user refused this call"
    play >> ToolAnswered("no") << Show(ToolEnded(CLOCK, refused))
    (
        play
        >> ToolFinished("c1", "sunny")
        << [
            Show(ToolEnded(OSLO, "sunny")),
            send(4, "c1", "sunny"),
            send(5, "c3", refused),
            Send("rtchat_6", CreateResponse(TEXT)),
            STALL,
        ]
    )


def test_always_allows_later_calls_of_the_same_tool() -> None:
    play = asked() >> calls(OSLO, ROME) << [ClearTimer(Timer.STALL), Show(ToolAsked(OSLO))]
    (
        play
        >> ToolAnswered("always")
        << [
            Show(ToolBegan(OSLO)),
            RunTool(OSLO),
            Show(ToolBegan(ROME)),
            RunTool(ROME),
        ]
    )
    play.skip(ToolFinished("c1", "1"), ToolFinished("c2", "2"), ReplyStarted("r2"))
    (
        play
        >> calls(ToolCall("weather", "c9", "{}"), CLOCK, reply="r2")
        << [
            ClearTimer(Timer.STALL),
            Show(ToolBegan(ToolCall("weather", "c9", "{}"))),
            RunTool(ToolCall("weather", "c9", "{}")),
            Show(ToolAsked(CLOCK)),
        ]
    )


def test_without_a_terminal_only_allowed_tools_run() -> None:
    why = "error: this tool is not allowed here"
    play = (
        asked(Mode.LINES, "weather")
        >> calls(CLOCK)
        << [
            ClearTimer(Timer.STALL),
            notices.call_not_allowed("clock"),
            Show(ToolEnded(CLOCK, why)),
            send(4, "c3", why),
            Send("rtchat_5", CreateResponse(TEXT)),
            STALL,
        ]
    )
    play.end()


def test_an_unknown_tool_is_reported_to_the_model() -> None:
    call = ToolCall("wether", "c1", "{}")
    why = "error: there is no tool wether"
    (
        asked()
        >> calls(call)
        << [
            ClearTimer(Timer.STALL),
            Show(ToolEnded(call, why)),
            send(4, "c1", why),
            Send("rtchat_5", CreateResponse(TEXT)),
            STALL,
        ]
    )


def unavailable(*items: ToolCall) -> ReplyOver:
    return ReplyOver(
        Status.INCOMPLETE,
        "",
        "m",
        "tool_calls",
        unavailable_problem(item.name for item in items),
        "r1",
        timing=Timing(0.0, None, 0.0),
        tool_calls=items,
    )


def ready(mode: Mode = Mode.CHAT, tool_policy: ToolPolicy | None = None) -> Playbook:
    play = Playbook(Conversation("m", TEXT, mode=mode, tool_policy=tool_policy))
    return play.skip(
        Started(), ConnectionOpened(), CREATED, UPDATED, UserSaid("hi"), ReplyStarted("r1")
    )


def test_without_tools_calls_are_reported_as_not_available() -> None:
    play = ready(Mode.LINES) >> calls(OSLO, CLOCK)
    play << [ClearTimer(Timer.STALL), Show(unavailable(OSLO, CLOCK))]
    (
        play
        >> UserSaid("and")
        << [
            send(4, "c1", "error: this tool is not available"),
            send(5, "c3", "error: this tool is not available"),
            Show(QuestionAsked("and", "m")),
            Send("rtchat_6", AddItem(Message("user", (Part("text", "and"),)))),
            Send("rtchat_7", CreateResponse(TEXT)),
            STALL,
        ]
    )
    play.end()
    play.skip(ReplyStarted("r2"), ReplyEnded("r2", Status.COMPLETED))
    effects = play.conversation.handle(InputEnded())
    assert effects[-1] == Stop(ExitCode.REPLY)


def test_calls_run_elsewhere_leave_a_reply_complete() -> None:
    play = ready(tool_policy=ToolPolicy(is_external=True)) >> calls(CLOCK)
    timing = Timing(0.0, None, 0.0)
    over = ReplyOver(
        Status.COMPLETED, "", "m", response_id="r1", timing=timing, tool_calls=(CLOCK,)
    )
    play << [ClearTimer(Timer.STALL), Show(over)]


def test_retry_sends_outputs_for_the_calls_of_the_first_reply() -> None:
    play = ready().skip(calls(CLOCK)) >> RetryAsked()
    play << [
        send(4, "c3", "error: this tool is not available"),
        Show(QuestionAsked("hi", "m")),
        Send("rtchat_5", CreateResponse(TEXT)),
        STALL,
    ]


@pytest.mark.parametrize(
    ("names", "shown_names"),
    [
        (["a", "b", "a"], "a, b"),
        (["a", "b", "c", "d", "e"], "a, b, c and 2 more"),
        (["x" * 65], "x" * 63 + "…"),
    ],
)
def test_the_names_of_calls_are_abbreviated(names: list[str], shown_names: str) -> None:
    problem = unavailable_problem(names)
    assert (problem.exit, problem.code) == (ExitCode.REPLY, "tool_calls")
    assert f"the model called {shown_names}, " in problem.message


def test_after_the_last_round_the_response_must_be_text() -> None:
    play = asked(Mode.ONCE, "clock", rounds=2)
    play.skip(calls(CLOCK), ToolFinished("c3", "noon"), ReplyStarted("r2"))
    again = ToolCall("clock", "c4", "{}")
    why = LIMIT_REACHED
    (
        play
        >> calls(again, reply="r2")
        << [
            ClearTimer(Timer.STALL),
            Show(ToolEnded(again, why)),
            send(6, "c4", why),
            Send("rtchat_7", CreateResponse(ONLY_TEXT)),
            STALL,
        ]
    )


def test_calls_after_the_last_round_end_the_turn_and_the_session() -> None:
    play = asked(rounds=1).skip(calls(CLOCK), ReplyStarted("r2"))
    again = ToolCall("clock", "c4", "{}")
    over = ReplyOver(
        Status.INCOMPLETE,
        "",
        "m",
        "max_tool_rounds",
        exceeded("max_tool_rounds", TurnLimits(1)),
        "r2",
        timing=Timing(0.0, None, 0.0),
        tool_calls=(CLOCK, again),
    )
    play >> calls(again, reply="r2")
    play << [ClearTimer(Timer.STALL), Show(over), *QUIET, Show(Connecting("m")), Connect("m")]
    play.skip(ConnectionOpened(), CREATED) >> UPDATED
    question = Message("user", (Part("text", "hi"),))
    output = LIMIT_REACHED
    play << [
        ClearTimer(Timer.START),
        Show(Ready("m", 0.0, 1)),
        Send("rtchat_7", AddItem(question)),
        Send("rtchat_8", AddItem(CLOCK)),
        send(9, "c3", output),
    ]


def limited(*events: Event, limits: TurnLimits) -> list[ReplyOver]:
    """The ends of the turn, if it ended."""
    tool_policy = ToolPolicy(["weather", "clock"], ["weather", "clock"], limits=limits)
    speech = SpeechOptions(speaks=True)
    play = Playbook(Conversation("m", TEXT, tool_policy=tool_policy, speech=speech))
    play.skip(Started(), ConnectionOpened(), CREATED, UPDATED, UserSaid("hi"), ReplyStarted("r1"))
    effects = [effect for event in events for effect in play.handle(event)]
    shown = [effect.update for effect in effects if isinstance(effect, Show)]
    return [update for update in shown if isinstance(update, ReplyOver)]


@pytest.mark.parametrize(
    ("events", "limit"),
    [
        ([calls(OSLO, ROME, CLOCK)], "max_tool_calls"),
        ([calls(OSLO, ROME, CLOCK, ToolCall("clock", "c4", "{}"))], "max_tool_calls"),
        (
            [OutputDone("r1", n, item) for n, item in enumerate((OSLO, ROME, CLOCK))],
            "max_tool_calls",
        ),
        ([calls(ToolCall("clock", "c1", "x" * 60))], "max_tool_bytes"),
        ([Delta(Channel.ARGUMENTS, "x" * 30, "r1", "i")] * 2, "max_tool_bytes"),
        (
            [
                calls(CLOCK),
                ToolFinished("c3", "x" * 60),
                ReplyStarted("r2"),
                calls(OSLO, reply="r2"),
            ],
            "max_tool_bytes",
        ),
        ([Delta(Channel.TEXT, "é" * 51, "r1", "i")], "max_reply_bytes"),
        ([calls(message("x" * 101))], "max_reply_bytes"),
        ([Delta(Channel.TEXT, "", "r1", f"i{n}", n) for n in range(4)], "parts"),
        ([calls(*(replace(message("x"), id=f"i{n}") for n in range(4)))], "parts"),
        ([Delta(Channel.AUDIO, "AAA=", "r1", f"i{n}") for n in range(4)], "parts"),
        ([Delta(Channel.AUDIO, "AAAA", "r1", "i")] * 4, "audio"),
    ],
)
def test_a_limit_ends_the_turn(events: list[Event], limit: str) -> None:
    limits = TurnLimits(calls=2, call_bytes=50, reply_bytes=100, parts=3, audio_bytes=8)
    (over,) = limited(*events, limits=limits)
    assert (over.status, over.reason) == (Status.INCOMPLETE, limit)
    assert over.problem == exceeded(limit, limits)
    assert len(over.text.encode()) <= 100


def test_a_turn_within_the_limits_continues() -> None:
    limits = TurnLimits(calls=2, call_bytes=50, reply_bytes=100, parts=1)
    text = Delta(Channel.TEXT, "é" * 50, "r1", "i")
    assert limited(text, calls(OSLO, CLOCK), limits=limits) == []


def test_a_reply_beyond_a_limit_is_stopped_and_a_new_session_begins() -> None:
    tool_policy = ToolPolicy(limits=TurnLimits(reply_bytes=4))
    play = ready(tool_policy=tool_policy) >> Delta(Channel.TEXT, "12345", "r1", "i")
    over = ReplyOver(
        Status.INCOMPLETE,
        "1234",
        "m",
        "max_reply_bytes",
        exceeded("max_reply_bytes", TurnLimits(reply_bytes=4)),
        "r1",
        timing=Timing(0.0, 0.0, 0.0),
    )
    play << [Show(TextArrived("1234")), Send("rtchat_4", Cancel("r1")), Show(over)]
    play.skip() >> ReplyEnded("r1", Status.CANCELLED)
    play << [ClearTimer(Timer.STALL), *QUIET, Show(Connecting("m")), Connect("m")]


def test_a_repeated_response_created_is_ignored() -> None:
    asked() >> ReplyStarted("r1")


def test_a_stopped_response_may_end_without_an_id() -> None:
    play = asked().skip(CancelPressed()) >> ReplyEnded("", Status.CANCELLED)
    play << ClearTimer(Timer.STALL)


def test_a_server_that_does_not_end_a_stopped_response_is_disconnected() -> None:
    play = asked().skip(CancelPressed(), UserSaid("and"))
    play.skip(Delta(Channel.TEXT, "more", "r1", "i"))
    play >> TimerFired(Timer.OVERDUE)
    play << [ClearTimer(Timer.STALL), *QUIET, Show(Connecting("m")), Connect("m")]


def test_too_many_late_calls_cause_a_new_session() -> None:
    items = [ToolCall("clock", f"c{n}", "{}") for n in range(101)]
    play = asked().skip(CancelPressed()) >> calls(*items)
    play << [ClearTimer(Timer.STALL), *QUIET, Show(Connecting("m")), Connect("m")]


def test_too_many_unavailable_calls_cause_a_new_session() -> None:
    play = ready(tool_policy=ToolPolicy(limits=TurnLimits(calls=1))).skip(calls(OSLO))
    play.skip(UserSaid("and"), ReplyStarted("r2"), calls(CLOCK, reply="r2"))
    effects = play.conversation.handle(UserSaid("so"))
    assert Connect("m") in effects
    assert not [e for e in effects if isinstance(e, Send) and isinstance(e.command, CreateResponse)]
    play.skip(ConnectionOpened(), CREATED)
    effects = play.conversation.handle(UPDATED)
    commands = [effect.command for effect in effects if isinstance(effect, Send)]
    assert commands[-2:] == [AddItem(Message("user", (Part("text", "so"),))), CreateResponse(TEXT)]


def test_a_remote_call_is_answered_with_an_approval() -> None:
    approval = Approval("mcpr_1", "search", "{}", "docs")
    play = asked() >> calls(approval) << [ClearTimer(Timer.STALL), Show(ToolAsked(approval))]
    (
        play
        >> ToolAnswered("yes")
        << [
            Send("rtchat_4", AddItem(ApprovalAnswer("mcpr_1", approve=True, id="mcpa_mcpr_1"))),
            Send("rtchat_5", CreateResponse(TEXT)),
            STALL,
        ]
    )


def test_without_a_terminal_a_remote_call_is_refused() -> None:
    approval = Approval("mcpr_1", "search", "{}", "docs")
    why = "error: this tool is not allowed here"
    answer = ApprovalAnswer("mcpr_1", approve=False, id="mcpa_mcpr_1", reason=why)
    (
        asked(Mode.LINES)
        >> calls(approval)
        << [
            ClearTimer(Timer.STALL),
            notices.call_not_allowed("docs/search"),
            Send("rtchat_4", AddItem(answer)),
            Send("rtchat_5", CreateResponse(TEXT)),
            STALL,
        ]
    )


def test_permission_does_not_extend_to_another_tool_of_the_same_name() -> None:
    remote = Approval("mcpr_1", "weather", "{}", "docs")
    play = (
        asked(Mode.CHAT, "weather")
        >> calls(remote, OSLO)
        << [
            ClearTimer(Timer.STALL),
            Show(ToolBegan(OSLO)),
            RunTool(OSLO),
            Show(ToolAsked(remote)),
        ]
    )
    play.skip(ToolAnswered("always"), ToolFinished("c1", "sunny"), ReplyStarted("r2"))
    other = Approval("mcpr_2", "weather", "{}", "elsewhere")
    again = Approval("mcpr_3", "weather", "{}", "docs")
    play >> calls(again, other, reply="r2") << [ClearTimer(Timer.STALL), Show(ToolAsked(other))]


def test_a_remote_tool_is_allowed_by_server_and_name() -> None:
    tool_policy = ToolPolicy(["weather"], ["docs/search", "weather"])
    allowed: list[Call] = [Approval("1", "search", "{}", "docs"), OSLO]
    refused: list[Call] = [
        Approval("2", "search", "{}", "other"),
        Approval("3", "search", "{}"),
        Approval("4", "weather", "{}"),
        ToolCall("docs/search", "c", "{}"),
    ]
    assert [tool_policy.allows(call) for call in allowed] == [True] * 2
    assert [tool_policy.allows(call) for call in refused] == [False] * 4


def test_the_approval_question_names_the_local_server() -> None:
    tool_policy = ToolPolicy(["weather", "clock"], servers={"weather": "sky"}, can_ask=True)
    play = Playbook(Conversation("m", TEXT, tool_policy=tool_policy))
    play.skip(Started(), ConnectionOpened(), CREATED, UPDATED, UserSaid("hi"), ReplyStarted("r1"))
    play >> calls(OSLO, CLOCK) << [ClearTimer(Timer.STALL), Show(ToolAsked(OSLO, "sky"))]
    play.skip(ToolAnswered("always"))
    lines = "clock\nweather of the MCP server sky (allowed)"
    play >> ToolsAsked() << Show(Notice("info", lines))


def test_the_list_of_tools_includes_allowed_remote_tools() -> None:
    tool_policy = ToolPolicy(["clock"], ["docs/search\n"], servers={"search": "sky"})
    assert tool_policy.describe() == "clock\ndocs/search (allowed)"
    assert ToolPolicy().describe() == "there are no tools"


def test_a_late_approval_is_ignored() -> None:
    play = asked(Mode.CHAT, "clock").skip(calls(CLOCK))
    play >> ToolAnswered("yes")


def test_the_approved_call_runs_even_if_the_server_changes_it_later() -> None:
    other = ToolCall("weather", "c1", '{"city": "Rome"}')
    play = asked() >> OutputDone("r1", 0, OSLO)
    play >> calls(other) << [ClearTimer(Timer.STALL), Show(ToolAsked(OSLO))]
    play >> OutputDone("r1", 0, other)
    play >> calls(other)
    play >> ToolAnswered("yes") << [Show(ToolBegan(OSLO)), RunTool(OSLO)]


# ------------------------------------------------------------------------------------- interruption

STOPPED = "error: the user stopped this call"


def test_stopping_a_turn_sends_an_output_for_every_call() -> None:
    over = ReplyOver(
        Status.CANCELLED,
        "",
        "m",
        "client_cancelled",
        timing=Timing(0.0, None, 0.0),
        tool_calls=(OSLO, CLOCK),
    )
    play = (
        asked(Mode.CHAT, "clock").skip(calls(OSLO, CLOCK))
        >> CancelPressed()
        << [
            ClearTimer(Timer.STALL),
            StopTools(),
            send(4, "c1", STOPPED),
            send(5, "c3", STOPPED),
            Show(over),
        ]
    )
    play >> ToolFinished("c3", "late") >> ToolAnswered("yes")
    play >> UserSaid("and") << [Show(QuestionAsked("and", "m"))]
    play.skip()


def test_outputs_of_tools_that_are_not_running_are_ignored() -> None:
    play = asked(Mode.ONCE, "weather").skip(calls(OSLO, ROME))
    play >> ToolFinished("c9", "?")
    play >> ToolFinished("c1", "sunny") << Show(ToolEnded(OSLO, "sunny"))
    play >> ToolFinished("c1", "sunny again")


def test_leaving_stops_running_tools() -> None:
    play = asked(Mode.CHAT, "clock").skip(calls(CLOCK)) >> LeaveAsked()
    play << [ClearTimer(Timer.STALL), StopTools(), send(4, "c3", STOPPED)]
    effects = play.skip().conversation.handle(LeaveAsked())
    assert effects == []


def test_leaving_without_a_connection_ends_the_turn_as_well() -> None:
    play = asked(Mode.CHAT, "clock").skip(calls(CLOCK), LOST)
    effects = play.conversation.handle(LeaveAsked())
    assert StopTools() in effects
    recorded = [effect.entry.item for effect in effects if isinstance(effect, Record)]
    assert ToolOutput("c3", STOPPED) in recorded
    (over,) = (e.update for e in effects if isinstance(e, Show) and isinstance(e.update, ReplyOver))
    assert over.status is Status.CANCELLED
    assert effects[-1] == Stop(ExitCode.OK)


def test_calls_of_a_reply_stopped_too_late_get_outputs() -> None:
    play = asked(Mode.CHAT, "clock").skip(Delta(Channel.TEXT, "Wait.", "r1", "i"), CancelPressed())
    play >> calls(CLOCK) << [send(5, "c3", STOPPED), ClearTimer(Timer.STALL)]


REPLIED = [ReplyStarted("r2"), Delta(Channel.TEXT, "Sun.", "r2", "i")]


@pytest.mark.parametrize(
    "events",
    [
        [calls(OSLO)],
        [calls(OSLO), ToolAnswered("yes")],
        [calls(OSLO), ToolAnswered("no")],
        [calls(OSLO), ToolAnswered("yes"), ToolFinished("c1", "sunny")],
        [calls(OSLO), ToolAnswered("no"), *REPLIED],
        [calls(OSLO), ToolAnswered("no"), *REPLIED, ReplyEnded("r2", Status.COMPLETED)],
        [calls(OSLO), ToolAnswered("no"), *REPLIED, CancelPressed()],
        [calls(OSLO), ToolAnswered("no"), CancelPressed()],
        [calls(OSLO), CancelPressed()],
        [CancelPressed(), calls(OSLO)],
        [CancelPressed(), calls(OSLO), UserSaid("and")],
    ],
    ids=[
        "asked about",
        "running",
        "refused",
        "answered",
        "next reply",
        "next reply over",
        "next reply stopped",
        "next reply stopped before it began",
        "stopped",
        "late",
        "late, next question",
    ],
)
def test_a_repeated_response_done_is_ignored(events: list[Event]) -> None:
    play = asked().skip(*events)
    play >> calls(OSLO) >> calls(OSLO)


def test_a_repeated_unavailable_call_has_one_output() -> None:
    play = ready().skip(calls(OSLO))
    play >> calls(OSLO)
    (
        play
        >> UserSaid("and")
        << [
            send(4, "c1", "error: this tool is not available"),
            Show(QuestionAsked("and", "m")),
            Send("rtchat_5", AddItem(Message("user", (Part("text", "and"),)))),
            Send("rtchat_6", CreateResponse(TEXT)),
            STALL,
        ]
    )
    play >> calls(OSLO)


def test_no_second_output_is_sent_after_one_from_the_user() -> None:
    output = RawSaid({"type": "conversation.item.create"}, output_of="c1")
    play = ready().skip(calls(OSLO), output)
    play >> calls(OSLO)


def test_a_late_call_repeated_in_one_response_has_one_output() -> None:
    play = asked().skip(CancelPressed()) >> calls(OSLO, OSLO)
    play << [send(5, "c1", STOPPED), ClearTimer(Timer.STALL)]


def test_calls_of_another_response_get_outputs_while_one_is_being_stopped() -> None:
    play = asked().skip(CancelPressed(), ReplyStarted("r9"))
    play >> calls(OSLO, reply="r9") << send(5, "c1", STOPPED)
    play >> calls(CLOCK) << [send(6, "c3", STOPPED), ClearTimer(Timer.STALL)]


@pytest.mark.parametrize("with_error", [False, True])
def test_a_complete_call_is_made_if_the_server_does_not_end_the_reply(with_error: bool) -> None:
    call = replace(OSLO, id="i1")
    conversation = asked(Mode.ONCE, "weather").conversation
    done = conversation.handle(OutputDone("r1", 0, call))
    assert SetTimer(Timer.OVERDUE, CALL_WAIT) in done
    done = conversation.handle(Delta(Channel.ARGUMENTS, "late", "r1", "i1"))
    assert SetTimer(Timer.OVERDUE, CALL_WAIT) in done
    if with_error:  # the error has ended the reply
        conversation.handle(ServerProblem("Odd."))
    effects = conversation.handle(TimerFired(Timer.OVERDUE))
    assert (RunTool(call) in effects) is not with_error
    assert any(isinstance(effect, Stop) for effect in effects) is with_error


def test_a_late_event_of_a_call_does_not_make_it_again() -> None:
    call = replace(OSLO, id="i1")
    play = asked(Mode.ONCE, "weather").skip(calls(call), ToolFinished("c1", "sunny"))
    play >> OutputAdded("", 0, call) >> OutputDone("", 0, call)
    play >> ToolCalled("weather", "c1", OSLO.arguments, item_id="i1")
    assert RunTool(call) not in play.conversation.handle(calls(reply="r2"))


def test_a_lost_connection_does_not_stop_a_running_tool() -> None:
    play = (
        asked(Mode.CHAT, "clock").skip(calls(CLOCK))
        >> LOST
        << [
            *QUIET,
            Show(Waiting("connection lost (1006)", 0.5)),
            SetTimer(Timer.RETRY, 0.5, jitter=0.25),
        ]
    )
    play >> ToolFinished("c3", "noon") << Show(ToolEnded(CLOCK, "noon"))
    play >> TimerFired(Timer.RETRY) << [*QUIET, Show(Connecting("m")), Connect("m")]
    (
        play.skip(ConnectionOpened(), CREATED)
        >> UPDATED
        << [
            ClearTimer(Timer.START),
            Show(Ready("m", 0.0, 1)),
            Send("rtchat_5", AddItem(Message("user", (Part("text", "hi"),)))),
            Send("rtchat_6", AddItem(CLOCK)),
            send(7, "c3", "noon"),
            Send("rtchat_8", CreateResponse(TEXT)),
            STALL,
        ]
    )


def test_a_tool_may_finish_after_reconnecting() -> None:
    play = asked(Mode.CHAT, "clock").skip(
        calls(CLOCK), LOST, TimerFired(Timer.RETRY), ConnectionOpened(), CREATED, UPDATED
    )
    (
        play
        >> ToolFinished("c3", "noon")
        << [
            Show(ToolEnded(CLOCK, "noon")),
            send(7, "c3", "noon"),
            Send("rtchat_8", CreateResponse(TEXT)),
            STALL,
        ]
    )


def test_a_tool_is_stopped_when_reconnecting_fails() -> None:
    refused = ConnectionLost(Problem(ExitCode.REFUSED, "no"), Retry.NEVER)
    effects = asked(Mode.ONCE, "clock").skip(calls(CLOCK)).conversation.handle(refused)
    assert StopTools() in effects
    assert [effect for effect in effects if isinstance(effect, Stop)] == [Stop(ExitCode.REFUSED)]
