"""The /commands of a conversation: one table of name, argument, help and the event that each one
is.

Only what a person types is read for commands; a line from a pipe is always a question.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import TypeAlias

from rtchat.core import events as ev
from rtchat.core.values import value


@value
class AttachAsked:
    """/attach: the caller reads the file and makes an `Attached` of it.

    `file` is a path as it was typed or pasted, with the quotation marks of a shell perhaps.
    """

    file: str


@value
class TextFileAsked:
    """The text of a command is in a file: the caller reads it and passes it to `make`."""

    file: str
    make: Callable[[str], ev.LocalEvent]


Meaning: TypeAlias = ev.LocalEvent | AttachAsked | TextFileAsked


@value
class Row:
    """One command. `argument` is how the help names it, in brackets where it may be left out; a
    command without one takes none."""

    name: str
    argument: str
    help: str
    make: Callable[[str], Meaning]


TABLE: tuple[Row, ...] = (
    Row("help", "", "what can be typed here", lambda _: ev.LocalNotice(help_text())),
    Row("exit", "", "leave; so does Ctrl-D at an empty prompt", lambda _: ev.LeaveAsked()),
    Row("new", "", "start a new conversation", lambda _: ev.NewConversationAsked()),
    Row("system", "TEXT|@FILE", "instructions to the model, from now on", lambda t: _system(t)),
    Row(
        "set", "[KEY [VALUE]]", "an option from now on; KEY alone takes it back", lambda a: _set(a)
    ),
    Row("model", "NAME", "another model, same conversation", ev.ModelSet),
    Row("resume", "[ID]", "go on with a kept conversation, else the latest", lambda n: _resume(n)),
    Row(
        "attach",
        "[FILE]",
        "attach a PNG, JPEG or text file, or drop it here; alone: list the files",
        lambda file: AttachAsked(file) if file else ev.AttachmentsAsked(),
    ),
    Row("detach", "[N]", "remove all attached files, or only file N", lambda n: _detach(n)),
    Row("mute", "", "the microphone on or off, as Ctrl-T", lambda _: ev.MicrophoneToggled()),
    Row("retry", "", "ask the last question again", lambda _: ev.RetryAsked()),
    Row("copy", "[N]", "copy the last reply, or its code block N", lambda n: _copy(n)),
    Row("tools", "", "what the model may call", lambda _: ev.ToolsAsked()),
    Row("usage", "", "tokens and cost of this run, and limits", lambda _: ev.UsageAsked()),
    Row("raw", "JSON", "send any event to the server", lambda text: _raw(text)),
)

_KEYS = (
    ("Enter", "send"),
    ("Alt-Enter, Ctrl-J", "a new line"),
    ("Up, Ctrl-R", "earlier input"),
    ("Ctrl-C, Esc", "stop the reply; at the prompt Ctrl-C clears the text, Up brings it back"),
    ("Ctrl-T", "the microphone on or off, with --voice"),
    ("Ctrl-X Ctrl-E", "write it in $EDITOR"),
    ("//", "a line that starts with a literal /"),
)


def parse(line: str) -> Meaning:
    """What a typed line means. Never raises: a mistake becomes a `LocalNotice` that says what to
    do."""
    if not line.startswith("/"):
        return ev.UserSaid(line)
    if line.startswith("//"):
        return ev.UserSaid(line[1:])
    name = re.split(r"\s", line[1:], maxsplit=1)[0]
    argument = line[1 + len(name) :].strip()
    row = next((row for row in TABLE if row.name == name), None)
    if row is None:
        near = get_close_matches(name, [row.name for row in TABLE], n=1)
        advice = f"did you mean /{near[0]}?" if near else "/help lists them"
        return ev.LocalNotice(f"no command /{name}: {advice} (// sends a literal /)", is_error=True)
    if row.argument and not argument and not row.argument.startswith("["):
        return ev.LocalNotice(
            f"/{name} needs {row.argument}: /{name} {row.argument}", is_error=True
        )
    if argument and not row.argument:
        return ev.LocalNotice(f"/{name} takes nothing after it", is_error=True)
    return row.make(argument)


def _system(text: str) -> ev.LocalEvent | TextFileAsked:
    if not text.startswith("@"):
        return ev.SystemSet(text)
    if text == "@":
        return ev.LocalNotice("/system takes a file as @FILE: /system @notes.txt", is_error=True)
    return TextFileAsked(text[1:], ev.SystemSet)


def _detach(number: str) -> ev.LocalEvent:
    if not number:
        return ev.DetachAsked()
    if number.isdecimal() and int(number[:9]):
        return ev.DetachAsked(int(number[:9]))
    return ev.LocalNotice("/detach takes a number that /attach lists: /detach 1", is_error=True)


def _copy(number: str) -> ev.LocalEvent:
    if not number:
        return ev.CopyAsked()
    if number.isdecimal() and int(number[:9]):
        return ev.CopyAsked(int(number[:9]))
    return ev.LocalNotice("/copy takes the number of a code block: /copy 1", is_error=True)


def _resume(number: str) -> ev.LocalEvent:
    if not number:
        return ev.ResumeAsked()
    if number.isdecimal() and int(number[:15]):
        return ev.ResumeAsked(int(number[:15]))
    return ev.LocalNotice(
        "/resume takes a number of `rtchat history list`: /resume 1", is_error=True
    )


def _set(argument: str) -> ev.LocalEvent:
    from rtchat.wire import options  # a prompt should not wait for its tables

    found = re.match(r"([^\s=]+)\s*=?\s*(.*)", argument, re.DOTALL)
    if found is None:
        return ev.OptionsAsked()
    key, text = found.groups()
    of, name = options.split(key)
    if not text:
        return ev.OptionSet(of, name)
    if of == "session" and name in options.IN_A_CONVERSATION:
        return ev.LocalNotice(f"/set {key}: use {options.IN_A_CONVERSATION[name]}", is_error=True)
    try:
        change = options.change(of, name, options.read_value(text))
    except options.OptionError as error:
        return ev.LocalNotice(f"/set {error}", is_error=True)
    return ev.OptionSet(of, name, change)


def _raw(text: str) -> ev.LocalEvent:
    from rtchat.wire.fields import read_json

    try:
        data = read_json(text)
    except (ValueError, RecursionError) as error:
        return ev.LocalNotice(
            f"/raw takes an event as JSON, and this is none: {error}", is_error=True
        )
    if isinstance(data, dict) and isinstance(data.get("type"), str):
        from rtchat.wire import codec

        return ev.RawSaid(data, codec.asks(data), codec.answer_to(data), codec.output_of(data))
    return ev.LocalNotice('/raw takes an object with a type: /raw {"type": "…"}', is_error=True)


def help_text() -> str:
    """The commands and the keys, a line each."""
    rows = [(f"/{row.name} {row.argument}".rstrip(), row.help) for row in TABLE]
    return "\n".join(f"{left:<18}  {right}" for left, right in (*rows, *_KEYS))
