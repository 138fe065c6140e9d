"""Joins the deltas of a text, which some servers send as the whole text so far."""

from __future__ import annotations


class DeltaJoiner:
    """The deltas of one text. If each of the first three begins with the one before it, they repeat
    the text, and only what is new in them is used. Until that is known, the second one waits."""

    def __init__(self) -> None:
        self.is_decided = False
        """Whether deltas are known to be pieces, which need no joining."""
        self._is_cumulative = False
        self._text = ""
        """The text so far."""
        self._waiting = ""

    def add(self, delta: str) -> str:
        """The new text in a delta."""
        repeats = bool(self._text) and len(delta) > len(self._text) and delta.startswith(self._text)
        if self._is_cumulative:
            new = delta[len(self._text) :] if repeats else delta
            self._text = delta if repeats else self._text + delta
            return new
        if not self._text:
            self._text = delta
            return delta
        waiting, self._waiting = self._waiting, ""
        if not waiting and repeats:
            self._waiting = delta
            return ""
        if waiting and len(delta) > len(waiting) and delta.startswith(waiting):
            self._is_cumulative = True
            new, self._text = delta[len(self._text) :], delta
            return new
        self.is_decided = True
        return waiting + delta

    def flush(self) -> str:
        """The delta that waits: no more follow."""
        waiting, self._waiting = self._waiting, ""
        return waiting
