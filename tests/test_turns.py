"""Turns by themselves: what one question leads to, up to the signals that end it."""

from __future__ import annotations

import pytest

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices
from rtchat.core import signals as sg
from rtchat.core.deadline import CANCEL_WAIT, CONTINUE_WAIT, ERROR_WAIT
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.mode import Mode
from rtchat.core.models import Rate
from rtchat.core.pricing import Budget
from rtchat.core.replies import ReplyPhase
from rtchat.core.reply_errors import ReplyErrors
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.tool_calls import STOPPED, UNAVAILABLE
from rtchat.core.values import (
    Channel,
    Item,
    Message,
    Part,
    RemoteCall,
    Status,
    ToolCall,
    ToolOutput,
    Usage,
)
from tests.units import TEXT, Units, made, ready, sent, shown

GONE = Problem(ExitCode.LINK, "gone")
CALL = ToolCall("clock", "c1", "{}")
SPENT = Budget({"m": Rate(1.0, 1.0, 1.0)}, max_cost=0.5)


def user(text: str) -> Message:
    return Message("user", (Part("text", text),))


def delta(text: str, response_id: str = "r1") -> ev.Delta:
    return ev.Delta(Channel.TEXT, text, response_id, "i1")


def done(*items: Item, reply: str = "r1", status: Status = Status.COMPLETED) -> ev.ReplyEnded:
    return ev.ReplyEnded(reply, status, items=items)


def replying(*tools: str, speech: SpeechOptions = SpeechOptions()) -> Units:  # noqa: B008 - a frozen value
    """Units whose reply has begun; these tools may be called."""
    units = ready(tools=tools, allowed=tools, speech=speech)
    units.asked()
    units.replies.started(ev.ReplyStarted("r1"))
    return units


def calling() -> Units:
    """Units whose tool runs."""
    units = replying("clock")
    units.replies.ended(done(CALL))
    units.tool_loop.start(done(CALL))
    assert units.tool_loop.is_running
    return units


# ---------------------------------------------------------------------------------- one plain turn


def test_a_question_is_sent_and_a_reply_to_it_asked_for() -> None:
    units = ready()
    question = units.log.enter("hi")
    assert sent(units.turns.ask(question)) == [fx.AddItem(user("hi")), fx.CreateResponse(TEXT)]
    assert units.replies.phase is ReplyPhase.ASKED
    assert not units.turns.is_idle


def test_a_reply_is_shown_as_it_comes_and_its_end_ends_the_turn() -> None:
    units = replying()
    assert shown(units.replies.content(delta("Yes"))) == [fx.TextArrived("Yes")]
    assert units.replies.phase is ReplyPhase.REPLYING
    (signal,) = units.replies.ended(done())
    assert signal == sg.ReplyDone(Status.COMPLETED, "", None, done())
    outputs = units.turns.end(Status.COMPLETED, ended=done())
    assert outputs[-1] == sg.TurnDone(None, asks_next=True)
    (over,) = shown(outputs)
    assert isinstance(over, fx.ReplyOver)
    assert over.text == "Yes"
    assert units.turns.is_idle
    assert units.turns.current is None


def test_what_comes_late_of_a_reply_that_is_over_is_not_shown() -> None:
    units = replying()
    units.replies.ended(done())
    units.turns.end(Status.COMPLETED)
    units.asked("and")
    assert units.replies.content(delta("late")) == []
    assert units.replies.started(ev.ReplyStarted("r1")) == []


def test_a_rate_limit_is_waited_for_once() -> None:
    units = replying()
    reason = "rate_limit_exceeded", "try again in 2s"
    first = ev.ReplyEnded("r1", Status.FAILED, "", *reason)
    assert fx.SetTimer(ev.Timer.LIMIT, 2.0) in units.replies.ended(first)
    assert units.replies.phase is ReplyPhase.LIMITED
    assert sent(units.replies.ask()) == [fx.CreateResponse(TEXT)]
    units.replies.started(ev.ReplyStarted("r2"))
    (signal,) = units.replies.ended(ev.ReplyEnded("r2", Status.FAILED, "", *reason))
    assert isinstance(signal, sg.ReplyDone)


def test_a_reply_that_nobody_asked_for_is_a_signal_while_nothing_is_asked() -> None:
    units = ready()
    assert units.replies.started(ev.ReplyStarted("r9")) == [sg.UnrequestedReply("r9")]
    units.replies.response_ids.ignore("r9")
    assert units.replies.started(ev.ReplyStarted("r9")) == []


# --------------------------------------------------------------------------------------- stopping


