"""Long conversations: what a new session receives, what that costs, and /compact."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices
from rtchat.core.context import UNKNOWN_MODEL, ContextLimits
from rtchat.core.conversation import Conversation
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.log import SUMMARY_INDEX
from rtchat.core.mode import Mode
from rtchat.core.models import MODELS, Rate
from rtchat.core.pricing import Budget
from rtchat.core.replay import replay_of, summary_index
from rtchat.core.tokens import item_tokens, options_tokens, text_tokens
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    Channel,
    Entry,
    Item,
    Message,
    Options,
    OtherItem,
    Part,
    RemoteCall,
    Role,
    State,
    Status,
    StoredConversation,
    ToolCall,
    ToolOutput,
    Usage,
)
from rtchat.history.store import FILE, Store
from rtchat.history.transcript import transcript_entries
from rtchat.server.script import EchoEngine, Rule, Script, ScriptEngine
from rtchat.server.sockets import run_server
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal

GONE = Problem(ExitCode.LINK, "connection lost")
TEXT = Options(modality="text")


def message(role: Role, text: str) -> Message:
    return Message(role, (Part("text", text),))


def turn(number: int, size: int = 400) -> tuple[Item, Item]:
    """A question and a reply, each of `size` bytes."""
    question = f"question {number} ".ljust(size, "x")
    return message("user", question), message("assistant", f"reply {number} ".ljust(size, "x"))


def conversation_of(turns: Iterable[Sequence[Item]], *, model: str = "m") -> StoredConversation:
    """A saved conversation with these turns."""
    entries = [
        Entry(number, index, item, State.COMPLETED, model)
        for number, items in enumerate(turns, 1)
        for index, item in enumerate(items)
    ]
    return StoredConversation(1, "t", 0.0, 0.0, model, len(entries), tuple(entries))


TURN_TOKENS = sum(map(item_tokens, turn(1)))


class Driver:
    """A conversation whose effects are kept, with a server that accepts everything."""

    def __init__(
        self,
        turns: int = 0,
        *,
        model: str = "m",
        stored: StoredConversation | None = None,
        limits: ContextLimits = ContextLimits(),  # noqa: B008 - a frozen value
        budget: Budget = Budget(),  # noqa: B008 - a frozen value
        options: Options = TEXT,
        tools: Sequence[str] = (),
        size: int = 400,
        mode: Mode = Mode.CHAT,
    ) -> None:
        stored = stored or conversation_of(turn(number + 1, size) for number in range(turns))
        self.conversation = Conversation(
            model,
            options,
            mode=mode,
            stored=stored,
            budget=budget,
            context=limits,
            tool_policy=ToolPolicy(tools, tools),
        )
        self.effects: list[fx.Effect] = []
        self.replies = 0
        self.post(ev.Started())

    def post(self, *events: ev.Event) -> None:
        for event in events:
            self.effects += self.conversation.handle(event)

    def connect(self) -> Driver:
        """A session is made; forget the effects before."""
        self.effects.clear()
        self.post(ev.ConnectionOpened(), ev.SessionCreated("s", "m"), ev.SessionUpdated("s", "m"))
        return self

    def reply(
        self,
        text: str,
        status: Status = Status.COMPLETED,
        *,
        usage: Usage | None = None,
        items: tuple[Item, ...] = (),
    ) -> None:
        """The server replies."""
        self.replies += 1
        name = f"r{self.replies}"
        request = [
            effect.event_id
            for effect in self.effects
            if isinstance(effect, fx.Send) and isinstance(effect.command, fx.CreateResponse)
        ][-1]
        self.post(ev.ReplyStarted(name, mark=request))
        if text:
            self.post(ev.Delta(Channel.TEXT, text, name, f"i{name}"))
        self.post(ev.ReplyEnded(name, status, usage=usage, items=items))

    def compact(
        self, text: str, status: Status = Status.COMPLETED, *, instructions: str = ""
    ) -> None:
        """/compact, and the model's summary."""
        self.post(ev.CompactAsked(instructions))
        self.reply(text, status, usage=Usage(900, 0, 50, 950))

    @property
    def sent(self) -> list[Item]:
        """The items that were sent."""
        commands = (effect.command for effect in self.effects if isinstance(effect, fx.Send))
        return [command.item for command in commands if isinstance(command, fx.AddItem)]

    @property
    def shown(self) -> list[fx.Update]:
        return [effect.update for effect in self.effects if isinstance(effect, fx.Show)]

    @property
    def notices(self) -> list[str]:
        return [update.text for update in self.shown if isinstance(update, fx.Notice)]

    @property
    def replayed(self) -> list[int]:
        """How many turns each session received."""
        return [update.replayed for update in self.shown if isinstance(update, fx.Ready)]

    @property
    def records(self) -> list[Entry]:
        return [effect.entry for effect in self.effects if isinstance(effect, fx.Record)]

    @property
    def connects(self) -> int:
        return sum(isinstance(effect, fx.Connect) for effect in self.effects)


