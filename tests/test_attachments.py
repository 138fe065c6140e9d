"""Files for the next question: listed, detached, and never sent in another conversation."""

from __future__ import annotations

import pytest

from rtchat.core.conversation import Conversation
from rtchat.core.effects import AddItem, Notice, QuestionAsked, Send, Show
from rtchat.core.events import (
    Attached,
    AttachmentsAsked,
    ConnectionOpened,
    ConversationLoaded,
    DetachAsked,
    EntryAbandoned,
    Event,
    NewConversationAsked,
    SessionCreated,
    SessionUpdated,
    Started,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.values import Message, Options, Part, StoredConversation
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
    """What a question that is asked now has besides its words."""
    play.skip()
    effects = play.conversation.handle(UserSaid("hi"))
    (item,) = (
        effect.command.item
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.command, AddItem)
    )
    assert isinstance(item, Message)
    return item.parts[:-1]


def test_a_file_is_said_with_how_to_detach_it_before_anything_is_sent() -> None:
    play = attached()
    play >> TWO << info("notes.txt (4.2 kB) attached to the next question (/detach removes it)")
    assert sent_with(play) == (TWO.part,)


def test_off_a_terminal_there_is_nothing_to_detach_it_with() -> None:
    conversation = Conversation("m", Options(modality="text"), mode=Mode.ONCE)
    play = Playbook(conversation).skip(Started(), *READY)
    play >> TWO << info("notes.txt (4.2 kB) attached to the next question")


def test_what_is_attached_is_listed_until_it_is_sent() -> None:
    play = attached(ONE, TWO)
    play >> AttachmentsAsked() << info("1  a.png (1 kB)\n2  notes.txt (4.2 kB)")
    play.skip(UserSaid("hi")) >> AttachmentsAsked() << info("nothing is attached")
    play >> DetachAsked() << error("nothing is attached")


def test_one_of_several_is_detached() -> None:
    play = attached(ONE, TWO)
    play >> DetachAsked(3) << error("there is no attachment 3: /attach lists them")
    play >> DetachAsked(1) << info("no longer attached: a.png (1 kB)")
    assert sent_with(play) == (TWO.part,)
    play = attached(ONE)
    play >> DetachAsked(1) << info("no longer attached: a.png (1 kB)")
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
def test_what_is_no_longer_attached_is_said_and_not_sent(
    event: Event, then: tuple[Event, ...]
) -> None:
    play = attached(ONE, TWO)
    gone = info("no longer attached: a.png (1 kB), notes.txt (4.2 kB)")
    assert gone in play.conversation.handle(event)
    assert sent_with(play.skip(*then)) == ()


def test_nothing_is_said_where_nothing_was_attached() -> None:
    play = attached() >> EntryAbandoned()
    play >> UserSaid("hi") << Show(QuestionAsked("hi", "m"))
    play.skip()
