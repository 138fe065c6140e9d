"""`once --output-schema` and `once --extract`: what of a complete reply is printed.

Nothing is printed before the reply is complete. A reply that does not pass its check is written to
stderr, so that stdout never contains anything else than what was asked for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from rtchat.app.environment import Environment, OutputFormat
from rtchat.config.parsers import read_text
from rtchat.config.settings import Settings
from rtchat.core.effects import QuestionAsked, ReplyOver, TextArrived, ToolBegan, Update
from rtchat.core.errors import ExitCode, Problem, UsageError
from rtchat.core.events import InputEnded, LeaveAsked, LocalEvent, UserSaid
from rtchat.core.ports import Post, View
from rtchat.core.text import exact_json, on_a_line, shortened, visible
from rtchat.core.thinking import answer_of
from rtchat.core.values import JsonObject, Status, value
from rtchat.system.installation import extra_hint
from rtchat.ui.plain_view import StatusWriter

if TYPE_CHECKING:
    from rtchat.ui.json_view import JsonView

_MAX_ERRORS = 10
"""How many errors of a reply are reported."""
_MAX_ERROR = 300
"""Characters of one of them."""


@value
class Checked:
    """The result of a check. `output` is for stdout, and `fields` are those of the JSON object."""

    output: str = ""
    fields: JsonObject = field(default_factory=dict)
    problem: Problem | None = None
    """Why the reply did not pass."""
    correction: str = ""
    """A question that asks for a better reply; empty if that makes no sense."""


class Check(Protocol):
    """Checks the text of a complete reply."""

    instructions: str
    """What the model is asked for, in addition to its other instructions."""

    def __call__(self, text: str) -> Checked:
        """The result for a text."""


def checked_view(
    settings: Settings, output_format: OutputFormat, environment: Environment, status: StatusWriter
) -> tuple[CheckedView, str]:
    """The view for --output-schema or --extract, and the instructions for the model.

    Raises:
        UsageError: the options cannot be combined, or the schema cannot be used.
    """
    if output_format == "events":
        message = "--events cannot be combined with --output-schema and --extract"
        raise UsageError(message, hint="choose one")
    check: Check = CodeExtraction(settings.extract_lang or "")
    if settings.output_schema is not None:
        if settings.extract or settings.extract_lang:
            hint = "use --output-schema alone: it prints the value without a fence"
            raise UsageError("--output-schema and --extract cannot be combined", hint=hint)
        check = OutputSchema(settings.output_schema)
    out, json_view = environment.stdout.buffer, None
    if output_format == "json":
        from rtchat.ui.json_view import JsonView

        json_view = JsonView(out, status)
    raw = not environment.stdout_is_terminal
    return CheckedView(check, out, status, json_view, raw=raw), check.instructions


# ------------------------------------------------------------------------------------- code blocks


class CodeExtraction:
    """Extracts the last code block, or the last one of a language."""

    instructions = ""

    def __init__(self, language: str) -> None:
        self._language = language

    def __call__(self, text: str) -> Checked:
        from rtchat.markdown.code_blocks import last_block

        block = last_block(answer_of(text), self._language)
        if block is not None:
            return Checked(block.text, {"extracted": block.text})
        of = f" in {self._language}" if self._language else ""
        hint = "ask for a code block in the prompt"
        problem = Problem(ExitCode.REPLY, f"the reply has no code block{of}", hint, "no_code_block")
        return Checked(problem=problem)


# ------------------------------------------------------------------------------------ JSON schemas


class OutputSchema:
    """Checks that a reply is a JSON value that fits a JSON schema."""

    def __init__(self, path: Path) -> None:
        try:
            from jsonschema import SchemaError
            from jsonschema.validators import Draft202012Validator, validator_for
            from referencing import Registry
        except ImportError as error:
            message = "--output-schema requires the package jsonschema"
            raise UsageError(message, hint=extra_hint("schema")) from error
        try:
            schema = _loads(read_text(path, str(path)))
        except ValueError as error:
            raise UsageError(f"{path} is not JSON ({error})", hint="repair the file") from error
        if not isinstance(schema, dict | bool):
            hint = 'write an object, such as {"type": "object"}'
            raise UsageError(f"{path} is not a JSON schema", hint=hint)
        kind = validator_for(schema, default=Draft202012Validator)
        try:
            kind.check_schema(schema)
        except SchemaError as error:
            message = f"{path} is not a JSON schema ({_described(error)})"
            raise UsageError(message, hint="repair the file") from error
        # With a registry of its own, the library loads no schema from the network.
        self._validator = kind(schema, registry=Registry(), format_checker=kind.FORMAT_CHECKER)
        self._path = path
        self.instructions = (
            "Reply with exactly one JSON value that is valid against the following JSON Schema, "
            "and with nothing else: no explanation and no Markdown.\n\n"
            + json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
        )

    def __call__(self, text: str) -> Checked:
        errors: list[str] = []
        for candidate in _candidates(text):
            try:
                data = _loads(candidate)
            except ValueError as error:
                errors = errors or [f"it is not JSON: {error}"]
                continue
            errors = self._errors(data)
            if not errors:
                output = exact_json(data)
                return Checked(output, {"text": output, "parsed": data})
        return self._failed(errors)

    def _errors(self, data: object) -> list[str]:
        from referencing.exceptions import Unresolvable

        try:
            found = sorted(self._validator.iter_errors(data), key=lambda error: error.json_path)
        except Unresolvable as error:
            message = f"{self._path} refers to {error.ref}, which it does not contain"
            raise UsageError(message, hint="add it to the file under $defs") from error
        except RecursionError:
            return ["it is nested too deeply"]
        return [_described(error) for error in found[:_MAX_ERRORS]]

    def _failed(self, errors: list[str]) -> Checked:
        listed = "\n".join(f"- {error}" for error in errors)
        correction = (
            f"Your reply does not fit the JSON Schema:\n{listed}\n"
            "Reply again with the corrected JSON value and nothing else."
        )
        message = f"the reply does not fit the JSON schema ({'; '.join(errors)})"
        hint = "use another model, or a simpler schema"
        problem = Problem(ExitCode.REPLY, message, hint, "schema_mismatch")
        return Checked(problem=problem, correction=correction)


def _loads(text: str) -> Any:
    """A JSON value as the standard defines it. Raises ValueError with a short reason."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a JSON number")

    def read_float(number: str) -> float:
        if (value := float(number)) in (float("inf"), float("-inf")):
            raise ValueError(f"the number {shortened(number, 20)} is too large")
        return value

    try:
        return json.loads(text, parse_constant=refuse, parse_float=read_float)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _candidates(text: str) -> Iterator[str]:
    """The texts that may be the JSON value: the answer in the reply, and its last code block."""
    answer = answer_of(text)
    yield answer
    from rtchat.markdown.code_blocks import last_block

    if block := last_block(answer, "json") or last_block(answer):
        yield block.text


