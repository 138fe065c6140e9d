"""Splits the text of a spoken response into sentences and tracks how much of each was spoken.

Deterministic and without I/O.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence

from rtchat.core.values import BYTES_A_MS, value

_SENTENCE_END = re.compile(
    r"(?<!\b[A-Z0-9])(?<!\b[DMS][rst])(?<!\bMrs)[.!?…]+[\"'”\u2019)\]*_]*\s+|\n\s*"
)
"""The end of a sentence, with the following space. Initials, list numbers and titles do not end a
sentence."""
_MAX_CHARS = 240
"""A longer sentence is spoken in parts, so that the audio starts sooner."""
_CLAUSE = re.compile(r".*[,;:]\s+|.*\s+|.+", re.DOTALL)
_PAUSE = re.compile(r"[,;:]\s+|\u2014\s*|\s[\u2013-]\s+")
"""A pause within a sentence."""
_CONJUNCTION = re.compile(r"\s+(?=(?:and|but|or|because|which|who|that|when|while|where|if)\s)")
_MIN_CHARS = (15, 60)
"""The first two parts each end at the first pause after this many characters, or before a
conjunction after twice as many, so that the audio starts sooner. The next part is ready before the
audio of these ends."""


@value
class SpokenText:
    """A sentence, or the part of it that was spoken."""

    text: str
    size: int = 0
    """The size of its audio in bytes."""

    @property
    def ms(self) -> float:
        return self.size / BYTES_A_MS


class SentenceQueue:
    """The sentences of one message. A long first sentence is split at a pause. `spoken` lists the
    sentences that were started, in order; joined, they are a prefix of the text."""

    def __init__(self) -> None:
        self.spoken: list[SpokenText] = []
        self._text = ""
        self._sentences: deque[str] = deque()
        self._is_speaking = False
        self._parts = 0
        """How many parts have been split off."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is being spoken and nothing is left to speak."""
        return not (self._is_speaking or self._sentences or self._text)

    def add(self, text: str) -> None:
        """Add text."""
        self._text += text
        for sentence in self._split():
            self._sentences.append(sentence)

    def end(self) -> None:
        """End the text."""
        if self._text:
            self._sentences.append(self._text)
        self._text = ""

    def next(self) -> str | None:
        """The next sentence to speak; None if there is none or one is still being spoken."""
        while self._sentences and not self._is_speaking:
            sentence = self._sentences.popleft()
            self.spoken.append(SpokenText(sentence))
            if any(letter.isalnum() for letter in sentence):
                self._is_speaking = True
                return sentence.strip()
        return None

    def add_audio(self, size: int) -> None:
        """Record that `size` more bytes of the current sentence were spoken."""
        last = self.spoken[-1]
        self.spoken[-1] = SpokenText(last.text, last.size + size)

    def end_sentence(self) -> None:
        """Record that the current sentence was spoken to its end."""
        self._is_speaking = False

    def discard_silent(self) -> None:
        """Drop the current sentence if none of its audio was produced yet."""
        if self._is_speaking and not self.spoken[-1].size:
            self.spoken.pop()

    def _split(self) -> Iterator[str]:
        text, start = self._text, 0
        while True:
            found = _SENTENCE_END.search(text, start, start + _MAX_CHARS)
            end = start + _MAX_CHARS if found is None else found.start()
            found = self._find_pause(text, start, end) or found
            if found is None and len(text) - start > _MAX_CHARS:
                found = _CLAUSE.match(text, start, start + _MAX_CHARS)
            if found is None:
                break
            self._parts += 1
            yield text[start : found.end()]
            start = found.end()
        self._text = text[start:]

    def _find_pause(self, text: str, start: int, end: int) -> re.Match[str] | None:
        """Where one of the first parts ends within its sentence."""
        if self._parts >= len(_MIN_CHARS):
            return None
        first = _MIN_CHARS[self._parts]
        pauses = (
            _PAUSE.search(text, start + first - 1, end),
            _CONJUNCTION.search(text, start + 2 * first - 1, end),
        )
        return min(filter(None, pauses), key=re.Match.start, default=None)


def cut_to(spoken: Sequence[SpokenText], end_ms: int) -> list[SpokenText]:
    """The part that was spoken before `end_ms`. The words of the sentence cut there are kept in
    proportion to its audio."""
    heard: list[SpokenText] = []
    left = end_ms * BYTES_A_MS
    for sentence in spoken:
        if sentence.size > left:
            share = sentence.text[: len(sentence.text) * left // sentence.size]
            words = re.match(r".*\s", share, re.DOTALL)
            return [*heard, SpokenText(words.group().rstrip() if words else "", left)]
        heard.append(sentence)
        left -= sentence.size
    return heard
