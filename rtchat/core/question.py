"""A question from input to reply, and the commands that add an item to a session."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace

from rtchat.core.effects import AddItem, AppendAudio, Command, CommitAudio
from rtchat.core.values import (
    Entry,
    Item,
    JsonObject,
    Message,
    Part,
    RemoteCall,
    TranscriptDetails,
)

APPEND_BYTES = 24_000
"""Bytes of audio per event: half a second."""
MAX_ITEM_AUDIO = 7_680_000
"""Base64 characters of audio per item: two minutes, in whole samples. OpenAI's server accepts up to
15 MiB."""

NO_WORDS = "no words recognised"
"""Shown instead of an empty transcript, and saved as the reason why a turn has no reply."""


class Question:
    """A question: waiting, then asked, then answered.

    `audio` is the audio of a spoken question: PCM16, mono, 24 kHz. `raw` is for a turn without a
    question: the user's own event that requests a reply, or empty if the server replies by itself
    to another event that the user sent. If `summary_request` is not empty, it is sent instead of
    the text, and the turn is not part of the conversation: its reply becomes a summary.
    """

    def __init__(
        self,
        turn: int,
        text: str,
        attached: tuple[Part, ...] = (),
        audio: bytes | None = None,
        raw: JsonObject | None = None,
        summary_request: str = "",
    ) -> None:
        self.turn = turn
        self.parent = turn - 1
        """The turn before this one in its branch, 0 for none."""
        self.instructions = ""
        """Instructions for the reply to this question, in addition to those of the session."""
        self.text = text
        self.attached = attached
        parts = (*attached, *((Part("text", text),) if text or audio is None else ()))
        if audio is not None:
            parts = (*parts, Part("audio", data=b64encode(audio).decode()))
        self.is_summary = bool(summary_request)
        if summary_request:
            parts = (Part("text", summary_request),)
        self.item = Message("user", parts)
        self.raw = raw
        self.item_id = ""
        """The server's item id of the audio."""
        self.in_session = False
        """Whether the session already has it."""
        self.is_answered = False
        self.transcript_done = False
        """Whether its transcript has arrived, or is known not to come."""
        self.has_reply = False
        """Whether any part of a reply has arrived."""
        self.transcript_details: TranscriptDetails | None = None
        """What is known about its transcript, once it has arrived."""
        self.transcript_is_empty = False
        """Whether its transcript is empty: the server detected speech without words."""
        self.entries = 1
        """How many entries the turn has, including the question."""
        self.entry: Entry | None = None
        """Its own entry as last saved."""

    @property
    def has_answer(self) -> bool:
        """Whether the turn has any entry but the question."""
        return self.entries > 1

    @property
    def has_entries(self) -> bool:
        """Whether the turn has any entry; a turn without a question may have none."""
        return self.raw is None or self.has_answer

    @property
    def is_spoken(self) -> bool:
        """Whether it contains audio."""
        return any(part.kind == "audio" for part in self.item.parts)

    @property
    def is_wordless(self) -> bool:
        """Whether nothing was said or attached, and the server did not reply."""
        return self.transcript_is_empty and not (self.has_reply or self.text or self.attached)

    def forget_session(self) -> None:
        """The session is closed; another one does not have the question."""
        self.in_session, self.item_id = False, ""

    @property
    def transcript(self) -> str:
        """The transcript of a spoken question, once known; else empty."""
        return self.item.parts[-1].text if self.is_spoken else ""

    @property
    def audio(self) -> bytes:
        """The audio of a spoken question, as long as it is needed; else empty."""
        return b64decode(self.item.parts[-1].data) if self.is_spoken else b""

    @property
    def draft(self) -> str:
        """The text to edit: what was typed, or the transcript if it is known."""
        return (self.item.parts[-1].text if self.item.parts else "") or self.text

    def to_commands(self, *, listens: bool) -> Iterator[Command]:
        """The commands that add the question to a session. If the server `listens`, audio cannot be
        appended: it would be taken for live speech."""
        if self.in_session or self.raw is not None:
            return
        if listens or not self.is_spoken or self.transcript:
            yield from add(replay_item(self.item) or self.item)
            return
        typed = tuple(part for part in self.item.parts if part.kind != "audio")
        if typed:
            yield AddItem(Message("user", typed))
        audio = self.audio
        for start in range(0, len(audio), APPEND_BYTES):
            yield AppendAudio(audio[start : start + APPEND_BYTES])
        yield CommitAudio()


def replay_item(item: Item) -> Item | None:
    """An item in the form in which a new session receives it: speech as its transcript if known,
    else as audio if it is the user's, and of an interrupted reply only what was heard. None if
    nothing is left, or if it is a call that the server made in another session."""
    if isinstance(item, RemoteCall):
        return None
    if isinstance(item, Message) and item.heard is not None:
        text = item.text[: item.heard].rstrip()
        return replace(item, parts=(Part("text", text),), heard=None) if text else None
    if not isinstance(item, Message) or all(part.kind != "audio" for part in item.parts):
        return item
    parts = tuple(
        Part("text", part.text) if part.text else part
        for part in item.parts
        if part.text or (part.data and item.role == "user")
    )
    if parts == item.parts:
        return item
    return replace(item, parts=parts) if parts else None


def add(item: Item) -> Iterator[AddItem]:
    """The commands that add an item to a session."""
    return map(AddItem, _split(item))


def _split(item: Item) -> Iterator[Item]:
    """The item, split into several if it has more audio than servers accept in one event."""
    audio = [] if not isinstance(item, Message) else [p for p in item.parts if p.kind == "audio"]
    if not isinstance(item, Message) or all(len(part.data) <= MAX_ITEM_AUDIO for part in audio):
        yield item
        return
    if others := tuple(part for part in item.parts if part.kind != "audio"):
        yield replace(item, parts=others)
    for part in audio:
        for start in range(0, len(part.data), MAX_ITEM_AUDIO):
            piece = replace(part, data=part.data[start : start + MAX_ITEM_AUDIO])
            yield replace(item, parts=(piece,))
