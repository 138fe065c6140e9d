"""The audio of the microphone: what the server was sent, what of it was said, and what is kept
while there is no session. Audio is PCM16, mono, 24 kHz.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from rtchat.core.echo import EchoDetector
from rtchat.core.effects import AppendAudio
from rtchat.core.question import Question
from rtchat.core.values import BYTES_A_MS, value

SHORTEST_MS = 100
"""OpenAI's server refuses to commit less."""
HELD_MS = 60_000
"""How much of what is said while there is no session is kept for the next one."""
TAIL_MS = 3_000
"""The silence that lets a server end a turn whose microphone is gone; few are asked to wait for
more."""
AWAITING_TRANSCRIPT = 8
"""How many turns may wait to be written down."""
TURNS = 100
"""How many turns a server may begin beyond those that the audio of the session accounts for."""
BEFORE_MS = 5_000
"""How much is kept of what was sent before anybody spoke: the server tells late when that began."""
MOST_MS = 600_000
"""How much is kept of a turn that nobody ends, or that a server has not got to: it has a file much
faster than it can hear it."""
PIECE_MS = 10_000
"""How much at once is told again: servers refuse an event of more than a few minutes."""


@value
class SpeechOptions:
    """How a conversation is spoken."""

    speaks: bool = False
    """Replies are to be heard."""
    has_microphone: bool = False
    push_to_talk: bool = True
    """The user ends a turn; else the server does, that listens all the time."""
    replies: bool = True
    """The server replies by itself to a turn that it has ended."""
    interrupts: bool = True
    """The user's speech stops a reply."""
    transcribes: bool = True
    """The server says what it has heard."""
    stores_audio: bool = False
    """The audio itself is kept on disk."""
    input_rate: int = 0
    """Samples per second of the PCM that the server is sent; 0 for none."""
    output_rate: int = 0
    """The same for what it is asked to send."""


class Speech:
    """What is known of the microphone and its audio."""

    def __init__(self, options: SpeechOptions, *, from_file: bool = False) -> None:
        """`from_file`: the microphone is a file, of which nothing may be lost."""
        self.options = options
        self._from_file = from_file
        self.is_there = options.has_microphone
        """Whether there is a microphone, and not gone."""
        self.is_on = self.listens
        self.awaiting_transcript: dict[str, Question] = {}
        """What was said and is not written down yet, by the id of its item."""
        self.echo = EchoDetector()
        self._sent = bytearray()
        """The last audio that this session's server was given,"""
        self._forgotten = 0
        """and how many bytes of it there were before."""
        self._turns = 0
        """How many turns it has made of it."""
        self._from: int | None = None
        self._until: int | None = None
        """The milliseconds of the session at which the user began to speak, and stopped."""
        self._held: deque[bytes] = deque()
        """What was said while there was no session."""
        self._turn = bytearray()
        """What was said of a turn that is made by hand."""

    @property
    def listens(self) -> bool:
        """Whether the server hears all that the microphone gives, and says when a turn is over."""
        return self.options.has_microphone and not self.options.push_to_talk

    @property
    def has_audio(self) -> bool:
        """Whether there is any that the server has made no turn of."""
        return bool(self._sent or self._held)

    @property
    def holds(self) -> bool:
        """Whether something was said that waits for a session."""
        return bool(self._held)

    @property
    def is_speaking(self) -> bool:
        """Whether the user is in the middle of a turn."""
        return self._from is not None

    def captured(self, audio: bytes, *, has_session: bool) -> AppendAudio | None:
        """The next audio, and what the server is to be told of it."""
        if not self.is_there:
            return None
        if self.options.push_to_talk:
            if self.is_on:
                self._turn += audio
                del self._turn[: -MOST_MS * BYTES_A_MS]
            return None
        if not self.is_on:
            audio = bytes(len(audio))  # in silence, a server can still tell that a turn is over
        if has_session:
            return self._send(audio)
        if self.is_on:
            self._hold(audio)
        return None

    def _send(self, audio: bytes) -> AppendAudio:
        self._sent += audio
        is_needed = self._from_file or self.is_speaking
        self._forget(len(self._sent) - (MOST_MS if is_needed else BEFORE_MS) * BYTES_A_MS)
        return AppendAudio(audio, live=True)

    def _hold(self, audio: bytes) -> None:
        self._held.append(audio)
        while not self._from_file and sum(map(len, self._held)) > HELD_MS * BYTES_A_MS:
            self._held.popleft()

    def _forget(self, size: int) -> None:
        if size > 0:
            del self._sent[:size]
            self._forgotten += size

    def toggle(self) -> bytes | None:
        """The microphone's key. By hand the second time ends a turn, and this is it."""
        self.is_on = not self.is_on
        if not self.options.push_to_talk or self.is_on:
            return None
        audio = bytes(self._turn)
        self._turn.clear()
        return audio

    def give_up(self) -> bool:
        """No session will come by itself: nobody is listened to; whether anybody was."""
        was_on = self.listens and self.is_on
        if was_on:
            self.is_on = False
            self._held.clear()
        return was_on

    def drop(self) -> bool:
        """What is being said of a turn that is made by hand is not meant; whether there was any."""
        is_talking = self.options.push_to_talk and self.is_on
        if is_talking:
            self.toggle()
        return is_talking

    def started(self, start_ms: int) -> None:
        """The server hears the user."""
        if self.listens:
            self._from, self._until = start_ms, None

    def is_turn(self) -> bool:
        """Whether the server was sent enough audio to begin another turn."""
        self._turns += 1
        audio = self._forgotten + len(self._sent)
        return self._turns <= TURNS + audio / (SHORTEST_MS * BYTES_A_MS)

    def stopped(self, end_ms: int) -> None:
        """It does not any more."""
        self._until = end_ms

    def committed(self) -> bytes:
        """The server made a turn of it: this is what was said."""
        if self._from is None:
            return b""
        size = len(self._sent)
        first, end = self._place(self._from, 0), self._place(self._until, size)
        audio = bytes(self._sent[first:end])
        self._forget(end)
        self._from = self._until = None
        return audio

    def _place(self, ms: int | None, otherwise: int) -> int:
        """Where a millisecond of the session is in what was sent; a server may say anything."""
        place = -1 if ms is None else ms * BYTES_A_MS - self._forgotten
        return place if 0 <= place <= len(self._sent) else otherwise

    def expect(self, item_id: str, question: Question) -> None:
        """What was said will be written down; a server that never does is not waited for."""
        self.awaiting_transcript[item_id] = question
        if len(self.awaiting_transcript) > AWAITING_TRANSCRIPT:
            del self.awaiting_transcript[next(iter(self.awaiting_transcript))]

    def closed(self) -> None:
        """There is no session any more. What was said and made no turn is for the next, also what
        this one had not taken for speech yet: it may have been gone for a while."""
        self._from, self._until = self._from or 0, None
        if said := self.committed():
            self._held.appendleft(said)
        self._sent.clear()
        self._forgotten = self._turns = 0
        self.awaiting_transcript.clear()

    def hold_first(self, said: Iterable[bytes]) -> None:
        """Before all else the next session is told this."""
        self._held.extendleft(reversed(list(said)))

    def opened(self) -> Iterator[AppendAudio]:
        """There is a session; it is told what was said meanwhile."""
        while self._held and not self.options.push_to_talk:
            held = self._held.popleft()
            for start in range(0, len(held), PIECE_MS * BYTES_A_MS):
                piece = held[start : start + PIECE_MS * BYTES_A_MS]
                # It is late already, and comes all at once: no reason to drop it.
                yield replace(self._send(piece), live=False)