# ------------------------------------------------------------------------------------- the estimate


def test_text_is_estimated_by_its_bytes_in_any_language() -> None:
    assert text_tokens("") == 0
    assert text_tokens("a word or two") == 4
    assert text_tokens("\u4f60\u597d\u4e16\u754c") == 3
    assert text_tokens("\ud800") == 1


@pytest.mark.parametrize(
    ("item", "tokens"),
    [
        (message("user", "x" * 40), 10),
        (Message("user", (Part("image", data="data:image/png;base64," + "A" * 99_999),)), 800),
        (Message("user", (Part("image", data="x", detail="low"),)), 85),
        (Message("user", (Part("audio", data="A" * 64_000),)), 10),
        (ToolCall("four", "c", "x" * 40), 11),
        (Approval("a", "four", "x" * 40), 11),
        (ToolOutput("c", "x" * 40), 10),
        (RemoteCall("s", "four", "x" * 40, "x" * 8), 13),
        (ApprovalAnswer("a", approve=False, reason="none"), 1),
        (OtherItem("odd", fields={"type": "odd"}), 4),
    ],
)
def test_every_item_has_an_estimate_for_what_it_contains(item: Item, tokens: int) -> None:
    assert item_tokens(item) == tokens + 4


def test_the_instructions_and_the_tools_of_a_session_count() -> None:
    tools = [{"type": "function", "name": "f", "description": "x" * 400}]
    assert options_tokens(Options()) == 0
    assert options_tokens(Options("x" * 40)) == 10
    assert options_tokens(Options("x" * 40, other={"tools": tools})) > 110


# ------------------------------------------------------------------------- what a session receives


def items_of(*turns: Sequence[Item]) -> list[Item]:
    return [item for each in turns for item in each]


def test_whole_turns_are_chosen_the_newest_first() -> None:
    turns = [turn(number) for number in range(10)]
    replay = replay_of(items_of(*turns), 3 * TURN_TOKENS + 50)
    assert list(replay.items) == items_of(*turns[-3:])
    assert (replay.turns, replay.left_out, replay.tokens) == (3, 7, 3 * TURN_TOKENS)


def test_everything_is_chosen_if_it_fits_exactly() -> None:
    turns = [turn(number) for number in range(10)]
    replay = replay_of(items_of(*turns), 10 * TURN_TOKENS)
    assert (replay.turns, replay.left_out) == (10, 0)
    assert replay_of([], 10).items == ()


def test_the_last_turn_is_chosen_even_if_it_is_too_long() -> None:
    replay = replay_of(items_of(turn(1), turn(2)), 1)
    assert (replay.turns, replay.left_out) == (1, 1)


def test_thoughts_of_earlier_replies_are_left_out() -> None:
    asked, thought = message("user", "<think>?</think>"), "<think>\nwhy\n</think>\n\n"
    replay = replay_of([asked, message("assistant", f"{thought}Because."), asked], 1_000)
    assert list(replay.items) == [asked, message("assistant", "Because."), asked]
    only = [asked, message("assistant", thought)]
    assert list(replay_of(only, 1_000).items) == only
    stored = conversation_of([(asked, message("assistant", f"{thought}Because."))])
    assert Driver(stored=stored).connect().sent == [asked, message("assistant", "Because.")]


