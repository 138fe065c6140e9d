"""Which response an event belongs to."""

from __future__ import annotations

from collections import deque


class StaleResponses:
    """The most recent responses of a session that are over or were not requested. Their events may
    still arrive."""

    def __init__(self) -> None:
        self._stale: deque[str] = deque(maxlen=8)
        self._named = ""
        """The last response that was named by an event other than its first."""
        self._other_name = ""
        """Another id that an event of the expected response had."""

    def __contains__(self, response_id: str) -> bool:
        return response_id in self._stale

    def ignore(self, response_id: str) -> None:
        """Ignore all further events of a response."""
        self._stale.append(response_id)
        if self._other_name:
            self._stale.append(self._other_name)
            self._other_name = ""

    def clear(self) -> None:
        """Forget the responses: those of another session may have the same ids."""
        self._stale.clear()
        self._named = self._other_name = ""

    def matches(self, response_id: str, expected: str, *, is_end: bool = False) -> bool:
        """Whether an event belongs to the expected response; `expected` is empty while the id of
        that response is not known. `is_end` is whether the event ends a response.

        Some servers do not name the response in each event, do not announce it before its text, or
        use different ids for it. A server that has used an id twice uses it in all events, except
        perhaps the last, so any other id is that of another response.
        """
        if not response_id or response_id == expected:
            self._named = response_id or self._named
            return True
        if response_id in self._stale:
            return False
        if is_end or not expected or self._named != expected:
            self._other_name = response_id
            return True
        self._stale.append(response_id)
        return False
