"""The conversation so far: the items that a new session receives, and the entries to save.

A new connection has an empty session, and so has a saved conversation that is resumed: both receive
`items`. Every method that changes something returns the entries to save.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rtchat.core.effects import Record, ReplyOver
from rtchat.core.question import NO_WORDS, Question, replay_item
from rtchat.core.replay import is_summary, replayed_item
from rtchat.core.reply import BETWEEN_PARTS
from rtchat.core.thinking import split
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

_MAX_MESSAGES = 16
"""How many messages of replies may be marked as interrupted later."""


class ConversationLog:
    """One conversation. `stores_audio` is whether the audio of speech is saved in addition to its
    transcript."""

    def __init__(
        self, stored: StoredConversation | None = None, *, stores_audio: bool = False
    ) -> None:
        self._stores_audio = stores_audio
        self.items: list[Item] = []
        self._branch: dict[int, tuple[Question, int]] = {}
        """The turns so far, by number, and where the items of each begin in `items`."""
        self.instructions: str | None = None
        """The instructions as last saved."""
        self._messages: deque[tuple[Message, Entry]] = deque(maxlen=_MAX_MESSAGES)
        """The last messages of replies, each with its entry as saved."""
        self._turns = self._tip = 0
        """The highest turn number, and the turn that the next one follows."""
        self.restart(stored)

    def restart(self, stored: StoredConversation | None = None) -> None:
        """Begin another conversation: a new one, or the saved conversation `stored`."""
        self.items, self._branch = [], {}
        self.instructions = None
        self._turns, self._tip = (stored.newest if stored else 0), 0
        for entry in stored.entries if stored else ():
            self._load(entry)
            self._tip = entry.turn

    def _load(self, entry: Entry) -> None:
        self._turns = max(self._turns, entry.turn)
        if isinstance(entry.item, Message) and entry.turn == 0:
            self.instructions = entry.item.text
            return
        if is_summary(entry.item):
            self.items.append(entry.item)
            return
        if entry.state is State.WITHDRAWN:
            return
        if isinstance(entry.item, Message) and entry.index == 0:
            *attached, asked = entry.item.parts or (Part("text"),)
            question = Question(entry.turn, asked.text, tuple(attached))
            question.item = entry.item
            self._note(question)
        elif entry.turn not in self._branch:
            self._note(Question(entry.turn, "", raw={}))
        self._branch[entry.turn][0].entries = entry.index + 1
        if entry.state is not State.QUEUED:
            self.items.append(entry.item)

    # ------------------------------------------------------------------------------------ branches

    def _note(self, question: Question) -> None:
        """A question is the next turn of the branch, if it is not yet in it."""
        if question.turn not in self._branch:
            question.parent = self._parent()
            if question.raw is None and self._tip == question.parent:
                self._tip = question.turn  # it had to wait for a spoken one with a higher number
            self._branch[question.turn] = question, len(self.items)

    def _parent(self) -> int:
        """The last turn with an entry, 0 if there is none; a turn of /raw may have none."""
        saved = (
            question for question, _ in reversed(self._branch.values()) if question.has_entries
        )
        return next((question.turn for question in saved), 0)

    @property
    def branch(self) -> list[Question]:
        """The turns so far, asked or dropped. Those of /raw have an empty question."""
        return [question for question, _ in self._branch.values()]

    @property
    def last(self) -> Question | None:
        """The last question."""
        asked = (
            question for question, _ in reversed(self._branch.values()) if question.raw is None
        )
        return next(asked, None)

    @property
    def last_answered(self) -> Question | None:
        """The last turn with a reply, or with part of one. That of /raw has an empty question."""
        answered = (turn for turn, _ in reversed(self._branch.values()) if turn.has_answer)
        return next(answered, None)

    @property
    def tip(self) -> int:
        """The turn that the next one follows, 0 if there is none."""
        return self._tip

    def cut(self, turn: int) -> dict[int, int]:
        """Remove this turn and those after it. Returns how many items each of them had, in the form
        in which a session receives them."""
        first = list(self._branch).index(turn)
        removed = list(self._turn_items())[first:]
        counts = {
            question.turn: sum(replay_item(item) is not None for item in items)
            for question, items in removed
        }
        del self.items[self._branch[turn][1] :]
        for question, _ in removed:
            del self._branch[question.turn]
        self._tip = self._parent()
        return counts

    def _turn_items(self) -> Iterator[tuple[Question, list[Item]]]:
        """Each turn with its items."""
        starts = [start for _, start in self._branch.values()]
        ends = [*starts[1:], len(self.items)]
        for (question, start), end in zip(self._branch.values(), ends, strict=False):
            yield question, self.items[start:end]

    def fork(self) -> None:
        """The turns of the branch are a new conversation."""
        self._turns, self._tip = max(self._branch), self._parent()

    def turns_of(self, items: Sequence[Item]) -> list[int]:
        """The turns of the items that a new session receives, 0 for one that is not in `items`."""
        left = [(turn.turn, item) for turn, items in self._turn_items() for item in items]
        out = []
        for item in reversed(items):  # they are the last items; earlier ones may be left out
            while left and replayed_item(left[-1][1]) != item:
                left.pop()
            out.append(left.pop()[0] if left else 0)
        return out[::-1]

    @property
    def last_reply(self) -> str | None:
        """The text of the last reply without the model's thoughts, if there is one. Tool calls may
        divide it."""
        messages = (item for item in reversed(self.items) if isinstance(item, Message))
        parts: list[str] = []
        for message in messages:
            if message.role == "assistant":
                parts += filter(None, [message.text])
            elif parts:
                break
        parts.reverse()
        answers = filter(None, (split(part).answer for part in parts))
        return BETWEEN_PARTS.join(answers) or BETWEEN_PARTS.join(parts) or None

    def was_asked(self, question: Question) -> bool:
        """Whether a question is in `items`."""
        return any(item is question.item for item in self.items)

    def enter(
        self, text: str, attached: tuple[Part, ...] = (), audio: bytes | None = None
    ) -> Question:
        """A new question. Its turn number is assigned now, even if it has to wait."""
        question = Question(self._next(), text, attached, audio)
        question.parent, self._tip = self._tip, question.turn
        return question

    def _next(self) -> int:
        self._turns += 1
        return self._turns

    def enter_raw(self, fields: JsonObject) -> Question:
        """A turn without a question: only its reply is saved."""
        return Question(self._next(), "", raw=fields)

    def can_repeat(self, question: Question) -> bool:
        """Whether a question can be asked again: a spoken one needs a transcript or audio."""
        return bool(not question.is_spoken or question.transcript or question.audio)

    def again(self, question: Question) -> Question:
        """The same question as a new one; a spoken one as text if it has a transcript, else as
        audio."""
        if question.transcript or not question.is_spoken:
            return self.enter(question.draft, question.attached)
        return self.enter(question.text, question.attached, question.audio)

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
        entry = self._placed(question, entry)
        details = question.transcript_details or TranscriptDetails()
        if entry.state is State.CANCELLED and question.is_wordless:
            entry = replace(entry, reason=NO_WORDS)
        question.entry = entry = replace(entry, usage=details.usage)
        item = question.item
        if not self._stores_audio:
            parts = (replace(p, data="") if p.kind == "audio" else p for p in item.parts)
            item = replace(item, parts=tuple(parts)) if question.is_spoken else item
        return Record(replace(entry, item=item))

    def _placed(self, question: Question, entry: Entry) -> Entry:
        """An entry of a turn with its place among the branches."""
        is_usual = question.parent == question.turn - 1
        return replace(entry, parent=None if is_usual else question.parent)

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
        self._note(question)
        if question.raw is None:
            self.items.append(question.item)
        if instructions and instructions != self.instructions:
            self.instructions = instructions
            system = Message("system", (Part("text", instructions),))
            yield Record(Entry(0, 0, system, State.COMPLETED))
        if question.raw is None:
            yield self._save(question, Entry(question.turn, 0, question.item, State.ASKED, model))

    def remove(self, question: Question) -> None:
        """Remove a question that the server refused."""
        self.items = [item for item in self.items if item is not question.item]

    def streaming(self, question: Question, text: str, model: str) -> Record:
        """Save the text so far of the reply to a question."""
        message = Message("assistant", (Part("text", text),))
        entry = Entry(question.turn, question.entries, message, State.STREAMING, model)
        return Record(self._placed(question, entry))

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
        entry = self._placed(question, replace(end, index=question.entries, item=last))
        self._messages.extend((message, entry) for message in messages[-1:])
        yield Record(entry)
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
            entry = self._placed(question, replace(entry, response_model=response_model))
            if isinstance(item, Message):
                self._messages.append((item, entry))
            yield Record(entry)
            question.entries += 1

    def end_turn(
        self, question: Question, over: ReplyOver, last: Sequence[Message], audio: bytes = b""
    ) -> Iterator[Record]:
        """The reply to a question is over, or will not come. `last` are the messages of the turn's
        last reply, `audio` is its audio to save."""
        if question.is_summary:
            return
        self._note(question)
        if question.raw is None:
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

    def mark_heard(self, before: Message, after: Message) -> Iterator[Record]:
        """A message of a reply was saved as `before`; only a part of it was heard, as `after` says.
        Messages of another conversation or branch are left as they are."""
        if not any(item is before for item in self.items):
            return
        self.items = [after if item is before else item for item in self.items]
        for at, (message, entry) in enumerate(self._messages):
            if message is before and isinstance(entry.item, Message):
                entry = replace(entry, item=replace(entry.item, heard=after.heard))
                self._messages[at] = after, entry
                yield Record(entry)

    def add_summary(self, index: int, summary: Message, over: ReplyOver) -> Record:
        """Insert a summary into `items`. It is saved after the last turn that it replaces, which
        stays in the history."""
        turns = self._branch.values()
        last = next(question for question, start in reversed(turns) if start < index)
        self.items.insert(index, summary)
        for question, start in turns:
            self._branch[question.turn] = question, start + (start >= index)
        entry = Entry(last.turn, SUMMARY_INDEX, summary, State.COMPLETED, over.model)
        entry = replace(entry, usage=over.usage, response_model=over.session.model)
        return Record(self._placed(last, entry))


SUMMARY_INDEX = 1_000_000
"""The index of a summary in its turn: after all other items."""
_NO_TEXT = Message("assistant", (Part("text"),))
"""A spoken reply without a transcript."""
