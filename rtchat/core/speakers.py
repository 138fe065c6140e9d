"""The segments of transcripts, each spoken by one speaker."""

from __future__ import annotations

from collections.abc import Sequence

from rtchat.core.events import SegmentTranscribed
from rtchat.core.values import TranscriptSegment

MAX_SEGMENTS = 1000
"""The maximum number of segments of one turn that are kept."""
MAX_TURNS = 100
"""The maximum number of turns with segments and without a complete transcript."""


class Speakers:
    """The segments of turns without a complete transcript. `is_shown` is whether the text names the
    speakers."""

    def __init__(self, *, is_shown: bool) -> None:
        self.is_shown = is_shown
        self._segments: dict[str, list[TranscriptSegment]] = {}

    def add(self, event: SegmentTranscribed) -> str:
        """Add a segment; return its text with the speaker's name, if that is shown."""
        before = self._segments.setdefault(event.item_id, [])
        if len(self._segments) > MAX_TURNS:
            del self._segments[next(iter(self._segments))]
        if len(before) >= MAX_SEGMENTS or any(each.id and each.id == event.id for each in before):
            return ""
        segment = TranscriptSegment(
            event.id, event.text.strip(), event.speaker, event.start, event.end
        )
        before.append(segment)
        return _labelled(before, len(before) - 1) if self.is_shown else ""

    def take(
        self, item_id: str, given: Sequence[TranscriptSegment] = ()
    ) -> tuple[str, tuple[TranscriptSegment, ...]]:
        """End a turn. Return its text with the names of the speakers, if that is shown, and its
        segments; `given` are those that came with the transcript."""
        segments = self._segments.pop(item_id, []) or given
        text = "".join(_labelled(segments, index) for index in range(len(segments)))
        return text if self.is_shown else "", tuple(segments)

    def clear(self) -> None:
        """The session is closed."""
        self._segments.clear()


def _labelled(segments: Sequence[TranscriptSegment], index: int) -> str:
    """The text of a segment. If the speaker changes, it begins a new line with the speaker's
    name."""
    segment = segments[index]
    if index and segments[index - 1].speaker == segment.speaker:
        return f" {segment.text}"
    label = f"{segment.speaker}: " if segment.speaker else ""
    return ("\n" if index else "") + label + segment.text
