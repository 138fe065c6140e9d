"""Spoken conversations: turns ended by the server or the user, playback, interruptions, and lost
connections."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from itertools import product

import pytest

from rtchat.core import notices
from rtchat.core.conversation import Conversation
from rtchat.core.deadline import WORDLESS_WAIT
from rtchat.core.effects import (
    AddItem,
    AppendAudio,
    Cancel,
    ClearTimer,
    Command,
    CommitAudio,
    Connect,
    Connecting,
    CreateResponse,
    Delete,
    Effect,
    MicrophoneStatus,
    NotConnected,
    Notice,
    Play,
    QuestionAsked,
    Record,
    ReplyHeard,
    ReplyOver,
    Send,
    SetTimer,
    Show,
    Stop,
    StopPlaying,
    TextArrived,
    ToolBegan,
    Truncate,
    UserTranscript,
    error_notice,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    Attached,
    AudioCaptured,
    AudioCleared,
    AudioCommitted,
    AudioSaid,
    CancelPressed,
    ChannelDone,
    ConnectionLost,
    ConnectionOpened,
    ConversationLoaded,
    Delta,
    DetachAsked,
    EntryAbandoned,
    Event,
    InputEnded,
    ItemDeleted,
    MicrophoneLost,
    MicrophoneOpened,
    MicrophoneToggled,
    ModelSet,
    NewConversationAsked,
    PlaybackCut,
    ReplyEnded,
    ReplyStarted,
    Retry,
    RetryAsked,
    ServerProblem,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Started,
    Timer,
    TimerFired,
    TranscriptionFailed,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.models import Rate
from rtchat.core.pricing import Budget
from rtchat.core.question import NO_WORDS
from rtchat.core.question_queue import LAST_TRANSCRIPT_WAIT, LAST_TURN_WAIT
from rtchat.core.speech_input import BEFORE_MS, MAX_HELD_MS, TAIL_MS, SpeechOptions
from rtchat.core.tool_calls import STOPPED, ToolPolicy
from rtchat.core.turn import TRANSCRIPT_WAIT
from rtchat.core.values import (
    BYTES_A_MS,
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
from tests.playbook import QUIET, Playbook

AUDIO = Options(modality="audio")
OPEN_MICROPHONE = SpeechOptions(speaks=True, has_microphone=True, push_to_talk=False)
PUSH_TO_TALK = SpeechOptions(speaks=True, has_microphone=True, push_to_talk=True)
WITHOUT_MICROPHONE = SpeechOptions()
LOST = ConnectionLost(Problem(ExitCode.LINK, "gone"), Retry.ALWAYS)
GONE = Problem(ExitCode.USAGE, "the microphone is gone", "plug it in")
NO_MICROPHONE = MicrophoneStatus(is_on=False, push_to_talk=False, is_available=False)
TOO_MANY_CALLS = tuple(ToolCall("f", f"c{number}", "{}") for number in range(101))
LIMITED = ReplyEnded(
    "r1", Status.FAILED, code="rate_limit_exceeded", message="Please try again in 2s."
)


def ms(count: int, sample: int = 1) -> bytes:
    """`count` milliseconds of audio."""
    return sample.to_bytes(2, "little") * (count * BYTES_A_MS // 2)


def text64(audio: bytes) -> str:
    return b64encode(audio).decode()


def talking(
    options: SpeechOptions, mode: Mode = Mode.CHAT, *, stores_audio: bool = False
) -> Playbook:
    """A conversation whose session is ready, and whose microphone is open if it is on."""
    play = Playbook(Conversation("m", AUDIO, mode=mode, speech=options), stores_audio=stores_audio)
    return connected(play.skip(Started(), MicrophoneOpened()))


def connected(play: Playbook) -> Playbook:
    return play.skip(ConnectionOpened(), SessionCreated("s", "m"), SessionUpdated("s", "m"))


def transcript(text: str, item: str = "u1") -> ChannelDone:
    return ChannelDone(Channel.INPUT_TRANSCRIPT, text, item_id=item)


def text_delta(text: str, reply: str = "r1") -> Delta:
    return Delta(Channel.TRANSCRIPT, text, reply, "a1")


def audio_delta(audio: bytes, reply: str = "r1") -> Delta:
    return Delta(Channel.AUDIO, text64(audio), reply, "a1")


def after(play: Playbook, event: Event) -> list[Effect]:
    """The effects of an event, except timers and records."""
    play.end()
    done = play.conversation.handle(event)
    play.note(done)
    return [e for e in done if not isinstance(e, SetTimer | ClearTimer | Record)]


def sent(effects: list[Effect]) -> list[Command]:
    return [effect.command for effect in effects if isinstance(effect, Send)]


def sent_items(effects: list[Effect]) -> list[Command]:
    """The commands sent, except microphone audio."""
    return [command for command in sent(effects) if not isinstance(command, AppendAudio)]


def shown(effects: list[Effect]) -> list[object]:
    return [effect.update for effect in effects if isinstance(effect, Show)]


SPOKEN_TURN = (
    AudioCaptured(ms(2000)),
    SpeechStarted("u1", 500),
    SpeechStopped("u1", 1500),
)

# ------------------------------------------------------------------------ turns ended by the server


def test_all_audio_of_the_open_microphone_is_sent() -> None:
    play = Playbook(Conversation("m", AUDIO, speech=OPEN_MICROPHONE))
    (
        play
        >> Started()
        << [
            Show(MicrophoneStatus(is_on=False, push_to_talk=False, is_opening=True)),
            *QUIET,
            Show(Connecting("m")),
            Connect("m"),
        ]
    )
    connected(play) >> AudioCaptured(ms(20)) << Send("rtchat_2", AppendAudio(ms(20), live=True))


def test_a_complete_spoken_turn() -> None:
    play = talking(OPEN_MICROPHONE).skip(*SPOKEN_TURN)
    (
        play
        >> AudioCommitted("u1")
        << [StopPlaying(), Show(QuestionAsked("", "m", spoken=True)), SetTimer(Timer.STALL, 60)]
    )
    play >> ReplyStarted("r1")
    play >> transcript("What time is it?") << Show(UserTranscript("What time is it?"))
    play >> text_delta("Noon.") << Show(TextArrived("Noon."))
    play >> audio_delta(ms(10)) << Play("a1", 0, ms(10))
    (play >> ChannelDone(Channel.AUDIO, "", "r1", "a1") << Play("a1", 0, b"", is_last=True))
    over = shown(after(play, ReplyEnded("r1", Status.COMPLETED)))
    assert [type(update) for update in over] == [ReplyOver]
    assert isinstance(over[0], ReplyOver)
    assert (over[0].status, over[0].text) == (Status.COMPLETED, "Noon.")


def test_a_reply_is_shown_after_the_transcript_of_its_question() -> None:
    play = talking(OPEN_MICROPHONE).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play >> text_delta("No") << SetTimer(Timer.TRANSCRIPT, TRANSCRIPT_WAIT)
    play >> text_delta("on.")
    held = Show(TextArrived("Noon.", 2))
    (
        play
        >> transcript("When?")
        << [
            Show(UserTranscript("When?")),
            ClearTimer(Timer.TRANSCRIPT),
            held,
        ]
    )
    play >> text_delta(" Sharp.") << Show(TextArrived(" Sharp."))


def test_a_late_transcript_is_shown_after_the_reply() -> None:
    play = talking(OPEN_MICROPHONE).skip(
        *SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"), text_delta("No")
    )
    assert after(play, TimerFired(Timer.TRANSCRIPT)) == [Show(TextArrived("No"))]
    assert after(play, transcript("When?")) == []
    *_, over, late = shown(after(play, ReplyEnded("r1", Status.COMPLETED)))
    assert isinstance(over, ReplyOver)
    assert late == UserTranscript("When?")


def test_a_short_reply_is_shown_before_the_transcript_of_its_question() -> None:
    play = talking(OPEN_MICROPHONE).skip(
        *SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"), text_delta("No")
    )
    first, over = shown(after(play, ReplyEnded("r1", Status.COMPLETED)))
    assert first == TextArrived("No")
    assert isinstance(over, ReplyOver)
    assert after(play, transcript("When?")) == [Show(UserTranscript("When?"))]


def test_an_empty_transcript_is_not_shown() -> None:
    play = talking(OPEN_MICROPHONE).skip(
        *SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"), text_delta("No")
    )
    assert after(play, transcript(" ")) == [Show(TextArrived("No"))]
    assert after(play, transcript("twice")) == []


def test_a_failed_transcription_is_shown() -> None:
    play = talking(OPEN_MICROPHONE).skip(
        *SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"), text_delta("No")
    )
    why = notices.transcription_failed("noise", "", "warning")
    assert after(play, TranscriptionFailed("u1", "noise")) == [why, Show(TextArrived("No"))]


def test_partial_transcripts_are_not_shown() -> None:
    play = talking(OPEN_MICROPHONE).skip(*SPOKEN_TURN, AudioCommitted("u1"))
    play >> Delta(Channel.INPUT_TRANSCRIPT, "Wh", item_id="u1")
    play >> transcript("When?") << Show(UserTranscript("When?"))


def test_without_transcription_a_reply_is_shown_at_once() -> None:
    play = talking(replace(OPEN_MICROPHONE, transcribes=False)).skip(
        *SPOKEN_TURN, AudioCommitted("u1")
    )
    play.skip(ReplyStarted("r1")) >> text_delta("No") << Show(TextArrived("No"))


def test_only_a_limited_number_of_turns_waits_for_transcripts() -> None:
    play = talking(OPEN_MICROPHONE)
    for number in range(20):
        play.skip(AudioCommitted(f"u{number}"))
    assert after(play, transcript("old", "u0")) == []
    assert shown(after(play, transcript("new", "u19"))) == [UserTranscript("new")]


def test_a_response_is_requested_if_the_server_does_not_create_it() -> None:
    play = talking(replace(OPEN_MICROPHONE, replies=False)).skip(*SPOKEN_TURN)
    assert sent(after(play, AudioCommitted("u1"))) == [CreateResponse(AUDIO)]


def test_a_muted_microphone_sends_silence() -> None:
    play = talking(OPEN_MICROPHONE)
    play >> MicrophoneToggled() << Show(MicrophoneStatus(is_on=False, push_to_talk=False))
    assert sent(after(play, AudioCaptured(ms(20)))) == [AppendAudio(bytes(20 * BYTES_A_MS), True)]
    play >> MicrophoneToggled() << Show(MicrophoneStatus(is_on=True, push_to_talk=False))
    assert sent(after(play, AudioCaptured(ms(20)))) == [AppendAudio(ms(20), True)]


def test_the_microphone_key_without_a_microphone_is_an_error() -> None:
    effects = after(talking(WITHOUT_MICROPHONE), MicrophoneToggled())
    assert effects == [notices.NO_MICROPHONE]
    assert after(talking(WITHOUT_MICROPHONE), AudioCommitted("u1")) == []


def test_a_lost_microphone_is_reported_and_typing_continues() -> None:
    play = talking(OPEN_MICROPHONE)
    gone = Problem(ExitCode.LINK, "the microphone is gone", "plug it in")
    play >> MicrophoneLost(gone) << [Show(error_notice(gone)), Show(NO_MICROPHONE)]
    assert QuestionAsked("hi", "m") in shown(after(play, UserSaid("hi")))
    play >> MicrophoneLost(gone) << Show(error_notice(gone))


def test_a_microphone_lost_while_muted_is_shown_as_absent() -> None:
    play = talking(OPEN_MICROPHONE).skip(MicrophoneToggled())
    play >> MicrophoneLost(GONE) << [Show(error_notice(GONE)), Show(NO_MICROPHONE)]


def test_losing_the_microphone_during_speech_sends_silence_to_end_the_turn() -> None:
    play = talking(OPEN_MICROPHONE).skip(AudioCaptured(ms(1000)), SpeechStarted("u1", 0))
    gone = MicrophoneLost(Problem(ExitCode.LINK, "gone"))
    assert sent(after(play, gone)) == [AppendAudio(bytes(TAIL_MS * BYTES_A_MS), live=True)]


def test_the_server_may_clear_its_audio_buffer() -> None:
    assert after(talking(OPEN_MICROPHONE), AudioCleared()) == []


# ------------------------------------------------------------------------------------ interruptions


def speaking() -> Playbook:
    """A conversation in which the reply to a spoken question is playing."""
    play = talking(OPEN_MICROPHONE).skip(*SPOKEN_TURN, AudioCommitted("u1"), transcript("When?"))
    return play.skip(ReplyStarted("r1"), text_delta("No"), audio_delta(ms(500)))


def test_speech_stops_playback_and_the_item_is_truncated() -> None:
    play = speaking()
    play >> SpeechStarted("u2", 3000) << StopPlaying()
    play >> PlaybackCut("a1", 0, 240) << Send("rtchat_3", Truncate("a1", 0, 240))
    assert after(play, audio_delta(ms(100))) == []
    assert after(play, text_delta("on.")) == [Show(TextArrived("on."))]
    over, heard = shown(after(play, ReplyEnded("r1", Status.CANCELLED, "turn_detected")))
    assert isinstance(over, ReplyOver)
    assert (over.status, over.reason, over.text) == (Status.CANCELLED, "turn_detected", "Noon.")
    assert heard == ReplyHeard("", "Noon.")
    play.skip(SpeechStopped("u2", 4000), AudioCommitted("u2"), ReplyStarted("r2"))
    assert after(play, audio_delta(ms(100), "r2")) == [Play("a1", 0, ms(100))]


def test_the_end_of_an_interrupted_response_may_be_late() -> None:
    play = speaking().skip(SpeechStarted("u2", 3000), SpeechStopped("u2", 4000))
    over, asked = shown(after(play, AudioCommitted("u2")))
    assert isinstance(over, ReplyOver)
    assert (over.status, over.reason) == (Status.CANCELLED, "turn_detected")
    assert asked == QuestionAsked("", "m", spoken=True)
    assert after(play, ReplyEnded("r1", Status.CANCELLED, "turn_detected")) == []
    play.skip(ReplyStarted("r2"), transcript("Sure?", "u2"))
    assert after(play, text_delta("Yes", "r2")) == [Show(TextArrived("Yes"))]


def test_speech_does_not_interrupt_if_not_allowed() -> None:
    options = replace(OPEN_MICROPHONE, interrupts=False)
    play = talking(options).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip() >> SpeechStarted("u2", 3000)


def test_a_line_entered_during_speech_is_answered_first() -> None:
    play = talking(OPEN_MICROPHONE).skip(
        AudioCaptured(ms(2000)), SpeechStarted("u1", 0), UserSaid("hi")
    )
    play.skip(ReplyStarted("r1"), text_delta("Hel"), SpeechStopped("u1", 900))
    assert after(play, AudioCommitted("u1")) == []
    busy = ServerProblem("Busy.", code="conversation_already_has_active_response")
    assert shown(after(play, busy)) == [notices.server_reports("Busy.", "detail").update]
    assert after(play, text_delta("lo.")) == [Show(TextArrived("lo."))]
    play.skip(transcript("When?"))
    effects = after(play, ReplyEnded("r1", Status.COMPLETED))
    assert shown(effects)[1:] == [QuestionAsked("", "m", spoken=True), UserTranscript("When?")]
    assert sent(effects) == [CreateResponse(AUDIO)]


def test_a_turn_refused_by_a_busy_server_is_answered_later() -> None:
    play = talking(OPEN_MICROPHONE).skip(UserSaid("hi"), SpeechStarted("u1", 0), CancelPressed())
    play.skip(ReplyStarted("r1"), SpeechStopped("u1", 900), AudioCommitted("u1"))
    play.skip(ServerProblem("Busy.", code="conversation_already_has_active_response"))
    assert sent(after(play, ReplyEnded("r1", Status.CANCELLED))) == [CreateResponse(AUDIO)]


def test_speech_while_tools_run_is_answered_by_the_server() -> None:
    tool_policy = ToolPolicy(["f"], ["f"])
    options = replace(OPEN_MICROPHONE, interrupts=False)
    conversation = Conversation("m", AUDIO, speech=options, tool_policy=tool_policy)
    play = connected(Playbook(conversation).skip(Started()))
    play.skip(UserSaid("hi"), ReplyStarted("r1"))
    play.skip(ReplyEnded("r1", Status.COMPLETED, items=(ToolCall("f", "c1", "{}"),)))
    play.skip(AudioCommitted("u1"), ReplyStarted("r2"), transcript("When?"))
    assert after(play, text_delta("Noon.", "r2")) == [Show(TextArrived("Noon."))]


def test_cancelling_shows_the_transcript_of_an_unanswered_turn() -> None:
    options = replace(OPEN_MICROPHONE, interrupts=False)
    play = talking(options).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(
        text_delta("No"), AudioCommitted("u2"), transcript("Sure?", "u2"), AudioCommitted("u2")
    )
    play.skip(CancelPressed())
    words, over = shown(after(play, CancelPressed()))
    assert words == UserTranscript("Sure?")
    assert isinstance(over, ReplyOver)
    play.skip(LOST, TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    play.skip(SessionUpdated("s", "m"))
    asked = AddItem(Message("user", (Part("text", "Sure?"),)))
    assert sent(after(play, RetryAsked())) == [asked, CreateResponse(AUDIO)]


def test_a_turn_spoken_during_a_reply_is_answered_after_it() -> None:
    options = replace(OPEN_MICROPHONE, interrupts=False)
    play = talking(options).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(text_delta("No"), SpeechStarted("u2", 3000), SpeechStopped("u2", 4000))
    assert after(play, AudioCommitted("u2")) == []
    assert after(play, transcript("Sure?", "u2")) == []
    assert after(play, TimerFired(Timer.TRANSCRIPT)) == [Show(TextArrived("No"))]
    assert after(play, text_delta("on.")) == [Show(TextArrived("on."))]
    effects = after(play, ReplyEnded("r1", Status.COMPLETED))
    _, asked, words = shown(effects)
    assert (asked, words) == (QuestionAsked("", "m", spoken=True), UserTranscript("Sure?"))
    assert sent(effects) == [CreateResponse(AUDIO)]


def test_a_turn_spoken_during_a_reply_is_resent_once_after_a_lost_connection() -> None:
    options = replace(OPEN_MICROPHONE, interrupts=False)
    play = talking(options).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(text_delta("No"), AudioCommitted("u2"), transcript("Sure?", "u2"), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    *_, item, reply = sent(after(play, SessionUpdated("s", "m")))
    assert item == AddItem(Message("user", (Part("text", "Sure?"),)))
    assert reply == CreateResponse(AUDIO)


def test_cancelling_after_the_reply_stops_playback() -> None:
    play = speaking().skip(ReplyEnded("r1", Status.COMPLETED))
    play >> CancelPressed() << StopPlaying()


def test_cancelling_stops_the_reply_and_playback() -> None:
    play = speaking()
    assert after(play, CancelPressed())[:2] == [Send("rtchat_3", Cancel("r1")), StopPlaying()]
    assert sent(after(play, PlaybackCut("a1", 0, 240))) == [Truncate("a1", 0, 240)]
    assert after(play, audio_delta(ms(100))) == []


def test_cancelling_drops_push_to_talk_audio() -> None:
    play = talking(PUSH_TO_TALK).skip(MicrophoneToggled(), AudioCaptured(ms(300)))
    off = Show(MicrophoneStatus(is_on=False, push_to_talk=True))
    play >> CancelPressed() << [StopPlaying(), off, notices.RECORDING_DISCARDED]
    play.skip(MicrophoneToggled(), AudioCaptured(ms(200, 2)))
    assert sent(after(play, MicrophoneToggled()))[0] == AppendAudio(ms(200, 2))


def test_push_to_talk_audio_is_asked_when_the_microphone_is_lost() -> None:
    play = talking(PUSH_TO_TALK).skip(MicrophoneToggled(), AudioCaptured(ms(300)))
    effects = after(play, MicrophoneLost(GONE))
    assert sent(effects) == [AppendAudio(ms(300)), CommitAudio(), CreateResponse(AUDIO)]
    opening = MicrophoneStatus(is_on=False, push_to_talk=True, is_opening=True)
    assert opening in shown(after(play, MicrophoneToggled()))


def test_speech_stops_playback_without_response_ids() -> None:
    play = talking(OPEN_MICROPHONE).skip(
        *SPOKEN_TURN, AudioCommitted("u1"), audio_delta(ms(500), "")
    )
    play >> SpeechStarted("u2", 3000) << StopPlaying()
    assert after(play, audio_delta(ms(100), "")) == []
    play.skip(AudioCommitted("u2"))
    assert after(play, audio_delta(ms(100), "")) == [Play("a1", 0, ms(100))]


def test_a_turn_spoken_before_a_stopped_reply_ends_is_answered() -> None:
    play = speaking().skip(CancelPressed(), SpeechStarted("u2", 3000), SpeechStopped("u2", 4000))
    assert QuestionAsked("", "m", spoken=True) in shown(after(play, AudioCommitted("u2")))
    assert after(play, ReplyEnded("r1", Status.CANCELLED)) == []
    play.skip(ReplyStarted("r2"), transcript("Sure?", "u2"))
    assert after(play, text_delta("Yes", "r2")) == [Show(TextArrived("Yes"))]
    assert ReplyOver in [type(u) for u in shown(after(play, ReplyEnded("r2", Status.COMPLETED)))]


def test_a_turn_spoken_before_a_cancel_was_sent_is_not_cancelled() -> None:
    play = talking(OPEN_MICROPHONE).skip(
        UserSaid("hi"), CancelPressed(), *SPOKEN_TURN, AudioCommitted("u1")
    )
    assert after(play, ReplyStarted("r1")) == []
    play.skip(transcript("Hm?"))
    assert after(play, text_delta("Yes")) == [Show(TextArrived("Yes"))]


def test_a_typed_question_stops_playback() -> None:
    play = speaking().skip(ReplyEnded("r1", Status.COMPLETED))
    effects = after(play, UserSaid("hi"))
    assert effects[0] == StopPlaying()
    assert sent(effects) == [AddItem(Message("user", (Part("text", "hi"),))), CreateResponse(AUDIO)]


def test_no_truncation_is_sent_for_an_item_of_a_lost_session() -> None:
    play = speaking().skip(LOST)
    assert sent(after(play, PlaybackCut("a1", 0, 240))) == []
    play.skip(
        TimerFired(Timer.RETRY),
        ConnectionOpened(),
        SessionCreated("s", "m"),
        SessionUpdated("s", "m"),
    )
    assert sent(after(play, PlaybackCut("a1", 0, 240))) == []


def test_a_refused_truncation_is_a_detail() -> None:
    play = speaking().skip(SpeechStarted("u2", 3000), PlaybackCut("a1", 0, 240))
    error = ServerProblem("No such item.", event_id="rtchat_3")
    assert shown(after(play, error)) == [notices.server_reports("No such item.", "detail").update]


def test_a_spoken_turn_stops_the_tools_of_the_previous_turn() -> None:
    tool_policy = ToolPolicy(["f"], ["f"])
    conversation = Conversation("m", AUDIO, speech=OPEN_MICROPHONE, tool_policy=tool_policy)
    play = connected(Playbook(conversation).skip(Started()))
    play.skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(ReplyEnded("r1", Status.COMPLETED, items=(ToolCall("f", "c1", "{}"),)))
    commands = sent(after(play, AudioCommitted("u2")))
    assert [type(c.item) for c in commands if isinstance(c, AddItem)] == [ToolOutput]


# ------------------------------------------------------------------------------------- push-to-talk


def test_audio_between_two_key_presses_is_a_question() -> None:
    play = talking(PUSH_TO_TALK)
    play >> AudioCaptured(ms(500))
    (
        play
        >> MicrophoneToggled()
        << [
            Show(MicrophoneStatus(is_on=False, push_to_talk=True, is_opening=True)),
            StopPlaying(),
        ]
    )
    play >> MicrophoneOpened() << Show(MicrophoneStatus(is_on=True, push_to_talk=True))
    play >> AudioCaptured(ms(300)) >> AudioCaptured(ms(400, 2))
    effects = after(play, MicrophoneToggled())
    assert shown(effects) == [MicrophoneStatus(False, True), QuestionAsked("", "m", spoken=True)]
    said = ms(300) + ms(400, 2)
    assert sent(effects) == [
        AppendAudio(said[:24_000]),
        AppendAudio(said[24_000:]),
        CommitAudio(),
        CreateResponse(AUDIO),
    ]
    play >> AudioCommitted("u1") >> ReplyStarted("r1")
    play >> transcript("Well?") << Show(UserTranscript("Well?"))


def test_too_short_audio_is_not_a_question() -> None:
    play = talking(PUSH_TO_TALK).skip(MicrophoneToggled(), AudioCaptured(ms(90)))
    off, notice = shown(after(play, MicrophoneToggled()))
    assert off == MicrophoneStatus(False, True)
    assert notice == notices.NOTHING_RECORDED.update


def test_starting_to_talk_stops_the_reply() -> None:
    play = talking(PUSH_TO_TALK).skip(UserSaid("hi"), ReplyStarted("r1"), text_delta("No"))
    effects = after(play, MicrophoneToggled())
    assert sent(effects) == [Cancel("r1")]


def test_starting_to_talk_keeps_questions_queued_without_a_connection() -> None:
    play = talking(PUSH_TO_TALK).skip(LOST, UserSaid("hi"))
    play.skip(MicrophoneToggled(), AudioCaptured(ms(200)), MicrophoneToggled())
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    asked = [
        u for u in shown(after(play, SessionUpdated("s", "m"))) if isinstance(u, QuestionAsked)
    ]
    assert asked == [QuestionAsked("hi", "m")]
    play.skip(ReplyStarted("r1"))
    assert QuestionAsked("", "m", True) in shown(after(play, ReplyEnded("r1", Status.COMPLETED)))


def test_a_refused_commit_ends_the_turn() -> None:
    play = talking(PUSH_TO_TALK).skip(
        MicrophoneToggled(), AudioCaptured(ms(200)), MicrophoneToggled()
    )
    error = ServerProblem("Too small.", code="input_audio_buffer_commit_empty", event_id="rtchat_3")
    (over,) = shown(after(play, error))
    assert isinstance(over, ReplyOver)
    assert over.problem is not None
    assert over.problem.message == "Too small."


# -------------------------------------------------------------------------------------- attachments

IMAGE = Part("image", data="data:image/png;base64,AA==")
ATTACHMENT = AddItem(Message("user", (IMAGE,), "files_1"))


def test_attachments_are_sent_before_the_server_ends_a_spoken_turn() -> None:
    play = talking(OPEN_MICROPHONE).skip(Attached("a.png", IMAGE), AudioCaptured(ms(2000)))
    play >> SpeechStarted("u1", 500) << [Send("rtchat_3", ATTACHMENT), StopPlaying()]
    play.skip(SpeechStopped("u1", 1500))
    assert sent(after(play, AudioCommitted("u1"))) == []
    play.skip(transcript("What is it?"), LOST, TimerFired(Timer.RETRY), ConnectionOpened())
    play.skip(SessionCreated("s", "m"))
    again = AddItem(Message("user", (IMAGE, Part("text", "What is it?"))))
    assert sent_items(after(play, SessionUpdated("s", "m"))) == [again, CreateResponse(AUDIO)]


def test_an_attachment_during_speech_is_sent_at_once() -> None:
    play = talking(OPEN_MICROPHONE).skip(SpeechStarted("u1", 0))
    notice = notices.attached("a.png", shows_command=True)
    assert after(play, Attached("a.png", IMAGE)) == [notice, Send("rtchat_2", ATTACHMENT)]


def test_attachments_are_sent_before_audio_that_waited_for_a_session() -> None:
    play = talking(OPEN_MICROPHONE).skip(Attached("a.png", IMAGE), LOST, AudioCaptured(ms(900)))
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    assert sent(after(play, SessionUpdated("s", "m"))) == [ATTACHMENT, AppendAudio(ms(900))]


def test_attachments_are_resent_after_a_lost_connection() -> None:
    play = talking(OPEN_MICROPHONE).skip(Attached("a.png", IMAGE), SpeechStarted("u1", 0), LOST)
    play = connected(play.skip(TimerFired(Timer.RETRY)))
    assert sent(after(play, SpeechStarted("u1", 0))) == [ATTACHMENT]


def test_attachments_are_sent_with_a_typed_question_if_it_is_first() -> None:
    play = talking(OPEN_MICROPHONE).skip(Attached("a.png", IMAGE))
    assert sent(after(play, UserSaid("hi"))) == [
        AddItem(Message("user", (IMAGE, Part("text", "hi")))),
        CreateResponse(AUDIO),
    ]
    assert sent(after(play, SpeechStarted("u1", 0))) == []


NOTES = Part("text", "File: notes.txt")


def test_a_sent_attachment_is_deleted_when_detached() -> None:
    play = talking(OPEN_MICROPHONE).skip(Attached("a.png", IMAGE), Attached("notes.txt", NOTES))
    both = AddItem(Message("user", (IMAGE, NOTES), "files_1"))
    assert sent(after(play, SpeechStarted("u1", 0))) == [both]
    left = AddItem(Message("user", (NOTES,), "files_2"))
    assert sent(after(play, DetachAsked(1))) == [Delete("files_1"), left]
    assert sent(after(play, EntryAbandoned())) == [Delete("files_2")]
    play.skip(SpeechStopped("u1", 1500), AudioCommitted("u1"), transcript("What?"), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    question = AddItem(Message("user", (Part("text", "What?"),)))
    assert sent_items(after(play, SessionUpdated("s", "m"))) == [question, CreateResponse(AUDIO)]


def test_an_attachment_detached_without_a_session_is_not_sent() -> None:
    play = talking(OPEN_MICROPHONE).skip(Attached("a.png", IMAGE), SpeechStarted("u1", 0), LOST)
    assert sent(after(play, DetachAsked())) == []
    play = connected(play.skip(TimerFired(Timer.RETRY)))
    assert sent(after(play, SpeechStarted("u1", 0))) == []


def test_a_session_that_fails_to_delete_an_attachment_is_replaced() -> None:
    play = talking(OPEN_MICROPHONE).skip(Attached("a.png", IMAGE), SpeechStarted("u1", 0))
    (deleting,) = (each for each in after(play, DetachAsked()) if isinstance(each, Send))
    play.skip(SpeechStopped("u1", 900), AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(ServerProblem("no such item", event_id=deleting.event_id))
    assert Connect("m") in after(play, ReplyEnded("r1", Status.COMPLETED))


# --------------------------------------------------------------- the microphone without typed input


def test_the_microphone_continues_after_the_end_of_input() -> None:
    play = talking(OPEN_MICROPHONE, Mode.LINES).skip(
        UserSaid("hi"), InputEnded(), ReplyStarted("r1")
    )
    play.skip(text_delta("Hello."))
    assert Stop(ExitCode.OK) not in after(play, ReplyEnded("r1", Status.COMPLETED))
    play.skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r2"), transcript("When?"))
    play.skip(ReplyEnded("r2", Status.COMPLETED))
    play.skip(MicrophoneLost(GONE))
    assert after(play, TimerFired(Timer.INPUT))[-1] == Stop(ExitCode.USAGE)


def test_piped_lines_are_answered_after_the_microphone_is_lost() -> None:
    play = talking(OPEN_MICROPHONE, Mode.LINES).skip(
        UserSaid("hi"), InputEnded(), MicrophoneLost(GONE)
    )
    play.skip(ReplyStarted("r1"), text_delta("Hello."))
    assert after(play, ReplyEnded("r1", Status.COMPLETED))[-1] == Stop(ExitCode.USAGE)


def test_a_server_without_audio_is_asked_in_text() -> None:
    play = talking(OPEN_MICROPHONE).skip(AudioCaptured(ms(20)))
    problem = ServerProblem("This server has no voice.", code="audio_not_supported")
    notice, off = shown(after(play, problem))
    assert isinstance(notice, Notice)
    assert (notice.level, off) == ("error", NO_MICROPHONE)
    assert after(play, AudioCaptured(ms(20))) == []
    (again,) = shown(after(play, problem))
    assert isinstance(again, Notice)
    assert again.level == "detail"
    assert QuestionAsked("hi", "m") in shown(after(play, UserSaid("hi")))


def test_without_a_connection_the_microphone_is_off_until_the_key_is_pressed() -> None:
    play = talking(OPEN_MICROPHONE).skip(AudioCaptured(ms(20)))
    updates = shown(after(play, ConnectionLost(GONE, Retry.NEVER)))
    assert updates == [
        MicrophoneStatus(is_on=False, push_to_talk=False),
        error_notice(GONE),
        NotConnected(),
    ]
    assert after(play, AudioCaptured(ms(20))) == []
    assert Connect("m") in after(play, MicrophoneToggled())
    play.skip(AudioCaptured(ms(20, 2)), ConnectionOpened(), SessionCreated("s", "m"))
    assert sent(after(play, SessionUpdated("s", "m"))) == [AppendAudio(ms(20, 2))]


def test_a_turn_begun_before_the_microphone_was_lost_is_answered() -> None:
    play = talking(OPEN_MICROPHONE, Mode.LINES).skip(InputEnded(), AudioCaptured(ms(900)))
    play.skip(SpeechStarted("u1", 0), MicrophoneLost(GONE), SpeechStopped("u1", 900))
    play.skip(AudioCommitted("u1"), transcript("When?"), ReplyStarted("r1"), text_delta("Noon."))
    assert after(play, TimerFired(Timer.INPUT)) == []
    assert after(play, ReplyEnded("r1", Status.COMPLETED))[-1] == Stop(ExitCode.USAGE)


def test_audio_of_a_lost_microphone_is_sent_to_the_next_session() -> None:
    play = talking(OPEN_MICROPHONE, Mode.LINES).skip(InputEnded(), LOST, AudioCaptured(ms(900)))
    tail = bytes(TAIL_MS * BYTES_A_MS)
    assert Stop(ExitCode.USAGE) not in after(play, MicrophoneLost(GONE))
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    effects = play.conversation.handle(SessionUpdated("s", "m"))
    assert sent(effects) == [AppendAudio(ms(900)), AppendAudio(tail)]
    assert SetTimer(Timer.INPUT, LAST_TURN_WAIT) in effects
    assert after(play, TimerFired(Timer.INPUT))[-1] == Stop(ExitCode.USAGE)


# ----------------------------------------------------------------------------------- recorded audio


def test_a_recording_is_a_question_and_its_text_is_sent_first() -> None:
    play = talking(WITHOUT_MICROPHONE, Mode.ONCE)
    effects = after(play, AudioSaid(ms(100), "In French:"))
    assert shown(effects) == [QuestionAsked("In French:", "m", spoken=True)]
    assert sent(effects) == [
        AddItem(Message("user", (Part("text", "In French:"),))),
        AppendAudio(ms(100)),
        CommitAudio(),
        CreateResponse(AUDIO),
    ]


def test_the_program_waits_for_a_late_transcript() -> None:
    play = talking(WITHOUT_MICROPHONE, Mode.ONCE).skip(
        AudioSaid(ms(100)), InputEnded(), AudioCommitted("u1")
    )
    play.skip(ReplyStarted("r1"), text_delta("Noon."))
    effects = play.conversation.handle(ReplyEnded("r1", Status.COMPLETED))
    assert SetTimer(Timer.TRANSCRIPT, LAST_TRANSCRIPT_WAIT) in effects
    effects = after(play, transcript("When?"))
    assert effects == [Show(UserTranscript("When?")), Stop(ExitCode.OK)]


def test_the_wait_for_a_late_transcript_is_limited() -> None:
    play = talking(WITHOUT_MICROPHONE, Mode.ONCE).skip(
        AudioSaid(ms(100)), InputEnded(), AudioCommitted("u1")
    )
    play.skip(ReplyStarted("r1"), ReplyEnded("r1", Status.COMPLETED))
    assert after(play, TimerFired(Timer.TRANSCRIPT)) == [Stop(ExitCode.OK)]


def test_a_recording_is_resent_on_the_next_connection() -> None:
    play = talking(WITHOUT_MICROPHONE, Mode.ONCE).skip(
        AudioSaid(ms(100)), AudioCommitted("u1"), LOST
    )
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    expected = [AppendAudio(ms(100)), CommitAudio(), CreateResponse(AUDIO)]
    assert sent(after(play, SessionUpdated("s", "m"))) == expected
    play.skip(AudioCommitted("u2"), ReplyStarted("r1"))
    assert after(play, transcript("When?", "u2")) == [Show(UserTranscript("When?"))]


# ------------------------------------------------------------------------------- audio of the reply


def test_half_a_sample_waits_for_the_other_half() -> None:
    play = speaking()
    play >> Delta(Channel.AUDIO, text64(b"\1\2\3"), "r1", "a1") << Play("a1", 0, b"\1\2")
    play >> Delta(Channel.AUDIO, text64(b"\4"), "r1", "a1") << Play("a1", 0, b"\3\4")
    play >> Delta(Channel.AUDIO, text64(b"\5"), "r1", "a1")
    done = ChannelDone(Channel.AUDIO, "", "r1", "a1")
    play >> done << Play("a1", 0, b"", is_last=True)


@pytest.mark.parametrize("text", ["*", "AAA", "\ud800", "é"])
def test_invalid_base64_audio_is_skipped(text: str) -> None:
    play = speaking()
    for level in ("warning", "detail"):
        (notice,) = shown(after(play, Delta(Channel.AUDIO, text, "r1", "a1")))
        assert isinstance(notice, Notice)
        assert notice.level == level
        assert "not valid base64" in notice.text


def test_base64_audio_may_contain_line_breaks() -> None:
    text = text64(ms(10))
    delta = Delta(Channel.AUDIO, f"{text[:76]}\r\n{text[76:]}\n", "r1", "a1")
    assert after(speaking(), delta) == [Play("a1", 0, ms(10))]


@pytest.mark.parametrize("end", [ReplyEnded("r1", Status.COMPLETED), LOST], ids=["over", "lost"])
def test_the_end_of_a_reply_ends_its_audio(end: Event) -> None:
    assert Play("a1", 0, b"", is_last=True) in after(speaking(), end)


def test_audio_is_not_played_in_text_conversations() -> None:
    play = talking(WITHOUT_MICROPHONE).skip(UserSaid("hi"), ReplyStarted("r1"))
    assert after(play, audio_delta(ms(10))) == []
    assert after(play, text_delta("No")) == [Show(TextArrived("No"))]


# --------------------------------------------------------------------------------- lost connections


def test_audio_captured_without_a_session_is_sent_to_the_next_one() -> None:
    play = talking(OPEN_MICROPHONE).skip(LOST, AudioCaptured(ms(20)), TimerFired(Timer.RETRY))
    play.skip(AudioCaptured(ms(20, 2)), ConnectionOpened(), SessionCreated("s", "m"))
    play.skip(AudioCaptured(ms(20, 3)))
    said = [AppendAudio(ms(20, n)) for n in (1, 2, 3)]
    assert sent(after(play, SessionUpdated("s", "m"))) == said


def test_speech_interrupted_by_a_lost_connection_is_resent_from_its_beginning() -> None:
    play = talking(OPEN_MICROPHONE).skip(AudioCaptured(ms(2000)), AudioCaptured(ms(1000, 2)))
    play.skip(SpeechStarted("u1", 1990), LOST, AudioCaptured(ms(20, 3)), TimerFired(Timer.RETRY))
    play.skip(ConnectionOpened(), SessionCreated("s", "m"))
    assert sent(after(play, SessionUpdated("s", "m"))) == [
        AppendAudio(ms(10) + ms(1000, 2)),
        AppendAudio(ms(20, 3)),
    ]


def test_the_last_seconds_before_a_lost_connection_are_resent() -> None:
    play = talking(OPEN_MICROPHONE).skip(*[AudioCaptured(ms(1000, n)) for n in range(1, 9)], LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    last = b"".join(ms(1000, n) for n in range(9 - BEFORE_MS // 1000, 9))
    assert sent(after(play, SessionUpdated("s", "m"))) == [AppendAudio(last)]


def test_audio_held_without_a_session_is_limited() -> None:
    play = talking(OPEN_MICROPHONE).skip(LOST, *[AudioCaptured(ms(1000, n)) for n in range(1, 71)])
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    held = sent(after(play, SessionUpdated("s", "m")))
    assert held == [AppendAudio(ms(1000, n)) for n in range(71 - MAX_HELD_MS // 1000, 71)]


def test_a_lost_spoken_question_is_resent_as_its_transcript() -> None:
    play = talking(OPEN_MICROPHONE).skip(
        *SPOKEN_TURN, AudioCommitted("u1"), transcript("When?"), LOST
    )
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    asked = Message("user", (Part("text", "When?"),))
    assert sent_items(after(play, SessionUpdated("s", "m"))) == [
        AddItem(asked),
        CreateResponse(AUDIO),
    ]


def test_a_lost_spoken_question_without_a_transcript_is_resent_as_audio() -> None:
    play = talking(OPEN_MICROPHONE).skip(AudioCaptured(ms(400)), AudioCaptured(ms(1600, 2)))
    play.skip(SpeechStarted("u1", 300), SpeechStopped("u1", 500), AudioCommitted("u1"), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    asked = Message("user", (Part("audio", data=text64(ms(100) + ms(100, 2))),))
    assert sent_items(after(play, SessionUpdated("s", "m"))) == [
        AddItem(asked),
        CreateResponse(AUDIO),
    ]


def test_audio_long_before_the_speech_is_not_resent() -> None:
    play = talking(OPEN_MICROPHONE).skip(*[AudioCaptured(ms(1000, n)) for n in range(1, 31)])
    play.skip(SpeechStarted("u1", 0), SpeechStopped("u1", 29_000), AudioCommitted("u1"), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    add, _ = sent_items(after(play, SessionUpdated("s", "m")))
    first = 31 - BEFORE_MS // 1000
    said = b"".join(ms(1000, n) for n in range(first, 30))
    assert add == AddItem(Message("user", (Part("audio", data=text64(said)),)))


def test_a_session_is_not_renewed_during_speech() -> None:
    play = talking(OPEN_MICROPHONE).skip(AudioCaptured(ms(1000)), SpeechStarted("u1", 500))
    assert after(play, TimerFired(Timer.RENEW)) == []
    play.skip(SpeechStopped("u1", 900), AudioCommitted("u1"), ReplyStarted("r1"))
    assert Connect("m") in after(play, ReplyEnded("r1", Status.COMPLETED))


@pytest.mark.parametrize("replies", [True, False], ids=["server replies", "asked for"])
def test_speech_before_a_renewal_is_answered_after_the_outputs_of_calls(
    replies: bool,
) -> None:
    play = talking(replace(OPEN_MICROPHONE, replies=replies)).skip(AudioCaptured(ms(2000)))
    play.skip(UserSaid("hi"), ReplyStarted("r1"), CancelPressed(), SpeechStarted("u1", 500))
    play.skip(TimerFired(Timer.RENEW))
    late = after(play, ReplyEnded("r1", Status.COMPLETED, items=(ToolCall("f", "c1", "{}"),)))
    assert sent(late) == [AddItem(ToolOutput("c1", STOPPED))]
    asked = [] if replies else [CreateResponse(AUDIO)]
    assert sent(after(play.skip(SpeechStopped("u1", 1500)), AudioCommitted("u1"))) == asked


@pytest.mark.parametrize("replies", [True, False], ids=["server replies", "asked for"])
def test_after_too_many_calls_a_new_session_answers_the_speech(replies: bool) -> None:
    play = talking(replace(OPEN_MICROPHONE, replies=replies)).skip(AudioCaptured(ms(2000)))
    play.skip(UserSaid("hi"), ReplyStarted("r1"), CancelPressed(), SpeechStarted("u1", 500))
    play.skip(ReplyStarted("r9"), ReplyEnded("r9", Status.COMPLETED, items=TOO_MANY_CALLS))
    play.skip(SpeechStopped("u1", 1500))
    assert Connect("m") in after(play, AudioCommitted("u1"))
    play.skip(ConnectionOpened(), SessionCreated("s", "m"))
    said = Message("user", (Part("audio", data=text64(ms(1000))),))
    commands = sent_items(after(play, SessionUpdated("s", "m")))
    assert commands[-2:] == [AddItem(said), CreateResponse(AUDIO)]


def test_after_too_many_calls_a_turn_refused_by_a_busy_server_causes_a_new_session() -> None:
    play = talking(OPEN_MICROPHONE).skip(UserSaid("hi"), SpeechStarted("u1", 0), CancelPressed())
    play.skip(ReplyStarted("r1"), SpeechStopped("u1", 900), AudioCommitted("u1"))
    play.skip(ServerProblem("Busy.", code="conversation_already_has_active_response"))
    late = ReplyEnded("r1", Status.CANCELLED, items=TOO_MANY_CALLS)
    assert Connect("m") in after(play, late)


def test_too_many_calls_cause_a_new_session_even_during_speech() -> None:
    play = talking(OPEN_MICROPHONE).skip(
        AudioCaptured(ms(2000)), UserSaid("hi"), ReplyStarted("r1")
    )
    play.skip(CancelPressed(), SpeechStarted("u1", 500))
    assert Connect("m") in after(play, ReplyEnded("r1", Status.COMPLETED, items=TOO_MANY_CALLS))
    play.skip(ConnectionOpened(), SessionCreated("s", "m"))
    audio = [
        c.audio for c in sent(after(play, SessionUpdated("s", "m"))) if isinstance(c, AppendAudio)
    ]
    assert audio == [ms(1500)]


@pytest.mark.parametrize("end", [LOST, LIMITED], ids=["lost", "limited"])
def test_a_reply_with_only_audio_is_not_requested_again(end: Event) -> None:
    play = talking(OPEN_MICROPHONE).skip(UserSaid("hi"), ReplyStarted("r1"), audio_delta(ms(100)))
    assert ReplyOver in [type(update) for update in shown(after(play, end))]


@pytest.mark.parametrize(
    "event",
    [
        NewConversationAsked(),
        ConversationLoaded(StoredConversation(1, "", 0.0, 0.0, "m", 0, ())),
        ModelSet("n"),
    ],
)
def test_another_conversation_or_model_stops_playback(event: Event) -> None:
    assert StopPlaying() in after(speaking(), event)


def test_a_repeated_commit_is_ignored() -> None:
    play = talking(OPEN_MICROPHONE).skip(*SPOKEN_TURN, AudioCommitted("u1"))
    assert after(play, AudioCommitted("u1")) == []


def test_half_a_sample_of_a_lost_connection_is_dropped() -> None:
    play = talking(OPEN_MICROPHONE).skip(UserSaid("hi"), ReplyStarted("r1"), audio_delta(b"\7"))
    assert Play("a1", 0, b"", is_last=True) in after(play, LOST)
    play = connected(play.skip(TimerFired(Timer.RETRY)))
    play.skip(ReplyStarted("r1"))
    assert after(play, audio_delta(b"\1\2")) == [Play("a1", 0, b"\1\2")]


@pytest.mark.parametrize(
    "end", [transcript(""), TranscriptionFailed("u1", "noise")], ids=["empty", "failed"]
)
def test_a_recording_without_a_transcript_is_resent_as_audio(end: Event) -> None:
    play = talking(WITHOUT_MICROPHONE, Mode.ONCE).skip(
        AudioSaid(ms(100)), AudioCommitted("u1"), end, LOST
    )
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    expected = [AppendAudio(ms(100)), CommitAudio(), CreateResponse(AUDIO)]
    assert sent(after(play, SessionUpdated("s", "m"))) == expected
    play.skip(AudioCommitted("u2"), ReplyStarted("r1"), ReplyEnded("r1", Status.COMPLETED))


def test_an_answered_turn_without_a_transcript_is_not_resent() -> None:
    play = talking(OPEN_MICROPHONE).skip(
        *SPOKEN_TURN, AudioCommitted("u1"), transcript(""), ReplyStarted("r1")
    )
    play.skip(text_delta("What?"), ReplyEnded("r1", Status.COMPLETED), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    known = [AddItem(Message("assistant", (Part("text", "What?"),)))]
    assert sent_items(after(play, SessionUpdated("s", "m"))) == known


def test_long_speech_without_a_transcript_is_resent_in_several_items() -> None:
    minutes = 5 * 60_000
    play = talking(OPEN_MICROPHONE).skip(AudioCaptured(ms(100)), Attached("a.png", IMAGE))
    play.skip(SpeechStarted("u1", 0))
    for number in range(5):
        play.skip(AudioCaptured(ms(minutes // 5, number)))
    play.skip(SpeechStopped("u1", minutes), AudioCommitted("u1"), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    *added, reply = sent(after(play, SessionUpdated("s", "m")))
    assert reply == CreateResponse(AUDIO)
    items = [each.item for each in added if isinstance(each, AddItem)]
    parts = [item.parts for item in items if isinstance(item, Message)]
    assert parts.pop(0) == (IMAGE,)
    assert [len(each) for each in parts] == [1, 1, 1]
    said = b"".join(b64decode(part.data) for (part,) in parts)
    assert len(said) == minutes * BYTES_A_MS
    assert all(len(part.data) < 15 * 1024 * 1024 for (part,) in parts)


def test_text_and_audio_before_calls_end_before_the_calls_begin() -> None:
    tool_policy = ToolPolicy(["f"], ["f"])
    conversation = Conversation("m", AUDIO, speech=OPEN_MICROPHONE, tool_policy=tool_policy)
    play = connected(Playbook(conversation).skip(Started()))
    play.skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"), text_delta("Let me see."))
    play.skip(audio_delta(ms(10)))
    call = ToolCall("f", "c1", "{}")
    effects = after(play, ReplyEnded("r1", Status.COMPLETED, items=(call,)))
    assert effects[:3] == [
        Show(TextArrived("Let me see.")),
        Play("a1", 0, b"", is_last=True),
        Show(ToolBegan(call)),
    ]


# --------------------------------------------------------------------------------- recorded entries


def spoken(text: str = "", audio: bytes = b"") -> Message:
    return Message("user", (Part("audio", text, text64(audio)),))


def records(effects: list[Effect]) -> list[Entry]:
    return [effect.entry for effect in effects if isinstance(effect, Record)]


def test_transcripts_are_recorded_without_audio() -> None:
    play = talking(OPEN_MICROPHONE).skip(*SPOKEN_TURN)
    handle = play.conversation.handle
    asked = Entry(1, 0, spoken(), State.ASKED, "m")
    assert records(handle(AudioCommitted("u1"))) == [asked]
    assert records(handle(transcript("When?"))) == [replace(asked, item=spoken("When?"))]
    play.skip(ReplyStarted("r1"), text_delta("Noon."), audio_delta(ms(10)))
    answer, question = records(handle(ReplyEnded("r1", Status.COMPLETED)))
    assert answer.item == Message("assistant", (Part("text", "Noon."),))
    assert question == replace(asked, item=spoken("When?"), state=State.COMPLETED)


def test_late_transcripts_are_recorded() -> None:
    play = talking(OPEN_MICROPHONE).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(ReplyEnded("r1", Status.COMPLETED))
    kept = Entry(1, 0, spoken("When?"), State.COMPLETED, "m")
    assert records(play.conversation.handle(transcript("When?"))) == [kept]


def test_audio_is_recorded_if_enabled() -> None:
    play = talking(replace(OPEN_MICROPHONE, stores_audio=True)).skip(*SPOKEN_TURN)
    handle = play.conversation.handle
    said = ms(1000)
    asked = Entry(1, 0, spoken("", said), State.ASKED, "m")
    assert records(handle(AudioCommitted("u1"))) == [asked]
    assert records(handle(transcript("When?"))) == [replace(asked, item=spoken("When?", said))]
    play.skip(ReplyStarted("r1"), text_delta("Noon."), audio_delta(ms(10)), audio_delta(ms(20, 2)))
    answer, question = records(handle(ReplyEnded("r1", Status.COMPLETED)))
    audio = Part("audio", "Noon.", text64(ms(10) + ms(20, 2)))
    assert answer.item == Message("assistant", (audio,))
    assert question == replace(asked, item=spoken("When?", said), state=State.COMPLETED)


def test_a_reply_without_a_transcript_is_recorded_as_audio_and_not_resent() -> None:
    play = talking(replace(OPEN_MICROPHONE, stores_audio=True)).skip(
        *SPOKEN_TURN, AudioCommitted("u1")
    )
    play.skip(transcript("When?"), ReplyStarted("r1"), audio_delta(ms(10)))
    answer, _ = records(play.conversation.handle(ReplyEnded("r1", Status.COMPLETED)))
    assert answer.item == Message("assistant", (Part("audio", "", text64(ms(10))),))
    kept = StoredConversation(
        1, "", 0.0, 0.0, "m", 1, (Entry(1, 0, spoken("When?"), State.COMPLETED), answer)
    )
    play.skip(ConversationLoaded(kept), ConnectionOpened(), SessionCreated("s", "m"))
    known = [AddItem(Message("user", (Part("text", "When?"),)))]
    assert sent_items(after(play, SessionUpdated("s", "m"))) == known


def test_an_unanswered_question_is_resent() -> None:
    play = talking(OPEN_MICROPHONE).skip(
        *SPOKEN_TURN, AudioCommitted("u1"), TranscriptionFailed("u1", "noise")
    )
    play.skip(ReplyStarted("r1"), ReplyEnded("r1", Status.FAILED), ModelSet("n"))
    play.skip(ConnectionOpened(), SessionCreated("s", "n"))
    known = [AddItem(spoken("", ms(1000)))]
    assert sent_items(after(play, SessionUpdated("s", "n"))) == known
    assert sent(after(play, RetryAsked())) == [CreateResponse(AUDIO)]


@pytest.mark.parametrize("is_answered", [True, False])
def test_retry_without_a_transcript_or_audio_is_an_error(is_answered: bool) -> None:
    entries = [Entry(1, 0, spoken(), State.FAILED)]
    if is_answered:
        asked = Message("user", (IMAGE, Part("audio")))
        entries = [Entry(1, 0, asked, State.COMPLETED)]
        answer = Message("assistant", (Part("text", "A cat."),))
        entries.append(Entry(1, 1, answer, State.COMPLETED))
    kept = StoredConversation(1, "", 0.0, 0.0, "m", 1, tuple(entries))
    play = talking(OPEN_MICROPHONE).skip(
        ConversationLoaded(kept), ConnectionOpened(), SessionCreated("s", "m")
    )
    play.skip(SessionUpdated("s", "m"))
    assert after(play, RetryAsked()) == [notices.TRANSCRIPT_UNKNOWN]


def test_audio_before_a_call_is_recorded() -> None:
    speech, tool_policy = replace(OPEN_MICROPHONE, stores_audio=True), ToolPolicy(["f"], ["f"])
    conversation = Conversation("m", AUDIO, speech=speech, tool_policy=tool_policy)
    play = connected(Playbook(conversation).skip(Started()))
    play.skip(UserSaid("hi"), ReplyStarted("r1"), text_delta("Let me see."), audio_delta(ms(10)))
    call = ToolCall("f", "c1", "{}")
    said, _ = records(play.conversation.handle(ReplyEnded("r1", Status.COMPLETED, items=(call,))))
    audio = Part("audio", "Let me see.", text64(ms(10)))
    assert said.item == Message("assistant", (audio,))


def test_retry_sends_a_spoken_question_as_its_transcript_or_as_audio() -> None:
    play = talking(WITHOUT_MICROPHONE).skip(
        AudioSaid(ms(100)), AudioCommitted("u1"), ReplyStarted("r1")
    )
    play.skip(text_delta("Noon."), ReplyEnded("r1", Status.COMPLETED, items=(noon("i1"),)))
    assert sent(after(play, RetryAsked())) == [Delete("i1"), Delete("u1")]
    play.skip(ItemDeleted("i1"))
    assert CommitAudio() in sent(after(play, ItemDeleted("u1")))
    play.skip(AudioCommitted("u2"), ReplyStarted("r2"), transcript("When?", "u2"))
    play.skip(text_delta("Noon.", "r2"), ReplyEnded("r2", Status.COMPLETED, items=(noon("i2"),)))
    play.skip(RetryAsked(), ItemDeleted("i2"))
    asked = AddItem(Message("user", (Part("text", "When?"),)))
    assert sent(after(play, ItemDeleted("u2")))[0] == asked


def noon(item_id: str) -> Message:
    return Message("assistant", (Part("text", "Noon."),), item_id)


def test_a_saved_spoken_conversation_is_resent_as_transcripts() -> None:
    known = Entry(1, 0, spoken("When?", ms(10)), State.COMPLETED)
    unknown = Entry(2, 0, spoken(), State.COMPLETED)
    kept = StoredConversation(1, "", 0.0, 0.0, "m", 2, (known, unknown))
    play = Playbook(Conversation("m", AUDIO, speech=OPEN_MICROPHONE, stored=kept)).skip(
        Started(), ConnectionOpened()
    )
    play.skip(SessionCreated("s", "m"))
    expected = [AddItem(Message("user", (Part("text", "When?"),)))]
    assert sent(after(play, SessionUpdated("s", "m"))) == expected
    play.skip(
        NewConversationAsked(),
        ConversationLoaded(kept),
        ConnectionOpened(),
        SessionCreated("s", "m"),
    )
    assert sent(after(play, SessionUpdated("s", "m"))) == expected


def test_the_microphone_is_turned_off_when_the_budget_is_spent() -> None:
    budget = Budget({"m": Rate(1.0, 1.0, 1_000_000.0)}, 1.0)
    play = connected(
        Playbook(Conversation("m", AUDIO, speech=OPEN_MICROPHONE, budget=budget)).skip(Started())
    )
    play.skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(ReplyEnded("r1", Status.COMPLETED, usage=Usage(1, 0, 10, 11)))
    updates = shown(after(play, AudioCommitted("u2")))
    assert MicrophoneStatus(is_on=False, push_to_talk=False) in updates
    assert any(isinstance(update, ReplyOver) and update.problem for update in updates)
    assert sent(after(play, ReplyStarted("r2"))) == [Cancel("r2")]


@pytest.mark.parametrize("mode", [Mode.CHAT, Mode.LINES])
def test_the_microphone_is_turned_off_when_a_line_is_refused_for_the_budget(mode: Mode) -> None:
    budget = Budget({"m": Rate(1.0, 1.0, 1_000_000.0)}, 1.0)
    conversation = Conversation("m", AUDIO, mode=mode, speech=OPEN_MICROPHONE, budget=budget)
    play = connected(Playbook(conversation).skip(Started(), UserSaid("hi")))
    play.skip(ReplyStarted("r1"), AudioCaptured(ms(20)))
    play.skip(ReplyEnded("r1", Status.COMPLETED, usage=Usage(1, 0, 10, 11)))
    effects = after(play, UserSaid("more"))
    over = next(update for update in shown(effects) if isinstance(update, ReplyOver))
    assert over.problem is not None
    if mode is Mode.CHAT:
        assert Show(MicrophoneStatus(is_on=False, push_to_talk=False)) in effects
    else:
        assert [e for e in effects if isinstance(e, Stop)] == [Stop(ExitCode.LIMIT)]


def begin_turn(play: Playbook) -> None:
    """A spoken turn, to which the server has not replied yet."""
    play.skip(SpeechStarted("u1", 0), SpeechStopped("u1", 900), AudioCommitted("u1"))


def overdue(play: Playbook, event: Event) -> list[Effect]:
    """What an event does to the timer of a late reply."""
    done = play.conversation.handle(event)
    play.note(done)
    timers = [e for e in done if isinstance(e, SetTimer | ClearTimer)]
    return [timer for timer in timers if timer.timer is Timer.OVERDUE]


def over(effects: list[Effect]) -> list[tuple[Status, str]]:
    return [(each.status, each.reason) for each in shown(effects) if isinstance(each, ReplyOver)]


@pytest.mark.parametrize("words", ["", " \n"])
def test_a_turn_without_words_ends_soon_if_the_server_does_not_reply(words: str) -> None:
    play = talking(OPEN_MICROPHONE)
    begin_turn(play)
    assert overdue(play, transcript(words, "u1")) == [SetTimer(Timer.OVERDUE, WORDLESS_WAIT)]
    assert over(after(play, TimerFired(Timer.OVERDUE))) == [(Status.CANCELLED, "no_words")]
    begin_turn(play)  # the session continues
    assert not over(after(play, TimerFired(Timer.OVERDUE)))


def recorded(effects: list[Effect]) -> list[tuple[str, str]]:
    """The states and reasons of the questions that are saved."""
    entries = [effect.entry for effect in effects if isinstance(effect, Record)]
    return [(entry.state, entry.reason) for entry in entries if entry.index == 0]


@pytest.mark.parametrize(
    "ends",
    [
        [transcript("", "u1"), TimerFired(Timer.OVERDUE)],
        [transcript("", "u1"), SpeechStarted("u2", 2000), AudioCommitted("u2")],
        [SpeechStarted("u2", 2000), AudioCommitted("u2"), transcript("", "u1")],
        [transcript("", "u1"), CancelPressed()],
    ],
    ids=["no reply", "more speech", "late transcript", "key"],
)
def test_the_history_says_that_a_turn_has_no_words(ends: list[Event]) -> None:
    play = talking(OPEN_MICROPHONE)
    begin_turn(play)
    done = [effect for event in ends for effect in play.handle(event)]
    assert ("cancelled", NO_WORDS) in recorded(done)


@pytest.mark.parametrize(
    "ends",
    [
        [transcript("Hm", "u1"), CancelPressed()],
        [TranscriptionFailed("u1", "noise"), CancelPressed()],
        [transcript("", "u1"), ReplyStarted("r1"), text_delta("Pardon?", "r1"), CancelPressed()],
    ],
    ids=["words", "no transcript", "reply"],
)
def test_a_turn_with_words_or_a_reply_is_cancelled(ends: list[Event]) -> None:
    play = talking(OPEN_MICROPHONE)
    begin_turn(play)
    done = [effect for event in ends for effect in play.handle(event)]
    assert recorded(done)[-1] == ("cancelled", "")


def test_a_reply_to_a_turn_without_words_is_shown() -> None:
    play = talking(OPEN_MICROPHONE)
    begin_turn(play)
    play.skip(transcript("", "u1"))
    assert overdue(play, ReplyStarted("r1")) == [ClearTimer(Timer.OVERDUE)]
    assert not over(after(play, TimerFired(Timer.OVERDUE)))
    play.skip(text_delta("Pardon?", "r1"))
    done = after(play, ReplyEnded("r1", Status.COMPLETED))
    assert over(done) == [(Status.COMPLETED, "")]


def test_speech_after_a_turn_without_words_is_waited_for_as_usual() -> None:
    play = talking(OPEN_MICROPHONE)
    begin_turn(play)
    play.skip(transcript("", "u1"))
    play.skip(SpeechStarted("u2", 950), SpeechStopped("u2", 1900))
    assert overdue(play, AudioCommitted("u2")) == [ClearTimer(Timer.OVERDUE)]
    assert not over(after(play, TimerFired(Timer.OVERDUE)))


@pytest.mark.parametrize("case", ["words", "late", "requested"])
def test_other_turns_are_waited_for_as_usual(case: str) -> None:
    play = talking(
        OPEN_MICROPHONE if case != "requested" else replace(OPEN_MICROPHONE, replies=False)
    )
    begin_turn(play)
    if case == "late":
        play.skip(ReplyStarted("r1"))
    assert overdue(play, transcript("No." if case == "words" else "", "u1")) == []


# --------------------------------------------------------------------------------------------- echo


def muted(effects: list[Effect]) -> bool:
    """Whether the microphone was muted; if so, the reason must be shown."""
    updates = shown(effects)
    is_off = MicrophoneStatus(is_on=False, push_to_talk=False) in updates
    notices = [update.hint for update in updates if isinstance(update, Notice)]
    assert is_off == any("headphones" in hint for hint in notices)
    return is_off


def echo(play: Playbook, number: int, words: str | None, *, played_ms: int | None) -> list[Effect]:
    """The effects of a spoken turn, its reply, and speech that cuts playback at `played_ms`."""
    item, reply = f"u{number}", f"r{number}"
    done = after(play, SpeechStarted(item, 0)) if number == 1 else []
    events: list[Event] = [SpeechStopped(item, 9), AudioCommitted(item)]
    events += [transcript(words, item)] if words is not None else []
    events += [ReplyStarted(reply), text_delta("No.", reply), audio_delta(ms(500), reply)]
    events += [ReplyEnded(reply, Status.COMPLETED), SpeechStarted(f"u{number + 1}", 0)]
    events += [PlaybackCut("a1", 0, played_ms)] if played_ms is not None else []
    return [*done, *(effect for event in events for effect in after(play, event))]


@pytest.mark.parametrize("transcribes", [True, False])
def test_three_replies_in_a_row_that_are_cut_early_mute_the_microphone(transcribes: bool) -> None:
    play = talking(replace(OPEN_MICROPHONE, transcribes=transcribes))
    words = "No." if transcribes else None
    assert [muted(echo(play, n, words, played_ms=400)) for n in (1, 2, 3)] == [False, False, True]
    assert sent(after(play, AudioCaptured(ms(20)))) == [AppendAudio(bytes(len(ms(20))), live=True)]
    # Turning it on again resets the count.
    assert MicrophoneStatus(is_on=True, push_to_talk=False) in shown(
        after(play, MicrophoneToggled())
    )
    assert not muted(echo(play, 4, words, played_ms=400))


def test_three_replies_to_empty_transcripts_mute_the_microphone() -> None:
    play = talking(OPEN_MICROPHONE)
    assert [muted(echo(play, n, " ", played_ms=None)) for n in (1, 2, 3)] == [False, False, True]


ECHOES = ("cut early", "no words", "both")
NO_ECHOES = ("heard", "cut late")


def spoken_turn(play: Playbook, number: int, kind: str, comes: str) -> bool:
    """A spoken turn and the start of the next one; `comes` is when its transcript arrives. Returns
    whether the microphone was muted."""
    item, reply = f"u{number}", f"r{number}"
    transcripts: list[Event] = [transcript("" if kind in ("no words", "both") else "No.", item)]
    early, late, later = ((transcripts if comes == when else []) for when in WHEN[:3])
    played_ms = {"cut early": 400, "both": 400, "cut late": 3000}.get(kind)
    events: list[Event] = [SpeechStopped(item, 9), AudioCommitted(item)]
    events += [*early, ReplyStarted(reply), text_delta("No.", reply), audio_delta(ms(500), reply)]
    events += [*late, ReplyEnded(reply, Status.COMPLETED), SpeechStarted(f"u{number + 1}", 0)]
    events += [PlaybackCut("a1", 0, played_ms)] if played_ms is not None else []
    effects = [effect for event in (*events, *later) for effect in after(play, event)]
    return muted(effects)


WHEN = ("before the reply", "during the reply", "after the reply", "never")


@pytest.mark.parametrize("comes", WHEN)
def test_any_three_signs_of_an_echo_in_a_row_mute_the_microphone(comes: str) -> None:
    kinds = (*ECHOES, *NO_ECHOES) if comes != "never" else ("cut early", *NO_ECHOES)
    for turns in product(kinds, repeat=3):
        play = talking(OPEN_MICROPHONE)
        after(play, SpeechStarted("u1", 0))
        in_a_row = 0
        for number, kind in enumerate((*turns, *("cut early",) * 3), 1):
            in_a_row = in_a_row + 1 if kind in ECHOES else 0
            is_muted = spoken_turn(play, number, kind, comes)
            assert is_muted == (in_a_row == 3), (turns, number)
            if is_muted:
                break


@pytest.mark.parametrize("first", [1, 2])
def test_transcripts_that_come_after_the_next_question_are_counted(first: int) -> None:
    play = talking(OPEN_MICROPHONE)
    after(play, SpeechStarted("u1", 0))
    spoken_turn(play, 0, "heard", "before the reply")
    results = []
    for number in range(1, 5):
        spoken_turn(play, number, "cut early" if number == first else "heard", "never")
        if number > 1:
            results.append(muted(after(play, transcript("", f"u{number - 1}"))))
    assert results == [False, False, True]


def test_a_reply_with_both_signs_of_an_echo_is_counted_once() -> None:
    play = talking(OPEN_MICROPHONE)
    assert [muted(echo(play, n, "", played_ms=400)) for n in (1, 2)] == [False, False]
    assert muted(echo(play, 3, "No.", played_ms=400))


def test_late_empty_transcripts_are_counted() -> None:
    play = talking(OPEN_MICROPHONE)
    results = []
    for n in (1, 2, 3):
        echo(play, n, None, played_ms=None)
        results.append(muted(after(play, transcript("", f"u{n}"))))
    assert results == [False, False, True]


def test_a_reply_that_is_interrupted_while_its_tool_runs_is_counted() -> None:
    tool_policy = ToolPolicy(["f"], ["f"])
    conversation = Conversation("m", AUDIO, speech=OPEN_MICROPHONE, tool_policy=tool_policy)
    play = connected(Playbook(conversation).skip(Started()))
    results = []
    for n in (1, 2, 3, 4):
        item, reply = f"u{n}", f"r{n}"
        play.skip(SpeechStarted(item, 0), SpeechStopped(item, 9), AudioCommitted(item))
        results.append(muted(after(play, transcript("", item))))
        play.skip(ReplyStarted(reply), text_delta("No.", reply), audio_delta(ms(500), reply))
        calls = (ToolCall("f", f"c{n}", "{}"),)
        play.skip(ReplyEnded(reply, Status.COMPLETED, items=calls))
    assert results == [False, False, False, True]


@pytest.mark.parametrize(
    ("words", "played_ms"),
    [("No.", 1000), ("No.", 0), ("No.", None)],
    ids=["later", "before it sounds", "not at all"],
)
def test_a_user_who_interrupts_is_not_an_echo(words: str, played_ms: int | None) -> None:
    play = talking(OPEN_MICROPHONE)
    assert not any(muted(echo(play, n, words, played_ms=played_ms)) for n in range(1, 9))


def test_a_failed_transcription_is_not_an_echo() -> None:
    play = talking(OPEN_MICROPHONE)
    for n in range(1, 9):
        assert not muted(echo(play, n, None, played_ms=None))
        assert not muted(after(play, TranscriptionFailed(f"u{n}", "Too noisy.")))


@pytest.mark.parametrize("between", ["a reply that ran its course", "a typed question"])
def test_a_complete_turn_resets_the_count(between: str) -> None:
    play = talking(OPEN_MICROPHONE)
    for n in (1, 2):
        assert not muted(echo(play, n, "No.", played_ms=400))
    if between == "a typed question":
        play.skip(UserSaid("hi"), ReplyStarted("r"), text_delta("Yes.", "r"))
        play.skip(ReplyEnded("r", Status.COMPLETED), SpeechStarted("u3", 0))
    else:
        echo(play, 3, "Yes?", played_ms=None)
    for n in (4, 5):
        assert not muted(echo(play, n, "No.", played_ms=400))
    assert muted(echo(play, 6, "No.", played_ms=400))


def test_cancelled_replies_are_not_an_echo() -> None:
    play = talking(OPEN_MICROPHONE)
    for n in range(1, 9):
        play.skip(SpeechStarted(f"u{n}", 0), AudioCommitted(f"u{n}"), transcript("No.", f"u{n}"))
        play.skip(ReplyStarted(f"r{n}"), audio_delta(ms(500), f"r{n}"), CancelPressed())
        assert not muted(after(play, PlaybackCut("a1", 0, 400)))
        play.skip(ReplyEnded(f"r{n}", Status.CANCELLED))


def test_an_echo_ends_a_piped_conversation() -> None:
    play = talking(OPEN_MICROPHONE, Mode.LINES).skip(InputEnded())
    *_, last = [echo(play, n, "No.", played_ms=400) for n in (1, 2, 3)]
    assert Stop(ExitCode.REPLY) in last
