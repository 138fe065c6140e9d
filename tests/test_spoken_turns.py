"""Spoken turns by themselves: the microphone, what the server makes of it, and what is played."""

from __future__ import annotations

from base64 import b64encode

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices
from rtchat.core import signals as sg
from rtchat.core.conversation import Conversation
from rtchat.core.echo import MAX_ECHOES
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.mode import Mode
from rtchat.core.models import Rate
from rtchat.core.pricing import Budget
from rtchat.core.question import Question
from rtchat.core.replies import ReplyPhase
from rtchat.core.reply_audio import MAX_PLAYED
from rtchat.core.signals import Output
from rtchat.core.speech_input import MAX_EXTRA_TURNS, SpeechOptions
from rtchat.core.values import BYTES_A_MS, Channel, Message, Part, Status, Usage
from tests.playbook import Playbook
from tests.units import TEXT, Units, made, ready, sent, shown

KEY = SpeechOptions(speaks=True, has_microphone=True)
OPEN = SpeechOptions(speaks=True, has_microphone=True, push_to_talk=False)
GONE = Problem(ExitCode.USAGE, "gone")
SPENT = Budget({"m": Rate(1.0, 1.0, 1.0)}, max_cost=0.5)


def ms(count: int) -> bytes:
    return b"\1\0" * (count * BYTES_A_MS // 2)


def spoken(units: Units, item_id: str = "u1") -> list[Output]:
    """The server made a turn of half a second."""
    units.spoken.captured(ms(500))
    units.spoken.started(0)
    units.shared.speech.stopped(500)
    return units.spoken.committed(item_id)


def current(units: Units) -> Question:
    assert units.turns.current is not None
    return units.turns.current.question


# ------------------------------------------------------------------------------ the microphone


def test_the_key_begins_a_turn_and_ends_it() -> None:
    units = ready(speech=KEY)
    on = fx.MicrophoneStatus(is_on=True, push_to_talk=True)
    units.spoken.toggle_microphone()
    assert on in shown(units.spoken.microphone_opened(""))
    assert units.spoken.captured(ms(500)) == []
    commands = sent(units.spoken.toggle_microphone())
    assert [type(command) for command in commands] == [
        fx.AppendAudio,
        fx.CommitAudio,
        fx.CreateResponse,
    ]


def test_the_key_interrupts_a_reply() -> None:
    units = ready(speech=KEY)
    units.asked()
    units.replies.started(ev.ReplyStarted("r1"))
    assert fx.Cancel("r1") in sent(units.spoken.toggle_microphone())


def test_what_was_not_meant_is_dropped() -> None:
    units = ready(speech=KEY)
    units.spoken.toggle_microphone()
    units.spoken.captured(ms(500))
    assert units.spoken.drop() != []
    assert units.spoken.drop() == []
    assert units.turns.current is None


def test_a_server_that_listens_is_sent_everything() -> None:
    units = ready(speech=OPEN)
    assert sent(units.spoken.captured(ms(20))) == [fx.AppendAudio(ms(20), live=True)]


def test_what_is_said_before_the_session_is_sent_to_it() -> None:
    units = made(speech=OPEN)
    assert units.spoken.captured(ms(20)) == []
    for event in (ev.Started(), ev.SessionCreated("s", "m"), ev.SessionUpdated("s", "m")):
        units.shared.connection.handle(event)
    assert sent(units.spoken.session_ready()) == [fx.AppendAudio(ms(20))]


def test_a_lost_microphone_ends_a_pipe_without_input() -> None:
    units = ready(mode=Mode.LINES, speech=OPEN)
    assert units.queue.end_input(None) == []
    assert units.spoken.lose_microphone(GONE)[-1] == fx.Stop(ExitCode.USAGE)


def test_a_lost_microphone_leaves_the_server_time_for_a_last_turn() -> None:
    units = ready(mode=Mode.LINES, speech=OPEN)
    units.spoken.captured(ms(500))
    units.queue.end_input(None)
    outputs = units.spoken.lose_microphone(GONE)
    assert any(isinstance(each, fx.SetTimer) for each in outputs)
    assert units.queue.turn_did_not_come()[-1] == fx.Stop(ExitCode.USAGE)


# ------------------------------------------------------------------ what the server makes of it


def test_a_turn_that_the_server_ended_is_a_question_and_a_reply_is_due() -> None:
    units = ready(speech=OPEN)
    assert sent(spoken(units)) == []
    assert current(units).audio == ms(500)
    assert units.replies.phase is ReplyPhase.ASKED


def test_a_reply_to_speech_whose_end_was_not_confirmed_is_its_reply() -> None:
    play = Playbook(Conversation("m", TEXT, speech=OPEN))
    play.skip(
        ev.Started(),
        ev.ConnectionOpened(),
        ev.SessionCreated("s", "m"),
        ev.SessionUpdated("s", "m"),
        ev.AudioCaptured(ms(500)),
        ev.SpeechStarted("u1", 0),
        ev.SpeechStopped("u1", 500),
    )
    updates = shown(play.handle(ev.ReplyStarted("r1")))
    assert [update for update in updates if isinstance(update, fx.QuestionAsked)] == [
        fx.QuestionAsked("", "m", spoken=True)
    ]
    assert play.handle(ev.AudioCommitted("u1")) == []  # late
    done = ev.ReplyEnded(
        "r1", Status.COMPLETED, items=(Message("assistant", (Part("text", "Noon."),)),)
    )
    heard = ev.ChannelDone(Channel.INPUT_TRANSCRIPT, "When?", item_id="u1")
    updates = shown([*play.handle(heard), *play.handle(done)])
    assert fx.UserTranscript("When?") in updates
    assert fx.TextArrived("Noon.") in updates


def test_a_turn_that_the_server_reports_twice_is_one() -> None:
    units = ready(speech=OPEN)
    spoken(units)
    assert units.spoken.committed("u1") == []


def test_speech_interrupts_the_reply() -> None:
    units = ready(speech=OPEN)
    spoken(units)
    units.replies.started(ev.ReplyStarted("r1"))
    outputs = spoken(units, "u2")
    (over,) = (each for each in shown(outputs) if isinstance(each, fx.ReplyOver))
    assert (over.status, over.reason) == (Status.CANCELLED, "turn_detected")
    assert current(units).item_id == "u2"


def test_speech_before_a_reply_that_was_asked_for_waits_for_it() -> None:
    units = ready(speech=OPEN)
    question = units.asked()
    spoken(units)
    assert current(units) is question
    assert not units.queue.is_empty


def test_a_server_that_does_not_reply_by_itself_is_asked_to() -> None:
    units = ready(speech=SpeechOptions(has_microphone=True, push_to_talk=False, replies=False))
    assert sent(spoken(units)) == [fx.CreateResponse(TEXT)]


def test_a_spent_budget_stops_the_server_s_reply_and_the_listening() -> None:
    units = ready(speech=OPEN, budget=SPENT)
    units.shared.usage.add(Usage(10**6, 0, 0, 10**6), "m", "r0")
    signal = spoken(units)[-1]
    assert isinstance(signal, sg.BudgetSpent)
    assert signal.problem.exit is ExitCode.LIMIT
    assert units.replies.phase is ReplyPhase.ENDING


def test_a_transcript_is_shown_before_the_reply_or_after_it() -> None:
    units = ready(speech=OPEN)
    spoken(units)
    assert shown(units.spoken.transcribed("u1", "When?")) == [fx.UserTranscript("When?")]
    assert units.spoken.transcribed("u1", "When?") == []
    units.turns.end(Status.COMPLETED)
    spoken(units, "u2")
    units.replies.content(ev.Delta(Channel.TEXT, "Now.", "r2", "i2"))
    units.queue.transcript_did_not_come()
    assert shown(units.spoken.transcribed("u2", "When?")) == []
    assert shown(units.turns.end(Status.COMPLETED))[-1] == fx.UserTranscript("When?")


def test_a_transcript_that_fails_is_said_and_waited_for_no_more() -> None:
    units = ready(speech=OPEN)
    spoken(units)
    (warning,) = shown(units.spoken.transcription_failed(ev.TranscriptionFailed("u1", "noise")))
    assert isinstance(warning, fx.Notice)
    assert warning.level == "warning"
    assert not units.shared.speech.awaiting_transcript


# ---------------------------------------------------------------------------- what is being played


def test_a_transcript_with_another_id_belongs_to_the_oldest_turn_without_one() -> None:
    units = ready(speech=OPEN)
    spoken(units)
    assert fx.UserTranscript("Noon?") in shown(units.spoken.transcribed("other", "Noon?"))
    assert units.spoken.transcribed("other", "Noon? And then?") == []


def test_the_server_is_told_how_much_of_a_reply_was_played() -> None:
    units = ready(speech=OPEN)
    spoken(units)
    audio = b64encode(ms(100)).decode()
    units.replies.content(ev.Delta(Channel.AUDIO, audio, "r1", "a1"))
    assert sent(units.spoken.playback_cut(ev.PlaybackCut("a1", 0, 40))) == [
        fx.Truncate("a1", 0, 40)
    ]
    assert units.spoken.playback_cut(ev.PlaybackCut("a2", 0, 40)) == []


def test_only_the_last_items_that_were_played_can_be_truncated() -> None:
    units = ready(speech=OPEN)
    spoken(units)
    audio = b64encode(ms(1)).decode()
    for number in range(MAX_PLAYED + 1):
        units.replies.content(ev.Delta(Channel.AUDIO, audio, "r1", f"a{number}"))
    first, last = ev.PlaybackCut("a0", 0, 1), ev.PlaybackCut(f"a{MAX_PLAYED}", 0, 1)
    assert sent(units.spoken.playback_cut(first)) == []
    assert sent(units.spoken.playback_cut(last)) == [fx.Truncate(f"a{MAX_PLAYED}", 0, 1)]


def test_turns_without_audio_are_ignored_if_there_are_too_many() -> None:
    units = ready(speech=OPEN)
    for number in range(MAX_EXTRA_TURNS):
        units.spoken.committed(f"u{number}")
    assert units.spoken.committed("one too many") == [notices.IGNORED_TURN]


def test_reported_speech_is_ignored_without_a_microphone() -> None:
    units = ready()
    units.spoken.started(100)
    units.asked("typed")
    assert units.turns.current is not None
    assert not units.turns.current.question.is_spoken


def test_a_microphone_that_hears_the_replies_is_muted() -> None:
    units = ready(speech=OPEN)
    audio = b64encode(ms(100)).decode()
    outputs: list[Output] = []
    for number in range(MAX_ECHOES):
        spoken(units, f"u{number}")
        units.replies.content(ev.Delta(Channel.AUDIO, audio, f"r{number}", f"a{number}"))
        units.spoken.started(0)
        outputs = units.spoken.playback_cut(ev.PlaybackCut(f"a{number}", 0, 400))
    muted = fx.MicrophoneStatus(is_on=False, push_to_talk=False)
    assert muted in shown(outputs)


def test_the_end_of_a_session_is_the_end_of_what_is_played() -> None:
    units = ready(speech=OPEN)
    spoken(units)
    audio = b64encode(ms(100)).decode()
    units.replies.content(ev.Delta(Channel.AUDIO, audio, "r1", "a1"))
    assert units.spoken.session_closed() == [fx.Play("a1", 0, b"", is_last=True)]
    assert units.spoken.playback_cut(ev.PlaybackCut("a1", 0, 40)) == []


def test_where_no_session_can_be_had_nobody_listens() -> None:
    units = ready(speech=OPEN)
    muted = fx.MicrophoneStatus(is_on=False, push_to_talk=False)
    assert shown(units.spoken.fail()) == [muted]
    assert units.spoken.fail() == []


def test_the_transcript_of_a_question_that_is_not_saved_is_not_saved_either() -> None:
    units = ready()
    question = units.log.enter("", audio=bytes(2))
    assert list(units.log.add_transcript(question, "hi")) == []
    assert question.transcript == "hi"
