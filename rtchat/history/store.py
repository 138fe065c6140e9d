"""Conversations on disk: one SQLite file, which several programs may read and write at once.

Each item is a row: its JSON in the format of the API, its state, model, usage and timing, and the
text that a search looks in. Once `record` returns, a row survives even if the program is killed.
Every failure is a `HistoryError`; a file that cannot be read is left unchanged.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rtchat.core.errors import OutputError, UsageError
from rtchat.core.values import Entry, StoredConversation, value
from rtchat.history import schema
from rtchat.history.transcript import SPOKEN
from rtchat.system.folders import make_private

FILE = "history.db"
"""The name of the file in the data folder."""
_LOCK_TIMEOUT = 2.0
"""Seconds to wait for another program that is writing."""
_RETRY_SECONDS = 5.0
"""Seconds without another attempt after a failure: a locked file must not delay every reply."""
_MIN_FILE_SIZE = 512
"""The smallest size of a database that is not empty, in bytes."""
_APPLICATION_ID = 0x72746368
"""Marks the file as rtchat's."""

_RECORD = f"""
    INSERT INTO item (conversation, turn, position, {", ".join(schema.COLUMNS)})
    VALUES (?, ?, ?{", ?" * len(schema.COLUMNS)})
    ON CONFLICT (conversation, turn, position)
    DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in schema.COLUMNS)}
"""
_SUMMARY_COLUMNS = "conversation.id, title, began, updated, conversation.model, turns"


class HistoryError(OutputError):
    """The history cannot be read or written."""


class HistoryBusyError(HistoryError):
    """Another program has locked the history. It may be usable later."""


@value
class SearchHit:
    """A match of a search."""

    conversation: StoredConversation
    """Without its entries."""
    turn: int
    snippet: str
    """The matching words with some text around them, on one line."""


