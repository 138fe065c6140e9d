"""`replay` and `doctor`: what happened, and what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rtchat.cli.chat import (
    CaBundle,
    ConnectTimeout,
    DialectName,
    Headers,
    Insecure,
    Local,
    Model,
    NoEnv,
    Plain,
    Profile,
    Quiet,
    Timeout,
    Url,
    Verbose,
)
from rtchat.cli.environment import environment_of, load_settings
from rtchat.core.errors import UsageError

if TYPE_CHECKING:
    from rtchat.config.settings import Settings


def replay(
    trace: Annotated[
        str, typer.Argument(metavar="TRACE", help='What --trace wrote; "-" is stdin.')
    ],
    speed: Annotated[
        float, typer.Option(metavar="N", help="How much faster than it was; inf: at once.")
    ] = 1.0,
    check: Annotated[
        bool, typer.Option("--check", help="Say what the program would have done instead.")
    ] = False,
    plain: Plain = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Show a recorded session again."""
    from rtchat.app import replay
    from rtchat.config.settings import Settings

    if not speed > 0:
        raise UsageError(f"--speed {speed:g} is not valid", hint="it must be more than 0, or inf")
    if check:
        return replay.check(trace, environment_of())
    settings = Settings(render="never" if plain else "auto", quiet=quiet, verbose=verbose)
    return replay.replay(trace, speed, settings, environment_of())


def doctor(
    ctx: typer.Context,
    model: Model = None,
    url: Url = None,
    dialect: DialectName = None,
    profile: Profile = None,
    local: Local = False,
    connect_timeout: ConnectTimeout = None,
    timeout: Timeout = None,
    header: Headers = None,
    insecure: Insecure = False,
    ca_bundle: CaBundle = None,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object with all of it, on stdout.")
    ] = False,
    no_env: NoEnv = False,
) -> int:
    """Try each stage of a connection, and say what to do about the first that fails.

    At last it asks for a word, which costs a few tokens.
    """
    from rtchat.app.doctor import SETTINGS, doctor
    from rtchat.cli.configure import shown_setting

    options = {key: value for key, value in ctx.params.items() if value}
    options.pop("json", None)
    options.pop("no_env", None)
    options["headers"] = options.pop("header", None)

    def describe(settings: Settings) -> dict[str, tuple[str, str]]:
        return {
            name: (shown_setting(name, settings), settings.origins.get(name, "nowhere"))
            for name in SETTINGS
        }

    return doctor(
        lambda: load_settings(options, no_env=no_env), describe, environment_of(), as_json=json
    )
