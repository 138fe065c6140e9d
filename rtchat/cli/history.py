"""`history`: its commands and options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rtchat.cli.environment import environment_of, is_terminal, say
from rtchat.core.errors import UsageError
from rtchat.core.text import on_a_line

app = typer.Typer(help="Kept conversations: list, show, search, export, delete.")

Id = Annotated[int | None, typer.Argument(metavar="[ID]", help="The latest, if left out.")]
Json = Annotated[bool, typer.Option("--json", help="A JSON object a line.")]


@app.command("list")
def list_(
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="No more than N.")] = None,
    json: Json = False,
) -> int:
    """Id, time, turns, model and title of each, newest first."""
    from rtchat.app.history import listing

    return listing(environment_of(), say, limit=limit, json=json)


@app.command()
def show(id: Id = None) -> int:
    """Show a conversation."""
    from rtchat.app.history import show

    return show(environment_of(), id)


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="Or how they begin.")],
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="No more than N.")] = 20,
    json: Json = False,
) -> int:
    """Find words: id, time, turn and what is around them."""
    from rtchat.app.history import search

    return search(environment_of(), say, " ".join(words), limit=limit, json=json)


@app.command()
def export(
    id: Id = None,
    format: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            metavar="markdown|json|html",
            help="Default: by the extension of FILE (.md, .json, .html), else Markdown.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Else stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    audio: Annotated[
        Path | None,
        typer.Option("--audio", metavar="FOLDER", help="What was kept of its sound, as WAV files."),
    ] = None,
) -> int:
    """A conversation as Markdown, JSON or a web page, or its sound."""
    from rtchat.app.history import save, save_audio

    if audio is not None:
        if format or output or force:
            raise UsageError("--audio writes its own files", hint="export the text by itself")
        return save_audio(environment_of(), say, id, audio)
    return save(environment_of(), say, id, format=format, file=output, force=force)


@app.command()
def delete(
    ids: Annotated[list[int] | None, typer.Argument(metavar="ID...")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
) -> int:
    """Delete conversations, with every word of them."""
    from rtchat.app.history import delete

    if bool(ids) == all_:
        raise UsageError("which conversations?", hint="name their ids, or --all")
    if not yes and not is_terminal(sys.stdin):
        raise UsageError("nobody is there to be asked", hint="--yes deletes without asking")
    delete(environment_of(), say, ids or [], lambda question: yes or _confirm(question))
    return 0


def _confirm(question: str) -> bool:
    return typer.confirm(on_a_line(question), err=True)
