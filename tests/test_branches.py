"""Changes of earlier turns: /retry, /edit, /undo and /fork, in the session and in what is saved."""

from __future__ import annotations

import random

import pytest

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.log import ConversationLog
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import (
    Channel,
    Entry,
    Message,
    Part,
    RemoteCall,
    Role,
    State,
    Status,
    StoredConversation,
)
from tests.branching import Deletes, Server
from tests.chunks import in_chunks

PICTURE = Part("image", data="data:image/png;base64,AA==")
NOTES = Part("text", "File: notes.txt\n```\nmine\n```\n\n")


def two_turns(**arguments: object) -> Server:
    server = Server(**arguments)  # type: ignore[arg-type] # checked at run time
    server.ask("one", "First.")
    server.ask("two", "Second.")
    return server


def drafts(updates: list[fx.Update]) -> list[str]:
    return [update.text for update in updates if isinstance(update, fx.Draft)]


def refused(server: Server, event: ev.Event, why: fx.Show) -> None:
    """The event is refused, and changes nothing."""
    before = list(server.context)
    assert server.post(event) == [why.update]
    assert server.context == before


FIRST = ["user: one", "assistant: First."]
SECOND = ["user: two", "assistant: Second."]


# -------------------------------------------------------------------------------------------- undo


def test_undo_deletes_the_last_turn_and_gives_its_question_back() -> None:
    server = two_turns()
    assert drafts(server.post(ev.UndoAsked())) == ["two"]
    assert server.context == FIRST
    assert server.connections == 1
    assert server.saved[-1] == fx.MoveTo(1)
    server.ask("three", "Third.")
    assert server.context == [*FIRST, "user: three", "assistant: Third."]
    asked = [(entry.turn, entry.parent) for entry in server.entries if entry.turn == 3]
    assert set(asked) == {(3, 1)}, "its parent is the turn before the removed one"


def test_undo_of_several_turns_gives_the_first_of_their_questions_back() -> None:
    server = two_turns()
    assert drafts(server.post(ev.UndoAsked(2))) == ["one"]
    assert server.context == []
    assert server.saved[-1] == fx.MoveTo(0)
    refused(server, ev.UndoAsked(), notices.NOTHING_TO_UNDO)


def test_more_turns_than_there_are_cannot_be_undone() -> None:
    refused(two_turns(), ev.UndoAsked(3), notices.too_few_turns(3, 2))


def test_undo_gives_attachments_back() -> None:
    server = Server()
    server.post(ev.Attached("notes.txt (4 bytes)", NOTES))
    server.post(ev.Attached("a.png (1 kB)", PICTURE))
    server.ask("what?", "A cat.")
    server.post(ev.UndoAsked())
    attached = fx.Notice("info", "1  notes.txt\n2  image")
    assert server.post(ev.AttachmentsAsked()) == [attached]
    server.ask("what is it?", "A dog.")
    (item, _) = server.context
    assert "[image]" in item
    assert "mine" in item


@pytest.mark.parametrize("deletes", ["refuses", "ignores"])
def test_a_server_that_does_not_delete_gets_a_new_session(deletes: Deletes) -> None:
    server = two_turns(deletes=deletes)
    server.post(ev.UndoAsked())
    server.post(ev.UserSaid("three"))
    if deletes == "ignores":
        assert len(server.requests) == 2, "a reply was requested with the removed turn"
        server.fire(ev.Timer.DELETE)
    server.answer("Third.")
    assert server.connections == 2
    assert server.context == [*FIRST, "user: three", "assistant: Third."]


def test_a_late_refusal_after_a_late_confirmation_changes_nothing() -> None:
    server = two_turns()
    server.post(ev.UndoAsked())
    server.post(ev.ItemDeleted("item_4"))
    server.post(ev.TimerFired(ev.Timer.DELETE))
    assert server.connections == 1


def test_items_without_ids_are_removed_by_a_new_session() -> None:
    server = two_turns(names=False)
    server.post(ev.UndoAsked())
    assert server.connections == 2
    assert server.context == FIRST


def test_a_reply_whose_id_is_not_reported_is_removed_by_a_new_session() -> None:
    server = two_turns()
    server.post(ev.UserSaid("three"))
    server.names = False
    server.answer("Third.")
    server.post(ev.UndoAsked())
    assert server.connections == 2
    assert server.context == [*FIRST, *SECOND]


