"""Assembling calls from incomplete events."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from rtchat.core.reply_calls import ReplyCalls
from rtchat.core.streamed_calls import MAX_STREAMED, StreamedCalls
from rtchat.core.values import Message, Part, ToolCall, TurnLimits

WHOLE = ToolCall("weather", "c1", '{"city": "Oslo"}', "i1", "completed")
PIECES = [
    [ToolCall("weather", "c1", "", "i1"), ToolCall("", "", '{"city": "Oslo"}', "i1", "completed")],
    [ToolCall("", "c1", '{"city": "Oslo"}'), ToolCall("weather", "c1", "", "i1", "completed")],
    [WHOLE, WHOLE],
    [WHOLE, ToolCall("weather", "c1", "", "i1")],
]


@pytest.mark.parametrize("pieces", PIECES)
def test_a_call_is_complete_wherever_its_fields_are(pieces: list[ToolCall]) -> None:
    for order in permutations(pieces):
        calls = StreamedCalls()
        for piece in order:
            calls.add(piece, is_complete=False)
        assert calls.complete() == [(0, WHOLE)]


def test_a_call_without_a_call_id_is_answered_by_its_item_id() -> None:
    calls = StreamedCalls()
    calls.add(ToolCall("clock", "", "{}", "i1"), is_complete=False)
    assert [call.call_id for _, call in calls.complete()] == ["i1"]


def test_calls_without_any_id_are_different_calls() -> None:
    calls = StreamedCalls()
    for name in ("clock", "weather"):
        calls.add(ToolCall(name, "", "{}"), is_complete=False)
    assert [call.name for _, call in calls.complete()] == ["clock", "weather"]


def test_a_complete_call_does_not_change() -> None:
    calls = StreamedCalls()
    calls.add(WHOLE, is_complete=True)
    calls.add(ToolCall("weather", "c1", '{"city": "Rome"}', "i1"), is_complete=True)
    assert calls.complete() == [(0, WHOLE)]


OSLO, ROME = '{"city": "Oslo"}', '{"city": "Rome"}'
ONE_CALL = {
    "another call id in each event": [
        ToolCall("weather", "c1", "", "i1"),
        ToolCall("weather", "c2", OSLO, "i1"),
        ToolCall("weather", "c3", OSLO, "i1"),
    ],
    "the item id as call id": [
        ToolCall("weather", "c1", "", "i1"),
        ToolCall("weather", "i1", OSLO, "i1"),
    ],
    "the call id without the item id": [
        ToolCall("weather", "", "", "i1"),
        ToolCall("weather", "c1", OSLO),
    ],
    "another item id in each event": [
        ToolCall("weather", "", OSLO, "i1"),
        ToolCall("weather", "c1", OSLO, "i2"),
    ],
    "an object before the arguments": [
        ToolCall("weather", "c1", "{}", "i1"),
        ToolCall("weather", "c1", OSLO, "i1"),
    ],
}


@pytest.mark.parametrize("events", ONE_CALL.values(), ids=ONE_CALL)
def test_events_with_different_ids_describe_one_call(events: list[ToolCall]) -> None:
    calls = StreamedCalls()
    for event in events:
        calls.add(event, is_complete=False)
    ((number, call),) = calls.complete()
    assert (number, call.name, call.arguments) == (0, "weather", OSLO)
    assert call.call_id in {event.call_id for event in events} - {"", "i1"}


TWO_CALLS = {
    "the same item id": [ToolCall("f", "c1", OSLO, "i"), ToolCall("f", "c2", ROME, "i")],
    "no call ids": [ToolCall("f", "", OSLO, "i1"), ToolCall("f", "", ROME, "i2")],
    "no ids": [ToolCall("f", "", OSLO), ToolCall("f", "", ROME)],
}


@pytest.mark.parametrize("events", TWO_CALLS.values(), ids=TWO_CALLS)
def test_calls_that_contradict_each_other_are_different_calls(events: list[ToolCall]) -> None:
    calls = StreamedCalls()
    for event in events:
        calls.add(replace(event, arguments=""), is_complete=False)
        calls.add(event, is_complete=True)
    made = [call for _, call in calls.complete()]
    assert [call.arguments for call in made] == [OSLO, ROME]
    assert len({call.call_id for call in made}) == 2


@pytest.mark.parametrize("deltas", [[OSLO[:5], OSLO[5:]], [OSLO[:2], OSLO[:5], OSLO]])
@pytest.mark.parametrize("item_id", ["i1", ""])
def test_streamed_arguments_are_used_if_no_event_has_them(deltas: list[str], item_id: str) -> None:
    calls = StreamedCalls()
    calls.add(ToolCall("weather", "c1", "", "i1"), is_complete=False)
    for delta in deltas:
        calls.add_arguments(item_id, delta)
    assert calls.has_complete
    assert calls.complete() == [(0, ToolCall("weather", "c1", OSLO, "i1"))]


def test_incomplete_streamed_arguments_are_not_used() -> None:
    calls = StreamedCalls()
    calls.add(ToolCall("weather", "c1", "", "i1"), is_complete=False)
    calls.add_arguments("i1", OSLO[:5])
    assert calls.complete() == []


def test_the_number_of_calls_with_streamed_arguments_is_limited() -> None:
    calls = StreamedCalls()
    for number in range(MAX_STREAMED + 1):
        calls.add_arguments(f"i{number}", OSLO)
    calls.add(ToolCall("weather", "c1", "", "i0"), is_complete=False)
    calls.add(ToolCall("weather", "c2", "", f"i{MAX_STREAMED}"), is_complete=False)
    assert [number for number, _ in calls.complete()] == [0]


def test_a_call_that_only_its_arguments_announced_is_made() -> None:
    calls = ReplyCalls(TurnLimits())
    calls.describe(ToolCall("clock", "c1", "{}", "i1"))
    assert calls.made == []
    calls.finish([])
    assert calls.made == [ToolCall("clock", "c1", "{}", "i1")]


def test_arguments_that_the_item_leaves_out_are_known() -> None:
    calls = ReplyCalls(TurnLimits())
    calls.describe(ToolCall("", "c1", '{"city": "Oslo"}', "i1"))
    calls.add(ToolCall("weather", "c1", "", "i1", "completed"))
    assert calls.made == [WHOLE]
    calls.finish([WHOLE])
    assert calls.made == [WHOLE]


def test_calls_are_taken_from_the_end() -> None:
    calls = ReplyCalls(TurnLimits())
    first, second = ToolCall("now", "c1", "{}"), ToolCall("then", "c2", "{}")
    calls.finish([first, Message("assistant", (Part("text", "One moment."),)), second])
    assert calls.made == [first, second]


def test_no_more_calls_than_the_limit_are_described() -> None:
    calls = ReplyCalls(TurnLimits(calls=1))
    for number in range(2):
        calls.describe(ToolCall("clock", f"c{number}", "", f"i{number}"))
    assert calls.exceeded == "max_tool_calls"
