"""Replays a recorded session: passes the same events at the same times to the same conversation.

The events that it sends are compared with the recorded ones. `wire_only` replays recordings without
local events.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rtchat import wire
from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.ports import AudioConversion, Machine
from rtchat.core.setup import SessionSetup
from rtchat.core.text import exact_json
from rtchat.core.values import Dialect, JsonObject, value
from rtchat.trace.diff import first_difference
from rtchat.trace.media import with_silence, without_media
from rtchat.trace.reading import Recorded

CUT_OFF = ev.ConnectionLost(
    Problem(ExitCode.LINK, "the recording ends before the reply does"), ev.Retry.NEVER
)


@value
class Step:
    """One line of the recording, and the updates of the view that it causes."""

    line: int
    time: float | None
    updates: tuple[fx.Update, ...]


@dataclass
class Findings:
    """The results of a replay other than the updates."""

    unknown: list[tuple[int, ev.Unknown]] = field(default_factory=list)
    """Received events that could not be read, with their lines."""
    differences: list[tuple[int, str]] = field(default_factory=list)
    """Differences from the events that were sent, with their lines."""
    has_session: bool = False
    """Whether a session was created on any connection."""
    exit: ExitCode | None = None
    """The exit code, if the program would have ended before the recording does."""


@dataclass(frozen=True)
class _Frame:
    """An event to send. If `is_live`, a slow network may have caused it to be dropped."""

    event_id: str
    data: JsonObject
    is_live: bool


class Replay:
    """Replays a recording once. `conversion` converts audio as in the session."""

    def __init__(
        self, setup: SessionSetup, events: Sequence[Recorded], conversion: AudioConversion
    ) -> None:
        self.findings = Findings()
        self._machine: Machine = setup.machine.make()
        self._forced = setup.dialect
        self._dialect = setup.dialect or Dialect.GA
        self._decoder = wire.Decoder()
        self._events = events
        self._next = 0
        """The index of the next event."""
        self._conversion = conversion
        self._frames: deque[_Frame] = deque()
        """Events that were sent in the replay and not yet in the recording, on this connection."""
        self._is_comparable = True
        """Whether the recording and the replay have sent the same types of events so far."""
        self._updates: list[fx.Update] = []
        self._is_reply_due = False
        self._stopped: ExitCode | None = None

    def steps(self) -> Iterator[Step]:
        """Replay the whole recording. A reply that it does not end is ended with `CUT_OFF`."""
        time = 0.0
        while self._next < len(self._events):
            recorded = self._events[self._next]
            self._next += 1
            time = recorded.time or time
            self._take(recorded, time)
            yield self._step(recorded.line, recorded.time)
        if self._is_reply_due and self._stopped is None:
            self._handle((CUT_OFF,), time)
            yield self._step(self._events[-1].line, None)

    def _step(self, line: int, time: float | None) -> Step:
        updates, self._updates = tuple(self._updates), []
        return Step(line, time, updates)

    def _take(self, recorded: Recorded, time: float) -> None:
        match recorded.direction:
            case "local":
                self._handle((recorded.event,), time)
            case "received":
                events = self._decode(recorded)
                self._handle(
                    [e for event in events for e in self._conversion.incoming(event)], time
                )
            case "sent":
                self._compare(recorded)
            case "end" if isinstance(recorded.data, dict):
                self._compare_end(recorded.line, recorded.data)
            case _:
                pass

    def _decode(self, recorded: Recorded) -> list[ev.ServerEvent]:
        events = decode_recorded(recorded, self._decoder)
        for event in events:
            match event:
                case ev.Unknown():
                    self.findings.unknown.append((recorded.line, event))
                case ev.SessionCreated():
                    self.findings.has_session = True
                    self._dialect = self._forced or event.dialect or Dialect.GA
                case _:
                    pass
        return events

    def _handle(self, events: Iterable[ev.Event], time: float) -> None:
        if self._stopped is not None:
            return
        effects = deque(effect for event in events for effect in self._machine.handle(event, time))
        while effects:
            match effects.popleft():
                case fx.Show(update):
                    self._updates.append(update)
                    if isinstance(update, fx.QuestionAsked | fx.ReplyOver):
                        self._is_reply_due = isinstance(update, fx.QuestionAsked)
                case fx.Connect():
                    self._frames.clear()
                    self._decoder = wire.Decoder()
                    self._conversion.reset()
                case fx.UseFormats() as formats:
                    self._conversion.use(formats)
                case fx.Send(event_id, command):
                    self._frames.extend(self._encode(event_id, command))
                case fx.StopPlaying() if (cut := self._take_cut()) is not None:
                    effects.extendleft(reversed(self._machine.handle(cut, time)))
                case fx.Stop(code):
                    self._stopped = code
                case _:
                    pass

    def _take_cut(self) -> ev.PlaybackCut | None:
        """Take the next event if it is a `PlaybackCut`, the immediate answer of the player."""
        recorded = self._events[self._next] if self._next < len(self._events) else None
        if recorded is None or recorded.direction != "local":
            return None
        event = recorded.event
        if not isinstance(event, ev.PlaybackCut):
            return None
        self._next += 1
        return event

    # ----------------------------------------------------------------------------------- comparison

    def _encode(self, event_id: str, command: fx.Command) -> Iterator[_Frame]:
        is_live = isinstance(command, fx.AppendAudio) and command.live
        for each in self._conversion.outgoing(command):
            data = json.loads(exact_json(wire.encode(each, event_id, self._dialect)))
            yield _Frame(event_id, data, is_live)

    def _compare(self, recorded: Recorded) -> None:
        if not self._is_comparable or isinstance(recorded.data, str):
            return
        kind, event_id = recorded.data.get("type"), recorded.data.get("event_id")
        while self._frames and self._frames[0].is_live and self._frames[0].event_id != event_id:
            self._frames.popleft()
        if not self._frames:
            self._diverge(recorded.line, f"sent {kind}, but this version sends nothing here")
            return
        ours = self._frames.popleft()
        if ours.data.get("type") != kind:
            sends = ours.data.get("type")
            self._diverge(recorded.line, f"sent {kind}, but this version sends {sends}")
            return
        data, left_out = without_media(ours.data) if recorded.left_out else (ours.data, {})
        difference = first_difference(recorded.data, data)
        difference = difference or first_difference(recorded.left_out, left_out)
        if difference:
            self.findings.differences.append((recorded.line, f"sent {kind}: {difference}"))

    def _diverge(self, line: int, text: str) -> None:
        """Report a difference, and stop comparing: the following events would all differ."""
        self._is_comparable = False
        text = f"{text}; the rest is not compared"
        self.findings.differences.append((line, text))

    def _compare_end(self, line: int, end: JsonObject) -> None:
        if self._stopped != end.get("exit"):
            now = "continues" if self._stopped is None else f"ends with {self._stopped.value}"
            text = f"the program ended with {end.get('exit')}, but this version {now}"
            self.findings.differences.append((line, text))
        unsent = end.get("unsent")
        live = sum(frame.is_live for frame in self._frames)
        if self._is_comparable and not (
            isinstance(unsent, int) and 0 <= len(self._frames) - unsent <= live
        ):
            kinds = ", ".join(str(frame.data.get("type")) for frame in self._frames)
            text = f"events not sent at the end: {unsent}, but with this version {kinds or 'none'}"
            self.findings.differences.append((line, text))


def decode_recorded(recorded: Recorded, decoder: wire.Decoder) -> list[ev.ServerEvent]:
    """The events of a received frame, with silence in place of audio that was left out. `decoder`
    is the decoder of the connection."""
    if not isinstance(recorded.data, str):
        data = recorded.data
        return decoder.decode(with_silence(data, recorded.left_out) if recorded.left_out else data)
    frame = wire.read_frame(recorded.data)
    return [frame] if isinstance(frame, ev.Unknown) else decoder.decode(frame)