def test_turns_with_calls_are_deleted_whole() -> None:
    server = two_turns()
    server.post(ev.UserSaid("three"))
    server.call("c1")
    server.answer("42.")
    assert server.context[-4:] == ["user: three", "call c1", "output c1", "assistant: 42."]
    server.post(ev.UndoAsked())
    assert server.context == [*FIRST, *SECOND]
    assert server.connections == 1


def test_calls_left_to_the_user_are_forgotten_with_their_turn() -> None:
    server = Server(tools=())
    server.post(ev.UserSaid("one"))
    server.call("c1")
    server.post(ev.UndoAsked())
    server.ask("two", "Second.")
    assert server.context == SECOND
    assert server.connections == 1


def test_an_interrupted_turn_is_removed() -> None:
    server = two_turns()
    server.post(ev.UserSaid("three"))
    server.say("Thi")
    server.post(ev.CancelPressed())
    assert drafts(server.post(ev.UndoAsked())) == ["three"]
    assert server.context == [*FIRST, *SECOND]


def test_a_turn_that_is_removed_before_the_server_ended_it_needs_a_new_session() -> None:
    server = two_turns()
    server.post(ev.UserSaid("three"))
    server.cancels = False
    server.post(ev.CancelPressed())
    server.post(ev.UndoAsked())
    server.end(Status.CANCELLED)
    assert server.connections == 2
    assert server.renewed_context() == [*FIRST, *SECOND]


def test_a_failed_turn_is_removed() -> None:
    server = two_turns()
    server.post(ev.UserSaid("three"))
    server.end(Status.FAILED)
    assert drafts(server.post(ev.UndoAsked())) == ["three"]
    assert server.context == [*FIRST, *SECOND]


def test_a_turn_of_raw_is_removed_and_gives_nothing_back() -> None:
    server = two_turns()
    server.begin_raw()
    server.answer("By the way.")
    assert server.context[-1] == "assistant: By the way."
    assert drafts(server.post(ev.UndoAsked())) == []
    assert server.context == [*FIRST, *SECOND]
    server.ask("three", "Third.")
    assert {entry.parent for entry in server.entries if entry.turn == 4} == {2}


def test_a_turn_of_raw_without_an_entry_is_the_parent_of_no_turn() -> None:
    server = two_turns()
    server.begin_raw()
    server.end(Status.FAILED)
    server.ask("three", "Third.")
    assert {entry.parent for entry in server.entries if entry.turn == 4} == {2}


def test_a_spoken_turn_gives_its_transcript_back() -> None:
    server = Server(speech=SpeechOptions(transcribes=True, has_microphone=True))
    server.post(ev.MicrophoneToggled())
    server.post(ev.AudioCaptured(bytes(9600)))
    server.post(ev.MicrophoneToggled())
    (item_id,) = server.items
    server.post(ev.ChannelDone(Channel.INPUT_TRANSCRIPT, "When?", item_id=item_id))
    server.answer("Noon.")
    assert drafts(server.post(ev.UndoAsked())) == ["When?"]
    assert server.context == []
    assert server.connections == 1


def test_files_sent_ahead_of_speech_are_kept_by_a_new_session() -> None:
    speech = SpeechOptions(has_microphone=True, push_to_talk=False)
    server = two_turns(speech=speech)
    server.post(ev.Attached("a.png (1 kB)", PICTURE))
    server.post(ev.SpeechStarted("u1", 0))
    assert server.context[-1] == "user: [image]"
    server.post(ev.UndoAsked())
    assert server.connections == 2


def test_a_new_session_after_undo_has_only_the_current_branch() -> None:
    server = two_turns()
    server.post(ev.UndoAsked())
    server.ask("three", "Third.")
    assert server.renewed_context() == [*FIRST, "user: three", "assistant: Third."]
    (ready,) = (update for update in server.updates[-3:] if isinstance(update, fx.Ready))
    assert ready.replayed == 2
    assert drafts(server.post(ev.UndoAsked(2))) == ["one"]
    assert server.context == []
    assert server.connections == 2, "the items of a replay have ids, too"


def test_copy_has_the_last_reply_of_the_branch() -> None:
    server = two_turns()
    server.post(ev.UndoAsked())
    assert server.post(ev.CopyAsked()) == [fx.Copy("First.")]


# -------------------------------------------------------------------------------------------- retry


def test_retry_replaces_the_last_turn() -> None:
    server = two_turns()
    server.post(ev.RetryAsked())
    assert server.context == [*FIRST, "user: two"]
    server.answer("Deux.")
    assert server.context == [*FIRST, "user: two", "assistant: Deux."]
    assert server.connections == 1
    again = [entry for entry in server.entries if entry.turn == 3]
    assert {entry.parent for entry in again} == {1}
    server.post(ev.RetryAsked())
    server.answer("Zwei.")
    assert {entry.parent for entry in server.entries if entry.turn == 4} == {1}