class Store:
    """The history at `path`, which is opened or created on first use. `now` returns Unix seconds.

    Entries go to the conversation that `recall` returned, else to a new one, which is created with
    its first question. Entries that cannot be written are held and written with later ones.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._id: int | None = None
        self._pending: dict[tuple[int, int], Entry] = {}
        self._turns = {0: 0}
        """The turns that this program wrote or read, and their numbers in the file."""
        self._failure: HistoryError | None = None
        self._failed_at = 0.0
        self._lost = 0
        """How many entries were discarded."""
        self.write_error: HistoryError | None = None
        """Why the most recently discarded entries could not be written."""
        self._opened: sqlite3.Connection | None = None

    @property
    def id(self) -> int | None:
        """The id of the current conversation, once it is in the file."""
        return self._id

    @property
    def unwritten(self) -> int:
        """How many entries are not in the file: they are pending or were discarded."""
        return self._lost + len(self._pending)

    def close(self) -> None:
        """Try to write the pending entries, and close the file."""
        self._finish()
        if self._opened is not None:
            with suppress(sqlite3.Error):
                self._opened.close()

    @property
    def _db(self) -> sqlite3.Connection:
        # Opened on first use, so that failing to open it is handled like failing to write.
        if self._opened is None:
            self._opened = _open(self._path)
        return self._opened

    # --------------------------------------------------------------------------------- writing

    def begin(self) -> None:
        """Entries recorded from now on belong to a new conversation."""
        self._finish()
        self._id, self._turns = None, {0: 0}

    def record(self, entry: Entry) -> None:
        """Save an entry; it replaces one with the same turn and index."""
        self._pending[entry.turn, entry.index] = entry
        self._write()

    def delete(self, *ids: int) -> None:
        """Delete conversations and their search index.

        Raises:
            UsageError: one of them does not exist; then none is deleted.
        """
        with self._transaction():
            for id_ in ids:
                self._row(id_)
                self._db.execute("DELETE FROM conversation WHERE id = ?", (id_,))
            # The index only marks words as deleted; optimizing it removes them.
            self._db.execute("INSERT INTO words (words) VALUES ('optimize')")
        with _errors_translated(self._path):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _finish(self) -> None:
        """Try once more to write the pending entries of this conversation, then discard them."""
        self._failure = None
        try:
            self._write()
        except HistoryError as error:
            self._lost += len(self._pending)
            self.write_error = error
        self._pending, self._failure = {}, None

    def _write(self) -> None:
        """Write all pending entries, or none."""
        if not self._pending or (self._id is None and not any(turn for turn, _ in self._pending)):
            return
        if self._failure is not None and abs(self._now() - self._failed_at) < _RETRY_SECONDS:
            raise self._failure.with_traceback(None)
        turns: dict[int, int] = {}
        try:
            with self._transaction():
                id_ = self._touch()
                for entry in self._pending.values():
                    turn = self._turn(id_, entry.turn, turns)
                    self._db.execute(_RECORD, (id_, turn, entry.index, *schema.row(entry)))
                self._count(id_, len(turns))
        except HistoryError as error:
            self._failure, self._failed_at = error, self._now()
            raise
        self._id, self._pending, self._failure = id_, {}, None
        self._turns |= turns

    def _touch(self) -> int:
        """Update the row of the current conversation, or insert it. Returns its id."""
        now = self._now()
        if self._id is None:
            title = next(self._titles(), "(no question)")  # it starts with /raw
            insert = "INSERT INTO conversation (title, began, updated) VALUES (?, ?, ?)"
            return self._db.execute(insert, (title, now, now)).lastrowid or 0
        update = "UPDATE conversation SET updated = ? WHERE id = ?"
        if not self._db.execute(update, (now, self._id)).rowcount:
            message = f"conversation {self._id} was deleted from the history"
            raise HistoryError(message, hint="use /new to start another")
        if (title := next(self._titles(), SPOKEN)) != SPOKEN:  # a transcript comes late
            update = "UPDATE conversation SET title = ? WHERE id = ? AND title = ?"
            self._db.execute(update, (title, self._id, SPOKEN))
        return self._id

    def _titles(self) -> Iterator[str]:
        """The titles that the pending questions give the conversation."""
        return (
            schema.title(entry.item)
            for (turn, at), entry in self._pending.items()
            if turn and not at
        )

    def _turn(self, id_: int, turn: int, new: dict[int, int]) -> int:
        """The number of a turn in the file: the next free one if another program has taken it."""
        known = self._turns.get(turn, new.get(turn))
        if known is not None:
            return known
        taken = "SELECT 1 FROM item WHERE conversation = ? AND turn = ?"
        last = "SELECT max(turn) FROM item WHERE conversation = ?"
        new[turn] = turn
        if self._db.execute(taken, (id_, turn)).fetchone():
            new[turn] = 1 + self._db.execute(last, (id_,)).fetchone()[0]
        return new[turn]

    def _count(self, id_: int, turns: int) -> None:
        """Add the new turns and the model to the conversation's row."""
        model = next((entry.model for entry in reversed(self._pending.values()) if entry.model), "")
        update = """UPDATE conversation SET turns = turns + ?,
            model = CASE ? WHEN '' THEN model ELSE ? END WHERE id = ?"""
        model = schema.plain(model)
        self._db.execute(update, (turns, model, model, id_))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _errors_translated(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    self._db.execute("ROLLBACK")
                raise

    # --------------------------------------------------------------------------------- reading

    def recall(self, id: int | None = None) -> StoredConversation:
        """Read a conversation and resume it. Without an id, the latest except the current one.

        Raises:
            UsageError: there is no such conversation.
        """
        conversation = self.find(id)
        self.resume(conversation)
        return conversation

    def find(self, id: int | None) -> StoredConversation:
        """A conversation with its entries. Without an id, the latest except the current one.

        Raises:
            UsageError: there is no such conversation.
        """
        with suppress(HistoryError):
            self._write()
        return self.read(self._latest() if id is None else id)

    def resume(self, conversation: StoredConversation) -> None:
        """Entries recorded from now on belong to this conversation."""
        self._finish()
        self._id = conversation.id
        self._turns = {0: 0} | {entry.turn: entry.turn for entry in conversation.entries}

    def read(self, id: int) -> StoredConversation:
        """A conversation with its entries.

        Raises:
            UsageError: there is no such conversation.
        """
        query = f"""SELECT turn, position, {", ".join(schema.COLUMNS[:-1])} FROM item
            WHERE conversation = ? ORDER BY turn, position"""
        with _errors_translated(self._path):
            row = self._row(id)
            entries = tuple(schema.entry(entry) for entry in self._db.execute(query, (id,)))
        return StoredConversation(*row, entries)

    def conversations(self, limit: int | None = None) -> list[StoredConversation]:
        """The latest conversations, newest first, without their entries."""
        query = (
            f"SELECT {_SUMMARY_COLUMNS} FROM conversation ORDER BY updated DESC, id DESC LIMIT ?"
        )
        with _errors_translated(self._path):
            found = self._db.execute(query, (-1 if limit is None else limit,)).fetchall()
        return [StoredConversation(*row) for row in found]

    def search(self, words: str, limit: int = 20) -> list[SearchHit]:
        """The items with all of these words, or with words that start with them, newest first."""
        query = f"""SELECT {_SUMMARY_COLUMNS}, item.turn, snippet(words, 0, '', '', '…', 16)
            FROM words JOIN item ON item.id = words.rowid
            JOIN conversation ON conversation.id = item.conversation
            WHERE words MATCH ? ORDER BY words.rowid DESC LIMIT ?"""
        wanted = " ".join(
            f'"{word}"*'
            for word in schema.plain(words).replace('"', " ").split()
            if any(character.isalnum() for character in word)
        )
        if not wanted:
            return []
        with _errors_translated(self._path):
            found = self._db.execute(query, (wanted, limit)).fetchall()
        return [
            SearchHit(StoredConversation(*conversation), turn, " ".join(text.split()))
            for *conversation, turn, text in found
        ]

    def _latest(self) -> int:
        query = "SELECT id FROM conversation WHERE id IS NOT ? ORDER BY updated DESC, id DESC"
        with _errors_translated(self._path):
            row = self._db.execute(query, (self._id,)).fetchone()
        if row is None:
            other = "" if self._id is None else "other "
            raise UsageError(f"there are no {other}saved conversations")
        return int(row[0])

    def _row(self, id_: int) -> tuple[int, str, float, float, str, int]:
        """The row of a conversation. Raises UsageError if it does not exist."""
        row: tuple[int, str, float, float, str, int] | None = None
        if 0 < id_ < 2**63:
            query = f"SELECT {_SUMMARY_COLUMNS} FROM conversation WHERE id = ?"
            row = self._db.execute(query, (id_,)).fetchone()
        if row is None:
            hint = "run `rtchat history list` to list the saved conversations"
            raise UsageError(f"there is no conversation {id_}", hint=hint)
        return row


# ------------------------------------------------------------------------------------- the file


def _create(path: Path) -> None:
    """Create the file if it does not exist, so that only its owner can read it."""
    make_private(path.parent)
    try:
        # Only if it is new: closing a file drops every lock that this process has on it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if 0 < path.stat().st_size < _MIN_FILE_SIZE:  # SQLite would take it for an empty one
            raise _unreadable(path) from None


def _open(path: Path) -> sqlite3.Connection:
    _create(path)
    # Only one thread uses it at a time, but not always the same one.
    db = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


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
def _errors_translated(path: Path) -> Iterator[None]:
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
            return HistoryBusyError(
                message, hint="wait until that program has finished, or quit it"
            )
        case "READONLY" | "CANTOPEN" | "PERM":
            message, hint = f"cannot be written ({why})", "make the file and its folder writable"
        case _:
            message, hint = f"cannot be used ({why})", "check its folder and its disk"
    return HistoryError(f"the history {path} {message}", hint=hint)


def _unreadable(path: Path) -> HistoryError:
    message = f"the history {path} is damaged or is not an rtchat history"
    return HistoryError(message, hint=f"move {path} to another place")
