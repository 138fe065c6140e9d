"""`keys` and `config`: what is kept for later runs, and what a run would use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from rtchat.cli.chat import NoEnv
from rtchat.cli.environment import (
    config_file,
    data_dir,
    dotenv_file,
    is_terminal,
    load_settings,
    say,
    warn,
)
from rtchat.core.errors import OutputError, UsageError
from rtchat.core.text import on_a_line, shortened
from rtchat.system.blocking import BlockingFile
from rtchat.system.folders import make_private

if TYPE_CHECKING:
    from rtchat.config.settings import Settings

keys = typer.Typer(help="Keys for later runs: set, list, remove.")
config = typer.Typer(help="The config file and the settings: path, show, edit, profiles, options.")

ProfileName = Annotated[str, typer.Argument(metavar="[PROFILE]", show_default=False)]


# --------------------------------------------------------------------------------------------- keys


@keys.command("set")
def keys_set(profile: ProfileName = "default") -> int:
    """Keep a key for a profile: from a hidden prompt, or from the first line of a pipe."""
    from rtchat.config.keys import KeyStore
    from rtchat.config.parsers import header_value

    key = header_value(_read_key(profile), "the key")
    if not key:
        raise UsageError("no key was given", hint="nothing has changed")
    say(f"the key of {profile} is kept in {KeyStore(data_dir()).set(profile, key)}")
    return 0


def _read_key(profile: str) -> str:
    if sys.stdin is None:
        return ""
    if not is_terminal(sys.stdin):
        stdin = BufferedReader(BlockingFile(sys.stdin.fileno(), "r"))
        return stdin.readline().decode(errors="replace")
    from getpass import getpass

    try:
        return getpass(f"key of {on_a_line(profile)} (not shown): ")
    except EOFError:
        say("")  # the prompt's line is not over
        return ""


@keys.command("list")
def keys_list() -> int:
    """Which keys there are, their ends, and where they are kept."""
    from rtchat.config.keys import KEYRING, KeyStore, last_four

    store = KeyStore(data_dir())
    rows = []
    for name in store.names():
        try:
            key, where = store.get(name) or ("", f"{KEYRING}, where it is no more")
        except UsageError as error:
            key, where = "", str(error)
        rows.append((name, last_four(key), where))
    if not rows:
        say("no keys are kept: rtchat keys set")
    _print_rows(rows)
    return 0


@keys.command("remove")
def keys_remove(profile: ProfileName = "default") -> int:
    """Forget the key of a profile, wherever it is kept."""
    from rtchat.config.keys import KeyStore

    if not KeyStore(data_dir()).remove(profile):
        raise UsageError(f"no key of {profile} is kept", hint="rtchat keys list")
    say(f"the key of {profile} is removed")
    return 0


# ------------------------------------------------------------------------------------------- config


@config.command("path")
def config_print_path(no_env: NoEnv = False) -> int:
    """Where the config file is, or would be."""
    typer.echo(_config_path(no_env))
    return 0


@config.command("show")
def config_show(
    profile: Annotated[
        str | None, typer.Option("-p", "--profile", metavar="NAME", help="Those of a profile.")
    ] = None,
    no_env: NoEnv = False,
) -> int:
    """Every setting of a run, and where it comes from; no keys."""
    settings = load_settings({"profile": profile}, needs_key=False, no_env=no_env)
    _print_rows(
        (name, shown_setting(name, settings), settings.origins.get(name, "nowhere"))
        for name in (*settings.names(), "key")
    )
    return 0


@config.command("profiles")
def config_profiles(no_env: NoEnv = False) -> int:
    """Every profile: its server, where its key is looked for first, and the dialect."""
    from rtchat.client.endpoint import shown_url
    from rtchat.config.file import all_profiles, read_config
    from rtchat.core.values import OPENAI_URL

    path = _config_path(no_env)
    rows = []
    for name, table in all_profiles(read_config(path, required=False)).items():
        given = {key: value for key, (value, _) in table.items()}
        names = ("OPENAI_API_KEY",) if "url" not in given else ()
        variables = " or ".join(cast("tuple[str, ...]", given.get("key_env", names)))
        key = variables or ("api_key_command" if "api_key_command" in given else "")
        url = shown_url(str(given.get("url", OPENAI_URL)))
        rows.append((name, url, key or "a kept key", str(given.get("dialect", "auto"))))
    _print_rows(rows)
    return 0


@config.command("options")
def config_options() -> int:
    """What --set, /set and the tables [session] and [response] take."""
    from rtchat.wire.options import AT_THE_START, RESPONSE_OPTIONS, SESSION_OPTIONS

    _print_rows((key, text) for key, text in SESSION_OPTIONS.items() if key not in AT_THE_START)
    _print_rows((f"response.{key}", text) for key, text in RESPONSE_OPTIONS.items())
    return 0


@config.command("edit")
def config_edit(no_env: NoEnv = False) -> int:
    """Open the config file in $VISUAL or $EDITOR, then check it."""
    import shlex
    import subprocess

    from rtchat.config.settings import check_config

    path = _config_path(no_env)
    _begin(path)
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        editor = shlex.split(named) or [named]
        code = subprocess.run([*editor, path], check=False).returncode
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"the editor cannot be run ({why})", hint="set VISUAL") from error
    if code:
        raise UsageError(f"the editor failed with exit code {code}", hint="set VISUAL")
    check_config(path)
    return 0


def _config_path(no_env: bool) -> Path:
    from rtchat.config.settings import config_path

    return config_path(os.environ, dotenv=dotenv_file(no_env), usual=config_file(), warn=warn)


STARTER = """\
# Settings of rtchat. Take the # away from what you need.
# The environment and .env outrank this file, and options outrank both.
# No keys here: rtchat keys set.

