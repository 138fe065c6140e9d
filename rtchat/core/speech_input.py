"""The audio from the microphone: what was sent to the server, which part of it is speech, and what
is buffered while there is no session. Audio is PCM16, mono, 24 kHz.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from rtchat.core.audio_timeline import AudioTimeline
from rtchat.core.echo import EchoDetector
from rtchat.core.effects import AppendAudio
from rtchat.core.question import Question
from rtchat.core.values import BYTES_A_MS, AudioFormat, Encoding, value

MIN_TURN_MS = 100
"""The shortest turn in milliseconds: OpenAI's server refuses to commit less audio."""
MAX_HELD_MS = 60_000
"""Milliseconds of audio buffered for the next session while there is none."""
TAIL_MS = 3_000
"""Milliseconds of silence sent after the microphone is lost, so that the server ends the turn. Few
servers are configured to wait longer."""
MAX_AWAITING_TRANSCRIPT = 8
"""How many turns may wait for their transcripts."""
MAX_EXTRA_TURNS = 100
"""How many more turns a server may begin than the audio sent in the session can contain."""
BEFORE_MS = 5_000
"""Milliseconds of sent audio kept while the user is not speaking: the server reports the start of
speech late."""
MAX_TURN_MS = 600_000
"""Milliseconds of audio kept of a turn that is not ended, or of a file that the server has not yet
processed: a file is sent much faster than real time."""
PIECE_MS = 10_000
"""Milliseconds of audio per event when buffered audio is sent: servers refuse events with more than
a few minutes."""


@value
class AudioClip:
    """Consecutive audio of the input; `start` is how many bytes of the input are before it."""

    audio: bytes
    start: int


@value
class SpeechOptions:
    """The audio options of a conversation."""

    speaks: bool = False
    """Replies are played."""
    has_microphone: bool = False
    push_to_talk: bool = True
    """The user ends each turn; otherwise the server does, and receives all audio."""
    replies: bool = True
    """The server replies by itself to the turns that it detects."""
    interrupts: bool = True
    """The user's speech interrupts a reply."""
    transcribes: bool = True
    """The server sends transcripts of the user's speech."""
    transcription_model: str = ""
    """The model that was requested for the transcripts."""
    stores_audio: bool = False
    """The audio itself is saved with the conversation."""
    input_rate: int = 0
    """Samples per second of the audio requested for the server's input; 0 for none."""
    output_rate: int = 0
    """Samples per second of the audio requested from the server; 0 for none."""
    input_encoding: Encoding = Encoding.PCM
    output_encoding: Encoding = Encoding.PCM

    @property
    def input_format(self) -> AudioFormat | None:
        """The format requested for the server's input; None if there is none."""
        return AudioFormat(self.input_encoding, self.input_rate) if self.input_rate else None

    @property
    def output_format(self) -> AudioFormat | None:
        """The format requested for the server's output; None if there is none."""
        return AudioFormat(self.output_encoding, self.output_rate) if self.output_rate else None


