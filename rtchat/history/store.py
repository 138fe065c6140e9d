"""Conversations on disk: one SQLite file, which several programs may read and write at once.

Each item is a row: its JSON in the shape of the API, beside it what is known about how it came
about, and the words that a search finds. A row is safe from a killed program once `record`
returns. Whatever goes wrong is a `HistoryError`; a file that cannot be read is left as it is. Not
here: when to record what, which the conversation decides, or how a conversation is shown.
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
"""Its name in the data folder."""
_PATIENCE = 2.0
"""Seconds to wait for another program that is writing."""
_PAUSE = 5.0
"""Seconds after a failure in which nothing is tried: a locked file must not stop every reply."""
_SMALLEST = 512
"""Bytes of a database that is not empty."""
_APPLICATION = 0x72746368
"""Marks the file as ours."""

_RECORD = f"""
    INSERT INTO item (conversation, turn, position, {", ".join(schema.COLUMNS)})
    VALUES (?, ?, ?{", ?" * len(schema.COLUMNS)})
    ON CONFLICT (conversation, turn, position)
    DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in schema.COLUMNS)}
"""
_KEPT = "conversation.id, title, began, updated, conversation.model, turns"


class HistoryError(OutputError):
    """The history cannot be read or written."""


class HistoryBusyError(HistoryError):
    """Another program keeps the history locked. It may be usable later."""


@value
class SearchHit:
    """A place where a search found its words."""

    kept: StoredConversation
    """Without its entries."""
    turn: int
    snippet: str
    """The words and some before and after them, on one line."""


class Store:
    """The history at `path`, opened, and made, when it is needed. `now` gives Unix seconds.

    What is recorded goes to the conversation that `recall` gave, else to a new one, which is there
    once it has a question. What cannot be written is kept and goes with what can.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._id: int | None = None
        self._due: dict[tuple[int, int], Entry] = {}
        self._turns = {0: 0}
        """The turns of this conversation that are ours, and their numbers in the file."""
        self._failure: HistoryError | None = None
        self._failed = 0.0
        self._lost = 0
        """How many entries were given up."""
        self.trouble: HistoryError | None = None
        """Why the last entries that were given up could not be written."""
        self._opened: sqlite3.Connection | None = None

    @property
    def id(self) -> int | None:
        """Of the current conversation, once it is in the file."""
        return self._id

    @property
    def unwritten(self) -> int:
        """How many entries are not in the file: they are waiting or were given up."""
        return self._lost + len(self._due)

    def close(self) -> None:
        """Write what is still due, if that is possible by now, and let go of the file."""
        self._leave()
        if self._opened is not None:
            with suppress(sqlite3.Error):
                self._opened.close()

    @property
    def _db(self) -> sqlite3.Connection:
        # Not before: a file that cannot be opened is like one that cannot be written.
        if self._opened is None:
            self._opened = _open(self._path)
        return self._opened

    # --------------------------------------------------------------------------------- writing

    def begin(self) -> None:
        """What is recorded from here on is another conversation."""
        self._leave()
        self._id, self._turns = None, {0: 0}

    def record(self, entry: Entry) -> None:
        """Keep an entry; one of the same turn and index is written over."""
        self._due[entry.turn, entry.index] = entry
        self._write()

    def delete(self, *ids: int) -> None:
        """Delete conversations, with their words. UsageError, and none is, if one is not there."""
        with self._transaction():
            for id_ in ids:
                self._row(id_)
                self._db.execute("DELETE FROM conversation WHERE id = ?", (id_,))
            # The index only marks words as deleted; merging it into one piece drops them.
            self._db.execute("INSERT INTO words (words) VALUES ('optimize')")
        with _explained(self._path):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _leave(self) -> None:
        """Try once more to write what is due to this conversation."""
        self._failure = None
        try:
            self._write()
        except HistoryError as error:
            self._lost += len(self._due)
            self.trouble = error
        self._due, self._failure = {}, None

    def _write(self) -> None:
        """Write what is due, all of it or nothing."""
        if not self._due or (self._id is None and not any(turn for turn, _ in self._due)):
            return
        if self._failure is not None and abs(self._now() - self._failed) < _PAUSE:
            raise self._failure.with_traceback(None)
        turns: dict[int, int] = {}
        try:
            with self._transaction():
                id_ = self._touch()
                for entry in self._due.values():
                    turn = self._turn(id_, entry.turn, turns)
                    self._db.execute(_RECORD, (id_, turn, entry.index, *schema.row(entry)))
                self._count(id_, len(turns))
        except HistoryError as error:
            self._failure, self._failed = error, self._now()
            raise
        self._id, self._due, self._failure = id_, {}, None
        self._turns |= turns

    def _touch(self) -> int:
        """The row of the current conversation, up to date or, with its first question, new."""
        now = self._now()
        if self._id is None:
            title = next(self._titles(), "(no question)")  # it began with /raw
            insert = "INSERT INTO conversation (title, began, updated) VALUES (?, ?, ?)"
            return self._db.execute(insert, (title, now, now)).lastrowid or 0
        update = "UPDATE conversation SET updated = ? WHERE id = ?"
        if not self._db.execute(update, (now, self._id)).rowcount:
            message = f"conversation {self._id} was deleted from the history"
            raise HistoryError(message, hint="/new begins another")
        if (title := next(self._titles(), SPOKEN)) != SPOKEN:  # what was said aloud is known late
            update = "UPDATE conversation SET title = ? WHERE id = ? AND title = ?"
            self._db.execute(update, (title, self._id, SPOKEN))
        return self._id

    def _titles(self) -> Iterator[str]:
        """What the questions that are due would call the conversation."""
        return (
            schema.title(entry.item) for (turn, at), entry in self._due.items() if turn and not at
        )

    def _turn(self, id_: int, turn: int, new: dict[int, int]) -> int:
        """The number of a turn in the file: another if a program beside this one took it."""
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
        """Note in the conversation's row what the entries bring to it."""
        model = next((entry.model for entry in reversed(self._due.values()) if entry.model), "")
        update = """UPDATE conversation SET turns = turns + ?,
            model = CASE ? WHEN '' THEN model ELSE ? END WHERE id = ?"""
        model = schema.plain(model)
        self._db.execute(update, (turns, model, model, id_))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _explained(self._path):
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
        """A conversation, which goes on from here: the latest but the current one if not named.

        UsageError if there is no such conversation.
        """
        kept = self.find(id)
        self.resume(kept)
        return kept

    def find(self, id: int | None) -> StoredConversation:
        """A conversation with its entries; without an id the latest before the current one.

        UsageError if there is no such conversation.
        """
        with suppress(HistoryError):
            self._write()
        return self.read(self._latest() if id is None else id)

    def resume(self, kept: StoredConversation) -> None:
        """Entries recorded from now on belong to this conversation."""
        self._leave()
        self._id = kept.id
        self._turns = {0: 0} | {entry.turn: entry.turn for entry in kept.entries}

    def read(self, id: int) -> StoredConversation:
        """A conversation with its entries. UsageError if it is not there."""
        query = f"""SELECT turn, position, {", ".join(schema.COLUMNS[:-1])} FROM item
            WHERE conversation = ? ORDER BY turn, position"""
        with _explained(self._path):
            row = self._row(id)
            entries = tuple(schema.entry(entry) for entry in self._db.execute(query, (id,)))
        return StoredConversation(*row, entries)

    def conversations(self, limit: int | None = None) -> list[StoredConversation]:
        """The latest conversations, newest first, without their entries."""
        query = f"SELECT {_KEPT} FROM conversation ORDER BY updated DESC, id DESC LIMIT ?"
        with _explained(self._path):
            found = self._db.execute(query, (-1 if limit is None else limit,)).fetchall()
        return [StoredConversation(*row) for row in found]

    def search(self, words: str, limit: int = 20) -> list[SearchHit]:
        """Where all these words are in one item, each of them or what begins like it."""
        query = f"""SELECT {_KEPT}, item.turn, snippet(words, 0, '', '', '…', 16)
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
        with _explained(self._path):
            found = self._db.execute(query, (wanted, limit)).fetchall()
        return [
            SearchHit(StoredConversation(*kept), turn, " ".join(text.split()))
            for *kept, turn, text in found
        ]

    def _latest(self) -> int:
        query = "SELECT id FROM conversation WHERE id IS NOT ? ORDER BY updated DESC, id DESC"
        with _explained(self._path):
            row = self._db.execute(query, (self._id,)).fetchone()
        if row is None:
            other = "" if self._id is None else "other "
            raise UsageError(f"there is no {other}conversation to go back to")
        return int(row[0])

    def _row(self, id_: int) -> tuple[int, str, float, float, str, int]:
        """What is to be known of a conversation without its items."""
        row: tuple[int, str, float, float, str, int] | None = None
        if 0 < id_ < 2**63:
            query = f"SELECT {_KEPT} FROM conversation WHERE id = ?"
            row = self._db.execute(query, (id_,)).fetchone()
        if row is None:
            hint = "rtchat history list shows those that are kept"
            raise UsageError(f"there is no conversation {id_}", hint=hint)
        return row


# ------------------------------------------------------------------------------------- the file


def _create(path: Path) -> None:
    """See that the file is there and that, if it is new, nobody else may read it."""
    make_private(path.parent)
    try:
        # Only if it is new: to close a file drops every lock that this process has on it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if 0 < path.stat().st_size < _SMALLEST:  # SQLite would take it for an empty one
            raise _unreadable(path) from None


def _open(path: Path) -> sqlite3.Connection:
    _create(path)
    # One thread at a time uses it, but not always the same one.
    db = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Make an open file the history that this program reads and writes."""
    for setting in ("foreign_keys = ON", "secure_delete = ON", "synchronous = NORMAL"):
        db.execute(f"PRAGMA {setting}")
    if _version(db, path) < len(schema.MIGRATIONS):
        db.execute("BEGIN IMMEDIATE")
        for statements in schema.MIGRATIONS[_version(db, path) :]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS)}")
        db.execute("COMMIT")
    _log_ahead(db)


