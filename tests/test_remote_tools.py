"""The tools of MCP servers that the model's server uses: what is shown of listings and calls."""

from __future__ import annotations

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices
from rtchat.core.conversation import Conversation
from rtchat.core.remote_tools import MAX_CALLS, RemoteCalls, ToolListings
from rtchat.core.replay import replay_of
from rtchat.core.values import Options, OtherItem, RemoteCall, State, Status
from rtchat.wire.events import decode
from tests.units import ready, shown

STARTED, DONE, FAILED = ev.RemoteState
CALL = RemoteCall("docs", "search", '{"q": 1}', "found", id="m1")
ANNOUNCED = RemoteCall("docs", "search", "", "", id="m1")


def kinds(effects: list[fx.Effect]) -> list[type]:
    """The kinds of what is shown."""
    return [type(update) for update in shown(effects)]


def test_a_call_is_shown_when_it_begins_and_when_it_is_over() -> None:
    calls = RemoteCalls()
    calls.describe(ANNOUNCED)
    assert calls.has_any
    assert calls.update(ev.RemoteCallUpdate("m1", arguments=CALL.arguments)) == []
    (began,) = shown(calls.update(ev.RemoteCallUpdate("m1", STARTED)))
    assert isinstance(began, fx.ToolBegan)
    assert (began.call.name, began.call.arguments) == ("docs.search", CALL.arguments)
    assert calls.update(ev.RemoteCallUpdate("m1", STARTED)) == []
    assert calls.update(ev.RemoteCallUpdate("m1", DONE)) == []
    assert kinds(calls.end(CALL)) == [fx.ToolEnded]
    assert calls.end(CALL) == []
    assert calls.finish() == []
    assert calls.all == [CALL]


def test_a_call_is_shown_with_its_arguments_though_they_follow_its_beginning() -> None:
    calls = RemoteCalls()
    calls.describe(ANNOUNCED)
    assert calls.update(ev.RemoteCallUpdate("m1", STARTED)) == []
    (began,) = shown(calls.update(ev.RemoteCallUpdate("m1", arguments=CALL.arguments)))
    assert isinstance(began, fx.ToolBegan)
    assert began.call.arguments == CALL.arguments
    assert calls.update(ev.RemoteCallUpdate("m1", DONE)) == []


def test_a_call_without_arguments_is_shown_when_it_is_over() -> None:
    calls = RemoteCalls()
    calls.describe(ANNOUNCED)
    assert calls.update(ev.RemoteCallUpdate("m1", STARTED)) == []
    assert kinds(calls.end(ANNOUNCED)) == [fx.ToolBegan, fx.ToolEnded]


def test_a_call_that_is_only_an_item_is_shown_as_well() -> None:
    assert kinds(RemoteCalls().end(CALL)) == [fx.ToolBegan, fx.ToolEnded]


def test_calls_without_ids() -> None:
    calls = RemoteCalls()
    first, second = (RemoteCall("docs", name, "{}", "") for name in ("a", "b"))
    calls.describe(first)
    assert not calls.has_any
    for call in (first, second):
        assert kinds(calls.end(call)) == [fx.ToolBegan, fx.ToolEnded]
        assert calls.end(call) == []
    calls.begin_reply()
    assert kinds(calls.end(first)) == [fx.ToolBegan, fx.ToolEnded]
    assert len(calls.all) == 3


def test_a_failed_call_has_its_reason_if_there_is_one() -> None:
    calls = RemoteCalls()
    calls.update(ev.RemoteCallUpdate("m1", FAILED))
    calls.end(RemoteCall("docs", "search", "{}", "", "HTTP 500", "m1"))
    calls.update(ev.RemoteCallUpdate("m2", FAILED))
    calls.end(RemoteCall("docs", "search", "{}", "", id="m2"))
    assert calls.finish() == []
    assert [call.error for call in calls.all] == ["HTTP 500", "the server gave no reason"]


