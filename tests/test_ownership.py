"""Tells replies from unrequested responses, with servers that echo marks and with others."""

from __future__ import annotations

import pytest

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices
from rtchat.core.conversation import Conversation
from rtchat.core.ownership import MAX_HELD, MAX_HELD_TEXT, OWNER_WAIT, Ownership
from rtchat.core.question import Question
from rtchat.core.signals import HeldEvents
from rtchat.core.values import (
    Channel,
    Item,
    Message,
    Options,
    Part,
    RemoteCall,
    Status,
    ToolCall,
    ToolOutput,
)
from tests.units import sent, shown

QUESTION = Question(1, "hi")
WAIT = fx.SetTimer(ev.Timer.OWNER, OWNER_WAIT)
OWNER = ev.TimerFired(ev.Timer.OWNER)
CONFIRMED = ev.ItemAdded(QUESTION.item)
REMOTE = RemoteCall("docs", "search", "{}", "found", id="m1")
BUSY = "conversation_already_has_active_response"


class Session:
    """A conversation with a server that does not echo marks."""

    def __init__(self) -> None:
        self.conversation = Conversation("m", Options())
        self.request = ""
        """The event id of the last request."""
        self.did: list[fx.Effect] = []
        """The effects of the last events."""
        self.handle(
            ev.Started(),
            ev.ConnectionOpened(),
            ev.SessionCreated("s", "m"),
            ev.SessionUpdated("s", "m"),
            ev.UserSaid("hi"),
        )

    def handle(self, *events: ev.Event) -> list[fx.Effect]:
        self.did = [effect for event in events for effect in self.conversation.handle(event)]
        for effect in self.did:
            if isinstance(effect, fx.Send) and isinstance(effect.command, fx.CreateResponse):
                self.request = effect.event_id
        return self.did

    def shows(self, *events: ev.Event) -> list[fx.Update]:
        """The text, notices and results that are shown after these events."""
        return [
            update
            for update in shown(self.handle(*events))
            if isinstance(update, fx.TextArrived | fx.Notice | fx.ReplyOver)
        ]


def delta(text: str, response_id: str) -> ev.Delta:
    return ev.Delta(Channel.TEXT, text, response_id, f"i {response_id}")


def ended(response_id: str) -> ev.ReplyEnded:
    return ev.ReplyEnded(response_id, Status.COMPLETED)


def called(response_id: str) -> ev.ReplyEnded:
    return ev.ReplyEnded(response_id, Status.COMPLETED, items=(ToolCall("f", "c1", "{}"),))


def greeting(response_id: str = "g") -> list[ev.Event]:
    """A response that was not requested."""
    return [ev.ReplyStarted(response_id), delta("Welcome.", response_id), ended(response_id)]


def answer(response_id: str = "r") -> list[ev.Event]:
    return [ev.ReplyStarted(response_id), delta("Hello.", response_id), ended(response_id)]


def texts(updates: list[fx.Update]) -> list[str]:
    return [update.text for update in updates if isinstance(update, fx.TextArrived)]


def test_a_server_may_echo_the_mark_of_the_request() -> None:
    ownership = Ownership()
    ownership.requested("rtchat_3", QUESTION.item)
    assert ownership.judge("rtchat_3") is True
    assert ownership.judge("rtchat_2") is False
    assert ownership.judge("") is False


def test_a_server_may_confirm_questions_before_it_replies() -> None:
    ownership = Ownership()
    ownership.requested("rtchat_3", QUESTION.item)
    assert ownership.judge("") is None
    ownership.confirmed(QUESTION.item)
    assert ownership.judge("") is True
    ownership.requested("rtchat_4", QUESTION.item)  # the same question again
    assert ownership.judge("") is True
    ownership.requested("rtchat_6", Question(2, "and?").item)
    assert ownership.judge("") is None
    ownership.requested("rtchat_8", None)  # nothing was sent
    assert ownership.judge("") is True


