"""What a spoken reply says aloud: its text in sentences, one after the other, and how long each is.

Deterministic and without I/O.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence

from rtchat.core.values import BYTES_A_MS, value

_END = re.compile(r"(?<!\b[A-Z0-9])(?<!\b[DMS][rst])(?<!\bMrs)[.!?…]+[\"'”\u2019)\]*_]*\s+|\n\s*")
"""The end of a sentence, with the space behind it; no initial, number of a list or
title has one."""
_LONGEST = 240
"""Characters after which it is said in parts: nobody should have to wait for its end."""
_CLAUSE = re.compile(r".*[,;:]\s+|.*\s+|.+", re.DOTALL)
_PAUSE = re.compile(r"[,;:]\s+|\u2014\s*|\s[\u2013-]\s+")
"""Where a speaker may pause within a sentence."""
_SOON = 40
"""Characters after which the first sentence is said up to its next pause: the user waits for it."""


@value
class SpokenText:
    """A sentence that was said aloud, or as much of it as there was time for."""

    text: str
    size: int = 0
    """Bytes of audio."""

    @property
    def ms(self) -> float:
        return self.size / BYTES_A_MS


class SentenceQueue:
    """The sentences of one message, the first of them up to a pause if it is long. `spoken` are
    those that were begun, in order: joined, they are the beginning of its text."""

    def __init__(self) -> None:
        self.spoken: list[SpokenText] = []
        self._text = ""
        self._sentences: deque[str] = deque()
        self._is_busy = False
        self._has_begun = False
        """Whether a first sentence has been cut."""

    @property
    def is_silent(self) -> bool:
        """Whether nothing is being said, and nothing is left to be."""
        return not (self._is_busy or self._sentences or self._text)

    def add(self, text: str) -> None:
        """The next text."""
        self._text += text
        for sentence in self._cut():
            self._sentences.append(sentence)

    def end(self) -> None:
        """There is no more text."""
        if self._text:
            self._sentences.append(self._text)
        self._text = ""

    def next(self) -> str | None:
        """What to say aloud now; None while something is being said, or there is nothing."""
        while self._sentences and not self._is_busy:
            sentence = self._sentences.popleft()
            self.spoken.append(SpokenText(sentence))
            if any(letter.isalnum() for letter in sentence):
                self._is_busy = True
                return sentence.strip()
        return None

    def sound(self, size: int) -> None:
        """So many bytes of it were said."""
        last = self.spoken[-1]
        self.spoken[-1] = SpokenText(last.text, last.size + size)

    def pause(self) -> None:
        """It was said to its end."""
        self._is_busy = False

    def stop(self) -> None:
        """What was about to be said, and made no sound yet, was not."""
        if self._is_busy and not self.spoken[-1].size:
            self.spoken.pop()

    def _cut(self) -> Iterator[str]:
        text, start = self._text, 0
        while True:
            found = _END.search(text, start, start + _LONGEST)
            if not self._has_begun:
                pause = _PAUSE.search(text, _SOON - 1, found.start() if found else _LONGEST)
                found = pause or found
            if found is None and len(text) - start > _LONGEST:
                found = _CLAUSE.match(text, start, start + _LONGEST)
            if found is None:
                break
            self._has_begun = True
            yield text[start : found.end()]
            start = found.end()
        self._text = text[start:]


def cut_to(spoken: Sequence[SpokenText], end_ms: int) -> list[SpokenText]:
    """What was heard of it until then; of the sentence that was cut, the words in proportion."""
    kept: list[SpokenText] = []
    left = end_ms * BYTES_A_MS
    for sentence in spoken:
        if sentence.size > left:
            share = sentence.text[: len(sentence.text) * left // sentence.size]
            words = re.match(r".*\s", share, re.DOTALL)
            return [*kept, SpokenText(words.group().rstrip() if words else "", left)]
        kept.append(sentence)
        left -= sentence.size
    return kept
