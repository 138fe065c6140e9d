"""The history store, with real files and several processes."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from shutil import which

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core import turn_tree
from rtchat.core.errors import ExitCode, UsageError
from rtchat.core.log import SUMMARY_INDEX
from rtchat.core.values import (
    Entry,
    Item,
    Message,
    OtherItem,
    Part,
    State,
    StoredConversation,
    ToolCall,
    ToolOutput,
    Usage,
)
from rtchat.history import schema
from rtchat.history.database import HistoryBusyError, HistoryError
from rtchat.history.store import SearchHit, Store


def _question(turn: int, text: str, state: State = State.ASKED) -> Entry:
    return Entry(turn, 0, Message("user", (Part("text", text),)), state, "m1")


def _reply(turn: int, text: str, state: State = State.COMPLETED, index: int = 1) -> Entry:
    return Entry(turn, index, Message("assistant", (Part("text", text),)), state, "m1")


_INSTRUCTIONS = Entry(0, 0, Message("system", (Part("text", "Be brief."),)), State.COMPLETED)


class Clock:
    """A clock in Unix seconds that a test sets."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "history.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[Store]:
    with closing(Store(path, now=clock)) as store:
        yield store


def _error(path: Path) -> str:
    """The message of the error that opening the file raises."""
    with pytest.raises(HistoryError) as caught, closing(Store(path)) as store:
        store.conversations()
    assert caught.value.exit is ExitCode.OUTPUT
    return str(caught.value)


# --------------------------------------------------------------------------------- writing, reading


def test_recorded_entries_are_read_back(store: Store, clock: Clock, path: Path) -> None:
    reply = Entry(
        1,
        1,
        Message("assistant", (Part("audio", "Hello.", "UklGRg=="),), "i2", "completed", heard=2),
        State.COMPLETED,
        "m2",
        "",
        Usage(5, 1, 7, 12),
        0.25,
        1.5,
        "m2-2026",
    )
    entries = (_INSTRUCTIONS, _question(1, "Hi?"), reply, _question(2, "And?", State.QUEUED))
    for entry in entries:
        clock.now += 1
        store.record(entry)
    kept = StoredConversation(1, "Hi?", 1002.0, 1004.0, "m1", 2, entries)
    assert store.read(1) == kept
    assert store.id == 1
    with closing(Store(path)) as other:
        assert other.read(1) == kept


def test_an_entry_replaces_one_with_the_same_turn_and_index(store: Store) -> None:
    store.record(_question(1, "Hi?"))
    store.record(_reply(1, "He", State.STREAMING))
    store.record(_reply(1, "Hello.", State.CANCELLED))
    store.record(_question(1, "Hi?", State.CANCELLED))
    entries = (_question(1, "Hi?", State.CANCELLED), _reply(1, "Hello.", State.CANCELLED))
    assert store.read(1).entries == entries
    assert store.read(1).turns == 1


def test_instructions_alone_do_not_create_a_conversation(store: Store) -> None:
    store.record(_INSTRUCTIONS)
    assert store.id is None
    assert store.conversations() == []
    store.record(_question(1, "Hi?"))
    assert store.read(1).entries == (_INSTRUCTIONS, _question(1, "Hi?"))


def test_an_unused_conversation_is_not_stored(path: Path) -> None:
    with closing(Store(path)) as store:
        store.begin()
        store.record(_INSTRUCTIONS)
        store.begin()
    with closing(Store(path)) as store:
        assert store.conversations() == []


def test_begin_starts_a_new_conversation(store: Store) -> None:
    store.record(_question(1, "one"))
    store.begin()
    assert store.id is None
    store.record(_question(1, "two"))
    assert [(kept.id, kept.title) for kept in store.conversations()] == [(2, "two"), (1, "one")]
    assert [(kept.id, kept.entries) for kept in store.conversations(1)] == [(2, ())]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hi?", "Hi?"),
        ("\n \n  a \t b \r\nc", "a b"),
        ("", ""),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        ("a\0b \ud800", "a b �"),
    ],
)
def test_the_title_is_the_first_line_of_the_first_question(
    store: Store, text: str, title: str
) -> None:
    store.record(_question(1, text))
    store.record(_question(2, "another"))
    assert store.read(1).title == title


def test_a_resumed_conversation_continues_where_it_ended(store: Store, clock: Clock) -> None:
    for title in ("one", "two", "three"):
        store.begin()
        clock.now += 1
        store.record(_question(1, title))
    kept = store.recall(1)
    assert (kept.id, kept.entries) == (1, (_question(1, "one"),))
    clock.now += 1
    store.record(_question(1, "one", State.COMPLETED))
    store.record(_question(2, "more"))
    entries = (_question(1, "one", State.COMPLETED), _question(2, "more"))
    assert store.read(1) == StoredConversation(1, "one", 1001.0, 1004.0, "m1", 2, entries)
    assert [kept.id for kept in store.conversations()] == [1, 3, 2]