def test_a_failed_call_without_an_item_is_shown_at_the_end() -> None:
    calls = RemoteCalls()
    calls.describe(ANNOUNCED)
    for item_id in ("m1", "m2"):
        calls.update(ev.RemoteCallUpdate(item_id, FAILED))
    began, known, unknown = shown(calls.finish())
    assert isinstance(began, fx.ToolBegan)
    assert isinstance(known, fx.Notice)
    assert isinstance(unknown, fx.Notice)
    assert "docs.search" in known.text
    assert "a tool of an MCP server" in unknown.text
    assert calls.finish() == []


def test_the_number_of_calls_is_limited() -> None:
    calls = RemoteCalls()
    for number in range(MAX_CALLS + 1):
        calls.end(RemoteCall("docs", "search", "{}", "", id=f"m{number}"))
        calls.describe(RemoteCall("docs", "search", "{}", "", id=f"n{number}"))
        calls.update(ev.RemoteCallUpdate(f"f{number}", FAILED))
    assert len(calls.all) == MAX_CALLS


def test_the_calls_of_a_turn_are_in_its_result_and_saved() -> None:
    units = ready()
    question = units.asked()
    units.replies.started(ev.ReplyStarted("r1"))
    units.replies.item_event(ev.OutputAdded("r1", 0, ANNOUNCED))
    update = ev.RemoteCallUpdate("m1", STARTED, CALL.arguments)
    assert shown(units.replies.item_event(update))
    units.replies.item_event(ev.OutputDone("r1", 0, CALL))
    outputs = units.turns.end(Status.COMPLETED)
    (over,) = (update for update in shown(outputs) if isinstance(update, fx.ReplyOver))
    assert over.remote_calls == (CALL,)
    saved = [output.entry for output in outputs if isinstance(output, fx.Record)]
    assert [(entry.index, entry.item) for entry in saved] == [(1, CALL), (0, question.item)]
    assert {entry.state for entry in saved} == {State.COMPLETED}
    assert CALL not in replay_of(units.log.items, 1000).items


# ---------------------------------------------------------------------------------------- listings


def test_a_listing_that_fails_is_reported_once() -> None:
    listings = ToolListings()
    assert listings.handle(ev.ToolListing("i", "docs")) == []
    assert listings.handle(ev.ToolListing("i", state=STARTED)) == [
        notices.tools_listed("docs", is_over=False)
    ]
    assert listings.handle(ev.ToolListing("i", state=DONE)) == [
        notices.tools_listed("docs", is_over=True)
    ]
    failed = ev.ToolListing("i", state=FAILED, error="HTTP 401")
    assert listings.handle(failed) == [notices.tools_not_listed("docs", "HTTP 401", "warning")]
    assert listings.handle(failed) == [notices.tools_not_listed("docs", "HTTP 401", "detail")]
    listings.session_closed()
    assert listings.handle(ev.ToolListing("i", state=FAILED)) == [
        notices.tools_not_listed("", "", "warning")
    ]


def test_the_number_of_listings_is_limited() -> None:
    listings = ToolListings()
    for number in range(MAX_CALLS):
        listings.handle(ev.ToolListing(f"i{number}", state=FAILED))
    assert listings.handle(ev.ToolListing("last", "docs")) == []
    assert listings.handle(ev.ToolListing("last", state=FAILED)) == [
        notices.tools_not_listed("", "", "warning")
    ]


def test_the_item_of_a_listing_names_its_server() -> None:
    item = {"type": "mcp_list_tools", "id": "i", "server_label": "docs", "tools": []}
    for kind in ("conversation.item.added", "conversation.item.done"):
        assert decode({"type": kind, "item": item}) == [ev.ToolListing("i", "docs")]
    failed = item | {"error": {"type": "http_error", "code": 401, "message": "No."}}
    assert decode({"type": "conversation.item.done", "item": failed}) == [
        ev.ToolListing("i", "docs", None, "No.")
    ]
    other = {"type": "conversation.item.done", "item": {"type": "odd"}}
    assert decode(other) == [ev.ItemDone(OtherItem("odd", "", {"type": "odd"}))]


def test_a_conversation_reports_listings() -> None:
    conversation = Conversation("m", Options())
    failed = ev.ToolListing("i", "docs", FAILED)
    assert conversation.handle(failed) == [notices.tools_not_listed("docs", "", "warning")]
