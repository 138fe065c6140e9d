"""Calls put together from events of which servers leave out different ones."""

from __future__ import annotations

from itertools import permutations

import pytest

from rtchat.core.reply import Reply
from rtchat.core.streamed_calls import StreamedCalls
from rtchat.core.values import ToolCall

WHOLE = ToolCall("weather", "c1", '{"city": "Oslo"}', "i1", "completed")
PIECES = [
    [ToolCall("weather", "c1", "", "i1"), ToolCall("", "", '{"city": "Oslo"}', "i1", "completed")],
    [ToolCall("", "c1", '{"city": "Oslo"}'), ToolCall("weather", "c1", "", "i1", "completed")],
    [WHOLE, WHOLE],
    [WHOLE, ToolCall("weather", "c1", "", "i1")],
]


@pytest.mark.parametrize("pieces", PIECES)
def test_a_call_is_whole_whatever_each_event_says_of_it(pieces: list[ToolCall]) -> None:
    for order in permutations(pieces):
        calls = StreamedCalls()
        for piece in order:
            calls.add(piece, is_complete=False)
        assert calls.complete() == [WHOLE]


def test_a_call_without_a_call_id_is_answered_by_its_item_id() -> None:
    calls = StreamedCalls()
    calls.add(ToolCall("clock", "", "{}", "i1"), is_complete=False)
    assert [call.call_id for call in calls.complete()] == ["i1"]


def test_calls_without_any_id_are_different_calls() -> None:
    calls = StreamedCalls()
    for name in ("clock", "weather"):
        calls.add(ToolCall(name, "", "{}"), is_complete=False)
    assert [call.name for call in calls.complete()] == ["clock", "weather"]


def test_a_complete_call_does_not_change() -> None:
    calls = StreamedCalls()
    calls.add(WHOLE, is_complete=True)
    calls.add(ToolCall("weather", "c1", '{"city": "Rome"}', "i1"), is_complete=True)
    assert calls.complete() == [WHOLE]


def test_a_call_that_only_its_arguments_announced_is_made() -> None:
    reply = Reply("r1")
    reply.describe_call(ToolCall("clock", "c1", "{}", "i1"))
    assert reply.calls == []
    reply.finish()
    assert reply.calls == [ToolCall("clock", "c1", "{}", "i1")]


def test_arguments_that_the_item_leaves_out_are_known() -> None:
    reply = Reply("r1")
    reply.describe_call(ToolCall("", "c1", '{"city": "Oslo"}', "i1"))
    reply.call(ToolCall("weather", "c1", "", "i1", "completed"))
    assert reply.calls == [WHOLE]
    reply.finish([WHOLE])
    assert reply.calls == [WHOLE]