def test_the_latest_conversation_excludes_the_current_one(store: Store, clock: Clock) -> None:
    with pytest.raises(UsageError, match="there are no saved conversations"):
        store.recall(None)
    store.record(_question(1, "one"))
    with pytest.raises(UsageError, match="there are no other saved conversations"):
        store.recall(None)
    store.begin()
    clock.now += 1
    store.record(_question(1, "two"))
    assert store.recall(None).title == "one"
    assert store.recall(None).title == "two"


def test_reading_a_conversation_does_not_make_it_the_latest(path: Path, clock: Clock) -> None:
    with closing(Store(path, now=clock)) as store:
        store.record(_question(1, "one"))
    clock.now += 1
    with closing(Store(path, now=clock)) as store:
        store.recall(1)
    with closing(Store(path)) as store:
        assert store.conversations()[0].updated == 1000.0


@pytest.mark.parametrize("number", [0, -1, 7, 2**63, 10**30])
def test_a_conversation_that_does_not_exist(store: Store, number: int) -> None:
    with pytest.raises(UsageError) as caught:
        store.read(number)
    assert str(number) in caught.value.message
    assert "rtchat history list" in caught.value.hint
    with pytest.raises(UsageError):
        store.recall(number)
    with pytest.raises(UsageError):
        store.delete(number)


# ------------------------------------------------------------------------------- random entries

_texts = st.text(max_size=30)
_numbers = st.integers(0, 2**60)
_parts = st.one_of(
    st.builds(Part, st.just("text"), _texts),
    st.builds(Part, st.just("audio"), _texts, _texts),
    st.builds(Part, st.just("image"), st.just(""), _texts),
)
_roles = st.sampled_from(("user", "assistant", "system"))
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)


def _other(kind: str, id_: str, fields: dict[str, object]) -> OtherItem:
    named = {**fields, "type": kind, **({"id": id_} if id_ else {"id": None})}
    return OtherItem(kind, id_, named)


_items: st.SearchStrategy[Item] = st.one_of(
    st.builds(Message, _roles, st.lists(_parts, max_size=3).map(tuple), _texts, _texts),
    st.builds(ToolCall, _texts, _texts, _texts, _texts, _texts),
    st.builds(ToolOutput, _texts, _texts, _texts),
    st.builds(_other, _texts.map("x{}".format), _texts, st.dictionaries(_texts, _json, max_size=3)),
)
_seconds = st.none() | st.floats(0, 1e9)
_entries = st.builds(
    Entry,
    st.integers(1, 2**40),
    st.integers(0, 2**40),
    _items,
    st.sampled_from(State),
    _texts,
    _texts,
    st.none() | st.builds(Usage, _numbers, _numbers, _numbers, _numbers),
    _seconds,
    _seconds,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with closing(Store(tmp_path_factory.mktemp("shared") / "history.db")) as store:
        yield store


@given(st.lists(_entries, min_size=1, max_size=5, unique_by=lambda e: (e.turn, e.index)))
def test_any_recorded_entries_are_read_back(shared: Store, entries: list[Entry]) -> None:
    shared.begin()
    for entry in entries:
        shared.record(entry)
    assert shared.id is not None
    ordered = tuple(sorted(entries, key=lambda entry: (entry.turn, entry.index)))
    kept = shared.read(shared.id, all_branches=True)
    assert kept.entries == ordered
    assert kept.turns == len({entry.turn for entry in entries})


def test_lone_surrogates_and_nul_are_stored(store: Store) -> None:
    half = Entry(1, 0, Message("user", (Part("text", "a\ud800\0b"),)), State.FAILED, "\ud800", "\0")
    store.record(half)
    whole = Entry(1, 0, Message("user", (Part("text", "a�\0b"),)), State.FAILED, "�", "\0")
    assert store.read(1).entries == (whole,)
    assert [hit.snippet for hit in store.search("b\ud800 \0 a")] == ["a� b"]


# -------------------------------------------------------------------------------------- searching


def _found(store: Store, words: str) -> list[tuple[int, int]]:
    return [(hit.conversation.id, hit.turn) for hit in store.search(words)]


@pytest.fixture
def filled(store: Store) -> Store:
    store.record(_INSTRUCTIONS)
    store.record(_question(1, 'What is a "WebSocket", in C++?'))
    store.record(_reply(1, "A café on one TCP connection."))
    store.record(_question(2, "Half a"))
    store.record(_reply(2, "zebra", State.STREAMING))
    store.begin()
    store.record(_question(1, "Привет, tool"))
    call = ToolCall("weather", "c1", '{"town": "Oslo"}')
    store.record(Entry(1, 1, call, State.COMPLETED))
    store.record(Entry(1, 2, ToolOutput("c1", "snow NOT rain"), State.COMPLETED))
    store.record(Entry(1, 3, Message("user", (Part("audio", "aloud", "QUJD"),)), State.COMPLETED))
    return store


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("websocket", [(1, 1)]),
        ("WEBSOCK", [(1, 1)]),
        ("socket", [(1, 1)]),
        ("sock*", []),
        ("web*", [(1, 1)]),
        ('"tcp connection"', [(1, 1)]),
        ('"connection tcp"', []),
        ('"tcp conn"', []),
        ('"tcp conn"*', [(1, 1)]),
        ('one "tcp connection" caf*', [(1, 1)]),
        ("afe", [(1, 1)]),
        ("ne", []),
        ("ривет", [(2, 1)]),
        ("cafe connection", [(1, 1)]),
        ("one two", []),
        ("c++", [(1, 1), (1, 1)]),
        ('"what', [(1, 1)]),
        ("what OR zebra", []),
        ("snow NOT rain", [(2, 1)]),
        ("oslo", [(2, 1)]),
        ("weather", [(2, 1)]),
        ("aloud", [(2, 1)]),
        ("qujd", []),
        ("привет", [(2, 1)]),
        ("brief", []),
        ("zebra", []),
        ("a", [(2, 1), (1, 2), (1, 1), (1, 1)]),
        ("", []),
        ("++ \" ' * ( ) : ^ -", []),
        ("what -- ?", [(1, 1)]),
        ("text:what", []),
    ],
)
def test_a_search_finds_items_with_all_words(
    filled: Store, words: str, found: list[tuple[int, int]]
) -> None:
    assert _found(filled, words) == found


