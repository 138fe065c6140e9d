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
    Part,
    Usage,
    value,
)
from rtchat.server.audio_formats import decoded_size, decoder, format_of
from rtchat.server.items import CommandError, Items
from rtchat.server.turn_detection import (
    MAX_TURN_MS,
    TurnBegan,
    TurnDetector,
    TurnOptions,
    read_turn_options,
)
from rtchat.server.voice import Voice
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
class ReplyDue:
    """The user has finished a turn. The item gets a response if its transcript has words."""

    item_id: str


Step: TypeAlias = ServerMessage | Transcribe | ReplyDue


@dataclass
class _AwaitingTranscript:
    """An item that waits for its transcript."""

    message: Message
    size: int
    """The size of the audio in bytes."""
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
        self._detector = voice if isinstance(voice, str) else TurnDetector(voice.detector)
        self._format = AudioFormat()
        self._decode = decoder(self._format)
        self._items = items
        self._new_id = new_id
        self._turn_options: TurnOptions | None = None
        self._reports_transcripts = False
        self._speech_item_id = ""
        """The id of the item for the current speech."""
        self._awaiting: dict[str, _AwaitingTranscript] = {}
        """Items that wait for their transcripts."""
        self.configure(session)

    @property
    def interrupts(self) -> bool:
        """Whether speech cancels the active response."""
        return self._turn_options is not None and self._turn_options.interrupts

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
            self._speech_item_id = ""
        if (format := format_of(session, "input")) != self._format:
            self._format, self._decode = format, decoder(format)

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
            if isinstance(boundary, TurnBegan):
                self._speech_item_id = self._new_id("item")
                yield ev.SpeechStarted(self._speech_item_id, boundary.start_ms)
                continue
            yield ev.SpeechStopped(self._speech_item_id, boundary.end_ms)
            item_id = self._speech_item_id
            yield from self._make_item(boundary.audio)
            if self._turn_options is not None and self._turn_options.auto_respond:
                yield ReplyDue(item_id)

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
        self._speech_item_id = ""
        yield ev.AudioCleared()

    def _make_item(self, audio: bytes) -> Iterator[Step]:
        item_id = self._speech_item_id or self._new_id("item")
        self._speech_item_id = ""
        message = Message("user", (Part("audio"),), item_id, "completed")
        previous = self._items.append(message)
        yield ev.AudioCommitted(item_id, previous)
        yield ev.ItemAdded(message, previous)
        yield ev.ItemDone(message, previous)
        yield self.start_transcription(message, audio)

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

    def add_transcript(self, item_id: str, piece: str) -> list[ServerMessage]:
        """Add the next piece of an item's transcript. Returns the events for the client."""
        awaiting = self._awaiting[item_id]
        awaiting.pieces.append(piece)
        is_reported = self._reports_transcripts and awaiting.message in self._items
        if not (piece and is_reported):
            return []
        return [ev.Delta(Channel.INPUT_TRANSCRIPT, piece, "", item_id, 0, awaiting.index)]

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
        done = ev.ChannelDone(
            Channel.INPUT_TRANSCRIPT, text, item_id=item_id, content_index=index, usage=usage
        )
        return item, [done]


def as_text(item: Item) -> Item:
    """A message with its audio replaced by the transcript."""
    if not isinstance(item, Message) or all(part.kind != "audio" for part in item.parts):
        return item
    parts = tuple(Part("text", p.text) if p.kind == "audio" else p for p in item.parts)
    return replace(item, parts=parts)
