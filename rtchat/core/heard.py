"""How much of the text of a spoken reply was heard when playback had reached a certain time."""

from __future__ import annotations

from unicodedata import east_asian_width

_MAX_WORD = 24
"""Characters of the longest word that is not divided."""


class PartAudio:
    """The length of the audio of one part of a reply, and when its transcript arrived.

    Servers send the transcript with the audio or before it, so text that arrived after some audio
    is spoken after that audio. Between these points, the speed is assumed to be constant.
    """

    def __init__(self) -> None:
        self._ms = 0.0
        self._marks: list[tuple[float, int]] = []
        """The points at which text arrived after more audio: the milliseconds of audio and the
        characters of text until then."""

    def audio_arrived(self, ms: float) -> None:
        """The next audio, of `ms` milliseconds, has arrived."""
        self._ms += ms

    def text_arrives(self, characters: int) -> None:
        """More text arrives. `characters` is the length of the text before it."""
        if not self._marks or self._marks[-1][0] < self._ms:
            self._marks.append((self._ms, characters))

    def heard(self, text: str, played_ms: int) -> int:
        """How many characters of `text`, all that has arrived so far, were heard. Counts only whole
        words."""
        if played_ms <= 0 or not self._ms:
            return 0
        even = len(text) * played_ms / self._ms
        return whole_words(text, int(min(even, self._between_marks(len(text), played_ms))))

    def _between_marks(self, size: int, played_ms: int) -> float:
        """How many of `size` characters were heard, if the speed is constant between two marks."""
        start, before = 0.0, 0
        for ms, characters in (*self._marks, (self._ms, size)):
            if ms > played_ms:
                share = (played_ms - start) / (ms - start)
                return before + share * (characters - before)
            start, before = ms, characters
        return size


def whole_words(text: str, size: int) -> int:
    """How many of the first `size` characters are left without a part of a word at their end."""
    size = min(size, len(text))
    for at in range(size, max(size - _MAX_WORD, 0) - 1, -1):
        if _may_end(text, at):
            return at
    return size


def _may_end(text: str, at: int) -> bool:
    """Whether the text may end before this character: between words, or beside one that is written
    without spaces."""
    beside = text[max(at - 1, 0) : at + 1]
    return at in (0, len(text)) or any(
        character.isspace() or east_asian_width(character) in "WF" for character in beside
    )
