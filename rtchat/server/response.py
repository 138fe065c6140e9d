"""Builds a response: pieces from an engine and audio from a voice in, events out.

The text becomes one message and each function call an item, in the order in which they start. All
items stay open until the end, because their pieces may interleave. A spoken response ends when all
of it was spoken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from rtchat.core import events as ev
from rtchat.core.thinking import Kind, Piece, ThoughtReader
from rtchat.core.values import Channel, Message, Options, Part, Status, ToolCall, value
from rtchat.server.audio_formats import encoder, format_of
from rtchat.server.engine import CallPiece, Finish
from rtchat.server.items import Items
from rtchat.server.limits import size_of
from rtchat.server.sentences import SentenceQueue
from rtchat.wire.server_events import ArgumentsDelta, ServerMessage, write_audio


@value
class Speak:
    """Speak this text for a response: pass the audio to `add_audio`, then call `end_speech`."""

    response_id: str
    text: str
    speed: float = 1.0


BuildStep: TypeAlias = ServerMessage | Speak


@dataclass
class _Output:
    index: int
    item_id: str
    call: CallPiece | None
    """The first piece of the call; None for the message."""
    call_id: str
    sentences: SentenceQueue | None
    """None if the output is not spoken."""
    previous_item_id: str | None = None
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def part(self) -> Part:
        return Part("text" if self.sentences is None else "audio", self.text)

    def item(self, status: str) -> Message | ToolCall:
        if self.call is not None:
            return ToolCall(self.call.name, self.call_id, self.text, self.item_id, status)
        parts = () if status == "in_progress" else (self.part,)
        return Message("assistant", parts, self.item_id, status)


class ResponseBuilder:
    """One response. Its output is added to `items`, unless it is out of band (`conversation_id` is
    None)."""

    def __init__(
        self,
        id: str,
        options: Options,
        conversation_id: str | None,
        items: Items,
        new_id: Callable[[str], str],
        speed: float = 1.0,
    ) -> None:
        self.id = id
        self.options = options
        self.conversation_id = conversation_id
        self.is_over = False
        self.size = size_of(options)
        """The approximate size of the response in bytes."""
        self._encode = encoder(format_of(options.other, "output"))
        self._items = items
        self._new_id = new_id
        self._speed = speed
        self._outputs: dict[int | None, _Output] = {}
        """By the number of the call; None for the message."""
        self._sentences = SentenceQueue()
        self._thoughts = ThoughtReader()
        """Separates the model's thoughts from the answer, which is spoken."""
        self._finish: Finish | None = None
        """How the response ends once everything is spoken."""

    @property
    def is_out_of_band(self) -> bool:
        """Whether the response stays out of the conversation."""
        return self.conversation_id is None

    def add(self, piece: str | CallPiece) -> Iterator[BuildStep]:
        """Add the engine's next piece."""
        call = piece if isinstance(piece, CallPiece) else None
        output = self._outputs.get(call.number if call else None)
        if output is None:
            output = self._open(call)
            yield from self._begin(output)
        text = piece.arguments if isinstance(piece, CallPiece) else piece
        if call and not text:  # the piece only starts the call
            return
        output.pieces.append(text)
        self.size += size_of(text)
        place = self.id, output.item_id, output.index
        if call:
            yield ArgumentsDelta(text, output.call_id, *place)
        elif output.sentences is None:
            yield ev.Delta(Channel.TEXT, text, *place)
        else:
            yield ev.Delta(Channel.TRANSCRIPT, text, *place)
            self._add_sentences(self._thoughts.feed(text))
            yield from self._continue()

    def add_audio(self, audio: bytes) -> Iterator[BuildStep]:
        """Add audio of the current sentence."""
        output = self._outputs[None]
        self._sentences.add_audio(len(audio))
        if not self.is_out_of_band:
            self._items.speak(output.item_id, self._sentences.spoken)
        yield from self._audio(output, self._encode(audio, last=False))

    def _audio(self, output: _Output, encoded: bytes) -> Iterator[ev.Delta]:
        if encoded:
            data = write_audio(encoded)
            yield ev.Delta(Channel.AUDIO, data, self.id, output.item_id, output.index)

    def end_speech(self) -> Iterator[BuildStep]:
        """End the current sentence."""
        self._sentences.end_sentence()
        yield from self._continue()

    def end(self, finish: Finish) -> Iterator[BuildStep]:
        """End the response as soon as everything is spoken. Only the first call has an effect."""
        if self._finish is not None:
            return
        if finish.status is Status.COMPLETED and not self._outputs:
            yield from self._begin(self._open(None))
        self._finish = finish
        self._add_sentences(self._thoughts.finish())
        self._sentences.end()
        yield from self._continue()

    def abort(self, finish: Finish) -> Iterator[BuildStep]:
        """End the response at once. Like those of OpenAI's server, the last events contain all text
        that was sent, but the conversation keeps only what was spoken."""
        self._sentences.discard_silent()
        yield from self._end(finish)

    def _add_sentences(self, pieces: Iterable[Piece]) -> None:
        for kind, text in pieces:
            if kind is Kind.ANSWER:
                self._sentences.add(text)

    def _continue(self) -> Iterator[BuildStep]:
        sentence = self._sentences.next()
        if sentence is not None:
            yield Speak(self.id, sentence, self._speed)
        elif self._finish is not None and self._sentences.is_done:
            yield from self._end(self._finish)

    def _end(self, finish: Finish) -> Iterator[BuildStep]:
        self.is_over = True
        for output in self._outputs.values():
            yield from self._complete(output, finish.status)
        yield ev.ReplyEnded(
            self.id,
            finish.status,
            finish.reason,
            finish.code,
            finish.message,
            tuple(output.item(_item_status(finish.status)) for output in self._outputs.values()),
            finish.usage,
            self.conversation_id,
        )

    def _open(self, call: CallPiece | None) -> _Output:
        item_id = self._new_id("item")
        call_id = "" if call is None else call.call_id or self._new_id("call")
        is_spoken = call is None and self.options.modality == "audio"
        sentences = self._sentences if is_spoken else None
        output = _Output(len(self._outputs), item_id, call, call_id, sentences)
        self._outputs[None if call is None else call.number] = output
        return output

    def _begin(self, output: _Output) -> Iterator[ServerMessage]:
        item = output.item("in_progress")
        yield ev.OutputAdded(self.id, output.index, item)
        if not self.is_out_of_band:
            output.previous_item_id = self._items.append(item)
            yield ev.ItemAdded(item, output.previous_item_id)
        if output.call is None:
            yield ev.PartAdded(self.id, output.item_id, output.index, 0, output.part)

    def _complete(self, output: _Output, status: Status) -> Iterator[ServerMessage]:
        item = output.item(_item_status(status))
        if isinstance(item, Message):
            yield from self._complete_part(output)
        elif status is Status.COMPLETED:  # an incomplete call must not be run
            place = self.id, item.id, output.index
            yield ev.ToolCalled(item.name, item.call_id, item.arguments, *place)
        if not self.is_out_of_band:
            self._store(item, output)
            yield ev.ItemDone(item, output.previous_item_id)
        yield ev.OutputDone(self.id, output.index, item)

    def _store(self, item: Message | ToolCall, output: _Output) -> None:
        if isinstance(item, Message) and output.sentences:
            spoken = output.sentences.spoken
            text = "".join(sentence.text for sentence in spoken)
            self._items.replace(replace(item, parts=(Part("audio", text),)), spoken)
        else:
            self._items.replace(item)

    def _complete_part(self, output: _Output) -> Iterator[ServerMessage]:
        place, part = (self.id, output.item_id, output.index), output.part
        if output.sentences is None:
            yield ev.ChannelDone(Channel.TEXT, part.text, *place)
        else:
            yield from self._audio(output, self._encode(b"", last=True))
            yield ev.ChannelDone(Channel.AUDIO, "", *place)
            yield ev.ChannelDone(Channel.TRANSCRIPT, part.text, *place)
        yield ev.PartDone(*place, 0, part)


def _item_status(status: Status) -> str:
    return "completed" if status is Status.COMPLETED else "incomplete"
