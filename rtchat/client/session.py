"""The shell around a conversation: performs its effects, and owns every task, timer and socket.

`post` is the one inbox: whatever happens, from the keyboard, the network or a timer, becomes an
event there, one at a time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from traceback import walk_tb
from typing import Any, Protocol, TypeAlias, assert_never

from rtchat import wire
from rtchat.client.transport import ConnectError
from rtchat.core.effects import (
    AppendAudio,
    ClearTimer,
    Command,
    Connect,
    Disconnect,
    Effect,
    LoadConversation,
    Notice,
    Play,
    QuestionAsked,
    Record,
    ReplyOver,
    RunTool,
    Send,
    SetTimer,
    Show,
    StartRecord,
    Stop,
    StopPlaying,
    StopTools,
    TextArrived,
    Update,
)
from rtchat.core.errors import ExitCode, LinkError, OutputError, Problem, RtchatError
from rtchat.core.events import (
    ConnectionLost,
    ConnectionOpened,
    ConversationLoaded,
    Event,
    LeaveAsked,
    LocalEvent,
    LocalNotice,
    PlaybackCut,
    Retry,
    SessionCreated,
    Started,
    Timer,
    TimerFired,
    ToolFinished,
    Unknown,
)
from rtchat.core.redaction import Redactor
from rtchat.core.values import (
    BYTES_A_MS,
    Dialect,
    Entry,
    JsonObject,
    State,
    StoredConversation,
    ToolCall,
)
from rtchat.system.output import INTERRUPT_TIMEOUT, Output

TICK = 1 / 12
"""Seconds between two looks at whether the view has something to paint."""
GOODBYE = 2.0
"""Seconds to let what was sent leave, and the server answer the close."""
LONGEST_SHOW = 0.02
"""Seconds that the view may draw before the rest of the program has a turn: pings want answers."""
TURN = 50
"""Frames, if so many are there, that are read before the rest of the program has a turn."""
SLICE = 500
"""Characters of a reply that the view is given at once."""
MOST_UNSENT = 250
"""Events that may wait for a slow network before what the microphone gives is dropped: about 5 s of
it."""
STOOD_STILL = 0.1
"""A timer that is this many seconds late means that the program was stopped meanwhile."""
WAITS_FOR_SERVER = frozenset({Timer.START, Timer.STALL, Timer.HEARD, Timer.INPUT})
"""Timers that limit the wait for the server."""
MOST_OWED = 65_536
"""If more bytes of output than this are waiting, nothing is repainted."""
HISTORY_TIMEOUT = 5.0
"""Seconds that a question waits to be on disk, and /resume for a conversation."""
LOOK_EVERY, SLEPT = 5.0, 30.0
"""Seconds between two looks at the clocks, and by how many they must differ to mean a sleep."""


class Link(Protocol):
    """An open connection, as `transport.Connection` is one."""

    async def send(self, event: JsonObject) -> None:
        """Send a client event."""

    async def receive(self) -> str | bytes | None:
        """The next frame; None when the connection is over."""

    async def close(self) -> None:
        """Close it with 1000."""

    def explain(self) -> ConnectionLost:
        """Why it is over."""


class History(Protocol):
    """Keeps a conversation, as `history_writer.HistoryWriter` does. No call blocks; a failure is an
    OutputError of the future."""

    def begin(self) -> None:
        """What is recorded from here on is another conversation."""

    def resume(self, kept: StoredConversation) -> None:
        """Entries recorded from now on belong to this conversation."""

    def record(self, entry: Entry) -> asyncio.Future[None]:
        """Keep an entry. It is on disk when the future is done."""

    def find(self, id: int | None) -> asyncio.Future[StoredConversation]:
        """Read a conversation, by default the latest one before this. UsageError if not found."""


class Player(Protocol):
    """Where replies are heard, as `devices.Speaker` is one. May raise OutputError."""

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Let this be heard after what is being heard."""

    def end(self, item_id: str) -> None:
        """There is no more of this item."""

    def stop(self) -> PlaybackCut | None:
        """Be silent. What was cut, if anything was."""


