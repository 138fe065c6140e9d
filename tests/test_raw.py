"""/raw: responses to events that the user writes are shown, recorded and billed like others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from rtchat.core import notices, server_errors
from rtchat.core.conversation import Conversation
from rtchat.core.effects import (
    AddItem,
    Cancel,
    ClearTimer,
    CreateResponse,
    Notice,
    QuestionAsked,
    Raw,
    Record,
    ReplyOver,
    Send,
    SetTimer,
    Show,
    TextArrived,
    Totals,
    error_notice,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    AudioCleared,
    AudioCommitted,
    CancelPressed,
    ConnectionLost,
    ConnectionOpened,
    Delta,
    Event,
    InputEnded,
    ItemAdded,
    ItemDeleted,
    ItemRetrieved,
    ItemTruncated,
    RawSaid,
    ReplyEnded,
    ReplyStarted,
    Retry,
    ServerProblem,
    SessionCreated,
    SessionUpdated,
    Started,
    SystemSet,
    Timer,
    UsageAsked,
    UserSaid,
)
from rtchat.core.log import ConversationLog
from rtchat.core.mode import Mode
from rtchat.core.models import Rate
from rtchat.core.pricing import Budget
from rtchat.core.values import (
    Channel,
    Entry,
    Message,
    Options,
    Part,
    State,
    Status,
    StoredConversation,
    ToolCall,
    ToolOutput,
    Usage,
)
from rtchat.ui.slash_commands import parse
from tests.faulty import HELLO, READY, begun, error, frame, said, sockets
from tests.playbook import Playbook
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal

TEXT = Options(modality="text")
FIELDS = {"type": "response.create"}
ASK = RawSaid(FIELDS, asks=True)
USAGE = Usage(100_000, 0, 10_000, 110_000)
COSTS = Budget({"m": Rate(4.0, 0.4, 24.0)}, max_cost=0.5)
STALL = SetTimer(Timer.STALL, 60)
SPENT = server_errors.spent(0.64, 0.5)


def ready(budget: Budget = Budget(), *, stores_audio: bool = False) -> Playbook:  # noqa: B008 - frozen
    play = Playbook(
        Conversation("m", TEXT, mode=Mode.CHAT, budget=budget), stores_audio=stores_audio
    )
    return play.skip(
        Started(), ConnectionOpened(), SessionCreated("s", "m"), SessionUpdated("s", "m")
    )


def shown(play: Playbook, event: Event) -> list[object]:
    """The updates that an event causes."""
    effects = play.conversation.handle(event)
    return [effect.update for effect in effects if isinstance(effect, Show)]


def info(text: str) -> Notice:
    return Notice("info", text)


def test_a_requested_response_is_recorded_as_a_turn_without_a_question() -> None:
    play = ready(COSTS, stores_audio=True) >> ASK
    play << [notices.raw_sent("response.create"), Show(QuestionAsked("", "m"))]
    play << [Send("rtchat_2", Raw(FIELDS)), STALL]
    play.skip(ReplyStarted("r1"), Delta(Channel.TEXT, "Raw.", "r1", "i"))
    effects = play.conversation.handle(ReplyEnded("r1", Status.COMPLETED, usage=USAGE))
    records = [effect.entry for effect in effects if isinstance(effect, Record)]
    assert [(entry.turn, entry.index, entry.state) for entry in records] == [
        (1, 1, State.COMPLETED)
    ]
    over = next(e.update for e in effects if isinstance(e, Show))
    assert isinstance(over, ReplyOver)
    assert (over.text, over.usage, over.cost) == ("Raw.", USAGE, 0.64)
    assert shown(play, UsageAsked()) == [Totals(1, USAGE, 0.64)]


def test_no_response_is_requested_beyond_the_budget() -> None:
    play = ready(COSTS).skip(ASK, ReplyStarted("r1"))
    play.skip(ReplyEnded("r1", Status.COMPLETED, usage=USAGE)) >> ASK
    play << Show(error_notice(SPENT))


def test_a_request_waits_for_the_previous_reply_and_can_be_cancelled() -> None:
    play = ready().skip(UserSaid("hi"), ReplyStarted("r1")) >> ASK
    play << notices.raw_queued("response.create")
    play.skip(ReplyEnded("r1", Status.COMPLETED), ReplyStarted("r2"))
    effects = play.conversation.handle(CancelPressed())
    assert Send("rtchat_5", Cancel("r2")) in effects
    assert any(isinstance(e, Show) and isinstance(e.update, ReplyOver) for e in effects)


def test_a_refused_request_ends_its_turn() -> None:
    play = ready().skip(RawSaid({**FIELDS, "event_id": "mine"}, asks=True))
    over = shown(play, ServerProblem("Not so.", event_id="mine"))[0]
    assert isinstance(over, ReplyOver)
    assert over.problem == Problem(ExitCode.REPLY, "Not so.")


def test_after_a_refused_cancelled_request_the_next_question_is_asked() -> None:
    play = ready().skip(ASK, CancelPressed(), UserSaid("hi"))
    play >> ServerProblem("Not so.", event_id="rtchat_2")
    play << [ClearTimer(Timer.STALL), Show(QuestionAsked("hi", "m"))]
    play.skip()


def test_tool_outputs_are_followed_by_a_standard_request() -> None:
    from rtchat.core.events import ToolFinished
    from rtchat.core.tool_calls import ToolPolicy

    conversation = Conversation("m", TEXT, tool_policy=ToolPolicy(["f"], ["f"]))
    play = Playbook(conversation)
    play.skip(
        Started(), ConnectionOpened(), SessionCreated("s", "m"), SessionUpdated("s", "m"), ASK
    )
    play.skip(ReplyStarted("r1"))
    call = ToolCall("f", "c1", "{}")
    play.skip(ReplyEnded("r1", Status.COMPLETED, items=(call,)))
    effects = play.conversation.handle(ToolFinished("c1", "7"))
    sent = [effect.command for effect in effects if isinstance(effect, Send)]
    assert sent == [AddItem(ToolOutput("c1", "7")), CreateResponse(TEXT)]


def test_a_response_to_another_event_is_a_turn() -> None:
    play = ready().skip(RawSaid({"type": "x"})) >> ReplyStarted("r1")
    play << [Show(QuestionAsked("", "m")), STALL]
    play >> Delta(Channel.TEXT, "Yes?", "r1", "i") << Show(TextArrived("Yes?"))
    over = shown(play, ReplyEnded("r1", Status.COMPLETED, usage=USAGE))[0]
    assert isinstance(over, ReplyOver)
    assert (over.text, over.usage) == ("Yes?", USAGE)
    play >> ReplyStarted("r1")


def test_a_response_to_another_event_is_cancelled_beyond_the_budget() -> None:
    play = ready(COSTS).skip(ASK, ReplyStarted("r1"))
    play.skip(ReplyEnded("r1", Status.COMPLETED, usage=USAGE), RawSaid({"type": "x"}))
    effects = play.conversation.handle(ReplyStarted("r2"))
    assert Send("rtchat_4", Cancel("r2")) in effects
    assert [
        e.update.problem for e in effects if isinstance(e, Show) and isinstance(e.update, ReplyOver)
    ] == [SPENT]


def test_a_response_to_another_event_is_not_requested_again() -> None:
    play = ready().skip(RawSaid({"type": "x"}), ReplyStarted("r1"))
    lost = ConnectionLost(Problem(ExitCode.LINK, "lost"), Retry.ALWAYS)
    over = shown(play, lost)[0]
    assert isinstance(over, ReplyOver)
    assert over.reason == "connection_lost"


def test_an_unrequested_response_is_billed_and_shown_as_such() -> None:
    play = ready(COSTS) >> ReplyStarted("r1")
    play >> Delta(Channel.TEXT, "Psst.", "r1", "i")
    play >> ReplyEnded("r1", Status.COMPLETED, usage=USAGE) << notices.unrequested_reply("Psst.")
    play >> UsageAsked() << Show(Totals(0, USAGE, 0.64))
    play >> UserSaid("hi") << Show(ReplyOver(Status.FAILED, "", "m", problem=SPENT))


MESSAGE = Message("user", (Part("text", "Hi."),), "item_1")


@pytest.mark.parametrize(
    ("typed", "answer", "result"),
    [
        ('/raw {"type": "session.update"}', SessionUpdated("s", "m"), "session.update"),
        (
            '/raw {"type": "conversation.item.create"}',
            ItemAdded(MESSAGE),
            "conversation.item.create item_1: Hi.",
        ),
        (
            '/raw {"type": "conversation.item.retrieve"}',
            ItemRetrieved(MESSAGE),
            "conversation.item.retrieve item_1: Hi.",
        ),
        (
            '/raw {"type": "conversation.item.delete"}',
            ItemDeleted("item_1"),
            "conversation.item.delete item_1",
        ),
        (
            '/raw {"type": "conversation.item.truncate"}',
            ItemTruncated("item_1", 0, 0),
            "conversation.item.truncate item_1",
        ),
        (
            '/raw {"type": "input_audio_buffer.commit"}',
            AudioCommitted("item_1"),
            "input_audio_buffer.commit item_1",
        ),
        ('/raw {"type": "input_audio_buffer.clear"}', AudioCleared(), "input_audio_buffer.clear"),
    ],
)
def test_a_confirmation_is_shown_once(typed: str, answer: Event, result: str) -> None:
    raw = parse(typed)
    assert isinstance(raw, RawSaid)
    play = ready().skip(raw)
    play >> answer << Show(info(f"done: {result}"))
    play >> answer


def test_settings_of_the_program_do_not_count_as_confirmation() -> None:
    raw = RawSaid({"type": "session.update"}, answer=SessionUpdated)
    play = ready().skip(SystemSet("Be brief."), raw)
    play >> SessionUpdated("s", "m")
    play >> SessionUpdated("s", "m") << notices.raw_done("session.update", "", "")


def test_an_error_names_its_event() -> None:
    raw = RawSaid({"type": "session.update", "event_id": "mine"}, answer=SessionUpdated)
    play = ready().skip(raw) >> ServerProblem("No.", event_id="mine")
    play << notices.raw_refused("session.update", "No.")
    play >> SessionUpdated("s", "m")


def test_the_user_can_send_the_output_of_an_unavailable_call() -> None:
    play = ready().skip(UserSaid("hi"), ReplyStarted("r1"))
    call = ToolCall("f", "c1", "{}")
    play.skip(ReplyEnded("r1", Status.COMPLETED, items=(call,)))
    item = {"type": "function_call_output", "call_id": "c1", "output": "7"}
    raw = parse(f"/raw {json.dumps({'type': 'conversation.item.create', 'item': item})}")
    assert isinstance(raw, RawSaid)
    effects = play.skip(raw).conversation.handle(ASK)
    sent = [effect.command for effect in effects if isinstance(effect, Send)]
    assert sent == [Raw(FIELDS)]


def test_a_turn_without_a_question_is_restored() -> None:
    reply = Message("assistant", (Part("text", "Raw."),))
    question = Message("user", (Part("text", "hi"),))
    entries = (
        Entry(1, 0, question, State.COMPLETED),
        Entry(1, 1, reply, State.COMPLETED),
        Entry(1, 2, reply, State.COMPLETED),
        Entry(2, 1, reply, State.COMPLETED),
    )
    log = ConversationLog(StoredConversation(1, "", 0.0, 0.0, "m", 2, entries))
    assert log.items == [question, reply, reply, reply]
    assert log.last is not None
    assert (log.last.turn, log.last.entries) == (1, 3)
    assert log.enter("next").turn == 3


def test_the_end_of_input_waits_for_the_response() -> None:
    play = ready().skip(ASK) >> InputEnded()
    play.end()


# -------------------------------------------------------------------------------------- the program


class DeveloperServer:
    """A server for the events that a developer may try."""

    def __init__(self) -> None:
        self._number = 0

    async def talk(self, client: ServerConnection) -> None:
        for step in HELLO:
            await client.send(step)
        async for data in client:
            for step in self._answer(json.loads(data)):
                await client.send(step)

    def _answer(self, event: dict[str, Any]) -> Iterable[str]:
        match event:
            case {"type": "session.update", "session": {"speed": _}}:
                yield error("invalid_value", "No speed.", event_id=event["event_id"])
            case {"type": "session.update"}:
                yield from READY
            case {"type": "response.create", "response": {"metadata": {"topic": "slow"}}}:
                yield from self._reply("Slow", is_over=False)
            case {"type": "response.create", "response": {"conversation": "none"}}:
                yield from self._reply("Beside.")
            case {"type": "response.create"}:
                yield from self._reply("Asked.")
            case {"type": "response.cancel", "response_id": id}:
                response = {"id": id, "status": "cancelled"}
                yield frame("response.done", response=response)
            case {"type": "input_audio_buffer.commit"}:
                yield frame("input_audio_buffer.committed", item_id="item_7")
                yield from self._reply("Heard.")
            case _:
                pass

    def _reply(self, text: str, *, is_over: bool = True) -> Iterable[str]:
        self._number += 1
        id = f"r{self._number}"
        yield begun(id)
        yield said(text, id)
        if is_over:
            usage = {"input_tokens": 100_000, "output_tokens": 10_000, "total_tokens": 110_000}
            response = {"id": id, "status": "completed", "usage": usage}
            yield frame("response.done", response=response)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    config = tmp_path / "config.toml"
    config.write_text("[prices.m]\ninput = 4\noutput = 24\n")
    program.environ["RTCHAT_CONFIG"] = str(config)
    with background(lambda: sockets(DeveloperServer().talk)) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


@pytest.fixture
def terminal(program: Program) -> Terminal:
    terminal = Terminal(program, ["-m", "m", "--max-cost", "1.5"], {})
    terminal.shows("connected in", PROMPT)
    return terminal


def test_a_conversation_without_a_question_is_saved(terminal: Terminal, program: Program) -> None:
    terminal.types('/raw {"type": "response.create"}\r')
    terminal.shows("Asked.", "first token", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0
    listed = program.run("history", "list").text.split("\t")
    assert listed[2:] == ["1", "m", "(no question)", "\n"]
    assert program.run("history", "show").text == "Asked.\n"
    assert program.run("once", "--continue", "more").text == "Asked.\n"


def test_responses_to_raw_events_are_shown_cancelled_and_billed(terminal: Terminal) -> None:
    terminal.types('/raw {"type": "session.update", "session": {"speed": 2}}\r')
    terminal.shows("the server refused session.update: No speed.")
    terminal.types('/raw {"type": "response.create"}\r')
    terminal.shows("Asked.", "$0.6400", PROMPT)
    terminal.types(
        '/raw {"type": "response.create", "response": {"metadata": {"topic": "slow"}}}\r'
    )
    terminal.shows("Slow")
    terminal.types("\x03")
    terminal.shows("interrupted", PROMPT)
    terminal.types('/raw {"type": "response.create", "response": {"conversation": "none"}}\r')
    terminal.shows("Beside.", "$0.6400", PROMPT)
    terminal.types('/raw {"type": "input_audio_buffer.commit"}\r')
    terminal.shows("done: input_audio_buffer.commit item_7", "Heard.", "$0.6400", PROMPT)
    terminal.types('/raw {"type": "response.create"}\r')
    terminal.shows("this run has cost $1.9200, and the limit is $1.5", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0
