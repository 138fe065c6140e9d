"""Attachments of the next question: listed, detached, never sent in another conversation."""

from __future__ import annotations

import pytest

from rtchat.core import notices
from rtchat.core.conversation import Conversation
from rtchat.core.effects import AddItem, Notice, QuestionAsked, ReplyOver, Send, Show
from rtchat.core.events import (
    Attached,
    AttachmentsAsked,
    AudioCaptured,
    AudioCommitted,
    ConnectionOpened,
    ConversationLoaded,
    Delta,
    DetachAsked,
    EntryAbandoned,
    Event,
    ItemAdded,
    NewConversationAsked,
    ReplyEnded,
    ReplyStarted,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Started,
    Timer,
    TimerFired,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import Channel, Message, Options, Part, Status, StoredConversation
from tests.playbook import Playbook

ONE = Attached("a.png (1 kB)", Part("image", data="data:image/png;base64,AA=="))
TWO = Attached("notes.txt (4.2 kB)", Part("text", "File: notes.txt"))
READY = (ConnectionOpened(), SessionCreated("s", "m"), SessionUpdated("s", "m"))


def attached(*files: Attached) -> Playbook:
    play = Playbook(Conversation("m", Options(modality="text")))
    return play.skip(Started(), *READY, *files)


def info(text: str) -> Show:
    return Show(Notice("info", text))


def error(text: str) -> Show:
    return Show(Notice("error", text))


def sent_with(play: Playbook) -> tuple[Part, ...]:
    """The attachments that are sent with a question that is asked now."""
    play.skip()
    effects = play.conversation.handle(UserSaid("hi"))
    (item,) = (
        effect.command.item
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.command, AddItem)
    )
    assert isinstance(item, Message)
    return item.parts[:-1]


def test_a_notice_names_the_file_and_how_to_detach_it() -> None:
    play = attached()
    play >> TWO << notices.attached("notes.txt (4.2 kB)", shows_command=True)
    assert sent_with(play) == (TWO.part,)


def test_without_a_terminal_the_notice_does_not_mention_detach() -> None:
    conversation = Conversation("m", Options(modality="text"), mode=Mode.ONCE)
    play = Playbook(conversation).skip(Started(), *READY)
    play >> TWO << notices.attached("notes.txt (4.2 kB)", shows_command=False)


def test_attachments_are_listed_until_they_are_sent() -> None:
    play = attached(ONE, TWO)
    play >> AttachmentsAsked() << info("1  a.png (1 kB)\n2  notes.txt (4.2 kB)")
    play.skip(UserSaid("hi")) >> AttachmentsAsked() << info(notices.NOTHING_ATTACHED)
    play >> DetachAsked() << error(notices.NOTHING_ATTACHED)


def test_one_of_several_can_be_detached() -> None:
    play = attached(ONE, TWO)
    play >> DetachAsked(3) << notices.no_attachment(3)
    play >> DetachAsked(1) << notices.detached("a.png (1 kB)")
    assert sent_with(play) == (TWO.part,)
    play = attached(ONE)
    play >> DetachAsked(1) << notices.detached("a.png (1 kB)")
    assert sent_with(play) == ()


@pytest.mark.parametrize(
    ("event", "then"),
    [
        (DetachAsked(), ()),
        (EntryAbandoned(), ()),
        (NewConversationAsked(), READY),
        (ConversationLoaded(StoredConversation(1, "title", 0.0, 0.0, "m", 0)), READY),
    ],
    ids=["/detach", "Ctrl-C", "/new", "/resume"],
)
def test_dropped_attachments_are_reported_and_not_sent(
    event: Event, then: tuple[Event, ...]
) -> None:
    play = attached(ONE, TWO)
    gone = notices.detached("a.png (1 kB), notes.txt (4.2 kB)")
    assert gone in play.conversation.handle(event)
    assert sent_with(play.skip(*then)) == ()


def test_without_attachments_there_is_no_notice() -> None:
    play = attached() >> EntryAbandoned()
    play >> UserSaid("hi") << Show(QuestionAsked("hi", "m"))
    play.skip()


def test_files_sent_ahead_of_speech_do_not_confirm_the_question_before() -> None:
    speech = SpeechOptions(has_microphone=True, push_to_talk=False, replies=False)
    play = Playbook(Conversation("m", Options(modality="text"), speech=speech))
    play.echoes = False
    play.skip(Started(), *READY, AudioCaptured(bytes(96_000)), SpeechStarted("u1", 0))
    play.skip(SpeechStopped("u1", 500), AudioCommitted("u1"), ReplyStarted("r1"), ONE)
    play.skip(SpeechStarted("u2", 700), ItemAdded(Message("user", (ONE.part,), "files_1")))
    play.skip(Delta(Channel.TEXT, "Yes.", "r1", "i1"), ReplyEnded("r1", Status.COMPLETED))
    (over,) = (
        effect.update
        for effect in play.handle(TimerFired(Timer.OWNER))
        if isinstance(effect, Show) and isinstance(effect.update, ReplyOver)
    )
    assert over.text == "Yes."
