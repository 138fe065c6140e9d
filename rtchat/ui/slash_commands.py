"""The /commands of a conversation, in one table, and the meaning of an entry at the prompt.

The table feeds parsing, `/help`, completion, the README and the man page. Only typed lines are
parsed for commands; a line from a pipe is always a question.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, get_args

from rtchat.core import events as ev
from rtchat.core.suggestions import did_you_mean
from rtchat.core.values import ImageDetail, ThemeName, conversation_key, value
from rtchat.ui.mentions import mentions
from rtchat.ui.suggestions import suggestion


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
Group: TypeAlias = Literal["Conversation", "Replies", "Model", "Files", "Voice", "Program"]
"""The headings of the help, in order."""
ArgumentKind: TypeAlias = Literal[
    "",
    "command",
    "model",
    "option",
    "conversation",
    "file",
    "attachment",
    "instructions",
    "block",
    "template",
]
"""What completes an argument; empty if nothing does. "instructions" is @ and a file, "attachment"
and "block" are the number of an attached file and of a code block."""


@value
class Row:
    """One command."""

    name: str
    argument: str
    """Its name in the help, in brackets if it is optional; empty if the command takes none."""
    help: str
    make: Callable[[str], Meaning]
    group: Group = "Conversation"
    aliases: tuple[str, ...] = ()
    """Other ways to type the command, without an argument if they do not begin with a slash."""
    kind: ArgumentKind = ""
    words: tuple[str, ...] = ()
    """Words that the argument may be."""

    @property
    def takes(self) -> str:
        """How the command is written, such as `/model NAME`."""
        return f"/{self.name} {self.argument}".rstrip()


TABLE: tuple[Row, ...] = (
    Row(
        "new",
        "",
        "start a new conversation",
        lambda _: ev.NewConversationAsked(),
        aliases=("/clear",),
    ),
    Row(
        "resume",
        "[ID|NAME]",
        "continue a saved conversation; without ID, choose one",
        lambda key: ev.ResumeAsked(conversation_key(key)) if key else PickerAsked(),
        kind="conversation",
    ),
    Row(
        "compact",
        "[TEXT]",
        "replace all but the last turns with a summary; TEXT says what to keep",
        ev.CompactAsked,
    ),
    Row(
        "export",
        "[FILE]",
        "write the conversation to a .md, .json or .html file",
        lambda a: _export(a),
        kind="file",
    ),
    Row("name", "NAME", "name this conversation, for /resume NAME", ev.NameSet),
    Row("history", "", "show the whole conversation", lambda _: ev.HistoryAsked()),
    Row(
        "retry",
        "[-m MODEL] [TEXT]",
        "ask the last question again; TEXT says how to answer it",
        lambda argument: _retry(argument),
        "Replies",
    ),
    Row(
        "edit", "[N]", "edit the question of turn N, or the last one", lambda n: _edit(n), "Replies"
    ),
    Row("undo", "[N]", "remove the last N turns, or the last one", lambda n: _undo(n), "Replies"),
    Row("fork", "[N]", "continue from turn N in a new conversation", lambda n: _fork(n), "Replies"),
    Row(
        "copy",
        "[N]",
        "copy the last reply, or its code block N",
        lambda n: _copy(n),
        "Replies",
        kind="block",
    ),
    Row(
        "save",
        "[N] [FILE]",
        "write the last reply, or its code block N, to a file",
        lambda a: _save(a),
        "Replies",
        kind="file",
    ),
    Row(
        "model",
        "NAME",
        "switch to another model in this conversation",
        ev.ModelSet,
        "Model",
        kind="model",
    ),
    Row(
        "system",
        "TEXT|@FILE",
        "change the instructions for the model",
        lambda t: _system(t),
        "Model",
        kind="instructions",
    ),
    Row(
        "set",
        "[KEY [VALUE]]",
        "set option KEY; without VALUE, reset it; without KEY, list all",
        lambda a: _set(a),
        "Model",
        kind="option",
    ),
    Row(
        "reasoning",
        "[LEVEL]",
        "show or set how much the model reasons",
        lambda a: _reasoning(a),
        "Model",
        words=("none", "minimal", "low", "medium", "high", "xhigh"),
    ),
    Row("tools", "", "list the tools that the model can call", lambda _: ev.ToolsAsked(), "Model"),
    Row(
        "t",
        "[NAME [TEXT]]",
        "ask TEXT with template NAME; without NAME, list the templates",
        lambda argument: _template(argument),
        "Model",
        kind="template",
    ),
    Row(
        "attach",
        "[FILE]",
        "attach a PNG, JPEG or text file; without FILE, list the attached files",
        lambda argument: _attach(argument),
        "Files",
        kind="file",
    ),
    Row(
        "detach",
        "[N]",
        "remove attached file N, or all of them",
        lambda n: _detach(n),
        "Files",
        kind="attachment",
    ),
    Row(
        "mute",
        "",
        "turn the microphone on or off, like Ctrl-T",
        lambda _: ev.MicrophoneToggled(),
        "Voice",
    ),
    Row(
        "voice",
        "",
        "show how to speak, or whether the microphone is on",
        lambda _: ev.VoiceAsked(),
        "Voice",
    ),
    Row(
        "status",
        "",
        "show the connection, the session and what is set",
        lambda _: ev.StatusAsked(),
        "Program",
    ),
    Row(
        "usage",
        "",
        "show the tokens and the cost so far, and the rate limits",
        lambda _: ev.UsageAsked(),
        "Program",
    ),
    Row(
        "trace",
        "[FILE|off]",
        "record this session in FILE, or stop recording",
        lambda a: _trace(a),
        "Program",
        kind="file",
        words=("off",),
    ),
    Row(
        "events",
        "[on|off]",
        "show the events of the server as they arrive",
        lambda a: _events(a),
        "Program",
        words=("on", "off"),
    ),
    Row(
        "theme",
        "[NAME]",
        "show or change the colours",
        lambda a: _theme(a),
        "Program",
        words=get_args(ThemeName),
    ),
    Row("raw", "JSON", "send any event to the server", lambda text: _raw(text), "Program"),
    Row(
        "help",
        "[COMMAND]",
        "list the commands and keys, or explain COMMAND",
        lambda name: _help(name),
        "Program",
        kind="command",
    ),
    Row(
        "exit",
        "",
        "exit, like Ctrl-D at an empty prompt",
        lambda _: ev.LeaveAsked(),
        "Program",
        aliases=("/quit", "/q", "exit", "quit", ":q"),
    ),
)


def find(name: str) -> Row | None:
    """The command with this name or alias, such as `exit` or `quit`."""
    return next((row for row in TABLE if name == row.name or f"/{name}" in row.aliases), None)


def parse(line: str, is_literal: bool = False, pasted: Sequence[str] = ()) -> Meaning:
    """The meaning of an entry. Does not raise.

    A command is `/word` and a space or the end; everything else that begins with `/` is a question.
    `is_literal` means that the beginning was pasted, so it is not a command. `pasted` are the texts
    that were pasted into the line: only typed words can mention a file. Without them, all of a
    literal line counts as pasted.

    An error (`LocalNotice.is_error`) means that the line had no effect: the prompt keeps it for
    editing.
    """
    if not is_literal:
        typed = next((row for row in TABLE if line.strip() in row.aliases), None)
        if typed is not None:
            return typed.make("")
        found = re.match(r"/([A-Za-z][\w-]*)(?!\S)", line)
        if found is not None:
            return _command(found[1], line[found.end() :].strip())
    files = mentions(line, pasted or ((line,) if is_literal else ()))
    return FilesMentioned(line, files) if files else ev.UserSaid(line)


def _command(name: str, argument: str) -> Meaning:
    row = find(name)
    if row is None:
        return _unknown(name)
    if row.argument and not argument and not row.argument.startswith("["):
        return _error(f"/{name} needs an argument", f"write it as {row.takes}")
    if argument and not row.argument:
        return _error(f"/{name} takes no argument", f"write it as {row.takes}")
    return row.make(argument)


def _unknown(name: str) -> ev.LocalNotice:
    near = suggestion(name, [row.name for row in TABLE])
    hint = did_you_mean([near and f"/{near}"], "use /help to list the commands")
    return _error(f"unknown command /{name}", f"{hint} (a space before / makes it a question)")


def _error(message: str, hint: str) -> ev.LocalNotice:
    return ev.LocalNotice(message, is_error=True, hint=hint)


def _help(name: str) -> Meaning:
    row = find(name.removeprefix("/"))
    if row is None and name:
        return _unknown(name.removeprefix("/"))
    return HelpAsked(row.name if row else "")


def _system(text: str) -> ev.LocalEvent | TextFileAsked:
    if not text.startswith("@"):
        return ev.SystemSet(text)
    if text == "@":
        return _error("/system needs a file name after @", "write it as /system @notes.txt")
    return TextFileAsked(text[1:], ev.SystemSet)


def _template(argument: str) -> TemplateAsked:
    name, *rest = argument.split(maxsplit=1) or [""]
    return TemplateAsked(name, "".join(rest))


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


def _forced(argument: str) -> tuple[str, bool]:
    """A file name without --force before or after it, and whether that was given."""
    found = re.fullmatch(r"--force(?:\s+(.*))?|(.*)\s--force", argument, re.DOTALL)
    return (argument, False) if found is None else ((found[1] or found[2] or "").strip(), True)


def _export(argument: str) -> ev.LocalEvent:
    return ev.ExportAsked(*_forced(argument))


def _save(argument: str) -> ev.LocalEvent:
    file, force = _forced(argument)
    number, _, rest = file.partition(" ")
    if not number.isdecimal():
        return ev.SaveAsked(file, 0, force)
    if not int(number[:9]):
        return _error(f"invalid number {number!r} for /save", "use the number of a code block")
    return ev.SaveAsked(rest.strip(), int(number[:9]), force)


def _trace(argument: str) -> ev.LocalEvent:
    if argument == "off":
        return ev.TraceAsked("stop")
    return ev.TraceAsked("start", argument) if argument else ev.TraceAsked("show")


def _events(argument: str) -> ev.LocalEvent:
    shows = {"": None, "on": True, "off": False}
    if argument not in shows:
        return _error(f"invalid value {argument!r} for /events", "use /events on or /events off")
    return ev.EventsAsked(shows[argument])


def _reasoning(level: str) -> ev.LocalEvent:
    return _set(f"reasoning.effort {level}") if level else ev.ReasoningAsked()


def _theme(name: str) -> ev.LocalEvent:
    if not name:
        return ev.ThemeAsked()
    for known in get_args(ThemeName):
        if name == known:
            return ev.ThemeAsked(known)
    return _error(f"unknown theme {name!r}", f"use one of {', '.join(get_args(ThemeName))}")


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
