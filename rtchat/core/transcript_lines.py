"""The text of a transcription: one line per turn, in the order in which the turns were spoken."""

from __future__ import annotations

from dataclasses import replace

from rtchat.core.delta_joiner import joined
from rtchat.core.events import ChannelDone, Delta
from rtchat.core.reply import Reply
from rtchat.core.values import Channel


class TranscriptLines:
    """The lines of one transcription. Methods return the text that can now be shown in addition."""

    def __init__(self) -> None:
        self._current = Reply(between="\n")
        """The transcripts of this connection."""
        self._before: list[str] = []
        """The text from earlier connections, stored separately because a new one may use the same
        ids."""
        self._places: dict[str, int] = {}
        """The position of each turn."""
        self._pieces: dict[str, list[str]] = {}
        """The pieces of the transcripts that are not complete; the last may be part of a key."""
        self._is_begun = False
        """Whether any text of `_current` was shown."""
        self._line_is_over = False
        """Whether the text shown last ended with a line break."""

    @property
    def all(self) -> str:
        """The whole text so far."""
        return "\n".join([*self._before, *([self._current.text] if self._current.text else [])])

    def make_room(self, item_id: str) -> None:
        """Reserve the next line for this turn, whose transcript may arrive later."""
        self.add(item_id, Delta(Channel.TEXT, ""))

    def add(self, item_id: str, delta: Delta) -> str:
        """Add a piece of the text of a turn."""
        place = self._places.setdefault(item_id, len(self._places))
        piece = replace(delta, channel=Channel.TEXT, item_id=item_id, output_index=place)
        return self._show(self._current.add(piece))

    @property
    def partial(self) -> str:
        """The words recognised so far of the turns that are not complete."""
        texts = (self._pieces_of(item_id) for item_id in self._places if item_id in self._pieces)
        return "\n".join(text for text in texts if text)

    @property
    def unfinished(self) -> dict[str, str]:
        """The words recognised so far of each turn that is not complete."""
        return {item_id: self._pieces_of(item_id) for item_id in self._pieces}

    def add_partial(self, item_id: str, delta: Delta) -> None:
        """Add a piece of what was recognised of a turn so far. It becomes part of the text only if
        the turn has no final transcript."""
        self._places.setdefault(item_id, len(self._places))
        pieces = self._pieces.setdefault(item_id, [""])
        pieces[-1:] = [delta.text, delta.held]

    def end_turn(self, item_id: str, text: str = "") -> str:
        """Set the final transcript of a turn."""
        text = text or self._pieces_of(item_id)
        self._pieces.pop(item_id, None)
        return self._end(item_id, text)

    def skip_turn(self, item_id: str) -> str:
        """Do not wait for the final transcript of a turn, which may still arrive."""
        return self._end(item_id, "")

    def _end(self, item_id: str, text: str) -> str:
        place = self._places.setdefault(item_id, len(self._places))
        done = ChannelDone(Channel.TEXT, text, item_id=item_id, output_index=place)
        return self._show(self._current.channel_done(done))

    def _pieces_of(self, item_id: str) -> str:
        return joined(filter(None, self._pieces.get(item_id, ())))

    def end_line(self) -> str:
        """Return a line break if a turn is complete, so that a program that reads lines need not
        wait for the next turn."""
        if not self._current.is_between or not self._is_begun or self._line_is_over:
            return ""
        self._line_is_over = True
        return "\n"

    def end_connection(self) -> str:
        """End the text of this connection, and begin that of the next."""
        shown = "".join(self.end_turn(item_id) for item_id in list(self._pieces))
        shown += self._show(self._current.finish())
        if self._current.text:
            self._before.append(self._current.text)
        self._current, self._is_begun = Reply(between="\n"), False
        self._places.clear()
        return shown

    def _show(self, text: str) -> str:
        if not text:
            return ""
        separator = "" if self._is_begun or not self._before else "\n"
        self._is_begun = True
        text = separator + text
        if self._line_is_over:
            text = text.removeprefix("\n")
        self._line_is_over = False
        return text
