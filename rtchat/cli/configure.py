"""`keys` and `config`: the stored keys, and the settings of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtchat.cli.editor import edit_file
from rtchat.cli.environment import (
    config_file,
    data_dir,
    dotenv_file,
    environment_of,
    print_rows,
    say,
    warn,
)
from rtchat.cli.options import NoEnv, settings_of
from rtchat.core.errors import UsageError
from rtchat.core.suggestions import closest, did_you_mean
from rtchat.core.text import on_a_line

if TYPE_CHECKING:
    from rtchat.config.settings import Settings

keys = typer.Typer(help="Manage keys: set, list, remove, mint.")
config = typer.Typer(help="Manage the settings: path, show, edit, profiles, options.")

ProfileName = Annotated[
    str,
    typer.Argument(
        metavar="[PROFILE]", show_default=False, help="The profile of a server; OpenAI by default."
    ),
]


# --------------------------------------------------------------------------------------------- keys


@keys.command("set")
def keys_set(profile: ProfileName = "default") -> int:
    """Store a key for a profile.

    The key is read from a hidden prompt or from the first line of a pipe.
    """
    from rtchat.cli.key_prompt import checked_key, read_key
    from rtchat.config.keys import KeyStore

    key = checked_key(read_key(f"key for {on_a_line(profile)} (not shown): "))
    if not key:
        raise UsageError(
            "no key was given; the stored keys are unchanged", hint="enter or pipe in a key"
        )
    place = KeyStore(data_dir()).set(profile, key)
    say(f"stored the key for {profile} in {place}")
    return 0


@keys.command("list")
def keys_list() -> int:
    """List the stored keys: their last characters and locations."""
    from rtchat.config.keys import KEYRING, KeyStore, last_four

    store = KeyStore(data_dir())
    rows = []
    for name in store.names():
        try:
            key, where = store.get(name) or ("", f"missing from {KEYRING}")
        except UsageError as error:
            key, where = "", f"{error.message}; {error.hint}"
        rows.append((name, last_four(key), where))
    if not rows:
        say("no stored keys; run `rtchat keys set` to store one")
    print_rows(rows)
    return 0


@keys.command("remove")
def keys_remove(profile: ProfileName = "default") -> int:
    """Delete the key of a profile."""
    from rtchat.config.keys import KeyStore

    store = KeyStore(data_dir())
    if not store.remove(profile):
        otherwise = "run `rtchat keys list` to list the stored keys"
        hint = did_you_mean([closest(profile, store.names())], otherwise)
        raise UsageError(f"there is no stored key for {profile}", hint=hint)
    say(f"removed the key for {profile}")
    return 0


@keys.command("mint")
def keys_mint(
    *,
    ttl: Annotated[
        int,
        typer.Option(
            "--ttl", metavar="SECONDS", help="How long the secret is valid, in seconds: 10 to 7200."
        ),
    ] = 600,
    json: Annotated[bool, typer.Option("--json", help="Print the whole response as JSON.")] = False,
    no_env: NoEnv = False,
    **options: object,
) -> int:
    """Create a client secret, and print it.

    It is a short-lived key for a browser or another client.
    """
    from rtchat.app.client_secret import mint
    from rtchat.wire.schema import SECRET_SECONDS

    shortest, longest = SECRET_SECONDS
    if not shortest <= ttl <= longest:
        expected = f"expected {shortest} to {longest} seconds"
        raise UsageError(f"invalid value '{ttl}' for --ttl ({expected})")
    settings = settings_of(options, no_env=no_env)
    return mint(settings, environment_of(), ttl, as_json=json, say=say)


# ------------------------------------------------------------------------------------------- config


@config.command("path")
def config_print_path(no_env: NoEnv = False) -> int:
    """Print the path of the config file, whether or not it exists."""
    typer.echo(_config_path(no_env))
    return 0


@config.command("show")
def config_show(*, no_env: NoEnv = False, **options: object) -> int:
    """Show every setting of a run and its source, without keys."""
    settings = settings_of(options, needs_key=False, no_env=no_env)
    print_rows((name, *row) for name, row in describe(settings).items())
    return 0


def describe(settings: Settings) -> dict[str, tuple[str, str]]:
    """The value of each setting without secrets, and where it comes from."""
    from rtchat.config.keys import last_four
    from rtchat.config.settings import attributes

    out = {
        row.name: (row.show(getattr(settings, row.name)), settings.origins[row.name])
        for row in attributes(type(settings))
    }
    key = last_four(settings.key.reveal()) if settings.key else "none"
    return out | {"key": (key, settings.origins.get("key", "not set"))}


@config.command("profiles")
def config_profiles(no_env: NoEnv = False) -> int:
    """List every profile with its server, key source and dialect."""
    from rtchat.client.endpoint import shown_url
    from rtchat.config.file import all_profiles, read_config
    from rtchat.config.settings import API_KEY_COMMAND, Settings

    path = _config_path(no_env)
    lines = []
    for name, values in all_profiles(read_config(path, required=False)).items():
        is_openai = Settings.url not in values
        names = values[Settings.key_env] if is_openai or Settings.key_env in values else ()
        command = API_KEY_COMMAND.name if API_KEY_COMMAND in values else ""
        key = " or ".join(names) or command or "a stored key"
        lines.append((name, shown_url(values[Settings.url]), key, values[Settings.dialect]))
    print_rows(lines)
    return 0


@config.command("options")
def config_options() -> int:
    """List the options for --set, /set, [session] and [response]."""
    from rtchat.wire.options import AT_THE_START, RESPONSE_OPTIONS, SESSION_OPTIONS

    print_rows((key, text) for key, text in SESSION_OPTIONS.items() if key not in AT_THE_START)
    print_rows((f"response.{key}", text) for key, text in RESPONSE_OPTIONS.items())
    return 0


@config.command("edit")
def config_edit(no_env: NoEnv = False) -> int:
    """Open the config file in $VISUAL or $EDITOR, then check it."""
    from rtchat.config.file import read_config, template

    path = _config_path(no_env)
    edit_file(path, template(), hint="use another file with RTCHAT_CONFIG")
    read_config(path, required=True)
    return 0


def _config_path(no_env: bool) -> Path:
    from rtchat.config.resolve import config_path

    return config_path(os.environ, dotenv=dotenv_file(no_env), usual=config_file(), warn=warn)
