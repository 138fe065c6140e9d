"""Converts a server's errors to problems, with an exit code, a message and a hint for the user."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from rtchat.core.errors import CHECK_KEY, ExitCode, Problem
from rtchat.core.events import ReplyEnded, ServerProblem
from rtchat.core.text import shortened
from rtchat.core.values import MAX_RATE, MIN_RATE, NamedFormat, Status, TurnLimits

EXPIRED, LIMITED = "session_expired", "rate_limit_exceeded"
ACTIVE_RESPONSE = "conversation_already_has_active_response"
EMPTY_COMMIT = "input_audio_buffer_commit_empty"
NO_AUDIO_SUPPORT = "audio_not_supported"  # sent by rtchat's own server if it has no speech models
"""Error codes that the program handles specially."""
NOTHING_TO_CANCEL = frozenset({"response_cancel_not_active"})
"""Error codes for a cancel when no response is active."""
EXPECTED = NOTHING_TO_CANCEL | {ACTIVE_RESPONSE}
"""Error codes that are expected: a command and the change that makes it invalid may cross."""

_MODEL = "choose another with --model"
_CODES: dict[str, tuple[ExitCode, str]] = {
    "invalid_api_key": (ExitCode.REFUSED, CHECK_KEY),
    "insufficient_quota": (ExitCode.LIMIT, "check the plan and billing of your account"),
    LIMITED: (ExitCode.LIMIT, "wait a moment and try again"),
    "beta_api_shape_disabled": (
        ExitCode.USAGE,
        "remove --dialect beta and any OpenAI-Beta header",
    ),
    "missing_model": (ExitCode.USAGE, _MODEL),
    "invalid_model": (ExitCode.USAGE, _MODEL),
    "model_not_found": (ExitCode.USAGE, _MODEL),
}
"""Exit code and hint for the error codes that mean more than a failed reply."""

_REASONS = {
    "max_output_tokens": ("the reply reached the output limit", "increase --max-output-tokens"),
    "content_filter": ("the reply was stopped by the content filter", ""),
    "turn_detected": ("the reply was interrupted by speech", ""),
    "client_cancelled": ("the reply was cancelled", ""),
}


def refuses_metadata(error: ServerProblem) -> bool:
    """Whether the server refuses the metadata of a request."""
    return "metadata" in f"{error.param} {error.message}".lower()


def of_error(error: ServerProblem) -> Problem:
    """An `error` event as a problem; one without a special meaning is a failed reply."""
    code = _code(error)
    exit_code, hint = _CODES.get(code, (ExitCode.REPLY, ""))
    is_named = error.param in error.message  # also if `param` is empty
    message = error.message if is_named else f"{error.param}: {error.message}"
    return Problem(exit_code, message, hint, code)


def _code(error: ServerProblem) -> str:
    # Some servers send the code in the type instead.
    return error.code or error.kind


def is_fatal(error: ServerProblem) -> bool:
    """Whether reconnecting cannot help."""
    code = _code(error)
    return code in _CODES and code != LIMITED


SETTINGS_HINT = "remove that setting, or set the server's dialect with --dialect"


def refused_settings(error: ServerProblem, hint: str = SETTINGS_HINT) -> Problem:
    """The server refused the `session.update`; `param` is the name of the field."""
    code = _code(error)
    if code in _CODES:
        return of_error(error)
    field = error.param or "the settings"
    return Problem(ExitCode.USAGE, f"the server refused {field}: {error.message}", hint, code)


def no_translation() -> Problem:
    """The server opened a session that is not for translation."""
    message = "the server opened a session that cannot translate"
    return Problem(ExitCode.USAGE, message, "check --url and --model")


def session_ended() -> Problem:
    """The server ended a translation session."""
    return Problem(ExitCode.LINK, "the server ended the session", "try again")


def only_translation() -> Problem:
    """The server opened a translation session although another kind was needed."""
    message = "the server opened a session that can only translate"
    return Problem(ExitCode.USAGE, message, "use `rtchat translate`, or check --url")


def refused_session(error: ServerProblem) -> Problem:
    """The server reported an error instead of opening a session."""
    problem = of_error(error)
    return problem if problem.exit is not ExitCode.REPLY else replace(problem, exit=ExitCode.LINK)


def of_reply(ended: ReplyEnded) -> Problem | None:
    """Why a reply is not complete; None if it is."""
    match ended.status:
        case Status.COMPLETED:
            return None
        case Status.CANCELLED | Status.INCOMPLETE:
            words = f"the reply is {ended.status}"
            if ended.reason:
                words = f"{words} ({ended.reason})"
            message, hint = _REASONS.get(ended.reason, (words, ""))
            return Problem(ExitCode.REPLY, message, hint, ended.reason)
        case Status.FAILED:
            exit_code, hint = _CODES.get(ended.code, (ExitCode.REPLY, ""))
            message = ended.message or ended.code or "the server gave no reason"
            return Problem(exit_code, f"the reply failed: {message}", hint, ended.code)
    assert_never(ended.status)


_WAIT = r"try again in (?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,6}(?:\.\d{1,6})?)(ms|s))?"


def limit_wait(ended: ReplyEnded) -> float | None:
    """The seconds to wait for a rate limit ("Please try again in 1m26.4s"); None if the reply did
    not fail because of one."""
    if ended.status is not Status.FAILED or ended.code != LIMITED:
        return None
    found = re.search(_WAIT, ended.message, re.IGNORECASE)
    if found is None or not any(found.groups()):
        return None
    hours, minutes, amount, unit = found.groups()
    seconds = float(amount or 0) * (0.001 if unit == "ms" else 1.0)
    return int(hours or 0) * 3600.0 + int(minutes or 0) * 60.0 + seconds


def spent(cost: float, max_cost: float) -> Problem:
    """The cost limit is reached."""
    message = (
        f"the question was not asked: this run has cost ${cost:.4f}, and the limit is ${max_cost:g}"
    )
    return Problem(ExitCode.LIMIT, message, "increase --max-cost", "max_cost")


def no_price(model: str) -> str:
    """The warning for a budget with a model whose price is not known."""
    return f"the price of {model} is unknown, so --max-cost does not include it"


def exceeded(limit: str, limits: TurnLimits) -> Problem:
    """The reply exceeded this limit."""
    what = {
        "max_tool_rounds": f"the model still calls tools after {limits.rounds} rounds of calls",
        "max_tool_calls": f"one reply has more than {limits.calls} tool calls",
        "max_tool_bytes": f"the tool calls of this turn exceed {limits.call_bytes} bytes",
        "max_reply_bytes": f"the reply exceeds {limits.reply_bytes} bytes",
        "audio": f"the reply exceeds {limits.audio_bytes} bytes of audio",
        "parts": f"the reply has more than {limits.parts} parts",
    }[limit]
    hint = f"increase --{limit.replace('_', '-')}" if limit.startswith("max_") else ""
    return Problem(ExitCode.REPLY, f"the reply was stopped because {what}", hint, limit)


def too_many(errors: int) -> Problem:
    """The server reported more than this many errors."""
    return Problem(ExitCode.REPLY, f"the server reported more than {errors} errors")


def unavailable(names: Iterable[str]) -> Problem:
    """The model called tools that are not available."""
    short = [shortened(name, 64) for name in dict.fromkeys(names)]
    shown = ", ".join(short[:3]) + (f" and {len(short) - 3} more" if len(short) > 3 else "")
    message = f"the model called {shown}, but rtchat has no such tool"
    return Problem(ExitCode.REPLY, message, "use --tools or --mcp to add tools", "tool_calls")


def timed_out(message: str) -> Problem:
    """The server did not send an expected event in time."""
    hint = "check --url, or increase --timeout and --connect-timeout"
    return Problem(ExitCode.LINK, f"timed out: {message}", hint)


def no_response(seconds: float) -> Problem:
    """The server sent nothing for this time while a reply was pending."""
    return timed_out(f"no response for {seconds:g} s")


SUPPORTED_FORMATS = f"PCM at {MIN_RATE} to {MAX_RATE} Hz and G.711"
_AUDIO_HINT = "choose another model or server"


def unplayable(name: str) -> Problem:
    """The audio of a reply is in a format that cannot be played."""
    message = f"the audio of the reply is {name}, but only {SUPPORTED_FORMATS} can be played"
    return Problem(ExitCode.REPLY, message, _AUDIO_HINT)


def other_format(verb: str, reported: NamedFormat) -> Problem:
    """The server's audio format is not supported; `verb` is "expects" or "sends"."""
    message = f"the server {verb} audio as {reported}, but only {SUPPORTED_FORMATS} are supported"
    return Problem(ExitCode.REPLY, message, _AUDIO_HINT)


def echo() -> Problem:
    """The microphone picks up the speaker."""
    message = "the microphone was muted because it seems to pick up the speaker"
    return Problem(ExitCode.REPLY, message, "use headphones, or --vad off")
