"""The status lines about a conversation."""

from __future__ import annotations

import pytest

from rtchat import __version__
from rtchat.core.effects import Ready, ReplyOver, Timing, Totals, Waiting
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.values import Status, Usage
from rtchat.ui import messages


def test_the_greeting() -> None:
    line = f"rtchat {__version__} · m · connected in 0.31 s · /help"
    assert messages.greeting(Ready("m", 0.312)) == line


@pytest.mark.parametrize(
    ("replayed", "line"),
    [
        (0, "reconnected in 0.3 s"),
        (1, "reconnected in 0.3 s · 1 turn replayed"),
        (5, "reconnected in 0.3 s · 5 turns replayed"),
    ],
)
def test_a_reconnection(replayed: int, line: str) -> None:
    assert messages.reconnected(Ready("m", 0.312, replayed)) == line


def test_waiting_to_retry() -> None:
    assert messages.waiting(Waiting("connection lost", 1.5)) == "connection lost; retrying in 1.5 s"


_PROBLEM = Problem(ExitCode.REPLY, "the reply failed: boom", "try again")


@pytest.mark.parametrize(
    ("over", "line"),
    [
        (ReplyOver(Status.COMPLETED, "hi", "m"), ""),
        (ReplyOver(Status.CANCELLED, "hi", "m", "client_cancelled"), "interrupted"),
        (ReplyOver(Status.FAILED, "", "m", problem=_PROBLEM), "the reply failed: boom"),
        (ReplyOver(Status.INCOMPLETE, "hi", "m", "connection_lost"), "connection_lost"),
        (ReplyOver(Status.INCOMPLETE, "hi", "m"), "the reply is incomplete"),
        (ReplyOver(Status.FAILED, "", "m"), "the reply failed"),
    ],
)
def test_how_a_reply_ended(over: ReplyOver, line: str) -> None:
    assert messages.ending(over) == line


@pytest.mark.parametrize(
    ("timing", "usage", "line"),
    [
        (Timing(0.3), None, ""),
        (
            Timing(0.3, 0.21, 1.9),
            Usage(57, 16, 48, 105),
            "m · first token 0.21 s · 1.9 s · 28 tok/s · 57 in (16 cached) · 48 out",
        ),
        (Timing(0.3, 0.21, 1.9), None, "m · first token 0.21 s · 1.9 s"),
        (Timing(None, None, 1.9), Usage(5, 0, 0, 5), "m · 1.9 s · 5 in · 0 out"),
        (Timing(None, 0.2, 0.24), Usage(5, 0, 9), "m · first token 0.20 s · 0.2 s · 5 in · 9 out"),
        (Timing(None, 0.2), Usage(5, 0, 9), "m · first token 0.20 s · 5 in · 9 out"),
        (Timing(None, 0.2, 9.0), Usage(5), "m · first token 0.20 s · 9.0 s · 5 in · 0 out"),
    ],
)
def test_the_statistics_of_a_reply(timing: Timing, usage: Usage | None, line: str) -> None:
    over = ReplyOver(Status.COMPLETED, "hi", "m", usage=usage, timing=timing)
    assert messages.stats(over) == line


def test_the_totals() -> None:
    assert messages.totals(Totals(1, Usage(5, 4, 6))) == (
        "replies        1\ninput          5  tokens\ncached         4  of the input\n"
        "output         6  tokens\ncost     unknown"
    )
