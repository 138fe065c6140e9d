"""A kept conversation as it is read again: who said what, and what became of it.

What all that shows one starts from, a terminal as much as a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Literal, TypeAlias, assert_never

from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    Entry,
    Item,
    Message,
    OtherItem,
    State,
    StoredConversation,
    ToolCall,
    ToolOutput,
    value,
)

Kind: TypeAlias = Literal["instructions", "question", "reply", "call", "output", "other"]

SPOKEN = "(spoken)"
"""In the place of what was said aloud, where nobody wrote it down."""
_KINDS: dict[str, Kind] = {"user": "question", "assistant": "reply", "system": "instructions"}
_NOTES = {
    State.QUEUED: "not sent",
    State.ASKED: "not answered",
    State.STREAMING: "unfinished",
    State.COMPLETED: "",
    State.CANCELLED: "cancelled",
    State.FAILED: "failed",
    State.INCOMPLETE: "incomplete",
    State.INTERRUPTED: "interrupted",
}


@value
class TranscriptEntry:
    """One item of a conversation."""

    kind: Kind
    name: str
    """Of the model, the function, or the type of the item; of an output the id of its call."""
    text: str
    note: str
    """Why there is no more of it; empty if it is complete."""
    pictures: tuple[str, ...]
    """As data URLs."""
    entry: Entry


def transcript_entries(kept: StoredConversation) -> Iterator[TranscriptEntry]:
    """All of it, in order."""
    for _, turn in groupby(kept.entries, lambda entry: entry.turn):
        question, *rest = turn
        # A question takes over what became of its reply: once is enough to say so.
        yield _passage(kept, question, "" if rest else _note(question))
        for entry in rest:
            last = entry is rest[-1] and entry.state is State.COMPLETED
            yield _passage(kept, entry, _note(question if last else entry))


def _note(entry: Entry) -> str:
    note = _NOTES[entry.state]
    return f"{note}: {' '.join(entry.reason.split())}" if note and entry.reason else note


def _passage(kept: StoredConversation, entry: Entry, note: str) -> TranscriptEntry:
    item = entry.item
    kind, name, text = _read(item)
    if kind == "reply":
        name = entry.model or kept.model or "assistant"
    pictures: tuple[str, ...] = ()
    if isinstance(item, Message):
        pictures = tuple(part.data for part in item.parts if part.kind == "image")
    return TranscriptEntry(kind, name, text, note, pictures, entry)


def _read(item: Item) -> tuple[Kind, str, str]:
    match item:
        case Message():
            return _KINDS[item.role], "", _said(item)
        case ToolCall():
            return "call", item.name, item.arguments
        case ToolOutput():
            return "output", item.call_id, item.output
        case Approval():
            return "call", f"{item.server}.{item.name}", item.arguments
        case ApprovalAnswer():
            return "output", item.request_id, "allowed" if item.approve else "refused"
        case OtherItem():
            return "other", item.type, ""
    assert_never(item)


def _said(message: Message) -> str:
    """Its words, typed and spoken."""
    text = ""
    for part in message.parts:
        if part.kind == "audio":
            text += ("\n" if text else "") + (part.text or SPOKEN)
        else:
            text += part.text
    return text


def plain(kept: StoredConversation) -> str:
    """All of it as text: questions as at the prompt, replies as they came."""
    return "\n\n".join(_plain(passage) for passage in transcript_entries(kept)) + "\n"


def _plain(passage: TranscriptEntry) -> str:
    lines = [opening(passage)]
    lines += ["[image]"] * len(passage.pictures)
    if passage.note:
        lines.append(f"[{passage.note}]")
    return "\n".join(line for line in lines if line)


def opening(passage: TranscriptEntry) -> str:
    """Its text, and before it what kind of text that is."""
    match passage.kind:
        case "question":
            return "› " + passage.text.replace("\n", "\n  ")  # noqa: RUF001 # as at the prompt
        case "reply":
            return passage.text.rstrip("\n")
        case "instructions" | "other":
            return f"[{passage.name or passage.kind}] {passage.text}".rstrip()
        case "call" | "output":
            return f"[{passage.kind} {passage.name}] {passage.text}".rstrip()
    assert_never(passage.kind)