def test_a_stopped_reply_is_cancelled_and_the_next_waits_for_its_end() -> None:
    units = replying()
    outputs = units.turns.cancel()
    assert sent(outputs) == [fx.Cancel("r1")]
    assert outputs[-1] == sg.TurnDone(None, asks_next=False)
    assert units.replies.phase is ReplyPhase.ENDING
    assert units.replies.ended(done(status=Status.CANCELLED))[-1] == sg.ReplyStopped()
    assert units.turns.is_idle


def test_a_reply_without_a_name_is_cancelled_when_it_has_one() -> None:
    units = ready()
    units.asked()
    assert sent(units.turns.cancel()) == []
    assert sent(units.replies.started(ev.ReplyStarted("r1"))) == [fx.Cancel("r1")]


def test_a_server_that_does_not_end_a_stopped_reply_gets_a_new_session() -> None:
    units = replying()
    assert fx.SetTimer(ev.Timer.OVERDUE, CANCEL_WAIT) in units.turns.cancel()
    assert units.replies.expired(ev.Timer.OVERDUE)[-1] == sg.ReplyStopped()
    assert units.shared.connection.needs_new_session


def test_an_error_that_names_no_command_ends_the_reply_unless_more_of_it_follows() -> None:
    units = replying()
    odd = ev.ServerProblem("Odd.")
    assert ReplyErrors(units.replies).reported(odd) == [fx.SetTimer(ev.Timer.OVERDUE, ERROR_WAIT)]
    assert fx.ClearTimer(ev.Timer.OVERDUE) in units.replies.content(delta("Hi"))
    assert units.replies.expired(ev.Timer.OVERDUE) == []
    ReplyErrors(units.replies).reported(odd)
    (failed,) = units.replies.expired(ev.Timer.OVERDUE)
    assert failed == sg.ReplyDone(Status.FAILED, "", Problem(ExitCode.REPLY, "Odd."))


def test_a_cancel_without_a_response_ends_the_stopped_reply() -> None:
    units = replying()
    units.turns.cancel()
    none = ev.ServerProblem("None.", code="response_cancel_not_active")
    assert ReplyErrors(units.replies).reported(none)[-1] == sg.ReplyStopped()


def test_a_refused_question_is_not_part_of_the_conversation() -> None:
    units = ready()
    question = units.asked()
    assert ReplyErrors(units.replies).concerns(fx.AddItem(question.item))
    outputs = units.turns.question_refused(ev.ServerProblem("No."))
    assert isinstance(outputs[-1], sg.TurnDone)
    assert units.log.items == []


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_refused_reply_ends_the_turn_or_its_end(is_stopped: bool) -> None:
    units = ready()
    units.asked()
    if is_stopped:
        units.turns.cancel()
    signal = ReplyErrors(units.replies).refused(ev.ServerProblem("No."))[-1]
    assert isinstance(signal, sg.ReplyStopped if is_stopped else sg.ReplyDone)


def test_a_refusal_that_comes_late_ends_nothing() -> None:
    assert ReplyErrors(replying().replies).refused(ev.ServerProblem("No.")) == []


# -------------------------------------------------------------------------------------------- calls


def test_calls_run_and_their_answers_ask_for_another_reply() -> None:
    units = replying("clock")
    (signal,) = units.replies.ended(done(CALL))
    assert signal == sg.CallsRequested(done(CALL))
    assert fx.RunTool(CALL) in units.tool_loop.start(done(CALL))
    outputs = units.tool_loop.update(lambda calls: calls.finish("c1", "noon"))
    assert sent(outputs) == [fx.AddItem(ToolOutput("c1", "noon")), fx.CreateResponse(TEXT)]
    assert not units.tool_loop.is_running


def test_a_cancelled_turn_stops_its_tools_and_answers_its_calls() -> None:
    units = calling()
    outputs = units.turns.cancel()
    assert fx.StopTools() in outputs
    assert sent(outputs) == [fx.AddItem(ToolOutput("c1", STOPPED))]
    assert outputs[-1] == sg.TurnDone(None, asks_next=True)


def test_calls_of_tools_that_are_not_there_end_the_turn_and_get_an_output_later() -> None:
    units = replying()
    units.replies.ended(done(CALL))
    (signal,) = units.tool_loop.start(done(CALL))
    assert isinstance(signal, sg.ReplyDone)
    assert signal.problem is not None
    assert signal.problem.code == "tool_calls"
    units.turns.end(signal.status, signal.reason, signal.problem, signal.ended)
    commands = sent(units.turns.ask(units.log.enter("and")))
    assert commands[0] == fx.AddItem(ToolOutput("c1", UNAVAILABLE))


