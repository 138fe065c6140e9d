"""Spoken turns: the microphone, the turns and transcripts that the server makes of its audio, and
the playback of replies.
"""

from __future__ import annotations

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices, server_errors
from rtchat.core.attachments import Attachments
from rtchat.core.captions import Captions
from rtchat.core.connection import Phase
from rtchat.core.errors import Problem
from rtchat.core.microphone import MicrophoneDevice
from rtchat.core.question import Question
from rtchat.core.question_queue import QuestionQueue
from rtchat.core.replies import Replies, ReplyPhase
from rtchat.core.shared import SharedState
from rtchat.core.signals import Output, report
from rtchat.core.speech_input import MIN_TURN_MS, TAIL_MS
from rtchat.core.turn import Turn
from rtchat.core.turns import Turns
from rtchat.core.values import BYTES_A_MS, TranscriptDetails


class SpokenTurns:
    """The microphone, and the turns made from its audio."""

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
        self._speech = shared.speech
        self._device = MicrophoneDevice(shared.speech)
        self._audio = shared.audio
        self._usage = shared.usage
        self._captions = Captions()
        self._heard = fx.SpeechHeard(is_speaking=False)
        self._playing = ""
        """What was shown last of the user's speech, and of the reply that is playing."""

    # ------------------------------------------------------------------------------ the microphone

    def begin(self) -> list[Output]:
        """The program has started."""
        return self._follow_microphone() if self._speech.options.has_microphone else []

    @property
    def microphone(self) -> fx.MicrophoneStatus | None:
        """The state of the microphone; None if the program was started without one."""
        return self._device.status if self._speech.options.has_microphone else None

    def _follow_microphone(self) -> list[Output]:
        return [*self._device.follow(), self._show_microphone()]

    def _show_microphone(self) -> fx.Show:
        return fx.Show(self._device.status)

    def microphone_opened(self, name: str) -> list[Output]:
        """Audio arrives from the microphone."""
        return [self._show_microphone()] if self._device.opened(name) else []

    def microphone_found(self) -> list[Output]:
        """There is a microphone again: use it as before the loss."""
        if self._speech.is_available or not self._speech.options.has_microphone:
            return []
        self._speech.is_available = True
        return self._switch_microphone() if self._device.found() else [self._show_microphone()]

    def close_microphone(self) -> list[Output]:
        """The microphone has been muted for a while: close its device."""
        return [*self._device.muted_long()]

    def captured(self, audio: bytes) -> list[Output]:
        """Send the next audio from the microphone."""
        command = self._speech.captured(audio, has_session=self._connection.is_ready)
        return [] if command is None else [self._connection.send(command)]

    def toggle_microphone(self) -> list[Output]:
        """Turn the microphone on or off."""
        if not self._speech.options.has_microphone:
            return [notices.NO_MICROPHONE]
        self._speech.is_available = True  # if it was lost, it may be there again
        return self._switch_microphone()

    def _switch_microphone(self) -> list[Output]:
        audio = self._speech.toggle()
        out: list[Output] = self._follow_microphone()
        if self._speech.is_on and self._connection.phase is Phase.DOWN:
            out += self._connection.connect()
        if self._speech.options.push_to_talk and self._speech.is_on:
            out += self._replies.silence()
            return [*out, *self._turns.cancel()] if self._turns.can_be_stopped else out
        if audio is None:
            return out
        if len(audio) < MIN_TURN_MS * BYTES_A_MS:
            return [*out, notices.NOTHING_RECORDED]
        return [*out, *self._queue.say(self._enter(audio))]

    def _enter(self, audio: bytes) -> Question:
        return self._log.enter("", self._attachments.take(), audio)

    def lose_microphone(
        self, problem: Problem, *, ends_turn: bool = True, is_gone: bool = True
    ) -> list[Output]:
        """Turn the microphone off; unless `is_gone`, it can be turned on again. With `ends_turn`,
        silence is sent so that the server can end the current turn."""
        speech = self._speech
        out: list[Output] = [report(problem)]
        is_turn_due = ends_turn and speech.is_on and speech.listens and speech.has_audio
        if is_turn_due:
            out += self.captured(bytes(TAIL_MS * BYTES_A_MS))
        was_there = speech.is_available
        speech.is_available = was_there and not is_gone
        if is_gone:
            out += self._device.lost()
        if speech.is_on:
            out += self._switch_microphone()
        elif speech.is_available != was_there:
            out += self._follow_microphone()
        return [*out, *self._queue.lose_microphone(problem, is_turn_due=is_turn_due)]

    def drop(self) -> list[Output]:
        """Drop the current push-to-talk turn; return nothing if there is none."""
        if not self._speech.drop():
            return []
        return [*self._follow_microphone(), notices.RECORDING_DISCARDED]

    @property
    def sends_audio(self) -> bool:
        """Whether all audio from the microphone is sent to the server."""
        return self._speech.listens and self._speech.is_available

    def show_changes(self) -> list[Output]:
        """Show what is heard of the user's speech, and of the reply, if it has changed."""
        out: list[Output] = []
        if self._speech.options.has_microphone:
            heard = fx.SpeechHeard(self._speech.is_heard, self._captions.words)
            if heard != self._heard:
                self._heard = heard
                out.append(fx.Show(heard))
        if self._audio.playing != self._playing:
            self._playing = self._audio.playing
            out.append(fx.Show(fx.ReplyPlaying(self._playing)))
        return out

    # -------------------------------------------------------------------------- the server's turns

    def started(self, start_ms: int) -> list[Output]:
        """The server detected speech."""
        self._speech.started(start_ms)
        out = self._attachments.send()
        turn = self._turns.current
        if turn is not None and self._replies.phase is ReplyPhase.ASKED:
            turn.not_interruptible = turn.is_requested
        if self._speech.options.interrupts:
            out += self._replies.silence(by_speech=True)
        return out

    def committed(self, item_id: str) -> list[Output]:
        """The server made the audio a user message: a question that the client sent, or a turn of
        live speech."""
        if item_id and item_id in self._queue.item_ids:
            return []  # a repeated event
        self._usage.began(item_id)
        if not self._speech.listens or self._is_late(item_id):
            return self._set_item_id(item_id)
        if not self._speech.is_turn():
            return [notices.IGNORED_TURN]
        question = self._enter(b"".join(clip.audio for clip in self._speech.committed()))
        question.item_id = item_id
        self._connection.items.note(item_id, question.turn)
        self._await_transcript(question)
        turn = self._turns.current
        waits = self._connection.items.is_deleting and not self._speech.options.replies
        if not waits and (turn is None or not self._continues(turn)):
            return self._turns.begin_spoken(question)
        question.in_session = True  # and is answered later
        return self._queue.say(question)

    def _is_late(self, item_id: str) -> bool:
        """Whether the server has already begun to reply to the audio."""
        turn = self._turns.current
        is_unnamed = turn is not None and turn.question.is_spoken and not turn.question.item_id
        return bool(item_id) and is_unnamed and not self._speech.is_speaking

    def _set_item_id(self, item_id: str) -> list[Output]:
        turn = self._turns.current
        if turn is None or not turn.question.is_spoken or turn.question.item_id:
            return []
        turn.question.item_id = item_id
        self._speech.awaiting_transcript.pop("", None)
        self._await_transcript(turn.question)
        return self._replies.ownership.confirmed(turn.question.item)

    def _await_transcript(self, question: Question) -> None:
        if self._speech.options.transcribes:
            self._speech.expect(question.item_id, question)

    def _continues(self, turn: Turn) -> bool:
        """Whether a turn continues although the user spoke in the meantime."""
        options = self._speech.options
        is_server_busy = self._replies.is_due or not options.replies
        return is_server_busy and (turn.not_interruptible or not options.interrupts)

    def transcript_grew(self, delta: ev.Delta) -> list[Output]:
        """More words of a question were recognised."""
        self._captions.add(delta)
        return []

    def transcript_done(self, done: ev.ChannelDone) -> list[Output]:
        """The transcript of a question has arrived."""
        model = self._speech.options.transcription_model
        self._usage.add_transcript(done.usage, model, done.item_id)
        cost = self._usage.bill(done.usage, model)
        details = TranscriptDetails(model, done.usage, cost, done.details)
        return self.transcribed(done.item_id, done.text, details=details)

    def transcribed(
        self,
        item_id: str,
        text: str,
        *,
        is_known: bool = True,
        details: TranscriptDetails | None = None,
    ) -> list[Output]:
        """The transcript of a question has arrived; unless `is_known`, there will be none."""
        self._captions.end(item_id)
        question = self._speech.take_awaiting(item_id)
        if question is None:
            return []
        question.transcript_details = details
        question.transcript_is_empty = is_known and not text.strip()
        out: list[Output] = [*self._log.add_transcript(question, text)]
        out += self._turns.transcribed(question, text, is_waiting=question in self._queue)
        self._speech.echo.replied(question)
        out += self.end_echo()
        return [*out, *self._queue.next()]

    def transcription_failed(self, event: ev.TranscriptionFailed) -> list[Output]:
        """There will be no transcript."""
        warning = notices.transcription_failed(
            event.message, self._connection.session.ids(), "warning"
        )
        return [warning, *self.transcribed(event.item_id, "", is_known=False)]

    # ------------------------------------------------------------------------------------ playback

    def playback_cut(self, cut: ev.PlaybackCut) -> list[Output]:
        """Playback of a reply was interrupted."""
        truncations = map(self._connection.send, self._audio.truncate(cut))
        out = [*truncations, *self._note_heard(cut)]
        if not self._audio.was_cut_by_speech:
            return out
        self._speech.echo.cut(cut.played_ms)
        return [*out, *self.end_echo()]

    def lose_speaker(self, problem: Problem, cut: ev.PlaybackCut | None) -> list[Output]:
        """The speaker was lost, perhaps while it played a reply: what follows was not heard. If
        the reply is not complete, its text continues, and it is truncated when it is over."""
        out: list[Output] = [report(problem)]
        self._audio.end()
        if cut is None:
            return out
        out += self._note_heard(cut)
        truncations = self._audio.truncate(cut)
        turn = self._turns.current
        if turn is not None and turn.reply in self._audio.cut_replies[:1]:
            self._audio.truncations = truncations
            return out
        return [*out, *map(self._connection.send, truncations)]

    def _note_heard(self, cut: ev.PlaybackCut) -> list[Output]:
        """Save and show how much of the interrupted reply was heard; if it is not over, when it
        ends."""
        self._audio.cut(cut)
        saved = self._turns.save_heard()
        turn = self._turns.current
        if turn is not None and turn.reply in self._audio.cut_replies:
            self._audio.is_heard_due = True
            return saved
        return [*saved, *self._audio.show_heard()]

    def end_echo(self) -> list[Output]:
        """Mute a microphone that picks up the speaker: the server would reply to itself."""
        if not (self._speech.echo.is_echo and self._speech.listens and self._speech.is_on):
            return []
        self._speech.echo.forget()
        return self.lose_microphone(server_errors.echo(), ends_turn=False, is_gone=False)

    # ------------------------------------------------------------------------------------- session

    def session_ready(self) -> list[Output]:
        """Send the audio captured while there was no session."""
        out = self._attachments.send() if self._speech.holds else []
        return [*out, *map(self._connection.send, self._speech.opened())]

    def session_closed(self) -> list[Output]:
        """The session is closed: end its audio input and playback."""
        self._speech.closed()
        self._captions.clear()
        return [*self._audio.close()]

    def fail(self) -> list[Output]:
        """No session can be made: turn the microphone off."""
        return self._follow_microphone() if self._speech.give_up() else []
