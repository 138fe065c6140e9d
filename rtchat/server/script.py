"""Engines without a model: `echo`, and answers from a file (`script:FILE`).

The file is TOML or JSON. The first rule that matches the user's last message answers it. If tool
outputs follow that message, the rule must also have a `match_output` that matches one of them:

    model = "scripted"              # everything in the file is optional
    heard = ["Hello."]              # transcripts of the user's speech, in order
    [[connect]]                     # what happens to the first connection, the second, and so on
    close = {code = 1013, reason = "busy", error = {code = "server_busy", message = "Busy."}}
    [[rule]]
    match = "weather"               # text in the message, ignoring case; or
    regex = "^weather in (.+)$"     #   a regular expression; neither: any message
    match_output = "21"             # text in a tool output, ignoring case; "" matches any output
    times = 1                       # how often this rule may be used (default: no limit)
    text = "Sunny, 21 degrees."     # the answer, in deltas of `chunk` characters; or
    deltas = ["Sunny, ", "21"]      #   the deltas themselves
    tool_calls = [{name = "weather", arguments = {city = "Oslo"}}]  # sent after the text;
                                    #   arguments may also be a string, which need not be JSON
    chunk = 4                       # characters per delta, of text and of arguments
    delay = 0.05                    # seconds before each delta
    usage = {input = 12, cached = 4, output = 5}
    # at most one of these, after the text (default: the response is completed)
    fail = {code = "rate_limit_exceeded", message = "Please try again in 2.5s."}
    incomplete = "content_filter"
    close = {code = 1001, reason = "bye"}  # 1006: drop the connection without a close frame
    stall = true                    # send nothing more
    error = {code = "server_error", message = "No."}  # an `error` event instead of a response

Each delta, of text or of arguments, counts as one token.
"""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from rtchat.core.errors import UsageError
from rtchat.core.events import ServerProblem
from rtchat.core.values import (
    JsonObject,
    Status,
    Usage,
    value,
)
from rtchat.server.engine import Answer, CallPiece, CloseConnection, Finish, ModelInput, words_of
from rtchat.wire.fields import Fields
from rtchat.wire.validators import (
    FieldError,
    array,
    boolean,
    by_type,
    json_object,
    number,
    of_type,
    record,
    text,
)

Sleep: TypeAlias = Callable[[float], Awaitable[None]]

_CHUNK = 8
_MAX_ECHO_PIECES = 100_000
"""The maximum number of deltas of an echo. For megabytes of text, more would take gigabytes."""


@value
class Rule:
    """One rule of a script: which prompts it matches, the answer, and how the answer ends."""

    match: str = ""
    regex: str = ""
    match_output: str | None = None
    """None: the rule does not answer tool outputs."""
    times: int | None = None
    deltas: tuple[str, ...] = ()
    calls: tuple[CallPiece, ...] = ()
    delay: float = 0.0
    usage: Usage | None = None
    end: Finish | CloseConnection | ServerProblem | None = Finish()
    """None: the answer never ends. A `ServerProblem` is sent instead of a response."""

    def matches(self, prompt: ModelInput) -> bool:
        """Whether this rule answers the prompt."""
        if (self.match_output is not None) != bool(prompt.outputs):
            return False
        if self.regex and re.search(self.regex, prompt.question) is None:
            return False
        wanted = (self.match_output or "").casefold()
        if prompt.outputs and not any(wanted in output.casefold() for output in prompt.outputs):
            return False
        return self.match.casefold() in prompt.question.casefold()


@value
class Script:
    """The contents of a script file."""

    rules: tuple[Rule, ...] = ()
    connects: tuple[CloseConnection, ...] = ()
    model: str = "script"
    heard: tuple[str, ...] = ()


