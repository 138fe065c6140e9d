"""The text of a transcription: one line per turn, in the order in which the turns were spoken."""

from __future__ import annotations

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
        self._current.add(self._delta("", item_id))

    def add(self, delta: Delta) -> str:
        """Add a piece of the transcript of a turn."""
        return self._show(self._current.add(self._delta(delta.text, delta.item_id, delta.held)))

    def end_turn(self, item_id: str, text: str = "") -> str:
        """Set the final transcript of a turn."""
        place = self._places.setdefault(item_id, len(self._places))
        done = ChannelDone(Channel.TEXT, text, item_id=item_id, output_index=place)
        return self._show(self._current.channel_done(done))

    def _delta(self, text: str, item_id: str, held: str = "") -> Delta:
        place = self._places.setdefault(item_id, len(self._places))
        return Delta(Channel.TEXT, text, item_id=item_id, output_index=place, held=held)

    def end_line(self) -> str:
        """Return a line break if a turn is complete, so that a program that reads lines need not
        wait for the next turn."""
        if not self._current.is_between or not self._is_begun or self._line_is_over:
            return ""
        self._line_is_over = True
        return "\n"

    def end_connection(self) -> str:
        """End the text of this connection, and begin that of the next."""
        shown = self._show(self._current.finish())
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
