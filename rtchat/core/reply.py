"""One reply as it arrives: its parts are put in reading order, and each piece of text is returned
once.

The parts of a reply may interleave, so only the first unfinished part is shown while it grows; the
others wait. The text comes from the deltas; text that only the `.done` events or the final
`response.done` contain is added, so that a server may send just one of the three.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from rtchat.core.delta_joiner import DeltaJoiner
from rtchat.core.events import ChannelDone, Delta, PartDone, PlaybackAdvanced, PlaybackCut
from rtchat.core.heard import PartAudio
from rtchat.core.text import whole_characters
from rtchat.core.values import Channel, Item, Message, Part, Phase, TurnLimits

BETWEEN_PARTS = "\n\n"
_TEXT_CHANNELS = (Channel.TEXT, Channel.TRANSCRIPT)


def size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class _Part:
    def __init__(self, item_id: str, indexes: tuple[int, int], channel: Channel) -> None:
        self.item_id = item_id
        self.indexes = indexes
        """Its output index and content index."""
        self.channel = channel
        self.phase: Phase | None = None
        """The phase of its message, if the end of the message reports it."""
        self.pieces: list[str] = []
        self.joiner = DeltaJoiner()
        self.half = ""
        self.held = ""
        """Text that has arrived but may be part of a key."""
        self.shown = 0
        """How many of the pieces were returned."""
        self.final: str | None = None
        self.done = False
        self.size = 0
        """Bytes of its text."""
        self.characters = 0
        """Characters of the deltas so far."""

    @property
    def text(self) -> str:
        return "".join(self.pieces) if self.final is None else self.final

    def matches(self, text: str) -> bool:
        """Whether `text` may be the whole text of the part or, if empty, a delta may follow."""
        known, text = self.text.strip(), text.strip()
        return text == known if self.done else not text or text.startswith(known)

    def add(self, text: str) -> int:
        """Add a delta and return the bytes of its text."""
        if not self.joiner.is_decided:
            text = self.joiner.add(text)
        if not text:
            return 0
        added = size(text)
        self.size += added
        self.characters += len(text)
        if not self.half and text.isascii():
            self.pieces.append(text)
            return added
        # A server that splits text between UTF-16 units may end a delta with half a character.
        text = self.half + text
        self.half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        self.pieces.append(whole_characters(text.removesuffix(self.half)))
        return added

    def settle(self, text: str) -> int:
        """Set the final text and return the bytes that it adds."""
        # The final text takes precedence. Text already shown cannot change, but may be completed.
        if not text:
            return 0
        self.final = text
        added = max(0, size(text) - self.size)
        self.size += added
        arrived = "".join(self.pieces)
        if text.startswith(arrived) and text != arrived:
            self.pieces.append(text[len(arrived) :])
        return added


class Reply:
    """The text of one reply. The methods return the text that can now be shown in addition."""

    def __init__(
        self,
        response_id: str = "",
        *,
        between: str = BETWEEN_PARTS,
        limits: TurnLimits | None = None,
    ) -> None:
        """Content beyond the `limits` is left out, and `exceeded` is the name of the limit."""
        self.id = response_id
        self.exceeded = ""
        self._between = between
        self._limits = limits
        self._size = 0
        """Bytes of all parts."""
        self._parts: list[_Part] = []
        self._by_id: dict[tuple[str, int], _Part] = {}
        """The parts by the id of their item and their content index."""
        self._announced: dict[str, Phase | None] = {}
        """The ids and phases of the messages that the server said it began."""
        self._shown_last: _Part | None = None
        self._audio: dict[tuple[str, int], PartAudio] = {}
        """The audio of the parts, by the id of their item and their content index."""
        self._cut_at: tuple[_Part | None, int] | None = None
        """The part whose playback was interrupted, and how many characters of it were heard. None
        for the part if nothing of the reply was heard."""
        self._saved: list[Message] = []

    @property
    def text(self) -> str:
        """The text so far, as the server has it."""
        return self._between.join(part.text for part in self._parts if part.text)

    @property
    def messages(self) -> list[Message]:
        """The text so far as messages: a new one begins where the phase changes."""
        written = (
            (part.phase or self._announced.get(part.item_id), part)
            for part in self._parts
            if part.text
        )
        out = []
        is_silent = self._cut_at == (None, 0)
        for phase, group in groupby(written, itemgetter(0)):
            text, heard = "", 0 if is_silent else None
            for _, part in group:
                text += self._between if text else ""
                # Nothing was heard after the part whose playback was interrupted.
                if self._cut_at is not None and part is self._cut_at[0]:
                    heard, is_silent = len(text) + self._cut_at[1], True
                text += part.text
            heard = None if heard is None or heard >= len(text) else heard
            out.append(Message("assistant", (Part("text", text),), phase=phase, heard=heard))
        return out

    # ------------------------------------------------------------------------------- what is heard

    def played(self, item_id: str, content_index: int, ms: float) -> None:
        """Audio of a part is played."""
        self._audio.setdefault((item_id, content_index), PartAudio()).audio_arrived(ms)

    def heard_at(self, at: PlaybackAdvanced | PlaybackCut) -> str | None:
        """The text of a part that was heard at this position; None if the audio is not of this
        reply."""
        key = at.item_id, at.content_index
        audio, part = self._audio.get(key), self._by_id.get(key)
        if audio is None:
            return None
        return "" if part is None else part.text[: audio.heard(part.text, at.played_ms)]

    def cut_playback(self, cut: PlaybackCut) -> bool:
        """Note how much of the reply was heard. Return whether the audio is of this reply."""
        heard, part = self.heard_at(cut), self._by_id.get((cut.item_id, cut.content_index))
        if heard is not None and part is not None:
            self._cut_at = part, len(heard)
        return heard is not None

    def skip_playback(self) -> None:
        """Note that nothing of the reply was heard."""
        self._cut_at = None, 0

    def save(self) -> list[Message]:
        """The messages, which are saved now."""
        self._saved = self.messages
        return self._saved

    def changes(self) -> list[tuple[Message, Message]]:
        """The saved messages that have changed, each with the present one."""
        old, new = self._saved, self.messages if self._saved else []
        self._saved = new
        return [(before, after) for before, after in zip(old, new, strict=False) if before != after]

    @property
    def has_begun(self) -> bool:
        """Whether any text has arrived, shown or not."""
        return any(part.held or part.text for part in self._parts)

    @property
    def is_between(self) -> bool:
        """Whether the text shown last was the end of a part."""
        return self._shown_last is not None and self._shown_last.done

    def add(self, delta: Delta) -> str:
        """Add a piece of a text or transcript; other channels are ignored."""
        part = self._part(delta)
        if part is not None and delta.channel is Channel.TRANSCRIPT:
            audio = self._audio.setdefault((delta.item_id, delta.content_index), PartAudio())
            audio.text_arrives(part.characters)
        if part is None or part.final is not None:  # the final text contains the piece
            return ""
        self._size += part.add(self._truncated(delta.text))
        part.held = delta.held
        return self._show()

    def channel_done(self, event: ChannelDone) -> str:
        """Set the final text of a text or transcript."""
        part = self._part(event)
        if part is not None:
            self._settle(part, event.text)
        return self._show()

    def part_done(self, event: PartDone) -> str:
        """Set the final text of a part; some servers leave it out."""
        indexes = event.output_index, event.content_index
        part = self._find(event.item_id, indexes, event.part.text)
        if part is None and event.part.text:
            part = self._add(event.item_id, indexes, Channel.TEXT)
        if part is not None:
            self._settle(part, event.part.text)
        return self._show()

    def message_done(self, item: Message, output_index: int) -> str:
        """Set the final text of a message; some servers report it only here."""
        self._settle_message(item, output_index, {item.id})
        return self._show()

    def announce(self, item: Message) -> None:
        """The server began a message."""
        if not self._is_full(len(self._announced)):
            self._announced[item.id] = item.phase

    def cut(self) -> str:
        """The reply ended early."""
        self._release()
        return self._show()

    def finish(self, items: Sequence[Item] = ()) -> str:
        """The reply is over; `items` is its output as reported at the end."""
        self._release()
        reported = {item.id for item in items if isinstance(item, Message)}
        for index, item in enumerate(items):
            if isinstance(item, Message) and item.role == "assistant":
                self._settle_message(item, index, reported)
        for part in self._parts:
            part.done = True
        return self._show()

    def _release(self) -> None:
        """Add the text held back: no more text follows, so it is not part of a key."""
        for part in self._parts:
            rest, part.held = part.joiner.flush() + part.held, ""
            part.joiner.is_decided = True
            if part.final is None:
                self._size += part.add(rest)

    def _settle_message(self, item: Message, output_index: int, reported: set[str]) -> None:
        # Servers may change the ids in the meantime; the text must not be shown twice.
        arrived = {part.text: part for part in self._parts if part.item_id not in reported}
        for index, content in enumerate(item.parts):
            indexes = output_index, index
            part = self._find(item.id, indexes, content.text)
            if part is None and content.text and content.text not in arrived:
                part = self._add(item.id, indexes, Channel.TEXT)
            if part is not None:
                self._settle(part, content.text)
            part = part or arrived.get(content.text)
            if part is not None:
                part.phase = item.phase or part.phase

    def _settle(self, part: _Part, text: str) -> None:
        self._size += part.settle(self._truncated(text, part.size))
        part.done = True

    def _part(self, event: Delta | ChannelDone) -> _Part | None:
        """The part that an event belongs to."""
        channel = event.channel
        if channel not in _TEXT_CHANNELS:
            return None
        indexes = event.output_index, event.content_index
        text = event.text if isinstance(event, ChannelDone) else ""
        part = self._find(event.item_id, indexes, text)
        if part is None:
            return self._add(event.item_id, indexes, channel)
        return part if part.channel is channel else None

    def _find(self, item_id: str, indexes: tuple[int, int], text: str) -> _Part | None:
        """The part with this item id. Some servers change the id from one event to the next; then
        the part with these indexes, if the text continues or repeats its text."""
        known = self._by_id.get((item_id, indexes[1]))
        if known is not None:
            return known
        for part in self._parts:
            is_other = item_id in self._announced and part.item_id in self._announced
            if part.indexes == indexes and not is_other and part.matches(text):
                return part
        return None

    def _add(self, item_id: str, indexes: tuple[int, int], channel: Channel) -> _Part | None:
        if self._is_full(len(self._parts)):
            self.exceeded = "parts"
            return None
        part = _Part(item_id, indexes, channel)
        self._parts.append(part)
        self._by_id[item_id, indexes[1]] = part
        return part

    def _is_full(self, parts: int) -> bool:
        return self._limits is not None and parts >= self._limits.parts

    def _truncated(self, text: str, replaced: int = 0) -> str:
        """The text, truncated to the reply's limit; it replaces `replaced` bytes."""
        if self._limits is None:
            return text
        room = self._limits.reply_bytes - self._size + replaced
        if 4 * len(text) <= room or size(text) <= room:
            return text
        self.exceeded = "max_reply_bytes"
        return text.encode("utf-8", "replace")[: max(0, room)].decode("utf-8", "ignore")

    def _show(self) -> str:
        out = ""
        for part in self._parts:
            new = "".join(part.pieces[part.shown :])
            if new and part is not self._shown_last:
                new = f"{self._between}{new}" if self._shown_last else new
                self._shown_last = part
            part.shown = len(part.pieces)
            out += new
            if not part.done:
                break
        return out
