"""Runs a conversation: performs its effects, and owns all tasks, timers and connections.

Events of the keyboard, the microphone, timers, tools and the connection (`post`) and the frames of
the server (`_read`) wait in one inbox. `_handle` passes them to the conversation one at a time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import assert_never

from rtchat import wire
from rtchat.client.action_runs import ActionRuns
from rtchat.client.frames import FrameReader, Received
from rtchat.client.history import History, SessionHistory
from rtchat.client.loop_handlers import loop_handlers
from rtchat.client.reply_audio import AudioPlayback
from rtchat.client.server_link import ServerLink
from rtchat.client.taps import Taps
from rtchat.client.timers import SleepWatch, Timers
from rtchat.client.tool_runs import ToolRuns
from rtchat.client.view_queue import ViewQueue
from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.errors import SIGNALLED, ExitCode, Problem, UsageError
from rtchat.core.ports import (
    Actions,
    AudioConversion,
    Link,
    Machine,
    MicrophoneSwitch,
    Player,
    Source,
    Tap,
    Tools,
    View,
)
from rtchat.core.redaction import Redactor
from rtchat.core.values import BYTES_A_MS, Dialect, JsonObject, value
from rtchat.system.output import Output


@value
class SessionParts:
    """What a session connects a conversation to."""

    view: View
    connect: Callable[[str], AbstractAsyncContextManager[Link]]
    """Opens a connection for a model."""
    dialect: Dialect | None = None
    """The dialect to use; by default that of the session that the server reports."""
    redactor: Redactor = Redactor()
    """Removes keys from the frames of the server."""
    conversion: AudioConversion | None = None
    """Converts audio; without it, the server's formats are those used here."""
    taps: tuple[Tap, ...] = ()
    history: History | None = None
    tools: Tools | None = None
    actions: Actions | None = None
    player: Player | None = None
    microphone: MicrophoneSwitch | None = None
    output: Output | None = None
    """The output of the view and the taps, if they share one."""
    now: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    rng: Callable[[], float] = random.random