class Tools(Protocol):
    """What the model may call, as `tools.Toolbox` is one."""

    async def call(self, name: str, arguments: str) -> str:
        """The output of a tool, or what went wrong with it."""


class Machine(Protocol):
    """What decides, as `conversation.Conversation` does."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What to do about an event, at a time in seconds."""


class View(Protocol):
    """What a person, a pipe or a program sees of a conversation."""

    def show(self, update: Update) -> None:
        """Take the next update. May raise OSError when there is nowhere to write to."""

    def tick(self) -> None:
        """Paint, if something changed; called a dozen times a second while a reply is due."""

    def close(self) -> None:
        """There is no more; leave the terminal as it was."""


Post: TypeAlias = Callable[[LocalEvent], None]
Source: TypeAlias = Callable[[Post], Coroutine[None, None, None]]
Tap: TypeAlias = Callable[[str, JsonObject | str], None]
"""Sees every event, "sent" or "received", as a JSON object, or as text if it is none; and as "lost"
why a connection ended."""


Outbox: TypeAlias = asyncio.Queue[tuple[JsonObject, asyncio.Future[None] | None] | None]
"""Events to send, each with the entry that has to be on disk first; None at the end."""


def _is_ours(error: Exception) -> bool:
    """Whether it was raised by code of ours, or on the way through it or the line editor."""
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    modules = {str(frame.f_globals.get("__name__")).partition(".")[0] for frame in frames}
    return not modules.isdisjoint({"rtchat", "prompt_toolkit"})


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
        fit: Callable[[Command], Iterable[Command]] | None = None,
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
        self._view = view
        self._connect = connect
        self._forced = dialect
        self._dialect = dialect or Dialect.GA
        self._redactor = redactor
        self._fit = fit
        self._events = wire.EventRedactor(redactor)
        """Of the current connection."""
        self._taps = taps
        self._keeper = keeper
        self._has_complained_of_history = False
        self._history_fails = False
        """The last entry could not be written: nothing waits for the next one."""
        self._question_kept: asyncio.Future[None] | None = None
        """Done once the last question is on disk; it is not sent earlier."""
        self._waits_for_history = False
        """A question is held back until it is on disk."""
        self._search: asyncio.Future[StoredConversation] | None = None
        """/resume is looking for a conversation; events are handled after that."""
        self._tools = tools
        self._player = player
        self._output = output
        self._is_written = asyncio.Event()
        """All output is written, or has been given up."""
        self._was_signalled = False
        self._unplayed: OutputError | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._now = now
        self._wall_clock = wall_clock
        self._rng = rng
        self._inbox: deque[Event] = deque()
        self._busy = False
        self._outbox: Outbox = asyncio.Queue()
        self._room = asyncio.Event()
        self._unsaid = 0
        """Bytes of the microphone that a slow network left no room for."""
        self._link: asyncio.Task[None] | None = None
        self._open = False
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._timeouts = 0.0
        self._last_word = 0.0
        self._ticker: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._updates: deque[Update] = deque()
        """What the view has not been shown yet."""
        self._draining: asyncio.Handle | None = None
        self._output_lost: ExitCode | None = None
        self._exit: ExitCode | None = None
        self._fault: BaseException | None = None

    async def run(
        self, source: Source, signals: Mapping[int, LocalEvent] | None = None
    ) -> ExitCode:
        """Hold the conversation until it stops; `source` posts what the user says.

        `signals` are turned into events while it runs.
        """
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        signals = signals or {}
        for number, event in signals.items():
            self._loop.add_signal_handler(number, self._signalled, number, event)
        if self._output is not None:
            self._output.on_failure(self._cannot_show)
        handler = self._loop.get_exception_handler()
        self._loop.set_exception_handler(self._unexpected)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                reading = self._tasks.create_task(source(self.post))
                self.post(Started())
                await self._done.wait()
                while self._updates and self._fault is None:  # noqa: ASYNC110 - `_drain` has its turns
                    await asyncio.sleep(0)
                self._stop_clocks()
                self._stop_tools()
                reading.cancel()
                await self._hang_up()
        finally:
            self._stop_clocks()
            self._show_rest()
            self._try_view(self._view.close)
            if self._output is not None:
                await self._write_rest(self._output)
            for number in signals:
                self._loop.remove_signal_handler(number)
            self._loop.set_exception_handler(handler)
        if self._fault is not None:
            raise self._fault
        assert self._exit is not None
        return self._exit

    def _show_rest(self) -> None:
        while self._updates:
            self._show_one(self._updates.popleft())

    async def _write_rest(self, output: Output) -> None:
        """Wait until all output is written; after a signal, only for a short time."""
        output.when_written(self._is_written.set)
        is_interrupted = self._exit is not None and self._exit in _SIGNALLED
        with suppress(TimeoutError):
            async with asyncio.timeout(INTERRUPT_TIMEOUT if is_interrupted else None):
                await self._is_written.wait()
        if output.unwritten:
            output.discard()
        self._show_rest()  # it may be that writing failed

    def _signalled(self, number: int, event: LocalEvent) -> None:
        """A signal is an event. Once the conversation has ended, it shortens the wait for output,
        and a second one ends it at once."""
        is_first, self._was_signalled = not self._was_signalled, True
        if self._exit is None:
            self.post(event)
            return
        if self._output is not None and self._output.unwritten:
            self._exit = ExitCode(128 + number)
        if is_first:
            self._loop.call_later(INTERRUPT_TIMEOUT, self._is_written.set)
        else:
            self._is_written.set()
            if self._link is not None:
                self._link.cancel()

    @property
    def has_lost_output(self) -> bool:
        """Whether there is nowhere to show anything any more."""
        return self._output_lost is not None

    # ------------------------------------------------------------------------------------ the inbox

    def post(self, event: Event) -> None:
        """Something happened. What happens while it is being dealt with waits its turn."""
        if isinstance(event, LeaveAsked) and self._search is not None:
            self._search = None
            self._inbox.appendleft(event)
        else:
            self._inbox.append(event)
        self._handle_inbox()

    def _handle_inbox(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while (
                self._inbox and self._search is None and self._exit is None and self._fault is None
            ):
                for effect in self._conversation.handle(self._inbox.popleft(), self._now()):
                    self._perform(effect)
        except Exception as error:
            self._fail(error)
        finally:
            self._busy = False

    def _fail(self, error: BaseException) -> None:
        self._fault = error
        self._done.set()

    def _unexpected(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something failed that the loop called and nobody waits for. A connection that fails
        within its library is told by whoever uses it."""
        error = context.get("exception")
        if isinstance(error, Exception) and _is_ours(error):
            self._cannot_show(error)
        else:
            self._show(Notice("detail", f"{context['message']}: {error}"))

    def _perform(self, effect: Effect) -> None:  # noqa: C901 - one arm an effect
        match effect:
            case Show(update):  # first, as nearly all effects are
                self._show(update)
            case Connect(model):
                self._drop_link()
                self._outbox = asyncio.Queue()
                self._room.set()
                self._open = False
                self._link = self._tasks.create_task(self._hold_link(model, self._outbox))
            case Disconnect():
                self._drop_link()
            case Send(_, AppendAudio(audio, True)) if self._outbox.qsize() > MOST_UNSENT:
                self._unsaid += len(audio)
            case Play() | StopPlaying():
                self._sound(effect)
            case Send(event_id, command):
                for each in (command,) if self._fit is None else self._fit(command):
                    data = wire.encode(each, event_id, self._dialect)
                    self._outbox.put_nowait((data, self._question_kept))
            case SetTimer(timer, seconds, jitter):
                self._set_timer(timer, seconds * (1 - jitter * self._rng()))
            case ClearTimer(timer):
                self._clear_timer(timer)
            case StartRecord() | Record() | LoadConversation():
                self._keep(effect)
            case RunTool(call):
                task = self._tasks.create_task(self._run_tool(call))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            case StopTools():
                self._stop_tools()
            case Stop(code):
                if self._unplayed is not None and code is ExitCode.OK:
                    code = self._unplayed.problem.exit
                self._exit = self._output_lost or code
                self._done.set()
            case _:
                assert_never(effect)

    # ------------------------------------------------------------------------------------- the link

    async def _hold_link(self, model: str, outbox: Outbox) -> None:
        """One connection from its beginning to its end; `outbox` is what is to be sent on it."""
        try:
            async with self._connect(model) as link:
                self._open = True
                self._events = events = wire.EventRedactor(self._redactor)
                self._watch_clocks(self._wall_clock() - self._now())
                self.post(ConnectionOpened())
                writing = self._tasks.create_task(self._write(link, outbox))
                try:
                    read = 0
                    while (frame := await link.receive()) is not None:
                        self._read(frame)
                        read += 1
                        # Frames that have all come are no reason to hog, nor to outrun the view.
                        if read % TURN == 0 or len(self._updates) > 1:
                            await asyncio.sleep(0)
                finally:
                    writing.cancel()
                    for event in events.end():  # the conversation was told of it already
                        self._tap("received", event)
                lost = link.explain()
        except ConnectError as error:
            lost = error.lost
        except RtchatError as error:  # the server of `--local` has reasons of its own
            lost = ConnectionLost(error.problem, Retry.NEVER)
        self._link = None
        self._drop_link()
        if self._exit is None:
            self._tap("lost", str(lost.problem))
        self.post(lost)

    def _read(self, frame: str | bytes) -> None:
        self._last_word = self._now()
        data = wire.read_frame(frame)
        if isinstance(data, Unknown):
            shown = frame if isinstance(frame, str) else repr(frame)
            self._tap("received", self._redactor.redact(shown))
            self.post(data)
            return
        assert isinstance(frame, str)
        for redacted, held in self._events.redact(frame, data):
            if self._taps:
                self._tap("received", redacted)
            for event in wire.decode(redacted, held):
                if isinstance(event, SessionCreated):
                    self._dialect = self._forced or event.dialect or Dialect.GA
                    if event.expires_at is not None:
                        event = replace(event, seconds_left=event.expires_at - self._wall_clock())
                self.post(event)

    async def drained(self) -> None:
        """Wait until the network has taken most of what was sent."""
        if self._outbox.qsize() > MOST_UNSENT // 2:
            self._room.clear()
            await self._room.wait()

    async def _write(self, link: Link, outbox: Outbox) -> None:
        while (entry := await outbox.get()) is not None:
            data, kept = entry
            if kept is not None and not kept.done() and not self._history_fails:
                await self._wait_for_history(kept)
            if outbox.qsize() < MOST_UNSENT // 4:
                self._room.set()
            if self._unsaid and outbox.empty():
                seconds, self._unsaid = self._unsaid / BYTES_A_MS / 1000, 0
                text = f"the network was too slow for {seconds:.1f} s of what was said"
                self._show(Notice("warning", text))
            self._tap("sent", data)
            with suppress(LinkError):  # the reader sees the same end, and says why
                await link.send(data)
                self._last_word = self._now()  # what is sent slowly is no silence of the server's
        await link.close()

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.cancel()
            self._link = None
        if self._watch is not None:
            self._watch.cancel()

    async def _hang_up(self) -> None:
        """Let what was sent leave, close with 1000; a server that takes no part is left."""
        link = self._link
        if link is None:
            return
        if not self._open:
            link.cancel()
            return
        self._outbox.put_nowait(None)
        await asyncio.wait((link,), timeout=GOODBYE)
        link.cancel()

    # ------------------------------------------------------------------------------------ the store

    def _keep(self, effect: StartRecord | Record | LoadConversation) -> None:
        if self._keeper is None:
            if isinstance(effect, LoadConversation):
                self.post(
                    LocalNotice("nothing is kept: there is no history to go back to", is_error=True)
                )
            return
        match effect:
            case StartRecord():
                self._keeper.begin()
            case Record(entry):
                recorded = self._keeper.record(entry)
                recorded.add_done_callback(self._recorded)
                if entry.state is State.ASKED:
                    self._question_kept = None if self._history_fails else recorded
            case LoadConversation(number):
                self._search = search = self._keeper.find(number)
                search.add_done_callback(self._found)
                self._loop.call_later(HISTORY_TIMEOUT, self._give_up_search, search)
            case _:
                assert_never(effect)

    def _recorded(self, future: asyncio.Future[None]) -> None:
        """A failure of the history is reported once; the conversation goes on."""
        error = future.exception()
        self._history_fails = error is not None
        if isinstance(error, OutputError):
            self._complain_of_history(str(error))
        elif error is not None:
            self._fail(error)

    def _complain_of_history(self, message: str) -> None:
        if not self._has_complained_of_history:
            self._has_complained_of_history = True
            self._show(Notice("warning", message))

    async def _wait_for_history(self, kept: asyncio.Future[None]) -> None:
        """Hold a question back until it is on disk, or the history takes too long."""
        self._waits_for_history = True
        try:
            await asyncio.wait((kept,), timeout=HISTORY_TIMEOUT)
        finally:
            self._waits_for_history = False
        if not kept.done():
            self._history_fails = True
            seconds = f"{HISTORY_TIMEOUT:g}"
            self._complain_of_history(f"the history did not respond for {seconds} s: continuing")

    def _found(self, search: asyncio.Future[StoredConversation]) -> None:
        error = search.exception()
        if search is not self._search:
            return  # given up
        self._search = None
        if error is None:
            assert self._keeper is not None
            self._keeper.resume(search.result())
            self._inbox.appendleft(ConversationLoaded(search.result()))
        elif isinstance(error, RtchatError):
            self._inbox.appendleft(LocalNotice(str(error), is_error=True))
        else:
            self._fail(error)
        self._handle_inbox()

    def _give_up_search(self, search: asyncio.Future[StoredConversation]) -> None:
        if search is self._search:
            self._search = None
            message = f"the history did not respond for {HISTORY_TIMEOUT:g} s"
            self._inbox.appendleft(LocalNotice(message, is_error=True))
            self._handle_inbox()

    # ---------------------------------------------------------------------------------------- sound

    def _sound(self, effect: Play | StopPlaying) -> None:
        """Trouble with it is said once; what can be heard, and the text, go on."""
        if self._player is None:
            return
        try:
            match effect:
                case Play(item_id, index, audio, is_last):
                    if audio:
                        self._player.play(item_id, index, audio)
                    if is_last:
                        self._player.end(item_id)
                case StopPlaying():
                    if (cut := self._player.stop()) is not None:
                        # At once: a reply that is asked for next is to know what was heard.
                        for each in self._conversation.handle(cut, self._now()):
                            self._perform(each)
                case _:
                    assert_never(effect)
        except OutputError as error:
            if self._unplayed is None:
                self._unplayed = error
                self._show(Notice("error", str(error)))

    # ---------------------------------------------------------------------------------------- tools

    async def _run_tool(self, call: ToolCall) -> None:
        assert self._tools is not None
        self.post(ToolFinished(call.call_id, await self._tools.call(call.name, call.arguments)))

    def _stop_tools(self) -> None:
        for task in self._running:
            task.cancel()

    # --------------------------------------------------------------------------------------- clocks

    def _set_timer(self, timer: Timer, seconds: float) -> None:
        self._clear_timer(timer)
        if timer is Timer.STALL:
            self._timeouts = seconds
            self._last_word = self._now()
        self._start_timer(timer, seconds)

    def _start_timer(self, timer: Timer, seconds: float) -> None:
        due = self._now() + seconds
        self._timers[timer] = self._loop.call_later(seconds, self._fire, timer, seconds, due)

    def _clear_timer(self, timer: Timer) -> None:
        if handle := self._timers.pop(timer, None):
            handle.cancel()

    def _fire(self, timer: Timer, seconds: float, due: float) -> None:
        del self._timers[timer]
        now = self._now()
        left = 0.0
        if timer is Timer.STALL:
            if self._waits_for_history:  # the server was not asked yet
                self._last_word = now
            left = self._last_word + self._timeouts - now
        if now - due > STOOD_STILL and timer in WAITS_FOR_SERVER:
            # What the server sent meanwhile is not read yet.
            left = max(left, min(now - due, seconds))
        if left > 0:
            self._start_timer(timer, left)
        else:
            self.post(TimerFired(timer))

    def _watch_clocks(self, ahead: float) -> None:
        """While a computer sleeps its wall clock runs on and the other stands still; afterwards the
        connection is a stranger to the server, which this side would be the last to learn."""
        slept = self._wall_clock() - self._now() - ahead
        if slept < SLEPT:
            self._watch = self._loop.call_later(LOOK_EVERY, self._watch_clocks, ahead + slept)
            return
        self._drop_link()
        problem = Problem(ExitCode.LINK, f"the computer slept for {slept:.0f} s", "try again")
        self.post(ConnectionLost(problem, Retry.ALWAYS, at_once=True))

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(TICK, self._tick)
        if self._output is None or self._output.unwritten <= MOST_OWED:
            self._try_view(self._view.tick)

    def _stop_clocks(self) -> None:
        for timer in list(self._timers):
            self._clear_timer(timer)
        for handle in (self._ticker, self._watch, self._draining):
            if handle is not None:
                handle.cancel()

    # ---------------------------------------------------------------------------------------- views

    def _show(self, update: Update) -> None:
        """The view sees it in the next turn of the loop; what came at once it sees at once."""
        if isinstance(update, TextArrived):
            last = self._updates[-1] if self._updates else None
            if isinstance(last, TextArrived) and len(last.text) + len(update.text) <= SLICE:
                self._updates[-1] = TextArrived(last.text + update.text)
                return
        if isinstance(update, TextArrived) and len(update.text) > SLICE:
            text = update.text
            starts = range(0, len(text), SLICE)
            self._updates.extend(TextArrived(text[start : start + SLICE]) for start in starts)
        else:
            self._updates.append(update)
        if self._draining is None:
            self._draining = self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        """Show what is due, for a while."""
        self._draining = None
        until = self._now() + LONGEST_SHOW
        while self._updates:
            self._show_one(self._updates.popleft())
            if self._updates and self._now() > until:
                self._draining = self._loop.call_soon(self._drain)
                return

    def _show_one(self, update: Update) -> None:
        if isinstance(update, QuestionAsked) and self._ticker is None:
            self._ticker = self._loop.call_later(TICK, self._tick)
        if isinstance(update, ReplyOver) and self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        if self._output_lost is None or isinstance(update, Notice):
            self._try_view(self._view.show, update)

    def _tap(self, direction: str, data: JsonObject | str) -> None:
        for tap in self._taps:
            self._try_view(tap, direction, data)

    def _try_view(self, draw: Callable[..., None], *arguments: object) -> None:
        try:
            draw(*arguments)
        except Exception as error:
            self._cannot_show(error)

    def _cannot_show(self, error: Exception) -> None:
        match error:
            case BrokenPipeError():
                self._lose_output(ExitCode.PIPE)
            case OSError():
                self._lose_output(ExitCode.OUTPUT, f"stdout cannot be written ({error.strerror})")
            case _:
                self._fail(error)

    def _lose_output(self, code: ExitCode, message: str = "") -> None:
        if self._output_lost is not None:
            return
        self._output_lost = code
        if message:
            self._show(Notice("error", message))
        if self._exit is not None and self._exit not in _SIGNALLED:
            self._exit = code
        self.post(LeaveAsked(code))
