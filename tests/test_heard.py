"""How much of a spoken reply was heard: estimated, shown, saved, and told to the next session."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtchat.core.conversation import Conversation
from rtchat.core.effects import (
    AddItem,
    Effect,
    Record,
    ReplyHeard,
    ReplyPlaying,
    Send,
    Show,
    TextArrived,
    Truncate,
    error_notice,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    AudioCommitted,
    CancelPressed,
    ChannelDone,
    ConnectionOpened,
    ConversationLoaded,
    Delta,
    EditAsked,
    Event,
    LeaveAsked,
    ModelSet,
    NewConversationAsked,
    OutputDone,
    PlaybackAdvanced,
    PlaybackCut,
    PlaybackEnded,
    ReplyEnded,
    ReplyStarted,
    RetryAsked,
    SessionCreated,
    SessionUpdated,
    SpeakerLost,
    SpeechStarted,
    Started,
    Timer,
    TimerFired,
    ToolFinished,
    UndoAsked,
    UserSaid,
)
from rtchat.core.heard import PartAudio, whole_words
from rtchat.core.question import replay_item
from rtchat.core.reply import Reply
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.values import (
    Channel,
    Item,
    Message,
    Part,
    Phase,
    Status,
    StoredConversation,
    ToolCall,
)
from tests.playbook import Playbook
from tests.test_speech import (
    AUDIO,
    LOST,
    OPEN_MICROPHONE,
    SPOKEN_TURN,
    connected,
    ms,
    talking,
    text64,
    transcript,
)

FIRST, SECOND = "It is late. ", "Go to sleep."
ENDED = ReplyEnded("r1", Status.COMPLETED)


def words(text: str, item_id: str = "a1", reply: str = "r1") -> Delta:
    return Delta(Channel.TRANSCRIPT, text, reply, item_id)


def sound(milliseconds: int, item_id: str = "a1", reply: str = "r1") -> Delta:
    return Delta(Channel.AUDIO, text64(ms(milliseconds)), reply, item_id)


def shown(effects: list[Effect]) -> list[ReplyHeard]:
    updates = [effect.update for effect in effects if isinstance(effect, Show)]
    return [update for update in updates if isinstance(update, ReplyHeard)]


def saved(effects: list[Effect]) -> list[tuple[str, int | None]]:
    """The messages of the model that are saved, each with how much of it was heard."""
    items = [effect.entry.item for effect in effects if isinstance(effect, Record)]
    replies = [item for item in items if isinstance(item, Message) and item.role == "assistant"]
    return [(reply.text, reply.heard) for reply in replies]


def replying(*events: Event) -> Playbook:
    """A reply to a spoken question: a sentence and its second of sound, twice."""
    play = talking(OPEN_MICROPHONE).skip(*SPOKEN_TURN, AudioCommitted("u1"), transcript("When?"))
    play.skip(ReplyStarted("r1"), words(FIRST), sound(1000), words(SECOND), sound(1000))
    return play.skip(*events)


# --------------------------------------------------------------------------------- the estimate


@pytest.mark.parametrize(
    ("arrivals", "played", "heard"),
    [
        (["one two three four", 1000], 0, ""),
        (["one two three four", 1000], 500, "one two"),
        (["one two three four", 1000], 1000, "one two three four"),
        (["one two three four", 1000], 5000, "one two three four"),
        (["one two. ", 3000, "three four", 1000], 2500, "one"),
        (["one two. ", 3000, "three four", 1000], 3000, "one two."),
        ([1000, "one two three four"], 500, ""),
        (["one two three four"], 500, ""),
        (["one"], 500, ""),
        (["", 1000], 500, ""),
    ],
    ids=str,
)
def test_text_is_heard_with_the_audio_that_it_came_with(
    arrivals: list[str | int], played: int, heard: str
) -> None:
    audio, text = PartAudio(), ""
    for each in arrivals:
        if isinstance(each, str):
            audio.text_arrives(len(text))
            text += each
        else:
            audio.audio_arrived(each)
    assert text[: audio.heard(text, played)].strip() == heard


@example([("a夜", 0), ("a", 4)], [2, 3])
@given(
    st.lists(st.tuples(st.text("ab 夜", max_size=9), st.integers(0, 900)), max_size=9),
    st.lists(st.integers(0, 9000), min_size=2, max_size=2),
)
def test_more_is_heard_later(pieces: list[tuple[str, int]], times: list[int]) -> None:
    audio, text = PartAudio(), ""
    for piece, milliseconds in pieces:
        audio.text_arrives(len(text))
        text += piece
        audio.audio_arrived(milliseconds)
    early, late = (audio.heard(text, time) for time in sorted(times))
    assert 0 <= early <= late <= len(text)


@pytest.mark.parametrize(
    ("text", "size", "whole"),
    [
        ("one two", 7, 7),
        ("one two", 9, 7),
        ("one two", 6, 4),
        ("one two", 3, 3),
        ("one\ntwo", 5, 4),
        ("one", 2, 0),
        ("夜が明ける", 2, 2),
        ("x" * 99, 50, 50),
    ],
)
def test_only_whole_words_are_heard(text: str, size: int, whole: int) -> None:
    assert whole_words(text, size) == whole


# ------------------------------------------------------------------- shown, and saved, at the cut


def test_speech_during_a_reply() -> None:
    play = replying(SpeechStarted("u2", 3000))
    assert shown(play.handle(PlaybackCut("a1", 0, 1000))) == [], "the reply is not over"
    done = play.handle(ReplyEnded("r1", Status.CANCELLED, "turn_detected"))
    assert shown(done) == [ReplyHeard(FIRST, SECOND)]
    assert saved(done) == [(FIRST + SECOND, len(FIRST))]


def test_speech_after_the_end_of_a_reply_that_is_still_playing() -> None:
    play = replying(ENDED, SpeechStarted("u2", 3000))
    done = play.handle(PlaybackCut("a1", 0, 1000))
    assert shown(done) == [ReplyHeard(FIRST, SECOND)]
    assert saved(done) == [(FIRST + SECOND, len(FIRST))]


def test_the_key_stops_a_reply() -> None:
    """The shell stops playback after the conversation has ended the turn."""
    play = replying()
    assert saved(play.handle(CancelPressed())) == [(FIRST + SECOND, None)]
    done = play.handle(PlaybackCut("a1", 0, 1000))
    assert shown(done) == [ReplyHeard(FIRST, SECOND)]
    assert saved(done) == [(FIRST + SECOND, len(FIRST))]


def test_a_question_that_is_typed_during_playback() -> None:
    play = replying(ENDED, UserSaid("Why?"))
    assert saved(play.handle(PlaybackCut("a1", 0, 1000))) == [(FIRST + SECOND, len(FIRST))]


def test_a_reply_that_was_heard_to_its_end_is_not_marked() -> None:
    done = replying(ENDED).handle(PlaybackCut("a1", 0, 2000))
    assert (shown(done), saved(done)) == ([], [])


def test_text_that_arrives_after_the_cut_was_not_heard() -> None:
    play = replying(SpeechStarted("u2", 3000), PlaybackCut("a1", 0, 2000), words(" Now!"))
    assert shown(play.handle(ENDED)) == [ReplyHeard(FIRST + SECOND, " Now!")]


def test_audio_of_an_unknown_item_marks_nothing() -> None:
    done = replying(ENDED).handle(PlaybackCut("other", 0, 1000))
    assert (shown(done), saved(done)) == ([], [])


def test_audio_without_a_transcript_marks_nothing() -> None:
    play = talking(OPEN_MICROPHONE).skip(*SPOKEN_TURN, AudioCommitted("u1"))
    done = play.skip(ReplyStarted("r1"), sound(500), ENDED).handle(PlaybackCut("a1", 0, 100))
    assert (shown(done), saved(done)) == ([], [])


def test_a_reply_that_waits_for_playback_was_not_heard() -> None:
    """A reply, a call, and the reply after it: all of it is queued when the user interrupts."""
    policy = ToolPolicy(["f"], ["f"])
    conversation = Conversation("m", AUDIO, speech=OPEN_MICROPHONE, tool_policy=policy)
    play = connected(Playbook(conversation).skip(Started()))
    play.skip(*SPOKEN_TURN, AudioCommitted("u1"), transcript("When?"), ReplyStarted("r1"))
    play.skip(words(FIRST), sound(1000), OutputDone("r1", 1, ToolCall("f", "c1", "{}", "i1")))
    play.skip(ENDED, ToolFinished("c1", "ok"), ReplyStarted("r2"))
    play.skip(words(SECOND, "a2", "r2"), sound(1000, "a2", "r2"))
    play.skip(ReplyEnded("r2", Status.COMPLETED), SpeechStarted("u2", 3000))
    done = play.handle(PlaybackCut("a1", 0, 600))
    assert shown(done) == [ReplyHeard("It is ", f"late. \n\n{SECOND}")]
    assert saved(done) == [(FIRST, len("It is ")), (SECOND, 0)]


def test_the_parts_of_a_reply_are_heard_in_order() -> None:
    reply = Reply("r")
    for item_id in ("a", "b", "c"):
        reply.add(words(f"{item_id} one two", item_id, "r"))
        reply.channel_done(ChannelDone(Channel.TRANSCRIPT, "", "r", item_id))
        reply.played(item_id, 0, 1000)
    text = "a one two\n\nb one two\n\nc one two"
    assert [message.text for message in reply.messages] == [text]
    assert reply.cut_playback(PlaybackCut("b", 0, 600))
    assert [text[: message.heard].strip() for message in reply.messages] == ["a one two\n\nb one"]
    assert not reply.cut_playback(PlaybackCut("d", 0, 600))


def test_messages_of_other_phases_after_the_cut_were_not_heard() -> None:
    phases: dict[str, Phase] = {"a": "commentary", "b": "final_answer"}
    reply = Reply("r")
    for index, (item_id, phase) in enumerate(phases.items()):
        reply.announce(Message("assistant", (), item_id, phase=phase))
        reply.add(replace(words("one two", item_id, "r"), output_index=index))
        reply.played(item_id, 0, 1000)
    assert reply.cut_playback(PlaybackCut("a", 0, 600))
    assert [message.heard for message in reply.messages] == [len("one "), 0]


@pytest.mark.parametrize("leaves", [NewConversationAsked(), UndoAsked(), ModelSet("m2")], ids=str)
def test_a_reply_that_is_no_longer_in_the_conversation_is_not_saved_again(leaves: Event) -> None:
    done = replying(ENDED, leaves).handle(PlaybackCut("a1", 0, 1000))
    is_kept = isinstance(leaves, ModelSet)
    assert saved(done) == ([(FIRST + SECOND, len(FIRST))] if is_kept else [])


STORED = StoredConversation(9, "title", 0.0, 0.0, "m", 0)


@pytest.mark.parametrize(
    "leaves",
    [
        [NewConversationAsked()],
        [ConversationLoaded(STORED)],
        [UndoAsked()],
        [RetryAsked()],
        [EditAsked(), UserSaid("Why?")],
        [LeaveAsked(ExitCode.OK)],
    ],
    ids=lambda events: type(events[0]).__name__,
)
def test_what_was_heard_is_saved_before_the_conversation_is_left(leaves: list[Event]) -> None:
    *before, last = leaves
    play = replying(ENDED, PlaybackAdvanced("a1", 0, 1000), *before)
    assert saved(play.handle(last)) == [(FIRST + SECOND, len(FIRST))]
    assert saved(play.handle(PlaybackCut("a1", 0, 1100))) == []


@pytest.mark.parametrize("leaves", [NewConversationAsked(), LeaveAsked(ExitCode.OK)], ids=str)
def test_what_was_heard_of_an_incomplete_reply_is_saved_with_it(leaves: Event) -> None:
    play = replying(PlaybackAdvanced("a1", 0, 1000))
    assert saved(play.handle(leaves)) == [(FIRST + SECOND, len(FIRST))]


def test_a_reply_that_was_played_to_its_end_is_not_marked_when_it_is_left() -> None:
    play = replying(ENDED, PlaybackAdvanced("a1", 0, 1000), PlaybackEnded())
    assert saved(play.handle(NewConversationAsked())) == []


# --------------------------------------------------------------------------- without the speaker

GONE = Problem(ExitCode.OUTPUT, "lost the speaker")


def speaker_lost(played_ms: int, item_id: str = "a1") -> SpeakerLost:
    return SpeakerLost(GONE, PlaybackCut(item_id, 0, played_ms))


def truncations(effects: list[Effect]) -> list[Truncate]:
    sent = [effect.command for effect in effects if isinstance(effect, Send)]
    return [command for command in sent if isinstance(command, Truncate)]


def test_the_speaker_is_lost_while_a_complete_reply_is_played() -> None:
    done = replying(ENDED).handle(speaker_lost(1000))
    assert done[0] == Show(error_notice(GONE))
    assert shown(done) == [ReplyHeard(FIRST, SECOND)]
    assert saved(done) == [(FIRST + SECOND, len(FIRST))]
    assert truncations(done) == [Truncate("a1", 0, 1000)]


def test_the_speaker_is_lost_while_a_reply_is_written() -> None:
    """Its text continues. The server must not truncate an item that it has not completed."""
    play = replying()
    done = play.handle(speaker_lost(1000))
    assert (shown(done), truncations(done)) == ([], [])
    assert Show(TextArrived(" Now!")) in play.handle(words(" Now!"))
    done = play.handle(ENDED)
    assert shown(done) == [ReplyHeard(FIRST, f"{SECOND} Now!")]
    assert saved(done) == [(f"{FIRST}{SECOND} Now!", len(FIRST))]
    assert truncations(done) == [Truncate("a1", 0, 1000)]


@pytest.mark.parametrize(
    "events",
    [
        [SpeechStarted("u2", 3000), ReplyEnded("r1", Status.CANCELLED, "turn_detected")],
        [CancelPressed()],
        [ModelSet("m2")],
    ],
    ids=lambda events: type(events[0]).__name__,
)
def test_a_reply_is_interrupted_after_the_speaker_was_lost(events: list[Event]) -> None:
    play = replying(speaker_lost(1000))
    done = [effect for event in events for effect in play.handle(event)]
    assert shown(done) == [ReplyHeard(FIRST, SECOND)]
    assert saved(done) == [(FIRST + SECOND, len(FIRST))]
    assert truncations(done) == [Truncate("a1", 0, 1000)]


def test_the_speaker_and_then_the_connection_are_lost() -> None:
    play = replying(speaker_lost(1000))
    done = play.handle(LOST)
    assert shown(done) == [ReplyHeard(FIRST, SECOND)]
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    done = play.handle(SessionUpdated("s", "m"))
    done += play.handle(UserSaid("Why?")) + play.handle(ReplyStarted("r2"))
    done += play.handle(ReplyEnded("r2", Status.COMPLETED))
    assert (shown(done), truncations(done)) == ([], [])


def test_the_speaker_is_lost_before_the_calls_of_a_reply() -> None:
    policy = ToolPolicy(["f"], ["f"])
    conversation = Conversation("m", AUDIO, speech=OPEN_MICROPHONE, tool_policy=policy)
    play = connected(Playbook(conversation).skip(Started()))
    play.skip(*SPOKEN_TURN, AudioCommitted("u1"), transcript("When?"), ReplyStarted("r1"))
    play.skip(words(FIRST), sound(1000), OutputDone("r1", 1, ToolCall("f", "c1", "{}", "i1")))
    play.skip(speaker_lost(600))
    done = play.handle(ENDED)
    assert saved(done) == [(FIRST, len("It is "))]
    assert truncations(done) == [Truncate("a1", 0, 600)]
    play.skip(ToolFinished("c1", "ok"), ReplyStarted("r2"), words(SECOND, "a2", "r2"))
    done = play.handle(ReplyEnded("r2", Status.COMPLETED))
    assert shown(done) == [ReplyHeard("It is ", "late. ")]
    assert saved(done) == [(SECOND, None)]


@pytest.mark.parametrize("cut", [None, PlaybackCut("other", 0, 1000)])
def test_the_speaker_is_lost_while_it_plays_no_reply(cut: PlaybackCut | None) -> None:
    play = replying(PlaybackAdvanced("a1", 0, 600))
    assert play.handle(SpeakerLost(GONE, cut)) == [
        Show(error_notice(GONE)),
        Show(ReplyPlaying("")),
    ]
    done = play.handle(ENDED)
    assert (shown(done), saved(done)) == ([], [(FIRST + SECOND, None)])


# ------------------------------------------------------------------------------ while it is played


def playing(play: Playbook, *events: Event) -> list[str]:
    """The last words that are shown as heard because of these events."""
    effects = [effect for event in events for effect in play.handle(event)]
    updates = [effect.update for effect in effects if isinstance(effect, Show)]
    return [update.words for update in updates if isinstance(update, ReplyPlaying)]


def test_words_are_shown_as_they_are_heard() -> None:
    play = replying()
    assert playing(play, PlaybackAdvanced("a1", 0, 0)) == []
    assert playing(play, PlaybackAdvanced("a1", 0, 600)) == ["It is "]
    assert playing(play, PlaybackAdvanced("a1", 0, 610)) == []
    assert playing(play, PlaybackAdvanced("a1", 0, 1000)) == [FIRST]
    assert playing(play, words(" " * 40), PlaybackAdvanced("a1", 0, 1010)) == [], "it never shrinks"
    assert playing(play, PlaybackEnded()) == [""]
    assert playing(play, PlaybackEnded()) == []


def test_no_words_are_shown_after_an_interruption() -> None:
    play = replying(PlaybackAdvanced("a1", 0, 600))
    assert playing(play, SpeechStarted("u2", 3000), PlaybackCut("a1", 0, 700)) == [""]


def test_audio_of_an_unknown_item_has_no_words() -> None:
    assert playing(replying(), PlaybackAdvanced("other", 0, 600)) == []


def test_only_the_last_words_are_shown() -> None:
    play = replying(words("word " * 100), sound(10_000))
    (shown,) = playing(play, PlaybackAdvanced("a1", 0, 12_000))
    assert shown == ("word " * 100)[-len(shown) :]
    assert len(shown) == 200


# ---------------------------------------------------------------------------- the next session


def test_another_session_receives_only_what_was_heard() -> None:
    play = replying(ENDED, SpeechStarted("u2", 3000), PlaybackCut("a1", 0, 1000), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    commands = (
        effect.command
        for effect in play.handle(SessionUpdated("s", "m"))
        if isinstance(effect, Send)
    )
    items = [command.item for command in commands if isinstance(command, AddItem)]
    texts = [item.text for item in items if isinstance(item, Message)]
    assert texts == ["When?", FIRST.strip()]


@pytest.mark.parametrize(
    ("item", "sent"),
    [
        (Message("assistant", (Part("text", "one two"),), heard=3), "one"),
        (Message("assistant", (Part("audio", "one two"),), heard=4), "one"),
        (Message("assistant", (Part("text", "one two"),), heard=0), None),
        (Message("assistant", (Part("text", "one two"),)), "one two"),
    ],
)
def test_what_was_not_heard_is_not_sent_again(item: Item, sent: str | None) -> None:
    expected = None if sent is None else Message("assistant", (Part("text", sent),))
    assert replay_item(item) == expected
