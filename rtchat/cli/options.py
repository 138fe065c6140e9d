"""The options of commands: the options of settings, created from their rows, and a few shared ones.

A command that takes settings has a parameter `**options`. It represents one option for each row
that lists the command.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from rtchat.cli.environment import (
    config_file,
    dotenv_file,
    is_interactive,
    load_settings,
    templates_dir,
)

if TYPE_CHECKING:
    from rtchat.config.serve import ServeSettings
    from rtchat.config.settings import Settings
    from rtchat.config.table import Setting

Command: TypeAlias = Callable[..., int]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per reply.")]
Plain = Annotated[
    bool, typer.Option("--plain", help="Do not render Markdown; same as --render never.")
]
NoEnv = Annotated[bool, typer.Option("--no-env", help="Ignore the .env of this folder.")]


_OWN_MODELS = {"transcribe": "gpt-live-transcribe", "translate": "gpt-realtime-translate"}
"""The default models of the commands that take the model only from `--model`."""


def with_settings(name: str, command: Command, schema: type[Settings] | None = None) -> Command:
    """A command with the options of the settings that it takes."""
    command = inspect.unwrap(command)
    own = list(inspect.signature(command, eval_str=True).parameters.values())
    if not own or own[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return command

    @wraps(command)
    def wrapper(**parameters: object) -> int:
        return command(**parameters)

    options = [_parameter(row, name) for row in _rows(name, schema) if name in row.commands]
    wrapper.__signature__ = inspect.Signature([*own[:-1], *options])  # type: ignore[attr-defined] # what `inspect.signature` reads
    return wrapper


def _rows(command: str, schema: type[Settings] | None) -> list[Setting[Any]]:
    """The rows of the table that has the options of a command."""
    from rtchat.config.settings import Settings, attributes, rows

    if command == "serve":
        from rtchat.config.serve import ServeSettings

        return attributes(ServeSettings)
    return rows(schema or Settings)


def complete_template(incomplete: str) -> list[str]:
    """The names of templates that begin with a text, for shell completion."""
    from rtchat.config.templates import template_names

    return [name for name in template_names(templates_dir()) if name.startswith(incomplete)]


_COMPLETIONS = {"template": complete_template}
"""The completions of options whose values are not in the table."""


def _parameter(row: Setting[Any], command: str) -> inspect.Parameter:
    parser = row.parser

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in parser.choices if choice.startswith(incomplete)]

    completion = complete if parser.choices and not parser.is_switch else _COMPLETIONS.get(row.name)
    option = typer.Option(
        *filter(None, (row.short, row.option)),
        metavar=None if parser.is_switch else row.metavar,
        help=option_help(row, command),
        rich_help_panel=row.group.title,
        autocompletion=completion,
    )
    kind: object = bool if parser.is_switch else list[str] if parser.is_list else str
    return inspect.Parameter(
        row.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if parser.is_switch else None,
        annotation=Annotated[kind, option],
    )


def option_help(row: Setting[Any], command: str) -> str:
    """The --help text of a setting, without Markdown."""
    text = row.option_help.replace("`", "")
    if row.name == "model" and command in _OWN_MODELS:
        return f"{text}  [default: {_OWN_MODELS[command]}]"
    notes = []
    if row.parser.is_list:
        notes.append("can be repeated")
    if row.variable is not None:
        notes.append(f"env var: {row.variable.name}")
    if not row.parser.is_switch and row.default:
        notes.append(f"default: {row.show(row.default)}")
    return f"{text}  [{'; '.join(notes)}]" if notes else text


def settings_of(
    options: Mapping[str, object],
    *,
    plain: bool = False,
    no_env: bool = False,
    needs_key: bool = True,
    may_ask: bool = False,
) -> Settings:
    """The settings of a command that was given some of their options.

    `may_ask` is whether it may ask for a missing key, if all three streams are a terminal.
    """
    from rtchat.config.destination import NoKeyError
    from rtchat.config.settings import rows

    given = {row.name: value for row, value in _given(options, rows())}
    if plain:
        given["render"] = "never"
    try:
        return load_settings(given, needs_key=needs_key, no_env=no_env)
    except NoKeyError as error:
        if not (may_ask and error.profile and is_interactive()):
            raise
        from rtchat.cli.key_prompt import ask_first_key

        ask_first_key(error)
        return load_settings(given, needs_key=needs_key, no_env=no_env)


def styles_of(options: Mapping[str, object]) -> Settings:
    """The default settings with the user's theme and styles."""
    from rtchat.config.resolve import resolve_styles

    given = {"theme": options["theme"]}
    dotenv = dotenv_file(no_env=False)
    return resolve_styles(given, os.environ, dotenv=dotenv, config=config_file())


def serve_settings_of(options: Mapping[str, object]) -> ServeSettings:
    """The settings of `serve`, which was given some of their options."""
    from rtchat.config.serve import ServeSettings
    from rtchat.config.settings import attributes

    given = _given(options, attributes(ServeSettings))
    return ServeSettings(**{row.name: row.parse(value, row.option) for row, value in given})


def _given(
    options: Mapping[str, object], rows: Iterable[Setting[Any]]
) -> Iterator[tuple[Setting[Any], object]]:
    """The options that were given. A switch sets the opposite of its default."""
    for row in rows:
        if value := options.get(row.name):
            yield row, not row.default if row.parser.is_switch else value
