"""A reply as it is written: pieces of an engine in, events out.

Text makes one message, each function call an item of its own, in the order in which they begin;
all of them stay open until the end, as their pieces may interleave. Not here: which reply there is
(`dialogue`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rtchat.events import (
    ChannelDone,
    Delta,
    ItemAdded,
    ItemDone,
    OutputAdded,
    OutputDone,
    PartAdded,
    PartDone,
    ReplyEnded,
    ToolCalled,
)
from rtchat.server.engine import CallPiece, Finish
from rtchat.values import Channel, Item, Message, Options, Part, Status, ToolCall
from rtchat.wire.answers import ArgumentsDelta, Said


@dataclass
class _Output:
    index: int
    item_id: str
    begins: CallPiece | None
    """None: it is the message."""
    call_id: str
    previous_item_id: str | None = None
    pieces: list[str] = field(default_factory=list)

    @property
    def whole(self) -> str:
        return "".join(self.pieces)

    def item(self, status: str) -> Message | ToolCall:
        if self.begins is not None:
            return ToolCall(self.begins.name, self.call_id, self.whole, self.item_id, status)
        parts = () if status == "in_progress" else (Part("text", self.whole),)
        return Message("assistant", parts, self.item_id, status)


class GrowingReply:
    """One reply. What it says joins `items`, unless it stays out of the conversation."""

    def __init__(
        self,
        id: str,
        options: Options,
        conversation_id: str | None,
        items: list[Item],
        new_id: Callable[[str], str],
    ) -> None:
        self.id = id
        self.options = options
        self.conversation_id = conversation_id
        self._items = items
        self._new_id = new_id
        self._outputs: dict[int | None, _Output] = {}
        """By the number of the call; the message has none."""

    @property
    def is_out_of_band(self) -> bool:
        """Whether the conversation never hears of it."""
        return self.conversation_id is None

    def add(self, piece: str | CallPiece) -> Iterator[Said]:
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
        place = self.id, output.item_id, output.index
        if call:
            yield ArgumentsDelta(text, output.call_id, *place)
        else:
            yield Delta(Channel.TEXT, text, *place)

    def end(self, finish: Finish) -> Iterator[Said]:
        """The end, however it came."""
        if finish.status is Status.COMPLETED and not self._outputs:
            output = self._open(None)
            yield from self._begin(output)
        for output in self._outputs.values():
            yield from self._complete(output, finish.status)
        yield ReplyEnded(
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
        output = _Output(len(self._outputs), item_id, call, call_id)
        self._outputs[None if call is None else call.number] = output
        return output

    def _begin(self, output: _Output) -> Iterator[Said]:
        item = output.item("in_progress")
        yield OutputAdded(self.id, output.index, item)
        if not self.is_out_of_band:
            output.previous_item_id = self._items[-1].id if self._items else None
            self._items.append(item)
            yield ItemAdded(item, output.previous_item_id)
        if output.begins is None:
            yield PartAdded(self.id, output.item_id, output.index, 0, Part("text"))

    def _complete(self, output: _Output, status: Status) -> Iterator[Said]:
        item = output.item(_word(status))
        if isinstance(item, Message):
            part = Part("text", output.whole)
            yield ChannelDone(Channel.TEXT, part.text, self.id, item.id, output.index)
            yield PartDone(self.id, item.id, output.index, 0, part)
        elif status is Status.COMPLETED:  # nobody should run a call that may be half of one
            place = self.id, item.id, output.index
            yield ToolCalled(item.name, item.call_id, item.arguments, *place)
        if not self.is_out_of_band:
            # A client may have deleted it meanwhile.
            self._items[:] = [item if known.id == item.id else known for known in self._items]
            yield ItemDone(item, output.previous_item_id)
        yield OutputDone(self.id, output.index, item)


def _word(status: Status) -> str:
    return "completed" if status is Status.COMPLETED else "incomplete"
