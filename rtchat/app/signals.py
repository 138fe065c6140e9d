"""What the signals that end a program mean."""

from __future__ import annotations

import signal

from rtchat.core.errors import ExitCode
from rtchat.core.events import LeaveAsked, LocalEvent

EXIT_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
"""For commands without a session."""


def signal_events(interrupt: LocalEvent) -> dict[int, LocalEvent]:
    """The events that a session gets for signals; `interrupt` is the one for SIGINT."""
    return {
        signal.SIGINT: interrupt,
        signal.SIGTERM: LeaveAsked(ExitCode.TERMINATED),
        signal.SIGHUP: LeaveAsked(ExitCode.HANGUP),
    }
