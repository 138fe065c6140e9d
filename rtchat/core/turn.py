"""The question being answered, and the text, audio and calls of its replies so far.

A turn has one reply, or several with calls between them.
"""

from __future__ import annotations

from dataclasses import replace

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices, server_errors
from rtchat.core.errors import Problem
from rtchat.core.question import Question
from rtchat.core.remote_tools import RemoteCalls
from rtchat.core.reply import BETWEEN_PARTS, Reply, size
from rtchat.core.reply_audio import FormatError, ReplyAudio
from rtchat.core.reply_calls import ReplyCalls
from rtchat.core.signals import report
from rtchat.core.tool_calls import ToolCallBatch, ToolPolicy
from rtchat.core.values import (
    ApprovalAnswer,
    Channel,
    Item,
    Message,
    SessionInfo,
    Status,
    ToolCall,
    ToolOutput,
    TurnLimits,
    Usage,
)

SAVE_EVERY = 0.5
"""Seconds after which an incomplete reply is saved again."""
TRANSCRIPT_WAIT = 1.0
"""Seconds that the text of a reply waits for the transcript of its question, to be shown after it.
"""


class Turn:
    """One turn; its state is changed by the units of the conversation. Times are in seconds."""

    def __init__(self, question: Question, now: float, limits: TurnLimits) -> None:
        self.question = question
        self._limits = limits
        self._call_bytes = 0
        """Bytes of the calls so far, and of their outputs."""
        self.awaited: Item | None = None if question.in_session else question.item
        """The last item that was sent before a reply is requested, if any."""
        self.sent = now
        self.first_text_at: float | None = None
        """When the first text arrived."""
        self.reply, self.calls = Reply(limits=limits), ReplyCalls(limits)
        """The text and the calls of the current reply."""
        self.announced = False
        """Whether `response.created` has named the reply; if not, its first delta does."""
        self.waited = False
        """Whether the turn has already waited for a rate limit."""
        self.saving = False
        """Whether the timer for saving the text is running."""
        self.batch: ToolCallBatch | None = None
        """The calls being made."""
        self.usage: Usage | None = None
        self.last_usage: Usage | None = None
        """The usage of the last reply; `usage` is that of all replies."""
        self.has_audio = False
        """Whether any audio of the reply was played."""
        self.is_silenced = False
        """Whether the rest of its audio is not played."""
        self.is_requested = False
        """Whether the client requested the reply; otherwise the server replies by itself."""
        self.server_was_busy = False
        """Whether the server was busy when it should have replied by itself."""
        self.not_interruptible = False
        """Whether the user began to speak before the reply: only the start of speech interrupts."""
        self.bad_audio_reported = False
        """Whether audio that could not be decoded was reported."""
        self.audio_bytes = 0
        """Bytes of the reply's audio."""
        self.problem: Problem | None = None
        """A problem with a reply that is nevertheless complete."""
        self.audio: list[bytes] = []
        """The audio to save."""
        self._rounds = 0
        self._earlier: list[Message] = []
        """The messages of the replies that were followed by calls."""
        self._separator = ""
        """The separator between the last of these messages and the next."""
        self._calls: list[ToolCall] = []
        self.limit = ""
        """The limit that the reply exceeds, other than those of its text and calls."""
        self.remote = RemoteCalls()
        """The calls that the model's server makes."""
        self._held: list[str] | None = None
        """The text, while it waits for the transcript of the question."""

    @property
    def has_begun(self) -> bool:
        """Whether any of the reply has arrived, so that it is not requested again."""
        return self.has_audio or self.reply.has_begun

    @property
    def is_shown(self) -> bool:
        """Whether any of its text is shown."""
        return self._held is None and self.first_text_at is not None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The text of its replies so far."""
        return (*self._earlier, *self.reply.messages)

    @property
    def exceeded(self) -> str:
        """The name of the limit that the reply exceeds, if it exceeds one."""
        return self.limit or self.reply.exceeded or self.calls.exceeded

    def begin_reply(self, *, not_interruptible: bool) -> None:
        """Another reply is being requested."""
        self._begin_anew()
        self.is_requested, self.server_was_busy = True, False
        self.not_interruptible = not_interruptible
        self.announced = self.has_audio = self.is_silenced = self.saving = False
        self.audio_bytes = 0

    def add(self, delta: ev.Delta) -> str:
        """Add a piece of the text or of the arguments of a call; return the text to show."""
        if delta.channel is Channel.ARGUMENTS:
            self.calls.add_arguments(delta.item_id, delta.text)
            return ""
        return self.reply.add(delta)

    def show(self, text: str, now: float, *, waits: bool) -> list[fx.Effect]:
        """Show the next text. `waits` is whether the first text waits for a transcript."""
        done: list[fx.Effect] = []
        if not text:
            return done
        if self.first_text_at is None:
            self.first_text_at = now
            if waits:
                self._held = []
                done.append(fx.SetTimer(ev.Timer.TRANSCRIPT, TRANSCRIPT_WAIT))
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
        """Show the text that has been waiting."""
        held, self._held = self._held, None
        if not held:
            return []
        return [
            fx.ClearTimer(ev.Timer.TRANSCRIPT),
            fx.Show(fx.TextArrived("".join(held), len(held))),
        ]

    def play(
        self, event: ev.Delta | ev.ChannelDone, audio: ReplyAudio, *, stores_audio: bool
    ) -> list[fx.Effect]:
        """Play the next audio of the reply; `stores_audio` is whether it is saved as well."""
        if self.is_silenced:
            return []
        try:
            play = audio.play(event)
        except FormatError as error:
            self.is_silenced = True
            self.problem = server_errors.unplayable(str(error))
            return [report(self.problem)]
        except ValueError as error:
            level: fx.Level = "detail" if self.bad_audio_reported else "warning"
            self.bad_audio_reported = True
            return [notices.invalid_audio(str(error), level)]
        if audio.parts > self._limits.parts:
            self.limit = "parts"
        if play is None:
            return []
        self.has_audio = True
        audio.note_reply(self.reply, play)
        self.audio_bytes += len(play.audio)
        if self.audio_bytes > self._limits.audio_bytes:
            self.limit = "audio"
        if stores_audio:
            self.audio.append(play.audio)
        return [play]

    def add_usage(self, usage: Usage | None) -> None:
        """Add the usage of a reply."""
        if usage is not None:
            self.last_usage = usage
            self.usage = usage if self.usage is None else self.usage + usage

    def begin_calls(self, tool_policy: ToolPolicy) -> None:
        """Keep the reply's text and begin its calls; another reply follows."""
        self.question.has_reply |= self.has_begun
        self._earlier += self.reply.messages
        if self.reply.text:
            self._separator = BETWEEN_PARTS
        self._note_calls()
        self._rounds += 1
        self._call_bytes += sum(size(call.arguments) for call in self.calls.made)
        self.batch = ToolCallBatch(self.calls.made, tool_policy, self._rounds)
        self._begin_anew()
        self.audio, self.has_audio = [], False

    @property
    def only_remote_calls(self) -> bool:
        """Whether the reply consists only of calls that the model's server has made."""
        return self.remote.has_any and not self.has_begun and not self.calls.made

    def continue_reply(self) -> None:
        """Another reply will follow the calls that the model's server has made."""
        self._rounds += 1
        self.remote.begin_reply()
        self._begin_anew()
        self.announced = self.is_requested = False

    def _begin_anew(self) -> None:
        limits = replace(self._limits, call_bytes=self._limits.call_bytes - self._call_bytes)
        self.reply, self.calls, self.limit = Reply(limits=limits), ReplyCalls(limits), ""

    @property
    def has_called(self) -> bool:
        """Whether an earlier reply of the turn had calls."""
        return self._rounds > 0

    @property
    def may_call(self) -> bool:
        """Whether the next reply may have calls."""
        return self._rounds < self._limits.rounds

    def end_calls(self) -> list[ToolOutput | ApprovalAnswer]:
        """End the current calls and return their answers."""
        assert self.batch is not None
        answers, self.batch = self.batch.answers, None
        self.awaited = answers[-1] if answers else None
        outputs = (answer.output for answer in answers if isinstance(answer, ToolOutput))
        self._call_bytes += sum(map(size, outputs))
        return answers

    def _note_calls(self) -> None:
        self._calls += [call for call in self.calls.made if isinstance(call, ToolCall)]

    def result(
        self,
        status: Status,
        reason: str,
        problem: Problem | None,
        ended: ev.ReplyEnded | None,
        *,
        model: str,
        session: SessionInfo,
        connect: float | None,
        now: float,
        bill: float | None,
        context: fx.ContextUse | None,
    ) -> fx.ReplyOver:
        """The result of the turn. `ended` is the end of the last reply; its calls, which are not
        made here, are included."""
        if ended is not None:
            self._note_calls()
        first = None if self.first_text_at is None else self.first_text_at - self.sent
        messages = self.messages
        return fx.ReplyOver(
            status,
            BETWEEN_PARTS.join(message.text for message in messages),
            model,
            reason,
            problem,
            self.reply.id or None,
            None if ended is None else ended.conversation_id,
            self.usage,
            fx.Timing(connect, first, now - self.sent),
            tuple(self._calls),
            bill,
            tuple(self.remote.all),
            messages if any(message.phase for message in messages) else (),
            session=replace(session, model=ended.model) if ended and ended.model else session,
            transcript=self.question.transcript_details,
            context=context,
        )
