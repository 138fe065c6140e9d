"""A saved conversation as text. Exports are in `test_export`."""

from __future__ import annotations

from rtchat.core.question import NO_WORDS
from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    Entry,
    Item,
    Message,
    Part,
    RemoteCall,
    State,
    StoredConversation,
)
from rtchat.history.transcript import SPOKEN, plain, transcript_entries


def test_spoken_items_and_approvals_are_shown_as_text() -> None:
    said: list[Item] = [
        Message("user", (Part("text", "In French:"), Part("audio", "When?"))),
        Message("user", (Part("audio"),)),
        Message("assistant", (Part("audio", "", "AAAA"),)),
        Approval("a1", "get", '{"a": 1}', "files"),
        ApprovalAnswer("a1", approve=True),
        ApprovalAnswer("a2", approve=False),
        RemoteCall("docs", "search", "{}", "found"),
        RemoteCall("docs", "search", "{}", "", "HTTP 500"),
    ]
    entries = [Entry(1, index, item, State.COMPLETED) for index, item in enumerate(said)]
    prompt = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
    assert plain(StoredConversation(1, "", 0.0, 0.0, "m", 1, tuple(entries))).rstrip("\n").split(
        "\n\n"
    ) == [
        f"{prompt} In French:\n  When? (spoken)",
        f"{prompt} (spoken)",
        "(spoken)",
        '[call files.get] {"a": 1}',
        "[output a1] allowed",
        "[output a2] refused",
        "[call docs.search] {} → found",
        "[call docs.search] {} → HTTP 500",
    ]


def test_a_reply_names_the_model_that_answered() -> None:
    entries = [
        Entry(1, index, Message("assistant", ()), State.COMPLETED, "m", response_model=answered)
        for index, answered in enumerate(("", "m", "m-2026"))
    ]
    stored = StoredConversation(1, "", 0.0, 0.0, "m", 1, tuple(entries))
    names = [entry.name for entry in transcript_entries(stored)]
    assert names == ["m", "m", "m-2026 (asked for m)"]


def test_commentary_is_marked() -> None:
    said = [
        Message("user", (Part("text", "Weather?"),)),
        Message("assistant", (Part("text", "Let me look."),), phase="commentary"),
        Message("assistant", (Part("text", "Sunny."),), phase="final_answer"),
    ]
    entries = tuple(Entry(1, index, item, State.COMPLETED) for index, item in enumerate(said))
    conversation = StoredConversation(1, "", 0.0, 0.0, "m", 1, entries)
    names = [entry.name for entry in transcript_entries(conversation)]
    assert names == ["", "m (commentary)", "m"]


def test_what_was_not_heard_of_a_reply_is_apart() -> None:
    item = Message("assistant", (Part("audio", "It is late. Go to bed."),), heard=12)
    stored = StoredConversation(1, "", 0.0, 0.0, "m", 1, (Entry(1, 1, item, State.COMPLETED),))
    (entry,) = transcript_entries(stored)
    assert (entry.text, entry.unheard) == ("It is late.", "Go to bed.")
    assert plain(stored) == "It is late.\n[not heard] Go to bed.\n"


def test_a_turn_without_words_is_not_called_cancelled() -> None:
    said = Message("user", (Part("audio"),))
    entries = (Entry(1, 0, said, State.CANCELLED, reason=NO_WORDS),)
    (entry,) = transcript_entries(StoredConversation(1, "", 0.0, 0.0, "m", 1, entries))
    assert (entry.text, entry.note) == (SPOKEN, NO_WORDS)
