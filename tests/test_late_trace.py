"""Traces that are started while the session runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from rtchat.app.replay import report
from rtchat.client.session import Session, SessionParts
from rtchat.core.conversation import Conversation
from rtchat.core.effects import QuestionAsked, ReplyOver, Update
from rtchat.core.events import CancelPressed, LeaveAsked, LocalEvent, TraceAsked, UserSaid
from rtchat.core.ports import Post
from rtchat.core.redaction import Redactor
from rtchat.core.values import JsonObject, Options, Status
from rtchat.trace.reading import Recording, read_trace
from rtchat.trace.switch import TraceSwitch
from rtchat.trace.wire_only import WireReplay
from tests.scripted import (
    HELLO,
    QUESTION,
    Emit,
    End,
    Expect,
    Screen,
    ScriptedServer,
    answer,
    run_fast,
)

Tapped: TypeAlias = tuple[str, JsonObject | str | LocalEvent, float]
KEY = "sk-0123456789abcdef"
ITEM = Expect("conversation.item.create")


@pytest.fixture(scope="module")
def tapped() -> list[Tapped]:
    """What a session passes to a tap: three questions, one reply stopped, one connection lost."""
    server = ScriptedServer(
        (
            *HELLO,
            *QUESTION,
            *answer("First."),
            *QUESTION,
            *answer("A long ", reply="r2", ends=False),
            Expect("response.cancel"),
            Emit({"type": "response.done", "response": {"id": "r2", "status": "cancelled"}}),
            End(1006),
        ),
        (*HELLO, *(ITEM,) * 4, *QUESTION, *answer("It is ", "late.", reply="r3")),
    )
    seen: list[Tapped] = []

    async def source(post: Post) -> None:
        for event in (
            UserSaid("one"),
            UserSaid("two"),
            CancelPressed(),
            UserSaid(f"three {KEY}"),
            LeaveAsked(),
        ):
            post(event)
            await asyncio.sleep(3)

    async def main() -> None:
        ports = SessionParts(
            Screen(),
            server.connect,
            taps=(lambda *call: seen.append(call),),
            now=lambda: asyncio.get_running_loop().time(),
            wall_clock=lambda: asyncio.get_running_loop().time(),
        )
        await Session(Conversation("m", Options(modality="text")), ports).run(source)

    run_fast(main)
    return seen


def recorded_from(start: int, tapped: Iterable[Tapped], path: Path) -> Recording:
    """The recording of a session that is started after its first `start` events."""
    switch = TraceSwitch(None, Redactor((KEY,)), complete=False)
    path = path / f"{start}.jsonl"
    for number, call in enumerate(tapped):
        if number == start:
            switch.start(switch.open(path))
        switch(*call)
    switch.close()
    assert KEY not in path.read_text()
    return read_trace(path, lambda text: pytest.fail(text))


def replies(recording: Recording) -> list[tuple[Status, str]]:
    """The replies in a replay."""
    updates: Iterator[Update] = (
        update for step in WireReplay(recording.events).steps() for update in step.updates
    )
    return [(over.status, over.text) for over in updates if isinstance(over, ReplyOver)]


ALL = [
    (Status.COMPLETED, "First."),
    (Status.CANCELLED, "A long "),
    (Status.COMPLETED, "It is late."),
]


def test_a_recording_can_begin_anywhere(tapped: list[Tapped], tmp_path: Path) -> None:
    """Every reply that begins after the start of the recording is replayed."""
    requests = [
        number
        for number, (direction, data, _) in enumerate(tapped)
        if direction == "sent" and isinstance(data, dict) and data["type"] == "response.create"
    ]
    assert len(requests) == 3
    for start in range(1, len(tapped)):
        recording = recorded_from(start, tapped, tmp_path)
        expected = ALL[sum(request < start for request in requests) :]
        found = replies(recording)
        assert found[len(found) - len(expected) :] == expected, start
        assert recording.setup is None
        assert recording.after == tapped[start - 1][2]


def test_a_report_says_that_a_recording_begins_late(tapped: list[Tapped], tmp_path: Path) -> None:
    start = next(number for number, call in enumerate(tapped) if call[1] == CancelPressed())
    lines, _ = report(recorded_from(start, tapped, tmp_path))
    assert "after the session began" in lines[0]
    whole, _ = report(recorded_from(0, tapped, tmp_path))
    assert "after the session began" not in whole[0]


def test_the_questions_are_those_of_the_user(tapped: list[Tapped], tmp_path: Path) -> None:
    steps = WireReplay(recorded_from(5, tapped, tmp_path).events).steps()
    updates = (update for step in steps for update in step.updates)
    asked = [update.text for update in updates if isinstance(update, QuestionAsked)]
    assert asked == ["one", "two", "three [key]"]


def test_only_the_last_session_is_repeated(tapped: list[Tapped], tmp_path: Path) -> None:
    recorded_from(len(tapped) - 1, tapped, tmp_path)
    path = tmp_path / f"{len(tapped) - 1}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = [line["data"]["type"] for line in lines if line.get("direction") == "received"]
    assert kinds == ["session.created", "session.updated"]
    assert lines[1]["t"] < lines[0]["after"]


@pytest.mark.parametrize("after", ["soon", -1, True, 1e300, None, [1]])
def test_an_invalid_start_counts_as_none(after: object, tmp_path: Path) -> None:
    header = {"rtchat": "1", "format": 2, "after": after}
    line = {"t": 0, "direction": "local", "data": {"class": "TraceAsked", "action": "stop"}}
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in (header, line)))
    recording = read_trace(path, pytest.fail)
    assert recording.after == 0.0
    assert [each.event for each in recording.events] == [TraceAsked("stop")]
