"""A trace that can be started and stopped while the session runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtchat.core.events import LocalEvent, SessionCreated
from rtchat.core.redaction import Redactor
from rtchat.core.setup import SessionSetup
from rtchat.core.values import JsonObject
from rtchat.wire import session_event

if TYPE_CHECKING:
    from pathlib import Path

    from rtchat.trace.recording import Trace


class TraceSwitch:
    """The trace of a session, or none at the moment; a `Tap`.

    A trace that is started later has no "setup" and begins with the last events about the session,
    so that a reader knows what the rest belongs to; `after` in its header has the time at which it
    was started. `redactor` and `complete` are as in `Trace`.
    """

    def __init__(self, trace: Trace | None, redactor: Redactor, *, complete: bool) -> None:
        self.trace = trace
        """The trace in progress."""
        self._redactor = redactor
        self._complete = complete
        self._session: list[tuple[JsonObject, float]] = []
        """The last `session.created` and `session.updated`, with their times."""
        self._now = 0.0

    def __call__(
        self, direction: str, data: JsonObject | str | LocalEvent | SessionSetup, now: float
    ) -> None:
        """Record one event, if there is a trace."""
        self._now = now
        if direction == "received" and isinstance(data, dict) and (kind := session_event(data)):
            # A session begins anew, or its settings change.
            self._session = [] if kind is SessionCreated else self._session[:1]
            self._session.append((data, now))
        if self.trace is not None:
            self.trace(direction, data, now)

    def open(self, path: Path) -> Trace:
        """Create the file of a new trace. This may block. Raises OutputError."""
        from rtchat.trace.recording import Trace

        return Trace(path, redactor=self._redactor, complete=self._complete, after=self._now)

    def start(self, trace: Trace) -> None:
        """Record to this trace from now on."""
        for data, time in self._session:
            trace("received", data, time)
        self.trace = trace

    def stop(self) -> Trace | None:
        """Record nothing from now on. Returns the trace, which the caller closes."""
        trace, self.trace = self.trace, None
        return trace

    def close(self) -> None:
        """Close the trace in progress."""
        if self.trace is not None:
            self.trace.close()
