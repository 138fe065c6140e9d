"""The rows of the history: its tables, and entries as rows and back.

An item stands in its row as JSON in the shape of the API, so that none is too strange to be kept,
and as the words that a search finds.
"""

from __future__ import annotations

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
)
"""The statements that lead from each version of the file to the next; a new file is version 0."""

COLUMNS = (
    *("state", "model", "reason", "input", "cached", "output", "total"),
    *("first_token", "seconds", "json", "text"),
)
"""Of an item, in the order of its row; `text` are the words that are searched."""
_TITLE = 80


def plain(text: str) -> str:
    """A text as SQLite takes it: without halves of characters, and it stops at a NUL."""
    return whole_characters(text).replace("\0", " ")


def title(item: Item) -> str:
    """The first line of a question that has any words, rather than of what goes with it; of a
    spoken one, `SPOKEN` until they are known."""
    last = item.parts[-1] if isinstance(item, Message) and item.parts else Part("text")
    lines = (plain(last.text) or _words(item)).split("\n")
    wordless = SPOKEN if last.kind == "audio" else ""
    title = next((" ".join(line.split()) for line in lines if line.strip()), wordless)
    return title if len(title) <= _TITLE else title[: _TITLE - 1].rstrip() + "…"


def _words(item: Item) -> str:
    """What of an item is text."""
    match item:
        case Message():
            return plain(item.text)
        case ToolCall() | Approval():
            return plain(f"{item.name} {item.arguments}")
        case ToolOutput():
            return plain(item.output)
        case ApprovalAnswer() | OtherItem():
            return ""
    assert_never(item)


def row(entry: Entry) -> tuple[object, ...]:
    """An entry as `COLUMNS`. Words that may still change, and instructions, are not searched."""
    usage = entry.usage
    settled = entry.turn and entry.state is not State.STREAMING
    return (
        entry.state.value,
        whole_characters(entry.model),
        whole_characters(entry.reason),
        *((usage.input, usage.cached, usage.output, usage.total) if usage else (None,) * 4),
        entry.first_token,
        entry.seconds,
        compact_json(write_item(entry.item)),
        _words(entry.item) if settled else None,
    )


def entry(row: tuple[Any, ...]) -> Entry:
    """The entry of a row: its place, and `COLUMNS` but the last. ValueError if it is none."""
    turn, index, state, model, reason, *counts, first_token, seconds, json = row
    data = read_json(json)
    if not isinstance(data, dict):
        raise ValueError("not an item")  # noqa: TRY004 # as all that is wrong with a row
    return Entry(
        turn,
        index,
        read_item(Fields(data, [])),
        State(state),
        model,
        reason,
        None if None in counts else Usage(*counts),
        first_token,
        seconds,
    )
