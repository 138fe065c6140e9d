"""The pieces of a long recording, and the events and effects of its transcription.

`long_transcription` handles these events, which are apart from those of a conversation.
"""

from __future__ import annotations

from typing import TypeAlias

from rtchat.core import effects as fx
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import LeaveAsked
from rtchat.core.values import SessionInfo, Usage, value

PieceUpdate: TypeAlias = fx.TurnTranscribed | fx.TextArrived | fx.Notice


@value
class PieceTranscript:
    """What a session showed of a piece. Its times count from the beginning of the piece."""

    updates: tuple[PieceUpdate, ...] = ()
    text: str = ""


@value
class FinishedPiece:
    """A piece that an earlier run of the program transcribed."""

    start_ms: int
    end_ms: int
    transcript: PieceTranscript


@value
class PieceOutcome:
    """How the session of a piece ended. `exit` is OK if the transcript is complete."""

    transcript: PieceTranscript
    exit: ExitCode = ExitCode.OK
    problem: Problem | None = None
    """Why it ended early."""
    was_ready: bool = True
    """Whether the session accepted the settings."""
    wait: float = 0.0
    """The seconds after which the server may accept another session."""
    usage: Usage | None = None
    cost: float | None = None


# ------------------------------------------------------------------------------------------- events


@value
class Begun:
    """The program started."""


@value
class PieceCut:
    """The next piece of the recording; its times are in milliseconds."""

    number: int
    start_ms: int
    end_ms: int


@value
class AudioEnded:
    """There are no more pieces, because of a problem if there is one."""

    problem: Problem | None = None


@value
class PieceReady:
    """The session of a piece accepted the settings."""

    session: SessionInfo = SessionInfo()


@value
class PieceOver:
    """The session of a piece ended."""

    number: int
    outcome: PieceOutcome


@value
class WaitOver:
    """The time of a `Wait` is over."""


Event: TypeAlias = Begun | PieceCut | AudioEnded | PieceReady | PieceOver | WaitOver | LeaveAsked


# ------------------------------------------------------------------------------------------ effects


@value
class StartPiece:
    """Transcribe a piece in a new session."""

    number: int


@value
class EndPiece:
    """The audio of a piece is no longer needed. `finished` is to be kept in case the program is
    interrupted. `is_old` is whether an earlier run transcribed it."""

    number: int
    finished: FinishedPiece | None = None
    is_old: bool = False


@value
class Wait:
    """Report `WaitOver` after these seconds."""

    seconds: float


@value
class ForgetPieces:
    """The transcript is complete: once it is written, no piece needs to be kept."""


Effect: TypeAlias = StartPiece | EndPiece | Wait | ForgetPieces | fx.Show | fx.Stop