def _described(error: Any) -> str:
    """An error of the library on one line: where it is and what is wrong."""
    return shortened(on_a_line(f"{error.json_path}: {error.message}"), _MAX_ERROR)


# ------------------------------------------------------------------------------------------- views


class CheckedView(View):
    """Shows only replies that pass a check; a reply that does not is corrected once, if possible.

    `json` writes the object of a reply, if that is wanted instead of the output of the check.
    """

    def __init__(
        self, check: Check, out: BinaryIO, status: StatusWriter, json: JsonView | None, *, raw: bool
    ) -> None:
        self._check = check
        self._out = out
        self._status = status
        self._json = json
        self._raw = raw
        self._text: list[str] = []
        """The text since the last tool call."""
        self._first: ReplyOver | None = None
        """The reply that is being corrected."""
        self._next: asyncio.Queue[LocalEvent] = asyncio.Queue()

    async def follow(self, post: Post) -> None:
        """Post the question for a correction, if there is one, and then the end."""
        while True:
            event = await self._next.get()
            post(event)
            if not isinstance(event, UserSaid):
                return

    def show(self, update: Update) -> None:
        """Show an update. A reply is shown when it is over."""
        match update:
            case TextArrived(text):
                self._text.append(text)
            case ReplyOver():
                self._next.put_nowait(self._end(update))
            case _:
                if isinstance(update, QuestionAsked | ToolBegan):
                    self._text.clear()
                (self._json or self._status).show(update)

    def _end(self, over: ReplyOver) -> LocalEvent:
        """Show a reply, and return the event that follows."""
        if over.status is not Status.COMPLETED:
            return self._reject(over)
        checked = self._check(_answer(over) or "".join(self._text))
        if checked.problem is None:
            self._accept(over, checked)
            return InputEnded()
        if checked.correction and self._first is None:
            self._first = over
            self._status.show(over)
            self._status.say("the reply does not fit the JSON schema; asking for a correction")
            return UserSaid(checked.correction)
        reason = checked.problem.code
        failed = replace(over, status=Status.FAILED, reason=reason, problem=checked.problem)
        return self._reject(failed)

    def _accept(self, over: ReplyOver, checked: Checked) -> None:
        if self._json is not None:
            self._json.write(self._total(over), checked.fields)
        else:
            text = checked.output if self._raw else visible(checked.output)
            self._out.write((text if text.endswith("\n") else f"{text}\n").encode())
            self._out.flush()
        self._status.show(over)

    def _reject(self, over: ReplyOver) -> LocalEvent:
        if self._json is not None:
            self._json.write(self._total(over))
        self._status.show(over)
        if over.text and self._json is None:
            self._status.say(over.text.rstrip("\n"))
        return LeaveAsked(ExitCode.REPLY)

    def _total(self, over: ReplyOver) -> ReplyOver:
        """The reply with the usage and the cost of the one that it corrects, too."""
        first = self._first
        if first is None or first.usage is None or over.usage is None:
            return over
        known = first.cost is not None and over.cost is not None
        cost = first.cost + over.cost if known else None  # type: ignore[operator] # both are numbers
        return replace(over, usage=first.usage + over.usage, cost=cost)


def _answer(over: ReplyOver) -> str:
    """The final answer, if the model marks it."""
    return "".join(message.text for message in over.messages if message.phase == "final_answer")
