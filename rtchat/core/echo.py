"""Detects a microphone that picks up the speaker, so that the server replies to itself."""

from __future__ import annotations

from rtchat.core.question import Question

ECHO_MS = 1_000
"""Speech that interrupts a reply within its first milliseconds may be the reply itself."""
MAX_ECHOES = 3
"""Replies in a row with a sign of an echo after which there is one."""


class EchoDetector:
    """Detects an echo: several replies in a row were interrupted by speech as soon as they were
    played, or answer a question without words."""

    def __init__(self) -> None:
        self._echoes: list[Question] = []
        """The last questions whose replies show a sign of an echo."""
        self._has_transcripts = False
        """Whether the server has sent any transcript; some never do."""
        self._last: Question | None = None
        """The last question, if it was spoken."""

    @property
    def is_echo(self) -> bool:
        """Whether enough replies in a row show a sign of an echo."""
        return len(self._echoes) >= MAX_ECHOES

    def asked(self, question: Question) -> None:
        """Take the next question. Begin again if it is typed, or if the reply to the last one shows
        no sign of an echo and its transcript is not still expected."""
        last, self._last = self._last, question if question.is_spoken else None
        if not question.is_spoken or (last is not None and self._has_no_echo(last)):
            self._echoes.clear()

    def _has_no_echo(self, question: Question) -> bool:
        """Whether the reply to a question was not interrupted, and the question has words, as far
        as is known."""
        is_known = question.transcript_done or not self._has_transcripts
        return question.is_answered and is_known and question not in self._echoes

    def cut(self, played_ms: int) -> None:
        """Speech interrupted the last reply after this many milliseconds of its audio."""
        if self._last is None or self._last in self._echoes:
            return
        if 0 < played_ms < ECHO_MS:
            self._echoes.append(self._last)
        elif played_ms >= ECHO_MS:
            self._echoes.clear()

    def replied(self, question: Question) -> None:
        """The reply to a question, or its transcript, has arrived."""
        self._has_transcripts |= question.is_spoken and question.transcript_done
        is_empty = question.has_reply and question.transcript_is_empty
        if is_empty and question not in self._echoes:
            self._echoes.append(question)

    def forget(self) -> None:
        """Begin again."""
        self._echoes.clear()
