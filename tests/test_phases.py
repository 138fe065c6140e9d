"""The phases of messages: commentary and the final answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rtchat.core.conversation import Conversation
from rtchat.core.effects import AddItem, Record, ReplyOver, Send, Show
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    ConnectionLost,
    ConnectionOpened,
    Delta,
    Event,
    ItemAdded,
    OutputAdded,
    OutputDone,
    ReplyEnded,
    ReplyStarted,
    Retry,
    SessionCreated,
    SessionUpdated,
    Started,
    Timer,
    TimerFired,
    ToolFinished,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.reply import Reply
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.values import (
    Channel,
    Dialect,
    Message,
    Options,
    Part,
    Phase,
    Role,
    Status,
    ToolCall,
    ToolOutput,
    TurnLimits,
)
from tests.faulty import FaultyServer, begun, frame, sockets
from tests.program import Program, background

LOOKING, ANSWER = "Let me look.", "It is sunny."
CALL = ToolCall("weather", "c1", "{}", "f1")
BEGIN: tuple[Event, ...] = (
    *(Started(), ConnectionOpened(), SessionCreated("s", "m"), SessionUpdated("s", "m")),
    *(UserSaid("Weather?"), ItemAdded(Message("user", ())), ReplyStarted("r1")),
)


def said(text: str, phase: Phase | None = None, id: str = "", role: Role = "assistant") -> Message:
    return Message(role, (Part("text", text),), id, phase=phase)


def delta(text: str, item_id: str, reply: str = "r1") -> Delta:
    return Delta(Channel.TEXT, text, reply, item_id)


def opened(phase: Phase | None, item_id: str) -> OutputAdded:
    return OutputAdded("r1", 0, Message("assistant", (), item_id, "in_progress", phase))


# ------------------------------------------------------------------------------------- in one reply


def test_a_reply_without_phases_is_one_message() -> None:
    reply = Reply()
    reply.add(delta("One.", "a"))
    reply.finish([said("One.", None, "a"), said("Two.", None, "b")])
    assert reply.messages == [said("One.\n\nTwo.")]


def test_a_message_begins_where_the_phase_changes() -> None:
    items = [
        said("One.", "commentary", "a"),
        said("Two.", "commentary", "b"),
        said("Three.", "final_answer", "c"),
        said("Four.", None, "d"),
    ]
    reply = Reply()
    reply.finish(items)
    assert reply.messages == [
        said("One.\n\nTwo.", "commentary"),
        said("Three.", "final_answer"),
        said("Four."),
    ]
    assert reply.text == "One.\n\nTwo.\n\nThree.\n\nFour."


@pytest.mark.parametrize("at", ["begin", "end", "response", "response, another id"])
def test_the_phase_may_be_in_any_event_of_a_message(at: str) -> None:
    reply = Reply()
    if at == "begin":
        reply.announce(Message("assistant", (), "a", phase="commentary"))
    reply.add(delta(LOOKING, "a"))
    if at == "end":
        reply.message_done(said(LOOKING, "commentary", "a"), 0)
    in_response: Phase | None = "commentary" if at.startswith("response") else None
    reply.finish([said(LOOKING, in_response, "b" if at.endswith("id") else "a")])
    assert reply.messages == [said(LOOKING, "commentary")]


def test_a_server_cannot_name_more_messages_than_a_reply_may_have() -> None:
    reply = Reply(limits=TurnLimits(parts=2))
    for number in range(9):
        reply.announce(Message("assistant", (), str(number), phase="commentary"))
    reply.add(Delta(Channel.TEXT, "One.", "r1", "0", 0))
    reply.add(Delta(Channel.TEXT, "Two.", "r1", "8", 8))
    assert [message.phase for message in reply.messages] == ["commentary", None]


# -------------------------------------------------------------------------------- in a conversation


def handled(*events: Event) -> tuple[Conversation, list[Any]]:
    policy = ToolPolicy(["weather"], ["weather"], can_ask=False, limits=TurnLimits())
    conversation = Conversation("m", Options(modality="text"), mode=Mode.LINES, tool_policy=policy)
    return conversation, [
        effect for event in (*BEGIN, *events) for effect in conversation.handle(event)
    ]


def over_of(effects: list[Any]) -> ReplyOver:
    (over,) = (
        effect.update
        for effect in effects
        if isinstance(effect, Show) and isinstance(effect.update, ReplyOver)
    )
    return over


def saved(effects: list[Any]) -> Mapping[int, Message]:
    """The messages of the model in the history by their index."""
    entries = [effect.entry for effect in effects if isinstance(effect, Record)]
    return {
        entry.index: entry.item
        for entry in entries
        if isinstance(entry.item, Message) and entry.item.role == "assistant"
    }


def replayed(conversation: Conversation) -> list[Message]:
    """The messages of the model that a new session receives."""
    lost = ConnectionLost(Problem(ExitCode.LINK, "lost"), Retry.ALWAYS, at_once=True)
    events = (lost, TimerFired(Timer.RETRY), UserSaid("Go on."), *BEGIN[1:4])
    effects = [effect for event in events for effect in conversation.handle(event)]
    commands = [effect.command for effect in effects if isinstance(effect, Send)]
    items = [command.item for command in commands if isinstance(command, AddItem)]
    return [item for item in items if isinstance(item, Message) and item.role == "assistant"]


MESSAGES = (said(LOOKING, "commentary"), said(ANSWER, "final_answer"))


def test_a_preamble_before_a_call_and_the_answer_after_it() -> None:
    conversation, effects = handled(
        opened("commentary", "a"),
        delta(LOOKING, "a"),
        OutputDone("r1", 1, CALL),
        ReplyEnded("r1", Status.COMPLETED, items=(said(LOOKING, "commentary", "a"), CALL)),
        ToolFinished("c1", "sunny"),
        ItemAdded(ToolOutput("c1", "sunny")),
        ReplyStarted("r2"),
        delta(ANSWER, "b", "r2"),
        ReplyEnded("r2", Status.COMPLETED, items=(said(ANSWER, "final_answer", "b"),)),
    )
    assert over_of(effects).messages == MESSAGES
    assert over_of(effects).text == f"{LOOKING}\n\n{ANSWER}"
    assert saved(effects) == {1: MESSAGES[0], 4: MESSAGES[1]}
    assert replayed(conversation) == list(MESSAGES)


def test_a_preamble_and_the_answer_in_one_response() -> None:
    conversation, effects = handled(
        opened("commentary", "a"),
        delta(LOOKING, "a"),
        opened("final_answer", "b"),
        delta(ANSWER, "b"),
        ReplyEnded("r1", Status.COMPLETED, items=()),
    )
    assert over_of(effects).messages == MESSAGES
    assert saved(effects) == {1: MESSAGES[0], 2: MESSAGES[1]}
    assert replayed(conversation) == list(MESSAGES)


def test_without_phases_there_are_no_messages_to_list() -> None:
    _, effects = handled(delta(ANSWER, "b"), ReplyEnded("r1", Status.COMPLETED))
    assert over_of(effects).messages == ()
    assert saved(effects) == {1: said(ANSWER)}


# --------------------------------------------------------------------------------------- a program


def reply() -> Iterator[str]:
    """A reply with two messages."""
    yield begun()
    output: list[object] = []
    for number, (text, phase) in enumerate(((LOOKING, "commentary"), (ANSWER, "final_answer"))):
        part = {"type": "output_text", "text": text}
        item = {"id": f"i{number}", "type": "message", "role": "assistant", "phase": phase}
        place = {"response_id": "r", "output_index": number}
        yield frame("response.output_item.added", item=item | {"content": []}, **place)
        where = {"item_id": f"i{number}", "content_index": 0, **place}
        yield frame("response.output_text.delta", delta=text, **where)
        output.append(item | {"content": [part]})
    yield frame("response.done", response={"id": "r", "status": "completed", "output": output})


@pytest.mark.parametrize("dialect", [each for each in Dialect if each is not Dialect.TRANSLATION])
def test_phases_are_printed_saved_exported_and_sent_again(tmp_path: Path, dialect: Dialect) -> None:
    program, server = Program(tmp_path), FaultyServer([*reply()])
    expected = [("commentary", LOOKING), ("final_answer", ANSWER)]
    with background(lambda: sockets(server.talk)) as url:
        ran = program.run("once", "Weather?", "--json", "--url", url)
        assert ran.code == 0, ran.err
        assert [
            (message["phase"], message["text"]) for message in json.loads(ran.text)["messages"]
        ] == expected
        exported = json.loads(program.run("history", "export", "--format", "json").text)
        items = [entry["item"] for entry in exported["entries"]]
        assert [
            (item["phase"], item["content"][0]["text"])
            for item in items
            if item["role"] == "assistant"
        ] == expected
        server.items.clear()
        ran = program.run("once", "-c", "And now?", "--url", url, "--dialect", dialect)
        assert ran.code == 0, ran.err
    sent = [item for item in server.items if item["role"] == "assistant"]
    # Servers of other dialects may refuse the field.
    phases = ["commentary", "final_answer"] if dialect is Dialect.GA else [None, None]
    assert [item.get("phase") for item in sent] == phases
    assert [item["content"][0]["text"] for item in sent] == [LOOKING, ANSWER]
