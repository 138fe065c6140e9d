"""Conversations on disk: one SQLite file, which several programs can read and write at the same
time.

Each item is a row: its JSON in the format of the API, its state, model, usage and timing, and the
text that a search looks in. Once `record` returns, a row survives even if the program is killed.
Every failure is a `HistoryError`; a file that cannot be read is left unchanged.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtchat.core import turn_tree
from rtchat.core.errors import UsageError
from rtchat.core.suggestions import closest, did_you_mean
from rtchat.core.turn_tree import Head, parent_of
from rtchat.core.values import Entry, StoredConversation, value
from rtchat.history import schema
from rtchat.history.database import HistoryError, errors_translated, open_database
from rtchat.history.search import search
from rtchat.history.transcript import SPOKEN

FILE = "history.db"
"""The name of the file in the data folder."""
_RETRY_SECONDS = 5.0
"""Seconds without another attempt after a failure: a locked file must not delay every reply."""

_RECORD = f"""
    INSERT INTO item (conversation, turn, position, parent, {", ".join(schema.COLUMNS)})
    VALUES (?, ?, ?, ?{", ?" * len(schema.COLUMNS)})
    ON CONFLICT (conversation, turn, position)
    DO UPDATE SET parent = excluded.parent,
        {", ".join(f"{name} = excluded.{name}" for name in schema.COLUMNS)}
