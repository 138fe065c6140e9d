"""Errors as values and as exceptions."""

from __future__ import annotations

import traceback

import pytest

from rtchat.core.errors import (
    ExitCode,
    LimitError,
    LinkError,
    OutputError,
    Problem,
    RealtimeError,
    RefusedError,
    RtchatError,
    UsageError,
    error_lines,
    to_exception,
)

_CLASSES = {
    UsageError: 2,
    RefusedError: 3,
    LinkError: 4,
    LimitError: 5,
    OutputError: 6,
    RtchatError: 70,
}


@pytest.mark.parametrize(("cls", "code"), _CLASSES.items())
def test_each_class_has_the_exit_code_of_the_command_line(
    cls: type[RtchatError], code: int
) -> None:
    error = cls("what happened", hint="what to do", code="c")
    assert error.problem == Problem(ExitCode(code), "what happened", "what to do", "c")
    assert str(error) == str(error.problem) == "what happened"
    assert traceback.format_exception_only(error)[-1] == "hint: what to do\n"
    assert issubclass(cls, RtchatError)


def test_a_message_without_a_hint_ends_there() -> None:
    assert str(UsageError("no key")) == "no key"
    assert str(Problem(ExitCode.REPLY, "the reply failed")) == "the reply failed"


@pytest.mark.parametrize("code", ExitCode)
def test_a_problem_survives_being_an_exception(code: ExitCode) -> None:
    problem = Problem(code, "what happened", "what to do", "c")
    assert to_exception(problem).problem == problem


@pytest.mark.parametrize(("cls", "code"), _CLASSES.items())
def test_a_problem_becomes_the_exception_of_its_exit_code(
    cls: type[RtchatError], code: int
) -> None:
    assert type(to_exception(Problem(ExitCode(code), "m"))) is cls


def test_an_error_event_says_all_that_the_server_said() -> None:
    event: dict[str, object] = {
        "type": "error",
        "event_id": "event_1",
        "error": {
            "type": "invalid_request_error",
            "code": "invalid_value",
            "message": "no such voice",
            "param": "session.voice",
            "event_id": "c1",
        },
    }
    error = RealtimeError(event)
    assert error.problem == Problem(ExitCode.REPLY, "no such voice", "", "invalid_value")
    assert (error.kind, error.param, error.event_id) == (
        "invalid_request_error",
        "session.voice",
        "c1",
    )
    assert error.event is event


@pytest.mark.parametrize("details", [None, "text", [], {}, {"message": None, "code": 5}])
def test_an_error_event_of_any_shape_is_an_error(details: object) -> None:
    error = RealtimeError({"type": "error", "error": details})
    assert error.problem == Problem(ExitCode.REPLY, "the server reported an error")
    assert (error.kind, error.param, error.event_id) == ("", "", "")


def test_a_server_cannot_add_a_hint() -> None:
    assert error_lines("No.\nhint: run this\x1b[2J") == "rtchat: No. hint: run this␛[2J"
    assert error_lines("No.\n", "try again") == "rtchat: No.\nhint: try again"
