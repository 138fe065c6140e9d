"""A saved conversation as text entries: who said what, and how each turn ended.

Exports and the terminal both start from these entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Literal, TypeAlias, assert_never

from rtchat.core.question import NO_WORDS
from rtchat.core.replay import is_summary
from rtchat.core.text import PROMPT
from rtchat.core.thinking import answer_of
from rtchat.core.turn_tree import parents_of, path, tree
from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    Entry,
    Item,
    Message,
    OtherItem,
    RemoteCall,
    State,
    StoredConversation,
    ToolCall,
    ToolOutput,
    model_names,
    value,
)

Kind: TypeAlias = Literal["instructions", "question", "reply", "call", "output", "other"]

_MAX_BEGINNING = 50
"""Characters of a question or a reply in a tree."""
SPOKEN = "(spoken)"
"""Stands for speech that has no transcript."""
NOT_HEARD = "not heard"
"""Marks the rest of a reply whose playback was interrupted."""
_KINDS: dict[str, Kind] = {"user": "question", "assistant": "reply", "system": "instructions"}
_NOTES = {
    State.QUEUED: "not sent",
    State.WITHDRAWN: "taken back",
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
    """The name of the model or function, or the item's type; for an output, its call id."""
    text: str
    note: str
    """Why the entry is incomplete; empty if it is complete."""
    images: tuple[str, ...]
    """Data URLs."""
    entry: Entry
    unheard: str = ""
    """The text of a reply that was not heard because its playback was interrupted; `text` has what
    was heard."""

    @property
    def mark(self) -> str:
        """What tells a spoken question from a typed one; empty for everything else, and for speech
        without a transcript, whose text says it already."""
        item = self.entry.item
        parts = item.parts if self.kind == "question" and isinstance(item, Message) else ()
        return SPOKEN if any(part.kind == "audio" and part.text for part in parts) else ""


def transcript_entries(conversation: StoredConversation) -> Iterator[TranscriptEntry]:
    """Yield the entries of a conversation in order."""
    for _, turn in groupby(conversation.entries, lambda entry: entry.turn):
        question, *rest = turn
        said = [entry for entry in rest if not is_summary(entry.item)]
        # A question has the state of its reply, so only one of the two gets a note.
        yield _transcript_entry(conversation, question, "" if said else _note(question))
        for entry in rest:
            last = entry in said[-1:] and entry.state is State.COMPLETED
            yield _transcript_entry(conversation, entry, _note(question if last else entry))


def _note(entry: Entry) -> str:
    if entry.reason == NO_WORDS:
        return NO_WORDS  # nobody has cancelled it
    note = _NOTES[entry.state]
    return f"{note}: {' '.join(entry.reason.split())}" if note and entry.reason else note


def _transcript_entry(conversation: StoredConversation, entry: Entry, note: str) -> TranscriptEntry:
    item = entry.item
    kind, name, text = _read(item)
    if kind == "reply":
        model = entry.model or conversation.model or "assistant"
        name = model_names(model, entry.response_model)
    images: tuple[str, ...] = ()
    unheard = ""
    if isinstance(item, Message):
        if item.heard is not None:
            text, unheard = text[: item.heard].rstrip(), text[item.heard :].strip()
        if item.phase == "commentary":
            name = f"{name} (commentary)"
        if entry.turn and is_summary(item):
            name = "summary"
        images = tuple(part.data for part in item.parts if part.kind == "image")
    return TranscriptEntry(kind, name, text, note, images, entry, unheard)


def _read(item: Item) -> tuple[Kind, str, str]:
    match item:
        case Message():
            return _KINDS[item.role], "", _message_text(item)
        case ToolCall():
            return "call", item.name, item.arguments
        case ToolOutput():
            return "output", item.call_id, item.output
        case Approval():
            return "call", f"{item.server}.{item.name}", item.arguments
        case ApprovalAnswer():
            return "output", item.request_id, "allowed" if item.approve else "refused"
        case RemoteCall():
            outcome = item.error or item.output
            return "call", f"{item.server}.{item.name}", f"{item.arguments} → {outcome}"
        case OtherItem():
            return "other", item.type, ""
    assert_never(item)


