"""The shell around a conversation: performs its effects, and owns every task, timer and socket.

`post` is the one inbox: whatever happens, from the keyboard, the network or a timer, becomes an
event there. `_decide` hands them to the conversation, one at a time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from traceback import walk_tb
from typing import Any, TypeAlias, assert_never

from rtchat import wire
from rtchat.client.frames import FrameReader, Received
from rtchat.client.history import History, SessionHistory
from rtchat.client.reply_audio import ReplyAudio
from rtchat.client.server_link import ServerLink
from rtchat.client.timers import SleepWatch, Timers
from rtchat.client.tool_runs import ToolRuns
from rtchat.client.view_queue import ViewQueue
from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.ports import Link, Machine, Player, Source, Tap, Tools, View
from rtchat.core.redaction import Redactor
from rtchat.core.values import BYTES_A_MS, Dialect, JsonObject
from rtchat.system.output import INTERRUPT_TIMEOUT, Output

_Inbox: TypeAlias = deque[ev.LocalEvent | Received]
_SIGNALLED = {ExitCode.HANGUP, ExitCode.INTERRUPTED, ExitCode.TERMINATED}


class Session:
    """Runs one conversation to its end.

    `connect` opens a link for a model; `redactor` removes keys from what a server sends, `fit`
    adapts commands to this server. `dialect` forces one; otherwise it is taken from the session
    that the server reports. `output` is what the view and the taps write through, if anything.
    """

    def __init__(
        self,
        conversation: Machine,
        view: View,
        connect: Callable[[str], AbstractAsyncContextManager[Link]],
        *,
        dialect: Dialect | None = None,
        redactor: Redactor = Redactor(),  # noqa: B008 - never changed
        fit: Callable[[fx.Command], Iterable[fx.Command]] | None = None,
        taps: tuple[Tap, ...] = (),
        keeper: History | None = None,
        tools: Tools | None = None,
        player: Player | None = None,
        output: Output | None = None,
        now: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._conversation = conversation
        self._fit = fit
        self._taps = taps
        self._now = now
        self._rng = rng
        self._began = 0.0
        """When it began to run; the times of events count from there."""
        self._inbox: _Inbox = deque()
        self._busy = False
        self._tasks = asyncio.TaskGroup()
        self._done = asyncio.Event()
        self._unsaid = 0
        """Bytes of the microphone that a slow network left no room for."""
        self._was_signalled = False
        self._stopped_with: ExitCode | None = None
        """The exit code that the conversation ended with."""
        self._exit: ExitCode | None = None
        self._fault: BaseException | None = None
        self._frames = FrameReader(redactor, dialect, wall_clock)
        self._views = ViewQueue(view, output, now, lost=self._lose_output, fail=self._fail)
        self._history = SessionHistory(
            keeper, found=self._post_first, warn=partial(self._note, "warning"), fail=self._fail
        )
        self._tools = ToolRuns(tools, self._tasks, self.post)
        self._audio = ReplyAudio(player, partial(self._note, "error"))
        self._timers = Timers(
            lambda timer: self.post(ev.TimerFired(timer)), now, lambda: self._history.is_waiting
        )
        self._sleep = SleepWatch(self._slept, now, wall_clock)
        self._link = ServerLink(
            connect,
            self._tasks,
            post=self._post_of_link,
            read=self._read,
            is_behind=lambda: len(self._views) > 1,
            wait=self._history.wait,
            writing=self._writing,
            sent=self._timers.heard,
        )

    async def run(
        self, source: Source, signals: Mapping[int, ev.LocalEvent] | None = None
    ) -> ExitCode:
        """Hold the conversation until it stops; `source` posts what the user says.

        `signals` are turned into events while it runs.
        """
        loop = asyncio.get_running_loop()
        self._began = self._now()
        signals = signals or {}
        for number, event in signals.items():
            loop.add_signal_handler(number, self._signalled, number, event)
        self._views.start()
        handler = loop.get_exception_handler()
        loop.set_exception_handler(self._unexpected)
        try:
            async with self._tasks:
                reading = self._tasks.create_task(source(self.post))
                self.post(ev.Started())
                await self._done.wait()
                while len(self._views) and self._fault is None:  # noqa: ASYNC110 - it has its turns
                    await asyncio.sleep(0)
                self._stop_clocks()
                self._tools.stop()
                reading.cancel()
                await self._link.close()
            self._tap_end()
        finally:
            self._stop_clocks()
            self._views.close()
            await self._views.write_rest(INTERRUPT_TIMEOUT if self._exit in _SIGNALLED else None)
            for number in signals:
                loop.remove_signal_handler(number)
            loop.set_exception_handler(handler)
        if self._fault is not None:
            raise self._fault
        assert self._exit is not None
        return self._exit

    @property
    def has_lost_output(self) -> bool:
        """Whether there is nowhere to show anything any more."""
        return self._views.lost_with is not None

    async def drained(self) -> None:
        """Wait until the network has taken most of what was sent."""
        await self._link.drained()

    # ------------------------------------------------------------------------------------ the inbox

    def post(self, event: ev.LocalEvent) -> None:
        """Something happened. What happens while it is being dealt with waits its turn."""
        if isinstance(event, ev.LeaveAsked) and self._history.is_searching:
            self._history.stop_search()
            self._inbox.appendleft(event)
        else:
            self._inbox.append(event)
        self._handle_inbox()

    def _post_first(self, event: ev.LocalEvent) -> None:
        """The answer to an effect comes before everything that waits."""
        self._inbox.appendleft(event)
        self._handle_inbox()

    def _handle_inbox(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox and not (self._is_over or self._history.is_searching):
                self._handle(self._inbox.popleft())
        except Exception as error:
            self._fail(error)
        finally:
            self._busy = False

    @property
    def _is_over(self) -> bool:
        return self._exit is not None or self._fault is not None

    def _handle(self, happened: ev.LocalEvent | Received) -> None:
        effects = deque(self._decide(happened))
        while effects:
            cut = self._perform(effects.popleft())
            if cut is not None:
                # At once: a reply that is asked for next is to know what was heard.
                effects.extendleft(reversed(self._decide(cut)))

    def _decide(self, happened: ev.LocalEvent | Received) -> list[fx.Effect]:
        """What to do about one thing that happened. All that the conversation handles passes here,
        and the taps see it in the same order."""
        now = self._clock()
        events = happened.events if isinstance(happened, Received) else (happened,)
        effects: list[fx.Effect] = []
        try:
            for event in events:
                effects += self._conversation.handle(event, now)
        finally:
            is_frame = isinstance(happened, Received)
            if isinstance(happened, ev.ConnectionLost) or any(map(_ends_reply, effects)):
                self._tap_held(now, replies_only=is_frame)
            if isinstance(happened, Received):
                self._tap("received", happened.data, now)
            else:
                self._tap("local", happened, now)
        return effects

    def _perform(self, effect: fx.Effect) -> ev.PlaybackCut | None:  # noqa: C901 - one arm an effect
        """Do it. What is returned has happened at once."""
        match effect:
            case fx.Show(update):  # first, as nearly all effects are
                self._views.show(update)
            case fx.Connect(model):
                self._sleep.stop()
                self._link.open(model)
            case fx.Disconnect():
                self._sleep.stop()
                self._link.drop()
            case fx.Send(_, fx.AppendAudio(audio, True)) if self._link.is_slow:
                self._unsaid += len(audio)
            case fx.Play() | fx.StopPlaying():
                return self._audio.perform(effect)
            case fx.Send(event_id, command):
                for each in (command,) if self._fit is None else self._fit(command):
                    data = wire.encode(each, event_id, self._frames.dialect)
                    self._link.send(data, self._history.question_kept)
            case fx.SetTimer(timer, seconds, jitter):
                self._timers.set(timer, seconds * (1 - jitter * self._rng()))
            case fx.ClearTimer(timer):
                self._timers.clear(timer)
            case fx.StartRecord() | fx.Record() | fx.LoadConversation():
                self._history.perform(effect)
            case fx.RunTool(call):
                self._tools.start(call)
            case fx.StopTools():
                self._tools.stop()
            case fx.Stop(code):
                self._stop(code)
            case _:
                assert_never(effect)
        return None

    def _stop(self, code: ExitCode) -> None:
        self._stopped_with = code
        if self._audio.failure is not None and code is ExitCode.OK:
            code = self._audio.failure.problem.exit
        self._exit = self._views.lost_with or code
        self._done.set()

    # -------------------------------------------------------------------------------- what happens

    def _post_of_link(self, event: ev.LocalEvent) -> None:
        self._sleep.stop()
        if isinstance(event, ev.ConnectionOpened):
            self._frames.connected()
            self._sleep.start()
        self.post(event)

    def _read(self, frame: str | bytes) -> None:
        self._timers.heard()
        for received in self._frames.read(frame):
            if self._is_over:
                self._tap("received", received.data, self._clock())
            else:
                self._inbox.append(received)
                self._handle_inbox()

    def _writing(self, data: JsonObject) -> None:
        if self._unsaid and self._link.is_idle:
            seconds, self._unsaid = self._unsaid / BYTES_A_MS / 1000, 0
            self._note("warning", f"the network was too slow for {seconds:.1f} s of what was said")
        self._tap("sent", data, self._clock())

    def _slept(self, seconds: float) -> None:
        self._link.drop()
        problem = Problem(ExitCode.LINK, f"the computer slept for {seconds:.0f} s", "try again")
        self.post(ev.ConnectionLost(problem, ev.Retry.ALWAYS, at_once=True))

    def _signalled(self, number: int, event: ev.LocalEvent) -> None:
        """A signal is an event. Once the conversation has ended, it shortens the wait for output,
        and a second one ends it at once."""
        is_first, self._was_signalled = not self._was_signalled, True
        if self._exit is None:
            self.post(event)
            return
        if self._views.owes:
            self._exit = ExitCode(128 + number)
        if is_first:
            self._views.give_up_soon()
        else:
            self._views.give_up()
            self._link.abandon()

    def _stop_clocks(self) -> None:
        self._timers.stop()
        self._sleep.stop()
        self._views.stop()

    # ------------------------------------------------------------------------------------- the taps

    def _clock(self) -> float:
        """Seconds since the beginning. They are whole microseconds, as a trace has them."""
        return round(self._now() - self._began, 6)

    def _tap(self, direction: str, data: JsonObject | str | ev.LocalEvent, now: float) -> None:
        for tap in self._taps:
            self._views.call(tap, direction, data, now)

    def _tap_held(self, now: float, *, replies_only: bool = False) -> None:
        """Texts end here: what was held back of them is no part of a key."""
        for data in self._frames.end(replies_only=replies_only):
            self._tap("received", data, now)

    def _tap_end(self) -> None:
        now = self._clock()
        self._tap_held(now)
        if self._stopped_with is not None:
            end: JsonObject = {"exit": self._stopped_with, "unsent": self._link.unsent}
            self._tap("end", end, now)

    # -------------------------------------------------------------------------------- what is wrong

    def _note(self, level: fx.Level, text: str) -> None:
        self._views.show(fx.Notice(level, text))

    def _fail(self, error: BaseException) -> None:
        self._fault = error
        self._done.set()

    def _unexpected(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something failed that the loop called and nobody waits for. A connection that fails
        within its library is told by whoever uses it."""
        error = context.get("exception")
        if isinstance(error, Exception) and _is_ours(error):
            self._views.failed(error)
        else:
            self._note("detail", f"{context['message']}: {error}")

    def _lose_output(self, code: ExitCode) -> None:
        if self._exit is not None and self._exit not in _SIGNALLED:
            self._exit = code
        self.post(ev.LeaveAsked(code))


def _ends_reply(effect: fx.Effect) -> bool:
    return isinstance(effect, fx.Show) and isinstance(effect.update, fx.ReplyOver)


def _is_ours(error: Exception) -> bool:
    """Whether it was raised by code of ours, or on the way through it or the line editor."""
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    modules = {str(frame.f_globals.get("__name__")).partition(".")[0] for frame in frames}
    return not modules.isdisjoint({"rtchat", "prompt_toolkit"})