class Session:
    """Runs one conversation to its end."""

    def __init__(self, conversation: Machine, ports: SessionParts) -> None:
        self._conversation = conversation
        self._conversion = ports.conversion
        self._now = now = ports.now
        self._rng = ports.rng
        self._start_time = 0.0
        """When `run` began; the times of events are relative to it."""
        self._inbox: deque[ev.LocalEvent | Received] = deque()
        self._busy = False
        self._tasks = asyncio.TaskGroup()
        self._done = asyncio.Event()
        self._is_over = False
        self._dropped_bytes = 0
        """Bytes of microphone audio that were dropped because the network was too slow."""
        self._stopped_with: ExitCode | None = None
        """The exit code that the conversation ended with."""
        self._exit: ExitCode | None = None
        self._error: BaseException | None = None
        self._frames = FrameReader(ports.redactor, ports.dialect, ports.wall_clock)
        self._views = ViewQueue(
            ports.view, ports.output, now, lost=self._lose_output, fail=self._fail
        )
        self._taps = Taps(ports.taps, self._frames, self._views.call, self._views.show)
        self._history = SessionHistory(
            ports.history,
            found=self._post_first,
            warn=lambda problem: self._report(problem, "warning"),
            fail=self._fail,
        )
        self._tools = ToolRuns(ports.tools, self._tasks, self.post)
        self._actions = ActionRuns(ports.actions, self._tasks, self._views.show, self._fail)
        self._audio = AudioPlayback(ports.player, self._report)
        self._microphone = ports.microphone
        self._timers = Timers(
            lambda timer: self.post(ev.TimerFired(timer)), now, lambda: self._history.is_waiting
        )
        self._sleep = SleepWatch(self._on_sleep, now, ports.wall_clock)
        self._link = ServerLink(
            ports.connect,
            self._tasks,
            post=self._post_from_link,
            read=self._read,
            is_behind=self._views.is_behind,
            wait=self._history.wait,
            writing=self._before_send,
            sent=self._timers.restart_stall,
        )

    async def run(
        self, source: Source, signals: Mapping[int, ev.LocalEvent] | None = None
    ) -> ExitCode:
        """Run the conversation until it stops; `source` posts the input of the user.

        `signals` maps signal numbers to the events that they post.
        """
        with loop_handlers(self._views, signals or {}, self._on_signal):
            return await self.run_beside_others(source)

    async def run_beside_others(self, source: Source) -> ExitCode:
        """Run the conversation as `run` does, in a program that handles signals and unexpected
        errors of the event loop itself."""
        self._start_time = self._now()
        self._views.start()
        try:
            async with self._tasks:
                reading = self._tasks.create_task(source(self.post))
                self.post(ev.Started())
                await self._done.wait()
                await self._actions.finish()
                while self._views.is_waiting and self._error is None:  # noqa: ASYNC110 - drains by itself
                    await asyncio.sleep(0)
                self._stop_clocks()
                self._tools.stop()
                reading.cancel()
                await self._link.close()
            self._taps.end(self._stopped_with, self._link.unsent, self._clock())
        finally:
            self._stop_clocks()
            if self._conversion is not None:
                self._conversion.close()
            await self._views.close(self._exit)
        if self._error is not None:
            raise self._error
        assert self._exit is not None
        return self._exit

    @property
    def has_lost_output(self) -> bool:
        """Whether the output can no longer be written."""
        return self._views.lost_with is not None

    async def drained(self) -> None:
        """Wait until most queued events are sent."""
        await self._link.drained()

    # ------------------------------------------------------------------------------------ the inbox

    def post(self, event: ev.LocalEvent) -> None:
        """Handle an event, after those that are being handled or waiting."""
        if isinstance(event, ev.LeaveAsked) and self._history.search:
            self._history.stop_search()
            self._inbox.appendleft(event)
        else:
            self._inbox.append(event)
        self._handle_inbox()

    def _post_first(self, event: ev.LocalEvent) -> None:
        """Handle the answer to an effect before all waiting events."""
        self._inbox.appendleft(event)
        self._handle_inbox()

    def _handle_inbox(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox and not (self._is_over or self._history.search):
                self._handle(self._inbox.popleft())
        except Exception as error:
            self._fail(error)
        finally:
            self._busy = False

    def _handle(self, happened: ev.LocalEvent | Received) -> None:
        """Perform the effects of an event or frame."""
        records: list[fx.Effect] = []
        for effect in self._effects(happened):
            cut = self._perform(effect)
            # The server must know what was heard before the next response is requested. It is saved
            # after the entries that it changes, some of which may be saved only now.
            for caused in () if cut is None else self._effects(cut):
                if isinstance(caused, fx.Record):
                    records.append(caused)
                else:
                    self._perform(caused)
        for record in records:
            self._perform(record)

    def _effects(self, happened: ev.LocalEvent | Received) -> list[fx.Effect]:
        """The effects of an event or frame. The taps receive everything that the conversation
        handles in the same order."""
        now = self._clock()
        events = self._incoming(happened[1]) if isinstance(happened, tuple) else (happened,)
        effects: list[fx.Effect] = []
        try:
            for event in events:
                effects += self._conversation.handle(event, now)
        finally:
            self._taps.handled(happened, effects, now)
        return effects

    def _incoming(self, events: Sequence[ev.ServerEvent]) -> Sequence[ev.ServerEvent]:
        """The events with their audio converted."""
        if self._conversion is None:
            return events
        return [each for event in events for each in self._conversion.incoming(event)]

    def _perform(self, effect: fx.Effect) -> ev.PlaybackCut | None:  # noqa: C901 - one case per effect
        """Perform an effect; return the event that it causes immediately, if any."""
        match effect:
            case fx.Show(update):  # the most frequent effect
                self._views.show(update)
            case fx.Connect(model):
                self._sleep.stop()
                if self._conversion is not None:
                    self._conversion.reset()
                self._link.open(model)
            case fx.UseFormats():
                self._use_formats(effect)
            case fx.Disconnect():
                self._sleep.stop()
                self._link.drop()
            case fx.Send(_, fx.AppendAudio(audio, True)) if self._link.is_slow:
                self._dropped_bytes += len(audio)
            case fx.Play() | fx.StopPlaying():
                return self._audio.perform(effect)
            case fx.UseMicrophone(is_used):
                if self._microphone is not None:
                    self._microphone.use(is_used)
            case fx.Send(event_id, command):
                for each in self._outgoing(command):
                    data = wire.encode(each, event_id, self._frames.dialect)
                    self._link.send(data, self._history.question_saved)
            case fx.SetTimer(timer, seconds, jitter):
                self._timers.set(timer, seconds * (1 - jitter * self._rng()))
            case fx.ClearTimer(timer):
                self._timers.clear(timer)
            case fx.StartRecord() | fx.Record() | fx.MoveTo() | fx.Fork():
                self._history.perform(effect)
            case fx.LoadConversation() | fx.NameConversation():
                self._history.perform(effect)
            case fx.RunTool(call):
                self._tools.start(call)
            case fx.StopTools():
                self._tools.stop()
            case fx.ShowEvents(shows):
                self._taps.shows_events = shows
            case fx.ReportStatus() | fx.Export() | fx.SaveReply() | fx.RecordTrace():
                self._actions.start(effect)
            case fx.Stop(code):
                self._stop(code)
            case _:
                assert_never(effect)
        return None

    def _outgoing(self, command: fx.Command) -> Iterable[fx.Command]:
        return (command,) if self._conversion is None else self._conversion.outgoing(command)

    def _use_formats(self, formats: fx.UseFormats) -> None:
        assert self._conversion is not None, "a session with audio has a conversion"
        try:
            self._conversion.use(formats)
        except UsageError as error:
            self._link.drop()
            self.post(ev.ConnectionLost(error.problem, ev.Retry.NEVER))

    def _stop(self, code: ExitCode) -> None:
        self._stopped_with = code
        if self._audio.failure is not None and code is ExitCode.OK:
            code = self._audio.failure.problem.exit
        self._exit = self._views.lost_with or code
        self._end()

    # ----------------------------------------------------------------------- connection and signals

    def _post_from_link(self, event: ev.LocalEvent) -> None:
        self._sleep.stop()
        if isinstance(event, ev.ConnectionOpened):
            self._frames.connected()
            self._sleep.start()
        self.post(event)

    def _read(self, frame: str | bytes) -> None:
        self._timers.restart_stall()
        for received in self._frames.read(frame):
            if self._is_over:
                self._taps.pass_on("received", received[0], self._clock())
            else:
                self._inbox.append(received)
                self._handle_inbox()

    def _before_send(self, data: JsonObject) -> None:
        if self._dropped_bytes and self._link.is_idle:
            seconds, self._dropped_bytes = self._dropped_bytes / BYTES_A_MS / 1000, 0
            self._note(
                "warning", f"{seconds:.1f} s of speech were lost because the network is slow"
            )
        self._taps.pass_on("sent", data, self._clock())

    def _on_sleep(self, seconds: float) -> None:
        self._link.drop()
        problem = Problem(ExitCode.LINK, f"the computer slept for {seconds:.0f} s", "try again")
        self.post(ev.ConnectionLost(problem, ev.Retry.ALWAYS, at_once=True))

    def _on_signal(self, number: int, event: ev.LocalEvent) -> None:
        """Post the event of a signal. After the end of the conversation, signals end the wait for
        output and for the server."""
        is_over = self._exit is not None
        self._exit = self._views.signalled(number, self._exit)
        if not is_over:
            self.post(event)
        elif self._views.is_given_up:
            self._link.abandon()

    def _stop_clocks(self) -> None:
        self._timers.stop()
        self._sleep.stop()
        self._views.stop()

    def _clock(self) -> float:
        """Seconds since `run` began, rounded to microseconds as in a trace."""
        return round((self._now() - self._start_time) * 1e6) / 1e6

    # --------------------------------------------------------------------------------------- errors

    def _note(self, level: fx.Level, text: str) -> None:
        self._views.show(fx.Notice(level, text))

    def _report(self, problem: Problem, level: fx.Level = "error") -> None:
        self._views.show(fx.error_notice(problem, level))

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self._end()

    def _end(self) -> None:
        self._is_over = True
        self._done.set()

    def _lose_output(self, code: ExitCode) -> None:
        if self._exit is not None and self._exit not in SIGNALLED:
            self._exit = code
        self.post(ev.LeaveAsked(code))
