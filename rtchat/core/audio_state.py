"""The spoken side of a conversation: what the microphone gives, what of it was said, and what is to
be heard of replies. Audio is PCM16, mono, 24 kHz.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from rtchat.core.effects import AppendAudio, Play
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import ChannelDone, Delta, SessionCreated, SessionUpdated
from rtchat.core.log import Question
from rtchat.core.values import BYTES_A_MS, AudioFormat, value

SHORTEST_MS = 100
"""OpenAI's server refuses to commit less."""
HELD_MS = 60_000
"""How much of what is said while there is no session is kept for the next one."""
TAIL_MS = 3_000
"""The silence that lets a server end a turn whose microphone is gone; few are asked to wait for
more."""
AWAITING_TRANSCRIPT = 8
"""How many turns may wait to be written down."""
PLAYED = 1000
"""How many of the last items with sound are remembered by their ids."""
TURNS = 100
"""How many turns a server may begin beyond those that the audio of the session accounts for."""
BEFORE_MS = 5_000
"""How much is kept of what was sent before anybody spoke: the server tells late when that began."""
MOST_MS = 600_000
"""How much is kept of a turn that nobody ends, or that a server has not got to: it has a file much
faster than it can hear it."""
PIECE_MS = 10_000
"""How much at once is told again: servers refuse an event of more than a few minutes."""


ECHO_MS = 1_000
"""Speech that cuts a reply within this much of its sound may be the reply itself."""
MOST_ECHOES = 3


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


class FormatError(Exception):
    """Sound that is not PCM; the message names its format."""


class Speech:
    """What is known of the audio of one conversation, both ways."""

    def __init__(self, options: SpeechOptions, *, from_file: bool = False) -> None:
        """`from_file`: the microphone is a file, of which nothing may be lost."""
        self.options = options
        self._from_file = from_file
        self.is_there = options.has_microphone
        """Whether there is a microphone, and not gone."""
        self.is_on = self.listens
        self.awaiting_transcript: dict[str, Question] = {}
        """What was said and is not written down yet, by the id of its item."""
        self._formats: list[AudioFormat] = [AudioFormat(), AudioFormat()]
        """What this session's server says that it takes, and sends."""
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
        self._played: dict[str, None] = {}
        """The last items of this session that have sound."""
        self._parts: dict[tuple[str, int], bytes] = {}
        """Those that are being heard: the first byte of a sample whose second has not come."""

    # -------------------------------------------------------------------------------- the formats

    def agree(self, session: SessionCreated | SessionUpdated) -> None:
        """What the server says of its session."""
        for index, said in enumerate((session.input_format, session.output_format)):
            if said is not None:
                self._formats[index] = said

    def wrong_format(self) -> Problem | None:
        """The problem if the server's sound formats differ from what was asked for, else None."""
        rates = self.options.input_rate, self.options.output_rate
        verbs = "takes", "sends"
        for verb, said, rate in zip(verbs, self._formats, rates, strict=True):
            if rate and not said.fits(rate):
                message = f"the server {verb} sound as {said}, and was asked for PCM at {rate} Hz"
                return Problem(ExitCode.REPLY, message, "choose another model or server")
        return None

    # ------------------------------------------------------------------------------ the microphone

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
        self._formats = [AudioFormat(), AudioFormat()]
        self._forgotten = self._turns = 0
        self._played.clear()
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

    # --------------------------------------------------------------------------------- the speaker

    def silence(self) -> None:
        """What came is not to be heard to its end."""
        self._parts.clear()

    def was_played(self, item_id: str) -> bool:
        """Whether an item is one of this session's, and has sound."""
        return item_id in self._played

    @property
    def parts(self) -> int:
        """How many parts are being heard."""
        return len(self._parts)

    def finish(self) -> Iterator[Play]:
        """Nothing more comes of what is being heard, whatever the server has said of it."""
        for item_id, index in self._parts:
            yield Play(item_id, index, b"", is_last=True)
        self._parts.clear()

    def play(self, event: Delta | ChannelDone) -> Play | None:
        """What is to be heard of a reply's next audio.

        Raises:
            ValueError: it is not base64.
            FormatError: it is not PCM.
        """
        if not self.options.speaks:
            return None
        key = event.item_id, event.content_index
        if isinstance(event, ChannelDone):
            return None if self._parts.pop(key, None) is None else Play(*key, b"", is_last=True)
        self._played[event.item_id] = None
        if len(self._played) > PLAYED:
            del self._played[next(iter(self._played))]
        try:
            # Some encoders break lines.
            audio = b64decode("".join(event.text.split()), validate=True)
        except (Base64Error, ValueError) as error:
            raise ValueError(f"sound of the reply that is no base64 is left out: {error}") from None
        if key not in self._parts and (name := _container(audio)):
            raise FormatError(name)
        audio = self._parts.get(key, b"") + audio
        whole = len(audio) // 2 * 2
        self._parts[key] = audio[whole:]
        return Play(*key, audio[:whole]) if whole else None


