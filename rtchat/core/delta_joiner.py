"""Joins the deltas of a text. Some servers send the whole text so far in each delta."""

from __future__ import annotations

from collections.abc import Iterable


class DeltaJoiner:
    """The deltas of one text. If each of the first three begins with the one before it, each delta
    repeats the text, and only the new text in it is used. Until that is known, the second delta
    waits."""

    def __init__(self) -> None:
        self.is_decided = False
        """Whether the deltas are known not to repeat the text."""
        self._is_cumulative = False
        self._text = ""
        """The text so far."""
        self._waiting = ""

    def add(self, delta: str) -> str:
        """The new text in a delta."""
        if self.is_decided:
            return delta
        if self._is_cumulative:
            repeats = delta.startswith(self._text)
            new = delta[len(self._text) :] if repeats else delta
            self._text = delta if repeats else self._text + delta
            return new
        if not self._text:
            self._text = delta
            return delta
        waiting, self._waiting = self._waiting, ""
        if not waiting and _extends(delta, self._text):
            self._waiting = delta
            return ""
        if waiting and _extends(delta, waiting):
            self._is_cumulative = True
            new, self._text = delta[len(self._text) :], delta
            return new
        self.is_decided = True
        return waiting + delta

    def flush(self) -> str:
        """The new text in the delta that waits, if no more follow. It is treated as a repetition:
        few texts begin with the same words twice."""
        waiting, self._waiting = self._waiting, ""
        return waiting[len(self._text) :]


def _extends(delta: str, text: str) -> bool:
    return len(delta) > len(text) and delta.startswith(text)


def joined(deltas: Iterable[str]) -> str:
    """The text of all deltas."""
    joiner = DeltaJoiner()
    return "".join([*map(joiner.add, deltas), joiner.flush()])
