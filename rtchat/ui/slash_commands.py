"""The /commands of a conversation, in one table: name, argument, help text and resulting event.

Only typed lines are parsed for commands; a line from a pipe is always a question.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import TypeAlias

from rtchat.core.events import (
    AttachmentsAsked,
    CopyAsked,
    DetachAsked,
    LeaveAsked,
    LocalEvent,
    LocalNotice,
    MicrophoneToggled,
    ModelSet,
    NewConversationAsked,
    OptionsAsked,
    OptionSet,
    RawSaid,
    ResumeAsked,
    RetryAsked,
    SystemSet,
    ToolsAsked,
    UsageAsked,
    UserSaid,
)
from rtchat.core.values import value


@value
class AttachAsked:
    """/attach: the caller reads the file and turns it into an `Attached`.

    `file` is a path as it was typed or pasted; it may be quoted as in a shell.
    """

    file: str


@value
class TextFileAsked:
    """The text of a command is in a file. The caller reads it and passes it to `make`."""

    file: str
    make: Callable[[str], LocalEvent]


Meaning: TypeAlias = LocalEvent | AttachAsked | TextFileAsked


@value
class Row:
    """One command. `argument` is its name in the help, in brackets if it is optional, and empty if
    the command takes none."""

    name: str
    argument: str
    help: str
    make: Callable[[str], Meaning]


TABLE: tuple[Row, ...] = (
    Row("help", "", "list the commands and keys", lambda _: LocalNotice(help_text())),
    Row("exit", "", "leave; same as Ctrl-D at an empty prompt", lambda _: LeaveAsked()),
    Row("new", "", "start a new conversation", lambda _: NewConversationAsked()),
    Row("system", "TEXT|@FILE", "change the instructions to the model", lambda t: _system(t)),
    Row(
        "set",
        "[KEY [VALUE]]",
        "set option KEY, reset it (no VALUE), or list all (no KEY)",
        lambda a: _set(a),
    ),
    Row("model", "NAME", "switch to another model in this conversation", ModelSet),
    Row(
        "resume", "[ID]", "continue saved conversation ID, or the latest one", lambda n: _resume(n)
    ),
    Row(
        "attach",
        "[FILE]",
        "attach a PNG, JPEG or text file (or drop it here); no FILE: list them",
        lambda file: AttachAsked(file) if file else AttachmentsAsked(),
    ),
    Row("detach", "[N]", "remove file N, or all attached files", lambda n: _detach(n)),
    Row("mute", "", "turn the microphone on or off, like Ctrl-T", lambda _: MicrophoneToggled()),
    Row("retry", "", "ask the last question again", lambda _: RetryAsked()),
    Row("copy", "[N]", "copy the last reply, or its code block N", lambda n: _copy(n)),
    Row("tools", "", "list the tools that the model can call", lambda _: ToolsAsked()),
    Row("usage", "", "show tokens and cost so far, and rate limits", lambda _: UsageAsked()),
    Row("raw", "JSON", "send any event to the server", lambda text: _raw(text)),
)

_KEYS = (
    ("Enter", "send"),
    ("Alt-Enter, Ctrl-J", "start a new line"),
    ("Up, Ctrl-R", "search earlier input"),
    ("Ctrl-C, Esc", "stop the reply; at the prompt, Ctrl-C clears the text and Up restores it"),
    ("Ctrl-T", "with --voice: turn the microphone on or off"),
    ("Ctrl-X Ctrl-E", "edit the text in $EDITOR"),
    ("//", "start a line with a literal /"),
)


def parse(line: str) -> Meaning:
    """The meaning of a typed line. Does not raise: a mistake becomes a `LocalNotice` that says what
    to do."""
    if not line.startswith("/"):
        return UserSaid(line)
    if line.startswith("//"):
        return UserSaid(line[1:])
    name = re.split(r"\s", line[1:], maxsplit=1)[0]
    argument = line[1 + len(name) :].strip()
    row = next((row for row in TABLE if row.name == name), None)
    if row is None:
        near = get_close_matches(name, [row.name for row in TABLE], n=1)
        advice = f"did you mean /{near[0]}?" if near else "/help lists the commands"
        return LocalNotice(
            f"unknown command /{name}; {advice} (// sends a literal /)", is_error=True
        )
    if row.argument and not argument and not row.argument.startswith("["):
        return LocalNotice(
            f"/{name}: missing argument (usage: /{name} {row.argument})", is_error=True
        )
    if argument and not row.argument:
        return LocalNotice(f"/{name} takes no argument", is_error=True)
    return row.make(argument)


def _system(text: str) -> LocalEvent | TextFileAsked:
    if not text.startswith("@"):
        return SystemSet(text)
    if text == "@":
        return LocalNotice(
            "/system: missing file name (example: /system @notes.txt)", is_error=True
        )
    return TextFileAsked(text[1:], SystemSet)


def _detach(number: str) -> LocalEvent:
    if not number:
        return DetachAsked()
    if number.isdecimal() and int(number[:9]):
        return DetachAsked(int(number[:9]))
    return LocalNotice(
        f"/detach: invalid number {number!r} (/attach lists the numbers)", is_error=True
    )


def _copy(number: str) -> LocalEvent:
    if not number:
        return CopyAsked()
    if number.isdecimal() and int(number[:9]):
        return CopyAsked(int(number[:9]))
    return LocalNotice(
        f"/copy: invalid number {number!r} (expected that of a code block)", is_error=True
    )


def _resume(number: str) -> LocalEvent:
    if not number:
        return ResumeAsked()
    if number.isdecimal() and int(number[:15]):
        return ResumeAsked(int(number[:15]))
    return LocalNotice(
        f"/resume: invalid id {number!r} (`rtchat history list` lists the ids)",
        is_error=True,
    )


def _set(argument: str) -> LocalEvent:
    from rtchat.wire import options  # imported late: its tables would delay the prompt

    found = re.match(r"([^\s=]+)\s*=?\s*(.*)", argument, re.DOTALL)
    if found is None:
        return OptionsAsked()
    key, text = found.groups()
    of, name = options.split(key)
    if not text:
        return OptionSet(of, name)
    if of == "session" and name in options.IN_A_CONVERSATION:
        instead = options.IN_A_CONVERSATION[name]
        return LocalNotice(f"/set: {key} cannot be set here (use {instead})", is_error=True)
    try:
        change = options.change(of, name, options.read_value(text))
    except options.OptionError as error:
        return LocalNotice(f"/set: {error}", is_error=True)
    return OptionSet(of, name, change)


def _raw(text: str) -> LocalEvent:
    from rtchat.wire.fields import read_json

    try:
        data = read_json(text)
    except (ValueError, RecursionError) as error:
        return LocalNotice(f"/raw: invalid JSON ({error})", is_error=True)
    if isinstance(data, dict) and isinstance(data.get("type"), str):
        from rtchat.wire import codec

        return RawSaid(data, codec.asks(data), codec.answer_to(data), codec.output_of(data))
    return LocalNotice(
        '/raw: not an object with a type (example: /raw {"type": "…"})', is_error=True
    )


def help_text() -> str:
    """The commands and the keys, one line each."""
    rows = [(f"/{row.name} {row.argument}".rstrip(), row.help) for row in TABLE]
    return "\n".join(f"{left:<18}  {right}" for left, right in (*rows, *_KEYS))