# ------------------------------------------------------------------------- the session is lost


def test_a_lost_session_does_not_stop_a_tool_and_the_next_one_gets_its_output() -> None:
    units = calling()
    units.shared.connection.handle(ev.ConnectionLost(GONE, ev.Retry.ALWAYS))
    assert units.turns.session_lost(GONE) == []
    assert sent(units.tool_loop.update(lambda calls: calls.finish("c1", "noon"))) == []
    units.shared.connection.retry()
    units.turns.session_closed()
    for event in (ev.SessionCreated("s", "m"), ev.SessionUpdated("s", "m")):
        units.shared.connection.handle(event)
    assert sent(units.turns.session_ready(units.log.items)) == [
        fx.AddItem(user("hi")),
        fx.AddItem(CALL),
    ]
    output = fx.AddItem(ToolOutput("c1", "noon"))
    assert sent(units.tool_loop.resume()) == [output, fx.CreateResponse(TEXT)]


def test_a_lost_session_does_not_stop_a_tool_that_the_model_spoke_before() -> None:
    units = replying("clock", speech=SpeechOptions(speaks=True))
    units.replies.content(ev.Delta(Channel.AUDIO, "AAAA", "r1", "i1"))
    assert units.turns.has_begun
    units.replies.ended(done(CALL))
    units.tool_loop.start(done(CALL))
    assert units.turns.session_lost(GONE) == []
    assert units.turns.current is not None


def test_a_lost_session_ends_a_reply_that_has_begun() -> None:
    units = replying()
    assert not units.turns.has_begun
    units.replies.content(delta("Yes"))
    assert units.turns.has_begun
    outputs = units.turns.session_lost(GONE)
    assert outputs[-1] == sg.TurnDone(GONE, asks_next=False)


def test_a_question_without_a_reply_is_asked_again_in_another_session() -> None:
    units = ready()
    question = units.asked()
    assert units.turns.session_lost(GONE) == []
    assert units.turns.current is not None
    assert units.turns.current.question is question


@pytest.mark.parametrize("is_calling", [False, True])
def test_where_no_session_can_be_had_the_turn_fails(is_calling: bool) -> None:
    units = calling() if is_calling else replying()
    (over,) = (e for e in shown(units.turns.fail(GONE)) if isinstance(e, fx.ReplyOver))
    assert (over.status, over.problem) == (Status.FAILED, GONE)
    assert units.turns.current is None
    assert units.turns.fail(GONE) == []


# ------------------------------------------------------------------------------------- the queue


def test_a_question_waits_for_a_session_and_asks_for_one() -> None:
    units = made()
    outputs = units.queue.say(units.log.enter("hi"))
    assert fx.Connect("m") in outputs
    assert any(isinstance(each, fx.Record) for each in outputs)
    assert not units.queue.is_empty


def test_questions_are_asked_one_after_the_other() -> None:
    units = ready()
    first, second = units.log.enter("one"), units.log.enter("two")
    assert fx.AddItem(first.item) in sent(units.queue.say(first))
    assert sent(units.queue.say(second)) == []
    assert second in units.queue
    units.replies.started(ev.ReplyStarted("r1"))
    units.turns.end(Status.COMPLETED)
    assert fx.AddItem(second.item) in sent(units.queue.next())


def test_the_end_of_the_input_waits_for_the_last_reply() -> None:
    units = ready(mode=Mode.LINES)
    units.asked()
    assert units.queue.end_input(None) == []
    units.turns.end(Status.COMPLETED)
    assert units.queue.next()[-1] == fx.Stop(ExitCode.OK)


@pytest.mark.parametrize(
    ("mode", "exit_code"),
    [(Mode.ONCE, ExitCode.LINK), (Mode.LINES, None), (Mode.CHAT, None)],
)
def test_a_turn_that_failed_ends_the_program_only_if_it_was_the_only_one(
    mode: Mode, exit_code: ExitCode | None
) -> None:
    stops = [each for each in ready(mode=mode).queue.turn_ended(GONE) if isinstance(each, fx.Stop)]
    assert stops == ([] if exit_code is None else [fx.Stop(exit_code)])


def test_a_pipe_says_at_its_end_that_a_reply_failed() -> None:
    units = ready(mode=Mode.LINES)
    units.queue.turn_ended(GONE)
    assert units.queue.end_input(None)[-1] == fx.Stop(ExitCode.REPLY)


