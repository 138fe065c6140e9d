"""Create private folders, and explain why a path cannot be reached."""

from __future__ import annotations

import errno
from pathlib import Path


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents. Only the user can access new folders, whatever the
    umask. Existing ones are not changed. Raises OSError."""
    if folder.parent != folder and not folder.parent.exists():
        make_private(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except OSError:
        if not folder.is_dir():
            raise
    else:
        folder.chmod(0o700)


def why_unreachable(path: Path) -> str:
    """The reason why it is unknown whether a file exists; empty if it is known."""
    problem = _stat_error(path)
    if problem is None:
        return ""
    while (parent_problem := _stat_error(path.parent)) is not None:
        path, problem = path.parent, parent_problem
    if problem.errno in (errno.EACCES, errno.ENOTDIR):  # caused by the folder that contains it
        path = path.parent
    return f"{path} cannot be read ({problem.strerror})"


def _stat_error(path: Path) -> OSError | None:
    try:
        path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
    return None
