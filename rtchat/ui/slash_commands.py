"""The /commands of a conversation, in one table: name, argument, help text and resulting event.

Only typed lines are parsed for commands; a line from a pipe is always a question.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import TypeAlias, get_args

from rtchat.core import events as ev
from rtchat.core.values import ImageDetail, value


@value
class AttachAsked:
    """/attach: the caller reads the file and turns it into an `Attached`.

    `file` is a path as it was typed or pasted; it may be quoted as in a shell. `detail` is for an
    image.
    """

    file: str
    detail: ImageDetail | None = None


@value
class TextFileAsked:
    """The text for a command is in a file. The caller reads it and passes it to `make`."""

    file: str
    make: Callable[[str], ev.LocalEvent]


Meaning: TypeAlias = ev.LocalEvent | AttachAsked | TextFileAsked


@value
class Row:
    """One command. `argument` is its name in the help, in brackets if it is optional, and empty if
    the command takes none."""

    name: str
    argument: str
    help: str
    make: Callable[[str], Meaning]


TABLE: tuple[Row, ...] = (
    Row("help", "", "list the commands and keys", lambda _: ev.LocalNotice(help_text())),
    Row("exit", "", "exit, like Ctrl-D at an empty prompt", lambda _: ev.LeaveAsked()),
    Row("new", "", "start a new conversation", lambda _: ev.NewConversationAsked()),
    Row("system", "TEXT|@FILE", "change the instructions for the model", lambda t: _system(t)),
    Row(
        "set",
        "[KEY [VALUE]]",
        "set option KEY, reset it (no VALUE), or list all (no KEY)",
        lambda a: _set(a),
    ),
    Row("model", "NAME", "switch to another model in this conversation", ev.ModelSet),
    Row(
        "resume", "[ID]", "continue saved conversation ID, or the latest one", lambda n: _resume(n)
    ),
    Row(
        "attach",
        "[FILE]",
        "attach a PNG, JPEG or text file (or drop it here); no FILE: list them",
        lambda argument: _attach(argument),
    ),
    Row("detach", "[N]", "remove file N, or all attached files", lambda n: _detach(n)),
    Row("mute", "", "turn the microphone on or off, like Ctrl-T", lambda _: ev.MicrophoneToggled()),
    Row(
        "retry",
        "[-m MODEL] [TEXT]",
        "ask the last question again; TEXT says how to answer it",
        lambda argument: _retry(argument),
    ),
    Row("edit", "[N]", "edit the question of turn N, or the last one", lambda n: _edit(n)),
    Row("undo", "[N]", "remove the last N turns, or the last one", lambda n: _undo(n)),
    Row("fork", "[N]", "continue from turn N in a new conversation", lambda n: _fork(n)),
    Row("copy", "[N]", "copy the last reply, or its code block N", lambda n: _copy(n)),
    Row("tools", "", "list the tools that the model can call", lambda _: ev.ToolsAsked()),
    Row("usage", "", "show tokens and cost so far, and rate limits", lambda _: ev.UsageAsked()),
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
        return ev.UserSaid(line)
    if line.startswith("//"):
        return ev.UserSaid(line[1:])
    name = re.split(r"\s", line[1:], maxsplit=1)[0]
    argument = line[1 + len(name) :].strip()
    row = next((row for row in TABLE if row.name == name), None)
    if row is None:
        near = get_close_matches(name, [row.name for row in TABLE], n=1)
        hint = f"did you mean /{near[0]}?" if near else "use /help to list the commands"
        return _error(f"unknown command /{name}", f"{hint} (// sends a literal /)")
    if row.argument and not argument and not row.argument.startswith("["):
        return _error(f"/{name} needs an argument", f"write it as /{name} {row.argument}")
    if argument and not row.argument:
        return _error(f"/{name} takes no argument", f"write it as /{name}")
    return row.make(argument)


def _error(message: str, hint: str) -> ev.LocalNotice:
    return ev.LocalNotice(message, is_error=True, hint=hint)


def _system(text: str) -> ev.LocalEvent | TextFileAsked:
    if not text.startswith("@"):
        return ev.SystemSet(text)
    if text == "@":
        return _error("/system needs a file name after @", "write it as /system @notes.txt")
    return TextFileAsked(text[1:], ev.SystemSet)


def _attach(argument: str) -> Meaning:
    if not argument:
        return ev.AttachmentsAsked()
    found = re.fullmatch(r"--detail[\s=]\s*(\S+)\s+(.+)", argument, re.DOTALL)
    if found is None:
        return AttachAsked(argument)
    for detail in get_args(ImageDetail):
        if found[1] == detail:
            return AttachAsked(found[2], detail)
    expected = ", ".join(get_args(ImageDetail))
    hint = "write it as /attach --detail low FILE"
    return _error(f"invalid value {found[1]!r} for --detail (expected one of {expected})", hint)


def _detach(number: str) -> ev.LocalEvent:
    if not number:
        return ev.DetachAsked()
    if number.isdecimal() and int(number[:9]):
        return ev.DetachAsked(int(number[:9]))
    return _error(f"invalid number {number!r} for /detach", "use /attach to list the numbers")


def _copy(number: str) -> ev.LocalEvent:
    if not number:
        return ev.CopyAsked()
    if number.isdecimal() and int(number[:9]):
        return ev.CopyAsked(int(number[:9]))
    return _error(f"invalid number {number!r} for /copy", "use the number of a code block")


def _retry(argument: str) -> ev.LocalEvent:
    found = re.fullmatch(r"(?:-m|--model)(?:[\s=]+(\S+)\s*(.*))?", argument, re.DOTALL)
    if found is None:
        return ev.RetryAsked(instructions=argument)
    if found[1] is None:
        return _error("/retry -m needs a model", "write it as /retry -m MODEL [TEXT]")
    return ev.RetryAsked(found[1], found[2])


def _edit(number: str) -> ev.LocalEvent:
    return ev.EditAsked() if not number else _turn("edit", number, ev.EditAsked)


def _undo(number: str) -> ev.LocalEvent:
    return ev.UndoAsked() if not number else _turn("undo", number, ev.UndoAsked)


def _fork(number: str) -> ev.LocalEvent:
    return ev.ForkAsked() if not number else _turn("fork", number, ev.ForkAsked)


def _turn(name: str, number: str, make: Callable[[int], ev.LocalEvent]) -> ev.LocalEvent:
    if number.isdecimal() and int(number[:9]):
        return make(int(number[:9]))
    what = "how many turns" if name == "undo" else "the number of a turn"
    return _error(f"invalid number {number!r} for /{name}", f"write {what}, as in /{name} 2")


def _resume(number: str) -> ev.LocalEvent:
    if not number:
        return ev.ResumeAsked()
    if number.isdecimal() and int(number[:15]):
        return ev.ResumeAsked(int(number[:15]))
    hint = "run `rtchat history list` to list the IDs"
    return _error(f"invalid ID {number!r} for /resume", hint)


def _set(argument: str) -> ev.LocalEvent:
    from rtchat.wire import options  # imported here because its tables would delay the prompt

    found = re.match(r"([^\s=]+)\s*=?\s*(.*)", argument, re.DOTALL)
    if found is None:
        return ev.OptionsAsked()
    key, text = found.groups()
    scope, name = options.split(key)
    if not text:
        return ev.OptionSet(scope, name)
    if scope == "session" and name in options.IN_A_CONVERSATION:
        hint = f"use {options.IN_A_CONVERSATION[name]}"
        return _error(f"the option {key} cannot be set with /set", hint)
    try:
        change = options.change(scope, name, options.read_value(text))
    except options.OptionError as error:
        return ev.local_error(error.problem)
    return ev.OptionSet(scope, name, change)


def _raw(text: str) -> ev.LocalEvent:
    from rtchat.wire.fields import read_json

    try:
        data = read_json(text)
    except (ValueError, RecursionError) as error:
        return _error(f"invalid JSON for /raw ({error})", _RAW_HINT)
    if isinstance(data, dict) and isinstance(data.get("type"), str):
        from rtchat.wire.commands import answer_to, asks, output_of

        return ev.RawSaid(data, asks(data), answer_to(data), output_of(data))
    return _error("the JSON for /raw is not an object with a type", _RAW_HINT)


_RAW_HINT = 'write it as /raw {"type": "…"}'


def help_text() -> str:
    """The commands and the keys, one line each."""
    rows = [(f"/{row.name} {row.argument}".rstrip(), row.help) for row in TABLE]
    return "\n".join(f"{left:<18}  {right}" for left, right in (*rows, *_KEYS))
