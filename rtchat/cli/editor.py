"""Opens a file of the user in an editor."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from rtchat.core.errors import OutputError, UsageError
from rtchat.system.folders import make_private


def edit_file(path: Path, start: str, *, hint: str) -> None:
    """Open a file in $VISUAL or $EDITOR. If it does not exist, it is created with the text `start`;
    only the user can read it. `hint` says what to do if it cannot be written."""
    _begin(path, start, hint)
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        editor = shlex.split(named) or [named]
        code = subprocess.run([*editor, path], check=False).returncode
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"the editor cannot be run ({why})", hint="set VISUAL to another editor"
        ) from error
    if code:
        raise UsageError(
            f"the editor failed with exit code {code}", hint="set VISUAL to another editor"
        )


def _begin(path: Path, start: str, hint: str) -> None:
    try:
        make_private(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        if path.is_file():
            return
        message = f"{path} cannot be written ({error.strerror})"
        raise OutputError(message, hint=hint) from error
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(start)