#model = "gpt-realtime-2.1"
#url = "wss://api.openai.com/v1/realtime"
#dialect = "auto"
#system = "Answer briefly."
#max_output_tokens = "inf"
#connect_timeout = 10
#timeout = 60
#headers = { X-Name = "value" }
#render = "auto"
#color = "auto"
#trace = "trace.jsonl"
#history = false
#ca_bundle = "company.pem"
#insecure = false
#local = false
#api_key_command = "pass show openai"
#key_env = ["OPENAI_API_KEY"]
#key_header = "Authorization: Bearer {key}"
# What the model may call, and what of that without being asked.
#tools = ["tools.py"]
#mcp = ["uvx mcp-server-time"]
#allow_tools = ["get_current_time"]
#max_tool_rounds = 10
#max_tool_calls = 100
#max_tool_bytes = 2000000
#max_reply_bytes = 4000000
#max_cost = 0.5
# How talk sounds: rtchat devices lists what there is.
#voice = true
#vad = "server"
#input_device = "USB"
#output_device = "Headphones"
#keep_audio = false
# US dollars for a million tokens, of models that rtchat has no price of.
#prices = { "my-model" = { input = 4.0, cached = 0.4, output = 24.0 } }
# Options of the session and of replies: rtchat config options lists them.
#session = { reasoning.effort = "low", audio.output.voice = "marin" }
#response = { metadata.topic = "notes" }

# A set of settings with a name: rtchat --profile work. Some come with rtchat, and a table of the
# same name is laid over them: rtchat config profiles lists them.
#[profiles.work]
#model = "gpt-realtime-2.1"
"""


def _begin(path: Path) -> None:
    """Make sure that there is a file to edit; nobody else can read it."""
    try:
        make_private(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        if path.is_file():
            return
        message = f"{path} cannot be written ({error.strerror})"
        raise OutputError(message, hint="name another place with RTCHAT_CONFIG") from error
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(STARTER)


# -------------------------------------------------------------------------------------------- words


def shown_setting(name: str, settings: Settings) -> str:
    """The value of a setting, for anybody to see."""
    from rtchat.client.endpoint import shown_url
    from rtchat.config.keys import last_four
    from rtchat.core.dotted_keys import described

    value = getattr(settings, name)
    match name, value:
        case "key", _:
            return last_four(value.reveal()) if value else "none"
        case "url", _:
            return shown_url(value)
        case "session" | "response", _:
            line = on_a_line(", ".join(described(value))) or "none"
        case "prices", _:
            line = ", ".join(value) or "none"
        case "key_env", _:
            line = ", ".join(value) or "none"
        case "headers", tuple():
            return ", ".join(f"{header}: …" for header, _ in value) or "none"
        case _, None:
            return "none"
        case _, bool():
            return str(value).lower()
        case _, float():
            return f"{value:g}"
        case _:
            line = on_a_line(str(value))
    return shortened(line, _WIDEST)


_WIDEST = 60


def _print_rows(rows: Iterable[tuple[str, ...]]) -> None:
    lines = [tuple(map(on_a_line, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