def test_a_match_has_its_conversation_turn_and_snippet(store: Store) -> None:
    store.record(_question(1, "one " * 50 + "\n\nneedle " + "two " * 50))
    snippet = "…" + "one " * 7 + "needle" + " two" * 8 + "…"
    assert store.search("needle") == [SearchHit(store.conversations()[0], 1, snippet, ((29, 35),))]


@pytest.mark.parametrize(
    ("query", "marked"),
    [
        ("ocket", ["Socket", "WebSockets", "socket", "websockets"]),
        ("web*", ["WebSockets", "websockets"]),
        ('"of websockets"', ["of WebSockets"]),
        ("café", ["Cafe"]),
        ("天气", ["今天天气很好"]),
    ],
)
def test_the_matches_in_a_snippet_are_marked(store: Store, query: str, marked: list[str]) -> None:
    text = "Socket: a list of WebSockets, my_socket and websockets. Cafe 今天天气很好"
    store.record(_question(1, text))
    (hit,) = store.search(query)
    parts = [hit.snippet[start:end] for start, end in hit.marks]
    assert parts == marked


def test_a_text_with_the_characters_of_marks_is_found(store: Store) -> None:
    store.record(_question(1, "\ufdd1 an \ufdd0 odd\ufdd1 text\ufdd0"))
    (hit,) = store.search("odd")
    assert hit.snippet == " an  odd text"


def test_matches_inside_words_come_last(store: Store) -> None:
    for turn, text in enumerate(("a socket", "WebSockets", "sockets", "my websocket"), start=1):
        store.record(_question(turn, text))
    assert [hit.turn for hit in store.search("socket")] == [3, 1, 4, 2]
    assert [hit.turn for hit in store.search("socket", 3)] == [3, 1, 4]
    assert [hit.turn for hit in store.search("socket my")] == [4]


def test_a_search_for_many_words_ends(store: Store) -> None:
    words = [f"word{number}x" for number in range(3000)]
    for turn in range(1, 4):
        store.record(_question(turn, " ".join(words)))
    assert len(store.search("wor " * 5000)) == 3
    assert len(store.search(" ".join(words))) == 3
    assert store.search('"' + "word " * 5000 + '"') == []
    assert len(store.search("ord")) == 3


def test_the_newest_matches_come_first_up_to_the_limit(store: Store) -> None:
    for turn in range(1, 6):
        store.record(_question(turn, "same"))
    assert [hit.turn for hit in store.search("same", 3)] == [5, 4, 3]


def test_a_search_finds_the_replacement_of_an_entry(store: Store) -> None:
    store.record(_reply(1, "first", State.INCOMPLETE))
    store.record(_reply(1, "first again", State.INCOMPLETE))
    store.record(_reply(1, "second"))
    assert _found(store, "first") == []
    assert _found(store, "again") == []
    assert _found(store, "second") == [(1, 1)]


@given(st.text())
def test_any_text_can_be_searched_for(shared: Store, words: str) -> None:
    shared.search(words)
    shared.begin()
    shared.record(_question(1, words))
    plain = words.replace('"', " ").split()
    if words.isascii() and words.isalnum():
        assert shared.id in {hit.conversation.id for hit in shared.search(plain[0], 10**6)}


# ------------------------------------------------------------------------------ names and titles


def _names(store: Store) -> list[tuple[str, str, str]]:
    kept = sorted(store.conversations(), key=lambda each: each.id)
    return [(each.name, each.title, each.first_words) for each in kept]


def test_a_conversation_has_a_name_and_a_title(store: Store, path: Path) -> None:
    store.record(_question(1, "one"))
    store.name("  my \n talk")
    assert _names(store) == [("my talk", "one", "")]
    with closing(Store(path)) as other:
        assert other.recall("My Talk").entries == (_question(1, "one"),)
        other.rename(1, title="A  new title ")
        assert _names(other) == [("my talk", "A new title", "one")]
        other.rename(1, name="", title="x" * 100)
        assert _names(other) == [("", "x" * 79 + "…", "one")]
        other.rename(1, title="")
    assert _names(store) == [("", "one", "")]
    assert store.read(1).updated == 1000.0


