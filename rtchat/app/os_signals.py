"""The signals that end a program: exit codes for commands, events for sessions."""

from __future__ import annotations

import signal

from rtchat.core.errors import ExitCode
from rtchat.core.events import LeaveAsked, LocalEvent

EXIT_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
"""The exit codes of commands without a session."""
SESSION_EXIT_CODES = {**EXIT_CODES, signal.SIGHUP: ExitCode.HANGUP}
"""The exit codes of commands that end their sessions first."""


def signal_events(interrupt: LocalEvent) -> dict[int, LocalEvent]:
    """The event for each signal that a session handles; `interrupt` is the one for SIGINT."""
    ends: dict[int, LocalEvent] = {
        number: LeaveAsked(code) for number, code in SESSION_EXIT_CODES.items()
    }
    return ends | {signal.SIGINT: interrupt}
