"""A conversation that is spoken: turns that the server ends or the user, what is heard of a reply,
barge-in, and what becomes of it all when the connection is lost."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace

import pytest

from rtchat.core.audio_state import BEFORE_MS, HELD_MS, TAIL_MS, SpeechOptions
from rtchat.core.conversation import Conversation
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
    Notice,
    Play,
    QuestionAsked,
    Record,
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
    MicrophoneLost,
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
from rtchat.core.pricing import Budget, Rate
from rtchat.core.question_queue import LAST_TURN, WORDS_LOST
from rtchat.core.tool_calls import STOPPED, ToolPolicy
from rtchat.core.turn import WORDS_LATE
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
from tests.playbook import Playbook

ALOUD = Options(modality="audio")
OPEN = SpeechOptions(speaks=True, has_microphone=True, push_to_talk=False)
KEY = SpeechOptions(speaks=True, has_microphone=True, push_to_talk=True)
FILE = SpeechOptions()
LOST = ConnectionLost(Problem(ExitCode.LINK, "gone"), Retry.ALWAYS)
GONE = Problem(ExitCode.USAGE, "the microphone is gone", "plug it in")
NO_MICROPHONE = MicrophoneStatus(is_on=False, push_to_talk=False, is_there=False)
MANY = tuple(ToolCall("f", f"c{number}", "{}") for number in range(101))
LIMITED = ReplyEnded(
    "r1", Status.FAILED, code="rate_limit_exceeded", message="Please try again in 2s."
)


def ms(count: int, sample: int = 1) -> bytes:
    """So much audio."""
    return sample.to_bytes(2, "little") * (count * BYTES_A_MS // 2)


def text64(audio: bytes) -> str:
    return b64encode(audio).decode()


def talking(
    options: SpeechOptions, mode: Mode = Mode.CHAT, *, stores_audio: bool = False
) -> Playbook:
    """A session that is ready."""
    play = Playbook(Conversation("m", ALOUD, mode=mode, speech=options), stores_audio=stores_audio)
    return reopened(play.skip(Started()))


def reopened(play: Playbook) -> Playbook:
    return play.skip(ConnectionOpened(), SessionCreated("s", "m"), SessionUpdated("s", "m"))


def heard(text: str, item: str = "u1") -> ChannelDone:
    return ChannelDone(Channel.HEARD, text, item_id=item)


def word(text: str, reply: str = "r1") -> Delta:
    return Delta(Channel.TRANSCRIPT, text, reply, "a1")


def sound(audio: bytes, reply: str = "r1") -> Delta:
    return Delta(Channel.AUDIO, text64(audio), reply, "a1")


def after(play: Playbook, event: Event) -> list[Effect]:
    """What an event leads to, but for timers and what is kept."""
    play.end()
    done = play.conversation.handle(event)
    return [e for e in done if not isinstance(e, SetTimer | ClearTimer | Record)]


def sent(effects: list[Effect]) -> list[Command]:
    return [effect.command for effect in effects if isinstance(effect, Send)]


def told(effects: list[Effect]) -> list[Command]:
    """What a new session is told besides the last seconds of the microphone."""
    return [command for command in sent(effects) if not isinstance(command, AppendAudio)]


def shown(effects: list[Effect]) -> list[object]:
    return [effect.update for effect in effects if isinstance(effect, Show)]


SPOKEN_TURN = (
    AudioCaptured(ms(2000)),
    SpeechStarted("u1", 500),
    SpeechStopped("u1", 1500),
)

# ---------------------------------------------------------------- the server hears when a turn ends


def test_the_microphone_is_on_and_all_of_it_is_sent() -> None:
    play = Playbook(Conversation("m", ALOUD, speech=OPEN))
    (
        play
        >> Started()
        << [Show(MicrophoneStatus(is_on=True, push_to_talk=False))]
        + [ClearTimer(timer) for timer in Timer if timer is not Timer.SAVE]
        + [Show(Connecting("m")), Connect("m")]
    )
    reopened(play) >> AudioCaptured(ms(20)) << Send("rtchat_2", AppendAudio(ms(20), live=True))


def test_a_spoken_turn_from_the_first_word_to_the_last() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN)
    (
        play
        >> AudioCommitted("u1")
        << [StopPlaying(), Show(QuestionAsked("", "m", spoken=True)), SetTimer(Timer.STALL, 60)]
    )
    play >> ReplyStarted("r1")
    play >> heard("What time is it?") << Show(UserTranscript("What time is it?"))
    play >> word("Noon.") << Show(TextArrived("Noon."))
    play >> sound(ms(10)) << Play("a1", 0, ms(10))
    (play >> ChannelDone(Channel.AUDIO, "", "r1", "a1") << Play("a1", 0, b"", is_last=True))
    over = shown(after(play, ReplyEnded("r1", Status.COMPLETED)))
    assert [type(update) for update in over] == [ReplyOver]
    assert isinstance(over[0], ReplyOver)
    assert (over[0].status, over[0].text) == (Status.COMPLETED, "Noon.")


def test_a_reply_waits_for_the_words_that_it_replies_to() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play >> word("No") << SetTimer(Timer.HEARD, WORDS_LATE)
    play >> word("on.")
    (
        play
        >> heard("When?")
        << [Show(UserTranscript("When?")), ClearTimer(Timer.HEARD), Show(TextArrived("Noon."))]
    )
    play >> word(" Sharp.") << Show(TextArrived(" Sharp."))


def test_words_that_are_late_stand_after_the_reply() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"), word("No"))
    assert after(play, TimerFired(Timer.HEARD)) == [Show(TextArrived("No"))]
    assert after(play, heard("When?")) == []
    *_, over, late = shown(after(play, ReplyEnded("r1", Status.COMPLETED)))
    assert isinstance(over, ReplyOver)
    assert late == UserTranscript("When?")


def test_a_short_reply_is_shown_before_its_question_is_written_down() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"), word("No"))
    first, over = shown(after(play, ReplyEnded("r1", Status.COMPLETED)))
    assert first == TextArrived("No")
    assert isinstance(over, ReplyOver)
    assert after(play, heard("When?")) == [Show(UserTranscript("When?"))]


def test_speech_of_which_nothing_was_understood_is_no_line() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"), word("No"))
    assert after(play, heard(" ")) == [Show(TextArrived("No"))]
    assert after(play, heard("twice")) == []


def test_what_cannot_be_written_down_is_said() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"), word("No"))
    why = Notice("warning", "what was said could not be written down: noise")
    assert after(play, TranscriptionFailed("u1", "noise")) == [Show(why), Show(TextArrived("No"))]


def test_pieces_of_what_was_heard_wait_for_the_whole() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN, AudioCommitted("u1"))
    play >> Delta(Channel.HEARD, "Wh", item_id="u1")
    play >> heard("When?") << Show(UserTranscript("When?"))


def test_without_transcription_nothing_waits() -> None:
    play = talking(replace(OPEN, transcribes=False)).skip(*SPOKEN_TURN, AudioCommitted("u1"))
    play.skip(ReplyStarted("r1")) >> word("No") << Show(TextArrived("No"))


def test_a_server_that_never_writes_anything_down_is_not_remembered_for_ever() -> None:
    play = talking(OPEN)
    for number in range(20):
        play.skip(AudioCommitted(f"u{number}"))
    assert after(play, heard("old", "u0")) == []
    assert shown(after(play, heard("new", "u19"))) == [UserTranscript("new")]


def test_where_the_server_does_not_reply_by_itself_a_reply_is_asked_for() -> None:
    play = talking(replace(OPEN, replies=False)).skip(*SPOKEN_TURN)
    assert sent(after(play, AudioCommitted("u1"))) == [CreateResponse(ALOUD)]


def test_a_muted_microphone_sends_silence_so_that_a_turn_can_end() -> None:
    play = talking(OPEN)
    play >> MicrophoneToggled() << Show(MicrophoneStatus(is_on=False, push_to_talk=False))
    assert sent(after(play, AudioCaptured(ms(20)))) == [AppendAudio(bytes(20 * BYTES_A_MS), True)]
    play >> MicrophoneToggled() << Show(MicrophoneStatus(is_on=True, push_to_talk=False))
    assert sent(after(play, AudioCaptured(ms(20)))) == [AppendAudio(ms(20), True)]


def test_without_a_microphone_the_key_says_so() -> None:
    (notice,) = shown(after(talking(FILE), MicrophoneToggled()))
    assert isinstance(notice, Notice)
    assert (notice.level, "talk --voice" in notice.text) == ("error", True)
    assert after(talking(FILE), AudioCommitted("u1")) == []


def test_a_microphone_that_vanishes_is_said_and_the_text_goes_on() -> None:
    play = talking(OPEN)
    gone = Problem(ExitCode.LINK, "the microphone is gone", "plug it in")
    play >> MicrophoneLost(gone) << [Show(Notice("error", str(gone))), Show(NO_MICROPHONE)]
    assert QuestionAsked("hi", "m") in shown(after(play, UserSaid("hi")))
    play >> MicrophoneLost(gone) << Show(Notice("error", str(gone)))


def test_one_that_vanishes_while_it_is_muted_is_gone_and_not_muted() -> None:
    play = talking(OPEN).skip(MicrophoneToggled())
    play >> MicrophoneLost(GONE) << [Show(Notice("error", str(GONE))), Show(NO_MICROPHONE)]


def test_a_microphone_that_vanishes_in_mid_turn_leaves_a_turn_that_can_end() -> None:
    play = talking(OPEN).skip(AudioCaptured(ms(1000)), SpeechStarted("u1", 0))
    gone = MicrophoneLost(Problem(ExitCode.LINK, "gone"))
    assert sent(after(play, gone)) == [AppendAudio(bytes(TAIL_MS * BYTES_A_MS), live=True)]


def test_the_server_may_drop_what_it_heard() -> None:
    assert after(talking(OPEN), AudioCleared()) == []


# ------------------------------------------------------------------------------------ interruptions


def speaking() -> Playbook:
    """The model answers a spoken question, and is heard."""
    play = talking(OPEN).skip(*SPOKEN_TURN, AudioCommitted("u1"), heard("When?"))
    return play.skip(ReplyStarted("r1"), word("No"), sound(ms(500)))


def test_speech_stops_the_sound_at_once_and_the_server_learns_what_was_heard() -> None:
    play = speaking()
    play >> SpeechStarted("u2", 3000) << StopPlaying()
    play >> PlaybackCut("a1", 0, 240) << Send("rtchat_3", Truncate("a1", 0, 240))
    assert after(play, sound(ms(100))) == []
    assert after(play, word("on.")) == [Show(TextArrived("on."))]
    (over,) = shown(after(play, ReplyEnded("r1", Status.CANCELLED, "turn_detected")))
    assert isinstance(over, ReplyOver)
    assert (over.status, over.reason, over.text) == (Status.CANCELLED, "turn_detected", "Noon.")
    play.skip(SpeechStopped("u2", 4000), AudioCommitted("u2"), ReplyStarted("r2"))
    assert after(play, sound(ms(100), "r2")) == [Play("a1", 0, ms(100))]


def test_a_server_that_says_late_that_a_reply_was_interrupted_is_understood() -> None:
    play = speaking().skip(SpeechStarted("u2", 3000), SpeechStopped("u2", 4000))
    over, asked = shown(after(play, AudioCommitted("u2")))
    assert isinstance(over, ReplyOver)
    assert (over.status, over.reason) == (Status.CANCELLED, "turn_detected")
    assert asked == QuestionAsked("", "m", spoken=True)
    assert after(play, ReplyEnded("r1", Status.CANCELLED, "turn_detected")) == []
    play.skip(ReplyStarted("r2"), heard("Sure?", "u2"))
    assert after(play, word("Yes", "r2")) == [Show(TextArrived("Yes"))]


def test_speech_that_may_not_interrupt_does_not() -> None:
    options = replace(OPEN, interrupts=False)
    play = talking(options).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    assert after(play, SpeechStarted("u2", 3000)) == []


def test_a_line_that_is_asked_while_the_user_speaks_is_answered_before_what_is_said() -> None:
    play = talking(OPEN).skip(AudioCaptured(ms(2000)), SpeechStarted("u1", 0), UserSaid("hi"))
    play.skip(ReplyStarted("r1"), word("Hel"), SpeechStopped("u1", 900))
    assert after(play, AudioCommitted("u1")) == []
    busy = ServerProblem("Busy.", code="conversation_already_has_active_response")
    assert shown(after(play, busy)) == [Notice("detail", "the server reports: Busy.")]
    assert after(play, word("lo.")) == [Show(TextArrived("lo."))]
    play.skip(heard("When?"))
    effects = after(play, ReplyEnded("r1", Status.COMPLETED))
    assert shown(effects)[1:] == [QuestionAsked("", "m", spoken=True), UserTranscript("When?")]
    assert sent(effects) == [CreateResponse(ALOUD)]


def test_a_turn_that_a_server_was_too_busy_to_answer_is_answered_when_it_is_not() -> None:
    play = talking(OPEN).skip(UserSaid("hi"), SpeechStarted("u1", 0), CancelPressed())
    play.skip(ReplyStarted("r1"), SpeechStopped("u1", 900), AudioCommitted("u1"))
    play.skip(ServerProblem("Busy.", code="conversation_already_has_active_response"))
    assert sent(after(play, ReplyEnded("r1", Status.CANCELLED))) == [CreateResponse(ALOUD)]


def test_what_is_said_while_tools_run_is_answered_by_the_server() -> None:
    tool_policy = ToolPolicy(["f"], ["f"])
    options = replace(OPEN, interrupts=False)
    conversation = Conversation("m", ALOUD, speech=options, tool_policy=tool_policy)
    play = reopened(Playbook(conversation).skip(Started()))
    play.skip(UserSaid("hi"), ReplyStarted("r1"))
    play.skip(ReplyEnded("r1", Status.COMPLETED, items=(ToolCall("f", "c1", "{}"),)))
    play.skip(AudioCommitted("u1"), ReplyStarted("r2"), heard("When?"))
    assert after(play, word("Noon.", "r2")) == [Show(TextArrived("Noon."))]


def test_what_was_said_and_will_not_be_answered_is_shown() -> None:
    options = replace(OPEN, interrupts=False)
    play = talking(options).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(word("No"), AudioCommitted("u2"), heard("Sure?", "u2"), AudioCommitted("u2"))
    play.skip(CancelPressed())
    words, over = shown(after(play, CancelPressed()))
    assert words == UserTranscript("Sure?")
    assert isinstance(over, ReplyOver)
    play.skip(LOST, TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    play.skip(SessionUpdated("s", "m"))
    asked = AddItem(Message("user", (Part("text", "Sure?"),)))
    assert sent(after(play, RetryAsked())) == [asked, CreateResponse(ALOUD)]


def test_and_is_answered_after_the_reply() -> None:
    options = replace(OPEN, interrupts=False)
    play = talking(options).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(word("No"), SpeechStarted("u2", 3000), SpeechStopped("u2", 4000))
    assert after(play, AudioCommitted("u2")) == []
    assert after(play, heard("Sure?", "u2")) == []
    assert after(play, TimerFired(Timer.HEARD)) == [Show(TextArrived("No"))]
    assert after(play, word("on.")) == [Show(TextArrived("on."))]
    effects = after(play, ReplyEnded("r1", Status.COMPLETED))
    _, asked, words = shown(effects)
    assert (asked, words) == (QuestionAsked("", "m", spoken=True), UserTranscript("Sure?"))
    assert sent(effects) == [CreateResponse(ALOUD)]


def test_unless_the_connection_is_lost_before_it_is_told_once() -> None:
    options = replace(OPEN, interrupts=False)
    play = talking(options).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(word("No"), AudioCommitted("u2"), heard("Sure?", "u2"), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    *_, told, reply = sent(after(play, SessionUpdated("s", "m")))
    assert told == AddItem(Message("user", (Part("text", "Sure?"),)))
    assert reply == CreateResponse(ALOUD)


def test_a_key_stops_the_sound_that_outlasts_the_reply() -> None:
    play = speaking().skip(ReplyEnded("r1", Status.COMPLETED))
    play >> CancelPressed() << StopPlaying()


def test_a_key_stops_reply_and_sound() -> None:
    play = speaking()
    assert after(play, CancelPressed())[:2] == [Send("rtchat_3", Cancel("r1")), StopPlaying()]
    assert sent(after(play, PlaybackCut("a1", 0, 240))) == [Truncate("a1", 0, 240)]
    assert after(play, sound(ms(100))) == []


def test_what_is_being_said_by_hand_can_be_dropped() -> None:
    play = talking(KEY).skip(MicrophoneToggled(), AudioCaptured(ms(300)))
    off, dropped = (
        MicrophoneStatus(is_on=False, push_to_talk=True),
        Notice("info", "what was said is dropped"),
    )
    play >> CancelPressed() << [StopPlaying(), Show(off), Show(dropped)]
    play.skip(MicrophoneToggled(), AudioCaptured(ms(200, 2)))
    assert sent(after(play, MicrophoneToggled()))[0] == AppendAudio(ms(200, 2))


def test_what_was_said_by_hand_before_the_microphone_vanished_is_a_question() -> None:
    play = talking(KEY).skip(MicrophoneToggled(), AudioCaptured(ms(300)))
    effects = after(play, MicrophoneLost(GONE))
    assert sent(effects) == [AppendAudio(ms(300)), CommitAudio(), CreateResponse(ALOUD)]
    (notice,) = shown(after(play, MicrophoneToggled()))
    assert isinstance(notice, Notice)
    assert notice.level == "error"


def test_a_key_stops_the_sound_of_a_server_that_names_no_response() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN, AudioCommitted("u1"), sound(ms(500), ""))
    play >> SpeechStarted("u2", 3000) << StopPlaying()
    assert after(play, sound(ms(100), "")) == []
    play.skip(AudioCommitted("u2"))
    assert after(play, sound(ms(100), "")) == [Play("a1", 0, ms(100))]


def test_a_turn_that_is_spoken_before_a_stopped_reply_is_over_is_answered() -> None:
    play = speaking().skip(CancelPressed(), SpeechStarted("u2", 3000), SpeechStopped("u2", 4000))
    assert QuestionAsked("", "m", spoken=True) in shown(after(play, AudioCommitted("u2")))
    assert after(play, ReplyEnded("r1", Status.CANCELLED)) == []
    play.skip(ReplyStarted("r2"), heard("Sure?", "u2"))
    assert after(play, word("Yes", "r2")) == [Show(TextArrived("Yes"))]
    assert ReplyOver in [type(u) for u in shown(after(play, ReplyEnded("r2", Status.COMPLETED)))]


def test_a_turn_that_is_spoken_before_a_stop_was_sent_is_not_stopped() -> None:
    play = talking(OPEN).skip(UserSaid("hi"), CancelPressed(), *SPOKEN_TURN, AudioCommitted("u1"))
    assert after(play, ReplyStarted("r1")) == []
    play.skip(heard("Hm?"))
    assert after(play, word("Yes")) == [Show(TextArrived("Yes"))]


def test_a_typed_question_is_heard_instead_of_what_was_being_said() -> None:
    play = speaking().skip(ReplyEnded("r1", Status.COMPLETED))
    effects = after(play, UserSaid("hi"))
    assert effects[0] == StopPlaying()
    assert sent(effects) == [AddItem(Message("user", (Part("text", "hi"),))), CreateResponse(ALOUD)]


def test_a_cut_of_what_no_session_knows_is_nobodys_business() -> None:
    play = speaking().skip(LOST)
    assert after(play, PlaybackCut("a1", 0, 240)) == []
    play.skip(
        TimerFired(Timer.RETRY),
        ConnectionOpened(),
        SessionCreated("s", "m"),
        SessionUpdated("s", "m"),
    )
    assert after(play, PlaybackCut("a1", 0, 240)) == []


def test_a_server_that_cannot_cut_says_so_only_to_who_asks() -> None:
    play = speaking().skip(SpeechStarted("u2", 3000), PlaybackCut("a1", 0, 240))
    error = ServerProblem("No such item.", event_id="rtchat_3")
    assert shown(after(play, error)) == [Notice("detail", "the server reports: No such item.")]


def test_a_turn_stops_the_tools_of_the_one_before() -> None:
    tool_policy = ToolPolicy(["f"], ["f"])
    conversation = Conversation("m", ALOUD, speech=OPEN, tool_policy=tool_policy)
    play = reopened(Playbook(conversation).skip(Started()))
    play.skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(ReplyEnded("r1", Status.COMPLETED, items=(ToolCall("f", "c1", "{}"),)))
    commands = sent(after(play, AudioCommitted("u2")))
    assert [type(c.item) for c in commands if isinstance(c, AddItem)] == [ToolOutput]


# ------------------------------------------------------------------------------ turns ended by hand


def test_what_is_said_between_two_presses_is_a_question() -> None:
    play = talking(KEY)
    play >> AudioCaptured(ms(500))
    (
        play
        >> MicrophoneToggled()
        << [Show(MicrophoneStatus(is_on=True, push_to_talk=True)), StopPlaying()]
    )
    play >> AudioCaptured(ms(300)) >> AudioCaptured(ms(400, 2))
    effects = after(play, MicrophoneToggled())
    assert shown(effects) == [MicrophoneStatus(False, True), QuestionAsked("", "m", spoken=True)]
    said = ms(300) + ms(400, 2)
    assert sent(effects) == [
        AppendAudio(said[:24_000]),
        AppendAudio(said[24_000:]),
        CommitAudio(),
        CreateResponse(ALOUD),
    ]
    play >> AudioCommitted("u1") >> ReplyStarted("r1")
    play >> heard("Well?") << Show(UserTranscript("Well?"))


def test_nothing_said_is_no_question() -> None:
    play = talking(KEY).skip(MicrophoneToggled(), AudioCaptured(ms(90)))
    off, notice = shown(after(play, MicrophoneToggled()))
    assert off == MicrophoneStatus(False, True)
    assert isinstance(notice, Notice)
    assert notice.text.startswith("nothing was said")


def test_to_talk_stops_the_reply() -> None:
    play = talking(KEY).skip(UserSaid("hi"), ReplyStarted("r1"), word("No"))
    effects = after(play, MicrophoneToggled())
    assert sent(effects) == [Cancel("r1")]


def test_what_was_asked_while_there_is_no_connection_is_not_dropped_by_talking() -> None:
    play = talking(KEY).skip(LOST, UserSaid("hi"))
    play.skip(MicrophoneToggled(), AudioCaptured(ms(200)), MicrophoneToggled())
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    asked = [
        u for u in shown(after(play, SessionUpdated("s", "m"))) if isinstance(u, QuestionAsked)
    ]
    assert asked == [QuestionAsked("hi", "m")]
    play.skip(ReplyStarted("r1"))
    assert QuestionAsked("", "m", True) in shown(after(play, ReplyEnded("r1", Status.COMPLETED)))


def test_a_turn_that_the_server_will_not_have_is_over() -> None:
    play = talking(KEY).skip(MicrophoneToggled(), AudioCaptured(ms(200)), MicrophoneToggled())
    error = ServerProblem("Too small.", code="input_audio_buffer_commit_empty", event_id="rtchat_3")
    (over,) = shown(after(play, error))
    assert isinstance(over, ReplyOver)
    assert over.problem is not None
    assert over.problem.message == "Too small."


# ---------------------------------------------------------------------------- what goes with a turn

IMAGE = Part("image", data="data:image/png;base64,AA==")
TOLD = AddItem(Message("user", (IMAGE,), "files_1"))


def test_what_is_attached_is_there_before_the_server_ends_a_spoken_turn() -> None:
    play = talking(OPEN).skip(Attached("a.png", IMAGE), AudioCaptured(ms(2000)))
    play >> SpeechStarted("u1", 500) << [Send("rtchat_3", TOLD), StopPlaying()]
    play.skip(SpeechStopped("u1", 1500))
    assert sent(after(play, AudioCommitted("u1"))) == []
    play.skip(heard("What is it?"), LOST, TimerFired(Timer.RETRY), ConnectionOpened())
    play.skip(SessionCreated("s", "m"))
    again = AddItem(Message("user", (IMAGE, Part("text", "What is it?"))))
    assert told(after(play, SessionUpdated("s", "m"))) == [again, CreateResponse(ALOUD)]


def test_what_is_attached_while_the_user_speaks_is_told_at_once() -> None:
    play = talking(OPEN).skip(SpeechStarted("u1", 0))
    notice = Show(Notice("info", "a.png attached to the next question (/detach removes it)"))
    assert after(play, Attached("a.png", IMAGE)) == [notice, Send("rtchat_2", TOLD)]


def test_what_is_attached_goes_before_speech_that_waited_for_a_session() -> None:
    play = talking(OPEN).skip(Attached("a.png", IMAGE), LOST, AudioCaptured(ms(900)))
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    assert sent(after(play, SessionUpdated("s", "m"))) == [TOLD, AppendAudio(ms(900))]


def test_a_session_that_was_told_what_is_attached_may_be_lost() -> None:
    play = talking(OPEN).skip(Attached("a.png", IMAGE), SpeechStarted("u1", 0), LOST)
    play = reopened(play.skip(TimerFired(Timer.RETRY)))
    assert sent(after(play, SpeechStarted("u1", 0))) == [TOLD]


def test_what_is_attached_goes_with_a_typed_question_if_that_is_first() -> None:
    play = talking(OPEN).skip(Attached("a.png", IMAGE))
    assert sent(after(play, UserSaid("hi"))) == [
        AddItem(Message("user", (IMAGE, Part("text", "hi")))),
        CreateResponse(ALOUD),
    ]
    assert sent(after(play, SpeechStarted("u1", 0))) == []


NOTES = Part("text", "File: notes.txt")


def test_what_is_detached_is_deleted_where_the_server_was_told_of_it() -> None:
    play = talking(OPEN).skip(Attached("a.png", IMAGE), Attached("notes.txt", NOTES))
    both = AddItem(Message("user", (IMAGE, NOTES), "files_1"))
    assert sent(after(play, SpeechStarted("u1", 0))) == [both]
    left = AddItem(Message("user", (NOTES,), "files_2"))
    assert sent(after(play, DetachAsked(1))) == [Delete("files_1"), left]
    assert sent(after(play, EntryAbandoned())) == [Delete("files_2")]
    play.skip(SpeechStopped("u1", 1500), AudioCommitted("u1"), heard("What?"), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    question = AddItem(Message("user", (Part("text", "What?"),)))
    assert told(after(play, SessionUpdated("s", "m"))) == [question, CreateResponse(ALOUD)]


def test_what_is_detached_while_there_is_no_session_is_not_told_to_the_next() -> None:
    play = talking(OPEN).skip(Attached("a.png", IMAGE), SpeechStarted("u1", 0), LOST)
    assert sent(after(play, DetachAsked())) == []
    play = reopened(play.skip(TimerFired(Timer.RETRY)))
    assert sent(after(play, SpeechStarted("u1", 0))) == []


def test_a_session_that_cannot_delete_what_it_was_told_is_replaced() -> None:
    play = talking(OPEN).skip(Attached("a.png", IMAGE), SpeechStarted("u1", 0))
    (deleting,) = (each for each in after(play, DetachAsked()) if isinstance(each, Send))
    play.skip(SpeechStopped("u1", 900), AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(ServerProblem("no such item", event_id=deleting.event_id))
    assert Connect("m") in after(play, ReplyEnded("r1", Status.COMPLETED))


# ------------------------------------------------------------------------------- nobody at the keys


def test_a_pipe_that_ended_leaves_the_microphone() -> None:
    play = talking(OPEN, Mode.LINES).skip(UserSaid("hi"), InputEnded(), ReplyStarted("r1"))
    play.skip(word("Hello."))
    assert Stop(ExitCode.OK) not in after(play, ReplyEnded("r1", Status.COMPLETED))
    play.skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r2"), heard("When?"))
    play.skip(ReplyEnded("r2", Status.COMPLETED))
    play.skip(MicrophoneLost(GONE))
    assert after(play, TimerFired(Timer.INPUT))[-1] == Stop(ExitCode.USAGE)


def test_without_a_microphone_the_lines_of_a_pipe_are_answered() -> None:
    play = talking(OPEN, Mode.LINES).skip(UserSaid("hi"), InputEnded(), MicrophoneLost(GONE))
    play.skip(ReplyStarted("r1"), word("Hello."))
    assert after(play, ReplyEnded("r1", Status.COMPLETED))[-1] == Stop(ExitCode.USAGE)


def test_a_server_that_takes_no_audio_is_asked_in_text() -> None:
    play = talking(OPEN).skip(AudioCaptured(ms(20)))
    deaf = ServerProblem("This server has no voice.", code="audio_not_supported")
    notice, off = shown(after(play, deaf))
    assert isinstance(notice, Notice)
    assert (notice.level, off) == ("error", NO_MICROPHONE)
    assert after(play, AudioCaptured(ms(20))) == []
    (again,) = shown(after(play, deaf))
    assert isinstance(again, Notice)
    assert again.level == "detail"
    assert QuestionAsked("hi", "m") in shown(after(play, UserSaid("hi")))


def test_without_any_connection_nobody_is_listened_to_until_the_key_is_pressed() -> None:
    play = talking(OPEN).skip(AudioCaptured(ms(20)))
    updates = shown(after(play, ConnectionLost(GONE, Retry.NEVER)))
    assert updates == [
        MicrophoneStatus(is_on=False, push_to_talk=False),
        Notice("error", str(GONE)),
    ]
    assert after(play, AudioCaptured(ms(20))) == []
    assert Connect("m") in after(play, MicrophoneToggled())
    play.skip(AudioCaptured(ms(20, 2)), ConnectionOpened(), SessionCreated("s", "m"))
    assert sent(after(play, SessionUpdated("s", "m"))) == [AppendAudio(ms(20, 2))]


def test_a_turn_that_a_lost_microphone_leaves_is_answered() -> None:
    play = talking(OPEN, Mode.LINES).skip(InputEnded(), AudioCaptured(ms(900)))
    play.skip(SpeechStarted("u1", 0), MicrophoneLost(GONE), SpeechStopped("u1", 900))
    play.skip(AudioCommitted("u1"), heard("When?"), ReplyStarted("r1"), word("Noon."))
    assert after(play, TimerFired(Timer.INPUT)) == []
    assert after(play, ReplyEnded("r1", Status.COMPLETED))[-1] == Stop(ExitCode.USAGE)


def test_what_a_lost_microphone_heard_is_told_to_the_next_session() -> None:
    play = talking(OPEN, Mode.LINES).skip(InputEnded(), LOST, AudioCaptured(ms(900)))
    tail = bytes(TAIL_MS * BYTES_A_MS)
    assert Stop(ExitCode.USAGE) not in after(play, MicrophoneLost(GONE))
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    effects = play.conversation.handle(SessionUpdated("s", "m"))
    assert sent(effects) == [AppendAudio(ms(900)), AppendAudio(tail)]
    assert SetTimer(Timer.INPUT, LAST_TURN) in effects
    assert after(play, TimerFired(Timer.INPUT))[-1] == Stop(ExitCode.USAGE)


# ----------------------------------------------------------------------------------- recorded audio


def test_a_recording_is_a_question_and_what_is_written_goes_before_it() -> None:
    play = talking(FILE, Mode.ONCE)
    effects = after(play, AudioSaid(ms(100), "In French:"))
    assert shown(effects) == [QuestionAsked("In French:", "m", spoken=True)]
    assert sent(effects) == [
        AddItem(Message("user", (Part("text", "In French:"),))),
        AppendAudio(ms(100)),
        CommitAudio(),
        CreateResponse(ALOUD),
    ]


def test_the_program_waits_a_little_for_what_it_heard() -> None:
    play = talking(FILE, Mode.ONCE).skip(AudioSaid(ms(100)), InputEnded(), AudioCommitted("u1"))
    play.skip(ReplyStarted("r1"), word("Noon."))
    effects = play.conversation.handle(ReplyEnded("r1", Status.COMPLETED))
    assert SetTimer(Timer.HEARD, WORDS_LOST) in effects
    effects = after(play, heard("When?"))
    assert effects == [Show(UserTranscript("When?")), Stop(ExitCode.OK)]


def test_the_program_does_not_wait_for_ever_for_what_it_heard() -> None:
    play = talking(FILE, Mode.ONCE).skip(AudioSaid(ms(100)), InputEnded(), AudioCommitted("u1"))
    play.skip(ReplyStarted("r1"), ReplyEnded("r1", Status.COMPLETED))
    assert after(play, TimerFired(Timer.HEARD)) == [Stop(ExitCode.OK)]


def test_a_recording_is_asked_again_on_the_next_connection() -> None:
    play = talking(FILE, Mode.ONCE).skip(AudioSaid(ms(100)), AudioCommitted("u1"), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    told = [AppendAudio(ms(100)), CommitAudio(), CreateResponse(ALOUD)]
    assert sent(after(play, SessionUpdated("s", "m"))) == told
    play.skip(AudioCommitted("u2"), ReplyStarted("r1"))
    assert after(play, heard("When?", "u2")) == [Show(UserTranscript("When?"))]


# ----------------------------------------------------------------------------- the sound of a reply


def test_half_a_sample_waits_for_the_other_half() -> None:
    play = speaking()
    play >> Delta(Channel.AUDIO, text64(b"\1\2\3"), "r1", "a1") << Play("a1", 0, b"\1\2")
    play >> Delta(Channel.AUDIO, text64(b"\4"), "r1", "a1") << Play("a1", 0, b"\3\4")
    play >> Delta(Channel.AUDIO, text64(b"\5"), "r1", "a1")
    done = ChannelDone(Channel.AUDIO, "", "r1", "a1")
    play >> done << Play("a1", 0, b"", is_last=True)


@pytest.mark.parametrize("text", ["*", "AAA", "\ud800", "é"])
def test_sound_that_is_none_is_passed_over(text: str) -> None:
    play = speaking()
    for level in ("warning", "detail"):
        (notice,) = shown(after(play, Delta(Channel.AUDIO, text, "r1", "a1")))
        assert isinstance(notice, Notice)
        assert notice.level == level
        assert notice.text.startswith("sound of the reply that is no base64 is left out: ")


def test_sound_in_lines_is_sound() -> None:
    text = text64(ms(10))
    delta = Delta(Channel.AUDIO, f"{text[:76]}\r\n{text[76:]}\n", "r1", "a1")
    assert after(speaking(), delta) == [Play("a1", 0, ms(10))]


@pytest.mark.parametrize("end", [ReplyEnded("r1", Status.COMPLETED), LOST], ids=["over", "lost"])
def test_sound_is_over_with_its_reply_even_if_the_server_does_not_say_so(end: Event) -> None:
    assert Play("a1", 0, b"", is_last=True) in after(speaking(), end)


def test_nobody_listens_to_a_conversation_in_text() -> None:
    play = talking(FILE).skip(UserSaid("hi"), ReplyStarted("r1"))
    assert after(play, sound(ms(10))) == []
    assert after(play, word("No")) == [Show(TextArrived("No"))]


# ------------------------------------------------------------------------ when a connection is lost


def test_what_is_said_while_there_is_no_session_is_for_the_next_one() -> None:
    play = talking(OPEN).skip(LOST, AudioCaptured(ms(20)), TimerFired(Timer.RETRY))
    play.skip(AudioCaptured(ms(20, 2)), ConnectionOpened(), SessionCreated("s", "m"))
    play.skip(AudioCaptured(ms(20, 3)))
    said = [AppendAudio(ms(20, n)) for n in (1, 2, 3)]
    assert sent(after(play, SessionUpdated("s", "m"))) == said


def test_speech_that_a_lost_connection_cut_is_told_to_the_next_from_its_beginning() -> None:
    play = talking(OPEN).skip(AudioCaptured(ms(2000)), AudioCaptured(ms(1000, 2)))
    play.skip(SpeechStarted("u1", 1990), LOST, AudioCaptured(ms(20, 3)), TimerFired(Timer.RETRY))
    play.skip(ConnectionOpened(), SessionCreated("s", "m"))
    assert sent(after(play, SessionUpdated("s", "m"))) == [
        AppendAudio(ms(10) + ms(1000, 2)),
        AppendAudio(ms(20, 3)),
    ]


def test_what_a_lost_session_had_not_taken_for_speech_yet_is_told_to_the_next() -> None:
    play = talking(OPEN).skip(*[AudioCaptured(ms(1000, n)) for n in range(1, 9)], LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    last = b"".join(ms(1000, n) for n in range(9 - BEFORE_MS // 1000, 9))
    assert sent(after(play, SessionUpdated("s", "m"))) == [AppendAudio(last)]


def test_what_nobody_takes_is_not_held_for_ever() -> None:
    play = talking(OPEN).skip(LOST, *[AudioCaptured(ms(1000, n)) for n in range(1, 71)])
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    held = sent(after(play, SessionUpdated("s", "m")))
    assert held == [AppendAudio(ms(1000, n)) for n in range(71 - HELD_MS // 1000, 71)]


def test_a_spoken_question_that_was_lost_is_asked_again_in_words_if_they_are_known() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN, AudioCommitted("u1"), heard("When?"), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    asked = Message("user", (Part("text", "When?"),))
    assert told(after(play, SessionUpdated("s", "m"))) == [AddItem(asked), CreateResponse(ALOUD)]


def test_and_as_it_was_said_if_they_are_not() -> None:
    play = talking(OPEN).skip(AudioCaptured(ms(400)), AudioCaptured(ms(1600, 2)))
    play.skip(SpeechStarted("u1", 300), SpeechStopped("u1", 500), AudioCommitted("u1"), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    asked = Message("user", (Part("audio", data=text64(ms(100) + ms(100, 2))),))
    assert told(after(play, SessionUpdated("s", "m"))) == [AddItem(asked), CreateResponse(ALOUD)]


def test_what_was_said_long_before_anybody_spoke_is_forgotten() -> None:
    play = talking(OPEN).skip(*[AudioCaptured(ms(1000, n)) for n in range(1, 31)])
    play.skip(SpeechStarted("u1", 0), SpeechStopped("u1", 29_000), AudioCommitted("u1"), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    add, _ = told(after(play, SessionUpdated("s", "m")))
    first = 31 - BEFORE_MS // 1000
    said = b"".join(ms(1000, n) for n in range(first, 30))
    assert add == AddItem(Message("user", (Part("audio", data=text64(said)),)))


def test_a_session_is_not_renewed_while_somebody_speaks() -> None:
    play = talking(OPEN).skip(AudioCaptured(ms(1000)), SpeechStarted("u1", 500))
    assert after(play, TimerFired(Timer.RENEW)) == []
    play.skip(SpeechStopped("u1", 900), AudioCommitted("u1"), ReplyStarted("r1"))
    assert Connect("m") in after(play, ReplyEnded("r1", Status.COMPLETED))


@pytest.mark.parametrize("replies", [True, False], ids=["server replies", "asked for"])
def test_what_is_said_before_a_session_is_renewed_comes_after_the_outputs_of_calls(
    replies: bool,
) -> None:
    play = talking(replace(OPEN, replies=replies)).skip(AudioCaptured(ms(2000)))
    play.skip(UserSaid("hi"), ReplyStarted("r1"), CancelPressed(), SpeechStarted("u1", 500))
    play.skip(TimerFired(Timer.RENEW))
    late = after(play, ReplyEnded("r1", Status.COMPLETED, items=(ToolCall("f", "c1", "{}"),)))
    assert sent(late) == [AddItem(ToolOutput("c1", STOPPED))]
    asked = [] if replies else [CreateResponse(ALOUD)]
    assert sent(after(play.skip(SpeechStopped("u1", 1500)), AudioCommitted("u1"))) == asked


@pytest.mark.parametrize("replies", [True, False], ids=["server replies", "asked for"])
def test_a_new_session_answers_what_is_said_after_too_many_calls(replies: bool) -> None:
    play = talking(replace(OPEN, replies=replies)).skip(AudioCaptured(ms(2000)))
    play.skip(UserSaid("hi"), ReplyStarted("r1"), CancelPressed(), SpeechStarted("u1", 500))
    play.skip(ReplyEnded("r9", Status.COMPLETED, items=MANY), SpeechStopped("u1", 1500))
    assert Connect("m") in after(play, AudioCommitted("u1"))
    play.skip(ConnectionOpened(), SessionCreated("s", "m"))
    said = Message("user", (Part("audio", data=text64(ms(1000))),))
    commands = told(after(play, SessionUpdated("s", "m")))
    assert commands[-2:] == [AddItem(said), CreateResponse(ALOUD)]


def test_and_a_turn_that_the_old_one_was_too_busy_to_answer() -> None:
    play = talking(OPEN).skip(UserSaid("hi"), SpeechStarted("u1", 0), CancelPressed())
    play.skip(ReplyStarted("r1"), SpeechStopped("u1", 900), AudioCommitted("u1"))
    play.skip(ServerProblem("Busy.", code="conversation_already_has_active_response"))
    late = ReplyEnded("r1", Status.CANCELLED, items=MANY)
    assert Connect("m") in after(play, late)


def test_too_many_calls_end_a_session_also_while_somebody_speaks() -> None:
    play = talking(OPEN).skip(AudioCaptured(ms(2000)), UserSaid("hi"), ReplyStarted("r1"))
    play.skip(CancelPressed(), SpeechStarted("u1", 500))
    assert Connect("m") in after(play, ReplyEnded("r1", Status.COMPLETED, items=MANY))
    play.skip(ConnectionOpened(), SessionCreated("s", "m"))
    audio = [
        c.audio for c in sent(after(play, SessionUpdated("s", "m"))) if isinstance(c, AppendAudio)
    ]
    assert audio == [ms(1500)]


@pytest.mark.parametrize("end", [LOST, LIMITED], ids=["lost", "limited"])
def test_a_reply_of_which_only_sound_came_is_not_asked_for_again(end: Event) -> None:
    play = talking(OPEN).skip(UserSaid("hi"), ReplyStarted("r1"), sound(ms(100)))
    assert ReplyOver in [type(update) for update in shown(after(play, end))]


@pytest.mark.parametrize(
    "event",
    [
        NewConversationAsked(),
        ConversationLoaded(StoredConversation(1, "", 0.0, 0.0, "m", 0, ())),
        ModelSet("n"),
    ],
)
def test_another_conversation_or_model_is_silent_at_first(event: Event) -> None:
    assert StopPlaying() in after(speaking(), event)


def test_a_turn_that_is_committed_twice_is_one() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN, AudioCommitted("u1"))
    assert after(play, AudioCommitted("u1")) == []


def test_half_a_sample_of_a_lost_connection_is_no_part_of_the_next() -> None:
    play = talking(OPEN).skip(UserSaid("hi"), ReplyStarted("r1"), sound(b"\7"))
    assert Play("a1", 0, b"", is_last=True) in after(play, LOST)
    play = reopened(play.skip(TimerFired(Timer.RETRY)))
    play.skip(ReplyStarted("r1"))
    assert after(play, sound(b"\1\2")) == [Play("a1", 0, b"\1\2")]


@pytest.mark.parametrize(
    "end", [heard(""), TranscriptionFailed("u1", "noise")], ids=["empty", "failed"]
)
def test_what_cannot_be_written_down_is_told_again_as_it_sounded(end: Event) -> None:
    play = talking(FILE, Mode.ONCE).skip(AudioSaid(ms(100)), AudioCommitted("u1"), end, LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    told = [AppendAudio(ms(100)), CommitAudio(), CreateResponse(ALOUD)]
    assert sent(after(play, SessionUpdated("s", "m"))) == told
    play.skip(AudioCommitted("u2"), ReplyStarted("r1"), ReplyEnded("r1", Status.COMPLETED))


def test_once_it_is_answered_it_is_told_no_more() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN, AudioCommitted("u1"), heard(""), ReplyStarted("r1"))
    play.skip(word("What?"), ReplyEnded("r1", Status.COMPLETED), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    known = [AddItem(Message("assistant", (Part("text", "What?"),)))]
    assert told(after(play, SessionUpdated("s", "m"))) == known


def test_a_long_speech_that_nobody_wrote_down_is_told_in_items_that_a_server_takes() -> None:
    minutes = 5 * 60_000
    play = talking(OPEN).skip(AudioCaptured(ms(100)), Attached("a.png", IMAGE))
    play.skip(SpeechStarted("u1", 0))
    for number in range(5):
        play.skip(AudioCaptured(ms(minutes // 5, number)))
    play.skip(SpeechStopped("u1", minutes), AudioCommitted("u1"), LOST)
    play.skip(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "m"))
    *added, reply = sent(after(play, SessionUpdated("s", "m")))
    assert reply == CreateResponse(ALOUD)
    items = [each.item for each in added if isinstance(each, AddItem)]
    parts = [item.parts for item in items if isinstance(item, Message)]
    assert parts.pop(0) == (IMAGE,)
    assert [len(each) for each in parts] == [1, 1, 1]
    said = b"".join(b64decode(part.data) for (part,) in parts)
    assert len(said) == minutes * BYTES_A_MS
    assert all(len(part.data) < 15 * 1024 * 1024 for (part,) in parts)


def test_a_reply_with_calls_is_shown_and_heard_to_its_end_before_they_are_made() -> None:
    tool_policy = ToolPolicy(["f"], ["f"])
    conversation = Conversation("m", ALOUD, speech=OPEN, tool_policy=tool_policy)
    play = reopened(Playbook(conversation).skip(Started()))
    play.skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"), word("Let me see."))
    play.skip(sound(ms(10)))
    call = ToolCall("f", "c1", "{}")
    effects = after(play, ReplyEnded("r1", Status.COMPLETED, items=(call,)))
    assert effects[:3] == [
        Show(TextArrived("Let me see.")),
        Play("a1", 0, b"", is_last=True),
        Show(ToolBegan(call)),
    ]


# ------------------------------------------------------------------------------------- what is kept


def spoken(text: str = "", audio: bytes = b"") -> Message:
    return Message("user", (Part("audio", text, text64(audio)),))


def records(effects: list[Effect]) -> list[Entry]:
    return [effect.entry for effect in effects if isinstance(effect, Record)]


def test_the_words_are_kept_and_the_sound_is_not() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN)
    handle = play.conversation.handle
    asked = Entry(1, 0, spoken(), State.ASKED, "m")
    assert records(handle(AudioCommitted("u1"))) == [asked]
    assert records(handle(heard("When?"))) == [replace(asked, item=spoken("When?"))]
    play.skip(ReplyStarted("r1"), word("Noon."), sound(ms(10)))
    answer, question = records(handle(ReplyEnded("r1", Status.COMPLETED)))
    assert answer.item == Message("assistant", (Part("text", "Noon."),))
    assert question == replace(asked, item=spoken("When?"), state=State.COMPLETED)


def test_words_that_come_after_the_reply_are_kept_too() -> None:
    play = talking(OPEN).skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(ReplyEnded("r1", Status.COMPLETED))
    kept = Entry(1, 0, spoken("When?"), State.COMPLETED, "m")
    assert records(play.conversation.handle(heard("When?"))) == [kept]


def test_where_it_is_wanted_the_sound_is_kept_as_well() -> None:
    play = talking(replace(OPEN, stores_audio=True)).skip(*SPOKEN_TURN)
    handle = play.conversation.handle
    said = ms(1000)
    asked = Entry(1, 0, spoken("", said), State.ASKED, "m")
    assert records(handle(AudioCommitted("u1"))) == [asked]
    assert records(handle(heard("When?"))) == [replace(asked, item=spoken("When?", said))]
    play.skip(ReplyStarted("r1"), word("Noon."), sound(ms(10)), sound(ms(20, 2)))
    answer, question = records(handle(ReplyEnded("r1", Status.COMPLETED)))
    audio = Part("audio", "Noon.", text64(ms(10) + ms(20, 2)))
    assert answer.item == Message("assistant", (audio,))
    assert question == replace(asked, item=spoken("When?", said), state=State.COMPLETED)


def test_the_sound_of_a_reply_without_words_is_kept_and_not_told_again() -> None:
    play = talking(replace(OPEN, stores_audio=True)).skip(*SPOKEN_TURN, AudioCommitted("u1"))
    play.skip(heard("When?"), ReplyStarted("r1"), sound(ms(10)))
    answer, _ = records(play.conversation.handle(ReplyEnded("r1", Status.COMPLETED)))
    assert answer.item == Message("assistant", (Part("audio", "", text64(ms(10))),))
    kept = StoredConversation(
        1, "", 0.0, 0.0, "m", 1, (Entry(1, 0, spoken("When?"), State.COMPLETED), answer)
    )
    play.skip(ConversationLoaded(kept), ConnectionOpened(), SessionCreated("s", "m"))
    known = [AddItem(Message("user", (Part("text", "When?"),)))]
    assert told(after(play, SessionUpdated("s", "m"))) == known


def test_what_was_not_answered_is_not_forgotten() -> None:
    play = talking(OPEN).skip(
        *SPOKEN_TURN, AudioCommitted("u1"), TranscriptionFailed("u1", "noise")
    )
    play.skip(ReplyStarted("r1"), ReplyEnded("r1", Status.FAILED), ModelSet("n"))
    play.skip(ConnectionOpened(), SessionCreated("s", "n"))
    known = [AddItem(spoken("", ms(1000)))]
    assert told(after(play, SessionUpdated("s", "n"))) == known
    assert sent(after(play, RetryAsked())) == [CreateResponse(ALOUD)]


@pytest.mark.parametrize("is_answered", [True, False])
def test_of_what_nobody_knows_nothing_is_asked_again(is_answered: bool) -> None:
    entries = [Entry(1, 0, spoken(), State.FAILED)]
    if is_answered:
        asked = Message("user", (IMAGE, Part("audio")))
        entries = [Entry(1, 0, asked, State.COMPLETED)]
        answer = Message("assistant", (Part("text", "A cat."),))
        entries.append(Entry(1, 1, answer, State.COMPLETED))
    kept = StoredConversation(1, "", 0.0, 0.0, "m", 1, tuple(entries))
    play = talking(OPEN).skip(
        ConversationLoaded(kept), ConnectionOpened(), SessionCreated("s", "m")
    )
    play.skip(SessionUpdated("s", "m"))
    assert shown(after(play, RetryAsked())) == [Notice("error", "nobody knows what was said")]


def test_the_sound_before_a_call_is_kept() -> None:
    speech, tool_policy = replace(OPEN, stores_audio=True), ToolPolicy(["f"], ["f"])
    conversation = Conversation("m", ALOUD, speech=speech, tool_policy=tool_policy)
    play = reopened(Playbook(conversation).skip(Started()))
    play.skip(UserSaid("hi"), ReplyStarted("r1"), word("Let me see."), sound(ms(10)))
    call = ToolCall("f", "c1", "{}")
    said, _ = records(play.conversation.handle(ReplyEnded("r1", Status.COMPLETED, items=(call,))))
    audio = Part("audio", "Let me see.", text64(ms(10)))
    assert said.item == Message("assistant", (audio,))


def test_a_spoken_question_is_asked_again_in_its_words_or_as_it_was_said() -> None:
    play = talking(FILE).skip(AudioSaid(ms(100)), AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(word("Noon."), ReplyEnded("r1", Status.COMPLETED))
    assert CommitAudio() in sent(after(play, RetryAsked()))
    play.skip(ReplyStarted("r2"), AudioCommitted("u2"), heard("When?", "u2"))
    play.skip(word("Noon.", "r2"), ReplyEnded("r2", Status.COMPLETED))
    asked = AddItem(Message("user", (Part("text", "When?"),)))
    assert sent(after(play, RetryAsked()))[0] == asked


def test_a_kept_conversation_goes_on_in_words() -> None:
    known = Entry(1, 0, spoken("When?", ms(10)), State.COMPLETED)
    unknown = Entry(2, 0, spoken(), State.COMPLETED)
    kept = StoredConversation(1, "", 0.0, 0.0, "m", 2, (known, unknown))
    play = Playbook(Conversation("m", ALOUD, speech=OPEN, past=kept)).skip(
        Started(), ConnectionOpened()
    )
    play.skip(SessionCreated("s", "m"))
    told = [AddItem(Message("user", (Part("text", "When?"),)))]
    assert sent(after(play, SessionUpdated("s", "m"))) == told
    play.skip(
        NewConversationAsked(),
        ConversationLoaded(kept),
        ConnectionOpened(),
        SessionCreated("s", "m"),
    )
    assert sent(after(play, SessionUpdated("s", "m"))) == told


def test_a_conversation_that_has_cost_enough_is_not_listened_to() -> None:
    budget = Budget({"m": Rate(1.0, 1.0, 1_000_000.0)}, 1.0)
    play = reopened(Playbook(Conversation("m", ALOUD, speech=OPEN, budget=budget)).skip(Started()))
    play.skip(*SPOKEN_TURN, AudioCommitted("u1"), ReplyStarted("r1"))
    play.skip(ReplyEnded("r1", Status.COMPLETED, usage=Usage(1, 0, 10, 11)))
    updates = shown(after(play, AudioCommitted("u2")))
    assert MicrophoneStatus(is_on=False, push_to_talk=False) in updates
    assert any(isinstance(update, ReplyOver) and update.problem for update in updates)
    assert sent(after(play, ReplyStarted("r2"))) == [Cancel("r2")]


@pytest.mark.parametrize("mode", [Mode.CHAT, Mode.LINES])
def test_nor_once_a_line_was_refused_for_it(mode: Mode) -> None:
    budget = Budget({"m": Rate(1.0, 1.0, 1_000_000.0)}, 1.0)
    conversation = Conversation("m", ALOUD, mode=mode, speech=OPEN, budget=budget)
    play = reopened(Playbook(conversation).skip(Started(), UserSaid("hi")))
    play.skip(ReplyStarted("r1"), AudioCaptured(ms(20)))
    play.skip(ReplyEnded("r1", Status.COMPLETED, usage=Usage(1, 0, 10, 11)))
    effects = after(play, UserSaid("more"))
    over = shown(effects)[0]
    assert isinstance(over, ReplyOver)
    assert over.problem is not None
    if mode is Mode.CHAT:
        assert Show(MicrophoneStatus(is_on=False, push_to_talk=False)) in effects
    else:
        assert [e for e in effects if isinstance(e, Stop)] == [Stop(ExitCode.LIMIT)]


# ------------------------------------------------------------- a microphone that hears the speaker


def muted(effects: list[Effect]) -> bool:
    """Whether the microphone was muted, and why was said."""
    updates = shown(effects)
    is_off = MicrophoneStatus(is_on=False, push_to_talk=False) in updates
    notices = [update.text for update in updates if isinstance(update, Notice)]
    assert is_off == any("headphones" in text for text in notices)
    return is_off


def echo(play: Playbook, number: int, words: str | None, *, played_ms: int | None) -> list[Effect]:
    """A spoken turn, its reply, and speech that cuts its sound after so long; what comes of it."""
    item, reply = f"u{number}", f"r{number}"
    done = after(play, SpeechStarted(item, 0)) if number == 1 else []
    events: list[Event] = [SpeechStopped(item, 9), AudioCommitted(item)]
    events += [heard(words, item)] if words is not None else []
    events += [ReplyStarted(reply), word("No.", reply), sound(ms(500), reply)]
    events += [ReplyEnded(reply, Status.COMPLETED), SpeechStarted(f"u{number + 1}", 0)]
    events += [PlaybackCut("a1", 0, played_ms)] if played_ms is not None else []
    return [*done, *(effect for event in events for effect in after(play, event))]


@pytest.mark.parametrize("transcribes", [True, False])
def test_three_replies_in_a_row_that_are_cut_at_once_mute_the_microphone(transcribes: bool) -> None:
    play = talking(replace(OPEN, transcribes=transcribes))
    words = "No." if transcribes else None
    assert [muted(echo(play, n, words, played_ms=400)) for n in (1, 2, 3)] == [False, False, True]
    assert sent(after(play, AudioCaptured(ms(20)))) == [AppendAudio(bytes(len(ms(20))), live=True)]
    # It can be turned on again, and is counted anew.
    assert MicrophoneStatus(is_on=True, push_to_talk=False) in shown(
        after(play, MicrophoneToggled())
    )
    assert not muted(echo(play, 4, words, played_ms=400))


def test_three_replies_to_no_words_mute_the_microphone() -> None:
    play = talking(OPEN)
    assert [muted(echo(play, n, " ", played_ms=None)) for n in (1, 2, 3)] == [False, False, True]


def test_replies_are_counted_once_however_they_show_to_be_an_echo() -> None:
    play = talking(OPEN)
    assert [muted(echo(play, n, "", played_ms=400)) for n in (1, 2)] == [False, False]
    assert muted(echo(play, 3, "No.", played_ms=400))


def test_no_words_that_come_late_are_counted_all_the_same() -> None:
    play = talking(OPEN)
    results = []
    for n in (1, 2, 3):
        echo(play, n, None, played_ms=None)
        results.append(muted(after(play, heard("", f"u{n}"))))
    assert results == [False, False, True]


@pytest.mark.parametrize(
    ("words", "played_ms"),
    [("No.", 1000), ("No.", 0), ("No.", None)],
    ids=["later", "before it sounds", "not at all"],
)
def test_a_user_who_interrupts_is_no_echo(words: str, played_ms: int | None) -> None:
    play = talking(OPEN)
    assert not any(muted(echo(play, n, words, played_ms=played_ms)) for n in range(1, 9))


def test_what_could_not_be_written_down_may_have_been_words() -> None:
    play = talking(OPEN)
    for n in range(1, 9):
        assert not muted(echo(play, n, None, played_ms=None))
        assert not muted(after(play, TranscriptionFailed(f"u{n}", "Too noisy.")))


@pytest.mark.parametrize("between", ["a reply that ran its course", "a typed question"])
def test_a_conversation_between_begins_the_count_anew(between: str) -> None:
    play = talking(OPEN)
    for n in (1, 2):
        assert not muted(echo(play, n, "No.", played_ms=400))
    if between == "a typed question":
        play.skip(UserSaid("hi"), ReplyStarted("r"), word("Yes.", "r"))
        play.skip(ReplyEnded("r", Status.COMPLETED), SpeechStarted("u3", 0))
    else:
        echo(play, 3, "Yes?", played_ms=None)
    for n in (4, 5):
        assert not muted(echo(play, n, "No.", played_ms=400))
    assert muted(echo(play, 6, "No.", played_ms=400))


def test_a_key_that_stops_replies_is_no_echo() -> None:
    play = talking(OPEN)
    for n in range(1, 9):
        play.skip(SpeechStarted(f"u{n}", 0), AudioCommitted(f"u{n}"), heard("No.", f"u{n}"))
        play.skip(ReplyStarted(f"r{n}"), sound(ms(500), f"r{n}"), CancelPressed())
        assert not muted(after(play, PlaybackCut("a1", 0, 400)))
        play.skip(ReplyEnded(f"r{n}", Status.CANCELLED))


def test_in_a_pipe_an_echo_ends_the_program() -> None:
    play = talking(OPEN, Mode.LINES).skip(InputEnded())
    *_, last = [echo(play, n, "No.", played_ms=400) for n in (1, 2, 3)]
    assert Stop(ExitCode.REPLY) in last
