"""What one client says aloud: its audio becomes turns, the turns items, and these get their words.

Deterministic and without I/O: whoever calls has a `Transcribe` done and brings its words back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias, assert_never

from rtchat.core.effects import AppendAudio, ClearAudio, CommitAudio
from rtchat.core.events import (
    AudioCleared,
    AudioCommitted,
    Delta,
    ItemAdded,
    ItemDone,
    SpeechStarted,
    SpeechStopped,
    TranscriptionFailed,
)
from rtchat.core.values import BYTES_A_MS, Channel, Item, JsonObject, Message, Options, Part, value
from rtchat.server.items import InvalidItemError, Items
from rtchat.server.turn_detection import (
    LONGEST_MS,
    TurnBegan,
    TurnDetector,
    TurnOptions,
    read_turn_options,
)
from rtchat.server.voice import Voice
from rtchat.wire.client_events import read_audio
from rtchat.wire.fields import Fields
from rtchat.wire.server_events import ServerMessage, Transcribed
from rtchat.wire.validators import FieldError

_SHORTEST_MS = 100
"""The least that can be committed."""


@value
class Transcribe:
    """Find the words in this audio, for `hear`, and then `heard`."""

    item_id: str
    audio: bytes


@value
class TurnOver:
    """The user has spoken and waits for a response to this item, if there are words in it."""

    item_id: str


Step: TypeAlias = ServerMessage | Transcribe | TurnOver


@dataclass
class _AwaitingTranscript:
    """An item whose words are to come."""

    message: Message
    size: int
    """Bytes of audio."""
    pieces: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.size / BYTES_A_MS / 1000

    @property
    def index(self) -> int:
        """Of the part that they are for."""
        return self.message.parts.index(Part("audio"))


class AudioInput:
    """The ears of one conversation, whose items it adds to. Without a voice it refuses."""

    def __init__(
        self, voice: Voice | str, items: Items, new_id: Callable[[str], str], session: JsonObject
    ) -> None:
        self._ears = voice if isinstance(voice, str) else TurnDetector(voice.detector)
        self._items = items
        self._new_id = new_id
        self._turns: TurnOptions | None = None
        self._is_written_down = False
        self._speaking = ""
        """The id of the item that is being spoken."""
        self._unheard: dict[str, _AwaitingTranscript] = {}
        """Items whose words are to come."""
        self.configure(session)

    @property
    def interrupts(self) -> bool:
        """Whether speech ends the running response."""
        return self._turns is not None and self._turns.interrupts

    @property
    def is_spoken_to(self) -> bool:
        """Whether the user is speaking."""
        return self._speaking != ""

    @property
    def size(self) -> int:
        """Bytes of audio that wait to be committed or recognised."""
        buffered = 0 if isinstance(self._ears, str) else self._ears.size
        return buffered + self.untranscribed_bytes

    @property
    def untranscribed_bytes(self) -> int:
        """Bytes of audio that wait to be recognised."""
        return sum(awaiting_transcript.size for awaiting_transcript in self._unheard.values())

    @property
    def awaiting_transcript(self) -> Collection[str]:
        """The ids of the items whose words are to come."""
        return self._unheard.keys()

    def reserves(self, item_id: str) -> bool:
        """Whether this id is that of an item to come, or of one whose words are to come."""
        return item_id in {self._speaking, *self._unheard}

    def configure(self, session: JsonObject) -> None:
        """The whole session, as it is told to the client, is this from here on."""
        self._turns = read_turn_options(session)
        transcribes = session.get("type") == "transcription"
        if transcribes and self._turns:
            self._turns = replace(self._turns, auto_respond=False, interrupts=False)
        asked = Fields(session, []).fields("audio").fields("input").data.get("transcription")
        self._is_written_down = transcribes or asked is not None
        if isinstance(self._ears, TurnDetector):
            self._ears.listen_for(self._turns)
        if self._turns is None:
            self._speaking = ""

    # -------------------------------------------------------------------------------- the buffer

    def obey(self, command: AppendAudio | CommitAudio | ClearAudio) -> Iterator[Step]:
        """What a client does to its audio. Raises `InvalidItemError`."""
        if isinstance(self._ears, str):
            raise InvalidItemError("audio_not_supported", f"{self._ears}; send text.")
        match command:
            case AppendAudio(audio):
                return self._append(self._ears, audio)
            case CommitAudio():
                return self._commit(self._ears)
            case ClearAudio():
                return self._clear(self._ears)
        assert_never(command)

    def _append(self, ears: TurnDetector, audio: bytes) -> Iterator[Step]:
        if not ears.has_room_for(audio):
            most = LONGEST_MS // 60_000
            message = f"The buffer holds {most} minutes, and is full: commit or clear it."
            raise InvalidItemError("input_audio_buffer_full", message, "audio")
        for mark in ears.hear(audio):
            if isinstance(mark, TurnBegan):
                self._speaking = self._new_id("item")
                yield SpeechStarted(self._speaking, mark.start_ms)
                continue
            yield SpeechStopped(self._speaking, mark.end_ms)
            item_id = self._speaking
            yield from self._make_item(mark.audio)
            if self._turns is not None and self._turns.auto_respond:
                yield TurnOver(item_id)

    def _commit(self, ears: TurnDetector) -> Iterator[Step]:
        if ears.milliseconds < _SHORTEST_MS:
            message = (
                f"The buffer is too short to commit: {_SHORTEST_MS} ms of audio is the least, and "
                f"it has {ears.milliseconds:.2f} ms."
            )
            raise InvalidItemError("input_audio_buffer_commit_empty", message)
        yield from self._make_item(ears.take())

    def _clear(self, ears: TurnDetector) -> Iterator[Step]:
        ears.take()
        self._speaking = ""
        yield AudioCleared()

    def _make_item(self, audio: bytes) -> Iterator[Step]:
        item_id = self._speaking or self._new_id("item")
        self._speaking = ""
        message = Message("user", (Part("audio"),), item_id, "completed")
        previous = self._items.append(message)
        yield AudioCommitted(item_id, previous)
        yield ItemAdded(message, previous)
        yield ItemDone(message, previous)
        yield self.begin(message, audio)

    # ------------------------------------------------------------------------------ their words

    def split(self, item: Item, path: str) -> tuple[Item, bytes]:
        """A client's own item without its audio, and the audio that has no words yet."""
        if isinstance(self._ears, str) or not isinstance(item, Message) or item.role != "user":
            return item, b""
        audio = b""
        for index, part in enumerate(item.parts):
            if part.kind == "audio" and not part.text:
                try:
                    audio += read_audio(part.data, f"{path}.content[{index}].audio")
                except FieldError as error:
                    raise InvalidItemError(error.code, str(error), error.param) from None
        parts = tuple(replace(p, data="") if p.kind == "audio" else p for p in item.parts)
        return replace(item, parts=parts), audio[: len(audio) // 2 * 2]

    def begin(self, message: Item, audio: bytes) -> Transcribe:
        """Have an item heard."""
        assert isinstance(message, Message)
        self._unheard[message.id] = _AwaitingTranscript(message, len(audio))
        return Transcribe(message.id, audio)

    def hear(self, item_id: str, piece: str) -> list[ServerMessage]:
        """The next words of an item, and what the client is told of them."""
        awaiting_transcript = self._unheard[item_id]
        awaiting_transcript.pieces.append(piece)
        if (
            not piece
            or not self._is_written_down
            or not self._is_known(awaiting_transcript.message)
        ):
            return []
        return [Delta(Channel.HEARD, piece, "", item_id, 0, awaiting_transcript.index)]

    def heard(self, item_id: str, failure: str) -> tuple[Item, list[ServerMessage]]:
        """The item with all its words, and what the client is told of that."""
        awaiting_transcript = self._unheard.pop(item_id)
        before, index, text = (
            awaiting_transcript.message,
            awaiting_transcript.index,
            "".join(awaiting_transcript.pieces),
        )
        parts = (*before.parts[:index], Part("audio", text), *before.parts[index + 1 :])
        item = replace(before, parts=parts)
        if not self._is_known(before):
            return item, []
        self._items.replace(item)
        if not self._is_written_down:
            return item, []
        if failure:
            return item, [TranscriptionFailed(item_id, failure, index)]
        return item, [Transcribed(item_id, index, text, awaiting_transcript.seconds)]

    def _is_known(self, message: Message) -> bool:
        """Whether it is part of the conversation, and not deleted. To compare items would be slow:
        there may be thousands."""
        return any(known is message for known in self._items)


def as_text(item: Item) -> Item:
    """A message as those read it who have no ears."""
    if not isinstance(item, Message) or all(part.kind != "audio" for part in item.parts):
        return item
    parts = tuple(Part("text", p.text) if p.kind == "audio" else p for p in item.parts)
    return replace(item, parts=parts)


def check_formats(options: Options, path: str) -> None:
    """Raises `InvalidItemError` where audio is asked for that this server has not."""
    audio = Fields(options.other, []).fields("audio")
    for way in ("input", "output"):
        kind = audio.fields(way).fields("format").text("type")
        if kind not in ("", "audio/pcm"):
            message = f"This server hears and speaks audio/pcm only, not {kind}."
            raise InvalidItemError("invalid_value", message, f"{path}.audio.{way}.format.type")
