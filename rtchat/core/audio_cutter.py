"""Cuts a long recording at silences into pieces that can be transcribed separately."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import groupby

from rtchat.core.values import BYTES_A_MS, value

MIN_PIECE_MS, MAX_PIECE_MS = 45_000, 90_000
"""The shortest and the longest piece, in milliseconds; only the last may be shorter."""

FRAME_MS = 20
_FRAME = FRAME_MS * BYTES_A_MS
_MIN_REST = 1000 // FRAME_MS
"""The fewest frames after a cut: servers refuse audio that is too short."""
_MIN_PAUSE, _LONG_PAUSE = 200 // FRAME_MS, 1000 // FRAME_MS
"""The fewest frames of a pause, and the number from which a longer pause is no better."""
_SILENCE = 30.0
"""The level of a frame that is silent in any recording, 60 dB below full scale."""
_FLOOR, _PEAK = 0.1, 0.99
"""The quantiles of the levels that stand for the background noise and for speech."""
_STRIDE = 3
"""Every third sample is enough to measure a level."""


@value
class AudioPiece:
    """A part of a recording. `start_ms` is its beginning in the recording."""

    number: int
    start_ms: int
    audio: bytes

    @property
    def end_ms(self) -> int:
        """Its end in the recording, in milliseconds."""
        return self.start_ms + len(self.audio) // BYTES_A_MS


class AudioCutter:
    """Cuts audio of any length. The pieces, one after another, are the audio that was added."""

    def __init__(self) -> None:
        self._audio = bytearray()
        """The audio that is not part of a piece yet."""
        self._levels: list[float] = []
        """The level of each complete frame of it."""
        self._start_ms = 0
        self._number = 0

    def add(self, audio: bytes) -> Iterator[AudioPiece]:
        """Add audio of any size. Return the pieces that are complete."""
        self._audio += audio
        for start in range(len(self._levels) * _FRAME, len(self._audio) - _FRAME + 1, _FRAME):
            self._levels.append(level(self._audio[start : start + _FRAME]))
        while len(self._levels) >= MAX_PIECE_MS // FRAME_MS + _MIN_REST:
            first = MIN_PIECE_MS // FRAME_MS
            allowed = self._levels[first : MAX_PIECE_MS // FRAME_MS]
            frames = first + best_cut(allowed)
            del self._levels[:frames]
            yield self._take(frames * _FRAME)

    def finish(self) -> Iterator[AudioPiece]:
        """Return the last piece, if any audio is left."""
        if self._audio:
            yield self._take(len(self._audio))

    def _take(self, size: int) -> AudioPiece:
        piece = AudioPiece(self._number, self._start_ms, bytes(self._audio[:size]))
        del self._audio[:size]
        self._number += 1
        self._start_ms = piece.end_ms
        return piece


def level(audio: bytes | bytearray) -> float:
    """The mean absolute value of the samples, from 0 to 32768."""
    samples = array("h", bytes(audio))[::_STRIDE]
    return sum(map(abs, samples)) / len(samples)


def best_cut(levels: Sequence[float]) -> int:
    """The frame to cut at: the middle of a pause, preferably a long and late one; without a pause,
    the quietest place. The levels of a pause are at most a quarter of that of speech and twice that
    of the background noise, or silent in any recording."""
    ordered = sorted(levels)
    noise, speech = (ordered[int(share * (len(ordered) - 1))] for share in (_FLOOR, _PEAK))
    quiet = max(_SILENCE, min(2 * noise, speech / 4))
    pauses = [pause for pause in _pauses(levels, quiet) if len(pause) >= _MIN_PAUSE]
    if not pauses:
        return _quietest(levels)

    def rating(pause: range) -> float:
        return min(len(pause), _LONG_PAUSE) / _LONG_PAUSE + pause.start / len(levels) / 2

    best = max(pauses, key=rating)
    return best[len(best) // 2]


def _pauses(levels: Sequence[float], quiet: float) -> Iterator[range]:
    """The runs of frames at or below a level."""
    for is_quiet, run in groupby(range(len(levels)), key=lambda frame: levels[frame] <= quiet):
        if is_quiet:
            frames = list(run)
            yield range(frames[0], frames[-1] + 1)


def _quietest(levels: Sequence[float]) -> int:
    """The middle of the quietest stretch as long as a pause; of several the last."""
    stretches = range(len(levels) - _MIN_PAUSE + 1)
    first = min(reversed(stretches), key=lambda start: sum(levels[start : start + _MIN_PAUSE]))
    return first + _MIN_PAUSE // 2
