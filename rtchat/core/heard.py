"""How much of the text of a spoken reply was heard when playback had reached a certain time."""

from __future__ import annotations

from unicodedata import east_asian_width

_MAX_WORD = 24
"""Characters of a word that counts as a whole; longer ones are divided."""


class PartAudio:
    """The audio of one part of a reply, in milliseconds, and when its transcript arrived.

    Servers send the transcript with the audio, or before it. So text that arrived after some audio
    is spoken later than that audio; otherwise it is assumed to be spoken at a constant speed.
    """

    def __init__(self) -> None:
        self._ms = 0.0
        self._marks: list[tuple[float, int]] = []
        """For the beginning of the text after each piece of audio: the milliseconds of audio, and
        the characters of text before it."""

    def audio_arrived(self, ms: float) -> None:
        """The next audio has arrived."""
        self._ms += ms

    def text_arrives(self, characters: int) -> None:
        """More text arrives after so many characters."""
        if not self._marks or self._marks[-1][0] < self._ms:
            self._marks.append((self._ms, characters))

    def heard(self, text: str, played_ms: int) -> int:
        """How many characters of the text were heard, in whole words. `text` has arrived so far."""
        if played_ms <= 0 or not self._ms:
            return 0
        even = len(text) * played_ms / self._ms
        return whole_words(text, int(min(even, self._between_marks(len(text), played_ms))))

    def _between_marks(self, size: int, played_ms: int) -> float:
        """How many characters were heard, if the speed is constant between two marks."""
        start, before = 0.0, 0
        for ms, characters in (*self._marks, (self._ms, size)):
            if ms > played_ms:
                share = (played_ms - start) / (ms - start)
                return before + share * (characters - before)
            start, before = ms, characters
        return size


def whole_words(text: str, size: int) -> int:
    """The number of characters without the part of a word at the end of the first `size`."""
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
