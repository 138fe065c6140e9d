"""The question that is being answered, and what of its answer was shown, heard and called so far.

A turn has one reply, or several with calls between them.
"""

from __future__ import annotations

from dataclasses import replace

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.question import Question
from rtchat.core.reply import BETWEEN_PARTS, Reply, size
from rtchat.core.reply_audio import FormatError, ReplyAudio
from rtchat.core.signals import notice
from rtchat.core.tool_calls import ToolCallBatch, ToolPolicy
from rtchat.core.values import ApprovalAnswer, Limits, Status, ToolCall, ToolOutput, Usage

SAVE_EVERY = 0.5
"""Seconds between two records of a reply that streams."""
WORDS_LATE = 1.0
"""Seconds that the text of a reply waits for what it replies to to be written down, so that they
stand in order."""


class Turn:
    """One turn; its state is the conversation's to change. Times are in seconds."""

    def __init__(self, question: Question, now: float, limits: Limits) -> None:
        self.question = question
        self._limits = limits
        self._call_bytes = 0
        """Bytes of the calls that were made, and of their outputs."""
        self.sent = now
        self.first: float | None = None
        """When the first text came."""
        self.reply = Reply(limits=limits)
        self.announced = False
        """Whether `response.created` named the reply; until then its first delta does."""
        self.waited = False
        """Whether a rate limit was waited out."""
        self.saving = False
        """Whether a timer runs that has the text recorded."""
        self.round: ToolCallBatch | None = None
        """The calls that are being made."""
        self.usage: Usage | None = None
        self.is_heard = False
        """Whether any of the reply's audio was played."""
        self.is_silenced = False
        """Whether the rest of it is not to be heard any more."""
        self.is_asked_for = False
        """Whether the server was asked for the reply; else it replies by itself."""
        self.server_was_busy = False
        """Whether it was busy when it would have."""
        self.not_interruptible = False
        """Whether the user spoke before it began: speech interrupts a reply when speech begins."""
        self.bad_audio_reported = False
        """Whether it was said that some of it is no audio."""
        self.audio_bytes = 0
        """Bytes of the reply's audio."""
        self.problem: Problem | None = None
        """A problem with a reply that is complete nevertheless."""
        self.audio: list[bytes] = []
        """What is to be kept of how it sounds."""
        self._rounds = 0
        self._said: list[str] = []
        """The text of its replies that were followed by calls."""
        self._separator = ""
        """What is shown between that and the next."""
        self._calls: list[ToolCall] = []
        self._held: list[str] | None = None
        """Its text, as long as that waits for what it replies to."""

    @property
    def has_begun(self) -> bool:
        """Whether anything of the reply came, so that it is not asked for again."""
        return self.is_heard or self.reply.has_begun

    @property
    def is_shown(self) -> bool:
        """Whether text of it stands on the screen."""
        return self._held is None and self.first is not None

    def begin_reply(self, *, not_interruptible: bool) -> None:
        """Another reply is asked for."""
        self.reply = self._new_reply()
        self.is_asked_for, self.server_was_busy, self.not_interruptible = (
            True,
            False,
            not_interruptible,
        )
        self.announced = self.is_heard = self.is_silenced = self.saving = False
        self.audio_bytes = 0

    def show(self, text: str, now: float, *, waits: bool) -> list[fx.Effect]:
        """The next text; the first decides whether it `waits`."""
        done: list[fx.Effect] = []
        if not text:
            return done
        if self.first is None:
            self.first = now
            if waits:
                self._held = []
                done.append(fx.SetTimer(ev.Timer.HEARD, WORDS_LATE))
        if self._held is None:
            done.append(fx.Show(fx.TextArrived(self._separator + text)))
        else:
            self._held.append(self._separator + text)
        self._separator = ""
        if not self.saving:
            self.saving = True
            done.append(fx.SetTimer(ev.Timer.SAVE, SAVE_EVERY))
        return done

    def release(self) -> list[fx.Effect]:
        """The text has waited long enough."""
        held, self._held = self._held, None
        if held is None:
            return []
        return [fx.ClearTimer(ev.Timer.HEARD), fx.Show(fx.TextArrived("".join(held)))]

    def play(
        self, event: ev.Delta | ev.ChannelDone, audio: ReplyAudio, *, stores_audio: bool
    ) -> list[fx.Effect]:
        """The next audio of the reply; `stores_audio` is whether it is kept on disk as well."""
        if self.is_silenced:
            return []
        try:
            play = audio.play(event)
        except FormatError as error:
            self.is_silenced = True
            message = f"the sound of the reply is {error}, not PCM, and is not played"
            self.problem = Problem(ExitCode.REPLY, message, "choose another model or server")
            return [notice("error", str(self.problem))]
        except ValueError as error:
            level: fx.Level = "detail" if self.bad_audio_reported else "warning"
            self.bad_audio_reported = True
            return [notice(level, str(error))]
        if audio.parts > self._limits.parts:
            self.reply.exceeded = "parts"
        if play is None:
            return []
        self.is_heard = True
        self.audio_bytes += len(play.audio)
        if self.audio_bytes > self._limits.audio_bytes:
            self.reply.exceeded = "audio"
        if stores_audio:
            self.audio.append(play.audio)
        return [play]

    def add_usage(self, usage: Usage | None) -> None:
        """A reply used this."""
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage + usage

    def begin_round(self, tool_policy: ToolPolicy) -> None:
        """The reply was calls: its words stand, another one follows."""
        if self.reply.text:
            self._said.append(self.reply.text)
            self._separator = BETWEEN_PARTS
        self._note_calls()
        self._rounds += 1
        self._call_bytes += sum(size(call.arguments) for call in self.reply.calls)
        self.round = ToolCallBatch(self.reply.calls, tool_policy, self._rounds)
        self.reply, self.audio, self.is_heard = self._new_reply(), [], False

    def _new_reply(self) -> Reply:
        left = self._limits.call_bytes - self._call_bytes
        return Reply(limits=replace(self._limits, call_bytes=left))

    @property
    def has_called(self) -> bool:
        """Whether there was a reply with calls before this one."""
        return self._rounds > 0

    @property
    def may_call(self) -> bool:
        """Whether its next reply may have calls."""
        return self._rounds < self._limits.rounds

    def end_round(self) -> list[ToolOutput | ApprovalAnswer]:
        """The answers to the calls that were made."""
        assert self.round is not None
        answers, self.round = self.round.answers, None
        outputs = (answer.output for answer in answers if isinstance(answer, ToolOutput))
        self._call_bytes += sum(map(size, outputs))
        return answers

    def _note_calls(self) -> None:
        self._calls += [call for call in self.reply.calls if isinstance(call, ToolCall)]

    def over(
        self,
        status: Status,
        reason: str,
        problem: Problem | None,
        ended: ev.ReplyEnded | None,
        *,
        model: str,
        connect: float | None,
        now: float,
        bill: float | None,
    ) -> fx.ReplyOver:
        """All of it, for whoever looks. `ended` is what the server said of the last reply; calls
        that it leaves to others are named."""
        if ended is not None:
            self._note_calls()
        first = None if self.first is None else self.first - self.sent
        text = self.reply.text
        return fx.ReplyOver(
            status,
            BETWEEN_PARTS.join([*self._said, *([text] if text else [])]),
            model,
            reason,
            problem,
            self.reply.id or None,
            None if ended is None else ended.conversation_id,
            self.usage,
            fx.Timing(connect, first, now - self.sent),
            tuple(self._calls),
            bill,
        )
