"""`replay` and `doctor`: replay a recording, and test a connection."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from rtchat.cli.configure import describe
from rtchat.cli.environment import environment_of
from rtchat.cli.options import NoEnv, Plain, settings_of, styles_of
from rtchat.core.errors import UsageError

if TYPE_CHECKING:
    from rtchat.config.settings import Settings


def replay(
    *,
    trace: Annotated[
        str, typer.Argument(metavar="TRACE", help='A file that --trace wrote; "-" is stdin.')
    ],
    speed: Annotated[
        float, typer.Option(metavar="N", help="Replay N times as fast; inf means without pauses.")
    ] = 1.0,
    check: Annotated[
        bool, typer.Option("--check", help="Report what this version would do, and how it differs.")
    ] = False,
    plain: Plain = False,
    **options: object,
) -> int:
    """Show a recorded session again."""
    from rtchat.app import replay

    if not speed > 0:
        raise UsageError(f"invalid value '{speed:g}' for --speed (expected more than 0, or inf)")
    if check:
        return replay.check(trace, environment_of())
    settings = replace(
        styles_of(options),
        render="never" if plain else "auto",
        quiet=bool(options["quiet"]),
        verbose=bool(options["verbose"]),
    )
    return replay.replay(trace, speed, settings, environment_of())


def doctor(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    no_env: NoEnv = False,
    **options: object,
) -> int:
    """Test each stage of a connection, and explain a failure.

    The last stage requests a reply of one word, which costs a few tokens.
    """
    from rtchat.app.doctor import doctor

    def described(settings: Settings) -> dict[str, tuple[str, str]]:
        every = describe(settings)
        return {name: row for name, row in every.items() if name in options or name == "key"}

    return doctor(
        lambda: settings_of(options, no_env=no_env), described, environment_of(), as_json=json
    )
