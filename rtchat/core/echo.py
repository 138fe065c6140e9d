"""Detects a microphone that picks up the speaker, so that the server replies to itself."""

from __future__ import annotations

from rtchat.core.question import Question

ECHO_MS = 1_000
"""Speech that interrupts a reply within its first milliseconds may be the reply itself."""
MAX_ECHOES = 3


class EchoDetector:
    """Detects an echo: several replies in a row were interrupted by speech as soon as they were
    played, or answer a question without words."""

    def __init__(self) -> None:
        self._count = 0
        self._last: Question | None = None
        """The last question, if it was spoken."""
        self._counted: Question | None = None
        """The last question whose reply was counted."""

    @property
    def is_echo(self) -> bool:
        """Whether the count has reached the limit."""
        return self._count >= MAX_ECHOES

    def asked(self, question: Question, *, transcribes: bool) -> None:
        """Take the next question. Reset the count if it is typed, or if the last question was
        answered and has words, or no transcripts are made."""
        last, self._last = self._last, question if question.is_spoken else None
        if not question.is_spoken:
            self._count = 0
        elif last is not None and last.is_answered and last is not self._counted:
            self._count = self._count if transcribes and not last.transcript.strip() else 0

    def cut(self, played_ms: int) -> None:
        """Speech interrupted the last reply after this many milliseconds of its audio."""
        if self._last is not None and 0 < played_ms < ECHO_MS:
            self._count_reply(self._last)

    def replied(self, question: Question) -> None:
        """The reply to a question, or its transcript, has arrived."""
        if question.has_reply and question.transcript_is_empty:
            self._count_reply(question)

    def forget(self) -> None:
        """Reset the count."""
        self._count = 0

    def _count_reply(self, question: Question) -> None:
        if question is not self._counted:
            self._count += 1
            self._counted = question
