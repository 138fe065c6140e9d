"""The complete transcripts of turns, in the order in which the turns were spoken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rtchat.core.effects import TurnTranscribed

NOT_COMPLETE = "the transcript is not complete"
"""The error of a turn whose transcript did not become complete."""


class FinishedTurns:
    """Turns in spoken order; servers may complete the transcripts in another order. Methods return
    the turns that can now be shown."""

    def __init__(self) -> None:
        self._turns: dict[str, TurnTranscribed | None] = {}
        """The turns that are not shown yet, by item id; None if the transcript is not complete."""
        self._times: dict[str, tuple[int, int]] = {}
        """The times of the turns without a complete transcript, in milliseconds."""

    def begin(self, item_id: str, start_ms: int, end_ms: int) -> None:
        """Another turn was spoken. Its times are in milliseconds of the input."""
        self._turns.setdefault(item_id, None)
        self._times.setdefault(item_id, (start_ms, end_ms))

    def add(self, turn: TurnTranscribed) -> list[TurnTranscribed]:
        """Add a turn whose transcript is complete."""
        turn = self._timed(turn)
        if turn.item_id not in self._turns:
            return [turn]
        self._turns[turn.item_id] = turn
        return self._take()

    def skip(self, item_id: str) -> list[TurnTranscribed]:
        """No longer wait for a turn."""
        self._turns.pop(item_id, None)
        return self._take()

    def end(self, partial: Mapping[str, str]) -> list[TurnTranscribed]:
        """Stop waiting for all turns. `partial` has the words recognised of incomplete ones."""
        turns = [
            turn or self._timed(TurnTranscribed(item_id, partial[item_id], error=NOT_COMPLETE))
            for item_id, turn in self._turns.items()
            if turn is not None or partial.get(item_id)
        ]
        self._turns.clear()
        self._times.clear()
        return turns

    def _timed(self, turn: TurnTranscribed) -> TurnTranscribed:
        times = self._times.pop(turn.item_id, None)
        return turn if times is None else replace(turn, start_ms=times[0], end_ms=times[1])

    def _take(self) -> list[TurnTranscribed]:
        taken: list[TurnTranscribed] = []
        for item_id, turn in list(self._turns.items()):
            if turn is None:
                break
            taken.append(turn)
            del self._turns[item_id]
        return taken
