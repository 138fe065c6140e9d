"""What a speaker plays and when, for an echo canceller that needs it at the time of the microphone.

Times are those of the devices' clock, in seconds. PortAudio's devices share one clock.
"""

from __future__ import annotations

from collections import deque

from rtchat.audio.codec import Convert, converter
from rtchat.audio.pcm import WIDTH
from rtchat.core.values import AudioFormat

MAX_JITTER_SECONDS = 0.03
"""A block continues the last one if it begins at most this much earlier or later than the last one
ended: the times that devices report vary."""
_MAX_BLOCKS = 250
"""The maximum number of blocks kept until they are read: 15 s."""


class PlayedAudio:
    """The audio of a speaker on a timeline in samples. Where nothing was played, it is silent.

    The device's thread calls `add` and `restart`, the event loop calls `read`.
    """

    def __init__(self, rate: int) -> None:
        """`rate` is that of the microphone, in Hz, at which the audio is read."""
        self._rate = rate
        self._blocks: deque[tuple[bytes, int, float] | None] = deque(maxlen=_MAX_BLOCKS)
        """Audio, its rate and the time at which it begins to sound; None after a restart."""
        self._pieces: deque[tuple[int, bytes]] = deque()
        """Positions on the timeline, each with the audio that begins there."""
        self._speaker_rate = 0
        self._resample: Convert | None = None
        self._due: float | None = None
        """When the next block begins if it continues the last one."""
        self._position = 0

    def add(self, audio: bytes, rate: int, begins: float) -> None:
        """PCM16 mono begins to sound at this time."""
        self._blocks.append((audio, rate, begins))

    def restart(self) -> None:
        """The device has dropped what it had not yet played."""
        self._blocks.append(None)

    def read(self, start: int, count: int) -> bytes:
        """`count` samples from a position of the timeline on: PCM16. Positions must not
        decrease."""
        while self._blocks:
            self._place(self._blocks.popleft())
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][1]) // WIDTH <= start:
            self._pieces.popleft()
        out = bytearray(count * WIDTH)
        for position, audio in self._pieces:
            begin = max(position, start)
            end = min(position + len(audio) // WIDTH, start + count)
            if begin < end:
                out[(begin - start) * WIDTH : (end - start) * WIDTH] = audio[
                    (begin - position) * WIDTH : (end - position) * WIDTH
                ]
        return bytes(out)

    def _place(self, block: tuple[bytes, int, float] | None) -> None:
        if block is None:
            self._due = None
            return
        audio, rate, begins = block
        if self._resample is None or rate != self._speaker_rate:
            self._speaker_rate, self._due = rate, None
            source, target = AudioFormat(rate=rate), AudioFormat(rate=self._rate)
            self._resample = converter(source, target, f"the speaker uses {rate} Hz")
        if self._due is None or abs(begins - self._due) > MAX_JITTER_SECONDS:
            self._append(self._resample(b"", last=True))
            self._position, self._due = round(begins * self._rate), begins
        self._due += len(audio) / WIDTH / rate
        self._append(self._resample(audio, last=False))

    def _append(self, audio: bytes) -> None:
        if audio:
            self._pieces.append((self._position, audio))
            self._position += len(audio) // WIDTH