def test_calls_and_their_outputs_stay_with_their_turn() -> None:
    question, reply = turn(2)
    calls = (ToolCall("f", "c", "{}"), ToolOutput("c", "x" * 4000))
    items = items_of(turn(1), (question, *calls, reply), turn(3))
    assert list(replay_of(items, 1000).items) == items_of(turn(3))
    assert list(replay_of(items, 1500).items) == items_of((question, *calls, reply), turn(3))


def test_a_turn_without_a_question_belongs_to_the_one_before_it() -> None:
    raw = message("assistant", "By /raw.")
    assert replay_of([raw, *turn(1)], 10_000).turns == 1
    assert replay_of([raw, *turn(1)], TURN_TOKENS).left_out == 0
    assert summary_index([raw, *turn(1)]) is None
    assert summary_index([*turn(1), raw, *turn(2)]) == 3


def test_the_latest_summary_stands_for_everything_before_it() -> None:
    first, second = message("system", "s" * 40), message("system", "z" * 40)
    items = items_of(turn(1), (first,), turn(2), (second,), turn(3), turn(4))
    everything = replay_of(items, 10_000)
    assert everything.turns == 2
    assert everything.has_summary
    summary, *rest = everything.items
    assert isinstance(summary, Message)
    assert summary.role == "system"
    assert summary.text.endswith("z" * 40)
    assert rest == items_of(turn(3), turn(4))
    little = replay_of(items, TURN_TOKENS)
    assert (little.items[0], little.turns, little.left_out) == (summary, 1, 1)


def test_a_summary_leaves_the_last_turns_unless_they_are_most_of_the_conversation() -> None:
    assert summary_index([]) is None
    assert summary_index([*turn(1)]) is None
    assert summary_index(items_of(turn(1), turn(2))) == 2
    assert summary_index(items_of(*map(turn, range(5)))) == 2 * 3
    assert summary_index(items_of(*map(turn, range(20)))) == 2 * 16
    assert summary_index(items_of(turn(1), turn(2), turn(3, 90_000), turn(4))) == 2 * 3


# ---------------------------------------------------------------------------------- the new session


def test_each_known_model_leaves_room_for_the_reply() -> None:
    for name, model in MODELS.items():
        assert model.max_input_tokens + model.max_output_tokens <= model.context_window * 1.02, name
        assert model.max_input_tokens in (28_224, 96_000)


