"""The connection by itself: how it is made, configured, renewed, lost and made again."""

from __future__ import annotations

import pytest

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import signals as sg
from rtchat.core.audio_formats import AudioFormats
from rtchat.core.backoff import MAX_RETRIES, Timeouts
from rtchat.core.connection import (
    MAX_ERRORS,
    MAX_NAME,
    RENEW_BEFORE,
    SETUP_WAIT,
    Phase,
    SessionConnection,
)
from rtchat.core.errors import CHECK_KEY, ExitCode, Problem
from rtchat.core.options import SessionOptions
from rtchat.core.sent_commands import MAX_UNANSWERED
from rtchat.core.signals import EventTime, clear_timers
from rtchat.core.values import AudioFormat, NamedFormat, Options, SessionInfo

OPTIONS = Options(modality="text")
GONE = Problem(ExitCode.LINK, "gone")
LOST = ev.ConnectionLost(GONE, ev.Retry.ALWAYS)
CREATED, UPDATED = ev.SessionCreated("s", "m"), ev.SessionUpdated("s", "m")


class Setup:
    """A connection, with what it is given."""

    def __init__(
        self, *, renews: bool = True, resumes: bool = True, input_format: AudioFormat | None = None
    ) -> None:
        self.time = EventTime()
        self.options = SessionOptions(OPTIONS, Options())
        self.connection = SessionConnection(
            "m",
            self.options,
            self.time,
            timeouts=Timeouts(),
            formats=AudioFormats(input_format, None),
            renews=renews,
            resumes=resumes,
        )

    def until_created(self) -> SessionConnection:
        for event in (ev.Started(), ev.ConnectionOpened(), CREATED):
            self.connection.handle(event)
        return self.connection

    def until_ready(self) -> SessionConnection:
        self.until_created().handle(UPDATED)
        return self.connection


def test_it_is_ready_once_the_server_has_accepted_the_settings() -> None:
    setup = Setup()
    connection = setup.connection
    assert connection.handle(ev.Started()) == [
        sg.SessionClosed(),
        fx.Show(fx.Connecting("m")),
        fx.Connect("m"),
    ]
    soon = fx.SetTimer(ev.Timer.SETUP, SETUP_WAIT)
    assert connection.handle(ev.ConnectionOpened()) == [fx.SetTimer(ev.Timer.START, 10.0), soon]
    assert not connection.has_session
    assert connection.handle(CREATED) == [fx.Send("rtchat_1", fx.Configure(OPTIONS)), soon]
    assert (connection.has_session, connection.is_ready) == (True, False)
    setup.time.now = 2.0
    assert connection.handle(UPDATED) == [
        fx.ClearTimer(ev.Timer.START),
        fx.ClearTimer(ev.Timer.SETUP),
        sg.SessionReady("m", 2.0),
    ]
    assert (connection.is_ready, connection.seconds) == (True, 2.0)


def test_a_server_may_omit_session_created() -> None:
    connection = Setup().connection
    connection.handle(ev.Started())
    connection.handle(ev.ConnectionOpened())
    assert connection.setup_is_late() == [fx.Send("rtchat_1", fx.Configure(OPTIONS))]
    assert connection.setup_is_late() == []  # there may be no server
    assert connection.handle(UPDATED)[-1] == sg.SessionReady("m", 0.0)


def test_a_server_may_omit_session_updated() -> None:
    setup = Setup()
    connection = setup.until_created()
    connection.configure()
    assert connection.setup_is_late()[-1] == sg.SessionReady("m", 0.0)
    assert connection.setup_is_late() == []
    assert connection.handle(UPDATED) == []


def test_a_session_that_is_announced_late_is_configured_once() -> None:
    connection = Setup().connection
    for event in (ev.Started(), ev.ConnectionOpened()):
        connection.handle(event)
    connection.setup_is_late()
    assert connection.handle(CREATED) == [fx.SetTimer(ev.Timer.SETUP, SETUP_WAIT)]
    assert connection.handle(CREATED) == []


def test_settings_that_change_before_the_first_answer_are_waited_for_as_well() -> None:
    connection = Setup().until_created()
    assert connection.configure() == [fx.Send("rtchat_2", fx.Configure(OPTIONS))]
    assert connection.handle(UPDATED) == []
    assert connection.handle(UPDATED)[-1] == sg.SessionReady("m", 0.0)
    assert connection.handle(UPDATED) == []


def test_the_session_is_the_last_one_reported() -> None:
    connection = Setup().connection
    connection.handle(ev.Started())
    connection.handle(ev.ConnectionOpened("wss://a.example"))
    assert connection.session == SessionInfo(url="wss://a.example")
    connection.handle(ev.SessionCreated("s", "first"))
    connection.handle(ev.SessionUpdated("", "second" * 100))
    assert (connection.session.id, len(connection.session.model)) == ("s", MAX_NAME)
    problem = connection.identify(Problem(ExitCode.REFUSED, "no", CHECK_KEY), "r")
    assert (problem.ids, problem.hint) == ("session s, response r", CHECK_KEY)
    connection.connect()
    assert connection.session == SessionInfo()
    assert connection.identify(problem).ids == ""


