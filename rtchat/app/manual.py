"""The manual page, rtchat(1), from the tables of commands, settings, variables and exit codes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from rtchat._version import __version__
from rtchat.config import variables
from rtchat.config.settings import Settings, rows
from rtchat.config.table import Setting, Variable
from rtchat.core.errors import ExitCode
from rtchat.ui.slash_commands import TABLE
from rtchat.ui.slash_help import KEYS

_SPACE = "\0"
"""Stands for a space at which no line is broken."""
_WIDTH = 72
"""Characters of a line of the source, before some of them are escaped."""
EXIT_CODES: dict[tuple[ExitCode, ...], str] = {
    (ExitCode.OK,): "every reply is complete",
    (ExitCode.REPLY,): "a reply failed or is incomplete; the text so far is on stdout",
    (ExitCode.USAGE,): "incorrect usage or invalid settings",
    (ExitCode.REFUSED,): "authentication failed",
    (ExitCode.LINK,): "the connection failed, or was lost and could not be restored, or the server"
    " did not respond in time",
    (ExitCode.LIMIT,): "rate limit or quota",
    (ExitCode.OUTPUT,): "stdout, the trace, an export, or a change to the history could not be"
    " written",
    (ExitCode.FAULT,): "internal error",
    (ExitCode.HANGUP, ExitCode.INTERRUPTED, ExitCode.TERMINATED): "ended by SIGHUP (the window was"
    " closed), SIGINT or SIGTERM; the text so far is on stdout and in the history",
    (ExitCode.PIPE,): "stdout was closed by its reader; the reply is cancelled",
}
"""What each exit code means."""
_FILES = (
    ("~/.config/rtchat/config.toml", "The settings. `rtchat config edit` opens it."),
    (
        "~/.config/rtchat/prompts/NAME.toml",
        "A prompt template. `rtchat prompts edit NAME` opens it.",
    ),
    ("~/.local/share/rtchat/history.db", "The saved conversations."),
    ("~/.local/share/rtchat/keys.json", "The stored keys that are not in the system's keyring."),
    (".env", "Variables for runs in this folder."),
)
_FILES_NOTE = (
    "XDG_CONFIG_HOME and XDG_DATA_HOME change the folders. On macOS they are in ~/Library."
    " `rtchat config path` prints the path of the settings."
)
_STREAMS = (
    "stdout receives only the reply. Status, usage, warnings and errors are written to stderr."
    " Without a command, the program is `rtchat talk` on a terminal and `rtchat once` in a pipe."
    " Arguments that are not a command are a question if one of them contains a space, or if"
    " there are at least three and the first is not similar to a command."
)
_PRECEDENCE = (
    "A setting is taken from the first of these that has it: the option, the environment, the .env"
    " file of the working directory, the template, the profile, the config file. `rtchat config"
    " show` shows each setting and its source."
)


@dataclass(frozen=True)
class ManualCommand:
    """A command as it is described in the manual."""

    path: str
    """Its name with that of its group."""
    usage: str
    """Its arguments."""
    help: str
    options: Sequence[tuple[str, str]] = ()
    """Its arguments and its own options, with their help texts."""
    examples: Sequence[tuple[str, str]] = field(default=())


def manual_page(commands: Iterable[ManualCommand], examples: Iterable[tuple[str, str]]) -> str:
    """The manual page in the man macros of roff. `examples` are those of the program."""
    return "".join(f"{line}\n" for line in _lines(commands, examples))


def _lines(commands: Iterable[ManualCommand], examples: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f'.TH RTCHAT 1 "" "rtchat {__version__}" "User Commands"'
    yield from (".nh", ".ad l")  # names are not hyphenated
    yield from _section("NAME", [r"rtchat \- talk to models over the Realtime API"])
    yield from _section("SYNOPSIS")
    yield r"\fBrtchat\fR [COMMAND] [OPTIONS] [ARGUMENTS]"
    yield from (".br", rf"\fBrtchat\fR [OPTIONS] {_escaped('QUESTION')}")
    yield from _section("DESCRIPTION", (*_text(_STREAMS), ".PP", *_text(_PRECEDENCE)))
    yield from _section("EXAMPLES", _examples(examples))
    yield from _section("COMMANDS")
    for command in commands:
        yield from _command(command)
    yield from _section("OPTIONS")
    yield from _text("Each option is followed by the commands that take it.")
    for group, members in groupby((row for row in rows() if row.option), lambda row: row.group):
        yield f'.SS "{_escaped(group.title)} options"'
        yield from _entries((_option(row), _option_text(row)) for row in members)
    yield from _section("COMMANDS IN A CONVERSATION")
    yield from _entries((", ".join((row.takes, *row.aliases)), row.help) for row in TABLE)
    yield from _section("KEYS", _entries(KEYS))
    yield from _section("ENVIRONMENT", _entries(_environment()))
    yield from _section("FILES", _entries(_FILES))
    yield from (".PP", *_text(_FILES_NOTE))
    codes = ((", ".join(str(code.value) for code in key), text) for key, text in EXIT_CODES.items())
    yield from _section("EXIT STATUS", _entries(codes))


def _section(title: str, lines: Iterable[str] = ()) -> Iterator[str]:
    yield f'.SH "{title}"'
    yield from lines


def _command(command: ManualCommand) -> Iterator[str]:
    yield f'.SS "{_escaped(f"rtchat {command.path} {command.usage}".strip())}"'
    for number, paragraph in enumerate(command.help.split("\n\n")):
        if number:
            yield ".PP"
        yield from _text(paragraph)
    yield from _entries(command.options)
    if command.examples:
        yield from (".PP", *_examples(command.examples))


def _examples(examples: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield ".EX"
    for line, comment in examples:
        yield rf"{_escaped(line)}  \fI# {_escaped(comment)}\fR"
    yield ".EE"


def _entries(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, text in pairs:
        if text:
            yield from (".TP", rf"\fB{_escaped(name)}\fR", *_text(text))


def _option(row: Setting[Any]) -> str:
    names = ", ".join(filter(None, (row.short, row.option)))
    return names if row.parser.is_switch else f"{names} {row.metavar}"


def _option_text(row: Setting[Any]) -> str:
    notes = [row.option_help, f"Commands: {', '.join(row.commands)}."]
    if row.parser.is_list:
        notes.append("It can be repeated.")
    if row.variable is not None:
        notes.append(f"Environment: {row.variable.name}.")
    if not row.parser.is_switch and row.default:
        notes.append(f"Default: {row.show(row.default)}.")
    return " ".join(notes)


def _environment() -> Iterator[tuple[str, str]]:
    of_settings = (_variable(row) for row in rows(Settings) if row.variable is not None)
    groups = (variables.ACCOUNT, of_settings, variables.PROFILES, variables.PROCESS)
    yield from ((each.name, each.help) for group in groups for each in group)


def _variable(row: Setting[Any]) -> Variable:
    assert row.variable is not None
    text = f"{row.help.removesuffix('.')}: on or off." if row.parser.is_switch else row.help
    return row.variable._replace(help=text)


def _text(text: str) -> Iterator[str]:
    """The lines of a paragraph, in which what is between backticks is bold."""
    quoted = re.sub("`(.+?)`", lambda found: found[0].replace(" ", _SPACE), " ".join(text.split()))
    for line in textwrap.wrap(quoted, _WIDTH, break_on_hyphens=False):
        yield _escaped(line.replace(_SPACE, " "))


def _escaped(text: str) -> str:
    """A text in which no character has a meaning for roff; what is between backticks is bold."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    text = text.replace("'", r"\(aq").replace('"', r"\(dq").replace("^", r"\(ha")
    text = text.replace("~", r"\(ti")
    text = re.sub("`(.+?)`", r"\\fB\1\\fR", text).replace("`", r"\(ga")
    text = "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in text)
    return rf"\&{text}" if text[:1] == "." else text
