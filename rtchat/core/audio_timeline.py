"""Where the audio of a session is in the input: in the file, or since the microphone was opened."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise


class AudioTimeline:
    """Maps positions in the audio sent in a session to positions in the input. They differ after a
    lost connection: the next session receives only the audio that is not transcribed yet. All
    positions are in bytes."""

    def __init__(self) -> None:
        self._sent = [0]
        """The positions in the session at which a part of the input begins, ascending."""
        self._input = [0]
        """The position of each of these parts in the input."""

    def clear(self) -> None:
        """Another session begins."""
        self._sent, self._input = [0], [0]

    def add(self, sent: int, position: int) -> None:
        """The audio at `sent` in the session is that at `position` in the input."""
        if position == self.position(sent):
            return
        if self._sent[-1] == sent:
            self._input[-1] = position
        else:
            self._sent.append(sent)
            self._input.append(position)

    def position(self, sent: int) -> int:
        """The position in the input of the audio that begins at `sent`."""
        return self._position(bisect_right(self._sent, sent) - 1, sent)

    def end(self, sent: int) -> int:
        """The position in the input of the audio that ends at `sent`."""
        return self._position(max(0, bisect_left(self._sent, sent) - 1), sent)

    def _position(self, part: int, sent: int) -> int:
        return self._input[part] + sent - self._sent[part]

    def parts(self, first: int, end: int) -> list[tuple[int, int]]:
        """A range of the session, divided where it is not contiguous in the input."""
        cuts = [first, *(cut for cut in self._sent if first < cut < end), end]
        return [pair for pair in pairwise(cuts) if pair[0] < pair[1]]
