"""When the user speaks and when not: audio in, turns out.

A detector says how likely each frame is speech; from that, and from how long it has been quiet, a
turn begins and ends. Deterministic and without I/O. What is kept of the audio is bounded: where
turns are looked for, only what may belong to one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from rtchat.core.values import BYTES_A_MS, JsonObject, value
from rtchat.server.voice import FRAME_MS, Detector
from rtchat.wire.fields import Fields

LONGEST_MS = 15 * 60 * 1000
"""The most that is kept, and so the longest turn."""
_FRAME = FRAME_MS * BYTES_A_MS
_LONGEST = LONGEST_MS * BYTES_A_MS
_ONSET = 2
"""Frames of speech in a row that begin a turn: a click is none."""
_FALTERING = 0.15
"""How much less likely than at its beginning speech may become and still be speech."""
_EAGERNESS = {"low": 2000, "medium": 1000, "auto": 1000, "high": 600}
"""Of semantic VAD, as milliseconds of silence: here nobody listens to what is said."""


@value
class TurnOptions:
    """How turns are told apart. `auto_respond` and `interrupts` say what they do to responses."""

    threshold: float = 0.5
    padding_ms: int = 300
    """How much from before a turn belongs to it."""
    silence_ms: int = 500
    """How long it is quiet when a turn is over."""
    auto_respond: bool = True
    interrupts: bool = True


def read_turn_options(session: JsonObject) -> TurnOptions | None:
    """The turn detection of a whole session as it is told to the client; None if it has none.

    An idle timeout has no effect: this server does not speak first.
    """
    fields = Fields(session, []).fields("audio").fields("input").fields("turn_detection")
    if not fields.data:
        return None
    auto_respond = fields.data.get("create_response") is not False
    interrupts = fields.data.get("interrupt_response") is not False
    if fields.text("type") == "semantic_vad":
        silence = _EAGERNESS.get(fields.text("eagerness"), _EAGERNESS["auto"])
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
    """A turn began, so many milliseconds after the first audio, its padding included."""

    start_ms: int


@value
class TurnEnded:
    """It is over; `audio` is all of it."""

    end_ms: int
    audio: bytes


TurnBoundary: TypeAlias = TurnBegan | TurnEnded


class TurnDetector:
    """The audio of one client that nothing was made of yet. Without `turns` it waits for `take`.

    Positions are bytes since the first audio of the session.
    """

    def __init__(self, make_detector: Callable[[], Detector]) -> None:
        self._make_detector = make_detector
        self._detector: Detector | None = None
        self._turns: TurnOptions | None = None
        self._audio = bytearray()
        self._first = 0
        """Where that begins."""
        self._half = b""
        """The first byte of a sample whose other one is to come."""
        self._judged = 0
        """Up to where the detector has judged."""
        self._run = 0
        """Frames of speech in a row."""
        self._began: int | None = None
        """Where the turn begins that is being spoken."""
        self._quiet = 0
        """Bytes since its last speech."""

    @property
    def milliseconds(self) -> float:
        """How much audio there is."""
        return len(self._audio) / BYTES_A_MS

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return len(self._audio)

    def listen_for(self, turns: TurnOptions | None) -> None:
        """How to tell turns apart from here on. One that has begun goes on, unless this is None."""
        self._turns = turns
        if turns is None:
            self._detector = None
            self._be_quiet()

    def has_room_for(self, audio: bytes) -> bool:
        """Whether it can be heard at all."""
        return self._turns is not None or len(self._audio) + len(audio) <= _LONGEST

    def hear(self, audio: bytes) -> Iterator[TurnBoundary]:
        """More audio, of any number of bytes."""
        whole = self._half + audio
        even = len(whole) // 2 * 2
        self._half = whole[even:]
        if self._turns is None:
            self._audio += whole[:even]
            return
        if self._detector is None:  # not before there is audio: it may take some loading
            self._detector = self._make_detector()
            self._judged = self._first + len(self._audio)
        self._audio += whole[:even]
        for likely in self._detector.feed(whole[:even]):
            self._judged += _FRAME
            yield from self._judge(likely, self._turns)
        if self._began is None:
            self._forget_before(self._judged - self._run * _FRAME - _padding(self._turns))

    def take(self) -> bytes:
        """All that there is; afterwards there is nothing."""
        audio = bytes(self._audio)
        self._forget_before(self._first + len(audio))
        self._half = b""
        self._be_quiet()
        return audio

    def _judge(self, likely: float, turns: TurnOptions) -> Iterator[TurnBoundary]:
        if self._began is None:
            self._run = self._run + 1 if likely >= turns.threshold else 0
            if self._run == _ONSET:
                onset = self._judged - _ONSET * _FRAME
                self._began = max(self._first, onset - _padding(turns))
                self._forget_before(self._began)
                yield TurnBegan(self._began // BYTES_A_MS)
            return
        is_speech = likely >= max(turns.threshold - _FALTERING, 0.01)
        self._quiet = 0 if is_speech else self._quiet + _FRAME
        is_over = self._quiet >= max(turns.silence_ms * BYTES_A_MS, _FRAME)
        if is_over or self._judged - self._began >= _LONGEST:
            audio = bytes(self._audio[: self._judged - self._first])
            self._forget_before(self._judged)
            self._be_quiet()
            yield TurnEnded(self._judged // BYTES_A_MS, audio)

    def _be_quiet(self) -> None:
        self._began = None
        self._run = self._quiet = 0

    def _forget_before(self, position: int) -> None:
        passed = position - self._first
        if passed > 0:
            del self._audio[:passed]
            self._first = position


def _padding(turns: TurnOptions) -> int:
    return min(turns.padding_ms, LONGEST_MS) * BYTES_A_MS