@pytest.mark.parametrize(
    ("model", "limit", "expected"),
    [
        ("gpt-realtime", None, 28_224),
        ("gpt-realtime-2025-08-28", None, 28_224),
        ("gpt-realtime-2.1", None, 96_000),
        ("my-model", None, UNKNOWN_MODEL),
        ("my-model", 5_000, 5_000),
        ("gpt-realtime", 5_000, 5_000),
        ("gpt-realtime", 50_000, 50_000),
    ],
)
def test_3000_turns_are_replayed_as_far_as_the_model_reads(
    model: str, limit: int | None, expected: int
) -> None:
    driver = Driver(3000, model=model, limits=ContextLimits(limit)).connect()
    tokens = sum(map(item_tokens, driver.sent))
    assert expected - TURN_TOKENS < tokens <= expected
    assert driver.replayed == [len(driver.sent) // 2]
    assert driver.sent[-2:] == [*turn(3000)]


def test_instructions_and_tools_use_up_a_part_of_it() -> None:
    limits = ContextLimits(1000)
    options = Options("x" * 2000, "text")
    assert Driver(10, limits=limits).connect().replayed == [4]
    driver = Driver(10, limits=limits, options=options).connect()
    assert driver.replayed == [2]


def test_that_turns_are_left_out_is_said_once_for_each_model() -> None:
    driver = Driver(10, limits=ContextLimits(1000)).connect()
    (said,) = driver.notices
    assert "6 of 10 turns" in said
    driver.post(ev.ConnectionLost(GONE, ev.Retry.ALWAYS), ev.TimerFired(ev.Timer.RETRY))
    assert driver.connect().notices == []
    driver.post(ev.ModelSet("m2"))
    assert driver.connect().notices == [said]
    driver.post(ev.ConversationLoaded(conversation_of(map(turn, range(20)))))
    (said,) = driver.connect().notices
    assert "16 of 20 turns" in said


def test_a_short_conversation_is_continued_without_a_word() -> None:
    assert Driver(10).connect().notices == []


def test_the_cost_of_a_long_conversation_is_shown_before_the_next_question() -> None:
    rates = Budget({"m": Rate(4.0, 0.4, 24.0)})
    limits = ContextLimits(warn_tokens=10 * TURN_TOKENS)
    assert Driver(9, limits=limits, budget=rates).connect().notices == []
    driver = Driver(10, limits=limits, budget=rates).connect()
    (said,) = driver.notices
    assert f"{10 * TURN_TOKENS:,} tokens" in said
    assert f"${10 * TURN_TOKENS * 4.0 / 1e6:.4f}" in said
    driver.post(ev.ConnectionLost(GONE, ev.Retry.ALWAYS), ev.TimerFired(ev.Timer.RETRY))
    assert driver.connect().notices == [said]
    assert "/compact" in said
    (unpriced,) = Driver(10, limits=limits, mode=Mode.LINES).connect().notices
    assert "$" not in unpriced
    assert "/compact" not in unpriced


# -------------------------------------------------------------------------------------- the context


def over_of(driver: Driver) -> fx.ReplyOver:
    return [update for update in driver.shown if isinstance(update, fx.ReplyOver)][-1]


@pytest.mark.parametrize(
    ("model", "limit", "window"),
    [("gpt-realtime", None, 32_000), ("m", None, None), ("m", 8_000, 8_000)],
)
def test_the_end_of_a_reply_says_how_full_the_context_is(
    model: str, limit: int | None, window: int | None
) -> None:
    driver = Driver(model=model, limits=ContextLimits(limit)).connect()
    driver.post(ev.UserSaid("hi"))
    driver.reply("Yes.", usage=Usage(100, 0, 20, 120))
    assert over_of(driver).context == fx.ContextUse(120, window)
    driver.post(ev.UserSaid("hi"))
    driver.reply("Yes.")
    assert over_of(driver).context is None


def test_a_new_session_has_an_estimate_until_its_first_reply() -> None:
    driver = Driver(10, model="gpt-realtime", options=Options("x" * 400, "text")).connect()
    (ready,) = (update for update in driver.shown if isinstance(update, fx.Ready))
    assert ready.context == fx.ContextUse(10 * TURN_TOKENS + 100, 32_000)
    (ready,) = (update for update in Driver().connect().shown if isinstance(update, fx.Ready))
    assert ready.context is None


def test_after_calls_the_context_is_that_of_the_last_reply() -> None:
    driver = Driver(tools=["f"]).connect()
    driver.post(ev.UserSaid("hi"))
    driver.reply("", usage=Usage(100, 0, 20, 120), items=(ToolCall("f", "c", "{}", "i1"),))
    driver.post(ev.ToolFinished("c", "7"))
    driver.reply("Seven.", usage=Usage(130, 0, 5, 135))
    over = over_of(driver)
    assert over.usage == Usage(230, 0, 25, 255)
    assert over.context == fx.ContextUse(135, None)


# ----------------------------------------------------------------------------------------- /compact


def test_a_summary_replaces_all_but_the_last_turns_in_a_new_session() -> None:
    driver = Driver(10).connect()
    driver.effects.clear()
    driver.compact("We counted to ten.")
    (request,) = driver.sent
    assert isinstance(request, Message)
    assert request.role == "user"
    assert driver.connects == 1
    (entry,) = driver.records
    assert (entry.turn, entry.index) == (6, SUMMARY_INDEX)
    assert entry.item == message("system", "We counted to ten.")
    assert entry.usage == Usage(900, 0, 50, 950)
    (said,) = driver.notices
    assert "6 turns" in said
    assert f"{10 * TURN_TOKENS:,}" in said
    driver.connect()
    summary, *rest = driver.sent
    assert isinstance(summary, Message)
    assert summary.role == "system"
    assert summary.text.endswith("We counted to ten.")
    assert rest == items_of(*map(turn, range(7, 11)))
    assert driver.replayed == [4]


def test_a_summary_has_no_thoughts() -> None:
    driver = Driver(10).connect()
    driver.compact("<think>\nLet me see.\n</think>\n\nWe counted to ten.")
    assert driver.records[-1].item == message("system", "We counted to ten.")
    driver = Driver(10).connect()
    driver.effects.clear()
    driver.compact("<think>\nLet me see.")
    assert driver.records == []
    assert notices.NOT_COMPACTED in driver.effects


def test_the_reply_to_the_request_is_shown_like_any_other() -> None:
    driver = Driver(10).connect()
    driver.compact("Short.")
    assert fx.QuestionAsked("/compact", "m") in driver.shown
    assert fx.TextArrived("Short.") in driver.shown
    assert over_of(driver).status is Status.COMPLETED


def test_the_user_may_say_what_to_keep() -> None:
    driver = Driver(10).connect()
    driver.compact("Short.", instructions="Keep the numbers.")
    (request,) = driver.sent[-1:]
    assert isinstance(request, Message)
    assert request.text.endswith("Keep the numbers.")


def test_the_request_asks_for_text_without_calls() -> None:
    driver = Driver(10, tools=["f"], options=Options(modality="audio")).connect()
    driver.post(ev.CompactAsked())
    (asked,) = (
        effect.command
        for effect in driver.effects
        if isinstance(effect, fx.Send) and isinstance(effect.command, fx.CreateResponse)
    )
    assert asked.options.modality == "text"
    assert asked.options.other["tool_choice"] == "none"
    driver.reply("", items=(ToolCall("f", "c", "{}", "i1"),))
    assert not any(isinstance(effect, fx.RunTool) for effect in driver.effects)
    assert driver.records == []
    assert notices.NOT_COMPACTED in driver.effects


def test_a_saved_summary_is_used_when_the_conversation_is_continued() -> None:
    driver = Driver(10).connect()
    driver.compact("We counted to ten.")
    (entry,) = driver.records
    received = driver.connect().sent
    stored = conversation_of(turn(number + 1) for number in range(10))
    entries = sorted((*stored.entries, entry), key=lambda each: (each.turn, each.index))
    again = StoredConversation(1, "t", 0.0, 0.0, "m", 10, tuple(entries))
    assert Driver(stored=again).connect().sent == received


def test_a_second_summary_replaces_the_first_and_the_turns_after_it() -> None:
    driver = Driver(10).connect()
    driver.compact("One.")
    driver.connect()
    for _ in range(2):
        driver.post(ev.UserSaid("x" * 400))
        driver.reply("y" * 400)
    driver.effects.clear()
    driver.compact("Two.")
    (entry,) = driver.records
    assert entry.turn == 9
    driver.connect()
    summary, *rest = driver.sent
    assert isinstance(summary, Message)
    assert summary.text.endswith("Two.")
    assert len(rest) == 2 * 3


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Half a", Status.INCOMPLETE),
        ("", Status.COMPLETED),
        ("Half a", Status.FAILED),
        (" \n", Status.COMPLETED),
        ("x" * 9_000, Status.COMPLETED),
    ],
    ids=["cut", "empty", "failed", "blank", "longer"],
)
def test_without_a_whole_and_shorter_summary_nothing_changes(text: str, status: Status) -> None:
    driver = Driver(10).connect()
    before = driver.sent
    driver.compact(text, status)
    assert driver.records == []
    assert any(each in driver.effects for each in (notices.NOT_COMPACTED, notices.SUMMARY_TOO_LONG))
    assert driver.connects == 1  # the session has the request
    assert driver.connect().sent == before


