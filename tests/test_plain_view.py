"""Replies as plain text: what goes to stdout and what to stderr."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat import __version__
from rtchat.core.effects import (
    Connecting,
    EventReceived,
    MicrophoneStatus,
    Notice,
    QuestionAsked,
    Ready,
    ReplyHeard,
    ReplyOver,
    Report,
    SpeechHeard,
    TextArrived,
    ThemeChosen,
    Timing,
    Totals,
    Update,
    UserTranscript,
    Waiting,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.values import SessionInfo, Status, Usage
from rtchat.ui.plain_view import PlainView, StatusWriter


class _ClosedPipe(StringIO):
    """A stderr whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def _over(status: Status = Status.COMPLETED, problem: Problem | None = None) -> ReplyOver:
    return ReplyOver(status, "", "m", problem=problem)


def _stdout(*updates: Update, raw: bool = True) -> bytes:
    out = BytesIO()
    view = PlainView(out, StatusWriter(None), raw=raw)
    for update in updates:
        view.show(update)
        view.tick()
    return out.getvalue()


@pytest.mark.parametrize(
    ("pieces", "written"),
    [
        (["Hello"], b"Hello\n"),
        (["Hel", "lo\n"], b"Hello\n"),
        (["Hello\n\n"], b"Hello\n\n"),
        (["Hello", "\n"], b"Hello\n"),
        (["Hello", ""], b"Hello\n"),
        (["", ""], b""),
        ([], b""),
        (["\x1b[31mred\x07\r\n"], b"\x1b[31mred\x07\r\n"),
        (["é😀\u2028"], "é😀\u2028\n".encode()),
    ],
)
def test_a_pipe_gets_the_exact_text_and_one_newline(pieces: list[str], written: bytes) -> None:
    assert _stdout(QuestionAsked("q", "m"), *map(TextArrived, pieces), _over()) == written


def test_replies_follow_each_other() -> None:
    updates: list[Update] = [TextArrived("one"), _over(), _over(), TextArrived("two\n"), _over()]
    assert _stdout(*updates) == b"one\ntwo\n"


def test_text_is_written_when_it_arrives() -> None:
    assert _stdout(TextArrived("Hel")) == b"Hel"


def test_a_terminal_gets_no_control_characters() -> None:
    shown = _stdout(TextArrived("\x1b[31mred\x9b1m\r\n\u202ex"), _over(), raw=False)
    assert shown == "␛[31mred<U+009B>1m\n<U+202E>x\n".encode()


@given(st.lists(st.text(max_size=9), max_size=5))
def test_the_output_does_not_depend_on_the_deltas(pieces: list[str]) -> None:
    text = "".join(pieces)
    newline = "\n" if text and not text.endswith("\n") else ""
    assert _stdout(*map(TextArrived, pieces), _over()) == (text + newline).encode()


def test_the_ids_that_support_asks_for() -> None:
    """They are in error messages. With `--verbose`, the session and each response are shown."""
    session = SessionInfo("sess_1", "m-2026", "wss://a.example/v1/realtime")
    failed = Problem(ExitCode.REPLY, "no", "try", ids=session.ids("resp_1"))
    updates: list[Update] = [
        Ready("m", 0.31, session=session),
        Notice("error", "odd", ids=session.ids()),
        ReplyOver(Status.FAILED, "", "m", problem=failed, response_id="resp_1", session=session),
        ReplyOver(Status.COMPLETED, "", "m", response_id="resp_2", session=session),
    ]
    errors = ["rtchat: odd (session sess_1)", "rtchat: no (session sess_1, response resp_1)"]
    shown = {False: StringIO(), True: StringIO()}
    for verbose, err in shown.items():
        status = StatusWriter(err, verbose=verbose)
        for update in updates:
            status.show(update)
    assert shown[False].getvalue().splitlines() == [*errors, "hint: try"]
    assert shown[True].getvalue().splitlines() == [
        f"rtchat {__version__} · m-2026 (asked for m) · connected in 0.31 s",
        "session sess_1 at wss://a.example/v1/realtime",
        *errors,
        "hint: try",
        "response resp_2",
    ]