def test_later_responses_of_a_server_that_confirms_nothing_are_not_held() -> None:
    ownership = Ownership()
    ownership.requested("rtchat_3", QUESTION.item)
    ownership.hold(ev.ReplyStarted("r"))
    ownership.accept()
    assert ownership.judge("") is True
    ownership.requested("rtchat_5", Question(2, "and?").item)
    assert ownership.judge("") is True
    ownership.reset()
    ownership.requested("rtchat_7", Question(3, "and?").item)
    assert ownership.judge("") is None


def test_the_confirmation_of_an_attached_file_is_not_that_of_the_question() -> None:
    session = Session()
    image = Message("user", (Part("image", data="data:,"),), "files_1")
    session.handle(*greeting("r"))
    assert session.shows(ev.ItemAdded(image)) == []
    assert texts(session.shows(OWNER)) == ["Welcome."]


def test_the_confirmation_of_another_message_is_ignored() -> None:
    ownership = Ownership()
    ownership.requested("rtchat_3", QUESTION.item)
    ownership.confirmed(Message("user", (Part("text", "an earlier question"),)))
    assert ownership.judge("") is None


@pytest.mark.parametrize("greets", ["g", ""])
def test_a_greeting_is_not_the_answer(greets: str) -> None:
    session = Session()
    assert session.shows(*greeting(greets)) == []
    assert session.shows(CONFIRMED) == [notices.unrequested_reply("Welcome.").update]
    updates = session.shows(*answer())
    assert texts(updates) == ["Hello."]
    assert isinstance(updates[-1], fx.ReplyOver)


def test_a_response_waits_for_a_second_at_most() -> None:
    session = Session()
    assert WAIT in session.handle(ev.ReplyStarted("r"))


@pytest.mark.parametrize("greets", ["g", ""])
def test_later_events_of_a_greeting_are_shown_with_it(greets: str) -> None:
    session = Session()
    assert session.shows(ev.ReplyStarted(greets), delta("Wel", greets), CONFIRMED) == []
    assert session.shows(delta("come.", greets)) == []
    assert session.shows(ended(greets)) == [notices.unrequested_reply("Welcome.").update]
    assert texts(session.shows(*answer())) == ["Hello."]


def test_the_reply_of_a_server_that_confirms_nothing_is_shown_a_little_later() -> None:
    session = Session()
    assert session.shows(*answer()) == []
    updates = session.shows(OWNER)
    assert texts(updates) == ["Hello."]
    assert isinstance(updates[-1], fx.ReplyOver)
    assert session.shows(OWNER) == []
    assert texts(session.shows(ev.UserSaid("and?"), ev.ReplyStarted("r2"), delta("So.", "r2")))


def test_the_second_response_is_the_reply_if_there_are_two() -> None:
    session = Session()
    assert session.shows(*greeting()) == []
    assert session.shows(ev.ReplyStarted("r")) == [notices.unrequested_reply("Welcome.").update]
    assert texts(session.shows(delta("Hello.", "r"), OWNER)) == ["Hello."]


@pytest.mark.parametrize("items", [(REMOTE,), ()])
def test_a_response_of_calls_that_the_server_made_is_continued_by_the_second(
    items: tuple[Item, ...],
) -> None:
    session = Session()
    made = ev.OutputDone("r1", 0, REMOTE)
    over = ev.ReplyEnded("r1", Status.COMPLETED, items=items)
    assert session.shows(ev.ReplyStarted("r1"), made, over) == []
    updates = session.shows(*answer("r2"))
    assert texts(updates) == ["Hello."]
    assert isinstance(updates[-1], fx.ReplyOver)
    assert updates[-1].remote_calls == (REMOTE,)


def test_a_greeting_with_a_call_that_the_server_made_is_not_the_answer() -> None:
    session = Session()
    made = ev.OutputDone("g", 0, REMOTE)
    assert session.shows(ev.ReplyStarted("g"), made, delta("Welcome.", "g"), ended("g")) == []
    updates = session.shows(*answer("r"), OWNER)
    assert updates[0] == notices.unrequested_reply("Welcome.").update
    assert texts(updates) == ["Hello."]


