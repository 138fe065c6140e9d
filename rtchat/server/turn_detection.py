"""Turn detection: audio in, turns out.

A detector gives the speech probability of each frame. That probability and the length of silence
determine where turns start and end. Deterministic and without I/O. The buffered audio is bounded:
with turn detection, only audio that may belong to a turn is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from rtchat.core.values import BYTES_A_MS, JsonObject, value
from rtchat.server.voice import FRAME_MS, Detector
from rtchat.wire.fields import Fields

MAX_TURN_MS = 15 * 60 * 1000
"""The maximum length of buffered audio, and therefore of a turn."""
_FRAME_BYTES = FRAME_MS * BYTES_A_MS
_MAX_BYTES = MAX_TURN_MS * BYTES_A_MS
_ONSET_FRAMES = 2
"""The number of consecutive speech frames that start a turn. One frame may be a click."""
_HYSTERESIS = 0.15
"""Once a turn has started, the threshold is lower by this much."""
PAUSE_MS = 4 * FRAME_MS
"""The length of silence after which a turn has probably ended."""
_REPORT_MS = 32 * FRAME_MS
"""How often a turn is reported during speech."""
MAX_REPORTED_MS = 25_000
"""Longer turns are not reported before they end."""
_EAGERNESS_SILENCE_MS = {"low": 2000, "medium": 1000, "auto": 1000, "high": 600}
"""Semantic VAD is approximated: each eagerness maps to milliseconds of silence."""


@value
class TurnOptions:
    """Options of turn detection. `auto_respond`: the end of a turn creates a response.
    `interrupts`: its start cancels the active response."""

    threshold: float = 0.5
    padding_ms: int = 300
    """How much audio before the speech is included in the turn."""
    silence_ms: int = 500
    """How much silence ends a turn."""
    auto_respond: bool = True
    interrupts: bool = True


def read_turn_options(session: JsonObject) -> TurnOptions | None:
    """The turn detection options of a complete session object; None if it is off.

    `idle_timeout_ms` has no effect: this server does not start responses on its own.
    """
    fields = Fields(session, []).fields("audio").fields("input").fields("turn_detection")
    if not fields.data:
        return None
    auto_respond = fields.data.get("create_response") is not False
    interrupts = fields.data.get("interrupt_response") is not False
    if fields.text("type") == "semantic_vad":
        silence = _EAGERNESS_SILENCE_MS.get(fields.text("eagerness"), _EAGERNESS_SILENCE_MS["auto"])
        return TurnOptions(silence_ms=silence, auto_respond=auto_respond, interrupts=interrupts)
    return TurnOptions(
        fields.number("threshold") or 0.0,
        fields.integer("prefix_padding_ms"),
        fields.integer("silence_duration_ms"),
        auto_respond,
        interrupts,
    )


@value
class TurnBegan:
    """A turn started. `start_ms` is relative to the first audio and includes the padding."""

    start_ms: int


@value
class TurnSoFar:
    """The audio of a turn that has not ended. It is reported after each second of speech, and, if
    `is_paused`, after a silence of `PAUSE_MS`."""

    end_ms: int
    audio: bytes
    is_paused: bool


@value
class TurnEnded:
    """A turn ended. `audio` is the complete turn, with `silence` bytes of silence at its end."""

    end_ms: int
    audio: bytes
    silence: int


TurnBoundary: TypeAlias = TurnBegan | TurnSoFar | TurnEnded


class TurnDetector:
    """Buffers one client's audio and splits it into turns. If turn detection is off, the audio
    stays until `take` is called.

    Positions are in bytes since the first audio of the session.
    """

    def __init__(self, make_detector: Callable[[], Detector]) -> None:
        self._make_detector = make_detector
        self._detector: Detector | None = None
        self._turn_options: TurnOptions | None = None
        self._audio = bytearray()
        self._start = 0
        """The position of the first buffered byte."""
        self._odd_byte = b""
        """The first byte of an incomplete sample."""
        self._processed = 0
        """The position up to which the detector has processed the audio."""
        self._speech_frames = 0
        """The number of consecutive speech frames."""
        self._turn_start: int | None = None
        """The position where the current turn starts."""
        self._silence = 0
        """Bytes since the last speech in the current turn."""
        self._reported = 0
        """The position up to which the current turn was reported."""

    @property
    def milliseconds(self) -> float:
        """The length of the buffered audio."""
        return len(self._audio) / BYTES_A_MS

    @property
    def size(self) -> int:
        """The size of the buffered audio in bytes."""
        return len(self._audio)

    def configure(self, turns: TurnOptions | None) -> None:
        """Set the options. A turn that has started continues, unless `turns` is None."""
        self._turn_options = turns
        if turns is None:
            self._detector = None
            self._reset()

    def has_room_for(self, size: int) -> bool:
        """Whether the buffer can take `size` more bytes of audio."""
        return self._turn_options is not None or len(self._audio) + size <= _MAX_BYTES

    def feed(self, audio: bytes) -> Iterator[TurnBoundary]:
        """Process more audio, of any number of bytes."""
        whole = self._odd_byte + audio
        even = len(whole) // 2 * 2
        self._odd_byte = whole[even:]
        if self._turn_options is None:
            self._audio += whole[:even]
            return
        if self._detector is None:  # deferred until there is audio: loading may be slow
            self._detector = self._make_detector()
            self._processed = self._start + len(self._audio)
        self._audio += whole[:even]
        for probability in self._detector.feed(whole[:even]):
            self._processed += _FRAME_BYTES
            yield from self._process_frame(probability, self._turn_options)
        if self._turn_start is None:
            self._discard_before(
                self._processed - self._speech_frames * _FRAME_BYTES - _padding(self._turn_options)
            )

    def take(self) -> bytes:
        """Remove and return all buffered audio."""
        audio = bytes(self._audio)
        self._discard_before(self._start + len(audio))
        self._odd_byte = b""
        self._reset()
        return audio

    def _process_frame(self, probability: float, turns: TurnOptions) -> Iterator[TurnBoundary]:
        if self._turn_start is None:
            self._speech_frames = self._speech_frames + 1 if probability >= turns.threshold else 0
            if self._speech_frames == _ONSET_FRAMES:
                onset = self._processed - _ONSET_FRAMES * _FRAME_BYTES
                self._turn_start = max(self._start, onset - _padding(turns))
                self._discard_before(self._turn_start)
                self._reported = self._processed
                yield TurnBegan(self._turn_start // BYTES_A_MS)
            return
        is_speech = probability >= max(turns.threshold - _HYSTERESIS, 0.01)
        self._silence = 0 if is_speech else self._silence + _FRAME_BYTES
        is_over = self._silence >= max(turns.silence_ms * BYTES_A_MS, _FRAME_BYTES)
        if is_over or self._processed - self._turn_start >= _MAX_BYTES:
            ended = TurnEnded(self._processed // BYTES_A_MS, self._turn_audio(), self._silence)
            self._discard_before(self._processed)
            self._reset()
            yield ended
            return
        is_paused = self._silence == PAUSE_MS * BYTES_A_MS
        is_report_due = self._processed - self._reported >= _REPORT_MS * BYTES_A_MS
        is_short = self._processed - self._turn_start <= MAX_REPORTED_MS * BYTES_A_MS
        if is_short and (is_paused or (is_report_due and is_speech)):
            self._reported = self._processed
            yield TurnSoFar(self._processed // BYTES_A_MS, self._turn_audio(), is_paused)

    def _turn_audio(self) -> bytes:
        return bytes(self._audio[: self._processed - self._start])

    def _reset(self) -> None:
        self._turn_start = None
        self._speech_frames = self._silence = 0

    def _discard_before(self, position: int) -> None:
        discarded = position - self._start
        if discarded > 0:
            del self._audio[:discarded]
            self._start = position


def _padding(turns: TurnOptions) -> int:
    return min(turns.padding_ms, MAX_TURN_MS) * BYTES_A_MS
