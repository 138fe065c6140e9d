"""Turns: a question, the replies to it, and the calls between them, one turn at a time.

`Replies` handles the pending reply, `ToolLoop` the calls, and `Turns` the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import server_errors
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.question import Question, add
from rtchat.core.replay import is_question
from rtchat.core.replies import Replies, ReplyPhase
from rtchat.core.reply import BETWEEN_PARTS
from rtchat.core.shared import SharedState
from rtchat.core.signals import BudgetSpent, Output, SummaryDone, TurnDone
from rtchat.core.thinking import split
from rtchat.core.tool_loop import ToolLoop
from rtchat.core.turn import Turn
from rtchat.core.values import Item, Message, Status


class Turns:
    """One turn after another."""

    def __init__(self, shared: SharedState, replies: Replies, tool_loop: ToolLoop) -> None:
        self._replies = replies
        self._tool_loop = tool_loop
        self._connection = shared.connection
        self._log = shared.log
        self._options = shared.options
        self._time = shared.time
        self._policy = shared.tool_policy
        self._call_outputs = shared.call_outputs
        self._usage = shared.usage
        self._speech = shared.speech
        self._audio = shared.audio
        self._context = shared.context
        self._late_transcripts: list[fx.UserTranscript] = []
        """Transcripts that arrived while the text of a reply was shown."""

    @property
    def current(self) -> Turn | None:
        """The turn that is not over."""
        return self._replies.turn

    @property
    def answer_so_far(self) -> str:
        """What is shown of the reply that is not complete, without the model's thoughts."""
        if self.current is None or not self.current.is_shown:
            return ""
        answers = (split(message.text).answer for message in self.current.messages)
        return BETWEEN_PARTS.join(filter(None, answers))

    @property
    def is_idle(self) -> bool:
        """Whether a session is ready, has only the current branch, and no reply is pending; calls
        may still be running."""
        is_ready = self._connection.is_ready and not self._connection.items.is_deleting
        return is_ready and self._replies.phase is ReplyPhase.IDLE

    @property
    def can_be_stopped(self) -> bool:
        """Whether there is a reply, or a wait for one, that the user can stop."""
        return (
            self._replies.is_due
            or self._replies.phase is ReplyPhase.LIMITED
            or self._tool_loop.is_running
        )

    # ----------------------------------------------------------------------------------- beginning

    def ask(self, question: Question) -> list[Output]:
        """Ask the next question."""
        begun = self._begin(question)
        commands = question.to_commands(listens=self._speech.listens)
        return [*begun, *map(self._connection.send, commands), *self._replies.ask()]

    def begin_again(self, question: Question) -> list[Output]:
        """Ask the last question, which the session already has, again."""
        closed = self._call_outputs.close()
        self._connection.items.begin(question.turn)
        self._replies.turn = Turn(question, self._time.now, self._policy.limits)
        asked = fx.QuestionAsked(question.text, self._connection.model, question.is_spoken)
        return [*closed, fx.Show(asked)]

    def _begin(self, question: Question) -> list[Output]:
        out = self._replies.silence(by_speech=question.is_spoken)
        self._speech.echo.asked(question)
        out += self._call_outputs.close()
        self._connection.items.begin(question.turn)
        self._replies.turn = Turn(question, self._time.now, self._policy.limits)
        model, instructions = self._connection.model, self._options.session.instructions
        out += self._log.asked(question, model, instructions)
        out.append(fx.Show(fx.QuestionAsked(question.text, model, question.is_spoken)))
        return [*out, *show_transcript(question)]

    def begin_spoken(self, question: Question) -> list[Output]:
        """The server ended a spoken turn, and replies to it."""
        out: list[Output] = []
        if self.current is not None:
            out += self.end(Status.CANCELLED, "turn_detected", asks_next=False)
        self._replies.overtaken()
        out += self._begin(question)
        question.in_session = True
        spent = self._usage.over_budget()
        is_ours = self._connection.needs_new_session or not self._speech.options.replies
        if is_ours and spent is None:
            return [*out, *self._replies.ask()]
        out.append(self._replies.expect())
        if spent is None:
            return out
        out += self._stop(Status.FAILED, problem=spent, asks_next=False)
        return [*out, BudgetSpent(spent, ends_turn=True)]

    def begin_unrequested(self, question: Question, response_id: str) -> list[Output]:
        """The server replies to an event that the user sent by /raw."""
        spent = self._usage.over_budget()
        out = self._begin(question)
        out.append(self._replies.adopt(response_id))
        if spent is not None:
            out += self._stop(Status.FAILED, problem=spent, asks_next=True)
        return out

    # -------------------------------------------------------------------------------------- ending

    def end(
        self,
        status: Status,
        reason: str = "",
        problem: Problem | None = None,
        ended: ev.ReplyEnded | None = None,
        *,
        asks_next: bool = True,
    ) -> list[Output]:
        """End the turn, with or without success."""
        turn, self._replies.turn = self.current, None
        assert turn is not None
        if problem is not None and (status is Status.FAILED or problem.exit is ExitCode.LINK):
            problem = self._connection.identify(problem, turn.reply.id)
        self._connection.turn_ended(is_complete=status is Status.COMPLETED)
        out = [*self._replies.show(turn, turn.reply.cut())]
        turn.question.has_reply |= turn.has_begun or status is Status.COMPLETED
        self._speech.echo.replied(turn.question)
        out += self._replies.finish(turn)
        if turn.saving:
            out.append(fx.ClearTimer(ev.Timer.SAVE))
        out += self._tool_loop.stop(turn)
        out += turn.release()
        out += self._audio.finish()
        if status is Status.COMPLETED:
            self._usage.replies += 1
        over = turn.result(
            status,
            reason,
            problem,
            ended,
            model=self._connection.model,
            session=self._connection.session,
            connect=self._connection.seconds,
            now=self._time.now,
            bill=self._usage.bill(turn.usage, self._connection.model),
            context=self._context.use(turn.last_usage),
        )
        out += self.close(turn.question, over, turn.reply.save(), b"".join(turn.audio))
        if self._audio.is_heard_due:
            out += self._audio.show_heard()
        if turn.question.is_summary:
            out.append(SummaryDone(over))
        return [*out, TurnDone(problem, asks_next)]

    def close(
        self,
        question: Question,
        over: fx.ReplyOver,
        last: Sequence[Message] = (),
        audio: bytes = b"",
    ) -> list[Output]:
        """Save and show how a question ended; `last` are the messages of its last reply."""
        late = [fx.Show(transcript) for transcript in self._late_transcripts]
        self._late_transcripts.clear()
        return [*self._log.end_turn(question, over, last, audio), fx.Show(over), *late]

    def _stop(
        self, status: Status, reason: str = "", problem: Problem | None = None, *, asks_next: bool
    ) -> list[Output]:
        return [*self._replies.stop(), *self.end(status, reason, problem, asks_next=asks_next)]

    def cancel(self) -> list[Output]:
        """Stop the reply, or the wait for one."""
        if self._replies.is_due:
            out = self._replies.stop()
            out += self._replies.silence()  # the truncation is sent after the cancel
            return [*out, *self.end(Status.CANCELLED, "client_cancelled", asks_next=False)]
        out = self._replies.silence()
        if self._replies.phase is ReplyPhase.LIMITED:
            self._replies.reset()
            out.append(fx.ClearTimer(ev.Timer.LIMIT))
        return [*out, *self.end(Status.CANCELLED, "client_cancelled")]

    def drop(self) -> list[Output]:
        """End the turn without a complete reply, if there is a turn."""
        if self.current is None:
            return []
        return self.end(Status.CANCELLED, "client_cancelled", asks_next=False)

    def leave(self) -> list[Output]:
        """Stop the turn because the program ends."""
        if self._replies.is_due:
            return self._stop(Status.CANCELLED, "client_cancelled", asks_next=False)
        return self.drop()

    def question_refused(self, error: ev.ServerProblem) -> list[Output]:
        """Stop the turn because the server refused its question: the reply would answer something
        else."""
        assert self.current is not None
        self._log.remove(self.current.question)
        return self._stop(Status.FAILED, problem=server_errors.of_error(error), asks_next=False)

    # ------------------------------------------------------------------------------------ playback

    def leave_playback(self) -> list[Output]:
        """The reply that is playing leaves the conversation: save how much of it was heard."""
        self._audio.leave()
        return self.save_heard()

    def save_heard(self) -> list[Output]:
        """Save how much was heard of the replies whose playback was interrupted last."""
        replies = self._audio.cut_replies
        changes = (change for reply in replies for change in reply.changes())
        return [record for change in changes for record in self._log.mark_heard(*change)]

    # ------------------------------------------------------------------ transcripts of the question

    def transcribed(self, question: Question, text: str, *, is_waiting: bool) -> list[Output]:
        """The transcript of a question has arrived, or will not come. It is shown after the reply
        if text of the reply is shown already, and if the question is waiting, when it is asked."""
        turn = self.current
        out: list[Output] = []
        if is_waiting or not text.strip():
            pass
        elif turn is not None and turn.is_shown:
            self._late_transcripts.append(fx.UserTranscript(text))
        else:
            out.append(fx.Show(fx.UserTranscript(text)))
        if turn is not None and turn.question is question:
            out += turn.release()
            question.has_reply |= turn.has_begun
            if question.transcript_is_empty:
                out += self._replies.heard_nothing()
        return out

    def save(self) -> list[Output]:
        """Save the reply so far."""
        turn = self.current
        if turn is None or not turn.reply.text or turn.question.is_summary:
            return []
        turn.saving = False
        return [self._log.streaming(turn.question, turn.reply.text, self._connection.model)]

    # ------------------------------------------------------------------------------------- session

    def session_ready(self, items: Iterable[Item]) -> list[Output]:
        """Send `items` of the conversation so far to a new session. If the question being answered
        is audio, it is sent so that the server transcribes it. It is not sent if it was spoken
        while the session was set up."""
        question = None if self.current is None else self.current.question
        out: list[Output] = []
        items = list(items)
        for item, turn in zip(items, self._log.turns_of(items), strict=True):
            self._connection.items.begin(turn)
            commands: Iterable[fx.Command] = add(item)
            if question is not None and turn == question.turn and is_question(item):
                commands = question.to_commands(listens=self._speech.listens)
            out += map(self._connection.send, commands)
        if question is not None and question.is_summary:  # it is not part of the conversation
            self._connection.items.begin(question.turn)
            out += map(self._connection.send, add(question.item))
        return out

    def session_closed(self) -> None:
        """The session is closed; the next one does not have the question."""
        if self.current is not None:
            self.current.question.forget_session()
        self._call_outputs.reset()
        self._replies.session_closed()

    @property
    def has_begun(self) -> bool:
        """Whether the reply has begun, so that another session cannot complete it."""
        turn = self.current
        return turn is not None and (turn.has_begun or turn.question.raw == {})

    def session_lost(self, problem: Problem) -> list[Output]:
        """End a reply that has begun, or that an error ended. Calls continue, and anything else is
        requested again."""
        error = self._replies.deadline.take_error()
        self._replies.reset()
        if error is not None and self.current is not None and problem.exit is ExitCode.LINK:
            return self.end(Status.FAILED, "", error, asks_next=False)
        if not self.has_begun:
            return []
        return self.end(Status.INCOMPLETE, "connection_lost", problem, asks_next=False)

    def fail(self, problem: Problem) -> list[Output]:
        """No session can be made: end the turn."""
        self._replies.reset()
        turn = self.current
        if turn is None:
            return []
        if turn.batch is not None:
            return self.end(Status.FAILED, "", problem, asks_next=False)
        self._replies.turn = None
        over = fx.ReplyOver(
            Status.FAILED,
            "",
            self._connection.model,
            problem=problem,
            session=self._connection.session,
        )
        return self.close(turn.question, over)


def show_transcript(question: Question) -> list[Output]:
    """Show the transcript of a spoken question, if it is known already."""
    return [fx.Show(fx.UserTranscript(question.transcript))] if question.transcript.strip() else []
