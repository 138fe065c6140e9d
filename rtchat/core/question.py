"""A question on its way to its answer, and the commands that make an item part of a session."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace

from rtchat.core.effects import AddItem, AppendAudio, Command, CommitAudio
from rtchat.core.values import Entry, Item, JsonObject, Message, Part

APPENDED = 24_000
"""Bytes of audio in one event: half a second."""
MOST_AT_ONCE = 7_680_000
"""Characters of audio in one item: two minutes, in whole samples. OpenAI's server takes 15 MiB."""


class Question:
    """A question on its way: waiting, then asked, then answered.

    `audio` is what was said, if it is spoken: PCM16, mono, 24 kHz. `raw` is the event that asks for
    a reply to no question, as the user wrote it; empty if the server replies to something else that
    the user sent.
    """

    def __init__(
        self,
        turn: int,
        text: str,
        attached: tuple[Part, ...] = (),
        audio: bytes | None = None,
        raw: JsonObject | None = None,
    ) -> None:
        self.turn = turn
        self.text = text
        self.attached = attached
        parts = (*attached, *((Part("text", text),) if text or audio is None else ()))
        if audio is not None:
            parts = (*parts, Part("audio", data=b64encode(audio).decode()))
        self.item = Message("user", parts)
        self.raw = raw
        self.item_id = ""
        """What the server calls its audio."""
        self.in_session = False
        """Whether the session has it before it is asked."""
        self.is_answered = False
        self.is_heard = False
        """Whether it is known in words, or it is known that it never will be."""
        self.has_reply = False
        """Whether any part of a reply to it has come."""
        self.is_wordless = False
        """Whether its transcript is empty: the server heard sound but no words."""
        self.entries = 1
        """How many entries its turn has, itself among them."""
        self.entry: Entry | None = None
        """Its own, as it was recorded last."""

    @property
    def is_spoken(self) -> bool:
        """Whether there is audio in it."""
        return any(part.kind == "audio" for part in self.item.parts)

    def forget_session(self) -> None:
        """Another session knows nothing of it."""
        self.in_session, self.item_id = False, ""

    @property
    def words(self) -> str:
        """What was said, once it is written down."""
        return self.item.parts[-1].text if self.is_spoken else ""

    @property
    def audio(self) -> bytes:
        """What was said, as long as it is needed."""
        return b64decode(self.item.parts[-1].data) if self.is_spoken else b""

    def telling(self, *, listens: bool) -> Iterator[Command]:
        """What makes it part of a session; one that listens all the time would take audio that is
        appended for what is being said."""
        if self.in_session or self.raw is not None:
            return
        if listens or not self.is_spoken or self.words:
            yield from add(replay_item(self.item) or self.item)
            return
        typed = tuple(part for part in self.item.parts if part.kind != "audio")
        if typed:
            yield AddItem(Message("user", typed))
        audio = self.audio
        for start in range(0, len(audio), APPENDED):
            yield AppendAudio(audio[start : start + APPENDED])
        yield CommitAudio()


def replay_item(item: Item) -> Item | None:
    """An item as a session is told of it: what was said aloud in words, where it is known in which;
    else as it sounded, if the user said it. None if nothing is known."""
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
    """What makes it part of a session."""
    return map(AddItem, _in_parts(item))


def _in_parts(item: Item) -> Iterator[Item]:
    """The same as several items, if there is more audio in it than servers take in an event."""
    audio = [] if not isinstance(item, Message) else [p for p in item.parts if p.kind == "audio"]
    if not isinstance(item, Message) or all(len(part.data) <= MOST_AT_ONCE for part in audio):
        yield item
        return
    if others := tuple(part for part in item.parts if part.kind != "audio"):
        yield replace(item, parts=others)
    for part in audio:
        for start in range(0, len(part.data), MOST_AT_ONCE):
            piece = replace(part, data=part.data[start : start + MOST_AT_ONCE])
            yield replace(item, parts=(piece,))
