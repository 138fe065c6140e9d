"""When to stop waiting for a reply that the server does not end."""

from __future__ import annotations

from rtchat.core import effects as fx
from rtchat.core import server_errors
from rtchat.core.connection import SessionConnection
from rtchat.core.errors import Problem
from rtchat.core.events import ServerProblem, Timer

ERROR_WAIT = 3.0
"""Seconds after an error that names no command. If nothing of the reply follows, the error has
ended it: many servers report only the error."""
CONTINUE_WAIT = 1.5
"""Seconds that a server has to continue by itself after it has called tools. Then the client
requests the next reply, as some servers expect."""
CALL_WAIT = 5.0
"""Seconds that a server has to end or continue a reply after a complete call. Then the calls are
made."""
WORDLESS_WAIT = 1.0
"""Seconds that a server has to reply to a spoken turn without words. Many servers do not reply to
it, and report nothing but its empty transcript."""
CANCEL_WAIT = 3.0
"""Seconds that a server has to end a reply that was cancelled."""


class ReplyDeadline:
    """The wait for the end of the pending reply."""

    def __init__(self, connection: SessionConnection) -> None:
        self._connection = connection
        self._error: ServerProblem | None = None
        """The error that may have ended the reply."""
        self.is_running = False
        self.asks = False
        """Whether the reply is requested when the time is over."""
        self.ends = False
        """Whether the reply counts as complete when the time is over."""
        self.is_wordless = False
        """Whether no reply is expected when the time is over, because the question has no words."""

    def continues(self) -> fx.SetTimer:
        """The server may begin the next reply by itself."""
        self._error, self.asks, self.ends = None, True, False
        return self._start(CONTINUE_WAIT)

    def called(self) -> fx.SetTimer:
        """The reply has a complete call: the server should end it soon."""
        self._error, self.ends = None, True
        return self._start(CALL_WAIT)

    def heard_nothing(self) -> fx.SetTimer:
        """The question has no words: the server may not reply."""
        self.is_wordless = True
        return self._start(WORDLESS_WAIT)

    def cancelled(self) -> fx.SetTimer:
        """The reply was cancelled: the server should end it soon."""
        self._error, self.ends = None, False
        return self._start(CANCEL_WAIT)

    def reported(self, error: ServerProblem) -> fx.SetTimer:
        """The server reported an error that names no command."""
        self._error, self.ends = error, False
        return self._start(ERROR_WAIT)

    def _start(self, seconds: float) -> fx.SetTimer:
        self.is_running = True
        return fx.SetTimer(Timer.OVERDUE, seconds)

    def clear(self) -> list[fx.Effect]:
        """More of the reply arrived, or it ended: show an error that did not end it."""
        if not self.is_running:
            return []
        self.is_running = self.asks = self.ends = self.is_wordless = False
        error, self._error = self._error, None
        out: list[fx.Effect] = [fx.ClearTimer(Timer.OVERDUE)]
        if error is None or error.code == server_errors.ACTIVE_RESPONSE:
            return out
        return [*out, self._connection.server_reports(error.message)]

    def take_error(self) -> Problem | None:
        """The error that ended the reply, if one did."""
        error, self._error = self._error, None
        self.is_running = False
        return None if error is None else server_errors.of_error(error)