def test_a_response_with_another_mark_is_not_the_reply() -> None:
    session = Session()
    assert session.shows(ev.ReplyStarted("x", mark="theirs"), delta("Not yours.", "x")) == []
    mark = session.request
    assert texts(session.shows(ev.ReplyStarted("r", mark=mark), delta("Yours.", "r"))) == ["Yours."]


@pytest.mark.parametrize("mark", ["", "theirs"])
def test_a_request_refused_during_another_response_is_repeated(mark: str) -> None:
    session = Session()
    session.handle(ev.ReplyStarted("x", mark=mark))
    busy = ev.ServerProblem("Busy.", code=BUSY, event_id=session.request)
    assert sent(session.handle(busy)) == []
    assert [type(each) for each in sent(session.handle(ended("x")))] == [fx.CreateResponse]


def test_a_call_of_another_response_is_refused() -> None:
    session = Session()
    session.handle(ev.ReplyStarted("x"), called("x"))
    (output,) = (
        command.item
        for command in sent(session.handle(CONFIRMED))
        if isinstance(command, fx.AddItem)
    )
    assert isinstance(output, ToolOutput)
    assert output.call_id == "c1"


def test_the_speech_of_the_user_is_not_held() -> None:
    session = Session()
    session.handle(ev.ReplyStarted("r"))
    heard = ev.Delta(Channel.INPUT_TRANSCRIPT, "hello", "", "i0")
    session.handle(heard)
    assert texts(session.shows(delta("Hello.", "r"), OWNER)) == ["Hello."]


def test_ctrl_c_stops_a_response_that_is_held() -> None:
    session = Session()
    session.handle(ev.ReplyStarted("r"), delta("Hel", "r"))
    updates = session.shows(ev.CancelPressed())
    assert texts(updates) == ["Hel"]
    assert sent(session.did) == [fx.Cancel("r")]


def test_ctrl_c_shows_a_held_response_that_is_over() -> None:
    session = Session()
    session.handle(*answer())
    updates = session.shows(ev.CancelPressed())
    assert texts(updates) == ["Hello."]
    assert sent(session.did) == []


@pytest.mark.parametrize("is_over", [False, True])
def test_a_refused_question_stops_a_response_that_is_held(is_over: bool) -> None:
    session = Session()
    question = next(
        effect.event_id
        for effect in session.did
        if isinstance(effect, fx.Send) and isinstance(effect.command, fx.AddItem)
    )
    session.handle(ev.ReplyStarted("r"), delta("Hel", "r"))
    if is_over:
        session.handle(ended("r"))
    updates = session.shows(ev.ServerProblem("Too long.", event_id=question))
    assert texts(updates) == []
    assert [type(update) for update in updates] == [fx.ReplyOver]
    session.handle(ended("r"))
    assert fx.CreateResponse in map(type, sent(session.handle(ev.UserSaid("again"))))


def test_another_session_has_no_held_response() -> None:
    session = Session()
    session.handle(ev.ReplyStarted("r"), delta("Hel", "r"), ev.ModelSet("other"))
    assert texts(session.shows(OWNER)) == []


@pytest.mark.parametrize("is_named", [False, True])
def test_a_server_that_refuses_marks_gets_none(is_named: bool) -> None:
    session = Session()
    event_id = session.request if is_named else ""
    refusal = ev.ServerProblem("Unknown parameter: 'response.metadata'.", event_id=event_id)
    (request,) = sent(session.handle(refusal))
    assert isinstance(request, fx.CreateResponse)
    assert not request.is_marked
    assert [type(each) for each in session.shows(refusal)] != []


def test_outputs_of_calls_are_confirmed_as_well() -> None:
    ownership = Ownership()
    output = ToolOutput("c1", "noon")
    ownership.requested("rtchat_3", output)
    assert ownership.judge("") is None
    ownership.confirmed(ToolOutput("c0", "noon"))
    assert ownership.judge("") is None
    ownership.confirmed(output)
    assert ownership.judge("") is True


