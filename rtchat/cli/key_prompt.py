"""Asks for a key at the terminal, without showing it."""

from __future__ import annotations

import sys
from io import BufferedReader
from typing import TYPE_CHECKING

import typer

from rtchat.cli.environment import asking, data_dir, is_terminal, say
from rtchat.core.errors import ExitCode, UsageError
from rtchat.core.text import on_a_line
from rtchat.system.blocking import BlockingFile

if TYPE_CHECKING:
    from rtchat.config.destination import NoKeyError

_ATTEMPTS = 3


def read_key(prompt: str) -> str:
    """A key from a hidden prompt, or from the first line of a pipe; empty without one."""
    if sys.stdin is None:
        return ""
    if not is_terminal(sys.stdin):
        stdin = BufferedReader(BlockingFile(sys.stdin.fileno(), "r"))
        return stdin.readline().decode(errors="replace")
    from getpass import getpass

    try:
        with asking():
            return getpass(prompt)
    except EOFError:
        say("")  # end the line of the prompt
        return ""


def checked_key(text: str, *, is_openai: bool = False) -> str:
    """A key without white space around it.

    Raises:
        UsageError: it contains an obvious mistake. The message does not quote it.
    """
    from rtchat.config.keys import key_problem
    from rtchat.config.parsers import header_value

    key = header_value(text, "the key")
    if problem := key_problem(key, is_openai=is_openai):
        raise UsageError(f"this is not a key: it {problem}", hint="copy only the key itself")
    return key


def ask_first_key(missing: NoKeyError) -> None:
    """Say how rtchat can be used without a key, and store one if the user enters it.

    Raises:
        typer.Exit: the user entered none.
    """
    from rtchat.config.destination import DEFAULT_PROFILE
    from rtchat.config.keys import KeyStore

    profile, names = missing.profile, " or ".join(missing.variables)
    whose = "" if profile == DEFAULT_PROFILE else f" for the profile {on_a_line(profile)}"
    say(f"rtchat: there is no key{whose}")
    say(f"- Enter your key below{f', or set {names}' if names else ''}.")
    say("- `rtchat --local` uses the tiny built-in model, which needs no key.")
    say("- `rtchat --url URL` uses another server. `rtchat config profiles` lists some.")
    for _ in range(_ATTEMPTS):
        text = read_key("key (not shown; leave it empty to exit): ")
        if not text.strip():
            break
        try:
            key = checked_key(text, is_openai=missing.is_openai)
        except UsageError as error:
            say(f"{error.message}; {error.hint}")
            continue
        place = KeyStore(data_dir()).set(profile, key)
        say(f"stored the key in {place}; `rtchat keys remove` deletes it")
        return
    raise typer.Exit(ExitCode.USAGE)
