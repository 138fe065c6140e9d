"""What is to be heard: a queue of items, and the clock of how much of each was.

`put` and `stop` are called by the loop, `feed` by the thread of a sound device; a lock that is held
for microseconds is between them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from threading import Lock

from rtchat.audio.files import RATE, WIDTH
from rtchat.core.events import PlaybackCut
from rtchat.core.values import value

AHEAD = 0.1
"""Seconds of an item that are there before it begins, so that a slow network is not heard at
once."""
MOST = 30 * 60
"""Seconds that may wait: a server may be that much faster than speech."""
_HISTORY = 2.0
"""Seconds that a device may be behind."""


@dataclass
class _Item:
    """Audio of one part of an item, in the pieces that it came in. Counts are of frames."""

    item_id: str
    content_index: int
    pieces: deque[memoryview] = field(default_factory=deque)
    waiting: int = 0
    given: int = 0
    complete: bool = False
    begun: bool = False


@value
class _Span:
    """Frames of an item that were given to the device, and when by the device's count."""

    item: _Item
    start: int
    end: int
    offset: int


class Playback:
    """The queue. Everything that is put comes out of `feed` once and in order, or is stopped."""

    def __init__(self, rate: int = RATE) -> None:
        """`rate` is of what is put and what is fed: that of the device."""
        self._rate = rate
        self._lock = Lock()
        self._items: deque[_Item] = deque()
        self._spans: deque[_Span] = deque()
        self._fed = 0
        self._until = 0.0
        self._waiting = 0
        self.underruns = 0
        """How often there was silence in the middle of an item."""

    def put(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Queue PCM16 mono. Another item than before completes the one before."""
        frames = len(audio) // WIDTH
        if not frames:
            return
        with self._lock:
            if self._waiting + frames > MOST * self._rate:
                return
            item = self._items[-1] if self._items else None
            if item is None or (item.item_id, item.content_index) != (item_id, content_index):
                if item is not None:
                    item.complete = True
                item = _Item(item_id, content_index, given=self._given(item_id, content_index))
                self._items.append(item)
            item.complete = False
            item.pieces.append(memoryview(audio)[: frames * WIDTH])
            item.waiting += frames
            self._waiting += frames

    def _given(self, item_id: str, content_index: int) -> int:
        """How much of it the device got already: it may go on after it seemed to be complete."""
        for span in reversed(self._spans):
            if (span.item.item_id, span.item.content_index) == (item_id, content_index):
                return span.item.given
        return 0

    def end(self, item_id: str) -> None:
        """Nothing more comes of an item. Without this its last 100 ms may wait for more."""
        with self._lock:
            for item in self._items:
                if item.item_id == item_id:
                    item.complete = True
            self._pass()

    def feed(self, frames: int, until: float = 0.0) -> bytes:
        """The next so many frames for the device, with silence where there is nothing to hear.

        `until` is when the last of them will have been heard, by the clock of `stop`.
        """
        out: list[bytes | memoryview] = []
        with self._lock:
            missing = frames
            while missing and (item := self._next()) is not None:
                taken = min(missing, item.waiting)
                at = self._fed + frames - missing
                self._spans.append(_Span(item, at, at + taken, item.given))
                self._take(item, taken, out)
                missing -= taken
            self._fed += frames
            self._until = until
            while self._spans and self._spans[0].end < self._fed - _HISTORY * self._rate:
                self._spans.popleft()
        out.append(bytes(missing * WIDTH))
        return b"".join(out)

    def _next(self) -> _Item | None:
        """The item to take from, if there is one and it may begin or go on."""
        self._pass()
        if not self._items:
            return None
        item = self._items[0]
        if item.begun and not item.waiting:
            self.underruns += 1
            item.begun = False
        if not item.begun:
            item.begun = item.complete or item.waiting >= AHEAD * self._rate
        return item if item.begun else None

    def _pass(self) -> None:
        while self._items and self._items[0].complete and not self._items[0].waiting:
            self._items.popleft()

    def _take(self, item: _Item, frames: int, out: list[bytes | memoryview]) -> None:
        item.waiting -= frames
        item.given += frames
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
        """Drop all that waits. What was being heard now, or was next; None if there was nothing."""
        with self._lock:
            cut = self._at(now)
            self._items = deque()
            self._spans.clear()
            self._waiting = 0
        return cut

    def is_playing(self, now: float = 0.0) -> bool:
        """Whether something is being heard, or waits to be."""
        with self._lock:
            return self._at(now) is not None

    def _at(self, now: float) -> PlaybackCut | None:
        self._pass()
        unheard = min(max(0.0, self._until - now), _HISTORY)
        heard = self._fed - round(unheard * self._rate)
        for span in self._spans:
            if span.end > heard:
                return self._cut(span.item, span.offset + max(0, heard - span.start))
        return self._cut(self._items[0], self._items[0].given) if self._items else None

    def _cut(self, item: _Item, frames: int) -> PlaybackCut:
        return PlaybackCut(item.item_id, item.content_index, frames * 1000 // self._rate)
