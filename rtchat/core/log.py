"""What was said so far: the items that a new session is told, and the entries that are kept of it.

A new socket is a new, empty session, and so is tomorrow's program: both are told `items`. Every
method that changes something returns what is to be recorded.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rtchat.core.effects import Record, ReplyOver
from rtchat.core.question import Question, replay_item
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


class ConversationLog:
    """One conversation. `stores_audio` is whether what was said aloud is recorded as such, beside
    its words."""

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
        self.restart(kept)

    def restart(self, kept: StoredConversation | None = None) -> None:
        """Begin another conversation: a new one, or `kept` as it was left."""
        self.items = []
        self.last = self.instructions = None
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
        return filter(None, map(replay_item, self.items))

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
        return replay_item(question.item) is not None

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