def _log_ahead(db: sqlite3.Connection) -> None:
    """Write ahead to a log, so that readers and a writer do not wait for each other."""
    for _ in range(10):
        try:
            # A file system that cannot do it says so by another mode, and does without.
            db.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise
            # SQLite does not wait there for another program that does the same, but it does here.
            db.execute("BEGIN EXCLUSIVE")
            db.execute("ROLLBACK")
        else:
            return


def _version(db: sqlite3.Connection, path: Path) -> int:
    """The version of the file; HistoryError if this program cannot read it."""
    # In one statement, as another program may be making the file.
    numbers: tuple[int, int, int] = db.execute(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master)"
        " FROM pragma_user_version, pragma_application_id"
    ).fetchone()
    version, application, tables = numbers
    if application != _APPLICATION and (application or version or tables):
        raise _unreadable(path)
    if version > len(schema.MIGRATIONS):
        message = f"the history {path} was written by a newer rtchat"
        raise HistoryError(message, hint="update rtchat")
    return version


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Whatever goes wrong with the file, in words."""
    try:
        yield
    except sqlite3.Error as error:
        raise _sqlite_failure(path, error) from error
    except OSError as error:
        name = _ERRNOS.get(error.errno or 0, "")
        raise _failure(path, name, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:  # what is no JSON, or no State
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
            message, hint = "cannot be written (the disk is full)", "make room on it"
        case "BUSY" | "LOCKED":
            message = f"the history {path} is locked by another program"
            return HistoryBusyError(message, hint="wait for it, or end it")
        case "READONLY" | "CANTOPEN" | "PERM":
            message, hint = f"cannot be written ({why})", "make it and its folder writable"
        case _:
            message, hint = f"cannot be used ({why})", "look at its folder and its disk"
    return HistoryError(f"the history {path} {message}", hint=hint)


def _unreadable(path: Path) -> HistoryError:
    message = f"the history {path} is damaged, or not one of rtchat's"
    return HistoryError(message, hint=f"move it away: {path}")