class SpeechInput:
    """The state of the microphone and its audio."""

    def __init__(self, options: SpeechOptions, *, from_file: bool = False) -> None:
        """`from_file`: the audio comes from a file, and none of it may be lost."""
        self.options = options
        self._from_file = from_file
        self.is_available = options.has_microphone
        """Whether there is a microphone that was not lost."""
        self.is_on = self.listens
        self.awaiting_transcript: dict[str, Question] = {}
        """Spoken questions without a transcript yet, by item id."""
        self._transcribed: deque[str] = deque(maxlen=8 * MAX_AWAITING_TRANSCRIPT)
        """The item ids of the last transcripts that arrived or are no longer expected."""
        self.echo = EchoDetector()
        self._sent = bytearray()
        """The most recent audio sent in this session."""
        self._forgotten = 0
        """How many bytes were sent before `_sent`."""
        self._timeline = AudioTimeline()
        """Where the audio of this session is in the input."""
        self._captured = 0
        """Bytes of the input so far, whether they were sent or not."""
        self._turns = 0
        """How many turns the server has made in this session."""
        self._start_ms: int | None = None
        self._end_ms: int | None = None
        """When the user started and stopped speaking, in milliseconds of the session's audio."""
        self._held: deque[AudioClip] = deque()
        """The audio captured while there was no session."""
        self._turn = bytearray()
        """The audio of the current push-to-talk turn."""

    @property
    def listens(self) -> bool:
        """Whether the server receives all audio from the microphone and detects turns."""
        return self.options.has_microphone and not self.options.push_to_talk

    @property
    def has_audio(self) -> bool:
        """Whether there is audio that is not part of a turn yet."""
        return bool(self._sent or self._held)

    @property
    def holds(self) -> bool:
        """Whether audio is waiting for a session."""
        return bool(self._held)

    @property
    def is_speaking(self) -> bool:
        """Whether the user is in the middle of a turn."""
        return self._start_ms is not None

    @property
    def is_heard(self) -> bool:
        """Whether the server hears the user speak."""
        return self.listens and self.is_speaking and self._end_ms is None

    @property
    def has_stopped(self) -> bool:
        """Whether the user has stopped speaking, but the server has not ended the turn."""
        return self.listens and self.is_speaking and self._end_ms is not None

    def captured(self, audio: bytes, *, has_session: bool) -> AppendAudio | None:
        """Take the next audio from the microphone; return the command that sends it, if any."""
        if not self.is_available:
            return None
        if self.options.push_to_talk:
            if self.is_on:
                self._turn += audio
                del self._turn[: -MAX_TURN_MS * BYTES_A_MS]
            return None
        if not self.is_on:
            audio = bytes(len(audio))  # silence lets the server detect the end of a turn
        clip = AudioClip(audio, self._captured)
        self._captured += len(audio)
        if has_session:
            return self._send(clip)
        if self.is_on:
            self._hold(clip)
        return None

    def _send(self, clip: AudioClip) -> AppendAudio:
        self._timeline.add(self._forgotten + len(self._sent), clip.start)
        self._sent += clip.audio
        is_needed = self._from_file or self.is_speaking
        self._discard(len(self._sent) - (MAX_TURN_MS if is_needed else BEFORE_MS) * BYTES_A_MS)
        return AppendAudio(clip.audio, live=True)

    def _hold(self, clip: AudioClip) -> None:
        self._held.append(clip)
        limit = MAX_HELD_MS * BYTES_A_MS
        while not self._from_file and sum(len(held.audio) for held in self._held) > limit:
            self._held.popleft()

    def _discard(self, size: int) -> None:
        if size > 0:
            del self._sent[:size]
            self._forgotten += size

    def toggle(self) -> bytes | None:
        """Turn the microphone on or off. With push-to-talk, turning it off ends a turn: return its
        audio."""
        self.is_on = not self.is_on
        if not self.options.push_to_talk or self.is_on:
            return None
        audio = bytes(self._turn)
        self._turn.clear()
        return audio

    def give_up(self) -> bool:
        """Turn the microphone off because no session can be opened. Return whether it was on."""
        was_on = self.listens and self.is_on
        if was_on:
            self.is_on = False
            self._held.clear()
        return was_on

    def drop(self) -> bool:
        """Discard the current push-to-talk turn. Return whether there was one."""
        is_talking = self.options.push_to_talk and self.is_on
        if is_talking:
            self.toggle()
        return is_talking

    def started(self, start_ms: int) -> None:
        """The server detected speech."""
        if self.listens:
            self._start_ms, self._end_ms = start_ms, None

    def is_turn(self) -> bool:
        """Count another turn of the server. Return whether enough audio was sent for it."""
        self._turns += 1
        audio = self._forgotten + len(self._sent)
        return self._turns <= MAX_EXTRA_TURNS + audio / (MIN_TURN_MS * BYTES_A_MS)

    def stopped(self, end_ms: int) -> None:
        """The server detected the end of speech."""
        self._end_ms = end_ms

    def processed(self, end_ms: int | None) -> None:
        """The server has processed the audio of the session up to this millisecond; None means all
        audio."""
        end = len(self._sent) if end_ms is None else self._offset(end_ms, 0)
        self._discard(end)
        self._start_ms = self._forgotten // BYTES_A_MS

    def committed(self) -> list[AudioClip]:
        """The server ended a turn. Return the turn's audio."""
        if self._start_ms is None:
            return []
        size = len(self._sent)
        first, end = self._offset(self._start_ms, 0), self._offset(self._end_ms, size)
        clips = [
            AudioClip(
                bytes(self._sent[start - self._forgotten : stop - self._forgotten]),
                self._timeline.position(start),
            )
            for start, stop in self._timeline.parts(self._forgotten + first, self._forgotten + end)
        ]
        self._discard(end)
        self._start_ms = self._end_ms = None
        return clips

    @property
    def sent_ms(self) -> int:
        """Milliseconds of audio sent in this session."""
        return (self._forgotten + len(self._sent)) // BYTES_A_MS

    def input_times(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """Where a part of this session's audio begins and ends in the input, in milliseconds."""
        start = self._timeline.position(start_ms * BYTES_A_MS) // BYTES_A_MS
        end = self._timeline.end(end_ms * BYTES_A_MS) // BYTES_A_MS
        return start, max(start, end)

    def _offset(self, ms: int | None, default: int) -> int:
        """The offset of this millisecond in `_sent`; `default` if unknown or out of range."""
        offset = -1 if ms is None else ms * BYTES_A_MS - self._forgotten
        return offset if 0 <= offset <= len(self._sent) else default

    def expect(self, item_id: str, question: Question) -> None:
        """Wait for the transcript of a question. The oldest question is dropped if too many
        wait."""
        self.awaiting_transcript[item_id] = question
        if len(self.awaiting_transcript) > MAX_AWAITING_TRANSCRIPT:
            self.take_awaiting(next(iter(self.awaiting_transcript)))

    def take_awaiting(self, item_id: str) -> Question | None:
        """The question that a transcript belongs to. One with an unknown id belongs to the oldest
        question without a transcript: some servers use other ids."""
        is_new = item_id not in self._transcribed
        self._transcribed.append(item_id)
        if item_id in self.awaiting_transcript or not is_new:
            return self.awaiting_transcript.pop(item_id, None)
        oldest = next(iter(self.awaiting_transcript), None)
        return None if oldest is None else self.awaiting_transcript.pop(oldest)

    def closed(self) -> None:
        """The session is closed. Keep the audio that is not part of a turn for the next session,
        even if no speech was detected in it: the connection may have been lost for a while."""
        self._start_ms, self._end_ms = self._start_ms or 0, None
        self.hold_first(self.committed())
        self._sent.clear()
        self._timeline.clear()
        self._forgotten = self._turns = 0
        self.awaiting_transcript.clear()

    def end(self) -> None:
        """No session follows: free the audio."""
        self._sent.clear()
        self._held.clear()

    def hold_first(self, clips: Iterable[AudioClip]) -> None:
        """Put this audio before all other audio for the next session."""
        self._held.extendleft(reversed(list(clips)))

    def opened(self) -> Iterator[AppendAudio]:
        """There is a session: send it the audio captured in the meantime."""
        while self._held and not self.options.push_to_talk:
            held = self._held.popleft()
            for first in range(0, len(held.audio), PIECE_MS * BYTES_A_MS):
                piece = held.audio[first : first + PIECE_MS * BYTES_A_MS]
                # This audio is already late, so it must not be dropped for being late.
                yield replace(self._send(AudioClip(piece, held.start + first)), live=False)
