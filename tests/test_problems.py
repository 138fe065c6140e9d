"""What a server says went wrong, in plain words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.errors import CHECK_KEY, ExitCode, Problem
from rtchat.core.events import ReplyEnded, ServerProblem
from rtchat.core.server_errors import is_fatal, limit_wait, of_error, of_reply, refused_settings
from rtchat.core.values import Status

_KEY = CHECK_KEY
_MONEY = "check the plan and billing of your account"
_MODEL = "choose another with --model"
_BETA = "remove --dialect beta and any OpenAI-Beta header"


@pytest.mark.parametrize(
    ("code", "exit_code", "hint", "fatal"),
    [
        ("invalid_api_key", ExitCode.REFUSED, _KEY, True),
        ("insufficient_quota", ExitCode.LIMIT, _MONEY, True),
        ("rate_limit_exceeded", ExitCode.LIMIT, "wait a moment and try again", False),
        ("beta_api_shape_disabled", ExitCode.USAGE, _BETA, True),
        ("missing_model", ExitCode.USAGE, _MODEL, True),
        ("invalid_model", ExitCode.USAGE, _MODEL, True),
        ("model_not_found", ExitCode.USAGE, _MODEL, True),
        ("invalid_value", ExitCode.REPLY, "", False),
        ("", ExitCode.REPLY, "", False),
    ],
)
def test_a_code_decides_how_it_ends(code: str, exit_code: ExitCode, hint: str, fatal: bool) -> None:
    expected = Problem(exit_code, "words", hint, code)
    assert of_error(ServerProblem("words", "", code)) == expected
    assert is_fatal(ServerProblem("words", "", code)) is fatal
    # Some servers have no code and say it in the type.
    assert of_error(ServerProblem("words", code)) == expected
    assert is_fatal(ServerProblem("words", code)) is fatal
    failed = ReplyEnded("r", Status.FAILED, code=code, message="words")
    assert of_reply(failed) == Problem(exit_code, "the reply failed: words", hint, code)


def test_refused_settings_name_the_field() -> None:
    hint = "remove that setting, or set the server's dialect with --dialect"
    error = ServerProblem("Unknown parameter.", "invalid_request_error", "unknown", "session.x")
    message = "the server refused session.x: Unknown parameter."
    assert refused_settings(error) == Problem(ExitCode.USAGE, message, hint, "unknown")
    message = "the server refused the settings: no"
    assert refused_settings(ServerProblem("no", "bad")) == Problem(
        ExitCode.USAGE, message, hint, "bad"
    )
    refused = ServerProblem("no", "", "invalid_api_key")
    assert refused_settings(refused) == Problem(ExitCode.REFUSED, "no", _KEY, "invalid_api_key")


@pytest.mark.parametrize(
    ("ended", "problem"),
    [
        (ReplyEnded("r", Status.COMPLETED), None),
        (
            ReplyEnded("r", Status.INCOMPLETE, "max_output_tokens"),
            Problem(
                ExitCode.REPLY,
                "the reply reached the output limit",
                "increase --max-output-tokens",
                "max_output_tokens",
            ),
        ),
        (
            ReplyEnded("r", Status.INCOMPLETE, "content_filter"),
            Problem(
                ExitCode.REPLY,
                "the reply was stopped by the content filter",
                "",
                "content_filter",
            ),
        ),
        (
            ReplyEnded("r", Status.CANCELLED, "turn_detected"),
            Problem(ExitCode.REPLY, "the reply was interrupted by speech", "", "turn_detected"),
        ),
        (
            ReplyEnded("r", Status.CANCELLED, "client_cancelled"),
            Problem(ExitCode.REPLY, "the reply was cancelled", "", "client_cancelled"),
        ),
        (
            ReplyEnded("r", Status.CANCELLED, "new"),
            Problem(ExitCode.REPLY, "the reply is cancelled (new)", "", "new"),
        ),
        (
            ReplyEnded("r", Status.INCOMPLETE),
            Problem(ExitCode.REPLY, "the reply is incomplete"),
        ),
        (
            ReplyEnded("r", Status.FAILED),
            Problem(ExitCode.REPLY, "the reply failed: the server gave no reason"),
        ),
        (
            ReplyEnded("r", Status.FAILED, code="server_error"),
            Problem(ExitCode.REPLY, "the reply failed: server_error", "", "server_error"),
        ),
    ],
)
def test_a_reply_that_is_not_complete_says_why(ended: ReplyEnded, problem: Problem | None) -> None:
    assert of_reply(ended) == problem


def _limited(message: str) -> ReplyEnded:
    return ReplyEnded("r", Status.FAILED, code="rate_limit_exceeded", message=message)


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("7.853s", 7.853),
        ("20s", 20.0),
        ("120ms", 0.12),
        ("1m26.4s", 86.4),
        ("2m", 120.0),
        ("6m0s", 360.0),
        ("1h2m3s", 3723.0),
        ("1h", 3600.0),
        ("0s", 0.0),
        ("a while", None),
        ("s", None),
        ("...s", None),
        ("9" * 5000 + "h", None),
        ("9" * 5000 + "s", None),
    ],
)
def test_the_wait_that_a_rate_limit_names(words: str, seconds: float | None) -> None:
    text = f"Limit 40000, Used 39000, Requested 2000. Please try again in {words}. Visit us."
    assert limit_wait(_limited(text)) == (None if seconds is None else pytest.approx(seconds))


def test_only_a_rate_limit_names_a_wait() -> None:
    words = "Please try again in 7s."
    assert limit_wait(ReplyEnded("r", Status.FAILED, code="server_error", message=words)) is None
    completed = ReplyEnded("r", Status.COMPLETED, code="rate_limit_exceeded", message=words)
    assert limit_wait(completed) is None
    assert limit_wait(_limited("Slow down.")) is None


@given(st.text(alphabet="0123456789hms. TRY again in", max_size=40))
def test_any_wording_is_read_or_passed_over(words: str) -> None:
    wait = limit_wait(_limited(f"try again in {words}"))
    assert wait is None or wait >= 0
