"""What is around a run: the streams, the environment, the folders. `cli` alone reads them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rtchat.errors import OutputError
from rtchat.ui.safe import on_a_line

if TYPE_CHECKING:
    from rtchat.settings import Settings
    from rtchat.views import Surroundings


def surroundings() -> Surroundings:
    """The streams and folders of this process; the streams are made to take any text."""
    from platformdirs import user_state_path

    from rtchat.views import Surroundings

    if sys.stdout is None:
        raise OutputError("stdout is closed", hint="leave it open, or send it to a file")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    return Surroundings(
        stdin=None if sys.stdin is None else sys.stdin.fileno(),
        stdout=sys.stdout,
        stderr=sys.stderr,
        data_dir=data_dir(),
        state_dir=user_state_path("rtchat", appauthor=False),
        environ=os.environ,
        stdin_is_terminal=is_terminal(sys.stdin),
        stdout_is_terminal=is_terminal(sys.stdout),
        stderr_is_terminal=is_terminal(sys.stderr),
    )


def settled(options: Mapping[str, object], *, needs_key: bool = True) -> Settings:
    """The settings that these options, this environment and this folder come to."""
    from rtchat.settings import resolve

    return resolve(
        options,
        os.environ,
        dotenv=Path(".env"),
        config=config_file(),
        stored=_stored_key,
        needs_key=needs_key,
    )


def _stored_key(profile: str) -> tuple[str, str] | None:
    from rtchat.keys import KeyStore

    return KeyStore(data_dir()).get(profile)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person is at the other end."""
    return stream is not None and stream.isatty()


def config_file() -> Path:
    """Where the settings are, unless RTCHAT_CONFIG says otherwise."""
    from platformdirs import user_config_path

    return user_config_path("rtchat", appauthor=False) / "config.toml"


def data_dir() -> Path:
    """Where conversations, keys and the embedded model are."""
    from platformdirs import user_data_path

    return user_data_path("rtchat", appauthor=False)


def say(text: str) -> None:
    """A line on stderr."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(f"{on_a_line(text)}\n")
            sys.stderr.flush()
