"""Stored keys, and keys from a password manager.

`KeyStore` stores keys in the system's keyring if the package `keyring` and a backend are installed,
else in `keys.json`, which only the user can read. That file also lists the keys in the keyring, so
that a run without stored keys does not open the keyring.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rtchat.core.errors import OutputError, UsageError
from rtchat.system.files import replace_file
from rtchat.system.folders import make_private, why_unreachable
from rtchat.system.installation import extra_hint

if TYPE_CHECKING:
    from types import ModuleType

COMMAND_TIMEOUT = 10.0
"""Seconds that a password manager may take."""
KEYRING = "the system keyring"
_SERVICE = "rtchat"
_MIN_OPENAI_KEY = 20
"""Characters. The shortest that were ever issued have 51."""

_StoredKeys: TypeAlias = dict[str, str | None]
"""The key of each profile; None if it is in the keyring."""


def run_key_command(command: Sequence[str], timeout: float = COMMAND_TIMEOUT) -> str:
    """The key that a command prints, on its first line.

    Raises: UsageError: it printed none. The message does not quote its output.
    """
    name = f"api_key_command {command[0]}"
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=timeout, check=False
        )
    except OSError as error:
        message = f"{name} cannot be run ({error.strerror})"
        raise UsageError(message, hint="correct it in the config file") from error
    except subprocess.TimeoutExpired:
        message = f"{name} printed no key within {timeout:g} s"
        raise UsageError(message, hint="unlock the password manager, then try again") from None
    if done.returncode:
        message = f"{name} failed with exit code {done.returncode}"
        raise UsageError(message, hint="run the command yourself to see why")
    key = done.stdout.partition(b"\n")[0].decode(errors="replace").strip()
    if not key:
        raise UsageError(
            f"{name} printed no key",
            hint="change it to print the key on the first line of its output",
        )
    return key


def last_four(key: str) -> str:
    """The part of a key that may be shown."""
    return f"…{key[-4:]}" if len(key) >= 12 else "…"


def key_problem(key: str, *, is_openai: bool = False) -> str:
    """An obvious mistake in a key that was typed or pasted, as the end of a sentence about it;
    empty if there is none. `is_openai` is whether it is for OpenAI."""
    if re.match(r"export\s|\w*_KEY\s*=", key):
        return "begins with the name of a variable"
    if key.lower().startswith("bearer"):
        return "begins with Bearer"
    if key[:1] in ("'", '"', "`"):
        return "is in quotation marks"
    if len(key.split()) > 1:
        return "contains a space"
    if "://" in key:
        return "is a URL"
    if "..." in key or "***" in key:
        return "is not complete"
    if is_openai and not key.startswith(("sk-", "ek_")):
        return "does not begin with sk-"
    return "is too short" if is_openai and len(key) < _MIN_OPENAI_KEY else ""


class UnreadableError(UsageError):
    """The key file cannot be read; it may not exist."""


class KeyStore:
    """The keys that are stored in a folder, by profile."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "keys.json"

    def get(self, profile: str) -> tuple[str, str] | None:
        """The key of a profile and where it is stored, or None."""
        kept = self._read()
        if profile not in kept:
            return None
        key = kept[profile]
        if key is not None:
            return key, str(self._path)
        key = _from_keyring(profile)
        return None if key is None else (key, KEYRING)

    def names(self) -> list[str]:
        """The profiles that have a key."""
        return sorted(self._read())

    def set(self, profile: str, key: str) -> str:
        """Store a key, and return where."""
        kept = self._read()
        is_in_keyring = _to_keyring(profile, key)
        self._write(kept | {profile: None if is_in_keyring else key})
        return KEYRING if is_in_keyring else str(self._path)

    def remove(self, profile: str) -> bool:
        """Delete a key, and return whether there was one."""
        kept = self._read()
        if kept.get(profile, "") is None and _keyring() is None:
            raise _no_keyring()
        was_in_keyring = _remove_from_keyring(profile)
        if profile in kept:
            del kept[profile]
            self._write(kept)
            return True
        return was_in_keyring

    def _read(self) -> _StoredKeys:
        try:
            data = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            if problem := why_unreachable(self._path):
                raise UnreadableError(problem, hint="check HOME and XDG_DATA_HOME") from error
            message = f"{self._path} cannot be read ({error.strerror})"
            raise UnreadableError(message, hint="repair or remove the file") from error
        except ValueError:  # not chained to the error: it would show the contents
            data = None
        if not isinstance(data, dict) or not all(
            isinstance(key, str | None) for key in data.values()
        ):
            raise UsageError(
                f"{self._path} is not a valid key file", hint="repair or remove the file"
            )
        return data

    def _write(self, kept: _StoredKeys) -> None:
        """Replace the file atomically. Other users can never read it."""
        folder = self._path.parent
        try:
            make_private(folder)
            with suppress(OSError):  # the folder has another owner; the file itself is private
                folder.chmod(0o700)
            replace_file(self._path, json.dumps(kept, indent=1).encode())
        except OSError as error:
            why = f"{self._path} cannot be written ({error.strerror})"
            message = f"the stored keys are unchanged, because {why}"
            raise OutputError(message, hint="make the file and its folder writable") from error


# -------------------------------------------------------------------------------------- the keyring


def _keyring() -> ModuleType | None:
    try:
        return import_module("keyring")
    except ImportError:
        return None


def _from_keyring(profile: str) -> str | None:
    keyring = _keyring()
    if keyring is None:
        raise _no_keyring()
    try:
        key: str | None = keyring.get_password(_SERVICE, profile)
    except keyring.errors.KeyringError as error:
        raise _refusal(error) from error
    return key


def _to_keyring(profile: str, key: str) -> bool:
    """Store a key in the keyring; False if there is none, or its backend stores nothing."""
    keyring = _keyring()
    if keyring is None:
        return False
    try:
        keyring.set_password(_SERVICE, profile, key)
        is_kept: bool = keyring.get_password(_SERVICE, profile) == key
    except (keyring.errors.NoKeyringError, keyring.errors.InitError):
        return False
    except keyring.errors.KeyringError as error:
        raise _refusal(error) from error
    return is_kept


def _remove_from_keyring(profile: str) -> bool:
    keyring = _keyring()
    if keyring is None:
        return False
    try:
        keyring.delete_password(_SERVICE, profile)
    except (
        keyring.errors.NoKeyringError,
        keyring.errors.InitError,
        keyring.errors.PasswordDeleteError,
    ):
        return False
    except keyring.errors.KeyringError as error:
        raise _refusal(error) from error
    return True


def _no_keyring() -> UsageError:
    message = "the key is in the system keyring, and the package keyring is not installed"
    return UsageError(message, hint=extra_hint("keyring"))


def _refusal(error: Exception) -> UsageError:
    return UsageError(
        f"the system keyring cannot be used ({type(error).__name__})", hint="unlock the keyring"
    )
