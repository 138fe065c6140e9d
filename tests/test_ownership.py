"""Replies that were not requested, from servers that say whose they are and from others."""

from __future__ import annotations

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices
from rtchat.core import signals as sg
from rtchat.core.ownership import OWNER_WAIT, Ownership
from rtchat.core.question import Question
from rtchat.core.values import Channel, Status
from tests.units import Units, ready, sent, shown

QUESTION = Question(1, "hi")
WAIT = fx.SetTimer(ev.Timer.OWNER, OWNER_WAIT)


def asked() -> tuple[Units, str]:
    """Units that have asked a question, which the server has not confirmed, and the request."""
    units = ready()
    outputs = units.turns.ask(units.log.enter("hi"))
    (request,) = (
        each.event_id
        for each in outputs
        if isinstance(each, fx.Send) and isinstance(each.command, fx.CreateResponse)
    )
    return units, request


def delta(text: str, response_id: str) -> ev.Delta:
    return ev.Delta(Channel.TEXT, text, response_id, f"i {response_id}")


def greet(units: Units) -> list[fx.Update]:
    """The server says something by itself."""
    assert WAIT in units.replies.started(ev.ReplyStarted("g"))
    updates = shown(units.replies.content(delta("Welcome.", "g")))
    return updates + shown(units.replies.ended(ev.ReplyEnded("g", Status.COMPLETED)))


def test_a_server_that_echoes_the_mark_says_whose_reply_it_is() -> None:
    ownership = Ownership()
    ownership.requested("rtchat_3", QUESTION)
    assert ownership.judge("rtchat_3") is True
    assert ownership.judge("rtchat_2") is False
    assert ownership.judge("") is False


def test_a_server_that_confirms_questions_does_so_before_it_replies() -> None:
    ownership = Ownership()
    ownership.requested("rtchat_3", QUESTION)
    assert ownership.judge("") is None
    ownership.confirmed()
    assert ownership.judge("") is True
    ownership.requested("rtchat_4", QUESTION)  # the same question again
    assert ownership.judge("") is True
    ownership.requested("rtchat_6", Question(2, "and?"))
    assert ownership.judge("") is None
    ownership.requested("rtchat_8", None)  # after the outputs of calls
    assert ownership.judge("") is True


def test_a_server_that_confirms_nothing_is_believed_after_a_while() -> None:
    ownership = Ownership()
    ownership.requested("rtchat_3", QUESTION)
    ownership.not_confirmed()
    assert ownership.judge("") is True
    ownership.requested("rtchat_5", Question(2, "and?"))
    assert ownership.judge("") is True
    ownership.reset()
    ownership.requested("rtchat_7", Question(3, "and?"))
    assert ownership.judge("") is None


def test_a_greeting_is_not_the_answer() -> None:
    units, _ = asked()
    assert greet(units) == []
    outputs = units.replies.question_confirmed()
    assert shown(outputs) == [notices.unrequested_reply("Welcome.").update]
    assert units.replies.started(ev.ReplyStarted("r")) == []
    assert shown(units.replies.content(delta("Hello.", "r"))) == [fx.TextArrived("Hello.")]


def test_what_comes_of_a_greeting_later_is_shown_with_it() -> None:
    units, _ = asked()
    units.replies.started(ev.ReplyStarted("g"))
    units.replies.content(delta("Wel", "g"))
    assert shown(units.replies.question_confirmed()) == []
    assert shown(units.replies.content(delta("come.", "g"))) == []
    ended = units.replies.ended(ev.ReplyEnded("g", Status.COMPLETED))
    assert shown(ended) == [notices.unrequested_reply("Welcome.").update]


def test_the_reply_of_a_server_that_confirms_nothing_is_shown_a_little_later() -> None:
    units, _ = asked()
    assert greet(units) == []
    outputs = units.replies.own()
    assert shown(outputs) == [fx.TextArrived("Welcome.")]
    assert isinstance(outputs[-1], sg.ReplyDone)
    assert units.replies.own() == []


def test_the_second_response_is_the_reply_if_there_are_two() -> None:
    units, _ = asked()
    assert greet(units) == []
    outputs = units.replies.started(ev.ReplyStarted("r"))
    assert shown(outputs) == [notices.unrequested_reply("Welcome.").update]
    assert units.turns.current is not None
    assert units.turns.current.reply.id == "r"


def test_a_response_with_the_mark_of_another_request_is_another_s() -> None:
    units, request = asked()
    assert units.replies.started(ev.ReplyStarted("x", mark="theirs")) == []
    assert shown(units.replies.content(delta("Not yours.", "x"))) == []
    units.replies.started(ev.ReplyStarted("r", mark=request))
    assert shown(units.replies.content(delta("Yours.", "r"))) == [fx.TextArrived("Yours.")]


def test_a_request_that_another_response_keeps_from_being_created_is_made_again() -> None:
    units, request = asked()
    units.replies.started(ev.ReplyStarted("x", mark="theirs"))
    busy = ev.ServerProblem(
        "Busy.", code="conversation_already_has_active_response", event_id=request
    )
    assert units.replies.refused(busy) == []
    outputs = units.replies.ended(ev.ReplyEnded("x", Status.COMPLETED))
    assert [type(command) for command in sent(outputs)] == [fx.CreateResponse]