_FAILED = Problem(ExitCode.REPLY, "the reply failed:\nboom\x1b", "try again")
_ALL: list[Update] = [
    Connecting("m"),
    Ready("m", 0.31),
    Ready("m", 0.5, 3),
    Waiting("connection lost", 1.5),
    MicrophoneStatus(is_on=True, push_to_talk=False, name="Head\x1bset"),
    QuestionAsked("q", "m", spoken=True),
    UserTranscript("What is\n\x1b[31mit?"),
    TextArrived("text"),
    ReplyOver(Status.COMPLETED, "text", "m", usage=Usage(5, 0, 6), timing=Timing(None, 0.2, 1.9)),
    _over(Status.CANCELLED),
    ReplyHeard("It is\nlate.", "Go."),
    ReplyHeard("word " * 20, "Go."),
    ReplyHeard("", "Go."),
    SpeechHeard(is_speaking=True, words="not shown"),
    _over(Status.FAILED, _FAILED),
    Notice("detail", "a detail"),
    Notice("info", "some\ninformation"),
    Notice("warning", "a warning"),
    Notice("error", "an error\nof two lines"),
    UserTranscript(" "),
    MicrophoneStatus(is_on=False, push_to_talk=False),
    Totals(2, Usage(10, 0, 12)),
]
_TOTALS = [
    "replies        2",
    "input         10  tokens",
    "cached         0  of the input",
    "output        12  tokens",
    "cost     unknown",
]
_QUIET = [
    "rtchat: the reply failed: boom␛",
    "hint: try again",
    "rtchat: a warning",
    "rtchat: an error of two lines",
    *_TOTALS,
]
_NORMAL = [
    "reconnected in 0.5 s · 3 turns replayed",
    "connection lost; retrying in 1.5 s",
    "microphone on (Head␛set)",
    "you said: What is ␛[31mit?",
    "m · first token 0.20 s · 1.9 s · 4 tok/s · 5 in · 6 out",
    "interrupted",
    "heard up to here: It is late.",
    f"heard up to here: …{'word ' * 9}word",
    "heard up to here: nothing",
    "rtchat: the reply failed: boom␛",
    "hint: try again",
    "some",
    "information",
    "rtchat: a warning",
    "rtchat: an error of two lines",
    "you said: (no words recognised)",
    "microphone off",
    *_TOTALS,
]
_VERBOSE = [
    "connecting to m",
    f"rtchat {__version__} · m · connected in 0.31 s",
    *_NORMAL[:11],
    "a detail",
    *_NORMAL[11:],
]


@pytest.mark.parametrize(
    ("quiet", "verbose", "lines"),
    [(True, False, _QUIET), (False, False, _NORMAL), (False, True, _VERBOSE)],
)
def test_everything_about_the_replies_goes_to_stderr(
    quiet: bool, verbose: bool, lines: list[str]
) -> None:
    err = StringIO()
    status = StatusWriter(err, quiet=quiet, verbose=verbose)
    for update in _ALL:
        status.show(update)
        status.tick()
    assert err.getvalue() == "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(("quiet", "text"), [(True, ""), (False, "a line\n")])
def test_say_writes_a_line_unless_quiet(quiet: bool, text: str) -> None:
    err = StringIO()
    StatusWriter(err, quiet=quiet).say("a line")
    assert err.getvalue() == text


@pytest.mark.parametrize("err", [None, _ClosedPipe()])
def test_stderr_may_be_closed(err: StringIO | None) -> None:
    out = BytesIO()
    view = PlainView(out, StatusWriter(err, verbose=True), raw=True)
    for update in _ALL:
        view.show(update)
    assert out.getvalue() == b"text\n"


def test_a_problem_that_ends_every_queued_question_is_shown_once() -> None:
    err = StringIO()
    status = StatusWriter(err)
    gone = ReplyOver(Status.FAILED, "", "m", problem=Problem(ExitCode.REFUSED, "no", "why"))
    for update in (QuestionAsked("1", "m"), gone, gone, gone, QuestionAsked("2", "m"), gone):
        status.show(update)
    assert err.getvalue() == "rtchat: no\nhint: why\n" * 2


@pytest.mark.parametrize("is_quiet", [False, True])
def test_what_a_command_asks_for_is_always_shown(is_quiet: bool) -> None:
    err = StringIO()
    status = StatusWriter(err, quiet=is_quiet)
    for update in (
        Report("one\ntwo \x1b[31m"),
        EventReceived('{"type":"odd","text":"' + 90 * "x" + '"}'),
        ThemeChosen("mono"),
    ):
        status.show(update)
    one, two, event, theme = err.getvalue().splitlines()
    assert (one, two) == ("one", "two ␛[31m")
    assert event.startswith('{"type":"odd"')
    assert len(event) == 80
    assert event.endswith("…")
    assert "theme" in theme


def test_an_event_is_as_wide_as_the_terminal() -> None:
    terminal, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with open(slave, "w") as err:
        StatusWriter(err).show(EventReceived(100 * "x"))
    assert os.read(terminal, 1000).decode().strip() == 39 * "x" + "…"
    os.close(terminal)
    StatusWriter(None).show(EventReceived("x"))


def test_an_event_on_a_terminal_begins_a_line() -> None:
    out = BytesIO()
    view = PlainView(out, StatusWriter(None), raw=False)
    for update in (
        TextArrived("one"),
        EventReceived("{}"),
        EventReceived("{}"),
        TextArrived("two"),
    ):
        view.show(update)
    assert out.getvalue() == b"one\ntwo"


def test_where_playback_was_interrupted_is_shown_on_a_line_of_its_own() -> None:
    shown = BytesIO()
    err = TextIOWrapper(shown, encoding="utf-8", write_through=True)
    view = PlainView(shown, StatusWriter(err), raw=False)
    for update in (
        TextArrived("It is late."),
        ReplyHeard("It is", "late."),
        _over(Status.CANCELLED),
    ):
        view.show(update)
    assert shown.getvalue().decode() == "It is late.\nheard up to here: It is\ninterrupted\n"