"""
_SUMMARY_COLUMNS = """conversation.id, coalesce(given_title, title), began, updated,
    conversation.model, turns, coalesce(name, ''),
    CASE WHEN given_title IS NULL THEN '' ELSE title END"""
_MAX_NAME = 60
"""Characters of a name."""


@value
class SearchHit:
    """A match of a search."""

    conversation: StoredConversation
    """Without its entries."""
    turn: int
    snippet: str
    """The matching words with some text around them, on one line."""
    marks: tuple[tuple[int, int], ...] = ()
    """The start and the end of each match in `snippet`."""


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
        self._name: str | None = None
        """The name of the current conversation, which is not in the file yet."""
        self._turns = {0: 0}
        """The turns that this program wrote or read, and their numbers in the file."""
        self._head = Head()
        self._has_moved = False
        """Whether the head is not in the file yet."""
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
            self._opened = open_database(self._path)
        return self._opened

    # --------------------------------------------------------------------------------- writing

    def begin(self) -> None:
        """Entries recorded from now on belong to a new conversation."""
        self._finish()
        self._id, self._name, self._turns = None, None, {0: 0}
        self._head = Head()

    def record(self, entry: Entry) -> None:
        """Save an entry; it replaces one with the same turn and index, and may become the last one
        of the current branch."""
        self._pending[entry.turn, entry.index] = entry
        self._has_moved |= self._head.add(entry)
        self._write()

    def move_to(self, turn: int) -> None:
        """Make this the last turn of the current branch, 0 for none; nothing is erased."""
        self._head.turn, self._has_moved = turn, True
        self._write()

    def fork(self, turn: int) -> None:
        """Copy the current branch up to this turn to a new conversation. Entries recorded from now
        on belong to it."""
        with suppress(HistoryError):
            self._write()
        old, turns = self._id, self._turns
        self.begin()
        if old is None:
            return
        with self._transaction():
            last = turns.get(turn, turn)
            path = turn_tree.path(self._parents(old), last)
            insert = """
                INSERT INTO conversation (title, began, updated, model, turns, head, forked_from)
                SELECT title, ?, ?, model, ?, ?, id FROM conversation WHERE id = ?"""
            values = (self._now(), self._now(), len(path), last, old)
            id_ = self._db.execute(insert, values).lastrowid
            columns = ", ".join(("turn", "position", "parent", *schema.COLUMNS))
            copy = f"""INSERT INTO item (conversation, {columns}) SELECT ?, {columns} FROM item
                WHERE conversation = ? AND turn = ?"""
            self._db.executemany(copy, ((id_, old, number) for number in (0, *path)))
            for entry in self._entries(old, path[:1])[:1]:
                update = "UPDATE conversation SET title = ? WHERE id = ?"
                self._db.execute(update, (schema.title(entry.item), id_))
        self._id = id_
        self._turns = {turn: number for turn, number in turns.items() if number in (0, *path)}
        self._head = Head(turn, max(self._turns))

    def name(self, name: str) -> None:
        """Name the current conversation. If it is not in the file yet, it gets the name when it is
        created.

        Raises:
            UsageError: the name is not valid, or another conversation has it.
        """
        name = _checked_name(name)
        if self._id is None:
            self._check_unused(name)
            self._name = name
        else:
            self.rename(self._id, name=name)

    def rename(self, id: int, *, name: str | None = None, title: str | None = None) -> None:
        """Change the name, the title, or both, of a conversation. An empty name removes the name,
        and an empty title restores the first one.

        Raises:
            UsageError: there is no such conversation, the name is not valid, or another
                conversation has it.
        """
        with self._transaction():
            self._row(id)
            if name is not None:
                name = _checked_name(name) if name else None
                self._check_unused(name, id)
                self._db.execute("UPDATE conversation SET name = ? WHERE id = ?", (name, id))
            if title is not None:
                title = schema.shortened_title(title) or None
                update = "UPDATE conversation SET given_title = ? WHERE id = ?"
                self._db.execute(update, (title, id))

    def _check_unused(self, name: str | None, id: int | None = None) -> None:
        query = "SELECT id FROM conversation WHERE name = ? AND id IS NOT ?"
        with errors_translated(self._path):
            row = self._db.execute(query, (name, id)).fetchone()
        if row is not None:
            message = f"conversation {row[0]} already has the name {name!r}"
            raise UsageError(message, hint="choose another name")

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
        with errors_translated(self._path):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _finish(self) -> None:
        """Try once more to write the pending entries of this conversation, then discard them."""
        self._failure = None
        try:
            self._write()
        except HistoryError as error:
            self._lost += len(self._pending)
            self.write_error = error
        self._pending, self._has_moved, self._failure = {}, False, None

    def _write(self) -> None:
        """Write all pending entries and the last turn of the branch, or nothing."""
        if not (self._pending or self._has_moved):
            return
        if self._id is None and not any(turn for turn, _ in self._pending):
            return
        if self._failure is not None and abs(self._now() - self._failed_at) < _RETRY_SECONDS:
            raise self._failure.with_traceback(None)
        turns: dict[int, int] = {}
        try:
            with self._transaction():
                id_ = self._touch()
                for entry in self._pending.values():
                    turn = self._turn(id_, entry.turn, turns)
                    parent = self._known(parent_of(entry), turns)
                    values = (id_, turn, entry.index, parent, *schema.row(entry))
                    self._db.execute(_RECORD, values)
                self._count(id_, len(turns))
                if self._has_moved:
                    update = "UPDATE conversation SET head = ? WHERE id = ?"
                    self._db.execute(update, (self._known(self._head.turn, turns), id_))
        except HistoryError as error:
            self._failure, self._failed_at = error, self._now()
            raise
        self._id, self._pending, self._has_moved, self._failure = id_, {}, False, None
        self._turns |= turns

    def _touch(self) -> int:
        """Update the row of the current conversation, or insert it. Returns its id."""
        now = self._now()
        if self._id is None:
            title = next(self._titles(), "(no question)")  # the conversation starts with /raw
            insert = """INSERT INTO conversation (title, began, updated, name) VALUES (?, ?, ?,
                (SELECT ? WHERE NOT EXISTS (SELECT 1 FROM conversation WHERE name = ?)))"""
            named = (self._name, self._name)  # another program may have taken the name meanwhile
            return self._db.execute(insert, (title, now, now, *named)).lastrowid or 0
        update = "UPDATE conversation SET updated = ? WHERE id = ?"
        if not self._db.execute(update, (now, self._id)).rowcount:
            message = f"conversation {self._id} was deleted from the history"
            raise HistoryError(message, hint="use /new to start another")
        if (title := next(self._titles(), SPOKEN)) != SPOKEN:  # the transcript arrived later
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
        known = self._known(turn, new)
        if known is not None:
            return known
        taken = "SELECT 1 FROM item WHERE conversation = ? AND turn = ?"
        last = "SELECT max(turn) FROM item WHERE conversation = ?"
        new[turn] = turn
        if self._db.execute(taken, (id_, turn)).fetchone():
            new[turn] = 1 + self._db.execute(last, (id_,)).fetchone()[0]
        return new[turn]

    def _known(self, turn: int | None, new: dict[int, int]) -> int | None:
        """The number of a turn in the file, if it has one."""
        return None if turn is None else self._turns.get(turn, new.get(turn))

    def _count(self, id_: int, turns: int) -> None:
        """Add the new turns and the model to the conversation's row."""
        model = next((entry.model for entry in reversed(self._pending.values()) if entry.model), "")
        update = """UPDATE conversation SET turns = turns + ?,
            model = CASE ? WHEN '' THEN model ELSE ? END WHERE id = ?"""
        model = schema.plain(model)
        self._db.execute(update, (turns, model, model, id_))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with errors_translated(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    self._db.execute("ROLLBACK")
                raise

    # --------------------------------------------------------------------------------- reading

    def recall(self, key: int | str | None = None) -> StoredConversation:
        """Read a conversation by its id or name, and resume it. Without either, the latest except
        the current one.

        Raises:
            UsageError: there is no such conversation.
        """
        conversation = self.find(key)
        self.resume(conversation)
        return conversation

    def find(self, key: int | str | None) -> StoredConversation:
        """A conversation by its id or name, with its entries. Without either, the latest except the
        current one.

        Raises:
            UsageError: there is no such conversation.
        """
        with suppress(HistoryError):
            self._write()
        return self.read(self._latest() if key is None else self.id_of(key))

    def id_of(self, key: int | str) -> int:
        """The id of a conversation from its id or name.

        Raises:
            UsageError: no conversation has this name. An id is not checked.
        """
        if isinstance(key, int):
            return key
        with errors_translated(self._path):
            rows = self._db.execute("SELECT name FROM conversation WHERE name NOT NULL").fetchall()
            query = "SELECT id FROM conversation WHERE name = ?"
            row = self._db.execute(query, (schema.plain(key),)).fetchone()
        if row is None:
            near = closest(key, (name for (name,) in rows))
            hint = did_you_mean([near and repr(near)], _LIST_HINT)
            raise UsageError(f"there is no conversation {key!r}", hint=hint)
        return int(row[0])

    def resume(self, conversation: StoredConversation) -> None:
        """Entries recorded from now on belong to this conversation."""
        self._finish()
        self._id, self._name = conversation.id, None
        self._turns = {0: 0} | {entry.turn: entry.turn for entry in conversation.entries}
        self._head = Head(conversation.head, conversation.newest)

    def read(self, id: int, *, all_branches: bool = False) -> StoredConversation:
        """A conversation with the entries of its current branch, or of all branches in the order of
        the turns.

        Raises:
            UsageError: there is no such conversation.
        """
        with errors_translated(self._path):
            row = self._row(id)
            parents = self._parents(id)
            select = "SELECT head, forked_from FROM conversation WHERE id = ?"
            head, forked_from = self._db.execute(select, (id,)).fetchone()
            turns = sorted(parents) if all_branches else turn_tree.path(parents, head)
            entries = self._entries(id, (0, *turns))
        newest = max(parents, default=0)
        return replace(
            _summary(row),
            entries=tuple(entries),
            newest=newest,
            head=newest if head is None else head,
            forked_from=forked_from,
        )

    def _entries(self, id_: int, turns: Iterable[int]) -> list[Entry]:
        columns = ", ".join(schema.COLUMNS[:-1])
        query = f"""SELECT parent, turn, position, {columns} FROM item
            WHERE conversation = ? AND turn = ? ORDER BY position"""
        return [
            _placed(schema.entry(item), parent)
            for turn in turns
            for parent, *item in self._db.execute(query, (id_, turn))
        ]

    def _parents(self, id_: int) -> dict[int, int | None]:
        """The parent of each turn of a conversation; None if the file does not have it."""
        query = """SELECT turn, max(parent) FROM item
            WHERE conversation = ? AND turn > 0 GROUP BY turn"""
        return dict(self._db.execute(query, (id_,)).fetchall())

    def conversations(self, limit: int | None = None) -> list[StoredConversation]:
        """The latest conversations, newest first, without their entries."""
        query = (
            f"SELECT {_SUMMARY_COLUMNS} FROM conversation ORDER BY updated DESC, id DESC LIMIT ?"
        )
        with errors_translated(self._path):
            found = self._db.execute(query, (-1 if limit is None else limit,)).fetchall()
        return [_summary(row) for row in found]

    def search(self, query: str, limit: int = 20) -> list[SearchHit]:
        """The items that match a query, as `history.search` describes it, newest first."""
        with errors_translated(self._path):
            found = search(self._db, query, f"item.turn, {_SUMMARY_COLUMNS}", limit)
        return [
            SearchHit(_summary(row), turn, snippet.text, snippet.marks)
            for (turn, *row), snippet in found
        ]

    def _latest(self) -> int:
        query = "SELECT id FROM conversation WHERE id IS NOT ? ORDER BY updated DESC, id DESC"
        with errors_translated(self._path):
            row = self._db.execute(query, (self._id,)).fetchone()
        if row is None:
            other = "" if self._id is None else "other "
            raise UsageError(f"there are no {other}saved conversations")
        return int(row[0])

    def _row(self, id_: int) -> Sequence[Any]:
        """The row of a conversation. Raises UsageError if it does not exist."""
        row: Sequence[Any] | None = None
        if 0 < id_ < 2**63:
            query = f"SELECT {_SUMMARY_COLUMNS} FROM conversation WHERE id = ?"
            row = self._db.execute(query, (id_,)).fetchone()
        if row is None:
            raise UsageError(f"there is no conversation {id_}", hint=_LIST_HINT)
        return row


def _placed(entry: Entry, parent: int | None) -> Entry:
    """An entry that was read, with its parent unless that is the turn numbered before."""
    return entry if parent is None or parent == entry.turn - 1 else replace(entry, parent=parent)


_LIST_HINT = "run `rtchat history list` to list the saved conversations"


def _summary(row: Sequence[Any]) -> StoredConversation:
    """The conversation of a row of `_SUMMARY_COLUMNS`, without its entries."""
    *values, name, first_words = row
    return StoredConversation(*values, name=name, first_words=first_words)


def _checked_name(name: str) -> str:
    """The name on one line.

    Raises:
        UsageError: it is empty, too long, or could be mistaken for an ID or an option.
    """
    name = " ".join(schema.plain(name).split())
    if not name or len(name) > _MAX_NAME:
        raise UsageError(
            f"a name must have 1 to {_MAX_NAME} characters", hint="choose another name"
        )
    if name.isdecimal() or name.startswith("-"):
        message = f"invalid name {name!r}"
        raise UsageError(message, hint="choose one that is not a number and does not begin with -")
    return name
