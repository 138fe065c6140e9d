"""A simulated run of a conversation against simulated servers, in virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from rtchat import wire
from rtchat.client.frames import FrameReader
from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.backoff import Timeouts
from rtchat.core.conversation import Conversation
from rtchat.core.errors import ExitCode
from rtchat.core.mode import Mode
from rtchat.core.redaction import Redactor
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.values import Entry, Modality, Options
from tests.deviations.server import STEP, Data, Frame, Server

REPLY_TIMEOUT = 60.0
"""Seconds of `--timeout`."""
LONGEST = 1000.0
"""Seconds after which a run has failed: nothing waits that long."""


@dataclass
class Turn:
    """What the client showed of a turn."""

    question: str
    began: float
    shown: str = ""
    over: fx.ReplyOver | None = None
    runs: list[tuple[str, Any]] = field(default_factory=list)


class Run:
    """One run of a conversation against simulated servers, one for each connection."""

    def __init__(
        self,
        connect: Callable[[], Server],
        *,
        mode: Mode,
        inputs: Iterable[ev.Event],
        later: Iterable[ev.Event] = (),
        delay: float = 0.0,
        speaks: bool = False,
        listens: bool = False,
    ) -> None:
        """The `inputs` are given at once, and the `later` ones some time after the first reply was
        requested, or begun without a request."""
        self.now = 0.0
        self.turns: list[Turn] = []
        self.sent: list[tuple[float, Frame]] = []
        """The frames that the client received, and when."""
        self.entries: dict[tuple[int, int], Entry] = {}
        self.notices: list[str] = []
        self.exit: ExitCode | None = None
        self.servers: list[Server] = []
        self._connect = connect
        self._timers: dict[ev.Timer, float] = {}
        self._stall = 0.0
        self._posts: list[tuple[float, int, ev.Event]] = []
        self._order = count()
        self._to_server: list[tuple[float, Data]] = []
        self._server: Server | None = None
        self._reader = FrameReader(Redactor(), None, lambda: 0.0)
        modality: Modality = "audio" if speaks else "text"
        self._conversation = Conversation(
            "m",
            Options(modality=modality),
            mode=mode,
            timeouts=Timeouts(reply=REPLY_TIMEOUT),
            tool_policy=ToolPolicy(["add"], ["add"]),
            speech=SpeechOptions(speaks=speaks, has_microphone=listens, push_to_talk=False),
        )
        self._later = list(later)
        self._delay = delay
        self.later_at = LONGEST
        """When the `later` inputs are given."""
        for event in (ev.Started(), *inputs):
            self._post(event, 0.0)
        self._run()

    def _run(self) -> None:
        while self.exit is None and self._step():
            pass

    def _post(self, event: ev.Event, when: float) -> None:
        self._posts.append((when, next(self._order), event))
        self._posts.sort(key=lambda post: post[:2])

    def _step(self) -> bool:
        """Do what comes next; return whether anything does."""
        dues: list[tuple[float, int, Callable[[], None]]] = []
        if self._to_server:
            dues.append((self._to_server[0][0], 0, self._pass_to_server))
        if self._server is not None and self._server.queue:
            dues.append((self._server.queue[0][0], 1, self._receive))
        if self._posts:
            dues.append((self._posts[0][0], 2, self._take_post))
        if self._timers:
            timer = min(self._timers, key=lambda each: self._timers[each])
            dues.append((self._timers[timer], 3, lambda: self._fire(timer)))
        if not dues:
            return False
        due, _, act = min(dues, key=lambda each: each[:2])
        self.now = max(self.now, due)
        if self._server is not None:
            self._server.now = self.now
        act()
        return self.now < LONGEST

    def _pass_to_server(self) -> None:
        _, data = self._to_server.pop(0)
        if self._server is None:
            return
        self._server.handle(data)
        begins = any(each.turn is not None for each in self._server.responses)
        if self._later and (begins or data["type"] == "response.create"):
            self.later_at = self.now + self._delay
            for event in self._later:
                self._post(event, self.later_at)
            self._later.clear()

    def _receive(self) -> None:
        assert self._server is not None
        frame = self._server.take_frame()
        self.sent.append((self.now, frame))
        self._restart_stall()
        text = json.dumps(frame.data)
        for _, events in self._reader.read(
            wire.as_text(text.encode() if frame.is_binary else text)
        ):
            for event in events:
                self._handle(event)

    def _take_post(self) -> None:
        self._handle(self._posts.pop(0)[2])

    def _fire(self, timer: ev.Timer) -> None:
        del self._timers[timer]
        self._handle(ev.TimerFired(timer))

    def _restart_stall(self) -> None:
        if ev.Timer.STALL in self._timers:
            self._timers[ev.Timer.STALL] = self.now + self._stall

    def _handle(self, event: ev.Event) -> None:
        for effect in self._conversation.handle(event, self.now):
            self._perform(effect)

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Connect():
                self._server = self._connect()
                self.servers.append(self._server)
                self._server.now = self.now
                self._reader.connected()
                self._to_server.clear()
                self._post(ev.ConnectionOpened(), self.now)
                self._server.open()
            case fx.Disconnect():
                self._server = None
                self._to_server.clear()
            case fx.Send(event_id, command):
                data = json.loads(json.dumps(wire.encode(command, event_id, self._reader.dialect)))
                self._to_server.append((self.now + STEP, data))
                self._restart_stall()
            case fx.SetTimer(timer, seconds):
                self._timers[timer] = self.now + seconds
                self._stall = seconds if timer is ev.Timer.STALL else self._stall
            case fx.ClearTimer(timer):
                self._timers.pop(timer, None)
            case fx.Show(update):
                self._show(update)
            case fx.Record(entry):
                self.entries[entry.turn, entry.index] = entry
            case fx.RunTool(call):
                arguments = json.loads(call.arguments or "{}")
                self.turns[-1].runs.append((call.call_id, (call.name, arguments)))
                self._post(ev.ToolFinished(call.call_id, "7"), self.now + STEP)
            case fx.Stop(code):
                self.exit = code
            case _:
                pass

    def _show(self, update: fx.Update) -> None:
        match update:
            case fx.QuestionAsked(text):
                self.turns.append(Turn(text, self.now))
            case fx.TextArrived(text):
                self.turns[-1].shown += text
            case fx.ReplyOver() if self.turns:
                self.turns[-1].over = update
            case fx.Notice(_, text):
                self.notices.append(text)
            case _:
                pass
