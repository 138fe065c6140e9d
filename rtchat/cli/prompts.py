"""`prompts`: the prompt templates."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from rtchat.cli.editor import edit_file
from rtchat.cli.environment import is_terminal, print_rows, say, stdout, templates_dir
from rtchat.cli.options import complete_template
from rtchat.core.errors import UsageError
from rtchat.core.text import shortened, visible

app = typer.Typer(help="Manage the prompt templates: list, show, edit.")


Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_template)]


@app.command("list")
def prompts_list() -> int:
    """List the templates, with the beginning of their texts."""
    from rtchat.config.templates import read_template, template_names

    rows = []
    for name in template_names(templates_dir()):
        try:
            text = " ".join(read_template(templates_dir(), name).text.split())
            text = shortened(text, 60)
        except UsageError as error:
            text = f"({error.message})"
        rows.append((name, text))
    if not rows:
        say("no templates; run `rtchat prompts edit NAME` to create one")
    print_rows(rows)
    return 0


@app.command("show")
def prompts_show(name: Name) -> int:
    """Print the file of a template."""
    from rtchat.config.parsers import read_text
    from rtchat.config.templates import template_path

    path = template_path(templates_dir(), name)
    text, out = read_text(path, str(path)), stdout()
    out.write(visible(text) if is_terminal(out) else text)
    return 0


@app.command("edit")
def prompts_edit(name: Name) -> int:
    """Open a template in $VISUAL or $EDITOR, then check it.

    A template that does not exist is created.
    """
    from rtchat.config.templates import NAME, START, read_template

    if not re.fullmatch(NAME, name):
        hint = "use letters, digits, -, _ and dots"
        raise UsageError(f"invalid name {name!r} for a template", hint=hint)
    hint = "check the permissions of its folder"
    edit_file(templates_dir() / f"{name}.toml", START, hint=hint)
    read_template(templates_dir(), name)
    return 0
