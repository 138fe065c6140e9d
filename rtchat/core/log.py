"""What was said so far: the items that a new session is told, and the entries that are kept of it.

A new socket is a new, empty session, and so is tomorrow's program: both are told `items`. Every
method that changes something returns what is to be recorded.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rtchat.core.effects import AddItem, AppendAudio, Command, CommitAudio, Record, ReplyOver
from rtchat.core.values import (
    Entry,
    Item,
    JsonObject,
    Message,
    Part,
    State,
    Status,
    StoredConversation,
)

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
            yield from add(_told(self.item) or self.item)
            return
        typed = tuple(part for part in self.item.parts if part.kind != "audio")
        if typed:
            yield AddItem(Message("user", typed))
        audio = self.audio
        for start in range(0, len(audio), APPENDED):
            yield AppendAudio(audio[start : start + APPENDED])
        yield CommitAudio()


class ConversationLog:
    """One conversation; `kept` is how it began, if that was another time. `stores_audio` is whether
    what was said aloud is recorded as such, beside its words."""

    def __init__(
        self, kept: StoredConversation | None = None, *, stores_audio: bool = False
    ) -> None:
        self._stores_audio = stores_audio
        self.items: list[Item] = []
        self.last: Question | None = None
        """The last question that is over."""
        self.instructions: str | None = None
        """As they were recorded last."""
        self._turns = 0
        for entry in kept.entries if kept else ():
            self._load(entry)

    def _load(self, entry: Entry) -> None:
        self._turns = max(self._turns, entry.turn)
        if isinstance(entry.item, Message) and entry.turn == 0:
            self.instructions = entry.item.text
            return
        if isinstance(entry.item, Message) and entry.index == 0:
            *attached, question = entry.item.parts or (Part("text"),)
            self.last = Question(entry.turn, question.text, tuple(attached))
            self.last.item = entry.item
        elif self.last is not None and self.last.turn == entry.turn:
            self.last.entries = entry.index + 1
        if entry.state is not State.QUEUED:
            self.items.append(entry.item)

    @property
    def turns(self) -> int:
        """How many questions `items` has."""
        return sum(isinstance(item, Message) and item.role == "user" for item in self.items)

    @property
    def last_reply(self) -> str | None:
        """The text of the last reply, if there is one."""
        said = (item for item in reversed(self.items) if isinstance(item, Message))
        replies = (item.text for item in said if item.role == "assistant")
        return next(filter(None, replies), None)

    def was_asked(self, question: Question) -> bool:
        """Whether `items` has it."""
        return any(item is question.item for item in self.items)

    def told(self) -> Iterator[Item]:
        """`items`, as a new session is told of them."""
        return filter(None, map(_told, self.items))

    def enter(
        self, text: str, attached: tuple[Part, ...] = (), audio: bytes | None = None
    ) -> Question:
        """A new question. Its number is its place, however long it waits."""
        self._turns += 1
        return Question(self._turns, text, attached, audio)

    def enter_raw(self, fields: JsonObject) -> Question:
        """A turn without a question: only its reply is kept."""
        self._turns += 1
        return Question(self._turns, "", raw=fields)

    def again(self, question: Question) -> Question | None:
        """The same question as a new one; one that was said aloud in words, if they are known. None
        if nothing is known of it any more."""
        words = question.item.parts[-1].text
        if words or not question.is_spoken:
            return self.enter(words, question.attached)
        audio = question.audio
        return self.enter(question.text, question.attached, audio) if audio else None

    def heard(self, question: Question, text: str) -> Iterator[Record]:
        """What was said aloud is this in words."""
        question.is_heard = True
        *before, said = question.item.parts
        self._change(question, (*before, replace(said, text=text)))
        self._forget_audio(question)
        if question.entry is not None:
            yield self._keep(question, question.entry)

    def _change(self, question: Question, parts: tuple[Part, ...]) -> None:
        old, question.item = question.item, replace(question.item, parts=parts)
        self.items = [question.item if item is old else item for item in self.items]

    def _forget_audio(self, question: Question) -> None:
        """What was said aloud is needed until it is known in words; where these cannot be had,
        until it is answered: a new session would be asked nothing."""
        if not question.is_heard or self._stores_audio:
            return
        *before, said = question.item.parts
        if said.text or question.is_answered:
            self._change(question, (*before, replace(said, data="")))

    def _keep(self, question: Question, entry: Entry) -> Record:
        """Record a question; its audio only where that is wanted."""
        question.entry = entry
        item = question.item
        if not self._stores_audio:
            parts = (replace(p, data="") if p.kind == "audio" else p for p in item.parts)
            item = replace(item, parts=tuple(parts)) if question.is_spoken else item
        return Record(replace(entry, item=item))

    def queued(self, question: Question, model: str) -> Record:
        """It waits."""
        return self._keep(question, Entry(question.turn, 0, question.item, State.QUEUED, model))

    def asked(self, question: Question, model: str, instructions: str | None) -> Iterator[Record]:
        """It is about to be sent, under these instructions."""
        if question.raw is None:
            self.items.append(question.item)
        if instructions and instructions != self.instructions:
            self.instructions = instructions
            system = Message("system", (Part("text", instructions),))
            yield Record(Entry(0, 0, system, State.COMPLETED))
        if question.raw is None:
            yield self._keep(question, Entry(question.turn, 0, question.item, State.ASKED, model))

    def is_known(self, question: Question) -> bool:
        """Whether a new session can be told what was asked."""
        return _told(question.item) is not None

    def remove(self, question: Question) -> None:
        """The server would not have it: it is no part of what was said."""
        self.items = [item for item in self.items if item is not question.item]

    def streaming(self, question: Question, text: str, model: str) -> Record:
        """So much of its reply is there."""
        return Record(Entry(question.turn, question.entries, _reply(text), State.STREAMING, model))

    def called(
        self, question: Question, text: str, calls: Sequence[Item], model: str, audio: bytes = b""
    ) -> Iterator[Record]:
        """Its reply was calls, perhaps after a few words; `audio` is what of these is to be kept as
        such."""
        if text or audio:
            said = _reply(text, audio)
            entry = Entry(question.turn, question.entries, said, State.COMPLETED, model)
            yield self._reply(question, text, entry)
        yield from self._add(question, calls, model)

    def _reply(self, question: Question, text: str, entry: Entry) -> Record:
        """What it was answered; only the text is told to another session."""
        if text:
            self.items.append(_reply(text))
        question.entries += 1
        return Record(entry)

    def answered(self, question: Question, answers: Sequence[Item], model: str) -> Iterator[Record]:
        """What came of the calls."""
        return self._add(question, answers, model)

    def _add(self, question: Question, items: Sequence[Item], model: str) -> Iterator[Record]:
        for item in items:
            self.items.append(item)
            yield Record(Entry(question.turn, question.entries, item, State.COMPLETED, model))
            question.entries += 1

    def over(
        self, question: Question, over: ReplyOver, last: str, audio: bytes = b""
    ) -> Iterator[Record]:
        """Its reply, whose last text is `last`, is over or will never come; `audio` is what of it
        is to be kept as such."""
        if question.raw is None:
            self.last = question
            question.is_answered = over.status is Status.COMPLETED
            self._forget_audio(question)
        interrupted = over.reason == "connection_lost"
        state = State.INTERRUPTED if interrupted else State(over.status.value)
        reason = over.problem.message if over.problem else ""
        if last or audio:
            answer = Entry(
                question.turn,
                question.entries,
                _reply(last, audio),
                state,
                over.model,
                reason,
                over.usage,
                over.timing.first_token,
                over.timing.total,
            )
            yield self._reply(question, last, answer)
        if question.raw is None:
            entry = Entry(question.turn, 0, question.item, state, over.model, reason)
            yield self._keep(question, entry)


def _reply(text: str, audio: bytes = b"") -> Message:
    said = Part("audio", text, b64encode(audio).decode()) if audio else Part("text", text)
    return Message("assistant", (said,))


def _told(item: Item) -> Item | None:
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