def test_a_name_is_kept_for_a_conversation_that_is_not_in_the_file(store: Store) -> None:
    store.name("first")
    store.name("second")
    assert store.conversations() == []
    store.record(_question(1, "one"))
    assert _names(store) == [("second", "one", "")]
    store.begin()
    store.name("third")
    store.begin()
    store.record(_question(1, "two"))
    assert [name for name, _, _ in _names(store)] == ["second", ""]


def test_a_name_is_unique(store: Store, path: Path) -> None:
    store.record(_question(1, "one"))
    store.name("mine")
    store.name("Mine")
    store.begin()
    for name in ("mine", "MINE", " mine "):
        with pytest.raises(UsageError, match="conversation 1 already has the name"):
            store.name(name)
    store.name("other")
    with closing(Store(path)) as another:
        another.record(_question(1, "two"))
        another.name("other")
        with pytest.raises(UsageError, match="conversation 1 already"):
            another.rename(2, name="mine")
    store.record(_question(1, "three"))
    assert [name for name, _, _ in _names(store)] == ["Mine", "other", ""]


@pytest.mark.parametrize("name", ["", "  ", "12", "٣", "-x", "--resume", "x" * 61, "\0"])
def test_a_name_that_is_not_valid(store: Store, name: str) -> None:
    store.record(_question(1, "one"))
    with pytest.raises(UsageError):
        store.name(name)
    assert _names(store) == [("", "one", "")]


@pytest.mark.parametrize("name", ["x", "two words", "naïve ☕", "1.5", "%", "' OR 1", "\ud800"])
def test_any_other_name_is_found(store: Store, name: str) -> None:
    store.record(_question(1, "one"))
    store.name(name)
    assert store.find(name).id == 1


def test_an_unknown_name_gets_a_suggestion(store: Store) -> None:
    store.record(_question(1, "one"))
    store.name("websockets")
    with pytest.raises(UsageError, match="there is no conversation 'webockets'") as caught:
        store.find("webockets")
    assert "'websockets'" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        store.find("elephant")
    assert "rtchat history list" in caught.value.hint


def test_a_file_without_names_is_upgraded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = schema.MIGRATIONS
    before = next(n for n, steps in enumerate(newest) if any("name" in step for step in steps[:1]))
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        for statement in (statement for steps in newest[:before] for statement in steps):
            db.execute(statement)
        db.execute("PRAGMA application_id = 0x72746368")
        db.execute(f"PRAGMA user_version = {before}")
        db.execute("INSERT INTO conversation (title, began, updated) VALUES ('WebSockets', 1, 2)")
        db.execute(
            "INSERT INTO item (conversation, turn, position, state, model, reason, json, text)"
            " VALUES (1, 1, 0, 'completed', 'm', '', ?, 'About WebSockets')",
            ('{"type": "message", "role": "user", "content": []}',),
        )
        db.commit()
    with closing(Store(path)) as store:
        assert _found(store, "socket") == [(1, 1)]
        store.rename(1, name="old")
        assert store.find("old").title == "WebSockets"


# --------------------------------------------------------------------------------------- deleting


