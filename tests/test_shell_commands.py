"""/status, /export, /save, /trace, /events, /voice, /reasoning and /theme in a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from rtchat.core import events as ev
from rtchat.core import notices
from rtchat.core.conversation import Conversation
from rtchat.core.effects import (
    Action,
    ConversationStatus,
    Copy,
    Effect,
    Export,
    MicrophoneStatus,
    Notice,
    RecordTrace,
    Report,
    ReportStatus,
    SaveReply,
    Show,
    ShowEvents,
    StartRecord,
    ThemeChosen,
    WholeConversation,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    ConnectionLost,
    ConnectionOpened,
    ConversationLoaded,
    CopyAsked,
    Delta,
    EditAsked,
    EventsAsked,
    ExportAsked,
    ForkAsked,
    HistoryAsked,
    MicrophoneLost,
    MicrophoneToggled,
    NewConversationAsked,
    OptionSet,
    OutputDone,
    ReasoningAsked,
    ReplyEnded,
    ReplyStarted,
    Retry,
    RetryAsked,
    SaveAsked,
    SessionCreated,
    SessionUpdated,
    Started,
    StatusAsked,
    ThemeAsked,
    TraceAsked,
    UndoAsked,
    UserSaid,
    VoiceAsked,
)
from rtchat.core.mode import Mode
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.values import (
    Channel,
    Dialect,
    Entry,
    Message,
    Options,
    OtherItem,
    Part,
    Role,
    SessionInfo,
    State,
    Status,
    StoredConversation,
    ToolCall,
)
from tests.playbook import Playbook

URL = "ws://127.0.0.1/v1/realtime"
READY = (
    Started(),
    ConnectionOpened(URL),
    SessionCreated("s1", "m-2026", Dialect.GA),
    SessionUpdated("s1", "m-2026"),
)
NO_VOICE, TALKS = SpeechOptions(), SpeechOptions(has_microphone=True, speaks=True)
SERVER_VAD = SpeechOptions(has_microphone=True, push_to_talk=False, speaks=True)


def begun(
    *events: ev.Event,
    speech: SpeechOptions = NO_VOICE,
    stored: StoredConversation | None = None,
    options: Options = Options(modality="text"),  # noqa: B008 - a frozen value
) -> Playbook:
    """A conversation with a session, after these events."""
    policy = ToolPolicy(["weather"], can_ask=True)
    play = Playbook(Conversation("m", options, speech=speech, stored=stored, tool_policy=policy))
    return play.skip(*READY, *events)


def reply(text: str, number: int = 1, *items: OtherItem) -> tuple[ev.Event, ...]:
    """The events of a reply."""
    id = f"r{number}"
    return (
        ReplyStarted(id),
        Delta(Channel.TEXT, text, id, f"i{number}"),
        ReplyEnded(id, Status.COMPLETED, items=items),
    )


def exported(play: Playbook) -> StoredConversation:
    """What /export writes."""
    (effect,) = play.handle(ExportAsked("f", force=True))
    assert isinstance(effect, Export)
    assert (effect.file, effect.force) == ("f", True)
    return effect.conversation


def texts(conversation: StoredConversation) -> list[tuple[int, State, str]]:
    """The turn, the state and the text of each message."""
    return [
        (entry.turn, entry.state, entry.item.text)
        for entry in conversation.entries
        if isinstance(entry.item, Message)
    ]


# ----------------------------------------------------------------------------------------- /status


def status(play: Playbook) -> ConversationStatus:
    (effect,) = play.handle(StatusAsked())
    assert isinstance(effect, ReportStatus)
    return effect.status


def test_the_status_names_the_session_and_what_is_set() -> None:
    play = begun(options=Options("Be brief.", "text"))
    play.skip(OptionSet("session", "audio.output.voice", {"audio": {"output": {"voice": "marin"}}}))
    play.skip(UserSaid("hi"), *reply("Hello."))
    assert status(play.at(70.0)) == ConversationStatus(
        "m",
        SessionInfo("s1", "m-2026", URL),
        "ready",
        70.0,
        Dialect.GA,
        1,
        "Be brief.",
        'audio.output.voice="marin"',
        ("weather",),
    )


def test_the_status_says_since_when_the_connection_is_in_its_state() -> None:
    play = Playbook(Conversation("m", Options()))
    assert (status(play).connection, status(play.at(3.0)).seconds) == ("down", 3.0)
    play.at(10.0).skip(Started())
    assert (status(play.at(12.0)).connection, status(play).seconds) == ("connecting", 2.0)
    play.at(20.0).skip(*READY[1:])
    assert (status(play.at(25.0)).connection, status(play).seconds) == ("ready", 5.0)
    problem = Problem(ExitCode.LINK, "connection lost")
    play.at(30.0).skip(ConnectionLost(problem, Retry.ALWAYS))
    assert (status(play.at(30.5)).connection, status(play).seconds) == ("retrying", 0.5)
    assert status(play).dialect is Dialect.GA


def test_a_new_connection_has_no_dialect_until_the_server_reports_it() -> None:
    play = begun(NewConversationAsked())
    assert status(play).dialect is None
    assert status(play.skip(*READY[1:])).dialect is Dialect.GA


def test_the_status_includes_the_microphone() -> None:
    assert status(begun()).microphone is None
    spoken = status(begun(ev.MicrophoneOpened(), speech=SERVER_VAD))
    assert (spoken.microphone, spoken.speaks) == (MicrophoneStatus(True, False), True)


# ----------------------------------------------------------------------------------------- /export


def test_nothing_can_be_exported_before_the_first_question() -> None:
    begun() >> ExportAsked() << notices.NOTHING_TO_EXPORT


def test_the_whole_conversation_is_exported_with_its_states() -> None:
    play = begun(options=Options("Be brief.", "text")).skip(UserSaid("one"), *reply("First."))
    play.skip(UserSaid("two"), ReplyStarted("r2"), Delta(Channel.TEXT, "Sec", "r2", "i2"))
    found = exported(play)
    assert (found.id, found.title, found.model, found.turns) == (0, "", "m", 2)
    assert texts(found) == [
        (0, State.COMPLETED, "Be brief."),
        (1, State.COMPLETED, "one"),
        (1, State.COMPLETED, "First."),
        (2, State.ASKED, "two"),
    ]
    play.skip(ReplyEnded("r2", Status.CANCELLED))
    assert texts(exported(play))[-2:] == [
        (2, State.CANCELLED, "two"),
        (2, State.CANCELLED, "Sec"),
    ]


def test_a_new_conversation_is_exported_alone() -> None:
    play = begun(UserSaid("one"), *reply("First."))
    effects = play.at(50.0).handle(NewConversationAsked())
    assert StartRecord() in effects
    play >> ExportAsked() << notices.NOTHING_TO_EXPORT
    play.skip(*READY[1:], UserSaid("two"))
    (effect,) = play.at(80.0).handle(ExportAsked())
    assert isinstance(effect, Export)
    assert texts(effect.conversation) == [(1, State.ASKED, "two")]
    assert effect.age == 30.0


STORED = StoredConversation(
    7,
    "Rivers",
    100.0,
    200.0,
    "old",
    1,
    (
        Entry(1, 0, Message("user", (Part("text", "Nile?"),)), State.COMPLETED, "old"),
        Entry(1, 1, Message("assistant", (Part("text", "Long."),)), State.COMPLETED, "old"),
    ),
)


@pytest.mark.parametrize(
    "play",
    [begun(stored=STORED), begun(ConversationLoaded(STORED), *READY[1:])],
    ids=["at the start", "later"],
)
def test_a_resumed_conversation_is_exported_with_what_was_said_before(play: Playbook) -> None:
    assert exported(play) == STORED
    found = exported(play.skip(UserSaid("Amazon?")))
    assert (found.id, found.title, found.began, found.model, found.turns) == (
        7,
        "Rivers",
        100.0,
        "m",
        2,
    )
    assert [text for *_, text in texts(found)] == ["Nile?", "Long.", "Amazon?"]


_SAVED: tuple[tuple[int, int, Role, str], ...] = (
    *((1, 0, "user", "one"), (1, 1, "assistant", "First.")),
    *((2, 0, "user", "two"), (2, 1, "assistant", "Second.")),
)
_TWO_TURNS = (UserSaid("one"), *reply("First.", 1), UserSaid("two"), *reply("Second.", 2))


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ((UndoAsked(),), ["one", "First."]),
        ((ForkAsked(1),), ["one", "First."]),
        ((UndoAsked(2), *READY[1:], UserSaid("three"), *reply("Third.", 3)), ["three", "Third."]),
        ((RetryAsked(), *READY[1:], *reply("Deux.", 3)), ["one", "First.", "two", "Deux."]),
        (
            (EditAsked(1), UserSaid("eins"), *READY[1:], *reply("Erste.", 3)),
            ["eins", "Erste."],
        ),
        ((EditAsked(1),), ["one", "First.", "two", "Second."]),
    ],
    ids=["undo", "fork", "undo and ask", "retry", "edit", "edit without a question"],
)
def test_the_current_branch_is_exported_and_shown(
    changes: Sequence[ev.Event], kept: list[str]
) -> None:
    play = begun(*_TWO_TURNS).skip(*changes)
    assert [text for _, _, text in texts(exported(play))] == kept
    assert Show(WholeConversation(exported(play))) in play.handle(HistoryAsked())


def test_nothing_is_exported_once_all_turns_are_undone() -> None:
    play = begun(*_TWO_TURNS).skip(UndoAsked(2))
    assert play.handle(ExportAsked()) == [notices.NOTHING_TO_EXPORT]
    assert play.handle(HistoryAsked()) == [notices.NOTHING_TO_SHOW]


def test_a_fork_is_exported_as_a_conversation_of_its_own() -> None:
    entries = [
        Entry(turn, index, Message(role, (Part("text", text),)), State.COMPLETED)
        for turn, index, role, text in _SAVED
    ]
    stored = StoredConversation(7, "one", 1.0, 2.0, "m", 2, tuple(entries), newest=2, head=2)
    play = begun(stored=replace(stored, name="mine")).skip(ForkAsked(1))
    forked = exported(play)
    assert (forked.id, forked.name, forked.turns, forked.head) == (0, "", 1, 1)


def test_audio_is_not_exported() -> None:
    """It would take much memory to keep it."""
    spoken = Message("user", (Part("text", "Look:"), Part("audio", "Hm.", "AAAA")))
    saved = replace(STORED, entries=(replace(STORED.entries[0], item=spoken), *STORED.entries[1:]))
    (entry, _) = exported(begun(stored=saved)).entries
    silent = (Part("text", "Look:"), Part("audio", "Hm."))
    assert entry == replace(STORED.entries[0], item=replace(spoken, parts=silent))


# ------------------------------------------------------------------------------------------- /save


def test_the_last_reply_is_saved() -> None:
    play = begun()
    play >> SaveAsked() << notices.NOTHING_TO_SAVE
    play.skip(UserSaid("hi"), *reply("Yes."))
    play >> SaveAsked("f", 2, force=True) << SaveReply("Yes.", 2, "hi", "f", True)


def test_a_code_block_of_the_reply_that_streams_is_saved() -> None:
    play = begun()
    play.skip(UserSaid("hi"), *reply("Yes."), UserSaid("more"), ReplyStarted("r2"))
    play.skip(Delta(Channel.TEXT, "Look:", "r2", "i2"))
    play >> SaveAsked() << SaveReply("Yes.", 0, "hi", "", False)
    play >> SaveAsked("", 1) << SaveReply("Yes.", 1, "more", "", False, "Look:")


def test_a_reply_without_a_question_has_no_title() -> None:
    play = begun(stored=StoredConversation(1, "", 0.0, 0.0, "m", 0, STORED.entries[1:]))
    play >> SaveAsked() << SaveReply("Long.", 0, "", "", False)


# -------------------------------------------------------------- what the shell and the view decide


@pytest.mark.parametrize(
    ("command", "effect"),
    [
        (TraceAsked("start", "t"), RecordTrace("start", "t")),
        (TraceAsked("stop"), RecordTrace("stop", "")),
        (TraceAsked("show"), RecordTrace("show", "")),
        (ThemeAsked(), Show(ThemeChosen(None))),
        (ThemeAsked("mono"), Show(ThemeChosen("mono"))),
    ],
)
def test_some_commands_are_passed_on(command: ev.LocalEvent, effect: Action | Effect) -> None:
    begun() >> command << effect


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ([None], [True]),
        ([None, None, None], [True, False, True]),
        ([True, True], [True, True]),
        ([False, None], [False, True]),
    ],
)
def test_events_are_turned_on_and_off(asked: Iterable[bool | None], shown: list[bool]) -> None:
    play = begun()
    for each, is_shown in zip(asked, shown, strict=True):
        notice = notices.EVENTS_SHOWN if is_shown else notices.EVENTS_HIDDEN
        play >> EventsAsked(each) << [ShowEvents(is_shown), notice]


# ------------------------------------------------------------------------------------------ /voice


def voice(play: Playbook) -> str:
    """The answer to /voice."""
    (effect,) = play.handle(VoiceAsked())
    assert isinstance(effect, Show)
    assert isinstance(effect.update, Report)
    return effect.update.text


def test_voice_says_how_to_speak_without_a_microphone() -> None:
    silent = voice(begun())
    assert "rtchat talk --voice" in silent
    assert "replies are spoken" not in silent
    assert "replies are spoken" in voice(begun(speech=SpeechOptions(speaks=True)))


@pytest.mark.parametrize(("speech", "key"), [(TALKS, "Ctrl-T"), (SERVER_VAD, "/mute")])
def test_voice_says_what_is_on(speech: SpeechOptions, key: str) -> None:
    assert key in voice(begun(speech=speech))
    assert "replies are spoken" in voice(begun(speech=speech))
    assert "replies are text" in voice(begun(speech=replace(speech, speaks=False)))


def test_voice_turns_a_muted_microphone_on() -> None:
    play = begun(ev.MicrophoneOpened(), MicrophoneToggled(), speech=SERVER_VAD)
    play >> VoiceAsked() << Show(MicrophoneStatus(True, push_to_talk=False))


def test_voice_opens_a_lost_microphone_again() -> None:
    gone = MicrophoneLost(Problem(ExitCode.USAGE, "it is gone"))
    opening = MicrophoneStatus(is_on=False, push_to_talk=False, is_opening=True)
    begun(gone, speech=SERVER_VAD) >> VoiceAsked() << Show(opening)


# -------------------------------------------------------------------------------------- /reasoning

THOUGHT = OtherItem("reasoning", "i0", reasoning="The user greets me.")


def reasoning(play: Playbook) -> tuple[str, str]:
    """The two parts of the answer to /reasoning."""
    (effect,) = play.handle(ReasoningAsked())
    assert isinstance(effect, Show)
    assert isinstance(effect.update, Report)
    effort, _, summary = effect.update.text.partition("\n")
    return effort, summary


def test_the_effort_is_that_of_the_option() -> None:
    play = begun()
    assert "default" in reasoning(play)[0]
    play.skip(OptionSet("session", "reasoning.effort", {"reasoning": {"effort": "low"}}))
    assert reasoning(play) == ("reasoning effort: low", notices.NO_REASONING)


def test_the_summary_is_that_of_the_last_reply() -> None:
    more = OtherItem("reasoning", "i9", reasoning="I greet back.")
    play = begun(UserSaid("hi"), ReplyStarted("r1"), OutputDone("r1", 0, THOUGHT))
    play.skip(*reply("Hello.", 1, THOUGHT, more)[1:])
    assert reasoning(play)[1] == "The user greets me.\n\nI greet back."
    play.skip(UserSaid("and?"), *reply("Yes.", 2, OtherItem("odd")))
    earlier, _, summary = reasoning(play)[1].partition("\n")
    assert earlier == notices.EARLIER_REASONING
    assert summary == "The user greets me.\n\nI greet back."
    play.skip(UserSaid("why?"), *reply("So.", 3, more))
    assert reasoning(play)[1] == "I greet back."
    play.skip(NewConversationAsked())
    assert reasoning(play)[1] == notices.NO_REASONING


def test_the_summaries_of_all_replies_of_a_turn_are_shown() -> None:
    play = begun(UserSaid("hi"), ReplyStarted("r1"))
    play.skip(
        ReplyEnded("r1", Status.COMPLETED, items=(THOUGHT, ToolCall("nothing", "c1", "{}", "i1")))
    )
    play.skip(*reply("Done.", 2, OtherItem("reasoning", "i5", reasoning="It worked.")))
    assert reasoning(play)[1] == "The user greets me.\n\nIt worked."


def test_a_summary_of_reasoning_is_announced_once_in_a_conversation() -> None:
    play = begun(UserSaid("hi"), ReplyStarted("r1"))
    assert notices.REASONED in play.handle(OutputDone("r1", 0, THOUGHT))
    ended = ReplyEnded("r1", Status.COMPLETED, items=(THOUGHT,))
    assert notices.REASONED not in play.handle(ended)
    assert notices.REASONED not in play.handle(OutputDone("r1", 0, THOUGHT))
    once = Conversation("m", Options(modality="text"), mode=Mode.ONCE)
    quiet = Playbook(once).skip(*READY, UserSaid("hi"), ReplyStarted("r1"))
    assert notices.REASONED not in quiet.handle(OutputDone("r1", 0, THOUGHT))


def test_what_the_model_thought_is_shown_in_full() -> None:
    play = begun(UserSaid("hi"), *reply("<think>\none\n\ntwo\n</think>\n\nHello."))
    assert reasoning(play)[1] == "one\n\ntwo"
    play.skip(UserSaid("and?"), *reply("<think>three</think>Yes.", 2, THOUGHT))
    assert reasoning(play)[1] == "The user greets me.\n\nthree"
    play.skip(UndoAsked())
    assert reasoning(play)[1] == "one\n\ntwo"
    play.skip(NewConversationAsked())
    assert reasoning(play)[1] == notices.NO_REASONING


def test_a_resumed_conversation_has_its_thoughts() -> None:
    roles: tuple[Role, ...] = "user", "assistant"
    entries = tuple(
        Entry(turn, index, Message(roles[index], (Part("text", text),)), State.COMPLETED, "m")
        for turn, reply in enumerate(("<think>a</think>One.", "Two."), 1)
        for index, text in enumerate(("?", reply))
    )
    stored = StoredConversation(1, "t", 0.0, 0.0, "m", 2, entries)
    play = begun(stored=stored)
    assert reasoning(play)[1] == f"{notices.EARLIER_REASONING}\na"


def test_copies_and_files_have_no_thoughts() -> None:
    code = "```\nx\n```\n"
    play = begun(UserSaid("hi"), *reply(f"<think>\n{code}</think>\n\n{code}"))
    assert play.handle(CopyAsked(1)) == [Show(Copy(code, 1))]
    (saved,) = play.handle(SaveAsked(block=1))
    assert isinstance(saved, SaveReply)
    assert saved.text == code
    play.skip(UserSaid("and?"), *reply("<think>only a thought", 2))
    assert play.handle(CopyAsked()) == [Show(Copy("<think>only a thought"))]


def test_a_notice_is_not_an_answer() -> None:
    """An answer is shown even with --quiet."""
    (effect,) = begun().handle(ReasoningAsked())
    assert isinstance(effect, Show)
    assert not isinstance(effect.update, Notice)
