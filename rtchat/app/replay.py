"""`replay`: shows a recorded session in the views of `talk` at its own pace, or checks it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from rtchat.app.frontend import Environment, screen_of, status_writer_of, unblocked, view_of
from rtchat.client.session import MOST_OWED, TICK, View
from rtchat.config.settings import Settings
from rtchat.core.effects import (
    MicrophoneStatus,
    Notice,
    QuestionAsked,
    Ready,
    ReplyOver,
    Timing,
    Update,
    UserTranscript,
    Waiting,
)
from rtchat.core.errors import ExitCode, writing_stdout
from rtchat.core.text import on_a_line, visible
from rtchat.core.values import Status
from rtchat.system.output import LAST_CHANCE, Output
from rtchat.trace.recording import Recording, read_trace
from rtchat.trace.simulate import Rerun, Step
from rtchat.ui import messages

MAX_PAUSE = 3.0
"""The longest pause between two turns, in seconds. Longer ones are shortened."""
_SIGNALS = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
_MAX_QUOTE = 60


def replay(trace: str, speed: float, settings: Settings, streams: Environment) -> ExitCode:
    """Show a recording, `speed` times as fast as the original; infinity means without pauses."""
    recording = _read(trace, streams)
    is_timed = any(event.time is not None for event in recording.events)
    with unblocked(streams) as streams:
        if streams.stdout_is_terminal:
            view: View = screen_of(settings, streams)
        else:
            view = view_of(settings, "text", streams, status_writer_of(settings, streams))
        player = _Player(view, speed, streams.output, is_timed=is_timed)
        return asyncio.run(_play_until_signal(player, Rerun(recording.events).steps()))


def check(trace: str, streams: Environment) -> ExitCode:
    """Print a report. The exit code is OK if every reply is complete and every event is known."""
    lines, is_sound = report(_read(trace, streams))
    with writing_stdout():
        streams.stdout.write("".join(f"{visible(line)}\n" for line in lines))
        streams.stdout.flush()
    return ExitCode.OK if is_sound else ExitCode.REPLY


def _read(trace: str, streams: Environment) -> Recording:
    def warn(text: str) -> None:
        status_writer_of(Settings(), streams).show(Notice("warning", text))

    if trace == "-":
        return read_trace(0 if streams.stdin is None else streams.stdin, warn)
    return read_trace(Path(trace), warn)


# ------------------------------------------------------------------------------------------ showing


async def _play_until_signal(player: _Player, steps: Iterator[Step]) -> ExitCode:
    """Play to the end or until a signal. Then close the view, and write the remaining output if its
    reader accepts it."""
    playing = asyncio.current_task()
    assert playing is not None
    stopped: list[ExitCode] = []

    def stop(code: ExitCode) -> None:
        stopped.append(code)
        playing.cancel()

    for number, code in _SIGNALS.items():
        asyncio.get_running_loop().add_signal_handler(number, stop, code)
    try:
        try:
            await player.play(steps)
        finally:
            player.close()
        await player.written()
    except asyncio.CancelledError:
        if not stopped:
            raise
        await player.written(LAST_CHANCE)
    return stopped[0] if stopped else ExitCode.OK


class _Player:
    """Shows updates in a view at their times, and redraws it in between."""

    def __init__(self, view: View, speed: float, output: Output | None, *, is_timed: bool) -> None:
        self._view = view
        self._output = output
        self._speed = speed
        self._is_timed = is_timed
        self._is_replying = False
        self._time = 0.0
        self._deadline = self._next_tick = time.monotonic()

    async def play(self, steps: Iterable[Step]) -> None:
        """Show all steps."""
        for step in steps:
            await self._wait(self._time if step.time is None else step.time)
            for update in step.updates:
                self._show(update)
            if self._output is not None:
                await self._output.written(MOST_OWED)

    def close(self) -> None:
        """Close the view, which restores the terminal."""
        with writing_stdout():
            self._view.close()

    async def written(self, timeout: float | None = None) -> None:
        """Wait until the output is written. After `timeout` seconds the rest is discarded."""
        if self._output is not None:
            try:
                async with asyncio.timeout(timeout):
                    await self._output.written()
            except TimeoutError:
                self._output.give_up()

    async def _wait(self, at: float) -> None:
        gap, self._time = at - self._time, at
        if not self._is_replying:
            gap = min(gap, MAX_PAUSE)
        self._deadline += gap / self._speed
        while True:
            left = self._deadline - time.monotonic()
            await asyncio.sleep(
                max(0.0, min(left, TICK))
            )  # even without a wait, so that signals are handled
            if time.monotonic() >= self._next_tick and self._is_replying:
                self._next_tick = time.monotonic() + TICK
                with writing_stdout():
                    self._view.tick()
            if left <= TICK:
                return

    def _show(self, update: Update) -> None:
        match update:
            case QuestionAsked(text):
                self._is_replying = True
                if text:  # else it was spoken, and its transcript follows
                    self._show_update(Notice("info", f"\u203a {text}"))
            case ReplyOver():
                self._is_replying = False
                update = update if self._is_timed else replace(update, timing=Timing())
            case Ready() if not self._is_timed:
                return
            case MicrophoneStatus():
                return
            case _:
                pass
        self._show_update(update)

    def _show_update(self, update: Update) -> None:
        with writing_stdout():
            self._view.show(update)


# ----------------------------------------------------------------------------------------- checking


def report(recording: Recording) -> tuple[list[str], bool]:
    """What this program would have done, line by line, and whether there were no problems."""
    rerun = Rerun(recording.events)
    is_timed = any(event.time is not None for event in recording.events)
    found: list[tuple[int, str]] = []
    statuses: list[Status] = []
    for step in rerun.steps():
        for update in step.updates:
            if isinstance(update, ReplyOver):
                statuses.append(update.status)
                update = update if is_timed else replace(update, timing=Timing())
            if text := _describe(update):
                found.append((step.line, text))
    for line, unknown in rerun.unknown:
        found.append((line, f"passed over {unknown.type or 'a frame'}: {unknown.why}"))
    found += _merge_differences(rerun.ledger.differences)
    if not rerun.has_session:
        found.append((0, "no session in it"))
    completed = statuses.count(Status.COMPLETED)
    summary = (
        f"replies: {len(statuses)}, completed: {completed}, "
        f"passed over: {len(rerun.unknown)}, sent otherwise: {len(rerun.ledger.differences)}"
    )
    if rerun.exit is not None:
        summary = f"{summary}, the program would end with {rerun.exit.value}"
    lines = [f"{line:>5}  {on_a_line(text)}" for line, text in sorted(found, key=lambda f: f[0])]
    is_sound = rerun.has_session and completed == len(statuses) and not rerun.unknown
    made_by = f"recorded by rtchat {recording.version}" if recording.version else "recorded"
    head = f"{made_by}: {len(recording.events)} events"
    return [head, *lines, summary], is_sound and rerun.exit is None


def _describe(update: Update) -> str:
    """An update as text; empty if the report omits it."""
    match update:
        case Ready(model, _, replayed):
            return f"ready: {model}" + (f", turns replayed: {replayed}" if replayed else "")
        case Waiting():
            return messages.waiting(update)
        case QuestionAsked(text, spoken=is_spoken):
            return f"question: {_quoted(text or ('(spoken)' if is_spoken else ''))}"
        case UserTranscript(text):
            return f"heard: {_quoted(text)}"
        case ReplyOver(status, text):
            parts = [f"reply {status}", f"{len(text)} characters", messages.stats(update)]
            parts += [f"calls {call.name}" for call in update.tool_calls]
            parts.append(messages.remark(update) if update.problem else "")
            return " · ".join(filter(None, parts))
        case Notice(level, text) if level != "detail":
            return f"{level}: {text}"
        case _:
            return ""


def _merge_differences(differences: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Each difference once, at its first line, with the number of times it occurs."""
    differences = sorted(differences)
    counts = Counter(text for _, text in differences)
    first = {text: line for line, text in reversed(differences)}
    for text, line in first.items():
        yield line, f"{text} ({counts[text]} times)" if counts[text] > 1 else text


def _quoted(text: str) -> str:
    line = on_a_line(text)
    return line if len(line) <= _MAX_QUOTE else f"{line[: _MAX_QUOTE - 1]}…"
