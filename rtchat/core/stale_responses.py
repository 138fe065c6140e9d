"""Which response an event belongs to."""

from __future__ import annotations

from collections import deque


class StaleResponses:
    """The most recent responses of a session that are over or were not requested. Their events may
    still arrive."""

    def __init__(self) -> None:
        self._stale: deque[str] = deque(maxlen=64)

    def __contains__(self, response_id: str) -> bool:
        return response_id in self._stale

    def ignore(self, response_id: str) -> None:
        """Ignore all further events of a response."""
        if response_id not in self._stale:
            self._stale.append(response_id)

    def clear(self) -> None:
        """Forget the responses: those of another session may have the same ids."""
        self._stale.clear()

    def matches(self, response_id: str, expected: str) -> bool:
        """Whether an event of a response belongs to the expected response; `expected` is empty
        while the id of that response is not known.

        Not every server names the response in each event, or announces it before its text.
        """
        if not response_id:
            return True
        return response_id == expected if expected else response_id not in self._stale