def _message_text(message: Message) -> str:
    """The typed text and the transcripts of a message."""
    text = ""
    for part in message.parts:
        if part.kind == "audio":
            text += ("\n" if text else "") + (part.text or SPOKEN)
        else:
            text += part.text
    return text


def plain(conversation: StoredConversation) -> str:
    """A conversation as text: questions as at the prompt, replies as received."""
    return "\n\n".join(_plain(entry) for entry in transcript_entries(conversation)) + "\n"


def branch_lines(conversation: StoredConversation) -> list[str]:
    """The turns of a conversation that was read with all branches, as a tree of one line each; the
    current branch is marked. Empty if there is only one branch."""
    lines = tree(conversation)
    if not lines:
        return []
    texts: dict[int, list[str]] = {}
    for entry in transcript_entries(conversation):
        if entry.kind in ("question", "reply"):
            texts.setdefault(entry.entry.turn, []).append(_beginning(answer_of(entry.text)))
    return [
        "branches (* marks the current one):",
        *(
            f"{line.lines}{line.turn}{' *' if line.is_current else '  '} "
            f"{' → '.join(texts.get(line.turn, [])[:2])}".rstrip()
            for line in lines
        ),
    ]


def turns_in_full(conversation: StoredConversation) -> list[tuple[str, StoredConversation]]:
    """Each turn of a conversation that was read with all branches, with its number and parent, and
    whether it is in the current branch."""
    parents = parents_of(conversation)
    branch = path(parents, conversation.head)
    out: list[tuple[str, StoredConversation]] = []
    for turn, entries in groupby(conversation.entries, lambda entry: entry.turn):
        if not turn:
            heading = ""
        else:
            after = f" after turn {parents[turn]}" if parents[turn] else ""
            heading = f"[turn {turn}{after}{', current branch' if turn in branch else ''}]"
        out.append((heading, replace(conversation, entries=tuple(entries))))
    return out


def _beginning(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_BEGINNING else text[: _MAX_BEGINNING - 1].rstrip() + "…"


def plain_end(conversation: StoredConversation, rows: int, width: int) -> tuple[str, int]:
    """The last turns as text: as many as fit into `rows`, but at least one. Also returns how many
    turns precede them."""
    turns = groupby(transcript_entries(conversation), lambda entry: entry.entry.turn)
    above = [(turn, "\n\n".join(map(_plain, entries))) for turn, entries in turns]
    shown: list[str] = []
    while above and (not shown or _rows(f"{above[-1][1]}\n", width) <= rows):
        text = above.pop()[1]
        shown.insert(0, text)
        rows -= _rows(f"{text}\n", width)
    return "\n\n".join(shown) + "\n", sum(turn > 0 for turn, _ in above)


def _rows(text: str, width: int) -> int:
    """How many rows of a terminal a text takes, at least."""
    return sum(max(1, -(-len(line) // width)) for line in text.split("\n"))


def _plain(entry: TranscriptEntry) -> str:
    lines = [" ".join(filter(None, (opening(entry), entry.mark)))]
    lines += ["[image]"] * len(entry.images)
    if entry.unheard:
        lines.append(f"[{NOT_HEARD}] {entry.unheard}")
    if entry.note:
        lines.append(f"[{entry.note}]")
    return "\n".join(line for line in lines if line)


def opening(entry: TranscriptEntry) -> str:
    """The text of an entry, preceded by its kind."""
    match entry.kind:
        case "question":
            return PROMPT + entry.text.replace("\n", "\n  ")
        case "reply":
            return entry.text.rstrip("\n")
        case "instructions" | "other":
            return f"[{entry.name or entry.kind}] {entry.text}".rstrip()
        case "call" | "output":
            return f"[{entry.kind} {entry.name}] {entry.text}".rstrip()
    assert_never(entry.kind)
