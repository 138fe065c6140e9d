"""The playback queue, which tracks how much of each item was played.

The event loop calls `put` and `stop`, the thread of an audio device calls `feed`. They share a lock
that is held for microseconds only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from threading import Lock

from rtchat.audio.pcm import RATE, WIDTH
from rtchat.core.events import PlaybackCut
from rtchat.core.values import value

BUFFER_SECONDS = 0.1
"""The amount of an item that is buffered before playback starts, to bridge network delays."""
MAX_QUEUED_SECONDS = 30 * 60
"""The maximum length of the queue. Servers send audio faster than it is played."""
_HISTORY_SECONDS = 2.0
"""The maximum delay between `feed` and playback."""


@dataclass
class _Item:
    """Audio of one content part of an item. Counts are in frames."""

    item_id: str
    content_index: int
    pieces: deque[memoryview] = field(default_factory=deque)
    waiting: int = 0
    fed: int = 0
    complete: bool = False
    started: bool = False


@value
class _Span:
    """Frames of an item that were fed to the device: positions in the device's stream, and the
    offset in the item."""

    item: _Item
    start: int
    end: int
    offset: int


class Playback:
    """The queue. `feed` returns all queued audio once and in order, until `stop`."""

    def __init__(self, rate: int = RATE) -> None:
        """`rate` is the device's rate, in Hz, for both `put` and `feed`."""
        self._rate = rate
        self._lock = Lock()
        self._items: deque[_Item] = deque()
        self._spans: deque[_Span] = deque()
        self._fed = 0
        self._played_until = 0.0
        self._waiting = 0
        self.underruns = 0
        """The number of gaps in the middle of an item."""

    def put(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Queue PCM16 mono. A different item completes the previous one."""
        frames = len(audio) // WIDTH
        if not frames:
            return
        with self._lock:
            if self._waiting + frames > MAX_QUEUED_SECONDS * self._rate:
                return
            item = self._items[-1] if self._items else None
            if item is None or (item.item_id, item.content_index) != (item_id, content_index):
                if item is not None:
                    item.complete = True
                item = _Item(item_id, content_index, fed=self._frames_fed(item_id, content_index))
                self._items.append(item)
            item.complete = False
            item.pieces.append(memoryview(audio)[: frames * WIDTH])
            item.waiting += frames
            self._waiting += frames

    def _frames_fed(self, item_id: str, content_index: int) -> int:
        """How many frames were already fed: an item may continue after it seemed complete."""
        for span in reversed(self._spans):
            if (span.item.item_id, span.item.content_index) == (item_id, content_index):
                return span.item.fed
        return 0

    def end(self, item_id: str) -> None:
        """Mark an item as complete. Otherwise its last 100 ms may wait for more audio."""
        with self._lock:
            for item in self._items:
                if item.item_id == item_id:
                    item.complete = True
            self._drop_finished()

    def feed(self, frames: int, until: float = 0.0) -> bytes:
        """The next frames for the device, padded with silence.

        `until` is the time when the last of them will have been played, by the clock of `stop`.
        """
        out: list[bytes | memoryview] = []
        with self._lock:
            missing = frames
            while missing and (item := self._next()) is not None:
                taken = min(missing, item.waiting)
                at = self._fed + frames - missing
                self._spans.append(_Span(item, at, at + taken, item.fed))
                self._take(item, taken, out)
                missing -= taken
            self._fed += frames
            self._played_until = until
            while self._spans and self._spans[0].end < self._fed - _HISTORY_SECONDS * self._rate:
                self._spans.popleft()
        out.append(bytes(missing * WIDTH))
        return b"".join(out)

    def _next(self) -> _Item | None:
        """The item to play next, if there is one with enough audio."""
        self._drop_finished()
        if not self._items:
            return None
        item = self._items[0]
        if item.started and not item.waiting:
            self.underruns += 1
            item.started = False
        if not item.started:
            item.started = item.complete or item.waiting >= BUFFER_SECONDS * self._rate
        return item if item.started else None

    def _drop_finished(self) -> None:
        while self._items and self._items[0].complete and not self._items[0].waiting:
            self._items.popleft()

    def _take(self, item: _Item, frames: int, out: list[bytes | memoryview]) -> None:
        item.waiting -= frames
        item.fed += frames
        self._waiting -= frames
        missing = frames * WIDTH
        while missing:
            piece = item.pieces.popleft()
            if len(piece) > missing:
                item.pieces.appendleft(piece[missing:])
                piece = piece[:missing]
            out.append(piece)
            missing -= len(piece)

    def stop(self, now: float = 0.0) -> PlaybackCut | None:
        """Clear the queue. Returns the position in the current or next item; None if empty."""
        with self._lock:
            cut = self._position_at(now)
            self._items = deque()
            self._spans.clear()
            self._waiting = 0
        return cut

    def is_playing(self, now: float = 0.0) -> bool:
        """Whether audio is playing or queued."""
        return self.position(now) is not None

    def position(self, now: float = 0.0) -> PlaybackCut | None:
        """The position in the current or next item; None if none is playing or queued."""
        with self._lock:
            return self._position_at(now)

    def _position_at(self, now: float) -> PlaybackCut | None:
        self._drop_finished()
        unplayed = min(max(0.0, self._played_until - now), _HISTORY_SECONDS)
        played = self._fed - round(unplayed * self._rate)
        for span in self._spans:
            if span.end > played:
                return self._cut(span.item, span.offset + max(0, played - span.start))
        return self._cut(self._items[0], self._items[0].fed) if self._items else None

    def _cut(self, item: _Item, frames: int) -> PlaybackCut:
        return PlaybackCut(item.item_id, item.content_index, frames * 1000 // self._rate)
