"""The errors, classified by what the user can do about each.

Within a conversation an error is a value, `Problem`; on the command line and in the Python API it
is one of the exceptions below. Each class has an exit code.

    RtchatError           70   an internal error, unless it is one of the following
    ├── UsageError         2   incorrect usage or invalid settings
    ├── RefusedError       3   the server refused authentication
    ├── LinkError          4   no connection, or a lost one that cannot be restored
    ├── LimitError         5   rate limit or quota
    ├── OutputError        6   stdout, the trace or the history could not be written
    ├── RealtimeError      1   an `error` event from the server (Python API)
    └── ReplyError         1   a reply that is not complete (Python API)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace
from enum import IntEnum

from rtchat.core.text import on_a_line
from rtchat.core.values import value


class ExitCode(IntEnum):
    """The exit status of the program."""

    OK = 0
    REPLY = 1
    USAGE = 2
    REFUSED = 3
    LINK = 4
    LIMIT = 5
    OUTPUT = 6
    FAULT = 70
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143
    PIPE = 141


SIGNALLED = frozenset([ExitCode.HANGUP, ExitCode.INTERRUPTED, ExitCode.TERMINATED])
"""The exit codes of a program that a signal ended."""
CHECK_KEY = "check the key"
"""The default hint if a server refuses the key; `Problem.about_key` names the key."""


@value
class Problem:
    """An error as a value: what happened, what the user can do, and the exit code.

    `message` begins in lower case and has no final stop, unless it comes from a server. `hint` is
    an instruction, also without a final stop. A hint never contains text from a server.
    """

    exit: ExitCode
    message: str
    hint: str = ""
    code: str = ""
    """The server's own code (`rate_limit_exceeded`), a close code or an HTTP status; empty if there
    is none."""
    ids: str = field(default="", kw_only=True, compare=False)
    """The ids of the session and the response, which the server's support may ask for."""

    def __str__(self) -> str:
        return self.message

    def about_key(self, hint: str) -> Problem:
        """The same problem. If the key was refused, with this hint, which names the key."""
        return replace(self, hint=hint) if self.hint == CHECK_KEY else self


class RtchatError(Exception):
    """Base class of all errors that rtchat raises deliberately."""

    exit = ExitCode.FAULT

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        if hint:
            self.add_note(f"hint: {hint}")  # a traceback shows it below the message

    @property
    def problem(self) -> Problem:
        """The same error as a value."""
        return Problem(self.exit, self.message, self.hint, self.code)


class UsageError(RtchatError):
    """Incorrect usage or invalid settings."""

    exit = ExitCode.USAGE


class RefusedError(RtchatError):
    """The server refused authentication (401, 403, `invalid_api_key`)."""

    exit = ExitCode.REFUSED


class LinkError(RtchatError):
    """The connection could not be made, or was lost."""

    exit = ExitCode.LINK


class LimitError(RtchatError):
    """A rate limit or a quota."""

    exit = ExitCode.LIMIT


class OutputError(RtchatError):
    """Stdout, the trace or the history could not be written."""

    exit = ExitCode.OUTPUT


class RealtimeError(RtchatError):
    """An `error` event from the server; the connection is still usable.

    `event` is the whole event as received. `kind` is its `error.type`, `param` the field with the
    error and `event_id` the client event that caused it, each empty if the server names none.
    """

    exit = ExitCode.REPLY

    def __init__(self, event: Mapping[str, object]) -> None:
        details = event.get("error")
        error: Mapping[str, object] = details if isinstance(details, Mapping) else {}

        def text(key: str) -> str:
            value = error.get(key)
            return value if isinstance(value, str) else ""

        super().__init__(text("message") or "the server reported an error", code=text("code"))
        self.event = event
        self.kind = text("type")
        self.param = text("param")
        self.event_id = text("event_id")


class ReplyError(RtchatError):
    """A reply of `Connection.text` failed or is not complete; the connection is still usable.

    `text` is the text that arrived. `status` is `failed`, `incomplete` or `cancelled`. `reason` is
    one of the API's reasons, `timed_out`, `tool_calls` if the reply calls a function, or, with
    `reconnect=True`, `connection_lost`. `code` is the server's error code, or empty.
    """

    exit = ExitCode.REPLY

    def __init__(self, problem: Problem, *, text: str, status: str, reason: str) -> None:
        super().__init__(problem.message, code=problem.code)
        self.exit = problem.exit
        self.text = text
        self.status = status
        self.reason = reason


def error_lines(message: str, hint: str = "") -> str:
    """An error on stderr: what happened on one line, and what to do on the next.

    A server's message may have many lines. All of it stays on the first.
    """
    line = f"rtchat: {on_a_line(message)}"
    return f"{line}\n{hint_line(hint)}" if hint else line


def hint_line(hint: str) -> str:
    """What to do about an error, on one line."""
    return f"hint: {on_a_line(hint)}"


@contextmanager
def writing_stdout() -> Iterator[None]:
    """Turn an OSError from writing stdout into an OutputError. BrokenPipeError is raised unchanged:
    `cli` has an exit code for it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise stdout_error(error) from error


def stdout_error(error: OSError) -> OutputError:
    """Stdout could not be written."""
    message = f"stdout cannot be written ({error.strerror})"
    return OutputError(message, hint="redirect it to another file")


_CLASSES = {cls.exit: cls for cls in (UsageError, RefusedError, LinkError, LimitError, OutputError)}


def to_exception(problem: Problem) -> RtchatError:
    """The exception for a problem, of the class for its exit code."""
    cls = _CLASSES.get(problem.exit, RtchatError)
    error = cls(problem.message, hint=problem.hint, code=problem.code)
    error.exit = problem.exit
    return error
