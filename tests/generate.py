"""What is written from tables: `.env.example`, sections of the README, and the manual page.

`python -m tests.generate` writes them. Tests compare them with the tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from rtchat.cli import man as manual
from rtchat.config import variables
from rtchat.config.serve import ServeSettings
from rtchat.config.settings import Settings, attributes, rows
from rtchat.config.table import Setting, Variable
from rtchat.core.json_output import OUTPUTS, Fields
from rtchat.markdown.theme import STYLES
from rtchat.ui.slash_help import KEYS, grouped

ROOT = Path(__file__).parents[1]
ENV_EXAMPLE = ROOT / ".env.example"
README = ROOT / "README.md"
MANUAL = ROOT / "rtchat" / "cli" / "rtchat.1"

_SETTINGS, _COMMANDS, _KEYS, _JSON = "settings", "commands", "keys", "JSON"
_STYLES = "styles"

_SECTIONS = """\
# Variables that rtchat reads: copy this to .env in the folder where you run it, and remove the #
# from those that you want to set. The environment takes precedence over .env, and an option over
# both (rtchat --help). A server set in .env receives only keys from .env. --no-env ignores .env.

{account}
# For the built-in profiles (rtchat config profiles). The key of a vendor is sent only to that
# vendor.

{profiles}
# Settings

{settings}
# These variables are read only from the environment and have no effect in .env.

{process}"""


def env_example(schema: type[Settings] = Settings) -> str:
    """The text of `.env.example`."""
    settings = [row for row in rows(schema) if row.variable is not None]
    outer = [_variable(row) for row in settings if _trust(row) == "no"]
    return _SECTIONS.format(
        account=_lines(variables.ACCOUNT),
        profiles=_lines(variables.PROFILES),
        settings=_lines(_variable(row) for row in settings if _trust(row) != "no"),
        process=_lines([*outer, *variables.PROCESS]),
    )


def _trust(row: Setting[Any]) -> str:
    return "" if row.variable is None else row.variable.dotenv


def _variable(row: Setting[Any]) -> Variable:
    """The variable of a setting with what its row says about it."""
    assert row.variable is not None
    text, example = row.help.replace("`", ""), row.example
    if row.parser.is_switch:
        text = f"{text.removesuffix('.')}: on or off."
        example = "on" if example else "off"
    elif row.variable.dotenv == "text":
        text += " In .env, a file is not allowed."
    elif isinstance(example, float):
        example = f"{example:g}"
    return row.variable._replace(help=text, example=str(example))


def _lines(entries: Iterable[Variable]) -> str:
    return "".join(f"# {entry.help}\n#{entry.name}={entry.example}\n" for entry in entries)


def reference(schema: type[Settings] = Settings) -> str:
    """The settings as Markdown tables, one for each group; those of `serve` are the last."""
    out = []
    table = [*rows(schema), *attributes(ServeSettings)]
    for group, members in groupby(table, key=lambda row: row.group):
        of = " of `rtchat serve`" if group.commands == ("serve",) else ""
        out.append(f"\n**{group.title} options{of}**\n\n{_HEAD}")
        out += [_row(row) for row in members]
    return "".join(out)


_HEAD = "| setting | option | variable | default | meaning |\n|---|---|---|---|---|\n"


def _row(row: Setting[Any]) -> str:
    option = row.option
    if option and not row.parser.is_switch:
        option = f"{option} {row.metavar}"
    options = ", ".join(f"`{text}`" for text in (row.short, option) if text)
    variable = f"`{row.variable.name}`" if row.variable is not None else ""
    if _trust(row) == "no":
        variable += " (not in `.env`)"
    default = row.show(row.default)
    cells = (
        f"`{row.name}`" if row.in_file else "",
        options.replace("|", "\\|"),
        variable,
        "" if default == "none" else f"`{default}`",
        row.help,
    )
    return f"| {' | '.join(cells)} |\n".replace("  ", " ")


def commands() -> str:
    """The /commands as a Markdown table."""
    rows = [row for _, members in grouped() for row in members]
    lines = []
    for row in rows:
        names = ", ".join(f"`{name}`" for name in (row.takes, *row.aliases)).replace("|", "\\|")
        lines.append(f"| {names} | {row.help} |\n")
    return _COMMANDS_HEAD + "".join(lines)


_COMMANDS_HEAD = "| command | does |\n|---|---|\n"


def keys() -> str:
    """The keys of the prompt as a Markdown table."""
    lines = []
    for key, text in KEYS:
        quoted = re.sub(r"--[a-z]+|\$[A-Z]+", r"`\g<0>`", text)
        lines.append(f"| {key} | {quoted} |\n")
    return "| key | does |\n|---|---|\n" + "".join(lines)


def styles() -> str:
    """The styles as a Markdown table."""
    lines = [
        f"| `{name}` | {f'`{row.definition}`' if row.definition else ''} | {row.meaning} |\n"
        for name, row in STYLES.items()
    ]
    return "| style | default | used for |\n|---|---|---|\n" + "".join(lines).replace("  ", " ")


def json_reference() -> str:
    """The fields of the objects of `--json` as Markdown tables."""
    out = []
    for output in OUTPUTS.values():
        commands = ", ".join(f"`rtchat {name}`" for name in output.commands.split(", "))
        out.append(f"\n**{commands}**\n\n| field | type | meaning |\n|---|---|---|\n")
        out += _json_rows(output.fields)
    return "".join(out)


def _json_rows(fields: Fields, prefix: str = "") -> Iterator[str]:
    for name, field in fields.items():
        kind = f"{field.kind} or null" if field.is_nullable else field.kind
        kind += ", may be missing" if field.is_optional else ""
        help = ": ".join(filter(None, (field.help, ", ".join(field.choices))))
        yield f"| `{prefix}{name}` | {kind} | {help} |\n"
        inner = f"{prefix}{name}[]." if field.kind == "array" else f"{prefix}{name}."
        yield from _json_rows(field.fields or {}, inner)


def readme(text: str, schema: type[Settings] = Settings) -> str:
    """The README with the tables between their marks."""
    text = _replace(text, _SETTINGS, reference(schema))
    text = _replace(text, _STYLES, f"\n{styles()}")
    text = _replace(text, _JSON, json_reference())
    text = _replace(text, _KEYS, f"\n{keys()}")
    return _replace(text, _COMMANDS, f"\n{commands()}")


def _replace(text: str, name: str, section: str) -> str:
    start, end = f"<!-- {name}: written by python -m tests.generate -->", f"<!-- end of {name} -->"
    pattern = f"{re.escape(start)}.*{re.escape(end)}"
    out, count = re.subn(pattern, lambda _: f"{start}\n{section}\n{end}", text, flags=re.DOTALL)
    assert count == 1
    return out


if __name__ == "__main__":
    ENV_EXAMPLE.write_text(env_example(), encoding="utf-8")
    MANUAL.write_text(manual.source(), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")