def test_a_stopped_summary_changes_nothing() -> None:
    driver = Driver(10).connect()
    before = driver.sent
    driver.post(ev.CompactAsked())
    request = [e for e in driver.effects if isinstance(e, fx.Send)][-1].event_id
    driver.post(ev.ReplyStarted("r1", mark=request), ev.Delta(Channel.TEXT, "Half", "r1", "i"))
    driver.post(ev.TimerFired(ev.Timer.SAVE))
    driver.post(ev.CancelPressed(), ev.ReplyEnded("r1", Status.CANCELLED, "client_cancelled"))
    assert driver.records == []
    assert driver.connects == 1
    assert driver.connect().sent == before


def test_a_request_is_repeated_on_a_new_connection() -> None:
    driver = Driver(10).connect()
    driver.post(ev.CompactAsked())
    request = driver.sent[-1]
    driver.post(ev.ConnectionLost(GONE, ev.Retry.ALWAYS), ev.TimerFired(ev.Timer.RETRY))
    driver.connect()
    assert driver.sent[-1] == request
    assert driver.sent[:-1] == items_of(*map(turn, range(1, 11)))
    driver.reply("Short.")
    assert [entry.index for entry in driver.records] == [SUMMARY_INDEX]


def test_a_request_that_cannot_be_sent_is_over() -> None:
    driver = Driver(10).connect()
    driver.post(ev.ConnectionLost(GONE, ev.Retry.NEVER), ev.CompactAsked())
    assert driver.connects == 1
    driver.post(ev.ConnectionLost(GONE, ev.Retry.NEVER))
    assert over_of(driver).status is Status.FAILED
    assert driver.records == []