def test_retry_sends_attachments_again() -> None:
    server = Server()
    server.post(ev.Attached("a.png (1 kB)", PICTURE))
    server.ask("what?", "A cat.")
    server.post(ev.RetryAsked())
    assert server.context == ["user: [image]what?"]


def test_retry_with_another_model_uses_it_from_now_on() -> None:
    server = two_turns()
    shown = server.post(ev.RetryAsked(model="n"))
    assert fx.Connecting("n") in shown
    assert fx.QuestionAsked("two", "n") in shown
    assert server.context == [*FIRST, "user: two"]
    server.answer("Deux.")
    assert fx.QuestionAsked("three", "n") in server.post(ev.UserSaid("three"))


def test_retry_adds_instructions_to_those_of_the_session_for_this_reply() -> None:
    server = two_turns()
    server.post(ev.RetryAsked(instructions="In French."))
    assert server.requests[-1].options.instructions == "Be brief.\n\nIn French."
    server.answer("Deux.")
    server.post(ev.UserSaid("three"))
    assert server.requests[-1].options.instructions is None


def test_retry_of_a_question_without_a_reply_replaces_nothing() -> None:
    server = two_turns()
    server.post(ev.UserSaid("three"))
    server.end(Status.FAILED)
    server.post(ev.RetryAsked(instructions="In French."))
    assert server.requests[-1].options.instructions == "Be brief.\n\nIn French."
    server.answer("Trois.")
    assert server.context == [*FIRST, *SECOND, "user: three", "assistant: Trois."]
    assert max(entry.turn for entry in server.entries) == 3


def test_retry_after_raw_removes_the_reply_to_it_as_well() -> None:
    server = two_turns()
    server.begin_raw()
    server.answer("By the way.")
    server.post(ev.RetryAsked())
    assert server.context == [*FIRST, "user: two"]


# --------------------------------------------------------------------------------------------- edit


def test_edit_changes_nothing_until_the_question_is_sent() -> None:
    server = two_turns()
    assert drafts(server.post(ev.EditAsked())) == ["two"]
    assert server.context == [*FIRST, *SECOND]
    server.ask("deux", "Second, in French.")
    assert server.context == [*FIRST, "user: deux", "assistant: Second, in French."]
    assert {entry.parent for entry in server.entries if entry.turn == 3} == {1}
    server.ask("three", "Third.")
    assert len(server.context) == 6, "only one question replaces the turn"


def test_edit_of_an_earlier_question_replaces_the_turns_after_it() -> None:
    server = two_turns()
    assert drafts(server.post(ev.EditAsked(1))) == ["one"]
    server.ask("eins", "First, in German.")
    assert server.context == ["user: eins", "assistant: First, in German."]
    assert {entry.parent for entry in server.entries if entry.turn == 3} == {0}


@pytest.mark.parametrize(
    "entry", [ev.EntryAbandoned(), ev.DraftAbandoned(), ev.UserSaid(""), ev.UserSaid(" \n")]
)
def test_an_abandoned_edit_changes_nothing(entry: ev.Event) -> None:
    server = two_turns()
    server.post(ev.EditAsked(1))
    assert server.post(entry) == [notices.EDIT_CANCELLED.update]
    server.ask("three", "Third.")
    assert server.context == [*FIRST, *SECOND, "user: three", "assistant: Third."]


def test_edit_gives_attachments_back_once() -> None:
    server = Server()
    server.post(ev.Attached("a.png (1 kB)", PICTURE))
    server.ask("what?", "A cat.")
    server.post(ev.EditAsked())
    server.post(ev.EditAsked())
    server.ask("what is it?", "A dog.")
    assert server.context == ["user: [image]what is it?", "assistant: A dog."]


def test_an_abandoned_edit_detaches_only_the_files_of_its_question() -> None:
    server = Server()
    server.post(ev.Attached("a.png (1 kB)", PICTURE))
    server.ask("what?", "A cat.")
    server.post(ev.Attached("notes.txt", NOTES))
    server.post(ev.EditAsked())
    server.post(ev.DraftAbandoned())
    assert server.conversation.attached == ("notes.txt",)
    assert server.post(ev.DraftAbandoned()) == []
    assert server.conversation.attached == ("notes.txt",)
    assert server.post(ev.EntryAbandoned()) == [notices.detached("notes.txt").update]


