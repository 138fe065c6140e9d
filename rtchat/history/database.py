"""The SQLite file of the history: opens, creates and upgrades it, and reports its failures.

A file that cannot be read is left unchanged.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtchat.core.errors import OutputError
from rtchat.history import schema
from rtchat.system.folders import make_private

_LOCK_TIMEOUT = 2.0
"""Seconds to wait for another program that is writing."""
_MIN_FILE_SIZE = 512
"""The smallest size of a database that is not empty, in bytes."""
_APPLICATION_ID = 0x72746368
"""Marks the file as rtchat's."""


class HistoryError(OutputError):
    """The history cannot be read or written."""


class HistoryBusyError(HistoryError):
    """Another program has locked the history. It may be usable later."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open or create the file. Its tables are created or upgraded."""
    _create(path)
    # Only one thread uses it at a time, but not always the same one.
    db = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _create(path: Path) -> None:
    """Create the file if it does not exist, so that only its owner can read it."""
    make_private(path.parent)
    try:
        # Only if it is new: closing a file drops every lock that this process has on it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if 0 < path.stat().st_size < _MIN_FILE_SIZE:  # SQLite would treat it as empty
            raise _unreadable(path) from None


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Configure an open database, and create or upgrade its tables."""
    for setting in ("foreign_keys = ON", "secure_delete = ON", "synchronous = NORMAL"):
        db.execute(f"PRAGMA {setting}")
    if _version(db, path) < len(schema.MIGRATIONS):
        db.execute("BEGIN IMMEDIATE")
        for statements in schema.MIGRATIONS[_version(db, path) :]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS)}")
        db.execute("COMMIT")
    _enable_wal(db)


def _enable_wal(db: sqlite3.Connection) -> None:
    """Use a write-ahead log, so that readers and a writer do not wait for each other."""
    for _ in range(10):
        try:
            # On a file system without support for it, the mode stays as it was.
            db.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise
            # SQLite does not wait there for another program that does the same. Here it does.
            db.execute("BEGIN EXCLUSIVE")
            db.execute("ROLLBACK")
        else:
            return


def _version(db: sqlite3.Connection, path: Path) -> int:
    """The version of the file. Raises HistoryError if this program cannot read it."""
    # In one statement, as another program may be creating the file.
    numbers: tuple[int, int, int] = db.execute(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master)"
        " FROM pragma_user_version, pragma_application_id"
    ).fetchone()
    version, application, tables = numbers
    if application != _APPLICATION_ID and (application or version or tables):
        raise _unreadable(path)
    if version > len(schema.MIGRATIONS):
        message = f"the history {path} was written by a newer version of rtchat"
        raise HistoryError(message, hint="update rtchat")
    return version


@contextmanager
def errors_translated(path: Path) -> Iterator[None]:
    """Turn every error of the file into a HistoryError."""
    try:
        yield
    except sqlite3.Error as error:
        raise _sqlite_failure(path, error) from error
    except OSError as error:
        name = _ERRNOS.get(error.errno or 0, "")
        raise _failure(path, name, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:  # invalid JSON, or not a State
        raise _unreadable(path) from error


_ERRNOS = {
    errno.ENOSPC: "FULL",
    errno.EDQUOT: "FULL",
    errno.EACCES: "READONLY",
    errno.EPERM: "READONLY",
    errno.EROFS: "READONLY",
}


def _sqlite_failure(path: Path, error: sqlite3.Error) -> HistoryError:
    name = getattr(error, "sqlite_errorname", "")
    return _failure(path, name.removeprefix("SQLITE_").partition("_")[0], str(error))


def _failure(path: Path, name: str, why: str) -> HistoryError:
    match name:
        case "CORRUPT" | "NOTADB":
            return _unreadable(path)
        case "FULL":
            message, hint = "cannot be written (the disk is full)", "free some disk space"
        case "BUSY" | "LOCKED":
            message = f"the history {path} is locked by another program"
            return HistoryBusyError(message, hint="wait until that program has finished")
        case "READONLY" | "CANTOPEN" | "PERM":
            message, hint = f"cannot be written ({why})", "make the file and its folder writable"
        case _:
            message, hint = f"cannot be used ({why})", "check its folder and its disk"
    return HistoryError(f"the history {path} {message}", hint=hint)


def _unreadable(path: Path) -> HistoryError:
    message = f"the history {path} is damaged or is not an rtchat history"
    return HistoryError(message, hint=f"move {path} to another folder")