_CONTAINERS = {
    b"ID3": "MP3",
    b"RIFF": "WAV",
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"\x1aE\xdf\xa3": "WebM",
}


def _container(audio: bytes) -> str:
    """The format of a part's first audio, if it is clearly not PCM."""
    for magic, name in _CONTAINERS.items():
        if audio.startswith(magic):
            return name
    # A frame header may be a sample as well: another frame has to follow where this one ends.
    for name, length in (("MP3", _mp3_frame(audio)), ("AAC", _adts_frame(audio))):
        if length and len(audio) > length + 1 and audio[length : length + 2] == audio[:2]:
            return name
    return ""


def _mp3_frame(audio: bytes) -> int:
    """The bytes of the MPEG layer III frame that begins here; 0 if none does."""
    if len(audio) < 4 or audio[0] != 0xFF or audio[1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate = audio[1] >> 3 & 3, audio[2] >> 4, audio[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return 0
    is_first = version == 3
    kilobits = (_MPEG_1 if is_first else _MPEG_2)[bitrate]
    hertz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    return (144 if is_first else 72) * kilobits * 1000 // hertz + (audio[2] >> 1 & 1)


_MPEG_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def _adts_frame(audio: bytes) -> int:
    """The bytes of the AAC frame that begins here; 0 if none does."""
    if len(audio) < 6 or audio[0] != 0xFF or audio[1] & 0xF6 != 0xF0:
        return 0
    return (audio[3] & 3) << 11 | audio[4] << 3 | audio[5] >> 5


class EchoDetector:
    """Notices a microphone that picks up the loudspeaker: several replies in a row were cut short
    by speech as soon as they were heard, or answer no words."""

    def __init__(self) -> None:
        self._count = 0
        self._last: Question | None = None
        """The last question, if it was spoken."""
        self._counted: Question | None = None
        """The last one whose reply was counted."""

    @property
    def is_echo(self) -> bool:
        """Whether there were enough such replies."""
        return self._count >= MOST_ECHOES

    def asked(self, question: Question, *, transcribes: bool) -> None:
        """The next question. A typed one is no echo; nor is the last one if it has words, as far as
        that is known, and its reply was complete."""
        last, self._last = self._last, question if question.is_spoken else None
        if not question.is_spoken:
            self._count = 0
        elif last is not None and last.is_answered and last is not self._counted:
            self._count = self._count if transcribes and not last.words.strip() else 0

    def cut(self, played_ms: int) -> None:
        """Speech cut the last reply after this much of its sound."""
        if self._last is not None and 0 < played_ms < ECHO_MS:
            self._count_reply(self._last)

    def replied(self, question: Question) -> None:
        """More is known of a question, or of its reply."""
        if question.has_reply and question.is_wordless:
            self._count_reply(question)

    def forget(self) -> None:
        """Start counting again."""
        self._count = 0

    def _count_reply(self, question: Question) -> None:
        if question is not self._counted:
            self._count += 1
            self._counted = question
