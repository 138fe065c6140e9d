"""A reply as it is written, and spoken: pieces of an engine and of a voice in, events out.

Text makes one message, each function call an item of its own, in the order in which they begin; all
of them stay open until the end, as their pieces may interleave. A spoken reply ends when all of it
was said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from rtchat.core import events as ev
from rtchat.core.values import Channel, Message, Options, Part, Status, ToolCall, value
from rtchat.server.engine import CallPiece, Finish
from rtchat.server.items import Items
from rtchat.server.limits import size_of
from rtchat.server.sentences import SentenceQueue
from rtchat.wire.server_events import ArgumentsDelta, ServerMessage, write_audio


@value
class Speak:
    """Say this aloud for a reply: hand the audio to `sound`, and then its end to `spoken`."""

    reply_id: str
    text: str


BuildStep: TypeAlias = ServerMessage | Speak


@dataclass
class _Output:
    index: int
    item_id: str
    begins: CallPiece | None
    """None: it is the message."""
    call_id: str
    mouth: SentenceQueue | None
    """None: it is written."""
    previous_item_id: str | None = None
    pieces: list[str] = field(default_factory=list)

    @property
    def whole(self) -> str:
        return "".join(self.pieces)

    @property
    def part(self) -> Part:
        return Part("text" if self.mouth is None else "audio", self.whole)

    def item(self, status: str) -> Message | ToolCall:
        if self.begins is not None:
            return ToolCall(self.begins.name, self.call_id, self.whole, self.item_id, status)
        parts = () if status == "in_progress" else (self.part,)
        return Message("assistant", parts, self.item_id, status)


class ResponseBuilder:
    """One reply. What it says joins `items`, unless it stays out of the conversation."""

    def __init__(
        self,
        id: str,
        options: Options,
        conversation_id: str | None,
        items: Items,
        new_id: Callable[[str], str],
    ) -> None:
        self.id = id
        self.options = options
        self.conversation_id = conversation_id
        self.is_over = False
        self.size = size_of(options)
        """Roughly how many bytes it takes."""
        self._items = items
        self._new_id = new_id
        self._outputs: dict[int | None, _Output] = {}
        """By the number of the call; the message has none."""
        self._sentences = SentenceQueue()
        self._finish: Finish | None = None
        """How it ends, once all is said."""

    @property
    def is_out_of_band(self) -> bool:
        """Whether the conversation never hears of it."""
        return self.conversation_id is None

    def add(self, piece: str | CallPiece) -> Iterator[BuildStep]:
        """The next piece."""
        call = piece if isinstance(piece, CallPiece) else None
        output = self._outputs.get(call.number if call else None)
        if output is None:
            output = self._open(call)
            yield from self._begin(output)
        text = piece.arguments if isinstance(piece, CallPiece) else piece
        if call and not text:  # it only begins the call
            return
        output.pieces.append(text)
        self.size += size_of(text)
        place = self.id, output.item_id, output.index
        if call:
            yield ArgumentsDelta(text, output.call_id, *place)
        elif output.mouth is None:
            yield ev.Delta(Channel.TEXT, text, *place)
        else:
            yield ev.Delta(Channel.TRANSCRIPT, text, *place)
            output.mouth.add(text)
            yield from self._go_on()

    def sound(self, audio: bytes) -> Iterator[BuildStep]:
        """The next audio of what it says."""
        output = self._outputs[None]
        self._sentences.sound(len(audio))
        yield ev.Delta(Channel.AUDIO, write_audio(audio), self.id, output.item_id, output.index)

    def spoken(self) -> Iterator[BuildStep]:
        """What was to be said has been said."""
        self._sentences.pause()
        yield from self._go_on()

    def end(self, finish: Finish) -> Iterator[BuildStep]:
        """The end, however it came, as soon as all is said. Only the first one counts."""
        if self._finish is not None:
            return
        if finish.status is Status.COMPLETED and not self._outputs:
            yield from self._begin(self._open(None))
        self._finish = finish
        self._sentences.end()
        yield from self._go_on()

    def cut(self, finish: Finish) -> Iterator[BuildStep]:
        """The end at once. What was not said aloud was not said."""
        message = self._outputs.get(None)
        if message and message.mouth:
            self._sentences.stop()
            message.pieces = [sentence.text for sentence in self._sentences.spoken]
        yield from self._end(finish)

    def _go_on(self) -> Iterator[BuildStep]:
        sentence = self._sentences.next()
        if sentence is not None:
            yield Speak(self.id, sentence)
        elif self._finish is not None and self._sentences.is_silent:
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
            tuple(output.item(_word(finish.status)) for output in self._outputs.values()),
            finish.usage,
            self.conversation_id,
        )

    def _open(self, call: CallPiece | None) -> _Output:
        item_id = self._new_id("item")
        call_id = "" if call is None else call.call_id or self._new_id("call")
        is_spoken = call is None and self.options.modality == "audio"
        mouth = self._sentences if is_spoken else None
        output = _Output(len(self._outputs), item_id, call, call_id, mouth)
        self._outputs[None if call is None else call.number] = output
        return output

    def _begin(self, output: _Output) -> Iterator[ServerMessage]:
        item = output.item("in_progress")
        yield ev.OutputAdded(self.id, output.index, item)
        if not self.is_out_of_band:
            output.previous_item_id = self._items.append(item)
            yield ev.ItemAdded(item, output.previous_item_id)
        if output.begins is None:
            yield ev.PartAdded(self.id, output.item_id, output.index, 0, output.part)

    def _complete(self, output: _Output, status: Status) -> Iterator[ServerMessage]:
        item = output.item(_word(status))
        if isinstance(item, Message):
            yield from self._complete_part(output)
        elif status is Status.COMPLETED:  # nobody should run a call that may be half of one
            place = self.id, item.id, output.index
            yield ev.ToolCalled(item.name, item.call_id, item.arguments, *place)
        if not self.is_out_of_band:
            self._items.replace(item, output.mouth.spoken if output.mouth else None)
            yield ev.ItemDone(item, output.previous_item_id)
        yield ev.OutputDone(self.id, output.index, item)

    def _complete_part(self, output: _Output) -> Iterator[ServerMessage]:
        place, part = (self.id, output.item_id, output.index), output.part
        if output.mouth is None:
            yield ev.ChannelDone(Channel.TEXT, part.text, *place)
        else:
            yield ev.ChannelDone(Channel.AUDIO, "", *place)
            yield ev.ChannelDone(Channel.TRANSCRIPT, part.text, *place)
        yield ev.PartDone(*place, 0, part)


def _word(status: Status) -> str:
    return "completed" if status is Status.COMPLETED else "incomplete"
