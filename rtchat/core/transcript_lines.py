"""What was heard, as the text that is shown of it: a line for each turn, in the order in which they
were said.
"""

from __future__ import annotations

from rtchat.core.events import ChannelDone, Delta
from rtchat.core.reply import Reply
from rtchat.core.values import Channel


class TranscriptLines:
    """The lines of one transcription. Methods return what can be shown now that could not be shown
    before."""

    def __init__(self) -> None:
        self._words = Reply(between="\n")
        self._before: list[str] = []
        """What was heard on connections that are lost: the next may use the same ids again."""
        self._is_begun = False
        """Whether anything of `_words` was shown."""
        self._line_is_over = False
        """Whether what was shown last ended its line."""

    @property
    def all(self) -> str:
        """All of it."""
        return "\n".join([*self._before, *([self._words.text] if self._words.text else [])])

    def make_room(self, item_id: str) -> None:
        """The next turn: its words stand here, whenever they come."""
        self._words.add(Delta(Channel.TEXT, "", item_id=item_id))

    def add(self, heard: Delta) -> str:
        """The next words of a turn."""
        text = Delta(Channel.TEXT, heard.text, item_id=heard.item_id, held=heard.held)
        return self._shown(self._words.add(text))

    def end_turn(self, item_id: str, text: str = "") -> str:
        """All words of a turn."""
        done = ChannelDone(Channel.TEXT, text, item_id=item_id)
        return self._shown(self._words.channel_done(done))

    def end_line(self) -> str:
        """The end of the line, if a turn is complete: a reader of lines need not wait for the next
        turn."""
        if not self._words.is_between or not self._is_begun or self._line_is_over:
            return ""
        self._line_is_over = True
        return "\n"

    def turn_page(self) -> str:
        """Nothing more comes of what was heard so far."""
        shown = self._shown(self._words.finish())
        if self._words.text:
            self._before.append(self._words.text)
        self._words, self._is_begun = Reply(between="\n"), False
        return shown

    def _shown(self, text: str) -> str:
        if not text:
            return ""
        joint = "" if self._is_begun or not self._before else "\n"
        self._is_begun = True
        text = joint + text
        if self._line_is_over:
            text = text.removeprefix("\n")
        self._line_is_over = False
        return text
