"""`replay`: shows a recorded session in the views of `talk` at its original pace, or checks it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from rtchat.app.audio_conversion import SessionAudio
from rtchat.app.environment import Environment, unblocked
from rtchat.app.frontend import screen_of, status_writer_of, view_of
from rtchat.app.os_signals import EXIT_CODES
from rtchat.client.view_queue import MAX_UNWRITTEN, TICK
from rtchat.config.settings import Settings
from rtchat.core import effects as fx
from rtchat.core.errors import ExitCode, hint_line, writing_stdout
from rtchat.core.ports import View
from rtchat.core.text import on_a_line, shortened, visible, whole_characters
from rtchat.core.values import Status, model_names
from rtchat.system.output import INTERRUPT_TIMEOUT, Output
from rtchat.trace.reading import Recording, read_trace
from rtchat.trace.replay import Replay, Step
from rtchat.trace.wire_only import WireReplay
from rtchat.ui import messages

MAX_PAUSE = 3.0
"""The longest pause between two turns, in seconds. Longer ones are shortened."""
_MAX_QUOTE = 60


def replay(trace: str, speed: float, settings: Settings, environment: Environment) -> ExitCode:
    """Show a recording, `speed` times as fast as the original; infinity means without pauses."""
    recording = _read(trace, environment)
    is_timed = any(event.time is not None for event in recording.events)
    with unblocked(environment) as environment:
        if environment.stdout_is_terminal:
            view: View = screen_of(settings, environment)
        else:
            view = view_of(settings, "text", environment, status_writer_of(settings, environment))
        if recording.after:
            view.show(fx.Notice("info", messages.late_recording(recording.after)))
        player = _Player(
            view,
            speed,
            environment.output,
            is_timed=is_timed,
            prints_questions=environment.stdout_is_terminal,
        )
        return asyncio.run(_play_until_signal(player, _replay_of(recording).steps()))


def check(trace: str, environment: Environment) -> ExitCode:
    """Print a report. The exit code is OK if every reply is complete, every event is known, and the
    program sends what was sent."""
    lines, is_ok = report(_read(trace, environment))
    with writing_stdout():
        environment.stdout.write("".join(f"{visible(whole_characters(line))}\n" for line in lines))
        environment.stdout.flush()
    return ExitCode.OK if is_ok else ExitCode.REPLY


def _read(trace: str, environment: Environment) -> Recording:
    def warn(text: str) -> None:
        status_writer_of(Settings(), environment).show(fx.Notice("warning", text))

    if trace == "-":
        return read_trace(0 if environment.stdin is None else environment.stdin, warn)
    return read_trace(Path(trace), warn)


def _replay_of(recording: Recording) -> Replay | WireReplay:
    setup = recording.setup
    if setup is None:
        return WireReplay(recording.events)
    return Replay(
        setup,
        recording.events,
        SessionAudio(setup.machine.input_format, setup.machine.output_format),
    )


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

    for number, code in EXIT_CODES.items():
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
        await player.written(INTERRUPT_TIMEOUT)
    return stopped[0] if stopped else ExitCode.OK


class _Player:
    """Shows updates in a view at their times, and redraws it in between."""

    def __init__(
        self,
        view: View,
        speed: float,
        output: Output | None,
        *,
        is_timed: bool,
        prints_questions: bool,
    ) -> None:
        """`prints_questions` is whether the view prints them."""
        self._view = view
        self._output = output
        self._speed = speed
        self._is_timed = is_timed
        self._prints_questions = prints_questions
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
                await self._output.written(MAX_UNWRITTEN)

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
                self._output.discard()

    async def _wait(self, at: float) -> None:
        gap, self._time = at - self._time, at
        if not self._is_replying:
            gap = min(gap, MAX_PAUSE)
        self._deadline += gap / self._speed
        while True:
            left = self._deadline - time.monotonic()
            # Even if there is no time left, so that signals are handled.
            await asyncio.sleep(max(0.0, min(left, TICK)))
            if time.monotonic() >= self._next_tick and self._is_replying:
                self._next_tick = time.monotonic() + TICK
                with writing_stdout():
                    self._view.tick()
            if left <= TICK:
                return

    def _show(self, update: fx.Update) -> None:
        match update:
            case fx.QuestionAsked(text):
                self._is_replying = True
                if text and not self._prints_questions:  # a spoken one has a transcript
                    self._show_update(fx.Notice("info", f"\u203a {text}"))
            case fx.ReplyOver():
                self._is_replying = False
                update = update if self._is_timed else replace(update, timing=fx.Timing())
            case fx.Ready() if not self._is_timed:
                return
            case fx.MicrophoneStatus():
                return
            case _:
                pass
        self._show_update(update)

    def _show_update(self, update: fx.Update) -> None:
        with writing_stdout():
            self._view.show(update)


# ----------------------------------------------------------------------------------------- checking


def report(recording: Recording) -> tuple[list[str], bool]:
    """What this program would have done, line by line, and whether no problems were found."""
    replay = _replay_of(recording)
    findings = replay.findings
    is_timed = any(event.time is not None for event in recording.events)
    found: list[tuple[int, str]] = []
    statuses: list[Status] = []
    for step in replay.steps():
        for update in step.updates:
            if isinstance(update, fx.ReplyOver):
                statuses.append(update.status)
                update = update if is_timed else replace(update, timing=fx.Timing())
            if text := _describe(update):
                found.append((step.line, text))
    for line, unknown in findings.unknown:
        found.append((line, f"ignored {unknown.type or 'a frame'}: {unknown.why}"))
    found += _merge_differences(findings.differences)
    if not findings.has_session:
        found.append((0, "the recording contains no session"))
    completed = statuses.count(Status.COMPLETED)
    summary = (
        f"replies: {len(statuses)}, completed: {completed}, "
        f"ignored: {len(findings.unknown)}, differences: {len(findings.differences)}"
    )
    if findings.exit is not None:
        summary = f"{summary}, exit code: {findings.exit.value}"
    lines = [f"{line:>5}  {on_a_line(text)}" for line, text in sorted(found, key=lambda f: f[0])]
    is_complete = findings.has_session and completed == len(statuses)
    is_same = not (findings.unknown or findings.differences) and findings.exit is None
    made_by = f"recorded by rtchat {recording.version}" if recording.version else "recorded"
    head = f"{made_by}: {len(recording.events)} events"
    if recording.setup is None:
        why = "the user's actions are not recorded"
        why = messages.late_recording(recording.after) if recording.after else why
        head = f"{head}; what was sent cannot be compared, because {why}"
    return [head, *lines, summary], is_complete and is_same


def _describe(update: fx.Update) -> str:
    """An update as text; empty if the report omits it."""
    match update:
        case fx.Ready(model, _, replayed):
            names = model_names(model, update.session.model)
            return f"ready: {names}" + (f", turns replayed: {replayed}" if replayed else "")
        case fx.Waiting():
            return messages.waiting(update)
        case fx.QuestionAsked(text, spoken=is_spoken):
            return f"question: {_quoted(text or ('(spoken)' if is_spoken else ''))}"
        case fx.UserTranscript(text):
            return f"heard: {_quoted(text)}"
        case fx.ReplyOver(status, text):
            parts = [f"reply {status}", f"{len(text)} characters", messages.stats(update)]
            parts += [f"calls {call.name}" for call in update.tool_calls]
            if update.problem:
                parts += [messages.ending(update), _hint(update.problem.hint)]
            return " · ".join(filter(None, parts))
        case fx.Notice(level, text, hint) if level != "detail":
            return " · ".join(filter(None, (f"{level}: {text}", _hint(hint))))
        case _:
            return ""


def _hint(hint: str) -> str:
    return hint_line(hint) if hint else ""


def _merge_differences(differences: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Each difference once, at its first line, with the number of times it occurs."""
    differences = sorted(differences)
    counts = Counter(text for _, text in differences)
    first = {text: line for line, text in reversed(differences)}
    for text, line in first.items():
        yield line, f"{text} ({counts[text]} times)" if counts[text] > 1 else text


def _quoted(text: str) -> str:
    return shortened(on_a_line(text), _MAX_QUOTE)
