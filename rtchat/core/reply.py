"""One reply as it arrives: its parts put in reading order, each piece of text handed out once.

Parts of one reply interleave on the wire, so only the first unfinished one is shown as it grows;
the others wait their turn. The text comes from the deltas; what a `.done` or the final
`response.done` has beyond them is added, so that a server that sends only one of the three is read
in full.
"""

from __future__ import annotations

from collections.abc import Sequence

from rtchat.core.events import ChannelDone, Delta, PartDone
from rtchat.core.text import whole_characters
from rtchat.core.values import Approval, Channel, Item, Limits, Message, ToolCall

BETWEEN_PARTS = "\n\n"
_WORDS = (Channel.TEXT, Channel.TRANSCRIPT)


def size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class _Part:
    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.pieces: list[str] = []
        self.half = ""
        self.held = ""
        """Text that arrived and may still turn out to be part of a key."""
        self.shown = 0
        """How many of the pieces were handed out."""
        self.final: str | None = None
        self.done = False
        self.size = 0
        """Bytes of its text."""

    @property
    def text(self) -> str:
        return "".join(self.pieces) if self.final is None else self.final

    def add(self, text: str) -> None:
        if not text:
            return
        self.size += size(text)
        if not self.half and text.isascii():
            self.pieces.append(text)
            return
        # A server that cuts between UTF-16 units sends half a character at the end of a delta.
        text = self.half + text
        self.half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        self.pieces.append(whole_characters(text.removesuffix(self.half)))

    def settle(self, text: str) -> None:
        # The whole outranks its pieces. What was shown cannot be unsaid, but it can be completed.
        if not text:
            return
        self.final = text
        self.size = max(self.size, size(text))
        arrived = "".join(self.pieces)
        if text.startswith(arrived):
            self.pieces.append(text[len(arrived) :])


class Reply:
    """The text of one reply. Every method returns what can be shown now that could not before."""

    def __init__(
        self,
        response_id: str = "",
        *,
        between: str = BETWEEN_PARTS,
        limits: Limits | None = None,
    ) -> None:
        """Content beyond the `limits` is left out, and `exceeded` names the limit."""
        self.id = response_id
        self.exceeded = ""
        self.calls: list[ToolCall | Approval] = []
        self._between = between
        self._limits = limits
        self._called = self._arguments = 0
        """Bytes of the calls that are complete, and of the arguments that were streamed."""
        self._parts: dict[tuple[str, int], _Part] = {}
        self._shown_last: _Part | None = None

    @property
    def text(self) -> str:
        """All the text so far, as the server has it."""
        return self._between.join(part.text for part in self._parts.values() if part.text)

    @property
    def has_begun(self) -> bool:
        """Whether any text came, shown or not."""
        return any(part.held or part.text for part in self._parts.values())

    @property
    def is_between(self) -> bool:
        """Whether what was shown last is the end of a part."""
        return self._shown_last is not None and self._shown_last.done

    def add(self, delta: Delta) -> str:
        """The next piece of a text or a transcript; other channels are not text."""
        if delta.channel is Channel.ARGUMENTS:
            self._arguments += size(delta.text)
            self._check_calls(self._arguments)
        part = self._part(delta.item_id, delta.content_index, delta.channel)
        if part is None or part.final is not None:  # a piece after the whole is in it already
            return ""
        part.add(self._within(delta.text))
        part.held = delta.held
        return self._show()

    def channel_done(self, event: ChannelDone) -> str:
        """The whole of a text or a transcript."""
        part = self._part(event.item_id, event.content_index, event.channel)
        if part is None:
            return ""
        part.settle(self._within(event.text, part.size))
        part.done = True
        return self._show()

    def part_done(self, event: PartDone) -> str:
        """The whole of a part; on some servers without its text."""
        part = self._parts.get((event.item_id, event.content_index))
        if part is None and event.part.text:
            part = self._part(event.item_id, event.content_index, Channel.TEXT)
        if part is None:
            return ""
        part.settle(self._within(event.part.text, part.size))
        part.done = True
        return self._show()

    def call(self, item: Item) -> None:
        """An item that is complete; it may be a call, and may be said twice."""
        if self.exceeded:
            return
        known = {other.call_id if isinstance(other, ToolCall) else other.id for other in self.calls}
        match item:
            case ToolCall(call_id=key) | Approval(id=key) if key not in known:
                self._add_call(item)
            case _:
                pass

    def _add_call(self, call: ToolCall | Approval) -> None:
        self._called += size(call.name) + size(call.arguments)
        self._check_calls(self._called)
        if self._limits is not None and len(self.calls) >= self._limits.calls:
            self.exceeded = "max_tool_calls"
        if not self.exceeded:
            self.calls.append(call)

    def _check_calls(self, count: int) -> None:
        if self._limits is not None and count > self._limits.call_bytes:
            self.exceeded = "max_tool_bytes"

    def cut(self) -> str:
        """The reply ended early: nothing more comes."""
        self._release()
        return self._show()

    def finish(self, items: Sequence[Item] = ()) -> str:
        """The reply is over; `items` is its output as the server reports it at the end."""
        self._release()
        # A server whose ids changed on the way must not have its text shown twice.
        reported = {item.id for item in items if isinstance(item, Message)}
        arrived = {part.text for key, part in self._parts.items() if key[0] not in reported}
        for item in items:
            self.call(item)
            if isinstance(item, Message) and item.role == "assistant":
                self._settle_message(item, arrived)
        for part in self._parts.values():
            part.done = True
        return self._show()

    def _release(self) -> None:
        """Show what was held back: the text ended, so it is not part of a key."""
        for part in self._parts.values():
            held, part.held = part.held, ""
            if held and part.final is None:
                part.add(held)

    def _settle_message(self, item: Message, arrived: set[str]) -> None:
        for index, content in enumerate(item.parts):
            known = self._parts.get((item.id, index))
            if known is not None:
                known.settle(self._within(content.text, known.size))
            elif content.text and content.text not in arrived:
                part = self._part(item.id, index, Channel.TEXT)
                if part is not None:
                    part.settle(self._within(content.text))

    def _part(self, item_id: str, index: int, channel: Channel) -> _Part | None:
        if channel not in _WORDS:
            return None
        part = self._parts.get((item_id, index))
        if part is None:
            if self._limits is not None and len(self._parts) >= self._limits.parts:
                self.exceeded = "parts"
                return None
            self._parts[item_id, index] = part = _Part(channel)
        return part if part.channel is channel else None

    def _within(self, text: str, replaced: int = 0) -> str:
        """The text, cut to the room that the reply has left; it replaces this many bytes."""
        if self._limits is None:
            return text
        total = sum(part.size for part in self._parts.values())
        room = self._limits.reply_bytes - total + replaced
        if size(text) <= room:
            return text
        self.exceeded = "max_reply_bytes"
        return text.encode("utf-8", "replace")[: max(0, room)].decode("utf-8", "ignore")

    def _show(self) -> str:
        out = ""
        for part in self._parts.values():
            fresh = "".join(part.pieces[part.shown :])
            if fresh and part is not self._shown_last:
                fresh = f"{self._between}{fresh}" if self._shown_last else fresh
                self._shown_last = part
            part.shown = len(part.pieces)
            out += fresh
            if not part.done:
                break
        return out