def test_a_file_of_an_edited_question_may_be_detached_before_the_edit_is_abandoned() -> None:
    server = Server()
    server.post(ev.Attached("a.png (1 kB)", PICTURE))
    server.ask("what?", "A cat.")
    server.post(ev.EditAsked())
    server.post(ev.DetachAsked())
    assert server.post(ev.DraftAbandoned()) == [notices.EDIT_CANCELLED.update]


def test_an_edited_question_that_waits_can_be_taken_back() -> None:
    server = two_turns()
    server.post(ev.ConnectionLost(Problem(ExitCode.LINK, "gone"), ev.Retry.ALWAYS))
    server.post(ev.EditAsked())
    assert server.post(ev.QueuedTakenBack()) == [], "the edited question does not wait"
    server.post(ev.UserSaid("deux"))
    assert drafts(server.post(ev.QueuedTakenBack())) == ["deux"]
    assert server.post(ev.DraftAbandoned()) == [], "the edit is over"
    server.post(ev.UserSaid("zwei"))
    server.fire(ev.Timer.RETRY)
    server.answer("Zweite.")
    assert server.context == [*FIRST, "user: zwei", "assistant: Zweite."]
    assert [entry.state for entry in server.entries if entry.turn == 3][-1] is State.WITHDRAWN
    server.post(ev.UndoAsked())
    assert server.context == FIRST


@pytest.mark.parametrize("other", [ev.UndoAsked(), ev.RetryAsked(), ev.ForkAsked()])
def test_another_command_ends_an_edit(other: ev.Event) -> None:
    server = two_turns()
    server.post(ev.EditAsked(1))
    server.post(other)
    server.end()
    server.ask("three", "Third.")
    assert server.context[:2] == FIRST


def test_edit_of_a_turn_that_does_not_exist_names_those_that_do() -> None:
    server = two_turns()
    refused(server, ev.EditAsked(3), notices.no_turn(3, [1, 2]))
    server.post(ev.RetryAsked())
    server.answer("Deux.")
    refused(server, ev.EditAsked(2), notices.no_turn(2, [1, 3]))


def test_a_question_edited_during_a_reply_is_given_back() -> None:
    server = two_turns(speech=SpeechOptions(has_microphone=True, push_to_talk=False))
    server.post(ev.EditAsked())
    server.post(ev.AudioCaptured(bytes(96_000)))
    server.post(ev.SpeechStarted("u1", 0))
    server.post(ev.SpeechStopped("u1", 500))
    server.post(ev.AudioCommitted("u1"))
    pending = [notices.REPLY_PENDING.update, fx.Draft("deux")]
    assert server.post(ev.UserSaid("deux")) == pending


# --------------------------------------------------------------------------------------------- fork


def test_fork_continues_in_a_new_conversation() -> None:
    server = two_turns()
    server.post(ev.ForkAsked(1))
    assert fx.Fork(1) in server.saved
    assert server.context == FIRST
    server.ask("three", "Third.")
    assert [entry.turn for entry in server.entries][-1] == 2
    assert server.renewed_context() == [*FIRST, "user: three", "assistant: Third."]


def test_fork_of_the_whole_conversation() -> None:
    server = two_turns()
    server.post(ev.ForkAsked())
    assert server.saved[-1] == fx.Fork(2)
    assert server.context == [*FIRST, *SECOND]


def test_fork_from_a_turn_that_does_not_exist() -> None:
    refused(two_turns(), ev.ForkAsked(9), notices.no_turn(9, [1, 2]))


# ----------------------------------------------------------------------------------- all of them

COMMANDS = [ev.UndoAsked(), ev.RetryAsked(), ev.EditAsked(), ev.ForkAsked()]


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_changes_while_a_reply_is_pending(command: ev.Event) -> None:
    server = two_turns()
    server.post(ev.UserSaid("three"))
    server.post(ev.UserSaid("four"))
    refused(server, command, notices.REPLY_PENDING)
    server.answer("Third.")
    server.answer("Fourth.")
    assert server.context[-2:] == ["user: four", "assistant: Fourth."]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (ev.UndoAsked(), notices.NOTHING_TO_UNDO),
        (ev.RetryAsked(), notices.NOTHING_TO_REPEAT),
        (ev.EditAsked(), notices.NOTHING_TO_EDIT),
        (ev.ForkAsked(), notices.NOTHING_TO_FORK),
    ],
)
def test_there_may_be_nothing_to_change(command: ev.Event, why: fx.Show) -> None:
    refused(Server(), command, why)


