"""The conversation so far: the items that a new session receives, and the entries to save.

A new connection has an empty session, and so has a saved conversation that is resumed: both receive
`items`. Every method that changes something returns the entries to save.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rtchat.core.effects import Record, ReplyOver
from rtchat.core.question import Question, replay_item
from rtchat.core.replay import is_question, is_summary
from rtchat.core.values import (
    Entry,
    Item,
    JsonObject,
    Message,
    Part,
    State,
    Status,
    StoredConversation,
    TranscriptDetails,
)


class ConversationLog:
    """One conversation. `stores_audio` is whether the audio of speech is saved in addition to its
    transcript."""

    def __init__(
        self, stored: StoredConversation | None = None, *, stores_audio: bool = False
    ) -> None:
        self._stores_audio = stores_audio
        self.items: list[Item] = []
        self._numbers: list[int] = []
        """The turn numbers of the questions in `items`."""
        self.last: Question | None = None
        """The last question that is over."""
        self.instructions: str | None = None
        """The instructions as last saved."""
        self._turns = 0
        self.restart(stored)

    def restart(self, stored: StoredConversation | None = None) -> None:
        """Begin another conversation: a new one, or the saved conversation `stored`."""
        self.items, self._numbers = [], []
        self.last = self.instructions = None
        self._turns = 0
        for entry in stored.entries if stored else ():
            self._load(entry)

    def _load(self, entry: Entry) -> None:
        self._turns = max(self._turns, entry.turn)
        if isinstance(entry.item, Message) and entry.turn == 0:
            self.instructions = entry.item.text
            return
        if is_summary(entry.item):
            self.items.append(entry.item)
            return
        if isinstance(entry.item, Message) and entry.index == 0:
            *attached, question = entry.item.parts or (Part("text"),)
            self.last = Question(entry.turn, question.text, tuple(attached))
            self.last.item = entry.item
        elif self.last is not None and self.last.turn == entry.turn:
            self.last.entries = entry.index + 1
        if entry.state not in (State.QUEUED, State.WITHDRAWN):
            self.items.append(entry.item)
            if is_question(entry.item):
                self._numbers.append(entry.turn)

    @property
    def last_reply(self) -> str | None:
        """The text of the last reply, if there is one."""
        messages = (item for item in reversed(self.items) if isinstance(item, Message))
        replies = (item.text for item in messages if item.role == "assistant")
        return next(filter(None, replies), None)

    def was_asked(self, question: Question) -> bool:
        """Whether a question is in `items`."""
        return any(item is question.item for item in self.items)

    def enter(
        self, text: str, attached: tuple[Part, ...] = (), audio: bytes | None = None
    ) -> Question:
        """A new question. Its turn number is assigned now, even if it has to wait."""
        self._turns += 1
        return Question(self._turns, text, attached, audio)

    def enter_raw(self, fields: JsonObject) -> Question:
        """A turn without a question: only its reply is saved."""
        self._turns += 1
        return Question(self._turns, "", raw=fields)

    def again(self, question: Question) -> Question | None:
        """The same question as a new one; a spoken one as text if it has a transcript, else as
        audio. None if it has neither."""
        text = question.item.parts[-1].text
        if text or not question.is_spoken:
            return self.enter(text, question.attached)
        audio = question.audio
        return self.enter(question.text, question.attached, audio) if audio else None

    def add_transcript(self, question: Question, text: str) -> Iterator[Record]:
        """Add the transcript of a spoken question."""
        question.transcript_done = True
        *before, spoken = question.item.parts
        self._replace_parts(question, (*before, replace(spoken, text=text)))
        self._discard_audio(question)
        if question.entry is not None:
            yield self._save(question, question.entry)

    def _replace_parts(self, question: Question, parts: tuple[Part, ...]) -> None:
        old, question.item = question.item, replace(question.item, parts=parts)
        self.items = [question.item if item is old else item for item in self.items]

    def _discard_audio(self, question: Question) -> None:
        """Discard the audio of a spoken question once it is not needed: when it has a transcript,
        or is answered and will have none."""
        if not question.transcript_done or self._stores_audio:
            return
        *before, spoken = question.item.parts
        if spoken.text or question.is_answered:
            self._replace_parts(question, (*before, replace(spoken, data="")))

    def _save(self, question: Question, entry: Entry) -> Record:
        """Save a question, with its audio only if audio is stored."""
        details = question.transcript_details or TranscriptDetails()
        question.entry = entry = replace(entry, usage=details.usage)
        item = question.item
        if not self._stores_audio:
            parts = (replace(p, data="") if p.kind == "audio" else p for p in item.parts)
            item = replace(item, parts=tuple(parts)) if question.is_spoken else item
        return Record(replace(entry, item=item))

    def queued(self, question: Question, model: str) -> Record:
        """A question is waiting to be asked."""
        return self._save(question, Entry(question.turn, 0, question.item, State.QUEUED, model))

    def withdrawn(self, question: Question, model: str) -> Record:
        """The user took a question back before it was asked."""
        return self._save(question, Entry(question.turn, 0, question.item, State.WITHDRAWN, model))

    def asked(self, question: Question, model: str, instructions: str | None) -> Iterator[Record]:
        """A question is about to be sent, under these instructions."""
        if question.is_summary:
            return
        if question.raw is None:
            self.items.append(question.item)
            self._numbers.append(question.turn)
        if instructions and instructions != self.instructions:
            self.instructions = instructions
            system = Message("system", (Part("text", instructions),))
            yield Record(Entry(0, 0, system, State.COMPLETED))
        if question.raw is None:
            yield self._save(question, Entry(question.turn, 0, question.item, State.ASKED, model))

    def is_known(self, question: Question) -> bool:
        """Whether a question can be sent to a new session."""
        return replay_item(question.item) is not None

    def remove(self, question: Question) -> None:
        """Remove a question that the server refused."""
        if self.was_asked(question):
            self._numbers.remove(question.turn)
        self.items = [item for item in self.items if item is not question.item]

    def streaming(self, question: Question, text: str, model: str) -> Record:
        """Save the text so far of the reply to a question."""
        message = Message("assistant", (Part("text", text),))
        return Record(Entry(question.turn, question.entries, message, State.STREAMING, model))

    def called(
        self,
        question: Question,
        messages: Sequence[Message],
        calls: Sequence[Item],
        model: str,
        audio: bytes = b"",
    ) -> Iterator[Record]:
        """A reply contained tool calls, perhaps after `messages`; `audio` is its audio to save."""
        end = Entry(question.turn, 0, _NO_TEXT, State.COMPLETED, model)
        yield from self._add_reply(question, messages, audio, end)
        yield from self._add(question, calls, model)

    def _add_reply(
        self, question: Question, messages: Sequence[Message], audio: bytes, end: Entry
    ) -> Iterator[Record]:
        """Add a reply; a new session receives only its text. The entry of the last message has the
        audio, and otherwise the fields of `end`."""
        if not (messages or audio):
            return
        yield from self._add(question, messages[:-1], end.model, end.response_model)
        self.items += messages[-1:]
        last = messages[-1] if messages else _NO_TEXT
        if audio:
            spoken = Part("audio", last.text, b64encode(audio).decode())
            last = replace(last, parts=(spoken,))
        yield Record(replace(end, index=question.entries, item=last))
        question.entries += 1

    def answered(self, question: Question, answers: Sequence[Item], model: str) -> Iterator[Record]:
        """Add the outputs of the calls."""
        return self._add(question, answers, model)

    def _add(
        self, question: Question, items: Sequence[Item], model: str, response_model: str = ""
    ) -> Iterator[Record]:
        for item in items:
            self.items.append(item)
            entry = Entry(question.turn, question.entries, item, State.COMPLETED, model)
            yield Record(replace(entry, response_model=response_model))
            question.entries += 1

    def end_turn(
        self, question: Question, over: ReplyOver, last: Sequence[Message], audio: bytes = b""
    ) -> Iterator[Record]:
        """The reply to a question is over, or will not come. `last` are the messages of the turn's
        last reply, `audio` is its audio to save."""
        if question.is_summary:
            return
        if question.raw is None:
            self.last = question
            question.is_answered = over.status is Status.COMPLETED
            self._discard_audio(question)
        interrupted = over.reason == "connection_lost"
        state = State.INTERRUPTED if interrupted else State(over.status.value)
        reason = over.problem.message if over.problem else ""
        yield from self._add(question, over.remote_calls, over.model)
        end = Entry(
            question.turn,
            0,
            _NO_TEXT,
            state,
            over.model,
            reason,
            over.usage,
            over.timing.first_token,
            over.timing.total,
            over.session.model,
        )
        yield from self._add_reply(question, last, audio, end)
        if question.raw is None:
            entry = Entry(question.turn, 0, question.item, state, over.model, reason)
            yield self._save(question, entry)

    def add_summary(self, index: int, summary: Message, over: ReplyOver) -> Record:
        """Insert a summary into `items`. It is saved after the last turn that it replaces, which
        stays in the history."""
        turn = self._numbers[sum(map(is_question, self.items[:index])) - 1]
        self.items.insert(index, summary)
        entry = Entry(turn, SUMMARY_INDEX, summary, State.COMPLETED, over.model, usage=over.usage)
        return Record(replace(entry, response_model=over.session.model))


SUMMARY_INDEX = 1_000_000
"""The index of a summary in its turn: after all other items."""
_NO_TEXT = Message("assistant", (Part("text"),))
"""A spoken reply without a transcript."""
