"""The layout of `--help`: examples first, options in groups, and no line wider than the terminal.

The classes here are those of all commands and groups of commands. The types of their methods are
those of typer's own copy of click.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import typer.core

from rtchat.cli.examples import EXAMPLES

_GROUPS = {
    "Conversations": ("talk", "once", "history", "prompts"),
    "Speech": ("transcribe", "translate", "devices", "voices"),
    "Settings": ("keys", "config", "local", "completion"),
    "Servers and help": ("serve", "doctor", "replay", "trace", "man"),
}
"""The groups of commands in the help of the program. Other commands follow them."""
_MAX_WIDTH = 80
_NARROW = 60
"""Columns below which a help text begins below its name, not beside it."""
_MAX_LEFT = 28
"""Columns of names, if the help texts are beside them."""
_MAX_LEFT_IF_NARROW = 11


def help_width() -> int:
    """The width of help texts in columns."""
    return max(min(shutil.get_terminal_size().columns, _MAX_WIDTH) - 2, 20)


class GroupedCommand(typer.core.TyperCommand):
    """A command whose help lists the options by groups."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        _write_head(self, ctx, formatter)
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                group = getattr(parameter, "rich_help_panel", None)
                is_option = parameter.param_type_name == "option"
                title = f"{group} options" if group else "Options" if is_option else "Arguments"
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            _write_section(title, records, formatter)


class CommandGroup(typer.core.TyperGroup):
    """A group of commands. Without a command it shows its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments before the command."""
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments begin with.

        Raises:
            UsageError: there is no such command. The hint names the one that was probably meant.
        """
        if args[0] not in self.commands:
            from rtchat.cli.mistakes import unknown_command

            raise unknown_command(args, list(self.commands), ctx.command_path)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        _write_head(self, ctx, formatter)
        summaries = {
            name: summary(command.help or "")
            for name, command in self.commands.items()
            if not command.hidden
        }
        for title, rows in _in_groups(summaries, is_program=ctx.parent is None):
            _write_section(title, rows, formatter)
        options = (each.get_help_record(ctx) for each in self.get_params(ctx))
        _write_section("Options", [each for each in options if each], formatter)
        more = f"`{ctx.command_path} COMMAND --help` shows the options of a command."
        formatter.write(f"\n{textwrap.fill(more, formatter.width)}\n")


def summary(text: str) -> str:
    """The first sentence of a help text."""
    return " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].removesuffix(".") + "."


def _in_groups(
    summaries: dict[str, str], *, is_program: bool
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    left = dict(summaries)
    for title, names in _GROUPS.items() if is_program else ():
        if rows := [(name, left.pop(name)) for name in names if name in left]:
            yield title, rows
    if left:
        yield "Other commands" if is_program else "Commands", list(left.items())


def _write_head(command: Any, ctx: Any, formatter: Any) -> None:
    """Write what is above the options."""
    command.format_usage(ctx, formatter)
    for paragraph in textwrap.dedent(command.help or "").strip().split("\n\n"):
        formatter.write(f"\n{textwrap.fill(' '.join(paragraph.split()), formatter.width)}\n")
    name = ctx.command_path.partition(" ")[2]
    if rows := EXAMPLES.get(name, ()):
        formatter.write("\nExamples:\n")
        formatter.write("".join(_example_lines(rows, formatter.width)))


def _example_lines(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Examples with their comments. A command line is never broken: it is to be copied."""
    left = max(len(line) for line, _ in rows)
    comments = max(len(comment) for _, comment in rows)
    for line, comment in rows:
        if left + comments + 6 <= width:
            yield f"  {line:<{left}}  # {comment}\n"
        else:
            yield f"  # {comment}\n  {line}\n"


def _write_section(title: str, rows: list[tuple[str, str]], formatter: Any) -> None:
    lines = "".join(_list_lines(rows, formatter.width))
    formatter.write(f"\n{title}:\n{lines}")


def _list_lines(rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    """Names and their help texts, in two columns if the width allows it."""
    longest = max(len(name) for name, _ in rows)
    left = min(longest, _MAX_LEFT)
    if width < _NARROW and longest > _MAX_LEFT_IF_NARROW:
        left = 4
    margin = " " * (left + 4)
    for name, text in rows:
        lines = textwrap.wrap(text, width - len(margin), break_on_hyphens=False)
        if len(name) > left:
            yield from (f"{line}\n" for line in _broken(f"  {name}", width))
        elif lines:
            yield f"  {name:<{left}}  {lines.pop(0)}\n"
        else:
            yield f"  {name}\n"
        yield from (f"{margin}{line}\n" for line in lines)


def _broken(name: str, width: int) -> list[str]:
    """The names of an option on lines that are not too long, broken between the values."""
    if len(name) <= width:
        return [name]
    spaced = name.strip().replace("|", "| ")
    lines = textwrap.wrap(
        spaced, width, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False
    )
    return [line.replace("| ", "|") for line in lines]
