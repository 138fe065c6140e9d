"""A translation session."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from rtchat.core import notices, server_errors
from rtchat.core.effects import (
    AppendAudio,
    CloseSession,
    Configure,
    Connect,
    Connecting,
    Disconnect,
    InputStopped,
    Play,
    Ready,
    SetTimer,
    Show,
    Stop,
    Waiting,
    error_notice,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    AudioCaptured,
    CancelPressed,
    ConnectionLost,
    ConnectionOpened,
    Delta,
    InputEnded,
    LeaveAsked,
    Other,
    Retry,
    ServerProblem,
    ServerWarning,
    SessionCreated,
    SessionEnded,
    SessionUpdated,
    Started,
    Timer,
    TimerFired,
)
from rtchat.core.models import Rate
from rtchat.core.translation import LAG_MS, PAUSE_MS, REST_WAIT, Translation, TranslationSetup
from rtchat.core.values import Channel, Dialect, NamedFormat, Options, Status, Usage
from tests.audio_driver import AudioDriver, ms

OPTIONS = Options(other={"audio": {"output": {"language": "es"}}})
GONE = Problem(ExitCode.LINK, "gone", "try again")
LOST = ConnectionLost(GONE, Retry.ALWAYS)
CREATED = SessionCreated("s", "t", Dialect.TRANSLATION)
UPDATED = SessionUpdated("s", "t", Dialect.TRANSLATION)
AGAIN = (TimerFired(Timer.RETRY), ConnectionOpened(), CREATED, UPDATED)


def said(text: str, elapsed_ms: int | None = None, held: str = "") -> Delta:
    """The next piece of the translation."""
    return Delta(Channel.TRANSCRIPT, text, elapsed_ms=elapsed_ms, held=held)


def heard(text: str, elapsed_ms: int | None = None) -> Delta:
    """The next piece of the original text."""
    return Delta(Channel.INPUT_TRANSCRIPT, text, elapsed_ms=elapsed_ms)


def spoken(audio: bytes) -> Delta:
    """The next piece of the audio of the translation."""
    return Delta(Channel.AUDIO, b64encode(audio).decode())


class Driver(AudioDriver):
    """A translation; unless `ready`, before there is a session."""

    def __init__(self, *, ready: bool = True, **setup: Any) -> None:
        events = (Started(), ConnectionOpened(), CREATED, UPDATED) if ready else ()
        super().__init__(Translation(TranslationSetup("t", OPTIONS, **setup)), *events)


def test_a_complete_translation() -> None:
    play = Driver(ready=False)
    assert play.handle(Started()) == [Show(Connecting("t")), Connect("t")]
    play.handle(ConnectionOpened())
    assert play.commands(CREATED) == [Configure(OPTIONS)]
    assert play.handle(UPDATED) == [Show(Ready("t", 0.0))]
    assert play.commands(AudioCaptured(ms(1000))) == [AppendAudio(ms(1000))]
    assert play.text(said("Buenos")) == "Buenos"
    assert play.source(heard("Good day.")) == "Good day."
    assert play.handle(spoken(b"\1\2"), Other("x")) == []
    assert play.commands(InputEnded()) == [CloseSession()]
    assert play.text(said(" días.")) == " días."
    over, code = play.ending(SessionEnded())
    assert (over.status, over.text, over.problem, code) == (
        Status.COMPLETED,
        "Buenos días.",
        None,
        ExitCode.OK,
    )


def test_the_text_continues_on_a_new_line_after_a_pause() -> None:
    play = Driver()
    assert play.text(said(" Uno", 200)) == "Uno"
    assert play.text(said(" dos.", PAUSE_MS)) == " dos."
    assert play.text(said(" Tres.", 2 * PAUSE_MS)) == "\nTres."
    assert play.text(said(" Cuatro.")) == " Cuatro."
    assert play.source(heard("One.", 0), heard(" Two.", PAUSE_MS)) == "\nTwo."
    assert play.ending(InputEnded(), SessionEnded())[0].text == "Uno dos.\nTres. Cuatro."


def test_the_translation_is_played_if_it_is_wanted() -> None:
    play = Driver(speaks=True)
    assert play.handle(spoken(b"\1\2\3")) == [Play("", 0, b"\1\2")]
    assert play.handle(spoken(b"\4")) == [Play("", 0, b"\3\4")]
    effects = play.handle(InputEnded(), SessionEnded())
    assert effects[0] == Play("", 0, b"", is_last=True)


def test_audio_that_cannot_be_decoded_is_reported_once() -> None:
    play = Driver(speaks=True)
    bad = Delta(Channel.AUDIO, "!")
    shown = [*play.handle(bad), *play.handle(bad)]
    levels = [each.update.level for each in shown if isinstance(each, Show)]  # type: ignore[union-attr] # both are notices
    assert levels == ["warning", "detail"]
    assert play.handle(spoken(b"\1\2")) == [Play("", 0, b"\1\2")]


def test_audio_in_another_format_is_not_played() -> None:
    play = Driver(speaks=True)
    problem = server_errors.unplayable("WAV")
    assert play.handle(spoken(b"RIFF....")) == [Show(error_notice(problem))]
    assert play.handle(spoken(b"\1\2")) == []
    assert play.ending(InputEnded(), SessionEnded())[1] is ExitCode.REPLY
    play = Driver(speaks=True)
    opus = replace(spoken(b"\1\2"), format=NamedFormat("opus", 48_000))
    assert play.handle(opus) == [Show(error_notice(server_errors.unplayable("opus at 48000 Hz")))]
    assert play.handle(spoken(b"\1\2")) == []


def test_the_duration_of_the_audio_is_billed() -> None:
    play = Driver(price=Rate(0.0, 0.0, 0.0, minute=0.03))
    play.handle(AudioCaptured(ms(30_000)), AudioCaptured(ms(60_000)))
    over, _ = play.ending(InputEnded(), SessionEnded())
    assert over.usage == Usage(seconds=90.0)
    assert over.cost == pytest.approx(0.045)
    assert Driver().ending(InputEnded(), SessionEnded())[0].cost is None


# ------------------------------------------------------------------------------------- the end


def test_ctrl_c_waits_for_the_rest_of_the_translation() -> None:
    play = Driver()
    assert play.handle(CancelPressed()) == [Show(InputStopped())]
    assert play.commands(TimerFired(Timer.INPUT)) == [CloseSession()]
    over, code = play.ending(said("Adiós."), SessionEnded())
    assert (over.text, code) == ("Adiós.", ExitCode.OK)


def test_a_second_ctrl_c_exits_at_once() -> None:
    play = Driver()
    over, code = play.ending(said("Adi"), CancelPressed(), CancelPressed())
    assert (over.status, over.text, code) == (Status.CANCELLED, "Adi", ExitCode.INTERRUPTED)
    assert Driver().handle(LeaveAsked(ExitCode.TERMINATED)) == [Stop(ExitCode.TERMINATED)]


@pytest.mark.parametrize("code", ["1000", "1005"])
def test_a_server_may_close_the_connection_instead(code: str) -> None:
    play = Driver()
    closed = ConnectionLost(Problem(ExitCode.LINK, "closed", code=code), Retry.ALWAYS)
    assert play.ending(said("Uno."), InputEnded(), closed)[1] is ExitCode.OK
    assert Show(Waiting("closed", 0.5)) in Driver().handle(closed)


def test_a_server_that_does_not_know_the_close_is_waited_for() -> None:
    play = Driver()
    play.handle(InputEnded())
    refused = ServerProblem("Invalid value: 'session.close'.", event_id="rtchat_2")
    rest = SetTimer(Timer.OVERDUE, REST_WAIT)
    assert play.machine.handle(refused, 0.0) == [
        notices.server_reports(refused.message, "detail"),
        rest,
    ]
    assert rest in play.machine.handle(said("Uno."), 0.0)
    over, code = play.ending(TimerFired(Timer.OVERDUE))
    assert (over.text, code) == ("Uno.", ExitCode.OK)


def test_a_session_that_ends_early_is_replaced() -> None:
    play = Driver()
    waiting = Show(Waiting(server_errors.session_ended().message, 0.5))
    assert play.handle(said("Uno."), SessionEnded()) == [Disconnect(), waiting]
    assert play.handle(*AGAIN)[-1] == Show(Ready("t", 0.0))


def test_a_server_error_sets_the_exit_code() -> None:
    play = Driver()
    assert play.handle(ServerProblem("Odd.")) == [notices.server_reports("Odd.")]
    assert play.ending(InputEnded(), SessionEnded())[1] is ExitCode.REPLY


def test_a_warning_of_the_server_is_shown() -> None:
    play = Driver()
    assert play.handle(ServerWarning("Slow.")) == [notices.server_reports("Slow.", "warning")]
    assert play.ending(InputEnded(), SessionEnded())[1] is ExitCode.OK


def test_a_server_may_not_name_its_session() -> None:
    play = Driver(ready=False)
    play.handle(Started(), ConnectionOpened())
    assert play.commands(TimerFired(Timer.SETUP)) == [Configure(OPTIONS)]
    assert play.handle(UPDATED) == [Show(Ready("t", 0.0))]


def test_a_silent_server_is_disconnected() -> None:
    effects = Driver().handle(TimerFired(Timer.STALL))
    assert (effects[0], effects[-1]) == (Disconnect(), Stop(ExitCode.LINK))


def test_a_refused_language_ends_the_session() -> None:
    play = Driver(ready=False)
    play.handle(Started(), ConnectionOpened(), CREATED)
    over, code = play.ending(ServerProblem("No such language.", param="session.audio"))
    assert over.problem is not None
    assert "--to" in over.problem.hint
    assert code is ExitCode.USAGE


@pytest.mark.parametrize(
    "event", [ServerProblem("No.", code="invalid_api_key"), TimerFired(Timer.STALL)]
)
def test_a_problem_of_the_server_names_the_session_and_the_key(
    event: ServerProblem | TimerFired,
) -> None:
    play = Driver(key_hint="check LAB_KEY")
    over, _ = play.ending(event)
    assert over.problem is not None
    assert over.problem.ids == "session s"
    if isinstance(event, ServerProblem):
        assert over.problem.hint == "check LAB_KEY"


@pytest.mark.parametrize(("dialect", "is_accepted"), [(Dialect.GA, False), (None, True)])
def test_a_session_of_another_kind_cannot_translate(
    dialect: Dialect | None, is_accepted: bool
) -> None:
    play = Driver(ready=False)
    effects = play.handle(Started(), ConnectionOpened(), SessionCreated("s", "m", dialect))
    assert (Stop(ExitCode.USAGE) in effects) is not is_accepted


def test_an_unexpected_audio_format_ends_the_session() -> None:
    play = Driver(ready=False, speaks=True, input_rate=24_000)
    other = SessionUpdated("s", "t", output_format=NamedFormat("audio/opus", 48_000))
    play.handle(Started(), ConnectionOpened(), CREATED)
    assert play.ending(other)[1] is ExitCode.REPLY


# --------------------------------------------------------------------------- a lost connection


def test_audio_without_a_translation_is_sent_again() -> None:
    play = Driver()
    play.handle(AudioCaptured(ms(1000)))
    assert play.handle(LOST) == [Show(Waiting("gone", 0.5))]
    play.handle(AudioCaptured(ms(100, 2)))
    assert play.commands(*AGAIN) == [AppendAudio(ms(1000)), AppendAudio(ms(100, 2))]


@pytest.mark.parametrize("from_file", [True, False])
def test_audio_is_sent_again_from_what_the_server_has_translated(from_file: bool) -> None:
    play = Driver(from_file=from_file)
    play.handle(*(AudioCaptured(ms(1000, number)) for number in range(1, 11)))
    assert play.text(said("Uno.", LAG_MS + 6000)) == "Uno."
    play.handle(InputEnded(), LOST)
    assert play.commands(*AGAIN) == [
        AppendAudio(b"".join(ms(1000, number) for number in range(7, 11))),
        CloseSession(),
    ]
    # The times of the new session begin at zero.
    play.handle(said("Dos.", LAG_MS + 1000), LOST)
    resent = b"".join(ms(1000, number) for number in range(8, 11))
    assert play.commands(*AGAIN) == [AppendAudio(resent), CloseSession()]
    assert play.ending(SessionEnded())[0].text == "Uno.\nDos."


def test_live_audio_continues_if_the_server_does_not_say_what_it_has_translated() -> None:
    play = Driver()
    play.handle(AudioCaptured(ms(1000)), said("Uno."), LOST, AudioCaptured(ms(100, 2)))
    assert play.commands(*AGAIN) == [AppendAudio(ms(100, 2))]


def test_a_file_ends_if_the_server_does_not_say_what_it_has_translated() -> None:
    play = Driver(from_file=True)
    play.handle(AudioCaptured(ms(1000)), said("Uno."))
    over, code = play.ending(LOST)
    assert (over.text, over.problem, code) == ("Uno.", GONE, ExitCode.LINK)


def test_held_back_text_is_shown_when_the_connection_is_lost() -> None:
    play = Driver()
    play.handle(said("La clave es ", held="s"))
    assert play.text(LOST) == "s"


def test_a_connection_without_retry_ends_the_session() -> None:
    over, code = Driver().ending(said("Uno."), ConnectionLost(GONE, Retry.NEVER))
    assert (over.text, over.problem, code) == ("Uno.", GONE, ExitCode.LINK)