class ScriptEngine:
    """Answers by rules. `times` and `connect` count all clients together."""

    instructions = "You answer from a script."

    def __init__(self, script: Script, *, sleep: Sleep = asyncio.sleep) -> None:
        self.model = script.model
        self.heard = script.heard
        self._sleep = sleep
        self._left: list[tuple[Rule, int | None]] = [(rule, rule.times) for rule in script.rules]
        self._connects = list(script.connects)

    def on_connect(self) -> CloseConnection | None:
        return self._connects.pop(0) if self._connects else None

    def prepare(self, prompt: ModelInput) -> None:
        pass

    def answer(self, prompt: ModelInput) -> Answer | ServerProblem:
        rule = self._next_rule(prompt)
        if isinstance(rule.end, ServerProblem):
            return rule.end
        return _generate(rule, prompt, self._sleep)

    def _next_rule(self, prompt: ModelInput) -> Rule:
        for index, (rule, left) in enumerate(self._left):
            if left == 0 or not rule.matches(prompt):
                continue
            self._left[index] = (rule, None if left is None else left - 1)
            return rule
        what = prompt.outputs[-1] if prompt.outputs else prompt.question
        message = f"No rule of the script matches {what[:80]!r}."
        return Rule(end=Finish(Status.FAILED, code="no_rule", message=message))


