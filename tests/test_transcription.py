"""A transcription session: audio in, text out, without replies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rtchat.core import notices, server_errors
from rtchat.core.effects import (
    AppendAudio,
    ClearAudio,
    CommitAudio,
    Configure,
    Connect,
    Connecting,
    Disconnect,
    Effect,
    InputStopped,
    Notice,
    PartialTranscript,
    Ready,
    SetTimer,
    Show,
    Stop,
    TextArrived,
    TurnTranscribed,
    Waiting,
    error_notice,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    AudioCaptured,
    AudioCleared,
    AudioCommitted,
    CancelPressed,
    ChannelDone,
    ConnectionLost,
    ConnectionOpened,
    Delta,
    Event,
    InputEnded,
    LeaveAsked,
    MicrophoneLost,
    Retry,
    SegmentTranscribed,
    ServerProblem,
    SessionCreated,
    SessionEnded,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Started,
    Timer,
    TimerFired,
    TranscriptionFailed,
    Unknown,
)
from rtchat.core.finished_turns import NOT_COMPLETE
from rtchat.core.models import Rate
from rtchat.core.pending_transcripts import ORDER_WAIT
from rtchat.core.transcription import CLEAR_WAIT, Transcription, TranscriptionSetup
from rtchat.core.values import (
    Channel,
    Dialect,
    NamedFormat,
    Options,
    Status,
    TranscriptDetails,
    TranscriptSegment,
    TranscriptWord,
    Usage,
)
from tests.audio_driver import AudioDriver, ms

OPTIONS = Options(other={"type": "transcription"})
GONE = Problem(ExitCode.LINK, "gone", "try again")
LOST = ConnectionLost(GONE, Retry.ALWAYS)
READY = (Started(), ConnectionOpened(), SessionCreated("s", "w"), SessionUpdated("s", "w"))


class Driver(AudioDriver):
    """A transcription; unless `ready`, before there is a session."""

    def __init__(self, *, ready: bool = True, **setup: Any) -> None:
        machine = Transcription(TranscriptionSetup("w", OPTIONS, **setup))
        super().__init__(machine, *(READY if ready else ()))

    def partial(self, *events: Event) -> str:
        """The words recognised so far, as shown after these events."""
        shown = [effect.update for effect in self.handle(*events) if isinstance(effect, Show)]
        (partial,) = (update.text for update in shown if isinstance(update, PartialTranscript))
        return partial


def transcript_delta(text: str, item: str = "u1", held: str = "") -> Delta:
    return Delta(Channel.INPUT_TRANSCRIPT, text, item_id=item, held=held)


def transcript(text: str, item: str = "u1") -> ChannelDone:
    return ChannelDone(Channel.INPUT_TRANSCRIPT, text, item_id=item)


TURN = (SpeechStarted("u1", 0), SpeechStopped("u1", 900), AudioCommitted("u1"))


def test_a_complete_transcription() -> None:
    play = Driver(ready=False)
    assert play.handle(Started()) == [Show(Connecting("w")), Connect("w")]
    assert play.machine.handle(ConnectionOpened(), 0.0)[0] == SetTimer(Timer.START, 10.0)
    assert play.commands(SessionCreated("s", "w")) == [Configure(OPTIONS)]
    assert play.handle(SessionUpdated("s", "w")) == [Show(Ready("w", 0.0))]
    assert play.commands(AudioCaptured(ms(1000))) == [AppendAudio(ms(1000))]
    assert play.partial(*TURN, transcript_delta("Good ")) == "Good "
    assert play.partial(transcript_delta("day.")) == "Good day."
    assert play.text(transcript("Good day.")) == "Good day.\n"
    assert play.commands(InputEnded()) == [CommitAudio(), ClearAudio()]
    empty = ServerProblem("Empty.", code="input_audio_buffer_commit_empty", event_id="rtchat_3")
    assert play.handle(empty) == []
    over, code = play.ending(AudioCleared())
    assert (over.status, over.text, over.problem, code) == (
        Status.COMPLETED,
        "Good day.",
        None,
        ExitCode.OK,
    )


def test_each_turn_is_a_line_in_spoken_order() -> None:
    play = Driver()
    play.handle(*TURN, AudioCommitted("u2"))
    assert play.text(transcript_delta("one")) == ""
    assert play.text(transcript("two.", "u2")) == ""
    assert play.text(transcript("one.")) == "one.\ntwo.\n"


def test_words_that_arrive_during_speech_belong_to_it() -> None:
    play = Driver()
    play.handle(*TURN, SpeechStarted("u2", 1000))
    assert play.partial(transcript_delta("two", "u2")) == "two"
    assert play.text(transcript("one.")) == "one.\n"
    play.handle(SpeechStopped("u2", 1900), AudioCommitted("u2"))
    assert play.text(transcript("two.", "u2")) == "two.\n"


def test_the_final_transcript_replaces_what_was_recognised_before() -> None:
    play = Driver()
    play.handle(*TURN, AudioCommitted("u2"))
    assert play.partial(transcript_delta("I scream")) == "I scream"
    assert play.partial(transcript_delta("Two", "u2")) == "I scream\nTwo"
    shown = [
        effect.update
        for effect in play.handle(transcript("Ice cream."))
        if isinstance(effect, Show)
    ]
    assert [update for update in shown if isinstance(update, TextArrived | PartialTranscript)] == [
        TextArrived("Ice cream."),
        TextArrived("\n"),
        PartialTranscript("Two"),
    ]


def test_what_was_recognised_is_the_transcript_if_there_is_no_other() -> None:
    play = Driver()
    play.handle(*TURN, transcript_delta("Good "), transcript_delta("day.", held="s"))
    assert play.text(LOST) == "Good day.s"


def test_a_late_final_transcript_is_shown_once() -> None:
    play = Driver()
    play.handle(*TURN, AudioCommitted("u2"), transcript_delta("on"), transcript("two.", "u2"))
    assert play.text(TimerFired(Timer.TRANSCRIPT)) == "two.\n"
    assert play.text(transcript("one.")) == "one.\n"


def test_transcripts_wait_for_those_of_earlier_turns() -> None:
    play = Driver()
    play.handle(*TURN, AudioCommitted("u2"))
    assert play.text(transcript_delta("tw", "u2")) == ""
    assert play.text(transcript("two.", "u2")) == ""
    assert play.text(transcript("one.")) == "one.\ntwo.\n"


def turns(*effects: Effect) -> list[str]:
    """The texts of the turns that are complete."""
    shown = [effect.update for effect in effects if isinstance(effect, Show)]
    return [update.text for update in shown if isinstance(update, TurnTranscribed)]


def test_complete_turns_are_shown_in_spoken_order() -> None:
    play = Driver()
    play.handle(*TURN, AudioCommitted("u2"), AudioCommitted("u3"), AudioCommitted("u4"))
    assert turns(*play.handle(transcript("two.", "u2"))) == []
    assert turns(*play.handle(transcript("one."))) == ["one.", "two."]
    assert turns(*play.handle(transcript("four.", "u4"))) == []
    assert turns(*play.handle(TimerFired(Timer.TRANSCRIPT))) == ["four."]
    assert turns(*play.handle(transcript("three.", "u3"))) == ["three."]
    play.handle(AudioCommitted("u5"), AudioCommitted("u6"), transcript("six.", "u6"))
    assert turns(*play.handle(LOST)) == ["six."]


def test_a_missing_transcript_does_not_block_later_turns() -> None:
    play = Driver()
    assert play.machine.handle(AudioCommitted("u1"), 0.0) == [
        SetTimer(Timer.TRANSCRIPT, ORDER_WAIT)
    ]
    play.handle(AudioCommitted("u2"))
    assert play.text(transcript("two.", "u2")) == ""
    assert play.text(TimerFired(Timer.TRANSCRIPT)) == "two.\n"
    assert play.text(AudioCommitted("u3"), transcript("three.", "u3")) == "three.\n"
    assert play.machine.handle(AudioCommitted("u4"), 0.0) == [
        SetTimer(Timer.TRANSCRIPT, ORDER_WAIT)
    ]
    assert play.machine.handle(transcript_delta("four.", "u4"), 0.0)[0] == SetTimer(
        Timer.TRANSCRIPT, ORDER_WAIT
    )
    play.handle(transcript("four.", "u4"))
    assert play.text(transcript("one.")) == "one.\n"
    assert play.ending(InputEnded(), AudioCleared())[0].text == "one.\ntwo.\nthree.\nfour."


def spans(*effects: Effect) -> list[tuple[int | None, int | None]]:
    """The times of the turns that are complete."""
    shown = [effect.update for effect in effects if isinstance(effect, Show)]
    return [
        (update.start_ms, update.end_ms) for update in shown if isinstance(update, TurnTranscribed)
    ]


def spoken(item: str, start: int, end: int) -> tuple[Event, ...]:
    return SpeechStarted(item, start), SpeechStopped(item, end), AudioCommitted(item)


def test_the_times_of_a_turn_are_those_of_the_turn_detection() -> None:
    play = Driver()
    play.handle(AudioCaptured(ms(5000)), *spoken("u1", 300, 1700), *spoken("u2", 2000, 4500))
    assert spans(*play.handle(transcript("two.", "u2"))) == []
    assert spans(*play.handle(transcript("one."))) == [(300, 1700), (2000, 4500)]


def test_the_times_of_a_turn_continue_after_a_lost_connection() -> None:
    play = Driver(from_file=True)
    play.handle(AudioCaptured(ms(9000)), *spoken("u1", 1000, 2000), *spoken("u2", 3000, 4000))
    play.handle(transcript("two.", "u2"), *spoken("u3", 5000, 6000))
    play.handle(LOST, AudioCaptured(ms(1000)), TimerFired(Timer.RETRY), *READY[1:])
    # The new session received 1-2 s, 5-6 s, and all from 6 s on.
    play.handle(*spoken("v1", 100, 900), *spoken("v2", 1200, 2500))
    assert spans(*play.handle(transcript("one.", "v1"))) == [(1100, 1900)]
    assert spans(*play.handle(transcript("three.", "v2"))) == [(5200, 6500)]
    play.handle(LOST, TimerFired(Timer.RETRY), *READY[1:])
    play.handle(*spoken("w1", 0, 500))
    assert spans(*play.handle(transcript("rest.", "w1"))) == [(6500, 7000)]


def test_a_turn_that_spans_lost_audio_is_sent_again_where_it_was() -> None:
    play = Driver(from_file=True)
    play.handle(AudioCaptured(ms(4000)), *spoken("u1", 0, 1000), *spoken("u2", 1500, 2000))
    play.handle(transcript("two.", "u2"), *spoken("u3", 3000, 4000))
    play.handle(LOST, TimerFired(Timer.RETRY), *READY[1:])
    play.handle(*spoken("v1", 500, 1500), LOST, TimerFired(Timer.RETRY), *READY[1:])
    play.handle(*spoken("w1", 0, 500), *spoken("w2", 500, 1000))
    play.handle(transcript("one.", "w1"))
    assert spans(*play.handle(transcript("three.", "w2"))) == [(3000, 3500)]


def test_without_turn_detection_the_times_are_those_of_the_commits() -> None:
    play = Driver(has_turns=False)
    play.handle(*[AudioCaptured(ms(60_000))] * 11, AudioCommitted("u1"))
    assert spans(*play.handle(transcript("one."))) == [(0, 600_000)]
    play.handle(InputEnded(), AudioCommitted("u2"))
    assert spans(*play.handle(transcript("two.", "u2"))) == [(600_000, 660_000)]


def test_the_times_of_the_last_turn_reach_to_the_end_of_the_audio() -> None:
    play = Driver()
    play.handle(AudioCaptured(ms(2000)), SpeechStarted("u1", 500), InputEnded())
    play.handle(AudioCommitted("u1"))
    assert spans(*play.handle(transcript("one."))) == [(500, 2000)]


def test_a_turn_that_was_not_announced_has_no_times() -> None:
    assert spans(*Driver().handle(transcript("one."))) == [(None, None)]


def test_the_words_of_a_transcript_and_its_segments_are_kept() -> None:
    play = Driver(has_speakers=True)
    said = TranscriptSegment("0", "When?", "A", 0.0, 1.0)
    done = replace(
        transcript("When?"), segments=(said,), words=(TranscriptWord("When?", 0.1, 0.6),)
    )
    shown = [each.update for each in play.handle(*TURN, done) if isinstance(each, Show)]
    turn = next(update for update in shown if isinstance(update, TurnTranscribed))
    assert (turn.segments, turn.words) == (done.segments, done.words)
    assert TextArrived("A: When?") in shown


def segment(number: int, speaker: str, text: str) -> SegmentTranscribed:
    return SegmentTranscribed("u1", f"s{number}", text, speaker, number, number + 1)


def test_the_text_names_the_speakers() -> None:
    play = Driver(has_speakers=True)
    assert play.text(*TURN, transcript_delta("When? Noon.")) == ""
    assert play.partial(segment(0, "A", "When?")) == "A: When?"
    assert play.partial(segment(1, "B", "Noon.")) == "A: When?\nB: Noon."
    effects = play.handle(transcript("When? Noon."))
    assert turns(*effects) == ["When? Noon."]
    done = next(each.update for each in effects if isinstance(each, Show))
    assert isinstance(done, TurnTranscribed)
    assert [each.speaker for each in done.segments] == ["A", "B"]
    assert play.ending(InputEnded(), AudioCleared())[0].text == "A: When?\nB: Noon."


def test_segments_are_not_shown_if_the_model_does_not_distinguish_speakers() -> None:
    play = Driver()
    assert play.text(*TURN, segment(0, "A", "When?")) == ""
    assert play.text(transcript("When?")) == "When?\n"


def test_the_usage_of_all_transcripts_is_billed() -> None:
    play = Driver(price=Rate(0.0, 0.0, 0.0, minute=0.5))
    for item in ("u1", "u2"):
        done = replace(transcript("Go.", item), usage=Usage(seconds=30.0))
        effects = play.handle(AudioCommitted(item), done)
        details = [
            each.update.details
            for each in effects
            if isinstance(each, Show) and isinstance(each.update, TurnTranscribed)
        ]
        assert details == [TranscriptDetails("w", Usage(seconds=30.0), 0.25)]
    over, _ = play.ending(InputEnded(), AudioCleared())
    assert (over.usage, over.cost) == (Usage(seconds=60.0), 0.5)


def test_a_session_for_translations_cannot_transcribe() -> None:
    play = Driver(ready=False)
    created = SessionCreated("s", "w", Dialect.TRANSLATION)
    over, code = play.ending(Started(), ConnectionOpened(), created)
    assert over.problem == server_errors.only_translation()
    assert code is ExitCode.USAGE


def test_a_repeated_server_error_is_reported_once() -> None:
    play = Driver()
    full = ServerProblem("The buffer is full.", code="input_audio_buffer_full")
    levels = [
        u.level
        for e in (*play.handle(full), *play.handle(full))
        if isinstance(e, Show)
        for u in [e.update]
        if isinstance(u, Notice)
    ]
    assert levels == ["error", "detail"]


def test_a_server_that_refuses_audio_ends_the_session() -> None:
    over, code = Driver().ending(ServerProblem("No voice.", code="audio_not_supported"))
    assert over.problem is not None
    assert (over.problem.message, code) == ("No voice.", ExitCode.REPLY)


def test_endless_audio_is_committed_regularly() -> None:
    play = Driver(has_turns=False)
    minute = ms(60_000)
    sent = [type(command) for _ in range(21) for command in play.commands(AudioCaptured(minute))]
    assert sent == ([AppendAudio] * 10 + [CommitAudio]) * 2 + [AppendAudio]
    play.handle(*[AudioCaptured(minute)] * 9, InputEnded())
    empty = ServerProblem("Empty.", code="input_audio_buffer_commit_empty")
    assert play.handle(empty) == []


def test_a_refused_connection_is_retried_only_after_a_session() -> None:
    play = Driver()
    refused = ConnectionLost(
        Problem(ExitCode.LINK, "nothing listens", "start it"), Retry.IF_IT_WORKED
    )
    assert Show(Waiting("nothing listens", 0.5)) in play.handle(refused)
    fresh = Driver(ready=False)
    fresh.handle(Started())
    assert fresh.ending(refused)[1] is ExitCode.LINK


def test_an_unreadable_input_is_reported_before_the_connection() -> None:
    play = Driver(ready=False)
    play.handle(Started())
    broken = Problem(ExitCode.USAGE, "stdin is empty", "give a recording")
    over, code = play.ending(InputEnded(broken))
    assert (over.problem, code) == (broken, ExitCode.USAGE)


@pytest.mark.parametrize("event_id", ["rtchat_2", ""])
def test_an_empty_last_commit_is_not_an_error(event_id: str) -> None:
    play = Driver()
    play.handle(InputEnded())
    error = ServerProblem("Empty.", code="input_audio_buffer_commit_empty", event_id=event_id)
    assert play.handle(error) == []


def test_an_empty_last_commit_may_be_refused_after_the_audio_was_cleared() -> None:
    play = Driver()
    play.handle(AudioCommitted("u1"), InputEnded(), AudioCleared())
    refused = ServerProblem("Too short.", code="invalid_value", event_id="rtchat_2")
    assert play.handle(refused) == []
    assert play.ending(transcript("Good day."))[1] is ExitCode.OK


def test_the_remaining_audio_is_committed_at_the_end() -> None:
    play = Driver(has_turns=False)
    play.handle(AudioCaptured(ms(1000)), transcript_delta("Good "), InputEnded())
    assert play.handle(AudioCommitted("u1"), AudioCleared()) == []
    over, code = play.ending(transcript("Good day."))
    assert (over.text, code) == ("Good day.", ExitCode.OK)


def test_a_failed_transcription_is_reported_and_sets_the_exit_code() -> None:
    play = Driver()
    effects = play.handle(*TURN, TranscriptionFailed("u1", "noise"))
    failed = Show(TurnTranscribed("u1", "", error="noise", start_ms=0, end_ms=0))
    assert effects == [notices.transcription_failed("noise", ""), failed]
    assert play.ending(InputEnded(), AudioCleared())[1] is ExitCode.REPLY


def test_a_failure_that_all_turns_would_have_ends_the_session() -> None:
    play = Driver()
    play.handle(*TURN, transcript("Good day."), AudioCommitted("u2"))
    over, code = play.ending(TranscriptionFailed("u2", "no money", code="insufficient_quota"))
    assert over.problem is not None
    assert (over.text, over.problem.code, code) == (
        "Good day.",
        "insufficient_quota",
        ExitCode.LIMIT,
    )
    assert over.problem.hint


@pytest.mark.parametrize(
    "limited",
    [
        TranscriptionFailed("u1", "slow down", code="rate_limit_exceeded"),
        ServerProblem("slow down", code="rate_limit_exceeded"),
    ],
)
def test_a_rate_limit_sets_its_own_exit_code(limited: Event) -> None:
    play = Driver()
    play.handle(*TURN, limited, transcript("Good day."))
    assert play.ending(InputEnded(), AudioCleared())[1] is ExitCode.LIMIT


def test_a_turn_that_is_not_complete_at_the_end_is_reported() -> None:
    play = Driver()
    play.handle(*TURN, transcript_delta("Half a "), AudioCommitted("u2"))
    turns = [
        effect.update
        for effect in play.handle(TimerFired(Timer.STALL))
        if isinstance(effect, Show) and isinstance(effect.update, TurnTranscribed)
    ]
    unfinished = TurnTranscribed("u1", "Half a ", error=NOT_COMPLETE, start_ms=0, end_ms=0)
    assert turns == [unfinished]


def test_a_server_error_is_reported_and_sets_the_exit_code() -> None:
    play = Driver()
    assert play.handle(ServerProblem("Odd.")) == [notices.server_reports("Odd.")]
    assert play.ending(InputEnded(), AudioCleared())[1] is ExitCode.REPLY


def test_a_refused_clear_counts_as_an_answer() -> None:
    play = Driver()
    assert play.ending(InputEnded(), ServerProblem("No.", event_id="rtchat_3"))[1] is ExitCode.OK


def test_late_transcripts_are_waited_for() -> None:
    play = Driver()
    play.handle(InputEnded(), *TURN, transcript("one."), AudioCommitted("u2"))
    assert play.handle(AudioCleared()) == []
    assert play.ending(transcript("two.", "u2"))[0].text == "one.\ntwo."


def test_a_failing_input_is_transcribed_and_reported() -> None:
    play = Driver()
    broken = Problem(ExitCode.REPLY, "it is cut", "record it again")
    play.handle(AudioCaptured(ms(100)), InputEnded(broken), AudioCommitted("u1"), AudioCleared())
    effects = play.handle(transcript("Go"))
    assert Show(error_notice(broken)) in effects
    assert effects[-1] == Stop(ExitCode.REPLY)


@pytest.mark.parametrize("is_first", [True, False])
def test_an_input_that_the_user_stops_does_not_fail(is_first: bool) -> None:
    play = Driver()
    ended = InputEnded(Problem(ExitCode.REPLY, "it is cut", "record it again"))
    stop = CancelPressed()
    both = (stop, ended) if is_first else (ended, stop)
    effects = play.handle(AudioCaptured(ms(100)), *both, AudioCommitted("u1"), AudioCleared())
    effects += play.handle(transcript("Go"))
    assert effects[-1] == Stop(ExitCode.OK)
    assert not [
        each for each in effects if isinstance(each, Show) and isinstance(each.update, Notice)
    ]


def test_losing_the_microphone_ends_the_session() -> None:
    play = Driver()
    gone = Problem(ExitCode.USAGE, "no microphone", "plug it in")
    assert Show(error_notice(gone)) in play.handle(MicrophoneLost(gone))
    assert play.ending(AudioCleared())[1] is ExitCode.USAGE


def test_input_that_ends_early_waits_for_the_session() -> None:
    play = Driver(ready=False)
    play.handle(
        Started(),
        AudioCaptured(ms(100)),
        InputEnded(),
        ConnectionOpened(),
        SessionCreated("s", "w"),
    )
    assert play.commands(SessionUpdated("s", "w")) == [
        AppendAudio(ms(100)),
        CommitAudio(),
        ClearAudio(),
    ]


def test_ctrl_c_waits_for_the_last_transcript() -> None:
    play = Driver()
    assert play.handle(CancelPressed()) == [Show(InputStopped())]
    assert play.commands(AudioCaptured(ms(20))) == [AppendAudio(ms(20))]
    assert play.commands(TimerFired(Timer.INPUT)) == [CommitAudio(), ClearAudio()]
    assert play.handle(AudioCaptured(ms(20)), InputEnded()) == []


@pytest.mark.parametrize("is_first", [True, False])
def test_a_pipe_ended_by_ctrl_c_is_not_a_second_ctrl_c(is_first: bool) -> None:
    play = Driver()
    if is_first:
        play.handle(CancelPressed())
    assert play.commands(InputEnded()) == [CommitAudio(), ClearAudio()]
    if not is_first:
        assert play.machine.handle(CancelPressed(), 0.1) == [Show(InputStopped())]
    over, code = play.ending(*TURN, transcript("Bye."), AudioCleared())
    assert (over.text, code) == ("Bye.", ExitCode.OK)


def test_ctrl_c_ends_the_input_without_a_connection_too() -> None:
    play = Driver()
    play.handle(AudioCaptured(ms(500)), SpeechStarted("u1", 0), CancelPressed(), LOST)
    play.handle(TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "w"))
    assert play.commands(SessionUpdated("s", "w")) == [
        AppendAudio(ms(500)),
        CommitAudio(),
        ClearAudio(),
    ]


@pytest.mark.parametrize("first", [CancelPressed(), InputEnded()])
def test_a_second_ctrl_c_exits_at_once(first: Event) -> None:
    play = Driver()
    play.handle(first)
    assert Stop(ExitCode.INTERRUPTED) in play.machine.handle(CancelPressed(), 1.0)
    assert Driver().handle(LeaveAsked(ExitCode.TERMINATED)) == [Stop(ExitCode.TERMINATED)]


def test_refused_settings_end_the_session() -> None:
    play = Driver(ready=False)
    play.handle(Started(), ConnectionOpened(), SessionCreated("s", "w"))
    over, code = play.ending(ServerProblem("No such model.", param="session.audio"))
    assert over.status is Status.INCOMPLETE
    assert over.problem is not None
    assert "--language" in over.problem.hint
    assert code is ExitCode.USAGE


def test_untranscribed_audio_is_sent_again_on_the_next_connection() -> None:
    play = Driver()
    play.handle(AudioCaptured(ms(1000)), *TURN, AudioCaptured(ms(1000, 2)))
    play.handle(SpeechStarted("u2", 1000), AudioCaptured(ms(100, 3)))
    assert play.handle(LOST) == [Show(Waiting("gone", 0.5))]
    assert play.handle(ConnectionLost(GONE, Retry.ALWAYS)) == []
    play.handle(AudioCaptured(ms(100, 4)))
    assert play.handle(TimerFired(Timer.RETRY))[-1] == Connect("w")
    play.handle(ConnectionOpened(), SessionCreated("s", "w"))
    said = [ms(900), ms(1000, 2) + ms(100, 3), ms(100, 4)]
    assert play.commands(SessionUpdated("s", "w")) == [AppendAudio(audio) for audio in said]


@pytest.mark.parametrize(
    ("has_turns", "lost"),
    [(False, LOST), (True, ConnectionLost(GONE, Retry.NEVER))],
    ids=["turns", "retry"],
)
def test_a_lost_connection_without_retry_ends_the_session(
    has_turns: bool, lost: ConnectionLost
) -> None:
    play = Driver(has_turns=has_turns)
    play.handle(transcript_delta("Good "))
    over, code = play.ending(lost)
    assert (over.text, over.problem, code) == ("Good ", GONE, ExitCode.LINK)


def test_repeated_connection_losses_end_the_session() -> None:
    play = Driver()
    for _ in range(5):
        play.handle(LOST, TimerFired(Timer.RETRY), ConnectionOpened(), SessionCreated("s", "w"))
    assert play.ending(LOST)[1] is ExitCode.LINK


@pytest.mark.parametrize("timer", [Timer.START, Timer.STALL])
def test_a_silent_server_is_disconnected(timer: Timer) -> None:
    play = Driver()
    effects = play.handle(TimerFired(timer))
    assert effects[0] == Disconnect()
    assert effects[-1] == Stop(ExitCode.LINK)


def test_irrelevant_events_are_ignored() -> None:
    play = Driver()
    assert play.handle(SessionEnded()) == []
    assert play.handle(TimerFired(Timer.SAVE)) == []
    assert play.handle(Delta(Channel.TEXT, "a reply")) == []
    assert play.handle(Unknown("x", "new")) == [notices.ignored_event("x", "new")]
    assert play.handle(Unknown("", "torn")) == [notices.ignored_event("", "torn")]


def test_an_unexpected_audio_format_ends_the_session() -> None:
    play = Driver(ready=False, input_rate=24_000)
    play.handle(Started(), ConnectionOpened(), SessionCreated("s", "w"))
    opus = NamedFormat("opus")
    over, code = play.ending(SessionUpdated("s", "w", input_format=opus))
    assert over.problem is not None
    assert (code, "opus" in over.problem.message) == (ExitCode.REPLY, True)


def test_leaving_shows_the_text_so_far() -> None:
    play = Driver()
    play.handle(*TURN, transcript_delta("Good "))
    over, code = play.ending(LeaveAsked(ExitCode.TERMINATED))
    assert (over.text, over.status, code) == ("Good ", Status.CANCELLED, ExitCode.TERMINATED)


def test_an_expired_session_is_reported_by_its_close() -> None:
    play = Driver()
    assert play.handle(ServerProblem("Expired.", code=server_errors.EXPIRED)) == []
    assert play.handle(LOST) == [Show(Waiting("gone", 0.5))]


# ------------------------------------------------------------------------- servers that differ


def ending_play() -> Driver:
    play = Driver()
    play.handle(AudioCaptured(ms(1000)), *TURN)
    play.handle(InputEnded())
    return play


def test_a_server_that_never_clears_its_buffer_is_not_waited_for() -> None:
    play = ending_play()
    assert SetTimer(Timer.OVERDUE, CLEAR_WAIT) in play.machine.handle(transcript("Good day."), 0.0)
    over, code = play.ending(TimerFired(Timer.OVERDUE))
    assert (over.text, code) == ("Good day.", ExitCode.OK)


def test_a_transcript_with_another_id_belongs_to_the_oldest_turn() -> None:
    play = ending_play()
    assert play.partial(transcript_delta("Good ", "other")) == "Good "
    assert play.text(transcript("Good day.", "other")) == "Good day.\n"
    over, code = play.ending(AudioCleared())
    assert (over.text, code) == ("Good day.", ExitCode.OK)


def test_a_refused_last_commit_without_a_code_is_no_error_once_there_is_text() -> None:
    play = ending_play()
    play.handle(transcript("Good day."), ServerProblem("buffer too small"))
    assert play.ending(AudioCleared())[1] is ExitCode.OK
    play = ending_play()
    play.handle(ServerProblem("buffer too small"), transcript(""))
    assert play.ending(AudioCleared())[1] is ExitCode.REPLY
