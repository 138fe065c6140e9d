"""What was said so far: the items that a new session is told, and the entries that are kept of it.

A new socket is a new, empty session, and so is tomorrow's program: both are told `items`. Every
method that changes something returns what is to be recorded. Not here: when a question is asked or
a reply is over (`conversation`), or where entries are kept (`store`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rtchat.effects import Record, ReplyOver
from rtchat.values import Entry, Item, Kept, Message, Part, State


class Question:
    """A question on its way: waiting, then asked, then answered."""

    def __init__(self, turn: int, text: str, attached: tuple[Part, ...] = ()) -> None:
        self.turn = turn
        self.text = text
        self.attached = attached
        self.item = Message("user", (*attached, Part("text", text)))
        self.entries = 1
        """How many entries its turn has, itself among them."""


class Minutes:
    """One conversation; `kept` is how it began, if that was another time."""

    def __init__(self, kept: Kept | None = None) -> None:
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
        elif self.last is not None:
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
        return next((item.text for item in said if item.role == "assistant"), None)

    def was_asked(self, question: Question) -> bool:
        """Whether `items` has it."""
        return any(item is question.item for item in self.items)

    def enter(self, text: str, attached: tuple[Part, ...] = ()) -> Question:
        """A new question. Its number is its place, however long it waits."""
        self._turns += 1
        return Question(self._turns, text, attached)

    def queued(self, question: Question, model: str) -> Record:
        """It waits."""
        return Record(Entry(question.turn, 0, question.item, State.QUEUED, model))

    def asked(self, question: Question, model: str, instructions: str | None) -> Iterator[Record]:
        """It is about to be sent, under these instructions."""
        self.items.append(question.item)
        if instructions and instructions != self.instructions:
            self.instructions = instructions
            system = Message("system", (Part("text", instructions),))
            yield Record(Entry(0, 0, system, State.COMPLETED))
        yield Record(Entry(question.turn, 0, question.item, State.ASKED, model))

    def take_back(self, question: Question) -> None:
        """The server would not have it: it is no part of what was said."""
        self.items = [item for item in self.items if item is not question.item]

    def streaming(self, question: Question, text: str, model: str) -> Record:
        """So much of its reply is there."""
        return Record(Entry(question.turn, question.entries, _reply(text), State.STREAMING, model))

    def called(
        self, question: Question, text: str, calls: Sequence[Item], model: str
    ) -> Iterator[Record]:
        """Its reply was calls, perhaps after a few words."""
        return self._add(question, [*([_reply(text)] if text else []), *calls], model)

    def answered(self, question: Question, answers: Sequence[Item], model: str) -> Iterator[Record]:
        """What came of the calls."""
        return self._add(question, answers, model)

    def _add(self, question: Question, items: Sequence[Item], model: str) -> Iterator[Record]:
        for item in items:
            self.items.append(item)
            yield Record(Entry(question.turn, question.entries, item, State.COMPLETED, model))
            question.entries += 1

    def over(self, question: Question, over: ReplyOver, last: str) -> Iterator[Record]:
        """Its reply, whose last text is `last`, is over or will never come."""
        self.last = question
        interrupted = over.reason == "connection_lost"
        state = State.INTERRUPTED if interrupted else State(over.status.value)
        reason = over.problem.message if over.problem else ""
        if last:
            item = _reply(last)
            self.items.append(item)
            yield Record(
                Entry(
                    question.turn,
                    question.entries,
                    item,
                    state,
                    over.model,
                    reason,
                    over.usage,
                    over.timing.first_token,
                    over.timing.total,
                )
            )
            question.entries += 1
        yield Record(Entry(question.turn, 0, question.item, state, over.model, reason))


def _reply(text: str) -> Message:
    return Message("assistant", (Part("text", text),))
