"""A reply whose thoughts are previewed as they arrive, and then become a single line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from rtchat.core.thinking import Kind, Piece, ThoughtReader
from rtchat.markdown import theme
from rtchat.ui import messages
from rtchat.ui.reply_frame import Stream


@dataclass
class Habit:
    """How the replies of a conversation begin."""

    begins_in_thought: bool = False
    """Whether the last one began with a thought without an opening tag. The next one probably does,
    too: the opening tag is part of the server's prompt."""


_MAX_ROWS = 8
"""Rows for a thought. More would push the conversation off the screen for a single line."""
_MAX_TAIL = 2_000
"""Characters of a thought that may be previewed."""


class FoldingStream:
    """One text that arrives in deltas. Its answers are rendered by streams from `new_stream`, which
    is given the number of code blocks before. `now` returns seconds. `habit` is updated. `hint`
    follows the line that stands for the thoughts. `code_blocks` is how many the reply had before
    this text."""

    def __init__(
        self,
        console: Console,
        new_stream: Callable[[int | None], Stream],
        now: Callable[[], float],
        habit: Habit,
        hint: str = "",
        code_blocks: int | None = None,
    ) -> None:
        self._console = console
        self._new_stream = new_stream
        self._now = now
        self._habit = habit
        self._awaits_end = habit.begins_in_thought
        """Whether the text so far is shown as a thought, although it has no tag yet."""
        self._has_late_end = False
        self._hint = hint
        self._blocks_before = self.code_blocks = code_blocks
        """How many code blocks the answer had, if they have numbers."""
        self._reader = ThoughtReader()
        self._thought: list[str] = []
        self._tail = ""
        """The end of the thought."""
        self._began: float | None = None
        """When the thought began; None if the text contains none, or it is a line already."""
        self._answer: Stream | None = None
        self._lines: list[Text] = []
        """Final lines that were not returned yet."""
        self._is_after_thought = False
        """Whether the next line of the answer follows the line for a thought."""
        self._has_lines = False
        """Whether the text has any final line."""
        self._has_new = False

    def add(self, delta: str, width: int) -> None:
        """Add text."""
        self._has_new = True
        for piece in self._reader.feed(delta):
            self._take(piece, width)

    def _take(self, piece: Piece, width: int) -> None:
        match piece.kind:
            case Kind.ANSWER if self._awaits_end:
                self._think(piece.text)
            case Kind.ANSWER:
                if self._thought:
                    self._fold(width)
                if self._answer is None:
                    self._answer = self._new_stream(self.code_blocks)
                self._answer.add(piece.text, width)
            case Kind.THOUGHT:
                self._think(piece.text)
            case Kind.TAG:
                self._awaits_end = False
                if self._thought:
                    self._thought.append("\n")
            case Kind.LATE_END:
                self._end_late(width)

    def _think(self, text: str) -> None:
        if self._began is None:
            self._began = self._now()
        self._thought.append(text)
        self._tail = (self._tail + text)[-_MAX_TAIL:]

    def _end_late(self, width: int) -> None:
        """What was shown so far is a thought."""
        self._has_late_end = True
        if not self._awaits_end:
            self._end_answer(width)
            self.code_blocks = self._blocks_before
            if self._has_lines:
                self._add_line(messages.THOUGHT_ABOVE, width)
        self._awaits_end = False

    def _fold(self, width: int) -> None:
        """The thought is over: a line stands for it."""
        thought, self._thought, self._tail = "".join(self._thought).strip(), [], ""
        began, self._began = self._began, None
        if thought and began is not None:
            line = messages.thought(thought, self._now() - began)
            self._add_line(f"{line}{self._hint}", width)

    def _add_line(self, text: str, width: int) -> None:
        above = [Text()] if self._has_lines else []
        self._lines += [*above, *self._rows(text, width)]
        self._has_lines = self._is_after_thought = True

    def _add_answer(self, lines: list[Text]) -> None:
        if lines and self._is_after_thought:
            self._lines.append(Text())
            self._is_after_thought = False
        self._has_lines = self._has_lines or bool(lines)
        self._lines += lines

    def _end_answer(self, width: int) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            self._add_answer(answer.finish(width))
            self.code_blocks = answer.code_blocks

    @property
    def is_full(self) -> bool:
        """Whether enough lines are final that they should be printed now."""
        return self._answer is not None and self._answer.is_full

    def settled(self, width: int) -> list[Text] | None:
        """The lines that became final since the last call; None if there was no new text."""
        if not self._has_new:
            return None
        if self._answer is not None:
            self._add_answer(self._answer.settled(width) or [])
        lines, self._lines, self._has_new = self._lines, [], False
        return lines

    def finish(self, width: int) -> list[Text]:
        """End the text. Returns all remaining lines."""
        for piece in self._reader.finish():
            self._take(piece, width)
        if self._awaits_end and self._thought:
            answer, self._thought = Piece(Kind.ANSWER, "".join(self._thought)), []
            self._awaits_end = False
            self._take(answer, width)
        self._habit.begins_in_thought = self._has_late_end
        self._fold(width)
        self._end_answer(width)
        lines, self._lines = self._lines, []
        return lines

    def preview(self, width: int, rows: int) -> list[Text]:
        """The last `rows` rows of the text that is not final yet, none wider than `width`."""
        if self._answer is not None:
            return self._answer.preview(width, rows)
        rows = min(rows, _MAX_ROWS)
        thought = self._tail[-rows * width :].strip()
        if not thought:
            return []
        shown = self._rows(thought.expandtabs(4), width)
        heading = [Text(messages.THINKING, theme.DIM)] if rows > 1 else []
        return [*heading, *shown[len(heading) - rows :]]

    def _rows(self, text: str, width: int) -> list[Text]:
        return list(Text(text, theme.DIM).wrap(self._console, width, overflow="fold"))
