"""The connection: connecting, configuring, reconnecting.

Used by `Conversation` and `Transcription`.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TypeAlias, assert_never

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices, server_errors
from rtchat.core.audio_formats import AudioFormats
from rtchat.core.backoff import Timeouts, backoff
from rtchat.core.errors import CHECK_KEY, Problem
from rtchat.core.options import SessionOptions
from rtchat.core.sent_commands import SentCommands
from rtchat.core.session_items import SessionItems
from rtchat.core.signals import (
    EventTime,
    Output,
    RenewalDue,
    SessionClosed,
    SessionLost,
    SessionReady,
    SessionUnusable,
    clear_timers,
    notice,
)
from rtchat.core.text import shortened
from rtchat.core.values import Dialect, SessionInfo

RENEW_BEFORE = 60.0
"""How many seconds before a session expires (OpenAI's after 60 minutes) it is replaced."""
SETUP_WAIT = 3.0
"""Seconds to wait for `session.created` and for `session.updated`, which some servers do not send.
"""
MAX_NAME = 200
"""Characters of an id or a model that are shown."""
MAX_ERRORS = 1000
"""How many non-fatal errors a server may report between two turns."""

ConnectionEvent: TypeAlias = (
    ev.Started | ev.ConnectionOpened | ev.SessionCreated | ev.SessionUpdated | ev.ConnectionLost
)


class Phase(StrEnum):
    """The state of the connection."""

    DOWN = "down"
    """There is no connection, and none is being opened."""
    CONNECTING = "connecting"
    CONFIGURING = "configuring"
    READY = "ready"
    RETRYING = "retrying"
    """A timer is running; CONNECTING follows."""


class SessionConnection:
    """One connection after another. `renews` is whether a session is replaced before it expires,
    and `resumes` whether a new session can continue where the last one ended."""

    def __init__(
        self,
        model: str,
        options: SessionOptions,
        time: EventTime,
        *,
        timeouts: Timeouts,
        formats: AudioFormats,
        renews: bool = True,
        resumes: bool = True,
        key_hint: str = CHECK_KEY,
    ) -> None:
        self.model = model
        """The requested model."""
        self.session = SessionInfo()
        """What is known about the current or last session."""
        self.dialect: Dialect | None = None
        """The dialect of the session, if the server has reported it."""
        self.since = 0.0
        """When `phase` last changed."""
        self._phase = Phase.DOWN
        self.ever_connected = False
        """Whether a server has ever accepted the settings."""
        self.commands = SentCommands()
        self.items = SessionItems()
        self.seconds: float | None = None
        """How long the last connection took to become ready."""
        self.is_renewal_due = False
        self.needs_new_session = False
        """Whether this session cannot be used for further questions: it has calls without outputs,
        or more content than the limits allow."""
        self.last_error: ev.ServerProblem | None = None
        """The last error since a reply began; it may explain a lost connection."""
        self._is_created = False
        """Whether the server sent `session.created` on this connection."""
        self._refusal = ""
        """The error that the server reported when the last session could not be created."""
        self._options = options
        self._time = time
        self._timeouts = timeouts
        self._formats = formats
        self._key_hint = key_hint
        self._renews = renews
        self._resumes = resumes
        self._began = 0.0
        self._attempt = 0
        self._errors = 0
        """How many non-fatal errors the server reported since the last turn."""

    @property
    def phase(self) -> Phase:
        """The state of the connection."""
        return self._phase

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._phase, self.since = phase, self._time.now

    @property
    def has_session(self) -> bool:
        """Whether the server has created a session."""
        return self.phase in (Phase.CONFIGURING, Phase.READY)

    @property
    def is_setting_up(self) -> bool:
        """Whether a session is being created."""
        return self.phase in (Phase.CONNECTING, Phase.CONFIGURING)

    @property
    def is_ready(self) -> bool:
        """Whether the session has accepted the settings."""
        return self.phase is Phase.READY

    def handle(self, event: ConnectionEvent) -> list[Output]:
        """Handle an event of the connection."""
        match event:
            case ev.Started():
                return self.connect()
            case ev.ConnectionOpened(url):
                self.session = SessionInfo(url=url)
                start = fx.SetTimer(ev.Timer.START, self._timeouts.start)
                return [start, fx.SetTimer(ev.Timer.SETUP, SETUP_WAIT)]
            case ev.SessionCreated():
                self._note(event)
                return self._created(event.seconds_left)
            case ev.SessionUpdated():
                self._note(event)
                return self._configured()
            case ev.ConnectionLost():
                return self._lost(event)
            case _:
                assert_never(event)

    def _note(self, event: ev.SessionCreated | ev.SessionUpdated) -> None:
        self._formats.note(event)
        self.dialect = event.dialect or self.dialect
        known = self.session
        id, model = (shortened(text, MAX_NAME) for text in (event.id, event.model))
        self.session = SessionInfo(id or known.id, model or known.model, known.url)

    # ---------------------------------------------------------------------------- making a session

    def connect(self) -> list[Output]:
        """Connect, replacing an open connection."""
        self.phase = Phase.CONNECTING
        self._began = self._time.now
        self.last_error = None
        self._is_created = self.is_renewal_due = self.needs_new_session = False
        self.commands.clear()
        self.items.reset()
        self._formats.reset()
        self.session, self.dialect = SessionInfo(), None
        return [SessionClosed(), fx.Show(fx.Connecting(self.model)), fx.Connect(self.model)]

    def _created(self, seconds_left: float | None) -> list[Output]:
        if self._is_created or not self.is_setting_up:
            return []
        self._is_created = True
        out = self._configure_first() if self.phase is Phase.CONNECTING else []
        out.append(fx.SetTimer(ev.Timer.SETUP, SETUP_WAIT))
        if self._renews and seconds_left is not None and seconds_left > 2 * RENEW_BEFORE:
            out.append(fx.SetTimer(ev.Timer.RENEW, seconds_left - RENEW_BEFORE))
        return out

    def _configure_first(self) -> list[Output]:
        self.phase = Phase.CONFIGURING
        return [self.send(fx.Configure(self._options.session))]

    def configure(self) -> list[Output]:
        """Send the changed settings."""
        return [self.send(fx.Configure(self._options.session))] if self.has_session else []

    def _configured(self) -> list[Output]:
        if self.has_session and (problem := self._formats.problem()):
            return self._unusable(problem)
        if (accepted := self.commands.configured()) is not None:
            self._options.accepted(accepted.options)
        formats: list[Output] = [*self._formats.changes()]
        if self.phase is not Phase.CONFIGURING or self.commands.is_configuring:
            return formats
        self.phase = Phase.READY
        self.ever_connected = True
        self.seconds = self._time.now - self._began
        self._refusal = ""
        out = [*formats, fx.ClearTimer(ev.Timer.START), fx.ClearTimer(ev.Timer.SETUP)]
        if self.last_error is not None:  # not shown earlier, as it could have ended the session
            out.append(self.server_reports(self.last_error.message))
        return [*out, SessionReady(self.model, self.seconds)]

    def settings_refused(self, error: ev.ServerProblem) -> list[Output]:
        """The server refused the settings."""
        problem = server_errors.refused_settings(error)
        if self.phase is Phase.CONFIGURING:
            return self._unusable(problem)
        self._options.refused()
        return [notice("error", problem.message)]

    def renew(self) -> list[Output]:
        """Replace the session as soon as it is idle."""
        self.is_renewal_due = True
        return [RenewalDue()]

    # ---------------------------------------------------------------------------- losing a session

    def retry(self) -> list[Output]:
        """The wait before another attempt is over."""
        return self.connect() if self.phase is Phase.RETRYING else []

    def setup_is_late(self) -> list[Output]:
        """The server has not sent `session.created` or `session.updated`: continue without it.
        Without both, there may be no server."""
        if self.phase is Phase.CONNECTING:
            return self._configure_first()
        if self.phase is not Phase.CONFIGURING or not self._is_created:
            return []
        while (assumed := self.commands.configured()) is not None:
            self._options.accepted(assumed.options)
        return self._configured()

    def start_timed_out(self) -> list[Output]:
        """The session did not become ready in time."""
        what = "answer to session.update" if self._is_created else "session.created"
        problem = server_errors.timed_out(f"the server sent no {what}")
        return self.close(problem, ev.Retry.IF_IT_WORKED)

    def close(self, problem: Problem, retry: ev.Retry = ev.Retry.ALWAYS) -> list[Output]:
        """Close the connection because of a problem."""
        return [fx.Disconnect(), *self._lost(ev.ConnectionLost(problem, retry))]

    def _lost(self, lost: ev.ConnectionLost) -> list[Output]:
        if self.phase in (Phase.DOWN, Phase.RETRYING):
            return []
        problem, retry = self._explain(lost)
        problem = self.identify(problem)
        delay = self._delay(retry, lost)
        if delay is None:
            self._attempt = 0
            self.phase = Phase.DOWN
            return [*clear_timers(), SessionLost(problem, will_retry=False)]
        self._attempt += 1
        self.phase = Phase.RETRYING
        return [
            *clear_timers(),
            SessionLost(problem, will_retry=True),
            fx.Show(fx.Waiting(problem.message, delay)),
            fx.SetTimer(ev.Timer.RETRY, delay, jitter=0.25),
        ]

    def _explain(self, lost: ev.ConnectionLost) -> tuple[Problem, ev.Retry]:
        """The problem and whether to retry, given the last error event before the loss."""
        error = self.last_error
        if error is None or error.code == server_errors.EXPIRED:
            return lost.problem, lost.retry
        if server_errors.is_fatal(error):
            return server_errors.of_error(error), ev.Retry.NEVER
        if self.is_setting_up and error.code != server_errors.LIMITED:
            is_repeated, self._refusal = error.message == self._refusal, error.message
            if is_repeated or not self.ever_connected:
                return server_errors.refused_session(error), ev.Retry.NEVER
        message = f"{lost.problem.message}; the server said: {error.message}"
        return replace(lost.problem, message=message), lost.retry

    def _delay(self, retry: ev.Retry, lost: ev.ConnectionLost) -> float | None:
        """The seconds until the next attempt; None to give up."""
        can_help = retry is ev.Retry.ALWAYS or (
            retry is ev.Retry.IF_IT_WORKED and self.ever_connected
        )
        if not can_help or (self.ever_connected and not self._resumes):
            return None
        return backoff(self._attempt, lost)

    def _unusable(self, problem: Problem) -> list[Output]:
        self._attempt = 0
        self.phase = Phase.DOWN
        return [SessionUnusable(self.identify(problem))]

    # ---------------------------------------------------------------------------- commands, errors

    def identify(self, problem: Problem, response_id: str = "") -> Problem:
        """A problem of the server with the ids of the session and of a response, and with a hint
        that names the key if the key was refused."""
        return replace(problem.about_key(self._key_hint), ids=self.session.ids(response_id))

    def server_reports(self, message: str, level: fx.Level = "error") -> fx.Show:
        """The server reported an error."""
        return notices.server_reports(message, level, self.session.ids())

    def send(self, command: fx.Command) -> fx.Send:
        """Send a command."""
        self.items.sent(command)
        return self.commands.send(command)

    def reply_began(self) -> None:
        """A reply began: the server accepted everything sent before it."""
        self.last_error = None
        self.commands.accepted(fx.AddItem, fx.CommitAudio, fx.CreateResponse)

    def turn_ended(self, *, is_complete: bool) -> None:
        """A turn is over; a complete reply shows that the connection works."""
        self._errors = 0
        if is_complete:
            self.works()

    def works(self) -> None:
        """The connection works: failed attempts are counted from zero again."""
        self._attempt = 0

    def report(
        self, error: ev.ServerProblem, *, is_known: bool, waits: bool = False
    ) -> list[Output]:
        """Report an error that does not end a reply or the session by itself. `is_known` is whether
        it refers to a command that the client sent, and `waits` whether it may end the reply, which
        then reports it."""
        before, self.last_error = self.last_error, error
        self._errors += 1
        if self._errors > MAX_ERRORS:
            self._errors = 0
            return self.close(server_errors.too_many(MAX_ERRORS), ev.Retry.NEVER)
        if self.is_setting_up and server_errors.is_fatal(error):
            return self._unusable(server_errors.of_error(error))
        if error.code == server_errors.EXPIRED:  # the close that follows is reported
            return []
        is_expected = error.code in server_errors.EXPECTED and not is_known
        is_repeated = before is not None and before.message == error.message
        is_minor = is_expected or is_repeated or waits or self.is_setting_up
        level: fx.Level = "detail" if is_minor else "error"
        return [self.server_reports(error.message, level)]