class EchoEngine:
    """Answers with the user's own text, without delay."""

    model = "echo"
    heard = ()
    instructions = "You repeat what the user says."

    def on_connect(self) -> CloseConnection | None:
        return None

    def prepare(self, prompt: ModelInput) -> None:
        pass

    def answer(self, prompt: ModelInput) -> Answer:
        text = prompt.question
        rule = Rule(deltas=cut(text, max(_CHUNK, len(text) // _MAX_ECHO_PIECES)))
        return _generate(rule, prompt, asyncio.sleep)


def cut(text: str, size: int) -> tuple[str, ...]:
    """Split the text into pieces of `size` characters."""
    return tuple(text[start : start + size] for start in range(0, len(text), size))


async def _generate(rule: Rule, prompt: ModelInput, sleep: Sleep) -> Answer:
    pieces: tuple[str | CallPiece, ...] = (*rule.deltas, *rule.calls)
    sent = pieces[: prompt.max_output_tokens]
    for piece in sent:
        # Even a delay of zero allows the response to be cancelled.
        await sleep(rule.delay)
        yield piece
    end = rule.end
    if len(sent) < len(pieces):
        end = Finish(Status.INCOMPLETE, "max_output_tokens")
    if end is None:
        await asyncio.Event().wait()
    elif isinstance(end, Finish):
        usage = rule.usage or _count(prompt, len(sent))
        yield Finish(end.status, end.reason, end.code, end.message, usage)
    elif isinstance(end, CloseConnection):
        yield end


def _count(prompt: ModelInput, sent: int) -> Usage:
    words = sum(map(words_of, prompt.items)) if prompt.words is None else prompt.words
    words += words_of(prompt.instructions)
    return Usage(input=words, output=sent, total=words + sent)


# ---------------------------------------------------------------------------------- reading a file

_PROBLEM = record({"code": text(), "message": text()}, {"type": text(), "param": text()})
_CLOSE = record({"code": number(1000, 4999, whole=True)}, {"reason": text(120), "error": _PROBLEM})
_CALL = record({"name": text(), "arguments": by_type({str: text(), dict: json_object})})
_SECONDS = number(0, 3600)
_TOKENS = number(0, 10**6, whole=True)
_RULE = record(
    {},
    {
        "match": text(),
        "regex": text(),
        "match_output": text(),
        "times": _TOKENS,
        "text": text(),
        "deltas": array(text()),
        "tool_calls": array(_CALL),
        "chunk": number(1, 10**6, whole=True),
        "delay": _SECONDS,
        "usage": record({}, {"input": _TOKENS, "cached": _TOKENS, "output": _TOKENS}),
        "fail": _PROBLEM,
        "incomplete": text(),
        "close": _CLOSE,
        "stall": boolean,
        "error": _PROBLEM,
    },
)
_SCRIPT = record(
    {},
    {
        "model": text(),
        "heard": array(text()),
        "rule": array(_RULE),
        "connect": array(record({"close": _CLOSE})),
    },
)
_ENDS = ("fail", "incomplete", "close", "stall", "error")


def load_script(path: Path) -> Script:
    """Read a script file. Raises `UsageError` if it cannot be read or is invalid."""
    try:
        raw = path.read_text(encoding="utf-8")
        data = json.loads(raw) if path.suffix == ".json" else tomllib.loads(raw)
    except OSError as error:
        message = f"the script {path} cannot be read ({error.strerror})"
        raise UsageError(message, hint="check its name and permissions") from error
    except (ValueError, RecursionError) as error:
        raise _invalid_script(path, error) from error
    try:
        return read_script(data)
    except FieldError as error:
        raise _invalid_script(path, error) from error


def _invalid_script(path: Path, error: Exception) -> UsageError:
    why = str(error).removesuffix(".")
    return UsageError(f"the script {path} is invalid ({why})", hint="correct it")


def read_script(data: object) -> Script:
    """Make a script from the parsed contents of its file. Raises `FieldError`."""
    of_type(dict)(data, "the script")
    _SCRIPT(data, "")
    fields = Fields(data if isinstance(data, dict) else {}, [])
    rules = tuple(_rule(rule, f"rule[{n}]") for n, rule in enumerate(fields.list("rule")))
    connects = tuple(_read_close(entry.fields("close")) for entry in fields.list("connect"))
    heard = _texts(fields.data.get("heard"))
    return Script(rules, connects, fields.text("model") or Script().model, heard)


def _rule(fields: Fields, path: str) -> Rule:
    data = fields.data
    _at_most_one(data, ("text", "deltas"), path)
    _at_most_one(data, _ENDS, path)
    if "error" in data and data.keys() & {"text", "deltas", "tool_calls"}:
        message = f"Invalid '{path}': 'error' cannot be combined with text or tool calls."
        raise FieldError("invalid_value", message, path)
    try:
        re.compile(fields.text("regex"))
    except re.error as error:
        message = f"Invalid '{path}.regex': {error}."
        raise FieldError("invalid_value", message, path) from error
    return Rule(
        fields.text("match"),
        fields.text("regex"),
        fields.optional("match_output"),
        fields.integer("times") if "times" in data else None,
        _deltas(fields),
        tuple(_calls(fields)),
        fields.number("delay") or 0.0,
        _usage(fields.fields("usage")) if "usage" in data else None,
        _end(fields),
    )


def _at_most_one(data: JsonObject, keys: tuple[str, ...], path: str) -> None:
    given = [key for key in keys if key in data]
    if len(given) > 1:
        message = f"Invalid '{path}': '{given[0]}' and '{given[1]}' are mutually exclusive."
        raise FieldError("invalid_value", message, path)


def _deltas(fields: Fields) -> tuple[str, ...]:
    if "deltas" in fields.data:
        return _texts(fields.data["deltas"])
    return cut(fields.text("text"), fields.integer("chunk") or _CHUNK)


def _texts(listed: object) -> tuple[str, ...]:
    return tuple(str(entry) for entry in listed) if isinstance(listed, list) else ()


def _calls(fields: Fields) -> Iterator[CallPiece]:
    size = fields.integer("chunk") or _CHUNK
    for number_of_call, call in enumerate(fields.list("tool_calls")):
        arguments = call.data["arguments"]
        whole = arguments if isinstance(arguments, str) else json.dumps(arguments)
        first, *others = cut(whole, size) or ("",)
        yield CallPiece(number_of_call, first, call.text("name"))
        yield from (CallPiece(number_of_call, piece) for piece in others)


def _usage(fields: Fields) -> Usage:
    input_tokens, output_tokens = fields.integer("input"), fields.integer("output")
    return Usage(
        input_tokens, fields.integer("cached"), output_tokens, input_tokens + output_tokens
    )


def _end(fields: Fields) -> Finish | CloseConnection | ServerProblem | None:
    data = fields.data
    if data.get("stall") is True:
        return None
    if "fail" in data:
        problem = _problem(fields.fields("fail"))
        return Finish(Status.FAILED, code=problem.code, message=problem.message)
    if "incomplete" in data:
        return Finish(Status.INCOMPLETE, fields.text("incomplete"))
    if "close" in data:
        return _read_close(fields.fields("close"))
    if "error" in data:
        return _problem(fields.fields("error"))
    return Finish()


def _read_close(fields: Fields) -> CloseConnection:
    problem = _problem(fields.fields("error")) if "error" in fields.data else None
    return CloseConnection(fields.integer("code"), fields.text("reason"), problem)


def _problem(fields: Fields) -> ServerProblem:
    return ServerProblem(
        fields.text("message"),
        fields.text("type") or "server_error",
        fields.text("code"),
        fields.text("param"),
    )
