"""Changes of turns that are over: repeat, edit, undo, fork.

A removed turn stays in the saved conversation as a branch. The session has to forget it: its items
are deleted one by one, or a new session replaces this one if they are not all known, or if the
server does not delete them. No question is asked before that is done.
"""

from __future__ import annotations

from collections.abc import Sequence

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices
from rtchat.core.attachments import Attachments
from rtchat.core.question import Question
from rtchat.core.question_queue import QuestionQueue
from rtchat.core.replies import Replies, ReplyPhase
from rtchat.core.shared import SharedState
from rtchat.core.signals import Output, report
from rtchat.core.turns import Turns
from rtchat.core.values import Part

DELETE_WAIT = 2.0
"""Seconds to wait until the server has deleted the items; some servers ignore the command."""


class Branches:
    """The changes of the current branch."""

    def __init__(
        self,
        shared: SharedState,
        replies: Replies,
        turns: Turns,
        queue: QuestionQueue,
        attachments: Attachments,
    ) -> None:
        self._replies = replies
        self._turns = turns
        self._queue = queue
        self._attachments = attachments
        self._connection = shared.connection
        self._log = shared.log
        self._call_outputs = shared.call_outputs
        self._usage = shared.usage
        self._edited: int | None = None
        """The turn that the next question replaces."""
        self._given: tuple[Part, ...] = ()
        """The files of that turn, which were attached again."""

    # -------------------------------------------------------------------------------- the commands

    def say(self, text: str) -> list[Output]:
        """The user entered a question. After /edit, it replaces a turn and those after it."""
        if self._edited is None:
            return self._queue.say(self._log.enter(text, self._attachments.take()))
        if not text.strip():
            return self.abandon()
        if not self._queue.is_empty:
            return [notices.REPLY_PENDING, fx.Show(fx.Draft(text))]
        turn, self._edited, self._given = self._edited, None, ()
        out = self._cut(turn)
        return [*out, *self._queue.say(self._log.enter(text, self._attachments.take()))]

    def abandon(self) -> list[Output]:
        """The user abandoned the entry: nothing is edited."""
        cancelled = [] if self._edited is None else [notices.EDIT_CANCELLED]
        return [*self._end_edit(), *cancelled]

    def refuse_retry(self) -> Output | None:
        """Why the last question cannot be asked again now; None if it can."""
        last = self._log.last
        if not self._queue.is_empty:
            return notices.REPLY_PENDING
        if last is None:
            return notices.NOTHING_TO_REPEAT
        if (spent := self._usage.over_budget()) is not None:
            return report(spent)
        return None if self._log.can_repeat(last) else notices.TRANSCRIPT_UNKNOWN

    def retry(self, instructions: str) -> list[Output]:
        """Ask the last question again, with additional instructions for its reply."""
        last = self._log.last
        assert last is not None
        out = self._end_edit()
        has_reply = last.has_reply or last.has_answer
        if last is self._log.branch[-1] and not has_reply:  # nothing is replaced
            last.instructions = instructions
            if not self._log.was_asked(last):
                return [*out, *self._queue.say(last)]
            return [*out, *self._turns.begin_again(last), *self._queue.next()]
        out += self._cut(last.turn)
        again = self._log.again(last)
        again.instructions = instructions
        return [*out, *self._queue.say(again)]

    def edit(self, turn: int | None) -> list[Output]:
        """Give the question of a turn back to the user, by default the last one."""
        if not self._queue.is_empty:
            return [notices.REPLY_PENDING]
        branch = self._log.branch
        questions = [question for question in branch if question.raw is None]
        if not questions:
            return [notices.NOTHING_TO_EDIT]
        chosen = questions[-1] if turn is None else _find(questions, turn)
        if chosen is None:
            return [_no_turn(turn, questions)]
        out = self._end_edit()
        self._edited, self._given = chosen.turn, chosen.attached
        after = len(branch) - 1 - branch.index(chosen)
        return [*out, notices.editing(chosen.turn, after), *self._give_back(chosen)]

    def undo(self, count: int) -> list[Output]:
        """Remove the last turns, and give the first of their questions back to the user."""
        if not self._queue.is_empty:
            return [notices.REPLY_PENDING]
        branch = self._saved_turns()
        if not branch:
            return [notices.NOTHING_TO_UNDO]
        if count > len(branch):
            return [notices.too_few_turns(count, len(branch))]
        first = branch[-count]
        out = [*self._end_edit(), *self._cut(first.turn)]
        out += [fx.MoveTo(self._log.tip), notices.undone(count), *self._give_back(first)]
        return [*out, *self._queue.next()]

    def fork(self, turn: int | None) -> list[Output]:
        """Continue in a new conversation with the turns up to this one, by default all."""
        if not self._queue.is_empty:
            return [notices.REPLY_PENDING]
        branch = self._saved_turns()
        if not branch:
            return [notices.NOTHING_TO_FORK]
        chosen = branch[-1] if turn is None else _find(branch, turn)
        if chosen is None:
            return [_no_turn(turn, branch)]
        out = [*self._end_edit(), fx.Fork(chosen.turn), notices.forked(chosen.turn)]
        after = self._log.branch[self._log.branch.index(chosen) + 1 :]
        if after:
            out += self._cut(after[0].turn)
        self._log.fork()
        return [*out, *self._queue.next()]

    def _saved_turns(self) -> list[Question]:
        return [question for question in self._log.branch if question.has_entries]

    def _end_edit(self) -> list[Output]:
        """Nothing is edited: detach the files of the question that was."""
        self._edited = None
        given, self._given = self._given, ()
        return self._attachments.forget(given) if given else []

    def _give_back(self, question: Question) -> list[Output]:
        """Give the text and the attachments of a question back to the user."""
        draft = [fx.Show(fx.Draft(question.draft))] if question.draft else []
        return [*self._attachments.put_back(question.attached), *draft]

    # -------------------------------------------------------------------- the items in the session

    def _cut(self, turn: int) -> list[Output]:
        """Remove a turn and those after it from the conversation and from the session."""
        out = [*self._turns.leave_playback(), *self._replies.silence()]
        removed = self._log.cut(turn)
        self._call_outputs.forget_open()
        if not self._connection.has_session or self._connection.needs_new_session:
            return out
        is_over = self._replies.phase is not ReplyPhase.ENDING  # else more items may follow
        ids = self._connection.items.delete(removed) if is_over else None
        if ids is None:
            self._connection.needs_new_session = True
            return out
        out += [self._connection.send(fx.Delete(item_id)) for item_id in ids]
        return [*out, fx.SetTimer(ev.Timer.DELETE, DELETE_WAIT)] if ids else out

    def deleted(self, item_id: str) -> list[Output]:
        """The server deleted an item."""
        if not self._connection.items.deleted(item_id):
            return []
        return [fx.ClearTimer(ev.Timer.DELETE), *self._queue.next()]

    def not_deleted(self) -> list[Output]:
        """The server did not delete an item: a new session replaces this one."""
        if not self._connection.items.is_deleting:
            return []
        self._connection.items.stop_deleting()
        self._connection.needs_new_session = True
        return [fx.ClearTimer(ev.Timer.DELETE), *self._queue.next()]


def _find(turns: Sequence[Question], number: int) -> Question | None:
    return next((question for question in turns if question.turn == number), None)


def _no_turn(turn: int | None, turns: Sequence[Question]) -> Output:
    return notices.no_turn(turn or 0, [question.turn for question in turns])
