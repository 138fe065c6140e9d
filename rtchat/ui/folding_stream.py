"""Render a reply: a thought is previewed while it arrives, and then folded into a single line."""

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
class ReplyFormat:
    """How the replies of a conversation begin."""

    begins_within_thought: bool = False
    """Whether the last reply began within a thought, without an opening tag. The next one probably
    does, too: the opening tag is in the prompt that the server gives the model."""


_MAX_PREVIEW_ROWS = 8
"""Rows in which a thought is previewed. More would scroll the conversation away, although only a
line remains."""
_MAX_TAIL = 2_000
"""Characters at the end of a thought that may be previewed."""


class FoldingStream:
    """Renders one text that arrives in deltas.

    Answers are rendered by a stream from `new_stream`, which gets the number of code blocks before
    it. `now` returns seconds. `reply_format` is updated at the end of the text. `hint` follows the
    line that stands for a thought. `code_blocks` is the number of code blocks of the reply before
    this text; None if they are not numbered. Widths are in cells.
    """

    def __init__(
        self,
        console: Console,
        new_stream: Callable[[int | None], Stream],
        now: Callable[[], float],
        reply_format: ReplyFormat,
        hint: str = "",
        code_blocks: int | None = None,
    ) -> None:
        self._console = console
        self._new_stream = new_stream
        self._now = now
        self._reply_format = reply_format
        self._assumes_thought = reply_format.begins_within_thought
        """Whether the text so far is shown as a thought although it has no opening tag."""
        self._has_unopened_tag = False
        self._hint = hint
        self._blocks_before = self.code_blocks = code_blocks
        """The number of code blocks of the reply so far; None if they are not numbered."""
        self._reader = ThoughtReader()
        self._thought: list[str] = []
        self._tail = ""
        """The end of the thought."""
        self._thought_began: float | None = None
        """When the current thought began; None if there is none."""
        self._answer: Stream | None = None
        self._lines: list[Text] = []
        """Final lines that have not been returned."""
        self._is_after_thought = False
        """Whether the next line of the answer follows the line that stands for a thought."""
        self._has_lines = False
        """Whether the text has any final lines."""
        self._has_new_text = False

    def add(self, delta: str, width: int) -> None:
        """Add text."""
        self._has_new_text = True
        for piece in self._reader.feed(delta):
            self._take(piece, width)

    def _take(self, piece: Piece, width: int) -> None:
        match piece.kind:
            case Kind.ANSWER if self._assumes_thought:
                self._add_thought(piece.text)
            case Kind.ANSWER:
                if self._thought:
                    self._fold_thought(width)
                if self._answer is None:
                    self._answer = self._new_stream(self.code_blocks)
                self._answer.add(piece.text, width)
            case Kind.THOUGHT:
                self._add_thought(piece.text)
            case Kind.TAG:
                self._assumes_thought = False
                if self._thought:
                    self._thought.append("\n")
            case Kind.UNOPENED_TAG:
                self._end_unopened(width)

    def _add_thought(self, text: str) -> None:
        if self._thought_began is None:
            self._thought_began = self._now()
        self._thought.append(text)
        self._tail = (self._tail + text)[-_MAX_TAIL:]

    def _end_unopened(self, width: int) -> None:
        """A closing tag shows that the text so far is a thought."""
        self._has_unopened_tag = True
        if not self._assumes_thought:
            self._end_answer(width)
            self.code_blocks = self._blocks_before
            if self._has_lines:
                self._add_line(messages.THOUGHT_ABOVE, width)
        self._assumes_thought = False

    def _fold_thought(self, width: int) -> None:
        """Replace the thought by a line."""
        thought, self._thought, self._tail = "".join(self._thought).strip(), [], ""
        began, self._thought_began = self._thought_began, None
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
        if not self._has_new_text:
            return None
        if self._answer is not None:
            self._add_answer(self._answer.settled(width) or [])
        lines, self._lines, self._has_new_text = self._lines, [], False
        return lines

    def finish(self, width: int) -> list[Text]:
        """End the text. Returns all remaining lines."""
        for piece in self._reader.finish():
            self._take(piece, width)
        if self._assumes_thought and self._thought:
            answer, self._thought = Piece(Kind.ANSWER, "".join(self._thought)), []
            self._assumes_thought = False
            self._take(answer, width)
        self._reply_format.begins_within_thought = self._has_unopened_tag
        self._fold_thought(width)
        self._end_answer(width)
        lines, self._lines = self._lines, []
        return lines

    def preview(self, width: int, rows: int) -> list[Text]:
        """The last `rows` rows of the text that is not final yet, none wider than `width`."""
        if self._answer is not None:
            return self._answer.preview(width, rows)
        rows = min(rows, _MAX_PREVIEW_ROWS)
        thought = self._tail[-rows * width :].strip()
        if not thought:
            return []
        shown = self._rows(thought.expandtabs(4), width)
        heading = [Text(messages.THINKING, theme.DIM)] if rows > 1 else []
        return [*heading, *shown[len(heading) - rows :]]

    def _rows(self, text: str, width: int) -> list[Text]:
        return list(Text(text, theme.DIM).wrap(self._console, width, overflow="fold"))
