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
from rtchat.core.values import ThemeName, value
from rtchat.ui import slash_arguments as arguments
from rtchat.ui.mentions import mentions
from rtchat.ui.suggestions import suggestion

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
    make: Callable[[str], arguments.Meaning]
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
        arguments.resume,
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
        arguments.export,
        kind="file",
    ),
    Row("name", "NAME", "name this conversation, for /resume NAME", ev.NameSet),
    Row("history", "", "show the whole conversation", lambda _: ev.HistoryAsked()),
    Row(
        "retry",
        "[-m MODEL] [TEXT]",
        "ask the last question again; TEXT says how to answer it",
        arguments.retry,
        "Replies",
    ),
    Row("edit", "[N]", "edit the question of turn N, or the last one", arguments.edit, "Replies"),
    Row("undo", "[N]", "remove the last N turns, or the last one", arguments.undo, "Replies"),
    Row("fork", "[N]", "continue from turn N in a new conversation", arguments.fork, "Replies"),
    Row(
        "copy",
        "[N]",
        "copy the last reply, or its code block N",
        arguments.copy,
        "Replies",
        kind="block",
    ),
    Row(
        "save",
        "[N] [FILE]",
        "write the last reply, or its code block N, to a file",
        arguments.save,
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
        arguments.system,
        "Model",
        kind="instructions",
    ),
    Row(
        "set",
        "[KEY [VALUE]]",
        "set option KEY; without VALUE, reset it; without KEY, list all",
        arguments.set_,
        "Model",
        kind="option",
    ),
    Row(
        "reasoning",
        "[LEVEL]",
        "show or set how much the model reasons",
        arguments.reasoning,
        "Model",
        words=("none", "minimal", "low", "medium", "high", "xhigh"),
    ),
    Row("tools", "", "list the tools that the model can call", lambda _: ev.ToolsAsked(), "Model"),
    Row(
        "t",
        "[NAME [TEXT]]",
        "ask TEXT with template NAME; without NAME, list the templates",
        arguments.template,
        "Model",
        kind="template",
    ),
    Row(
        "attach",
        "[FILE]",
        "attach a PNG, JPEG or text file; without FILE, list the attached files",
        arguments.attach,
        "Files",
        kind="file",
    ),
    Row(
        "detach",
        "[N]",
        "remove attached file N, or all of them",
        arguments.detach,
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
        arguments.trace,
        "Program",
        kind="file",
        words=("off",),
    ),
    Row(
        "events",
        "[on|off]",
        "show the events of the server as they arrive",
        arguments.events,
        "Program",
        words=("on", "off"),
    ),
    Row(
        "theme",
        "[NAME]",
        "show or change the colours",
        arguments.theme,
        "Program",
        words=get_args(ThemeName),
    ),
    Row("raw", "JSON", "send any event to the server", arguments.raw, "Program"),
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


def parse(line: str, is_literal: bool = False, pasted: Sequence[str] = ()) -> arguments.Meaning:
    """The meaning of an entry. Does not raise.

    A command is `/word` and a space or the end; everything else that begins with `/` is a question.
    `is_literal` means that the beginning was pasted, so it is not a command. `pasted` are the texts
    that were pasted into the line: only typed words can mention a file. Without them, all of a
    literal line counts as pasted.

    An error (`LocalNotice.is_error`) means that the line had no effect.
    """
    if not is_literal:
        typed = next((row for row in TABLE if line.strip() in row.aliases), None)
        if typed is not None:
            return typed.make("")
        found = re.match(r"/([A-Za-z][\w-]*)(?!\S)", line)
        if found is not None:
            return _command(found[1], line[found.end() :].strip())
    files = mentions(line, pasted or ((line,) if is_literal else ()))
    return arguments.FilesMentioned(line, files) if files else ev.UserSaid(line)


def _command(name: str, argument: str) -> arguments.Meaning:
    row = find(name)
    if row is None:
        return _unknown(name)
    if row.argument and not argument and not row.argument.startswith("["):
        return arguments.mistake(f"/{name} needs an argument", f"write it as {row.takes}")
    if argument and not row.argument:
        return arguments.mistake(f"/{name} takes no argument", f"write it as {row.takes}")
    return row.make(argument)


def _unknown(name: str) -> ev.LocalNotice:
    near = suggestion(name, [row.name for row in TABLE])
    hint = did_you_mean([near and f"/{near}"], "use /help to list the commands")
    return arguments.mistake(
        f"unknown command /{name}", f"{hint} (a space before / makes it a question)"
    )


def _help(name: str) -> arguments.Meaning:
    row = find(name.removeprefix("/"))
    if row is None and name:
        return _unknown(name.removeprefix("/"))
    return arguments.HelpAsked(row.name if row else "")
