"""Which items a session has, and whether they can be deleted."""

from __future__ import annotations

import pytest

from rtchat.core import events as ev
from rtchat.core.effects import AddItem, CommitAudio, CreateResponse
from rtchat.core.session_items import MAX_ID, MAX_ITEMS, MAX_REPORTED, SessionItems
from rtchat.core.values import (
    ApprovalAnswer,
    Item,
    Message,
    OtherItem,
    Part,
    Role,
    Status,
    ToolCall,
    ToolOutput,
)


def message(text: str, item_id: str = "", role: Role = "user") -> Message:
    return Message(role, (Part("text", text),), item_id)


def with_turn(*reported: ev.Event, sent: Item | None = None) -> SessionItems:
    """A session to which the question of turn 1 was sent, and what the server reports then."""
    items = SessionItems()
    items.begin(1)
    items.sent(AddItem(message("hi") if sent is None else sent))
    for event in reported:
        items.handle(event)
    return items


ADDED = ev.ItemAdded(message("hi", "q1"))


@pytest.mark.parametrize(
    "reply",
    [
        ev.OutputAdded("r1", 0, Message("assistant", (), "i1")),
        ev.OutputDone("r1", 0, message("Yes.", "i1", "assistant")),
        ev.ItemAdded(Message("assistant", (), "i1")),
        ev.ItemDone(message("Yes.", "i1", "assistant")),
        ev.ToolCalled("f", "c1", "{}", "r1", "i1"),
        ev.ReplyEnded("r1", Status.COMPLETED, items=(message("Yes.", "i1", "assistant"),)),
    ],
)
def test_any_event_may_report_the_item_of_a_reply(reply: ev.Event) -> None:
    items = with_turn(ADDED, reply, reply, ADDED)
    assert items.delete({1: 2}) == ["i1", "q1"]
    assert not items.deleted("i1")
    assert items.is_deleting
    assert items.deleted("q1")
    assert not items.is_deleting


@pytest.mark.parametrize(
    ("sent", "reported"),
    [
        (message("hi"), message("", "q1")),
        (message("Hello.", role="assistant"), message("Hello.", "q1", "assistant")),
        (ToolCall("f", "c1", "{}"), ToolCall("f", "c1", "{}", "q1")),
        (ToolOutput("c1", "42"), ToolOutput("c1", "42", "q1")),
        (ApprovalAnswer("a1", True), ApprovalAnswer("a1", True, "q1")),
    ],
)
def test_a_confirmation_names_the_item_that_was_sent(sent: Item, reported: Item) -> None:
    items = with_turn(ev.ItemAdded(reported), sent=sent)
    items.begin(2)
    assert items.delete({1: 1}) == ["q1"]


@pytest.mark.parametrize(
    ("sent", "reported"),
    [
        (message("hi"), message("another", "q1")),
        (message("hi"), message("hi", "q1", "assistant")),
        (ToolOutput("c1", "42"), ToolOutput("c2", "42", "q1")),
        (ToolOutput("c1", "42"), OtherItem("odd", "q1")),
        (message("hi"), message("hi")),
        (message("hi"), message("hi", "x" * (MAX_ID + 1))),
    ],
)
def test_items_that_are_not_known_for_certain_are_not_deleted(sent: Item, reported: Item) -> None:
    items = with_turn(ev.ItemAdded(reported), sent=sent)
    assert items.delete({1: 1}) is None
    assert not items.is_deleting


def test_a_reply_without_an_id_cannot_be_deleted() -> None:
    nameless = ev.OutputAdded("r1", 0, Message("assistant", ()))
    assert with_turn(ADDED, nameless).delete({1: 2}) is None


def test_only_the_items_of_these_turns_are_deleted() -> None:
    items = with_turn(ADDED)
    items.begin(2)
    items.sent(AddItem(message("and")))
    items.handle(ev.ItemAdded(message("and", "q2")))
    assert items.delete({2: 1}) == ["q2"]


def test_committed_audio_is_named_by_its_confirmation() -> None:
    items = SessionItems()
    items.begin(1)
    items.sent(CommitAudio())
    items.handle(ev.AudioCommitted("u1"))
    items.handle(ev.AudioCommitted("u1"))
    assert items.delete({1: 1}) == ["u1"]


def test_a_refused_item_is_not_in_the_session() -> None:
    items, command = SessionItems(), AddItem(message("hi"))
    items.sent(command)
    items.sent(CreateResponse())
    assert items.delete({0: 0}) is None
    items.refused(command)
    assert items.delete({0: 0}) == []


def test_another_session_begins_without_items() -> None:
    items = with_turn()
    items.lose_track()
    items.note("q1", 1)
    assert items.delete({1: 0}) is None
    items.reset()
    assert items.delete({1: 0}) == []
    items.note("q1", 1)
    assert items.delete({1: 1}) == ["q1"]
    items.stop_deleting()
    assert not items.deleted("q1")


def test_the_number_of_tracked_items_is_limited() -> None:
    items = SessionItems()
    for _ in range(MAX_ITEMS + 1):
        items.sent(CommitAudio())
    assert items.delete({}) is None
    items.reset()
    for number in range(MAX_ITEMS + 2):
        items.note(f"i{number}", 1)
    assert items.delete({}) is None


def test_the_number_of_items_that_a_server_may_report_in_a_turn_is_limited() -> None:
    items = SessionItems()
    for turn in (1, 2):
        items.begin(turn)
        for number in range(MAX_REPORTED):
            items.handle(ev.ToolCalled("f", "c", "{}", item_id=f"{turn}-{number}"))
    assert len(items.delete({2: 1}) or ()) == MAX_REPORTED
    items.handle(ev.ToolCalled("f", "c", "{}", item_id="another"))
    assert items.delete({2: 1}) is None