def test_without_a_session_there_is_nothing_to_configure() -> None:
    assert Setup().connection.configure() == []


@pytest.mark.parametrize("code", ["unknown_parameter", "invalid_api_key"])
def test_refused_first_settings_make_the_session_unusable(code: str) -> None:
    connection = Setup().until_created()
    error = ev.ServerProblem("No.", code=code, event_id="rtchat_1")
    assert isinstance(connection.commands.refused("rtchat_1"), fx.Configure)
    (signal,) = connection.settings_refused(error)
    assert isinstance(signal, sg.SessionUnusable)
    assert signal.problem.code == code
    assert connection.phase is Phase.DOWN


def test_a_refused_change_of_the_settings_is_undone() -> None:
    setup = Setup()
    connection = setup.until_ready()
    setup.options.instruct("Sing.")
    connection.configure()
    (shown,) = connection.settings_refused(ev.ServerProblem("No.", param="instructions"))
    assert isinstance(shown, fx.Show)
    assert isinstance(shown.update, fx.Notice)
    assert setup.options.session == OPTIONS
    assert connection.is_ready


def test_a_server_that_reports_a_format_that_is_not_supported_is_of_no_use() -> None:
    connection = Setup(input_format=AudioFormat()).until_created()
    other = NamedFormat("opus")
    (signal,) = connection.handle(ev.SessionUpdated("s", "m", input_format=other))
    assert isinstance(signal, sg.SessionUnusable)


@pytest.mark.parametrize(
    ("renews", "seconds_left", "timers"),
    [
        (True, 3600.0, [fx.SetTimer(ev.Timer.RENEW, 3600.0 - RENEW_BEFORE)]),
        (True, 2 * RENEW_BEFORE, []),
        (True, None, []),
        (False, 3600.0, []),
    ],
    ids=["long", "short", "unknown", "not renewed"],
)
def test_a_session_is_renewed_before_it_expires(
    renews: bool, seconds_left: float | None, timers: list[fx.SetTimer]
) -> None:
    connection = Setup(renews=renews).connection
    connection.handle(ev.Started())
    _, _, *rest = connection.handle(ev.SessionCreated("s", "m", seconds_left=seconds_left))
    assert rest == timers
    assert connection.renew() == [sg.RenewalDue()]
    assert connection.is_renewal_due
    connection.connect()
    assert not connection.is_renewal_due


def test_a_lost_connection_is_made_again_after_a_while() -> None:
    connection = Setup().until_ready()
    assert connection.handle(LOST) == [
        *clear_timers(),
        sg.SessionLost(GONE, will_retry=True),
        fx.Show(fx.Waiting("gone", 0.5)),
        fx.SetTimer(ev.Timer.RETRY, 0.5, jitter=0.25),
    ]
    assert connection.handle(LOST) == []
    assert connection.retry()[0] == sg.SessionClosed()
    assert connection.retry() == []


def delays(connection: SessionConnection, lost: ev.ConnectionLost = LOST) -> list[float]:
    """The waits until it is given up."""
    waits: list[float] = []
    while True:
        timers = [each for each in connection.handle(lost) if isinstance(each, fx.SetTimer)]
        if not timers:
            return waits
        waits.append(timers[0].seconds)
        connection.retry()


def test_it_is_given_up_after_some_attempts_and_each_success_counts_anew() -> None:
    connection = Setup().until_ready()
    assert len(delays(connection)) == MAX_RETRIES
    assert connection.phase is Phase.DOWN
    connection.connect()
    connection.handle(LOST)
    connection.works()
    connection.retry()
    assert len(delays(connection)) == MAX_RETRIES


def test_a_session_that_was_over_is_replaced_at_once() -> None:
    connection = Setup().until_ready()
    over = ev.ConnectionLost(GONE, ev.Retry.ALWAYS, at_once=True)
    assert delays(connection, over)[:2] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("resumes", "is_ready", "retry", "will_retry"),
    [
        (True, True, ev.Retry.ALWAYS, True),
        (True, True, ev.Retry.IF_IT_WORKED, True),
        (True, False, ev.Retry.IF_IT_WORKED, False),
        (True, True, ev.Retry.NEVER, False),
        (False, False, ev.Retry.ALWAYS, True),
        (False, True, ev.Retry.ALWAYS, False),
    ],
)
def test_it_is_made_again_only_where_that_can_help(
    resumes: bool, is_ready: bool, retry: ev.Retry, will_retry: bool
) -> None:
    setup = Setup(resumes=resumes)
    connection = setup.until_ready() if is_ready else setup.until_created()
    outputs = connection.handle(ev.ConnectionLost(GONE, retry))
    assert sg.SessionLost(GONE, will_retry) in outputs


