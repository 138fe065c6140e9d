"""Whether the microphone picks up the loudspeaker, so that the server replies to itself."""

from __future__ import annotations

from rtchat.core.question import Question

ECHO_MS = 1_000
"""Speech that cuts a reply within this much of its sound may be the reply itself."""
MOST_ECHOES = 3


class EchoDetector:
    """Notices a microphone that picks up the loudspeaker: several replies in a row were cut short
    by speech as soon as they were heard, or answer no words."""

    def __init__(self) -> None:
        self._count = 0
        self._last: Question | None = None
        """The last question, if it was spoken."""
        self._counted: Question | None = None
        """The last one whose reply was counted."""

    @property
    def is_echo(self) -> bool:
        """Whether there were enough such replies."""
        return self._count >= MOST_ECHOES

    def asked(self, question: Question, *, transcribes: bool) -> None:
        """The next question. A typed one is no echo; nor is the last one if it has words, as far as
        that is known, and its reply was complete."""
        last, self._last = self._last, question if question.is_spoken else None
        if not question.is_spoken:
            self._count = 0
        elif last is not None and last.is_answered and last is not self._counted:
            self._count = self._count if transcribes and not last.words.strip() else 0

    def cut(self, played_ms: int) -> None:
        """Speech cut the last reply after this much of its sound."""
        if self._last is not None and 0 < played_ms < ECHO_MS:
            self._count_reply(self._last)

    def replied(self, question: Question) -> None:
        """More is known of a question, or of its reply."""
        if question.has_reply and question.is_wordless:
            self._count_reply(question)

    def forget(self) -> None:
        """Start counting again."""
        self._count = 0

    def _count_reply(self, question: Question) -> None:
        if question is not self._counted:
            self._count += 1
            self._counted = question