def test_a_late_announcement_of_a_response_that_is_over_is_ignored() -> None:
    session = Session()
    session.handle(CONFIRMED, delta("Hello.", "r"), ended("r"), ev.UserSaid("and?"))
    session.handle(ev.ReplyStarted("r"))
    assert texts(session.shows(ev.ReplyStarted("r2", mark=session.request))) == []
    assert texts(session.shows(delta("So.", "r2"))) == ["So."]


def test_a_request_refused_because_of_a_response_that_is_over_is_repeated() -> None:
    session = Session()
    session.handle(ev.ReplyStarted("x", mark="theirs"), ended("x"))
    busy = ev.ServerProblem("Busy.", code=BUSY, event_id=session.request)
    assert [type(each) for each in sent(session.handle(busy))] == [fx.CreateResponse]


def test_a_response_that_was_not_requested_is_announced_once() -> None:
    session = Session()
    session.handle(ev.ReplyStarted("g"), ev.ReplyStarted("g"), delta("Welcome.", "g"), CONFIRMED)
    assert texts(session.shows(ev.ReplyStarted("g"), ended("g"))) == []
    assert texts(session.shows(*answer())) == ["Hello."]


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_response_that_was_not_requested_is_shown_if_only_its_item_has_the_text(
    is_stopped: bool,
) -> None:
    session = Session()
    session.handle(CONFIRMED, *answer("r")[:2])
    if is_stopped:
        session.handle(ev.CancelPressed())
    session.handle(ev.ReplyStarted("g"), ev.OutputAdded("g", 0, ToolCall("f", "c1", "{}")))
    said = Message("assistant", (Part("text", "Welcome."),), "i")
    session.handle(ev.OutputDone("g", 0, said))
    assert notices.unrequested_reply("Welcome.") in session.handle(ended("g"))


def test_an_error_after_a_held_response_ends_the_turn_after_it() -> None:
    session = Session()
    error = ev.ServerProblem("Out of memory.")
    session.handle(ev.ReplyStarted("r"), delta("Hel", "r"), error)
    assert texts(session.shows(OWNER)) == ["Hel"]
    (over,) = session.shows(ev.TimerFired(ev.Timer.OVERDUE))
    assert isinstance(over, fx.ReplyOver)
    assert over.problem is not None
    assert "Out of memory." in over.problem.message


def test_a_long_response_is_not_held_for_long() -> None:
    session = Session()
    assert session.shows(ev.ReplyStarted("r"), *[delta("x", "r")] * (MAX_HELD - 2)) == []
    assert texts(session.shows(delta("x", "r"))) == ["x"] * (MAX_HELD - 1)


def test_a_request_after_nothing_was_sent_leaves_the_held_events() -> None:
    ownership = Ownership()
    ownership.requested("rtchat_3", QUESTION.item)
    started = ev.ReplyStarted("r")
    ownership.hold(started)
    ownership.requested("rtchat_4", None)
    assert ownership.accept()[-1] == HeldEvents((started,))


def test_another_session_may_hold_as_much_as_the_first() -> None:
    ownership = Ownership()
    for _ in range(2):
        ownership.hold(ev.ReplyStarted("r"))
        assert ownership.receive(delta("x" * MAX_HELD_TEXT, "r")) == []
        ownership.reset()


def test_held_events_end_with_their_session() -> None:
    session = Session()
    call = ToolCall("f", "c1", "{}")
    session.handle(
        ev.ReplyStarted("r1"),
        ev.ReplyEnded("r1", Status.COMPLETED),
        ev.ReplyEnded("r2", Status.COMPLETED, items=(call,)),
        ev.TimerFired(ev.Timer.RENEW),
    )
    done = session.handle(OWNER)
    assert fx.Connect("m") in done
    assert sent(done) == []
