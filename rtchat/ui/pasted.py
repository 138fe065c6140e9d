"""Large pastes in the entry. Each is one character of the buffer, which is shown as one word, and
is replaced by the whole text when the entry is sent."""

from __future__ import annotations

import re

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.formatted_text.utils import fragment_list_to_text
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.layout.utils import explode_text_fragments

MAX_LINES, MAX_CHARACTERS = 10, 2_000
"""A paste with more lines or characters than these is folded."""
_FIRST = 0x100000
"""The first of the private-use characters that stand for a paste. Fonts with icons use others."""
_MARK = re.compile("[\U00100000-\U0010fffd]")


class Pastes:
    """The folded pastes of the entry that is being edited."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def fold(self, text: str) -> str:
        """The text that represents a paste in the buffer: itself if it is short."""
        text = _MARK.sub("\ufffd", text)
        if text.count("\n") < MAX_LINES and len(text) <= MAX_CHARACTERS:
            return text
        if text not in self._texts:
            self._texts.append(text)
        return chr(_FIRST + self._texts.index(text))

    def unfold(self, text: str) -> str:
        """The text with all pastes in full."""
        return _MARK.sub(lambda mark: self._text(mark[0]), text)

    def label(self, mark: str) -> str:
        """What is shown for a folded paste."""
        text = self._text(mark)
        lines = text.count("\n") + (not text.endswith("\n"))
        if lines > 1:
            return f"[pasted {lines:,} lines]"
        return f"[pasted {len(text):,} characters]"

    def clear(self) -> None:
        """The entry was sent or cleared."""
        self._texts.clear()

    def _text(self, mark: str) -> str:
        index = ord(mark) - _FIRST
        return self._texts[index] if index < len(self._texts) else "\ufffd"


class FoldedPastes(Processor):
    """Shows folded pastes by their labels."""

    def __init__(self, pastes: Pastes) -> None:
        self._pastes = pastes

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Replace the characters that stand for pastes."""
        fragments = transformation_input.fragments
        if not _MARK.search(fragment_list_to_text(fragments)):
            return Transformation(fragments)
        shown: StyleAndTextTuples = []
        starts = [0]
        """Where each character of the buffer is shown."""
        for style, character, *_ in explode_text_fragments(fragments):
            if _MARK.fullmatch(character):
                style, character = f"{style} class:paste", self._pastes.label(character)
            shown.append((style, character))
            starts.append(starts[-1] + len(character))

        def source_to_display(position: int) -> int:
            extra = max(position - len(starts) + 1, 0)
            return starts[min(position, len(starts) - 1)] + extra

        def display_to_source(position: int) -> int:
            return sum(start <= position for start in starts) - 1

        return Transformation(shown, source_to_display, display_to_source)