@pytest.mark.parametrize(
    ("code", "exit_code", "will_retry"),
    [
        ("", ExitCode.LINK, True),
        ("session_expired", ExitCode.LINK, True),
        ("insufficient_quota", ExitCode.LIMIT, False),
    ],
)
def test_the_error_before_a_loss_explains_it(
    code: str, exit_code: ExitCode, will_retry: bool
) -> None:
    connection = Setup().until_ready()
    connection.report(ev.ServerProblem("Why.", code=code), is_known=False)
    (lost,) = (each for each in connection.handle(LOST) if isinstance(each, sg.SessionLost))
    assert (lost.problem.exit, lost.will_retry) == (exit_code, will_retry)
    assert ("Why." in lost.problem.message) is (code != "session_expired")


def test_an_error_from_before_the_last_reply_explains_nothing() -> None:
    connection = Setup().until_ready()
    connection.report(ev.ServerProblem("Why."), is_known=False)
    connection.reply_began()
    assert sg.SessionLost(GONE, will_retry=True) in connection.handle(LOST)


@pytest.mark.parametrize("is_created", [False, True], ids=["no session", "no answer"])
def test_a_server_that_does_not_answer_in_time_is_left(is_created: bool) -> None:
    setup = Setup()
    connection = setup.until_created() if is_created else setup.connection
    if not is_created:
        connection.handle(ev.Started())
    outputs = connection.start_timed_out()
    (lost,) = (each for each in outputs if isinstance(each, sg.SessionLost))
    assert outputs[0] == fx.Disconnect()
    assert (lost.problem.exit, lost.will_retry) == (ExitCode.LINK, False)


def test_a_command_is_known_until_it_is_accepted_or_refused() -> None:
    connection = Setup().until_ready()
    item, reply = connection.send(fx.CommitAudio()), connection.send(fx.CreateResponse())
    cancel, audio = connection.send(fx.Cancel()), connection.send(fx.AppendAudio(b""))
    assert connection.commands.refused(audio.event_id) is None
    connection.reply_began()
    assert connection.commands.refused(item.event_id) is None
    assert connection.commands.refused(reply.event_id) is None
    assert connection.commands.refused(cancel.event_id) == fx.Cancel()
    assert connection.commands.refused(cancel.event_id) is None


def test_only_the_last_commands_are_remembered() -> None:
    connection = Setup().until_ready()
    commands = [connection.send(fx.CommitAudio()) for _ in range(MAX_UNANSWERED + 1)]
    assert connection.commands.refused(commands[0].event_id) is None
    assert connection.commands.refused(commands[1].event_id) is not None


def test_a_command_of_the_user_s_may_have_its_own_id() -> None:
    connection = Setup().until_ready()
    own = connection.send(fx.Raw({"type": "x", "event_id": "mine"}))
    assert own.event_id == "mine"
    assert connection.send(fx.Raw({"type": "x"})).event_id == "rtchat_3"


def levels(
    connection: SessionConnection, *errors: ev.ServerProblem, is_known: bool = False
) -> list[str]:
    outputs = [each for e in errors for each in connection.report(e, is_known=is_known)]
    updates = [each.update for each in outputs if isinstance(each, fx.Show)]
    return [update.level for update in updates if isinstance(update, fx.Notice)]


def test_an_error_is_reported_once_and_one_that_means_nothing_as_a_detail() -> None:
    connection = Setup().until_ready()
    odd, expired = ev.ServerProblem("Odd."), ev.ServerProblem("Over.", code="session_expired")
    busy = ev.ServerProblem("Busy.", code="conversation_already_has_active_response")
    assert levels(connection, odd, odd) == ["error", "detail"]
    assert levels(connection, expired, busy) == ["detail"]
    assert levels(connection, odd, busy, is_known=True) == ["error", "error"]


def test_a_fatal_error_before_the_session_is_ready_ends_the_attempts() -> None:
    connection = Setup().until_created()
    (signal,) = connection.report(ev.ServerProblem("No.", code="invalid_api_key"), is_known=False)
    assert isinstance(signal, sg.SessionUnusable)
    assert signal.problem.exit is ExitCode.REFUSED


def test_a_server_that_reports_nothing_but_errors_is_left() -> None:
    connection = Setup().until_ready()
    error = ev.ServerProblem("Odd.")
    for _ in range(MAX_ERRORS - 1):
        connection.report(error, is_known=False)
    connection.turn_ended(is_complete=False)
    for _ in range(MAX_ERRORS):
        connection.report(error, is_known=False)
    outputs = connection.report(error, is_known=False)
    (lost,) = (each for each in outputs if isinstance(each, sg.SessionLost))
    assert outputs[0] == fx.Disconnect()
    assert (lost.problem.exit, lost.will_retry) == (ExitCode.REPLY, False)