def test_a_refused_request_changes_nothing() -> None:
    driver = Driver(10).connect()
    driver.post(ev.CompactAsked())
    added = next(
        effect.event_id
        for effect in reversed(driver.effects)
        if isinstance(effect, fx.Send) and isinstance(effect.command, fx.AddItem)
    )
    driver.post(ev.ServerProblem("No.", event_id=added))
    assert over_of(driver).status is Status.FAILED
    assert driver.records == []


def test_compact_needs_a_conversation_and_no_pending_reply() -> None:
    driver = Driver(1).connect()
    driver.post(ev.CompactAsked())
    assert notices.NOTHING_TO_COMPACT in driver.effects
    driver = Driver(10).connect()
    driver.post(ev.UserSaid("hi"), ev.CompactAsked())
    assert notices.CANNOT_COMPACT in driver.effects


def test_the_last_question_can_still_be_asked_again() -> None:
    driver = Driver(10).connect()
    driver.compact("Short.")
    driver.connect().post(ev.RetryAsked())
    driver.connect()
    assert [item.text[:11] for item in driver.sent if isinstance(item, Message)][1::2] == [
        *("question 7 ", "question 8 ", "question 9 ", "question 10"),
    ]


def test_a_summary_is_removed_with_the_turn_before_it() -> None:
    driver = Driver(10).connect()
    driver.compact("Short.")
    summary = "This is a summary of the conversation so far:\n\nShort."
    driver.connect().post(ev.UndoAsked(4))  # the summary is saved in turn 6
    driver.connect()
    assert [item.text for item in driver.sent if isinstance(item, Message)] == [summary]
    assert driver.replayed == [0]
    driver.post(ev.UndoAsked())
    driver.connect()
    assert driver.replayed == [5]
    assert driver.sent == [item for number in range(1, 6) for item in turn(number)]


def test_a_summary_is_saved_in_the_branch_of_its_turn() -> None:
    driver = Driver(3).connect()
    driver.post(ev.UndoAsked(2))
    driver.connect()
    for number in range(4, 10):
        driver.post(ev.UserSaid(f"question {number} {'x' * 400}"))
        driver.reply("Yes.")
    driver.compact("Short.")
    (summary,) = [entry for entry in driver.records if entry.index == SUMMARY_INDEX]
    same = {entry.parent for entry in driver.records if entry.turn == summary.turn}
    assert same == {summary.parent}
    assert summary.turn > 3


def test_a_question_that_the_server_refused_does_not_count() -> None:
    driver = Driver(10).connect()
    driver.post(ev.UserSaid("bad"))
    added = next(
        effect.event_id
        for effect in reversed(driver.effects)
        if isinstance(effect, fx.Send) and isinstance(effect.command, fx.AddItem)
    )
    driver.post(ev.ServerProblem("No.", event_id=added))
    driver.post(ev.ReplyStarted("r0"), ev.ReplyEnded("r0", Status.CANCELLED))
    driver.effects.clear()
    driver.compact("Short.")
    assert [entry.turn for entry in driver.records] == [6]


# ------------------------------------------------------------------------------------- the history


