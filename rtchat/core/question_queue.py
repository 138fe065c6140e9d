"""The waiting questions, and what to do next: ask one, connect, or end the program."""

from __future__ import annotations

from collections import deque

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.connection import Phase
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.mode import Mode
from rtchat.core.question import Question
from rtchat.core.shared import SharedState
from rtchat.core.signals import BudgetSpent, Output, report, stop
from rtchat.core.tool_loop import ToolLoop
from rtchat.core.turns import Turns, show_transcript
from rtchat.core.values import Status

LAST_TURN_WAIT = 5.0
"""Seconds to wait, before the program ends, for the last turn after the microphone was lost."""
LAST_TRANSCRIPT_WAIT = 3.0
"""Seconds to wait, before the program ends, for the last transcript."""


class QuestionQueue:
    """The questions not asked yet, in order."""

    def __init__(self, shared: SharedState, tool_loop: ToolLoop, turns: Turns) -> None:
        self._tool_loop = tool_loop
        self._turns = turns
        self._connection = shared.connection
        self._log = shared.log
        self._mode = shared.mode
        self._usage = shared.usage
        self._speech = shared.speech
        self._waiting: deque[Question] = deque()
        self._input_ended = False
        self._is_winding_down = False
        """Whether the microphone was lost, and the server may still end the last turn."""
        self._exit = ExitCode.OK
        self._shown: tuple[str, ...] = ()
        """The waiting questions that are shown."""

    def __contains__(self, question: Question) -> bool:
        return question in self._waiting

    @property
    def is_empty(self) -> bool:
        """Whether no question is waiting or being answered."""
        return self._turns.current is None and not self._waiting

    @property
    def item_ids(self) -> set[str]:
        """The server's item ids of these questions, and of the one being answered."""
        turn = self._turns.current
        current = () if turn is None else (turn.question,)
        return {question.item_id for question in (*current, *self._waiting)}

    def say(self, question: Question) -> list[Output]:
        """Ask a question as soon as possible."""
        self._waiting.append(question)
        out = self.next()
        if question in self._waiting and question.raw is None and not question.is_summary:
            out.append(self._log.queued(question, self._connection.model))
        return [*out, *self.show_waiting()]

    def take_back(self) -> tuple[Question | None, list[Output]]:
        """Remove the last typed question that waits and return it, if there is one."""
        question = next(filter(_is_typed, reversed(self._waiting)), None)
        if question is None:
            return None, []
        self._waiting.remove(question)
        withdrawn = self._log.withdrawn(question, self._connection.model)
        return question, [withdrawn, *self.show_waiting()]

    def show_waiting(self) -> list[Output]:
        """Show the waiting questions to a person, if they have changed."""
        texts = tuple(question.text for question in self._waiting if _is_typed(question))
        if self._mode is not Mode.CHAT or texts == self._shown:
            return []
        self._shown = texts
        return [fx.Show(fx.Queued(texts))]

    def next(self) -> list[Output]:
        """Do the next step, if it can be done now."""
        if self.is_empty and self._is_input_over:
            if self._speech.awaiting_transcript and self._connection.has_session:
                return [fx.SetTimer(ev.Timer.TRANSCRIPT, LAST_TRANSCRIPT_WAIT)]
            return stop(self._exit)
        if self._connection.phase is Phase.DOWN and not self.is_empty:
            return self._connection.connect()
        if not self._turns.is_idle:
            return []
        if self._turns.current is not None:
            return self._tool_loop.resume()
        if self._connection.needs_new_session:
            return self._connection.connect()
        if self._connection.is_renewal_due and not self._speech.is_speaking:
            return self._connection.connect()
        if not self._waiting:
            return []
        question = self._waiting.popleft()
        return [*self.show_waiting(), *self._ask(question)]

    @property
    def _is_input_over(self) -> bool:
        """Whether no more questions can come. The microphone may still be on after the end of a
        pipe."""
        may_speak = (self._speech.is_available and self._speech.is_on) or self._is_winding_down
        return self._input_ended and not (may_speak and self._mode is Mode.LINES)

    def _ask(self, question: Question) -> list[Output]:
        spent = self._usage.over_budget()
        return self._turns.ask(question) if spent is None else self._refuse(question, spent)

    def _refuse(self, question: Question, problem: Problem) -> list[Output]:
        """End this question and all waiting ones with this problem."""
        self._waiting.appendleft(question)
        out = self._drop(Status.FAILED, problem=problem)
        if self._mode is not Mode.CHAT:
            out += stop(problem.exit)
        elif self._speech.listens and self._speech.is_on:
            out.append(BudgetSpent(problem, ends_turn=False))
        return out

    def drop(self) -> list[Output]:
        """The user stops waiting for a connection: drop all questions."""
        return [*self._turns.drop(), *self._drop(Status.CANCELLED, "client_cancelled")]

    def _drop(
        self, status: Status, reason: str = "", problem: Problem | None = None
    ) -> list[Output]:
        over = fx.ReplyOver(status, "", self._connection.model, reason, problem)
        dropped, self._waiting = self._waiting, deque()
        out = self.show_waiting()
        for question in dropped:
            out += show_transcript(question)
            if self._mode is Mode.CHAT and _is_typed(question):
                out.append(fx.Show(fx.QuestionDropped(question.text)))
            out += self._turns.close(question, over)
        return out

    # ---------------------------------------------------------------------- the end of the program

    def end_input(self, problem: Problem | None) -> list[Output]:
        """There is no more input."""
        self._input_ended = True
        if problem is None:
            return self.next()
        self._exit = problem.exit
        return [report(problem), *self.next()]

    def lose_microphone(self, problem: Problem, *, is_turn_due: bool) -> list[Output]:
        """The microphone was lost; it may have been the only input."""
        if self._mode is not Mode.LINES:
            return []
        self._exit = problem.exit
        self._is_winding_down = is_turn_due
        return [*self._wait_for_turn(), *self.next()]

    def _wait_for_turn(self) -> list[Output]:
        if not (self._is_winding_down and self._connection.has_session):
            return []
        return [fx.SetTimer(ev.Timer.INPUT, LAST_TURN_WAIT)]

    def turn_did_not_come(self) -> list[Output]:
        """The server did not end the last turn in time after the microphone was lost."""
        self._is_winding_down = False
        return self.next()

    def transcript_did_not_come(self) -> list[Output]:
        """Stop waiting for a transcript."""
        if self._turns.current is not None:
            return [*self._turns.current.release()]
        self._speech.awaiting_transcript.clear()
        return self.next()

    def turn_ended(self, problem: Problem | None) -> list[Output]:
        """Set the exit code if the turn failed; with a single question, end the program."""
        if problem is not None and self._mode is Mode.ONCE:
            return stop(problem.exit)
        if problem is not None and self._mode is Mode.LINES:
            self._exit = ExitCode.REPLY
        return []

    def leave(self, exit_code: ExitCode) -> list[Output]:
        """End the program."""
        return [*self._turns.leave(), *stop(exit_code)]

    # ------------------------------------------------------------------------------------- session

    def session_ready(self) -> list[Output]:
        """A session is ready and has received the conversation."""
        return [*self._wait_for_turn(), *self.next()]

    def session_closed(self) -> None:
        """The session is closed; the next one does not have the questions."""
        for question in filter(None, (self._log.last, *self._waiting)):
            question.forget_session()

    def session_lost(self) -> list[Output]:
        """End the program instead of reconnecting if there is nothing left to do."""
        return stop(self._exit) if self.is_empty and self._is_input_over else []

    def fail(self, problem: Problem, *, is_shown: bool) -> list[Output]:
        """No session can be opened: drop all questions. `is_shown` is whether a reply just ended
        with this problem."""
        is_unseen = self.is_empty and not is_shown
        out = self._turns.fail(problem)
        if is_unseen:
            out.insert(0, report(problem))
        out += self._drop(Status.FAILED, problem=problem)
        if self._mode is not Mode.CHAT or not self._connection.ever_connected:
            out += stop(problem.exit)
        return out


def _is_typed(question: Question) -> bool:
    return question.raw is None and not question.is_spoken