@pytest.mark.parametrize("is_shown", [False, True])
def test_that_no_session_can_be_had_is_said_once(is_shown: bool) -> None:
    outputs = ready().queue.fail(GONE, is_shown=is_shown)
    assert shown(outputs) == ([] if is_shown else [fx.Notice("error", "gone")])


def test_that_no_session_can_be_had_is_said_with_the_turn_that_ends() -> None:
    updates = shown(calling().queue.fail(GONE, is_shown=False))
    assert not any(isinstance(update, fx.Notice) for update in updates)
    assert any(isinstance(update, fx.ReplyOver) for update in updates)


# ------------------------------------------------------------------------------------- the budget


def test_a_spent_budget_refuses_all_questions() -> None:
    units = ready(budget=SPENT)
    units.shared.usage.add(Usage(10**6, 0, 0, 10**6), "m", "r0")
    question, over = shown(units.queue.say(units.log.enter("hi")))
    assert question == fx.QuestionDropped("hi")
    assert isinstance(over, fx.ReplyOver)
    assert over.problem is not None
    assert over.problem.exit is ExitCode.LIMIT


def total(units: Units) -> int:
    return units.shared.usage.totals(0.0).usage.total


def test_the_usage_of_a_reply_that_ends_twice_counts_once() -> None:
    units = replying()
    ended = ev.ReplyEnded("r1", Status.COMPLETED, usage=Usage(total=7))
    units.replies.ended(ended)
    units.turns.end(Status.COMPLETED)
    units.replies.ended(ended)
    assert total(units) == 7


@pytest.mark.parametrize("other_session", [False, True])
def test_a_reply_may_have_the_id_of_an_earlier_one(other_session: bool) -> None:
    units = replying()
    ended = ev.ReplyEnded("r1", Status.COMPLETED, usage=Usage(total=7))
    units.replies.ended(ended)
    units.turns.end(Status.COMPLETED)
    if other_session:
        units.turns.session_closed()
    else:
        units.asked()
        units.replies.started(ev.ReplyStarted("r1"))
    units.replies.ended(ended)
    assert total(units) == 14


def test_a_reply_without_an_id_always_counts() -> None:
    units = replying()
    for _ in range(2):
        units.replies.ended(ev.ReplyEnded("", Status.COMPLETED, usage=Usage(total=7)))
    assert total(units) == 14


def test_without_a_reply_there_is_nothing_to_record() -> None:
    units = ready()
    assert units.turns.save() == []
    units.asked()
    assert units.turns.save() == []


# ---------------------------------------------------------------- calls that the server has made

REMOTE = RemoteCall("docs", "search", "{}", "found", id="mcp_1")


def test_a_call_that_the_server_made_is_shown_and_the_server_may_go_on() -> None:
    units = replying()
    began, ended = shown(units.replies.item_event(ev.OutputDone("r1", 0, REMOTE)))
    assert isinstance(began, fx.ToolBegan)
    assert isinstance(ended, fx.ToolEnded)
    assert (began.call.name, ended.output) == ("docs.search", "found")
    outputs = units.replies.ended(done(REMOTE))
    assert fx.SetTimer(ev.Timer.OVERDUE, CONTINUE_WAIT) in outputs
    assert units.replies.started(ev.ReplyStarted("r2")) == [fx.ClearTimer(ev.Timer.OVERDUE)]
    assert shown(units.replies.content(delta("Found it.", "r2"))) == [fx.TextArrived("Found it.")]
    assert units.replies.expired(ev.Timer.OVERDUE) == []


def test_a_server_that_does_not_go_on_is_asked_to() -> None:
    units = replying()
    units.replies.ended(done(REMOTE))
    (request,) = sent(units.replies.expired(ev.Timer.OVERDUE))
    assert isinstance(request, fx.CreateResponse)


def test_a_failed_call_of_the_server_is_a_warning_once() -> None:
    units = replying()
    failed = RemoteCall("docs", "search", "{}", "", "HTTP 500", "mcp_1")
    event = ev.OutputDone("r1", 0, failed)
    assert notices.remote_call_failed("docs.search", "HTTP 500") in units.replies.item_event(event)
    assert units.replies.item_event(event) == []


def test_calls_of_the_server_count_as_rounds() -> None:
    units = replying()
    limit = units.shared.tool_policy.limits.rounds
    for number in range(limit):
        units.replies.ended(done(REMOTE, reply=f"r{number + 1}"))
        units.replies.started(ev.ReplyStarted(f"r{number + 2}"))
    units.replies.item_event(ev.OutputDone(f"r{limit + 1}", 0, REMOTE))
    assert isinstance(units.replies.ended(done(REMOTE, reply=f"r{limit + 1}"))[-1], sg.ReplyDone)
