"""What the arguments of the /commands mean: events for the conversation, or requests to the caller.

Each function reads the argument of one command. None raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias, get_args

from rtchat.core import events as ev
from rtchat.core.suggestions import closest, did_you_mean
from rtchat.core.values import ImageDetail, ThemeName, conversation_key, value


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


@value
class FilesMentioned:
    """A question with words that begin with @. The caller attaches the files that exist among
    `files`, which are paths as typed, then asks the question."""

    text: str
    files: tuple[str, ...]


@value
class HelpAsked:
    """/help: the caller shows `slash_help.help_text`, for one command unless `command` is empty."""

    command: str = ""


@value
class TemplateAsked:
    """/t: the caller reads the template `name` and asks its text with this input. Without a name,
    it lists the templates."""

    name: str
    input: str


@value
class PickerAsked:
    """/resume without an argument: the caller lets the user choose a saved conversation, and posts
    a `ResumeAsked` with its ID."""


Meaning: TypeAlias = (
    ev.LocalEvent
    | AttachAsked
    | TextFileAsked
    | FilesMentioned
    | HelpAsked
    | PickerAsked
    | TemplateAsked
)


def mistake(message: str, hint: str) -> ev.LocalNotice:
    """The entry had no effect; the hint says what to enter."""
    return ev.LocalNotice(message, is_error=True, hint=hint)


def system(text: str) -> ev.LocalEvent | TextFileAsked:
    """/system: instructions, or @ and a file with them."""
    if not text.startswith("@"):
        return ev.SystemSet(text)
    if text == "@":
        return mistake("/system needs a file name after @", "write it as /system @notes.txt")
    return TextFileAsked(text[1:], ev.SystemSet)


def template(argument: str) -> TemplateAsked:
    """/t: the name of a template, and its input."""
    name, *rest = argument.split(maxsplit=1) or [""]
    return TemplateAsked(name, "".join(rest))


def attach(argument: str) -> Meaning:
    """/attach: a file, for an image after `--detail LEVEL`."""
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
    return mistake(f"invalid value {found[1]!r} for --detail (expected one of {expected})", hint)


def resume(key: str) -> ev.ResumeAsked | PickerAsked:
    """/resume: the ID or the name of a conversation."""
    return ev.ResumeAsked(conversation_key(key)) if key else PickerAsked()


def detach(number: str) -> ev.LocalEvent:
    """/detach: the number of an attached file."""
    return _numbered("detach", number, ev.DetachAsked, "use /attach to list the numbers")


def copy(number: str) -> ev.LocalEvent:
    """/copy: the number of a code block."""
    return _numbered("copy", number, ev.CopyAsked, _BLOCK_HINT)


def edit(number: str) -> ev.LocalEvent:
    """/edit: the number of a turn."""
    return _numbered("edit", number, ev.EditAsked, "write the number of a turn, as in /edit 2")


def undo(number: str) -> ev.LocalEvent:
    """/undo: how many turns."""
    return _numbered("undo", number, ev.UndoAsked, "write how many turns, as in /undo 2")


def fork(number: str) -> ev.LocalEvent:
    """/fork: the number of a turn."""
    return _numbered("fork", number, ev.ForkAsked, "write the number of a turn, as in /fork 2")


def retry(argument: str) -> ev.LocalEvent:
    """/retry: instructions, after `-m MODEL` for another model."""
    found = re.fullmatch(r"(?:-m|--model)(?:[\s=]+(\S+)\s*(.*))?", argument, re.DOTALL)
    if found is None:
        return ev.RetryAsked(instructions=argument)
    if found[1] is None:
        return mistake("/retry -m needs a model", "write it as /retry -m MODEL [TEXT]")
    return ev.RetryAsked(found[1], found[2])


def _numbered(
    command: str, text: str, make: Callable[..., ev.LocalEvent], hint: str
) -> ev.LocalEvent:
    """The event for a number from 1, or for none."""
    if not text:
        return make()
    number = _number(text)
    return make(number) if number else _no_number(command, text, hint)


def _number(text: str) -> int:
    """A number from 1; 0 if the text is none."""
    return int(text[:9]) if text.isdecimal() else 0


def _no_number(command: str, text: str, hint: str) -> ev.LocalNotice:
    return mistake(f"invalid number {text!r} for /{command}", hint)


_BLOCK_HINT = "use the number of a code block"


def set_(argument: str) -> ev.LocalEvent:
    """/set: `KEY VALUE`, `KEY=VALUE`, or a key to reset."""
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
        return mistake(f"the option {key} cannot be set with /set", hint)
    try:
        change = options.change(scope, name, options.read_value(text))
    except options.OptionError as error:
        return ev.local_error(error.problem)
    return ev.OptionSet(scope, name, change)


def _forced(argument: str) -> tuple[str, bool]:
    """A file name without --force before or after it, and whether that was given."""
    found = re.fullmatch(r"--force(?:\s+(.*))?|(.*)\s--force", argument, re.DOTALL)
    return (argument, False) if found is None else ((found[1] or found[2] or "").strip(), True)


def export(argument: str) -> ev.LocalEvent:
    """/export: a file, and `--force`."""
    return ev.ExportAsked(*_forced(argument))


def save(argument: str) -> ev.LocalEvent:
    """/save: the number of a code block, a file, and `--force`."""
    file, force = _forced(argument)
    number, _, rest = file.partition(" ")
    if not number.isdecimal():
        return ev.SaveAsked(file, 0, force)
    read = _number(number)
    return (
        ev.SaveAsked(rest.strip(), read, force) if read else _no_number("save", number, _BLOCK_HINT)
    )


def trace(argument: str) -> ev.LocalEvent:
    """/trace: a file, or `off`."""
    if argument == "off":
        return ev.TraceAsked("stop")
    return ev.TraceAsked("start", argument) if argument else ev.TraceAsked("show")


def events(argument: str) -> ev.LocalEvent:
    """/events: `on` or `off`."""
    shows = {"": None, "on": True, "off": False}
    if argument not in shows:
        return mistake(f"invalid value {argument!r} for /events", "use /events on or /events off")
    return ev.EventsAsked(shows[argument])


def reasoning(level: str) -> ev.LocalEvent:
    """/reasoning: a level."""
    return set_(f"reasoning.effort {level}") if level else ev.ReasoningAsked()


def theme(name: str) -> ev.LocalEvent:
    """/theme: the name of a theme."""
    if not name:
        return ev.ThemeAsked()
    for each in get_args(ThemeName):
        if name == each:
            return ev.ThemeAsked(each)
    known = get_args(ThemeName)
    hint = did_you_mean([closest(name, known)], f"use one of {', '.join(known)}")
    return mistake(f"unknown theme {name!r}", hint)


def raw(text: str) -> ev.LocalEvent:
    """/raw: a JSON object with a type."""
    from rtchat.wire.fields import read_json

    try:
        data = read_json(text)
    except (ValueError, RecursionError) as error:
        return mistake(f"invalid JSON for /raw ({error})", _RAW_HINT)
    if isinstance(data, dict) and isinstance(data.get("type"), str):
        from rtchat.wire.commands import answer_to, asks, output_of

        return ev.RawSaid(data, asks(data), answer_to(data), output_of(data))
    return mistake("the JSON for /raw is not an object with a type", _RAW_HINT)


_RAW_HINT = 'write it as /raw {"type": "…"}'
