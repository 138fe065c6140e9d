"""The tables of the history, and the conversion of entries to rows and back.

A row has the item as JSON in the format of the API, so that every item can be stored, and the text
that a search looks in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, assert_never

from rtchat.core.text import compact_json, whole_characters
from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    Entry,
    Item,
    Message,
    OtherItem,
    Part,
    RemoteCall,
    State,
    ToolCall,
    ToolOutput,
    Usage,
)
from rtchat.history.transcript import SPOKEN
from rtchat.wire.fields import Fields, read_json
from rtchat.wire.items import read_item, write_item

MIGRATIONS = (
    (
        """CREATE TABLE conversation (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            title TEXT NOT NULL,
            began REAL NOT NULL,
            updated REAL NOT NULL,
            model TEXT NOT NULL DEFAULT '',
            turns INTEGER NOT NULL DEFAULT 0
        )""",
        "CREATE INDEX conversation_updated ON conversation (updated)",
        """CREATE TABLE item (
            id INTEGER PRIMARY KEY,
            conversation INTEGER NOT NULL REFERENCES conversation ON DELETE CASCADE,
            turn INTEGER NOT NULL,
            position INTEGER NOT NULL,
            state TEXT NOT NULL,
            model TEXT NOT NULL,
            reason TEXT NOT NULL,
            input INTEGER,
            cached INTEGER,
            output INTEGER,
            total INTEGER,
            first_token REAL,
            seconds REAL,
            json TEXT NOT NULL,
            text TEXT,
            UNIQUE (conversation, turn, position)
        )""",
        "CREATE VIEW searched AS SELECT id, text FROM item WHERE text IS NOT NULL",
        """CREATE VIRTUAL TABLE words USING fts5 (
            text, content = 'searched', content_rowid = 'id',
            tokenize = 'unicode61 remove_diacritics 2'
        )""",
        """CREATE TRIGGER item_inserted AFTER INSERT ON item WHEN new.text IS NOT NULL BEGIN
            INSERT INTO words (rowid, text) VALUES (new.id, new.text);
        END""",
        """CREATE TRIGGER item_deleted AFTER DELETE ON item WHEN old.text IS NOT NULL BEGIN
            INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text);
        END""",
        """CREATE TRIGGER item_updated AFTER UPDATE ON item WHEN old.text IS NOT new.text BEGIN
            INSERT INTO words (words, rowid, text)
                SELECT 'delete', old.id, old.text WHERE old.text IS NOT NULL;
            INSERT INTO words (rowid, text)
                SELECT new.id, new.text WHERE new.text IS NOT NULL;
        END""",
    ),
    ("ALTER TABLE item ADD COLUMN response_model TEXT NOT NULL DEFAULT ''",),
    ("ALTER TABLE item ADD COLUMN audio_seconds REAL",),
    (
        "ALTER TABLE conversation ADD COLUMN name TEXT COLLATE NOCASE",
        "CREATE UNIQUE INDEX conversation_name ON conversation (name)",
        "ALTER TABLE conversation ADD COLUMN given_title TEXT",
    ),
    (
        "ALTER TABLE item ADD COLUMN parent INTEGER",
        "ALTER TABLE conversation ADD COLUMN head INTEGER",
        "ALTER TABLE conversation ADD COLUMN forked_from INTEGER",
    ),
    ("ALTER TABLE item ADD COLUMN heard INTEGER",),
)
"""The statements that upgrade a file from each version to the next; a new file is version 0."""

COLUMNS = (
    *("state", "model", "reason", "input", "cached", "output", "total", "audio_seconds"),
    *("first_token", "seconds", "response_model", "heard", "json", "text"),
)
"""The columns of an item's row, in order; searches look in `text`."""
_MAX_TITLE = 80


def plain(text: str) -> str:
    """A text that SQLite can store: without lone surrogates, and NUL replaced by a space."""
    return whole_characters(text).replace("\0", " ")


def title(item: Item) -> str:
    """The first non-blank line of a question, preferring its last part to its attachments. It is
    `SPOKEN` for speech without a transcript."""
    last = item.parts[-1] if isinstance(item, Message) and item.parts else Part("text")
    lines = (plain(last.text) or _searchable_text(item)).split("\n")
    default = SPOKEN if last.kind == "audio" else ""
    return shortened_title(next((line for line in lines if line.strip()), default))


def shortened_title(text: str) -> str:
    """A text as a title: on one line, and not too long."""
    title = " ".join(plain(text).split())
    return title if len(title) <= _MAX_TITLE else title[: _MAX_TITLE - 1].rstrip() + "…"


def _searchable_text(item: Item) -> str:
    """The text of an item."""
    match item:
        case Message():
            return plain(item.text)
        case ToolCall() | Approval():
            return plain(f"{item.name} {item.arguments}")
        case ToolOutput():
            return plain(item.output)
        case RemoteCall():
            return plain(f"{item.name} {item.arguments} {item.output}")
        case ApprovalAnswer() | OtherItem():
            return ""
    assert_never(item)


def row(entry: Entry) -> tuple[object, ...]:
    """The values of `COLUMNS` for an entry. Searches skip unfinished text and instructions."""
    usage = entry.usage
    is_searched = entry.turn and entry.state is not State.STREAMING
    return (
        entry.state.value,
        whole_characters(entry.model),
        whole_characters(entry.reason),
        *((usage.input, usage.cached, usage.output, usage.total) if usage else (None,) * 4),
        usage and usage.seconds,
        entry.first_token,
        entry.seconds,
        whole_characters(entry.response_model),
        entry.item.heard if isinstance(entry.item, Message) else None,
        compact_json(write_item(entry.item)),
        _searchable_text(entry.item) if is_searched else None,
    )


def entry(row: tuple[Any, ...]) -> Entry:
    """The entry of a row: turn, position, and all of `COLUMNS` but the last.

    Raises:
        ValueError: the row does not contain an item.
    """
    turn, index, state, model, reason, *numbers, response_model, heard, json = row
    *counts, audio_seconds, first_token, seconds = numbers
    data = read_json(json)
    if not isinstance(data, dict):
        raise ValueError("not an item")  # noqa: TRY004 # like every other error in a row
    item = read_item(Fields(data, []))
    if isinstance(item, Message):
        item = replace(item, heard=heard)
    return Entry(
        turn,
        index,
        item,
        State(state),
        model,
        reason,
        None if None in counts else replace(Usage(*counts), seconds=audio_seconds or 0.0),
        first_token,
        seconds,
        response_model,
    )