def test_a_summary_is_a_line_of_its_own_in_the_transcript() -> None:
    stored = conversation_of([turn(1), turn(2)])
    first = (
        Entry(1, 0, turn(1)[0], State.FAILED, "m", "no quota"),
        Entry(1, SUMMARY_INDEX, message("system", "Short."), State.COMPLETED, "m"),
    )
    entries = (*first, *(entry for entry in stored.entries if entry.turn == 2))
    lines = [*transcript_entries(StoredConversation(1, "t", 0.0, 0.0, "m", 2, entries))]
    assert [(line.kind, line.name, line.note) for line in lines[:2]] == [
        ("question", "", "failed: no quota"),
        ("instructions", "summary", ""),
    ]
    assert lines[1].text == "Short."


# -------------------------------------------------------------------------------------- the program


@pytest.fixture
def program(tmp_path: Path) -> Program:
    program = Program(tmp_path)
    program.environ |= {"XDG_DATA_HOME": str(tmp_path)}
    store = Store(tmp_path / "rtchat" / FILE)
    with closing(store):
        for entry in conversation_of(turn(number) for number in range(1, 31)).entries:
            store.record(entry)
    return program


def commands_of(trace: Path) -> list[str]:
    """The types of the events that were sent, as a trace has them."""
    lines = [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines()]
    return [line["data"]["type"] for line in lines if line.get("direction") == "sent"]


@pytest.mark.parametrize("command", ["once", "talk"])
def test_a_continued_conversation_is_cut_to_the_limit_and_its_cost_is_on_stderr(
    program: Program, command: str
) -> None:
    trace = program.home / "trace.jsonl"
    options = ("--continue", "--context", "1000", "--trace", str(trace), "-m", "m")
    with background(lambda: run_server(EchoEngine())) as url:
        ran = program.run(command, *options, "--url", url, stdin=b"And now?")
    assert (ran.code, ran.text) == (0, "And now?\n")
    assert commands_of(trace).count("conversation.item.create") == 4 * 2 + 1
    (said,) = (line for line in ran.err.splitlines() if "next reply" in line)
    assert "26 of 30 turns" in said


def test_a_quiet_run_says_nothing_about_the_context(program: Program) -> None:
    program.environ |= {"RTCHAT_CONTEXT": "1000"}
    with background(lambda: run_server(EchoEngine())) as url:
        ran = program.run("once", "hi", "-c", "-q", "--url", url, "-m", "m")
    assert (ran.code, ran.text, ran.err) == (0, "hi\n", "")


def test_a_summary_in_the_file_is_sent_instead_of_what_it_replaces(program: Program) -> None:
    path = program.home / "rtchat" / FILE
    with closing(Store(path)) as store:
        store.recall()
        summary = message("system", "We counted.")
        store.record(Entry(28, SUMMARY_INDEX, summary, State.COMPLETED, "m"))
    trace = program.home / "trace.jsonl"
    with background(lambda: run_server(EchoEngine())) as url:
        ran = program.run("once", "hi", "-c", "--trace", str(trace), "--url", url, "-m", "m")
    assert ran.code == 0
    assert commands_of(trace).count("conversation.item.create") == 1 + 2 * 2 + 1
    shown = program.run("history", "show", "1").text
    assert shown.count("question ") == 30
    assert "[summary] We counted." in shown


SCRIPT = Script(
    (
        Rule(
            match="Summarize our conversation", deltas=("We ", "talked."), usage=Usage(900, 0, 12)
        ),
        Rule(deltas=("A reply that is long enough. " * 20,), usage=Usage(90, 0, 30)),
    )
)


def test_compact_in_a_terminal(tmp_path: Path) -> None:
    program = Program(tmp_path)
    with background(lambda: run_server(ScriptEngine(SCRIPT))) as url:
        terminal = Terminal(program, ["--url", url, "-m", "m"], {})
        terminal.shows("/help", PROMPT)
        for number in range(1, 4):
            terminal.types(f"question {number}\r")
            terminal.shows(*["30 out"] * number, PROMPT)
        terminal.types("/compact\r")
        lines = terminal.shows(
            "We talked.", "12 out", "replaces 2 turns", "1 turn replayed", PROMPT
        )
        terminal.types("/exit\r")
        assert terminal.ends() == 0
    assert not any("Summarize" in line for line in lines)
    assert "[summary] We talked." in program.run("history", "show", "1").text
