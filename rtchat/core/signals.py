"""What the units of a conversation return: effects, and signals to the other units.

A unit never calls one of a higher level. It returns a signal, and `Conversation` passes it on.
"""

from __future__ import annotations

from typing import TypeAlias

from rtchat.core import effects as fx
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import ReplyEnded, ResponseEvent, ServerProblem, Timer
from rtchat.core.values import Status, value


class SignalBase:
    """The base of all signals, because a check against a union of classes is slow."""

    __slots__ = ()


@value
class SessionClosed(SignalBase):
    """The session is closed: another connection is about to be made."""


@value
class SessionReady(SignalBase):
    """The server accepted the settings; `seconds` is the time since connecting began."""

    model: str
    seconds: float


@value
class SessionLost(SignalBase):
    """The connection ended, or could not be made."""

    problem: Problem
    will_retry: bool


@value
class SessionUnusable(SignalBase):
    """The session cannot be used, and another one would not help."""

    problem: Problem


HeldEvent: TypeAlias = ResponseEvent | ServerProblem


@value
class HeldEvents(SignalBase):
    """Events of a response that were held until it was known whose reply it is."""

    events: tuple[HeldEvent, ...]


@value
class RenewalDue(SignalBase):
    """The session should be replaced when it is idle."""


@value
class UnrequestedReply(SignalBase):
    """The server began a reply that was not requested."""

    response_id: str


@value
class CallsRequested(SignalBase):
    """The reply is complete and contains calls."""

    ended: ReplyEnded


@value
class ReplyDone(SignalBase):
    """The reply is over, and its turn with it."""

    status: Status
    reason: str
    problem: Problem | None
    ended: ReplyEnded | None = None


@value
class ReplyStopped(SignalBase):
    """The server confirmed that the stopped reply is over."""


@value
class TurnDone(SignalBase):
    """A turn is over; `asks_next` is whether the next question may be asked now."""

    problem: Problem | None
    asks_next: bool


@value
class SummaryDone(SignalBase):
    """The turn that asked for a summary is over."""

    over: fx.ReplyOver


@value
class BudgetSpent(SignalBase):
    """The budget is spent; `ends_turn` is whether the server is to end a turn."""

    problem: Problem
    ends_turn: bool


Signal: TypeAlias = (
    SessionClosed
    | SessionReady
    | SessionLost
    | SessionUnusable
    | HeldEvents
    | RenewalDue
    | UnrequestedReply
    | CallsRequested
    | ReplyDone
    | ReplyStopped
    | TurnDone
    | SummaryDone
    | BudgetSpent
)
Output: TypeAlias = fx.Effect | Signal


class EventTime:
    """The time of the event being handled, in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self.now = 0.0


def notice(level: fx.Level, text: str, hint: str = "") -> fx.Show:
    """Show a message from the program."""
    return fx.Show(fx.Notice(level, text, hint))


def report(problem: Problem, level: fx.Level = "error") -> fx.Show:
    """Show a problem."""
    return fx.Show(fx.error_notice(problem, level))


def clear_timers() -> list[fx.ClearTimer]:
    """Stop all timers of a session. That of the microphone does not depend on the session."""
    return [fx.ClearTimer(timer) for timer in Timer if timer is not Timer.MICROPHONE]


def stop(exit_code: ExitCode) -> list[Output]:
    """End the program."""
    return [*clear_timers(), fx.Stop(exit_code)]