@pytest.mark.parametrize("command", COMMANDS[:2])
def test_a_change_without_a_connection_takes_effect_in_the_next_session(command: ev.Event) -> None:
    server = two_turns()
    lost = ev.ConnectionLost(Problem(ExitCode.LINK, "gone"), ev.Retry.ALWAYS)
    server.post(lost)
    server.post(command)
    server.fire(ev.Timer.RETRY)
    server.end()
    assert server.context[:2] == FIRST
    assert "assistant: Second." not in server.context


def test_a_saved_conversation_continues_with_its_branch() -> None:
    def entry(turn: int, index: int, text: str) -> Entry:
        role: Role = "assistant" if index else "user"
        return Entry(turn, index, Message(role, (Part("text", text),)), State.COMPLETED, "m")

    entries = (entry(1, 0, "one"), entry(1, 1, "First."), entry(4, 0, "x"), entry(4, 1, "X."))
    stored = StoredConversation(7, "one", 0.0, 0.0, "m", 4, entries, newest=5)
    server = Server(stored=stored)
    assert server.context == [*FIRST, "user: x", "assistant: X."]
    server.ask("y", "Y.")
    assert {(entry.turn, entry.parent) for entry in server.entries if entry.turn} == {(6, 4)}
    server.post(ev.UndoAsked(2))
    assert server.context == FIRST
    assert server.connections == 1


def test_calls_that_another_session_made_do_not_confuse_the_turns() -> None:
    made = RemoteCall("wiki", "search", "{}", "found")
    entries = (
        Entry(1, 0, Message("user", (Part("text", "one"),)), State.COMPLETED, "m"),
        Entry(1, 1, made, State.COMPLETED, "m"),
        Entry(1, 2, Message("assistant", (Part("text", "First."),)), State.COMPLETED, "m"),
        Entry(2, 0, Message("user", (Part("text", "two"),)), State.COMPLETED, "m"),
    )
    stored = StoredConversation(7, "one", 0.0, 0.0, "m", 2, entries, newest=2)
    server = Server(stored=stored)
    assert server.context == [*FIRST, "user: two"]
    server.post(ev.UndoAsked())
    assert server.context == FIRST
    assert server.connections == 1


# ---------------------------------------------------------------------------------- random changes


def run_changes(seed: int) -> None:
    """After every change, the session has exactly the items that a new one receives."""
    rng = random.Random(seed)
    deletes: list[Deletes] = ["yes", "yes", "refuses", "ignores"]
    server = Server(names=rng.random() < 0.8, deletes=rng.choice(deletes))
    for step in range(rng.randrange(1, 12)):
        events: list[ev.Event] = [
            *[ev.UserSaid(f"question {step}")] * 4,
            ev.UndoAsked(rng.randrange(1, 3)),
            ev.RetryAsked(rng.choice(("", "", "n")), rng.choice(("", "In French."))),
            ev.EditAsked(rng.choice((None, 1, 2, 3))),
            ev.EntryAbandoned(),
            ev.ForkAsked(rng.choice((None, 1, 2, 3))),
            ev.Attached("a.png", PICTURE),
            ev.TimerFired(ev.Timer.RENEW),
        ]
        server.post(rng.choice(events))
        if ev.Timer.DELETE in server.timers:
            server.fire(ev.Timer.DELETE)
        if server.is_replying and rng.random() < 0.3:
            server.call(f"c{step}")
        if server.is_replying and rng.random() < 0.8:
            server.say(f"Reply {step}.")
        if server.is_replying and rng.random() < 0.2:
            server.post(ev.CancelPressed())
        server.end(rng.choice((Status.COMPLETED, Status.COMPLETED, Status.FAILED)))
        if ev.Timer.DELETE in server.timers:
            server.fire(ev.Timer.DELETE)
    server.post(ev.EntryAbandoned())
    before = list(server.context)
    assert server.renewed_context() == before


@in_chunks(2)
def test_a_session_has_the_items_that_a_new_one_receives(chunk: int) -> None:
    for seed in range(chunk * 300, chunk * 300 + 300):
        try:
            run_changes(seed)
        except AssertionError as error:
            raise AssertionError(f"changes {seed}: {error}") from error


def test_the_next_question_follows_one_that_waited_for_a_spoken_one() -> None:
    log = ConversationLog()
    typed, spoken = log.enter("typed"), log.enter("spoken")
    for question in (spoken, typed):
        assert list(log.asked(question, "m", None))
    assert [question.parent for question in (spoken, typed, log.enter("next"))] == [0, 2, 1]
