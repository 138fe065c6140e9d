"""`history`: its commands and options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rtchat.cli.environment import asking, environment_of, is_terminal, say
from rtchat.cli.options import styles_of
from rtchat.core.errors import UsageError
from rtchat.core.text import on_a_line
from rtchat.core.values import conversation_key

app = typer.Typer(help="Manage the history: list, show, search, rename, export, delete.")

Id = Annotated[str | None, typer.Argument(metavar="[ID|NAME]", help="The default is the latest.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


@app.command("list")
def list_(
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Show at most N.")] = None,
    json: Json = False,
    **options: object,
) -> int:
    """List the conversations, newest first."""
    from rtchat.app.history import listing

    return listing(environment_of(), say, styles_of(options), limit=limit, json=json)


@app.command()
def show(
    conversation: Id = None,
    all_branches: Annotated[
        bool, typer.Option("--all", help="Show the turns of all branches, with their numbers.")
    ] = False,
    **options: object,
) -> int:
    """Show a conversation, and a tree of its branches if it has several."""
    from rtchat.app.history import show

    key = _key(conversation)
    return show(environment_of(), key, styles_of(options), all_branches=all_branches)


@app.command()
def search(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORDS...", help="Words, phrases ('\"a b\"'), or beginnings of words ('web*')."
        ),
    ],
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most N.")] = 20,
    json: Json = False,
    **options: object,
) -> int:
    """Search for words, and show each match in its context."""
    from rtchat.app.history import search

    settings, query = styles_of(options), " ".join(words)
    return search(environment_of(), say, query, settings, limit=limit, json=json)


@app.command()
def export(
    conversation: Id = None,
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
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="The default is stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    all_branches: Annotated[
        bool, typer.Option("--all", help="Export all branches (JSON only).")
    ] = False,
    audio: Annotated[
        Path | None,
        typer.Option(
            "--audio", metavar="FOLDER", help="Write the saved audio into FOLDER as WAV files."
        ),
    ] = None,
) -> int:
    """Export a conversation as Markdown, JSON or HTML, or its audio."""
    from rtchat.app.history import save, save_audio

    if audio is not None:
        if format or output or force or all_branches:
            raise UsageError(
                "--audio cannot be combined with other options", hint="export the text separately"
            )
        return save_audio(environment_of(), say, _key(conversation), audio)
    environment, key = environment_of(), _key(conversation)
    return save(
        environment, say, key, format=format, file=output, force=force, all_branches=all_branches
    )


@app.command()
def rename(
    conversation: Annotated[str, typer.Argument(metavar="ID|NAME")],
    name: Annotated[
        str | None, typer.Argument(metavar="[NEW NAME]", help='"" removes the name.')
    ] = None,
    title: Annotated[
        str | None,
        typer.Option("--title", metavar="TEXT", help='The new title; "" restores the first one.'),
    ] = None,
) -> int:
    """Name a conversation, or change its title."""
    from rtchat.app.history import rename

    if name is None and title is None:
        raise UsageError(
            "expected a new name or --title", hint="run `rtchat history rename --help`"
        )
    return rename(environment_of(), say, conversation_key(conversation), name, title)


@app.command()
def delete(
    conversations: Annotated[list[str] | None, typer.Argument(metavar="ID|NAME...")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Delete all conversations.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask for confirmation.")] = False,
) -> int:
    """Delete conversations."""
    from rtchat.app.history import delete

    if bool(conversations) == all_:
        raise UsageError(
            "expected conversation IDs or names, or --all",
            hint="run `rtchat history list` to list the IDs",
        )
    if not yes and not is_terminal(sys.stdin):
        raise UsageError(
            "deleting requires confirmation, but stdin is not a terminal",
            hint="use --yes to delete without confirmation",
        )
    keys = [conversation_key(each) for each in conversations or ()]
    delete(environment_of(), say, keys, lambda question: yes or _confirm(question))
    return 0


def _key(conversation: str | None) -> int | str | None:
    return None if conversation is None else conversation_key(conversation)


def _confirm(question: str) -> bool:
    with asking():
        return typer.confirm(on_a_line(question), err=True)