def _bytes(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_deleted_text_is_removed_from_the_file(store: Store, path: Path) -> None:
    rng = random.Random(4)
    doomed: list[str] = []
    for number in range(1, 21):
        store.begin()
        for turn in range(1, 11):
            words = ["".join(rng.choices("bcdfghjk", k=10)) for _ in range(rng.choice((3, 300)))]
            store.record(_question(turn, " ".join(words)))
            store.record(_reply(turn, " ".join(words[:50]), State.STREAMING))
            store.record(_reply(turn, " ".join(words)))
            doomed += words if number % 2 else []
    before = store.read(2)
    assert doomed[0].encode() in _bytes(path)
    store.delete(*range(1, 21, 2))
    left = _bytes(path)
    runs = re.findall(rb"[bcdfghjk]{10,}", left)
    there = {run[at : at + 10] for run in runs for at in range(len(run) - 9)}
    assert [word for word in doomed if word.encode() in there] == []
    assert [word for word in doomed[::100] if store.search(word)] == []
    assert [kept.id for kept in store.conversations()] == list(range(20, 0, -2))
    assert store.read(2) == before


def test_nothing_is_deleted_if_one_does_not_exist(store: Store) -> None:
    store.record(_question(1, "one"))
    with pytest.raises(UsageError, match="there is no conversation 5"):
        store.delete(1, 5)
    assert store.read(1).entries == (_question(1, "one"),)


def test_an_id_is_not_used_twice(store: Store) -> None:
    store.record(_question(1, "one"))
    store.delete(1)
    store.begin()
    store.record(_question(1, "two"))
    assert store.id == 2


def test_a_conversation_deleted_meanwhile_is_not_written_again(store: Store, path: Path) -> None:
    store.record(_question(1, "one"))
    with closing(Store(path)) as other:
        other.delete(1)
    with pytest.raises(HistoryError, match="conversation 1 was deleted from the history"):
        store.record(_reply(1, "two"))
    assert store.conversations() == []
    store.begin()
    store.record(_question(1, "three"))
    assert [kept.title for kept in store.conversations()] == ["three"]


# ---------------------------------------------------------------------------------------- the file


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_the_file(path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(Store(path)) as store:
            store.record(_question(1, "secret"))
            files = {file.name: _mode(file) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert files == dict.fromkeys(("history.db", "history.db-shm", "history.db-wal"), 0o600)
    assert _mode(path.parent) == 0o700


def test_an_existing_folder_keeps_its_mode(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o750)
    with closing(Store(path)) as store:
        store.conversations()
    assert _mode(path.parent) == 0o750
    assert _mode(path) == 0o600


def test_an_empty_file_is_initialized(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with closing(Store(path)) as store:
        store.record(_question(1, "Hi?"))
    with closing(Store(path)) as store:
        assert store.read(1).entries == (_question(1, "Hi?"),)


def _sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def _check_unchanged(path: Path, *words: str) -> None:
    """Check that opening the file fails with these words and does not change it."""
    before = path.read_bytes()
    _check_words(_error(path), str(path), *words)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def _check_words(message: str, *words: str) -> None:
    assert [word for word in words if word not in message] == []


def test_a_file_of_a_newer_version_is_left_unchanged(path: Path) -> None:
    with closing(Store(path)) as store:
        store.conversations()
    _sql(path, "PRAGMA user_version = 99", "PRAGMA journal_mode = DELETE")
    _check_unchanged(path, "newer version")


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE notes (text)", "PRAGMA user_version = 1", "PRAGMA application_id = 5"],
)
def test_another_programs_database_is_left_unchanged(path: Path, statement: str) -> None:
    path.parent.mkdir()
    _sql(path, statement)
    _check_unchanged(path, "is damaged or is not an rtchat history")


@pytest.mark.parametrize(
    "content", [b"x", b"no database, but text " * 300, b"SQLite format 3\0" * 9]
)
def test_a_file_that_is_not_a_database_is_left_unchanged(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    _check_unchanged(path, "is damaged or is not an rtchat history")


def test_a_damaged_file_is_reported(path: Path) -> None:
    with closing(Store(path)) as store:
        for turn in range(1, 200):
            store.record(_question(turn, f"question {turn} " * 20))
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(HistoryError) as caught, closing(Store(path)) as store:
        store.read(1)
    _check_words(str(caught.value), str(path), "is damaged")


@pytest.mark.parametrize("assignment", ["json = '[1]'", "json = 'x'", "state = 'odd'"])
def test_an_unreadable_row_is_reported_as_damage(path: Path, assignment: str) -> None:
    with closing(Store(path)) as store:
        store.record(_question(1, "Hi?"))
    _sql(path, f"UPDATE item SET {assignment}")
    with closing(Store(path)) as store, pytest.raises(HistoryError) as caught:
        store.read(1)
    _check_words(str(caught.value), str(path), "is damaged")


def test_an_older_file_is_upgraded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Store(path)) as store:
        store.record(_question(1, "Hi?"))
        kept = store.read(1)
    first = schema.MIGRATIONS
    monkeypatch.setattr(schema, "MIGRATIONS", (*first, ("CREATE TABLE more (x)", "nonsense")))
    assert "syntax error" in _error(path)  # unchanged
    monkeypatch.setattr(schema, "MIGRATIONS", (*first, ("CREATE TABLE more (x)",)))
    for _ in range(2):
        with closing(Store(path)) as store:
            assert store.read(1) == kept
    monkeypatch.setattr(schema, "MIGRATIONS", first)
    assert "newer version" in _error(path)


# ---------------------------------------------------------------------------------- write failures


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    path = tmp_path / "data" / "history.db"
    _check_words(_error(path), str(path), "File exists")
    _check_words(_error(path / "deeper"), str(path / "deeper"))
    (tmp_path / "folder").mkdir()
    assert "unable to open database file" in _error(tmp_path / "folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    path = tmp_path / "data" / "history.db"
    _check_words(_error(path), str(path), "cannot be written", "Permission denied")


def test_a_locked_file_is_retried_only_after_a_pause(
    store: Store, path: Path, clock: Clock
) -> None:
    store.record(_question(1, "one"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(HistoryError) as caught:
            store.record(_reply(1, "two"))
        other.execute("ROLLBACK")
    assert isinstance(caught.value, HistoryBusyError)
    assert str(path) in caught.value.message
    clock.now += 4
    with pytest.raises(HistoryBusyError):
        store.record(_question(2, "three"))
    clock.now += 2
    store.record(_reply(2, "four"))
    entries = (_question(1, "one"), _reply(1, "two"), _question(2, "three"), _reply(2, "four"))
    assert store.read(1).entries == entries


def test_a_file_open_in_another_journal_mode_is_waited_for(path: Path) -> None:
    with closing(Store(path)) as store:
        store.record(_question(1, "one"))
    _sql(path, "PRAGMA journal_mode = DELETE")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM item").fetchone()
        assert "is locked by another program" in _error(path)
        other.execute("ROLLBACK")
        with closing(Store(path)) as store:
            assert store.read(1).entries == (_question(1, "one"),)


def test_pending_entries_are_written_on_close(path: Path, clock: Clock) -> None:
    with closing(Store(path, now=clock)) as store:
        assert store.conversations() == []
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(HistoryError):
                store.record(_question(1, "one"))
        assert store.id is None
    with closing(Store(path)) as store:
        assert store.read(1).entries == (_question(1, "one"),)


def test_entries_recorded_before_the_file_opens_are_written(path: Path, clock: Clock) -> None:
    path.parent.write_text("in the way")
    with closing(Store(path, now=clock)) as store:
        for entry in (_INSTRUCTIONS, _question(1, "one")):
            with suppress(HistoryError):
                store.record(entry)
        with pytest.raises(HistoryError, match="File exists"):
            store.record(_reply(1, "two"))
        path.parent.unlink()
        clock.now += 10
        store.record(_question(2, "three"))
        entries = (_INSTRUCTIONS, _question(1, "one"), _reply(1, "two"), _question(2, "three"))
        assert store.read(1).entries == entries


def test_an_unused_store_creates_no_file(path: Path) -> None:
    with closing(Store(path)) as store:
        store.begin()
        store.record(_INSTRUCTIONS)
    assert not path.parent.exists()


def test_a_closed_store_raises(path: Path) -> None:
    store = Store(path)
    store.conversations()
    store.close()
    store.close()
    with pytest.raises(HistoryError):
        store.record(_question(1, "Hi?"))


def _start(
    script: str, *arguments: str | Path, before: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start another process with the names of this module."""
    code = (
        f"from tests.test_store import *\nfrom tests.test_store import _question, _reply\n{script}"
    )
    return subprocess.Popen(
        [*before, sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


_LIMITED = """
import resource
clock = Clock()
with closing(Store(Path(sys.argv[1]), now=clock)) as store:
    store.record(_question(1, "one"))
    size = max(file.stat().st_size for file in Path(sys.argv[1]).parent.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, resource.RLIM_INFINITY))
    for turn in range(2, 6):
        clock.now += 10
        try:
            store.record(_question(turn, f"{turn} " * 5000))
        except HistoryError as error:
            print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    clock.now += 10
    store.record(_question(6, "six"))
    print([entry.turn for entry in store.read(1).entries])
"""


def test_entries_are_not_lost_during_a_write_failure(path: Path) -> None:
    with _start(_LIMITED, path) as process:
        lines = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 0
    assert lines[4:] == ["[1, 2, 3, 4, 5, 6]"]
    for line in lines[:4]:
        _check_words(line, str(path), "disk I/O error")


_FULL = """
clock = Clock()
path = Path(sys.argv[1])
with closing(Store(path, now=clock)) as store:
    store.record(_question(1, "one"))
    ballast = path.parent / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    try:
        store.record(_question(2, "two " * 5000))
    except HistoryError as error:
        print(error)
    print([entry.turn for entry in store.read(1).entries])
    ballast.unlink()
    clock.now += 10
    store.record(_question(3, "three"))
    print([entry.turn for entry in store.read(1).entries])
ballast.write_bytes(b"")
with suppress(OSError), ballast.open("wb", buffering=0) as file:
    while file.write(bytes(512)):
        pass
try:
    Store(path.parent / "another.db").conversations()
except HistoryError as error:
    print(error)
"""


def test_a_disk_that_is_full_temporarily(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=512k tmpfs {tmp_path}"
    alone = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if which("unshare") is None or subprocess.run([*alone, mount], capture_output=True).returncode:
        pytest.skip("no disk of a few pages can be had here")
    path = tmp_path / "history.db"
    with _start(_FULL, path, before=[*alone, f'{mount} && exec "$@"', "sh"]) as process:
        lines = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 0
    assert lines[1:3] == ["[1]", "[1, 2, 3]"]
    _check_words(lines[0], str(path), "cannot be written", "the disk is full")
    _check_words(lines[3], str(path.with_name("another.db")), "the disk is full")
    assert len(lines) == 4


# ------------------------------------------------------------------------------- several processes

_OWN = """
sys.stdin.readline()
for number in range(3):
    with closing(Store(Path(sys.argv[1]))) as store:
        for turn in range(1, 11):
            store.record(_question(turn, f"{sys.argv[2]} {number} {turn}"))
"""


def test_several_programs_save_their_own_conversations(path: Path) -> None:
    processes = [_start(_OWN, path, name) for name in "abcd"]
    for process in processes:  # the file does not exist yet: all of them create it at once
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        with process:
            process.communicate(timeout=60)
        assert process.returncode == 0
    with closing(Store(path)) as store:
        found = [store.read(kept.id) for kept in store.conversations()]
    titles = sorted(kept.title for kept in found)
    assert titles == sorted(f"{name} {number} 1" for name in "abcd" for number in range(3))
    for kept in found:
        name, number, _ = kept.title.split()
        assert kept.entries == tuple(
            _question(turn, f"{name} {number} {turn}") for turn in range(1, 11)
        )


_SAME = """
with closing(Store(Path(sys.argv[1]))) as store:
    kept = store.recall(None)
    print(kept.turns, flush=True)
    sys.stdin.readline()
    for turn in range(kept.turns + 1, kept.turns + 21):
        store.record(_question(turn, f"{sys.argv[2]} {turn}"))
        store.record(_reply(turn, "…", State.STREAMING))
        store.record(_reply(turn, f"to {sys.argv[2]} {turn}"))
"""


def test_two_programs_can_resume_the_same_conversation(path: Path) -> None:
    with closing(Store(path)) as store:
        store.record(_question(1, "first"))
    processes = [_start(_SAME, path, name) for name in "ab"]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
    for process in processes:
        with process:
            process.communicate("\n", timeout=60)
        assert process.returncode == 0
    with closing(Store(path)) as store:
        kept, current = store.read(1, all_branches=True), store.read(1)
    texts = [entry.item.text for entry in kept.entries if isinstance(entry.item, Message)]
    assert kept.turns == 41
    assert [entry.turn for entry in kept.entries] == [1] + [t for t in range(2, 42) for _ in "qr"]
    assert texts[2::2] == [f"to {text}" for text in texts[1::2]]
    for name in "ab":
        own = [text for text in texts[1::2] if text.startswith(name)]
        assert own == [f"{name} {turn}" for turn in range(2, 22)]
    assert len({entry.turn for entry in current.entries}) == 21  # the branch of one of them
    followed = [entry.item.text for entry in current.entries if isinstance(entry.item, Message)]
    assert len({text[0] for text in followed[1::2]}) == 1


_TALKING = """
with closing(Store(Path(sys.argv[1]))) as store:
    for turn in range(1, 10**6):
        store.record(_question(turn, f"question {turn} " * 20))
        print(store.id, turn, 0, flush=True)
        for length in (50, 500):
            store.record(_reply(turn, "reply " * length, State.STREAMING))
        store.record(_reply(turn, f"reply {turn} " * 20))
        print(store.id, turn, 1, flush=True)
"""


@pytest.mark.parametrize("kills", [8, pytest.param(30, marks=pytest.mark.full)])
def test_recorded_entries_survive_kill_9(path: Path, kills: int) -> None:
    rng = random.Random(9)
    for _ in range(kills):
        with _start(_TALKING, path) as process:
            assert process.stdout is not None
            for _ in range(rng.randrange(1, 200)):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            said = process.stdout.read()
        *_, last = ["", *said.split("\n")[:-1]]  # the last line may be cut off
        with closing(Store(path)) as store:
            kept = store.recall(None)
        if not last:
            continue
        number, turn, index = map(int, last.split())
        assert kept.id == number
        texts = {
            (entry.turn, entry.index): entry.item.text
            for entry in kept.entries
            if isinstance(entry.item, Message)
        }
        for place in range(1, turn + 1):
            assert texts[place, 0] == f"question {place} " * 20
            if place < turn or index:
                assert texts[place, 1] == f"reply {place} " * 20
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")


def test_an_item_is_stored_in_the_format_of_the_api(store: Store, path: Path) -> None:
    store.record(_question(1, "Hi?"))
    with closing(sqlite3.connect(path)) as db:
        (text,) = db.execute("SELECT json FROM item").fetchone()
    content = [{"type": "input_text", "text": "Hi?"}]
    assert json.loads(text) == {"type": "message", "role": "user", "content": content}


# --------------------------------------------------------------------------------------- branches


def _branch(conversation: StoredConversation) -> list[int]:
    return list(dict.fromkeys(entry.turn for entry in conversation.entries))


def test_the_current_branch_is_read_and_all_branches_are_kept(store: Store) -> None:
    for turn in (1, 2):
        store.record(_question(turn, f"question {turn}"))
    store.record(replace(_question(3, "another"), parent=1))
    assert _branch(store.read(1)) == [1, 3]
    assert store.read(1).head == 3
    assert store.read(1).newest == 3
    assert _branch(store.read(1, all_branches=True)) == [1, 2, 3]
    assert [hit.turn for hit in store.search("question 2")] == [2]
    store.move_to(2)
    assert _branch(store.read(1)) == [1, 2]
    store.move_to(0)
    assert _branch(store.read(1)) == []
    store.record(replace(_question(4, "anew"), parent=0))
    assert _branch(store.read(1)) == [4]


def test_a_resumed_conversation_continues_its_branch(path: Path) -> None:
    with closing(Store(path)) as store:
        store.record(_question(1, "one"))
        store.record(_question(2, "two"))
        store.move_to(1)
    with closing(Store(path)) as store:
        assert store.recall().newest == 2
        store.record(replace(_question(3, "three"), parent=1))
        assert _branch(store.read(1)) == [1, 3]


def test_a_waiting_question_stays_in_the_branch_of_the_one_being_asked(store: Store) -> None:
    queued = [replace(_question(turn, "q"), state=State.QUEUED) for turn in (2, 3)]
    for entry in (_question(1, "one"), *queued):
        store.record(entry)
    store.record(replace(queued[0], state=State.ASKED))
    assert _branch(store.read(1)) == [1, 2, 3]
    store.record(replace(queued[0], state=State.ASKED, parent=3))  # it was overtaken by speech
    store.record(replace(queued[1], parent=1))
    store.move_to(2)
    assert _branch(store.read(1)) == [1, 3, 2]


def test_the_branch_of_an_older_file_has_all_turns(path: Path) -> None:
    with closing(Store(path)) as store:
        for turn in (1, 2, 5):
            store.record(_question(turn, str(turn)))
    _sql(path, "UPDATE item SET parent = NULL", "UPDATE conversation SET head = NULL")
    with closing(Store(path)) as store:
        assert _branch(store.read(1)) == [1, 2, 5]


def test_a_damaged_file_with_a_circle_of_parents_is_read(path: Path) -> None:
    with closing(Store(path)) as store:
        for turn in (1, 2):
            store.record(_question(turn, str(turn)))
    _sql(path, "UPDATE item SET parent = 2 WHERE turn = 1")
    with closing(Store(path)) as store:
        assert set(_branch(store.read(1))) == {1, 2}
        assert turn_tree.tree(store.read(1, all_branches=True)) == []


def test_a_fork_has_the_turns_up_to_one_and_its_own_future(store: Store) -> None:
    store.record(_INSTRUCTIONS)
    for turn in (1, 2):
        store.record(_question(turn, f"question {turn}"))
        store.record(_reply(turn, f"reply {turn}"))
    store.fork(1)
    assert store.id == 2
    store.record(_question(2, "another"))
    forked, old = store.read(2), store.read(1)
    assert [entry.turn for entry in forked.entries] == [0, 1, 1, 2]
    assert (forked.forked_from, forked.turns, forked.title) == (1, 2, "question 1")
    assert _branch(old) == [0, 1, 2]
    assert old.forked_from is None
    assert {hit.conversation.id for hit in store.search("reply 1")} == {1, 2}
    store.move_to(0)
    store.record(replace(_question(3, "first of all"), parent=0))
    store.fork(3)
    assert store.read(3).title == "first of all"
    store.delete(1)
    assert store.read(2).forked_from == 1


def test_a_fork_has_the_summaries_of_its_turns_but_no_name(store: Store) -> None:
    for turn in (1, 2):
        store.record(_question(turn, f"question {turn}"))
        store.record(replace(_INSTRUCTIONS, turn=turn, index=SUMMARY_INDEX))
    store.name("mine")
    store.fork(1)
    forked = store.read(2)
    assert [(entry.turn, entry.index) for entry in forked.entries] == [(1, 0), (1, SUMMARY_INDEX)]
    assert (forked.name, store.read(1).name) == ("", "mine")


def test_a_fork_of_nothing_begins_a_new_conversation(store: Store) -> None:
    store.fork(1)
    store.move_to(0)
    store.record(_question(1, "one"))
    assert _branch(store.read(1)) == [1]


def test_branches_are_written_after_a_failure(path: Path) -> None:
    now = [0.0]
    with closing(Store(path, now=lambda: now[0])) as store:
        store.record(_question(1, "one"))
        store.record(_question(2, "two"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(HistoryError):
                store.move_to(1)
        now[0] = 100.0
        store.record(_reply(1, "late"))
        assert _branch(store.read(1)) == [1]


TREE = [
    (1, None, "1"),
    (2, 1, "├─ 2"),
    (4, 2, "│  4"),
    (3, 1, "└─ 3"),
    (5, 3, "   ├─ 5"),
    (6, 3, "   └─ 6"),
]


def test_the_tree_of_a_conversation() -> None:
    entries = tuple(
        replace(_question(turn, "q"), parent=parent) for turn, parent, _ in sorted(TREE)
    )
    kept = StoredConversation(1, "", 0.0, 0.0, "m", 6, entries, head=5)
    lines = turn_tree.tree(kept)
    assert [f"{line.lines}{line.turn}" for line in lines] == [shown for _, _, shown in TREE]
    assert [line.turn for line in lines if line.is_current] == [1, 3, 5]
    assert _branch(turn_tree.current(kept)) == [1, 3, 5]


def test_first_questions_may_be_branches_too() -> None:
    entries = (_question(1, "q"), replace(_question(2, "r"), parent=0))
    kept = StoredConversation(1, "", 0.0, 0.0, "m", 2, entries, head=0)
    lines = turn_tree.tree(kept)
    assert [f"{line.lines}{line.turn}" for line in lines] == ["├─ 1", "└─ 2"]
    assert not any(line.is_current for line in lines)
