"""When each turn of a transcription was spoken."""

from __future__ import annotations

from collections import deque

MAX_TURNS = 100
"""The maximum number of turns that have begun and are not committed. Servers have one."""


class TurnTimes:
    """The times of the turns of one session, in milliseconds of the audio that it received."""

    def __init__(self) -> None:
        self._spans: dict[str, tuple[int | None, int | None]] = {}
        """The beginning and the end of each turn that is not committed, by item id."""
        self._commits: deque[int] = deque()
        """The positions of the client's commits that the server has not confirmed."""
        self._last_end = 0

    def started(self, item_id: str, start_ms: int) -> None:
        """The server detected speech."""
        self._spans[item_id] = (start_ms, None)
        if len(self._spans) > MAX_TURNS:
            del self._spans[next(iter(self._spans))]

    def stopped(self, item_id: str, end_ms: int) -> None:
        """The server detected the end of speech. Some servers use another id, or none."""
        own_id = item_id if item_id in self._spans else next(reversed(self._spans), item_id)
        self._spans[own_id] = (self._spans.get(own_id, (None, None))[0], end_ms)

    def commit(self, sent_ms: int) -> None:
        """The client committed the audio sent so far."""
        self._commits.append(sent_ms)

    def committed(self, item_id: str, sent_ms: int) -> tuple[int, int]:
        """The server made a turn of audio. `sent_ms` is the length of all audio sent. Return the
        turn's beginning and end. If the server has not detected them, the turn begins after the
        last one and ends at the client's commit."""
        own_id = item_id if item_id in self._spans else next(iter(self._spans), "")
        start, end = self._spans.pop(own_id, (None, None))
        if end is None:
            end = self._commits.popleft() if self._commits else sent_ms
        end = max(0, min(end, sent_ms))
        start = max(0, min(self._last_end if start is None else start, end))
        self._last_end = end
        return start, end

    def clear(self) -> None:
        """The session is closed."""
        self._spans.clear()
        self._commits.clear()
        self._last_end = 0
