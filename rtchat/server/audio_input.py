"""A client's audio input: audio becomes turns, turns become items, items get transcripts.

Deterministic and without I/O: the caller carries out each `Transcribe` and passes the transcript
back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias, assert_never

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.values import (
    BYTES_A_MS,
    AudioFormat,
    Channel,
    Item,
    JsonObject,
    Message,
    Options,
    Part,
    Usage,
    value,
)
from rtchat.server.audio_formats import decoded_size, decoder, format_of
from rtchat.server.early_transcript import EarlyTranscript
from rtchat.server.items import CommandError, Items
from rtchat.server.turn_detection import (
    MAX_TURN_MS,
    TurnBegan,
    TurnDetector,
    TurnEnded,
    TurnOptions,
    TurnSoFar,
    read_turn_options,
)
from rtchat.server.voice import Voice
from rtchat.wire.audio_options import language_details, spoken_languages
from rtchat.wire.client_events import read_audio
from rtchat.wire.fields import Fields
from rtchat.wire.server_events import ServerMessage
from rtchat.wire.validators import FieldError

_DECODED_AT_ONCE = 65_536
"""The maximum number of bytes decoded at once."""
_MIN_COMMIT_MS = 100
"""The minimum length of audio that can be committed, in milliseconds."""


@value
class Transcribe:
    """Transcribe this audio: pass each piece to `add_transcript`, then call `end_transcript`."""

    item_id: str
    audio: bytes


@value
class TranscribeEarly:
    """Transcribe this audio of a turn that has not ended, and pass the complete transcript to
    `add_early_transcript`; None if it was not made. `end_ms` is the end of the audio, relative to
    the first audio of the session."""

    item_id: str
    audio: bytes
    end_ms: int


@value
class Transcribed:
    """The transcript of an item is complete: it was made before the end of the turn."""

    item_id: str
    text: str


@value
class ReplyLikely:
    """A message that begins like this one, and a response to it, will probably follow."""

    message: Message


@value
class ReplyDue:
    """The user has finished a turn. The item gets a response if its transcript has words."""

    item_id: str


Step: TypeAlias = (
    ServerMessage | Transcribe | TranscribeEarly | Transcribed | ReplyLikely | ReplyDue
)


@dataclass
class _AwaitingTranscript:
    """An item that waits for its transcript."""

    message: Message
    size: int
    """The size of the audio in bytes."""
    sent: str = ""
    """The part of the transcript that the client has received. If it turns out to be wrong, the
    client receives no more until the transcript is complete."""
    audio: bytes = b""
    """The audio, if an early transcript is being made of it."""
    pieces: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.size / BYTES_A_MS / 1000

    @property
    def index(self) -> int:
        """The index of the content part that gets the transcript."""
        return self.message.parts.index(Part("audio"))


class AudioInput:
    """The audio input of one conversation. Adds the spoken items to `items`. If `voice` is a
    string, audio is refused with it as the reason."""

    def __init__(
        self, voice: Voice | str, items: Items, new_id: Callable[[str], str], session: JsonObject
    ) -> None:
        self._languages = () if isinstance(voice, str) else voice.languages
        self._detector = voice if isinstance(voice, str) else TurnDetector(voice.detector)
        self._format = AudioFormat()
        self._decode = decoder(self._format)
        self._transcribes_early = not isinstance(voice, str) and voice.transcribes_early
        self._items = items
        self._new_id = new_id
        self._turn_options: TurnOptions | None = None
        self._reports_transcripts = False
        self._speech_item_id = ""
        """The id of the item for the current speech."""
        self._early: EarlyTranscript | None = None
        """The early transcripts of the current speech."""
        self._awaiting: dict[str, _AwaitingTranscript] = {}
        """Items that wait for their transcripts."""
        self.configure(session)

    @property
    def interrupts(self) -> bool:
        """Whether speech cancels the active response."""
        return self._turn_options is not None and self._turn_options.interrupts

    @property
    def _auto_responds(self) -> bool:
        """Whether the end of a turn creates a response."""
        return self._turn_options is not None and self._turn_options.auto_respond

    @property
    def is_speech_active(self) -> bool:
        """Whether the user is speaking."""
        return self._speech_item_id != ""

    @property
    def size(self) -> int:
        """Bytes of audio not yet committed or transcribed."""
        buffered = 0 if isinstance(self._detector, str) else self._detector.size
        return buffered + self.untranscribed_bytes

    @property
    def untranscribed_bytes(self) -> int:
        """Bytes of audio not yet transcribed."""
        return sum(awaiting.size for awaiting in self._awaiting.values())

    @property
    def awaiting_transcript(self) -> Collection[str]:
        """The ids of the items that wait for their transcripts."""
        return self._awaiting.keys()

    def reserves(self, item_id: str) -> bool:
        """Whether this id belongs to the current speech or to an item without its transcript."""
        return item_id in {self._speech_item_id, *self._awaiting}

    def configure(self, session: JsonObject) -> None:
        """Apply a complete session object, as the client sees it."""
        self._turn_options = read_turn_options(session)
        transcribes = session.get("type") == "transcription"
        if transcribes and self._turn_options:
            self._turn_options = replace(self._turn_options, auto_respond=False, interrupts=False)
        audio = Fields(session, []).fields("audio").fields("input").data
        self._reports_transcripts = transcribes or audio.get("transcription") is not None
        if isinstance(self._detector, TurnDetector):
            self._detector.configure(self._turn_options)
        if self._turn_options is None:
            self._end_speech()
        if (format := format_of(session, "input")) != self._format:
            self._format, self._decode = format, decoder(format)

    def _end_speech(self) -> None:
        self._speech_item_id, self._early = "", None

    def check_languages(self, options: Options, path: str) -> None:
        """Raises `CommandError` for a language that the voice does not recognize."""
        if not self._languages:
            return
        for option, codes in spoken_languages(options.other).items():
            if not any(code.lower().partition("-")[0] in self._languages for code in codes):
                supported = ", ".join(f"'{code}'" for code in self._languages)
                message = f"Invalid value: '{codes[0]}'. Supported values are: {supported}."
                raise CommandError("invalid_value", message, f"{path}.{option}")

    def clear(self) -> None:
        """Drop all audio, and refuse more."""
        self._detector = "This session has ended"
        self._awaiting.clear()

    # ---------------------------------------------------------------------------------- the buffer

    def execute(self, command: fx.AppendAudio | fx.CommitAudio | fx.ClearAudio) -> Iterator[Step]:
        """Carry out a client's command. Raises `CommandError`."""
        if isinstance(self._detector, str):
            raise CommandError("audio_not_supported", f"{self._detector}. Send text instead.")
        match command:
            case fx.AppendAudio(audio):
                return self._append(self._detector, audio)
            case fx.CommitAudio():
                return self._commit(self._detector)
            case fx.ClearAudio():
                return self._clear(self._detector)
        assert_never(command)

    def _append(self, detector: TurnDetector, audio: bytes) -> Iterator[Step]:
        if not detector.has_room_for(decoded_size(len(audio), self._format)):
            minutes = MAX_TURN_MS // 60_000
            message = f"The buffer is full ({minutes} minutes). Commit or clear it."
            raise CommandError("input_audio_buffer_full", message, "audio")
        for start in range(0, len(audio), _DECODED_AT_ONCE):
            piece = audio[start : start + _DECODED_AT_ONCE]
            yield from self._feed(detector, self._decode(piece, last=False))

    def _feed(self, detector: TurnDetector, audio: bytes) -> Iterator[Step]:
        for boundary in detector.feed(audio):
            match boundary:
                case TurnBegan(start_ms):
                    self._speech_item_id = self._new_id("item")
                    self._early = EarlyTranscript(self._speech_item_id)
                    yield ev.SpeechStarted(self._speech_item_id, start_ms)
                case TurnSoFar():
                    yield from self._transcribe_early(boundary)
                case TurnEnded():
                    yield from self._end_turn(boundary)
                case _:
                    assert_never(boundary)

    def _end_turn(self, turn: TurnEnded) -> Iterator[Step]:
        item_id, early = self._speech_item_id, self._early
        yield ev.SpeechStopped(item_id, turn.end_ms)
        yield from self._make_item(turn.audio, speech=len(turn.audio) - turn.silence)
        if self._auto_responds:
            yield ReplyDue(item_id)
        if self._awaiting[item_id].audio and early is not None and early.text is not None:
            yield from self.add_early_transcript(item_id, early.text)

    def _commit(self, detector: TurnDetector) -> Iterator[Step]:
        yield from self._feed(detector, self._decode(b"", last=True))
        if detector.milliseconds < _MIN_COMMIT_MS:
            message = (
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{_MIN_COMMIT_MS}ms of audio, but buffer only has "
                f"{detector.milliseconds:.2f}ms of audio."
            )
            raise CommandError("input_audio_buffer_commit_empty", message)
        yield from self._make_item(detector.take())

    def _clear(self, detector: TurnDetector) -> Iterator[Step]:
        self._decode(b"", last=True)
        detector.take()
        self._end_speech()
        yield ev.AudioCleared()

    def _make_item(self, audio: bytes, *, speech: int = 0) -> Iterator[Step]:
        """Make an item. An early transcript is used if it has the first `speech` bytes."""
        item_id, early = self._speech_item_id or self._new_id("item"), self._early
        self._end_speech()
        message = Message("user", (Part("audio"),), item_id, "completed")
        previous = self._items.append(message)
        yield ev.AudioCommitted(item_id, previous)
        yield ev.ItemAdded(message, previous)
        yield ev.ItemDone(message, previous)
        transcribe = self.start_transcription(message, audio)
        awaiting = self._awaiting[item_id]
        awaiting.sent = early.shown if early is not None and self._reports_transcripts else ""
        if early is not None and early.is_complete(speech):
            awaiting.audio = audio
        else:
            yield transcribe

    # --------------------------------------------------------------------------------- transcripts

    def split_audio(self, item: Item, path: str) -> tuple[Item, bytes]:
        """Split a client's item into the item without audio and the audio to transcribe."""
        if isinstance(self._detector, str) or not isinstance(item, Message) or item.role != "user":
            return item, b""
        audio = b""
        for index, part in enumerate(item.parts):
            if part.kind == "audio" and not part.text:
                try:
                    audio += read_audio(part.data, f"{path}.content[{index}].audio")
                except FieldError as error:
                    raise CommandError(error.code, str(error), error.param) from None
        if decoded_size(len(audio), self._format) > MAX_TURN_MS * BYTES_A_MS:
            message = f"The audio of an item may be {MAX_TURN_MS // 60_000} minutes long."
            raise CommandError("invalid_value", message, f"{path}.content")
        parts = tuple(replace(p, data="") if p.kind == "audio" else p for p in item.parts)
        audio = decoder(self._format)(audio, last=True)
        return replace(item, parts=parts), audio[: len(audio) // 2 * 2]

    def start_transcription(self, message: Item, audio: bytes) -> Transcribe:
        """Transcribe the audio of an item."""
        assert isinstance(message, Message)
        self._awaiting[message.id] = _AwaitingTranscript(message, len(audio))
        return Transcribe(message.id, audio)

    def _transcribe_early(self, turn: TurnSoFar) -> Iterator[Step]:
        """Transcribe a turn that has not ended, unless an earlier turn waits for its transcript."""
        is_useful = turn.is_paused or self._reports_transcripts
        early = self._early if self._transcribes_early and not self._awaiting else None
        if early is not None and is_useful and (begun := early.begin(turn)):
            yield TranscribeEarly(early.item_id, begun.audio, begun.end_ms)

    def add_early_transcript(self, item_id: str, text: str | None) -> Iterator[Step]:
        """Add the result of a `TranscribeEarly`, which may belong to a turn that has ended or was
        dropped."""
        early, awaiting = self._early, self._awaiting.get(item_id)
        if early is not None and early.item_id == item_id:
            yield from self._continue_early(early, text)
        elif awaiting is not None and awaiting.audio:
            audio, awaiting.audio = awaiting.audio, b""
            yield Transcribe(item_id, audio) if text is None else Transcribed(item_id, text)

    def _continue_early(self, early: EarlyTranscript, text: str | None) -> Iterator[Step]:
        words = early.add(text)
        if words and self._reports_transcripts:
            yield ev.Delta(Channel.INPUT_TRANSCRIPT, words, "", early.item_id)
        if begun := early.begin_next():
            yield TranscribeEarly(early.item_id, begun.audio, begun.end_ms)
        elif text and text.strip() and self._auto_responds:
            yield ReplyLikely(Message("user", (Part("audio", text),), early.item_id, "completed"))

    def add_transcript(self, item_id: str, piece: str) -> list[ServerMessage]:
        """Add the next piece of an item's transcript. Returns the events for the client."""
        awaiting = self._awaiting[item_id]
        awaiting.pieces.append(piece)
        text = "".join(awaiting.pieces)
        new = text.removeprefix(awaiting.sent)
        is_reported = self._reports_transcripts and awaiting.message in self._items
        if not (is_reported and new and text.startswith(awaiting.sent)):
            return []
        awaiting.sent = text
        return [ev.Delta(Channel.INPUT_TRANSCRIPT, new, "", item_id, 0, awaiting.index)]

    def end_transcript(self, item_id: str, failure: str) -> tuple[Message, list[ServerMessage]]:
        """End an item's transcript, or fail it if `failure` is not empty. Returns the item with its
        transcript and the events for the client."""
        awaiting = self._awaiting.pop(item_id)
        before, index, text = awaiting.message, awaiting.index, "".join(awaiting.pieces)
        parts = (*before.parts[:index], Part("audio", text), *before.parts[index + 1 :])
        item = replace(before, parts=parts)
        if before not in self._items:  # the client has deleted it
            return item, []
        self._items.replace(item)
        if not self._reports_transcripts:
            return item, []
        if failure:
            return item, [ev.TranscriptionFailed(item_id, failure, index)]
        usage = Usage(seconds=awaiting.seconds)
        is_known = text and len(self._languages) == 1
        done = ev.ChannelDone(
            Channel.INPUT_TRANSCRIPT,
            text,
            item_id=item_id,
            content_index=index,
            usage=usage,
            details=language_details(self._languages[0]) if is_known else {},
        )
        return item, [done]


def as_text(item: Item) -> Item:
    """A message with its audio replaced by the transcript."""
    if not isinstance(item, Message) or all(part.kind != "audio" for part in item.parts):
        return item
    parts = tuple(Part("text", p.text) if p.kind == "audio" else p for p in item.parts)
    return replace(item, parts=parts)
