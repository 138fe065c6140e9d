"""The transcripts of a turn that has not ended.

A pause may be the end of the turn: if only silence follows it, its transcript is that of the turn,
and the answer does not have to wait for one. During speech, the words on which two transcripts
agree are shown. Deterministic and without I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile

from rtchat.server.turn_detection import TurnSoFar


@dataclass
class EarlyTranscript:
    """The early transcripts of one turn. They are made one at a time."""

    item_id: str
    text: str | None = None
    """The last transcript; None while one is being made, and after a failure."""
    shown: str = ""
    """The words that were shown. They are not taken back."""
    is_running: bool = False
    """Whether a transcript is being made."""
    _size: int = 0
    """The size of the audio of the last transcript in bytes."""
    _waiting: TurnSoFar | None = None
    """The turn up to a pause, which is transcribed next."""
    _words: list[str] = field(default_factory=list)
    """The words of the last complete transcript."""

    def begin(self, turn: TurnSoFar) -> TurnSoFar | None:
        """Transcribe the turn so far. Returns what to transcribe now; None while another transcript
        is being made."""
        if self.is_running:
            self._waiting = turn if turn.is_paused else self._waiting
            return None
        self.text, self.is_running, self._size = None, True, len(turn.audio)
        return turn

    def add(self, text: str | None) -> str:
        """A transcript is complete, or None if it failed. Returns the next words to show."""
        self.text, self.is_running = text, False
        before, self._words = self._words, (text or "").split()
        pairs = zip(before, self._words, strict=False)
        agreed = " ".join(new for _, new in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if not agreed.startswith(self.shown):
            return ""
        known, self.shown = self.shown, agreed
        return agreed.removeprefix(known)

    def begin_next(self) -> TurnSoFar | None:
        """What to transcribe next, if anything."""
        turn, self._waiting = self._waiting, None
        return None if turn is None else self.begin(turn)

    def is_complete(self, speech: int) -> bool:
        """Whether the last transcript, made or being made, covers all the speech of the turn, which
        is in its first `speech` bytes."""
        return self._size >= speech > 0 and (self.is_running or self.text is not None)
